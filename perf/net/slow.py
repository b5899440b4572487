"""The server of requests-*: answers every request after 50 ms, on one thread for all; web-upstream's is told the ms."""

import asyncio
import sys

from messages import BACKLOG, END, RESPONSE, listener, tell

DELAY_S = 0.05


class Slow(asyncio.Protocol):
    data = b""
    delay_s = DELAY_S

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        while END in self.data:
            self.data = self.data.partition(END)[2]
            asyncio.get_running_loop().call_later(self.delay_s, self.transport.write, RESPONSE)


async def main():
    listening = listener()
    server = await asyncio.get_running_loop().create_server(Slow, sock=listening, backlog=BACKLOG)
    tell(listening)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:]:
        Slow.delay_s = int(sys.argv[1]) / 1000
    sys.exit(asyncio.run(main()))
