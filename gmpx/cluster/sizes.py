"""How many items a range has."""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Sizes"]

#: What a range should take in a worker, in seconds: long beside what it costs (some milliseconds), short beside
#: a worker's life.
TARGET = 0.25
#: No item of a range begins later than that: a guess too high does no harm.
SLICE = 0.5
MOST_ITEMS = 1 << 17
MOST_BYTES = 8 << 20
#: How much the size changes from one range to the next, at most.
STEP = 4


class Sizes:
    """Begins with a guess and learns from what comes back."""

    def __init__(
        self, chunk: int | Literal["auto"], limit: int, known: bool, most: int = MOST_ITEMS
    ) -> None:
        self.auto = chunk == "auto"
        self.most = most
        # Of an endless or slow input no more is read at first than fills the goroutines.
        self.now: float = max(16 * limit, 1024) if known else limit
        if chunk != "auto":
            self.now = chunk
        self.least = min(limit, 256)
        self.weight = 0.0  # bytes of an item, its value or input

    @property
    def seconds(self) -> float:
        return SLICE if self.auto else math.inf

    def next(self, left: int | None, workers: int) -> int:
        """For the next range, when so many items are left for so many workers."""
        if not self.auto:
            return int(self.now)
        size = min(self.now, self.most)
        if left is not None:  # towards the end smaller ones, so that all workers end at about one time
            size = min(size, max(math.ceil(left / workers), self.now / 8))
        if self.weight:
            size = min(size, MOST_BYTES / self.weight)
        return max(1, int(size))

    def learn(self, n: int, seconds: float, n_bytes: int) -> None:
        """A range has come back, with n values."""
        if not self.auto or not n:
            return
        self.weight = max(self.weight / 2, n_bytes / n)
        want = TARGET * n / max(seconds, 1e-6)
        self.now = min(max(want, self.now / STEP, self.least), self.now * STEP, MOST_ITEMS)
