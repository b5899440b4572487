"""Who runs next: FIFO, fairness between fresh and started goroutines, gosched, the 61st tick."""

import threading

import pytest

import gmpx
from gmpx import _core


def ticks():
    return sum(p["sched_tick"] for p in gmpx.stats()["p"])


@pytest.mark.in_order
@pytest.mark.parametrize("n", [1, 2, 100, 256])
def test_spawns_start_in_order_up_to_a_ringful(n):
    gmpx.shutdown()  # no other M takes part
    order = []
    gs = [gmpx.go(order.append, i) for i in range(n)]
    assert order == [], "go never runs fn inline"
    for g in gs:
        g.join()
    assert order == list(range(n))


@pytest.mark.in_order
def test_spawns_of_a_goroutine_start_in_order_too():
    gmpx.shutdown()
    order = []

    def body():
        gs = [gmpx.go(order.append, i) for i in range(200)]
        for g in gs:
            g.join()

    gmpx.go(body).result()
    assert order == list(range(200))


@pytest.mark.parametrize("n", [257, 1000, 20_000])
def test_beyond_a_ringful_each_starts_once_and_none_is_left_behind(n):
    order = []
    wg = gmpx.WaitGroup()
    for i in range(n):
        wg.go(order.append, i)
    wg.wait()
    assert sorted(order) == list(range(n))


@pytest.mark.in_order
def test_beyond_a_ringful_the_oldest_does_not_start_last():
    # The older half of a full ring goes to the global queue: it is visited at the 61st tick at
    # the latest, and as a whole when the ring has run dry.
    gmpx.shutdown()
    order = []
    gs = [gmpx.go(order.append, i) for i in range(2000)]
    for g in gs:
        g.join()
    assert order.index(0) <= 256 + 61
    assert sorted(order) == list(range(2000))


def test_gosched_goes_to_the_tail():
    gmpx.shutdown()
    order = []

    def body(i):
        for _ in range(4):
            order.append(i)
            gmpx.gosched()

    gs = [gmpx.go(body, i) for i in range(5)]
    for g in gs:
        g.join()
    assert order == list(range(5)) * 4


def test_gosched_lets_what_was_spawned_before_run_first_at_any_tick():
    gmpx.shutdown()
    for turn in range(130):  # the tick at gosched is another one of 61 each time
        seen = []
        gs = [gmpx.go(seen.append, i) for i in range(10)]
        gmpx.gosched()
        assert seen == list(range(10)), turn
        gs += [gmpx.go(int) for _ in range(62)]
        for g in gs:
            g.join()


def test_gosched_alone_returns_at_once():
    assert gmpx.gosched() is None
    assert gmpx.go(gmpx.gosched).result() is None


def test_a_yielder_does_not_starve_the_fresh():
    # Two goroutines yield to each other for ever; one spawned later gets its turn.
    stop = []

    def yields():
        while not stop:
            gmpx.gosched()

    gs = [gmpx.go(yields) for _ in range(2)]
    gmpx.gosched()
    before = ticks()
    gs.append(gmpx.go(lambda: stop.append(ticks())))
    for g in gs:
        g.result()
    assert stop[0] - before < 300


def test_a_ping_pong_does_not_starve_the_fresh_nor_the_ready():
    # The two ends of a channel ready each other through readynext, which others cannot enter.
    ping, pong = gmpx.Chan(), gmpx.Chan()
    seen = []

    def serve():
        for v in ping:
            pong.send(v)

    def drive():
        while len(seen) < 2:
            ping.send(0)
            pong.recv()
        ping.close()

    gs = [gmpx.go(serve), gmpx.go(drive)]
    gmpx.gosched()

    def ready():
        gmpx.gosched()
        gmpx.gosched()
        seen.append("started")

    before = ticks()
    gs.append(gmpx.go(ready))
    gs.append(gmpx.go(seen.append, "fresh"))
    for g in gs:
        g.result()
    assert sorted(seen) == ["fresh", "started"]
    assert ticks() - before < 3000


def test_a_chain_of_spawns_does_not_starve_the_ready():
    # Each link spawns the next and ends: the ring is never empty. A yielder gets its turns.
    stop = []

    def link():
        if not stop:
            gmpx.go(link)

    def yields():
        for _ in range(20):
            gmpx.gosched()
        stop.append(ticks())

    before = ticks()
    gmpx.go(link)
    gmpx.go(yields).result()
    assert stop[0] - before < 20 * 300
    gmpx.gosched()


def test_those_that_yield_come_after_all_that_is_runnable(parked):
    gmpx.shutdown()
    order = []
    c = gmpx.Chan(50)

    def yields():
        gmpx.gosched()
        order.append("yielded")

    def woken():
        c.recv()
        order.append("woken")

    gs = [gmpx.go(woken) for _ in range(3)]
    parked(*gs)
    gs += [gmpx.go(yields) for _ in range(3)]
    gs += [gmpx.go(order.append, "fresh") for _ in range(20)]
    for _ in range(3):
        c.send(None)
    for g in gs:
        g.join()
    assert order[-3:] == ["yielded"] * 3 and len(order) == 26


def test_many_fresh_and_many_woken_share_in_turns(parked):
    # 200 fresh ones and 200 that were woken: neither kind waits for all of the other.
    gmpx.shutdown()
    order = []
    c = gmpx.Chan()

    def woken():
        c.recv_ok()
        order.append("woken")

    gs = [gmpx.go(woken) for _ in range(200)]
    parked(*gs)
    c.close()
    gs += [gmpx.go(order.append, "fresh") for _ in range(200)]
    for g in gs:
        g.join()
    assert order.index("fresh") <= 130 and order.index("woken") <= 130
    assert order.count("fresh") == order.count("woken") == 200


def test_the_global_queue_is_visited_every_61st_tick():
    # Local work never ends, so nobody runs dry.
    gmpx.shutdown()
    stop = []

    def yields():
        while not stop:
            gmpx.gosched()

    gs = [gmpx.go(yields) for _ in range(3)]
    gmpx.gosched()
    g = _core._test_goroutine(lambda: stop.append(ticks()))
    before = ticks()
    _core._glob_runq_put(g)
    for x in [g, *gs]:
        x.result()
    assert stop[0] - before <= 62


@pytest.mark.in_order
def test_a_busy_global_queue_does_not_starve_the_local_one():
    gmpx.shutdown()
    order, here = [], threading.get_ident()

    def note(queue):
        order.append((queue, threading.get_ident() == here))

    shared = [_core._test_goroutine(lambda: note("global")) for _ in range(500)]
    for g in shared:
        _core._glob_runq_put(g)
    local = [gmpx.go(note, "local") for _ in range(100)]
    for g in local + shared:
        g.join()
    assert order.count(("local", True)) == 100 and [queue for queue, _ in order].count("global") == 500
    # another M may come to the global queue
    assert [queue for queue, on_this in order if on_this][:100].count("local") >= 97


@pytest.mark.in_order
def test_those_that_close_wakes_run_in_the_order_of_their_waiting(parked):
    order = []
    c = gmpx.Chan()

    def body(i):
        c.recv_ok()
        order.append(i)

    gs = [gmpx.go(body, i) for i in range(20)]
    parked(*gs)
    c.close()
    for g in gs:
        g.result()
    assert order == list(range(20))


def test_deep_nesting_of_joins_and_spawns_needs_no_c_stack():
    def level(n):
        return gmpx.go(level, n - 1).result() + 1 if n else 0

    assert gmpx.go(level, 2000).result() == 2000


def test_gosched_storm():
    count = [0]

    def body():
        for _ in range(200):
            gmpx.gosched()
            count[0] += 1

    gs = [gmpx.go(body) for _ in range(100)]
    for g in gs:
        g.result()
    assert count[0] == 20_000
