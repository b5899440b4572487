"""The outside world: waiting for descriptors, sockets, servers and clients.

>>> import gmpx, gmpx.io
>>> def echo(conn, address):
...     while data := conn.recv(65536):
...         conn.sendall(data)
>>> listener = gmpx.io.listen("127.0.0.1", 0)
>>> server = gmpx.go(gmpx.io.serve, echo, listener)
>>> with gmpx.io.open_connection(*listener.getsockname()) as s:
...     s.sendall(b"hello")
...     s.recv(100)
b'hello'
>>> server.cancel()
True
"""

from gmpx._core import Readiness, notify_closing, readable, wait_readable, wait_writable, writable
from gmpx.io import names as _names
from gmpx.io.dialing import open_connection
from gmpx.io.files import File, open
from gmpx.io.serving import listen, serve
from gmpx.io.signalling import Signals, signals
from gmpx.io.sockets import Socket

__all__ = [
    "File",
    "Readiness",
    "Signals",
    "Socket",
    "listen",
    "notify_closing",
    "open",
    "open_connection",
    "readable",
    "serve",
    "signals",
    "wait_readable",
    "wait_writable",
    "writable",
]
