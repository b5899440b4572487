"""The group "time": time.sleep."""

from collections.abc import Iterator

from gmpx._core import _swap_sleep
from gmpx.patch.registry import Builtin, Replacement


def replacements() -> Iterator[Replacement]:
    yield Builtin(_swap_sleep, "time.sleep")
