"""The caller's side of map and imap: what is sent when, and what comes back in which order.

A *chunk* is a stretch of the input; its values are put together here. A *part* is what is under way of it: at
first all, then what its range has left over.
"""

from __future__ import annotations

import reprlib
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from typing import Any
from uuid import uuid4

from gmpx._core import Chan, DeadlockError
from gmpx.cluster.engines import AHEAD, Engine
from gmpx.cluster.payload import Failed, dumps, loads
from gmpx.cluster.ranges import HOLE, Spec
from gmpx.cluster.sizes import Sizes
from gmpx.fanout import total_of
from gmpx.fanout_call import Failure
from gmpx.loops import runs_here, would_stop
from gmpx.progress import Reporter
from gmpx.retry import add_note

__all__ = ["Flow"]

#: How long the input may make us wait for a range to be full, in seconds.
PATIENCE = 0.02


class Chunk:
    """A stretch of the input."""

    __slots__ = ("begin", "given", "inputs", "values")

    def __init__(self, inputs: Sequence[Any], begin: int) -> None:
        self.inputs, self.begin = inputs, begin
        self.values: list[Any] = [HOLE] * len(inputs)
        self.given = 0  # how many values the reader has

    def show(self, i: int) -> str:
        """An item, for a person."""
        return f"input[{self.begin + i}] = {reprlib.repr(self.inputs[i])}"


class Part:
    """What is under way of a chunk."""

    __slots__ = ("chunk", "handle", "indexes", "n_bytes")

    def __init__(self, chunk: Chunk, indexes: Sequence[int]) -> None:
        self.chunk, self.indexes = chunk, indexes
        self.handle: Any = None
        self.n_bytes = 0

    def inputs(self) -> Sequence[Any]:
        found = self.chunk.inputs
        return found if len(self.indexes) == len(found) else [found[i] for i in self.indexes]

    def show(self) -> str:
        """Its items, for a person."""
        first, last = self.indexes[0], self.indexes[-1]
        if first == last:
            return self.chunk.show(first)
        return f"{len(self.indexes)} items, {self.chunk.show(first)} ... {self.chunk.show(last)}"


class Source:
    """The input, read a stretch at a time."""

    def __init__(self, iterables: tuple[Iterable[Any], ...]) -> None:
        self.total = total_of(iterables)
        self.read = 0
        self.ended = False
        self.error: Exception | None = None
        self.sequence: Any = None
        if len(iterables) == 1 and type(iterables[0]) in (list, tuple, range):
            self.sequence = iterables[0]
        else:
            self.items = iter(iterables[0]) if len(iterables) == 1 else zip(*iterables)

    @property
    def left(self) -> int | None:
        return None if self.total is None else max(self.total - self.read, 0)

    def take(self, n: int) -> Sequence[Any]:
        """The next n items, or fewer if there are no more, or if they are slow to come."""
        found: Any
        if self.sequence is not None:
            found = self.sequence[self.read : self.read + n]  # of a range, a range
            self.ended = len(found) < n or self.read + n >= len(self.sequence)
        else:
            found = []
            due = time.monotonic() + PATIENCE
            try:
                while len(found) < n:
                    found.append(next(self.items))
                    if time.monotonic() > due:
                        break
            except StopIteration:
                self.ended = True
            except Exception as e:
                self.ended, self.error = True, e
        self.read += len(found)
        stretch: Sequence[Any] = found
        return stretch


class Flow:
    """One map or imap."""

    def __init__(
        self,
        engine: Engine,
        spec: Spec,
        iterables: tuple[Iterable[Any], ...],
        sizes: Sizes,
        *,
        ordered: bool,
        whole: bool,
        returns: bool,
        pairs: bool,
        deadline: float | None,
        reporter: Reporter | None,
    ) -> None:
        self.engine, self.spec, self.sizes = engine, spec, sizes
        self.source = Source(iterables)
        self.ordered, self.whole, self.returns, self.pairs = ordered, whole, returns, pairs
        self.deadline, self.reporter = deadline, reporter
        self.ended: Chan[tuple[Part, Any, BaseException | None]] = Chan(sys.maxsize)
        self.flying: dict[Part, None] = {}
        self.again: deque[Part] = deque()  # what ranges have left over
        self.chunks: deque[Chunk] = deque()  # ordered: those that the reader has not all of
        self.came: deque[list[Any]] = deque()  # unordered: what he has not
        self.done = self.failed = 0

    def batches(self) -> Generator[list[Any], None, None]:
        """Lists of values, as they may be read. Ends, or raises, when nothing is under way any more."""
        if self.deadline is None and runs_here():
            raise would_stop(
                f"cluster.{'map' if self.whole else 'imap'}",
                "use 'await gmpx.go(f)' or 'await asyncio.to_thread(f)', where f calls it"
                + ("" if self.whole else " and reads it"),
            )
        try:
            try:
                self.engine.open(f"map-{uuid4().hex}", dumps(self.spec, code=True), self.left())
            except TimeoutError:
                self.check_time()
                raise
            self.report()
            while True:
                self.fill()
                if self.whole and self.source.error is not None:
                    raise self.source.error
                found, failure = self.readable()
                if found:
                    yield found
                if failure is not None:
                    raise failure.exception()
                if not found:
                    if not self.flying:
                        break
                    self.wait()
            if self.source.error is not None:
                raise self.source.error
        finally:
            self.engine.close([self.handle_of(part) for part in self.flying])
            if self.reporter is not None:
                self.reporter.close()

    # what goes out

    def fill(self) -> None:
        """Sends ranges, as far as there is room for them."""
        width = self.engine.width()
        size = self.sizes.next(self.source.left, max(width // AHEAD, 1))
        while len(self.flying) < width:
            if self.again:
                part = self.again.popleft()
            elif self.source.ended or self.unread() >= 2 * width:
                break
            else:
                begin = self.source.read
                inputs = self.source.take(size)
                if not inputs:
                    break
                chunk = Chunk(inputs, begin)
                if self.ordered:
                    self.chunks.append(chunk)
                part = Part(chunk, range(len(inputs)))
            self.send(part)

    def unread(self) -> int:
        """How many ranges are ahead of the reader."""
        if self.whole:
            return 0
        return len(self.chunks) if self.ordered else len(self.flying) + len(self.came)

    def send(self, part: Part) -> None:
        ended = self.ended
        try:
            data = dumps(part.inputs())
        except Exception:
            left = self.set_aside(part)
            if len(left) == len(part.indexes):  # not by one of them
                raise
            if not left:
                return
            part = Part(part.chunk, left)
            data = dumps(part.inputs())
        part.n_bytes = len(data)
        part.handle = self.engine.start(data, lambda data, exc: ended.send_nowait((part, data, exc)))
        self.flying[part] = None

    def set_aside(self, part: Part) -> list[int]:
        """Items that cannot be pickled are failures of their calls; returns the others."""
        chunk, left, bad = part.chunk, [], []
        for i in part.indexes:
            try:
                dumps(chunk.inputs[i])
            except Exception as e:
                add_note(e, f"cannot be sent to a worker: {chunk.show(i)}")
                if self.spec.fail_fast:
                    raise
                chunk.values[i] = Failed.here(e)
                bad.append(i)
            else:
                left.append(i)
        self.done += len(bad)
        self.failed += len(bad)
        if bad and not self.ordered:
            self.came.append(self.visible(chunk, bad))
        self.report()
        return left

    # what comes back

    def wait(self) -> None:
        left = self.left()
        try:
            came = self.ended.recv(left)
        except DeadlockError:
            raise
        except RuntimeError:
            if left is not None or not runs_here():
                raise
            raise would_stop(
                "cluster.map, or the reader of a cluster.imap,",
                "use 'await gmpx.go(f)', where f calls or reads it",
            ) from None
        except TimeoutError:
            self.check_time()
            raise
        try:
            self.absorb(*came)
        finally:
            del came  # what is raised has this frame
        self.turn()

    def left(self) -> float | None:
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0)

    def check_time(self) -> None:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise TimeoutError("map timed out") from None

    def turn(self) -> None:
        """Takes all that has come, without a wait."""
        while len(self.ended):
            self.absorb(*self.ended.recv())

    @staticmethod
    def handle_of(part: Part) -> Any:
        """For the last time: the handle has what is told of its end, and that has the part."""
        handle, part.handle = part.handle, None
        return handle

    def absorb(self, part: Part, data: Any, exc: BaseException | None) -> None:
        self.engine.ended(self.handle_of(part))
        del self.flying[part]
        if exc is not None:
            if type(exc).__name__ == "KilledWorker":
                add_note(exc, f"it had {part.show()}")
            try:
                raise exc
            finally:
                del exc
        values, holes, seconds = loads(data)
        failures = sum(1 for value in values if type(value) is Failed)
        if failures and self.spec.fail_fast:
            raise next(value for value in values if type(value) is Failed).exception()
        chunk, indexes = part.chunk, part.indexes
        done = len(values) - len(holes)
        self.done += done
        self.failed += failures
        self.sizes.learn(done, seconds, max(part.n_bytes, len(data)))
        missing = set(holes)
        if not missing and len(indexes) == len(chunk.values):
            chunk.values = values
        else:
            for k, i in enumerate(indexes):
                if k not in missing:
                    chunk.values[i] = values[k]
        if not self.ordered:
            self.came.append([i for k, i in enumerate(indexes) if k not in missing])
            self.came[-1] = self.visible(chunk, self.came[-1])
        if holes:
            size = max(self.sizes.next(None, 1), 1)
            left = [indexes[k] for k in holes]
            self.again.extendleft(
                Part(chunk, left[k : k + size]) for k in reversed(range(0, len(left), size))
            )
        self.report()

    def report(self) -> None:
        if self.reporter is not None:
            flying = sum(len(part.indexes) for part in self.flying)
            total = self.reporter.total
            self.reporter.tell(self.done, self.failed, flying, now=self.done == total)

    # what the reader sees

    def readable(self) -> tuple[list[Any], Failed | None]:
        """What may be read now; and what then is raised."""
        if not self.ordered:
            found = self.came.popleft() if self.came else []
            return self.cut(found)
        while self.chunks:
            chunk = self.chunks[0]
            values, begin = chunk.values, chunk.given
            end = begin
            while end < len(values) and values[end] is not HOLE:
                end += 1
            if end == begin:
                break
            chunk.given = end
            found = self.visible(chunk, range(begin, end))
            if end == len(values):
                self.chunks.popleft()
            return self.cut(found)
        return [], None

    def visible(self, chunk: Chunk, indexes: Sequence[int]) -> list[Any]:
        values = chunk.values
        if not self.returns and not self.pairs:
            return values if len(indexes) == len(values) else [values[i] for i in indexes]
        found: list[Any] = []
        for i in indexes:
            value, item = values[i], chunk.inputs[i]
            if type(value) is Failed:
                if not self.returns:
                    found.append(value)
                    continue
                exc = value.exception()
                if not isinstance(exc, Exception):
                    found.append(value)
                    continue
                value = Failure(item, exc, value.attempts)
            found.append((item, value) if self.pairs else value)
        return found

    def cut(self, found: list[Any]) -> tuple[list[Any], Failed | None]:
        if self.failed:
            for k, value in enumerate(found):
                if type(value) is Failed:
                    return found[:k], value
        return found, None
