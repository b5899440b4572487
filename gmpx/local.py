"""Local: attributes that each goroutine has for itself."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from gmpx._core import _locals

__all__ = ["Local"]


class Local:
    """Goroutine-local attributes: ``threading.local`` for goroutines.

    Each goroutine, the main one and those of foreign threads too, sees attributes of its own, and
    they go when it ends. A new goroutine starts without any: what is to be inherited belongs into
    a ``contextvars.ContextVar``. In a subclass ``__init__`` runs anew, with the same arguments, in
    each goroutine that uses the object.

    (The goroutines of one thread share its ``threading.local``.)

    >>> mine = Local()
    >>> mine.x = 1
    >>> go(getattr, mine, "x", "none").result()
    'none'
    """

    __slots__ = ("__weakref__", "_local_args", "_local_key")

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Local:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Local() takes no arguments")
        self = object.__new__(cls)
        object.__setattr__(self, "_local_key", _Key())
        object.__setattr__(self, "_local_args", (args, kwargs))
        _table()[self._local_key] = {}  # __init__ runs now for this goroutine
        return self

    def __getattribute__(self, name: str) -> Any:
        if name in _OWN:
            return object.__getattribute__(self, name)
        values = _values(self)
        if name == "__dict__":
            return values
        if name in values and not _is_data_descriptor(self, name):
            return values[name]
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _OWN or name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute {name!r} is read-only")
        if _is_data_descriptor(self, name):
            object.__setattr__(self, name, value)
        else:
            _values(self)[name] = value

    def __delattr__(self, name: str) -> None:
        if name in _OWN or name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute {name!r} is read-only")
        if _is_data_descriptor(self, name):
            object.__delattr__(self, name)
            return
        try:
            del _values(self)[name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
            ) from None

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle a Local")


_OWN = frozenset(("_local_key", "_local_args", "__class__"))


class _Key:
    """Lives as long as its Local; hashed by identity whatever a subclass does."""

    __slots__ = ("__weakref__",)


def _table() -> WeakKeyDictionary[_Key, dict[str, Any]]:
    """The current goroutine's: which Local has which attributes."""
    return _locals(WeakKeyDictionary)


def _values(local: Local) -> dict[str, Any]:
    table = _table()
    key = local._local_key
    found = table.get(key)
    if found is None:
        found = table[key] = {}
        cls = type(local)
        if cls.__init__ is not object.__init__:
            args, kwargs = local._local_args
            try:
                cls.__init__(local, *args, **kwargs)
            except BaseException:
                del table[key]
                raise
    return found


def _is_data_descriptor(local: Local, name: str) -> bool:
    for cls in type(local).__mro__:
        if name in cls.__dict__:
            return hasattr(type(cls.__dict__[name]), "__set__")
    return False
