"""What Go's runtime/proc_test.go checks, asked of gmpx. Each test names the one it answers to.

Left out, with why:
    TestStopTheWorldDeadlock, TestGCFairness*, TestTrace*STW, TestMexitSTW: nothing stops a world.
    TestPreemption*, TestAsyncPreempt, TestPreemptSplitBig, TestPreemptionAfterSyscall: goroutines
        are not preempted (yet).
    TestGoroutineParallelism*: Python code runs in parallel only where there is no GIL.
    TestSchedLocalQueue, TestSchedLocalQueueSteal, TestSchedLocalQueueEmpty, TestStealOrder: the ring
        is driven one operation at a time in tests/unit/test_runq.py and tests/native.
    TestLockOSThreadExit, -AvoidsStatePropagation, -TemplateThreadRace, -Vgetrandom: threads do not
        end with a lock held, and none is made from another's state.
    TestGetgThreadSwitch, TestNetpollBreak: assembly; no poller of files.
"""

import threading
import time

import pytest

import gmpx
from gmpx import Chan, go

PATIENCE = 20


def spinner(stop):
    while not stop:
        gmpx.gosched()


@pytest.mark.parametrize("locked", [False, True])
def test_yielding_lets_others_go_on(locked):
    """TestYieldProgress, TestYieldLockedProgress."""
    stop, went_on = [], []

    def spin():
        if locked and threading.current_thread() is not threading.main_thread():
            with gmpx.lock_os_thread():
                spinner(stop)
        else:
            spinner(stop)

    gs = [go(spin) for _ in range(2)]

    def other():
        for n in range(100):
            gmpx.gosched()
            went_on.append(n)

    go(other).join(PATIENCE)
    stop.append(True)
    for g in gs:
        g.join(PATIENCE)
    assert len(went_on) == 100


def test_yielding_in_a_locked_thread_ends():
    """TestYieldLocked."""

    def body():
        with gmpx.lock_os_thread():
            for _ in range(10):
                gmpx.gosched()
                time.sleep(0)
        return "done"

    with gmpx.lock_os_thread():
        g = go(body)
        assert g.result(PATIENCE) == "done"


def test_blocking_in_a_locked_thread():
    """TestBlockLocked."""
    c = Chan()

    def sender():
        with gmpx.lock_os_thread():
            for n in range(50):
                c.send(n)

    with gmpx.lock_os_thread():
        go(sender)
        assert [c.recv() for _ in range(50)] == list(range(50))


@pytest.mark.parametrize("how", ["after", "channel"])
def test_timers_fire_beside_busy_goroutines(how):
    """TestTimerFairness, TestTimerFairness2."""
    stop = []
    done = Chan()

    def busy():
        c = Chan(1)
        while not stop:
            if how == "after":
                gmpx.sleep(0.0001)
            else:
                gmpx.after(0.00005).recv()
            c.send(1)
            c.recv()
        done.send(None)

    for _ in range(2):
        go(busy)
    assert gmpx.after(0.02).recv(timeout=PATIENCE) > 0
    stop.append(True)
    done.recv()
    done.recv()


def test_num_goroutine_agrees_with_the_list():
    """TestNumGoroutine."""
    before = gmpx.num_goroutine()
    c = Chan()
    gs = [go(c.recv) for _ in range(20)]
    gmpx.gosched()
    assert gmpx.num_goroutine() == len(gmpx.goroutines()) == before + 20
    c.close()
    for g in gs:
        g.join()
    assert gmpx.num_goroutine() == before


def test_ping_pong_beside_a_hog_that_yields():
    """TestPingPongHog: the pair shares its time slice, the hog gets its turn."""
    stop, hogged = [], [0]
    ping, pong = Chan(), Chan()

    def hog():
        while not stop:
            hogged[0] += 1
            gmpx.gosched()

    def one(a, b):
        for value in a:
            b.send(value)
        b.close()

    h = go(hog)
    go(one, ping, pong)
    for n in range(1000):
        ping.send(n)
        assert pong.recv() == n
    stop.append(True)
    h.join()
    ping.close()
    assert hogged[0] > 0


def test_lock_os_thread_nests():
    """TestLockOSThreadNesting."""

    def body():
        lock = gmpx.lock_os_thread()
        with lock, lock, lock:
            pass
        with pytest.raises(RuntimeError):
            lock.__exit__(None, None, None)

    go(body).result(PATIENCE)


def test_very_many_processors():
    """TestBigGOMAXPROCS."""
    before = gmpx.gomaxprocs(1024)
    try:
        assert gmpx.gomaxprocs() == 1024
        assert gmpx.map(lambda x: x, range(100)) == list(range(100))
        with pytest.raises(ValueError):
            gmpx.gomaxprocs(1025)
    finally:
        gmpx.gomaxprocs(before)
