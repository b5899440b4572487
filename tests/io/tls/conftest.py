"""After each test of TLS nothing is left: no goroutine, no socket, nobody counted as a waiter."""

import sys
from pathlib import Path

import pytest

import gmpx
import gmpx.patch
from gmpx._core import _net_left

sys.path.insert(0, str(Path(__file__).parent))

from peers import sockets  # noqa: E402


@pytest.fixture(autouse=True)
def nothing_left(until):
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("reads /proc/self/fd")
    before = gmpx.num_goroutine(), sockets()
    yield
    gmpx.patch.undo()
    until(lambda: gmpx.num_goroutine() == before[0])
    assert not any(_net_left()[1:])
    assert sockets() == before[1]


@pytest.fixture
def patched():
    gmpx.patch.all()
