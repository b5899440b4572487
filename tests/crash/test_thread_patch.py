"""Patched programs with threads, at fork and at exit: as without the patch.

Each runs in plain CPython, and then patched, where what `spawn` starts is a goroutine instead of a daemon thread: the
exit code and what is printed are the same.
"""

import os
import re
import textwrap

import pytest

PLAIN = """
    import sys, threading
    def spawn(fn, *args):
        threading.Thread(target=fn, args=args, daemon=True).start()
"""

PATCHED = """
    import gmpx, gmpx.patch
    gmpx.patch.all()
    def spawn(fn, *args):
        gmpx.go(fn, *args)
"""

COMMON = """
    import _thread, atexit, concurrent.futures, logging, os, queue, signal, sys, threading, time
    def say(*what):
        os.write(1, (" ".join(map(str, what)) + "\\n").encode())
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
        say("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    def begun(n=1):
        # once n have said so, and had time to wait for what they want next
        for _ in range(n):
            begins.acquire()
        time.sleep(0.05)
    begins = threading.Semaphore(0)
"""


def same(child, source):
    plain, patched = (
        child("".join(map(textwrap.dedent, (head, COMMON, source)))) for head in (PLAIN, PATCHED)
    )
    plain.end(), patched.end()
    ends = [(c.process.returncode, c.out, re.sub(r' at 0x\w+|(?<="<string>"), line \d+', "", c.err)) for c in (plain, patched)]
    assert ends[0] == ends[1]
    return plain


FORKS = {
    "a lock that the forking one holds": """
        lock = threading.Lock()
        def in_child():
            assert not lock.acquire(False)
            lock.release()                      # whoever likes may
            with lock: pass
        with lock:
            forks(in_child)
            lock.acquire(timeout=0.01)
    """,
    "an RLock that the forking one holds": """
        lock = threading.RLock()
        def in_child():
            with lock: pass
            lock.release()
            lock.release()
            try: lock.release()
            except RuntimeError as e: say(e)
        with lock, lock:
            forks(in_child)
        assert not lock._is_owned()
    """,
    "a condition that the forking one holds": """
        cond = threading.Condition()
        def in_child():
            cond.notify_all()
            assert not cond.wait(0.01)
            cond.release()
        with cond:
            forks(in_child)
    """,
    "locks that others hold": """
        lock, rlock = threading.Lock(), threading.RLock()
        def hold():
            with lock, rlock:
                begins.release()
                time.sleep(60)
        spawn(hold)
        begun()
        def in_child():
            for each in lock, rlock:
                assert not each.acquire(False)
                assert not each.acquire(timeout=0.02)
                each._at_fork_reinit()
                with each: pass
                assert each.acquire(timeout=1)
                each.release()
        forks(in_child)
    """,
    "others wait for a lock": """
        lock = threading.Lock()
        def wait():
            begins.release()
            with lock: pass
        lock.acquire()
        for _ in range(3):
            spawn(wait)
        begun(3)
        def in_child():
            lock.release()
            with lock: pass                     # it is not handed to one that is no more
            def another():
                with lock: begins.release()
            lock.acquire()
            spawn(another)
            time.sleep(0.02)
            lock.release()
            assert begins.acquire(timeout=20)
            with lock: pass
        forks(in_child)
        lock.release()
    """,
    "some have been woken, and have not run since": """
        lock, rlock = threading.Lock(), threading.RLock()
        def wait(what):
            begins.release()
            what()
        lock.acquire()
        rlock.acquire()
        for each in (lock, rlock) * 2:
            spawn(wait, each.acquire)
        begun(4)
        lock.release()
        rlock.release()
        pid = os.fork()                         # whether a thread has run in time is not told
        if pid == 0:
            for each in lock, rlock:
                each._at_fork_reinit()
                each.acquire()
                got = queue.Queue()
                def another(each=each, got=got):
                    with each: got.put(1)
                spawn(another)
                time.sleep(0.02)
                each.release()
                assert got.get(timeout=20) == 1
            os._exit(42)
        say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """,
    "others wait in queues": """
        queues = queue.Queue(), queue.SimpleQueue()
        def wait(q):
            begins.release()
            q.get()
        for q in queues * 2:
            spawn(wait, q)
        begun(4)
        def in_child():
            for q in queues:
                q.put(1)                        # nobody takes it
                assert q.get(timeout=20) == 1
        forks(in_child)
    """,
    "in one of those that wait for locks": """
        lock, done = threading.Lock(), threading.Semaphore(0)
        def wait():
            begins.release()
            with lock: pass
        for _ in range(3):
            spawn(wait)
        local = threading.local()
        rlock = threading.RLock()
        def fork():
            local.x = 5
            def in_child():
                assert local.x == 5
                rlock.release()
                lock.release()
                with lock, rlock: pass
                assert threading.current_thread() is threading.main_thread()
                t = threading.Thread(target=lock.acquire)
                t.start(); t.join()
                assert not lock.acquire(False)
            with lock, rlock:
                begun(3)
                forks(in_child)
                assert rlock._is_owned()
            done.release()
        spawn(fork)
        done.acquire()
        lock.acquire()
    """,
    "a child that goes on to its end": """
        lock = threading.Lock()
        def wait():
            begins.release()
            with lock: pass
        lock.acquire()
        spawn(wait)
        begun()
        pid = os.fork()
        if pid:
            say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            sys.exit(4)
        q = queue.Queue()
        def late():
            time.sleep(0.05)
            say(q.get())
        threading.Thread(target=late).start()
        q.put("got")
        lock.release()
        atexit.register(say, "exit of the child")
        sys.exit(3)
    """,
    "a pool": """
        pool = concurrent.futures.ThreadPoolExecutor(2)
        assert pool.submit(int, "3").result() == 3
        def in_child():
            with concurrent.futures.ThreadPoolExecutor(2) as another:
                assert sum(another.map(int, "123")) == 6
        forks(in_child)
        assert pool.submit(int, "4").result() == 4
        pool.shutdown()
    """,
    "logging": """
        logging.basicConfig(format="%(message)s", stream=sys.stdout)
        def log():
            begins.release()
            for i in range(200):
                logging.debug("not shown")
                logging.getLogger(f"x{i}")
        for _ in range(3):
            spawn(log)
        def in_child():
            logging.warning("in the child")
            sys.stdout.flush()
        for _ in range(3):
            forks(in_child)
    """,
    "a child forks, too": """
        lock = threading.RLock()
        def grandchild():
            with lock: pass
            lock.release()
            assert not lock._is_owned()
        def in_child():
            forks(grandchild)
            lock.release()
        done = threading.Semaphore(0)
        def fork():
            with lock:
                forks(in_child)
            done.release()
        spawn(fork)
        done.acquire()
    """,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.parametrize("source", FORKS.values(), ids=FORKS)
def test_fork(child, source):
    c = same(child, source)
    assert "child 1" not in c.out, c.err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_simple_queue_that_had_woken_one_at_a_fork(child):
    # CPython's own is not to be used in the child then
    c = child(textwrap.dedent(PATCHED + COMMON + """
    simple = queue.SimpleQueue()
    for _ in range(2):
        gmpx.go(simple.get)
    gmpx.sleep(0.01)
    simple.put(1)
    def in_child():
        assert simple.get() == 1
        g = gmpx.go(simple.get)
        gmpx.sleep(0.01)
        simple.put(2)
        assert g.result(20) == 2
    forks(in_child)
    """)).end(0)
    assert c.out == "child 42\n", c.err


EXITS = {
    "a thread waits for what the main thread's goroutine puts": """
        q = queue.Queue()
        def get():
            for _ in range(3):
                say(q.get())
        threading.Thread(target=get).start()
        def put():
            for i in range(3):
                time.sleep(0.02)
                q.put(i)
        spawn(put)
    """,
    "a thread, a SimpleQueue, an exit code": """
        q = queue.SimpleQueue()
        threading.Thread(target=lambda: say(q.get())).start()
        def put():
            time.sleep(0.02)
            q.put(1)
        spawn(put)
        sys.exit(5)
    """,
    "a thread that is waited for, and an error": """
        event = threading.Event()
        threading.Thread(target=lambda: (event.wait(), say("waited"))).start()
        def set():
            time.sleep(0.02)
            event.set()
        spawn(set)
        sys.tracebacklimit = 0
        raise ValueError("unhandled")
    """,
    "threads that start threads": """
        def run(n):
            time.sleep(0.01)
            say(n)
            if n: threading.Thread(target=run, args=(n - 1,)).start()
        run(3)
    """,
    "daemons wait for all there is": """
        lock, rlock = threading.Lock(), threading.RLock()
        cond, event = threading.Condition(), threading.Event()
        def wait(what):
            begins.release()
            what()
            say("not to be seen")
        def in_cond():
            with cond: cond.wait()
        lock.acquire(), rlock.acquire()
        waits = [lock.acquire, rlock.acquire, in_cond, event.wait, queue.Queue().get, queue.SimpleQueue().get,
                 threading.Semaphore(0).acquire, threading.Barrier(2).wait,
                 concurrent.futures.Future().result]
        for what in waits:
            threading.Thread(target=wait, args=(what,), daemon=True).start()
        for what in waits:
            spawn(wait, what)
        begun(2 * len(waits))
        sys.exit(7)
    """,
    "daemons take turns with a lock": """
        lock, count = threading.Lock(), 0
        def add():
            global count
            begins.release()
            while True:
                with lock:
                    count += 1
        for _ in range(3):
            threading.Thread(target=add, daemon=True).start()
        begun(3)
        with lock:
            assert count > 0
        sys.exit(7)
    """,
    "a pool at exit": """
        pool = concurrent.futures.ThreadPoolExecutor(2)
        def work(i):
            time.sleep(0.02)
            return i
        futures = [pool.submit(work, i) for i in range(6)]
        futures[-1].add_done_callback(lambda f: say("last", f.result()))
    """,
    "a pool whose tasks wait for what comes at exit": """
        pool = concurrent.futures.ThreadPoolExecutor(1)
        q = queue.Queue()
        pool.submit(lambda: say(q.get()))
        def put():
            time.sleep(0.05)
            q.put("late")
        spawn(put)
        sys.exit(2)
    """,
    "a pool after the exit has begun": """
        def late():
            try:
                concurrent.futures.ThreadPoolExecutor(1).submit(int)
            except RuntimeError as e:
                say(e)
        atexit.register(late)
    """,
    "_register_atexit": """
        q = queue.Queue()
        t = threading.Thread(target=lambda: say("thread", q.get()))
        t.start()
        threading._register_atexit(lambda: q.put("told at exit"))
        threading._register_atexit(say, "first")
        atexit.register(say, "last")
    """,
    "_register_atexit raises": """
        sys.tracebacklimit = 0
        def bad(): raise ValueError("of an exit function")
        atexit.register(say, "last")
        threading.Thread(target=time.sleep, args=(0.02,)).start()
        atexit.register(bad)
        sys.exit(3)
    """,
    "the main thread ends first": """
        main = threading.main_thread()
        def wait():
            main.join()
            say("main has ended", main.is_alive())
        threading.Thread(target=wait).start()
    """,
    "an exit function waits for threads and goroutines": """
        q, answers = queue.Queue(), queue.SimpleQueue()
        def serve():
            while True:
                answers.put(q.get() + 1)
        threading.Thread(target=serve, daemon=True).start()
        def ask():
            q.put(1)
            say(answers.get())
        atexit.register(ask)
    """,
    "Ctrl-C while threads are waited for": """
        def interrupt():
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            say("thread")
        signal.signal(signal.SIGINT, lambda *args: say("handler"))
        threading.Thread(target=interrupt).start()
    """,
    "a timer at exit": """
        threading.Timer(0.02, say, ("timer",)).start()
    """,
    "sys.exit in a thread that has a lock": """
        lock = threading.Lock()
        def leave():
            lock.acquire()
            sys.exit(9)
        t = threading.Thread(target=leave)
        t.start(); t.join()
        say(lock.locked(), lock.acquire(timeout=0.02))
        def free():
            time.sleep(0.02)
            lock.release()
        spawn(free)
        with lock: say("had")
    """,
    "an error in a thread": """
        def bad():
            with threading.Lock(): raise ValueError("in a thread")
        threading.excepthook = lambda args: say(args.exc_type, args.exc_value)
        t = threading.Thread(target=bad)
        t.start()
    """,
    "locks and queues go last": """
        class Last:
            def __init__(self): self.lock, self.q = threading.RLock(), queue.SimpleQueue()
            def __del__(self):
                with self.lock:
                    self.q.put(1)
                    os.write(1, b"%d\\n" % self.q.get())
        last = Last()
        threading.local().last = Last()
        sys.modules["kept"] = Last()
    """,
}


@pytest.mark.parametrize("source", EXITS.values(), ids=EXITS)
def test_exit(child, source):
    same(child, source)


# What a finalizer does when modules are no more: (what it needs, what it does with that).
FINALIZERS = {
    "a lock, at once": ("threading.Lock()", "o.acquire(), o.acquire(False), o.acquire(False, -1), o.acquire(blocking=False), o.release()"),
    "a lock, for a time": ("threading.Lock()", "o.acquire(), o.acquire(True, 0.1), o.acquire(timeout=0.1), o.acquire(True, 0)"),
    "an RLock": ("threading.RLock()", "o.acquire(), o.acquire(True, 0.1), o.acquire(False), o.acquire(timeout=1), o.release()"),
    "a condition": ("threading.Condition()", "o.acquire(), o.wait(0.1), o.notify_all(), o.release()"),
    "an event": ("threading.Event()", "o.wait(0.1), o.set(), o.wait(1), o.wait()"),
    "a semaphore": ("threading.Semaphore(1)", "o.acquire(), o.acquire(False), o.acquire(timeout=0.1), o.release(), o.acquire(timeout=1)"),
    "a barrier": ("threading.Barrier(2)", "o.wait(0.1)"),
    "a queue": ("queue.Queue()", "o.put(1, timeout=0.1), o.get(timeout=0.1), o.put_nowait(2), o.get_nowait(), o.get(timeout=0.1)"),
    "a SimpleQueue": ("queue.SimpleQueue()", "o.put(1), o.get(), o.put(2), o.get(timeout=0.1), o.get(timeout=0.1)"),
    "a thread that waits": ("started(60)", "o.is_alive(), o.join(0.1), o.is_alive()"),
    "a thread that has ended": ("ended()", "o.is_alive(), o.join(0.1), o.join()"),
    "a timer": ("timer()", "o.cancel(), o.is_alive()"),
    "a worker that is told to end": ("worker()", "o[0].put(None), o[1].is_alive(), o[1].join(0.1)"),
    "sleep": ("time.sleep", "o(0), o(0.2)"),
    "select": ("select.select, os.pipe()[0]", "o[0]([o[1]], [], [], 0.2)"),
    "a socket": ("socket.socketpair()", "o[0].settimeout(0.2), o[0].send(b'x'), o[1].recv(1), o[1].close(), o[0].recv(1), o[0].close()"),
    "a socket's time-out": ("socket.socketpair()[0]", "o.settimeout(0.2), o.recv(1)"),
    "a child": ("subprocess.Popen(['sleep', '0.1'])", "o.wait(30), o.poll()"),
}

FINALIZER = """
    import builtins, select, socket, subprocess
    def started(seconds):
        t = threading.Thread(target=time.sleep, args=(seconds,), daemon=True)
        t.start()
        return t
    def ended():
        t = started(0)
        t.join()
        return t
    def timer():
        t = threading.Timer(60, say)
        t.daemon = True
        t.start()
        return t
    def worker():
        q = queue.Queue()
        t = threading.Thread(target=lambda: list(iter(q.get, None)), daemon=True)
        t.start()
        return q, t
    class Last:
        def __init__(self): self.o = {makes}
        def __del__(self, write=os.write, repr=repr, type=type, BaseException=BaseException):
            o = self.o
            try: told = repr(({does},))
            except BaseException as e: told = type(e).__name__
            write(1, (told + "\\n").encode())
    last, builtins.last = Last(), Last()
    time.sleep(0.001)                           # the main thread has met the runtime
"""


@pytest.mark.parametrize("makes, does", FINALIZERS.values(), ids=FINALIZERS)
def test_a_finalizer_at_exit(child, makes, does):
    done = same(child, FINALIZER.format(makes=makes, does=does))
    assert done.out and done.err == ""
