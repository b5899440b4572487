"""For tests of code that uses gmpx: virtual time, and schedules that a seed replays.

>>> import gmpx
>>> with bubble() as b:
...     gmpx.sleep(3600)        # takes no time
...     b.elapsed
3600.0

The pytest plugin that comes with gmpx (``gmpx.testing.plugin``) has a marker and fixtures over
this.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from gmpx import _core
from gmpx._core import DeadlockError, Goroutine, goroutines, shield
from gmpx.dump import format_dump

T = TypeVar("T")

__all__ = ["LeakedGoroutines", "bubble", "explore", "wait_all_parked"]


class LeakedGoroutines(AssertionError):
    """Goroutines that were to have ended still live. Its text is the dump; ``goroutines`` are
    they."""

    def __init__(self, text: str, leaked: list[Goroutine[Any]]) -> None:
        super().__init__(text)
        self.goroutines = leaked


class bubble:
    """A context manager in which time is virtual and one thread runs all goroutines.

    The clock stands still while any goroutine can run. When all are parked it jumps to the next
    timer: ``sleep``, ``timeout``, ``Timer``, ``Ticker``, ``after``, contexts and every ``timeout=``
    take no time and fire in their exact order. ``time.monotonic``, ``time.time`` and their ``_ns``
    forms show this clock. When all are parked and there is no timer either, DeadlockError is raised
    in the block at once.

    With a seed the next goroutine to run, and what select picks of several ready cases, are drawn
    from it: the same seed gives the same interleaving, as long as the code under test does the same.

    ``gmpx.aio.run`` runs coroutines on this clock: their sleeps and time-outs take no time either, and a wait for a
    descriptor raises. Any other asyncio loop, ``asyncio.run``'s among them, would wait by the world's clock: it
    raises RuntimeError, in the bubble's goroutines and threads; and so does a bubble that is entered where one runs.

    Threads that begin inside (``blocking``, ``threading.Thread``) may use gmpx; the clock stands
    while one of them is at work. A ``time.sleep`` sleeps. Timers from before wait until the block
    has been left.

    Leaving the block waits, in virtual time, until all its goroutines have ended. If the block
    raises they are cancelled.

    Args:
        seed: an int; None for the order of coming, which is the same each time, too.

    Raises:
        RuntimeError: not on the main goroutine, other goroutines live, inside a bubble, or where an asyncio loop
            runs that is none of ``gmpx.aio.run``'s.
        LeakedGoroutines: from the block, when some are left that nothing can ever wake. They
            have been cancelled then.
        DeadlockError: see above.

    Go: testing/synctest. trio: MockClock with autojump.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise TypeError(f"seed must be an int or None, not {type(seed).__name__}")
        self.seed = seed
        self._patched: dict[str, Callable[[], Any]] = {}
        self._began = self._ended = 0.0

    def __enter__(self) -> bubble:
        try:
            import _asyncio
        except ImportError:
            pass
        else:
            _core._watch_running_loop(_asyncio)  # a loop that is not of gmpx.aio is to raise
        _core._bubble_enter(self.seed)
        self._began = self._now()
        self._ended = 0.0
        self._patch()
        return self

    def __exit__(self, kind: object, exc: BaseException | None, tb: object) -> None:
        try:
            if exc is None:
                self._wait()
        finally:
            try:
                _cancel_all()
            finally:
                self._ended = self._now()
                self._unpatch()
                _core._bubble_leave()

    def _wait(self) -> None:
        while left := _spawned():
            try:
                for g in left:
                    g.join()
            except DeadlockError as e:
                left = _spawned()
                names = ", ".join(map(repr, left))
                raise LeakedGoroutines(
                    f"{len(left)} goroutines are left that nothing can wake: {names}\n\n{e}", left
                ) from None

    @property
    def elapsed(self) -> float:
        """Seconds of virtual time since the block was entered, or that it took."""
        return round((self._ended or self._now()) - self._began, 9)

    def wait_all_parked(self) -> None:
        """As the function of this name."""
        wait_all_parked()

    def __repr__(self) -> str:
        return f"<bubble seed={self.seed}>"

    # ---- the time module's clocks ----

    @staticmethod
    def _now() -> float:
        now = _core._bubble_now()
        assert now is not None
        return now

    def _patch(self) -> None:
        ahead = time.time() - self._began
        ahead_ns = time.time_ns() - round(self._began * 1e9)
        clocks: dict[str, Callable[[], Any]] = {
            "monotonic": self._now,
            "monotonic_ns": lambda: round(self._now() * 1e9),
            "time": lambda: self._now() + ahead,
            "time_ns": lambda: round(self._now() * 1e9) + ahead_ns,
        }
        for name, clock in clocks.items():
            self._patched[name] = getattr(time, name)
            setattr(time, name, clock)

    def _unpatch(self) -> None:
        for name, clock in self._patched.items():
            setattr(time, name, clock)
        self._patched.clear()


def wait_all_parked() -> None:
    """Waits until every other goroutine of the bubble is parked, and nothing but the clock could
    wake one. The clock does not move.

    Raises:
        RuntimeError: not in a bubble.

    Go: synctest.Wait. trio: wait_all_tasks_blocked.
    """
    _core._bubble_settle()


def explore(
    fn: Callable[..., T], /, *args: Any, seeds: int | Iterable[int | None] = 100
) -> list[T]:
    """Runs ``fn(*args)`` once for each seed, each time in a bubble of its own.

    Args:
        seeds: how many to draw, or the seeds themselves: ``seeds=[7]`` replays one.

    Returns:
        What the calls have returned.

    Raises:
        The first failure, with a note that names its seed (its ``seed`` attribute on 3.10).
    """
    if isinstance(seeds, int):
        seeds = [random.getrandbits(32) for _ in range(seeds)]
    results = []
    for seed in seeds:
        try:
            with bubble(seed):
                results.append(fn(*args))
        except BaseException as e:
            tell_seed(e, seed)
            raise
    return results


def tell_seed(e: BaseException, seed: int | None) -> None:
    """Makes an exception say by which seed it comes again."""
    e.seed = seed  # type: ignore[attr-defined]
    if hasattr(e, "add_note"):
        e.add_note(f"in gmpx.testing.bubble(seed={seed})")


def _spawned() -> list[Goroutine[Any]]:
    return [g for g in goroutines() if not g._is_system()]


def _cancel_all() -> None:
    left = _spawned()
    for g in left:
        g.cancel()
    while left:
        try:
            with shield():  # a cancel of main waits until they have ended
                for g in left:
                    g.join()
        except DeadlockError:
            for g in left:  # it waits again, in its clean-up
                g.cancel()
        left = _spawned()


def leaked(before: Iterable[Goroutine[Any]], grace: float = 1.0) -> list[Goroutine[Any]]:
    """The goroutines that live and are not among those before, once they have had so many seconds
    to end."""
    known = set(before)
    end = time.monotonic() + grace
    while left := [g for g in _spawned() if g not in known]:
        if time.monotonic() > end:
            break
        _core.sleep(min(0.001, grace))
    return left


def check_leaks(before: Iterable[Goroutine[Any]], grace: float = 1.0) -> None:
    """Raises LeakedGoroutines, with the dump, if ``leaked`` finds any. Cancels them."""
    left = leaked(before, grace)
    if not left:
        return
    text = format_dump(left)
    for g in left:
        g.cancel()
    leaked(before, grace)
    names = ", ".join(map(repr, left))
    raise LeakedGoroutines(f"{len(left)} goroutines have not ended: {names}\n\n{text}", left)
