"""The netpoller and what happens to processes: fork, exec, closed descriptors, exit, Ctrl-C."""

import os
import subprocess
import sys
import textwrap

import pytest


def run(code, **options):
    code = "import os, sys, time, socket, threading\nimport gmpx\nfrom gmpx.io import *\n" + (
        textwrap.dedent(code)
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **options
    )
    return done.returncode, done.stdout, done.stderr


def check(code, said="", status=0):
    code, out, err = run(code)
    assert (code, out.strip()) == (status, said), err


def test_fork_while_goroutines_wait():
    check(
        """
        r, w = os.pipe()
        g = gmpx.go(wait_readable, r)
        while g.wait_reason != "IO wait": gmpx.gosched()
        pid = os.fork()
        if pid == 0:
            assert g.done()
            h = gmpx.go(wait_readable, r)
            while h.wait_reason != "IO wait": gmpx.gosched()
            os.write(w, b"child")
            h.join()
            os.read(r, 5)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        gmpx.sleep(0.05)
        os.write(w, b"parent")
        g.join()
        print("both")
        """,
        "both",
    )


def test_a_program_that_closes_all_descriptors():
    check(
        """
        r, w = os.pipe()
        g = gmpx.go(wait_readable, r)
        while g.wait_reason != "IO wait": gmpx.gosched()
        os.closerange(3, 64)
        assert isinstance(g.exception(10), OSError)
        r, w = os.pipe()
        g = gmpx.go(wait_readable, r)
        while g.wait_reason != "IO wait": gmpx.gosched()
        os.write(w, b"x")
        g.join()
        gmpx.go(gmpx.sleep, 0.01).join()
        print("goes on")
        """,
        "goes on",
    )


def test_no_descriptor_is_inherited():
    check(
        """
        import subprocess
        r, w = os.pipe()
        g = gmpx.go(wait_readable, r)
        while g.wait_reason != "IO wait": gmpx.gosched()
        seen = subprocess.run(["ls", "/proc/self/fd"], capture_output=True, close_fds=False).stdout
        print(sorted(map(int, seen.split()))[:4])
        os.write(w, b"x")
        g.join()
        """,
        "[0, 1, 2, 3]",
    )


def test_exit_with_goroutines_that_wait():
    check(
        """
        r, w = os.pipe()
        def wait():
            try:
                wait_readable(r)
            finally:
                print("finally")
        g = gmpx.go(wait)
        while g.wait_reason != "IO wait": gmpx.gosched()
        """,
        "finally",
    )


def test_shutdown_cancels_them():
    check(
        """
        r, w = os.pipe()
        g = gmpx.go(wait_readable, r)
        while g.wait_reason != "IO wait": gmpx.gosched()
        gmpx.shutdown(10)
        print(repr(g.exception()))
        """,
        "Cancelled()",
    )


def test_ctrl_c():
    check(
        """
        import signal
        r, w = os.pipe()
        for after in (0.02, 0.4):       # the second finds main in its deep sleep
            threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                wait_readable(r)
            except KeyboardInterrupt:
                print("interrupted", end=" ")
        """,
        "interrupted interrupted",
    )


def test_a_signal_handler_while_main_waits():
    check(
        """
        import signal
        r, w = os.pipe()
        signal.signal(signal.SIGALRM, lambda *_: os.write(w, b"x"))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        wait_readable(r)
        print("woken")
        """,
        "woken",
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_idle_waiters_cost_no_cpu():
    check(
        """
        import resource
        fds = [os.pipe() for _ in range(300)]
        gs = [gmpx.go(wait_readable, r) for r, w in fds]
        def late():
            time.sleep(0.5)
            before = os.times()
            time.sleep(2)
            after = os.times()
            print(after.user + after.system - before.user - before.system < 0.02)
            os.write(fds[0][1], b"x")
        t = threading.Thread(target=late); t.start()
        gs[0].join()
        t.join()
        """,
        "True",
    )
