"""TonIO: coroutines on one thread for each CPU, in the `await` notation of tonio.colored."""

from functools import partial
from importlib.metadata import version
from time import perf_counter_ns, process_time_ns

import tonio.colored as tonio
from tonio.colored.sync import channel

import work
from harness import CONTENDED_SLOTS, check, each, main


async def noop():
    pass


async def send(sender, value):
    await sender.send(value)


async def fan_out_buffered(n):
    start = perf_counter_ns()
    sender, receiver = channel.channel(n)
    sent = tonio.spawn.without_results(*[send(sender, i) for i in range(n)])
    total = 0
    for _ in range(n):
        total += await receiver.receive()
    await sent
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


async def feed(sender, n):
    for i in range(n):
        await sender.send(i)


async def hop_buffered(n):
    start = perf_counter_ns()
    sender, receiver = channel.channel(CONTENDED_SLOTS)
    fed = tonio.spawn(feed(sender, n))
    total = 0
    for _ in range(n):
        total += await receiver.receive()
    await fed
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


async def spawn_waitgroup(n):
    start = perf_counter_ns()
    await tonio.spawn.without_results(*[noop() for _ in range(n)])
    return each(start, n)


async def square(i):
    return work.square(i)


async def map_calls(n):
    start = perf_counter_ns()
    squares = await tonio.map(square, range(n))
    taken = each(start, n)
    check(sum(squares), work.sum_of_squares(n))
    return taken


async def yielder(n):
    for _ in range(n):
        await tonio.yield_now()


async def yield_in_turn(n):
    start = perf_counter_ns()
    await tonio.spawn(yielder(n), yielder(n))
    return each(start, 2 * n)


async def nap(i):
    await tonio.sleep(work.nap_s(i))


async def timers_sleeping(n):
    start = process_time_ns()
    await tonio.spawn.without_results(*[nap(i) for i in range(n)])
    return (process_time_ns() - start) / n


async def hashing(size, n):
    block = work.block_of(size)
    digest = work.sha256(block)
    start = perf_counter_ns()
    digests = await tonio.map_blocking(work.sha256, [block] * n)
    taken = each(start, n)
    check(digests.count(digest), n)
    return taken


async def cpu_python(n):
    start = perf_counter_ns()
    results = await tonio.map_blocking(work.cpu_work, range(n))
    taken = each(start, n)
    check(sum(results), work.sum_of_steps(n, work.CPU_STEPS))
    return taken


PROGRAMS = {
    "fanout-buffered": fan_out_buffered,
    "hop-buffered": hop_buffered,
    "spawn-waitgroup": spawn_waitgroup,
    "map-calls": map_calls,
    "yield": yield_in_turn,
    "timers-sleeping": timers_sleeping,
    "hash-1m": partial(hashing, work.BLOCK_1M),
    "hash-16k": partial(hashing, work.BLOCK_16K),
    "cpu-python": cpu_python,
}


def on_runtime(program):
    return lambda n: tonio.run(program(n))


if __name__ == "__main__":
    main(version("tonio"), {name: on_runtime(program) for name, program in PROGRAMS.items()})
