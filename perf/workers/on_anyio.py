"""anyio, on asyncio: the programs of bridge-*."""

import time
from importlib.metadata import version

import anyio
import anyio.from_thread
import anyio.to_thread

from harness import check, each, main


def nothing():
    pass


async def nothing_later():
    pass


async def call(n):
    start = time.perf_counter_ns()
    for _ in range(n):
        await anyio.to_thread.run_sync(nothing)
    return each(start, n)


async def calls(n):
    found = []

    async def one(i):
        found.append(await anyio.to_thread.run_sync(abs, -i))

    start = time.perf_counter_ns()
    async with anyio.create_task_group() as group:
        for i in range(n):
            group.start_soon(one, i)
    figure = each(start, n)
    check(sum(found), n * (n - 1) // 2)
    return figure


async def back(n):
    def body():
        start = time.perf_counter_ns()
        for _ in range(n):
            anyio.from_thread.run(nothing_later)
        return each(start, n)

    return await anyio.to_thread.run_sync(body)


def on_loop(program):
    return lambda n: anyio.run(program, n)


PROGRAMS = {
    f"bridge-{name}": on_loop(program) for name, program in (("call", call), ("calls", calls), ("back", back))
}

if __name__ == "__main__":
    main(version("anyio"), PROGRAMS)
