"""stats, num_goroutine, goroutines: the counters add up and say what happened."""

import sysconfig
import threading

import pytest

import gmpx

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

COUNTERS = ("spawned", "finished", "parked", "readied", "steals", "stolen", "handoffs",
            "preemptions", "spins", "m_parks", "m_wakes")


def delta(before, after, name):
    return after[name] - before[name]


def test_all_names_are_there_and_counts_are_ints():
    s = gmpx.stats()
    for name in (*COUNTERS, "global_queue", "queued", "goroutines", "machines", "gomaxprocs"):
        assert type(s[name]) is int and s[name] >= 0, name
    assert len(s["p"]) >= s["gomaxprocs"] >= 1
    for i, p in enumerate(s["p"]):
        assert p["id"] == i
        assert all(type(p[name]) is int and p[name] >= 0
                   for name in (*COUNTERS, "queued", "sched_tick"))
    assert gmpx.stats() is not gmpx.stats()


def test_sums_are_no_less_than_those_of_the_ps():
    gmpx.map(int, ["1"] * 100)
    s = gmpx.stats()
    for name in COUNTERS:
        assert s[name] >= sum(p[name] for p in s["p"]), name
    assert s["queued"] == s["global_queue"] + sum(p["queued"] for p in s["p"])


@pytest.mark.parametrize("n", [1, 100, 3000])
def test_spawned_is_finished_plus_live(n, parked, in_thread):
    live = gmpx.num_goroutine()
    before = gmpx.stats()
    c = gmpx.Chan()
    gs = [gmpx.go(c.recv_ok) for _ in range(n)]
    middle = gmpx.stats()
    assert delta(before, middle, "spawned") == n
    assert delta(before, middle, "goroutines") == n == gmpx.num_goroutine() - live
    assert middle["spawned"] - middle["finished"] == before["spawned"] - before["finished"] + n
    c.close()
    more = in_thread(lambda: [gmpx.go(int) for _ in range(10)]).value()
    for g in gs + more:
        g.join()
    after = gmpx.stats()
    assert delta(before, after, "spawned") == delta(before, after, "finished") == n + 10
    assert after["goroutines"] == gmpx.num_goroutine() == live
    assert after["queued"] == 0


def test_every_park_is_followed_by_one_wake_up():
    # Timers wake too, but these waits end by their peers. Main waits for all at the end.
    gmpx.shutdown()
    before = gmpx.stats()
    c, d = gmpx.Chan(), gmpx.Chan()
    g = gmpx.go(lambda: [d.send(v) for v in c] and None)
    for i in range(100):
        c.send(i)
        d.recv()
    c.close()
    g.join()
    after = gmpx.stats()
    assert delta(before, after, "parked") >= 100
    assert delta(before, after, "parked") == delta(before, after, "readied")


def test_ended_however_counts_as_finished(hook):
    before = gmpx.stats()

    def fails():
        raise ValueError

    gs = [gmpx.go(fails), gmpx.go(gmpx.goexit), gmpx.go(int)]
    gs.append(gmpx.go(int))
    gs[-1].cancel()
    for g in gs:
        g.exception()
    after = gmpx.stats()
    assert delta(before, after, "spawned") == delta(before, after, "finished") == 4
    assert hook == []


def test_stealing_is_counted():
    before = gmpx.stats()
    begun = threading.Event()
    g = gmpx.go(begun.set)
    assert begun.wait(30)           # this M stands still: another one takes it
    g.join()
    after = gmpx.stats()
    assert delta(before, after, "steals") >= 1
    assert delta(before, after, "stolen") >= delta(before, after, "steals")


def test_queue_lengths_are_those_of_now():
    gmpx.shutdown()
    gs = [gmpx.go(int) for _ in range(300)]
    s = gmpx.stats()
    spilled = 129 if FREE_THREADED else 0  # the ring's overflow, to the global queue there
    assert s["queued"] == 300 and s["global_queue"] == spilled
    assert max(p["queued"] for p in s["p"]) == 300 - spilled
    for g in gs:
        g.join()
    assert gmpx.stats()["queued"] == 0


def test_the_tick_counts_what_was_started_or_resumed():
    gmpx.shutdown()

    def ticks():
        return sum(p["sched_tick"] for p in gmpx.stats()["p"])

    before = ticks()
    gs = [gmpx.go(int) for _ in range(50)]
    for g in gs:
        g.join()
    assert 50 < ticks() - before <= 101, "each once, and main after at most each join"


def test_from_a_goroutine_and_a_thread(in_thread):
    for s in (gmpx.go(gmpx.stats).result(), in_thread(gmpx.stats).value()):
        assert s["goroutines"] >= 2
    assert gmpx.go(gmpx.num_goroutine).result() == gmpx.num_goroutine() + 1
    listed = gmpx.go(gmpx.goroutines).result()
    assert [g.id for g in listed] == sorted(g.id for g in listed)
