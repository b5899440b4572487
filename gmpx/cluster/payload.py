"""What goes over the wire: bytes, so that the outer level neither looks into them nor copies them item by item."""

from __future__ import annotations

import pickle
import traceback
from typing import Any, NamedTuple

__all__ = ["Answer", "Failed", "RemoteTraceback", "dumps", "loads"]

loads = pickle.loads


def dumps(value: Any, code: bool = False) -> bytes:
    """Pickles; by value what another process could not import (lambdas, what `__main__` has).

    code: it is a function, which cloudpickle may have been told to take by value.
    """
    data = None
    try:
        data = pickle.dumps(value, protocol=5)
        if b"__main__" not in data and not code:
            return data
    except Exception:
        pass
    try:
        import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return pickle.dumps(value, protocol=5) if data is None else data  # raises what it raised
    found: bytes = cloudpickle.dumps(value, protocol=5)
    return found


class RemoteTraceback(Exception):
    """The cause of an exception that a call on another machine has raised: its traceback there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class Failed:
    """A call's exception on its way: pickled by itself, or it would take all others' values along."""

    met: Exception | None = None

    @classmethod
    def here(cls, exc: Exception) -> Failed:
        """For a call that was never made."""
        found = cls.__new__(cls)
        found.met, found.attempts = exc, 0
        return found

    def __init__(self, exc: BaseException, attempts: int = 1) -> None:
        self.attempts = attempts
        tb = exc.__traceback__
        self.text = "".join(traceback.format_exception(type(exc), exc, tb and tb.tb_next))
        try:
            self.data = dumps(exc)
            loads(self.data)  # some can be pickled, and not be made anew
        except Exception:
            lost = RuntimeError(f"{type(exc).__qualname__}: {exc} (the exception itself cannot be pickled)")
            self.data = pickle.dumps(lost)

    def exception(self) -> BaseException:
        """The exception, made anew, with its traceback: its own, or as text, for a cause."""
        if self.met is not None:
            return self.met
        try:
            exc: BaseException = loads(self.data)
        except Exception as e:
            exc = RuntimeError(f"the exception of a call could not be read here: {e!r}")
        if exc.__traceback__ is None:  # unless tblib is there, as with Dask, and has brought it along
            exc.__cause__ = RemoteTraceback(self.text)
        return exc


class Answer(NamedTuple):
    """What comes back of a range."""

    values: list[Any]
    """In the order of its items; a Failed for a call that has raised."""
    holes: list[int]
    """Which items were not begun in time: they are to be sent again."""
    seconds: float


def pack(answer: Answer) -> bytes:
    try:
        return dumps(answer)
    except Exception:
        return dumps(answer._replace(values=[_checked(value) for value in answer.values]))


def _checked(value: Any) -> Any:
    try:
        dumps(value)
    except Exception as e:
        return Failed(e)
    return value
