"""Socket: ``socket.socket`` with methods that park the goroutine."""

from __future__ import annotations

import socket as _socket
import sys
from typing import TYPE_CHECKING, Any

from gmpx._core import _socket_class, _socket_init, _socket_methods
from gmpx.io.sendfile import sendfile


class Socket(_socket.socket):
    """A ``socket.socket`` whose waits park the goroutine; on a foreign thread they block the thread.

    Everything else is the standard library's: arguments, results, exceptions, time-outs. A wait that is
    cut short, by cancel, ``gmpx.timeout`` or Ctrl-C, leaves the socket usable; of an interrupted
    ``sendall`` a part may have been sent. Closing it wakes who waits, with an OSError (EBADF). ``accept``
    returns another Socket. ``gmpx.patch.socket()`` gives the same methods to every socket of the program.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def accept(self) -> tuple[Socket, Any]: ...


def init(self, family=-1, type=-1, proto=-1, fileno=None):  # type: ignore[no-untyped-def]
    # A function of Python's, as the original: inspect binds an __init__ to the class itself.
    _init(self, family, type, proto, fileno)


if sys.platform != "win32":  # there it is a plain socket yet, whose waits block the thread
    for _name, _method in _socket_methods().items():
        setattr(Socket, _name, _method)
    _init = _socket_init()
    Socket.__init__ = init  # type: ignore[method-assign]
    Socket._sendfile_use_sendfile = sendfile  # type: ignore[attr-defined]
    _socket_class(Socket)
