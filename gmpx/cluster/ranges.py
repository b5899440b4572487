"""What runs on a worker: a range of items, a goroutine for each.

All ranges of one map that are in one worker share a Session: the function, unpickled once, and the room for its
goroutines. So a second range begins to fill the room that the last calls of the first leave.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gmpx._core import GoExit, Goroutine, Mutex, Semaphore, WaitGroup, current, spawn
from gmpx.cluster.payload import Answer, Failed, loads, pack
from gmpx.fanout_call import Calls, Failure
from gmpx.retry import Retry

__all__ = ["Spec", "run_range"]

#: How often a range asks Dask whether it is still wanted, in seconds.
ASK_EVERY = 0.05
#: How many maps' functions a worker keeps.
SESSIONS = 16

HOLE = object()


class Spec(NamedTuple):
    """What all ranges of a map have in common."""

    fn: Callable[..., Any]
    star: bool
    """Several iterables: an item is the tuple of the arguments."""
    limit: int
    seconds: float
    """No item of a range begins later than that; those left over go back."""
    fail_fast: bool
    retry: Retry | None
    item_timeout: float | None
    blocking: bool


class Session:
    """What the ranges of one map in one worker share."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.slots = Semaphore(spec.limit)
        self.turn = Mutex()  # of the range that starts goroutines
        self.calls: Calls | None = None
        if spec.retry is not None or spec.item_timeout is not None or spec.blocking:
            # single=False: a Failure's item is the very tuple of the arguments, so it is known from a value.
            self.calls = Calls(
                spec.fn, single=False, rate=None, retry=spec.retry, item_timeout=spec.item_timeout,
                on_error="return", with_input=False, blocking_call=spec.blocking,
            )  # fmt: skip


class Range:
    """Some items, their goroutines and what has come of them."""

    def __init__(self, session: Session, inputs: Sequence[Any]) -> None:
        self.session, self.inputs = session, inputs
        self.values: list[Any] = [HOLE] * len(inputs)
        self.handles: list[Goroutine[None]] = []
        self.group = WaitGroup()
        self.stopped = False
        self.due = 0.0

    def run(self) -> Answer:
        session, slots = self.session, self.session.slots
        go, one, handles = self.group.go, self.one, self.handles
        began = time.monotonic()
        self.due = began + session.spec.seconds
        try:
            with session.turn:
                for i, item in enumerate(self.inputs):
                    slots.acquire()
                    if not i:  # not while those before it had all the room
                        began = time.monotonic()
                        self.due = began + session.spec.seconds
                    if self.stopped or (i and time.monotonic() > self.due):
                        slots.release()
                        break
                    handle = go(one, i, item)
                    handles.append(handle)
                    if self.stopped:  # by one who has not seen this handle
                        handle.cancel()
            self.group.wait()
        except BaseException:
            self.stop()
            raise
        holes = [i for i, value in enumerate(self.values) if value is HOLE]
        for i in holes:
            self.values[i] = None
        return Answer(self.values, holes, time.monotonic() - began)

    def one(self, i: int, item: Any) -> None:
        session = self.session
        try:
            if self.stopped or (i and time.monotonic() > self.due):
                return
            if session.calls is None:
                self.values[i] = session.spec.fn(*item) if session.spec.star else session.spec.fn(item)
                return
            args = item if session.spec.star else (item,)
            value = session.calls.call(args)
            if type(value) is Failure and value.item is args:
                self.fail(i, value.exception, value.attempts)
            else:
                self.values[i] = value
        except GoExit:
            self.values[i] = None
            raise
        except BaseException as e:
            if not self.stopped:
                self.fail(i, e, 1)
        finally:
            session.slots.release()

    def fail(self, i: int, exc: BaseException, attempts: int) -> None:
        self.values[i] = Failed(exc, attempts)
        if self.session.spec.fail_fast:
            self.stop()

    def stop(self) -> None:
        """No more calls; those that run are cancelled. From any thread."""
        self.stopped = True
        me = current()
        for handle in list(self.handles):
            if handle is not me:
                handle.cancel()


_sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()
_sessions_lock = threading.Lock()


def _session(name: str, where: str, spec: bytes) -> Session:
    key = name, where
    with _sessions_lock:
        found = _sessions.get(key)
        if found is not None:
            _sessions.move_to_end(key)
            return found
    made = Session(loads(spec))  # may import whatever it likes
    with _sessions_lock:
        found = _sessions.setdefault(key, made)
        while len(_sessions) > SESSIONS:
            _sessions.popitem(last=False)
    return found


def run_range(name: str, spec: bytes, inputs: bytes) -> bytes:
    """Calls the function of the map `name` on each of the inputs; an Answer, pickled.

    Blocks its thread, which is one of the outer level's, while goroutines do the work.
    """
    task = _dask_task()
    session = _session(name, "" if task is None else task.worker.address, spec)
    items = Range(session, loads(inputs))
    handle = spawn(items.run, name=f"range of {getattr(session.spec.fn, '__qualname__', session.spec.fn)}")
    if task is None:
        return pack(handle.result())
    while True:
        try:
            handle.join(ASK_EVERY)
            break
        except TimeoutError:
            if not task.wanted():
                items.stop()
    return pack(handle.result())


class _DaskTask:
    """The task of Dask's that this thread runs."""

    def __init__(self, worker: Any, key: Any) -> None:
        self.worker, self.key = worker, key

    def wanted(self) -> bool:
        """Whether no one has cancelled it, or has lost its last future."""
        state = self.worker.state.tasks.get(self.key)
        return state is not None and state.state not in ("cancelled", "released", "forgotten")


def _dask_task() -> _DaskTask | None:
    module = sys.modules.get("distributed.worker")
    if module is None:
        return None
    try:
        worker = module.get_worker()
        key = worker.get_current_task()
    except (ValueError, KeyError):  # another outer level, in a process that has imported Dask
        return None
    # The range's goroutines take turns with each other; it is the client that says how many ranges there are at
    # once. Dask's own slots stay free for others, and for what the calls themselves submit (worker_client).
    module.secede()
    return _DaskTask(worker, key)
