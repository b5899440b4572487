"""A send and the recv of it, over and over, beside a thread that computes: RIVAL SIZE MS.

The message is always there: nothing has to wait, but for the GIL. Prints operations and time as JSON.
"""

import json
import os
import socket
import sys
import _thread
from time import perf_counter_ns


def burn():
    x = 1
    while True:
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF


def blocking(name, message, ns):
    from spawning import RIVALS

    rival = RIVALS[name]()
    a, b = socket.socketpair()
    rival.thread(burn)
    done = 0
    start = perf_counter_ns()
    while (taken := perf_counter_ns() - start) < ns:
        a.sendall(message)
        if b.recv(len(message)) != message:
            raise AssertionError("wrong bytes")
        done += 1
    return done, taken


async def on_asyncio(message, ns):
    import asyncio

    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    _thread.start_new_thread(burn, ())
    done = 0
    start = perf_counter_ns()
    while (taken := perf_counter_ns() - start) < ns:
        await loop.sock_sendall(a, message)
        if await loop.sock_recv(b, len(message)) != message:
            raise AssertionError("wrong bytes")
        done += 1
    return done, taken


async def on_trio(message, ns):
    import trio

    a, b = trio.socket.socketpair()
    _thread.start_new_thread(burn, ())
    done = 0
    start = perf_counter_ns()
    while (taken := perf_counter_ns() - start) < ns:
        await a.send(message)
        if await b.recv(len(message)) != message:
            raise AssertionError("wrong bytes")
        done += 1
    return done, taken


def main():
    name, size, ms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    message, ns = bytes(i & 255 for i in range(size)), ms * 1_000_000
    if name in ("asyncio", "uvloop"):
        import asyncio

        if name == "uvloop":
            import uvloop

            uvloop.install()
        done, taken = asyncio.run(on_asyncio(message, ns))
    elif name == "trio":
        import trio

        done, taken = trio.run(on_trio, message, ns)
    else:
        done, taken = blocking(name, message, ns)
    print(json.dumps({"operations": done, "wall_ns": taken}), flush=True)
    os._exit(0)  # the burner has no end


if __name__ == "__main__":
    main()
