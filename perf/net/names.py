"""N names looked up at once: RIVAL N, or for Go RIVAL N PROGRAM.

The C library asks a name server on loopback, a process on the other CPU, which answers each question after
20 ms (tests/io/nameserver.py). It takes a network and a mount namespace of its own; where there are none to be
had, the exit status is 3. Prints the wall and the CPU time as JSON.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter_ns, process_time_ns

import machine

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "io"))
NOT_THERE = 3


def of(n):
    return [f"late-20.n{i}.test" for i in range(n)]


def blocking(name, hosts):
    from spawning import RIVALS

    rival = RIVALS[name]()
    import socket

    def look_up(host):
        return socket.getaddrinfo(host, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]

    return measured(lambda: rival.start(look_up, hosts)())


def measured(run):
    wall, cpu = perf_counter_ns(), process_time_ns()
    found = run()
    return found, perf_counter_ns() - wall, process_time_ns() - cpu


async def on_asyncio(hosts):
    import asyncio
    import socket

    loop = asyncio.get_running_loop()
    wall, cpu = perf_counter_ns(), process_time_ns()
    answers = await asyncio.gather(
        *(loop.getaddrinfo(host, 80, family=socket.AF_INET, type=socket.SOCK_STREAM) for host in hosts)
    )
    wall, cpu = perf_counter_ns() - wall, process_time_ns() - cpu
    return [answer[0][4][0] for answer in answers], wall, cpu


async def on_trio(hosts):
    import trio

    found = {}

    async def look_up(host):
        answer = await trio.socket.getaddrinfo(
            host, 80, trio.socket.AF_INET, trio.socket.SOCK_STREAM
        )
        found[host] = answer[0][4][0]

    wall, cpu = perf_counter_ns(), process_time_ns()
    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(look_up, host)
    wall, cpu = perf_counter_ns() - wall, process_time_ns() - cpu
    return [found[host] for host in hosts], wall, cpu


def run(name, hosts):
    if name in ("asyncio", "uvloop"):
        import asyncio

        if name == "uvloop":
            import uvloop

            uvloop.install()
        return asyncio.run(on_asyncio(hosts))
    if name == "trio":
        import trio

        return trio.run(on_trio, hosts)
    return blocking(name, hosts)


def main():
    name, n, *program = sys.argv[1:]
    import nameserver

    here, there = machine.cpus()
    try:
        nameserver.enter()
        server = nameserver.Server(there)
    except OSError as error:
        print(f"no namespaces: {error}", file=sys.stderr)
        return NOT_THERE
    try:
        hosts = of(int(n))
        if program:
            text = subprocess.run([*program, "net", "names", n], stdout=subprocess.PIPE, check=True).stdout
            print(text.decode(), end="", flush=True)
            return 0
        os.sched_setaffinity(0, {here})
        found, wall, cpu = run(name, hosts)
        if found != [nameserver.address_of(host) for host in hosts]:
            raise AssertionError("wrong addresses")
        if set(server.asked().values()) != {1}:
            raise AssertionError("asked more than once")
        print(json.dumps({"operations": len(hosts), "wall_ns": wall, "cpu_ns": cpu}), flush=True)
    finally:
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
