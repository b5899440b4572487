"""Virtual time for the tests in here."""

import pytest

import gmpx
from gmpx.testing import bubble


@pytest.fixture
def alone():
    """A bubble begins with no goroutine but main."""
    gmpx.shutdown(20)


@pytest.fixture
def virtual(alone):
    """The test runs in a bubble."""
    with bubble() as b:
        yield b
