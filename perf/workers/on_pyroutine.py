"""pyroutine-rt: greenlets bound to one thread for each CPU, for a free-threaded interpreter.

It has no rendezvous. The main program, which is no pyroutine, only starts and joins one.
"""

from functools import partial
from time import perf_counter_ns, process_time_ns

import pyroutine
import work
from harness import CONTENDED_ITEMS, CONTENDED_SLOTS, check, each, main


def noop():
    pass


def send(q, value):
    q.put(value)


def fan_out_buffered(n):
    start = perf_counter_ns()
    q = pyroutine.Queue(n)
    for i in range(n):
        pyroutine.spawn(send, q, i)
    total = 0
    for _ in range(n):
        total += q.get()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def ping(n, there, back):
    for i in range(n):
        there.put(i)
        back.get()


def pong(n, there, back):
    for _ in range(n):
        back.put(there.get())


def ping_pong(n):
    there, back = pyroutine.Queue(1), pyroutine.Queue(1)
    start = perf_counter_ns()
    with pyroutine.TaskGroup() as group:
        group.spawn(ping, n, there, back)
        group.spawn(pong, n, there, back)
    return each(start, n)


def produce(q, items):
    for i in range(items):
        q.put(i)


def contended_buffered(n):
    start = perf_counter_ns()
    q = pyroutine.Queue(CONTENDED_SLOTS)
    for _ in range(n):
        pyroutine.spawn(produce, q, CONTENDED_ITEMS)
    total = 0
    for _ in range(n * CONTENDED_ITEMS):
        total += q.get()
    taken = each(start, n * CONTENDED_ITEMS)
    check(total, n * CONTENDED_ITEMS * (CONTENDED_ITEMS - 1) // 2)
    return taken


def hop_buffered(n):
    start = perf_counter_ns()
    q = pyroutine.Queue(CONTENDED_SLOTS)
    pyroutine.spawn(produce, q, n)
    total = 0
    for _ in range(n):
        total += q.get()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def spawn_waitgroup(n):
    start = perf_counter_ns()
    with pyroutine.TaskGroup() as group:
        for _ in range(n):
            group.spawn(noop)
    return each(start, n)


def spawn_handles(n):
    start = perf_counter_ns()
    handles = [pyroutine.spawn(noop) for _ in range(n)]
    for handle in handles:
        handle.join()
    return each(start, n)


def mapped(function, inputs):
    return pyroutine.gather(*[pyroutine.spawn(function, value) for value in inputs])


def map_calls(n):
    start = perf_counter_ns()
    squares = mapped(work.square, range(n))
    taken = each(start, n)
    check(sum(squares), work.sum_of_squares(n))
    return taken


def yielder(n):
    for _ in range(n):
        pyroutine.yield_()


def yield_in_turn(n):
    start = perf_counter_ns()
    with pyroutine.TaskGroup() as group:
        group.spawn(yielder, n)
        group.spawn(yielder, n)
    return each(start, 2 * n)


def timers_sleeping(n):
    start = process_time_ns()
    with pyroutine.TaskGroup() as group:
        for i in range(n):
            group.spawn(pyroutine.sleep, work.nap_s(i))
    return (process_time_ns() - start) / n


def hashing(size, n):
    block = work.block_of(size)
    digest = work.sha256(block)
    start = perf_counter_ns()
    digests = mapped(work.sha256, [block] * n)
    taken = each(start, n)
    check(digests.count(digest), n)
    return taken


def cpu_python(n):
    start = perf_counter_ns()
    results = mapped(work.cpu_work, range(n))
    taken = each(start, n)
    check(sum(results), work.sum_of_steps(n, work.CPU_STEPS))
    return taken


PROGRAMS = {
    "fanout-buffered": fan_out_buffered,
    "pingpong": ping_pong,
    "hop-buffered": hop_buffered,
    "contended-buffered": contended_buffered,
    "spawn-waitgroup": spawn_waitgroup,
    "spawn-handles": spawn_handles,
    "map-calls": map_calls,
    "yield": yield_in_turn,
    "timers-sleeping": timers_sleeping,
    "hash-1m": partial(hashing, work.BLOCK_1M),
    "hash-16k": partial(hashing, work.BLOCK_16K),
    "cpu-python": cpu_python,
}


def as_pyroutine(program):
    return lambda n: pyroutine.spawn(program, n).result()


if __name__ == "__main__":
    programs = {name: as_pyroutine(program) for name, program in PROGRAMS.items()}
    main(pyroutine.__version__, programs)
    pyroutine.shutdown()
