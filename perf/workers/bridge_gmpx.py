"""The programs of bridge-*: coroutines and goroutines that wait for each other, by gmpx.aio.

The loop runs in a goroutine (gmpx.aio.run), or, for the rival gmpx-asyncio, keeps the main thread (asyncio.run).
"""

import asyncio
import time

import gmpx
from gmpx import aio
from harness import check, each, main


def nothing():
    pass


async def nothing_later():
    pass


async def call(n):
    for _ in range(n // 10):  # until then no thread of gmpx's may have begun
        await gmpx.go(nothing)
    start = time.perf_counter_ns()
    for _ in range(n):
        await gmpx.go(nothing)
    return each(start, n)


async def calls(n):
    start = time.perf_counter_ns()
    found = await asyncio.gather(*(aio.wait(gmpx.go(abs, -i)) for i in range(n)))
    figure = each(start, n)
    check(sum(found), n * (n - 1) // 2)
    return figure


async def back(n):
    loop = asyncio.get_running_loop()

    def body():
        start = time.perf_counter_ns()
        for _ in range(n):
            aio.run(nothing_later(), loop=loop)
        return each(start, n)

    return await gmpx.go(body)


async def items(n):
    c = gmpx.Chan(128)

    def produce():
        for i in range(n):
            c.send(i)
        c.close()

    start = time.perf_counter_ns()
    gmpx.go(produce)
    total = 0
    async for i in aio.iterate(c):
        total += i
    figure = each(start, n)
    check(total, n * (n - 1) // 2)
    return figure


def programs(run):
    def on_loop(program):
        return lambda n: run(program(n))

    return {
        f"bridge-{name}": on_loop(program)
        for name, program in (("call", call), ("calls", calls), ("back", back), ("items", items))
    }


PROGRAMS = programs(aio.run)

if __name__ == "__main__":
    main(f"{gmpx.__version__}, the loop on the main thread", programs(asyncio.run))
