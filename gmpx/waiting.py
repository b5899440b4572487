"""wait, as_completed, gather: several goroutines' handles at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from typing import Any, NamedTuple, TypeVar

from gmpx._core import Cancelled, Chan, FailFast, Goroutine

T = TypeVar("T")

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
    """What ``wait`` returns: two sets of Goroutines."""

    done: set[Goroutine[Any]]
    not_done: set[Goroutine[Any]]


def wait(
    gs: Iterable[Goroutine[Any]], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDone:
    """Waits for goroutines, as ``concurrent.futures.wait`` does.

    Args:
        gs: the Goroutines; one that comes twice counts once.
        timeout: seconds; None waits for ever, 0 looks once. When it is over ``wait`` returns.
        return_when: ALL_COMPLETED, FIRST_COMPLETED (one has ended), or FIRST_EXCEPTION (one has
            raised, or all have ended).

    Returns:
        (done, not_done), two sets.

    Raises:
        TypeError: not Goroutines. ValueError: a bad timeout or return_when.

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
                if return_when == FIRST_COMPLETED or g._failed():
                    break
    done = {g for g in found if g.done()}
    return DoneAndNotDone(done, found - done)


def as_completed(
    gs: Iterable[Goroutine[T]], timeout: float | None = None
) -> Iterator[Goroutine[T]]:
    """Yields each goroutine when it has ended, in that order.

    Args:
        gs: the Goroutines; one that comes twice is yielded once.
        timeout: seconds from the call; None waits for ever.

    Raises:
        TimeoutError: from the iterator, when not all have ended in time.
        TypeError: not Goroutines. ValueError: a bad timeout.
    """
    watch = _Watch(_handles(gs), timeout)
    return _as_completed(watch)


def _as_completed(watch: _Watch) -> Iterator[Goroutine[Any]]:
    with watch as ended:
        yield from ended
        if watch.left:
            raise TimeoutError(f"{watch.left} of {watch.n} goroutines have not ended")


def gather(*gs: Goroutine[Any], return_exceptions: bool = False) -> list[Any]:
    """Waits for all and returns their results, in the order of the arguments.

    Args:
        gs: the Goroutines.
        return_exceptions: put what a goroutine raised into the list instead of raising it.

    Raises:
        The first exception in time, at once; the other goroutines go on.

    If the caller itself is cancelled in here, so are the goroutines. asyncio: gather.
    Blocks the goroutine; on a foreign thread, the thread.
    """
    first = None
    try:
        with _Watch(_handles(gs), None) as ended:
            for g in ended:
                if not return_exceptions and g.exception() is not None:
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
        return [g.result() if (e := g.exception()) is None else e for g in gs]
    return [g.result() for g in gs]


def _handles(gs: Iterable[Goroutine[Any]]) -> set[Goroutine[Any]]:
    found = set()
    for g in gs:
        if not isinstance(g, Goroutine):
            raise TypeError(f"a Goroutine is needed, not {type(g).__name__}")
        found.add(g)
    return found


class _Watch:
    """Iterates over goroutines as they end; stops early when the time is over."""

    def __init__(self, gs: set[Goroutine[Any]], timeout: float | None) -> None:
        self.n = self.left = len(gs)
        self.gs = gs
        self.chan: Chan[Goroutine[Any]] = Chan(len(gs))
        timeout = FailFast.check_timeout(timeout)
        self.deadline = None if timeout is None else time.monotonic() + timeout

    def __enter__(self) -> Iterator[Goroutine[Any]]:
        self.callback = self.chan.send_nowait  # the buffer has room for all
        for g in self.gs:
            g.add_done_callback(self.callback)
        return self.each()

    def each(self) -> Iterator[Goroutine[Any]]:
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
        """Without the order of their ends: no callbacks."""
        try:
            for g in self.gs:
                g.join(self.remaining())
        except TimeoutError:
            pass

    def __exit__(self, *exc: object) -> None:
        if self.left:
            for g in self.gs:
                g._remove_done_callback(self.callback)
