"""open_connection: a TCP connection to a name or an address."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, Literal, overload

from gmpx._core import FailFast, _parks
from gmpx._core import timeout as time_limit
from gmpx.io import names
from gmpx.io.sockets import Socket

if TYPE_CHECKING:
    from ssl import SSLContext

    from gmpx.io.tls import TLSSocket

ENDLESS_S = 1e9  # settimeout takes nine times as much


@overload
def open_connection(
    host: str, port: int | str, *, timeout: float | None = None, tls: Literal[False] = False
) -> Socket: ...
@overload
def open_connection(
    host: str,
    port: int | str,
    *,
    timeout: float | None = None,
    tls: SSLContext | Literal[True],
    server_hostname: str | None = None,
) -> TLSSocket: ...
def open_connection(
    host: str,
    port: int | str,
    *,
    timeout: float | None = None,
    tls: SSLContext | bool = False,
    server_hostname: str | None = None,
) -> Socket:
    """Connects to host by TCP, trying its addresses in their order; with TLS, if asked for.

    Args:
        host: a name or an address.
        port: a number, or the name of a service.
        timeout: seconds for all of it, the handshake included (on a foreign thread, the look-up excepted);
            None waits as long as the system does.
        tls: True checks the server's certificate against the system's authorities; an ``ssl.SSLContext``
            says itself what is checked.
        server_hostname: the name that the certificate must be for, if not host.

    Returns:
        A ``Socket`` with no time-out of its own, Nagle's delay switched off (TCP_NODELAY); with tls one that
        is an ``ssl.SSLSocket``, too.

    Raises:
        OSError: of the last address that was tried. TimeoutError: no connection in time.
        socket.gaierror: there is no such name.
        ssl.SSLError: of the handshake; SSLCertVerificationError: the certificate is not good.
        ValueError: timeout is out of range, or server_hostname without tls. TypeError: tls or timeout is none.

    Parks the goroutine; on a foreign thread, blocks the thread. Go: net.Dial, tls.Dial.
    """
    if tls is not False:
        from gmpx.io.tls import client_context, wrap

        context = client_context(tls)
    elif server_hostname is not None:
        raise ValueError("server_hostname without tls")
    timeout = FailFast.check_timeout(timeout)
    deadline = None if timeout is None or timeout > ENDLESS_S else time.monotonic() + timeout
    s = _connect(host, port, deadline)
    try:
        s.settimeout(None if tls is False or deadline is None else _left(deadline))
        if tls is not False:
            s = wrap(s, context, server_hostname=server_hostname or host)
            s.settimeout(None)
        return s
    except TimeoutError:
        if deadline is None or time.monotonic() < deadline:
            raise  # the system's own
        raise TimeoutError(f"open_connection: {host}:{port} timed out") from None


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 1e-9)


def _connect(host: str, port: int | str, deadline: float | None) -> Socket:
    failed: OSError | None = None
    for family, kind, proto, _, address in _addresses(host, port, deadline):
        try:
            s = Socket(family, kind, proto)
        except OSError as error:
            failed = error  # a family that this system has not
            continue
        try:
            if deadline is not None:
                s.settimeout(_left(deadline))
            s.connect(address)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return s
        except TimeoutError as error:
            s.close()
            if deadline is None or time.monotonic() < deadline:
                failed = error  # the system's own
                continue
            raise TimeoutError(f"open_connection: {host}:{port} timed out") from None
        except OSError as error:
            s.close()
            failed = error
        except BaseException:
            s.close()
            raise
    try:
        raise failed or OSError(f"open_connection: {host}:{port} has no address")
    finally:
        failed = None  # no cycle through the traceback


def _addresses(host: str, port: int | str, deadline: float | None) -> Any:
    if not _parks():
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    try:
        with time_limit(None if deadline is None else _left(deadline)):
            return names.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except TimeoutError:
        raise TimeoutError(f"open_connection: {host}:{port} timed out") from None
