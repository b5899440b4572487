"""TLS over sockets of gmpx.io: connections whose waits park the goroutine, without a patch."""

from __future__ import annotations

import functools
import ssl
import sys
from typing import Any

from gmpx._core import _ssl_do_handshake, _ssl_read, _ssl_release, _ssl_shutdown, _ssl_write
from gmpx.io.sockets import Socket


#: The peer has ended the connection, in one way or another, while something was written to it.
GONE = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_PARKS = sys.platform != "win32"  # there the waits of a Socket block the thread yet

_default: ssl.SSLContext | None = None


class TLSSocket(ssl.SSLSocket, Socket):
    """An ``ssl.SSLSocket`` whose waits park the goroutine; on a foreign thread they block the thread.

    ``open_connection(tls=...)`` and ``serve(tls=...)`` make it. ``gmpx.patch.ssl()`` gives the same to every
    ``SSLSocket`` of the program, and says what holds for time-outs, threads and cancelled calls.
    """

    do_handshake_on_connect: bool

    # SSLSocket sets it to what it calls for everything; its base is Socket here, by the order of the bases.
    @property
    def _sslobj(self) -> Any:
        return self.__dict__.get("_sslobj")

    @_sslobj.setter
    def _sslobj(self, plain: Any) -> None:
        self.__dict__["_sslobj"] = _Parking(plain) if _PARKS and plain is not None else plain

    def accept(self) -> tuple[TLSSocket, Any]:
        connection, address = Socket.accept(self)
        options = {"do_handshake_on_connect": self.do_handshake_on_connect}
        return wrap(connection, self.context, server_side=True, **options), address

    def shutdown(self, how: int) -> None:
        _ssl_release(self)
        super().shutdown(how)

    def detach(self) -> int:
        _ssl_release(self)
        return super().detach()


class _Parking:
    """An ``_ssl._SSLSocket``, but for the four methods that wait."""

    __slots__ = ("_plain", "do_handshake", "read", "shutdown", "write")

    _plain: Any
    do_handshake: Any
    read: Any
    shutdown: Any
    write: Any

    def __init__(self, plain: Any) -> None:
        own = functools.partial(object.__setattr__, self)
        own("_plain", plain)
        own("read", functools.partial(_ssl_read, plain))
        own("write", functools.partial(_ssl_write, plain))
        own("do_handshake", functools.partial(_ssl_do_handshake, plain))
        own("shutdown", functools.partial(_ssl_shutdown, plain))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._plain, name, value)


def wrap(sock: Socket, context: ssl.SSLContext, **options: Any) -> TLSSocket:
    """``context.wrap_socket(sock, **options)``; whatever it raises, the socket is closed then."""
    shakes = options.pop("do_handshake_on_connect", True)
    try:
        connection: TLSSocket = TLSSocket._create(  # type: ignore[attr-defined]
            sock, context=context, do_handshake_on_connect=False, **options
        )
    except BaseException:
        sock.close()
        raise
    connection.do_handshake_on_connect = shakes
    if shakes:
        try:
            connection.do_handshake()
        except BaseException:
            connection.close()
            raise
    return connection


def say_goodbye(connection: TLSSocket) -> None:
    """Sends close_notify, if there is room for it now; waits for nothing."""
    try:
        connection.settimeout(0)
        connection.unwrap()
    except (OSError, ValueError):  # it has ended otherwise, or the peer has not said it yet
        pass


def client_context(tls: ssl.SSLContext | bool) -> ssl.SSLContext:
    """The context that ``tls`` stands for."""
    global _default
    if tls is True:
        if _default is None:
            _default = ssl.create_default_context()  # reads the system's certificates
        return _default
    if not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"tls must be True or an ssl.SSLContext, not {type(tls).__name__}")
    return tls
