"""What CPython keeps for a thread and a goroutine takes along: threading.local, asyncio's running loop."""

import asyncio
import gc
import random
import subprocess
import sys
import threading
import time
import weakref

import pytest

import gmpx
import gmpx.patch

MADE_BEFORE = threading.local()


@pytest.fixture(autouse=True)
def patched():
    gmpx.patch.threading()
    gmpx.patch.queue()
    yield
    gmpx.patch.undo("threading", "queue")


def parked(*gs):
    while not all(g.status == "waiting" for g in gs):
        gmpx.sleep(0.001)


def test_locals_follow_the_goroutine():
    local = MADE_BEFORE
    local.x = "main"

    class Counted(threading.local):
        made = 0

        def __init__(self):
            Counted.made += 1
            self.y = "fresh"

    counted = Counted()

    def use(i):
        assert not hasattr(local, "x")
        assert counted.y == "fresh"
        local.x, counted.y = i, -i
        for _ in range(3):
            gmpx.sleep(0.001)
            gmpx.gosched()
            assert (local.x, counted.y) == (i, -i)
        return local.x

    assert [g.result(5) for g in [gmpx.go(use, i) for i in range(20)]] == list(range(20))
    assert local.x == "main"
    assert Counted.made == 21


def test_locals_go_with_the_goroutine():
    class Value:
        pass

    local, refs = threading.local(), []

    def use(park):
        local.value = Value()
        refs.append(weakref.ref(local.value))
        if park:
            gmpx.sleep(0.001)

    for park in (False, True):
        gmpx.go(use, park).result(5)
    gmpx.gosched()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_a_finalizer_finds_working_locals():
    local, found = threading.local(), []

    class Value:
        def __del__(self):
            local.again = getattr(local, "again", 0) + 1
            found.append(local.again)

    def use():
        local.value = Value()
        gmpx.sleep(0.001)

    gmpx.go(use).result(5)
    gc.collect()
    assert found == [1]
    assert not hasattr(local, "again")


def test_locals_of_threads_are_their_own():
    local = threading.local()
    local.x = "main"

    def thread():
        local.x = "thread"
        gmpx.go(int).result(5)
        found.append(local.x)

    found = []
    t = threading.Thread(target=thread)
    t.start()
    t.join(5)
    assert found == ["thread"]
    assert local.x == "main"


def test_turned_off_goroutines_keep_theirs_and_the_rest_share():
    local = threading.local()
    local.x = "main"
    chan = gmpx.Chan()

    def own():
        local.x = "own"
        chan.recv()
        gmpx.sleep(0.001)
        return local.x

    g = gmpx.go(own)
    parked(g)
    gmpx.thread_locals(False)

    def share():
        seen = getattr(local, "x", None)
        local.x = "shared"
        return seen, threading.get_ident()

    chan.send(None)
    seen, ident = gmpx.go(share).result(5)
    assert g.result(5) == "own"
    if ident == threading.get_ident():
        assert (seen, local.x) == ("main", "shared")
    assert gmpx.thread_locals(True) is False
    assert gmpx.thread_locals(True) is True


def test_turned_off_and_on_again_by_one_that_has_its_own():
    local = threading.local()
    local.x = "main"
    chan = gmpx.Chan()
    seen = []

    def own():
        local.x = "own"
        gmpx.sleep(0.001)
        for on in (False, True, False, True):
            chan.recv()
            gmpx.thread_locals(on)
            seen.append(local.x)
        chan.recv()
        return local.x

    g = gmpx.go(own)
    parked(g)
    for _ in range(4):
        chan.send(None)
        parked(g)
        assert local.x == "main"
        assert gmpx.go(lambda: getattr(local, "x", None)).result(5) in ("main", None)   # None: of another thread
    chan.send(None)
    assert g.result(5) == "own"
    assert seen == ["own"] * 4
    assert gmpx.go(lambda: getattr(local, "x", None)).result(5) is None
    assert local.x == "main"


def test_locals_in_a_seeded_storm_of_turns():
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    local = threading.local()
    local.x = "main"
    turns, wrong = 0, []

    def turn(on):
        nonlocal turns
        turns += 1
        gmpx.thread_locals(on)
        gmpx.thread_locals(on)

    def park():
        rng.choice([gmpx.gosched, lambda: gmpx.sleep(rng.random() * 0.0002), lambda: gmpx.blocking(int)])()

    def work(i):
        mine = False
        for _ in range(6):
            park()
            if rng.random() < 0.15:
                turn(rng.random() < 0.5)
            if mine:
                if getattr(local, "x", None) != i:
                    wrong.append((i, local.x))
            else:
                before = turns
                if not gmpx.thread_locals(True):
                    return
                local.x = i
                if turns != before:
                    return
                mine = True

    turn(True)
    for _ in range(25):
        gs = [gmpx.go(work, i) for i in range(40)]
        for g in gs:
            if rng.random() < 0.3:
                g.add_done_callback(lambda h: gmpx.thread_locals(True) and setattr(local, "x", "left"))
        t = threading.Thread(target=turn, args=(rng.random() < 0.6,))
        t.start()
        for g in gs:
            g.join(10)
            assert local.x == "main"
        t.join(5)
        assert not wrong


def test_what_a_done_callback_leaves_goes_to_nobody():
    local = threading.local()

    def leaves(handle):
        local.x = "left"

    for _ in range(4):
        g = gmpx.go(int)
        g.add_done_callback(leaves)
        g.result(5)
        assert gmpx.go(lambda: getattr(local, "x", None)).result(5) is None


# ---- asyncio -------------------------------------------------------------------------------


@pytest.fixture
def loops():
    gmpx.patch.all(signal=False)
    yield
    gmpx.patch.undo()


def test_a_loop_in_each_goroutine(loops):
    async def work(i):
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        await asyncio.sleep(0.02)
        gmpx.sleep(0.001)                   # parks with a loop that runs
        assert asyncio.get_running_loop() is loop
        assert asyncio.current_task() is task
        return i + await asyncio.to_thread(int, "1")

    start = time.monotonic()
    gs = [gmpx.go(asyncio.run, work(i)) for i in range(8)]
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert [g.result(10) for g in gs] == list(range(1, 9))
    assert time.monotonic() - start < 2

    async def outer():
        return gmpx.go(asyncio.run, work(5)).result(5)      # no loop runs in that one

    assert asyncio.run(outer()) == 6
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_a_loop_inside_a_loop_is_still_an_error(loops):
    async def outer():
        inner = asyncio.sleep(0)
        try:
            asyncio.run(inner)
        finally:
            inner.close()

    with pytest.raises(RuntimeError, match="running event loop"):
        gmpx.go(asyncio.run, outer()).result(5)


def test_a_loop_ends_with_its_goroutine(loops):
    gmpx.go(asyncio._set_running_loop, object()).result(5)
    assert gmpx.gather(*[gmpx.go(asyncio._get_running_loop) for _ in range(4)]) == [None] * 4


@pytest.mark.in_order
def test_async_generators_are_their_own_loops_to_close(loops):
    # The hooks of sys.set_asyncgen_hooks are the thread's: of two loops there the later one was told of both's
    # generators, and closed the other's, in their midst, when it ended.
    second_runs, first_has, second_ended = gmpx.Event(), gmpx.Event(), gmpx.Event()

    async def numbers():
        yield 1
        yield 2

    async def first():
        second_runs.wait(5)                     # parks the whole loop
        loop, agen = asyncio.get_running_loop(), numbers()
        found = [await anext(agen)]
        assert agen in loop._asyncgens
        first_has.set()
        second_ended.wait(5)
        found.append(await anext(agen))
        return found

    async def second():
        second_runs.set()
        first_has.wait(5)
        assert sys.get_asyncgen_hooks().firstiter.__self__ is asyncio.get_running_loop()

    procs = gmpx.gomaxprocs(1)
    try:
        a, b = gmpx.go(asyncio.run, first()), gmpx.go(asyncio.run, second())
        b.result(5)
        second_ended.set()
        assert a.result(5) == [1, 2]
        assert gmpx.go(sys.get_asyncgen_hooks).result(5) == (None, None)
    finally:
        gmpx.gomaxprocs(procs)


def test_a_loop_ends_after_the_patch(loops):
    async def undoes():
        gmpx.patch.undo("asyncio")
        await asyncio.sleep(0.001)
        return asyncio.get_running_loop() is not None

    def run():
        found = asyncio.run(undoes())
        gmpx.sleep(0.001)
        return found, asyncio._get_running_loop()

    assert gmpx.go(run).result(5) == (True, None)
    assert gmpx.go(run).result(5) == (True, None)           # as without the patch, one at a time


def test_asyncio_finds_its_c_code_when_it_is_imported_later():
    code = """
import gmpx.patch
gmpx.patch.all()
import asyncio, _asyncio
assert asyncio.Task is _asyncio.Task and asyncio.Future is _asyncio.Future
async def task():
    return asyncio.current_task()
assert isinstance(asyncio.run(task()), _asyncio.Task)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
