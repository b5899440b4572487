"""Replacements in modules that may be imported later.

What has been imported is changed at once, and what will be right after its import: a finder at the head of
``sys.meta_path`` finds nothing by itself, but has a module's own loader tell when it has loaded.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Imported:
    """A replacement in a module that may come later, or come anew.

    Attributes:
        module: its full name.
        change: change(module) makes the replacement and returns what takes it back; None: there is none to make.
        name: how reports call it.
    """

    def __init__(self, module: str, change: Callable[[Any], Callable[[], None] | None], name: str):
        self.module, self.change, self.name = module, change, name
        self.take_back: Callable[[], None] | None = None

    @property
    def title(self) -> str:
        if self.module not in sys.modules:
            return f"{self.name} (once it is imported)"
        return self.name if self.take_back is not None else f"{self.name} (nothing to do)"

    def apply(self) -> None:
        _finder.add(self)
        if self.module in sys.modules:
            try:
                module = import_module(self.module)  # another thread may be at it
            except ImportError:
                return
            if self.take_back is None:
                self.imported(module)

    def imported(self, module: ModuleType) -> None:
        self.take_back = self.change(module)

    def undo(self) -> None:
        _finder.remove(self)
        if self.take_back is not None:
            take_back, self.take_back = self.take_back, None
            take_back()


class Loader:
    """Loads as another does, and tells of it."""

    def __init__(self, loader: Any, wanted: Imported):
        self.loader, self.wanted = loader, wanted

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The module is to see, and to keep, its own.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        if _finder.wanted.get(self.wanted.module) is self.wanted:
            self.wanted.imported(module)


class Finder:
    """On ``sys.meta_path`` while there is anything to wait for."""

    def __init__(self) -> None:
        self.wanted: dict[str, Imported] = {}

    def add(self, wanted: Imported) -> None:
        self.wanted[wanted.module] = wanted
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def remove(self, wanted: Imported) -> None:
        self.wanted.pop(wanted.module, None)
        if not self.wanted and self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        wanted = self.wanted.get(name)
        if wanted is None:
            return None
        for finder in list(sys.meta_path):
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module") and hasattr(spec.loader, "create_module"):
                    spec.loader = Loader(spec.loader, wanted)  # type: ignore[assignment]
                return spec
        return None


_finder = Finder()
