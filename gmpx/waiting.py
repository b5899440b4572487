"""wait, as_completed, gather: several goroutines' handles or futures at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, Future
from typing import Any, NamedTuple, TypeVar, Union

from gmpx._core import Cancelled, Chan, FailFast, FutureCore, Goroutine, _tells, _untells

T = TypeVar("T")
#: A Goroutine, or a Future of any executor: gmpx's, a thread or process pool's.
Handle = Union[Goroutine[T], "Future[T]"]
W = TypeVar("W", bound=Handle[Any])

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "DoneAndNotDone",
    "as_completed",
    "gather",
    "wait",
]


class DoneAndNotDone(NamedTuple):
    """What ``wait`` returns: two sets of Goroutines or Futures."""

    done: set[Any]
    not_done: set[Any]


def wait(
    gs: Iterable[Handle[Any]], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDone:
    """Waits for goroutines and futures, as ``concurrent.futures.wait`` does.

    Args:
        gs: Goroutines and Futures (of ``concurrent.futures``), of gmpx's Executor or any other; one that comes twice counts once.
        timeout: seconds; None waits for ever, 0 looks once. When it is over ``wait`` returns.
        return_when: ALL_COMPLETED, FIRST_COMPLETED (one has ended), or FIRST_EXCEPTION (one has
            raised, or all have ended).

    Returns:
        (done, not_done), two sets.

    Raises:
        TypeError: not Goroutines or Futures. ValueError: a bad timeout or return_when.

    Blocks the goroutine; on a foreign thread, the thread.
    """
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise ValueError(f"invalid return_when: {return_when!r}")
    found = _handles(gs)
    watch = _Watch(found, timeout)
    if return_when == ALL_COMPLETED:
        watch.join_all()
    else:
        with watch as ended:
            for g in ended:
                if return_when == FIRST_COMPLETED or _failed(g):
                    break
    done = {g for g in found if g.done()}
    return DoneAndNotDone(done, found - done)


def as_completed(gs: Iterable[W], timeout: float | None = None) -> Iterator[W]:
    """Yields each goroutine or future when it has ended, in that order.

    Args:
        gs: Goroutines and Futures; one that comes twice is yielded once.
        timeout: seconds from the call; None waits for ever.

    Raises:
        TimeoutError: from the iterator, when not all have ended in time.
        TypeError: not Goroutines or Futures. ValueError: a bad timeout.
    """
    watch = _Watch(_handles(gs), timeout)
    return _as_completed(watch)


def _as_completed(watch: _Watch) -> Iterator[Any]:
    with watch as ended:
        yield from ended
        if watch.left:
            raise TimeoutError(f"{watch.left} of {watch.n} have not ended")


def gather(*gs: Handle[Any], return_exceptions: bool = False) -> list[Any]:
    """Waits for all and returns their results, in the order of the arguments.

    Args:
        gs: Goroutines and Futures. An awaitable is for ``asyncio.gather``.
        return_exceptions: put what a goroutine raised into the list instead of raising it.

    Raises:
        The first exception in time, at once; the other goroutines go on.

    If the caller itself is cancelled in here, so are the goroutines; of Futures those whose calls have not
    begun. asyncio: gather.
    Blocks the goroutine; on a foreign thread, the thread.
    """
    first = None
    try:
        with _Watch(_handles(gs), None) as ended:
            for g in ended:
                if not return_exceptions and _exception(g) is not None:
                    first = g
                    break
    except Cancelled:
        if any(not g.done() for g in gs):
            for g in gs:
                g.cancel()
        raise
    if first is not None:
        first.result()
    if return_exceptions:
        return [g.result() if (e := _exception(g)) is None else e for g in gs]
    return [g.result() for g in gs]


def _exception(g: Handle[Any]) -> BaseException | None:
    try:
        return g.exception()
    except CancelledError as e:  # a Future raises it here
        return e


def _failed(g: Handle[Any]) -> bool:
    if isinstance(g, (Goroutine, FutureCore)):
        return g._failed()  # does not count as reading
    return not g.cancelled() and g.exception() is not None


def _handles(gs: Iterable[Handle[Any]]) -> set[Any]:
    found = set()
    if not isinstance(gs, Iterable):
        raise TypeError(f"Goroutines or Futures are needed, not {type(gs).__name__}")
    for g in gs:
        if not isinstance(g, (Goroutine, Future)):
            raise TypeError(f"a Goroutine or Future is needed, not {type(g).__name__}")
        found.add(g)
    return found


class _Watch:
    """Iterates over handles as they end; stops early when the time is over."""

    def __init__(self, gs: set[Any], timeout: float | None) -> None:
        self.n = self.left = len(gs)
        self.gs = gs
        self.chan: Chan[Any] = Chan(len(gs))
        timeout = FailFast.check_timeout(timeout)
        self.deadline = None if timeout is None else time.monotonic() + timeout

    def __enter__(self) -> Iterator[Any]:
        self.callback = self.chan.send_nowait  # the buffer has room for all
        try:
            for g in self.gs:
                _tells(g, self.callback)
        except BaseException:
            self.__exit__()
            raise
        return self.each()

    def each(self) -> Iterator[Any]:
        while self.left:
            try:
                g = self.chan.recv(self.remaining())
            except TimeoutError:
                return
            self.left -= 1
            yield g

    def remaining(self) -> float | None:
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0)

    def join_all(self) -> None:
        """Without the order of their ends: no callbacks for goroutines."""
        others = set()
        try:
            for g in self.gs:
                if isinstance(g, Goroutine):
                    g.join(self.remaining())
                else:
                    others.add(g)
        except TimeoutError:
            return
        self.gs, self.left = others, len(others)
        with self as ended:
            for _ in ended:
                pass

    def __exit__(self, *exc: object) -> None:
        if self.left:
            for g in self.gs:
                _untells(g, self.callback)
