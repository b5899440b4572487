"""Timers whose M does not see to them: it stands in a call, its thread has ended, it has stopped."""

SETUP = """
    import faulthandler, threading, time
    import gmpx
    from gmpx import context
    PATIENCE = 30.0
    faulthandler.dump_traceback_later(PATIENCE + 15, exit=True)
    def in_thread(fn):
        t = threading.Thread(target=fn)
        t.start()
        return t
"""


def test_a_hundred_thousand_due_together_fire_once_each(child):
    child(SETUP + """
    N = 100_000
    at = time.monotonic() + 1.0
    fired = [0] * N
    def one(i):
        gmpx.sleep(max(at - time.monotonic(), 0))
        fired[i] += 1
    gs = [gmpx.go(one, i) for i in range(N)]
    for g in gs:
        g.join(timeout=PATIENCE)
    assert fired == [1] * N
    """).end(0)


def test_a_hundred_thousand_functions_due_together_run_once_each(child):
    # In main's heap, and main stands in a call: sysmon takes them out, an M delivers them.
    child(SETUP + """
    N = 100_000
    fired, left, done = [0] * N, [N], threading.Event()
    def one(i):
        fired[i] += 1
        left[0] -= 1
        if left[0] == 0:
            done.set()
    at = time.monotonic() + 1.0
    timers = [gmpx.after_func(max(at - time.monotonic(), 0), one, i) for i in range(N)]
    assert done.wait(PATIENCE)
    time.sleep(0.01)
    assert fired == [1] * N
    """).end(0)


def test_others_get_their_timers_beside_a_large_batch(child):
    # TIMER_BATCH bounds how long a heap's lock is held: a foreign thread sets and stops timers.
    child(SETUP + """
    N = 50_000
    wg = gmpx.WaitGroup()
    at = time.monotonic() + 1.0
    for _ in range(N):
        wg.go(lambda: gmpx.sleep(max(at - time.monotonic(), 0)))
    over = []
    def sets():
        n = 0
        while not over:
            gmpx.after(0.0001).recv()
            assert gmpx.Timer(100).stop()
            n += 1
        assert n > 0
    t = in_thread(sets)
    wg.wait(timeout=PATIENCE)
    over.append(1)
    t.join(PATIENCE)
    assert not t.is_alive()
    """).end(0)


def test_timers_outlive_the_thread_that_made_them(child):
    child(SETUP + """
    for main_waits in ("parked", "in a call"):
        made, ran = [], threading.Event()
        def makes():
            made.append(gmpx.Timer(0.05))
            made.append(gmpx.after(0.05))
            made.append(gmpx.Ticker(0.05))
            gmpx.after_func(0.05, ran.set)
            made.append(context.with_timeout(context.background(), 0.05)[0])
        t = in_thread(makes); t.join()
        timer, after, ticker, ctx = made
        if main_waits == "in a call":
            assert ran.wait(PATIENCE)
            end = time.monotonic() + PATIENCE
            while ctx.err() is None:
                assert time.monotonic() < end
                time.sleep(0.001)
        timer.c.recv(timeout=PATIENCE)
        after.recv(timeout=PATIENCE)
        for _ in range(2):
            ticker.c.recv(timeout=PATIENCE)
        ticker.stop()
        ctx.done().recv_ok(timeout=PATIENCE)
        assert ctx.err() is not None
        assert ran.wait(PATIENCE)
    """).end(0)


def test_a_timers_thread_has_ended_and_another_stops_it(child):
    child(SETUP + """
    made, ran = [], []
    def makes():
        made.append(gmpx.after_func(0.2, ran.append, 1))
        made.append(gmpx.Timer(0.2))
    in_thread(makes).join()
    in_thread(lambda: made.extend(x.stop() for x in made[:2])).join()
    assert made[2:] == [True, True]
    made[1].reset(0.01)                         # on main's heap from here on
    made[1].c.recv(timeout=PATIENCE)
    gmpx.sleep(0.3)
    assert ran == []
    """).end(0)


def test_a_scope_on_a_thread_that_stands_interrupts_its_next_wait(child):
    child(SETUP + """
    got = []
    def body():
        try:
            with gmpx.timeout(0.01):
                time.sleep(0.05)
                gmpx.Chan().recv()
        except TimeoutError as e:
            got.append(e)
    in_thread(body).join(PATIENCE)
    assert len(got) == 1
    """).end(0)


def test_timers_fire_while_all_ms_stand(child):
    # Timers of main, of a worker and of a thread; every thread of the runtime is in time.sleep, or
    # another call.
    child(SETUP + """
    gmpx.gomaxprocs(2)
    gate, begun, fired = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
    def stands():
        gmpx.after_func(0.01, fired.release)
        begun.release()
        gate.wait(PATIENCE)
    def boss():
        gs = [gmpx.go(stands) for _ in range(3)]
        gmpx.after_func(0.01, fired.release)
        for _ in range(3):
            assert begun.acquire(timeout=PATIENCE)
        return gs
    out = []
    t = in_thread(lambda: out.extend(boss())); t.join()
    gmpx.after_func(0.01, fired.release)
    for _ in range(5):
        assert fired.acquire(timeout=PATIENCE)  # main stands here, too
    gate.set()
    for g in out:
        g.join(timeout=PATIENCE)
    """).end(0)


def test_timers_go_on_after_a_shutdown(child):
    # The Ms have stopped. Main stands; a foreign thread, a context, a function wait for the time.
    child(SETUP + """
    gmpx.go(lambda: None).join()
    got, ran, set_up = [], threading.Event(), threading.Event()
    def foreign():
        after = gmpx.after(0.3)
        set_up.set()
        got.append(after.recv())
    t = in_thread(foreign)
    assert set_up.wait(PATIENCE)
    ctx, cancel = context.with_timeout(context.background(), 0.3)
    gmpx.after_func(0.3, ran.set)
    gmpx.shutdown()
    t.join(PATIENCE)                            # main stands
    assert len(got) == 1
    assert ran.wait(PATIENCE)
    end = time.monotonic() + PATIENCE
    while ctx.err() is None:
        assert time.monotonic() < end
        time.sleep(0.001)
    gmpx.shutdown()
    """).end(0)
