"""The pytest plugin, in sessions of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import gmpx

ROOT = str(Path(gmpx.__file__).parents[1])


def session(tmp_path, source, *options):
    (tmp_path / "test_it.py").write_text(textwrap.dedent(source))
    path = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA"]
    if not any(e.value == "gmpx.testing.plugin" for e in entry_points()):
        command += ["-p", "gmpx.testing.plugin"]  # run from the sources, not installed
    done = subprocess.run(
        [*command, *options, str(tmp_path)], capture_output=True, text=True,
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, timeout=60,
    )
    return done.stdout + done.stderr


def entry_points():
    from importlib.metadata import entry_points

    return entry_points(group="pytest11")


def test_leaks(tmp_path):
    source = """
    import gmpx, pytest
    def test_leaks():
        gmpx.go(gmpx.Chan().recv)
    @pytest.mark.gmpx(leaks=True)
    def test_marked():
        gmpx.go(gmpx.sleep, 3600)
    @pytest.mark.gmpx(leaks=True)
    def test_clean():
        gmpx.go(gmpx.sleep, 0.01)
    def test_fixture(gmpx_leaks):
        gmpx.go(gmpx.sleep, 3600)
    """
    out = session(tmp_path, source)
    assert "4 passed, 2 errors" in out
    assert "ERROR test_it.py::test_marked" in out and "ERROR test_it.py::test_fixture" in out
    assert "1 goroutines have not ended" in out and "[sleep" in out
    out = session(tmp_path, source, "--gmpx-leaks")
    assert "4 passed, 3 errors" in out


def test_bubble(tmp_path):
    out = session(tmp_path, """
    import gmpx, pytest, time
    @pytest.mark.gmpx(bubble=True)
    def test_marked():
        gmpx.sleep(3600)
    def test_fixture(gmpx_bubble):
        gmpx.sleep(3600)
        assert gmpx_bubble.elapsed == 3600
    @pytest.mark.gmpx(bubble=True)
    def test_deadlock():
        gmpx.Chan().recv()
    @pytest.mark.gmpx(bubble=True)
    def test_left():
        gmpx.go(gmpx.Chan().recv)
    @pytest.mark.gmpx(seed=7)
    @pytest.mark.parametrize("n", [1, 2])
    def test_seed(n, tmp_path):
        assert n
    """)
    assert "4 passed" in out and "2 failed" in out
    assert "DeadlockError" in out and "LeakedGoroutines" in out and "chan receive" in out


def test_seeds(tmp_path):
    source = """
    import gmpx, pytest
    @pytest.mark.gmpx(seeds=200)
    def test_racy():
        box = [0]
        def add():
            value = box[0]
            gmpx.gosched()
            box[0] = value + 1
        a = gmpx.go(add)
        gmpx.gosched()
        b = gmpx.go(add)
        a.join(); b.join()
        assert box[0] == 2
    """
    out = session(tmp_path, source)
    assert "1 failed" in out
    seed = next(line for line in out.splitlines() if "seed=" in line or "seed = " in line) if (
        sys.version_info >= (3, 11)) else ""
    if seed:
        number = seed.partition("seed=")[2].partition(")")[0]
        assert "1 failed" in session(tmp_path, source, f"--gmpx-seed={number}")


def test_bad_marker(tmp_path):
    out = session(tmp_path, """
    import pytest
    @pytest.mark.gmpx(leak=True)
    def test_it():
        pass
    """)
    assert "the marker is gmpx(" in out
