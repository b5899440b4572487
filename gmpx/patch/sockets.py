"""The group "socket": methods of socket.socket, and so of all its subclasses and instances."""

import socket
from collections.abc import Iterator

from gmpx._core import _net_forget, _socket_methods
from gmpx.io.sendfile import sendfile
from gmpx.io.sockets import init
from gmpx.patch.registry import Attribute, Replacement


def replacements() -> Iterator[Replacement]:
    _net_forget()  # sockets that were closed without our seeing it
    for name, method in _socket_methods().items():
        yield Attribute(socket.socket, name, method, f"socket.socket.{name}")
    yield Attribute(socket.socket, "__init__", init, "socket.socket.__init__")
    if hasattr(socket.socket, "_sendfile_use_sendfile"):
        yield Attribute(
            socket.socket, "_sendfile_use_sendfile", sendfile, "socket.socket.sendfile"
        )
