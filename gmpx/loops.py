"""What is said where a wait would stop the asyncio loop that runs in the goroutine."""

from __future__ import annotations

import sys

__all__ = ["runs_here", "would_stop"]


def runs_here() -> bool:
    """Whether asyncio runs a loop in this goroutine, or thread."""
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None


def would_stop(call: str, instead: str) -> RuntimeError:
    """The error of a call that cannot wait here: what it is, and what to do."""
    return RuntimeError(
        f"{call} would stop the asyncio loop that runs in this goroutine: {instead}"
    )
