"""gmpx: the programs as its users would write them."""

import sys
from pathlib import Path
from time import perf_counter_ns

import gmpx
from harness import CONTENDED_ITEMS, CONTENDED_SLOTS, check, each, main, resident


def noop():
    pass


def send(c, value):
    c.send(value)


def fan_out(n, capacity):
    start = perf_counter_ns()
    c = gmpx.Chan(capacity)
    for i in range(n):
        gmpx.go(send, c, i)
    total = 0
    for _ in range(n):
        total += c.recv()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def fan_out_buffered(n):
    return fan_out(n, n)


def fan_out_unbuffered(n):
    return fan_out(n, 0)


def ping(n, there, back):
    for i in range(n):
        there.send(i)
        back.recv()


def pong(n, there, back):
    for _ in range(n):
        back.send(there.recv())


def ping_pong(n):
    there, back = gmpx.Chan(), gmpx.Chan()
    wg = gmpx.WaitGroup()
    start = perf_counter_ns()
    wg.go(ping, n, there, back)
    wg.go(pong, n, there, back)
    wg.wait()
    return each(start, n)


def produce(c):
    for i in range(CONTENDED_ITEMS):
        c.send(i)


def contended(n, slots):
    start = perf_counter_ns()
    c = gmpx.Chan(slots)
    for _ in range(n):
        gmpx.go(produce, c)
    total = 0
    for _ in range(n * CONTENDED_ITEMS):
        total += c.recv()
    taken = each(start, n * CONTENDED_ITEMS)
    check(total, n * CONTENDED_ITEMS * (CONTENDED_ITEMS - 1) // 2)
    return taken


def contended_buffered(n):
    return contended(n, CONTENDED_SLOTS)


def contended_unbuffered(n):
    return contended(n, 0)


def spawn_waitgroup(n):
    wg = gmpx.WaitGroup()
    start = perf_counter_ns()
    for _ in range(n):
        wg.go(noop)
    wg.wait()
    return each(start, n)


def spawn_handles(n):
    start = perf_counter_ns()
    handles = [gmpx.go(noop) for _ in range(n)]
    for handle in handles:
        handle.join()
    return each(start, n)


def yielder(n):
    for _ in range(n):
        gmpx.gosched()


def yield_in_turn(n):
    wg = gmpx.WaitGroup()
    start = perf_counter_ns()
    wg.go(yielder, n)
    wg.go(yielder, n)
    wg.wait()
    return each(start, 2 * n)


ready = gmpx.WaitGroup()


def parked(c):
    ready.done()
    c.recv()


def park(n):
    """Parks n goroutines at once and lets them go; returns the resident bytes meanwhile."""
    c = gmpx.Chan()
    ended = gmpx.WaitGroup()
    ready.add(n)
    for _ in range(n):
        ended.go(parked, c)
    ready.wait()
    most = resident()
    for i in range(n):
        c.send(i)
    ended.wait()
    return most


def memory_parked(n):
    park(1)  # the runtime itself does not count
    before = resident()
    return (park(n) - before) / n


def memory_rounds(n):
    after = []
    for _ in range(3):
        park(n)
        after.append(resident())
    return after[2] / after[0]


def memory_queued(n):
    park(1)  # the runtime itself does not count
    wg = gmpx.WaitGroup()
    before = resident()
    for _ in range(n):
        wg.go(noop)
    after = resident()
    # Another M may have run some meanwhile: those that are left hold all of the memory.
    left = gmpx.stats()["queued"]
    wg.wait()
    if left < 0.9 * n:
        raise AssertionError(f"only {left} of {n} goroutines were still queued")
    return (after - before) / left


def memory_object(n):
    return sys.getsizeof(gmpx.go(noop))


if __name__ == "__main__":
    checkout = Path(__file__).resolve().parents[2] in Path(gmpx.__file__).resolve().parents
    main(
        f"{gmpx.__version__} ({'this checkout' if checkout else 'installed'})",
        {
            "fanout-buffered": fan_out_buffered,
            "fanout-unbuffered": fan_out_unbuffered,
            "pingpong": ping_pong,
            "contended-buffered": contended_buffered,
            "contended-unbuffered": contended_unbuffered,
            "spawn-waitgroup": spawn_waitgroup,
            "spawn-cold": spawn_waitgroup,
            "spawn-handles": spawn_handles,
            "yield": yield_in_turn,
            "memory-parked": memory_parked,
            "memory-rounds": memory_rounds,
            "memory-queued": memory_queued,
            "memory-object": memory_object,
        },
    )
