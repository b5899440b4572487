"""asyncio: streams or protocols, on its own loop or uvloop's: RIVAL KIND SIZE.

RIVAL is asyncio, asyncio-protocol, uvloop or uvloop-protocol.
"""

import asyncio
import sys

from messages import BACKLOG, END, RESPONSE, arguments, listener, take, tell


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Http(Echo):
    data = b""

    def data_received(self, data):
        answer, self.data = take(self.data + data)
        if answer:
            self.transport.write(answer)


class Accept(asyncio.Protocol):
    def connection_made(self, transport):
        transport.close()


def stream_handler(kind, size):
    async def echo(reader, writer):
        while data := await reader.read(size):
            writer.write(data)
            await writer.drain()

    async def http(reader, writer):
        while True:
            take(await reader.readuntil(END))
            writer.write(RESPONSE)
            await writer.drain()

    async def accept(reader, writer):
        pass

    handler = {"echo": echo, "http": http, "accept": accept}[kind]

    async def handle(reader, writer):
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the load ends, or resets its connections
        finally:
            writer.close()

    return handle


async def main(rival):
    kind, size = arguments()
    listening = listener()
    options = {"sock": listening, "backlog": BACKLOG}
    if rival.endswith("-protocol"):
        protocol = {"echo": Echo, "http": Http, "accept": Accept}[kind]
        server = await asyncio.get_running_loop().create_server(protocol, **options)
    else:
        server = await asyncio.start_server(stream_handler(kind, size), **options)
    tell(listening)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    rival = sys.argv.pop(1)
    if rival.startswith("uvloop"):
        import uvloop

        uvloop.install()
    asyncio.run(main(rival))
