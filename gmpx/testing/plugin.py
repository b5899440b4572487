"""The pytest plugin: a leak check, virtual time, seeds.

Marker::

    @pytest.mark.gmpx(leaks=True)           # fails if goroutines of the test outlive it
    @pytest.mark.gmpx(bubble=True)          # runs in gmpx.testing.bubble()
    @pytest.mark.gmpx(seed=7)               # ... with a seed
    @pytest.mark.gmpx(seeds=100)            # ... once for each of so many seeds

Fixtures: ``gmpx_leaks`` (the same check) and ``gmpx_bubble`` (the bubble that the test runs in,
fixtures that are set up after it included). Options: ``--gmpx-leaks`` checks every test;
``--gmpx-seed=N`` replays: it is the seed of every test that has one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gmpx.testing import bubble

MARKER = "gmpx(leaks=False, bubble=False, seed=None, seeds=None): goroutines of the test"
KNOWN = {"leaks", "bubble", "seed", "seeds"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gmpx")
    group.addoption("--gmpx-leaks", action="store_true", help="fail tests that leak goroutines")
    group.addoption("--gmpx-seed", type=int, metavar="N", help="the seed of tests in a bubble")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def _marked(item: pytest.Item) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("gmpx"))):
        if mark.args or set(mark.kwargs) - KNOWN:
            raise pytest.UsageError(f"{item.nodeid}: the marker is {MARKER.partition(':')[0]}")
        found.update(mark.kwargs)
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        marked = _marked(item)
        if (marked.get("leaks") or config.getoption("--gmpx-leaks")) and hasattr(
            item, "fixturenames"
        ):
            if "gmpx_leaks" not in item.fixturenames:
                item.fixturenames.insert(0, "gmpx_leaks")  # set up first: torn down last


@pytest.fixture
def gmpx_leaks() -> Iterator[None]:
    """Fails the test at its end if goroutines live that did not before; they get a second to end,
    then they are shown with their stacks and cancelled."""
    import gmpx
    from gmpx.testing import check_leaks

    before = gmpx.goroutines()
    yield
    check_leaks(before)


@pytest.fixture
def gmpx_bubble(request: pytest.FixtureRequest) -> Iterator[bubble]:
    """The ``gmpx.testing.bubble`` that the test runs in; the marker's seed, or the option's."""
    from gmpx.testing import bubble

    marked = _marked(request.node)
    seed = request.config.getoption("--gmpx-seed")
    seed = marked.get("seed") if seed is None else seed
    with bubble(seed) as b:
        yield b


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    marked = _marked(pyfuncitem)
    wanted = marked.get("bubble") or marked.keys() & {"seed", "seeds"}
    if not wanted or "gmpx_bubble" in pyfuncitem.fixturenames:
        return (yield)  # type: ignore[return-value]
    from gmpx.testing import explore

    function = pyfuncitem.obj
    seeds = _seeds(pyfuncitem, marked)

    def in_bubbles(**kwargs: Any) -> None:
        explore(lambda: function(**kwargs), seeds=seeds)

    pyfuncitem.obj = in_bubbles
    try:
        return (yield)  # type: ignore[return-value]
    finally:
        pyfuncitem.obj = function


def _seeds(item: pytest.Function, marked: dict[str, Any]) -> list[int | None]:
    chosen = item.config.getoption("--gmpx-seed")
    if chosen is not None and marked.keys() & {"seed", "seeds"}:
        return [chosen]
    if marked.get("seeds") is not None:
        return [random.getrandbits(32) for _ in range(marked["seeds"])]
    return [marked.get("seed")]
