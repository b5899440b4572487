"""What has been replaced by what: the one place that changes other modules, and changes them back.

Nothing is swapped for a new class or a copy: a method of a Python class is set on the class itself, and
a built-in function gets another C function behind the object that everybody has imported.
"""

import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

_MISSING = object()


def stays(title: str) -> None:
    """Warns the caller of ``gmpx.patch``: somebody else has replaced this since."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("gmpx.patch"):
        level, frame = level + 1, frame.f_back
    text = f"gmpx.patch: {title} has been replaced by others and stays as it is"
    warnings.warn(text, RuntimeWarning, stacklevel=level)


@dataclass(eq=False)
class Attribute:
    """A replacement of an attribute.

    Attributes:
        owner: a class or module.
        name: the attribute's.
        new: what it is to be.
        title: how reports call it.
    """

    owner: Any
    name: str
    new: Any
    title: str
    old: Any = _MISSING

    def apply(self) -> None:
        self.old = vars(self.owner).get(self.name, _MISSING)
        setattr(self.owner, self.name, self.new)

    def undo(self) -> None:
        if vars(self.owner).get(self.name) is not self.new:
            stays(self.title)
        elif self.old is _MISSING:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.old)


@dataclass(eq=False)
class Builtin:
    """A replacement of the C function behind a built-in function or method.

    Attributes:
        swap: swap(True) sets ours, swap(False) the original.
        title: how reports call it.
    """

    swap: Callable[[bool], None]
    title: str

    def apply(self) -> None:
        self.swap(True)

    def undo(self) -> None:
        self.swap(False)


class Replacement(Protocol):
    """What can be made, and taken back; reports call it by its title."""

    @property
    def title(self) -> str: ...

    def apply(self) -> None: ...

    def undo(self) -> None: ...


_lock = threading.Lock()
_applied: dict[str, list[Replacement]] = {}


def apply(group: str, replacements: Callable[[], Iterable[Replacement]]) -> None:
    """Makes the replacements of a group, once; if one fails, none of them stays."""
    with _lock:
        if group in _applied:
            return
        done: list[Replacement] = []
        try:
            for replacement in replacements():
                replacement.apply()
                done.append(replacement)
        except BaseException:
            for replacement in reversed(done):
                replacement.undo()
            raise
        _applied[group] = done


def undo(groups: Iterable[str]) -> None:
    """Takes back the replacements of these groups, the last first."""
    with _lock:
        for group in groups:
            for replacement in reversed(_applied.pop(group, [])):
                replacement.undo()


def applied() -> dict[str, tuple[str, ...]]:
    """The titles of what is replaced now, by group."""
    with _lock:
        return {group: tuple(r.title for r in done) for group, done in _applied.items()}
