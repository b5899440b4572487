"""shutdown: who is cancelled, what ends, what a time-out leaves, that all starts anew."""

import threading
import time

import pytest

import gmpx


def machines():
    return gmpx.stats()["machines"]


def test_it_may_be_called_any_time_and_again():
    for _ in range(3):
        assert gmpx.shutdown() is None
        assert gmpx.shutdown(0) is None
        assert gmpx.shutdown(timeout=5) is None
    assert gmpx.go(lambda: 1).result() == 1


def test_parked_goroutines_get_cancelled_and_run_their_finally_blocks(parked):
    c = gmpx.Chan()
    ended = []

    def body(i):
        try:
            c.recv()
        finally:
            ended.append(i)

    gs = [gmpx.go(body, i) for i in range(20)]
    parked(*gs)
    gmpx.shutdown()
    assert sorted(ended) == list(range(20))
    for g in gs:
        assert g.done()
        assert type(g.exception()) is gmpx.Cancelled
        with pytest.raises(gmpx.Cancelled):
            g.result()
    with pytest.raises(gmpx.WouldBlock):
        c.send_nowait("nobody waits any more")


def test_every_kind_of_wait_is_cancelled(parked):
    mu, wg, c = gmpx.Mutex(), gmpx.WaitGroup(), gmpx.Chan()
    mu.lock()
    wg.add()
    waits = [mu.lock, wg.wait, gmpx.Chan().recv, lambda: c.send(1), lambda: gmpx.sleep(60),
             lambda: mu.lock(60)]
    gs = [gmpx.go(w) for w in waits]
    gs.append(gmpx.go(gs[0].join))
    parked(*gs[:-1])
    gmpx.shutdown()
    assert [type(g.exception()) for g in gs[:-1]] == [gmpx.Cancelled] * 6
    assert gs[-1].done()
    mu.unlock()
    assert mu.try_lock(), "no cancelled waiter was handed the lock"


@pytest.mark.in_order
def test_queued_ones_never_run(hook):
    ran = []
    gs = [gmpx.go(ran.append, i) for i in range(500)]
    gmpx.shutdown()
    assert ran == [] and all(type(g.exception()) is gmpx.Cancelled for g in gs)
    for i in range(10):
        gmpx.go(ran.append, i)
    gmpx.shutdown()
    assert ran == [] and hook == [], "a cancel is nobody's failure"


def test_finally_blocks_may_park_and_spawn(parked):
    c, seen = gmpx.Chan(), []

    def body():
        try:
            c.recv()
        finally:
            gmpx.sleep(0.001)
            gmpx.go(seen.append, "spawned in finally")
            seen.append("slept")

    g = gmpx.go(body)
    parked(g)
    gmpx.shutdown()
    assert "slept" in seen and g.done()
    assert gmpx.num_goroutine() == 1


def test_one_that_swallows_the_cancel_is_asked_again(parked):
    c, swallowed = gmpx.Chan(), []

    def body():
        for _ in range(3):
            try:
                c.recv()
            except gmpx.Cancelled:
                swallowed.append(1)
        return "ended by itself"

    g = gmpx.go(body)
    parked(g)
    with pytest.raises(TimeoutError):
        gmpx.shutdown(0.01)
    while not g.done():
        try:
            gmpx.shutdown(0.01)
        except TimeoutError:
            pass
    assert len(swallowed) == 3 and g.result() == "ended by itself"


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_on_expiry_what_is_left_keeps_running(timeout, parked):
    release = gmpx.Chan()

    def body():
        while True:
            try:
                return release.recv()
            except gmpx.Cancelled:
                pass

    g = gmpx.go(body)
    parked(g)
    with pytest.raises(TimeoutError):
        gmpx.shutdown(timeout)
    assert not g.done()
    assert gmpx.go(lambda: 1).result() == 1
    release.send("still here")
    assert g.result() == "still here"
    gmpx.shutdown()


def test_threads_of_the_runtime_end_and_come_again(on_other_m):
    on_other_m(int).join()
    assert machines() > 1
    gmpx.shutdown()
    assert machines() == 1
    for _ in range(3):
        on_other_m(int).join()
        gmpx.shutdown()
        assert machines() == 1


def test_other_ms_come_again_after_shutdown():
    gmpx.go(int).join()
    gmpx.shutdown()
    event = threading.Event()
    g = gmpx.go(event.set)
    assert event.wait(5), "nobody watches the queue any more"
    g.join()


def test_goroutines_on_other_ms_are_cancelled_too(on_other_m, parked):
    c = gmpx.Chan()
    g = on_other_m(c.recv)
    parked(g)
    gmpx.shutdown()
    assert type(g.exception()) is gmpx.Cancelled
    assert machines() == 1


def test_a_busy_goroutine_elsewhere_is_waited_for(on_other_m):
    stop = []

    def body():
        while not stop:
            time.sleep(0.0005)
        return "finished"

    g = on_other_m(body)
    with pytest.raises(TimeoutError):
        gmpx.shutdown(0.01)
    assert not g.done()
    stop.append(1)
    gmpx.shutdown()
    assert g.result() == "finished", "it never came to a park"


def test_only_main_may(in_thread):
    assert type(gmpx.go(gmpx.shutdown).exception()) is RuntimeError
    with pytest.raises(RuntimeError):
        in_thread(gmpx.shutdown).value()
    assert gmpx.go(lambda: 1).result() == 1


@pytest.mark.parametrize("bad, error", [
    (-1, ValueError), (float("nan"), ValueError), ("1", TypeError), ([], TypeError)])
def test_bad_timeouts_stop_nothing(bad, error, parked):
    c = gmpx.Chan()
    g = gmpx.go(c.recv)
    parked(g)
    with pytest.raises(error):
        gmpx.shutdown(bad)
    assert g.status == "waiting"
    c.send(1)
    assert g.result() == 1


def test_a_foreign_threads_wait_survives(in_thread, until):
    c = gmpx.Chan()
    thread = in_thread(c.recv)
    until(lambda: any(g.name.startswith("thread ") and g.status == "waiting"
                      for g in gmpx.goroutines()))
    gmpx.shutdown()
    c.send("unharmed")
    assert thread.value() == "unharmed"


def test_shutdown_while_a_thread_keeps_spawning(in_thread):
    stop, handles = [], []

    def spawn():
        while not stop:
            handles.append(gmpx.go(int))
            time.sleep(0.0002)

    thread = in_thread(spawn)
    for _ in range(5):
        try:
            gmpx.shutdown(0.05)
        except TimeoutError:
            pass
    stop.append(1)
    thread.value()
    for g in handles:
        assert g.exception(20) is None or type(g.exception()) is gmpx.Cancelled
