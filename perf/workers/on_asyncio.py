"""asyncio: tasks and asyncio.Queue on one event loop.

It has no rendezvous; a queue of one slot stands for the unbuffered channel.
"""

import asyncio
import sys
from time import perf_counter, perf_counter_ns, process_time_ns

import bridge_asyncio
import operations_asyncio as operations
import work
from harness import CONTENDED_ITEMS, CONTENDED_SLOTS, check, each, main, resident
from operations_asyncio import run_all

to_thread = asyncio.to_thread


async def noop():
    pass


async def send(queue, value):
    await queue.put(value)


async def fan_out(n, capacity):
    start = perf_counter_ns()
    queue = asyncio.Queue(capacity)
    # The loop itself holds tasks weakly: a user has to keep them.
    tasks = [asyncio.create_task(send(queue, i)) for i in range(n)]
    total = 0
    for _ in tasks:
        total += await queue.get()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


async def fan_out_buffered(n):
    return await fan_out(n, n)


async def fan_out_unbuffered(n):
    return await fan_out(n, 1)


async def ping(n, there, back):
    for i in range(n):
        await there.put(i)
        await back.get()


async def pong(n, there, back):
    for _ in range(n):
        await back.put(await there.get())


async def ping_pong(n):
    there, back = asyncio.Queue(1), asyncio.Queue(1)
    start = perf_counter_ns()
    await asyncio.gather(ping(n, there, back), pong(n, there, back))
    return each(start, n)


async def produce(queue):
    for i in range(CONTENDED_ITEMS):
        await queue.put(i)


async def contended(n, slots):
    start = perf_counter_ns()
    queue = asyncio.Queue(slots)
    tasks = [asyncio.create_task(produce(queue)) for _ in range(n)]
    total = 0
    for _ in range(len(tasks) * CONTENDED_ITEMS):
        total += await queue.get()
    taken = each(start, n * CONTENDED_ITEMS)
    check(total, n * CONTENDED_ITEMS * (CONTENDED_ITEMS - 1) // 2)
    return taken


async def contended_buffered(n):
    return await contended(n, CONTENDED_SLOTS)


async def contended_unbuffered(n):
    return await contended(n, 1)


async def spawn_waitgroup(n):
    start = perf_counter_ns()
    await run_all(noop() for _ in range(n))
    return each(start, n)


async def spawn_handles(n):
    start = perf_counter_ns()
    handles = [asyncio.create_task(noop()) for _ in range(n)]
    for handle in handles:
        await handle
    return each(start, n)


async def yielder(n):
    for _ in range(n):
        await asyncio.sleep(0)


async def yield_in_turn(n):
    start = perf_counter_ns()
    await asyncio.gather(yielder(n), yielder(n))
    return each(start, 2 * n)


async def parked(queue):
    await queue.get()


async def memory_parked(n):
    await asyncio.create_task(noop())
    queue = asyncio.Queue()
    before = resident()
    tasks = [asyncio.create_task(parked(queue)) for _ in range(n)]
    await asyncio.sleep(0)  # runs each up to its get()
    taken = (resident() - before) / n
    for i in range(n):
        queue.put_nowait(i)
    await asyncio.gather(*tasks)
    return taken


async def square(i):
    return work.square(i)


async def map_calls(n):
    start = perf_counter_ns()
    squares = await asyncio.gather(*[square(i) for i in range(n)])
    taken = each(start, n)
    check(sum(squares), work.sum_of_squares(n))
    return taken


async def feed(queue, n):
    for i in range(n):
        await queue.put(i)
    await queue.put(None)  # Queue.shutdown() came with 3.13


async def hop(n, slots):
    start = perf_counter_ns()
    queue = asyncio.Queue(slots)
    feeder = asyncio.create_task(feed(queue, n))
    total = 0
    while (value := await queue.get()) is not None:
        total += value
    await feeder
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


async def hop_buffered(n):
    return await hop(n, CONTENDED_SLOTS)


async def hop_unbuffered(n):
    return await hop(n, 1)


async def mutex_alone(n):
    lock = asyncio.Lock()
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
        self.lock = asyncio.Lock()
        self.value = 0

    async def count(self):
        for _ in range(work.LOCK_ROUNDS):
            async with self.lock:
                value = self.value
                await asyncio.sleep(0)
                self.value = value + 1


async def mutex_contended(n):
    counter = Counter()
    start = perf_counter_ns()
    await run_all(counter.count() for _ in range(n))
    taken = each(start, n * work.LOCK_ROUNDS)
    check(counter.value, n * work.LOCK_ROUNDS)
    return taken


async def waitgroup_contended(n):
    """An Event and a count: asyncio has nothing nearer that many tasks can wait for."""
    ended = asyncio.Event()
    left = n
    woken = 0

    async def wait():
        nonlocal woken
        await ended.wait()
        woken += 1

    async def finish():
        nonlocal left
        await asyncio.sleep(0)
        left -= 1
        if not left:
            ended.set()

    start = perf_counter_ns()
    await run_all([*[wait() for _ in range(n)], *[finish() for _ in range(n)]])
    taken = each(start, n)
    check(woken, n)
    return taken


async def timers_sleeping(n):
    start = process_time_ns()
    await run_all(asyncio.sleep(work.nap_s(i)) for i in range(n))
    return (process_time_ns() - start) / n


async def generate(queue, last):
    for i in range(2, last + 1):
        await queue.put(i)
    await queue.put(None)


async def sift(source, to, prime):
    while (i := await source.get()) is not None:
        if i % prime:
            await to.put(i)
    await to.put(None)


async def sieve(n):
    last, hops = work.sieve_work(n)
    start = perf_counter_ns()
    queue = asyncio.Queue(1)
    tasks = [asyncio.create_task(generate(queue, last))]
    for _ in range(n):
        prime = await queue.get()
        filtered = asyncio.Queue(1)
        tasks.append(asyncio.create_task(sift(queue, filtered, prime)))
        queue = filtered
    taken = each(start, hops)
    check(prime, last)
    check(await queue.get(), None)
    await asyncio.gather(*tasks)
    return taken


async def node(first, size):
    if size == 1:
        return first
    return sum(await asyncio.gather(*[node(*part) for part in work.parts(first, size)]))


async def skynet(n):
    start = perf_counter_ns()
    total = await node(0, n)
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


async def parked_time(n):
    start = perf_counter_ns()
    queue = asyncio.Queue()
    tasks = [asyncio.create_task(parked(queue)) for _ in range(n)]
    await asyncio.sleep(0)  # runs each up to its get()
    for i in range(n):
        queue.put_nowait(i)
    await asyncio.gather(*tasks)
    return each(start, n)


async def hashing(n, size):
    block = work.block_of(size)
    digest = work.sha256(block)
    start = perf_counter_ns()
    digests = await asyncio.gather(*[to_thread(work.sha256, block) for _ in range(n)])
    taken = each(start, n)
    check(digests.count(digest), n)
    return taken


async def hash_1m(n):
    return await hashing(n, work.BLOCK_1M)


async def hash_16k(n):
    return await hashing(n, work.BLOCK_16K)


async def cpu_python(n):
    start = perf_counter_ns()
    results = await asyncio.gather(*[to_thread(work.cpu_work, i) for i in range(n)])
    taken = each(start, n)
    check(sum(results), work.sum_of_steps(n, work.CPU_STEPS))
    return taken


async def serve(requests, answers):
    while (request := await requests.get()) is not None:
        answer = work.steps(request, work.SERVICE_STEPS)
        await asyncio.sleep(work.SERVICE_SLEEP_S)
        await answers.put(answer)
    await requests.put(None)  # the next worker has to see it too


async def service(n):
    start = perf_counter_ns()
    requests, answers = asyncio.Queue(CONTENDED_SLOTS), asyncio.Queue(CONTENDED_SLOTS)
    tasks = [asyncio.create_task(serve(requests, answers)) for _ in range(work.SERVICE_WORKERS)]
    tasks.append(asyncio.create_task(feed(requests, n)))
    total = 0
    for _ in range(n):
        total += await answers.get()
    taken = each(start, n)
    check(total, work.sum_of_steps(n, work.SERVICE_STEPS))
    await asyncio.gather(*tasks)
    return taken


async def tick(start, ticks):
    late = []
    for k in range(ticks):
        due = start + k * work.TICK_S
        left = due - perf_counter()
        if left > 0:
            await asyncio.sleep(left)
        late.append(work.lateness(due))
    return late


def latency(part):
    async def program(ticks):
        start = perf_counter() + work.TICK_S
        ticker = asyncio.create_task(tick(start, ticks))
        hog = to_thread(work.hog, start + ticks * work.TICK_S)
        late, _ = await asyncio.gather(ticker, hog)
        return work.percentile(late, part)

    return program


async def send_items(queue, items):
    for i in range(items):
        await queue.put(i)


async def select_receive(n):
    """A get() that is always under way on each queue, and asyncio.wait for the first of them."""
    items = work.SELECT_VALUES // n
    start = perf_counter_ns()
    queues = [asyncio.Queue(1) for _ in range(n)]
    senders = [asyncio.create_task(send_items(queue, items)) for queue in queues]
    gets = {asyncio.create_task(queue.get()): queue for queue in queues}
    total = received = 0
    while received < n * items:
        done, _ = await asyncio.wait(gets, return_when=asyncio.FIRST_COMPLETED)
        for get in done:
            total += get.result()
            received += 1
            queue = gets.pop(get)
            gets[asyncio.create_task(queue.get())] = queue
    taken = each(start, n * items)
    check(total, n * items * (items - 1) // 2)
    for get in gets:
        get.cancel()
    await asyncio.gather(*gets, *senders, return_exceptions=True)
    return taken


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
    "select-receive": select_receive,
    "memory-parked": memory_parked,
} | bridge_asyncio.PROGRAMS | {name: latency(part) for name, part in work.LATENCIES.items()}


def run_on(loop, version):
    """Runs the program that the arguments name on this loop."""

    def on_loop(program):
        return lambda n: loop.run_until_complete(program(n))

    main(version, {name: on_loop(program) for name, program in PROGRAMS.items()})
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    run_on(loop, f"of Python {sys.version.split()[0]}, {type(loop).__name__}")
