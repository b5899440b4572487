"""listen, and serve: a goroutine for each connection, and an end with grace."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from gmpx._core import FailFast, Goroutine, Semaphore, _parks, go, select, shield, sleep, spawn, timeout
from gmpx.arguments import limit_of
from gmpx.context import Context
from gmpx.io.signalling import Signals
from gmpx.io.sockets import Socket
from gmpx.waiting import wait

if TYPE_CHECKING:
    from ssl import SSLContext

Handler: TypeAlias = Callable[[Socket, Any], object]

#: The process or the system is short of something that ends of connections give back.
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SHORT_NAP_S = 0.005  # at first; twice as long each time in a row, as Go's http.Server
SHORT_NAP_MOST_S = 1.0
HANDSHAKE_S = 10.0


def listen(host: str = "", port: int = 0, **options: Any) -> Socket:
    """Opens a TCP listener.

    Args:
        host: the address or name to listen on; "" for all of IPv4.
        port: its port; 0 lets the system choose (``listener.getsockname()`` tells).
        options: those of ``socket.create_server``: family, backlog, reuse_port, dualstack_ipv6. The
            backlog is the system's greatest unless given.

    Raises:
        OSError: the address is in use, or not this machine's.
        TypeError: host is no name, or port no number.
    """
    if not isinstance(host, (str, bytes, bytearray)):
        raise TypeError(f"host must be a str, not {type(host).__name__}")
    if not hasattr(port, "__index__"):
        raise TypeError(f"port must be an int, not {type(port).__name__}")
    options.setdefault("backlog", socket.SOMAXCONN)
    s = socket.create_server((host, port), **options)
    return Socket(s.family, s.type, s.proto, s.detach())


def serve(
    handler: Handler,
    listener: socket.socket | tuple[str, int],
    *,
    limit: int | None = None,
    grace: float | None = None,
    context: Context | None = None,
    signals: Iterable[int] = (),
    tls: SSLContext | None = None,
    handshake_timeout: float | None = HANDSHAKE_S,
) -> None:
    """Accepts connections and runs ``handler(connection, address)`` for each in its own goroutine.

    It ends when its goroutine is cancelled or interrupted, its context ends, one of its signals comes, or
    the listener is closed or fails. Then nothing more is accepted, the handlers that run have ``grace``
    seconds to end, and those that have not are cancelled and waited for.

    Args:
        handler: its connection is a ``Socket``, which is closed when it returns. What it raises goes to
            ``excepthook``, and the others go on; that the peer has gone (ConnectionResetError,
            BrokenPipeError) is no news.
        listener: a listening socket, or (host, port) to listen on. A socket stays open and the caller's.
            Closing a ``Socket`` ends the server, without an exception; of any other socket it has a
            duplicate, which goes on. It is made non-blocking, for all that share the open file, until its
            ``settimeout`` is called.
        limit: how many handlers may run at once; further clients wait in the system's queue, as they do
            while the process has no descriptor left.
        grace: seconds; None or 0 cancels handlers at once, ``math.inf`` waits for all of them.
        context: ends the server, without an exception, when it ends.
        signals: ``(signal.SIGTERM, signal.SIGINT)``, say: the first of them ends the server, without an
            exception, and a second one its grace. Their own handlers have them again afterwards.
        tls: an ``ssl.SSLContext`` for servers: each connection begins with a handshake, in its goroutine, and
            the handler's is an ``ssl.SSLSocket``, too. It ends with a close_notify, but for one whose handler
            has raised. If the listener is an ``SSLSocket`` its context is used.
        handshake_timeout: seconds; None waits for ever. Who fails or is late is dropped, which the logger
            "gmpx.io" notes as INFO.

    Raises:
        OSError: of the listener.
        ValueError: limit, grace or handshake_timeout is out of range, the socket is no stream or does not
            listen, or the SSLContext is one for clients.
        TypeError: no handler, listener, address, context or number where there should be one.
        Cancelled, KeyboardInterrupt ...: what has ended it.

    Parks the goroutine; on a foreign thread, blocks the thread.
    """
    if not callable(handler):
        raise TypeError(f"serve() needs a handler to call, not {type(handler).__name__}")
    if context is not None and not isinstance(context, Context):
        raise TypeError(f"context must be a gmpx.context.Context, not {type(context).__name__}")
    grace = FailFast.check_timeout(grace, "grace")
    handshake_timeout = FailFast.check_timeout(handshake_timeout, "handshake_timeout")
    if handshake_timeout == 0:
        raise ValueError("handshake_timeout must be above 0")
    _check_listener(listener)
    tls = _check_tls(tls, listener)
    numbers = tuple(signals)
    with Signals(*numbers) if numbers else nullcontext() as received:
        server = _Server(handler, listener, limit_of(limit), tls, handshake_timeout)
        ends = [None if context is None else context.done(), received]
        try:
            if ends == [None, None] and _parks():
                server.accept_all()
            else:  # on a foreign thread, too, whose accept no close would wake
                server.accept_until(ends)
        finally:
            with shield():
                server.close(grace or 0.0, received)


def _check_listener(listener: object) -> None:
    if isinstance(listener, socket.socket):
        if not listener.type & socket.SOCK_STREAM or not _listens(listener):
            raise ValueError(f"serve() needs a stream socket that listens, not {listener!r}")
    elif not isinstance(listener, tuple) or len(listener) != 2:
        raise TypeError(
            "serve() needs a listening socket or a tuple (host, port), not "
            f"{type(listener).__name__}"
        )


def _listens(s: socket.socket) -> bool:
    try:
        return s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
    except (AttributeError, OSError):  # closed, or a system that does not tell: accept will
        return True


def _check_tls(tls: object, listener: object) -> SSLContext | None:
    ssl = sys.modules.get("ssl")  # without it there are no such objects
    if tls is None:
        return listener.context if ssl and isinstance(listener, ssl.SSLSocket) else None
    if not ssl or not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"tls must be an ssl.SSLContext, not {type(tls).__name__}")
    if tls.protocol == ssl.PROTOCOL_TLS_CLIENT:  # each handshake would fail, and be noted as INFO
        raise ValueError("serve() needs an SSLContext for servers, not one of PROTOCOL_TLS_CLIENT")
    context: SSLContext = tls
    return context


class _Server:
    def __init__(
        self,
        handler: Handler,
        listener: socket.socket | tuple[str, int],
        limit: int | None,
        tls: SSLContext | None,
        handshake_timeout: float | None,
    ) -> None:
        self.handler = handler if tls is None else self.handle_tls
        self.tls_handler = handler
        self.tls = tls
        self.handshake_timeout = handshake_timeout
        self.name: str = getattr(handler, "__qualname__", type(handler).__qualname__)
        self.room = None if limit is None else Semaphore(limit)
        self.running: set[Goroutine[None]] = set()
        if isinstance(listener, Socket) and listener.gettimeout() != 0:
            self.listener, self.own = listener, False
        elif isinstance(listener, socket.socket):
            # An object of ours, so that accept parks whether sockets are patched or not.
            fd = os.dup(listener.fileno())
            self.listener = Socket(listener.family, listener.type, listener.proto, fd)
            if self.listener.gettimeout() is not None:
                self.listener.settimeout(None)
            self.own = True
        else:
            self.listener, self.own = listen(*listener), True

    def accept_all(self) -> None:
        nap = SHORT_NAP_S
        while True:
            if self.room is not None:
                self.room.acquire()
            try:
                conn, address = self.listener.accept()
            except OSError as error:
                if self.room is not None:
                    self.room.release()
                if self.listener.fileno() < 0:
                    return  # its owner has closed it
                if isinstance(error, TimeoutError):
                    continue  # the listener's own
                if error.errno not in SHORT:
                    raise
                sleep(nap)
                nap = min(2 * nap, SHORT_NAP_MOST_S)
                continue
            nap = SHORT_NAP_S
            self.start(conn, address)

    def start(self, conn: Socket, address: Any) -> None:
        g = spawn(self.run, (conn, address), name=self.name)
        self.running.add(g)
        g.add_done_callback(partial(self.ended, conn))

    def run(self, conn: Socket, address: Any) -> None:
        try:
            with conn:
                self.handler(conn, address)
        except (ConnectionResetError, BrokenPipeError):
            pass

    def handle_tls(self, conn: Socket, address: Any) -> None:
        from gmpx.io.tls import GONE, say_goodbye, wrap

        assert self.tls is not None
        limit = self.handshake_timeout
        try:
            with nullcontext() if limit is None else timeout(limit):
                secured = wrap(conn, self.tls, server_side=True)
        except OSError as error:  # SSLError and TimeoutError are
            self.drop(address, error)
            return
        with secured:
            try:
                self.tls_handler(secured, address)
            except GONE:
                return
            say_goodbye(secured)

    def drop(self, address: Any, error: OSError) -> None:
        import logging

        logging.getLogger("gmpx.io").info("TLS handshake with %s: %s", address, error)

    def ended(self, conn: Socket, g: Goroutine[None]) -> None:
        conn.close()  # of one that was cancelled before it began
        self.running.discard(g)
        if self.room is not None:
            self.room.release()

    def accept_until(self, ends: list[Any]) -> None:
        acceptor = go(self.accept_all)
        try:
            select(acceptor, *ends)
        finally:
            acceptor.cancel()
            with shield():
                acceptor.join()
        error = acceptor.exception()
        if isinstance(error, Exception):
            raise error

    def close(self, grace: float, hurry: Signals | None) -> None:
        if self.own:
            self.listener.close()
        try:
            if self.running and grace > 0:
                waits = go(
                    wait, list(self.running), timeout=None if grace == float("inf") else grace
                )
                try:
                    select(waits, hurry)
                finally:
                    waits.cancel()
        finally:  # a second Ctrl-C, perhaps
            left = list(self.running)
            for g in left:
                g.cancel()
        for g in left:
            g.join()
