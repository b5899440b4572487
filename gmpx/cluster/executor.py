"""ClusterExecutor: concurrent.futures over a cluster, call by call."""

from __future__ import annotations

import math
import reprlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any, TypeVar
from uuid import uuid4

from gmpx._core import Chan, Goroutine, spawn
from gmpx.arguments import limit_of
from gmpx.cluster.engines import engine_for
from gmpx.cluster.payload import Failed, dumps, loads
from gmpx.cluster.ranges import Spec
from gmpx.executor import map_calls
from gmpx.fanout import name_of
from gmpx.loops import runs_here, would_stop
from gmpx.retry import add_note

T = TypeVar("T")

__all__ = ["ClusterExecutor"]

LIMIT = 256
MOST_CALLS = 4096
#: When all calls have ended the pump does, in seconds.
ALMOST = 5.0


class _Call:
    __slots__ = ("args", "fn", "future", "kwargs")

    def __init__(self, fn: Any, args: Any, kwargs: Any) -> None:
        self.fn, self.args, self.kwargs = fn, args, kwargs
        self.future: futures.Future[Any] = futures.Future()

    def show(self) -> str:
        return f"{name_of(self.fn)}: args={reprlib.repr(self.args)}, kwargs={reprlib.repr(self.kwargs)}"


def _call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)


class ClusterExecutor(futures.Executor):
    """A ``concurrent.futures.Executor`` whose calls are goroutines on a cluster's workers.

    Args:
        client: a Dask Client (not an asynchronous one), or another Executor.
        limit: how many calls may run at once on each worker, >= 1; None for 256.
        submit: what Dask's ``Client.submit`` is called with besides.

    Raises:
        TypeError, ValueError: bad input.
        RuntimeError: the client is closed.

    A call that finds room on a worker is sent at once; those that come while there is none go together with the
    next ones. The Futures are ``concurrent.futures``' own; ``gmpx.wait`` and its like wait for them in goroutines.
    ``with`` waits at its end for all calls. It leaves the client open. For many calls of one function ``map`` of
    this module costs less.
    """

    def __init__(
        self, client: Any, limit: int | None = None, *, submit: dict[str, Any] | None = None
    ) -> None:
        self._engine = engine_for(client, submit)
        self._spec = Spec(_call, True, limit_of(limit) or LIMIT, math.inf, False, None, None, False)
        self._lock = threading.Lock()  # of the following
        self._calls: deque[_Call] = deque()
        self._pump: Goroutine[None] | None = None
        self._over = False
        # the pump's alone; of _ended the lock says which it is
        self._ended: Chan[tuple[list[_Call], Any, BaseException | None] | None] = Chan(sys.maxsize)
        self._flying: dict[int, Any] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        """Sends a call; never waits.

        Raises:
            TypeError: fn is not callable.
            RuntimeError: after shutdown.
        """
        if not callable(fn):
            raise TypeError(f"submit() needs a callable, not {type(fn).__name__}")
        call = _Call(fn, args, kwargs)
        with self._lock:
            if self._over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._calls.append(call)
            if self._pump is None:
                self._pump = spawn(self._run, name="ClusterExecutor")
            elif len(self._calls) == 1:
                self._ended.send_nowait(None)
        return call.future

    def map(
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Calls ``fn`` on each item, or each tuple of a zip: ``gmpx.Executor.map``."""
        return map_calls(self, fn, iterables, timeout, buffersize)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more calls are taken.

        Args:
            wait: return when all calls have ended.
            cancel_futures: cancel those that have not been sent.

        Raises:
            RuntimeError: asyncio runs a loop in this goroutine, which the wait for a call would stop. Nothing is
                submitted any more, and the calls go on.

        Blocks the goroutine with wait=True; on a foreign thread, the thread.
        """
        with self._lock:
            self._over = True
            pump = self._pump
            waiting = list(self._calls) if cancel_futures else []
        for call in waiting:
            call.future.cancel()
        if not wait or pump is None:
            return
        if not runs_here():
            pump.join()
            return
        try:
            if self._flying or self._calls:
                raise TimeoutError
            pump.join(ALMOST)
        except TimeoutError:
            raise would_stop(
                "ClusterExecutor.shutdown, or the end of 'with ClusterExecutor()',",
                "await what is submitted before that, leave the 'with' in a goroutine ('await gmpx.go(f)'), or use "
                "'shutdown(wait=False)'",
            ) from None

    def __exit__(self, kind: object, exc: BaseException | None, tb: object) -> None:
        """As ``shutdown``; an exception of the block comes out as it is where the wait would stop an asyncio loop."""
        self.shutdown(wait=exc is None or not runs_here())

    # the pump: it lives while there is anything to do

    def _run(self) -> None:
        while True:
            try:
                self._serve()
            except BaseException as e:  # no more can be sent
                self._fail(e)
                if not isinstance(e, Exception):
                    raise
            with self._lock:
                if not self._calls:
                    self._pump = None
                    break

    def _serve(self) -> None:
        """Until there is nothing to do for the moment. The engine is closed before anyone may open it again."""
        with self._lock:  # news of what an earlier one has given up are for no one
            self._ended = Chan(sys.maxsize)
        try:
            self._engine.open(f"calls-{uuid4().hex}", dumps(self._spec, code=True))
            while True:
                self._fill()
                if not self._flying and not self._calls:
                    break
                self._take(self._ended.recv())
                while len(self._ended):
                    self._take(self._ended.recv())
        finally:
            self._engine.close([handle for _, handle in self._flying.values() if handle is not None])

    def _fail(self, exc: BaseException) -> None:
        """All that is under way, or waits, has this exception."""
        calls = [call for calls, _ in self._flying.values() for call in calls if not call.future.done()]
        self._flying.clear()
        with self._lock:
            waiting, self._calls = self._calls, deque()
            if not isinstance(exc, Exception):
                self._pump = None  # this one ends
        for call in waiting:
            if not isinstance(exc, Exception):
                call.future.cancel()
            if call.future.set_running_or_notify_cancel():
                calls.append(call)
        for call in calls:
            call.future.set_exception(exc)

    def _fill(self) -> None:
        width = self._engine.width()
        while (room := width - len(self._flying)) > 0:
            with self._lock:
                n = min(math.ceil(len(self._calls) / room), MOST_CALLS)
                calls = [self._calls.popleft() for _ in range(n)]
            if not calls:
                break
            calls = [call for call in calls if call.future.set_running_or_notify_cancel()]
            if calls:
                self._flying[id(calls)] = calls, None
                self._send(calls)

    def _send(self, calls: list[_Call]) -> None:
        try:
            data = dumps([(call.fn, call.args, call.kwargs) for call in calls])
        except Exception as e:
            left = calls if len(calls) == 1 else [call for call in calls if self._can_go(call)]
            if len(left) == len(calls):  # not because of some of them
                for call in left:
                    call.future.set_exception(e)
                left = []
            if left:
                self._flying[id(left)] = left, None
            del self._flying[id(calls)]
            if left:
                self._send(left)
            return
        ended = self._ended
        handle = self._engine.start(data, lambda data, exc: ended.send_nowait((calls, data, exc)))
        self._flying[id(calls)] = calls, handle

    def _can_go(self, call: _Call) -> bool:
        """Whether it can be pickled; if not, that is its end."""
        try:
            dumps((call.fn, call.args, call.kwargs))
        except Exception as e:
            call.future.set_exception(e)
            return False
        return True

    def _take(self, news: tuple[list[_Call], Any, BaseException | None] | None) -> None:
        if news is None:  # there are new calls
            return
        calls, data, exc = news
        _, handle = self._flying.pop(id(calls))
        self._engine.ended(handle)
        values: list[Any] = []
        if exc is None:
            try:
                values = loads(data)[0]
            except Exception as e:
                exc = e
        if exc is not None:
            if type(exc).__name__ == "KilledWorker":
                each = " ... ".join(call.show() for call in (calls if len(calls) == 1 else (calls[0], calls[-1])))
                add_note(exc, f"it had {each}" if len(calls) == 1 else f"it had {len(calls)} calls, {each}")
            for call in calls:
                call.future.set_exception(exc)
            return
        for call, value in zip(calls, values):
            if type(value) is Failed:
                call.future.set_exception(value.exception())
            else:
                call.future.set_result(value)
