"""What a map keeps of its ranges when they have ended: nothing, without the cyclic collector."""

import gc
import operator
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from gmpx import cluster
from gmpx.cluster import engines, flow


@pytest.fixture
def collected():
    """No cyclic collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def parts(monkeypatch):
    """References to the parts of maps."""
    found = []

    class Part(flow.Part):
        __slots__ = ("__weakref__",)

        def __init__(self, *args):
            super().__init__(*args)
            found.append(weakref.ref(self))

    monkeypatch.setattr(flow, "Part", Part)
    return found


def alive(refs):
    return sum(ref() is not None for ref in refs)


def run(outer, parts, until):
    assert cluster.map(outer, operator.neg, range(12), chunk=2) == [-i for i in range(12)]
    values = cluster.imap(outer, operator.neg, range(40), chunk=1)
    for i in range(20):
        assert next(values) == -i
    # What is under way, and what waits for the reader.
    until(lambda: alive(parts) <= 2 * (4 + 4 + 1))
    values.close()
    assert len(parts) > 20
    until(lambda: not alive(parts))


def test_over_threads(collected, parts, until):
    with ThreadPoolExecutor(2) as pool:
        run(pool, parts, until)


def test_over_dask(client, collected, parts, until):
    run(client, parts, until)


def test_a_map_whose_range_fails_keeps_nothing(collected, parts, monkeypatch, until):
    def end(*args):
        raise LookupError("not even begun")

    monkeypatch.setattr(engines, "run_range", end)
    with ThreadPoolExecutor(2) as pool:
        try:  # pytest.raises is itself in a cycle with what it has caught
            cluster.map(pool, abs, range(4), chunk=1)
        except LookupError:
            until(lambda: len(parts) == 4)
        until(lambda: not alive(parts))


def test_a_range_that_fails_keeps_no_future(client, collected, monkeypatch, until):
    handles = []
    start = engines.DaskEngine.start
    monkeypatch.setattr(
        engines.DaskEngine, "start", lambda *args: (handles.append(start(*args)), handles[-1])[1]
    )

    def end(*args):
        raise LookupError("not even begun")

    monkeypatch.setattr(engines, "run_range", end)
    with pytest.raises(LookupError, match="not even begun") as caught:
        cluster.map(client, abs, [1], chunk=1)
    until(lambda: not [key for key in client.futures if key.startswith("gmpx-range")])
    (handle,) = handles
    assert handle.done is handle.inputs is handle.future is None
    del caught
