"""open_connection: a TCP connection to a name or an address."""

import socket
import time
from typing import Any

from gmpx._core import _parks
from gmpx._core import timeout as time_limit
from gmpx.io import names
from gmpx.io.sockets import Socket


def open_connection(host: str, port: int | str, *, timeout: float | None = None) -> Socket:
    """Connects to host by TCP, trying its addresses in their order.

    Args:
        host: a name or an address.
        port: a number, or the name of a service.
        timeout: seconds for all of it (on a foreign thread, the look-up excepted); None waits as long as
            the system does.

    Returns:
        A ``Socket`` with no time-out of its own, Nagle's delay switched off (TCP_NODELAY).

    Raises:
        OSError: of the last address that was tried. TimeoutError: no connection in time.
        socket.gaierror: there is no such name.

    Parks the goroutine; on a foreign thread, blocks the thread. Go: net.Dial.
    """
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout must not be negative or NaN: {timeout!r}")
    deadline = None if timeout is None else time.monotonic() + timeout
    failed: OSError | None = None
    for family, kind, proto, _, address in _addresses(host, port, timeout):
        try:
            s = Socket(family, kind, proto)
        except OSError as error:
            failed = error  # a family that this system has not
            continue
        try:
            if deadline is not None:
                s.settimeout(max(deadline - time.monotonic(), 1e-9))
            s.connect(address)
            s.settimeout(None)
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


def _addresses(host: str, port: int | str, timeout: float | None) -> Any:
    if not _parks():
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    try:
        with time_limit(timeout):
            return names.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except TimeoutError:
        raise TimeoutError(f"open_connection: {host}:{port} timed out") from None
