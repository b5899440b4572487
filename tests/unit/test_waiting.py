"""wait, as_completed, gather."""

import concurrent.futures
import gc

import pytest

import gmpx
from gmpx import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    Cancelled,
    Chan,
    as_completed,
    gather,
    go,
    wait,
)


def later(n, value=None):
    gmpx.sleep(0.002 * n)
    if isinstance(value, BaseException):
        raise value
    return value


def test_wait_for_all():
    gs = [go(later, n) for n in (2, 0, 1)]
    done, not_done = wait(gs + gs)
    assert done == set(gs) and not_done == set()
    assert wait([]) == (set(), set())
    assert wait(iter(gs), timeout=0).done == set(gs)


def test_wait_for_the_first():
    c = Chan()
    gs = [go(c.recv), go(c.recv), go(later, 1)]
    done, not_done = wait(gs, return_when=FIRST_COMPLETED)
    assert done == {gs[2]} and not_done == set(gs[:2])
    c.send(1)
    c.send(2)
    assert wait(gs).not_done == set()


def test_wait_for_the_first_exception():
    c = Chan()
    gs = [go(c.recv), go(int), go(later, 1, KeyError())]
    done, not_done = wait(gs, return_when=FIRST_EXCEPTION)
    assert done == set(gs[1:]) and not_done == {gs[0]}
    assert isinstance(gs[2].exception(), KeyError)
    c.send(1)
    assert wait(gs[:2], return_when=FIRST_EXCEPTION).not_done == set()


@pytest.mark.parametrize("how", [ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION])
def test_wait_with_a_timeout_returns(how):
    c = Chan()
    g = go(c.recv)
    for t in (0, 0.002):
        assert wait([g], timeout=t, return_when=how) == (set(), {g})
    c.close()
    g.exception()


def test_wait_does_not_read_the_exception(monkeypatch):
    heard = []
    monkeypatch.setattr(gmpx, "excepthook", lambda g, e: heard.append(e))
    g = go(later, 0, KeyError())
    wait([g], return_when=FIRST_EXCEPTION)
    del g
    gc.collect()
    assert [type(e) for e in heard] == [KeyError]


def test_as_completed():
    gs = [go(later, n, n) for n in (3, 1, 2)]
    assert [g.result() for g in as_completed(gs + gs[:1])] == [1, 2, 3]
    assert list(as_completed([])) == []
    c = Chan()
    g, h = go(c.recv), go(int)
    it = as_completed([g, h], timeout=0.005)
    assert next(it) is h
    with pytest.raises(TimeoutError, match="1 of 2"):
        next(it)
    c.send(None)


def test_an_iterator_that_is_left_leaves_no_callbacks():
    c = Chan()
    g, h = go(c.recv), go(int)
    for _ in range(100):
        it = as_completed([g, h])
        assert next(it) is h
        it.close()
        wait([g, h], return_when=FIRST_COMPLETED)
    assert gmpx._core._n_callbacks(g) == 0
    c.send(None)


def test_gather():
    assert gather(*[go(later, n, n) for n in (2, 0, 1)]) == [2, 0, 1]
    assert gather() == []
    c = Chan()
    g, bad = go(c.recv), go(later, 1, KeyError("k"))
    with pytest.raises(KeyError):
        gather(g, bad)
    assert not g.done()
    c.send("v")
    found = gather(g, bad, g, return_exceptions=True)
    assert found[0] == found[2] == "v" and isinstance(found[1], KeyError)


def test_a_cancelled_gather_cancels():
    gs = [go(Chan().recv) for _ in range(3)]
    outer = go(gather, *gs)
    while outer.wait_reason != "chan receive":
        gmpx.gosched()
    outer.cancel()
    with pytest.raises(Cancelled):
        outer.result()
    for g in gs:
        assert isinstance(g.exception(), Cancelled)


def test_bad_input():
    for f in (wait, as_completed, lambda gs: gather(*gs)):
        with pytest.raises(TypeError, match="Goroutine or Future is needed"):
            f([3])
    with pytest.raises(ValueError):
        wait([], return_when="SOMETIMES")
    for f in (wait, as_completed):
        with pytest.raises(ValueError):
            f([], timeout=-1)


def test_one_that_takes_no_callback_leaves_none_with_the_others():
    class Refuses(concurrent.futures.Future):
        def add_done_callback(self, fn):
            raise LookupError("no")

    for _ in range(20):  # sets have no order
        others = [concurrent.futures.Future() for _ in range(4)]
        with pytest.raises(LookupError):
            gmpx.wait([*others, gmpx.current(), Refuses()], return_when=gmpx.FIRST_COMPLETED)
        assert all(f._done_callbacks == [] for f in others)
        for f in others:
            f.set_result(None)
