"""A P's ring, one operation at a time: FIFO, overflow, stealing, conservation (R1-R5)."""

import sysconfig

import pytest

import gmpx
from gmpx import _core
from gmpx._core import Processor

SLOTS = 256
HALF = SLOTS // 2
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.fixture
def make():
    """make(n): n runnable goroutines that are on no queue; a test must have got them all back.

    No other M lives while this is used, so nobody else takes from the global queue.
    """
    gmpx.shutdown()
    made, ran = [], []

    def make(n=1):
        new = [_core._test_goroutine(lambda: ran.append(_core.current().id)) for _ in range(n)]
        made.extend(new)
        return new

    yield make
    # Each one still works, once it is published.
    assert _core._glob_runq_len() == 0
    for g in made:
        assert g.status == "runnable"
        _core._publish(g)
    for g in made:
        g.join()
    assert sorted(ran) == sorted(g.id for g in made)


def drain(p):
    return list(iter(lambda: _core._runq_get(p), None))


def drain_overflow(p):
    return list(iter(lambda: _core._overflow_get(p), None))


def fill(p, gs):
    for g in gs:
        _core._runq_put(p, g)


def test_an_empty_ring_gives_nothing():
    p, thief = Processor(), Processor()
    assert len(p) == 0 and bool(p)
    assert _core._runq_get(p) is None
    assert _core._runq_steal(thief, p) is None
    assert len(thief) == 0


@pytest.mark.parametrize("n", [1, 2, 4, 255, 256])
def test_what_is_put_comes_out_in_order(n, make):
    p, gs = Processor(), make(n)
    for i, g in enumerate(gs):
        assert len(p) == i
        _core._runq_put(p, g)
    assert len(p) == n and _core._glob_runq_len() == 0
    assert drain(p) == gs
    assert len(p) == 0


def test_order_holds_while_the_indices_wrap(make, rng):
    p, gs = Processor(), make(100)
    ring, off = [], list(gs)
    for _ in range(5000):
        if off and (not ring or rng.random() < 0.5):
            g = off.pop(rng.randrange(len(off)))
            _core._runq_put(p, g)
            ring.append(g)
        else:
            g = _core._runq_get(p)
            assert g is ring.pop(0)
            off.append(g)
        assert len(p) == len(ring)
    assert drain(p) == ring


def test_a_full_ring_spills_its_older_half_and_the_new_one(make):
    p, gs = Processor(), make(SLOTS + 1)
    fill(p, gs)
    assert len(p) + _core._glob_runq_len() == SLOTS + 1 and _core._overflow_len(p) == HALF + 1
    assert drain(p) == gs[HALF:SLOTS], "the younger half stays, in order"
    assert drain_overflow(p) == gs[:HALF] + gs[SLOTS:]


def test_overflow_again_and_again_loses_nothing(make):
    p, gs = Processor(), make(2000)
    fill(p, gs)
    assert len(p) + _core._glob_runq_len() == 2000
    local, others = drain(p), drain_overflow(p)
    assert sorted(g.id for g in local + others) == sorted(g.id for g in gs)
    assert local == sorted(local, key=gs.index), "FIFO within the ring"


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 100, 255, 256])
def test_a_thief_takes_the_older_half_rounded_up(n, make):
    victim, thief, gs = Processor(), Processor(), make(n)
    fill(victim, gs)
    first = _core._runq_steal(thief, victim)
    taken = (n + 1) // 2
    assert first is gs[0], "the oldest runs first"
    assert len(thief) == taken - 1 and len(victim) == n - taken
    assert drain(thief) == gs[1:taken]
    assert drain(victim) == gs[taken:]


@pytest.mark.parametrize("most", [1, 2, 3, 64, 128])
def test_a_thief_takes_no_more_than_it_is_allowed(most, make):
    victim, thief, gs = Processor(), Processor(), make(200)
    fill(victim, gs)
    taken = min(most, 100)
    assert _core._runq_steal(thief, victim, most) is gs[0]
    assert drain(thief) == gs[1:taken]
    assert drain(victim) == gs[taken:]


def test_stealing_to_the_end_takes_each_once(make):
    victim, thief, gs = Processor(), Processor(), make(SLOTS)
    fill(victim, gs)
    got, visits = [], 0
    while (g := _core._runq_steal(thief, victim)) is not None:
        got += [g, *drain(thief)]
        visits += 1
    assert got == gs
    assert visits == 9, "128, 64, 32, 16, 8, 4, 2, 1, 1"


def test_a_thief_from_whom_is_stolen(make):
    a, b, c, gs = Processor(), Processor(), Processor(), make(100)
    fill(a, gs)
    got = [_core._runq_steal(b, a), _core._runq_steal(c, b)]
    got += drain(a) + drain(b) + drain(c)
    assert sorted(g.id for g in got) == sorted(g.id for g in gs)


def test_a_thief_with_work_of_its_own_is_refused(make):
    victim, thief, gs = Processor(), Processor(), make(4)
    fill(victim, gs[:2])
    fill(thief, gs[2:])
    with pytest.raises(ValueError):
        _core._runq_steal(thief, victim)
    with pytest.raises(ValueError):
        _core._runq_steal(victim, victim)
    assert drain(victim) == gs[:2] and drain(thief) == gs[2:]


def test_random_puts_gets_and_steals_conserve(make, rng):
    ps, gs = [Processor() for _ in range(4)], make(600)
    off = list(gs)
    on = [[] for _ in ps]
    shared = [[] for _ in range(4)]
    for _ in range(6000):
        i, j = rng.sample(range(4), 2)
        what = rng.random()
        if what < 0.55 and off:
            g = off.pop()
            _core._runq_put(ps[i], g)
            if len(on[i]) == SLOTS:
                shared[0 if FREE_THREADED else i] += on[i][:HALF] + [g]
                del on[i][:HALF]
            else:
                on[i].append(g)
        elif what < 0.9:
            g = _core._runq_get(ps[i])
            assert g is (on[i].pop(0) if on[i] else None)
            if g is not None:
                off.append(g)
        elif not on[i]:
            g = _core._runq_steal(ps[i], ps[j])
            n = (len(on[j]) + 1) // 2
            assert g is (on[j][0] if n else None)
            on[i], on[j] = on[j][1:n], on[j][n:]
            if g is not None:
                off.append(g)
        spilled = [0 if FREE_THREADED else _core._overflow_len(p) for p in ps]
        assert [len(p) - n for p, n in zip(ps, spilled)] == [len(x) for x in on]
    assert [drain(p) for p in ps] == on
    assert [drain_overflow(p) for p in ps] == shared
