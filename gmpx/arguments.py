"""What several modules check of their arguments."""

from __future__ import annotations

from functools import partial
from typing import Any

__all__ = ["bool_of", "callable_of", "limit_of"]

#: Of a code's flags: a coroutine's, an asynchronous generator's; a generator's.
COROUTINE, ASYNC_GENERATOR, GENERATOR = 0x80, 0x200, 0x20


def callable_of(fn: Any, *, generators: bool = True) -> None:
    """Refuses what cannot be called, and an ``async def`` function: a call of it does not run it.

    Args:
        generators: False: generator functions, too.
    """
    if not callable(fn):
        raise TypeError(f"fn must be callable, not {type(fn).__name__}")
    inner = fn
    try:
        while isinstance(inner, partial):
            inner = inner.func
        code = getattr(inner, "__code__", None) or getattr(type(inner).__call__, "__code__", None)
        flags = getattr(code, "co_flags", 0)
    except Exception:
        return  # a proxy's __getattr__
    if not isinstance(flags, int):
        return  # a mock's
    if flags & (COROUTINE | ASYNC_GENERATOR):
        raise TypeError(
            f"fn must be a plain function: a call of {fn!r}, an async def, does not run it "
            "(a function that calls gmpx.aio.run(...) does)"
        )
    if flags & GENERATOR and not generators:
        raise TypeError(f"fn must be a plain function: a call of {fn!r}, a generator, does not run it")


def bool_of(x: object, what: str) -> None:
    """Refuses what is only as good as true, or false."""
    if not isinstance(x, bool):
        raise TypeError(f"{what} must be a bool, not {type(x).__name__}")


def limit_of(limit: object) -> int | None:
    """A limit on how many run at once: None, or an int of at least 1."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit must be an int or None, not {type(limit).__name__}")
    if limit < 1:
        raise ValueError(f"limit must be at least 1: {limit}")
    return limit
