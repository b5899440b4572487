"""watch.py, which every run of the tests has beside it, ends what would harm the machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="there is no watch elsewhere"
)
WATCH = Path(__file__).resolve().parents[1] / "watch.py"
PATIENCE = 30

# A run of tests in small: root -> child -> grandchild, which print their pids. The grandchild has
# a session of its own and ignores SIGTERM.
GRANDCHILD = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
while True: time.sleep(60)
"""
CHILD = """
import os, subprocess, sys, time
g = subprocess.Popen([sys.executable, "-I", "-S", "-c", sys.argv[1]], start_new_session=True)
print(os.getpid(), flush=True)
if sys.argv[2] == "grows":
    sys.stdin.readline()
    kept = bytearray(b"x") * (300 << 20)
if sys.argv[2] == "leaves": sys.exit()
while True: time.sleep(60)
"""
ROOT = """
import ctypes, subprocess, sys, time
child, grandchild, how = sys.argv[1:]
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", child, grandchild, how])
if how in ("grows", "leaves"): print("child ended", child.wait(), flush=True)
while True: time.sleep(60)
"""


class Run:
    def __init__(self, how, most_mib, seconds):
        python = [sys.executable, "-I", "-S"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.root = subprocess.Popen([*python, "-c", ROOT, CHILD, GRANDCHILD, how], **pipes)
        lines = [self.line() for _ in range(3 if how == "leaves" else 2)]
        self.below = [int(line) for line in lines if line.isdigit()]
        assert len(self.below) == 2, lines
        command = [*python, str(WATCH), str(self.root.pid), str(most_mib)]
        self.watch = subprocess.Popen(command, **pipes)
        assert self.watch.stdout.readline() == b"watching\n"  # it has seen all of them
        self.watch.stdin.write(f"{seconds} tests/test_some.py::test_it\n".encode())
        self.watch.stdin.flush()

    def line(self):
        return self.root.stdout.readline().decode().strip()

    def grow(self):
        self.root.stdin.write(b"\n")
        self.root.stdin.flush()

    def gone(self):
        """Whether child and grandchild have ended (zombies have)."""
        for pid in self.below:
            try:
                with open(f"/proc/{pid}/stat") as f:
                    if f.read().rpartition(")")[2].split()[0] not in "ZX":
                        return False
            except OSError:
                pass
        return True

    def close(self):
        for p in (self.root, self.watch):
            p.kill()
            p.wait()
            for pipe in (p.stdin, p.stdout, p.stderr):
                pipe.close()
        if not self.gone():
            for pid in self.below:
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def run():
    runs = []

    def run(how, most_mib=4096, seconds=0):
        runs.append(Run(how, most_mib, seconds))
        return runs[-1]

    yield run
    for r in runs:
        r.close()


def test_a_child_that_grows_is_ended_with_its_own(run):
    r = run("grows", most_mib=150)
    r.grow()
    assert r.line() == f"child ended {-signal.SIGKILL}"
    assert r.root.poll() is None, "the run itself goes on"
    r.root.kill()
    assert r.watch.wait(PATIENCE) == 0
    assert r.gone()
    said = r.watch.stderr.read().decode()
    assert "in tests/test_some.py::test_it: process" in said and "more than 150" in said, said


def test_a_run_past_its_time_is_ended_with_all_below(run):
    r = run("hangs", seconds=0.2)
    assert r.watch.wait(PATIENCE) == 0
    assert r.root.wait(PATIENCE) == -signal.SIGABRT
    assert r.gone()
    said = r.watch.stderr.read().decode()
    assert "in tests/test_some.py::test_it: past its time" in said, said


@pytest.mark.parametrize("how", ["hangs", "leaves"])
def test_what_a_run_leaves_is_ended(run, how):
    r = run(how)
    r.root.kill()
    assert r.watch.wait(PATIENCE) == 0
    assert r.gone()


def test_this_run_is_watched(request):
    assert request.config.watch.poll() is None
