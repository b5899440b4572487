"""The group "asyncio": each goroutine may run an event loop of its own.

A thread's running loop is kept by asyncio for the thread; a goroutine takes it along when it parks. That is all that
is to do here, and asyncio is not imported for it. (``_asyncio`` alone would be found half made by asyncio, which it
imports, and which would then do without.)
"""

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

from gmpx._core import _swap_running_loop
from gmpx.patch.imports import Imported
from gmpx.patch.registry import Replacement


def _change(module: ModuleType) -> Callable[[], None]:
    _swap_running_loop(module, True)
    return partial(_swap_running_loop, module, False)


def replacements() -> Iterator[Replacement]:
    yield Imported("_asyncio", _change, "asyncio._set_running_loop")
