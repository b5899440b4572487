"""block_hook: who keeps a thread from others that are ready there."""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any, NamedTuple

from gmpx._core import Goroutine
from gmpx.dump import _duration, _frames

__all__ = ["BlockReport", "default_block_hook"]

#: A wait for the GIL that is worth a word: beyond what CPython's switching takes.
LONG_GIL_WAIT_S = 0.05

DOING = {"blocked": "in a call that waits", "computing": "computing", "starved": "waiting for the GIL"}

ADVICE = {
    "blocked": "A call that waits goes to another thread by gmpx.blocking(fn, ...); gmpx.sleep, gmpx.io and "
    "gmpx.patch park the goroutine alone.",
    "starved": "Threads that keep the GIL make it wait: code in C that does not give it up, or many that compute. Work for "
    "other processes (gmpx.cluster, concurrent.futures.ProcessPoolExecutor).",
    "deadlocked": "gmpx.patch.threading() makes such locks park the goroutine alone; in code of your own gmpx.Mutex does.",
    "computing": "gmpx.gosched() in a long computation lets the others run; gmpx.blocking(fn, ...) runs it on "
    "another thread.",
}


class BlockReport(NamedTuple):
    """What ``gmpx.block_hook`` is called with; ``str()`` of it is the text that the default prints.

    A goroutine stays on its thread. While one computes, or waits in a call that gmpx does not know, the
    others that have started there stand still.
    """

    goroutine: Goroutine[Any]
    """Who keeps the thread."""
    thread: int
    """The id of its M; 0 is the main thread."""
    state: str
    """``"blocked"``: it has hardly run, and waits in the kernel. ``"computing"``: it runs, or would if the machine let
    it. ``"starved"``: it waits for the GIL, which others keep. What has hardly run is ``"blocked"`` wherever the kernel does
    not tell: outside of Linux; for the GIL also with musl, and where /proc/self/task may not be read.
    ``"deadlocked"``: it is about to wait for a lock of ``threading`` that ``holder`` has, a goroutine of the
    same thread, for ever."""
    seconds: float
    """For how long, at least: the first look that saw it is up to 50 ms late."""
    waiting: int
    """How many goroutines are ready there and cannot run. Fresh ones do not count: other threads
    take them."""
    waited: float
    """For how many seconds the first of them has waited, at least."""
    main_waits: bool
    """Whether the main goroutine is one of them."""
    gil_wait: float
    """For how many seconds the GIL could not be had before this was found out: all else was measured
    before or after that, and ``stack`` is of after that."""
    stack: list[tuple[CodeType, int]]
    """Code and line number of each frame, the innermost last."""
    holder: Goroutine[Any] | None = None
    """``"deadlocked"``: who has the lock."""
    holder_stack: list[tuple[CodeType, int]] = []
    """``"deadlocked"``: its frames, as ``stack``."""
    lock: str = ""
    """``"deadlocked"``: the lock, and the file and line that made it, if that is known."""

    def __str__(self) -> str:
        if self.holder is not None:
            return self._deadlock(self.holder)
        g, n = self.goroutine, self.waiting
        doing = DOING[self.state]
        if n == 1:
            behind = "main is ready" if self.main_waits else "1 goroutine is ready"
        else:
            behind = f"{n} goroutines are ready" + (", main among them" if self.main_waits else "")
        lines = [
            f"gmpx: goroutine {g.id} [{g.name}] has kept thread M{self.thread} for "
            f"{_duration(self.seconds)}, {doing}; {behind} behind it, for {_duration(self.waited)}:\n",
            *_frames(self.stack),
        ]
        if self.gil_wait >= LONG_GIL_WAIT_S:
            lines.append(
                f"  The GIL could not be had for {_duration(self.gil_wait)} meanwhile: the stack is of after that.\n"
            )
        lines.append(f"  {ADVICE[self.state]} (GMPX_BLOCK_WARN_MS=0: no such reports)\n")
        return "".join(lines)

    def _deadlock(self, holder: Goroutine[Any]) -> str:
        g = self.goroutine
        return "".join([
            f"gmpx: deadlock: goroutine {g.id} [{g.name}] waits on thread M{self.thread} for {self.lock}, "
            f"which goroutine {holder.id} [{holder.name}] of the same thread holds:\n",
            *_frames(self.stack),
            f"  goroutine {holder.id}, which cannot go on before that one does:\n",
            *_frames(self.holder_stack),
            f"  {ADVICE[self.state]} (GMPX_LOCK_DEADLOCK=raise: an error in the one that waits)\n",
        ])


def lock_deadlock(report: BlockReport, lock: object, made: tuple[str, int] | None, shown: bool) -> str:
    """Tells block_hook of a goroutine that is about to stop its thread for good; returns the text."""
    where = "made before gmpx was imported" if made is None else f"made in {made[0]}, line {made[1]}"
    report = report._replace(lock=f"{lock!r} ({where})")
    if shown:
        tell(report)
    return str(report)


def tell(report: BlockReport) -> None:
    """Calls gmpx.block_hook; what it is set to may be no function: the report is printed then, and that said."""
    import gmpx

    hook = getattr(gmpx, "block_hook", default_block_hook)
    if not callable(hook):
        default_block_hook(report)
        raise TypeError(f"gmpx.block_hook must be callable, not {type(hook).__name__}")
    hook(report)


def default_block_hook(report: BlockReport, /) -> None:
    """Prints which goroutine keeps its thread from others: gmpx.block_hook's first value.

    Called as ``block_hook(report)``, with a ``BlockReport``, when a goroutine, the main one included, has
    kept a thread for over 100 ms from others that are ready there: it computes, or waits in a call
    that gmpx does not know. Once a second at most; of the same goroutine again when it has lasted
    twice as long. Without the patch also, at once, when one is about to wait for a lock of ``threading`` that
    a goroutine of the same thread holds, for neither would ever go on; GMPX_LOCK_DEADLOCK=raise raises
    ``DeadlockError`` there instead, ``off`` does nothing. Assign to ``gmpx.block_hook`` to replace it. Runs on a thread
    of its own, and what it raises goes to ``sys.unraisablehook``; told of a deadlock it runs in that goroutine, and
    what it raises is raised there.

    The environment variable GMPX_BLOCK_WARN_MS sets the milliseconds, read at import; 0 turns it off,
    which a debugger's prompt may want. A goroutine that keeps the GIL in one call of C is reported
    after that call. Threads of the program's own, and those inside ``lock_os_thread``, are not
    reported.
    """
    if sys.stderr is not None:
        sys.stderr.write(str(report))
        sys.stderr.flush()
