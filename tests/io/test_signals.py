"""gmpx.io.signals, and waits for signals under the patch. Each in a process of its own."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")

HEAD = """
import os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)     # of forks in a process with threads
import gmpx, gmpx.io, gmpx.patch
from gmpx import Cancelled, Chan, ChannelClosed, go, select
from gmpx.io import signals
from signal import SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIG_BLOCK, SIG_DFL, SIG_UNBLOCK

def kill(number):
    os.kill(os.getpid(), number)

def soon(number, seconds=0.05):
    signal.pthread_sigmask(SIG_BLOCK, EVERY)            # not for that thread
    timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
    timer.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, MASK)

EVERY = signal.valid_signals()
MASK = signal.pthread_sigmask(SIG_BLOCK, ())

def block(*numbers):
    global MASK
    signal.pthread_sigmask(SIG_BLOCK, numbers)
    MASK = signal.pthread_sigmask(SIG_BLOCK, ())

def parked(*gs):
    for g in gs:
        while g.status != "waiting":
            gmpx.gosched()

def fds():
    # but for what each M has of its own
    if not os.path.isdir("/proc/self/fd"):
        return 0
    all = [os.readlink(fd) for fd in os.scandir("/proc/self/fd") if os.path.islink(fd)]
    return sum("[eventpoll]" not in name and "[eventfd]" not in name for name in all)
"""


def run(code, status=0):
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (status, ""), done.stderr
    return done.stdout.strip()


# ---- gmpx.io.signals -----------------------------------------------------------------------


def test_each_receiver_gets_each_signal():
    run(
        """
        handler = lambda *_: None
        signal.signal(SIGTERM, handler)
        one = signals(SIGTERM)
        with signals(SIGHUP, SIGTERM) as two:
            assert repr(two) == "<gmpx.io.signals SIGHUP, SIGTERM>"
            kill(SIGTERM)
            kill(SIGHUP)
            assert (one.recv(), two.recv(), two.recv()) == (SIGTERM, SIGTERM, SIGHUP)
            assert len(one) == len(two) == 0 and one and two
        try:
            two.recv()
        except ChannelClosed:
            pass
        assert signal.getsignal(SIGHUP) is SIG_DFL and signal.getsignal(SIGTERM) is not handler
        kill(SIGTERM)
        assert type(one.recv()) is signal.Signals
        one.stop()
        one.stop()
        assert list(one) == []
        assert signal.getsignal(SIGTERM) is handler
        """
    )


def test_receiving_in_goroutines():
    run(
        """
        with signals(SIGUSR1, SIGUSR2) as received:
            got = []
            def receive():
                for number in received:
                    got.append(number)
                    if number == SIGUSR2:
                        return "end"
            g = go(receive)
            parked(g)
            for number in (SIGUSR1, SIGUSR1, SIGUSR2):
                soon(number, 0)
                gmpx.sleep(0.05)
            assert g.result(20) == "end" and got == [SIGUSR1, SIGUSR1, SIGUSR2]
            quiet = Chan()
            g = go(select, quiet, received)
            parked(g)
            kill(SIGUSR1)
            assert g.result(20) == (1, SIGUSR1, True)
            kill(SIGUSR1)
            assert select(received, quiet, None) == (0, SIGUSR1, True)
            try:
                received.recv(0.01)
            except TimeoutError:
                pass
            try:
                received.recv_nowait()
            except gmpx.WouldBlock:
                pass
            g = go(received.recv)
            parked(g)
            g.cancel()
            g.join()
            h = go(received.recv)
            parked(h)
        assert type(h.exception(20)) is ChannelClosed
        """
    )


def test_a_slow_receiver_loses_what_does_not_fit():
    run(
        """
        with signals(SIGUSR1, capacity=2) as received:
            for _ in range(5):
                kill(SIGUSR1)
            assert len(received) == 2
        assert list(received) == [SIGUSR1, SIGUSR1]       # what came before stop()
        """
    )


def test_wrong_arguments():
    run(
        """
        assert gmpx.patch.signals._is_open(signal.SIGKILL) is False
        def told(*numbers, **options):
            try:
                signals(*numbers, **options)
            except (TypeError, ValueError, OSError) as error:
                return type(error), str(error)

        assert told()[0] is TypeError
        assert told(signal.SIGKILL)[0] is OSError
        for number in (12345, 0, -1):
            assert told(SIGTERM, number) == (ValueError, f"signals(): there is no such signal: {number}")
        for wrong in ("15", 15.0, [SIGTERM], True):
            kind = type(wrong).__name__
            words = f"signals() needs signals such as signal.SIGTERM, not {kind} {wrong!r}"
            assert told(SIGTERM, wrong) == (TypeError, words)
        assert told(SIGTERM, capacity=0)[0] is ValueError
        assert told(SIGTERM, capacity="1") == (TypeError, "signals() needs an int as its capacity, not str")
        assert signal.getsignal(SIGTERM) is SIG_DFL
        """
    )


def test_from_other_threads():
    """signal.signal works on the main thread alone."""
    run(
        """
        main = threading.get_ident()
        got = []
        def wait(number):
            assert threading.get_ident() != main
            with signals(number) as received:
                got.append(received)
                got.append(received.recv())
        g = go(wait, SIGUSR1)
        while g.status == "runnable":
            time.sleep(0.01)                    # this thread stands: another takes it
        thread = threading.Thread(target=wait, args=(SIGUSR2,))
        thread.start()
        while len(got) < 2:
            gmpx.sleep(0.001)
        kill(SIGUSR2)
        kill(SIGUSR1)
        g.result(20)
        while thread.is_alive():
            gmpx.sleep(0.001)
        assert {SIGUSR1, SIGUSR2} < set(got)
        assert signal.getsignal(SIGUSR1) is signal.getsignal(SIGUSR2) is SIG_DFL
        """
    )


def test_an_idle_process_sleeps_until_the_signal():
    run(
        """
        with signals(SIGTERM) as received:
            g = go(received.recv)
            gmpx.sleep(0.3)
            pid = os.fork()
            if pid == 0:
                time.sleep(1.0)
                os.kill(os.getppid(), SIGTERM)
                os._exit(0)
            before = gmpx.stats()["m_wakes"]
            assert g.result() == SIGTERM        # not a deadlock: somebody may send it
            assert gmpx.stats()["m_wakes"] - before < 5
            os.waitpid(pid, 0)
        """
    )


def test_ctrl_c_is_received_and_given_back():
    run(
        """
        go(int).join()
        ours = signal.getsignal(SIGINT)
        with signals(SIGINT) as received:
            kill(SIGINT)
            assert received.recv() == SIGINT
        assert signal.getsignal(SIGINT) is ours
        try:
            kill(SIGINT)
            gmpx.sleep(20)
        except KeyboardInterrupt:
            pass
        """
    )


def test_somebody_elses_handler_stays():
    run(
        """
        with signals(SIGTERM):
            signal.signal(SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(SIGTERM) is signal.SIG_IGN
        """
    )


def test_in_the_child_of_a_fork():
    run(
        """
        with signals(SIGTERM) as received:
            pid = os.fork()
            if pid == 0:
                kill(SIGTERM)
                with signals(SIGHUP) as more:
                    kill(SIGHUP)
                    ok = received.recv() == SIGTERM and more.recv() == SIGHUP
                os._exit(7 if ok else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        """
    )


# ---- the patch -----------------------------------------------------------------------------


def test_sigwait_parks():
    run(
        """
        gmpx.patch.all()
        block(SIGUSR1, SIGUSR2)
        before = fds()
        gs = [go(signal.sigwait, [SIGUSR1]) for _ in range(2)]
        other = go(signal.sigwait, iter([SIGUSR2]))
        info = go(signal.sigwaitinfo, {SIGALRM, SIGUSR2}) if hasattr(signal, "sigwaitinfo") else None
        parked(*gs, other)
        kill(SIGUSR1)
        while not any(g.done() for g in gs):
            gmpx.gosched()
        gmpx.sleep(0.05)
        assert sum(g.done() for g in gs) == 1 and not other.done()
        kill(SIGUSR1)
        for g in gs:
            assert g.result(20) is SIGUSR1
        kill(SIGUSR2)
        gmpx.sleep(0.02)
        kill(SIGUSR2)
        assert other.result(20) is SIGUSR2
        if info is not None:
            assert (info.result(20).si_signo, info.result().si_pid) == (SIGUSR2, os.getpid())
        kill(SIGUSR1)                           # pending already
        assert signal.sigwait({SIGUSR1, SIGUSR2}) is SIGUSR1
        soon(SIGUSR2)
        assert signal.sigwait({SIGUSR1, SIGUSR2}) is SIGUSR2
        signal.pthread_kill(threading.get_ident(), SIGUSR1)     # for this thread
        assert signal.sigwait({SIGUSR1, SIGUSR2}) is SIGUSR1
        left = go(signal.sigwait, [SIGUSR1])
        parked(left)
        left.cancel()
        left.join()
        try:
            with gmpx.timeout(0.01):
                signal.sigwait([SIGUSR1])
        except TimeoutError:
            pass
        assert signal.sigpending() == set()
        gmpx.patch.undo()
        assert fds() - before <= 3              # the runtime's
        """
    )


def test_threads_that_start_later_block_what_main_blocks():
    run(
        """
        gmpx.patch.all()
        go(int).join()
        g = go(time.sleep, 0.01)
        g.join()                                # sysmon is there by now, without the mask
        block(SIGUSR1)
        masks = []
        def look():
            masks.append((threading.get_ident(), signal.pthread_sigmask(SIG_BLOCK, ())))
        import _thread
        hold = _thread.allocate_lock()
        hold.acquire()
        g = go(look)
        gmpx._core._PlainLock.acquire(hold, True, 0.3)  # this thread stands: another takes it
        g.join()
        assert masks[0][0] != threading.get_ident() and SIGUSR1 in masks[0][1], masks
        kill(SIGUSR1)
        assert signal.sigwait([SIGUSR1]) is SIGUSR1
        """
    )


def test_sigtimedwait():
    run(
        """
        if not hasattr(signal, "sigtimedwait"):
            sys.exit()
        gmpx.patch.all()
        block(SIGUSR1)
        begun = time.monotonic()
        assert signal.sigtimedwait([SIGUSR1], 0.05) is None
        assert time.monotonic() - begun >= 0.05
        assert signal.sigtimedwait([SIGUSR1], 0) is None
        soon(SIGUSR1)
        assert signal.sigtimedwait([SIGUSR1], 20).si_signo == SIGUSR1
        soon(SIGUSR1)
        assert signal.sigtimedwait([SIGUSR1], 20.0).si_pid == os.getpid()
        def outcome(call, *args):
            try:
                return call(*args)
            except Exception as e:
                return type(e), str(e)
        wrong = [([SIGUSR1], -1), ([SIGUSR1], "1"), ([0], 1), ([12345], 1), (["x"], 1), (5, 1), ([SIGUSR1],)]
        now = [outcome(signal.sigtimedwait, *args) for args in wrong]
        now += [outcome(call, args[0]) for args in wrong[2:6] for call in (signal.sigwait, signal.sigwaitinfo)]
        gmpx.patch.undo()
        then = [outcome(signal.sigtimedwait, *args) for args in wrong]
        then += [outcome(call, args[0]) for args in wrong[2:6] for call in (signal.sigwait, signal.sigwaitinfo)]
        assert now == then, (now, then)
        """
    )


def test_sigwait_for_one_that_is_not_blocked():
    run(
        """
        gmpx.patch.all()
        ran = []
        handler = lambda *args: ran.append(args)
        signal.signal(SIGUSR1, handler)
        block(SIGUSR2)
        for _ in range(2):
            soon(SIGUSR1)
            assert signal.sigwait([SIGUSR1, SIGUSR2]) is SIGUSR1
        soon(SIGUSR2)
        assert signal.sigwait([SIGUSR1, SIGUSR2]) is SIGUSR2
        thread = threading.Thread(target=time.sleep, args=(1,))
        signal.pthread_sigmask(SIG_UNBLOCK, [SIGUSR2])
        thread.start()                          # it would take the signal, and that the process
        block(SIGUSR2)
        soon(SIGUSR2)
        assert signal.sigwait([SIGUSR2]) is SIGUSR2
        assert signal.getsignal(SIGUSR2) is SIG_DFL
        assert not ran and signal.getsignal(SIGUSR1) is handler
        """
    )


def test_pause():
    run(
        """
        gmpx.patch.all()
        r, w = os.pipe()
        os.set_blocking(w, False)
        signal.set_wakeup_fd(w)
        before = fds()
        ran = []
        signal.signal(SIGALRM, lambda *args: ran.append(args[0]))
        for _ in range(2):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            assert signal.pause() is None
        assert ran == [SIGALRM, SIGALRM]
        gs = [go(signal.pause) for _ in range(3)]
        left = go(signal.pause)
        parked(*gs, left)
        left.cancel()
        left.join()
        kill(SIGALRM)
        assert [g.result(20) for g in gs] == [None] * 3
        assert len(ran) == 3
        assert os.read(r, 100) == bytes([SIGALRM]) * 3      # nothing of it is lost
        assert fds() - before <= 3
        assert signal.set_wakeup_fd(-1) == w
        def fails(*args):
            raise ZeroDivisionError
        signal.signal(SIGALRM, fails)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            signal.pause()
        except ZeroDivisionError:
            print("raised")
        """
    )


def test_what_a_handler_raises_goes_to_main():
    out = run(
        """
        def leave(*args):
            sys.exit(5)
        signal.signal(SIGTERM, leave)           # before the patch
        gmpx.patch.all()
        assert signal.getsignal(SIGTERM) is leave
        assert signal.signal(SIGTERM, leave) is leave
        def work():
            kill(SIGTERM)
            for _ in range(1000):
                pass
            print("goes on")
        g = go(work)
        try:
            gmpx.sleep(20)
        except SystemExit as e:
            print("main:", e.code)
        g.join()
        signal.siginterrupt(SIGTERM, False)
        gmpx.patch.undo()
        assert signal.getsignal(SIGTERM) is leave
        gmpx.patch.signal()
        go(work)
        gmpx.sleep(20)
        """,
        status=5,
    )
    assert out.split()[:4] == ["main:", "5", "goes", "on"]


def test_patching_leaves_siginterrupt_as_it_is():
    run(
        """
        ran = []
        signal.signal(SIGALRM, lambda *args: ran.append(1))
        signal.siginterrupt(SIGALRM, False)
        from gmpx._core import _set_signal
        gmpx.patch.all()
        gmpx.patch.undo()
        r, w = os.pipe()
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        threading.Timer(0.3, os.write, (w, b"x")).start()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        buffer = ctypes.create_string_buffer(1)
        assert libc.read(r, buffer, 1) == 1     # not EINTR
        assert ran == [1]
        """
    )


def test_receivers_and_the_patch():
    run(
        """
        handler = lambda *args: None
        signal.signal(SIGTERM, handler)
        with signals(SIGTERM):
            gmpx.patch.all()
        assert signal.getsignal(SIGTERM) is handler
        with signals(SIGTERM) as received:
            gmpx.patch.undo()
            kill(SIGTERM)
            assert received.recv() == SIGTERM
        assert signal.getsignal(SIGTERM) is handler
        """
    )


@pytest.mark.parametrize("call", ["time.sleep(60)", "lock.acquire()", "[0 for _ in iter(int, 1)]"])
def test_one_ctrl_c_ends_a_server_whose_handler_holds_the_thread(call):
    run(
        f"""
        lock = threading.Lock()
        lock.acquire()
        def handler(conn, address):
            soon(SIGINT)
            {call}
        listener = gmpx.io.listen("127.0.0.1")
        client = gmpx.io.open_connection(*listener.getsockname())
        try:
            gmpx.io.serve(handler, listener)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )


def test_ctrl_c_cancels_the_task_of_asyncio_run_as_without_the_patch():
    run(
        """
        import asyncio
        gmpx.patch.all()
        ends = []
        async def main():
            soon(SIGINT)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise
        def interrupted(runs, *args):
            try:
                runs(*args)
            except KeyboardInterrupt:
                ends.append("interrupted")
        cancels = ["cancelled"] * (sys.version_info >= (3, 11))
        for _ in range(2):
            assert signal.getsignal(SIGINT) is signal.default_int_handler
            interrupted(lambda: asyncio.run(main()))
        assert ends == [*cancels, "interrupted"] * 2
        ends.clear()
        g = go(lambda: asyncio.run(main()))     # in another goroutine it is the main one that is interrupted
        interrupted(gmpx.sleep, 60)
        assert ends == ["interrupted"]
        g.cancel()
        g.join()
        before = signal.signal(SIGINT, lambda *_: ends.append("own"))
        assert before is signal.default_int_handler
        kill(SIGINT)
        signal.signal(SIGINT, before)
        interrupted(lambda: (soon(SIGINT), gmpx.sleep(60)))
        assert "own" in ends
        gmpx.patch.undo()
        ends.clear()
        interrupted(lambda: (soon(SIGINT), gmpx.sleep(60)))
        assert ends == ["interrupted"] and signal.getsignal(SIGINT) is gmpx._core._sigint_handler
        gmpx.patch.all()
        gmpx.shutdown()
        assert gmpx.io.signalling.plain_getsignal(SIGINT) is signal.default_int_handler
        """
    )


def test_patching_on_another_thread_waits_for_nobody():
    """The main thread waits for that one, or for the registry."""
    run("""
    def handler(*_): raise SystemExit
    signal.signal(SIGUSR1, handler)
    go(gmpx.sleep, 0).join()
    for call in gmpx.patch.all, gmpx.patch.undo:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        while signal.getsignal(SIGUSR1) is not handler:
            gmpx.sleep(0.001)                       # it is set back where main parks
    gmpx.patch.all()
    def quits(): kill(SIGUSR1)
    go(quits)
    try:
        gmpx.sleep(20)
    except SystemExit:
        pass
    gmpx.patch.undo()

    gmpx.gomaxprocs(2)
    begun = []
    def patches():
        assert threading.current_thread() is not threading.main_thread()
        begun.append(True)
        gmpx.patch.all()
    g = go(patches)
    while not begun:
        time.sleep(0.01)                        # this thread stands: another takes it
    while not gmpx.patch.is_patched("subprocess"):
        time.sleep(0.01)                        # as the patch has it, if it has it by then
    g.result(20)
    """)
