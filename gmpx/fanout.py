"""map and imap: ordered fan-out and fan-in over the public interface."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from gmpx._core import Chan, DeadlockError, FailFast, Feed, Goroutine, go, shield
from gmpx.arguments import limit_of

T = TypeVar("T")

__all__ = ["imap", "map"]

#: How many calls imap keeps in flight when no limit is given.
IMAP_LIMIT = 256


def map(
    fn: Callable[..., T],
    /,
    *iterables: Iterable[Any],
    limit: int | None = None,
    timeout: float | None = None,
) -> list[T]:
    """Calls ``fn`` on each item, or each tuple of a zip, in a goroutine of its own.

    Args:
        fn: the function.
        iterables: one or more; the shortest one ends the input. Read through before the first
            wait, or as room comes if there is a limit: a list, tuple or range by whoever has room, any
            other iterable by the caller.
        limit: how many calls may run at once, >= 1; None for no bound.
        timeout: seconds for the whole; None waits for ever. Looked at when the input has been read,
            or, with a limit, at each wait for room.

    Returns:
        A list of the values, in the order of the input.

    Raises:
        The first exception, in time, of any call. The other calls are cancelled then, and have
        ended when map raises; so too after TimeoutError, and if an iterable raises.
        TypeError, ValueError: bad input, before anything runs.

    Blocks the goroutine; on a foreign thread, the thread.

    >>> map(pow, [2, 3], [5, 2])
    [32, 9]
    """
    inputs = _inputs(fn, iterables)
    limit = limit_of(limit)
    if limit is not None and all(Feed.takes(it) for it in iterables):
        return _map_fed(fn, iterables, limit, timeout)
    if limit is not None:
        return _map_limited(fn, inputs, limit, timeout)
    group = FailFast()
    timeout = group.check_timeout(timeout)
    spawn = group.go
    deadline = _deadline(timeout)
    handles = []
    try:
        for args in inputs:
            handles.append(spawn(fn, *args))
            if group.failed is not None:
                break
        group.wait(_left(deadline))
    except BaseException:
        _abandon(handles)
        raise
    failed = group.failed
    del group
    return _results(failed, handles)


def _results(failed: Goroutine[T] | None, handles: list[Goroutine[T]]) -> list[T]:
    if failed is not None:
        _abandon(handles)
        failed.result()
    return [handle.result() for handle in handles]


def _map_fed(
    fn: Callable[..., T], sequences: tuple[Any, ...], limit: int, timeout: float | None
) -> list[T]:
    """The goroutine that ends starts the next: nobody has to be woken for that."""
    deadline = _deadline(FailFast.check_timeout(timeout))
    feed = Feed(fn, sequences)
    try:
        feed.start(min(limit, sys.maxsize))
        feed.wait(_left(deadline))
        feed.check()
    except BaseException:
        feed.stop()
        _abandon(feed.handles)
        raise
    failed, handles = feed.failed, feed.handles
    del feed
    return _results(failed, handles)


def _map_limited(
    fn: Callable[..., T], inputs: Iterable[tuple[Any, ...]], limit: int, timeout: float | None
) -> list[T]:
    deadline = _deadline(FailFast.check_timeout(timeout))
    ended: Chan[Goroutine[T]] = Chan(min(limit, sys.maxsize))  # as many as may be in flight
    handles = []
    running = 0
    try:
        for args in inputs:
            if running == limit:
                _wait_one(ended, deadline)
                running -= 1
            handle = go(fn, *args)
            handles.append(handle)
            running += 1
            handle.add_done_callback(ended.send_nowait)
        for _ in range(running):
            _wait_one(ended, deadline)
    except BaseException:
        _abandon(handles)
        raise
    return [handle.result() for handle in handles]


def _wait_one(ended: Chan[Goroutine[T]], deadline: float | None) -> None:
    ended.recv(_left(deadline)).result()


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0)


def imap(
    fn: Callable[..., T],
    /,
    *iterables: Iterable[Any],
    limit: int | None = None,
    ordered: bool = True,
) -> Iterator[T]:
    """Like map, as a lazy iterator; the input may be endless.

    Args:
        fn: the function.
        iterables: one or more; read only as far as there is room in flight.
        limit: how many calls may be in flight, values that wait for the reader among them,
            >= 1; None for 256.
        ordered: yield values in the order of the input; False: as they come.

    Returns:
        An iterator over the values. It reads the next item of the input before it yields a value,
        so an input that waits for the answer to its last item wants ``map`` or ``go``. An
        exception of a call is raised in its place and ends the iteration; one of the input is
        raised after the values before it. Whenever the iteration ends (an exception, ``close``,
        leaving the loop), the calls in flight are cancelled.

    Raises:
        TypeError, ValueError: bad input, at once.
    """
    inputs = _inputs(fn, iterables)
    limit = limit_of(limit) or IMAP_LIMIT
    if ordered:
        return _imap_ordered(fn, inputs, limit)
    return _imap_unordered(fn, inputs, limit)


def _imap_ordered(
    fn: Callable[..., T], inputs: Iterable[tuple[Any, ...]], limit: int
) -> Iterator[T]:
    flying: deque[Goroutine[T]] = deque()
    try:
        failure = None
        inputs = iter(inputs)
        while True:
            try:
                args = next(inputs)
            except StopIteration:
                break
            except Exception as e:  # raised once all that came before has been yielded
                failure = e
                break
            if len(flying) == limit:
                yield _oldest(flying)
            flying.append(go(fn, *args))
            if flying[0].done():  # not kept back while the input makes us wait
                yield _oldest(flying)
        while flying:
            yield _oldest(flying)
        if failure is not None:
            raise failure
    finally:
        _abandon(flying)


def _oldest(flying: deque[Goroutine[T]]) -> T:
    value = flying[0].result()  # an interruption leaves it there, to be cancelled
    flying.popleft()
    return value


def _imap_unordered(
    fn: Callable[..., T], inputs: Iterable[tuple[Any, ...]], limit: int
) -> Iterator[T]:
    ended: Chan[Goroutine[T]] = Chan(min(limit, sys.maxsize))
    flying: set[Goroutine[T]] = set()

    def next_value() -> T:
        handle = ended.recv()
        flying.discard(handle)
        return handle.result()

    try:
        for args in inputs:
            if len(flying) == limit:
                yield next_value()
            handle = go(fn, *args)
            flying.add(handle)
            handle.add_done_callback(ended.send_nowait)
            if len(ended):
                yield next_value()
        while flying:
            yield next_value()
    finally:
        _abandon(flying)


def _inputs(fn: Any, iterables: tuple[Iterable[Any], ...]) -> Iterator[tuple[Any, ...]]:
    if not callable(fn):
        raise TypeError(f"fn must be callable, not {type(fn).__name__}")
    if not iterables:
        raise TypeError("at least one iterable is needed")
    return zip(*iterables)


def _abandon(handles: Iterable[Goroutine[Any]]) -> None:
    """Cancels what has not ended, waits for it, and marks all exceptions as read.

    A cancel or time-out of the caller comes at its next wait. Ctrl-C does not wait.
    """
    handles = list(handles)
    for handle in handles:
        if not handle.done():
            handle.cancel()
    try:
        with shield():
            for handle in handles:
                handle.exception()
    except DeadlockError:
        raise
    except RuntimeError:
        pass  # collected as garbage inside the scheduler: nothing can wait there
