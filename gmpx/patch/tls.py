"""The group "ssl": what ssl.SSLSocket stands on; SSLObject has the same type below, and is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, wraps
from typing import Any

from gmpx._core import _ssl_release, _swap_ssl
from gmpx.patch.registry import Attribute, Builtin, Replacement


def replacements() -> Iterator[Replacement]:
    try:
        from ssl import SSLSocket
    except ImportError:  # a Python without it
        return
    for name in ("read", "write", "do_handshake", "shutdown"):
        yield Builtin(partial(_swap_ssl, name), f"_ssl._SSLSocket.{name}")
    for name in ("shutdown", "detach"):
        yield Attribute(SSLSocket, name, _released(getattr(SSLSocket, name)), f"ssl.SSLSocket.{name}")


def _released(plain: Any) -> Any:
    # What goes on with the descriptor afterwards may not know that it does not block.
    @wraps(plain)
    def method(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        _ssl_release(self)
        return plain(self, *args, **kwargs)

    return method
