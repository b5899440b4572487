"""Executor at the process's edges: exit, fork."""

import subprocess
import sys
import textwrap

import pytest


def run(code):
    done = subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("end", ["", "executor.shutdown(wait=False)"])
def test_what_was_submitted_is_done_before_exit(limit, end):
    assert run(f"""
        import gmpx
        def body(i):
            gmpx.sleep(0.01)
            print(i, flush=True)
        executor = gmpx.Executor({limit})
        for i in range(3):
            executor.submit(body, i)
        {end}
    """) == ["0", "1", "2"]


def test_submit_at_exit():
    assert run("""
        import atexit
        @atexit.register
        def last():
            try:
                executor.submit(print, "never")
            except RuntimeError as e:
                print("refused")
        import gmpx
        executor = gmpx.Executor()
        print(executor.submit(int).result())
    """) == ["0", "refused"]


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork")
@pytest.mark.parametrize("limit", [None, 1])
def test_after_fork(limit):
    assert run(f"""
        import os, gmpx
        executor = gmpx.Executor({limit})
        c = gmpx.Chan()
        fs = [executor.submit(c.recv) for _ in range(3)]
        gmpx.gosched()
        pid = os.fork()
        if pid == 0:
            for f in fs:
                try:
                    f.result(20)
                except RuntimeError as e:
                    assert "fork" in str(e), e
                else:
                    print("?", flush=True)
            assert executor.submit(pow, 2, 3).result(20) == 8
            executor.shutdown()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        for i in range(3):
            c.send(i)
        print(sorted(f.result() for f in fs) == [0, 1, 2])
    """) == ["True"]


def test_a_deadlock_is_told_once():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent("""
            import gmpx
            with gmpx.Executor() as executor:
                executor.submit(gmpx.Chan().recv).result()
        """)],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.count("DeadlockError: all goroutines are asleep") == 1, done.stderr
    assert "atexit" not in done.stderr


@pytest.mark.parametrize("wait", ["executor.shutdown()", "future.result()", "gmpx.Event().wait()"])
def test_a_deadlock_that_the_program_caught_is_not_told_again(wait):
    assert run(f"""
        import gmpx
        executor = gmpx.Executor()
        future = executor.submit(gmpx.Chan().recv)
        try:
            {wait}
        except gmpx.DeadlockError:
            print("caught")
    """) == ["caught"]


def test_another_deadlock_is_told_at_exit():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent("""
            import gmpx
            executor = gmpx.Executor()
            first = executor.submit(gmpx.Chan().recv)
            try:
                first.result()
            except gmpx.DeadlockError:
                executor.submit(gmpx.Event().wait)
        """)],
        capture_output=True, text=True, timeout=60,
    )
    assert done.stderr.count("DeadlockError: all goroutines are asleep") == 1, done.stderr
