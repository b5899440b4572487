"""trio: a task for each connection, under serve_listeners."""

import trio

from messages import arguments, listener, take, tell


def handler_of(kind, size):
    async def echo(stream):
        while data := await stream.receive_some(size):
            await stream.send_all(data)

    async def http(stream):
        data = b""
        while more := await stream.receive_some(size):
            answer, data = take(data + more)
            if answer:
                await stream.send_all(answer)

    async def accept(stream):
        pass

    handler = {"echo": echo, "http": http, "accept": accept}[kind]

    async def handle(stream):
        async with stream:
            try:
                await handler(stream)
            except trio.BrokenResourceError:
                pass  # the load resets its connections at its end

    return handle


async def main():
    kind, size = arguments()
    listening = listener()
    listening.setblocking(False)
    tell(listening)
    own = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    await trio.serve_listeners(handler_of(kind, size), [own])


if __name__ == "__main__":
    trio.run(main)
