"""The group "os": os.read and os.write, and the files that io opens: pipes, FIFOs, terminals, sys.stdin."""

import builtins
import io
import os
import stat
import sys
from _thread import start_new_thread
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

from gmpx._core import (
    Event,
    Mutex,
    _Builtin,
    _gate,
    _swap_file,
    _swap_next,
    _swap_stream,
    blocking,
    gosched,
    wait_readable,
    wait_writable,
)
from gmpx.patch.registry import Builtin, Replacement

# Where somebody has put something else into os, that calls these.
_posix: Any = import_module(os.name)

#: What takes the object's lock, in which a goroutine may have parked.
_BUFFERED: dict[type, tuple[str, ...]] = {
    io.BufferedReader: ("read", "read1", "peek", "readinto", "readinto1", "readline", "close"),
    io.BufferedWriter: ("write", "flush", "close"),
}


def replacements() -> Iterator[Replacement]:
    if not hasattr(_posix, "readv"):
        return  # Windows: nothing there tells when a pipe is ready
    for name in ("read", "write", "readv", "writev"):
        yield Builtin(partial(_swap_stream, name), f"os.{name}")
    for name in ("close", "closerange", "dup2"):
        yield _gated(getattr(_posix, name), name, f"os.{name}")
    yield from _files()
    for name, swap in _functions.items():
        yield Builtin(swap, name)


def _files() -> Iterator[Replacement]:
    for name in ("read", "readinto", "readall", "write"):
        yield Builtin(partial(_swap_file, name), f"io.FileIO.{name}")
    yield _gated(io.FileIO.close, "FileIO.close", "io.FileIO.close")
    for cls, names in _BUFFERED.items():
        for name in names:
            yield _gated(getattr(cls, name), "buffer", f"io.{cls.__name__}.{name}")
    yield Builtin(_swap_next, "io.BufferedReader.__next__")


def _gated(f: Any, kind: str, title: str) -> Builtin:
    return Builtin(lambda on: _gate(f, kind if on else None), title)


def _blocks(fd: Any) -> bool:
    """Whether a call on the descriptor would wait. What is none is the original's to say."""
    try:
        return isinstance(fd, int) and os.get_blocking(fd)
    except (OSError, OverflowError):
        return False


def sendfile(out_fd: Any, *args: Any, **kwargs: Any) -> int:
    """No flag makes it non-blocking. A regular file, which shutil copies to, is a direct call as ever."""
    plain = _functions["os.sendfile"].plain
    if _blocks(out_fd) and not stat.S_ISREG(os.fstat(out_fd).st_mode):
        return blocking(plain, out_fd, *args, **kwargs)  # type: ignore[no-any-return]
    return plain(out_fd, *args, **kwargs)  # type: ignore[no-any-return]


def splice(
    src: Any,
    dst: Any,
    count: int,
    offset_src: int | None = None,
    offset_dst: int | None = None,
    flags: int = 0,
) -> int:
    """One of the two is a pipe; each try is without waiting, unless the caller wants none."""
    plain = _functions["os.splice"].plain
    if not flags & os.SPLICE_F_NONBLOCK and _blocks(src) and _blocks(dst):
        while True:
            try:
                return plain(  # type: ignore[no-any-return]
                    src, dst, count, offset_src, offset_dst, flags | os.SPLICE_F_NONBLOCK
                )
            except BlockingIOError:
                wait_readable(src)
                wait_writable(dst)
    return plain(src, dst, count, offset_src, offset_dst, flags)  # type: ignore[no-any-return]


def _at_terminal() -> bool:
    """Whether input() asks the terminal itself, as CPython decides it."""
    try:
        return (
            sys.stdin.fileno() == 0
            and sys.stdout.fileno() == 1
            and os.isatty(0)
            and os.isatty(1)
        )
    except (AttributeError, OSError, ValueError):
        return False


class Line:
    """A line that a thread edits at the terminal, by readline.

    Nothing ends that but a line. Who is interrupted leaves, with the terminal as it was before; the next one who
    asks takes the line over, and what had been typed until then is dropped.
    """

    def __init__(self, prompt: object) -> None:
        self.over = Event()
        self.value = ""
        self.error: BaseException | None = None
        self.dropped = ""
        self.settings: Any = None  # the terminal's while it is edited, once somebody has left
        self.begun = False
        self.prompt = prompt

    def _read(self) -> None:
        try:
            self.value = _functions["input"].plain(self.prompt)
        except BaseException as error:
            self.error = error
        finally:
            self.over.set()

    def wait(self) -> str:
        termios = import_module("termios")
        before = termios.tcgetattr(0)
        if not self.begun:
            start_new_thread(self._read, ())
            self.begun = True
        elif not self.over.is_set():
            termios.tcsetattr(0, termios.TCSANOW, self.settings)
        try:
            self.over._wait_call()
        except BaseException:
            if not self.over.is_set():
                self.settings = termios.tcgetattr(0)
                self.dropped = sys.modules["readline"].get_line_buffer()
                termios.tcsetattr(0, termios.TCSANOW, before)
            raise
        try:
            if self.error is not None:
                raise self.error
            return self.value.removeprefix(self.dropped)
        finally:
            self.error = None  # no cycle through the traceback


_left: Line | None = None  # whoever asked for it was interrupted
_terminal = Mutex()


def _edited(prompt: object) -> str:
    global _left
    with _terminal:
        line, _left = _left, None
        if line is None:
            line = Line(prompt)
        else:
            sys.stdout.write(str(prompt))
            sys.stdout.flush()
        try:
            return line.wait()
        except BaseException:
            if line.begun and not line.over.is_set():
                _left = line
            raise


def input(prompt: object = "", /) -> str:
    """At a terminal a line that has been typed is fetched at once; the rest is sys.stdin.readline's."""
    if not _at_terminal():
        return _functions["input"].plain(prompt)  # type: ignore[no-any-return]
    if "readline" in sys.modules:
        return _edited(prompt)
    sys.stdout.flush()
    sys.stderr.write(str(prompt))  # where CPython writes it, too
    sys.stderr.flush()
    while True:
        wait_readable(0)
        mutex = _fetching
        if mutex.try_lock():
            try:
                if _is_readable(0):  # else another goroutine has had the line
                    return _functions["input"].plain()  # type: ignore[no-any-return]
            finally:
                mutex.unlock()
        gosched()


# A line wakes all who ask, and is one goroutine's. Never waited for: a signal handler may ask, too.
_fetching = Mutex()


def _forked() -> None:
    global _left, _terminal, _fetching
    _left, _terminal, _fetching = None, Mutex(), Mutex()  # whoever held them is the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _is_readable(fd: int) -> bool:
    try:
        wait_readable(fd, timeout=0)
    except TimeoutError:
        return False
    return True


_functions = {"input": _Builtin(builtins.input, input)} | {
    f"os.{ours.__name__}": _Builtin(getattr(_posix, ours.__name__), ours)
    for ours in (sendfile, splice)
    if hasattr(_posix, ours.__name__)
}
