"""The other side of secure-*: get (answers after 50 ms), handshakes (and ends), bulk (sends N bytes)."""

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path

from messages import BACKLOG, listener, tell
from slow import Slow

CHUNK = bytes(1 << 16)
PEM = Path(__file__).with_name("server.pem")


def context():
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(PEM)
    found.num_tickets = 0  # nobody comes again
    return found


class Ends(asyncio.Protocol):
    def connection_made(self, transport):
        transport.close()


async def on_a_loop(protocol):
    listening = listener()
    server = await asyncio.get_running_loop().create_server(
        protocol, sock=listening, backlog=BACKLOG, ssl=context()
    )
    tell(listening)
    async with server:
        await server.serve_forever()


def bulk(n):
    listening = listener()
    tell(listening)
    while True:
        with context().wrap_socket(listening.accept()[0], server_side=True) as conn:
            for _ in range(n // len(CHUNK)):
                conn.sendall(CHUNK)
            conn.sendall(CHUNK[: n % len(CHUNK)])
            with contextlib.suppress(OSError):  # the client has what it wants
                conn.unwrap()


if __name__ == "__main__":
    kind, size = sys.argv[1:]
    if kind == "bulk":
        bulk(int(size))
    with contextlib.suppress(ModuleNotFoundError):
        import uvloop

        uvloop.install()
    asyncio.run(on_a_loop(Slow if kind == "get" else Ends))
