"""trio: tasks in nurseries, memory channels, of which those without a buffer are a rendezvous.

A nursery keeps no results, and a task has no handle: results go to a list, and an Event says
that a task has ended. What would keep the loop busy runs by to_thread.
"""

from time import perf_counter, perf_counter_ns, process_time_ns

import trio
import trio.testing

import operations_trio as operations
import work
from harness import CONTENDED_ITEMS, CONTENDED_SLOTS, check, each, main, resident


async def noop():
    pass


async def send(to, value):
    await to.send(value)


async def fan_out(n, capacity):
    start = perf_counter_ns()
    to, source = trio.open_memory_channel(capacity)
    total = 0
    async with trio.open_nursery() as nursery:
        for i in range(n):
            nursery.start_soon(send, to, i)
        for _ in range(n):
            total += await source.receive()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


async def fan_out_buffered(n):
    return await fan_out(n, n)


async def fan_out_unbuffered(n):
    return await fan_out(n, 0)


async def ping(n, there, back):
    for i in range(n):
        await there.send(i)
        await back.receive()


async def pong(n, there, back):
    for _ in range(n):
        await back.send(await there.receive())


async def ping_pong(n):
    there, pong_source = trio.open_memory_channel(0)
    back, ping_source = trio.open_memory_channel(0)
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ping, n, there, ping_source)
        nursery.start_soon(pong, n, pong_source, back)
    return each(start, n)


async def produce(to):
    async with to:
        for i in range(CONTENDED_ITEMS):
            await to.send(i)


async def contended(n, slots):
    start = perf_counter_ns()
    to, source = trio.open_memory_channel(slots)
    total = 0
    async with trio.open_nursery() as nursery:
        async with to:
            for _ in range(n):
                nursery.start_soon(produce, to.clone())
        async for value in source:
            total += value
    taken = each(start, n * CONTENDED_ITEMS)
    check(total, n * CONTENDED_ITEMS * (CONTENDED_ITEMS - 1) // 2)
    return taken


async def contended_buffered(n):
    return await contended(n, CONTENDED_SLOTS)


async def contended_unbuffered(n):
    return await contended(n, 0)


async def feed(to, n):
    async with to:
        for i in range(n):
            await to.send(i)


async def hop(n, slots):
    start = perf_counter_ns()
    to, source = trio.open_memory_channel(slots)
    total = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed, to, n)
        async for value in source:
            total += value
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


async def hop_buffered(n):
    return await hop(n, CONTENDED_SLOTS)


async def hop_unbuffered(n):
    return await hop(n, 0)


async def spawn_waitgroup(n):
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(noop)
    return each(start, n)


async def end(ended):
    ended.set()


async def spawn_handles(n):
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        handles = [trio.Event() for _ in range(n)]
        for handle in handles:
            nursery.start_soon(end, handle)
        for handle in handles:
            await handle.wait()
    return each(start, n)


async def square(results, i):
    results[i] = work.square(i)


async def map_calls(n):
    start = perf_counter_ns()
    squares = [None] * n
    async with trio.open_nursery() as nursery:
        for i in range(n):
            nursery.start_soon(square, squares, i)
    taken = each(start, n)
    check(sum(squares), work.sum_of_squares(n))
    return taken


async def yielder(n):
    for _ in range(n):
        await trio.lowlevel.checkpoint()


async def yield_in_turn(n):
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(yielder, n)
        nursery.start_soon(yielder, n)
    return each(start, 2 * n)


async def mutex_alone(n):
    lock = trio.Lock()
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        async with lock:
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


class Counter:
    def __init__(self):
        self.lock = trio.Lock()
        self.value = 0

    async def count(self):
        for _ in range(work.LOCK_ROUNDS):
            async with self.lock:
                value = self.value
                await trio.lowlevel.checkpoint()
                self.value = value + 1


async def mutex_contended(n):
    counter = Counter()
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(counter.count)
    taken = each(start, n * work.LOCK_ROUNDS)
    check(counter.value, n * work.LOCK_ROUNDS)
    return taken


async def waitgroup_contended(n):
    """An Event and a count: trio has nothing nearer that many tasks can wait for."""
    ended = trio.Event()
    left = n
    woken = 0

    async def wait():
        nonlocal woken
        await ended.wait()
        woken += 1

    async def finish():
        nonlocal left
        await trio.lowlevel.checkpoint()
        left -= 1
        if not left:
            ended.set()

    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(wait)
        for _ in range(n):
            nursery.start_soon(finish)
    taken = each(start, n)
    check(woken, n)
    return taken


async def timers_sleeping(n):
    start = process_time_ns()
    async with trio.open_nursery() as nursery:
        for i in range(n):
            nursery.start_soon(trio.sleep, work.nap_s(i))
    return (process_time_ns() - start) / n


async def generate(to, last):
    async with to:
        for i in range(2, last + 1):
            await to.send(i)


async def sift(source, to, prime):
    async with to:
        async for i in source:
            if i % prime:
                await to.send(i)


async def sieve(n):
    last, hops = work.sieve_work(n)
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        to, source = trio.open_memory_channel(0)
        nursery.start_soon(generate, to, last)
        for _ in range(n):
            prime = await source.receive()
            to, filtered = trio.open_memory_channel(0)
            nursery.start_soon(sift, source, to, prime)
            source = filtered
        taken = each(start, hops)
        check(prime, last)
        check([i async for i in source], [])
    return taken


async def node(to, first, size):
    if size == 1:
        await to.send(first)
        return
    children, answers = trio.open_memory_channel(0)
    total = 0
    async with trio.open_nursery() as nursery:
        count = 0
        for part in work.parts(first, size):
            nursery.start_soon(node, children, *part)
            count += 1
        for _ in range(count):
            total += await answers.receive()
    await to.send(total)


async def skynet(n):
    start = perf_counter_ns()
    to, answers = trio.open_memory_channel(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node, to, 0, n)
        total = await answers.receive()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


async def parked(source):
    await source.receive()


async def park(n):
    """Parks n tasks at once and lets them go; returns the resident bytes meanwhile."""
    to, source = trio.open_memory_channel(0)
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(parked, source)
        await trio.testing.wait_all_tasks_blocked()
        most = resident()
        for i in range(n):
            await to.send(i)
    return most


async def parked_time(n):
    start = perf_counter_ns()
    await park(n)
    return each(start, n)


async def memory_parked(n):
    await park(1)  # the loop itself does not count
    before = resident()
    return (await park(n) - before) / n


async def in_threads(function, inputs):
    async def call(i, value):
        results[i] = await trio.to_thread.run_sync(function, value)

    results = [None] * len(inputs)
    async with trio.open_nursery() as nursery:
        for i, value in enumerate(inputs):
            nursery.start_soon(call, i, value)
    return results


async def hashing(n, size):
    block = work.block_of(size)
    digest = work.sha256(block)
    start = perf_counter_ns()
    digests = await in_threads(work.sha256, [block] * n)
    taken = each(start, n)
    check(digests.count(digest), n)
    return taken


async def hash_1m(n):
    return await hashing(n, work.BLOCK_1M)


async def hash_16k(n):
    return await hashing(n, work.BLOCK_16K)


async def cpu_python(n):
    start = perf_counter_ns()
    results = await in_threads(work.cpu_work, range(n))
    taken = each(start, n)
    check(sum(results), work.sum_of_steps(n, work.CPU_STEPS))
    return taken


async def serve(requests, answers):
    async with requests, answers:
        async for request in requests:
            answer = work.steps(request, work.SERVICE_STEPS)
            await trio.sleep(work.SERVICE_SLEEP_S)
            await answers.send(answer)


async def service(n):
    start = perf_counter_ns()
    send_request, requests = trio.open_memory_channel(CONTENDED_SLOTS)
    send_answer, answers = trio.open_memory_channel(CONTENDED_SLOTS)
    total = 0
    async with trio.open_nursery() as nursery:
        async with requests, send_answer:
            for _ in range(work.SERVICE_WORKERS):
                nursery.start_soon(serve, requests.clone(), send_answer.clone())
        nursery.start_soon(feed, send_request, n)
        async for answer in answers:
            total += answer
    taken = each(start, n)
    check(total, work.sum_of_steps(n, work.SERVICE_STEPS))
    return taken


async def tick(late, start, ticks):
    for k in range(ticks):
        due = start + k * work.TICK_S
        left = due - perf_counter()
        if left > 0:
            await trio.sleep(left)
        late.append(work.lateness(due))


def latency(part):
    async def program(ticks):
        late = []
        start = perf_counter() + work.TICK_S
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick, late, start, ticks)
            nursery.start_soon(trio.to_thread.run_sync, work.hog, start + ticks * work.TICK_S)
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


def on_loop(program):
    return lambda n: trio.run(program, n)


if __name__ == "__main__":
    programs = {name: on_loop(program) for name, program in PROGRAMS.items()}
    main(trio.__version__, programs)
