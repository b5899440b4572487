"""Barrier."""

import threading
from threading import BrokenBarrierError

import pytest

import gmpx
from gmpx import Barrier, Cancelled, go


def waiting(b, n=1, **kw):
    gs = []
    for _ in range(n):
        before = b.n_waiting
        gs.append(go(b.wait, **kw))
        while b.n_waiting == before:
            gmpx.gosched()
    return gs


def test_rounds():
    log = []
    b = Barrier(3, action=lambda: log.append("action"))
    def party(k):
        found = []
        for i in range(20):
            log.append((i, k))
            found.append(b.wait())
        return found
    gs = [go(party, k) for k in range(3)]
    indices = list(zip(*[g.result() for g in gs]))
    assert all(sorted(r) == [0, 1, 2] for r in indices)
    rounds = [log[i * 4:i * 4 + 4] for i in range(20)]
    for i, r in enumerate(rounds):
        assert r[3] == "action" and sorted(r[:3]) == [(i, 0), (i, 1), (i, 2)]
    assert (b.parties, b.n_waiting, b.broken) == (3, 0, False)
    assert Barrier(1).wait() == 0


@pytest.mark.parametrize("end", ["timeout", "own timeout", "cancel", "abort"])
def test_broken(end):
    b = Barrier(3, timeout=0.003 if end == "own timeout" else None)
    gs = waiting(b, 1, **({"timeout": 0.003} if end == "timeout" else {}))
    gs += waiting(b)
    if end == "cancel":
        gs[0].cancel()
    if end == "abort":
        b.abort()
    first = {"cancel": Cancelled, "abort": BrokenBarrierError}.get(end, TimeoutError)
    assert isinstance(gs[0].exception(), first)
    assert isinstance(gs[1].exception(), (BrokenBarrierError, TimeoutError))
    assert b.broken and b.n_waiting == 0
    with pytest.raises(BrokenBarrierError):
        b.wait()
    b.reset()
    assert not b.broken
    gs = waiting(b, 2)
    b.wait()
    assert sorted(g.result() for g in gs) == [0, 1]


def test_reset_with_waiters():
    b = Barrier(3)
    gs = waiting(b, 2)
    b.reset()
    for g in gs:
        assert isinstance(g.exception(), BrokenBarrierError)
    assert not b.broken


def test_an_action_that_fails():
    b = Barrier(2, action=lambda: 1 / 0)
    (g,) = waiting(b)
    with pytest.raises(ZeroDivisionError):
        b.wait()
    assert isinstance(g.exception(), BrokenBarrierError) and b.broken


def test_a_time_out_while_the_action_runs_comes_too_late():
    b = Barrier(2, action=lambda: gmpx.sleep(0.01))
    (g,) = waiting(b, timeout=0.002)
    assert b.wait() == 1 and g.result() == 0 and not b.broken


def test_threads():
    b, got = Barrier(4), []
    ts = [threading.Thread(target=lambda: got.append(b.wait())) for _ in range(3)]
    for t in ts:
        t.start()
    got.append(b.wait())
    for t in ts:
        t.join()
    assert sorted(got) == [0, 1, 2, 3]


def test_bad_input():
    for bad, error in ((0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)):
        with pytest.raises(error):
            Barrier(bad)
    with pytest.raises(TypeError, match="callable"):
        Barrier(2, action=3)
    with pytest.raises(ValueError):
        Barrier(2, timeout=-1)
    b = Barrier(2)
    with pytest.raises(ValueError):
        b.wait(timeout=-1)
    with pytest.raises(TimeoutError):
        b.wait(timeout=0)
    assert b.broken
