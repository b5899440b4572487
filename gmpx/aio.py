"""asyncio and goroutines: each waits for the other.

In a coroutine ``await g`` waits for a goroutine, ``recv``, ``send`` and ``iterate`` for a channel; in a goroutine
``run`` drives a coroutine, and parks that goroutine alone while the coroutine waits.

>>> async def twice(n):
...     return 2 * await go(abs, -n)
>>> run(twice(21))
42
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import select
import selectors
import signal
import sys
import weakref
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Generic, TypeVar

from gmpx._core import (
    AioLoop,
    AioWaiter,
    Cancelled,
    Chan,
    ChannelClosed,
    Event,
    FailFast,
    Goroutine,
    GroupCore,
    Interrupted,
    _in_bubble,
    _give_away,
    _on_main_goroutine,
    _parks,
    _watch_running_loop,
    blocking,
    current,
    go,
    gosched,
    shield,
)

T = TypeVar("T")

__all__ = ["iterate", "recv", "run", "send", "wait"]

#: asyncio's time-outs tell their cancels from others' by Task.cancelling().
COUNTS_CANCELS = sys.version_info >= (3, 11)
#: A wait for many descriptors can be a wait for one. Elsewhere a loop blocks a spare thread.
PARKS = hasattr(select, "epoll") or hasattr(select, "kqueue")
#: Seconds between two looks at whether a loop that is to cancel a coroutine has been stopped.
LOOK = 0.05


# ---- in a coroutine ------------------------------------------------------------------------


def wait(g: Goroutine[T] | futures.Future[T]) -> asyncio.Future[T]:
    """An asyncio future of a goroutine, or of a Future of any executor: for ``await``, ``asyncio.gather``, ``asyncio.wait`` …

    ``await g`` is the same and costs less. The goroutine goes on whether anybody awaits it or not; cancelling
    the future, or a task that awaits it, cancels the goroutine (``asyncio.shield`` keeps that off).

    Args:
        g: the Goroutine; or a ``concurrent.futures.Future``, as ``asyncio.wrap_future`` takes it: cancelling then
            cancels the call only if that has not begun.

    Returns:
        The future. Its exception is the goroutine's, with its traceback, and counts as read;
        asyncio.CancelledError if that ended by Cancelled.

    Raises:
        TypeError: neither.
        RuntimeError: no loop runs here; the goroutine is the one that runs the loop, or is bound to the thread that
            the loop keeps to itself (one that had started there before ``asyncio.run``).

    Blocks nothing.
    """
    loop = _running()
    if not isinstance(g, Goroutine):
        if not isinstance(g, futures.Future):
            raise TypeError(f"a Goroutine or a concurrent.futures.Future is needed, not {type(g).__name__}")
        return asyncio.wrap_future(g, loop=loop)
    side = _side(loop)
    waiter = side.join(g)
    future: asyncio.Future[T] = loop.create_future()
    if not waiter.waits:
        _settle(future, g)
        return future
    if side.keeps:
        _give_away()
    waiter.future = future
    waiter.settle = _settle
    future.add_done_callback(partial(_settled, waiter))
    return future


async def send(c: Chan[T], v: T) -> None:
    """Sends v to a channel: to a waiting receiver, else into the buffer, else waits for either.

    A send that was cancelled has not sent. If the item has gone when the cancel comes, this returns, and the cancel
    comes at the task's next wait.

    Raises:
        ChannelClosed: the channel is closed, or is closed while this waits.
        RuntimeError: no loop runs here.

    Waits without a goroutine or a thread.
    """
    waiter = _side(_running()).send(c, v)
    if waiter.waits:
        await _happens(waiter)
    if not waiter.value()[1]:
        raise ChannelClosed(f"send on closed channel {c!r}")


async def recv(c: Chan[T]) -> T:
    """Receives the oldest item of a channel, waiting for one if need be.

    A recv that was cancelled has taken nothing. If an item has come when the cancel does, this returns it, and the
    cancel comes at the task's next wait.

    Raises:
        ChannelClosed: the channel is closed and drained.
        RuntimeError: no loop runs here.

    Waits without a goroutine or a thread.
    """
    waiter = _side(_running()).recv(c)
    if waiter.waits:
        await _happens(waiter)
    value, ok = waiter.value()
    if not ok:
        raise ChannelClosed(f"receive on closed channel {c!r}")
    return value  # type: ignore[no-any-return]


class iterate(Generic[T]):
    """iterate(c): an asynchronous iterator over a channel, which ends when that is closed and drained.

    Several may iterate over one channel; each item goes to one of them. Leaving the loop takes nothing.

    >>> async def total(c):
    ...     return sum([n async for n in iterate(c)])
    >>> c = Chan(3)
    >>> for n in range(3): c.send(n)
    >>> c.close()
    >>> run(total(c))
    3
    """

    def __init__(self, c: Chan[T]) -> None:
        if not isinstance(c, Chan):
            raise TypeError(f"a Chan is needed, not {type(c).__name__}")
        self._chan = c

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        waiter = _side(_running()).recv(self._chan)
        if waiter.waits:
            await _happens(waiter)
        value, ok = waiter.value()
        if not ok:
            raise StopAsyncIteration
        return value  # type: ignore[no-any-return]


def _await(g: Goroutine[T]) -> Generator[Any, None, T]:
    """Goroutine.__await__."""
    loop = _running()
    side = _side(loop)
    waiter = side.join(g)
    if waiter.waits:
        if side.keeps:
            _give_away()
        waiter.future = loop.create_future()
        try:
            yield from waiter.future
        except asyncio.CancelledError as e:
            waiter.withdraw()
            g.cancel(*e.args[:1])
            raise
        except BaseException:  # the coroutine is dropped
            waiter.withdraw()
            raise
    try:
        return g.result()
    except Cancelled as e:
        raise asyncio.CancelledError(*e.args) from e


async def _happens(waiter: AioWaiter) -> None:
    """Waits until it is over: what has happened counts, whenever the cancel comes."""
    loop = asyncio.get_running_loop()
    if _side(loop).keeps:
        _give_away()
    waiter.future = loop.create_future()
    try:
        await waiter.future
    except asyncio.CancelledError as e:
        if waiter.withdraw():
            raise
        _cancel_again(loop, e)
    except BaseException:
        waiter.withdraw()
        raise


def _cancel_again(loop: asyncio.AbstractEventLoop, exc: asyncio.CancelledError) -> None:
    """The running task was cancelled when its wait had been completed: the cancel is to come at the next.

    Not if whoever asked for it has taken it back by then, as asyncio.timeout does when its block ends.
    """
    task = asyncio.current_task(loop)
    if task is None:
        raise exc
    count = task.cancelling() if COUNTS_CANCELS else 1
    if count > 0:
        loop.call_soon(_deliver_cancel, task, count, exc.args[:1])


def _deliver_cancel(task: asyncio.Task[Any], count: int, args: tuple[Any, ...]) -> None:
    if task.done():
        return
    if not COUNTS_CANCELS:
        task.cancel(*args)
    elif task.cancelling() >= count:
        task.cancel(*args)
        task.uncancel()  # it was counted when it first came


def _settle(future: asyncio.Future[T], g: Goroutine[T]) -> None:
    exc = g.exception()
    if exc is None:
        future.set_result(g.result())
    elif isinstance(exc, Cancelled):
        future.cancel(*exc.args[:1])
    elif isinstance(exc, StopIteration):
        error = RuntimeError(f"{g!r} raised StopIteration")
        error.__cause__ = exc
        future.set_exception(error)
    else:
        future.set_exception(exc)


def _settled(waiter: AioWaiter, future: asyncio.Future[Any]) -> None:
    if future.cancelled() and waiter.withdraw():
        try:
            future.result()
        except asyncio.CancelledError as e:
            waiter.on.cancel(*e.args[:1])


def _running() -> asyncio.AbstractEventLoop:
    loop = asyncio._get_running_loop()
    if loop is None:
        raise RuntimeError(
            "no asyncio loop runs in this goroutine: what is awaited here needs one (in a goroutine use result, recv, "
            "send)"
        )
    return loop


# ---- what the runtime keeps for a loop -----------------------------------------------------

#: Each with the goroutine that runs its loop; None: a loop that parks none.
_sides: weakref.WeakKeyDictionary[AioLoop, object] = weakref.WeakKeyDictionary()


def _side(loop: Any) -> AioLoop:
    try:
        side: AioLoop = loop._gmpx
        if not side.closed:
            return side
    except AttributeError:
        pass
    return _attach(loop)


def _attach(loop: Any) -> AioLoop:
    if hasattr(os, "eventfd"):
        reads = writes = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    else:
        reads, writes = os.pipe()
        os.set_blocking(reads, False)
        os.set_blocking(writes, False)
    side = AioLoop(reads, writes)
    side.keeps = not _patched(loop)
    loop.add_reader(reads, side.drain)
    loop._gmpx = side
    _sides[side] = None
    return side


def _patched(loop: Any) -> bool:
    """Whether its wait for events parks the goroutine, by gmpx.patch."""
    patch = sys.modules.get("gmpx.patch")
    return (
        patch is not None
        and _parks()
        and isinstance(loop, asyncio.SelectorEventLoop)
        and any(patch.is_patched(f"select.{name}") for name in ("epoll.poll", "kqueue.control"))
    )


def _forked() -> None:
    """In a fork's child the other threads' loops are nobody's: what they waited for is not for them."""
    for side, owner in list(_sides.items()):
        if owner is not current():
            side.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


# ---- in a goroutine ------------------------------------------------------------------------


def run(
    coro: Coroutine[Any, Any, T],
    *,
    timeout: float | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
) -> T:
    """Runs a coroutine to its end and returns its value; parks the goroutine alone while it waits.

    As ``asyncio.run``: a loop of its own, a copy of the goroutine's context, and at the end the tasks that are left
    are cancelled, asynchronous generators and the default executor shut down. Other goroutines of the thread go on
    meanwhile, also with loops of their own. On a foreign thread the thread blocks.

    Cancelling the goroutine cancels the coroutine, whose ``finally`` blocks may await; Cancelled goes on
    from here then. So do a time limit's end and, on the main goroutine, Ctrl-C.

    Args:
        coro: the coroutine.
        timeout: seconds for it; None for no limit.
        loop: a loop that runs elsewhere, in another goroutine or thread: the coroutine runs there as a task,
            among its others (``asyncio.run_coroutine_threadsafe``).

    Raises:
        What the coroutine raises.
        TimeoutError: it was not done in time, and has ended by the cancel.
        TypeError: no coroutine, or no loop. ValueError: a bad timeout.
        RuntimeError: a loop runs in this goroutine: await the coroutine. Or `loop` does not run.

    >>> import asyncio
    >>> async def answer():
    ...     await asyncio.sleep(0)
    ...     return 42
    >>> run(answer())
    42
    """
    timeout = FailFast.check_timeout(timeout)
    if not asyncio.iscoroutine(coro):
        raise TypeError(f"a coroutine is needed, not {type(coro).__name__}")
    running = asyncio._get_running_loop()
    if running is not None:
        coro.close()
        raise RuntimeError("gmpx.aio.run() would stop the asyncio loop that runs in this goroutine: await the coroutine")
    if loop is not None:
        if not isinstance(loop, asyncio.AbstractEventLoop):
            coro.close()
            raise TypeError(f"loop must be an asyncio event loop, not {type(loop).__name__}")
        return _run_elsewhere(coro, timeout, loop)
    if not PARKS and _parks():
        return blocking(lambda: run(coro, timeout=timeout))
    own: asyncio.AbstractEventLoop
    own = ParkingLoop() if _parks() or _in_bubble() else asyncio.new_event_loop()
    try:
        task = own.create_task(coro)
        try:
            with _interrupts(own, task) as interrupted:
                return _drive(own, task, timeout, interrupted)
        finally:
            with shield():
                _finish(own)
    finally:
        own.close()


def _drive(
    loop: asyncio.AbstractEventLoop,
    task: asyncio.Task[T],
    timeout: float | None,
    interrupted: list[BaseException],
) -> T:
    late = []

    def expire() -> None:
        late.append(True)
        task.cancel()

    timer = None if timeout is None else loop.call_later(timeout, expire)
    while True:
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            if interrupted:
                raise interrupted[0] from None
            if late:
                raise TimeoutError("gmpx.aio.run() timed out") from None
            raise
        except (Cancelled, KeyboardInterrupt) as e:
            if task.done() or (interrupted and isinstance(e, KeyboardInterrupt)):
                raise
            interrupted[:] = [e]
            task.cancel(*e.args[:1])
        finally:
            if timer is not None and task.done():
                timer.cancel()


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """What asyncio.run does at its end."""
    tasks = loop._gmpx_tasks if isinstance(loop, ParkingLoop) else asyncio.all_tasks(loop)
    left = [t for t in tasks if not t.done()]
    if left:
        for t in left:
            t.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        for t in left:
            if not t.cancelled() and t.exception() is not None:
                loop.call_exception_handler(
                    {
                        "message": "unhandled exception during gmpx.aio.run() shutdown",
                        "exception": t.exception(),
                        "task": t,
                    }
                )
    # A turn of the loop that has nothing to do is left out.
    ready = getattr(loop, "_ready", True)
    if ready or getattr(loop, "_asyncgens", True):
        loop.run_until_complete(loop.shutdown_asyncgens())
    if ready or getattr(loop, "_default_executor", True) is not None:
        loop.run_until_complete(loop.shutdown_default_executor())


@contextmanager
def _interrupts(
    loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]
) -> Iterator[list[BaseException]]:
    """As asyncio.run on the main thread: the first Ctrl-C cancels the task, further ones go on as ever.

    Yields the list that what has interrupted the task comes in.
    """
    interrupted: list[BaseException] = []
    before = signal.getsignal(signal.SIGINT) if _on_main_goroutine() else None
    if not callable(before) or getattr(before, "__name__", "") not in (
        "default_int_handler",
        "_sigint_handler",
    ):
        yield interrupted
        return

    def handler(signum: int, frame: Any) -> Any:
        if interrupted or task.done():
            return before(signum, frame)
        interrupted.append(KeyboardInterrupt())
        task.cancel()
        loop.call_soon_threadsafe(int)

    handler._gmpx_loop_sigint = True  # type: ignore[attr-defined]  # no handler of the user's: DeadlockError
    signal.signal(signal.SIGINT, handler)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _run_elsewhere(
    coro: Coroutine[Any, Any, T], timeout: float | None, loop: asyncio.AbstractEventLoop
) -> T:
    if not loop.is_running():
        coro.close()
        raise RuntimeError(f"{loop!r} does not run: leave out `loop`")
    ended = Event()
    tasks: list[asyncio.Task[T]] = []
    failed: list[BaseException] = []

    def begin() -> None:
        try:
            task = context.run(loop.create_task, coro)
            tasks.append(task)
            task.add_done_callback(end)
        except BaseException as e:
            failed.append(e)
            ended.set()
            raise

    def end(task: asyncio.Task[T]) -> None:
        ended.set()

    def cancel(*args: Any) -> None:
        for task in tasks:
            task.cancel(*args)

    context = contextvars.copy_context()
    loop.call_soon_threadsafe(begin)
    why: BaseException | None = None
    try:
        try:
            ended.wait(timeout)
        except TimeoutError:
            raise TimeoutError("gmpx.aio.run() timed out") from None
    except BaseException as e:
        why = e
        loop.call_soon_threadsafe(cancel, *(e.args[:1] if isinstance(e, Cancelled) else ()))
        with shield():
            while not ended.is_set():
                if not loop.is_running():
                    raise  # it has been stopped; should it go on, the cancel comes first
                with suppress(TimeoutError):
                    ended.wait(LOOK)
    if failed:
        raise failed[0]
    try:
        value = tasks[0].result()
    except asyncio.CancelledError:
        if why is not None:
            raise why from None
        raise
    if isinstance(why, Cancelled) and not isinstance(why, Interrupted):
        GroupCore.ask_again(why)  # it came too late for this wait
    elif why is not None and not isinstance(why, TimeoutError):
        raise why
    return value


class _Selector(selectors.DefaultSelector):
    """Its wait parks the goroutine."""

    def __init__(self, side: AioLoop) -> None:
        super().__init__()
        self._side = side

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if _in_bubble():
            raise RuntimeError("a loop in gmpx.testing.bubble has virtual time, and can wait for no descriptor")
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        watched = len(self.get_map())
        if timeout is None or timeout > 0:
            self._side.wait(self.fileno() if watched else -1, timeout)
        else:
            gosched()  # a loop that always has something to do leaves the others their turns
        found = super().select(0) if watched else []
        self._side.drain()
        return found


class ParkingLoop(asyncio.SelectorEventLoop):
    """A loop of asyncio's that parks its goroutine where others block their thread.

    It is woken by the runtime. The pair of sockets that other loops are woken by, which costs two
    descriptors, is made if somebody asks for signals.
    """

    _ssock: Any
    _csock: Any

    def __init__(self) -> None:
        self._gmpx = AioLoop()
        _sides[self._gmpx] = current()
        self._gmpx_tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._ssock = self._csock = None
        super().__init__(_Selector(self._gmpx))
        if _in_bubble():
            # A jump of the clock to a timer ends at a whole nanosecond, perhaps just before the timer.
            self._clock_resolution = 1e-6

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        # asyncio.all_tasks looks at all loops' tasks: too slow with thousands of loops.
        task = super().create_task(*args, **kwargs)
        self._gmpx_tasks.add(task)
        return task

    def _make_self_pipe(self) -> None:
        pass

    def _close_self_pipe(self) -> None:
        if self._csock is not None:
            super()._close_self_pipe()  # type: ignore[misc]

    def _write_to_self(self) -> None:
        self._gmpx.wake()

    def add_signal_handler(self, *args: Any) -> None:  # type: ignore[override]
        if self._csock is None:
            super()._make_self_pipe()  # type: ignore[misc]
        super().add_signal_handler(*args)

    def close(self) -> None:
        if not self.is_running():
            self._gmpx.close()
        super().close()


def _begin() -> None:
    try:
        import _asyncio
    except ImportError:
        return
    _watch_running_loop(_asyncio)


_begin()
