"""The work that the programs of every Python rival share, and what their results must be.

The same numbers are in ../go/work.go.
"""

import hashlib
import os
import sys
from time import perf_counter, perf_counter_ns

CPU_STEPS = 10_000  # of one piece of pure-Python work
BLOCK_1M, BLOCK_16K = 1 << 20, 1 << 14
LOCK_ROUNDS = 100  # by each task
SELECT_VALUES = 10_000  # through all the channels together
SELECT_ROUNDS = 200  # selects of which one channel out of N is ready
BARRIER_ROUNDS = 100
TIMER_ROUNDS = 1000  # timers started and stopped beside N others
NAPS = 10  # of each task
NAP_S = 0.001
TICKS = 20  # of each ticker
TICKER_S = 0.005
SERVICE_WORKERS = 200
SERVICE_STEPS = 100
SERVICE_SLEEP_S = 0.001
SLEEP_LEAST_MS, SLEEP_SPREAD_MS = 50, 100
FAN_OUT = 10  # children of a node of skynet
TICK_S = 0.001
LATENCIES = {"latency-p50": 0.5, "latency-p99": 0.99, "latency-p999": 0.999}


def square(i):
    return i * i


def sum_of_squares(n):
    return (n - 1) * n * (2 * n - 1) // 6


def steps(x, count):
    """Pure-Python work: `count` steps of a linear congruential generator from x."""
    for _ in range(count):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
    return x


def cpu_work(i):
    return steps(i, CPU_STEPS)


def sum_of_steps(n, count):
    """Returns the sum of steps(i, count) for i < n: all those steps are one affine map."""
    offset = steps(0, count)
    slope = steps(1, count) - offset
    return sum((slope * i + offset) & 0x7FFFFFFF for i in range(n))


def block_of(size):
    return b"\xa5" * size


def sha256(block):
    return hashlib.sha256(block).digest()


def nap_s(i):
    """How long sleeper i sleeps: neighbours wake far apart."""
    return (SLEEP_LEAST_MS + i * 7919 % SLEEP_SPREAD_MS) / 1000


def far_s(i):
    """How far off timer i is that never fires: neighbours far apart, and more than a quarter hour."""
    return 1000 + i * 7919 % 100_003 / 1000


def scattered(n, rounds):
    """Returns places below n for so many rounds, neighbours far apart."""
    return [k * 7919 % n for k in range(rounds)]


def sieve_work(n):
    """Returns the n-th prime, and how many values go through channels until it is found.

    A number leaves the chain at the filter of its least divisor: k hops for the k-th prime.
    """
    limit = 16
    while True:
        least = list(range(limit))
        for i in range(2, int(limit**0.5) + 1):
            if least[i] == i:
                for j in range(i * i, limit, i):
                    if least[j] == j:
                        least[j] = i
        primes = [i for i in range(2, limit) if least[i] == i]
        if len(primes) >= n:
            break
        limit *= 2
    last = primes[n - 1]
    place = {prime: k for k, prime in enumerate(primes, 1)}
    return last, sum(place[least[m]] for m in range(2, last + 1))


def parts(first, size):
    """Yields (first, size) of the children of a node of skynet: at most FAN_OUT, none empty."""
    for k in range(FAN_OUT):
        low, high = size * k // FAN_OUT, size * (k + 1) // FAN_OUT
        if high > low:
            yield first + low, high - low


def leaf():
    pass


def calls_at(depth, n):
    """Returns the nanoseconds of one of n calls, made `depth` frames down."""
    if depth:
        return calls_at(depth - 1, n)
    start = perf_counter_ns()
    for _ in range(n):
        leaf()
    return (perf_counter_ns() - start) / n


def swaying(n):
    """Returns the cost of a call at the dearest depth: where its frame, and it alone, goes beyond
    the end of a chunk of the interpreter's stack. 16 KB hold some 120 frames of calls_at."""
    return max(min(calls_at(depth, n) for _ in range(5)) for depth in range(260))


def hog(end):
    """Keeps a CPU busy with pure Python, and never lets others go first, until `end`."""
    while perf_counter() < end:
        for _ in range(1000):
            pass


def lateness(due):
    """Returns how many nanoseconds too late it is."""
    return perf_counter_ns() - round(due * 1e9)


def percentile(values, part):
    """Returns the least value that at least this part of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * part // 1) - 1)]


def cpus():
    """Returns how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def gil():
    return getattr(sys, "_is_gil_enabled", lambda: True)()
