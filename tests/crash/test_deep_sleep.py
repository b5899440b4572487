"""Main asleep for good, on a descriptor that signals and wakers write to: what still reaches it.

"Asleep" is seen from outside: the main thread stands in a poll system call.
"""

import os
import signal
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/task") or not os.access("/proc/self/syscall", os.R_OK),
    reason="reads /proc",
)

SETUP = """
    import os, signal, socket, sys, threading, time, gmpx
    def say(*a): print(*a, flush=True)
    never = gmpx.Chan()
"""
PATIENCE = 30.0
POLLS = {"x86_64": {"7", "271"}, "aarch64": {"73"}}


def asleep(c):
    """Waits until the child's main thread sleeps in poll or ppoll."""
    polls = POLLS.get(os.uname().machine)
    if polls is None:
        pytest.skip("unknown system call numbers")
    end = time.monotonic() + PATIENCE
    pid = c.process.pid
    while True:
        if open(f"/proc/{pid}/task/{pid}/syscall").read().split()[0] in polls:
            return c
        assert time.monotonic() < end and c.process.poll() is None, "main does not sleep deep"
        time.sleep(0.002)


@pytest.mark.parametrize("wait", ["never.recv()", "gmpx.sleep(3600)", "gmpx.go(never.recv).join()"])
def test_ctrl_c(child, wait):
    c = child(SETUP + f"""
    hope = gmpx.Timer(3600)
    for _ in range(3):
        try:
            {wait}
        except KeyboardInterrupt:
            say("interrupted")
    """)
    for _ in range(3):
        asleep(c).interrupt()
        assert c.line() == "interrupted"
    c.end(0)


def test_ctrl_c_with_main_locked_to_its_thread(child):
    c = child(SETUP + """
    hope = gmpx.Timer(3600)
    with gmpx.lock_os_thread():
        try:
            never.recv()
        except KeyboardInterrupt:
            say("interrupted")
    """)
    asleep(c).interrupt()
    c.end(0)
    assert "interrupted" in c.out


def test_a_handler_of_the_programs_own(child):
    c = child(SETUP + """
    c = gmpx.Chan(1)
    signal.signal(signal.SIGTERM, lambda *a: c.send("handled"))
    for _ in range(3):
        say(c.recv())
    """)
    for _ in range(3):
        asleep(c).process.send_signal(signal.SIGTERM)
        assert c.line() == "handled"
    c.end(0)


def test_a_handler_that_raises(child):
    c = child(SETUP + """
    def handler(*a): raise ZeroDivisionError
    signal.signal(signal.SIGTERM, handler)
    try:
        never.recv()
    except ZeroDivisionError:
        say("raised in main")
    """)
    asleep(c).process.send_signal(signal.SIGTERM)
    c.end(0)
    assert "raised in main" in c.out


@pytest.mark.parametrize("how", ["pthread_kill", "kill"])
def test_a_signal_that_another_thread_takes(child, how):
    # Its C handler runs there; main's system call is not interrupted by it.
    c = child(SETUP + """
    c = gmpx.Chan(1)
    signal.signal(signal.SIGTERM, lambda *a: c.send(threading.get_ident()))
    def sends():
        for _ in range(3):
            sys.stdin.readline()
            if sys.argv[1] == "kill":
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Thread(target=sends).start()
    if sys.argv[1] == "kill":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])      # not for main
    for _ in range(3):
        assert c.recv() == threading.main_thread().ident
        say("handled")
    """, how)
    for _ in range(3):
        asleep(c).process.stdin.write("now\n")
        c.process.stdin.flush()
        assert c.line() == "handled"
    c.end(0)


def test_a_wakeup_descriptor_of_the_programs_own(child):
    # It gets its bytes, and is what set_wakeup_fd gives back.
    c = child(SETUP + """
    a, b = socket.socketpair()
    for s in (a, b): s.setblocking(False)
    signal.set_wakeup_fd(b.fileno())
    c = gmpx.Chan(1)
    signal.signal(signal.SIGTERM, lambda *a: c.send("handled"))
    signal.signal(signal.SIGUSR1, lambda *a: c.send("handled"))
    got = b""
    for _ in range(4):
        c.recv()
        got += a.recv(100)
        assert signal.set_wakeup_fd(b.fileno()) == b.fileno()
        say("handled")
    assert got == bytes([signal.SIGTERM, signal.SIGUSR1] * 2), got
    """)
    for number in [signal.SIGTERM, signal.SIGUSR1] * 2:
        asleep(c).process.send_signal(number)
        assert c.line() == "handled"
    c.end(0)


def test_no_wakeup_descriptor_is_left_behind(child):
    c = child(SETUP + """
    c = gmpx.Chan(1)
    signal.signal(signal.SIGTERM, lambda *a: c.send("handled"))
    say(c.recv())
    assert signal.set_wakeup_fd(-1) == -1
    """)
    asleep(c).process.send_signal(signal.SIGTERM)
    c.end(0)


@pytest.mark.parametrize("closed", ["while asleep", "while awake"])
def test_descriptors_closed_by_number(child, closed):
    c = child(SETUP + """
    c = gmpx.Chan(1)
    signal.signal(signal.SIGTERM, lambda *a: c.send("signal"))
    def other():
        while True:
            line = sys.stdin.readline().strip()
            if line == "close":
                os.closerange(3, 1000)
                say("closed")
            elif line == "send":
                c.send("item")
            else:
                break
    t = threading.Thread(target=other, daemon=True); t.start()
    say(c.recv())
    if sys.argv[1] == "while awake":
        os.closerange(3, 1000)
        mine = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]    # the numbers are others' now
    say(c.recv()); say(c.recv()); say(c.recv())
    """, closed)

    def write(line):
        c.process.stdin.write(line + "\n")
        c.process.stdin.flush()

    asleep(c)
    write("send")
    assert c.line() == "item"
    asleep(c)
    if closed == "while asleep":
        write("close")
        assert c.line() == "closed"
    for _ in range(2):
        write("send")
        assert c.line() == "item"
        asleep(c)
    c.process.send_signal(signal.SIGTERM)
    assert c.line() == "signal"
    c.process.stdin.close()
    c.process.stdin = open(os.devnull)
    c.end(0)


@pytest.mark.parametrize("child_waits", ["c.recv()", "gmpx.sleep(0.2)", "signal.pause()"])
def test_fork_on_another_thread_meanwhile(child, child_waits):
    # The child's main thread is another one, its descriptors are its own.
    c = child(SETUP + f"""
    c = gmpx.Chan(1)
    signal.signal(signal.SIGTERM, lambda *a: c.send("handled"))
    def forks():
        sys.stdin.readline()
        pid = os.fork()
        if pid == 0:
            assert signal.set_wakeup_fd(-1) == -1
            def sends():
                time.sleep(0.05)
                os.kill(os.getpid(), signal.SIGTERM)
            threading.Thread(target=sends).start()
            {child_waits}
            os._exit(7)
        c.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    threading.Thread(target=forks).start()
    say(c.recv())
    say(c.recv())
    """)
    asleep(c).process.stdin.write("now\n")
    c.process.stdin.flush()
    assert c.line() == "7"
    asleep(c).process.send_signal(signal.SIGTERM)       # the parent's descriptor is its own still
    assert c.line() == "handled"
    c.end(0)


def test_a_deadlock_that_the_last_thread_leaves_behind(child):
    for end in ("return", "never.recv()"):
        c = child(SETUP + f"""
    def last():
        sys.stdin.readline()
        {end}
    threading.Thread(target=last, daemon=True).start()
    try:
        never.recv()
    except gmpx.DeadlockError:
        say("told")
        os._exit(0)
        """)
        asleep(c).process.stdin.write("now\n")
        c.process.stdin.flush()
        assert c.line() == "told"
        c.end(0)


def test_a_deadlock_that_a_timer_leaves_behind(child):
    # What the timer wakes parks again: main is told.
    c = child(SETUP + """
    def again():
        gmpx.sleep(0.5)
        never.recv()
    gmpx.go(again)
    try:
        never.recv()
    except gmpx.DeadlockError:
        say("told")
        os._exit(0)
    """)
    assert c.line() == "told"
    c.end(0)


@pytest.mark.parametrize("where", ["on the thread", "elsewhere"])
def test_a_deadlock_with_main_locked_to_its_thread(child, where):
    # A goroutine on another thread has a timer, so main sleeps for good; then that parks for good.
    c = child(SETUP + """
    def again():
        gmpx.sleep(0.5)
        never.recv()
    if sys.argv[1] == "elsewhere":
        threading.Thread(target=lambda: gmpx.go(again)).start()
        time.sleep(0.1)                         # main stands: a worker has it
    try:
        with gmpx.lock_os_thread():
            if sys.argv[1] != "elsewhere":
                gmpx.go(again)
            never.recv()
    except gmpx.DeadlockError:
        say("told")
        os._exit(0)
    """, where)
    assert c.line() == "told"
    c.end(0)


def test_descriptors_that_are_anothers_now(child):
    # The pipe's numbers are given to another pipe while main sleeps on it: nothing is read from that
    # one, nothing written to it.
    c = child(SETUP + """
    c = gmpx.Chan(1)
    signal.signal(signal.SIGTERM, lambda *a: None)
    def other():
        sys.stdin.readline()
        r, w = os.pipe()
        os.set_blocking(r, False)
        os.write(w, b"mine")
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                is_pipe = os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")
            except OSError:
                continue
            if fd > 2 and is_pipe and fd not in (r, w):
                flags = open(f"/proc/self/fdinfo/{fd}").read().split()
                write = int(flags[flags.index("flags:") + 1], 8) & 3
                os.dup2(w if write else r, fd)
        time.sleep(0.05)                        # time for the wrong
        c.send("item")
        time.sleep(0.05)
        say(os.read(r, 100).decode())
        c.send("end")
    threading.Thread(target=other).start()
    assert c.recv() == "item"
    assert c.recv() == "end"
    """)
    asleep(c).process.stdin.write("now\n")
    c.process.stdin.flush()
    assert c.line() == "mine"
    c.end(0)


def test_items_and_timers_between_deep_sleeps(child):
    c = child(SETUP + """
    c = gmpx.Chan()
    def sends():
        for line in sys.stdin: c.send(line.strip())
        c.close()
    threading.Thread(target=sends).start()
    for line in c:
        say(line)
        gmpx.sleep(0.001)
    """)
    for i in range(5):
        asleep(c).process.stdin.write(f"{i}\n")
        c.process.stdin.flush()
        assert c.line() == str(i)
    c.process.stdin.close()
    c.process.stdin = open(os.devnull)
    c.end(0)
