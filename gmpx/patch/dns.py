"""The group "dns": socket.getaddrinfo and its like, in _socket, and so wherever they were imported.

What they look up need not be in the DNS: hosts files, services. The group has the name that one looks for;
``gmpx.patch.names()`` would read as if it told some.
"""

from collections.abc import Iterator

from gmpx.io.names import swaps
from gmpx.patch.registry import Builtin, Replacement


def replacements() -> Iterator[Replacement]:
    for name, swap in swaps.items():
        yield Builtin(swap, f"socket.{name}")
