"""open: files whose operations run on spare threads, for file systems that take their time."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from gmpx._core import Mutex, blocking


def open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> File:
    """Opens a file as ``open`` does; what it does with the file runs on threads of ``gmpx.blocking``.

    For what may take long: network file systems, slow disks, a FIFO whose other end is not there yet. Each
    call costs some tens of microseconds, so read and write much at once.

    Args:
        file, mode, and the others: as for ``open``.

    Returns:
        A ``File``, with the methods and attributes of what ``open`` returns.

    Raises:
        OSError: as ``open``.

    Parks the goroutine, in each call; on a foreign thread, blocks the thread.

    >>> import gmpx.io, os
    >>> with gmpx.io.open(os.devnull) as f:
    ...     f.read()
    ''
    """
    return File(blocking(builtins.open, file, mode, *args, **kwargs))


class File:
    """A file object of ``gmpx.io.open``.

    Its calls run one after the other, whoever makes them. One that has begun and is cancelled or timed out
    runs to its end on its thread; the next waits for that.
    """

    def __init__(self, file: Any):
        self._file = file
        self._mutex = Mutex()

    def _call(self, method: Callable[..., Any], *args: Any) -> Any:
        turn = [self._mutex]  # who takes it out unlocks it: the call, or a caller who leaves before

        def call() -> Any:
            try:
                mutex = turn.pop()
            except IndexError:
                return None
            try:
                return method(*args)
            finally:
                mutex.unlock()

        self._mutex.lock()
        try:
            return blocking(call)
        except BaseException:
            with suppress(IndexError):
                turn.pop().unlock()
            raise

    def read(self, size: int = -1, /) -> Any:
        return self._call(self._file.read, size)

    def read1(self, size: int = -1, /) -> bytes:
        return self._call(self._file.read1, size)  # type: ignore[no-any-return]

    def readall(self) -> bytes:
        return self._call(self._file.readall)  # type: ignore[no-any-return]

    def readinto(self, buffer: Any, /) -> int:
        return self._call(self._file.readinto, buffer)  # type: ignore[no-any-return]

    def readinto1(self, buffer: Any, /) -> int:
        return self._call(self._file.readinto1, buffer)  # type: ignore[no-any-return]

    def peek(self, size: int = 0, /) -> bytes:
        return self._call(self._file.peek, size)  # type: ignore[no-any-return]

    def readline(self, size: int = -1, /) -> Any:
        return self._call(self._file.readline, size)

    def readlines(self, hint: int = -1, /) -> list[Any]:
        return self._call(self._file.readlines, hint)  # type: ignore[no-any-return]

    def write(self, data: Any, /) -> int:
        return self._call(self._file.write, data)  # type: ignore[no-any-return]

    def writelines(self, lines: Iterable[Any], /) -> None:
        self._call(self._file.writelines, list(lines))

    def flush(self) -> None:
        self._call(self._file.flush)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._call(self._file.seek, offset, whence)  # type: ignore[no-any-return]

    def tell(self) -> int:
        return self._call(self._file.tell)  # type: ignore[no-any-return]

    def truncate(self, size: int | None = None, /) -> int:
        return self._call(self._file.truncate, size)  # type: ignore[no-any-return]

    def close(self) -> None:
        self._call(self._file.close)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def __enter__(self) -> File:
        self._file.__enter__()  # says so if it is closed
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __repr__(self) -> str:
        return f"<gmpx.io.File {self._file!r}>"
