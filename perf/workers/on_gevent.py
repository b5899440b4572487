"""gevent: greenlets on one hub, Channel as the rendezvous.

Queues are SimpleQueue: Queue also counts what join() waits for. What would keep the hub busy runs
in the hub's threadpool.
"""

import gevent
import gevent.event
import gevent.lock
import gevent.pool
import gevent.queue
from time import perf_counter, perf_counter_ns, process_time_ns

import operations_gevent as operations
import work
from harness import CONTENDED_ITEMS, CONTENDED_SLOTS, check, each, main, resident


def noop():
    pass


def channel(slots):
    return gevent.queue.SimpleQueue(slots) if slots else gevent.queue.Channel()


def send(q, value):
    q.put(value)


def fan_out(n, capacity):
    start = perf_counter_ns()
    q = channel(capacity)
    for i in range(n):
        gevent.spawn(send, q, i)
    total = 0
    for _ in range(n):
        total += q.get()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def fan_out_buffered(n):
    return fan_out(n, n)


def fan_out_unbuffered(n):
    return fan_out(n, 0)


def ping(n, there, back):
    for i in range(n):
        there.put(i)
        back.get()


def pong(n, there, back):
    for _ in range(n):
        back.put(there.get())


def ping_pong(n):
    there, back = gevent.queue.Channel(), gevent.queue.Channel()
    start = perf_counter_ns()
    gevent.joinall([gevent.spawn(ping, n, there, back), gevent.spawn(pong, n, there, back)])
    return each(start, n)


def produce(q, items):
    for i in range(items):
        q.put(i)


def contended(n, slots):
    start = perf_counter_ns()
    q = channel(slots)
    for _ in range(n):
        gevent.spawn(produce, q, CONTENDED_ITEMS)
    total = 0
    for _ in range(n * CONTENDED_ITEMS):
        total += q.get()
    taken = each(start, n * CONTENDED_ITEMS)
    check(total, n * CONTENDED_ITEMS * (CONTENDED_ITEMS - 1) // 2)
    return taken


def contended_buffered(n):
    return contended(n, CONTENDED_SLOTS)


def contended_unbuffered(n):
    return contended(n, 0)


def feed(q, n):
    for i in range(n):
        q.put(i)
    q.put(StopIteration)


def hop(n, slots):
    start = perf_counter_ns()
    q = channel(slots)
    gevent.spawn(feed, q, n)
    total = 0
    for value in q:
        total += value
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def hop_buffered(n):
    return hop(n, CONTENDED_SLOTS)


def hop_unbuffered(n):
    return hop(n, 0)


def spawn_waitgroup(n):
    start = perf_counter_ns()
    gevent.joinall([gevent.spawn(noop) for _ in range(n)])
    return each(start, n)


def spawn_handles(n):
    start = perf_counter_ns()
    handles = [gevent.spawn(noop) for _ in range(n)]
    for handle in handles:
        handle.join()
    return each(start, n)


def map_calls(n):
    start = perf_counter_ns()
    squares = gevent.pool.Group().map(work.square, range(n))
    taken = each(start, n)
    check(sum(squares), work.sum_of_squares(n))
    return taken


def yielder(n):
    for _ in range(n):
        gevent.sleep(0)


def yield_in_turn(n):
    start = perf_counter_ns()
    gevent.joinall([gevent.spawn(yielder, n), gevent.spawn(yielder, n)])
    return each(start, 2 * n)


def mutex_alone(n):
    lock = gevent.lock.BoundedSemaphore(1)
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        with lock:
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


class Counter:
    def __init__(self):
        self.lock = gevent.lock.BoundedSemaphore(1)
        self.value = 0

    def count(self):
        for _ in range(work.LOCK_ROUNDS):
            with self.lock:
                value = self.value
                gevent.sleep(0)
                self.value = value + 1


def mutex_contended(n):
    counter = Counter()
    start = perf_counter_ns()
    gevent.joinall([gevent.spawn(counter.count) for _ in range(n)])
    taken = each(start, n * work.LOCK_ROUNDS)
    check(counter.value, n * work.LOCK_ROUNDS)
    return taken


def waitgroup_contended(n):
    """An Event and a count: gevent has nothing nearer that many greenlets can wait for."""
    ended = gevent.event.Event()
    left = n
    woken = []

    def wait():
        ended.wait()
        woken.append(None)

    def finish():
        nonlocal left
        gevent.sleep(0)
        left -= 1
        if not left:
            ended.set()

    start = perf_counter_ns()
    waiters = [gevent.spawn(wait) for _ in range(n)]
    for _ in range(n):
        gevent.spawn(finish)
    gevent.joinall(waiters)
    taken = each(start, n)
    check(len(woken), n)
    return taken


def timers_sleeping(n):
    start = process_time_ns()
    gevent.joinall([gevent.spawn(gevent.sleep, work.nap_s(i)) for i in range(n)])
    return (process_time_ns() - start) / n


def generate(q, last):
    for i in range(2, last + 1):
        q.put(i)
    q.put(StopIteration)


def sift(source, to, prime):
    for i in source:
        if i % prime:
            to.put(i)
    to.put(StopIteration)


def sieve(n):
    last, hops = work.sieve_work(n)
    start = perf_counter_ns()
    q = gevent.queue.Channel()
    gevent.spawn(generate, q, last)
    for _ in range(n):
        prime = q.get()
        filtered = gevent.queue.Channel()
        gevent.spawn(sift, q, filtered, prime)
        q = filtered
    taken = each(start, hops)
    check(prime, last)
    check(list(q), [])
    return taken


def node(first, size):
    if size == 1:
        return first
    children = [gevent.spawn(node, *part) for part in work.parts(first, size)]
    return sum(child.get() for child in children)


def skynet(n):
    start = perf_counter_ns()
    total = gevent.spawn(node, 0, n).get()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def parked(q):
    q.get()


def park(n):
    """Parks n greenlets at once and lets them go; returns the resident bytes meanwhile."""
    q = gevent.queue.Channel()
    greenlets = [gevent.spawn(parked, q) for _ in range(n)]
    gevent.sleep(0)  # runs each up to its get()
    most = resident()
    for i in range(n):
        q.put(i)
    gevent.joinall(greenlets)
    return most


def parked_time(n):
    start = perf_counter_ns()
    park(n)
    return each(start, n)


def memory_parked(n):
    park(1)  # the hub itself does not count
    before = resident()
    return (park(n) - before) / n


def hashing(n, size):
    block = work.block_of(size)
    digest = work.sha256(block)
    start = perf_counter_ns()
    digests = gevent.get_hub().threadpool.map(work.sha256, [block] * n)
    taken = each(start, n)
    check(digests.count(digest), n)
    return taken


def hash_1m(n):
    return hashing(n, work.BLOCK_1M)


def hash_16k(n):
    return hashing(n, work.BLOCK_16K)


def cpu_python(n):
    start = perf_counter_ns()
    results = gevent.get_hub().threadpool.map(work.cpu_work, range(n))
    taken = each(start, n)
    check(sum(results), work.sum_of_steps(n, work.CPU_STEPS))
    return taken


def serve(requests, answers):
    for request in requests:
        answer = work.steps(request, work.SERVICE_STEPS)
        gevent.sleep(work.SERVICE_SLEEP_S)
        answers.put(answer)
    requests.put(StopIteration)  # the next worker has to see it too


def service(n):
    start = perf_counter_ns()
    requests, answers = channel(CONTENDED_SLOTS), channel(CONTENDED_SLOTS)
    workers = [gevent.spawn(serve, requests, answers) for _ in range(work.SERVICE_WORKERS)]
    gevent.spawn(feed, requests, n)
    total = 0
    for _ in range(n):
        total += answers.get()
    taken = each(start, n)
    check(total, work.sum_of_steps(n, work.SERVICE_STEPS))
    gevent.joinall(workers)
    return taken


def tick(start, ticks):
    late = []
    for k in range(ticks):
        due = start + k * work.TICK_S
        left = due - perf_counter()
        if left > 0:
            gevent.sleep(left)
        late.append(work.lateness(due))
    return late


def latency(part):
    def program(ticks):
        start = perf_counter() + work.TICK_S
        ticker = gevent.spawn(tick, start, ticks)
        hog = gevent.get_hub().threadpool.spawn(work.hog, start + ticks * work.TICK_S)
        late = ticker.get()
        hog.get()
        return work.percentile(late, part)

    return program


PROGRAMS = operations.PROGRAMS | {
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
    "yield": yield_in_turn,
    "mutex-alone": mutex_alone,
    "mutex-contended": mutex_contended,
    "waitgroup-contended": waitgroup_contended,
    "timers-sleeping": timers_sleeping,
    "sieve": sieve,
    "skynet": skynet,
    "parked": parked_time,
    "hash-1m": hash_1m,
    "hash-16k": hash_16k,
    "cpu-python": cpu_python,
    "service": service,
    "memory-parked": memory_parked,
} | {name: latency(part) for name, part in work.LATENCIES.items()}


if __name__ == "__main__":
    main(f"{gevent.__version__}, loop {gevent.config.loop.__name__}", PROGRAMS)
