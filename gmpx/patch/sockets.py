"""The group "socket": methods of socket.socket, and so of all its subclasses and instances."""

import socket
from collections.abc import Iterator

from gmpx._core import _socket_init, _socket_methods
from gmpx.patch.registry import Attribute, Replacement
from gmpx.patch.sendfile import sendfile


def replacements() -> Iterator[Replacement]:
    for name, method in _socket_methods().items():
        yield Attribute(socket.socket, name, method, f"socket.socket.{name}")
    yield Attribute(socket.socket, "__init__", _socket_init(), "socket.socket.__init__")
    if hasattr(socket.socket, "_sendfile_use_sendfile"):
        yield Attribute(
            socket.socket, "_sendfile_use_sendfile", sendfile, "socket.socket.sendfile"
        )
