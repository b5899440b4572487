"""The global queue, one operation at a time: FIFO, a P's fair share, batches (rt/sched/gqueue.pxi)."""

import pytest

import gmpx
from gmpx import _core
from gmpx._core import Processor


@pytest.fixture
def make():
    """make(n): n goroutines on no queue. No other M lives meanwhile; all must be off it again."""
    gmpx.shutdown()
    made = []

    def make(n):
        new = [_core._test_goroutine(int) for _ in range(n)]
        made.extend(new)
        return new

    yield make
    assert _core._glob_runq_len() == 0
    for g in made:
        _core._publish(g)
    for g in made:
        assert g.result() == 0


def put(gs):
    for g in gs:
        _core._glob_runq_put(g)


def take(p, most=0):
    """The share that p gets, in order."""
    g = _core._glob_runq_get(p, most)
    return [] if g is None else [g, *iter(lambda: _core._runq_get(p), None)]


def take_all():
    p, got = Processor(), []
    while share := take(p):
        got += share
    return got


def test_an_empty_queue_gives_nothing():
    gmpx.shutdown()
    p = Processor()
    assert _core._glob_runq_len() == 0
    assert _core._glob_runq_get(p) is None and len(p) == 0


@pytest.mark.parametrize("n", [1, 2, 128, 129, 130, 1000])
def test_it_is_fifo_one_by_one_across_batches(n, make):
    p, gs = Processor(), make(n)
    put(gs)
    for i, g in enumerate(gs):
        assert _core._glob_runq_len() == n - i
        assert _core._glob_runq_get(p, 1) is g
        assert len(p) == 0, "at most one was asked for"
    assert _core._glob_runq_get(p, 1) is None


def test_it_is_fifo_while_it_is_filled_and_emptied(make, rng):
    p, off, queue = Processor(), make(500), []
    for _ in range(4000):
        if off and rng.random() < 0.52:
            g = off.pop()
            _core._glob_runq_put(g)
            queue.append(g)
        else:
            most = rng.choice([0, 1, 2, 5, 200])
            got = take(p, most)
            assert got == queue[: len(got)] and bool(got) == bool(queue)
            del queue[: len(got)]
            off += got
        assert _core._glob_runq_len() == len(queue)
    assert take_all() == queue


@pytest.mark.parametrize("procs", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 100, 127, 128, 300])
def test_a_share_is_the_queue_divided_by_the_ps_plus_one(procs, n, make):
    before = gmpx.gomaxprocs(procs)
    gs = make(n)
    put(gs)
    share = min(n, n // procs + 1, 128)
    p = Processor()
    g = _core._glob_runq_get(p)
    assert g is gs[0] and len(p) == share - 1 and _core._glob_runq_len() == n - share
    rest = list(iter(lambda: _core._runq_get(p), None))
    assert [g, *rest] == gs[:share]
    assert take_all() == gs[share:]
    gmpx.gomaxprocs(before)


@pytest.mark.parametrize("most", [1, 2, 7, 128, 500])
def test_most_bounds_a_share(most, make):
    before = gmpx.gomaxprocs(1)
    gs = make(400)
    put(gs)
    got = take(Processor(), most)
    assert got == gs[: min(most, 128)]
    assert take_all() == gs[len(got):]
    gmpx.gomaxprocs(before)


def test_a_ring_without_room_is_refused(make):
    p, gs = Processor(), make(130)
    for g in gs[:129]:
        _core._runq_put(p, g)
    put(gs[129:])
    with pytest.raises(ValueError):
        _core._glob_runq_get(p)
    assert _core._glob_runq_len() == 1
    assert take_all() == gs[129:]
    assert [_core._runq_get(p) for _ in range(129)] == gs[:129]


def test_stats_show_its_length(make):
    gs = make(5)
    put(gs)
    assert gmpx.stats()["global_queue"] == 5
    assert take_all() == gs
    assert gmpx.stats()["global_queue"] == 0


def test_what_is_queued_there_runs():
    gmpx.shutdown()
    order = []
    gs = [_core._test_goroutine(lambda i=i: order.append(i)) for i in range(300)]
    put(gs)
    for g in gs:
        g.join()
    assert sorted(order) == list(range(300))
