"""fork: wait queues that goroutines of the parent stand on are usable in the child.

A dead goroutine's place in a queue is no party to anything there: no send reaches it, no item
comes from it, and no lock is handed to it.
"""

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")

# waits(f, *args) starts a wait in the parent. tries(f, ...) expects a time-out.
SETUP = """
    import os, sys, threading, gmpx
    gmpx.gomaxprocs(3)
    foreign, waiters = [], 0
    def waits(f, *args):
        global waiters
        where = sys.argv[1]
        waiters += 1
        if where == "here":
            gmpx.go(f, *args)
        elif where == "another M":
            begun = threading.Event()
            gmpx.go(lambda: (begun.set(), f(*args)))
            assert begun.wait(20)
        else:
            threading.Thread(target=f, args=args, daemon=True).start()
    def all_wait():
        def parked():
            return sum(g.status == "waiting" for g in gmpx.goroutines())
        while parked() < waiters:
            gmpx.sleep(0.001)
    def tries(f, *args):
        try: f(*args, timeout=0.02)
        except TimeoutError: return
        raise AssertionError("a dead goroutine took part")
    def forks(fn):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                fn()
                code = 42
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    c, buffered = gmpx.Chan(), gmpx.Chan(2)
    mutex, wg = gmpx.Mutex(), gmpx.WaitGroup()
"""

CASES = {
    "receivers": """
        waits(c.recv); waits(c.recv); all_wait()
        def in_child():
            tries(c.send, 1)
            gmpx.go(c.send, 2)                  # new ones meet as ever
            assert c.recv() == 2
    """,
    "senders": """
        waits(c.send, 1); waits(c.send, 2); all_wait()
        def in_child():
            tries(c.recv)
            gmpx.go(c.send, 3)
            assert c.recv() == 3
    """,
    "senders behind a full buffer": """
        buffered.send(1); buffered.send(2); waits(buffered.send, 3); all_wait()
        def in_child():
            assert (buffered.recv(), buffered.recv()) == (1, 2)
            tries(buffered.recv)
            for i in range(10):
                buffered.send(i); assert buffered.recv() == i
    """,
    "receivers of a channel that closes": """
        waits(lambda: c.recv_ok()); all_wait()
        def in_child():
            c.close()
            assert c.recv_ok() == (None, False)
    """,
    "senders to a channel that closes": """
        def sends():
            try: c.send(1)
            except gmpx.ChannelClosed: pass
        waits(sends); all_wait()
        def in_child():
            c.close()
            assert c.recv_ok() == (None, False)
    """,
    "Mutex": """
        mutex.lock(); waits(mutex.lock); waits(mutex.lock); all_wait()
        def in_child():
            mutex.unlock()
            assert mutex.try_lock()
            mutex.unlock()
    """,
    "WaitGroup": """
        wg.add(1); waits(wg.wait); waits(wg.wait); all_wait()
        def in_child():
            wg.done()
            wg.wait()
    """,
    "join": """
        waits(gmpx.sleep, 60); all_wait()
        g = next(g for g in gmpx.goroutines() if g.id != 1)
        waits(g.join); all_wait()
        def in_child():
            g.join(timeout=20)
            for f in (g.result, g.exception):
                try: f()
                except RuntimeError as e: assert "fork" in str(e)
                else: raise AssertionError(f)
    """,
    "sleep": """
        for i in range(1, 20): waits(gmpx.sleep, 0.05 * i)
        gmpx.gosched()                          # not all_wait(): the first ones may have ended
        def in_child():
            for _ in range(3): gmpx.sleep(0.03)     # past several of their times
            assert gmpx.num_goroutine() == 1
    """,
}


@pytest.mark.parametrize("where", ["here", "another M", "foreign thread"])
@pytest.mark.parametrize("case", CASES)
def test_waits_of_the_parent_are_void_in_the_child(child, case, where):
    if case in ("join", "sleep") and where == "foreign thread":
        where = "another M"
    # each case twice: the second child inherits the parent's queues once more
    child(SETUP + CASES[case].replace("\n    ", "\n") + """
    for _ in range(2):
        assert forks(in_child) == 42
    assert gmpx.go(forks, in_child).result() == 42
    os._exit(0)
    """, where).end(0)
