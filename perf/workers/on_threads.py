"""ThreadPoolExecutor: futures, and queues between its threads.

The pool outlives the warm-up, as it does in a program: its threads are there when the clock
starts. It has as many threads as tasks that wait for each other. The queue is the fastest that
does the job: SimpleQueue where no bound is needed. There is no rendezvous; a queue of one slot
stands for the unbuffered channel.
"""

import functools
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from time import perf_counter, perf_counter_ns, process_time_ns, sleep

import work
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


def map_calls(n):
    pool = pool_of(None)
    start = perf_counter_ns()
    squares = list(pool.map(work.square, range(n)))
    taken = each(start, n)
    check(sum(squares), work.sum_of_squares(n))
    return taken


def executor_limited(n):
    pool = pool_of(8)
    start = perf_counter_ns()
    for future in [pool.submit(noop) for _ in range(n)]:
        future.result()
    return each(start, n)


def feed(q, n):
    for i in range(n):
        q.put(i)
    q.put(None)  # Queue.shutdown() came with 3.13


def hop(n, slots):
    pool = pool_of(None)
    start = perf_counter_ns()
    q = queue.Queue(slots)
    pool.submit(feed, q, n)
    total = 0
    while (value := q.get()) is not None:
        total += value
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def hop_buffered(n):
    return hop(n, CONTENDED_SLOTS)


def hop_unbuffered(n):
    return hop(n, 1)


def mutex_alone(n):
    lock = threading.Lock()
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        with lock:
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


def local_get(n):
    local = threading.local()
    local.value = 1
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        total += local.value
    taken = each(start, n)
    check(total, n)
    return taken


class Counter:
    def __init__(self):
        self.lock = threading.Lock()
        self.value = 0

    def count(self):
        for _ in range(work.LOCK_ROUNDS):
            with self.lock:
                value = self.value
                sleep(0)
                self.value = value + 1


def mutex_contended(n):
    counter = Counter()
    pool = pool_of(n)
    start = perf_counter_ns()
    wait([pool.submit(counter.count) for _ in range(n)])
    taken = each(start, n * work.LOCK_ROUNDS)
    check(counter.value, n * work.LOCK_ROUNDS)
    return taken


def waitgroup_contended(n):
    """An Event and a locked count: nothing in threading is nearer."""
    ended = threading.Event()
    lock = threading.Lock()
    left = n
    woken = []

    def wait_for_all():
        ended.wait()
        woken.append(None)

    def finish():
        nonlocal left
        sleep(0)
        with lock:
            left -= 1
            last = not left
        if last:
            ended.set()

    pool = pool_of(2 * n)
    start = perf_counter_ns()
    waiters = [pool.submit(wait_for_all) for _ in range(n)]
    for _ in range(n):
        pool.submit(finish)
    wait(waiters)
    taken = each(start, n)
    check(len(woken), n)
    return taken


def timers_sleeping(n):
    pool = pool_of(n)
    start = process_time_ns()
    wait([pool.submit(sleep, work.nap_s(i)) for i in range(n)])
    return (process_time_ns() - start) / n


def generate(q, last):
    for i in range(2, last + 1):
        q.put(i)
    q.put(None)


def sift(source, to, prime):
    while (i := source.get()) is not None:
        if i % prime:
            to.put(i)
    to.put(None)


def sieve(n):
    last, hops = work.sieve_work(n)
    pool = pool_of(n + 1)
    start = perf_counter_ns()
    q = queue.Queue(1)
    pool.submit(generate, q, last)
    for _ in range(n):
        prime = q.get()
        filtered = queue.Queue(1)
        pool.submit(sift, q, filtered, prime)
        q = filtered
    taken = each(start, hops)
    check(prime, last)
    check(q.get(), None)
    return taken


def node(pool, first, size):
    if size == 1:
        return first
    children = [pool.submit(node, pool, *part) for part in work.parts(first, size)]
    return sum(child.result() for child in children)


def skynet(n):
    pool = pool_of(2 * n)  # a node that waits keeps its thread
    start = perf_counter_ns()
    total = pool.submit(node, pool, 0, n).result()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def recursion_swaying(n):
    return pool_of(1).submit(work.swaying, n).result()


def hashing(n, size):
    pool = pool_of(None)
    block = work.block_of(size)
    digest = work.sha256(block)
    start = perf_counter_ns()
    digests = list(pool.map(work.sha256, [block] * n))
    taken = each(start, n)
    check(digests.count(digest), n)
    return taken


def hash_1m(n):
    return hashing(n, work.BLOCK_1M)


def hash_16k(n):
    return hashing(n, work.BLOCK_16K)


def cpu_python(n):
    pool = pool_of(None)
    start = perf_counter_ns()
    results = list(pool.map(work.cpu_work, range(n)))
    taken = each(start, n)
    check(sum(results), work.sum_of_steps(n, work.CPU_STEPS))
    return taken


def serve(requests, answers):
    while (request := requests.get()) is not None:
        answer = work.steps(request, work.SERVICE_STEPS)
        sleep(work.SERVICE_SLEEP_S)
        answers.put(answer)
    requests.put(None)  # the next worker has to see it too


def service(n):
    pool = pool_of(work.SERVICE_WORKERS + 1)
    start = perf_counter_ns()
    requests, answers = queue.Queue(CONTENDED_SLOTS), queue.Queue(CONTENDED_SLOTS)
    tasks = [pool.submit(serve, requests, answers) for _ in range(work.SERVICE_WORKERS)]
    pool.submit(feed, requests, n)
    total = 0
    for _ in range(n):
        total += answers.get()
    taken = each(start, n)
    check(total, work.sum_of_steps(n, work.SERVICE_STEPS))
    wait(tasks)
    return taken


def tick(start, ticks):
    late = []
    for k in range(ticks):
        due = start + k * work.TICK_S
        left = due - perf_counter()
        if left > 0:
            sleep(left)
        late.append(work.lateness(due))
    return late


def latency(part):
    def program(ticks):
        pool = pool_of(2)
        start = perf_counter() + work.TICK_S
        ticker = pool.submit(tick, start, ticks)
        pool.submit(work.hog, start + ticks * work.TICK_S)
        return work.percentile(ticker.result(), part)

    return program


PROGRAMS = {
    "fanout-buffered": fan_out_buffered,
    "fanout-unbuffered": fan_out_unbuffered,
    "pingpong": ping_pong,
    "hop-buffered": hop_buffered,
    "hop-unbuffered": hop_unbuffered,
    "contended-buffered": contended_buffered,
    "contended-unbuffered": contended_unbuffered,
    "spawn-waitgroup": spawn_waitgroup,
    "spawn-handles": spawn_handles,
    "map-calls": map_calls,
    "executor-submit": spawn_handles,
    "executor-limited": executor_limited,
    "executor-map": map_calls,
    "mutex-alone": mutex_alone,
    "mutex-contended": mutex_contended,
    "local-get": local_get,
    "waitgroup-contended": waitgroup_contended,
    "timers-sleeping": timers_sleeping,
    "sieve": sieve,
    "skynet": skynet,
    "recursion-swaying": recursion_swaying,
    "hash-1m": hash_1m,
    "hash-16k": hash_16k,
    "cpu-python": cpu_python,
    "service": service,
} | {name: latency(part) for name, part in work.LATENCIES.items()}


if __name__ == "__main__":
    main(f"of Python {sys.version.split()[0]}, {pool_of(None)._max_workers} threads", PROGRAMS)
