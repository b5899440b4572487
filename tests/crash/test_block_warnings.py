"""Who keeps a thread from others that are ready there is reported (rt/sched/blockwatch.pxi, rt/observe/blocks.pxi).

A block lasts until its report has come, or for the whole patience: no test knows how long the detector takes.
What must not be reported stands for as long as a report would have taken several times over.
"""

import os
import signal
import sys
import sysconfig
import time

import pytest

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
gil = pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="about builds with a GIL")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, CPU clocks")

SETUP = """
    import os, socket, sys, threading, time
    import gmpx
    PATIENCE = 30.0
    QUIET = 0.6                             # several times the limit
    reports, told = [], threading.Event()
    def hook(r):
        if not told.is_set():               # of what is planted, the first
            reports.append(r)
            told.set()
    gmpx.block_hook = hook
    def stands():                           # in a call, without the GIL, until it is reported
        assert told.wait(PATIENCE), "no report"
    def computes():
        end = time.monotonic() + PATIENCE
        while not told.is_set():
            assert time.monotonic() < end, "no report"
    def waits_for(c):                       # a goroutine that has started, on this thread, and waits for c
        g = gmpx.go(c.recv)
        while g.status != "waiting":
            gmpx.gosched()
        return g
    def behind(n):                          # main's next turn: somebody waits there, and n threads compute until it is told
        def keeps():
            while not told.is_set():
                pass
        threads = [threading.Thread(target=keeps) for _ in range(n)]
        c = gmpx.Chan()
        waits_for(c)
        for t in threads:
            t.start()
        gmpx.gosched()                      # start() has waited in calls; from here on it is another turn
        c.send(1)
        return threads
    def lines(r):
        return [code.co_name for code, line in r.stack]
    def show(r, blocker, state, waiting, main=False):
        assert r.goroutine is blocker, r
        assert r.state == state, r
        assert r.waiting == waiting and r.main_waits == main, r
        assert r.seconds >= 0.1 and r.waited >= 0.1 and r.seconds >= r.waited - 0.001, r
        text = str(r)
        assert f"goroutine {blocker.id} [{blocker.name}]" in text
        assert ("in a call that waits" if state == "blocked" else "computing") in text
        assert ("gmpx.blocking(" if state == "blocked" else "gmpx.gosched()") in text
"""


# ---- what is reported ------------------------------------------------------------------------------

@linux
@pytest.mark.parametrize("how", ["blocked", "computing"])
def test_main_has_readied_them_itself(child, how):
    # Nothing but the send tells of it, and that is on the thread which then blocks.
    child(SETUP + f"""
    block = stands if {how!r} == "blocked" else computes
    c = gmpx.Chan()
    gs = [waits_for(c) for _ in range(3)]
    for _ in gs: c.send(1)
    block()
    r, = reports
    show(r, gmpx.current(), {how!r}, 3)
    assert r.thread == 0 and lines(r)[0] == "<module>" and block.__name__ in lines(r)
    """).end(0)


@linux
@pytest.mark.parametrize("how", ["blocked", "computing"])
def test_main_waits_behind_a_goroutine(child, how):
    child(SETUP + f"""
    block = stands if {how!r} == "blocked" else computes
    def body():
        gmpx.gosched()
        block()
    g = gmpx.spawn(body, name="the hog")
    while not reports:
        gmpx.gosched()
    show(reports[0], g, {how!r}, 1, main=True)
    assert lines(reports[0])[0] == "body" and "main is ready behind it" in str(reports[0])
    """).end(0)


def test_a_goroutine_that_yielded_waits(child):
    child(SETUP + """
    again = True
    def body():
        while again: gmpx.gosched()
    g = gmpx.go(body)
    gmpx.gosched()
    stands()
    again = False
    g.join()
    show(reports[0], gmpx.current(), "blocked", 1)
    """).end(0)


def test_a_sleeper_whose_time_has_come(child):
    child(SETUP + """
    g = gmpx.go(gmpx.sleep, 0.05)
    while g.status != "waiting": gmpx.gosched()
    stands()
    show(reports[0], gmpx.current(), "blocked", 1)
    g.join()
    """).end(0)


@pytest.mark.skipif(sys.platform == "win32", reason="netpoller")
def test_a_waiter_whose_descriptor_is_ready(child):
    child(SETUP + """
    from gmpx import io
    a, b = socket.socketpair()
    g = gmpx.go(io.wait_readable, a)
    while g.status != "waiting": gmpx.gosched()
    threading.Timer(0.05, b.send, (b"x",)).start()
    stands()
    show(reports[0], gmpx.current(), "blocked", 1)
    g.join()
    """).end(0)


def test_one_that_another_thread_has_readied(child):
    child(SETUP + """
    c = gmpx.Chan()
    g = waits_for(c)
    t = threading.Thread(target=c.send, args=(1,))
    t.start()
    stands()
    t.join()
    show(reports[0], gmpx.current(), "blocked", 1)
    """).end(0)


def test_run_on_main_waits_behind_main(child):
    # Nobody else is bound to main's thread, and sysmon may rest already.
    child(SETUP + """
    gmpx.go(int).join()
    time.sleep(QUIET)
    t = threading.Thread(target=gmpx.run_on_main, args=(int,))
    t.start()
    stands()
    while t.is_alive(): gmpx.gosched()
    show(reports[0], gmpx.current(), "blocked", 1)
    """).end(0)


def test_after_all_have_slept(child):
    # sysmon rests for good meanwhile: the M that wakes tells it.
    child(SETUP + """
    c, d = gmpx.Chan(), gmpx.Chan()
    g = waits_for(c)
    threading.Timer(QUIET, d.send, (1,)).start()
    d.recv()
    c.send(1)
    stands()
    show(reports[0], gmpx.current(), "blocked", 1)
    """).end(0)


def test_after_a_block_with_nobody_behind(child):
    # main stands alone, and is let be; then it starts another, and blocks again without a park between.
    child(SETUP + """
    c = gmpx.Chan()
    gmpx.go(int).join()
    time.sleep(QUIET)
    assert not reports
    waits_for(c)
    c.send(1)
    stands()
    show(reports[0], gmpx.current(), "blocked", 1)
    """).end(0)


def test_on_a_worker(child):
    # main stands in a join; all of this is on another thread.
    child(SETUP + """
    done = []
    def boss():
        c = gmpx.Chan()
        gs = [waits_for(c) for _ in range(2)]
        for g in gs: c.send(1)
        stands()
        done.append(gmpx.current())
    t = threading.Thread(target=lambda: gmpx.go(boss).join(timeout=PATIENCE))
    t.start()
    t.join()
    r = reports[0]
    assert r.thread > 0 and not r.main_waits
    show(r, done[0], "blocked", 2)
    """).end(0)


def test_a_call_that_keeps_the_gil(child):
    c = child(SETUP + """
    c = gmpx.Chan()
    waits_for(c)
    def cost(n):
        start = time.thread_time()
        sum(range(n))
        return time.thread_time() - start
    n = int(1_000_000 * 1.5 / min(cost(1_000_000) for _ in range(5)))
    c.send(1)
    sum(range(n))                           # one call of C that takes a second or more
    stands()
    r, = reports
    show(r, gmpx.current(), "computing", 1)
    print(r.gil_wait, "The GIL could not be had" in str(r))
    """).end(0)
    wait, said = c.out.split()
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert float(wait) > 0.05 and said == "True"


def test_the_default_prints_it_and_once_a_second_at_most(child):
    c = child("""
    import gmpx, time
    c = gmpx.Chan()
    def wait(): c.recv()
    for _ in range(2): gmpx.go(wait)
    gmpx.gosched()
    for _ in range(2): c.send(1)
    start = time.monotonic()
    def block():
        while gmpx.stats()["block_reports"] < 2:
            time.sleep(0.01)
            assert time.monotonic() - start < 30
    block()
    print(time.monotonic() - start)
    """).end(0)
    assert c.err.count("gmpx: goroutine 1 [main] has kept thread M0 for ") == 2
    assert "2 goroutines are ready behind it" in c.err and "in block\n" in c.err
    assert "GMPX_BLOCK_WARN_MS" in c.err
    assert float(c.out) >= 1.0


def test_another_limit(child):
    c = child(SETUP + """
    c = gmpx.Chan()
    waits_for(c)
    c.send(1)
    stands()
    print(reports[0].waited)
    """, GMPX_BLOCK_WARN_MS="1500").end(0)
    assert float(c.out) >= 1.5


# ---- what is not ------------------------------------------------------------------------------------

SILENT = {
    "nobody waits": """
    time.sleep(QUIET)
    end = time.monotonic() + QUIET
    while time.monotonic() < end: pass
    """,
    "others are parked": """
    gs = [waits_for(gmpx.Chan()) for _ in range(10)]
    gmpx.go(gmpx.sleep, 60); gmpx.gosched()
    time.sleep(QUIET)
    end = time.monotonic() + QUIET
    while time.monotonic() < end: pass
    """,
    "fresh ones are stolen": """
    seen = []
    g = gmpx.go(seen.append, 1)
    time.sleep(QUIET)
    g.join()
    """,
    "all sleep": """
    gs = [waits_for(gmpx.Chan()) for _ in range(10)]
    gmpx.sleep(QUIET)
    """,
    "they take turns": """
    end = time.monotonic() + QUIET
    def body():
        while time.monotonic() < end:
            time.sleep(0.001); gmpx.gosched()
    gs = [gmpx.go(body) for _ in range(3)]
    for g in gs: g.join()
    """,
    "a thread of the program's": """
    c = gmpx.Chan()
    def body():
        gmpx.go(int).join()
        c.send(1)
        time.sleep(QUIET)
    t = threading.Thread(target=body)
    t.start()
    assert c.recv() == 1
    while t.is_alive(): gmpx.sleep(0.001)
    """,
    "blocking": """
    c = gmpx.Chan()
    g = waits_for(c)
    gmpx.go(gmpx.blocking, time.sleep, QUIET).join()
    gmpx.blocking(time.sleep, QUIET)
    """,
    "lock_os_thread": """
    c = gmpx.Chan()
    waits_for(c)
    with gmpx.lock_os_thread():
        c.send(1)
        time.sleep(QUIET)
    """,
    "a bubble": """
    from gmpx.testing import bubble
    with bubble():
        c = gmpx.Chan()
        g = gmpx.go(c.recv)
        gmpx.gosched()
        c.send(1)
        time.sleep(QUIET)
        g.join()
    """,
}


@pytest.mark.parametrize("what", SILENT)
def test_no_report(child, what):
    c = child(SETUP + SILENT[what] + """
    assert not reports, str(reports[0])
    """).end(0)
    assert "gmpx:" not in c.err


@fork
def test_a_process_that_was_stopped(child):
    # Nobody has run meanwhile, so nobody has kept a thread.
    c = child(SETUP + """
    on = True
    def body():
        while on:
            for _ in range(1000): pass
            gmpx.gosched()
    gs = [gmpx.go(body) for _ in range(3)]
    def line():
        global on
        sys.stdin.readline()
        on = False
    threading.Thread(target=line).start()
    print("ready", flush=True)
    for g in gs: g.join()
    assert not reports, str(reports[0])
    """)
    assert c.line() == "ready"
    for _ in range(3):
        c.process.send_signal(signal.SIGSTOP)
        time.sleep(0.4)
        c.process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    c.process.stdin.write("\n")
    c.process.stdin.flush()
    c.end(0)


def test_0_turns_it_off(child):
    c = child("""
    import gmpx, time
    c = gmpx.Chan()
    gmpx.go(c.recv); gmpx.gosched()
    c.send(1)
    time.sleep(0.6)
    assert gmpx.stats()["block_reports"] == 0
    """, GMPX_BLOCK_WARN_MS="0").end(0)
    assert c.err == ""


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "3600001"])
def test_a_limit_that_is_none(child, text):
    c = child("import gmpx", GMPX_BLOCK_WARN_MS=text).end(1)
    assert f"GMPX_BLOCK_WARN_MS must be an int from 0 to 3600000: {text!r}" in c.err


@linux
def test_a_loop_with_nobody_behind_costs_nothing(child):
    # The others' CPU time while main computes: sysmon's and the reporter's.
    c = child(SETUP + """
    gmpx.go(int).join()
    def all_cpu(): return time.process_time()
    end = time.monotonic() + 0.3
    while time.monotonic() < end: pass
    own, every = time.thread_time(), all_cpu()
    while time.thread_time() - own < 1.0: pass
    print((all_cpu() - every) / (time.thread_time() - own))
    """).end(0)
    assert float(c.out) < 1.01


# ---- the hook ---------------------------------------------------------------------------------------

def test_a_hook_that_raises(child):
    c = child("""
    import gmpx, threading
    told = threading.Event()
    def hook(r):
        try:
            raise ValueError("of the hook")
        finally:
            told.set()
    gmpx.block_hook = hook
    c = gmpx.Chan()
    gmpx.go(c.recv); gmpx.gosched(); c.send(1)
    assert told.wait(30)
    gmpx.shutdown()
    """).end(0)
    assert "ValueError: of the hook" in c.err


def test_a_hook_that_is_no_function(child):
    c = child("""
    import gmpx, sys, threading
    told = threading.Event()
    sys.unraisablehook = lambda u: (print(u.exc_value), told.set())
    gmpx.block_hook = 5
    c = gmpx.Chan()
    gmpx.go(c.recv); gmpx.gosched(); c.send(1)
    assert told.wait(30)
    """).end(0)
    assert c.out == "gmpx.block_hook must be callable, not int\n" and "has kept thread M0" in c.err


@linux
def test_who_computes_and_is_not_let_run(child):
    # Its clock stands as that of one which waits.
    child(SETUP + """
    import hashlib, subprocess
    other = subprocess.Popen([sys.executable, "-c", "print(flush=True)\\nwhile True: pass"], stdout=subprocess.PIPE)
    other.stdout.readline()
    cpus, main = os.sched_getaffinity(0), threading.get_native_id()
    os.sched_setaffinity(other.pid, {min(cpus)})
    def hook_ends(r):
        hook(r)
        other.kill()
        os.sched_setaffinity(main, cpus)
    gmpx.block_hook = hook_ends
    c = gmpx.Chan()
    waits_for(c); c.send(1)
    os.sched_setaffinity(main, {min(cpus)})
    os.setpriority(os.PRIO_PROCESS, main, 19)
    while not reports:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 300000)
    other.wait()
    show(reports[0], gmpx.current(), "computing", 1)
    """).end(0)


@linux
@gil
@pytest.mark.parametrize("busy", [0, 4])
def test_who_waits_for_the_gil(child, busy):
    # Each thread keeps it for a switch interval, and thirty are before it; also where threads wait for their turn.
    child(SETUP + f"""
    import subprocess
    spins = "import os\\nppid = os.getppid()\\nwhile os.getppid() == ppid: pass"
    others = [subprocess.Popen([sys.executable, "-c", spins]) for _ in range({busy})]
    threads = behind(30)
    while not reports:
        time.sleep(0)
    for t in threads:
        t.join()
    for other in others:
        other.kill(); other.wait()
    r = reports[0]
    assert r.goroutine is gmpx.current() and r.state == "starved" and r.waiting == 1, r
    assert "waiting for the GIL" in str(r) and "processes" in str(r)
    """).end(0)


@linux
def test_a_call_that_ends_among_threads_that_compute(child):
    # It waits for the GIL in the end, but stood in the call before.
    child(SETUP + """
    threads = behind(4)
    while not reports:
        time.sleep(0.5)
    for t in threads:
        t.join()
    show(reports[0], gmpx.current(), "blocked", 1)
    """).end(0)


def test_a_hook_may_use_gmpx(child):
    child(SETUP + """
    c, news = gmpx.Chan(), gmpx.Chan(1)
    def hook(r):
        news.send_nowait((r, gmpx.num_goroutine(), gmpx.current()))
        told.set()
    gmpx.block_hook = hook
    waits_for(c); c.send(1)
    stands()
    r, n, g = news.recv()
    assert n >= 3 and g is not gmpx.current() and r.goroutine is gmpx.current()
    """).end(0)


def test_no_stderr(child):
    child("""
    import sys, time
    import gmpx
    sys.stderr = None
    c = gmpx.Chan()
    gmpx.go(c.recv); gmpx.gosched(); c.send(1)
    end = time.monotonic() + 30
    while not gmpx.stats()["block_reports"]:
        time.sleep(0.01)
        assert time.monotonic() < end
    """).end(0)


# ---- fork, exit -------------------------------------------------------------------------------------

@fork
def test_in_a_forks_child(child):
    # The reporter and sysmon are the parent's: the child has its own.
    child(SETUP + """
    c = gmpx.Chan()
    waits_for(c); c.send(1)
    stands()
    pid = os.fork()
    if pid == 0:
        time.sleep(QUIET)                   # what waited is not in this process
        ok = len(reports) == 1
        told.clear(); reports.clear()
        d = gmpx.Chan()
        waits_for(d); d.send(1)
        stands()
        ok = ok and reports[0].goroutine is gmpx.current() and reports[0].waiting == 1
        os._exit(0 if ok else 7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    """).end(0)


@fork
def test_forks_during_reports(child):
    child(SETUP + """
    c = gmpx.Chan()
    waits_for(c); c.send(1)
    gmpx.block_hook = lambda r: hook(r) if forks > 50 else None
    forks = 0
    while not told.is_set():
        pid = os.fork()
        if pid == 0:
            gmpx.go(int).join()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        forks += 1
        assert forks < 100_000
    """, GMPX_BLOCK_WARN_MS="10").end(0)


@pytest.mark.parametrize("how", ["the end of the program", "in a worker", "while the hook runs"])
def test_exit_during_a_block(child, how):
    c = child("""
    import atexit, gmpx, threading, time
    begun, never = threading.Event(), threading.Event()
    def blocks():
        c = gmpx.Chan()
        gmpx.go(c.recv); gmpx.gosched(); c.send(1)
        begun.set()
        never.wait(30)
    """ + {
        "the end of the program": """
    c = gmpx.Chan()
    gmpx.go(c.recv); gmpx.gosched(); c.send(1)
    time.sleep(0.12)
    """,
        "in a worker": """
    gmpx.go(blocks)
    assert begun.wait(30)
    time.sleep(0.12)
    """,
        "while the hook runs": """
    def hook(r):
        begun.set()
        never.wait(30)
    gmpx.block_hook = hook
    c = gmpx.Chan()
    gmpx.go(c.recv); gmpx.gosched(); c.send(1)
    assert begun.wait(30)
    """,
    }[how]).end(0)
    assert c.took < 20
    assert "Fatal" not in c.err
