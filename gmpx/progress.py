"""Progress: what `progress=` of map and imap shows, and on what."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TextIO

__all__ = ["Progress", "Reporter", "reporter"]

#: Seconds between two reports at least; on what is no terminal, where each stays to be read.
INTERVAL = 0.1
INTERVAL_OF_LOGS = 5.0


class Progress(NamedTuple):
    """How far a ``map`` or ``imap`` has come: what ``progress=`` calls its function with."""

    done: int
    """Calls that have ended, those that failed among them; in ``imap`` those whose value has been taken."""
    failed: int
    """Those of which a Failure has come (``on_error="return"``)."""
    in_flight: int
    """Calls that have been started and are not done."""
    total: int | None
    """How many there are; None for an input without a length."""
    elapsed: float
    """Seconds since the beginning."""

    @property
    def rate(self) -> float:
        """Calls done in a second, in the mean."""
        return self.done / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds until the end, should it go on so; None: not known."""
        if self.total is None or not self.done:
            return None
        return max(self.total - self.done, 0) * self.elapsed / self.done

    def __str__(self) -> str:
        text = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        text += f" done, {self.failed} failed, {self.in_flight} in flight, {self.rate:.3g}/s"
        if self.done != self.total:
            text += f", {clock(self.elapsed)} gone"
            text += "" if self.eta is None else f", {clock(self.eta)} left"
        else:
            text += f", {clock(self.elapsed)}"
        return text


def clock(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Reporter:
    """Says how far it is, INTERVAL apart. Used by one goroutine: that which reads."""

    def __init__(self, show: Callable[[Progress], object], total: int | None) -> None:
        self.show = show
        self.total = total
        self.began = time.monotonic()
        self.due = 0.0  # on time.monotonic
        self.last: tuple[int, int, int] | None = None

    def tell(self, done: int, failed: int, in_flight: int, now: bool = False) -> None:
        """Shows it if it is time, or at once, if there is anything new."""
        at = time.monotonic()
        if at < self.due and not now:
            return
        self.due = at + INTERVAL
        if self.last != (done, failed, in_flight):
            self.last = (done, failed, in_flight)
            self.show(Progress(done, failed, in_flight, self.total, at - self.began))

    def close(self) -> None:
        """No more reports, whatever the end was."""


class Line(Reporter):
    """One line on stderr, written over on a terminal; elsewhere a new one now and then."""

    def __init__(self, total: int | None) -> None:
        super().__init__(self.write, total)
        self.file: TextIO | None = sys.stderr
        self.terminal = self.file is not None and self.file.isatty()
        self.width = 0
        self.next_log = self.began + INTERVAL_OF_LOGS

    def write(self, progress: Progress) -> None:
        if self.file is None:
            return
        text = str(progress)
        if self.terminal:
            self.file.write(f"\r{text:{self.width}}")
            self.width = len(text)
        elif progress.done == self.total or self.began + progress.elapsed >= self.next_log:
            self.next_log = self.began + progress.elapsed + INTERVAL_OF_LOGS
            self.file.write(f"{text}\n")
        self.file.flush()

    def close(self) -> None:
        if self.file is not None and self.terminal and self.width:
            self.file.write("\n")
            self.file.flush()


def reporter(progress: Any, total: int | None, name: str) -> Reporter | None:
    """The Reporter for what was given as ``progress=``; name is what is fanned out."""
    if progress is None or progress is False:
        return None
    if progress is True:
        return Line(total)
    if _is_rich(progress):
        return Reporter(_rich(progress, total, name), total)
    if _is_tqdm(progress):
        return Reporter(_tqdm(progress, total), total)
    return Reporter(progress, total)


def check(progress: Any) -> None:
    """Raises TypeError for what ``progress=`` does not take."""
    if isinstance(progress, type):
        raise TypeError(f"progress must be an instance, {progress.__name__}(...), not the class")
    if progress is None or isinstance(progress, bool) or callable(progress):
        return
    if not _is_rich(progress) and not _is_tqdm(progress):
        raise TypeError(
            "progress must be True, a function of a Progress, a tqdm or a rich Progress, "
            f"not {type(progress).__name__}"
        )


def _is_rich(progress: Any) -> bool:
    return hasattr(progress, "add_task") and hasattr(progress, "update")


def _is_tqdm(progress: Any) -> bool:
    return hasattr(progress, "update") and hasattr(progress, "total")


def _rich(bars: Any, total: int | None, name: str) -> Callable[[Progress], object]:
    task = bars.add_task(name, total=total)
    return lambda progress: bars.update(task, completed=progress.done)


def _tqdm(bar: Any, total: int | None) -> Callable[[Progress], object]:
    if bar.total is None and total is not None:
        bar.total = total
    shown = 0

    def show(progress: Progress) -> None:
        nonlocal shown
        bar.update(progress.done - shown)
        shown = progress.done

    return show
