"""Executor: concurrent.futures over goroutines."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from itertools import islice
from typing import Any, TypeVar

from gmpx._core import DeadlockError, Event, ExecutorCore, FutureCore, Tasks, _executor_parts, current
from gmpx.arguments import callable_of, limit_of
from gmpx.loops import runs_here, would_stop
from gmpx.retry import add_note

T = TypeVar("T")

__all__ = ["Executor", "Future"]

LOGGER = futures._base.LOGGER
#: What `limit` None shows as to who asks an executor for its number of workers.
MANY = 2**31 - 1


if sys.version_info >= (3, 11):
    TimedOut = TimeoutError
else:

    class TimedOut(futures.TimeoutError, TimeoutError):
        """Both of what 3.11 made one."""


class Future(FutureCore, futures.Future[Any]):
    """What ``Executor.submit`` returns: a ``concurrent.futures.Future``.

    Its waits park goroutines and block threads, as all of gmpx's do. A goroutine that ended by Cancelled makes
    it a cancelled one.
    """

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("Futures are made by Executor.submit")

    def set_result(self, result: Any) -> None:
        """Raises InvalidStateError: its call sets it."""
        raise futures.InvalidStateError(f"{self!r} is set by its call")

    def set_exception(self, exception: BaseException | None) -> None:
        """Raises InvalidStateError: its call sets it."""
        raise futures.InvalidStateError(f"{self!r} is set by its call")

    def set_running_or_notify_cancel(self) -> bool:
        """Raises InvalidStateError: its call sets it."""
        raise futures.InvalidStateError(f"{self!r} is set by its call")

    def __repr__(self) -> str:
        state = self._state_now().lower().replace("_and_notified", "")
        how = ""
        if state == "finished":
            how = " raised" if self._failed() else f" returned {type(self._result).__name__}"
        return f"<Future at {id(self):#x} state={state}{how}>"


class _Waiters(list):  # type: ignore[type-arg]
    """Those that wait in concurrent.futures.wait or as_completed: in a goroutine, parked."""

    def append(self, waiter: Any) -> None:
        if not isinstance(waiter.event, _ParkingEvent):
            waiter.event = _ParkingEvent()  # all futures' locks are held: nobody waits for it or sets it
        super().append(waiter)


class _ParkingEvent:
    """threading.Event's methods, as far as they are called there."""

    def __init__(self) -> None:
        self._event = Event()
        self.set, self.clear = self._event.set, self._event.clear

    def wait(self, timeout: float | None = None) -> bool:
        try:
            return self._event.wait(None if timeout is None else max(timeout, 0))
        except TimeoutError:
            return False


def _new_condition() -> tuple[threading.Condition, _Waiters]:
    return threading.Condition(), _Waiters()


_executor_parts(Future, futures.Future, futures.CancelledError, TimedOut, LOGGER, _new_condition)


class Executor(ExecutorCore, futures.Executor):
    """A ``concurrent.futures.Executor`` whose calls are goroutines.

    Args:
        limit: how many calls may run at once, >= 1; None for no bound. The others wait in order. Also
            taken by the name that thread pools have for it, ``max_workers``.
        name: the goroutines' name; None for that of each function.
        initializer, initargs: a function that is called once, before the first call, in the goroutine that
            submits that; others that submit wait for its end. If it raises, so does every ``submit``: BrokenExecutor.

    Raises:
        ValueError, TypeError: bad input.

    ``with`` waits at its end for all calls; in a coroutine they have to be awaited before. At its exit the program does,
    for those of all executors, dropped ones too. What a future that nobody has read any more failed by goes to
    ``excepthook``.

    >>> with Executor() as executor:
    ...     futures = [executor.submit(pow, 2, n) for n in range(4)]
    ...     list(executor.map(abs, [-1, 2]))
    [1, 2]
    >>> [future.result() for future in futures]
    [1, 2, 4, 8]
    """

    def __init__(
        self,
        limit: int | None = None,
        *,
        name: str | None = None,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if limit is not None and max_workers is not None:
            raise TypeError("limit and max_workers are two names of one argument")
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._limit = limit_of(limit if limit is not None else max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        name = name or thread_name_prefix or None
        self._name = name
        self._initializer, self._initargs = initializer, initargs
        self._initializes: object = None  # who runs that
        self._initialized = Event()
        self._why_not: BaseException | None = None  # why submit takes nothing
        tasks = Tasks(min(self._limit or 0, MANY), name)
        self._set_up(tasks, initializer is not None)
        _living.add(self)
        _tasks.add(tasks)

    @property
    def _max_workers(self) -> int:  # dask and others ask for it
        return self._limit or MANY

    @property
    def _broken(self) -> bool:
        return isinstance(self._why_not, futures.BrokenExecutor)

    def _look(self) -> None:
        """What submit asks first while there is something to say."""
        if not self._is_set_up():
            raise RuntimeError("Executor.__init__ was not called")
        initializer, self._initializer = self._initializer, None
        if initializer is not None and self._why_not is None:
            self._initialize(initializer)
        elif self._initializes not in (None, _caller()):  # else it submits itself
            self._initialized.wait()
        if self._why_not is not None:
            raise type(self._why_not)(*self._why_not.args)

    def _initialize(self, initializer: Callable[..., object]) -> None:
        self._initializes = _caller()
        try:
            initializer(*self._initargs)
        except BaseException as e:
            LOGGER.critical("Exception in initializer:", exc_info=True)
            self._why_not = futures.BrokenExecutor("the initializer has failed; the executor takes no more calls")
            if isinstance(e, Exception):
                raise self._why_not
            raise
        finally:
            self._initializes = None
            self._initialized.set()
        if self._why_not is None:
            self._looks(False)

    def map(
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Calls ``fn`` on each item, or each tuple of a zip, as ``Executor.map`` of Python 3.14.

        Args:
            fn: the function.
            iterables: read at once, or, with a buffersize, as values are taken.
            timeout: seconds from this call to the last value; None waits for ever.
            chunksize: has no effect, as for threads.
            buffersize: how many calls may be submitted whose values are not yet taken, >= 1; None for no bound.

        Returns:
            An iterator over the values, in the order of the input. It raises what a call raised, and
            TimeoutError. When it ends, the calls that have not begun are cancelled; not if it has never been
            asked for a value.

        Raises:
            TypeError, ValueError: bad input, at once.
        """
        return map_calls(self, fn, iterables, timeout, buffersize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more calls are taken.

        Args:
            wait: return when all calls and their futures' callbacks have ended.
            cancel_futures: cancel those that have not begun.

        Raises:
            RuntimeError: asyncio runs a loop in this goroutine, which the wait for a call would stop, or for a
                callback that takes over 5 seconds; not in a block under ``timeout``, whose end ends the wait. Nothing
                is submitted any more, and the calls go on.

        Blocks the goroutine with wait=True; on a foreign thread, the thread.
        """
        if self._why_not is None:
            self._why_not = RuntimeError("cannot schedule new futures after shutdown")
            self._looks(True)
        tasks = self._tasks()
        if cancel_futures:
            tasks.cancel_waiting()
        if wait and not tasks.wait_all():
            raise would_stop(
                "Executor.shutdown, or the end of 'with Executor()',",
                "await what is submitted before that, leave the 'with' in a goroutine ('await gmpx.go(f)'), or use "
                "'shutdown(wait=False)'",
            )

    def __exit__(self, kind: object, exc: BaseException | None, tb: object) -> None:
        """As ``shutdown``. An exception of the block comes out as it is: where the wait would stop an asyncio loop,
        there is none then."""
        if exc is None or not runs_here():
            try:
                self.shutdown(wait=True)
            except DeadlockError:
                if not isinstance(exc, DeadlockError):  # that has told it
                    raise
            return
        self.shutdown(wait=False)
        if not self._tasks().wait_all():
            add_note(exc, f"gmpx: the calls of {self!r} go on: the asyncio loop here could not wait for them")

    def __repr__(self) -> str:
        running, waiting = self._tasks().counts()
        name = f" {self._name}" if self._name else ""
        over = " shut down" if self._why_not is not None else ""
        return f"<Executor{name}{over} running={running} waiting={waiting} limit={self._limit}>"


def _caller() -> object:
    return threading.get_ident(), current()


def map_calls(
    executor: futures.Executor,
    fn: Callable[..., T],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    buffersize: int | None,
) -> Iterator[T]:
    """``Executor.map`` over an executor's ``submit``."""
    callable_of(fn)
    if buffersize is not None:
        if not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
    end = None if timeout is None else time.monotonic() + timeout
    calls = zip(*iterables)
    submit = executor.submit
    fs = deque(submit(fn, *args) for args in (calls if buffersize is None else islice(calls, buffersize)))
    return _values(fs, end, None if buffersize is None else calls, weakref.ref(executor), fn)


def _values(
    fs: deque[Any],
    end: float | None,
    calls: Iterator[tuple[Any, ...]] | None,
    executor: weakref.ref[futures.Executor],
    fn: Callable[..., T],
) -> Iterator[T]:
    try:
        while fs:
            if calls is not None:
                # The next one is submitted when this one's value is there to be taken.
                fs[0].result(None if end is None else end - time.monotonic())
                if (alive := executor()) is not None:
                    for args in islice(calls, 1):
                        fs.append(alive.submit(fn, *args))
                    del alive
            yield _first(fs, end)
    finally:
        for future in fs:
            if not future.cancel():
                future.add_done_callback(_read)


def _first(fs: deque[Any], end: float | None) -> Any:
    """Its value, of which nothing else is kept; interrupted or failed, it stays there to be cancelled."""
    value = fs[0].result(None if end is None else end - time.monotonic())
    fs.popleft()
    return value


def _read(future: Any) -> None:
    # Who has given the iteration up does not want to know.
    if not future.cancelled():
        future.exception()


_living: weakref.WeakSet[Executor] = weakref.WeakSet()
#: What they have under way, which goes on when an executor has been dropped.
_tasks: weakref.WeakSet[Tasks] = weakref.WeakSet()


def _at_exit() -> None:
    for executor in list(_living):
        executor.shutdown(wait=False)
    while under_way := [tasks for tasks in list(_tasks) if tasks.busy()]:
        told = all(tasks.told() for tasks in under_way)
        try:
            for tasks in under_way:
                if not tasks.wait_all():
                    return
        except DeadlockError:
            if not told:  # the program has heard of it
                raise
            return


def _after_fork() -> None:
    for tasks in list(_tasks):
        tasks.abandon(RuntimeError("the call was left behind in the parent process by fork"))


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
