"""greenback: plain functions that await, on the task's own thread: the programs of bridge-*.

Its functions run inside the task that calls them: nothing is at once.
"""

import asyncio
import time
from importlib.metadata import version

import greenback

from harness import each, main


def nothing():
    pass


async def nothing_later():
    await asyncio.sleep(0)  # a turn of the loop, as elsewhere


async def call(n):
    start = time.perf_counter_ns()
    for _ in range(n):
        await greenback.with_portal_run_sync(nothing)
    return each(start, n)


async def back(n):
    def body():
        start = time.perf_counter_ns()
        for _ in range(n):
            greenback.await_(nothing_later())
        return each(start, n)

    return await greenback.with_portal_run_sync(body)


def on_loop(program):
    return lambda n: asyncio.run(program(n))


PROGRAMS = {"bridge-call": on_loop(call), "bridge-back": on_loop(back)}

if __name__ == "__main__":
    main(version("greenback"), PROGRAMS)
