"""The ends at which a worker's chunk of the data stack could be freed by who does not own it."""

import os
import sys

import pytest

SETUP = """
import gc, os, sys, threading
import gmpx
def down(n, f):
    return down(n - 1, f) if n else f()
c = gmpx.Chan()
def park(k=200):
    for i in range(k): gmpx.go(down, i % 30, c.recv)
    gmpx.gosched(); gmpx.sleep(0.01)
"""


def test_exit_with_parked_goroutines(child):
    child(SETUP + """
park()
gmpx.go(down, 100, lambda: 1).join()
""").end(0)


def test_exit_by_an_exception_with_goroutines_parked_on_other_threads(child):
    child(SETUP + """
gmpx.gomaxprocs(4)
park()
def foreign():
    park(50); down(20, c.recv)
for _ in range(3): threading.Thread(target=foreign, daemon=True).start()
gmpx.sleep(0.1)
sys.exit(7)
""").end(7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("inside", [False, True])
def test_a_forks_child_forgets_the_workers_and_has_its_own(child, inside):
    child(SETUP + f"""
inside = {inside}
gmpx.gomaxprocs(4)
park()
threading.Thread(target=down, args=(20, c.recv), daemon=True).start()
def fork():
    pid = os.fork()
    if pid == 0:
        gc.collect()
        d = gmpx.Chan()
        gs = [gmpx.go(down, i % 30, d.recv) for i in range(300)]
        gmpx.gosched()
        for i in range(300): d.send(1)
        assert sum(g.result() for g in gs) == 300
        assert gmpx.go(down, 200, lambda: 5).result() == 5
        gc.collect()
        return "child"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return "parent"
who = gmpx.go(down, 3, fork).result() if inside else down(3, fork)
if who == "parent":
    gmpx.go(down, 200, lambda: 1).join()
""").end(0)


def test_threads_that_end_with_goroutines_behind_them(child):
    child(SETUP + """
def work():
    park(40)
    return down(25, lambda: gmpx.go(down, 100, lambda: 1).result())
for _ in range(20):
    t = threading.Thread(target=work); t.start(); t.join()
gc.collect()
assert gmpx.go(down, 200, lambda: 1).result() == 1
""").end(0)


def test_shutdown_ends_workers_and_their_memory_is_used_anew(child):
    child(SETUP + """
for _ in range(5):
    d = gmpx.Chan()
    gs = [gmpx.go(down, i % 30, d.recv) for i in range(2000)]
    gmpx.gosched()
    for g in gs: g.cancel()
    for g in gs: assert isinstance(g.exception(), gmpx.Cancelled)
    junk = [bytearray(1000 + i % 400) for i in range(4000)]
    gc.collect()
gmpx.shutdown()
""").end(0)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="frames are objects there")
def test_the_chunks_of_a_deep_recursion_are_given_back(child):
    """The pool holds a few, or as many as there are workers."""
    child(SETUP + """
def deep(n): return deep(n - 1) if n else 1
sys.setrecursionlimit(100_000)
def resident():
    try: return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError: sys.exit(0)
gmpx.go(deep, 10).join()
before = resident()
gmpx.go(deep, 50_000).join()            # 7 MB of frames
assert resident() - before < 4_000_000, resident() - before
""").end(0)


def test_an_import_deep_in_a_recursion(child):
    child("""
def down(n):
    if n: return down(n - 1)
    import gmpx
    c = gmpx.Chan()
    gs = [gmpx.go(c.recv) for _ in range(10)]
    gmpx.gosched()
    for _ in gs: c.send(1)
    return sum(g.result() for g in gs)
assert down(300) == 10
""").end(0)
