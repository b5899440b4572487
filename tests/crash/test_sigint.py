"""Ctrl-C: KeyboardInterrupt in the main goroutine, within 0.2 s, wherever the main thread is."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent by kill()")

SETUP = """
    import os, signal, sys, threading, time, gmpx
    LIMIT_S = 0.2
    def interrupt_in(delay_s):
        # another process sends it: no Python thread of this one takes part
        pid = os.getpid()
        import subprocess
        return subprocess.Popen(["sh", "-c", f"sleep {delay_s}; date +%s.%N; kill -INT {pid}"],
                                stdout=subprocess.PIPE)
    def expect(wait, *, limit=LIMIT_S):
        sender = interrupt_in(0.05)
        try:
            wait()
        except KeyboardInterrupt:
            now = time.time()
            assert gmpx.current().id == 1
        else:
            raise AssertionError("no KeyboardInterrupt")
        sent = float(sender.communicate()[0])
        print(f"after {now - sent:.3f} s")
        assert now - sent < limit, now - sent
    never = gmpx.Chan()
    hope = gmpx.Ticker(3600)                    # something could still happen: no deadlock
"""

WAITS = {
    "recv": "never.recv",
    "send": "lambda: never.send(1)",
    "recv with a time-out": "lambda: never.recv(timeout=30)",
    "sleep": "lambda: gmpx.sleep(30)",
    "join": "gmpx.go(never.recv).join",
    "WaitGroup": "wg_wait",
    "Mutex": "mutex_lock",
}


@pytest.mark.parametrize("wait", WAITS)
def test_main_parked_and_its_thread_idle(child, wait):
    child(SETUP + f"""
    wg = gmpx.WaitGroup(); wg.add(); wg_wait = wg.wait
    mutex = gmpx.Mutex(); mutex.lock(); mutex_lock = mutex.lock
    for _ in range(3):
        expect({WAITS[wait]})
    assert gmpx.go(int).result() == 0           # the runtime goes on
    """).end(0)


@pytest.mark.parametrize("other", ["loop", "yields", "parks", "spawns"])
def test_main_parked_and_its_thread_running_another(child, other):
    child(SETUP + f"""
    stop = []
    def loop():
        while not stop: pass
    def yields():
        while not stop: gmpx.gosched()
    def parks():
        while not stop: gmpx.sleep(0.0005)
    def spawns():
        while not stop:
            gmpx.go(int); gmpx.gosched()
    for _ in range(3):
        stop.clear()
        g = gmpx.go({other})
        expect(never.recv)
        stop.append(1)
        g.join()
        assert g.exception() is None
    assert gmpx.go(int).result() == 0
    """).end(0)


def test_main_parked_and_its_thread_running_c_functions_only(child):
    # No bytecode runs on the main thread, so only the scheduler can see the signal.
    child(SETUP + """
    from collections import deque
    a, b = gmpx.Chan(), gmpx.Chan()
    def pump(source, sink):
        return map(sink.send, iter(source.recv, None))
    gmpx.go(deque, pump(a, b), 0)               # two C loops hand an item round for ever
    gmpx.go(deque, pump(b, a), 0)
    gmpx.go(a.send, 1)
    for _ in range(3):
        expect(never.recv)
    """).end(0)


def test_main_running_python(child):
    child(SETUP + """
    gmpx.go(never.recv); gmpx.gosched()
    def busy():
        while True: pass
    expect(busy)
    def spawning():
        while True: gmpx.go(int)
    expect(spawning)
    def yielding():
        while True: gmpx.gosched()
    expect(yielding)
    """).end(0)


@pytest.mark.parametrize("alone", [True, False])
def test_main_yielding_in_a_c_loop(child, alone):
    # Only the scheduler can see the signal, and the main goroutine is in no park.
    child(SETUP + f"""
    from collections import deque
    expect(never.recv)                          # an interrupt that came in a park leaves nothing
    def loop():
        deque(iter(gmpx.gosched, 1), 0)
    if not {alone}:
        gmpx.go(loop)
    for _ in range(3):
        expect(loop)
    gmpx.shutdown()
    """).end(0)


def test_what_a_handler_raises_reaches_main_after_its_value(child):
    # Both Gs are C loops, and main's wait is nearly always over when the scheduler looks. The sender runs
    # no bytecode at all: a handler that came upon some would raise there.
    child(SETUP + """
    from collections import deque
    from itertools import islice
    class Stop(Exception): pass
    def handler(signum, frame):
        raise Stop
    signal.signal(signal.SIGALRM, handler)
    N = 300_000
    got = deque()
    c = gmpx.Chan(1)
    gmpx.go(deque, map(c.send, range(N)), 0)
    def busy():                                 # 3.13 leaves a loop's jump outside its try
        while True: pass
    ended, stops = False, 0
    while not ended:
        try:                                    # each turn ends with its one signal
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            got.extend(islice(c, N - len(got)))
            ended = len(got) == N
            busy()
        except Stop:
            stops += 1
    assert list(got) == list(range(N)) and stops > 1, stops
    """).end(0)


def test_a_handler_of_the_users_own(child):
    child(SETUP + """
    class Stop(Exception): pass
    seen = []
    def handler(signum, frame):
        seen.append(signum)
    signal.signal(signal.SIGINT, handler)
    c = gmpx.Chan()
    sender = interrupt_in(0.05)
    def watch():
        while not seen: gmpx.sleep(0.001)
        c.send("seen")
    gmpx.go(watch)
    assert c.recv(timeout=20) == "seen" and seen == [signal.SIGINT]
    sender.wait()
    def raises(signum, frame):
        raise Stop
    signal.signal(signal.SIGINT, raises)
    sender = interrupt_in(0.05)
    try: never.recv(timeout=20)                 # nothing else runs: it is raised in main
    except Stop: pass
    else: raise AssertionError
    sender.wait()
    """).end(0)


def test_a_value_that_has_arrived_is_not_lost(child):
    child(SETUP + """
    # A deque's extend takes the items in a C loop: no KeyboardInterrupt between a receive and it.
    import collections, subprocess
    N = 200_000
    got = collections.deque()
    c = gmpx.Chan()
    def produce():
        for i in range(N):
            c.send(i)
        c.close()
    gmpx.go(produce)
    interrupts = 0
    pid = os.getpid()
    sender = subprocess.Popen(["sh", "-c", f"sleep 0.1; for i in 1 2 3 4 5 6 7 8 9 10; do "
                               f"sleep 0.03; kill -INT {pid}; done"])
    while True:
        try:
            got.extend(c)
            # not poll(): an interrupt inside it may leave Popen's lock held
            if os.waitid(os.P_PID, sender.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.001)
        except KeyboardInterrupt:
            interrupts += 1
    assert list(got) == list(range(N)), len(got)
    assert interrupts > 0
    """).end(0)


def test_many_interrupts_none_lost_or_doubled(child):
    child(SETUP + """
    import subprocess
    sender = subprocess.Popen(["sh", "-c", f"while read line; do kill -INT {os.getpid()}; done"],
                              stdin=subprocess.PIPE, bufsize=0)
    def yields(n):
        for _ in range(n): gmpx.gosched()
    operations = [
        lambda: gmpx.go(int), lambda: never.recv(timeout=0.001), gmpx.gosched,
        lambda: gmpx.sleep(0.0005), lambda: gmpx.go(yields, 50).join(),
        lambda: gmpx.map(abs, range(20)), lambda: sum(range(1000)),
    ]
    def work(end):                              # 3.13 leaves a loop's jump outside its try
        while time.monotonic() < end:
            for operation in operations[i % 7:]:
                try: operation()
                except TimeoutError: pass
    for i in range(100):
        try:
            sender.stdin.write(b"now\\n")       # one at a time: the next only after this one
            work(time.monotonic() + 20)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("no KeyboardInterrupt")
        gmpx.sleep(0.002)                       # no second one
    sender.stdin.close()
    sender.wait()
    assert gmpx.go(int).result() == 0
    gmpx.shutdown()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """).end(0)


def test_interrupted_main_ends_the_process_with_the_usual_status(child):
    c = child("""
        import gmpx
        hope = gmpx.Ticker(3600)
        def clean():
            try: gmpx.Chan().recv()
            finally: print("cleaned", flush=True)
        gmpx.go(clean); gmpx.sleep(0.001)
        print("ready", flush=True)
        gmpx.Chan().recv()
    """)
    assert c.line() == "ready"
    c.interrupt()
    c.end()
    assert c.process.returncode == -2
    assert "KeyboardInterrupt" in c.err and "cleaned" in c.out
