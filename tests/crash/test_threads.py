"""Threads that come and go, that cannot be had, that trace; signals that keep coming."""

import shutil
import subprocess
import sys

import pytest

# One thread that calls f n times: CPython makes a thread state for each call.
CALLS_BACK = """
#include <pthread.h>
static void (*f)(int);
static void *run(void *n) { for (long i = 0; i < (long)n; i++) f((int)i); return 0; }
void calls_back(void (*callback)(int), int n) {
    pthread_t t;
    f = callback;
    pthread_create(&t, 0, run, (void *)(long)n);
    pthread_join(t, 0);
}
"""


def test_foreign_threads_come_and_go(child):
    child("""
        import threading, gmpx
        N = 1500
        c, base = gmpx.Chan(), gmpx.num_goroutine()
        failed = []
        def foreign(i):
            try:
                c.send(i)
                assert gmpx.go(lambda: i).result() == i
                assert gmpx.current().id > 1
            except BaseException as e:
                failed.append(e)
        def starts():
            threads = []
            for i in range(N):
                threads.append(threading.Thread(target=foreign, args=(i,)))
                threads[-1].start()
                if len(threads) > 20: threads.pop(0).join()
            for thread in threads: thread.join()
        starter = threading.Thread(target=starts)
        starter.start()
        assert sorted(c.recv() for _ in range(N)) == list(range(N))
        while starter.is_alive():
            gmpx.sleep(0.001)
        assert not failed, failed
        assert gmpx.num_goroutine() == base, gmpx.goroutines()
    """).end(0)


def test_a_foreign_thread_first_and_main_last(child):
    child("""
        import threading, gmpx
        found = []
        def foreign():
            c = gmpx.Chan()
            g = gmpx.go(lambda: c.send(threading.get_ident()))
            found.append(c.recv(timeout=20) != threading.get_ident())
            found.append(gmpx.map(abs, [-1, 2]))
        thread = threading.Thread(target=foreign)
        thread.start(); thread.join()
        assert found == [True, [1, 2]], found
        assert gmpx.go(int).result() == 0
    """).end(0)


@pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("cc") is None, reason="needs a C compiler and pthreads"
)
def test_a_c_thread_calls_back_again_and_again(child, tmp_path):
    # What ended with the first call's thread state was taken for the end of the thread.
    (tmp_path / "calls.c").write_text(CALLS_BACK)
    library = str(tmp_path / "calls.so")
    command = ["cc", "-shared", "-fPIC", "-pthread", "-o", library, str(tmp_path / "calls.c")]
    subprocess.run(command, check=True)
    child("""
        import ctypes, sys, threading, gmpx
        N = 5
        c, base, found = gmpx.Chan(N), gmpx.num_goroutine(), []
        class Ends:                             # dropped with the state: after the M, or before
            def __del__(self):
                try: found.append(gmpx.Chan(1).send_nowait(1))
                except RuntimeError: found.append(None)
        local = threading.local()
        def callback(i):
            try:
                local.ends = Ends()
                c.send((i, gmpx.current().id))
                assert gmpx.go(lambda: i * i).result() == i * i
            except BaseException as e:
                found.append(e)
        lib = ctypes.CDLL(sys.argv[1])
        lib.calls_back(ctypes.CFUNCTYPE(None, ctypes.c_int)(callback), N)
        assert found == [None] * N, found
        got = [c.recv_nowait() for _ in range(N)]
        assert [i for i, _ in got] == list(range(N)), got
        assert len({id for _, id in got}) == N, got
        assert gmpx.num_goroutine() == base, gmpx.goroutines()
    """, library).end(0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_no_thread_can_be_had(child):
    child("""
        import resource, threading, time, gmpx
        def pages():
            with open("/proc/self/statm") as f: return int(f.read().split()[0])
        gmpx.go(int).join()
        before = resource.getrlimit(resource.RLIMIT_AS)
        room = pages() * resource.getpagesize() + (6 << 20)     # less than a thread's stack
        resource.setrlimit(resource.RLIMIT_AS, (room, before[1]))
        ran = []
        for i in range(100): gmpx.go(ran.append, i)
        time.sleep(0.1)                         # would be other Ms' turn
        gmpx.sleep(0.001)
        assert ran == list(range(100))
        c = gmpx.Chan()
        gs = [gmpx.go(c.recv) for _ in range(5)]
        for i in range(5): c.send(i)
        assert sorted(g.result() for g in gs) == list(range(5))
        resource.setrlimit(resource.RLIMIT_AS, before)
        ev = threading.Event()
        gmpx.go(ev.set)
        assert ev.wait(20)                      # now one can
    """).end(0)


@pytest.mark.skipif(sys.platform == "win32", reason="setitimer")
def test_a_python_handler_runs_two_thousand_times_a_second(child):
    child("""
        import hashlib, signal, gmpx
        count, ran, out = [0], [], []
        def handler(signum, frame):
            count[0] += 1
            gmpx.go(ran.append, 1)              # on whichever goroutine main's thread is on
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        c, block = gmpx.Chan(), bytes(1 << 14)
        def produce(k):
            for i in range(2000): c.send((k, i))
        def consume():
            for item in c: out.append(item)
        def compute():
            for _ in range(200):
                hashlib.sha256(block).digest(); gmpx.sleep(0.0002)
        consumers = [gmpx.go(consume) for _ in range(3)]
        busy = [gmpx.go(produce, k) for k in range(3)] + [gmpx.go(compute) for _ in range(4)]
        for g in busy: g.result()
        c.close()
        for g in consumers: g.result()
        gmpx.sleep(0.05)                        # main parked, its thread idle
        signal.setitimer(signal.ITIMER_REAL, 0)
        while gmpx.num_goroutine() > 1: gmpx.sleep(0.001)
        assert sorted(out) == [(k, i) for k in range(3) for i in range(2000)]
        assert len(ran) == count[0] > 20, (len(ran), count)
    """).end(0)


def test_new_ms_honour_setprofile(child):
    child("""
        import threading, gmpx
        main, seen = threading.get_ident(), set()
        def profiler(frame, event, arg):
            if frame.f_code.co_name == "body" and threading.get_ident() != main:
                seen.add(event)
        threading.setprofile(profiler)
        begun = threading.Event()
        def body():
            begun.set()
        g = gmpx.go(body)
        assert begun.wait(20)                   # the main thread stands: another M runs it
        g.join()
        assert {"call", "return"} <= seen, seen
    """).end(0)


def test_a_trace_function_on_the_main_thread_survives_switches(child):
    child("""
        import sys, gmpx
        lines = []
        def tracer(frame, event, arg):
            if frame.f_code.co_name in ("traced", "untold"):
                lines.append((frame.f_code.co_name, event))
            return tracer
        c = gmpx.Chan()
        def untold():
            c.recv()
        def traced():
            x = 1
            gmpx.gosched()
            return x
        g = gmpx.go(untold)
        gmpx.gosched()
        sys.settrace(tracer)
        traced()
        c.send(1)
        sys.settrace(None)
        g.join()
        assert ("traced", "return") in lines, lines
    """).end(0)


def test_a_bad_number_of_processors_in_the_environment(child):
    child("""
        import os, gmpx
        for _ in range(3):
            try: gmpx.go(int)
            except ValueError as e: assert "GMPX_MAXPROCS" in str(e)
            else: raise AssertionError
        os.environ["GMPX_MAXPROCS"] = "2"
        assert gmpx.go(int).result() == 0
        assert gmpx.gomaxprocs() == 2
        assert gmpx.goroutines() == [gmpx.current()], gmpx.goroutines()
    """, GMPX_MAXPROCS="0").end(0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="patches os.sched_getaffinity")
def test_a_handler_that_comes_first_makes_no_second_main(child):
    child("""
        import os, gmpx
        # Stands for a signal handler or finalizer that runs within a thread's first contact.
        real, handles = os.sched_getaffinity, []
        def handler(pid):
            os.sched_getaffinity = real
            handles.append(gmpx.go(int))
            return real(pid)
        os.sched_getaffinity = handler
        assert gmpx.go(int).result() == 0
        assert handles.pop().result() == 0
        assert gmpx.goroutines() == [gmpx.current()], gmpx.goroutines()
        assert gmpx.current().id == 1
    """, GMPX_MAXPROCS="").end(0)
