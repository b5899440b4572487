"""What the parts cost that nothing over greenlets can avoid; floor.pyx has the C side."""

import os
import sys
from importlib.metadata import version
from time import perf_counter, perf_counter_ns, sleep

import work
from harness import check, each, main

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


def hop_buffered(n):
    """Returns the parts of a hop that does not wait: two calls."""
    return 2 * call(n)


def hop_unbuffered(n):
    """Returns the parts of a rendezvous: two calls, and a switch for each value."""
    return 2 * call(n) + switch(n)


def sieve(n):
    """Returns the parts of one of the sieve's hops, which are rendezvous."""
    return hop_unbuffered(work.sieve_work(n)[1])


def noop():
    pass


def spawn(n):
    """Returns a method's call that calls the function at once, instead of spawning it."""
    empty = floor.Empty()
    start = perf_counter_ns()
    for _ in range(n):
        empty.go(noop)
    return each(start, n)


def map_calls(n):
    start = perf_counter_ns()
    squares = floor.Empty().map(work.square, range(n))
    taken = each(start, n)
    check(sum(squares), work.sum_of_squares(n))
    return taken


def mutex_alone(n):
    """Returns a with statement over what does nothing."""
    empty = floor.Empty()
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        with empty:
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


def waitgroup_alone(n):
    """Returns three calls: add, done, wait."""
    return 3 * call(n)


def hashing(n, size):
    """Returns the hash alone over the CPUs: no program that keeps them all busy is faster."""
    block = work.block_of(size)
    start = perf_counter_ns()
    for _ in range(n):
        work.sha256(block)
    return each(start, n) / work.cpus()


def hash_1m(n):
    return hashing(n, work.BLOCK_1M)


def hash_16k(n):
    return hashing(n, work.BLOCK_16K)


def pure_python(n, count):
    """Returns the work alone, which under the GIL runs on one CPU at a time."""
    start = perf_counter_ns()
    results = [work.steps(i, count) for i in range(n)]
    taken = each(start, n) / (1 if work.gil() else work.cpus())
    check(sum(results), work.sum_of_steps(n, count))
    return taken


def cpu_python(n):
    return pure_python(n, work.CPU_STEPS)


def service(n):
    """Returns the service's CPU work alone: its waiting can overlap."""
    return pure_python(n, work.SERVICE_STEPS)


def latency(part):
    """The system's own lateness: the ticker alone, no hog beside it."""

    def program(ticks):
        late = []
        start = perf_counter() + work.TICK_S
        for k in range(ticks):
            due = start + k * work.TICK_S
            left = due - perf_counter()
            if left > 0:
                sleep(left)
            late.append(work.lateness(due))
        return work.percentile(late, part)

    return program


PROGRAMS = {
    "call": call,
    "yield": switch,
    "pingpong": ping_pong,
    "hop-buffered": hop_buffered,
    "hop-unbuffered": hop_unbuffered,
    "sieve": sieve,
    "spawn-waitgroup": spawn,
    "spawn-handles": spawn,
    "map-calls": map_calls,
    "mutex-alone": mutex_alone,
    "semaphore-alone": mutex_alone,
    "once-done": call,
    "select-plain": call,
    "futures-result": call,
    "waitgroup-alone": waitgroup_alone,
    "hash-1m": hash_1m,
    "hash-16k": hash_16k,
    "cpu-python": cpu_python,
    "service": service,
} | {name: latency(part) for name, part in work.LATENCIES.items()}


if __name__ == "__main__":
    main(f"of greenlet {version('greenlet')}", PROGRAMS)
