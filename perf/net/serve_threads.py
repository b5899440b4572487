"""Threads: blocking code, a thread for each connection."""

import threading

from blocking import HANDLERS, serve
from messages import arguments, listener, tell


def spawn(f, *args):
    threading.Thread(target=f, args=args, daemon=True).start()


if __name__ == "__main__":
    kind, size = arguments()
    listening = listener()
    tell(listening)
    serve(listening, HANDLERS[kind], size, spawn)
