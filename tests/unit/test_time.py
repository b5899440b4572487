"""sleep and the timer heap: order, accuracy to the early side, many at once, time-outs that are not used."""

import time

import pytest

import gmpx


@pytest.mark.parametrize("seconds", [0.0001, 0.001, 0.01])
def test_sleep_lasts_at_least_as_long(seconds, in_thread):
    def body():
        start = time.monotonic()
        assert gmpx.sleep(seconds) is None
        return time.monotonic() - start

    assert body() >= seconds
    assert gmpx.go(body).result() >= seconds
    assert in_thread(body).value() >= seconds


def test_sleep_0_yields_like_gosched():
    gmpx.shutdown()
    order = []
    gs = [gmpx.go(lambda i=i: [(order.append(i), gmpx.sleep(z)) for z in (0, 0.0, -0.0)])
          for i in range(3)]
    for g in gs:
        g.result()
    assert order == [0, 1, 2] * 3


def test_sleepers_wake_in_the_order_of_their_deadlines(rng):
    # Deadlines are 1 ms apart from the start of all, whatever the order of spawning.
    gmpx.shutdown()
    order = []
    delays = [i / 1000 for i in range(1, 51)]
    rng.shuffle(delays)
    start = time.monotonic() + 0.02

    def body(delay):
        gmpx.sleep(start + delay - time.monotonic())
        order.append(delay)

    gs = [gmpx.go(body, d) for d in delays]
    for g in gs:
        g.result()
    assert order == sorted(delays)


def test_many_timers_at_once_each_fire_once(rng):
    woken = []

    def body(i, delay):
        gmpx.sleep(delay)
        woken.append(i)

    gs = [gmpx.go(body, i, rng.random() * 0.05) for i in range(5000)]
    for g in gs:
        g.result()
    assert sorted(woken) == list(range(5000))


@pytest.mark.in_order
def test_others_run_while_one_sleeps(until):
    g = gmpx.go(gmpx.sleep, 30)
    assert [gmpx.go(lambda i=i: i).result() for i in range(100)] == list(range(100))
    assert g.status == "waiting" and g.wait_reason == "sleep"
    g.cancel()
    assert type(g.exception()) is gmpx.Cancelled


def test_a_timer_that_comes_before_all_others_is_not_slept_over(parked):
    # Main sleeps for the long one; the short one comes first.
    long = gmpx.go(gmpx.sleep, 60)
    parked(long)
    start = time.monotonic()
    for _ in range(5):
        gmpx.go(gmpx.sleep, 0.002).result()
        gmpx.sleep(0.002)
    assert time.monotonic() - start < 30
    long.cancel()
    long.join()


def test_timers_fire_while_another_goroutine_keeps_yielding():
    stop = []

    def yields():
        while not stop:
            gmpx.gosched()

    g = gmpx.go(yields)
    gmpx.sleep(0.002)
    stop.append(1)
    g.result()


def test_timers_of_an_m_fire_while_main_stands_still(on_other_m):
    import threading

    done = threading.Event()
    g = on_other_m(lambda: (gmpx.sleep(0.005), done.set()))
    assert done.wait(20), "nobody looked at the timers"
    g.result()


def test_unused_timeouts_leave_no_timer(parked):
    # 20,000 waits with long time-outs that end at once: none of their timers may wake anybody.
    c, d = gmpx.Chan(), gmpx.Chan()

    def echo():
        for v in c:
            d.send(v, 3600)

    g = gmpx.go(echo)
    for i in range(5000):
        c.send(i, 3600)
        assert d.recv(3600) == i
    c.close()
    g.result()
    with pytest.raises(TimeoutError):
        d.recv(0.001)


@pytest.mark.in_order
def test_a_short_timeout_after_a_long_one_and_the_other_way_round():
    c = gmpx.Chan()
    gs = []
    for timeout in (5, 0.001, 30, 0.002, None, 0.0005):
        gs.append((timeout, gmpx.go(c.recv, timeout)))
    for timeout, g in gs:
        if timeout is not None and timeout < 1:
            assert type(g.exception()) is TimeoutError
    gmpx.gosched()
    assert [g.done() for timeout, g in gs] == [False, True, False, True, False, True]
    for v in "abc":
        c.send(v)
    assert [g.result() for timeout, g in gs if timeout is None or timeout > 1] == ["a", "b", "c"]


def test_timeouts_do_not_fire_early(rng):
    def body(timeout):
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            gmpx.Chan().recv(timeout)
        return time.monotonic() - start - timeout

    gs = [gmpx.go(body, rng.random() * 0.02) for _ in range(200)]
    assert min(g.result() for g in gs) >= 0


def test_a_cancelled_sleeper_leaves_the_heap(rng):
    gs = [gmpx.go(gmpx.sleep, 10 + rng.random()) for _ in range(500)]
    gmpx.gosched()
    rng.shuffle(gs)
    for g in gs:
        assert g.cancel() is True
    for g in gs:
        assert type(g.exception()) is gmpx.Cancelled
    assert gmpx.go(gmpx.sleep, 0.001).result() is None
