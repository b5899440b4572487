"""Cancellation that is handed down a tree of calls (Go's context package).

A Context is passed to whatever works on behalf of a request. It ends by its cancel function, by
its deadline, or with its parent; ``done()`` is a channel that is closed then, for ``select``. Other
than ``Goroutine.cancel`` and ``timeout`` it interrupts nothing by itself: who works looks at it.

>>> from gmpx import context, go, select, Chan
>>> def work(ctx, results):
...     i, _, _ = select(ctx.done(), results)
...     return "stopped" if i == 0 else "done"
>>> ctx, cancel = context.with_cancel(context.background())
>>> g = go(work, ctx, Chan())
>>> cancel()
>>> g.result(), ctx.err()
('stopped', Canceled('context canceled'))
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from gmpx._core import Chan, ChannelClosed, Timer, after_func as _later

__all__ = [
    "Canceled",
    "Context",
    "DeadlineExceeded",
    "after_func",
    "background",
    "with_cancel",
    "with_deadline",
    "with_timeout",
    "with_value",
    "without_cancel",
]


class Canceled(Exception):
    """The ``err()`` of a context that was cancelled."""

    def __init__(self, text: str = "context canceled") -> None:
        super().__init__(text)


class DeadlineExceeded(TimeoutError):
    """The ``err()`` of a context whose deadline has passed."""

    def __init__(self, text: str = "context deadline exceeded") -> None:
        super().__init__(text)


class Context:
    """What ``background`` and the ``with_`` functions return. Any thread may use it."""

    # How it ends: `_ending` has one token, and who pops it ends the context. It sets _err before it
    # looks at _children; who adds himself there looks at _err afterwards. So no child is missed.
    # Only a context that can end itself has these; the others refer to the nearest one above.

    __slots__ = (
        "__weakref__", "_cause", "_children", "_deadline", "_done", "_ending", "_err", "_key",
        "_parent", "_source", "_timer", "_value",
    )

    _parent: Context | None
    _source: Context  # the nearest one, this one or above, that can end itself
    _deadline: float | None
    _key: object  # of with_value
    _value: Any  # of with_value; the function of after_func
    _timer: Timer | None
    _done: Chan[None]
    _err: type[Exception] | None
    _cause: BaseException | None
    _children: dict[Context, None]
    _ending: list[bool]

    def __init__(self) -> None:
        raise TypeError("contexts are made by background, with_cancel, with_timeout ...")

    def done(self) -> Chan[None]:
        """A channel that is closed when the context ends. Never closed for ``background()``."""
        return self._source._done

    def err(self) -> Exception | None:
        """None before the end; then a Canceled or DeadlineExceeded (a new one, to be raised)."""
        err = self._source._err
        return None if err is None else err()

    def cause(self) -> BaseException | None:
        """Why it has ended: what was given to the cancel function, else the same as ``err``."""
        cause = self._source._cause
        return self.err() if cause is None else cause

    def deadline(self) -> float | None:
        """When it ends by itself, on ``time.monotonic``'s clock; None: it does not."""
        return self._deadline

    def value(self, key: object) -> Any:
        """The value of key, from the nearest ``with_value`` above; None if there is none."""
        ctx: Context | None = self
        while ctx is not None:
            if ctx._key is not _NO_KEY and ctx._key == key:
                return ctx._value
            ctx = ctx._parent
        return None

    def __repr__(self) -> str:
        state = "live" if self.err() is None else repr(self.err())
        return f"<Context {state}>"


_NO_KEY = object()


def _new(parent: Context | None, source: Context | None) -> Context:
    """source: the context whose end is this one's; None: this is one of its own."""
    ctx = Context.__new__(Context)
    ctx._parent = parent
    ctx._source = ctx if source is None else source
    ctx._deadline = None if parent is None else parent._deadline
    ctx._key = _NO_KEY
    ctx._value = ctx._timer = None
    if source is None:
        ctx._done = Chan()
        ctx._err = ctx._cause = None
        ctx._children = {}
        ctx._ending = [True]
    return ctx


def background() -> Context:
    """The root: never ends, has no values and no deadline."""
    return _BACKGROUND


_BACKGROUND = _new(None, None)
_BACKGROUND._ending = []  # nobody can end it


def with_cancel(parent: Context) -> tuple[Context, Callable[..., None]]:
    """A context that ends by a function, or with its parent.

    Call the function when the work is done, whatever came of it: only then does the parent let go
    of the context.

    Returns:
        (context, cancel). ``cancel(cause=None)`` ends it and all below it: ``err()`` is Canceled
        from then on, ``cause()`` the exception given or else the same. Further calls do nothing.

    Raises:
        TypeError: parent is not a Context.

    Go: context.WithCancel, WithCancelCause.
    """
    ctx = _child(parent)

    def cancel(cause: BaseException | None = None) -> None:
        if cause is not None and not isinstance(cause, BaseException):
            raise TypeError(f"the cause must be an exception, not {type(cause).__name__}")
        _end(ctx, Canceled, cause)

    return ctx, cancel


def with_deadline(parent: Context, deadline: float) -> tuple[Context, Callable[..., None]]:
    """As ``with_cancel``; it also ends by itself, with DeadlineExceeded.

    Args:
        deadline: on ``time.monotonic``'s clock; one that has passed ends it at once. An earlier one
            of the parent stays in force.

    Raises:
        TypeError: parent is not a Context, or deadline not a number. ValueError: NaN.

    Go: context.WithDeadline.
    """
    deadline = _number(deadline, "deadline")
    if math.isnan(deadline):
        raise ValueError("deadline must not be NaN")
    ctx, cancel = with_cancel(parent)
    if ctx._deadline is not None and ctx._deadline <= deadline:
        return ctx, cancel
    ctx._deadline = deadline
    left = deadline - time.monotonic()
    if left <= 0:
        _end(ctx, DeadlineExceeded, None)
    elif ctx._err is None:
        ctx._timer = _later(left, _expire, ctx)._keep()
        if ctx._err is not None:  # ended meanwhile
            ctx._timer.stop()
    return ctx, cancel


def with_timeout(parent: Context, seconds: float) -> tuple[Context, Callable[..., None]]:
    """``with_deadline``, so many seconds from now.

    Raises:
        ValueError: negative or NaN. TypeError: not a number.
    """
    seconds = _number(seconds, "seconds")
    if not seconds >= 0:
        raise ValueError(f"seconds must not be negative or NaN: {seconds!r}")
    return with_deadline(parent, time.monotonic() + seconds)


def _number(x: object, what: str) -> float:
    if isinstance(x, bool) or not isinstance(x, (int, float)):
        raise TypeError(f"{what} must be a number, not {type(x).__name__}")
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def with_value(parent: Context, key: object, value: object) -> Context:
    """A context that ends with its parent and has one more value.

    Args:
        key: compared by ``==``; best an object of the module's own, not a str.

    Raises:
        TypeError: parent is not a Context. ValueError: key is None.

    Go: context.WithValue.
    """
    _check(parent)
    if key is None:
        raise ValueError("key must not be None")
    ctx = _new(parent, parent._source)
    ctx._key, ctx._value = key, value
    return ctx


def without_cancel(parent: Context) -> Context:
    """A context with the values of its parent that never ends, for work that outlives a request.

    Go: context.WithoutCancel.
    """
    _check(parent)
    ctx = _new(parent, _BACKGROUND)
    ctx._deadline = None
    return ctx


def after_func(ctx: Context, fn: Callable[[], object]) -> Callable[[], bool]:
    """Calls ``fn()`` in a goroutine of its own once the context has ended.

    Returns:
        stop: a function that keeps fn from being called, and returns whether it could.

    Raises:
        TypeError: ctx is not a Context, or fn not callable.

    Go: context.AfterFunc.
    """
    _check(ctx)
    if not callable(fn):
        raise TypeError(f"after_func needs a callable, not {type(fn).__name__}")
    hook = _new(ctx, None)
    hook._value = fn
    _add(ctx._source, hook)

    def stop() -> bool:
        if not _claim(hook):
            return False
        ctx._source._children.pop(hook, None)
        return True

    return stop


def _check(parent: object) -> None:
    if not isinstance(parent, Context):
        raise TypeError(f"parent must be a Context, not {type(parent).__name__}")


def _child(parent: Context) -> Context:
    _check(parent)
    ctx = _new(parent, None)
    _add(parent._source, ctx)
    return ctx


def _add(above: Context, ctx: Context) -> None:
    if above is _BACKGROUND:
        return
    above._children[ctx] = None
    if above._err is not None:
        above._children.pop(ctx, None)
        _end(ctx, above._err, above._cause)


def _expire(ctx: Context) -> None:
    _end(ctx, DeadlineExceeded, None)


def _claim(ctx: Context) -> bool:
    try:
        ctx._ending.pop()
    except IndexError:
        return False
    return True


def _end(ctx: Context, err: type[Exception], cause: BaseException | None) -> None:
    """Ends ctx and all below it, parents first, without recursion.

    When it is cut short (Ctrl-C, no memory) a further call does the rest: a context keeps its
    children until all below it has ended.
    """
    if ctx._parent is not None:
        ctx._parent._source._children.pop(ctx, None)
    _end_one(ctx, err, cause)
    path = [(ctx, iter(list(ctx._children)))]
    while path:
        above, children = path[-1]
        child = next(children, None)
        if child is None:
            above._children = {}
            path.pop()
            continue
        _end_one(child, err, cause)
        if child._children:
            path.append((child, iter(list(child._children))))


def _end_one(ctx: Context, err: type[Exception], cause: BaseException | None) -> None:
    if not _claim(ctx):
        return
    ctx._cause = cause
    ctx._err = err
    timer: Timer | None = ctx._timer
    if timer is not None:
        timer.stop()
    if ctx._value is not None:
        _later(0, ctx._value)
        return
    try:
        ctx._done.close()
    except ChannelClosed:
        pass  # by somebody who had no business to
