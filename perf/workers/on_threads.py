"""ThreadPoolExecutor: futures, and queues between its threads.

The pool outlives the warm-up, as it does in a program: its threads are there when the clock
starts. The queue is the fastest that does the job: SimpleQueue where no bound is needed. There
is no rendezvous; a queue of one slot stands for the unbuffered channel.
"""

import functools
import queue
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from time import perf_counter_ns

from harness import CONTENDED_ITEMS, CONTENDED_SLOTS, check, each, main

pool_of = functools.cache(ThreadPoolExecutor)  # pool_of(None) has the default size


def noop():
    pass


def send(q, value):
    q.put(value)


def fan_out(n, q):
    pool = pool_of(None)
    start = perf_counter_ns()
    for i in range(n):
        pool.submit(send, q, i)
    total = 0
    for _ in range(n):
        total += q.get()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def fan_out_buffered(n):
    return fan_out(n, queue.SimpleQueue())


def fan_out_unbuffered(n):
    return fan_out(n, queue.Queue(1))


def ping(n, there, back):
    for i in range(n):
        there.put(i)
        back.get()


def pong(n, there, back):
    for _ in range(n):
        back.put(there.get())


def ping_pong(n):
    there, back = queue.SimpleQueue(), queue.SimpleQueue()
    pool = pool_of(2)
    start = perf_counter_ns()
    wait([pool.submit(ping, n, there, back), pool.submit(pong, n, there, back)])
    return each(start, n)


def produce(q):
    for i in range(CONTENDED_ITEMS):
        q.put(i)


def contended(n, slots):
    pool = pool_of(n)
    start = perf_counter_ns()
    q = queue.Queue(slots)
    for _ in range(n):
        pool.submit(produce, q)
    total = 0
    for _ in range(n * CONTENDED_ITEMS):
        total += q.get()
    taken = each(start, n * CONTENDED_ITEMS)
    check(total, n * CONTENDED_ITEMS * (CONTENDED_ITEMS - 1) // 2)
    return taken


def contended_buffered(n):
    return contended(n, CONTENDED_SLOTS)


def contended_unbuffered(n):
    return contended(n, 1)


def spawn_waitgroup(n):
    pool = pool_of(None)
    start = perf_counter_ns()
    wait([pool.submit(noop) for _ in range(n)])
    return each(start, n)


def spawn_handles(n):
    pool = pool_of(None)
    start = perf_counter_ns()
    handles = [pool.submit(noop) for _ in range(n)]
    for handle in handles:
        handle.result()
    return each(start, n)


if __name__ == "__main__":
    main(
        f"of Python {sys.version.split()[0]}, {pool_of(None)._max_workers} threads",
        {
            "fanout-buffered": fan_out_buffered,
            "fanout-unbuffered": fan_out_unbuffered,
            "pingpong": ping_pong,
            "contended-buffered": contended_buffered,
            "contended-unbuffered": contended_unbuffered,
            "spawn-waitgroup": spawn_waitgroup,
            "spawn-handles": spawn_handles,
        },
    )
