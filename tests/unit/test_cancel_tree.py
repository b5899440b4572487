"""The context module."""

import gc
import random
import threading
import time
import weakref

import pytest

import gmpx
from gmpx import Chan, Event, WouldBlock, context, go, select
from gmpx.context import (
    Canceled,
    DeadlineExceeded,
    after_func,
    background,
    with_cancel,
    with_deadline,
    with_timeout,
    with_value,
    without_cancel,
)


def live(ctx):
    with pytest.raises(WouldBlock):
        ctx.done().recv_nowait()
    return ctx.err() is None and ctx.cause() is None


def ended(ctx, kind=Canceled):
    assert ctx.done().closed and type(ctx.err()) is kind
    return True


def test_background():
    root = background()
    assert live(root) and root.deadline() is None and root.value("k") is None
    assert root is background()


def test_cancel():
    ctx, cancel = with_cancel(background())
    assert live(ctx)
    waits = [go(ctx.done().recv_ok) for _ in range(3)]
    cancel()
    cancel()
    assert ended(ctx) and isinstance(ctx.cause(), Canceled)
    assert [g.result() for g in waits] == [(None, False)] * 3
    assert select(ctx.done(), Chan()) == (0, None, False)


def test_causes_come_down():
    a, cancel_a = with_cancel(background())
    b, cancel_b = with_cancel(with_value(a, "k", "v"))
    c, _ = with_cancel(b)
    why = KeyError("why")
    cancel_b(why)
    assert b.cause() is c.cause() is why and live(a)
    cancel_a(ValueError("later"))
    assert b.cause() is why and ended(c)
    assert isinstance(a.cause(), ValueError)


def test_a_child_of_an_ended_parent_is_born_ended():
    a, cancel = with_cancel(background())
    cancel(KeyError())
    b, _ = with_timeout(a, 60)
    assert ended(b) and isinstance(b.cause(), KeyError)
    assert gmpx._core._n_timers() == 0


def test_children_end_siblings_and_parents_do_not():
    root, cancel_root = with_cancel(background())
    kids = [with_cancel(root) for _ in range(3)]
    kids[1][1]()
    assert ended(kids[1][0]) and live(kids[0][0]) and live(root)
    cancel_root()
    assert all(ended(k) for k, _ in kids)


def test_values():
    a = with_value(background(), "a", 1)
    b, _ = with_cancel(a)
    c = with_value(with_value(b, "c", 3), "a", 10)
    assert (c.value("a"), c.value("c"), b.value("a"), b.value("c")) == (10, 3, 1, None)
    assert c.done() is b.done()


def test_timeout_and_deadline():
    start = time.monotonic()
    ctx, cancel = with_timeout(background(), 0.005)
    assert abs(ctx.deadline() - start - 0.005) < 0.5 and live(ctx)
    kid, _ = with_cancel(ctx)
    assert kid.deadline() == ctx.deadline()
    ctx.done().recv_ok(timeout=60)
    assert time.monotonic() - start >= 0.005
    assert ended(ctx, DeadlineExceeded) and ended(kid, DeadlineExceeded)
    assert isinstance(ctx.err(), TimeoutError)
    cancel()
    assert ended(ctx, DeadlineExceeded)


def test_the_earlier_deadline_is_in_force():
    a, cancel = with_timeout(background(), 60)
    b, _ = with_timeout(a, 120)
    c, _ = with_timeout(a, 30)
    assert b.deadline() == a.deadline() > c.deadline()
    assert gmpx._core._n_timers() == 2
    cancel()
    assert ended(b) and ended(c) and gmpx._core._n_timers() == 0


def test_a_deadline_that_has_passed():
    ctx, _ = with_deadline(background(), time.monotonic() - 1)
    assert ended(ctx, DeadlineExceeded)
    ctx, _ = with_timeout(background(), 0)
    assert ended(ctx, DeadlineExceeded)


def test_an_ended_child_leaves_its_parent():
    root, cancel = with_cancel(background())
    refs = []
    for how in ("cancel", "expire"):
        for _ in range(50):
            ctx, end = with_timeout(root, 0.001 if how == "expire" else 60)
            refs.append(weakref.ref(ctx))
            if how == "cancel":
                end()
            else:
                ctx.done().recv_ok()
    del ctx, end
    while gmpx.num_goroutine() > 1:
        gmpx.gosched()
    gc.collect()
    assert not any(ref() for ref in refs)
    assert not root._children
    cancel()


def test_background_keeps_no_children():
    ctx, cancel = with_cancel(background())
    ref = weakref.ref(ctx)
    del ctx, cancel
    gc.collect()
    assert ref() is None


def test_100_000_children_and_a_chain_without_recursion():
    root, cancel = with_cancel(background())
    kids = [with_cancel(root)[0] for _ in range(100_000)]
    chain = [root]
    for _ in range(20_000):
        chain.append(with_cancel(chain[-1])[0])
    before = gmpx.num_goroutine()
    cancel()
    assert all(k._err is Canceled for k in kids) and ended(chain[-1])
    assert gmpx.num_goroutine() == before
    # and a deep chain is freed without it, too
    del chain, kids, root, cancel
    gc.collect()


def test_without_cancel():
    a, cancel = with_timeout(with_value(background(), "k", "v"), 60)
    b = without_cancel(a)
    c, _ = with_cancel(b)
    cancel()
    assert live(b) and live(c) and b.value("k") == "v" and b.deadline() is None


def test_after_func():
    ctx, cancel = with_cancel(background())
    seen, ran = [], Event()
    stop = after_func(ctx, ran.set)
    never = after_func(ctx, lambda: seen.append("never"))
    assert never() is True and never() is False
    assert not ran.is_set()
    cancel()
    ran.wait(timeout=60)
    assert stop() is False
    late = Event()
    after_func(ctx, late.set)
    late.wait(timeout=60)
    assert not seen


def test_from_threads():
    for seed in range(20):
        rng = random.Random(seed)
        root, cancel = with_cancel(background())
        made, stop = [], threading.Event()
        def make():
            while not stop.is_set() and len(made) < 2000:
                made.append(with_cancel(root)[0])
        t = threading.Thread(target=make)
        t.start()
        time.sleep(rng.random() * 0.002)
        cancel()
        stop.set()
        t.join()
        assert all(c.done().closed for c in made)


def test_bad_input():
    for make in (with_cancel, lambda c: with_timeout(c, 1), lambda c: with_value(c, 1, 2),
                 without_cancel, lambda c: after_func(c, print)):
        with pytest.raises(TypeError, match="must be a Context"):
            make(None)
    root = background()
    for bad, error in ((-1, ValueError), (float("nan"), ValueError), ("1", TypeError),
                       (None, TypeError)):
        with pytest.raises(error):
            with_timeout(root, bad)
    with pytest.raises(ValueError):
        with_value(root, None, 1)
    with pytest.raises(TypeError):
        with_deadline(root, None)
    with pytest.raises(TypeError, match="callable"):
        after_func(root, 3)
    with pytest.raises(TypeError, match="must be an exception"):
        with_cancel(root)[1]("why")
    with pytest.raises(TypeError):
        context.Context()
