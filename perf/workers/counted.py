"""The hot paths, for instructions.py: SMALL LARGE runs each one so often, with a mark between.

In short rounds, so that under valgrind, where all is fifty times slower, no P stands still for so
long that another M comes to help: the counts would depend on the clock.
"""

import socket
import sys

import gmpx
import gmpx.io

ROUND = 20


def spawn(n):
    wg = gmpx.WaitGroup()
    go, wait = wg.go, wg.wait
    for _ in range(n // ROUND):
        for _ in range(ROUND):
            go(int)
        wait()


def spawn_and_join(n):
    go = gmpx.go
    for _ in range(n // ROUND):
        for g in [go(int) for _ in range(ROUND)]:
            g.join()


def switch(n):
    # two goroutines that yield to each other
    def turns():
        yield_ = gmpx.gosched
        for _ in range(n // 2):
            yield_()

    wg = gmpx.WaitGroup()
    wg.go(turns)
    wg.go(turns)
    wg.wait()


def hop_unbuffered(n):
    c = gmpx.Chan()

    def sender():
        send = c.send
        for _ in range(n):
            send(None)

    gmpx.go(sender)
    recv = c.recv
    for _ in range(n):
        recv()


def hop_buffered(n):
    c = gmpx.Chan(1)
    send, recv = c.send, c.recv
    for _ in range(n):
        send(None)
        recv()


def select_ready(n):
    a, b = gmpx.Chan(1), gmpx.Chan(1)
    send, select = a.send, gmpx.select
    for _ in range(n):
        send(None)
        select(a, b)


def mutex(n):
    m = gmpx.Mutex()
    lock, unlock = m.lock, m.unlock
    for _ in range(n):
        lock()
        unlock()


def echo(n):
    # a request and its answer between two goroutines, each of which waits for the other
    pair = socket.socketpair()
    with pair[0], pair[1]:
        a, b = (gmpx.io.Socket(s.family, s.type, s.proto, s.detach()) for s in pair)

    def server():
        recv, sendall = b.recv, b.sendall
        while data := recv(100):
            sendall(data)

    g = gmpx.go(server)
    recv, sendall = a.recv, a.sendall
    for _ in range(n):
        sendall(b"x")
        recv(100)
    a.close()
    g.join()
    b.close()


def fan_out(n):
    for _ in range(n // ROUND):
        gmpx.map(int, range(ROUND), limit=4)


def fan_out_lazily(n):
    for _ in range(n // ROUND):
        for _ in gmpx.imap(int, range(ROUND), limit=4):
            pass


def rate(n):
    acquire = gmpx.Limiter(1e12).acquire
    for _ in range(n):
        acquire()


PATHS = [
    spawn, spawn_and_join, switch, hop_unbuffered, hop_buffered, select_ready, mutex, echo, fan_out, fan_out_lazily, rate,
]  # fmt: skip

if __name__ == "__main__":
    paths = {path.__name__: path for path in PATHS}
    if sys.argv[1:] == ["paths"]:
        print(*paths)
    elif sys.argv[1:] == ["key"]:
        print(gmpx._core._built_with())
    else:
        small, large = map(int, sys.argv[1:])
        for path in PATHS:
            path(small)
            for n in (small, large):
                gmpx._core._mark()
                path(n)
            gmpx._core._mark()
