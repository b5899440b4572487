"""fork by a goroutine on another M: the child ends as its main goroutine does."""

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")

SETUP = """
    import os, sys, threading, time, gmpx
    gmpx.gomaxprocs(3)
    main = threading.get_ident()
    def status(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    def run(how):
        def forks():
            assert threading.get_ident() != main
            begun.set()
            pid = os.fork()
            return status(pid) if pid else how()
        begun = threading.Event()
        g = gmpx.go(forks)
        assert begun.wait(20)                   # the main thread stands: another M runs it
        code = g.result()
        print("code", code, flush=True)
        os._exit(0)
"""


@pytest.mark.parametrize(
    "how, code, said",
    [
        ("return 5", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(6)", 6, ""),
        ("sys.exit('in words')", 1, "in words"),
        ("raise ValueError('unhandled')", 1, "ValueError: unhandled"),
        ("return how()", 1, "RecursionError"),
        ("gmpx.goexit()", 1, "RuntimeError: goexit()"),
        ("gmpx.go(sys.exit, 3).result()", 3, ""),
    ],
)
def test_the_exit_code_is_that_of_the_function(child, how, code, said):
    done = child(SETUP + f"""
    def how():
        {how}
    run(how)
    """).end(0)
    assert done.out.splitlines()[-1] == f"code {code}"
    assert said in done.err
    assert done.err == "" or said


def test_the_childs_own_goroutines_are_cleaned_up_and_its_atexit_functions_run(child):
    done = child(SETUP + """
    import atexit
    def how():
        never = gmpx.Chan()
        def clean():
            try: never.recv()
            finally: os.write(1, b"cleaned\\n")
        gmpx.go(clean)
        gmpx.sleep(0.001)
        ev = threading.Event()
        gmpx.go(ev.set)
        assert ev.wait(20)                      # the child has Ms of its own
        atexit.register(os.write, 1, b"atexit\\n")
        sys.exit(8)
    run(how)
    """).end(0)
    assert sorted(done.out.split("\n")) == ["", "atexit", "cleaned", "code 8"]


def test_forks_in_a_row_of_generations(child):
    done = child(SETUP + """
    def generation(n):
        if n == 0:
            sys.exit(10)
        assert gmpx.current().id == 1
        def forks():
            pid = os.fork()
            return status(pid) if pid else generation(n - 1)
        code = gmpx.go(forks).result()
        ev = threading.Event()
        gmpx.go(ev.set)
        assert ev.wait(20)
        sys.exit(code + 1)
    run(lambda: generation(5))
    """).end(0)
    assert done.out.splitlines()[-1] == "code 15", done.err


def test_fork_in_odd_places(child):
    child(SETUP + """
    import greenlet, signal
    def forks():
        pid = os.fork()
        if pid:
            return status(pid)
        code = 1
        try:
            assert sum(gmpx.map(abs, range(-5, 0))) == 15
            gmpx.sleep(0.0001)
            code = 42
        finally:
            os._exit(code)
    def only_forks():
        pid = os.fork()
        if pid:
            return status(pid)
        os._exit(42)
    in_greenlet = greenlet.greenlet(forks).switch
    assert in_greenlet() == 42
    assert gmpx.go(lambda: greenlet.greenlet(forks).switch()).result() == 42
    found = []
    class Forks:
        def __del__(self): found.append(forks())
    gmpx.go(bool, Forks()).join()
    assert found.pop() == 42                    # in a finalizer, at the goroutine's end
    g = gmpx.go(int)
    g.add_done_callback(lambda g: found.append(only_forks()))
    g.join()
    assert found.pop() == 42                    # where nothing may park
    signal.signal(signal.SIGUSR1, lambda signum, frame: found.append(only_forks()))
    os.kill(os.getpid(), signal.SIGUSR1)
    g = gmpx.go(gmpx.sleep, 0.01)
    g.join()
    assert found.pop() == 42
    sender = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
    sender.start()
    while not found:
        gmpx.sleep(0.01)                        # the main thread is idle in the scheduler
    assert found.pop() == 42
    assert list(gmpx.imap(lambda i: forks(), range(5), limit=3)) == [42] * 5
    os._exit(0)
    """).end(0)


def test_children_from_several_threads_and_goroutines_at_once(child):
    child(SETUP + """
    import subprocess
    gmpx.gomaxprocs(4)
    def runs(i):
        return subprocess.run(["/bin/sh", "-c", f"exit {i}"]).returncode
    def forks(i):
        pid = os.fork()
        if pid:
            return status(pid)
        code = 99
        try:
            assert sum(gmpx.map(abs, range(-20, 0))) == 210
            code = i
        finally:
            os._exit(code)
    found = []
    def several():
        for i in range(8):
            found.append(forks(i) == i)
    threads = [threading.Thread(target=several) for _ in range(4)]
    for thread in threads:
        thread.start()
    gs = [gmpx.go(f, i) for f in (runs, forks) for i in range(30)]
    time.sleep(0.05)                            # the main thread stands: others take them
    assert [g.result() for g in gs] == [*range(30), *range(30)]
    for thread in threads:
        thread.join()
    assert found == [True] * 32, found
    os._exit(0)
    """).end(0)


def test_fork_while_others_have_yielded(child):
    child(SETUP + """
    # A yielder that waits through whole fair ticks leaves a mark on its M; the child has none.
    gmpx.gomaxprocs(1)
    stop, codes = [], []
    def yields():
        while not stop: gmpx.gosched()
    def link(n):
        if n:
            gmpx.go(link, n - 1)                # fresh goroutines come before those that yield
            return
        pid = os.fork()
        if pid == 0:
            for _ in range(300): gmpx.go(int).join()
            os._exit(42)
        codes.append(status(pid))
    yielders = [gmpx.go(yields) for _ in range(3)]
    for k in range(0, 61, 10):
        gmpx.go(link, 61 * 2 + k).join()
        while len(codes) <= k // 10: gmpx.gosched()
    stop.append(1)
    assert codes == [42] * 7, codes
    """).end(0)


def test_other_at_fork_functions_may_use_the_runtime_first(child):
    child("""
        import os, time
        handles, ran = [], []
        def in_child():                         # registered before gmpx's own: runs first
            handles.clear()                     # a thousand go to the free lists, under a lock
            for _ in range(300):
                gmpx.go(ran.append, 1)
        os.register_at_fork(after_in_child=in_child)
        import gmpx
        stop = []
        def doze():                             # its M takes that lock, without the GIL
            while not stop:
                gmpx.sleep(0.00002)
        dozing = [gmpx.go(doze) for _ in range(8)]
        time.sleep(0.1)                         # other Ms take them
        for _ in range(150):
            handles += [gmpx.go(int) for _ in range(300)]
            for g in handles: g.join()
            pid = os.fork()
            if pid == 0:
                g = gmpx.go(int)
                os._exit(g.result(timeout=20))
            assert os.waitpid(pid, 0)[1] == 0
            handles.clear()
        stop.append(1)
        for g in dozing: g.join()
    """).end(0)
