"""From one machine to many: ranges of items go to workers, each of which fans them out in goroutines.

The outer level is a Dask ``Client``, or any ``concurrent.futures.Executor``.

>>> from concurrent.futures import ProcessPoolExecutor
>>> with ProcessPoolExecutor(2) as pool:                # doctest: +SKIP
...     map(pool, pow, [2, 3], [5, 2])
[32, 9]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from gmpx._core import FailFast
from gmpx.arguments import bool_of, limit_of
from gmpx.cluster.engines import engine_for
from gmpx.cluster.executor import ClusterExecutor
from gmpx.cluster.flow import Flow
from gmpx.cluster.payload import RemoteTraceback
from gmpx.cluster.preload import dask_setup, dask_teardown
from gmpx.cluster.ranges import Spec
from gmpx.cluster.sizes import Sizes
from gmpx.fanout import check_inputs, name_of, total_of
from gmpx.fanout_call import check_call
from gmpx.progress import check, reporter
from gmpx.retry import Retry

if TYPE_CHECKING:
    from gmpx.fanout_call import Failure

T = TypeVar("T")

__all__ = ["ClusterExecutor", "RemoteTraceback", "dask_setup", "dask_teardown", "imap", "map"]

#: How many goroutines of a map a worker has when no limit is given.
LIMIT = 256


# As gmpx.map's, whose values' types these say, too.

@overload
def map(
    client: Any, fn: Callable[..., T], /, *iterables: Iterable[Any], chunk: int | Literal["auto"] = "auto",
    limit: int | None = None, timeout: float | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise"] = "raise", progress: Any = None,
    with_input: Literal[False] = False, blocking: bool = False, submit: dict[str, Any] | None = None,
) -> list[T]: ...  # fmt: skip
@overload
def map(
    client: Any, fn: Callable[..., T], /, *iterables: Iterable[Any], chunk: int | Literal["auto"] = "auto",
    limit: int | None = None, timeout: float | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["return"], progress: Any = None,
    with_input: Literal[False] = False, blocking: bool = False, submit: dict[str, Any] | None = None,
) -> list[T | Failure]: ...  # fmt: skip
@overload
def map(
    client: Any, fn: Callable[..., T], /, *iterables: Iterable[Any], chunk: int | Literal["auto"] = "auto",
    limit: int | None = None, timeout: float | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise"] = "raise", progress: Any = None,
    with_input: Literal[True], blocking: bool = False, submit: dict[str, Any] | None = None,
) -> list[tuple[Any, T]]: ...  # fmt: skip
@overload
def map(
    client: Any, fn: Callable[..., T], /, *iterables: Iterable[Any], chunk: int | Literal["auto"] = "auto",
    limit: int | None = None, timeout: float | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["return"], progress: Any = None,
    with_input: Literal[True], blocking: bool = False, submit: dict[str, Any] | None = None,
) -> list[tuple[Any, T | Failure]]: ...  # fmt: skip
@overload
def map(
    client: Any, fn: Callable[..., Any], /, *iterables: Iterable[Any], chunk: int | Literal["auto"] = "auto",
    limit: int | None = None, timeout: float | None = None, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise", "return"] = "raise", progress: Any = None,
    with_input: bool = False, blocking: bool = False, submit: dict[str, Any] | None = None,
) -> list[Any]: ...  # fmt: skip
def map(
    client: Any,
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    chunk: int | Literal["auto"] = "auto",
    limit: int | None = None,
    timeout: float | None = None,
    retry: Retry | None = None,
    item_timeout: float | None = None,
    on_error: Literal["raise", "return"] = "raise",
    progress: Any = None,
    with_input: bool = False,
    blocking: bool = False,
    submit: dict[str, Any] | None = None,
) -> list[Any]:
    """Calls ``fn`` on each item, or each tuple of a zip, in a goroutine of its own on some worker.

    Args:
        client: a Dask Client (not an asynchronous one), or a concurrent.futures.Executor.
        fn: the function. It goes to each worker once, and what it prints or keeps stays there.
        iterables: one or more; the shortest one ends the input. Read as ranges of them are sent.
        chunk: how many items a range has, >= 1; "auto": so many that it takes about a quarter of a second.
        limit: how many calls may run at once on each worker, >= 1; None for 256.
        timeout: seconds for the whole; None waits for ever.
        retry: a Retry, by which a call that fails is tried again, in its goroutine.
        item_timeout: seconds for one item, all its attempts and the pauses between them together.
        on_error: "return": for a call that raises an Exception a Failure comes in the place of its value.
        progress: as in ``gmpx.map``; counted as ranges come back.
        with_input: pairs (input, value) instead of values.
        blocking: True: each attempt goes through ``gmpx.blocking``, to a spare thread.
        submit: what Dask's ``Client.submit`` is called with besides: resources, priority, workers ...

    Returns:
        A list of the values, in the order of the input: one for each item, even if workers die. The calls of a
        range whose worker has died are made again.

    Raises:
        The first exception that comes back of any call; its cause is a RemoteTraceback. Workers are told to
        cancel the other calls; they may not have ended yet. So too after TimeoutError, and if an iterable raises.
        TypeError, ValueError: bad input, before anything runs.
        RuntimeError: the client is closed; or asyncio runs a loop in this goroutine, and there is no timeout.

    Blocks the goroutine; on a foreign thread, the thread.
    """
    deadline = FailFast.check_timeout(timeout)
    flow = _flow(
        client, fn, iterables, chunk, limit, retry, item_timeout, on_error, progress, with_input, blocking, submit,
        ordered=True, whole=True, deadline=None if deadline is None else time.monotonic() + deadline,
    )()  # fmt: skip
    found: list[Any] = []
    for values in flow.batches():
        found += values
    return found


@overload
def imap(
    client: Any, fn: Callable[..., T], /, *iterables: Iterable[Any], chunk: int | Literal["auto"] = "auto",
    limit: int | None = None, ordered: bool = True, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise"] = "raise", progress: Any = None,
    with_input: Literal[False] = False, blocking: bool = False, submit: dict[str, Any] | None = None,
) -> Generator[T, None, None]: ...  # fmt: skip
@overload
def imap(
    client: Any, fn: Callable[..., T], /, *iterables: Iterable[Any], chunk: int | Literal["auto"] = "auto",
    limit: int | None = None, ordered: bool = True, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["return"], progress: Any = None,
    with_input: Literal[False] = False, blocking: bool = False, submit: dict[str, Any] | None = None,
) -> Generator[T | Failure, None, None]: ...  # fmt: skip
@overload
def imap(
    client: Any, fn: Callable[..., T], /, *iterables: Iterable[Any], chunk: int | Literal["auto"] = "auto",
    limit: int | None = None, ordered: bool = True, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise"] = "raise", progress: Any = None,
    with_input: Literal[True], blocking: bool = False, submit: dict[str, Any] | None = None,
) -> Generator[tuple[Any, T], None, None]: ...  # fmt: skip
@overload
def imap(
    client: Any, fn: Callable[..., T], /, *iterables: Iterable[Any], chunk: int | Literal["auto"] = "auto",
    limit: int | None = None, ordered: bool = True, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["return"], progress: Any = None,
    with_input: Literal[True], blocking: bool = False, submit: dict[str, Any] | None = None,
) -> Generator[tuple[Any, T | Failure], None, None]: ...  # fmt: skip
@overload
def imap(
    client: Any, fn: Callable[..., Any], /, *iterables: Iterable[Any], chunk: int | Literal["auto"] = "auto",
    limit: int | None = None, ordered: bool = True, retry: Retry | None = None,
    item_timeout: float | None = None, on_error: Literal["raise", "return"] = "raise", progress: Any = None,
    with_input: bool = False, blocking: bool = False, submit: dict[str, Any] | None = None,
) -> Generator[Any, None, None]: ...  # fmt: skip
def imap(
    client: Any,
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    chunk: int | Literal["auto"] = "auto",
    limit: int | None = None,
    ordered: bool = True,
    retry: Retry | None = None,
    item_timeout: float | None = None,
    on_error: Literal["raise", "return"] = "raise",
    progress: Any = None,
    with_input: bool = False,
    blocking: bool = False,
    submit: dict[str, Any] | None = None,
) -> Generator[Any, None, None]:
    """Like map, as a lazy iterator; the input may be endless.

    Args:
        client, fn: as in ``map``.
        iterables: one or more; read only as far as workers have room: two ranges for each are under way, and two
            more for each may wait for the reader, beside that which he reads.
        limit: as in ``map``. With "auto" no range has more items then, so that at most (4 * workers + 1) * limit
            items are ahead of the reader. Without a limit a range has what takes about a quarter of a second,
            which of fast calls is up to 131,072 items.
        chunk, retry, item_timeout, on_error, progress, with_input, blocking, submit: as in ``map``.
        ordered: yield values in the order of the input; False: as ranges come back.

    Returns:
        An iterator over the values. An exception of a call is raised in its place and ends the iteration; one of
        the input is raised after the values before it. Whenever the iteration ends (an exception, ``close``,
        leaving the loop), workers are told to cancel the calls under way.

    Raises:
        TypeError, ValueError: bad input, at once.
        RuntimeError: the client is closed; at once. Or, to the reader, asyncio runs a loop in his goroutine.
    """
    bool_of(ordered, "ordered")
    begin = _flow(
        client, fn, iterables, chunk, limit, retry, item_timeout, on_error, progress, with_input, blocking, submit,
        ordered=ordered, whole=False, deadline=None,
    )  # fmt: skip
    return _values(begin)


def _values(begin: Callable[[], Flow]) -> Generator[Any, None, None]:
    flow = begin()
    batches = flow.batches()
    try:
        for values in batches:
            for value in values:
                yield value
                if len(flow.ended):  # the workers do not wait until all of these have been read
                    flow.turn()
                    flow.fill()
    finally:
        batches.close()


def _flow(
    client: Any, fn: Any, iterables: tuple[Iterable[Any], ...], chunk: Any, limit: int | None, retry: Any,
    item_timeout: float | None, on_error: Any, progress: Any, with_input: bool, blocking: bool,
    submit: dict[str, Any] | None, *, ordered: bool, whole: bool, deadline: float | None,
) -> Callable[[], Flow]:  # fmt: skip
    """Checks the arguments; what it returns begins."""
    check_inputs(fn, iterables)
    check_call(retry, on_error)
    bool_of(with_input, "with_input")
    if chunk != "auto":
        if isinstance(chunk, bool) or not isinstance(chunk, int):
            raise TypeError(f'chunk must be a number or "auto": {chunk!r}')
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1: {chunk}")
    item_timeout = FailFast.check_timeout(item_timeout, "item_timeout")
    most = limit_of(limit)  # of an imap's range
    limit = most or LIMIT
    check(progress)
    engine = engine_for(client, submit)
    total = total_of(iterables)
    sizes = Sizes(chunk, limit, total is not None, *(() if whole or most is None else (most,)))
    returns = on_error == "return"
    spec = Spec(fn, len(iterables) > 1, limit, sizes.seconds, whole and not returns, retry, item_timeout, bool(blocking))
    name = name_of(fn)

    def begin() -> Flow:
        return Flow(
            engine, spec, iterables, sizes, ordered=ordered, whole=whole, returns=returns, pairs=with_input,
            deadline=deadline, reporter=reporter(progress, total, name),
        )  # fmt: skip

    return begin
