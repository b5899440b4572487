"""Makes blocking code park the goroutine instead of the thread.

    import gmpx.patch
    gmpx.patch.all()

``requests``, ``urllib3``, ``http.client``, database drivers and servers that nobody rewrote then wait
without holding a thread. It works at any time, also when everything has been imported and used: methods
are set on ``socket.socket`` and the types of ``select`` in place, and built-in functions keep their
objects, so who has done ``from time import sleep`` gets it, too. No class is exchanged for another.

On foreign threads (``threading.Thread`` …) all of it behaves as without the patch. In goroutines of the
main thread and of the runtime's own a wait parks the goroutine; cancel, ``gmpx.timeout``, Ctrl-C and
shutdown end it, and time-outs are the standard library's.

Threads stay threads. Locks and queues park a goroutine and block a foreign thread, so both share them.
What waits inside a C library holds its thread (but in psycopg's); ``gmpx.blocking`` moves it elsewhere.
"""

import builtins
from builtins import all as all_of
from collections.abc import Callable, Iterable

from gmpx.patch import children, clock, databases, locks, loops, polling, registry, signals, sockets, streams, tls
from gmpx.patch import dns as names

__all__ = [
    "all",
    "asyncio",
    "dns",
    "is_patched",
    "os",
    "psycopg",
    "queue",
    "report",
    "select",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "undo",
]

_GROUPS: dict[str, Callable[[], Iterable[registry.Replacement]]] = {
    "socket": sockets.replacements,
    "ssl": tls.replacements,
    "select": polling.replacements,
    "time": clock.replacements,
    "dns": names.replacements,
    "signal": signals.replacements,
    "os": streams.replacements,
    "subprocess": children.replacements,
    "threading": locks.replacements,
    "queue": locks.queues,
    "asyncio": loops.replacements,
    "psycopg": databases.replacements,
}

# What each stands on.
_NEEDS = {"ssl": ("socket",), "psycopg": ("select",)}


def _group(name: str) -> str:
    if name not in _GROUPS:
        raise ValueError(f"no such group: {name!r}; there are {', '.join(_GROUPS)}")
    return name


def all(**groups: bool) -> None:
    """Patches every group, but those that are given as False: ``all(select=False)``.

    Without ``socket`` there is no ``ssl``, which stands on it, and without ``select`` no ``psycopg``.

    May be called again; what is patched stays so.

    Raises:
        ValueError: there is no such group. TypeError: neither True nor False.
        RuntimeError: this interpreter's sockets are not as expected; nothing of that group is patched.
    """
    for name, on in groups.items():
        if not isinstance(on, bool):
            raise TypeError(f"{_group(name)} must be True or False, not {on!r}")
        _group(name)
    for name in _GROUPS:
        if groups.get(name, all_of(groups.get(needed, True) for needed in _NEEDS.get(name, ()))):
            _apply(name)


def _apply(name: str) -> None:
    for needed in _NEEDS.get(name, ()):
        _apply(needed)
    registry.apply(name, _GROUPS[name])


def socket() -> None:
    """Patches the methods of ``socket.socket``: recv, send, accept, connect and their like."""
    registry.apply("socket", _GROUPS["socket"])


def ssl() -> None:
    """Patches ``ssl.SSLSocket``: handshake, read, write, unwrap; and the group "socket", if it is not yet.

    ``SSLObject`` and ``MemoryBIO``, which never wait, are left alone.
    """
    _apply("ssl")


def select() -> None:
    """Patches ``select.select`` and the objects of poll, epoll and kqueue, and with them ``selectors``."""
    registry.apply("select", _GROUPS["select"])


def time() -> None:
    """Patches ``time.sleep``."""
    registry.apply("time", _GROUPS["time"])


def dns() -> None:
    """Patches ``socket.getaddrinfo``, ``gethostbyname`` and their like: names are looked up elsewhere."""
    registry.apply("dns", _GROUPS["dns"])


def signal() -> None:
    """Patches ``signal.sigwait``, ``sigwaitinfo``, ``sigtimedwait`` and ``pause``; and what a signal handler raises
    goes to the main goroutine, whichever goroutine it has interrupted.
    """
    registry.apply("signal", _GROUPS["signal"])


def os() -> None:
    """Patches ``os.read``, ``os.write`` and the files of ``io``: pipes, FIFOs, terminals, ``input``."""
    registry.apply("os", _GROUPS["os"])


def subprocess() -> None:
    """Patches what waits for children: ``subprocess``, ``os.waitpid`` and its like, ``os.system``."""
    registry.apply("subprocess", _GROUPS["subprocess"])


def threading() -> None:
    """Patches the locks of ``_thread``, in place, and so all of ``threading``; and ``Thread.join``.

    ``Lock``, ``RLock`` and what is made of them (``Condition``, ``Event``, ``Semaphore``, ``Barrier``, ``queue.Queue``
    …) park the goroutine, those made before the patch, too. An ``RLock`` belongs to the goroutine, and
    ``threading.local`` follows it (``gmpx.thread_locals``).
    """
    registry.apply("threading", _GROUPS["threading"])


def queue() -> None:
    """Patches ``queue.SimpleQueue``. The other queues are made of locks: they come with the group "threading"."""
    registry.apply("queue", _GROUPS["queue"])


def asyncio() -> None:
    """Lets each goroutine run an event loop of its own: ``asyncio.run`` in several goroutines of one thread."""
    registry.apply("asyncio", _GROUPS["asyncio"])


def psycopg() -> None:
    """Patches the PostgreSQL drivers psycopg 3 and psycopg2, whose C code waits by itself; and the group "select", if
    it is not yet.

    psycopg 3 waits in its Python code instead, psycopg2 by a callback (``set_wait_callback``), unless the program has
    set one of its own. Whether they have been imported or will be does not matter; gmpx imports neither. psycopg2
    has no COPY and no large objects beside a callback, on any thread.
    """
    _apply("psycopg")


def undo(*groups: str) -> None:
    """Takes the patch back: all of it, or these groups, and with "socket" also "ssl", with "select" also "psycopg".

    Goroutines that wait in patched calls go on waiting as they do.

    Raises:
        ValueError: there is no such group.
    Warns:
        RuntimeWarning: somebody else has replaced something since; that stays as it is.
    """
    names = {_group(name) for name in groups} or set(_GROUPS)
    names.update(name for name, needs in _NEEDS.items() if names.intersection(needs))
    registry.undo(name for name in reversed(_GROUPS) if name in names)


def is_patched(name: str) -> bool:
    """Tells whether a group ("socket"), or one function by its full name ("time.sleep"), is patched.

    ``report()`` has the names of all functions that are; of any other it is False.

    Raises:
        ValueError: there is no such group. TypeError: it is no name, but the function itself, say.
    """
    if not isinstance(name, str):
        raise TypeError(f"is_patched() needs a name such as 'time.sleep', not {type(name).__name__}")
    applied = registry.applied()
    if name in applied or any(name in (title, *title.split(", ")) for titles in applied.values() for title in titles):
        return True
    if "." not in name and not hasattr(builtins, name):
        _group(name)
    return False


def report() -> str:
    """What is patched now, as text: a line for each group."""
    applied = registry.applied()
    return "\n".join(
        f"{name}: {', '.join(applied[name])}" if name in applied else f"{name}: not patched"
        for name in _GROUPS
    )
