"""The group "signal": waits for signals; and handlers, whose exceptions reach the main goroutine."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from importlib import import_module
from threading import get_ident, main_thread
from typing import Any

from gmpx._core import (
    Mutex,
    _Builtin,
    _note_sigmask,
    _set_signal,
    _signal_fd,
    go,
    notify_closing,
    readable,
    run_on_main,
    select,
    shield,
    sleep,
    wait_readable,
)
from gmpx.io import signalling as handlers
from gmpx.patch.registry import Builtin, Replacement

#: Where there is no signalfd, so often is looked what is pending.
LOOK_S = 0.01
# A signal that is sent to one thread shows to that alone. Should sysmon poll for a busy one just then, its
# event is lost; so a wait looks by itself, rarer and rarer.
LOOK_AGAIN_S = 1.0
LOOK_AGAIN_MOST_S = 60.0


# ---- sigwait, sigwaitinfo, sigtimedwait ----


def sigwait(*args: Any) -> Any:
    if len(args) != 1 or (wanted := _listed(args[0])) is None:
        return plain["sigwait"](*args)
    return _number(_wait(wanted, None, "sigwait"))


def sigwaitinfo(*args: Any) -> Any:
    if len(args) != 1 or (wanted := _listed(args[0])) is None:
        return plain["sigwaitinfo"](*args)
    return _wait(wanted, None, "sigwaitinfo")


def sigtimedwait(*args: Any) -> Any:
    if (
        len(args) != 2
        or (wanted := _listed(args[0])) is None
        or not isinstance(args[1], (int, float))
        or not 0 < args[1] < 9e9
    ):
        return plain["sigtimedwait"](*args)
    return _wait(wanted, time.monotonic() + args[1], "sigtimedwait")


def _listed(sigset: Any) -> list[Any] | None:
    try:
        return list(sigset)  # an iterator gives it once
    except TypeError:
        return None


def _number(info: Any) -> int:
    return info if isinstance(info, int) else int(info.si_signo)


def _take(wanted: list[Any], name: str) -> Any:
    """One that is pending, or None. ValueError, TypeError: no signals."""
    if "sigtimedwait" in plain:
        return plain["sigtimedwait"](wanted, 0)
    if signal.sigpending().isdisjoint(wanted) and signal.valid_signals().issuperset(wanted):
        return None
    return plain[name](wanted)


def _wait(wanted: list[Any], deadline: float | None, name: str) -> Any:
    info = _take(wanted, name)
    if info is not None:
        return info
    # One that some thread does not block never is pending: its handler runs there, or the process ends by it.
    # CPython's call would get it, were that thread its own.
    open_ = [n for n in wanted if _is_open(n)]
    with contextlib.ExitStack() as stack:
        caught = stack.enter_context(handlers.signals(*open_)) if open_ else None
        fd = _descriptor(wanted, stack)
        patience = LOOK_AGAIN_S
        while True:
            got = _wait_once(fd, caught, _until(deadline, patience if fd >= 0 else LOOK_S))
            if got is not None:
                return _as_info(got)
            info = _take(wanted, name)
            if info is not None:
                return info
            if deadline is not None and time.monotonic() >= deadline:
                return None
            patience = min(2 * patience, LOOK_AGAIN_MOST_S)


def _is_open(number: int) -> bool:
    """Whether a thread takes it, and something comes of that."""
    if number in (signal.SIGKILL, signal.SIGSTOP):
        return False
    handler = handlers.plain_getsignal(number)
    return (callable(handler) or handler == signal.SIG_DFL) and any(
        not mask >> number - 1 & 1 for mask in _masks()
    )


def _masks() -> Iterator[int]:
    """The signals that each thread blocks; where that is not to be known, the calling one."""
    try:
        tasks = os.listdir("/proc/self/task")
    except OSError:
        blocked = plain["pthread_sigmask"](signal.SIG_BLOCK, ())
        yield sum(1 << n - 1 for n in blocked)
        return
    for task in tasks:
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/status") as file:
            for line in file:
                if line.startswith("SigBlk:"):
                    yield int(line.split()[1], 16)


def _descriptor(wanted: list[Any], stack: contextlib.ExitStack) -> int:
    try:
        fd = _signal_fd(wanted)
    except OSError:
        return -1
    stack.callback(os.close, fd)
    stack.callback(notify_closing, fd)
    return fd


def _until(deadline: float | None, patience: float) -> float:
    if deadline is None:
        return patience
    return max(0.0, min(patience, deadline - time.monotonic()))


def _wait_once(fd: int, caught: Any, patience: float) -> int | None:
    """The number of one that was caught; None: look."""
    with contextlib.suppress(TimeoutError):
        if caught is not None:
            _, got, _ = select(
                caught, *([readable(fd)] if fd >= 0 else []), timeout=patience
            )
            return got if isinstance(got, signal.Signals) else None
        if fd >= 0:
            wait_readable(fd, patience)
        else:
            sleep(patience)
    return None


def _as_info(number: int) -> Any:
    if hasattr(signal, "struct_siginfo"):
        return signal.struct_siginfo((int(number), 0, 0, 0, 0, 0, 0))
    return int(number)


def pthread_sigmask(*args: Any) -> Any:
    before = plain["pthread_sigmask"](*args)
    _note_sigmask()
    return before


# ---- pause ----


class Watch:
    """What those that are in pause share: a pipe that CPython's signal handler writes to."""

    def __init__(self) -> None:
        self.r, self.w = os.pipe()
        os.set_blocking(self.r, False)
        os.set_blocking(self.w, False)
        self.users = 0
        self.former = -1

    def begin(self) -> None:
        self.former = signal.set_wakeup_fd(self.w, warn_on_full_buffer=False)

    def end(self) -> None:
        found = signal.set_wakeup_fd(-1)
        if found == self.w:
            found = self.former  # else the program's, set meanwhile
        with contextlib.suppress(OSError, ValueError):
            signal.set_wakeup_fd(found, warn_on_full_buffer=False)

    def close(self) -> None:
        self.pass_on()
        notify_closing(self.r)
        os.close(self.r)
        os.close(self.w)

    def pass_on(self) -> None:
        """What the program's own descriptor should have got."""
        with contextlib.suppress(OSError):
            while data := os.read(self.r, 4096):
                if self.former >= 0:
                    os.write(self.former, data)


_watch: Watch | None = None
_mutex = Mutex()


def _forked() -> None:
    global _mutex, _watch
    _mutex = Mutex()
    if _watch is not None:
        run_on_main(_watch.end)
        _watch.close()
        _watch = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def pause() -> None:
    global _watch
    with _mutex:
        watch = _watch
        if watch is None:
            watch = Watch()
            try:
                with shield():
                    run_on_main(watch.begin)
            except BaseException:
                watch.close()
                raise
            _watch = watch
        watch.users += 1
    try:
        wait_readable(watch.r)
        watch.pass_on()
        run_on_main(_nothing)  # the handler has run by then
    finally:
        with shield(), _mutex:
            watch.users -= 1
            if watch.users == 0:
                _watch = None
                try:
                    run_on_main(watch.end)
                finally:
                    watch.close()


def _nothing() -> None:
    pass


# ---- handlers ----


class Handlers:
    """The handlers that are set already."""

    title = "signal handlers"

    def apply(self) -> None:
        handlers.wraps = True
        self._exchange()

    def undo(self) -> None:
        handlers.wraps = False
        self._exchange()

    def _exchange(self) -> None:
        # Another thread does not wait for the main one, which may wait for that thread, or for the registry's lock.
        if get_ident() == main_thread().ident:
            self._on_main()
        else:
            go(self._on_main)

    def _on_main(self) -> None:
        with contextlib.suppress(RuntimeError, ValueError):
            # the main thread has not used gmpx, or ends: nothing can go to its goroutine
            run_on_main(self._change)

    def _change(self) -> None:
        change = handlers.wrapped if handlers.wraps else handlers.unwrapped
        for number in signal.valid_signals():
            handler = handlers.plain_getsignal(number)
            new = change(handler)
            if new is not handler:
                _set_signal(handlers.plain_signal, number, new)


swaps = {
    ours.__name__: _Builtin(getattr(import_module("_signal"), ours.__name__), ours)
    for ours in (sigwait, sigwaitinfo, sigtimedwait, pause, pthread_sigmask)
    if hasattr(signal, ours.__name__)
}
plain = {name: swap.plain for name, swap in swaps.items()}


def replacements() -> Iterator[Replacement]:
    for name, swap in swaps.items():
        yield Builtin(swap, f"signal.{name}")
    yield Builtin(handlers.swap_signal, "signal.signal")
    yield Builtin(handlers.swap_getsignal, "signal.getsignal")
    yield Handlers()  # type: ignore[misc]
