"""Ms: they run what main leaves standing, wake-ups cross threads; Machine, Processor."""

import sys
import threading

import pytest

import gmpx


# ---- workers run Gs while main does not ----------------------------------------------------


def test_a_goroutine_wakes_a_plain_event_that_main_waits_for():
    for _ in range(5):
        event = threading.Event()
        g = gmpx.go(event.set)
        assert event.wait(20), "nobody ran it"
        g.join()


def test_a_goroutine_runs_while_main_is_busy_with_python():
    ran = []
    g = gmpx.go(ran.append, 1)
    n = 0
    while not ran and n < 500_000_000:
        n += 1
    assert ran, "main kept its queue to itself"
    g.join()


def test_all_of_a_queue_runs_while_main_stands_still():
    left = [1000]
    event = threading.Event()

    def body():
        left[0] -= 1  # under the GIL, with no other M of these at work at once
        if left[0] <= 0:
            event.set()

    gs = [gmpx.go(body) for _ in range(1000)]
    event.wait(20)
    for g in gs:
        g.join()
    assert left[0] <= 0


def test_what_started_elsewhere_stays_on_its_thread(on_other_m):
    c = gmpx.Chan()

    def body():
        idents = {threading.get_ident()}
        for _ in range(50):
            c.recv()
            idents.add(threading.get_ident())
            gmpx.gosched()
            idents.add(threading.get_ident())
        return idents

    g = on_other_m(body)
    for i in range(50):
        c.send(i)
    idents = g.result()
    assert len(idents) == 1 and threading.get_ident() not in idents


def test_main_and_a_goroutine_elsewhere_wake_each_other(on_other_m):
    ping, pong = gmpx.Chan(), gmpx.Chan()

    def body():
        for v in ping:
            pong.send(v + 1)

    g = on_other_m(body)
    for i in range(300):
        ping.send(i)
        assert pong.recv() == i + 1
    ping.close()
    g.result()


def test_goroutines_of_two_ms_contend_for_a_mutex(on_other_m):
    mu = gmpx.Mutex()
    total = [0]

    def body():
        for _ in range(200):
            with mu:
                before = total[0]
                gmpx.gosched()
                total[0] = before + 1

    gs = [on_other_m(body), gmpx.go(body), gmpx.go(body)]
    body()
    for g in gs:
        g.result()
    assert total[0] == 800


def test_a_foreign_thread_wakes_parked_main_and_goroutines(in_thread, parked):
    c = gmpx.Chan()
    g = gmpx.go(c.recv)
    parked(g)
    thread = in_thread(lambda: [c.send(i) for i in range(2)])
    assert sorted([c.recv(), g.result()]) == [0, 1]
    thread.value()


def test_a_foreign_threads_spawns_run_while_main_is_blocked(in_thread):
    # No gosched of main's: it waits for the thread with threading's own means.
    results = []
    thread = in_thread(lambda: results.extend(gmpx.go(pow, 2, i).result() for i in range(20)))
    thread.join(20)
    assert results == [2**i for i in range(20)]


def test_a_foreign_threads_spawns_have_it_as_parent(in_thread):
    me, g = in_thread(lambda: (gmpx.current(), gmpx.go(gmpx.current))).value()
    assert g.parent_id == me.id and g.result() is g
    assert me.name.startswith("thread ") and me.status == "dead"


def test_a_foreign_threads_goroutine_is_listed_while_the_thread_lives(in_thread):
    c = gmpx.Chan()
    thread = in_thread(lambda: (c.send(gmpx.current()), c.recv()))
    g = c.recv()
    assert g in gmpx.goroutines()
    c.send(None)
    thread.value()
    assert g not in gmpx.goroutines() and g.done()


def test_many_short_threads_leave_nothing(in_thread):
    before = gmpx.num_goroutine(), gmpx.stats()["machines"]
    c = gmpx.Chan(4)
    for i in range(100):
        in_thread(c.send, i).value()
        assert c.recv() == i
    assert gmpx.num_goroutine() == before[0]


def test_a_callback_on_another_m_runs_there(on_other_m):
    c, seen = gmpx.Chan(), []
    g = on_other_m(c.recv)
    g.add_done_callback(lambda h: seen.append(threading.get_ident()))
    c.send(None)
    g.join()
    h = gmpx.go(int)
    while not seen:
        h.join()
        gmpx.sleep(0.0005)
    assert seen[0] != threading.get_ident()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_a_goroutine_that_blocks_its_thread_holds_up_only_itself(on_other_m):
    import os

    r, w = os.pipe()
    try:
        g = on_other_m(os.read, r, 1)  # releases the GIL, keeps its M
        assert [gmpx.go(pow, 2, i).result() for i in range(100)] == [2**i for i in range(100)]
        event = threading.Event()
        h = gmpx.go(event.set)
        assert event.wait(20), "the blocked M was the only other one"
        h.join()
        os.write(w, b"x")
        assert g.result() == b"x"
    finally:
        os.close(r)
        os.close(w)


# ---- the classes ---------------------------------------------------------------------------


def test_machines_are_made_by_the_runtime():
    with pytest.raises(TypeError):
        gmpx.Machine()


@pytest.mark.parametrize("name", ["id", "p", "curg", "spinning", "parked", "idle_workers"])
def test_machine_properties_are_read_only(name):
    attribute = vars(gmpx.Machine)[name]
    with pytest.raises(AttributeError):
        attribute.__set__(gmpx.Machine.__new__(gmpx.Machine), 1)


def test_a_machine_that_the_runtime_has_not_made_is_empty():
    m = gmpx.Machine.__new__(gmpx.Machine)
    assert (m.id, m.p, m.curg, m.idle_workers) == (-1, None, None, 0)
    assert not m.spinning and not m.parked
    assert repr(m) == "<Machine -1 p=None>"


def test_a_detached_processor_is_dead_and_empty():
    p = gmpx.Processor()
    assert (p.id, p.status, p.m, p.sched_tick, len(p)) == (0, "dead", None, 0, 0)
    assert repr(p) == "<Processor 0 dead queued=0>"
    for name in ("id", "status", "m", "sched_tick"):
        with pytest.raises(AttributeError):
            setattr(p, name, 1)
