"""gmpx: the programs as its users would write them."""

import sys
from pathlib import Path
from statistics import median
from time import perf_counter, perf_counter_ns, process_time_ns

import gmpx
import operations_gmpx as operations
import work
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


def executor_submit(n, limit=None):
    with gmpx.Executor(limit) as executor:
        start = perf_counter_ns()
        for future in [executor.submit(noop) for _ in range(n)]:
            future.result()
        return each(start, n)


def executor_limited(n):
    return executor_submit(n, 8)


def executor_map(n):
    with gmpx.Executor() as executor:
        start = perf_counter_ns()
        squares = list(executor.map(work.square, range(n)))
        taken = each(start, n)
    check(sum(squares), work.sum_of_squares(n))
    return taken


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


def map_calls(n):
    start = perf_counter_ns()
    squares = gmpx.map(work.square, range(n))
    taken = each(start, n)
    check(sum(squares), work.sum_of_squares(n))
    return taken


def feed(c, n):
    for i in range(n):
        c.send(i)
    c.close()


def hop(n, slots):
    start = perf_counter_ns()
    c = gmpx.Chan(slots)
    gmpx.go(feed, c, n)
    total = 0
    for value in c:
        total += value
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def hop_buffered(n):
    return hop(n, CONTENDED_SLOTS)


def hop_unbuffered(n):
    return hop(n, 0)


def mutex_alone(n):
    mutex = gmpx.Mutex()
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        with mutex:
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


class Counter:
    def __init__(self):
        self.mutex = gmpx.Mutex()
        self.value = 0

    def count(self):
        for _ in range(work.LOCK_ROUNDS):
            with self.mutex:
                value = self.value
                gmpx.gosched()
                self.value = value + 1


def mutex_contended(n):
    counter = Counter()
    wg = gmpx.WaitGroup()
    start = perf_counter_ns()
    for _ in range(n):
        wg.go(counter.count)
    wg.wait()
    taken = each(start, n * work.LOCK_ROUNDS)
    check(counter.value, n * work.LOCK_ROUNDS)
    return taken


def waitgroup_alone(n):
    wg = gmpx.WaitGroup()
    start = perf_counter_ns()
    for _ in range(n):
        wg.add(1)
        wg.done()
        wg.wait()
    return each(start, n)


def waitgroup_contended(n):
    work_left, waiters = gmpx.WaitGroup(), gmpx.WaitGroup()
    woken = []

    def wait():
        work_left.wait()
        woken.append(None)

    def finish():
        gmpx.gosched()
        work_left.done()

    start = perf_counter_ns()
    work_left.add(n)
    for _ in range(n):
        waiters.go(wait)
    for _ in range(n):
        gmpx.go(finish)
    waiters.wait()
    taken = each(start, n)
    check(len(woken), n)
    return taken


def timers_sleeping(n):
    wg = gmpx.WaitGroup()
    start = process_time_ns()
    for i in range(n):
        wg.go(gmpx.sleep, work.nap_s(i))
    wg.wait()
    return (process_time_ns() - start) / n


def generate(c, last):
    for i in range(2, last + 1):
        c.send(i)
    c.close()


def sift(source, to, prime):
    for i in source:
        if i % prime:
            to.send(i)
    to.close()


def sieve(n):
    last, hops = work.sieve_work(n)
    start = perf_counter_ns()
    c = gmpx.Chan()
    gmpx.go(generate, c, last)
    for _ in range(n):
        prime = c.recv()
        filtered = gmpx.Chan()
        gmpx.go(sift, c, filtered, prime)
        c = filtered
    taken = each(start, hops)
    check(prime, last)
    check(c.recv_ok(), (None, False))
    return taken


def node(c, first, size):
    if size == 1:
        c.send(first)
        return
    answers = gmpx.Chan()
    children = 0
    for part in work.parts(first, size):
        gmpx.go(node, answers, *part)
        children += 1
    total = 0
    for _ in range(children):
        total += answers.recv()
    c.send(total)


def skynet(n):
    start = perf_counter_ns()
    c = gmpx.Chan()
    gmpx.go(node, c, 0, n)
    total = c.recv()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def parked_time(n):
    start = perf_counter_ns()
    park(n)
    return each(start, n)


def parked_first(n):
    park(1)
    first = parked_time(n)
    return first / median(parked_time(n) for _ in range(3))


def recursion_swaying(n):
    return gmpx.go(work.swaying, n).result()


def hashing(n, size):
    block = work.block_of(size)
    digest = work.sha256(block)
    start = perf_counter_ns()
    digests = gmpx.map(work.sha256, [block] * n)
    taken = each(start, n)
    check(digests.count(digest), n)
    return taken


def hash_1m(n):
    return hashing(n, work.BLOCK_1M)


def hash_16k(n):
    return hashing(n, work.BLOCK_16K)


def cpu_python(n):
    start = perf_counter_ns()
    results = gmpx.map(work.cpu_work, range(n))
    taken = each(start, n)
    check(sum(results), work.sum_of_steps(n, work.CPU_STEPS))
    return taken


def serve(requests, answers):
    for request in requests:
        answer = work.steps(request, work.SERVICE_STEPS)
        gmpx.sleep(work.SERVICE_SLEEP_S)
        answers.send(answer)


def service(n):
    start = perf_counter_ns()
    requests, answers = gmpx.Chan(CONTENDED_SLOTS), gmpx.Chan(CONTENDED_SLOTS)
    for _ in range(work.SERVICE_WORKERS):
        gmpx.go(serve, requests, answers)
    gmpx.go(feed, requests, n)
    total = 0
    for _ in range(n):
        total += answers.recv()
    taken = each(start, n)
    check(total, work.sum_of_steps(n, work.SERVICE_STEPS))
    return taken


def tick(start, ticks):
    late = []
    for k in range(ticks):
        due = start + k * work.TICK_S
        left = due - perf_counter()
        if left > 0:
            gmpx.sleep(left)
        late.append(work.lateness(due))
    return late


def latency(part):
    def program(ticks):
        start = perf_counter() + work.TICK_S
        ticker = gmpx.go(tick, start, ticks)
        gmpx.go(work.hog, start + ticks * work.TICK_S)
        return work.percentile(ticker.result(), part)

    return program


def select_receive(n):
    """Receives from n rendezvous channels, each of which has a producer."""
    items = work.SELECT_VALUES // n
    start = perf_counter_ns()
    channels = [gmpx.Chan() for _ in range(n)]
    for c in channels:
        gmpx.go(send_items, c, items)
    total = 0
    for _ in range(n * items):
        total += gmpx.select(*channels)[1]
    taken = each(start, n * items)
    check(total, n * items * (items - 1) // 2)
    return taken


def send_items(c, items):
    for i in range(items):
        c.send(i)


def bridge(name):
    def program(n):
        import bridge_gmpx  # with asyncio, which the other programs do without

        return bridge_gmpx.PROGRAMS[f"bridge-{name}"](n)

    return program


def cluster(name):
    def program(n):
        import cluster_gmpx  # with Dask

        return cluster_gmpx.PROGRAMS[name](n)

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
    "spawn-cold": spawn_waitgroup,
    "spawn-handles": spawn_handles,
    "map-calls": map_calls,
    "executor-submit": executor_submit,
    "executor-limited": executor_limited,
    "executor-map": executor_map,
    "yield": yield_in_turn,
    "mutex-alone": mutex_alone,
    "mutex-contended": mutex_contended,
    "waitgroup-alone": waitgroup_alone,
    "waitgroup-contended": waitgroup_contended,
    "timers-sleeping": timers_sleeping,
    "sieve": sieve,
    "skynet": skynet,
    "parked": parked_time,
    "parked-first": parked_first,
    "recursion-swaying": recursion_swaying,
    "hash-1m": hash_1m,
    "hash-16k": hash_16k,
    "cpu-python": cpu_python,
    "service": service,
    "select-receive": select_receive,
    "memory-parked": memory_parked,
    "memory-rounds": memory_rounds,
    "memory-queued": memory_queued,
    "memory-object": memory_object,
} | {name: latency(part) for name, part in work.LATENCIES.items()} | {
    f"bridge-{name}": bridge(name) for name in ("call", "calls", "back", "items")
} | {
    f"cluster-{name}": cluster(f"cluster-{name}") for name in ("calls", "waits", "sleeps")
}


if __name__ == "__main__":
    checkout = Path(__file__).resolve().parents[2] in Path(gmpx.__file__).resolve().parents
    main(f"{gmpx.__version__} ({'this checkout' if checkout else 'installed'})", PROGRAMS)
