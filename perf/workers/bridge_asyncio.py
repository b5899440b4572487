"""The programs of bridge-*: coroutines and threads that wait for each other, by asyncio's own means."""

import asyncio
import time

from harness import check, each


def nothing():
    pass


async def nothing_later():
    pass


async def call(n):
    start = time.perf_counter_ns()
    for _ in range(n):
        await asyncio.to_thread(nothing)
    return each(start, n)


async def calls(n):
    start = time.perf_counter_ns()
    found = await asyncio.gather(*(asyncio.to_thread(abs, -i) for i in range(n)))
    figure = each(start, n)
    check(sum(found), n * (n - 1) // 2)
    return figure


async def back(n):
    loop = asyncio.get_running_loop()

    def body():
        start = time.perf_counter_ns()
        for _ in range(n):
            asyncio.run_coroutine_threadsafe(nothing_later(), loop).result()
        return each(start, n)

    return await asyncio.to_thread(body)


async def items(n):
    """A thread's items in a coroutine: a queue of asyncio's that it puts into, with room for 128."""
    c = asyncio.Queue(128)
    loop = asyncio.get_running_loop()

    def produce():
        for i in range(n):
            asyncio.run_coroutine_threadsafe(c.put(i), loop).result()
        asyncio.run_coroutine_threadsafe(c.put(None), loop).result()

    start = time.perf_counter_ns()
    thread = loop.run_in_executor(None, produce)
    total = 0
    while (i := await c.get()) is not None:
        total += i
    figure = each(start, n)
    await thread
    check(total, n * (n - 1) // 2)
    return figure


PROGRAMS = {"bridge-call": call, "bridge-calls": calls, "bridge-back": back, "bridge-items": items}
