"""Interleavings spelled out: children of a debug build, whose threads stop at named points.

Points and build: gmpx/rt/platform/hooks.h. In a child of `held`

    arm(point)          the next thread that comes to it stops there; see gmpx._core._hook
    reached(point)      waits, without the GIL, until one stands there
    let_go(point)       it goes on
    until(condition)    waits, without the GIL

wait on the thread that calls them and let no goroutine run there.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

PRELUDE = """
    import gc, os, signal, sys, threading, time
    import gmpx
    from gmpx import _core

    PATIENCE = 8.0                     # before a child is called hung; no test waits for it

    def until(condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "still not so"
            time.sleep(0.0005)

    def arm(point, **how):
        assert _core._hook(point, 1, **how), "not a debug build"

    def reached(point):
        until(lambda: _core._hook_reached(point))

    def let_go(point):
        _core._hook(point, 0)

    def thread(fn, *args):
        t = threading.Thread(target=fn, args=args, daemon=True)
        t.start()
        return t

    def ended(*threads):
        for t in threads:
            t.join(PATIENCE)
            assert not t.is_alive(), "a thread hangs"
"""


def missing():
    """Why no extension can be built here, or None."""
    if sys.platform == "win32":
        return "the points are for POSIX alone"
    for name in ("setuptools", "Cython", "greenlet"):
        pytest.importorskip(name, reason=f"a debug build needs {name}")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"no compiler: {compiler}"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "no Python.h"
    if not (ROOT / "setup.py").is_file():
        return "not run from a checkout"
    return None


BUILD = []


def in_background(background, items):
    if any("debug_build" in getattr(item, "fixturenames", ()) for item in items):
        BUILD.append(background.ask(build, background.directory / "debug"))


def build(directory):
    """Copies gmpx there and builds it with GMPX_DEBUG=1."""
    directory.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, directory)
    built = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "*.c")
    shutil.copytree(ROOT / "gmpx", directory / "gmpx", ignore=built)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=directory,
        env=os.environ | {"GMPX_DEBUG": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.fixture(scope="session")
def debug_build():
    """A directory with gmpx, built with GMPX_DEBUG=1."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    return BUILD[0].result()


@pytest.fixture
def held(child, debug_build):
    """held(source, *argv, **env): as child, on the debug build, after PRELUDE."""

    def start(source, *argv, **env):
        path = os.pathsep.join(filter(None, [str(debug_build), os.environ.get("PYTHONPATH")]))
        source = textwrap.dedent(PRELUDE) + textwrap.dedent(source)
        return child(source, *argv, cwd=debug_build, PYTHONPATH=path, **env)

    return start


def pytest_collection_modifyitems(items):
    # whichever comes first builds
    for item in items:
        if "held" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))
