"""Who comes for work (rt/sched/policy.pxi): whatever stands, an M that is awake takes what lies about, and
what nobody takes has an M sent for it.

Goroutines are held in C calls by threading's locks: their Ms stand until the test lets go.
"""

import sysconfig

import pytest

gil = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="about builds with a GIL"
)

SETUP = """
    import os, threading, time
    import gmpx
    from gmpx import _core
    PATIENCE = 30.0                             # before it is called hung
    gate, begun = threading.Event(), threading.Semaphore(0)
    def stands():                               # in a C call, without the GIL
        begun.release()
        assert gate.wait(PATIENCE)
        return threading.get_ident()
    def begin(n):
        for _ in range(n):
            assert begun.acquire(timeout=PATIENCE), "it never began"
    def in_thread(fn, *args):                   # main stands in a join meanwhile
        out = []
        t = threading.Thread(target=lambda: out.append(fn(*args)), daemon=True)
        t.start()
        t.join(PATIENCE)
        assert not t.is_alive(), "the thread hangs"
        return out[0]
    stop = []
    def yielders(n):                            # goroutines that hold workers' Ps, a little at a time, until stop
        def busy():
            begun.release()
            while not stop:
                time.sleep(0.0002); gmpx.gosched()
        gs = [gmpx.go(busy) for _ in range(n)]
        begin(n)
        return gs
"""


# ---- Ms that stand in a call do not count ------------------------------------------------------

def test_more_blocking_calls_than_ps_and_a_result(child):
    child(SETUP + """
    gmpx.gomaxprocs(2)
    def boss():
        gs = [gmpx.go(stands) for _ in range(8)]
        begin(8)
        assert gmpx.go(lambda: 42).result(timeout=PATIENCE) == 42
        gate.set()
        return [g.result(timeout=PATIENCE) for g in gs]
    assert len(set(in_thread(boss))) == 8       # each on a thread of its own
    """).end(0)


def test_a_hundred_blocking_calls_all_run(child):
    child(SETUP + """
    gmpx.gomaxprocs(2)
    def boss():
        gs = [gmpx.go(stands) for _ in range(100)]
        begin(100)                              # all of them at once
        gate.set()
        for g in gs:
            g.join(timeout=PATIENCE)
    in_thread(boss)
    """).end(0)


def test_timers_are_in_time_while_all_ms_stand(child):
    child(SETUP + """
    gmpx.gomaxprocs(1)
    def boss():
        gs = [gmpx.go(stands) for _ in range(4)]
        begin(4)
        gmpx.after(0.01).recv(timeout=PATIENCE)
        try:
            gmpx.Chan().recv(timeout=0.01)
        except TimeoutError:
            pass
        fired = threading.Event()
        gmpx.after_func(0.01, fired.set)
        assert fired.wait(PATIENCE)
        assert not gate.is_set()
        gate.set()
        for g in gs:
            g.join(timeout=PATIENCE)
    in_thread(boss)
    """).end(0)


def test_more_locked_threads_than_ps_then_more_ps(child):
    # The number of Ps that can be wanted grows with gomaxprocs and with the threads that are kept.
    child(SETUP + """
    gmpx.gomaxprocs(1)
    def locked():
        with gmpx.lock_os_thread():
            return stands()
    def boss():
        gs = [gmpx.go(locked) for _ in range(2)]
        begin(2)
        gmpx.gomaxprocs(8)
        gs += [gmpx.go(stands) for _ in range(12)]
        begin(12)
        gate.set()
        return [g.result(timeout=PATIENCE) for g in gs]
    assert len(set(in_thread(boss))) == 14
    """).end(0)


@gil
def test_tiny_tasks_start_few_threads(child):
    # However many are spawned. sysmon is told to send none for an M that computes: on a loaded machine it sees
    # one stand for long each time that it looks.
    child(SETUP + """
    _core._lone(True)
    gmpx.gomaxprocs(8)
    def tiny(): pass
    def boss():
        for _ in range(200):
            for g in [gmpx.go(tiny) for _ in range(100)]:
                g.join(timeout=PATIENCE)
    in_thread(boss)                             # from a thread without a P
    for g in [gmpx.go(tiny) for _ in range(20000)]:
        g.join(timeout=PATIENCE)
    # M0, the two that a foreign thread's spawns may wake, one that sysmon may have sent
    assert gmpx.stats()["machines"] <= 4, gmpx.stats()["machines"]
    """).end(0)


# ---- an M that is awake takes what lies in the global queue ------------------------------------

def test_a_yielding_worker_drains_the_global_queue(child):
    # main, in a join, keeps a P; the only other M yields in a loop. A foreign thread's spawns lie in
    # the global queue: they are drained at that M's own pace, not one in 61 ticks.
    child(SETUP + """
    N = 300
    gmpx.gomaxprocs(2)
    queued, done, ticks = threading.Event(), [], []
    def busy():
        begun.release()
        assert queued.wait(PATIENCE)
        for tick in range(61 * N):
            if len(done) == N:
                break
            gmpx.gosched()
        ticks.append(tick)
    def boss():
        g = gmpx.go(busy)
        begin(1)
        gs = [gmpx.go(done.append, i) for i in range(N)]
        queued.set()
        for x in gs:
            x.join(timeout=PATIENCE)
        g.join(timeout=PATIENCE)
    in_thread(boss)
    assert sorted(done) == list(range(N))
    assert ticks[0] <= N, ticks                 # of others' turns, not of 61 each
    """).end(0)


def test_a_fan_out_on_a_worker_beyond_its_ring(child):
    # What overflows from a worker's ring is its own to take: in its order, with no help, main parked.
    child(SETUP + """
    gmpx.gomaxprocs(2)
    stop = gmpx.Event()
    def fan():
        begun.release()
        assert gate.wait(PATIENCE)
        for n in (300, 1000, 5000):
            done, idents = [], set()
            wg = gmpx.WaitGroup()
            def one(i):
                done.append(i)
                idents.add(threading.get_ident())
            for i in range(n):
                wg.go(one, i)
            wg.wait(timeout=PATIENCE)
            assert sorted(done) == list(range(n))
        return threading.get_ident()
    g = in_thread(gmpx.go, fan)
    begin(1)                                    # on a worker: main stood
    gate.set()
    assert g.result(timeout=PATIENCE) != threading.get_ident()
    """).end(0)


def test_main_on_a_spare_p_gets_its_spawns_done(child):
    # Goroutines that yield in loops on workers hold the regular Ps; main has more than one.
    child(SETUP + """
    for p in (1, 2):
        gmpx.gomaxprocs(p)
        stop.clear()
        gs = in_thread(yielders, p + 1)
        for _ in range(3):
            wg = gmpx.WaitGroup()
            for _ in range(1000):
                wg.go(int)
            wg.wait(timeout=PATIENCE)
        stop.append(1)
        for g in gs:
            g.join(timeout=PATIENCE)
    """).end(0)


@gil
def test_what_main_has_spawned_on_a_spare_p_stays_its_own(child):
    # It takes a regular P in the midst of it, with all that is queued on the spare.
    child(SETUP + """
    gmpx.gomaxprocs(1)
    def mains():                                # the id of main's P
        return [p.id for p in _core._processors() if p.m == 0][0]
    for n in (200, 1000):                       # on the ring; in the spill, too
        gs = in_thread(yielders, 2)
        until = time.monotonic() + PATIENCE
        while mains() == 0:
            assert time.monotonic() < until, "main never came on a spare P"
            gmpx.sleep(0.002)
        stop.append(1)
        while _core._processors()[0].status != "idle":
            time.sleep(0.001)                   # does not park: main keeps its P
        assert mains() > 0
        _core._lone(True)
        order = []
        threads = set()
        def task(i):
            order.append(i)
            threads.add(threading.get_ident())
        started = [gmpx.go(task, i) for i in range(n)]
        for g in started + gs:
            g.join(timeout=PATIENCE)
        assert mains() == 0
        _core._lone(False)
        assert threads == {threading.get_ident()}
        stop.clear()
        # of the many one in 61 comes from the spill, before the ring's
        assert order == list(range(n)) if n <= 256 else sorted(order) == list(range(n)), order
    """).end(0)


def test_a_queue_that_only_trickles_has_an_m_sent(child):
    # An M that stands but for a tick now and then takes one of 61 from the global queue: no life.
    child(SETUP + """
    gmpx.gomaxprocs(2)
    stop = []
    def busy():
        begun.release()
        while not stop:
            time.sleep(0.01)
            gmpx.go(int).join()
    def boss():
        g = gmpx.go(busy)
        begin(1)
        gs = [gmpx.go(int) for _ in range(300)]
        for x in gs:
            x.join(timeout=PATIENCE)
        stop.append(1)
        g.join(timeout=PATIENCE)
    in_thread(boss)
    """).end(0)


# ---- work on a P whose M stands ---------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 256, 257, 5000])
def test_a_ring_and_its_spill_are_stolen_when_the_owner_stands(child, n):
    child(SETUP + f"""
    n = {n}
    done, all_done = [], threading.Event()
    def one(i):
        done.append(i)
        if len(done) == n:
            all_done.set()
    for i in range(n):
        gmpx.go(one, i)
    assert all_done.wait(PATIENCE)              # main stands; nobody runs its scheduler
    assert sorted(done) == list(range(n))
    assert gmpx.stats()["queued"] == 0
    """).end(0)


def test_a_workers_spill_is_stolen_when_it_stands(child):
    child(SETUP + """
    gmpx.gomaxprocs(2)
    n = 3000
    done, all_done = [], threading.Event()
    def one(i):
        done.append(i)
        if len(done) == n:
            all_done.set()
    def owner():
        for i in range(n):
            gmpx.go(one, i)
        assert all_done.wait(PATIENCE)
    in_thread(lambda: gmpx.go(owner).join(timeout=PATIENCE))
    assert sorted(done) == list(range(n))
    """).end(0)


@pytest.mark.parametrize("sizes", [(8, 1, 8), (1, 4, 1), (2, 1, 3, 1, 2)])
def test_resizing_keeps_rings_and_spills(child, sizes):
    # On main's P, on a worker's and in the global queue lies work when Ps go and come.
    child(SETUP + f"""
    sizes = {sizes}
    """ + """
    gmpx.gomaxprocs(sizes[0])
    n, done, filled = 2000, [], threading.Event()
    def fills():
        gs = [gmpx.go(done.append, i) for i in range(n)]
        filled.set()
        assert gate.wait(PATIENCE)
        return gs
    worker = in_thread(gmpx.go, fills)
    assert filled.wait(PATIENCE)
    mine = [gmpx.go(done.append, i) for i in range(n, 2 * n)]
    theirs = in_thread(lambda: [gmpx.go(done.append, i) for i in range(2 * n, 3 * n)])
    for size in sizes[1:]:
        gmpx.gomaxprocs(size)
        assert gmpx.gomaxprocs() == size
    gate.set()
    for g in [*worker.result(timeout=PATIENCE), *mine, *theirs]:
        g.join(timeout=PATIENCE)
    assert sorted(done) == list(range(3 * n))   # each once
    assert gmpx.stats()["queued"] == 0
    """).end(0)


@gil
def test_a_sleep_of_main_costs_no_search(child):
    # There is nothing to find that sysmon has not seen: one round over the Ps for each sleep at most.
    child(SETUP + """
    gmpx.gomaxprocs(4)
    c = gmpx.Chan()
    def sends():
        for i in range(300):
            c.send(i)
    before = gmpx.stats()
    t = threading.Thread(target=sends)
    t.start()
    for _ in range(300):
        c.recv()
    after = gmpx.stats()
    spins, parks = (after[k] - before[k] for k in ("spins", "m_parks"))
    assert spins <= parks + 2, (spins, parks)
    """).end(0)


# ---- what sysmon sees of the GIL -----------------------------------------------------------------

@gil
def test_who_waits_for_the_gil_is_seen(child):
    """The count is private to the C library: this says when its place has changed."""
    child(SETUP + """
    import sys
    assert _core._gil_wanted() is not True      # there is but one thread
    if _core._gil_wanted() is None:
        sys.exit()
    over = False
    def spins():
        while not over:
            pass
    threads = [threading.Thread(target=spins, daemon=True) for _ in range(2)]
    for t in threads:
        t.start()
    until = time.monotonic() + PATIENCE
    while not _core._gil_wanted():
        assert time.monotonic() < until, "two threads that compute, and nobody waits for the GIL"
    over = True
    for t in threads:
        t.join()
    assert _core._gil_wanted() is False
    """).end(0)


def test_a_call_that_wakes_often_holds_back_nobody(child):
    child(SETUP + """
    gmpx.gomaxprocs(2)
    def polls():
        begun.release()
        until = time.monotonic() + PATIENCE
        while not gate.is_set() and time.monotonic() < until:
            time.sleep(1e-4)
        return gate.is_set()
    def boss():
        gmpx.go(gmpx.go, gate.set)              # behind it, on one ring
        return polls()
    assert gmpx.go(boss).result(timeout=2 * PATIENCE)
    """).end(0)
