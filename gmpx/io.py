"""Waiting for descriptors, and sockets whose methods park the goroutine, not the thread.

``Socket`` is ``socket.socket`` with these methods; what ``listen`` and ``open_connection`` return is one,
and so is what its ``accept`` returns. ``gmpx.patch.socket()`` gives them to every socket of the program.
"""

import socket as _socket

from gmpx._core import (
    _socket_class,
    _socket_init,
    _socket_methods,
    notify_closing,
    wait_readable,
    wait_writable,
)

__all__ = ["Socket", "notify_closing", "wait_readable", "wait_writable"]


class Socket(_socket.socket):
    """A ``socket.socket`` whose waits park the goroutine; on a foreign thread they block the thread.

    Everything else is the standard library's: arguments, results, exceptions, time-outs. A wait that is
    cut short, by cancel, ``gmpx.timeout`` or Ctrl-C, leaves the socket usable; of an interrupted
    ``sendall`` a part may have been sent. Closing it wakes who waits, with an OSError (EBADF).
    """

    __slots__ = ()


for _name, _method in _socket_methods().items():
    setattr(Socket, _name, _method)
Socket.__init__ = _socket_init()  # type: ignore[method-assign]
_socket_class(Socket)
