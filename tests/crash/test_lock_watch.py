"""A goroutine that would wait for a lock which a goroutine of its own thread holds is told at once, without the patch
(rt/observe/lockwatch.pxi); and locks across a fork.
"""

import os
import sys

import pytest

SETUP = """
    import os, sys, threading, _thread
    import gmpx
    reports = []
    gmpx.block_hook = reports.append
    class Pool:
        def __init__(self):
            self.lock = threading.Lock()            # made here
    pool = Pool()
    def holder(park):
        with pool.lock:
            park()
    def waiter(*args):
        try:
            return pool.lock.acquire(*args)
        finally:
            if pool.lock.locked():
                pool.lock.release()
    def parked(g):
        while g.status != "waiting":
            gmpx.gosched()
        return g
"""


def test_it_is_told_before_the_thread_stands(child):
    child(SETUP + """
    c = gmpx.Chan()
    g = parked(gmpx.go(holder, c.recv))
    def hook(r):
        reports.append(r)
        os.write(1, str(r).encode())
        os._exit(0)                                 # nobody goes on after this
    gmpx.block_hook = hook
    gmpx.go(waiter).join()
    """).end(0)


def test_the_report(child):
    # A foreign thread gives the lock back, so that both go on.
    child(SETUP + """
    c = gmpx.Chan()
    g = parked(gmpx.go(holder, c.recv))
    def hook(r):
        reports.append(r)
        threading.Timer(0.05, pool.lock.release).start()
    gmpx.block_hook = hook
    h = gmpx.go(waiter)
    assert h.result(30) is True
    (r,) = reports
    assert (r.state, r.goroutine, r.holder, r.thread) == ("deadlocked", h, g, 0), r
    assert r.stack[-1][0].co_name == "waiter" and r.holder_stack[0][0].co_name == "holder"
    text = str(r)
    for part in (f"goroutine {h.id} [waiter]", f"goroutine {g.id} [holder]", "made in <string>, line 8", "gmpx.patch.threading()"):
        assert part in text, (part, text)
    """).end(0)


def test_raise(child):
    child(SETUP + """
    g = parked(gmpx.go(holder, gmpx.Chan().recv))
    h = gmpx.go(pool.lock.acquire)
    assert isinstance(h.exception(30), gmpx.DeadlockError)
    assert "made in <string>, line 8" in str(h.exception())
    assert not reports
    g.cancel(); g.join(30)
    assert pool.lock.acquire(False)
    """, GMPX_LOCK_DEADLOCK="raise").end(0)


@pytest.mark.parametrize("case", [
    "gmpx.go(waiter, True, 0.01).result(30) is False",              # it ends
    "gmpx.go(waiter, False).result(30) is False",
    "pool.lock.acquire(False) is False",
])
def test_no_false_alarm_where_it_ends(child, case):
    child(SETUP + f"""
    g = parked(gmpx.go(holder, gmpx.Chan().recv))
    def waiter(*args):
        return pool.lock.acquire(*args)
    assert {case}
    g.cancel(); g.join(30)
    assert not reports, reports
    """, GMPX_LOCK_DEADLOCK="raise").end(0)


def test_no_false_alarm_where_another_may_release(child):
    child(SETUP + """
    # its own: somebody else is to release it
    lock = _thread.allocate_lock()
    def twice():
        lock.acquire()
        threading.Timer(0.05, lock.release).start()
        return lock.acquire()
    assert gmpx.go(twice).result(30) is True
    lock.release()
    # on another thread
    gmpx.gomaxprocs(2)
    c, begun = gmpx.Chan(), []
    def elsewhere():
        with lock:
            begun.append(threading.get_ident())
            c.recv()
    g = gmpx.go(elsewhere)
    import time
    while not begun:
        time.sleep(0.001)                           # this thread stands: another takes it
    if begun[0] != threading.get_ident():
        threading.Timer(0.05, c.send, (None,)).start()
        assert gmpx.go(lock.acquire).result(30)
    assert not reports, reports
    """, GMPX_LOCK_DEADLOCK="raise", GMPX_BLOCK_WARN_MS="0").end(0)


def test_what_the_variable_may_be(child):
    run = child("import gmpx", GMPX_LOCK_DEADLOCK="maybe")
    run.end(1)
    assert "GMPX_LOCK_DEADLOCK must be report, raise or off: 'maybe'" in run.err
    child("""
    import _thread
    before = _thread.LockType.acquire, repr(_thread.LockType.acquire)
    import gmpx
    lock = _thread.allocate_lock()
    with lock:
        assert lock.acquire(False) is False
    """, GMPX_LOCK_DEADLOCK="off").end(0)


# ---- forks ---------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("who", ["main", "goroutine"])
def test_the_forks_child_has_the_locks_of_who_forked(child, who):
    child("""
    import os, threading
    import gmpx, gmpx.patch
    gmpx.patch.all()
    rlock, lock, other = threading.RLock(), threading.Lock(), threading.RLock()
    def wait(l):
        with l:
            pass
    def hold():
        with other:
            gmpx.Chan().recv()
    def forks():
        with rlock, lock:
            gs = [gmpx.go(wait, l) for l in (rlock, lock, rlock, lock)] + [gmpx.go(hold)]
            while not all(g.status == "waiting" for g in gs):
                gmpx.gosched()
            pid = os.fork()
            if pid == 0:
                assert rlock._is_owned() and lock.locked()
                rlock.acquire(); rlock.release()
        if pid == 0:
            assert not rlock._is_owned() and not lock.locked()
            assert gmpx.go(wait, rlock).join(10) is None and gmpx.go(wait, lock).join(10) is None
            assert not other.acquire(False)         # its owner is the parent's
            cond = threading.Condition()
            def waits():
                with cond:
                    cond.wait(10)
            g = gmpx.go(waits)
            while g.status != "waiting":
                gmpx.gosched()
            with cond:
                cond.notify()
            g.result(10)
            print("child", flush=True)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        for g in gs[:4]:
            g.result(10)
        gs[4].cancel()
        gs[4].join(10)
    """ + ("""
    forks()
    """ if who == "main" else """
    gmpx.go(forks).result(60)
    """)).end(0)


def test_a_lock_that_died_locked_is_not_taken_for_its_successor(child):
    child(SETUP + """
    gmpx.gosched()
    while True:
        lock = _thread.allocate_lock()
        lock.acquire()                          # the main goroutine's
        at = id(lock)
        del lock
        lock = _thread.allocate_lock()
        if id(lock) == at:
            break
    def hold():
        lock.acquire()
        held.release()
        gone.acquire()
        lock.release()
    held, gone = _thread.allocate_lock(), _thread.allocate_lock()
    held.acquire(), gone.acquire()
    _thread.start_new_thread(hold, ())
    held.acquire()
    threading.Timer(0.05, gone.release).start()
    assert gmpx.go(lock.acquire).result(10)
    assert not reports, reports[0]
    """, GMPX_MAXPROCS="1").end(0)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="has no interpreters with a GIL of their own")
def test_locks_of_other_interpreters_leave_nothing_behind(child):
    child(SETUP + """
    try:
        import _interpreters
        run = _interpreters.exec
    except ImportError:
        import _xxsubinterpreters as _interpreters
        run = _interpreters.run_string
    code = '''if True:
        import _thread, threading
        def f(n):
            exec(compile("def make(): return [_thread.allocate_lock() for _ in range(3000)]", f"f{n}", "exec"), globals())
            for lock in make():
                with lock:
                    pass
            c = threading.Condition()
            with threading.RLock(), c:
                c.notify()
        for i in range(3):
            f(i)
    '''
    for _ in range(5):
        i = _interpreters.create()
        problem = run(i, code)
        assert not problem, problem
        _interpreters.destroy(i)
        for _ in range(20000):
            _thread.allocate_lock()
    """).end(0)
