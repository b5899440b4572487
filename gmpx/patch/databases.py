"""The group "psycopg": the PostgreSQL drivers whose C code waits by itself.

psycopg 3 has the same wait in C and in Python: it gets the latter, which waits in ``select.poll``. psycopg2 calls
back, where it is told whom, instead of waiting.

gmpx imports neither: what has been imported is patched at once, and what will be right after its import.
"""

import select
from collections.abc import Callable, Iterator
from typing import Any

from gmpx._core import Cancelled, wait_readable, wait_writable
from gmpx.patch.imports import Imported
from gmpx.patch.registry import Attribute, Replacement, stays


def _psycopg(waiting: Any) -> Callable[[], None] | None:
    # Whoever has none of the C code, or has chosen another by PSYCOPG_WAIT_FUNC, has a wait in Python already.
    # Among these, poll is its authors' choice: the wait of epoll hangs on a connection that is closed meanwhile.
    ours = getattr(waiting, "wait_poll" if hasattr(select, "poll") else "wait_select", None)
    if ours is None or waiting.wait is not getattr(waiting, "wait_c", None):
        return None
    attribute = Attribute(waiting, "wait", ours, "psycopg.waiting.wait")
    attribute.apply()
    return attribute.undo


def _catches(name: str) -> Callable[[Any], Callable[[], None] | None]:
    """A module's global of this name is what it catches to clean up: Cancelled, too."""

    def change(module: Any) -> Callable[[], None] | None:
        known = getattr(module, name, None)
        known = known if isinstance(known, tuple) else (known,)
        if not all(isinstance(cls, type) and issubclass(cls, BaseException) for cls in known):
            return None
        attribute = Attribute(module, name, (*known, Cancelled), f"{module.__name__}.{name}")
        attribute.apply()
        return attribute.undo

    return change


def _psycopg2(extensions: Any) -> Callable[[], None] | None:
    ok, read, write = extensions.POLL_OK, extensions.POLL_READ, extensions.POLL_WRITE

    def wait(connection: Any) -> None:
        # What is raised here, psycopg2 passes on to the caller, and closes the connection.
        while True:
            state = connection.poll()
            if state == ok:
                return
            if state == read:
                wait_readable(connection.fileno())
            elif state == write:
                wait_writable(connection.fileno())
            else:
                raise connection.OperationalError(f"bad state from poll: {state}")

    def take_back() -> None:
        if extensions.get_wait_callback() is wait:
            extensions.set_wait_callback(None)
        else:
            stays("psycopg2's wait callback")

    if extensions.get_wait_callback() is not None:
        return None  # the program has one of its own
    extensions.set_wait_callback(wait)
    return take_back


def replacements() -> Iterator[Replacement]:
    yield Imported("psycopg.waiting", _psycopg, "psycopg.waiting.wait")
    # What Ctrl-C interrupts, psycopg cancels in the server, and the connection stays usable. The pool takes a client
    # that has waited in vain from its list, or it would give it a connection.
    for module, name in ("psycopg.connection", "_INTERRUPTED"), ("psycopg_pool.pool", "CLIENT_EXCEPTIONS"):
        yield Imported(module, _catches(name), f"{module}.{name}")
    yield Imported("psycopg2.extensions", _psycopg2, "psycopg2.extensions.set_wait_callback")
