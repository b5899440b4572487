"""signals: signals of the process, received as from a channel (Go's signal.Notify)."""

from __future__ import annotations

import contextlib
import os
import signal as _py_signal
from collections.abc import Iterator
from importlib import import_module
from types import FrameType
from typing import Any

from gmpx._core import (
    Chan,
    ChannelClosed,
    Mutex,
    WouldBlock,
    _Builtin,
    _on_main_goroutine,
    _Receiver,
    _set_signal,
    _sigint_handler,
    _SignalHandler,
    run_on_main,
    shield,
)


class Signals(_Receiver):
    """Receives signals until ``stop``: what ``signals`` returns."""

    c: Chan[int]
    numbers: tuple[int, ...]

    def __init__(self, *numbers: int, capacity: int = 16) -> None:
        if not numbers:
            raise TypeError("signals() needs a signal to wait for")
        for number in numbers:
            if not isinstance(number, int) or isinstance(number, bool):
                raise TypeError(
                    f"signals() needs signals such as signal.SIGTERM, not {type(number).__name__} {number!r}"
                )
            if number not in _py_signal.valid_signals():
                raise ValueError(f"signals(): there is no such signal: {number}")
        if not isinstance(capacity, int):
            raise TypeError(f"signals() needs an int as its capacity, not {type(capacity).__name__}")
        if capacity < 1:
            raise ValueError(f"signals() needs a capacity of at least 1: {capacity}")
        if self.c is not None:
            raise RuntimeError("signals() begins once")
        self._begin(capacity)
        self.numbers: tuple[int, ...] = tuple(dict.fromkeys(int(n) for n in numbers))
        try:
            _on_main(_begin, self)
        except BaseException:  # a cancel, perhaps, when it has begun
            with shield():
                _on_main(_end, self)
            raise

    def recv(self, timeout: float | None = None) -> int:
        """Waits for the next signal: a ``signal.Signals``, or an int where that has no name for it.

        Args:
            timeout: seconds; None waits for ever, 0 tries once.

        Raises:
            TimeoutError: none has come in time.
            ChannelClosed: stopped, and all that had come by then was received.

        Parks the goroutine; on a foreign thread, blocks the thread.
        """
        return self.c.recv(timeout)

    def recv_nowait(self) -> int:
        """As recv, but never waits: WouldBlock if none is there."""
        return self.c.recv_nowait()

    def __iter__(self) -> Iterator[int]:
        return iter(self.c)

    def __len__(self) -> int:
        return len(self.c)

    def __bool__(self) -> bool:
        return True

    def stop(self) -> None:
        """Receives no more, and gives the former handlers back where nobody has set another since.

        What has come is still received, then ``recv`` raises ChannelClosed and iteration ends. May be called
        again. Waits for the main thread, as ``signals`` does.
        """
        if not self.c.closed:
            with shield():
                _on_main(_end, self)
            with contextlib.suppress(ChannelClosed):
                self.c.close()

    def __enter__(self) -> Signals:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<gmpx.io.signals {', '.join(getattr(_name(n), 'name', str(n)) for n in self.numbers)}>"


def signals(*numbers: int, capacity: int = 16) -> Signals:
    """Receives these signals instead of the handlers that they have (Go's signal.Notify).

    Args:
        numbers: ``signal.SIGTERM`` …
        capacity: how many signals wait at most to be received, >= 1; more are dropped.

    Returns:
        A ``Signals``: ``recv()``, ``for sig in …``, a case of ``select``, a context manager; ``stop()`` ends it
        and gives the former handlers back. Several may receive the same signal; each gets it.

    Raises:
        ValueError: there is no such signal. OSError: it cannot be received (SIGKILL). TypeError: no signal.
        RuntimeError: a foreign thread asks, and the main thread has not used gmpx yet.

    Any goroutine and thread may call it; it waits until the main goroutine parks or yields, since Python sets
    handlers on the main thread alone. That thread receives the signals, too, as Python's own handlers do: when
    it runs Python code or the scheduler, but not inside a call that blocks it.

    >>> import gmpx.io, os, signal
    >>> with gmpx.io.signals(signal.SIGTERM) as received:
    ...     os.kill(os.getpid(), signal.SIGTERM)
    ...     received.recv().name
    'SIGTERM'
    """
    return Signals(*numbers, capacity=capacity)


# ---- the handler; all of this is the main thread's ----

_receivers: dict[int, tuple[Signals, ...]] = {}  # by signal
_former: dict[int, Any] = {}
_mutex = Mutex()


def _on_main(fn: Any, receiver: Signals) -> None:
    with _mutex:  # a signal handler can let another goroutine of the main thread run at any instruction
        run_on_main(fn, receiver)


def _name(number: int) -> int:
    try:
        return _py_signal.Signals(number)
    except ValueError:
        return number


def deliver(number: int, frame: FrameType | None) -> None:
    """The Python handler of every signal that is received. Never waits."""
    name = _name(number)
    for receiver in _receivers.get(number, ()):
        with contextlib.suppress(WouldBlock, ChannelClosed):
            receiver.c.send_nowait(name)


def _begin(receiver: Signals) -> None:
    done = []
    try:
        for number in receiver.numbers:
            others = _receivers.get(number, ())
            _receivers[number] = (*others, receiver)
            done.append(number)
            if plain_getsignal(number) is not deliver:
                former = unwrapped(plain_getsignal(number))
                _set_signal(plain_signal, number, deliver)
                _former[number] = former
    except BaseException:
        _forget(receiver, done)
        raise


def _end(receiver: Signals) -> None:
    _forget(receiver, list(receiver.numbers))


def _forget(receiver: Signals, numbers: list[int]) -> None:
    for number in numbers:
        left = tuple(r for r in _receivers.get(number, ()) if r is not receiver)
        if left:
            _receivers[number] = left
            continue
        _receivers.pop(number, None)
        former = _former.pop(number, None)
        if former is not None and plain_getsignal(number) is deliver:
            _set_signal(plain_signal, number, wrapped(former) if wraps else former)


def _forked() -> None:
    global _mutex
    _mutex = Mutex()  # whoever held it is the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


# ---- handlers, as the patch sets and shows them ----


wraps = False  # the patch is set


def wrapped(handler: Any) -> Any:
    if handler is _py_signal.default_int_handler:
        return _sigint_handler
    if not callable(handler) or any(handler is ours for ours in _OURS) or isinstance(handler, _SignalHandler):
        return handler
    return _SignalHandler(handler)


def unwrapped(handler: Any) -> Any:
    return handler.handler if isinstance(handler, _SignalHandler) else handler


def _shown(handler: Any) -> Any:
    # asyncio.run takes Ctrl-C over from CPython's own handler alone. In another goroutine it is not to take it from
    # the main one.
    if handler is _sigint_handler and _on_main_goroutine():
        return _py_signal.default_int_handler
    return unwrapped(handler)


def _signal_patched(*args: Any) -> Any:
    if len(args) == 2 and callable(args[1]):
        return _shown(plain_signal(args[0], wrapped(args[1])))
    return _shown(plain_signal(*args))


def _getsignal_patched(*args: Any) -> Any:
    return _shown(plain_getsignal(*args))


_OURS = (deliver, _sigint_handler)
_signal: Any = import_module("_signal")
swap_signal = _Builtin(_signal.signal, _signal_patched, True)
swap_getsignal = _Builtin(_signal.getsignal, _getsignal_patched, True)
plain_signal = swap_signal.plain
plain_getsignal = swap_getsignal.plain
