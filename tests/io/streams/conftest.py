"""After each test of streams nothing is left: no goroutine, no descriptor, nobody counted as a waiter."""

import os
import sys
from pathlib import Path

import pytest

import gmpx
import gmpx.patch
from gmpx import go
from gmpx._core import _net_left, _nowait

sys.path.insert(0, str(Path(__file__).parent))

from two_ends import descriptors, make_fifo, make_pipe, make_raw_tty, make_sockets  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def deep_sleep():
    """The main thread has slept so long that it has opened what wakes it, and keeps that."""
    gmpx.sleep(0.3)


@pytest.fixture(autouse=True)
def patched(until):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("reads /proc/self/fd")
    gmpx.patch.all()
    go(gmpx.sleep, 0).join()
    goroutines, fds = gmpx.num_goroutine(), descriptors()
    yield
    until(lambda: gmpx.num_goroutine() == goroutines)
    assert _net_left()[1:] == (0, 0)
    until(lambda: descriptors() == fds)  # sysmon has one for an instant, to look whether a thread sleeps
    gmpx.patch.undo()


@pytest.fixture(params=["nowait", "reopen"])
def way(request):
    """How pipes are asked: as kernels since 6.5 allow it, and as those before."""
    was = _nowait(request.param == "nowait")
    yield request.param
    _nowait(was)


@pytest.fixture(params=[make_pipe, make_fifo, make_sockets, make_raw_tty])
def ends(request, way, tmp_path):
    ends = request.param(tmp_path)
    yield ends
    ends.close()


@pytest.fixture(params=[make_pipe, make_fifo, make_sockets])
def pipe(request, way, tmp_path):
    ends = request.param(tmp_path)
    yield ends
    ends.close()
