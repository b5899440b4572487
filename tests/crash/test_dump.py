"""dump, SIGQUIT, DeadlockError: what a user sees of a process that hangs."""

import signal
import subprocess
import sys
import time

import pytest

posix = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="SIGQUIT as on Linux")

SETUP = """
    import faulthandler, io, os, signal, sys, threading, time, gmpx
    def dumped():
        out = io.StringIO()
        gmpx.dump(out)
        return out.getvalue()
"""


def test_dump_says_who_waits_for_what_and_where(child):
    c = child(SETUP + """
    c, m = gmpx.Chan(), gmpx.Mutex()
    m.lock()
    def outer():
        inner()
    def inner():
        c.recv()
    g = gmpx.spawn(outer, name="the reader")
    gmpx.go(m.lock)
    gmpx.go(gmpx.select, c, gmpx.Chan())
    def spawner():
        gmpx.go(c.send_nowait, 1)                   # stays queued
        text.append(dumped())
    text = []
    while g.wait_reason == "":
        gmpx.gosched()
    gmpx.go(spawner).join()
    print(text[0])
    """).end(0)
    out = c.out
    assert "6 goroutines, gomaxprocs" in out
    assert "goroutine 1 [goroutine join, just now] on M0: main" in out
    assert "[chan receive, just now] on M0: the reader" in out
    assert "in outer\n" in out and out.index("in outer") < out.index("in inner")
    assert "[sync.Mutex.Lock, just now]" in out and "[select, just now]" in out
    assert "[running] on M0: spawner" in out and "[runnable]: " in out
    assert "spawned by goroutine 1\n" in out and "dump.py" not in out


def test_waits_of_minutes_and_hours(child):
    c = child(SETUP + """
    gmpx.gomaxprocs(1)                              # so that it is parked when gosched returns
    g = gmpx.go(gmpx.Chan().recv)
    gmpx.gosched()
    for more in (600, 6600, 40 * 86400):            # 2**32 nanoseconds are four seconds
        gmpx._core._waited(g, more)
        print(dumped())
    """).end(0)
    found = [line.split(", ")[1].split("]")[0] for line in c.out.splitlines() if "[chan receive" in line]
    assert found == ["10 min", "2.0 h", "962.0 h"], c.out


def test_the_locks_of_a_patched_program_and_who_has_them(child):
    child(SETUP + """
    import queue
    import gmpx.patch
    gmpx.patch.all()
    lock, mains, goroutines, gones, threads = threading.Lock(), *(threading.RLock() for _ in range(4))
    q = queue.SimpleQueue()
    lock.acquire(), mains.acquire()
    gone = gmpx.go(gones.acquire)
    gone.join()
    t = threading.Thread(target=threads.acquire)
    t.start(), t.join()
    def both():
        with goroutines, mains: pass
    gs = {"both": gmpx.spawn(both, name="both")}
    for name in ("lock", "goroutines", "gones", "threads"):
        gs[name] = gmpx.spawn(globals()[name].acquire, name=name)
    gs["q"] = gmpx.spawn(q.get, name="q")
    while not all(g.wait_reason for g in gs.values()):
        gmpx.gosched()
    text = dumped()
    def waits(name, for_what):
        assert f", just now, {for_what}] on M0: {name}\\n" in text, (for_what, text)
    waits("lock", f"_thread.lock at {id(lock):#x}")
    waits("both", f"_thread.RLock at {id(mains):#x} held by goroutine 1")
    waits("goroutines", f"_thread.RLock at {id(goroutines):#x} held by goroutine {gs['both'].id}")
    waits("gones", f"_thread.RLock at {id(gones):#x} held by goroutine {gone.id}, which has ended")
    waits("threads", f"_thread.RLock at {id(threads):#x} held by thread {t.ident}")
    waits("q", f"_queue.SimpleQueue at {id(q):#x}")
    """).end(0)


def test_how_long(child):
    c = child(SETUP + """
    g = gmpx.go(gmpx.Chan().recv)
    gmpx.sleep(0.2)
    print(dumped())
    """).end(0)
    assert "[chan receive, 0.2" in c.out


def test_deep_stacks_are_cut_in_the_middle(child):
    c = child(SETUP + """
    def deep(n):
        return deep(n - 1) if n else gmpx.Chan().recv()
    gmpx.go(deep, 300)
    gmpx.gosched()
    text = dumped()
    print(text.count("in deep"), "frames left out" in text)
    """).end(0)
    assert c.out.split() == ["100", "True"]


def test_100_000_goroutines_cost_no_more_each_than_10_000(child):
    c = child(SETUP + """
    c = gmpx.Chan()
    def reader():
        return c.recv()
    def cost(n):
        for _ in range(n - gmpx.num_goroutine() + 1):
            gmpx.go(reader)
        while any(g.wait_reason == "" for g in gmpx.goroutines()[1:]):
            gmpx.gosched()
        start = time.thread_time()
        text = dumped()
        return (time.thread_time() - start) / text.count("in reader")
    costs = [cost(10_000), cost(100_000)]
    print(gmpx.num_goroutine(), costs[1] < 4 * costs[0], costs)     # squared, it is ten times as much
    os._exit(0)
    """).end(0)
    assert c.out.startswith("100001 True"), c.out


@posix
def test_sigquit_writes_it_and_the_program_goes_on(child):
    c = child(SETUP + """
    c, busy = gmpx.Chan(), threading.Event()
    def hog():
        busy.set()
        while not stop: pass
    stop = []
    g = gmpx.go(gmpx.Chan().recv)
    while g.wait_reason == "":
        gmpx.gosched()
    gmpx.go(hog)
    assert busy.wait(20)
    print("ready", flush=True)
    sys.stdin.readline()
    stop.append(1)
    gmpx.sleep(0.001)
    print("still here")
    """)
    assert c.line() == "ready"
    c.process.send_signal(signal.SIGQUIT)
    line = ""
    while "chan receive" not in line:
        line = c.process.stderr.readline()
        assert line
    c.process.stdin.write("go on\n")
    c.process.stdin.flush()
    c.end(0)
    assert "still here" in c.out


@posix
def test_sigquit_while_main_waits_and_in_a_forks_child(child):
    c = child(SETUP + """
    alive = gmpx.Ticker(3600)
    gmpx.go(int)
    pid = os.fork()
    if pid == 0:
        os.write(1, b"ready\\n")
        gmpx.Chan().recv()
    r = os.waitpid(pid, 0)
    """)
    import os
    import subprocess
    import time
    assert c.line() == "ready"
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(c.process.pid)],
                         capture_output=True, text=True)
    if out.returncode:
        pytest.skip("no ps")
    pid = int(out.stdout.split()[0])
    time.sleep(0.05)
    os.kill(pid, signal.SIGQUIT)
    line = ""
    while "chan receive" not in line:
        line = c.process.stderr.readline()
        assert line
    os.kill(pid, signal.SIGKILL)
    c.end(0)


@posix
@pytest.mark.parametrize("how", ["environment", "handler", "faulthandler", "import alone"])
def test_sigquit_is_left_alone(child, how):
    before = {
        "environment": "os.environ['GMPX_SIGQUIT'] = '0'",
        "handler": "signal.signal(signal.SIGQUIT, lambda *a: os._exit(7))",
        "faulthandler": "faulthandler.register(signal.SIGQUIT, chain=False)",
        "import alone": "",
    }[how]
    c = child(SETUP + f"""
    {before}
    {"gmpx.go(int).join()" if how != "import alone" else ""}
    signal.raise_signal(signal.SIGQUIT)
    time.sleep(0.1)
    os._exit(3)
    """).end()
    assert c.process.returncode == {
        "environment": -signal.SIGQUIT, "handler": 7, "faulthandler": 3,
        "import alone": -signal.SIGQUIT}[how]


# ---- deadlock --------------------------------------------------------------------------------

def test_a_deadlock_is_raised_in_main_with_the_dump(child):
    c = child(SETUP + """
    a, b = gmpx.Chan(), gmpx.Chan()
    def one(): a.recv(); b.send(1)
    def two(): b.recv(); a.send(1)
    gs = [gmpx.go(one), gmpx.go(two)]
    for attempt in range(2):                        # main may go on
        try:
            gs[0].join()
        except gmpx.DeadlockError as e:
            text = str(e)
    print(text)
    """).end(0)
    assert c.out.startswith("all goroutines are asleep: deadlock\n\n3 goroutines")
    assert "goroutine 1 [goroutine join" in c.out
    assert "in one\n" in c.out and "in two\n" in c.out and "on M0: two" in c.out


def test_main_alone(child):
    c = child("import gmpx; gmpx.Chan().recv()").end(1)
    assert "gmpx.DeadlockError" in c.err.replace("gmpx._core.", "gmpx.")
    assert "goroutine 1 [chan receive" in c.err


def test_with_goroutines_on_several_ms(child):
    c = child(SETUP + """
    gmpx.gomaxprocs(4)
    never = gmpx.Chan()
    begun = [threading.Event() for _ in range(4)]
    def work(e): e.set(); never.recv()
    for e in begun:
        gmpx.go(work, e)
        assert e.wait(20)
    try:
        never.recv()
    except gmpx.DeadlockError as e:
        print(str(e).count("chan receive"))
    os._exit(0)
    """).end(0)
    assert c.out == "5\n"


def test_a_foreign_thread_parked_in_gmpx_is_no_life(child):
    child(SETUP + """
    never = gmpx.Chan()
    t = threading.Thread(target=lambda: never.recv_ok())
    t.start()
    for _ in range(2):
        try:
            gmpx.Chan().recv()
        except gmpx.DeadlockError as e:
            assert "thread Thread-1" in str(e)
    never.close()
    t.join()
    """).end(0)


LIFE = {
    "timer": "t = gmpx.after_func(0.5, c.send, 'x')",
    "sleep": "gmpx.go(lambda: (gmpx.sleep(0.5), c.send('x')))",
    "time-out elsewhere": "gmpx.go(lambda: (gmpx.select(gmpx.Chan(), gmpx.after(0.5)), c.send('x')))",
    "thread": "threading.Thread(target=lambda: (time.sleep(0.5), c.send('x'))).start()",
    "thread that parks in between":
        "threading.Thread(target=lambda: (gmpx.sleep(0.3), time.sleep(0.2), c.send('x'))).start()",
    "goroutine in a blocking call":
        "gmpx.go(lambda: (time.sleep(0.5), c.send('x'))); b = gmpx.go(time.sleep, 0.3)",
    "signal handler":
        "signal.signal(signal.SIGALRM, lambda *a: gmpx.go(c.send, 'x')); signal.alarm(1)",
}


@pytest.mark.parametrize("what", LIFE)
def test_no_false_alarm(child, what):
    c = child(SETUP + f"""
    c = gmpx.Chan()
    {LIFE[what]}
    print(c.recv())
    """).end(0)
    assert c.out == "x\n"


def test_a_deadlock_shows_when_the_last_other_thread_ends(child):
    child(SETUP + """
    threading.Thread(target=time.sleep, args=(0.5,)).start()
    start = time.monotonic()
    try:
        gmpx.Chan().recv()
    except gmpx.DeadlockError:
        assert time.monotonic() - start > 0.45
    else:
        raise AssertionError
    """).end(0)


@pytest.mark.parametrize("code", [
    "aio.run(aio.recv(gmpx.Chan()))",
    "aio.run(asyncio.Event().wait())",
    "g = gmpx.go(aio.run, aio.recv(gmpx.Chan())); g.join()",
])
def test_deadlock_of_a_loop(code):
    """The handler of SIGINT that a loop's runner has put there is none of the program's own."""
    done = subprocess.run(
        [sys.executable, "-c", f"import asyncio, gmpx\nfrom gmpx import aio\n{code}"],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 1
    assert "DeadlockError: all goroutines are asleep" in done.stderr


def test_a_handler_of_sigint_that_has_every_attribute_is_the_programs_own(child):
    c = child("""
    import signal, gmpx
    c = gmpx.Chan(1)
    class Handler:
        def __getattr__(self, name): return self
        def __call__(self, number, frame): c.send(number)
    signal.signal(signal.SIGINT, Handler())
    print("ready", flush=True)
    try:
        print(int(c.recv()), flush=True)
    except gmpx.DeadlockError:
        print("deadlock", flush=True)
    """)
    assert c.line() == "ready"
    time.sleep(0.3)  # what is wrong comes by then, or this cannot tell
    c.interrupt()
    assert c.line() == str(int(signal.SIGINT))
    c.end(0)
