"""Goroutines that are loops of C run no bytecode: the scheduler gives the GIL up in their place."""

import sys

import pytest

SETUP = """
    import faulthandler, gc, os, signal, sys, threading, time
    from collections import deque
    import gmpx
    PATIENCE = 30.0
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    started = threading.Event()
    def c_loop():                               # never leaves C
        started.set()
        deque(iter(gmpx.gosched, 1), 0)
    def on_worker():
        gmpx.go(c_loop)
        assert started.wait(PATIENCE)           # main stood, so a worker has it
    def bye():
        os._exit(0)
"""


def test_main_comes_back_from_a_call(child):
    child(SETUP + """
    on_worker()
    for _ in range(5):
        time.sleep(0.001)
    bye()
    """).end(0)


def test_foreign_threads_get_their_turns(child):
    child(SETUP + """
    on_worker()
    def works():
        for _ in range(5):
            time.sleep(0.001)
            assert gmpx.go(int).result() == 0
    threads = [threading.Thread(target=works) for _ in range(3)]
    for t in threads: t.start()
    for t in threads: t.join()
    bye()
    """).end(0)


def test_a_loop_on_main_lets_foreign_threads_run(child):
    child(SETUP + """
    done = gmpx.Event()
    def works():
        started.wait()
        for _ in range(5):
            time.sleep(0.001)
        done.set()
    threading.Thread(target=works).start()
    gmpx.go(c_loop)
    done.wait()                                 # M0 runs the loop meanwhile
    bye()
    """).end(0)


def test_a_loop_on_main_lets_goroutines_and_timers_run(child):
    child(SETUP + """
    gmpx.go(c_loop)
    gmpx.sleep(0.01)
    assert started.is_set()
    assert gmpx.go(int).result() == 0
    fired = gmpx.Event()
    gmpx.after_func(0.001, fired.set)
    fired.wait()
    bye()
    """).end(0)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent by kill()")
@pytest.mark.parametrize("where", ["main", "worker"])
def test_signals_get_through(child, where):
    child(SETUP + """
    if sys.argv[1] == "worker":
        on_worker()
    else:
        gmpx.go(c_loop)
    got = gmpx.Event()
    signal.signal(signal.SIGTERM, lambda *a: got.set())
    os.kill(os.getpid(), signal.SIGTERM)
    got.wait()
    def interrupts():
        time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
    try:
        threading.Thread(target=interrupts).start()     # it may come before the wait begins
        gmpx.Chan().recv()
    except KeyboardInterrupt:
        bye()
    """, where).end(0)


def test_the_world_can_be_stopped(child):
    # Free-threaded builds stop all threads for a collection.
    child(SETUP + """
    on_worker()
    for _ in range(3):
        gc.collect()
    bye()
    """).end(0)
