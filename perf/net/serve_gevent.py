"""gevent: blocking code, patched, under its StreamServer."""

from gevent import monkey

monkey.patch_all()

import socket  # noqa: E402

from gevent.server import StreamServer  # noqa: E402

from blocking import HANDLERS, accept  # noqa: E402
from messages import arguments, listener, tell  # noqa: E402

if __name__ == "__main__":
    kind, size = arguments()
    handler = HANDLERS[kind]
    listening = listener()

    def handle(conn, address):
        if handler is not accept:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handler(conn, size)

    tell(listening)
    StreamServer(listening, handle).serve_forever()
