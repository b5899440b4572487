"""map and imap: ordered fan-out and fan-in over the public interface."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

from gmpx._core import Chan, DeadlockError, FailFast, Feed, Goroutine, Limiter, go, shield
from gmpx.arguments import bool_of, callable_of, limit_of
from gmpx.loops import runs_here, would_stop
from gmpx.retry import Retry

if TYPE_CHECKING:
    from gmpx.fanout_call import Calls, Failure

T = TypeVar("T")
Budget: TypeAlias = tuple[Callable[[Any], float], float]

__all__ = ["imap", "map"]

#: How many calls imap keeps in flight when no limit is given.
IMAP_LIMIT = 256


# What a failed call and a pair make of the values' type is all that the overloads say.

@overload
def map(
    fn: Callable[..., T], /, *iterables: Iterable[Any], limit: int | None = None,
    timeout: float | None = None, rate: Limiter | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise"] = "raise",
    budget: Budget | None = None, progress: Any = None, with_input: Literal[False] = False,
    blocking: bool = False,
) -> list[T]: ...  # fmt: skip
@overload
def map(
    fn: Callable[..., T], /, *iterables: Iterable[Any], limit: int | None = None,
    timeout: float | None = None, rate: Limiter | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["return"],
    budget: Budget | None = None, progress: Any = None, with_input: Literal[False] = False,
    blocking: bool = False,
) -> list[T | Failure]: ...  # fmt: skip
@overload
def map(
    fn: Callable[..., T], /, *iterables: Iterable[Any], limit: int | None = None,
    timeout: float | None = None, rate: Limiter | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise"] = "raise",
    budget: Budget | None = None, progress: Any = None, with_input: Literal[True],
    blocking: bool = False,
) -> list[tuple[Any, T]]: ...  # fmt: skip
@overload
def map(
    fn: Callable[..., T], /, *iterables: Iterable[Any], limit: int | None = None,
    timeout: float | None = None, rate: Limiter | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["return"],
    budget: Budget | None = None, progress: Any = None, with_input: Literal[True],
    blocking: bool = False,
) -> list[tuple[Any, T | Failure]]: ...  # fmt: skip
@overload
def map(
    fn: Callable[..., Any], /, *iterables: Iterable[Any], limit: int | None = None,
    timeout: float | None = None, rate: Limiter | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise", "return"] = "raise",
    budget: Budget | None = None, progress: Any = None, with_input: bool = False,
    blocking: bool = False,
) -> list[Any]: ...  # fmt: skip
def map(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    limit: int | None = None,
    timeout: float | None = None,
    rate: Limiter | None = None,
    retry: Retry | None = None,
    item_timeout: float | None = None,
    on_error: Literal["raise", "return"] = "raise",
    budget: Budget | None = None,
    progress: Any = None,
    with_input: bool = False,
    blocking: bool = False,
) -> list[Any]:
    """Calls ``fn`` on each item, or each tuple of a zip, in a goroutine of its own.

    Args:
        fn: the function.
        iterables: one or more; the shortest one ends the input. Read through before the first
            wait, or as room comes if there is a limit: a list, tuple or range by whoever has room, any
            other iterable by the caller.
        limit: how many calls may run at once, >= 1; None for no bound.
        timeout: seconds for the whole; None waits for ever. Looked at when the input has been read,
            or, with a limit, at each wait for room.
        rate: a Limiter, of which each attempt of a call takes a token. Others may share it.
        retry: a Retry, by which a call that fails is tried again, in its goroutine.
        item_timeout: seconds for one item, all its attempts and the pauses between them together.
            The wait for tokens of ``rate`` does not count.
        on_error: "return": for a call that raises an Exception a Failure comes in the place of its
            value, and the others go on. What ends the caller or the program is raised all the same.
        budget: (a function of the item, the most): what the items in flight weigh together is the
            most at any time. An item that weighs more flies alone. The input's order is kept.
        progress: shows how far it is, ten times a second at most: True for a line on stderr, a
            function that is called with a Progress, a tqdm, or a rich Progress. The caller's
            goroutine does that; what it raises ends the map.
        with_input: pairs (input, value) instead of values; of several iterables the input is a
            tuple. (What ``enumerate`` is for numbers.)
        blocking: True: each attempt goes through ``gmpx.blocking``, to a spare thread.

    Returns:
        A list of the values, in the order of the input.

    Raises:
        The first exception, in time, of any call. The other calls are cancelled then, and have
        ended when map raises; so too after TimeoutError, and if an iterable raises.
        TypeError, ValueError: bad input, before anything runs.

    Blocks the goroutine; on a foreign thread, the thread.

    >>> map(pow, [2, 3], [5, 2])
    [32, 9]
    >>> map(int, ["7", "seven"], on_error="return")
    [7, Failure('seven', ValueError("invalid literal for int() with base 10: 'seven'"))]
    """
    if with_input is not False:
        bool_of(with_input, "with_input")
    if (
        rate is not None or retry is not None or item_timeout is not None or on_error != "raise"
        or budget is not None or progress is not None or with_input or blocking
    ):  # fmt: skip
        calls = _calls(
            fn, iterables, rate, retry, item_timeout, on_error, with_input, blocking
        )
        return _map_optioned(fn, calls, iterables, limit, timeout, budget, progress)
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
        wait_named(group.wait, deadline)
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
        wait_named(feed.wait, deadline)
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
    wait_named(ended.recv, deadline).result()


def wait_named(wait: Callable[[float | None], T], deadline: float | None) -> T:
    """A wait of map's: what it raises by itself names the map."""
    try:
        return wait(_left(deadline))
    except TimeoutError:
        raise TimeoutError("map timed out") from None
    except DeadlockError:
        raise
    except RuntimeError:
        if deadline is not None or not runs_here():
            raise
        raise would_stop(
            "map without a time limit", "use 'await gmpx.go(gmpx.map, ...)', or give a timeout"
        ) from None


def imap_stops(e: RuntimeError, over: bool) -> bool:
    """Whether it is the error of a wait that the reader of an imap may not begin. over: it did not have to wait."""
    return not over and not isinstance(e, DeadlockError) and runs_here()


def imap_would_stop() -> RuntimeError:
    return would_stop("imap", "use 'await gmpx.go(f)', where f reads it")


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0)


@overload
def imap(
    fn: Callable[..., T], /, *iterables: Iterable[Any], limit: int | None = None,
    ordered: bool = True, rate: Limiter | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise"] = "raise",
    budget: Budget | None = None, progress: Any = None, with_input: Literal[False] = False,
    blocking: bool = False,
) -> Generator[T, None, None]: ...  # fmt: skip
@overload
def imap(
    fn: Callable[..., T], /, *iterables: Iterable[Any], limit: int | None = None,
    ordered: bool = True, rate: Limiter | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["return"],
    budget: Budget | None = None, progress: Any = None, with_input: Literal[False] = False,
    blocking: bool = False,
) -> Generator[T | Failure, None, None]: ...  # fmt: skip
@overload
def imap(
    fn: Callable[..., T], /, *iterables: Iterable[Any], limit: int | None = None,
    ordered: bool = True, rate: Limiter | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise"] = "raise",
    budget: Budget | None = None, progress: Any = None, with_input: Literal[True],
    blocking: bool = False,
) -> Generator[tuple[Any, T], None, None]: ...  # fmt: skip
@overload
def imap(
    fn: Callable[..., T], /, *iterables: Iterable[Any], limit: int | None = None,
    ordered: bool = True, rate: Limiter | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["return"],
    budget: Budget | None = None, progress: Any = None, with_input: Literal[True],
    blocking: bool = False,
) -> Generator[tuple[Any, T | Failure], None, None]: ...  # fmt: skip
@overload
def imap(
    fn: Callable[..., Any], /, *iterables: Iterable[Any], limit: int | None = None,
    ordered: bool = True, rate: Limiter | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise", "return"] = "raise",
    budget: Budget | None = None, progress: Any = None, with_input: bool = False,
    blocking: bool = False,
) -> Generator[Any, None, None]: ...  # fmt: skip
def imap(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    limit: int | None = None,
    ordered: bool = True,
    rate: Limiter | None = None,
    retry: Retry | None = None,
    item_timeout: float | None = None,
    on_error: Literal["raise", "return"] = "raise",
    budget: Budget | None = None,
    progress: Any = None,
    with_input: bool = False,
    blocking: bool = False,
) -> Generator[Any, None, None]:
    """Like map, as a lazy iterator; the input may be endless.

    Args:
        fn: the function.
        iterables: one or more; read only as far as there is room in flight.
        limit: how many calls may be in flight, values that wait for the reader among them,
            >= 1; None for 256.
        ordered: yield values in the order of the input; False: as they come.
        rate, retry, item_timeout, on_error, with_input, blocking: as in ``map``.
        budget: as in ``map``; values that wait for the reader count as in flight.
        progress: as in ``map``; done is what the reader has taken.

    Returns:
        An iterator over the values. It reads the next item of the input before it yields a value,
        so an input that waits for the answer to its last item wants ``map`` or ``go``. An
        exception of a call is raised in its place and ends the iteration; one of the input is
        raised after the values before it. Whenever the iteration ends (an exception, ``close``,
        leaving the loop), the calls in flight are cancelled.

    Raises:
        TypeError, ValueError: bad input, at once.
        RuntimeError: asyncio runs a loop in the goroutine that reads, and a value is not there yet.
    """
    bool_of(ordered, "ordered")
    if with_input is not False:
        bool_of(with_input, "with_input")
    if (
        rate is not None or retry is not None or item_timeout is not None or on_error != "raise"
        or budget is not None or progress is not None or with_input or blocking
    ):  # fmt: skip
        calls = _calls(
            fn, iterables, rate, retry, item_timeout, on_error, with_input, blocking
        )
        return _imap_optioned(fn, calls, iterables, limit, ordered, budget, progress)
    inputs = _inputs(fn, iterables)
    limit = limit_of(limit) or IMAP_LIMIT
    if ordered:
        return _imap_ordered(fn, inputs, limit)
    return _imap_unordered(fn, inputs, limit)


def _imap_ordered(
    fn: Callable[..., T], inputs: Iterable[tuple[Any, ...]], limit: int
) -> Generator[T, None, None]:
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
    try:
        value = flying[0].result()  # an interruption leaves it there, to be cancelled
    except RuntimeError as e:
        if imap_stops(e, flying[0].done()):
            raise imap_would_stop() from None
        raise
    flying.popleft()
    return value


def _imap_unordered(
    fn: Callable[..., T], inputs: Iterable[tuple[Any, ...]], limit: int
) -> Generator[T, None, None]:
    ended: Chan[Goroutine[T]] = Chan(min(limit, sys.maxsize))
    flying: set[Goroutine[T]] = set()

    def next_value() -> T:
        try:
            handle = ended.recv()
        except RuntimeError as e:
            if imap_stops(e, False):
                raise imap_would_stop() from None
            raise
        flying.discard(handle)
        return handle.result()

    try:
        failure = None
        inputs = iter(inputs)
        while True:
            try:
                args = next(inputs)
            except StopIteration:
                break
            except Exception as e:  # raised once the values before it have been yielded
                failure = e
                break
            if len(flying) == limit:
                yield next_value()
            handle = go(fn, *args)
            flying.add(handle)
            handle.add_done_callback(ended.send_nowait)
            if len(ended):
                yield next_value()
        while flying:
            yield next_value()
        if failure is not None:
            raise failure
    finally:
        _abandon(flying)


# ---- with options --------------------------------------------------------------------------
#
# What these need is imported when it is first used.


def _calls(
    fn: Any, iterables: tuple[Any, ...], rate: Any, retry: Any, item_timeout: Any, on_error: Any,
    with_input: Any, blocking: Any,
) -> Calls:  # fmt: skip
    from gmpx.fanout_call import Calls

    check_inputs(fn, iterables)
    return Calls(
        fn, single=len(iterables) == 1, rate=rate, retry=retry, item_timeout=item_timeout,
        on_error=on_error, with_input=with_input, blocking_call=blocking,
    )  # fmt: skip


def _map_optioned(
    fn: Any, calls: Calls, iterables: tuple[Any, ...], limit: int | None, timeout: float | None,
    budget: Any, progress: Any,
) -> list[Any]:  # fmt: skip
    from gmpx import fanout_options as options
    from gmpx.progress import check, reporter

    limit = limit_of(limit)
    timeout = FailFast.check_timeout(timeout)
    weights = None if budget is None else options.Weights(budget)
    check(progress)
    reports = reporter(progress, total_of(iterables), name_of(fn))
    if weights is None and (calls.limiter is None or limit is not None):
        if reports is None:
            return map(calls.target, *iterables, limit=limit, timeout=timeout)
        if limit is not None and all(Feed.takes(it) for it in iterables):
            return options.map_fed(calls, iterables, limit, timeout, reports)
    return options.map_paced(calls, _items(iterables), limit, weights, timeout, reports)


def _imap_optioned(
    fn: Any, calls: Calls, iterables: tuple[Any, ...], limit: int | None, ordered: bool,
    budget: Any, progress: Any,
) -> Generator[Any, None, None]:  # fmt: skip
    from gmpx import fanout_options as options
    from gmpx.progress import check, reporter

    limit = limit_of(limit) or IMAP_LIMIT
    weights = None if budget is None else options.Weights(budget)
    check(progress)
    if weights is None and (progress is None or progress is False):
        return imap(calls.target, *iterables, limit=limit, ordered=ordered)
    begin = partial(reporter, progress, total_of(iterables), name_of(fn))
    return (options.imap_ordered if ordered else options.imap_unordered)(
        calls, _items(iterables), limit, weights, begin
    )


def _items(iterables: tuple[Iterable[Any], ...]) -> Iterator[Any]:
    """What Calls.call takes, one by one."""
    return iter(iterables[0]) if len(iterables) == 1 else zip(*iterables)


def total_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """How many items the shortest has; None if one does not say."""
    sized = [len(it) for it in iterables if isinstance(it, Sized)]
    return min(sized) if sized and len(sized) == len(iterables) else None


def name_of(fn: Any) -> str:
    try:
        return getattr(fn, "__name__", None) or type(fn).__name__
    except Exception:  # a proxy's __getattr__
        return type(fn).__name__


def _inputs(fn: Any, iterables: tuple[Iterable[Any], ...]) -> Iterator[tuple[Any, ...]]:
    check_inputs(fn, iterables)
    return zip(*iterables)


def check_inputs(fn: Any, iterables: tuple[Any, ...]) -> None:
    callable_of(fn)
    if not iterables:
        raise TypeError("at least one iterable is needed")


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
