"""N children with a limit of 8, and N MiB through a pipe, out of a child or into one: PROGRAM RIVAL N.

Prints the wall time, and the CPU time without the children's, as JSON.
"""

import json
import subprocess
import sys
from time import perf_counter_ns, process_time_ns

LIMIT = 8
TRUE = "/bin/true"
PIECE = 1 << 20
# one that writes as much, one that takes all
SOURCE = ["dd", "if=/dev/zero", f"bs={PIECE}", "status=none"]
SINK = ["dd", "of=/dev/null", f"bs={PIECE}", "status=none"]


def source(n):
    return [*SOURCE, f"count={n}"]


class Blocking:
    """What gmpx, gevent and threads run as it is."""

    def __init__(self, name):
        from spawning import RIVALS

        self.rival = RIVALS[name]()
        import subprocess

        self.subprocess = subprocess

    def children(self, n):
        codes = self.rival.map(lambda _: self.subprocess.run([TRUE]).returncode, range(n), LIMIT)
        return codes.count(0)

    def read(self, n):
        return self.rival.map(self._read, [n], 1)[0] // PIECE

    def write(self, n):
        return self.rival.map(self._write, [n], 1)[0] // PIECE

    def _read(self, n):
        got = 0
        with self.subprocess.Popen(source(n), stdout=subprocess.PIPE) as child:
            while piece := child.stdout.read(PIECE):
                got += len(piece)
        return got

    def _write(self, n):
        done = 0
        piece = bytes(PIECE)
        with self.subprocess.Popen(SINK, stdin=subprocess.PIPE) as child:
            for _ in range(n):
                done += child.stdin.write(piece)
        return done


class Asyncio:
    def __init__(self, name):
        import asyncio

        self.asyncio = asyncio
        if name == "uvloop":
            import uvloop

            uvloop.install()

    def children(self, n):
        return self.asyncio.run(self._children(n))

    def read(self, n):
        return self.asyncio.run(self._read(n))

    def write(self, n):
        return self.asyncio.run(self._write(n))

    async def _children(self, n):
        places = self.asyncio.Semaphore(LIMIT)

        async def run():
            async with places:
                child = await self.asyncio.create_subprocess_exec(TRUE)
                return await child.wait()

        return (await self.asyncio.gather(*(run() for _ in range(n)))).count(0)

    async def _read(self, n):
        got = 0
        child = await self.asyncio.create_subprocess_exec(
            *source(n), stdout=subprocess.PIPE, limit=PIECE
        )
        while piece := await child.stdout.read(PIECE):
            got += len(piece)
        await child.wait()
        return got // PIECE

    async def _write(self, n):
        piece = bytes(PIECE)
        child = await self.asyncio.create_subprocess_exec(*SINK, stdin=subprocess.PIPE)
        for _ in range(n):
            child.stdin.write(piece)
            await child.stdin.drain()
        child.stdin.close()
        await child.wait()
        return n


class Trio:
    def __init__(self, name):
        import trio

        self.trio = trio

    def children(self, n):
        return self.trio.run(self._children, n)

    def read(self, n):
        return self.trio.run(self._read, n)

    def write(self, n):
        return self.trio.run(self._write, n)

    async def _children(self, n):
        places = self.trio.CapacityLimiter(LIMIT)
        codes = []

        async def run():
            async with places:
                codes.append((await self.trio.run_process([TRUE])).returncode)

        async with self.trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(run)
        return codes.count(0)

    async def _read(self, n):
        got = 0
        child = await self.trio.lowlevel.open_process(source(n), stdout=subprocess.PIPE)
        while piece := await child.stdout.receive_some(PIECE):
            got += len(piece)
        await child.wait()
        return got // PIECE

    async def _write(self, n):
        piece = bytes(PIECE)
        child = await self.trio.lowlevel.open_process(SINK, stdin=subprocess.PIPE)
        for _ in range(n):
            await child.stdin.send_all(piece)
        await child.stdin.aclose()
        await child.wait()
        return n


KINDS = {"asyncio": Asyncio, "uvloop": Asyncio, "trio": Trio}


def main():
    program, name, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    run = getattr(KINDS.get(name, Blocking)(name), program.removeprefix("pipe-"))
    run(min(n, LIMIT))
    start, cpu = perf_counter_ns(), process_time_ns()
    done = run(n)
    wall, cpu = perf_counter_ns() - start, process_time_ns() - cpu
    if done != n:
        raise AssertionError(f"{done} of {n}")
    print(json.dumps({"wall_ns": wall, "cpu_ns": cpu}), flush=True)


if __name__ == "__main__":
    main()
