"""A worker's small first chunk of the data stack: Python code of any depth runs on it as elsewhere.

The tests go up and down through every depth about the first chunk's end and the second's, so that they
need not know where those are.
"""

import gc
import sys
import threading

import greenlet
import pytest

import gmpx
from gmpx import _core

DEPTHS = range(0, 240, 3)  # CPython's 16 KB hold some 120 of the frames below
SHALLOW = range(24)  # about the first chunk's end, frame by frame


def down(n, f):
    """Calls f below n frames; each frame has locals that must survive."""
    a, b = n, str(n)
    got = down(n - 1, f) if n else f()
    assert (a, b) == (n, str(n))
    return got


@pytest.mark.skipif(
    not (3, 11) <= sys.version_info[:2] <= (3, 14)
    or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="the old way",
)
def test_the_layout_is_the_known_one():
    assert _core._probe_datastack()
    assert gmpx.go(down, 5, _core._probe_datastack).result(), "and on a worker"


def test_calls_that_cross_the_end_again_and_again():
    def leaf(x, y=2):
        return x + y

    def body():
        return [down(n, lambda: sum(leaf(i) for i in range(20))) for n in DEPTHS]

    assert gmpx.go(body).result() == [sum(i + 2 for i in range(20))] * len(DEPTHS)


def test_goroutines_park_at_every_depth(parked):
    c = gmpx.Chan()
    gs = [gmpx.go(down, n, c.recv) for n in SHALLOW for _ in range(3)]
    parked(*gs)
    for i in range(len(gs)):
        c.send(i)
    assert sorted(g.result() for g in gs) == list(range(len(gs)))


def test_depths_that_change_between_parks():
    c, back = gmpx.Chan(), gmpx.Chan()

    def body(k):
        total = 0
        for n in (*DEPTHS, *reversed(DEPTHS)):
            back.send(k)
            total += down((n + k) % 240, c.recv)
            total += down(2, c.recv)
        return total

    gs = [gmpx.go(body, k) for k in range(7)]
    rounds = 2 * len(DEPTHS) * len(gs)

    def feed():
        for _ in range(2 * rounds):
            c.send(1)

    gmpx.go(feed)
    for _ in range(rounds):
        back.recv()
    assert sum(g.result() for g in gs) == 2 * rounds


def test_exceptions_unwind_across_the_end():
    def fail():
        raise KeyError("below")

    def body(n):
        try:
            down(n, fail)
        except KeyError as e:
            frames = 0
            tb = e.__traceback__
            while tb is not None:
                frames, tb = frames + 1, tb.tb_next
            return frames, down(n, lambda: n)

    for n in SHALLOW:
        assert gmpx.go(body, n).result() == (n + 3, n)


def test_an_exception_keeps_the_frames_of_a_goroutine_that_has_ended():
    def fail():
        kept = "local of the deepest"
        raise ValueError(kept)

    for n in SHALLOW:
        e = gmpx.go(down, n, fail).exception()
        for _ in range(3):
            gmpx.go(down, 30, int).result()  # what lay there is overwritten
        tb, seen = e.__traceback__, []
        while tb is not None:
            seen.append(tb.tb_frame.f_locals)
            tb = tb.tb_next
        assert seen[-1]["kept"] == "local of the deepest"
        assert [x["b"] for x in seen if "b" in x] == [str(i) for i in range(n, -1, -1)]


def test_generators_and_coroutines_outlive_the_goroutine_that_began_them():
    def numbers(n):
        for i in range(3):
            yield down(n, lambda: i)  # noqa: B023

    async def answer(n):
        return down(n, lambda: 42)

    def body(n):
        g = numbers(n)
        assert next(g) == 0
        return g, answer(n)

    for n in SHALLOW:
        g, coro = gmpx.go(body, n).result()
        assert gmpx.go(next, g).result() == 1
        assert next(g) == 2
        with pytest.raises(StopIteration) as end:
            coro.send(None)
        assert end.value.value == 42


def test_recursion_to_the_limit_and_again():
    def deep(n):
        return deep(n + 1)

    for _ in range(3):
        assert isinstance(gmpx.go(deep, 0).exception(), RecursionError)
        assert gmpx.go(down, 300, lambda: "ok").result() == "ok"


def test_a_frame_larger_than_a_chunk():
    names = ", ".join(f"v{i}" for i in range(3_000))  # 24 KB of locals
    scope = {}
    exec(f"def wide(f):\n    {names} = range(3000)\n    return f(), v0, v2999", scope)
    c = gmpx.Chan()
    for n in (0, 3, 6, 9):
        g = gmpx.go(down, n, lambda: scope["wide"](c.recv))
        gmpx.gosched()
        c.send("got")
        assert g.result() == ("got", 0, 2999)


def test_parked_goroutines_that_are_cancelled(parked):
    c = gmpx.Chan()
    gs = [gmpx.go(down, n, c.recv) for n in SHALLOW]
    parked(*gs)
    for g in gs:
        g.cancel()
    for g in gs:
        assert isinstance(g.exception(), gmpx.Cancelled)
    assert gmpx.go(down, 20, lambda: 1).result() == 1


@pytest.mark.in_order
def test_workers_killed_by_an_exception_thrown_into_their_greenlet(parked):
    c = gmpx.Chan()
    where = []

    def body(n):
        where.append(greenlet.getcurrent())
        down(n, c.recv)

    gs = [gmpx.go(body, n) for n in SHALLOW]
    parked(*gs)
    for gl in where:
        try:
            gl.throw(LookupError("killed"))
        except (LookupError, RuntimeError):
            pass
    for g in gs:
        g.cancel()
    for g in gs:
        assert g.exception() is not None
    del where[:], gl
    gc.collect()
    gs = [gmpx.go(down, n, c.recv) for n in DEPTHS]
    parked(*gs)
    for g in gs:
        c.send(1)
    assert [g.result() for g in gs] == [1] * len(gs)


def test_greenlets_of_the_users_own_on_a_worker(parked):
    c = gmpx.Chan()

    def body(n):
        first = down(n, lambda: greenlet.greenlet(lambda x: down(n, c.recv) + x).switch(100))
        return first + down(n, c.recv)

    gs = [gmpx.go(body, n) for n in SHALLOW]
    for _ in range(2):
        parked(*gs)
        for _ in gs:
            c.send(1)
    assert [g.result() for g in gs] == [102] * len(gs)


def test_a_greenlet_that_is_left_behind_suspended():
    def body(n):
        gl = greenlet.greenlet(lambda: down(n, greenlet.getcurrent().parent.switch))
        gl.switch()
        return n

    assert [gmpx.go(body, n).result() for n in SHALLOW] == list(SHALLOW)
    gc.collect()


def test_greenlets_own_trace_function_runs_before_the_worker_does(parked):
    # It gives a new greenlet its first chunk: the worker does without its own.
    c = gmpx.Chan()
    before = greenlet.settrace(lambda event, args: down(3, int))
    try:
        # more than have been idle
        gs = [gmpx.go(down, i % 20, c.recv) for i in range(600)]
        parked(*gs)
        for _ in gs:
            c.send(1)
        assert sum(g.result() for g in gs) == 600
    finally:
        greenlet.settrace(before)
    assert gmpx.go(down, 100, lambda: 1).result() == 1


def test_tracing_and_profiling_across_the_end():
    calls = []

    def trace(frame, event, arg):
        if frame.f_code is down.__code__ and event == "call":
            down_of_tracer(2)
            calls.append(frame.f_locals["n"])
        return trace

    def down_of_tracer(n):
        return down_of_tracer(n - 1) if n else None

    def body(n):
        sys.settrace(trace)
        try:
            return down(n, lambda: n)
        finally:
            sys.settrace(None)

    for n in SHALLOW:
        del calls[:]
        assert gmpx.go(body, n).result() == n
        assert calls == list(range(n, -1, -1))


def test_other_threads_beside():
    # Chunks go to the pool on one thread and come from it on another.
    bad = []

    def work():
        try:
            for n in DEPTHS:
                assert down(n, lambda: n) == n  # noqa: B023
                c = gmpx.Chan()
                g = gmpx.go(down, n % 30, c.recv)
                gmpx.gosched()
                c.send(n)
                assert g.result() == n
        except BaseException as e:
            bad.append(e)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    assert [gmpx.go(down, n, lambda: 1).result() for n in DEPTHS] == [1] * len(DEPTHS)
    for t in threads:
        gmpx.blocking(t.join)  # goroutines of theirs may have begun here
    assert not bad
