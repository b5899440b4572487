"""map and imap with more than a limit: what the caller does between the items.

What concerns one call alone is in fanout_call.py. Here is what they share: the room for those in
flight, a token for each that starts, the progress.
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from typing import Any

from gmpx._core import Chan, Event, FailFast, Feed, GoExit, Goroutine, Limiter, go
from gmpx.fanout import _abandon, _deadline, _left, _results, imap_stops, imap_would_stop, wait_named
from gmpx.fanout_call import Calls, Failure
from gmpx.progress import Reporter

__all__ = ["Weights", "imap_ordered", "imap_unordered", "map_fed", "map_paced"]

#: How many starts without a wait there are between two looks at the clock.
REPORT_EVERY = 64


class Weights:
    """`budget=`: what each item weighs, and what all in flight may."""

    __slots__ = ("most", "weight")

    def __init__(self, budget: Any) -> None:
        if not isinstance(budget, tuple) or len(budget) != 2 or not callable(budget[0]):
            raise TypeError(f"budget must be (a function of the item, the most): {budget!r}")
        self.weight, self.most = budget
        if isinstance(self.most, bool) or not isinstance(self.most, (int, float)):
            raise TypeError(f"budget: the most must be a number, not {type(self.most).__name__}")
        if not self.most > 0:
            raise ValueError(f"budget: the most must be above 0: {self.most!r}")

    def weigh(self, item: Any) -> float:
        w: float = self.weight(item)
        try:
            if 0 <= w < math.inf:
                return w
        except TypeError:
            raise TypeError(f"budget: {self.weight!r} must return a number, not {w!r}, for {item!r}") from None
        raise ValueError(
            f"budget: a weight must be a finite number of at least 0: {self.weight!r} returned {w!r} for {item!r}"
        )


# ---- map -------------------------------------------------------------------------------------


class Flow:
    """How the calls of a map tell the caller that they have ended: from any thread.

    The caller alone counts; a call that ends puts its weight into `ended` and sets `news`: each as
    long as there are more to be started, afterwards the first after a report. (The caller lets
    some time pass then, before it reports again.)
    """

    __slots__ = (
        "broken", "call", "deadline", "done", "eager", "ended", "failed", "finished", "flying",
        "group", "helper", "limit", "load", "most", "news", "pending", "reporter", "token",
    )  # fmt: skip

    def __init__(
        self,
        calls: Calls,
        group: FailFast,
        limit: int,
        most: float,
        timeout: float | None,
        reporter: Reporter | None,
    ) -> None:
        self.call, self.failed = calls.call, calls.failed
        self.group, self.reporter = group, reporter
        self.limit, self.most = limit, most
        self.flying = 0
        self.load: float = 0  # what those weigh
        self.deadline = _deadline(timeout)
        self.news = Event()
        self.ended: deque[float] = deque()
        self.done = 0
        self.eager = True
        self.pending = reporter is None  # a call has ended since the last report
        self.broken = False  # a call has raised; its goroutine has not ended yet, perhaps
        self.finished = self.token = False
        self.helper: Goroutine[None] | None = None

    # in the goroutines of the calls

    def run(self, weight: float, item: Any) -> Any:
        try:
            return self.call(item)
        except GoExit:
            raise
        except BaseException:
            self.broken = True
            raise
        finally:
            self.ended.append(weight)
            if self.eager or not self.pending:
                self.pending = True
                self.news.set()

    # in goroutines that help the caller

    def take(self, limiter: Limiter) -> None:
        limiter.acquire()
        self.token = True
        self.news.set()

    def watch(self) -> None:
        self.group.wait()
        self.finished = True
        self.news.set()

    # in the caller

    def count(self) -> None:
        """Counts what has ended."""
        ended = self.ended
        while ended:
            self.load -= ended.popleft()
            self.done += 1
            self.flying -= 1
        if not self.flying:
            self.load = 0  # sums of floats do not come back to 0 by themselves

    def report(self) -> None:
        """Counts, and says so if it is time."""
        reporter = self.reporter
        if reporter is None or time.monotonic() < reporter.due:
            self.count()
            return
        self.pending = False  # before the look at what has ended
        self.count()
        reporter.tell(self.done, len(self.failed), self.flying, now=True)

    def wait(self) -> None:
        """For news, or the next report if there is anything to say."""
        left = _left(self.deadline)
        if self.reporter is not None and self.pending:
            pause = max(self.reporter.due - time.monotonic(), 0.001)
            if left is None or pause < left:
                with suppress(TimeoutError):
                    self.news.wait(pause)
                return
        wait_named(self.news.wait, self.deadline)

    def wait_room(self, weight: float) -> None:
        """Until one of that weight may start, or a call has raised."""
        while True:
            self.news.clear()
            self.report()
            if self.broken or not self.flying or (
                self.flying < self.limit and self.load + weight <= self.most
            ):
                return
            self.wait()

    def wait_token(self, limiter: Limiter) -> None:
        """Until there is a token, taken for the caller, or a call has raised."""
        self.token = False
        self.helper = go(self.take, limiter)
        while True:
            self.news.clear()
            self.report()
            if self.token:
                self.helper = None
            if self.token or self.broken:
                return
            self.wait()

    def wait_all(self) -> None:
        """Until all have ended, or one has failed."""
        self.eager = False
        if self.reporter is None or self.broken:
            wait_named(self.group.wait, self.deadline)
            return
        self.helper = go(self.watch)
        while True:
            self.news.clear()
            self.report()
            if self.finished:
                break
            self.wait()
        self.helper = None
        if self.group.failed is None:
            self.count()
            self.reporter.tell(self.done, len(self.failed), self.flying, now=True)

    def stop(self, handles: list[Goroutine[Any]]) -> None:
        """The map is given up."""
        _abandon(handles if self.helper is None else [self.helper, *handles])


class FedFlow(Flow):
    """The same over a Feed, which starts the calls."""

    __slots__ = ()

    def count(self) -> None:
        ended = self.ended
        while ended:
            ended.popleft()
            self.done += 1
        assert self.reporter is not None and self.reporter.total is not None
        self.flying = min(self.limit, max(self.reporter.total - self.done, 0))


def map_fed(
    calls: Calls, sequences: tuple[Any, ...], limit: int, timeout: float | None, reporter: Reporter
) -> list[Any]:
    """As _map_fed, with a progress."""
    flow: FedFlow
    if len(sequences) == 1:
        feed = Feed(lambda item: flow.run(0, item), sequences)
    else:
        feed = Feed(lambda *args: flow.run(0, args), sequences)
    flow = FedFlow(calls, feed, limit, math.inf, timeout, reporter)
    flow.eager = False
    try:
        reporter.tell(0, 0, 0)
        feed.start(min(limit, sys.maxsize))
        flow.wait_all()
        feed.check()
    except BaseException:
        feed.stop()
        flow.stop(feed.handles)
        raise
    finally:
        reporter.close()
    failed, handles = feed.failed, feed.handles
    return _results(failed, handles)


def map_paced(
    calls: Calls,
    inputs: Iterable[Any],
    limit: int | None,
    weights: Weights | None,
    timeout: float | None,
    reporter: Reporter | None,
) -> list[Any]:
    """The caller starts a call when there is room for it, and a token."""
    group = FailFast()
    limit = limit or sys.maxsize
    most = math.inf if weights is None else weights.most
    weigh = None if weights is None else weights.weigh
    flow = Flow(calls, group, limit, most, timeout, reporter)
    limiter, calls.acquire = calls.limiter, None
    spawn, run = group.go, flow.run
    handles: list[Goroutine[Any]] = []
    weight: float = 0
    try:
        flow.report()
        for item in inputs:
            if weigh is not None:
                weight = weigh(item)
            if flow.flying and (flow.flying >= limit or flow.load + weight > most):
                flow.wait_room(weight)
            elif reporter is not None and not len(handles) % REPORT_EVERY:
                flow.report()
            if limiter is not None and not limiter.try_acquire() and not flow.broken:
                flow.wait_token(limiter)
            if flow.broken:
                break
            flow.flying += 1
            flow.load += weight
            handles.append(spawn(run, weight, item))
        flow.wait_all()
    except BaseException:
        flow.stop(handles)
        raise
    finally:
        if reporter is not None:
            reporter.close()
    if flow.helper is not None:  # for a token, when a call has raised
        _abandon([flow.helper])
    failed = group.failed
    del group, flow, spawn, run
    return _results(failed, handles)


# ---- imap ------------------------------------------------------------------------------------


class Reader:
    """What the reader of an imap tells of."""

    __slots__ = ("done", "failed", "looks", "pairs", "reporter")

    def __init__(self, calls: Calls, reporter: Reporter | None) -> None:
        self.reporter = reporter
        self.looks, self.pairs = calls.returns, calls.pairs
        self.done = self.failed = 0
        self.report(0)

    def took(self, value: Any, in_flight: int) -> None:
        """A value is about to be yielded."""
        self.done += 1
        if self.looks and type(value[1] if self.pairs else value) is Failure:
            self.failed += 1
        assert self.reporter is not None
        if time.monotonic() >= self.reporter.due:
            self.report(in_flight)

    def report(self, in_flight: int) -> None:
        if self.reporter is not None:
            self.reporter.tell(self.done, self.failed, in_flight, now=True)


def imap_ordered(
    calls: Calls,
    inputs: Iterator[Any],
    limit: int,
    weights: Weights | None,
    begin: Callable[[], Reporter | None],
) -> Generator[Any, None, None]:
    """As _imap_ordered, with a budget and a progress."""
    reporter = begin()
    flying: deque[tuple[Goroutine[Any], float]] = deque()
    call = calls.call
    most = math.inf if weights is None else weights.most
    weigh = None if weights is None else weights.weigh
    load = weight = 0.0

    def oldest() -> Any:
        nonlocal load
        handle, weight = flying[0]
        try:
            value = handle.result()  # an interruption leaves it there, to be cancelled
        except RuntimeError as e:
            if imap_stops(e, handle.done()):
                raise imap_would_stop() from None
            raise
        flying.popleft()
        load = load - weight if flying else 0.0
        if reporter is not None:
            reader.took(value, len(flying))
        return value

    try:
        reader = Reader(calls, reporter)
        failure = None
        while True:
            try:
                item = next(inputs)
                if weigh is not None:
                    weight = weigh(item)
            except StopIteration:
                break
            except Exception as e:  # raised once all that came before has been yielded
                failure = e
                break
            while flying and (len(flying) >= limit or load + weight > most):
                yield oldest()
            load += weight
            flying.append((go(call, item), weight))
            if flying[0][0].done():  # not kept back while the input makes us wait
                yield oldest()
        while flying:
            yield oldest()
        reader.report(0)
        if failure is not None:
            raise failure
    finally:
        if reporter is not None:
            reporter.close()
        _abandon(handle for handle, _ in flying)


def imap_unordered(
    calls: Calls,
    inputs: Iterator[Any],
    limit: int,
    weights: Weights | None,
    begin: Callable[[], Reporter | None],
) -> Generator[Any, None, None]:
    """As _imap_unordered, with a budget and a progress."""
    reporter = begin()
    ended: Chan[Goroutine[Any]] = Chan(min(limit, sys.maxsize))
    flying: dict[Goroutine[Any], float] = {}
    call = calls.call
    most = math.inf if weights is None else weights.most
    weigh = None if weights is None else weights.weigh
    load = weight = 0.0

    def next_value() -> Any:
        nonlocal load
        try:
            handle = ended.recv()
        except RuntimeError as e:
            if imap_stops(e, False):
                raise imap_would_stop() from None
            raise
        weight = flying.pop(handle)
        value = handle.result()
        load = load - weight if flying else 0.0
        if reporter is not None:
            reader.took(value, len(flying))
        return value

    try:
        reader = Reader(calls, reporter)
        failure = None
        while True:
            try:
                item = next(inputs)
                if weigh is not None:
                    weight = weigh(item)
            except StopIteration:
                break
            except Exception as e:  # raised once the values before it have been yielded
                failure = e
                break
            while flying and (len(flying) >= limit or load + weight > most):
                yield next_value()
            load += weight
            handle = go(call, item)
            flying[handle] = weight
            handle.add_done_callback(ended.send_nowait)
            if len(ended):
                yield next_value()
        while flying:
            yield next_value()
        reader.report(0)
        if failure is not None:
            raise failure
    finally:
        if reporter is not None:
            reporter.close()
        _abandon(flying)
