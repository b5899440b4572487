"""What the parts cost that nothing over greenlets can avoid; floor.pyx has the C side."""

import os
import sys
from importlib.metadata import version
from time import perf_counter_ns

from harness import each, main

sys.path.insert(0, os.environ["GMPX_PERF_FLOOR"])  # where run.py has built it
import floor  # noqa: E402


def switch(n):
    """Returns one switch of two greenlets that switch to each other, n times each."""
    return floor.switch_in_turn(n) / (2 * n)


def call(n):
    """Returns one call of an empty method from a loop, less the loop."""
    empty = floor.Empty()
    start = perf_counter_ns()
    for _ in range(n):
        empty.method()
    called = each(start, n)
    start = perf_counter_ns()
    for _ in range(n):
        pass
    return called - each(start, n)


def ping_pong(n):
    """Returns the parts of a round trip: two switches and four calls."""
    return 2 * switch(n) + 4 * call(n)


if __name__ == "__main__":
    main(
        f"of greenlet {version('greenlet')}",
        {"yield": switch, "call": call, "pingpong": ping_pong},
    )
