"""run_on_main and lock_os_thread."""

import contextvars
import threading

import pytest

import gmpx
from gmpx import Cancelled, Chan, go, lock_os_thread, run_on_main

PATIENCE = 20
MAIN = threading.main_thread().ident


@pytest.fixture
def elsewhere(until):
    """elsewhere(fn, *args): runs fn in a goroutine on another thread; its handle."""
    if gmpx.gomaxprocs() < 2:
        pytest.skip("needs two Ps")

    def run(fn, *args):
        begun, where = threading.Event(), []

        def body():
            where.append(threading.get_ident())
            begun.set()
            return fn(*args)

        g = go(body)
        assert begun.wait(PATIENCE)  # the main thread stands: another M comes
        assert where != [MAIN]
        return g

    return run


def test_runs_on_the_main_thread(elsewhere, in_thread):
    g = elsewhere(lambda: run_on_main(lambda a, *, b: (a, b, threading.get_ident()), 1, b=2))
    assert g.result(PATIENCE) == (1, 2, MAIN)
    t = in_thread(run_on_main, threading.get_ident)
    gmpx.sleep(0)
    assert gmpx.blocking(run_on_main, threading.get_ident) == MAIN
    assert t.value() == MAIN


def test_on_the_main_thread_it_is_a_call():
    seen = []
    assert run_on_main(lambda: seen.append(gmpx.current()) or 5) == 5
    assert seen == [gmpx.current()]


def test_what_it_raises(elsewhere):
    def fails():
        raise KeyError("there")

    g = elsewhere(run_on_main, fails)
    with pytest.raises(KeyError) as caught:
        g.result(PATIENCE)
    assert caught.traceback[-1].name == "fails"


def test_it_may_park_and_sees_the_callers_context(elsewhere):
    var = contextvars.ContextVar("var")
    c = Chan()

    def caller():
        var.set("caller's")
        return run_on_main(lambda: (c.recv(), var.get(), threading.get_ident()))

    g = elsewhere(caller)
    c.send(1)
    assert g.result(PATIENCE) == (1, "caller's", MAIN)


def test_cancel_goes_through(elsewhere, until):
    c = Chan()
    inside = []

    def on_main():
        try:
            inside.append(gmpx.current())
            c.recv()
        finally:
            inside.append("left")

    g = elsewhere(run_on_main, on_main)
    until(lambda: inside and inside[0].status == "waiting")
    g.cancel()
    with pytest.raises(Cancelled):
        g.result(PATIENCE)
    until(lambda: inside[1:] == ["left"])


def test_cancelled_before_its_turn_it_never_runs(elsewhere, until):
    ran = []
    g = elsewhere(run_on_main, ran.append, 1)
    import time

    while g.status != "waiting":
        time.sleep(0.0001)  # main does not park: fn stays queued
    g.cancel()
    while not g.done():
        time.sleep(0.0001)
    gmpx.sleep(0.001)
    assert ran == []


def test_bad_input():
    with pytest.raises(TypeError, match="callable, not str"):
        run_on_main("x")
    with pytest.raises(TypeError):
        run_on_main()


# ---- lock_os_thread ------------------------------------------------------------------------


def test_nobody_else_runs_on_its_thread(elsewhere):
    c, back = Chan(), Chan()
    seen = []

    def alone():
        with lock_os_thread():
            me = threading.get_ident()
            for _ in range(50):
                gs = [go(threading.get_ident) for _ in range(3)]
                seen.append((me, {g.result() for g in gs}))
                c.recv()
                back.send(None)
                assert threading.get_ident() == me
        return me

    g = elsewhere(alone)
    for _ in range(50):
        c.send(None)
        back.recv()
    me = g.result(PATIENCE)
    assert all(me not in others for _, others in seen)


def test_on_the_main_goroutine():
    c = Chan()
    with lock_os_thread():
        gs = [go(threading.get_ident) for _ in range(20)]
        assert all(g.result(PATIENCE) != MAIN for g in gs)
        g = go(c.recv)
        c.send(3)
        assert g.result(PATIENCE) == 3
        gmpx.sleep(0.001)
        with pytest.raises(TimeoutError):
            c.recv(0.001)
        with pytest.raises(TimeoutError), gmpx.timeout(0.001):
            c.recv()
        gmpx.gosched()
        assert gmpx.select(c, timeout=None, block=False) == (-1, None, False)
    assert go(lambda: 1).result() == 1


def test_those_that_have_started_there_wait(elsewhere):
    order, where = [], {}
    first, hold, release = Chan(), Chan(1), Chan()

    def bound():
        where["bound"] = threading.get_ident()
        first.recv()
        order.append("bound")

    def both():
        where["alone"] = threading.get_ident()
        g = go(bound)
        while "bound" not in where:
            gmpx.gosched()
        with lock_os_thread():
            hold.send(None)
            release.recv()
            order.append("alone")
        g.join()

    g = elsewhere(both)
    hold.recv()
    first.send(None)
    release.send(None)
    g.join(PATIENCE)
    if where["bound"] == where["alone"]:
        assert order == ["alone", "bound"]
    assert sorted(order) == ["alone", "bound"]


def test_nests_and_ends_with_the_goroutine(elsewhere):
    lock = lock_os_thread()

    def nested():
        with lock, lock, lock_os_thread():
            gmpx.sleep(0.001)
        assert go(lambda: 5).result() == 5

    elsewhere(nested).result(PATIENCE)

    def forgets():
        lock_os_thread().__enter__()  # dropped at once: that unlocks
        other = lock_os_thread()
        other.__enter__()
        gmpx.sleep(0.001)

    for _ in range(5):
        elsewhere(forgets).result(PATIENCE)
    assert gmpx.map(lambda x: x, range(100)) == list(range(100))


def test_misuse(elsewhere):
    lock = lock_os_thread()
    with pytest.raises(RuntimeError, match="without being entered"):
        lock.__exit__(None, None, None)
    with lock:
        g = elsewhere(lock.__enter__)
        with pytest.raises(RuntimeError, match="another goroutine"):
            g.result(PATIENCE)
        g = elsewhere(lock.__exit__, None, None, None)
        with pytest.raises(RuntimeError, match="another goroutine"):
            g.result(PATIENCE)


def test_on_a_foreign_thread_it_changes_nothing(in_thread):
    def body():
        with lock_os_thread():
            gmpx.sleep(0.001)
            return go(lambda: 3).result()

    assert in_thread(body).value() == 3


def test_many_locked_threads(elsewhere, until):
    """Each has a thread of its own, and others still run: U4."""
    c, ready = Chan(), Chan(100)

    def alone():
        with lock_os_thread():
            ready.send(threading.get_ident())
            return c.recv()

    gs = []
    for n in range(8):
        gs.append(elsewhere(alone))
        until(lambda n=n: len(ready) == n + 1)
    idents = {ready.recv() for _ in range(8)}
    assert len(idents) == 8
    assert gmpx.map(lambda x: x, range(100)) == list(range(100))
    for n in range(8):
        c.send(n)
    assert sorted(g.result(PATIENCE) for g in gs) == list(range(8))


def test_cancel_reaches_it(elsewhere, until):
    def alone():
        with lock_os_thread():
            Chan().recv()

    g = elsewhere(alone)
    until(lambda: g.status == "waiting")
    g.cancel()
    with pytest.raises(Cancelled):
        g.result(PATIENCE)
