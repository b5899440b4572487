"""What Go's time/sleep_test.go and tick_test.go check, asked of gmpx; much of it in virtual time.

Left out: TestZeroTimer*Panics, TestTickerStopWithDirectInitialization (no zero values here),
TestIssue5745, TestOverflowPeriodRuntimeTimer, TestAdjustTimers, TestLongAdjustTimers,
TestTimerModifiedEarlier's bounds on real time (the heap has tests/native), TestTimerGC and
TestChan (Go's two implementations of timer channels).
"""

import time

import pytest

import gmpx
from gmpx import Ticker, Timer, after, after_func, go
from gmpx.testing import bubble


@pytest.fixture
def virtual():
    gmpx.shutdown(20)
    with bubble() as b:
        yield b


def test_sleep_lasts(virtual):
    """TestSleep, in the world's time and in virtual time."""
    gmpx.sleep(100)
    assert virtual.elapsed == 100


def test_sleep_lasts_in_the_world():
    """TestSleep."""
    began = time.monotonic()
    gmpx.sleep(0.01)
    assert time.monotonic() - began >= 0.01


def test_after_func_that_starts_the_next(virtual):
    """TestAfterFunc."""
    left, done = [10], gmpx.Chan()

    def step():
        left[0] -= 1
        if left[0] >= 0:
            after_func(0, step)
            gmpx.sleep(1)
        else:
            done.send(None)

    after_func(0, step)
    done.recv()


def test_after_func_starves_nobody():
    """TestAfterFuncStarvation: two functions that start each other leave room for a third."""
    stop, seen = [], gmpx.Chan(1)

    def again(other):
        if not stop:
            after_func(0, again, other)

    for _ in range(2):
        after_func(0, again, None)
    after_func(0.002, seen.send, True)
    assert seen.recv(20)
    stop.append(True)


def test_after_is_not_early(virtual):
    """TestAfter, TestAfterTimes: what comes is the time at which it fired."""
    began = time.monotonic()
    for delay in (0.1, 100, 3e-6):
        before = time.monotonic()
        at = after(delay).recv()
        assert at - before == pytest.approx(delay, abs=1e-9)
    assert time.monotonic() - began == pytest.approx(100.100003)


def test_after_tick(virtual):
    """TestAfterTick."""
    for _ in range(10):
        after(100).recv()
    assert virtual.elapsed == 1000


def test_stop_keeps_it_from_firing(virtual):
    """TestAfterStop, TestStopResult: stop says whether it did."""
    fired = []
    t = after_func(100, fired.append, 1)
    c = Timer(200)
    assert t.stop() is True and t.stop() is False
    assert c.stop() is True and c.stop() is False
    gmpx.sleep(400)
    assert fired == [] and len(c.c) == 0
    late = after_func(1, fired.append, 2)
    gmpx.sleep(2)
    assert fired == [2] and late.stop() is False


def test_after_queues_in_order_of_time(virtual):
    """TestAfterQueuing."""
    slots = [5, 3, 6, 6, 6, 1, 1, 2, 7, 9, 4, 8, 0]
    got = gmpx.Chan(len(slots))

    def wait(slot):
        at = after(slot).recv()
        got.send((slot, at))

    for slot in slots:
        go(wait, slot)
    came = [got.recv() for _ in slots]
    assert [slot for slot, _ in came] == sorted(slots)
    assert [at for _, at in came] == sorted(at for _, at in came)


def test_stopping_many_that_are_about_to_fire():
    """TestTimerStopStress: what has been stopped does not run."""

    def one(n):
        ran = gmpx.Chan(1)
        t = after_func(0.0002 * n, ran.send, n)
        gmpx.sleep(0.0002)
        if t.stop():
            gmpx.sleep(0.001)
            assert len(ran) == 0
        else:
            assert ran.recv(20) == n

    for g in [go(one, n % 3) for n in range(100)]:
        g.result(20)


def test_sleep_zero_beside_timers():
    """TestSleepZeroDeadlock."""
    g = go(lambda: [gmpx.sleep(0) for _ in range(100)])
    for _ in range(100):
        gmpx.sleep(0)
        after(0).recv(20)
    g.join(20)


@pytest.mark.parametrize("first, second", [(100, 10), (10, 100)])
def test_reset(virtual, first, second):
    """TestReset, TestResetResult."""
    t = Timer(first)
    gmpx.sleep(5)
    assert t.reset(second) is True
    began = virtual.elapsed
    t.c.recv()
    assert virtual.elapsed - began == second
    assert t.reset(1) is False
    t.c.recv()


def test_very_long_sleeps(virtual):
    """TestOverflowSleep: forever, or nearly so, is no time at all ago."""
    big = 2.0 ** 62
    assert gmpx.select(after(big), after(25))[0] == 1
    assert gmpx.select(after(float("inf")), after(25))[0] == 1
    assert after(0).recv() >= 0


def test_one_timer_wakes_many_once_each(virtual):
    """TestMultiWakeupTimer, TestMultiWakeupTicker: each tick goes to one."""
    for make, n in ((Timer, 1), (Ticker, 5)):
        t, got = make(1), []
        gs = [go(lambda t=t, got=got: got.append(t.c.recv())) for _ in range(8)]
        gmpx.sleep(n + 0.5)
        t.stop()
        assert len(got) == n == len(set(got))
        for g in gs:
            g.cancel()


def test_ticker_keeps_its_beat(virtual):
    """TestTicker, TestTick, TestTickTimes."""
    began = time.monotonic()
    ticker = Ticker(0.1)
    assert [ticker.c.recv() - began for _ in range(10)] == pytest.approx(
        [0.1 * k for k in range(1, 11)])
    ticker.reset(0.5)
    began = time.monotonic()
    assert [ticker.c.recv() - began for _ in range(4)] == pytest.approx([0.5, 1, 1.5, 2])
    ticker.stop()
    gmpx.sleep(10)
    assert len(ticker.c) == 0


def test_ticker_drops_what_nobody_takes(virtual):
    """TestTicker's slow receiver."""
    ticker = Ticker(1)
    gmpx.sleep(10.5)
    first = ticker.c.recv()
    second = ticker.c.recv()
    assert len(ticker.c) == 0 and second - first >= 1
    assert virtual.elapsed == 11
    ticker.stop()


def test_tickers_come_and_go():
    """TestTeardown, TestTickerStress, TestTickerConcurrentStress."""

    def one():
        ticker = Ticker(0.0005)
        ticker.c.recv()
        ticker.stop()

    for g in [go(one) for _ in range(50)]:
        g.result(20)


@pytest.mark.parametrize("bad", [0, -1, -1e-9])
def test_a_beat_is_positive(bad):
    """TestNewTickerLtZeroDuration, TestTickerResetLtZeroDuration."""
    with pytest.raises(ValueError):
        Ticker(bad)
    ticker = Ticker(3600)
    with pytest.raises(ValueError):
        ticker.reset(bad)
    ticker.stop()


def test_reset_and_stop_race_with_the_receiver():
    """TestManualTicker: a receiver sees no tick of before a reset."""
    ticker = Ticker(3600)
    for _ in range(20):
        ticker.reset(0.0002)
        ticker.c.recv(20)
        ticker.reset(3600)
        assert gmpx.select(ticker.c, block=False)[0] == -1
    ticker.stop()
