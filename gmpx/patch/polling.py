"""The group "select": select.select, and poll, epoll and kqueue objects; selectors use these."""

from collections.abc import Iterator

from gmpx._core import _polling_methods, _swap_select
from gmpx.patch.registry import Attribute, Builtin, Replacement


def replacements() -> Iterator[Replacement]:
    yield Builtin(_swap_select, "select.select")
    for cls, name, method in _polling_methods():
        yield Attribute(cls, name, method, f"select.{cls.__name__}.{name}")
