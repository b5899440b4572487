"""blocking in processes of their own: its cap, and how it ends."""

import os

import pytest

CAPPED = """
    import os, threading, gmpx
    from gmpx import blocking, go
    assert os.environ["GMPX_BLOCKING_THREADS"] == "2"
"""


def test_cap_and_queue(child):
    p = child(CAPPED + """
    at_once, most, mu = 0, 0, threading.Lock()
    first = threading.Barrier(3)
    gate = threading.Event()
    def call(n):
        global at_once, most
        with mu:
            at_once += 1
            most = max(most, at_once)
        if n < 2:
            first.wait(20)
            gate.wait(20)
        with mu:
            at_once -= 1
        return n
    gs = [go(blocking, call, n) for n in range(2)]
    gmpx.sleep(0)
    first.wait(20)                              # both threads are taken
    more = [go(blocking, call, n) for n in range(2, 12)]
    while gmpx.stats()["blocking_queued"] < 10:
        gmpx.gosched()
    more[3].cancel()                            # waits in the queue: never begins
    more[3].join()
    assert gmpx.stats()["blocking_queued"] == 9
    gate.set()
    print([g.result() for g in gs + more[:3] + more[4:]], most, gmpx.stats()["blocking_threads"])
    """, GMPX_BLOCKING_THREADS="2")
    p.end(0)
    assert p.out == "[0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11] 2 2\n"


def test_calls_that_wait_for_calls_do_not_starve(child):
    p = child(CAPPED + """
    def outer(n):                               # on a spare thread, waits for a goroutine
        return go(blocking, middle, n).result()
    def middle(n):
        return go(blocking, str, n).result()
    print(gmpx.map(lambda n: blocking(outer, n), range(20)) == [str(n) for n in range(20)])
    """, GMPX_BLOCKING_THREADS="2")
    p.end(0)
    assert p.out == "True\n"


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5"])
def test_bad_cap(child, text):
    p = child("""
    import gmpx
    try:
        gmpx.blocking(int)
    except ValueError as e:
        print(e)
    """, GMPX_BLOCKING_THREADS=text)
    p.end(0)
    assert "GMPX_BLOCKING_THREADS" in p.out and repr(text) in p.out


def test_deadlock_is_seen_past_idle_threads_but_not_past_busy_ones(child):
    p = child("""
    import time, gmpx
    from gmpx import blocking
    blocking(int)                               # leaves an idle thread
    try:
        gmpx.Chan().recv()
    except gmpx.DeadlockError:
        print("seen")
    c = gmpx.Chan()
    gmpx.go(blocking, lambda: (time.sleep(0.7), c.send(1)))
    print(c.recv())                             # no false alarm
    try:
        blocking(gmpx.Chan().recv)              # the call itself waits for ever
    except gmpx.DeadlockError:
        print("seen")
    """)
    p.end(0)
    assert p.out == "seen\n1\nseen\n"


def test_exit_waits_for_no_call(child):
    p = child("""
    import time, gmpx
    gmpx.go(gmpx.blocking, time.sleep, 3600)
    gmpx.sleep(0.05)
    print("end")
    """)
    p.end(0)
    assert p.out == "end\n" and p.took < 20


def test_shutdown_ends_idle_threads_and_cancels_callers(child):
    p = child("""
    import threading, gmpx
    from gmpx import blocking, go
    gate = threading.Event()
    g = go(blocking, gate.wait)
    blocking(int)
    gmpx.shutdown()
    print(g.done())
    gate.set()
    for t in threading.enumerate():
        if t is not threading.main_thread() and not t.name.endswith(" 1"):
            t.join(20)
            print(t.is_alive())
    print(blocking(str, 3))
    """)
    p.end(0)
    assert p.out.startswith("True\n") and p.out.endswith("3\n") and p.out.count("True") == 1


def test_ctrl_c_leaves_the_call(child):
    p = child("""
    import os, signal, threading, gmpx
    gate = threading.Event()
    def call():
        print("in", flush=True)
        gate.wait()
    try:
        gmpx.blocking(call)
    except KeyboardInterrupt:
        print("out")
    gate.set()
    """)
    assert p.line() == "in"
    p.interrupt()
    p.end(0)
    assert p.out.endswith("out\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_fork_leaves_the_threads_behind(child):
    p = child("""
    import os, threading, gmpx
    from gmpx import blocking, go
    gate = threading.Event()
    g = go(blocking, gate.wait)
    blocking(int)
    pid = os.fork()
    if pid == 0:
        ok = blocking(str, 5) == "5" and gmpx.stats()["blocking_threads"] == 1
        os._exit(0 if ok else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    def forks():                                # on a spare thread
        pid = os.fork()
        if pid == 0:
            os._exit(0 if blocking(str, 6) == "6" else 1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(blocking(forks))
    gate.set()
    print(g.result())
    """)
    p.end(0)
    assert p.out == "0\n0\nTrue\n"


def test_whoever_leaves_the_queue_goes_in_one_step_wherever_it_stands(child):
    # The middle, the first and the last of those that wait; the others keep their order.
    child("""
        import threading, gmpx
        from gmpx import blocking, go
        begun, gate, ran = threading.Event(), threading.Event(), []
        def stand():
            begun.set(); gate.wait()
        first = go(blocking, stand)
        while not begun.is_set(): gmpx.sleep(0.001)
        gs = [go(blocking, ran.append, i) for i in range(10)]
        while not all(g.wait_reason == "blocking call" for g in gs): gmpx.gosched()
        assert gmpx.stats()["blocking_queued"] == 10
        for left, i in enumerate([5, 0, 9, 4, 6, 1]):
            gs[i].cancel()
            gs[i].join()
            assert gmpx.stats()["blocking_queued"] == 9 - left
        last = go(blocking, ran.append, 10)
        while last.wait_reason != "blocking call": gmpx.gosched()
        gate.set()
        last.result()
        assert ran == [2, 3, 7, 8, 10], ran
        assert gmpx.stats()["blocking_queued"] == 0
        for g in gs: g.join()

        # all leave, newest first: each step once cost as much as the queue is long
        begun.clear(); gate.clear()
        first = go(blocking, stand)
        while not begun.is_set(): gmpx.sleep(0.001)
        gs = [go(blocking, ran.append, i) for i in range(20000)]
        while gs[-1].wait_reason != "blocking call": gmpx.gosched()
        for g in reversed(gs): g.cancel()
        for g in gs: g.join()
        assert gmpx.stats()["blocking_queued"] == 0 and len(ran) == 5
        gate.set(); first.join()
    """, GMPX_BLOCKING_THREADS="1").end(0)
