"""Retry: when a call that has failed is tried again, and how often."""

from __future__ import annotations

import functools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeAlias, TypeVar

from gmpx._core import DeadlockError, FailFast, sleep
from gmpx.arguments import callable_of

if TYPE_CHECKING:
    from random import Random

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["Attempt", "Retry", "Trials"]

On: TypeAlias = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], object]

#: How many of the earlier failures the last one is told of, and how much of each.
MOST_NOTED = 10
MOST_TEXT = 200


class Retry:
    """Tries a call again while it fails: with a growing, random pause before each further attempt.

    A Retry holds only what has been given: any number of calls, goroutines and threads may share
    one, and ``map`` and ``imap`` take it as ``retry=``. ``retry.call(fn, ...)`` calls,
    ``@retry`` makes a function try again, and a block does by
    ``for attempt in retry: with attempt: ...``.

    Args:
        attempts: how many in all, >= 1; None for no bound.
        on: which exceptions are worth another attempt: a type, a tuple of types, or a function of
            the exception that says so. All others are raised at once. What ends the goroutine or
            the program (Cancelled, KeyboardInterrupt, goexit, DeadlockError) always is.
        backoff: seconds before the second attempt.
        factor: by what the pause grows with each attempt, >= 1.
        most: seconds that a pause is at most, before jitter.
        jitter: what chance makes of a pause of d seconds. "full": anything from 0 to d; "equal":
            from d / 2 to d; a number x of 0 to 1: from d - x * d to d + x * d; None: d.
        random: what draws, a ``random.Random``; None for the module's.
        after: a function of the exception that returns for how many seconds the other side has
            asked to wait (Retry-After), or None. That is then the pause, without ``most`` and jitter.
        deadline: seconds from the beginning of the first attempt after which no further one
            begins. A pause that would end later is not even begun. A running attempt is not
            interrupted: that is what ``timeout`` does.

    Raises:
        ValueError, TypeError: bad input, at once.

    The exception of the last attempt is the one that is raised, with a note about those before
    it. tenacity: stop_after_attempt, retry_if_exception, wait_random_exponential, stop_before_delay.

    >>> answers = iter([ConnectionError("no"), ConnectionError("not yet"), "yes"])
    >>> def ask():
    ...     answer = next(answers)
    ...     if isinstance(answer, Exception):
    ...         raise answer
    ...     return answer
    >>> Retry(attempts=5, on=ConnectionError, backoff=0.001).call(ask)
    'yes'
    """

    def __init__(
        self,
        attempts: int | None = 3,
        on: On = Exception,
        *,
        backoff: float = 0.1,
        factor: float = 2.0,
        most: float = 30.0,
        jitter: Literal["full", "equal"] | float | None = "full",
        random: Random | None = None,
        after: Callable[[Any], float | None] | None = None,
        deadline: float | None = None,
    ) -> None:
        self.attempts = _attempts(attempts)
        self.on = on
        self._types, self._predicate = _worth(on)
        self.backoff = _finite(backoff, "backoff")
        self.most = _finite(most, "most")
        self.factor = _finite(factor, "factor", "a number")
        if self.factor < 1:
            raise ValueError(f"factor must be at least 1: {factor!r}")
        self.jitter = _jitter(jitter)
        if random is not None and not callable(getattr(random, "random", None)):
            raise TypeError(f"random must be a random.Random, not {type(random).__name__}")
        if random is None:
            from random import random as draw  # not before somebody wants it

            self._draw = draw
        else:
            self._draw = random.random
        if after is not None and not callable(after):
            raise TypeError(f"after must be callable, not {type(after).__name__}")
        self.after = after
        self.deadline = FailFast.check_timeout(deadline, "deadline")

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls ``fn(*args, **kwargs)``, again if need be, and returns its value.

        Raises:
            What the last attempt raised. What ``on`` or ``after`` raise.
            TypeError: as for a decorator.

        Blocks the goroutine between attempts; on a foreign thread, the thread.
        """
        callable_of(fn, generators=False)
        return self._call(fn, args, kwargs)

    def _call(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        began = time.monotonic() if self.deadline is not None else 0.0
        trials = None
        while True:
            try:
                return fn(*args, **kwargs)
            except Exception as e:
                if trials is None:
                    trials = Trials(self, began)
                pause = trials.failed(e)
                if pause is None:
                    raise
            sleep(pause)

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """As a decorator: a function that is ``call`` of fn.

        Raises:
            TypeError: fn is not callable, or a coroutine function or a generator function, whose call never fails.
        """
        callable_of(fn, generators=False)

        @functools.wraps(fn)
        def tried(*args: P.args, **kwargs: P.kwargs) -> T:
            return self._call(fn, args, kwargs)

        return tried

    def __iter__(self) -> Iterator[Attempt]:
        """Yields an Attempt for each, a context manager that keeps in what is worth another one.

        The pauses are in between. The iteration ends after the first that does not fail.
        """
        trials = Trials(self, time.monotonic())
        while True:
            attempt = Attempt(trials)
            yield attempt
            if attempt._pause is None:
                return
            sleep(attempt._pause)

    def pause(self, number: int) -> float:
        """Draws how many seconds to wait after the failure of that attempt (1 is the first)."""
        try:
            d = min(self.backoff * self.factor ** (number - 1), self.most)
        except OverflowError:
            d = self.most if self.backoff else 0.0
        jitter = self.jitter
        if jitter is None:
            return d
        if jitter == "full":
            return d * self._draw()
        if jitter == "equal":
            return d * (0.5 + 0.5 * self._draw())
        share: Any = jitter
        return float(d * (1 + share * (2 * self._draw() - 1)))

    def worth(self, exc: BaseException) -> bool:
        """Whether that exception is worth another attempt."""
        if not isinstance(exc, self._types) or isinstance(exc, DeadlockError):
            return False
        return self._predicate is None or bool(self._predicate(exc))

    def __repr__(self) -> str:
        return f"<Retry attempts={self.attempts} backoff={self.backoff}>"


class Trials:
    """The attempts of one call so far."""

    __slots__ = ("before", "began", "number", "retry", "waited")

    def __init__(self, retry: Retry, began: float) -> None:
        self.retry = retry
        self.number = 1  # of the attempt that runs
        self.before: deque[str] = deque(maxlen=MOST_NOTED + 1)  # one more: withdraw takes one
        self.began = began
        self.waited = 0.0  # seconds of that for a Limiter's tokens

    def failed(self, exc: BaseException) -> float | None:
        """The running attempt has raised exc: the seconds before the next; None to give up."""
        retry = self.retry
        if not retry.worth(exc) or self.number == retry.attempts:
            self.note(exc)
            return None
        pause = None if retry.after is None else retry.after(exc)
        if pause is None:
            pause = retry.pause(self.number)
        else:
            pause = FailFast.check_timeout(pause, "what after returns")
            assert pause is not None
        left = self.left()
        if left is not None and pause > left:
            self.give_up(exc)
            return None
        self.before.append(_text(exc))
        self.number += 1
        return pause

    def left(self) -> float | None:
        """Seconds until the deadline, maybe below 0."""
        deadline = self.retry.deadline
        return None if deadline is None else self.began + deadline - time.monotonic()

    def give_up(self, exc: BaseException) -> None:
        """There is no time for the next attempt."""
        self.note(exc, f"the next attempt would have begun after {self.retry.deadline} s")

    def withdraw(self, exc: BaseException) -> None:
        """The attempt after exc, which failed has announced, does not come: there is no time."""
        self.number -= 1
        self.before.pop()
        self.give_up(exc)

    def note(self, exc: BaseException, why: str = "") -> None:
        """Tells the last exception of those before it."""
        if not self.before and not why:
            return
        of = "" if self.retry.attempts is None else f" of {self.retry.attempts}"
        lines = [f"attempt {self.number}{of}" + (f"; {why}" if why else "")]
        told = list(self.before)[-MOST_NOTED:]
        first = self.number - 1 - len(told)
        if first:
            lines.append(f"  {first} more failed before")
        lines += [f"  attempt {n}: {t}" for n, t in enumerate(told, first + 1)]
        add_note(exc, "\n".join(lines))


class Attempt:
    """One round of ``for attempt in retry``; to be entered with ``with``."""

    __slots__ = ("_pause", "_trials", "number")

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self._pause: float | None = None
        self.number = trials.number
        """1 for the first."""

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, kind: object, exc: BaseException | None, tb: object) -> bool:
        if not isinstance(exc, Exception):
            return False
        self._pause = self._trials.failed(exc)
        return self._pause is not None

    def __repr__(self) -> str:
        return f"<Attempt {self.number}>"


def _attempts(attempts: object) -> int | None:
    if attempts is None:
        return None
    if isinstance(attempts, bool) or not isinstance(attempts, int):
        raise TypeError(f"attempts must be an int or None, not {type(attempts).__name__}")
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1: {attempts}")
    return attempts


def _worth(on: Any) -> tuple[tuple[type[Exception], ...], Callable[[Any], object] | None]:
    types = on if isinstance(on, tuple) else (on,)
    if all(isinstance(t, type) for t in types):
        for t in types:
            if not issubclass(t, Exception):
                raise TypeError(f"on: only an Exception is tried again, not {t.__name__}")
        return types, None
    if not isinstance(on, tuple) and callable(on):
        return (Exception,), on
    raise TypeError("on must be an exception type, a tuple of them, or a function of the exception")


def _finite(x: Any, what: str, of: str = "a number of seconds") -> float:
    if x is None or isinstance(x, (str, bytes, bool)):
        raise TypeError(f"{what} must be {of}, not {type(x).__name__}")
    try:
        seconds = float(x)
    except TypeError:
        raise TypeError(f"{what} must be {of}, not {type(x).__name__}") from None
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise ValueError(f"{what} must be a finite number: {x}")
    if seconds < 0:
        raise ValueError(f"{what} must not be negative: {x}")
    return seconds


def _jitter(jitter: Any) -> Any:
    if jitter is None or jitter in ("full", "equal"):
        return jitter
    if isinstance(jitter, (bool, str)) or not isinstance(jitter, (int, float)):
        raise ValueError(f'jitter must be "full", "equal", a number of 0 to 1, or None: {jitter!r}')
    if not 0 <= jitter <= 1:
        raise ValueError(f"jitter must be from 0 to 1: {jitter!r}")
    return jitter


def _text(exc: BaseException) -> str:
    try:
        text = str(exc)
    except Exception:
        text = "its text cannot be had"
    name = type(exc).__name__
    return f"{name}: {text[:MOST_TEXT]}" if text else name


def add_note(exc: BaseException, note: str) -> None:
    if hasattr(exc, "add_note"):
        exc.add_note(note)
    else:  # 3.10
        exc.__notes__ = [*getattr(exc, "__notes__", ()), note]  # type: ignore[attr-defined,unused-ignore]
