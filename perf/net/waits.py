"""N waits of a second at once: RIVAL N.

Every second one sleeps; the others wait to receive from a socket, with a time-out, what does not
come. Prints the wall time, and the threads of the process half a second later, as JSON.
"""

import json
import socket
import sys
from time import perf_counter_ns

import machine

WAIT_S = 1.0


def ends(n):
    """Returns n ends, of which the even ones are None, and their other ends, to be kept."""
    pairs = [socket.socketpair() if i % 2 else (None, None) for i in range(n)]
    return [mine for mine, _ in pairs], [other for _, other in pairs]


def blocking(name, n):
    from spawning import RIVALS

    rival = RIVALS[name]()
    import time

    def wait(end):
        if end is None:
            time.sleep(WAIT_S)
            return False
        end.settimeout(WAIT_S)
        try:
            end.recv(1)
        except TimeoutError:
            return True

    mine, others = ends(n)
    start = perf_counter_ns()
    join = rival.start(wait, mine)
    time.sleep(WAIT_S / 2)
    threads = machine.threads()
    late = join()
    return perf_counter_ns() - start, threads, sum(late), others


async def on_asyncio(n):
    import asyncio

    loop = asyncio.get_running_loop()

    async def wait(end):
        if end is None:
            await asyncio.sleep(WAIT_S)
            return False
        end.setblocking(False)
        try:
            await asyncio.wait_for(loop.sock_recv(end, 1), WAIT_S)
        except (asyncio.TimeoutError, TimeoutError):
            return True

    mine, others = ends(n)
    start = perf_counter_ns()
    tasks = [asyncio.create_task(wait(end)) for end in mine]
    await asyncio.sleep(WAIT_S / 2)
    threads = machine.threads()
    late = await asyncio.gather(*tasks)
    return perf_counter_ns() - start, threads, sum(late), others


async def on_trio(n):
    import trio

    late = []

    async def wait(end):
        if end is None:
            await trio.sleep(WAIT_S)
            return
        with trio.move_on_after(WAIT_S) as scope:
            await trio.socket.from_stdlib_socket(end).recv(1)
        late.append(scope.cancelled_caught)

    mine, others = ends(n)
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        for end in mine:
            nursery.start_soon(wait, end)
        await trio.sleep(WAIT_S / 2)
        threads = machine.threads()
    return perf_counter_ns() - start, threads, sum(late), others


def run(name, n):
    if name in ("asyncio", "uvloop"):
        import asyncio

        if name == "uvloop":
            import uvloop

            uvloop.install()
        return asyncio.run(on_asyncio(n))
    if name == "trio":
        import trio

        return trio.run(on_trio, n)
    return blocking(name, n)


def main():
    name, n = sys.argv[1], int(sys.argv[2])
    wall, threads, late, _ = run(name, n)
    if late != n // 2:
        raise AssertionError(f"{late} of {n // 2} time-outs")
    print(json.dumps({"operations": n, "wall_ns": wall, "threads": threads}), flush=True)


if __name__ == "__main__":
    main()
