"""Free lists of dead goroutines, and goroutine ids in blocks (rt/g/gfree.pxi, assign_goid)."""

import gc
import sys

import pytest

import gmpx
from gmpx import _core
from gmpx._core import Processor

LOCAL, BATCH = 64, 32


@pytest.fixture
def gfree():
    """A detached P with an empty list; no other M lives. What a test leaves on it is dropped."""
    gmpx.shutdown()
    p = Processor()
    yield p
    while _core._gfree_len(p)[0]:
        _core._gfree_get(p)


def test_what_is_put_is_got_until_none_is_left(gfree):
    shared = _core._gfree_len(gfree)[1]
    for i in range(1, LOCAL + 1):
        _core._gfree_put(gfree)
        assert _core._gfree_len(gfree) == (i, shared)
    for i in range(LOCAL, 0, -1):
        assert _core._gfree_get(gfree) is True
        assert _core._gfree_len(gfree) == (i - 1, shared)


def test_a_full_list_sheds_half_to_the_global_one(gfree):
    shared = _core._gfree_len(gfree)[1]
    for _ in range(LOCAL + 1):
        _core._gfree_put(gfree)
    assert _core._gfree_len(gfree) == (LOCAL - BATCH + 1, shared + BATCH)
    for _ in range(BATCH - 1):
        _core._gfree_put(gfree)
    assert _core._gfree_len(gfree) == (LOCAL, shared + BATCH)
    _core._gfree_put(gfree)
    assert _core._gfree_len(gfree) == (LOCAL - BATCH + 1, shared + 2 * BATCH)


def test_an_empty_list_takes_a_batch_of_the_global_one(gfree):
    for _ in range(LOCAL + 1):
        _core._gfree_put(gfree)
    thirsty = Processor()
    shared = _core._gfree_len(thirsty)[1]
    assert shared >= BATCH
    assert _core._gfree_get(thirsty) is True
    assert _core._gfree_len(thirsty) == (BATCH - 1, shared - BATCH)
    for _ in range(BATCH - 1):
        _core._gfree_get(thirsty)
    assert _core._gfree_len(thirsty) == (0, shared - BATCH)


def test_nothing_anywhere_gives_nothing(gfree):
    while _core._gfree_len(gfree) != (0, 0):
        assert _core._gfree_get(gfree) is True
    assert _core._gfree_get(gfree) is False
    assert gmpx.go(lambda: 5).result() == 5, "go makes a new one then"


def test_a_dead_goroutines_memory_is_used_again():
    g = gmpx.go(int)
    g.join()
    address = id(g)
    del g
    g = gmpx.go(int)
    assert id(g) == address
    assert (g.status, g.done(), g.name) == ("runnable", False, "int"), "and looks new"
    assert g.exception() is None


def test_nothing_of_its_last_life_is_left(hook):
    def fails():
        raise ValueError

    for make_old in (
        lambda: gmpx.spawn(fails, name="old"),
        lambda: gmpx.WaitGroup().go(fails),
        lambda: gmpx.go(fails, 1, x=2),
        lambda: gmpx.go(lambda: [1]),
    ):
        g = make_old()
        g.add_done_callback(id)
        g.exception()
        del g
        g = gmpx.go(int)
        assert (g.name, g.status, g.wait_reason) == ("int", "runnable", "")
        assert g.result() == 0 and g.exception() is None
        assert g.parent_id == 1
    assert hook == []


def test_a_burst_goes_to_the_free_lists_and_the_next_one_allocates_little():
    p = Processor()

    def burst():
        gs = [gmpx.go(int) for _ in range(3000)]
        for g in gs:
            g.join()

    burst()
    gc.collect()
    shared = _core._gfree_len(p)[1]
    assert shared >= 2000
    before = sys.getallocatedblocks()
    burst()
    gc.collect()
    assert sys.getallocatedblocks() - before < 500
    assert abs(_core._gfree_len(p)[1] - shared) <= LOCAL


# ---- ids -----------------------------------------------------------------------------------


def test_a_p_gives_ids_in_blocks_of_16(in_thread):
    # A foreign thread, which has no P, takes single ids between main's blocks.
    gmpx.shutdown()
    ids, others = [], []
    for _ in range(6):
        g = gmpx.go(int)
        ids.append(g.id)
        g.join()
        others.append(in_thread(lambda: gmpx.current().id).value())
        for g in [gmpx.go(int) for _ in range(15)]:
            ids.append(g.id)
            g.join()
    jumps = [i for i in range(1, len(ids)) if ids[i] != ids[i - 1] + 1]
    assert jumps, "the blocks cannot all be next to each other"
    assert {b - a for a, b in zip(jumps, jumps[1:])} == {16}
    assert len(set(ids + others)) == len(ids) + len(others)


def test_ids_are_unique_across_ms_and_threads(on_other_m, in_thread):
    def spawn():
        gs = [gmpx.go(int) for _ in range(100)]
        for g in gs:
            g.join()
        return [g.id for g in gs]

    there = on_other_m(spawn)
    thread = in_thread(spawn)
    ids = spawn() + there.result() + thread.value()
    assert len(set(ids)) == 300
