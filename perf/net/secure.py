"""A client over TLS: RIVAL KIND N PORT, KIND being get, handshakes or bulk.

get: N requests of a requests.Session that keeps its connections, 64 at once. handshakes: N connections
with a full handshake each, the certificate checked, 64 at once. bulk: one connection that receives N bytes.
Prints the wall and the CPU time as JSON.
"""

import json
import ssl
import sys
from pathlib import Path
from time import perf_counter_ns, process_time_ns

AT_ONCE = 64
BUFFER = 1 << 16
PEM = str(Path(__file__).with_name("server.pem"))
HOST = "localhost"
EXPECTED = (200, b"Hello, world!")


def blocking(name, kind, n, port):
    from spawning import RIVALS

    rival = RIVALS[name]()
    import socket

    context = ssl.create_default_context(cafile=PEM)

    def connect():
        sock = socket.create_connection(("127.0.0.1", port))
        return context.wrap_socket(sock, server_hostname=HOST)

    def shake(_):
        with connect():
            return 1

    def receive(_):
        got = 0
        with connect() as conn:
            start()
            while data := conn.recv(BUFFER):
                got += len(data)
        return got

    begun = []

    def start():
        begun[:] = [perf_counter_ns(), process_time_ns()]

    def get(url):
        answer = session.get(url)
        return int((answer.status_code, answer.content) == EXPECTED)

    if kind == "get":
        import requests

        session = requests.Session()
        session.trust_env = False
        session.verify = PEM
        session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))
        url = f"https://127.0.0.1:{port}/"
        get(url)
        start()
        got = rival.map(get, [url] * n, AT_ONCE)
    elif kind == "handshakes":
        shake(0)
        start()
        got = rival.map(shake, range(n), AT_ONCE)
    else:
        got = rival.map(receive, [0], 1)
    return begun, sum(got)


async def on_asyncio(kind, n, port):
    import asyncio

    context = ssl.create_default_context(cafile=PEM)
    limit = asyncio.Semaphore(AT_ONCE)

    async def connect():
        return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=HOST)

    async def shake():
        async with limit:
            _, writer = await connect()
            writer.transport.abort()
            return 1

    if kind == "handshakes":
        await shake()
        begun = [perf_counter_ns(), process_time_ns()]
        return begun, sum(await asyncio.gather(*(shake() for _ in range(n))))
    reader, writer = await connect()
    begun = [perf_counter_ns(), process_time_ns()]
    got = 0
    while data := await reader.read(BUFFER):
        got += len(data)
    writer.transport.abort()
    return begun, got


async def on_trio(kind, n, port):
    import trio

    context = ssl.create_default_context(cafile=PEM)
    limit = trio.Semaphore(AT_ONCE)
    done = []

    async def connect():
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        stream = trio.SSLStream(stream, context, server_hostname=HOST, https_compatible=True)
        await stream.do_handshake()
        return stream

    async def shake():
        async with limit:
            stream = await connect()
            await stream.transport_stream.aclose()
            done.append(1)

    if kind == "handshakes":
        await shake()
        done.clear()
        begun = [perf_counter_ns(), process_time_ns()]
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(shake)
        return begun, len(done)
    stream = await connect()
    begun = [perf_counter_ns(), process_time_ns()]
    got = 0
    while got < n:
        got += len(await stream.receive_some(BUFFER))
    await stream.transport_stream.aclose()
    return begun, got


def run(name, kind, n, port):
    if name in ("asyncio", "uvloop"):
        import asyncio

        if name == "uvloop":
            import uvloop

            uvloop.install()
        return asyncio.run(on_asyncio(kind, n, port))
    if name == "trio":
        import trio

        return trio.run(on_trio, kind, n, port)
    return blocking(name, kind, n, port)


def main():
    name, kind, *numbers = sys.argv[1:]
    n, port = map(int, numbers)
    begun, got = run(name, kind, n, port)
    wall, cpu = perf_counter_ns() - begun[0], process_time_ns() - begun[1]
    if got != n:
        raise AssertionError(f"{got} of {n}")
    print(json.dumps({"operations": n, "wall_ns": wall, "cpu_ns": cpu}), flush=True)


if __name__ == "__main__":
    main()
