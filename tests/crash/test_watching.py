"""What sysmon, timers of other threads and the deep sleep must not do to the program around them."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, descriptors")


def test_a_thread_that_sysmon_starts_has_the_programs_signal_mask(child):
    # Children inherit it: a blocked SIGTERM could not end them.
    child("""
        import gmpx, signal, subprocess, threading
        blocked = []
        over = threading.Event()
        def body():
            blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
            p = subprocess.Popen(["sleep", "60"])
            p.terminate()
            blocked.append(p.wait(timeout=20))
            over.set()
        mine = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]) | {signal.SIGUSR1}
        gmpx.go(body)
        assert over.wait(30)                # main stands: another M comes
        assert blocked == [mine, -signal.SIGTERM], blocked
    """).end(0)


def test_a_timeout_that_another_thread_resets_ends_its_wait(child):
    child("""
        import gmpx, threading, time
        c, t = gmpx.Chan(), gmpx.timeout(3000)
        threading.Timer(0.3, lambda: t.reset(0.1)).start()
        try:
            with t:
                c.recv()
        except TimeoutError:
            print("over")
    """).end(0)


def test_a_bubbles_timers_are_no_work_for_sysmon(child):
    child("""
        import gmpx, time
        from gmpx.testing import bubble
        with bubble():
            gmpx.go(gmpx.sleep, 0.001)
            gmpx.gosched()
            before = time.process_time()
            time.sleep(1)                   # by the world's clock the timer is due long ago
            assert time.process_time() - before < 0.5
    """).end(0)


@pytest.mark.parametrize("where", ["worker", "foreign"])
@pytest.mark.parametrize("wait", ["with gmpx.timeout(0.5), gmpx.shield(): gmpx.Chan().recv()",
                                  "keep.append(gmpx.Timer(0.5)); gmpx.Chan().recv()"])
def test_a_deadlock_is_told_after_a_timer_that_wakes_nobody(child, where, wait):
    started = child("""
        import gmpx, sys, threading, time
        keep, begun = [], threading.Event()
        def body():
            begun.set()
            WAIT
        if sys.argv[1] == "worker":
            gmpx.go(body)
            assert begun.wait(20)
        else:
            threading.Thread(target=body, daemon=True).start()
        try:
            gmpx.Chan().recv()
        except gmpx.DeadlockError:
            print("told")
    """.replace("WAIT", wait), where)
    assert started.line() == "told"
    started.process.kill()                  # what it has parked stays parked


def test_a_wake_up_descriptor_that_the_program_has_closed(child):
    child("""
        import gmpx, os, signal, threading
        r, w = os.pipe()
        os.set_blocking(w, False)
        signal.set_wakeup_fd(w)
        os.close(w), os.close(r)
        heard = []
        signal.signal(signal.SIGUSR1, lambda *a: heard.append(1))
        for _ in range(3):
            threading.Timer(0.25, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            gmpx.sleep(0.4)                 # deep from 0.1 s on
        assert len(heard) == 3
    """).end(0)


def test_descriptors_that_others_have_taken_over_are_left_alone(child):
    child("""
        import gmpx, os, threading, time
        c = gmpx.Chan()
        def taker():
            time.sleep(0.3)                 # main sleeps deep
            os.closerange(3, 64)
            pipes = [os.pipe() for _ in range(8)]
            for r, w in pipes:
                os.write(w, b"precious")
            time.sleep(0.3)
            c.send([os.read(r, 100) for r, w in pipes])
        threading.Thread(target=taker).start()
        assert c.recv() == [b"precious"] * 8
    """).end(0)


def test_a_timer_is_in_one_heap_whoever_resets_it(child):
    # The first contact of each thread is reset, which runs Python code between stop and start.
    child("""
        import gmpx, sys, threading
        sys.setswitchinterval(1e-6)
        t = gmpx.after_func(1000, print)
        for _ in range(200):
            together = threading.Barrier(6)
            def body():
                together.wait()
                t.reset(1000)
            threads = [threading.Thread(target=body) for _ in range(6)]
            for x in threads: x.start()
            for x in threads: x.join()
            assert gmpx._core._n_timers() == 1
        assert t.stop() and gmpx._core._n_timers() == 0
    """).end(0)


def test_what_has_fired_while_all_were_busy_is_delivered_when_one_stands(child):
    child("""
        import gmpx, threading, time
        gmpx.gomaxprocs(1)
        begun, fired, over = threading.Event(), threading.Event(), False
        def burn():
            begun.set()
            while not over: pass
        def burn_then_stand():
            end = time.monotonic() + 0.4    # sysmon looks in vain for a while
            while time.monotonic() < end: pass
            fired.wait(20)
        gmpx.go(burn_then_stand), gmpx.go(burn)
        begun.wait(20)
        gmpx.after_func(0.05, fired.set)
        end = time.monotonic() + 25
        while not fired.is_set() and time.monotonic() < end: pass
        over = True
        assert fired.is_set()
    """).end(0)


def test_threads_that_there_are_too_many_of_end(child):
    child("""
        import gmpx, time
        gs = [gmpx.go(time.sleep, 1) for _ in range(12)]
        time.sleep(1)
        for g in gs: g.join()
        end = time.monotonic() + 40
        while gmpx.stats()["machines"] > gmpx.gomaxprocs() + 2:
            assert time.monotonic() < end
            gmpx.sleep(0.5)
        assert gmpx.map(pow, range(5), [2] * 5) == [0, 1, 4, 9, 16]
    """).end(0)
