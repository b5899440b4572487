"""The outer levels: what runs ranges somewhere else, and how a goroutine waits for that.

An engine is opened with the Spec's bytes; `start` calls `done(data, exc)` once, on any thread.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any, Protocol
from uuid import uuid4

from gmpx._core import Event
from gmpx.cluster.ranges import run_range

__all__ = ["Engine", "engine_for"]

#: Ranges that a worker has at once: one that runs and one that is there when that ends.
AHEAD = 2
#: What is larger is sent to a worker once, not with each range.
LARGE_SPEC = 1 << 14
#: How often Dask is asked which workers there are, in seconds.
LOOK_EVERY = 1.0
#: How soon it is asked again about ranges that seem to be lost, in seconds.
LOOK_AGAIN = 0.2
#: What Client.submit is told by the engine alone.
OWN = frozenset(("key", "pure", "actor", "actors"))

Done = Callable[[Any, "BaseException | None"], object]


class Engine(Protocol):
    """What a map wants of an outer level."""

    def open(self, name: str, spec: bytes, timeout: float | None = None) -> None:
        """Before the first start. May wait, or raise TimeoutError."""

    def width(self) -> int:
        """How many ranges should be under way."""

    def start(self, inputs: bytes, done: Done) -> Any:
        """Sends a range; never waits. Returns its handle."""

    def ended(self, handle: Any) -> None:
        """Its end has been seen."""

    def close(self, handles: Iterable[Any]) -> None:
        """No more starts; these are given up."""


def engine_for(outer: Any, options: dict[str, Any] | None) -> Engine:
    """The engine for a Dask Client or an Executor; TypeError for anything else."""
    if options is None:
        options = {}
    elif not isinstance(options, dict):
        raise TypeError(f"submit must be a dict or None, not {type(options).__name__}")
    if isinstance(outer, futures.Executor):
        if options:
            raise TypeError(f"submit: an Executor takes no options: {sorted(options)}")
        return ExecutorEngine(outer)
    if all(hasattr(outer, name) for name in ("submit", "gather", "loop", "scheduler")):
        return DaskEngine(outer, options)
    raise TypeError(f"a Dask Client or a concurrent.futures.Executor is needed, not {type(outer).__name__}")


class ExecutorEngine:
    """Any concurrent.futures.Executor. What runs cannot be stopped there: it goes on to its end."""

    def __init__(self, executor: futures.Executor) -> None:
        self.executor = executor

    def open(self, name: str, spec: bytes, timeout: float | None = None) -> None:
        self.name, self.spec = name, spec

    def width(self) -> int:
        workers = getattr(self.executor, "_max_workers", None) or os.cpu_count() or 1
        return AHEAD * int(min(workers, 1 << 10))

    def start(self, inputs: bytes, done: Done) -> Any:
        future = self.executor.submit(run_range, self.name, self.spec, inputs)
        future.add_done_callback(lambda future: _tell(future, done))
        return future

    def ended(self, handle: Any) -> None:
        pass

    def close(self, handles: Iterable[Any]) -> None:
        for future in handles:
            future.cancel()


def _tell(future: futures.Future[bytes], done: Done) -> None:
    if future.cancelled():
        done(None, futures.CancelledError())
    elif (exc := future.exception()) is not None:
        done(None, exc)
    else:
        done(future.result(), None)


class _Range:
    """A range on its way."""

    __slots__ = ("done", "future", "inputs", "place", "seen")

    def __init__(self, inputs: bytes, done: Done, place: str) -> None:
        self.inputs: bytes | None = inputs
        self.done: Done | None = done
        self.place = place
        """The worker that we have sent it to; "" for none."""
        self.future: Any = None
        """On the client's loop: what is waited for; None when it has ended."""
        self.seen = True
        """Whether the last look has found it where it will run."""

    def end(self, data: Any, exc: BaseException | None) -> None:
        """On the client's loop: tells it, and keeps nothing."""
        done, self.done = self.done, None
        self.future = self.inputs = None
        if done is not None:
            done(data, exc)


class DaskEngine:
    """Dask distributed. Its client lives on a loop in a thread of its own: there our coroutines wait for it.

    A range is placed by us, for it secedes: Dask sees no worker busy with it, and would give one worker all. Others
    may take it when its worker is lost. But Dask looks for those only once, at that moment; if there is none then,
    the range stays behind even if workers come. So ranges whose place is gone are looked for, and what is left behind
    at two looks in a row is sent again, to whatever place: from then on all of it is Dask's. The same with places that
    are a caller's wish; those that he insists on are waited for.
    """

    def __init__(self, client: Any, options: dict[str, Any]) -> None:
        if client.asynchronous:
            raise TypeError("an asynchronous Client cannot be waited for by a goroutine; make one without asynchronous=True")
        self.client, self.options = client, options
        self.check_open()
        takes = inspect.signature(type(client).submit).parameters.values()
        known = {each.name for each in takes if each.kind is each.KEYWORD_ONLY} - OWN
        if unknown := [name for name in options if name not in known]:
            raise TypeError(f"submit: Dask's Client.submit takes no such option here: {unknown}")
        if options.get("allow_other_workers") and not options.get("workers"):
            raise ValueError("submit: allow_other_workers needs workers")
        # With resources, too, Dask itself says how many a worker has; a place beside them would loosen them.
        self.places = "workers" not in options and "resources" not in options
        self.wishes = bool(options.get("allow_other_workers"))
        self.anywhere = {name: options[name] for name in options if name not in ("workers", "allow_other_workers")}
        self.flying: Counter[str] = Counter()
        self.placed: dict[_Range, None] = {}
        self.workers: list[str] = []
        self.looking: futures.Future[Any] | None = None

    def closed(self) -> bool:
        return self.client.status in ("closing", "closed")

    def check_open(self) -> None:
        if self.closed():
            raise RuntimeError(f"the client is closed: {self.client!r}")

    def open(self, name: str, spec: bytes, timeout: float | None = None) -> None:
        self.check_open()
        self.name = name
        self.spec: Any = spec
        self.error: BaseException | None = None
        known = Event()
        self.looking = self.run(self.look(known))
        known.wait(timeout)
        if self.error is not None:
            raise self.error
        if len(spec) > LARGE_SPEC:  # a task of its own, which Dask runs again if its worker is lost
            self.spec = self.client.submit(bytes, spec, key=f"gmpx-fn-{uuid4().hex}", pure=False)

    def run(self, coroutine: Any) -> futures.Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self.client.loop.asyncio_loop)

    async def look(self, known: Event) -> None:
        """Keeps the list of workers: they come and go. And so may the scheduler, until the client gives up."""
        lost = False
        try:
            while not self.closed():
                try:
                    self.workers = list(await self.client.nthreads())
                    known.set()
                    lost = await self.look_for_lost()
                except Exception as e:
                    if not known.is_set():
                        self.error = e
                        break
                    lost = False
                await asyncio.sleep(LOOK_AGAIN if lost else LOOK_EVERY)
        finally:
            known.set()

    async def look_for_lost(self) -> bool:
        """Sends again what seems to be lost for the second time; whether anything seems so for the first."""
        workers = set(self.workers)
        away = [each for each in list(self.placed) if each.place not in workers]
        asked = {old.key: None for each in away if (old := each.future) is not None}
        states = await self.client.scheduler.get_task_status(keys=list(asked)) if asked else {}
        lost = False
        for each in list(self.placed):
            old = each.future
            if old is None or old.key not in asked or old.status not in ("pending", "lost"):
                each.seen = True
            elif states.get(old.key) not in ("no-worker", None):
                each.seen = True
            elif each.seen:
                each.seen, lost = False, True
            else:
                try:
                    self.send(each, self.anywhere)
                except Exception as e:
                    each.end(None, e)
                self.placed.pop(each, None)
                self.run(self.cancel([old]))  # whether we look on or not
        return lost

    def width(self) -> int:
        return AHEAD * max(len(self.workers), 1)

    def start(self, inputs: bytes, done: Done) -> Any:
        self.check_open()
        options, place = self.options, ""
        if self.places and self.workers:
            place = min(self.workers, key=self.flying.__getitem__)
            options = options | {"workers": [place], "allow_other_workers": True}  # others, if it is lost
        each = _Range(inputs, done, place)
        self.send(each, options)
        self.flying[place] += 1
        if place or self.wishes:
            self.placed[each] = None
        return each

    def send(self, each: _Range, options: dict[str, Any]) -> None:
        each.future = self.client.submit(
            run_range, self.name, self.spec, each.inputs, key=f"gmpx-range-{uuid4().hex}", pure=False, **options
        )
        self.run(self.fetch(each, each.future))

    async def fetch(self, each: _Range, future: Any) -> None:
        data = exc = None
        try:
            try:
                (data,) = await self.client.gather([future], asynchronous=True)
            except BaseException as e:
                exc = e
            if each.future is future:  # else it was sent again, and this is of no interest
                each.end(data, exc)
                future.release()  # whoever keeps the exception keeps the frames that have the future
            if not isinstance(exc, (Exception, futures.CancelledError, asyncio.CancelledError, type(None))):
                raise exc
        finally:
            del exc  # it has this frame

    def ended(self, handle: Any) -> None:
        self.flying[handle.place] -= 1
        self.placed.pop(handle, None)

    def close(self, handles: Iterable[Any]) -> None:
        if self.looking is not None:  # it was opened
            self.looking.cancel()
        left = list(handles)
        for each in left:
            self.ended(each)
        if left:
            self.run(self.give_up(left))  # the workers see that they are no longer wanted

    async def give_up(self, left: list[_Range]) -> None:
        await self.cancel([each.future for each in left if each.future is not None])

    async def cancel(self, left: list[Any]) -> None:
        await self.client.cancel(left, asynchronous=True)
