"""Live Machines and Processors show their state, read-only."""

import threading

import pytest

import gmpx
from gmpx import _core


def test_the_main_thread_is_m0_and_holds_a_p():
    m0 = next(m for m in _core._machines() if m.id == 0)
    assert m0.curg is gmpx.current()
    held = _core._processors()[m0.p]
    assert held.m == 0 and held.status == "running"
    assert not m0.spinning and not m0.parked


def test_there_are_gomaxprocs_processors_and_spares():
    ps = _core._processors()
    assert [p.id for p in ps] == list(range(len(ps)))
    assert len(ps) >= gmpx.gomaxprocs()
    assert ps[0] is _core._processors()[0]
    assert all(p.status == "dead" or p.id < gmpx.gomaxprocs() or p.m is not None for p in ps)


def test_a_worker_shows_what_it_runs(on_other_m, until):
    go_on = threading.Event()
    g = on_other_m(go_on.wait)
    worker = next(m for m in _core._machines() if m.curg is g)
    assert worker.id > 0
    assert _core._processors()[worker.p].m == worker.id
    tick = _core._processors()[worker.p].sched_tick
    assert tick > 0
    go_on.set()
    g.join()
    until(lambda: worker.curg is None)
    until(lambda: worker.parked)


def test_ticks_count_what_was_started():
    p = _core._processors()[next(m for m in _core._machines() if m.id == 0).p]
    before = p.sched_tick
    for _ in range(10):
        gmpx.go(int).join()
    assert p.sched_tick - before >= 10


@pytest.mark.parametrize("name", ["id", "p", "curg", "spinning", "parked"])
def test_machines_are_read_only(name):
    with pytest.raises(AttributeError):
        setattr(_core._machines()[0], name, None)


@pytest.mark.parametrize("name", ["id", "status", "m", "sched_tick"])
def test_processors_are_read_only(name):
    with pytest.raises(AttributeError):
        setattr(_core._processors()[0], name, None)
