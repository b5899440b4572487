"""asyncio: tasks and asyncio.Queue on one event loop.

It has no rendezvous; a queue of one slot stands for the unbuffered channel.
"""

import asyncio
import sys
from time import perf_counter_ns

from harness import CONTENDED_ITEMS, CONTENDED_SLOTS, check, each, main, resident


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
    if sys.version_info >= (3, 11):
        async with asyncio.TaskGroup() as group:
            for _ in range(n):
                group.create_task(noop())
    else:
        await asyncio.gather(*[asyncio.create_task(noop()) for _ in range(n)])
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


def on_loop(loop, program):
    return lambda n: loop.run_until_complete(program(n))


if __name__ == "__main__":
    programs = {
        "fanout-buffered": fan_out_buffered,
        "fanout-unbuffered": fan_out_unbuffered,
        "pingpong": ping_pong,
        "contended-buffered": contended_buffered,
        "contended-unbuffered": contended_unbuffered,
        "spawn-waitgroup": spawn_waitgroup,
        "spawn-handles": spawn_handles,
        "yield": yield_in_turn,
        "memory-parked": memory_parked,
    }
    loop = asyncio.new_event_loop()
    main(
        f"of Python {sys.version.split()[0]}, {type(loop).__name__}",
        {name: on_loop(loop, program) for name, program in programs.items()},
    )
    loop.close()
