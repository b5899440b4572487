"""The group "subprocess": what waits for children.

A wait for one child is a wait for its pidfd (Linux 5.3); SIGCHLD is left alone. What a pidfd does not tell, any
child or a group's, and stops, a thread waits for by waitid(WNOWAIT), which takes nothing away: one thread for all
goroutines that wait for the same. Each then asks by WNOHANG, so it is they who get the child, as ever.
"""

import os
import subprocess
import time
from _thread import start_new_thread
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from gmpx._core import Event, _Builtin, _parks, blocking, shield, sleep, wait_readable
from gmpx.patch.registry import Attribute, Builtin, Replacement

try:
    SemLock: Any = import_module("_multiprocessing").SemLock
except (ImportError, AttributeError):
    SemLock = None

POSIX = hasattr(os, "fork")
# Where somebody has put something else into os, that calls these.
_posix: Any = import_module(os.name)
NAP_MOST_S = 0.02  # between looks at what tells nobody when it changes


def replacements() -> Iterator[Replacement]:
    for name, swap in _functions.items():
        yield Builtin(swap, name)
    if POSIX:
        yield Attribute(
            subprocess.Popen, "_execute_child", execute_child, "subprocess.Popen._execute_child"
        )
    yield Attribute(
        subprocess.Popen,
        "_wait",
        popen_wait if POSIX else popen_wait_elsewhere,
        "subprocess.Popen.wait",
    )


# ---- when a child has changed --------------------------------------------------------------


class Watch:
    """A thread that waits until there is a child to wait for."""

    def __init__(self, key: tuple[int, int, int]):
        self.key = key
        self.changed = Event()

    def run(self) -> None:
        kind, number, options = self.key
        try:
            plain("os.waitid")(kind, number, options | os.WNOWAIT)
        except OSError:
            pass  # there is none: those who ask get to know
        finally:
            if _watches.get(self.key) is self:
                del _watches[self.key]
            self.changed.set()


_watches: dict[tuple[int, int, int], Watch] = {}


def _watch(kind: int, number: int, options: int, timeout: float | None = None) -> None:
    """Parks until there may be something to wait for."""
    if not hasattr(_posix, "waitid"):
        return sleep(NAP_MOST_S if timeout is None else min(NAP_MOST_S, timeout))
    key = (kind, number, options & (os.WEXITED | os.WSTOPPED | os.WCONTINUED))
    watch = _watches.get(key)
    if watch is None:
        watch = _watches[key] = Watch(key)
        try:
            start_new_thread(watch.run, ())
        except BaseException:
            del _watches[key]
            raise
    watch.changed.wait(timeout) if timeout is not None else watch.changed._wait_call()


def _pidfd(pid: int) -> int | None:
    """A descriptor that is readable when the process has ended; None: not to be had."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _wait_for(pid: int, attempt: Callable[[], Any]) -> Any:
    """Attempts until there is a result; parks until the child has ended."""
    result = attempt()
    if result is None:
        fd = _pidfd(pid)
        try:
            result = attempt()  # the descriptor is that child's, if this finds it alive
            while result is None:
                if fd is None:
                    _watch(_P_PID, pid, _WEXITED)
                else:
                    wait_readable(fd)
                result = attempt()
                if result is None:
                    sleep(0.001)  # a tracer has it
        finally:
            if fd is not None:
                os.close(fd)
    return result


def _wait_any(pid: int, options: int, attempt: Callable[[], Any]) -> Any:
    """The same for whatever waitpid's arguments are."""
    stops = options & (_WUNTRACED | _WCONTINUED)
    if pid > 0 and not stops:
        return _wait_for(pid, attempt)
    kind, number = (
        (_P_PID, pid)
        if pid > 0
        else (_P_ALL, 0)
        if pid == -1
        else (_P_PGID, -pid if pid else os.getpgrp())
    )
    while (result := attempt()) is None:
        _watch(kind, number, _WEXITED | stops)
    return result


# ---- os ------------------------------------------------------------------------------------

if POSIX:
    _WUNTRACED = os.WUNTRACED
    _WCONTINUED = os.WCONTINUED
    _P_PID = getattr(os, "P_PID", 1)
    _P_PGID = getattr(os, "P_PGID", 2)
    _P_ALL = getattr(os, "P_ALL", 0)
    _WEXITED = getattr(os, "WEXITED", 4)
    os.register_at_fork(after_in_child=_watches.clear)


def _waits(*args: Any) -> bool:
    """Whether these are (…, options) without WNOHANG; what is wrong is for the original to say."""
    return all(isinstance(a, int) for a in args) and not args[-1] & os.WNOHANG


def waitpid(*args: Any) -> Any:
    if len(args) != 2 or not _waits(*args):
        return plain("os.waitpid")(*args)
    pid, options = args

    def attempt() -> Any:
        result = plain("os.waitpid")(pid, options | os.WNOHANG)
        return result if result[0] else None

    return _wait_any(pid, options, attempt)


def wait() -> Any:
    return waitpid(-1, 0)


def wait3(*args: Any, **kwargs: Any) -> Any:
    options: Any = args[0] if len(args) == 1 else kwargs.get("options")
    if len(args) + len(kwargs) != 1 or not _waits(options):
        return plain("os.wait3")(*args, **kwargs)

    def attempt() -> Any:
        result = plain("os.wait3")(options | os.WNOHANG)
        return result if result[0] else None

    return _wait_any(-1, options, attempt)


def wait4(*args: Any, **kwargs: Any) -> Any:
    given = dict(zip(("pid", "options"), args), **kwargs)
    if len(given) != 2 or len(args) + len(kwargs) != 2 or not {"pid", "options"} == set(given):
        return plain("os.wait4")(*args, **kwargs)
    pid, options = given["pid"], given["options"]
    if not _waits(pid, options):
        return plain("os.wait4")(*args, **kwargs)

    def attempt() -> Any:
        result = plain("os.wait4")(pid, options | os.WNOHANG)
        return result if result[0] else None

    return _wait_any(pid, options, attempt)


def waitid(*args: Any) -> Any:
    if len(args) != 3 or not _waits(*args):
        return plain("os.waitid")(*args)
    kind, number, options = args

    def attempt() -> Any:
        return plain("os.waitid")(kind, number, options | os.WNOHANG)

    ends_alone = not options & (os.WSTOPPED | os.WCONTINUED)
    if kind == _P_PID and number > 0 and ends_alone:
        return _wait_for(number, attempt)
    if kind == getattr(os, "P_PIDFD", 3):
        if not os.get_blocking(number):
            return plain("os.waitid")(*args)
        if ends_alone:
            while (result := attempt()) is None:
                wait_readable(number)
            return result
    while (result := attempt()) is None:
        _watch(kind, number, options)
    return result


def system(*args: Any, **kwargs: Any) -> Any:
    return blocking(plain("os.system"), *args, **kwargs)


# ---- subprocess ----------------------------------------------------------------------------

_plain_wait: Any = subprocess.Popen._wait  # type: ignore[attr-defined]
_plain_execute_child = subprocess.Popen._execute_child  # type: ignore[attr-defined]


def execute_child(self: Any, *args: Any, **kwargs: Any) -> None:
    """A cancel between fork and exec would leave a child that nobody knows."""
    with shield():
        _plain_execute_child(self, *args, **kwargs)


def popen_wait(self: Any, timeout: float | None) -> int | None:
    """Popen._wait. The lock is held for a look only: no goroutine parks with it."""
    if self.returncode is not None or not _parks():
        return _plain_wait(self, timeout)  # type: ignore[no-any-return]
    end = None if timeout is None else time.monotonic() + timeout
    fd = None
    waited = False
    try:
        while not _reap(self):
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(self.args, timeout)  # type: ignore[arg-type]
            if waited:
                sleep(0.001 if left is None else min(0.001, left))  # a thread is about to take it
            elif fd is None:
                fd = _pidfd(self.pid)
            try:
                if fd is None:
                    _watch(_P_PID, self.pid, _WEXITED, left)
                else:
                    wait_readable(fd, left)
                waited = True
            except TimeoutError:
                pass
        return self.returncode
    finally:
        if fd is not None:
            os.close(fd)


def _reap(self: Any) -> bool:
    """Looks whether the child has ended."""
    if self._waitpid_lock.acquire(False):
        try:
            if self.returncode is None:
                pid, status = self._try_wait(os.WNOHANG)
                if pid == self.pid:
                    self._handle_exitstatus(status)
        finally:
            self._waitpid_lock.release()
    return self.returncode is not None


def popen_wait_elsewhere(self: Any, timeout: float | None) -> int | None:
    if self.returncode is None and _parks():
        return blocking(_plain_wait, self, timeout)  # type: ignore[no-any-return]
    return _plain_wait(self, timeout)  # type: ignore[no-any-return]


# ---- multiprocessing -----------------------------------------------------------------------

def acquire(self: Any, block: bool = True, timeout: float | None = None) -> bool:
    """A lock that processes share tells nobody when it is free, so it is looked at, ever less often."""
    attempt = plain("multiprocessing.Lock.acquire")
    if attempt(self, False):
        return True
    if not block:
        return False
    end = None if timeout is None else time.monotonic() + timeout
    nap = 0.0005
    while True:
        left = NAP_MOST_S if end is None else end - time.monotonic()
        if left <= 0:
            return False
        sleep(min(nap, left))
        if attempt(self, False):
            return True
        nap = min(nap * 2, NAP_MOST_S)


_functions = {
    f"os.{ours.__name__}": _Builtin(getattr(_posix, ours.__name__), ours)
    for ours in ((waitpid, wait, wait3, wait4, waitid, system) if POSIX else (system,))
    if hasattr(_posix, ours.__name__)
}
if SemLock is not None:
    for name in ("acquire", "__enter__"):
        _functions[f"multiprocessing.Lock.{name}"] = _Builtin(getattr(SemLock, name), acquire)


def plain(name: str) -> Any:
    return _functions[name].plain
