"""Corners of time-outs, Groups, select, Cond and timers: what cancel, Ctrl-C, fork and the
collector may meet there. Each in a process of its own, since the failure would be its end."""

import os

import pytest

FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


def run(child, source, out, **env):
    assert child(source, **env).end(0).out == out


def test_cond_of_a_lock_held_for_reading(child):
    run(child, """
    import gmpx
    rw = gmpx.RWMutex()
    c = gmpx.Cond(rw)
    def body():
        with rw.reader():
            for wait in (c.wait, lambda t: c.wait_for(lambda: False, t)):
                try:
                    wait(0.1)
                except RuntimeError as e:
                    print(e, gmpx.current().status)
        gmpx.sleep(0.01)
        print("slept")
    gmpx.go(body).result(5)
    """, "Cond.wait: the mutex is not locked running\n" * 2 + "slept\n")


def test_timer_of_a_channel_that_is_being_freed(child):
    run(child, """
    import gmpx, time, weakref
    gmpx.go(lambda: None).join()
    for _ in range(10):
        c = gmpx.after(0.005)
        r = weakref.ref(c, lambda r: time.sleep(0.02))
        gmpx.go(time.sleep, 0)
        c = None
    for _ in range(10):
        c = gmpx.after(0.005)
        r = weakref.ref(c, lambda r: gmpx.sleep(0.02))
        c = None
    print("ok")
    """, "ok\n")


def test_collector_sees_no_half_built_result_of_select(child):
    run(child, """
    import gc, gmpx
    a, b = gmpx.Chan(), gmpx.Chan()
    g = gmpx.go(gmpx.select, a, b)
    gmpx.sleep(0.01)
    for o in gc.get_objects():
        if type(o) is tuple:
            hash(tuple(map(id, o)))
    b.send([1])
    r = g.result()
    print(r, gc.is_tracked(r))
    """, "(1, [1], True) True\n")


STUBBORN = """
    import gmpx
    def stubborn():
        with gmpx.shield():
            gmpx.sleep(0.15)
    def in_group():
        with gmpx.timeout(0.05):
            with gmpx.Group() as g:
                g.go(stubborn)
                gmpx.sleep(10)
    def in_finally():
        with gmpx.timeout(0.05):
            try:
                gmpx.sleep(10)
            finally:
                gmpx.sleep(0.15)
    def in_map():
        with gmpx.timeout(0.05):
            gmpx.map(lambda x: stubborn(), [1])
    def in_cond():
        m = gmpx.Mutex()
        c = gmpx.Cond(m)
        def hold():
            m.lock()
            gmpx.sleep(0.15)
            m.unlock()
        with gmpx.timeout(0.05):
            m.lock()
            gmpx.go(hold)
            c.wait()
"""


@pytest.mark.parametrize("block", ["in_group", "in_finally", "in_map", "in_cond"])
def test_cancel_is_stronger_than_a_later_timeout(child, block):
    run(child, STUBBORN + f"""
    block = {block}
    def body():
        try:
            block()
        except TimeoutError:
            print("lost")
    g = gmpx.go(body)
    gmpx.sleep(0.01)
    g.cancel("stop")
    try:
        g.result()
    except gmpx.Cancelled as e:
        print(repr(e))
    """, "Cancelled('stop')\n")


@pytest.mark.parametrize("block", ["in_group", "in_finally", "in_map"])
def test_ctrl_c_is_stronger_than_a_later_timeout(child, block):
    run(child, STUBBORN + f"""
    import os, signal, threading
    threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        {block}()
    except KeyboardInterrupt:
        print("Ctrl-C")
    """, "Ctrl-C\n")


def test_a_second_ctrl_c_leaves_a_group(child):
    run(child, """
    import gmpx, os, signal, threading
    def stubborn():
        with gmpx.shield():
            gmpx.sleep(3600)
    sent = []
    left = threading.Event()
    def kick():
        while not left.wait(0.1):
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=kick).start()
    try:
        with gmpx.Group() as group:
            group.go(stubborn)
            gmpx.sleep(3600)
    except KeyboardInterrupt:
        left.set()
        print(len(sent))
    """, "2\n")


def test_failures_beside_the_cancelled_of_another(child):
    run(child, """
    import gmpx
    def fail():
        raise ValueError("real failure")
    def body():
        with gmpx.Group() as group:
            b = group.go(gmpx.sleep, 5)
            gmpx.gosched()
            b.cancel()
            group.go(fail)
            b.result()                  # Cancelled: b's, not ours
    for run in (body, lambda: (gmpx.go(body).result(), gmpx.sleep(0))):
        try:
            run()
        except BaseException as e:
            print(type(e).__name__, e.exceptions)
    """, "ExceptionGroup (ValueError('real failure'),)\n" * 2)


def test_cancels_coalesce_until_one_is_raised(child):
    run(child, """
    import gmpx
    def body():
        try:
            gmpx.sleep(10)
        finally:
            gmpx.sleep(0.01)
            print("cleaned up")
            gmpx.current().cancel("anew")
            gmpx.gosched()
    g = gmpx.go(body)
    gmpx.gosched()
    g.cancel("a")
    g.cancel("b")
    try:
        g.result()
    except gmpx.Cancelled as e:
        print(e, "after", e.__context__)
    """, "cleaned up\nanew after b\n")


def test_thread_that_ends_inside_a_timeout(child):
    run(child, """
    import gc, gmpx, threading
    def body():
        gmpx.timeout(0.05).__enter__()
        gmpx.sleep(0.001)
    for _ in range(50):
        t = threading.Thread(target=body)
        t.start()
        t.join()
    gmpx.sleep(0.1)
    print(sum(type(o) is gmpx.timeout for o in gc.get_objects()))
    """, "0\n")


def test_deadlock_of_a_groups_children(child):
    run(child, """
    import gmpx
    def stuck():
        with gmpx.shield():
            gmpx.Chan().recv()
    try:
        with gmpx.Group() as group:
            group.go(stuck)
    except gmpx.DeadlockError:
        print("told")
    def soft():
        gmpx.Chan().recv()
    try:
        with gmpx.Group() as group:
            g = group.go(soft)
    except gmpx.DeadlockError:
        print("told", g.done())
    """, "told\ntold True\n")


def test_deadlock_of_a_condition(child):
    run(child, """
    import gmpx
    m = gmpx.Mutex()
    c = gmpx.Cond(m)
    def hog():
        m.lock()
        gmpx.Chan().recv()
    m.lock()
    gmpx.go(hog)
    try:
        c.wait()
    except gmpx.DeadlockError:
        print("told")
    """, "told\n")


@FORK
def test_group_and_wait_group_left_in_a_forks_child(child):
    run(child, """
    import gmpx, os
    with gmpx.Group() as group:
        group.go(gmpx.sleep, 0.1)
        gmpx.gosched()
        pid = os.fork()
        if pid:
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    if pid == 0:
        os._exit(3)
    wg = gmpx.WaitGroup()
    wg.go(gmpx.sleep, 0.1)
    gmpx.gosched()
    pid = os.fork()
    if pid == 0:
        wg.wait()
        os._exit(4)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    wg.wait()
    """, "3\n4\n")


@FORK
def test_scope_of_a_goroutine_that_stayed_in_the_parent(child):
    run(child, """
    import gmpx, os
    scopes = []
    def body():
        with gmpx.timeout(5) as t:
            scopes.append(t)
            gmpx.sleep(3)
    g = gmpx.go(body)
    gmpx.sleep(0.01)
    pid = os.fork()
    if pid == 0:
        try:
            scopes[0].reset(1)
        except RuntimeError as e:
            print(e, flush=True)
        os._exit(5)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """, "timeout.reset: not inside the block\n5\n")


@FORK
def test_timers_go_on_in_a_forks_child_and_functions_do_not(child):
    run(child, """
    import gmpx, os
    from gmpx import context
    c, t, tick = gmpx.after(0.05), gmpx.Timer(0.05), gmpx.Ticker(0.02)
    gone = gmpx.after(0.01)
    stopped = gmpx.Timer(0.05)
    later = gmpx.after_func(0.02, lambda: print("function", os.getpid() == parent, flush=True))
    parent = os.getpid()
    ctx, cancel = context.with_timeout(context.background(), 0.05)
    pid = os.fork()
    if pid == 0:
        del gone
        stopped.stop()
        for chan in (c, t.c, tick.c, tick.c):
            chan.recv(5)
        ctx.done().recv_ok(5)
        assert isinstance(ctx.err(), context.DeadlineExceeded), ctx.err()
        t.reset(0.01)
        t.c.recv(5)
        tick.stop()
        os._exit(6)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    gmpx.sleep(0.05)
    print(code)
    """, "function True\n6\n")


def test_group_left_without_being_entered(child):
    run(child, """
    import gmpx
    with gmpx.Group() as group:
        pass
    for g in (gmpx.Group(), group):
        try:
            g.__exit__(None, None, None)
        except RuntimeError as e:
            print(e)
    """, "this Group is not entered\n" * 2)


def test_finite_time_outs_are_no_deadlock(child):
    run(child, """
    import gmpx, threading
    c = gmpx.Chan()
    def later():
        import time
        time.sleep(0.4)
        c.send(1)
    threading.Thread(target=later, daemon=True).start()
    print(c.recv(timeout=1e300))
    gmpx.after_func(0.3, c.send, 2)
    print(c.recv(timeout=10**400))
    """, "1\n2\n")


def test_a_timer_is_the_first_that_uses_gmpx(child):
    run(child, """
    import gmpx, threading
    done = threading.Event()
    later = gmpx.after_func(0.01, done.set)
    print(done.wait(20))
    """, "True\n")


def test_timeout_in_the_clean_up_of_an_expired_one(child):
    run(child, """
    import gmpx
    def bounded():
        with gmpx.timeout(0.02):
            try:
                gmpx.sleep(10)
            finally:
                try:
                    with gmpx.timeout(0.02):
                        gmpx.sleep(10)
                except TimeoutError:
                    print("inner")
                with gmpx.Group() as group:
                    group.cancel()
                    gmpx.sleep(10)
                print("rest")
    def swallowed():
        with gmpx.timeout(0.02):
            try:
                gmpx.sleep(10)
            except gmpx.Cancelled:
                pass
            try:
                with gmpx.timeout(0.02):
                    gmpx.sleep(10)
            except TimeoutError:
                print("inner")
    for body in (bounded, swallowed):
        try:
            gmpx.go(body).result()
            print("went on")
        except TimeoutError as e:
            print("outer")
    """, "inner\nrest\nouter\ninner\nwent on\n")


def test_a_waiter_of_a_barrier_that_is_interrupted_while_it_leaves(child):
    run(child, """
    import gmpx
    b = gmpx.Barrier(2)
    def body():
        with gmpx.timeout(0.05):
            b.wait()
    g = gmpx.go(body)
    gmpx.gosched()
    b._mutex.lock()             # stands for a thread that lost the GIL in there
    g.cancel()
    gmpx.sleep(0.1)
    b._mutex.unlock()
    try:
        g.result()
    except gmpx.Cancelled:
        print(b.broken)
    """, "True\n")


def test_a_cancel_of_contexts_that_is_interrupted_goes_on(child):
    run(child, """
    from gmpx import context
    import gmpx
    ctx, cancel = context.with_cancel(context.background())
    kids = [context.with_cancel(ctx)[0] for _ in range(1000)]
    grandkid, _ = context.with_cancel(kids[900])
    real, calls = context._end_one, []
    def cut_short(*args):
        calls.append(1)
        if len(calls) == 500:
            raise KeyboardInterrupt
        real(*args)
    context._end_one = cut_short
    try:
        cancel()
    except KeyboardInterrupt:
        print("cut short")
    cancel()
    print(sum(k.err() is None for k in kids), grandkid.err())
    ctx, cancel = context.with_cancel(context.background())
    kid, _ = context.with_cancel(ctx)
    ctx.done().close()
    cancel()
    print(kid.err())
    """, "cut short\n0 context canceled\ncontext canceled\n")


def test_a_cancel_that_comes_while_a_dropped_iterator_waits(child):
    run(child, """
    import gmpx
    def call(x):
        if x:
            with gmpx.shield():
                gmpx.sleep(0.1)
        return x
    def work():
        for x in gmpx.imap(call, range(3)):
            break
        gmpx.sleep(1)
        print("lost")
    g = gmpx.go(work)
    gmpx.sleep(0.02)
    g.cancel()
    try:
        g.result()
    except gmpx.Cancelled:
        print("cancelled")
    def bounded():
        with gmpx.timeout(0.02):
            work()
    try:
        gmpx.go(bounded).result()
    except TimeoutError:
        print("timed out")
    """, "cancelled\ntimed out\n")


def test_a_foreign_threads_timers_need_no_other_thread(child):
    run(child, """
    import gmpx, threading, time
    gmpx.gomaxprocs(1)
    release = threading.Event()
    def body():
        gs = [gmpx.go(release.wait) for _ in range(2)]
        while gmpx.stats()["queued"]:
            time.sleep(0.001)
        try:
            with gmpx.timeout(0.05):
                gmpx.Chan().recv()
        except TimeoutError:
            print("in time", not release.is_set())
        release.set()
    t = threading.Thread(target=body)
    t.start()
    time.sleep(0.001)
    t.join()
    """, "in time True\n")


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="only Linux tells of them")
def test_no_deadlock_while_a_library_has_threads_of_its_own(child):
    run(child, """
    import ctypes, gmpx
    c = gmpx.Chan(1)
    LOOP = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
    libc = ctypes.CDLL(None)
    libc.usleep.argtypes = [ctypes.c_uint]
    thread = ctypes.c_ulong()
    # a thread that calls usleep(800000), seen by no one, then Python
    assert libc.pthread_create(ctypes.byref(thread), None, libc.usleep, 800000) == 0
    try:
        c.recv(timeout=None)
    except gmpx.DeadlockError:
        import os
        print(len(os.listdir("/proc/self/task")) <= 2)
    """, "True\n")


def test_a_subclass_of_group(child):
    run(child, """
    import gmpx
    class Mine(gmpx.Group):
        def go(self, fn, /, *args, **kwargs):
            print("mine")
            return super().go(fn, *args, **kwargs)
    for limit in (None, 2):
        with Mine(limit) as group:
            group.go(int)
    """, "mine\nmine\n")


def test_a_group_is_not_left_before_its_latest_child(child):
    run(child, """
    import gmpx
    def late():
        gmpx.sleep(0.02)
        raise ValueError("late")
    try:
        with gmpx.Group() as group:
            h = group.go(gmpx.gosched)
            h.add_done_callback(lambda h: group.go(late))
    except BaseException as e:
        print(e.exceptions)
    ev = gmpx.Event()
    def outsider():
        ev.wait()
        other.go(late)
    g = gmpx.go(outsider)
    seen = None
    try:
        with gmpx.Group() as other:
            other.go(lambda: (gmpx.sleep(0.01), ev.set()))
    except BaseException as e:
        seen = e.exceptions
    # it came in time, and the block waited for it, or too late, and was told
    print(isinstance(g.exception(), RuntimeError) if seen is None else g.exception() is None)
    """, "(ValueError('late'),)\nTrue\n")


def test_what_needs_no_wait_may_be_called_where_none_is_possible(child):
    run(child, """
    import gmpx
    ev, full, rw = gmpx.Event(), gmpx.Chan(1), gmpx.RWMutex()
    ev.set()
    full.send(0)
    calls = [
        lambda: gmpx.Mutex().lock(), lambda: gmpx.Semaphore(1).acquire(), rw.rlock, rw.runlock,
        rw.lock, ev.wait, gmpx.WaitGroup().wait, lambda: gmpx.select(full),
        lambda: gmpx.select(full, block=False),
    ]
    def callback(h):
        for call in calls:
            call()
        for call in (lambda: gmpx.Semaphore(0).acquire(timeout=0), lambda: rw.lock(timeout=0),
                     lambda: gmpx.Event().wait(0), lambda: gmpx.select(full, timeout=0)):
            try:
                call()
            except TimeoutError:
                pass
        try:
            gmpx.Event().wait()
        except RuntimeError as e:
            print(e)
    g = gmpx.go(int)
    g.add_done_callback(callback)
    g.join()
    gmpx.gosched()
    """, "this would park the scheduler: a signal handler or finalizer that runs between goroutines "
         "may not block in gmpx\n")
