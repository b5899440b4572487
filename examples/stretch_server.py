#!/usr/bin/env python3
"""Answers each line that comes in with its PBKDF2 hash: asyncio has the connections, goroutines do the work.

The hashing is a plain function, which runs in goroutines on all processors while the loop goes on serving. A
goroutine writes the log; connections send to it over a channel. Without --listen a few clients of its own ask it.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import signal
import sys
import time

import gmpx
from gmpx import aio

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 128 + signal.SIGINT
LONGEST_LINE = 1000


def stretch(word, rounds):
    """A slow hash: a plain function that knows of no loop. It gives up the GIL."""
    return hashlib.pbkdf2_hmac("sha256", word, b"an example's salt", rounds).hex()


class Server:
    """Serves connections until it is cancelled.

    Args:
        rounds: of PBKDF2, for each line.
        limit: seconds that a client waits for one answer.
        log: the channel that the log's lines go to.
    """

    def __init__(self, rounds, limit, log):
        self.rounds, self.limit, self.log = rounds, limit, log

    async def answer(self, word):
        begun = time.monotonic()
        try:
            # When the time is over the goroutine is cancelled; one that has not started never does.
            digest = await asyncio.wait_for(aio.wait(gmpx.go(stretch, word, self.rounds)), self.limit)
        except asyncio.TimeoutError:
            return "too busy", time.monotonic() - begun
        return digest, time.monotonic() - begun

    async def connection(self, reader, writer):
        peer = "%s:%d" % writer.get_extra_info("peername")[:2]
        try:
            while line := await reader.readline():
                text, seconds = await self.answer(line.rstrip(b"\r\n"))
                writer.write(text.encode() + b"\n")
                await writer.drain()
                await aio.send(self.log, f"{peer} {len(line)} bytes, {seconds * 1000:.0f} ms")
        except asyncio.CancelledError:
            pass  # the program ends; asyncio's streams would print it
        except (OSError, ValueError) as error:  # ValueError: the line is too long
            await aio.send(self.log, f"{peer} {error}")
        finally:
            writer.close()

    async def serve(self, host, port):
        return await asyncio.start_server(self.connection, host, port, limit=LONGEST_LINE)


def write_log(lines, out):
    """The log's goroutine: ends when the channel is closed."""
    for line in lines:
        print(line, file=out, flush=True)


async def ask(address, words):
    """A client: returns the answers to its words, which it sends one after the other."""
    reader, writer = await asyncio.open_connection(*address)
    answers = []
    for word in words:
        writer.write(word.encode() + b"\n")
        answers.append((await reader.readline()).decode().rstrip())
    writer.close()
    return answers


async def show(server, clients, each):
    """Some clients ask at once, and check what they get."""
    words = [[f"word {c}.{n}" for n in range(each)] for c in range(clients)]
    listening = await server.serve("127.0.0.1", 0)
    address = listening.sockets[0].getsockname()[:2]
    begun = time.monotonic()
    answers = await asyncio.gather(*(ask(address, own) for own in words))
    seconds = time.monotonic() - begun
    listening.close()
    good = sum(
        answer == stretch(word.encode(), server.rounds)
        for own, got in zip(words, answers)
        for word, answer in zip(own, got)
    )
    print(f"{good} of {clients * each} answers are right, {seconds:.2f} s")
    return EXIT_OK if good == clients * each else EXIT_FAILED


async def listen(server, address):
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    listening = await server.serve(*address)
    await aio.send(server.log, "listening on %s:%d" % listening.sockets[0].getsockname()[:2])
    await stop.wait()
    listening.close()
    return EXIT_OK


def address_of(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", metavar="HOST:PORT", type=address_of)
    parser.add_argument("--rounds", type=int, default=20_000, help="of PBKDF2 (default 20000)")
    parser.add_argument("--limit", type=float, default=10, metavar="S", help="for one answer (default 10)")
    parser.add_argument("--clients", type=int, default=8, help="of its own, without --listen")
    parser.add_argument("--log", action="store_true", help="write what happens to stderr")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    log = gmpx.Chan(100)
    out = sys.stderr if options.log or options.listen else open(os.devnull, "w")
    writer = gmpx.go(write_log, log, out)
    server = Server(options.rounds, options.limit, log)
    work = listen(server, options.listen) if options.listen else show(server, options.clients, 5)
    try:
        return aio.run(work)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        log.close()
        writer.join()


if __name__ == "__main__":
    sys.exit(main())
