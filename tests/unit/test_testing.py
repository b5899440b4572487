"""gmpx.testing: virtual time, seeded schedules, leaks."""

import threading
import time

import pytest

import gmpx
from gmpx import Chan, go
from gmpx.testing import LeakedGoroutines, bubble, check_leaks, explore, wait_all_parked

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def alone():
    """A bubble begins with no goroutine but main."""
    gmpx.shutdown(20)


def test_time_is_virtual():
    with bubble() as b:
        began = time.monotonic(), time.time(), time.monotonic_ns(), time.time_ns()
        gs = [go(gmpx.sleep, 10 * n) for n in range(100)]
        for g in gs:
            g.join()
        gmpx.sleep(1e6)
        assert b.elapsed == 1e6 + 990
        took = time.monotonic() - began[0], time.time() - began[1]
        assert took == pytest.approx((b.elapsed, b.elapsed))
        assert time.monotonic_ns() - began[2] == pytest.approx(b.elapsed * 1e9)
        assert time.time_ns() - began[3] == pytest.approx(b.elapsed * 1e9)
    assert b.elapsed == 1e6 + 990
    assert time.monotonic() < began[0] + 1e5


def test_everything_that_takes_time():
    with bubble() as b:
        c, m = Chan(), gmpx.Mutex()
        m.lock()
        for wait in (c.recv, lambda t: c.send(1, t), m.lock, gmpx.Event().wait):
            with pytest.raises(TimeoutError):
                wait(60)
        assert b.elapsed == 240
        with pytest.raises(TimeoutError), gmpx.timeout(60):
            c.recv()
        with pytest.raises(TimeoutError):
            gmpx.select(c, (c, 1), timeout=60)
        with pytest.raises(TimeoutError):
            gmpx.map(gmpx.sleep, [100], timeout=60)
        ticks = gmpx.Ticker(60)
        for _ in range(3):
            ticks.c.recv()
        ticks.stop()
        assert b.elapsed == 600
        ctx, cancel = gmpx.context.with_timeout(gmpx.context.background(), 60)
        ctx.done().recv_ok()
        done, left = gmpx.wait([go(gmpx.sleep, 60), go(gmpx.sleep, 3600)], timeout=90)
        assert (len(done), len(left), b.elapsed) == (1, 1, 750)
        hit = []
        gmpx.after_func(60, hit.append, 1)
        gmpx.sleep(61)
        assert hit == [1]


def test_timers_fire_in_their_exact_order():
    with bubble():
        order = []
        for n in (5, 3, 4, 1, 2):
            gmpx.after_func(n * 1e-6, order.append, n)
        gmpx.sleep(1)
        assert order == [1, 2, 3, 4, 5]


def test_wait_all_parked():
    with bubble() as b:
        c, log = Chan(), []

        def body():
            gmpx.gosched()
            log.append("parked")
            c.recv()
            gmpx.sleep(5)
            log.append("slept")

        g = go(body)
        wait_all_parked()
        assert log == ["parked"]
        c.send(1)
        b.wait_all_parked()
        assert log == ["parked"] and b.elapsed == 0
        g.join()
        assert log == ["parked", "slept"] and b.elapsed == 5
    with pytest.raises(RuntimeError, match="not in a bubble"):
        wait_all_parked()


def test_deadlock_is_told_at_once():
    with bubble():
        g = go(Chan().recv)
        with pytest.raises(gmpx.DeadlockError, match="chan receive"):
            g.join()
        g.cancel()


def test_leaving_waits_for_all():
    ended = []
    with bubble() as b:
        for n in range(3):
            go(lambda n=n: (gmpx.sleep(n), ended.append(n)))
    assert ended == [0, 1, 2] and b.elapsed == 2


def test_leaving_tells_of_those_that_nothing_can_wake():
    ended = []

    def stuck():
        try:
            Chan().recv()
        finally:
            ended.append(1)

    with pytest.raises(LeakedGoroutines, match="stuck") as caught:
        with bubble():
            g = go(stuck)
    assert caught.value.goroutines == [g] and ended == [1]


def test_a_block_that_raises_cancels():
    with pytest.raises(KeyError):
        with bubble() as b:
            g = go(gmpx.sleep, 3600)
            gmpx.gosched()
            raise KeyError
    assert isinstance(g.exception(), gmpx.Cancelled) and b.elapsed == 0


def test_threads_of_the_bubble_hold_the_clock():
    with bubble() as b:
        real = time.perf_counter()
        g = go(gmpx.sleep, 3600)
        assert gmpx.blocking(lambda: (time.sleep(0.02), 3)[1]) == 3
        assert b.elapsed == 0 and time.perf_counter() - real >= 0.02
        c, got = Chan(), []

        def thread():
            got.append(c.recv(timeout=60))
            with pytest.raises(TimeoutError):
                c.recv(timeout=60)
            got.append("out")

        t = threading.Thread(target=thread)
        t.start()
        c.send(1)
        while t.is_alive():
            gmpx.sleep(1)
        assert got == [1, "out"] and 60 <= b.elapsed <= 3600
        g.join()
        assert b.elapsed == 3600


def test_timers_from_outside_wait():
    c = gmpx.after(0.001)
    with bubble():
        gmpx.sleep(3600)
        assert len(c) == 0
    assert c.recv(timeout=20) > 0


def test_timers_that_are_left_go_on_by_the_worlds_clock():
    with bubble():
        gmpx.sleep(1e6)
        c = gmpx.after(0.01)
        far = gmpx.Timer(1e6)
    assert c.recv(timeout=20) > 0
    assert far.stop()


def order_of(n, rounds=3):
    out = []

    def body(k):
        for _ in range(rounds):
            out.append(k)
            gmpx.gosched()

    for g in [go(body, k) for k in range(n)]:
        g.join()
    return tuple(out)


def test_a_seed_replays():
    orders = [explore(order_of, 5, seeds=[seed])[0] for seed in range(20)]
    assert orders == explore(order_of, 5, seeds=range(20))
    assert len(set(orders)) > 15
    first = explore(order_of, 300, 1, seeds=[1, 2, 1])
    assert first[0] == first[2] != first[1]
    assert all(sorted(order) == sorted(order_of(300, 1)) for order in first)


def test_a_seed_decides_what_select_picks():
    def picks():
        a, b = Chan(50), Chan(50)
        for n in range(50):
            a.send(n)
            b.send(n)
        return tuple(gmpx.select(a, b)[0] for _ in range(20))

    one, two, again = explore(picks, seeds=[1, 2, 1])
    assert one == again != two


def test_without_a_seed_the_order_is_that_of_coming():
    with bubble():
        first = order_of(5)
    with bubble():
        assert order_of(5) == first
    assert first[:5] == (0, 1, 2, 3, 4)


def racy():
    """Loses an update in some orders."""
    box = [0]

    def add():
        value = box[0]
        gmpx.gosched()
        box[0] = value + 1

    a = go(add)
    gmpx.gosched()
    b = go(add)
    a.join()
    b.join()
    assert box[0] == 2


def test_a_failing_seed_is_named_and_fails_again():
    with pytest.raises(AssertionError) as caught:
        explore(racy, seeds=range(100))
    seed = caught.value.seed
    with pytest.raises(AssertionError):
        explore(racy, seeds=[seed])
    if hasattr(caught.value, "__notes__"):
        assert f"seed={seed}" in caught.value.__notes__[0]


def test_misuse(in_thread):
    with pytest.raises(TypeError):
        bubble("x")
    with pytest.raises(TypeError):
        bubble(True)
    g = go(Chan().recv)
    with pytest.raises(RuntimeError, match="no goroutine but main"):
        bubble().__enter__()
    g.cancel()
    g.join()
    with bubble():
        with pytest.raises(RuntimeError, match="nest"):
            bubble().__enter__()
        g = go(bubble().__enter__)
        with pytest.raises(RuntimeError, match="main goroutine"):
            g.result()
    assert gmpx.map(str, range(10)) == list("0123456789")


def test_check_leaks():
    before = gmpx.goroutines()
    check_leaks(before)
    g = go(gmpx.sleep, 3600)
    gmpx.gosched()
    with pytest.raises(LeakedGoroutines, match="sleep") as caught:
        check_leaks(before, grace=0.01)
    assert caught.value.goroutines == [g] and g.done()
