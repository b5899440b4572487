"""dump: where every goroutine stands."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterable
from types import CodeType
from typing import Any, TextIO

from gmpx._core import Goroutine, _nprocs, _snapshot

__all__ = ["dump"]

#: Frames of one stack that are shown; of a deeper one the middle is left out.
DEEPEST = 100


def dump(file: TextIO | None = None) -> None:
    """Writes every goroutine with its state and its stack, oldest first.

    For each: id, status or what it waits for (in Go's words) and for how long, name, thread, stack
    with the innermost call last, who spawned it. SIGQUIT (Ctrl-\\) does the same, wherever the
    program hangs as long as the GIL can be had, and the program goes on; the environment variable
    GMPX_SIGQUIT=0 leaves SIGQUIT alone, as does a handler that was there before. For what hangs in
    C with the GIL held there is ``faulthandler``.

    Args:
        file: a text file; None for ``sys.stderr``.

    Raises:
        TypeError: file has no ``write``.

    Never blocks on goroutines. Go: the traces that SIGQUIT prints.
    """
    if file is not None and not hasattr(file, "write"):
        raise TypeError(f"dump() needs a text file, not {type(file).__name__}")
    text = format_dump()
    file = sys.stderr if file is None else file
    if file is not None:
        file.write(text)
        file.flush()


def format_dump(only: Iterable[Goroutine[Any]] | None = None) -> str:
    """The text of ``dump``, of these goroutines or of all."""
    found = _snapshot()
    if only is not None:
        wanted = set(only)
        found = [entry for entry in found if entry[0] in wanted]
    lines = [f"{len(found)} goroutines, gomaxprocs {_nprocs()}, pid {os.getpid()}\n"]
    cache: dict[tuple[CodeType, int], str] = {}
    for entry in found:
        _describe(entry, cache, lines)
    return "".join(lines)


def _describe(
    entry: tuple[
        Goroutine[Any],
        str,
        str,
        float,
        int | None,
        int,
        list[tuple[CodeType, int]],
        tuple[int, str] | None,
        str,
    ],
    cache: dict[tuple[CodeType, int], str],
    lines: list[str],
) -> None:
    g, status, reason, waited, mid, locked, stack, awaited, lock = entry
    state = status
    if awaited is not None:
        state = f"{reason}, {_duration(waited)}, {awaited[1]} of {_descriptor(awaited[0])}"
    elif reason:
        state = f"{reason}, {_duration(waited)}" + (f", {lock}" if lock else "")
    if locked == g.id:
        state += ", locked to thread"
    elif locked:
        state += f", its thread is locked by goroutine {locked}"
    where = "" if mid is None else f" on M{mid}"
    lines.append(f"\ngoroutine {g.id} [{state}]{where}: {g.name}\n")
    stack = [at for at in stack if at[0].co_filename != __file__]
    stack.reverse()
    lines += _frames(stack, cache)
    if g.parent_id:
        lines.append(f"  spawned by goroutine {g.parent_id}\n")


def _frames(
    stack: list[tuple[CodeType, int]], cache: dict[tuple[CodeType, int], str] | None = None
) -> list[str]:
    """The lines of a stack, the innermost last."""
    cache = {} if cache is None else cache
    if len(stack) <= DEEPEST:
        return [_frame(at, cache) for at in stack]
    shown = [_frame(at, cache) for at in stack[: DEEPEST // 2]]
    shown.append(f"  ... {len(stack) - DEEPEST} frames left out ...\n")
    return shown + [_frame(at, cache) for at in stack[-DEEPEST // 2 :]]


def _frame(at: tuple[CodeType, int], cache: dict[tuple[CodeType, int], str]) -> str:
    text = cache.get(at)
    if text is None:
        code, line = at
        name = getattr(code, "co_qualname", code.co_name)
        text = f'  File "{code.co_filename}", line {line}, in {name}\n'
        source = linecache.getline(code.co_filename, line or 0).strip()
        if source:
            text += f"    {source}\n"
        cache[at] = text
    return text


def _descriptor(fd: int) -> str:
    """The number, and what it is: a socket's peer, or what the system calls the file."""
    try:
        what = _socket(fd)
    except OSError:
        try:
            what = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            return f"descriptor {fd}"
    return f"descriptor {fd}, {what}"


def _socket(fd: int) -> str:
    from _socket import SO_ACCEPTCONN, SOL_SOCKET, socket

    s = socket(fileno=fd)
    try:
        try:
            what, name = "peer", s.getpeername()
        except OSError:
            listens = s.getsockopt(SOL_SOCKET, SO_ACCEPTCONN)
            what, name = "listener" if listens else "socket", s.getsockname()
    finally:
        s.detach()  # it is not ours to close
    where = "%s:%s" % name[:2] if isinstance(name, tuple) else str(name or "")
    return f"{what} {where}".rstrip()


def _duration(seconds: float) -> str:
    if seconds < 0.01:
        return "just now"
    if seconds < 60:
        return f"{seconds:.2g} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
