"""What map and imap do around the call of one item: `rate`, `retry`, `item_timeout`, `on_error` ..."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from gmpx._core import FailFast, Limiter, blocking, sleep, timeout
from gmpx.retry import Retry, Trials

__all__ = ["Calls", "Failure"]


class Failure:
    """What comes in the place of a value with ``on_error="return"``: why there is none."""

    def __init__(self, item: Any, exception: Exception, attempts: int = 1) -> None:
        self.item = item
        """The input; of several iterables a tuple."""
        self.exception = exception
        """What the call has raised, with its traceback."""
        self.attempts = attempts
        """How often it was tried (``retry=``)."""

    def __repr__(self) -> str:
        tries = f", attempts={self.attempts}" if self.attempts > 1 else ""
        return f"Failure({self.item!r}, {self.exception!r}{tries})"


class Calls:
    """Instead of the function: calls it as the options of a fan-out say, in each item's goroutine.

    One for all items, so that an item costs no closure and no context manager but that of its
    time. An item is what the function is called with, of several iterables a tuple. What is not
    asked for is None or False here.
    """

    __slots__ = (
        "acquire", "dated", "failed", "fn", "limiter", "pairs", "retry", "returns", "seconds",
        "target",
    )  # fmt: skip

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        single: bool,
        rate: Limiter | None,
        retry: Retry | None,
        item_timeout: float | None,
        on_error: str,
        with_input: bool,
        blocking_call: bool,
    ) -> None:
        if rate is not None and not isinstance(rate, Limiter):
            raise TypeError(f"rate must be a Limiter, not {type(rate).__name__}")
        check_call(retry, on_error)
        if blocking_call:
            fn = partial(blocking, fn)
        self.fn = fn if single else partial(_spread, fn)
        # what a goroutine calls with an item of each iterable
        self.target: Callable[..., Any] = self.call if single else self.call_tuple
        self.limiter = rate
        self.acquire = None if rate is None else rate.acquire  # None: the caller has done it
        self.retry = retry
        self.seconds = FailFast.check_timeout(item_timeout, "item_timeout")
        self.returns = on_error == "return"
        self.failed: deque[None] = deque()  # as many as have become a Failure
        self.pairs = bool(with_input)
        # whether the beginning of an item has to be known
        self.dated = retry is not None and (
            retry.deadline is not None or (rate is not None and item_timeout is not None)
        )

    def call_tuple(self, *args: Any) -> Any:
        return self.call(args)

    def call(self, item: Any) -> Any:
        trials = None
        try:
            if self.acquire is not None:
                self.acquire()
            began = time.monotonic() if self.dated else 0.0
            if self.seconds is None:
                try:
                    value = self.fn(item)
                except Exception as e:
                    if self.retry is None:
                        raise
                    trials = Trials(self.retry, began)
                    if not self.pause(e, trials, None):
                        raise
                if trials is not None:
                    value = self.again(item, trials, None)
            else:
                with timeout(self.seconds) as scope:
                    try:
                        value = self.fn(item)
                    except Exception as e:
                        if self.retry is None:
                            raise
                        trials = Trials(self.retry, began)
                        if not self.pause(e, trials, scope):
                            raise
                    if trials is not None:
                        value = self.again(item, trials, scope)
        except Exception as e:
            if not self.returns:
                raise
            self.failed.append(None)
            # no name for it here, or its traceback would lead back to it
            if self.pairs:
                return item, Failure(item, e, tries(trials))
            return Failure(item, e, tries(trials))
        if self.pairs:
            return item, value
        return value

    def again(self, item: Any, trials: Trials, scope: timeout | None) -> Any:
        """The second attempt, and those after it."""
        while True:
            try:
                return self.fn(item)
            except Exception as e:
                if not self.pause(e, trials, scope):
                    raise

    def pause(self, exc: Exception, trials: Trials, scope: timeout | None) -> bool:
        """After a failure: waits until the next attempt may begin. False: there is none."""
        seconds = trials.failed(exc)
        if seconds is None:
            return False
        sleep(seconds)
        if self.limiter is None or self.limiter.try_acquire():
            return True
        left = None
        if scope is not None:  # whose time stands while this waits for its turn
            assert self.seconds is not None
            began = time.monotonic()
            left = trials.began + trials.waited + self.seconds - began
            if left > 0:
                scope.reset(None)
        try:
            patience = trials.left()
            self.limiter.acquire(1, None if patience is None else max(patience, 0.0))
        except TimeoutError:
            trials.withdraw(exc)
            return False
        finally:
            if left is not None and left > 0:
                assert scope is not None
                trials.waited += time.monotonic() - began
                scope.reset(left)
        return True


def check_call(retry: object, on_error: object) -> None:
    """Raises what is wrong with them."""
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry must be a Retry, not {type(retry).__name__}")
    if on_error not in ("raise", "return"):
        raise ValueError(f'on_error must be "raise" or "return": {on_error!r}')


def tries(trials: Trials | None) -> int:
    return 1 if trials is None else trials.number


def _spread(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return fn(*args)
