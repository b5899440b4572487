"""What several modules check of their arguments."""

from __future__ import annotations

__all__ = ["limit_of"]


def limit_of(limit: object) -> int | None:
    """A limit on how many run at once: None, or an int of at least 1."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit must be an int or None, not {type(limit).__name__}")
    if limit < 1:
        raise ValueError(f"limit must be at least 1: {limit}")
    return limit
