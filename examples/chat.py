#!/usr/bin/env python3
"""A chat server for telnet and nc: what one says, all others read.

    python examples/chat.py --port 4000
    nc 127.0.0.1 4000

One goroutine per client, and no other: it waits in `select` for three things at once, what its client
types (a descriptor), what the others say (its outbox, a channel), and the end of the server (a context).
Plain blocking calls do the rest. A client that does not read fills its outbox and is dropped; it never
holds up the others.

SIGTERM or Ctrl-C end it with grace: nobody new is let in, everybody is told, and who has not left after
a few seconds is cut off.
"""

import argparse
import signal
import sys

import gmpx
import gmpx.io
from gmpx import context

OUTBOX_LINES = 256  # how far a client may lag behind
SEND_S = 10.0  # how long it may take to accept one write
IDLE_S = 3600.0  # how long it may say nothing and hear nothing
LINE_BYTES = 4096
NAME_LETTERS = 20

COMMANDS = "/nick NAME, /me TEXT, /who, /quit"


class Room:
    """Who is there. Handlers may run on several threads, so a Mutex guards it."""

    def __init__(self):
        self.guard = gmpx.Mutex()
        self.outboxes = {}
        self.clients = self.lines = 0

    def enter(self, name, outbox):
        """Returns whether the name was free."""
        with self.guard:
            if name in self.outboxes:
                return False
            self.clients += 1
            self.tell(f"* {name} has come")
            self.outboxes[name] = outbox
            return True

    def rename(self, name, new):
        """Returns whether the new name was free."""
        with self.guard:
            if new in self.outboxes or name not in self.outboxes:
                return False
            self.outboxes[new] = self.outboxes.pop(name)
            self.tell(f"* {name} is {new} now")
            return True

    def leave(self, name):
        with self.guard:
            if self.outboxes.pop(name, None) is not None:
                self.tell(f"* {name} has gone")

    def say(self, name, line):
        with self.guard:
            self.lines += 1
            self.tell(line, but=name)

    def names(self):
        with self.guard:
            return sorted(self.outboxes)

    def tell(self, line, but=None):
        """Puts a line into the outboxes, and drops who has no room. The guard is held: never waits."""
        lagging = []
        for name, outbox in self.outboxes.items():
            if name != but:
                try:
                    outbox.send_nowait(line)
                except gmpx.WouldBlock:
                    lagging.append(name)
        for name in lagging:
            self.outboxes.pop(name).close()
        for name in lagging:
            self.tell(f"* {name} does not keep up")


class Client:
    """One connection: its goroutine is in `run` for as long as it lasts."""

    def __init__(self, room, ending, conn):
        self.room, self.ending, self.conn = room, ending, conn
        self.name = None
        self.unread = b""
        self.outbox = gmpx.Chan(OUTBOX_LINES)
        self.input = gmpx.io.readable(conn)

    def run(self):
        try:
            self.put("What is your name?")
            while self.step():
                pass
        except TimeoutError:  # said nothing for too long, or did not take what we sent
            pass
        finally:
            if self.name is not None:
                self.room.leave(self.name)

    def step(self):
        """Waits for one thing and does it; returns whether to go on."""
        case, line, ok = gmpx.select(self.input, self.outbox, self.ending.done(), timeout=IDLE_S)
        if case == 0:
            return self.read()
        if case == 1 and ok:
            self.put(line)
            return True
        self.put("* The server ends. Good-bye." if case == 2 else "* You do not keep up.")
        return False

    def put(self, line):
        with gmpx.timeout(SEND_S):
            self.conn.sendall(line.encode() + b"\n")

    def read(self):
        """Takes what has come; returns whether there is more to expect."""
        data = self.conn.recv(LINE_BYTES)
        *lines, self.unread = (self.unread + data).split(b"\n")
        for raw in lines:
            # What is no text stays out: escape sequences would reach the others' terminals.
            text = "".join(c for c in raw.decode(errors="replace") if c.isprintable()).strip()
            if text and not self.act(text):
                return False
        if len(self.unread) > LINE_BYTES:
            self.put("* That line is too long.")
            return False
        return bool(data)

    def act(self, text):
        """Does what one line asks for; returns whether to go on."""
        word, _, rest = text.partition(" ")
        if word == "/quit":
            return False
        if self.name is None:
            self.call_myself(text)
        elif word == "/nick":
            self.call_myself(rest)
        elif word == "/who":
            self.put("* " + ", ".join(self.room.names()))
        elif word == "/me":
            self.room.say(self.name, f"* {self.name} {rest}")
        elif word.startswith("/"):
            self.put(f"* There are {COMMANDS}.")
        else:
            self.room.say(self.name, f"{self.name}: {text}")
        return True

    def call_myself(self, name):
        if not 0 < len(name) <= NAME_LETTERS or not name.replace("-", "").isalnum():
            self.put(f"* A name has letters, digits and hyphens, up to {NAME_LETTERS}.")
        elif self.name is None and self.room.enter(name, self.outbox):
            self.name = name
            self.put(f"* Welcome, {name}. {COMMANDS}.")
        elif self.name is not None and self.room.rename(self.name, name):
            self.name = name
        else:
            self.put(f"* {name} is taken.")


def main(argv=None):
    parser = argparse.ArgumentParser(description="A chat server for telnet and nc.")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=4000, help="0 for any; default: %(default)s")
    parser.add_argument("--limit", type=int, default=1000, help="clients at once; default: %(default)s")
    parser.add_argument(
        "--grace", type=float, default=5.0, help="seconds to leave at the end; default: %(default)s"
    )
    arguments = parser.parse_args(argv)

    room = Room()
    ending, end = context.with_cancel(context.background())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end())

    def handler(conn, address):
        Client(room, ending, conn).run()

    try:
        listener = gmpx.io.listen(arguments.host, arguments.port)
    except OSError as error:
        parser.error(f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror}")
    with listener:
        print(f"listening on {arguments.host}:{listener.getsockname()[1]}", flush=True)
        gmpx.io.serve(
            handler, listener, limit=arguments.limit, grace=arguments.grace, context=ending
        )
    print(f"{room.clients} came and said {room.lines} lines")


if __name__ == "__main__":
    sys.exit(main())
