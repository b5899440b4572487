"""Group: goroutines that end together (structured concurrency)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from gmpx._core import (
    Cancelled,
    DeadlockError,
    GoExit,
    Goroutine,
    GroupCore,
    Interrupted,
    Limiter,
    Semaphore,
    stronger,
)
from gmpx.arguments import limit_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

T = TypeVar("T")

__all__ = ["Group"]

# What ends a body without being a failure of it: it leaves the block as it is.
PASSING = (Cancelled, GoExit, KeyboardInterrupt, SystemExit, GeneratorExit)
# What, coming again, does not wait for goroutines that do not listen.
LAST = (KeyboardInterrupt, DeadlockError)


class Group:
    """A block that ends when all goroutines started in it have ended.

    The first one that fails cancels the others and interrupts the body's wait, as does a body
    that raises. All failures leave the block together, in an ``ExceptionGroup``, each with its
    own traceback (``BaseExceptionGroup`` if one of them is no Exception). A goroutine that ends
    by Cancelled has not failed. What ends the body from outside (Cancelled, TimeoutError of an
    outer ``timeout``, KeyboardInterrupt, SystemExit) cancels the goroutines too, and goes on from
    the block once they have ended, as it is if none of them failed. A second Ctrl-C waits for none.

    Args:
        limit: how many goroutines may run at once, >= 1; None for no bound.
        rate: a Limiter, of which each goroutine takes a token before it starts; None for none.

    Raises:
        ValueError, TypeError: a bad limit or rate.

    Go: golang.org/x/sync/errgroup. asyncio: TaskGroup. trio: a nursery.

    >>> with Group() as group:
    ...     squares = [group.go(pow, n, 2) for n in range(4)]
    >>> [g.result() for g in squares]
    [0, 1, 4, 9]
    """

    def __init__(self, limit: int | None = None, *, rate: Limiter | None = None) -> None:
        limit = limit_of(limit)
        if rate is not None and not isinstance(rate, Limiter):
            raise TypeError(f"rate must be a Limiter, not {type(rate).__name__}")
        self._core = GroupCore()
        self._slots: Semaphore | None = None
        self._rate = rate
        if limit is None:
            if rate is None and type(self).go is Group.go:
                vars(self)["go"] = self._core.go  # without the method below in between
        else:
            self._slots = Semaphore(limit)

    def go(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Goroutine[T]:
        """Runs ``fn(*args, **kwargs)`` in a new goroutine of the group.

        Goroutines of the group may call it, too. In a group that has been cancelled the new one
        never runs.

        Returns:
            The Goroutine.

        Raises:
            TypeError: fn is not callable.
            RuntimeError: not inside the block.

        Never blocks without a limit and a rate; with them, parks until there is room and a token.
        """
        if not callable(fn):
            raise TypeError(f"go() needs a callable, not {type(fn).__name__}")
        if self._slots is None:
            if self._rate is not None:
                self._rate.acquire()
            return self._core.go(fn, *args, **kwargs)
        self._slots.acquire()
        try:
            if self._rate is not None:
                self._rate.acquire()
            handle = self._core.go(fn, *args, **kwargs)
        except BaseException:
            self._slots.release()
            raise
        handle.add_done_callback(self._ended)
        return handle

    def _ended(self, handle: Goroutine[Any]) -> None:
        assert self._slots is not None
        self._slots.release()

    def cancel(self) -> None:
        """Asks all goroutines of the group to stop, and interrupts the body's wait.

        That alone is no error: the block ends without one."""
        self._core.cancel()

    def __enter__(self) -> Group:
        self._core.enter()
        return self

    def __exit__(self, kind: object, exc: BaseException | None, tb: object) -> bool:
        core = self._core
        own = False
        # what has come from outside to end the block
        outside: BaseException | None = exc if isinstance(exc, PASSING) else None
        try:
            own = core.leave(exc)
            if own:
                outside = None
        except BaseException as e:
            if not isinstance(e, PASSING):
                raise  # not entered
            outside = stronger(outside, e)
            own = isinstance(exc, Interrupted)
        if exc is not None:
            core.cancel()
        while True:
            try:
                core.wait_all()
                break
            except BaseException as e:
                core.cancel()
                if isinstance(e, LAST) and isinstance(outside, type(e)):
                    core.close()
                    raise  # the second: those that do not listen are not waited for
                outside = stronger(outside, e)
        failures = core.close()
        if exc is not None and not own and not isinstance(exc, PASSING):
            failures.insert(0, exc)
        try:
            if failures:
                self._raise(failures, outside)
            if outside is not None and outside is not exc:
                raise outside
        finally:
            # no cycles through the traceback
            del exc, outside, failures
        return own

    def _raise(self, failures: list[BaseException], outside: BaseException | None) -> None:
        if isinstance(outside, Cancelled):
            if not isinstance(outside, Interrupted):
                self._core.ask_again(outside)
        elif outside is not None:
            failures.append(outside)
        raise BaseExceptionGroup("unhandled errors in a Group", failures) from None

    def __repr__(self) -> str:
        return f"<Group {self._core!r}>"
