"""blocking: calls on spare threads."""

import contextvars
import gc
import sys
import threading
import weakref

import pytest

import gmpx
from gmpx import Cancelled, Chan, blocking, go

PATIENCE = 20


class Gate:
    """Something for a call to stand at, in a way that the runtime does not see."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def stand(self, answer=None):
        self.begun.set()
        assert self.open.wait(PATIENCE)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


def test_runs_elsewhere_and_returns():
    here = threading.get_ident()
    assert blocking(lambda a, *, b: (a, b, threading.get_ident() != here), 1, b=2) == (1, 2, True)
    assert blocking(threading.current_thread).daemon
    assert blocking(lambda: threading.current_thread().name).startswith("gmpx blocking ")


def test_others_run_meanwhile(gate, until):
    g = go(blocking, gate.stand, 7)
    until(lambda: g.wait_reason == "blocking call")
    assert gmpx.map(lambda x: x + 1, range(10)) == list(range(1, 11))
    gate.open.set()
    assert g.result(PATIENCE) == 7


@pytest.mark.parametrize("where", ["main", "goroutine", "thread"])
def test_from_everywhere(where, in_thread):
    def call():
        with pytest.raises(ZeroDivisionError):
            blocking(lambda: 1 / 0)
        return blocking(str, 5)

    if where == "main":
        assert call() == "5"
    elif where == "goroutine":
        assert go(call).result() == "5"
    else:
        assert in_thread(call).value() == "5"


def test_what_it_raises_has_its_own_traceback():
    def deep():
        raise KeyError("here")

    with pytest.raises(KeyError) as caught:
        blocking(deep)
    names = [entry.name for entry in caught.traceback]
    assert names[-1] == "deep"
    with pytest.raises(SystemExit):
        blocking(sys.exit, 3)


def test_context_is_copied():
    var = contextvars.ContextVar("var", default=0)
    var.set(1)

    def inside():
        seen = var.get()
        var.set(2)
        return seen

    assert blocking(inside) == 1 and var.get() == 1


def test_cancel_leaves_at_once_and_tells_of_the_failure(gate, until, hook):
    g = go(blocking, gate.stand, ValueError("late"))
    assert gate.begun.wait(PATIENCE)
    until(lambda: g.status == "waiting")
    assert g.cancel()
    with pytest.raises(Cancelled):
        g.result(PATIENCE)
    assert hook == []
    gate.open.set()
    until(lambda: hook)
    [(who, exc)] = hook
    assert who is g and isinstance(exc, ValueError)


def test_a_dropped_result_is_freed(gate, until):
    class Big:
        pass

    big = Big()
    seen = weakref.ref(big)
    g = go(blocking, gate.stand, big)
    until(lambda: g.status == "waiting")
    g.cancel()
    g.join()
    del big
    gate.open.set()
    until(lambda: seen() is None)


def test_timeout_and_shield(gate):
    with pytest.raises(TimeoutError), gmpx.timeout(0.01):
        blocking(gate.stand)
    go(lambda: gate.open.set())
    with pytest.raises(TimeoutError), gmpx.timeout(0):
        with gmpx.shield():
            assert blocking(gate.stand, 4) == 4
        blocking(pytest.fail, "a cancelled block does not begin a call")


def test_pending_cancel_comes_before_the_call():
    ran = []

    def body():
        gmpx.current().cancel()
        blocking(ran.append, 1)

    with pytest.raises(Cancelled):
        go(body).result()
    blocking(int)
    assert ran == []


def test_what_it_held_is_gone():
    class Thing:
        def method(self, other):
            return None

    thing, other = Thing(), Thing()
    seen = [weakref.ref(thing), weakref.ref(other)]
    blocking(thing.method, other)
    del thing, other
    gc.collect()
    assert [ref() for ref in seen] == [None, None]


def test_bad_input():
    with pytest.raises(TypeError, match="callable, not int"):
        blocking(3)
    with pytest.raises(TypeError):
        blocking()


def test_nested_calls_run_on_the_same_thread():
    def outer():
        return blocking(threading.get_ident) == threading.get_ident()

    assert blocking(outer)


def test_many_more_calls_than_threads():
    c = Chan(1000)
    got = gmpx.map(lambda n: blocking(lambda: c.send(n) or n), range(300))
    assert got == list(range(300)) and len(c) == 300
    assert gmpx.stats()["blocking_threads"] <= 64
    assert gmpx.stats()["blocking_queued"] == 0
