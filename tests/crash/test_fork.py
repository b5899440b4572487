"""fork in a process with live Ms: the child starts fresh."""

import os
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")

SETUP = """
    import os, sys, threading, time, gmpx
    gmpx.gomaxprocs(3)
    never = gmpx.Chan()
    parked = [gmpx.go(never.recv) for _ in range(5)]
    begun = threading.Event()
    def elsewhere():
        begun.set()
        return never.recv()
    parked.append(gmpx.go(elsewhere))
    assert begun.wait(20)                       # on another M
    gmpx.sleep(0.001)
    def status(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    def forks(fn):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                fn()
                code = 42
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        return status(pid)
"""


def test_the_forking_goroutine_becomes_main_and_the_others_are_dead(child):
    child(SETUP + """
    def in_child():
        assert gmpx.current().id == 1
        assert gmpx.num_goroutine() == 1, gmpx.goroutines()
        for g in parked:
            assert g.status == "dead"
            try: g.result()
            except RuntimeError as e: assert "fork" in str(e)
            else: raise AssertionError
        # and everything works
        c = gmpx.Chan()
        gmpx.go(c.send, 5)
        assert c.recv() == 5
        assert gmpx.map(abs, range(-50, 0)) == list(range(50, 0, -1))
        ev = threading.Event()
        gmpx.go(ev.set)
        assert ev.wait(20)                      # a new M came
        gmpx.sleep(0.001)
    assert forks(in_child) == 42
    assert gmpx.go(forks, in_child).result() == 42      # from a goroutine on the main thread
    assert [g.status for g in parked] == ["waiting"] * 6
    for g in parked:                            # whichever comes first: two Ms have queued them
        never.send("parent")
    assert [g.result() for g in parked] == ["parent"] * 6
    """).end(0)


def test_fork_on_another_m_and_from_a_foreign_thread(child):
    child(SETUP + """
    def in_child():
        assert gmpx.current().id == 1
        c = gmpx.Chan()
        gmpx.go(c.send, 5)
        assert c.recv() == 5
    found = []
    thread = threading.Thread(target=lambda: found.append(forks(in_child)))
    thread.start(); thread.join()
    assert found == [42], found
    begun.clear()
    def other():
        begun.set()
        assert threading.current_thread() is not threading.main_thread()
        return forks(in_child)
    g = gmpx.go(other)
    assert begun.wait(20)
    assert g.result() == 42
    os._exit(0)
    """).end(0)


def test_foreign_threads_of_the_parent_are_forgotten(child):
    child(SETUP + """
    threads = [threading.Thread(target=never.recv) for _ in range(4)]
    for thread in threads:
        thread.start()
    while gmpx.num_goroutine() < 11:
        time.sleep(0.001)
    def in_child():
        import gc
        for _ in range(3):
            gc.collect()
            assert gmpx.num_goroutine() == 1, gmpx.goroutines()
            thread = threading.Thread(target=gmpx.sleep, args=(0.001,))
            thread.start(); thread.join()
            assert sum(gmpx.map(abs, range(-20, 0))) == 210
        assert gmpx.stats()["machines"] >= 1
        gmpx.shutdown()
    for _ in range(10):
        assert forks(in_child) == 42
    for _ in range(10):
        never.send(1)
    for thread in threads:
        thread.join()
    assert forks(in_child) == 42
    """).end(0)


def test_the_child_exits_with_its_code_when_the_forking_goroutine_returns(child):
    child(SETUP + """
    def f():
        pid = os.fork()
        if pid == 0:
            return "the child's main returns"
        return status(pid)
    assert gmpx.go(f).result() == 0
    def g():
        pid = os.fork()
        if pid == 0:
            sys.exit(5)
        return status(pid)
    assert gmpx.go(g).result() == 5
    os._exit(0)
    """).end(0)


def test_no_finally_block_of_the_others_runs_in_the_child(child):
    done = child(SETUP + """
    def clean():
        try: never.recv()
        finally: print("finally in", os.getpid(), flush=True)
    gmpx.go(clean)
    gmpx.sleep(0.001)
    pid = os.fork()
    if pid == 0:
        sys.exit(6)
    assert status(pid) == 6
    print("parent", os.getpid(), flush=True)
    """).end(0)
    lines = done.out.split("\n")
    parent = next(line.split()[1] for line in lines if line.startswith("parent"))
    assert [line for line in lines if line.startswith("finally")] == [f"finally in {parent}"]


def test_forks_under_load(child):
    child(SETUP + """
    import hashlib
    block = bytes(1 << 16)
    stop = []
    def load():
        while not stop:
            hashlib.sha256(block).digest()
            gmpx.sleep(0.0001)
    gs = [gmpx.go(load) for _ in range(8)]
    time.sleep(0.02)
    spawning = [gmpx.go(load) for _ in range(20)]
    def in_child():
        assert sum(gmpx.map(abs, range(-20, 0))) == 210
        gmpx.sleep(0.0001)
    for _ in range(50):
        assert forks(in_child) == 42
        gmpx.gosched()
    stop.append(1)
    for g in gs + spawning:
        g.join()
    os._exit(0)
    """).end(0)


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(child, method, tmp_path):
    script = tmp_path / "main.py"
    script.write_text(
        "import multiprocessing, gmpx\n"
        "def work(n):\n"
        "    return sum(gmpx.map(abs, range(n)))\n"
        "if __name__ == '__main__':\n"
        "    c = gmpx.Chan(); gs = [gmpx.go(c.recv) for _ in range(4)]; gmpx.sleep(0.001)\n"
        f"    with multiprocessing.get_context({method!r}).Pool(2) as pool:\n"
        "        assert pool.map(work, [10, 20, 30]) == [45, 190, 435]\n"
        "    for _ in gs: c.send(1)\n"
    )
    child("import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')" if method == "fork"
          else "import subprocess, sys; sys.exit(subprocess.call([sys.executable, sys.argv[1]]))",
          str(script)).end(0)


def test_functions_stay_with_the_parent_and_a_block_keeps_its_time(child):
    child(SETUP + """
    t, f = gmpx.Timer(60), gmpx.after_func(60, print)
    tick = gmpx.Ticker(0.001)
    def fn():
        assert gmpx._core._n_timers() == 3          # the channels', and of the block below
        assert t.stop() is True and f.stop() is False
        t.reset(0.001)
        t.c.recv(timeout=20)
        tick.reset(0.001)
        tick.c.recv(timeout=20)
        tick.stop()
        gmpx.Chan().recv()
    try:
        with gmpx.timeout(0.2):
            assert forks(lambda: None) == 42
            pid = os.fork()
            if pid == 0:
                fn()
            gmpx.Chan().recv()
    except TimeoutError:
        if pid == 0:
            os._exit(43)
    assert status(pid) == 43
    assert t.stop() and f.stop()
    tick.c.recv(timeout=20)
    """).end(0)
