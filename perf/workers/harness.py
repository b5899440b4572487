"""What every worker written in Python shares: one process, one program, one figure.

    WORKER PROGRAM N WARMUPS LEAST_MS   runs the program WARMUPS times, then for at least
                                        LEAST_MS and at least once, and prints the mean figure
    WORKER version                      prints what the worker measures

A program takes its N and returns its figure: nanoseconds for each operation, or bytes. It reads
the clock itself, so that neither the start of the process nor its own set-up counts.
"""

import ctypes
import gc
import os
import sys
import time

CONTENDED_SLOTS = 128
CONTENDED_ITEMS = 1000  # by each producer


def main(version, programs):
    if sys.argv[1:] == ["version"]:
        print(version)
        return
    name, *numbers = sys.argv[1:]
    n, warmups, least_ms = map(int, numbers)
    program = programs[name]
    for _ in range(warmups):
        program(n)
    figures = []
    start = time.perf_counter_ns()
    while not figures or time.perf_counter_ns() - start < least_ms * 1_000_000:
        figures.append(program(n))
    print(sum(figures) / len(figures))


def each(start, operations):
    """Returns the nanoseconds per operation since start."""
    return (time.perf_counter_ns() - start) / operations


def check(got, want):
    if got != want:
        raise AssertionError(f"wrong result: {got}, expected {want}")


def resident():
    """Returns the bytes of this process in memory; without /proc the most there ever were."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def left():
    """Returns the same once all that is free has gone back to the system."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        pass  # only glibc has it
    return resident()
