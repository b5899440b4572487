"""The groups "threading" and "queue": CPython's locks, RLocks and SimpleQueues, in place.

Condition, Event, Semaphore, Barrier and Timer of ``threading`` and the other queues of ``queue`` are Python
code over locks, and so need no more than these. With "threading", ``threading.local`` follows the goroutine.

Threads stay threads. Who waits for a thread's end waits for something that is told in C alone, so that wait
goes to another thread.
"""

import _thread
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from gmpx._core import Event, _Builtin, _parks, _PlainLock, _swap_locks, _swap_queues, blocking, sleep, thread_locals
from gmpx.patch.registry import Attribute, Builtin, Replacement


NAP_MOST_S = 0.02


class _Watch:
    """A thread that waits for another's end; one for all who join that. (The spare threads of ``blocking`` are few, and
    a join that is given up would keep one for as long as the other lives.)"""

    def __init__(self, end: Any, wait: Callable[[float], bool]):
        self.end, self.wait = end, wait
        self.over = Event()

    def run(self) -> None:
        try:
            self.wait(-1)
        finally:
            _watches.pop(self.end, None)
            self.over.set()


_watches: dict[Any, _Watch] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watches.clear)


def _ended(end: Any, wait: Callable[[float], bool], seconds: float) -> bool:
    """Parks until wait(seconds), which blocks, has returned True on another thread; False: not in that time. -1: no limit."""
    watch = _watches.get(end)
    if watch is None:
        watch = _watches[end] = _Watch(end, wait)
        try:
            _thread.start_new_thread(watch.run, ())
        except RuntimeError:  # the interpreter ends
            del _watches[end]
            return _looks(wait, seconds)
    if seconds < 0:
        return watch.over._wait_call()
    until = time.monotonic() + seconds
    try:
        return watch.over.wait(min(seconds, threading.TIMEOUT_MAX))
    except TimeoutError:
        if time.monotonic() < until:
            raise  # a signal handler's
        return False


def _looks(wait: Callable[[float], bool], seconds: float) -> bool:
    """The same, where no thread can be started: it looks now and then."""
    until = time.monotonic() + seconds if seconds >= 0 else None
    nap = 0.0005
    while not wait(0):
        if until is not None and time.monotonic() >= until:
            return False
        nap = min(2 * nap, NAP_MOST_S)
        sleep(nap)
    return True


def _lock_freed(lock: "threading.Lock", seconds: float) -> bool:
    # The thread's end is not to be taken from the others that wait for it, so the lock is given back at once.
    freed = _PlainLock.acquire(lock, True, seconds)
    if freed:
        _PlainLock.release(lock)
    return freed


def _wait_elsewhere(lock: "threading.Lock", seconds: float) -> bool:
    # threading._shutdown, where 3.12 starts no thread any more.
    freed = partial(_lock_freed, lock)
    found = _looks(freed, seconds) if sys.version_info >= (3, 12) else blocking(freed, seconds)
    return found and _PlainLock.acquire(lock)  # others have it for a moment at most


#: Thread.join up to 3.12.
_wait_for_tstate_lock: Any = getattr(threading.Thread, "_wait_for_tstate_lock", None)


def _wait_for_end(self: Any, block: bool = True, timeout: float = -1) -> None:
    # CPython's takes what is raised in its wait as raised after it (bpo-45274), and the thread for ended. What a cancel
    # or a time-out raises is raised here.
    lock = self._tstate_lock
    if block and timeout != 0 and lock is not None and lock.locked() and _parks():
        block, timeout = _ended(lock, partial(_lock_freed, lock), timeout), -1
    _wait_for_tstate_lock(self, block, timeout)


def _callers() -> dict[object, str]:
    _bootstrap: Any = import_module("importlib._bootstrap")
    found = {
        _bootstrap._ModuleLock.acquire.__code__: "native",
        _bootstrap._ModuleLock.release.__code__: "native",
        threading.Condition._acquire_restore.__code__: "shielded",  # type: ignore[attr-defined]
    }
    if sys.version_info < (3, 13):
        _threading: Any = threading
        found[_wait_for_tstate_lock.__code__] = "native"
        found[_threading._shutdown.__code__] = "elsewhere"
    return found


def _locks(on: bool) -> None:
    _swap_locks(on, _callers(), _wait_elsewhere)


def _join(handle, timeout=None):  # type: ignore[no-untyped-def]
    plain = _ends["_ThreadHandle.join"].plain
    plain(handle, 0)  # who may not, is told

    def wait(seconds: float) -> bool:
        plain(handle, seconds)
        return handle.is_done()  # type: ignore[no-any-return]

    if not handle.is_done() and timeout != 0 and _ended(handle, wait, -1 if timeout is None else timeout):
        plain(handle)


def _shutdown() -> None:
    blocking(_ends["_shutdown"].plain)


#: What waits for the end of threads, from 3.13 on.
_ends: dict[str, _Builtin] = {}
if sys.version_info >= (3, 13):
    _ends["_ThreadHandle.join"] = _Builtin(_thread._ThreadHandle.join, _join)
    _ends["_shutdown"] = _Builtin(getattr(_thread, "_shutdown"), _shutdown)


def _thread_locals(on: bool) -> None:
    thread_locals(on)


def replacements() -> Iterator[Replacement]:
    yield Builtin(_locks, "threading.Lock, threading.RLock")
    if _wait_for_tstate_lock is not None:
        yield Attribute(threading.Thread, "_wait_for_tstate_lock", _wait_for_end, "threading.Thread.join")
    for name, swap in _ends.items():
        yield Builtin(swap, f"_thread.{name}")
    yield Builtin(_thread_locals, "threading.local")


def queues() -> Iterator[Replacement]:
    yield Builtin(_swap_queues, "queue.SimpleQueue")
