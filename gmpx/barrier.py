"""Barrier: a number of goroutines wait for each other (threading.Barrier)."""

from __future__ import annotations

from collections.abc import Callable
from threading import BrokenBarrierError

from gmpx._core import Event, FailFast, Mutex, shield

__all__ = ["Barrier"]


class _Round:
    """One filling of the barrier. `event` is set when it is over, `broken` says how."""

    __slots__ = ("broken", "event", "n")

    def __init__(self) -> None:
        self.event = Event()
        self.broken = False
        self.n = 0


class Barrier:
    """Holds goroutines back until a number of them has come, again and again.

    Args:
        parties: how many, >= 1.
        action: called by the last of each round, before the others go on.
        timeout: seconds: what ``wait`` takes if it is given none; None for ever.

    Raises:
        ValueError: parties below 1, a bad timeout. TypeError: not an int, not callable.
    """

    def __init__(
        self, parties: int, action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> None:
        if isinstance(parties, bool) or not isinstance(parties, int):
            raise TypeError(f"parties must be an int, not {type(parties).__name__}")
        if parties < 1:
            raise ValueError(f"parties must be at least 1: {parties}")
        if action is not None and not callable(action):
            raise TypeError(f"action must be callable, not {type(action).__name__}")
        FailFast.check_timeout(timeout)
        self._parties = parties
        self._action = action
        self._timeout = timeout
        self._mutex = Mutex()  # held for no wait
        self._round = _Round()

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the others.

        Args:
            timeout: seconds; None for the barrier's own.

        Returns:
            0 to parties - 1, each to one of the round: in the order of their coming.

        Raises:
            TimeoutError: the others did not come in time. This breaks the barrier, as does a
                waiter that is cancelled or interrupted otherwise.
            threading.BrokenBarrierError: it is broken, or breaks or is reset meanwhile.
            What action raises, in the goroutine that calls it; that breaks the barrier, too.

        Blocks the goroutine; on a foreign thread, the thread.
        """
        if timeout is None:
            timeout = self._timeout
        else:
            FailFast.check_timeout(timeout)
        with self._mutex:
            turn = self._round
            if turn.broken:
                raise BrokenBarrierError
            index = turn.n
            turn.n += 1
            last = turn.n == self._parties
            if last:
                self._round = _Round()
        if last:
            self._release(turn)
        else:
            self._wait(turn, timeout)
        return index

    def _release(self, turn: _Round) -> None:
        try:
            if self._action is not None:
                self._action()
        except BaseException:
            turn.broken = True
            self.abort()
            raise
        finally:
            turn.event.set()

    def _wait(self, turn: _Round, timeout: float | None) -> None:
        try:
            turn.event.wait(timeout)
        except BaseException as e:
            if self._leave(turn) or not isinstance(e, TimeoutError):
                raise
            turn.event.wait()  # all have come in time after all; the action may still run
        if turn.broken:
            raise BrokenBarrierError

    def _leave(self, turn: _Round) -> bool:
        """A waiter gives up: whether that breaks the round. Interrupted by nothing."""
        late = None
        breaks = left = False
        while not left:
            try:
                with shield(), self._mutex:
                    if not turn.event.is_set() and self._round is turn:
                        turn.broken = breaks = True
                        turn.event.set()
                    left = True
            except KeyboardInterrupt as e:
                late = e
        if late is not None:
            raise late
        return breaks

    def abort(self) -> None:
        """Breaks it: those that wait, and all that come before a ``reset``, get
        BrokenBarrierError."""
        with shield(), self._mutex:
            self._round.broken = True
            self._round.event.set()

    def reset(self) -> None:
        """Makes it as new. Those that wait get BrokenBarrierError."""
        with self._mutex:
            turn, self._round = self._round, _Round()
            if turn.n:
                turn.broken = True
            turn.event.set()

    @property
    def parties(self) -> int:
        """How many it takes."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many wait now."""
        turn = self._round
        return 0 if turn.broken else turn.n

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._round.broken

    def __repr__(self) -> str:
        state = "broken" if self.broken else f"waiting={self.n_waiting}/{self.parties}"
        return f"<Barrier {state}>"
