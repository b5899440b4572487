"""The server's blocking code, which threads, gevent and gmpx run as it is."""

import socket

from messages import take


def echo(conn, size):
    with conn:
        try:
            while data := conn.recv(size):
                conn.sendall(data)
        except ConnectionError:
            pass  # the load resets its connections at its end


def http(conn, size):
    data = b""
    with conn:
        try:
            while more := conn.recv(size):
                answer, data = take(data + more)
                if answer:
                    conn.sendall(answer)
        except ConnectionError:
            pass


def accept(conn, size):
    conn.close()


HANDLERS = {"echo": echo, "http": http, "accept": accept}


def serve(listening, handler, size, spawn):
    """Accepts for ever; spawn(f, *args) starts what serves one connection."""
    while True:
        conn, _ = listening.accept()
        if handler is not accept:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        spawn(handler, conn, size)
