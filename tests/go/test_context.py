"""What Go's context tests check (x_test.go, context_test.go, afterfunc_test.go), asked of gmpx.

Left out: TestTODO, TestAllocs, TestInvalidDerivedFail's nil, TestWithValueChecksKey (any object is a
key here), TestCustomContext* (a Context is no interface here), TestWithoutCancel (not offered).
"""

import pytest

import gmpx
from gmpx import context, go
from gmpx.context import (
    Canceled,
    DeadlineExceeded,
    background,
    with_cancel,
    with_deadline,
    with_timeout,
    with_value,
)


def ended(ctx):
    return gmpx.select(ctx.done(), block=False) == (0, None, False)


def check_ends(ctx, err):
    assert ctx.done().recv_ok(20) == (None, False)
    assert isinstance(ctx.err(), err)


def test_background():
    """TestBackground."""
    ctx = background()
    assert not ended(ctx) and ctx.err() is None and ctx.deadline() is None


def test_cancel():
    """TestWithCancel: once is enough, twice does no harm."""
    ctx, cancel = with_cancel(background())
    assert not ended(ctx) and ctx.err() is None
    for _ in range(2):
        cancel()
        assert ended(ctx) and isinstance(ctx.err(), Canceled)


def test_parent_ends_child():
    """TestParentFinishesChild: through contexts with values and deadlines in between."""
    parent, cancel = with_cancel(background())
    child, _ = with_cancel(parent)
    value = with_value(parent, "key", "value")
    below, _ = with_cancel(value)
    timed, stop = with_timeout(value, 3600)
    for ctx in (parent, child, value, below, timed):
        assert not ended(ctx)
    cancel()
    for ctx in (parent, child, value, below, timed):
        assert ended(ctx) and isinstance(ctx.err(), Canceled)
    late, _ = with_cancel(value)
    assert ended(late)
    stop()


def test_child_ends_alone():
    """TestChildFinishesFirst."""
    for parent, cancel_parent in ((background(), None), with_cancel(background())):
        child, cancel = with_cancel(parent)
        cancel()
        assert ended(child) and not ended(parent) and parent.err() is None
        if cancel_parent:
            cancel_parent()
            assert ended(parent)


def test_what_has_ended_leaves_its_parent():
    """TestCancelRemoves."""
    parent, cancel_parent = with_cancel(background())
    for make in (with_cancel, lambda p: with_timeout(p, 3600)):
        child, cancel = make(parent)
        assert len(parent._children) == 1
        cancel()
        assert len(parent._children) == 0
    stop = context.after_func(parent, lambda: None)
    assert len(parent._children) == 1
    stop()
    assert len(parent._children) == 0
    cancel_parent()


@pytest.mark.parametrize("how", ["deadline", "timeout", "outer", "past"])
def test_deadlines(how):
    """TestDeadline, TestTimeout."""
    import time

    if how == "deadline":
        ctx, cancel = with_deadline(background(), time.monotonic() + 0.005)
    elif how == "timeout":
        ctx, cancel = with_timeout(background(), 0.005)
    elif how == "outer":
        outer, cancel = with_timeout(background(), 0.005)
        ctx, _ = with_deadline(outer, time.monotonic() + 3600)
    else:
        ctx, cancel = with_deadline(background(), time.monotonic() - 1)
        assert ended(ctx)
    check_ends(ctx, DeadlineExceeded)
    cancel()
    assert isinstance(ctx.err(), DeadlineExceeded)


def test_cancelled_before_its_deadline():
    """TestCanceledTimeout."""
    ctx, cancel = with_timeout(background(), 3600)
    below, stop = with_timeout(ctx, 7200)
    cancel()
    check_ends(below, Canceled)
    stop()


def test_values():
    """TestValues: the innermost wins, equal keys of different types are different."""

    class Key:
        pass

    one, two = Key(), Key()
    c1 = with_value(background(), one, "c1")
    c2 = with_value(c1, two, "c2")
    c3 = with_value(c2, two, "c3")
    c4 = with_value(c3, one, None)
    below, cancel = with_cancel(c4)
    assert [c.value(one) for c in (background(), c1, c2, c3, c4)] == [None, "c1", "c1", "c1", None]
    assert [c.value(two) for c in (c1, c2, c3, below)] == [None, "c2", "c3", "c3"]
    cancel()
    assert below.value(two) == "c3"


def test_many_cancels_at_once():
    """TestSimultaneousCancels, TestInterlockedCancels."""
    root, cancel = with_cancel(background())
    todo, trees = [root], {root: cancel}
    while len(todo) < 50:
        for make in (with_cancel, with_cancel):
            ctx, stop = make(todo[len(trees) // 2 % len(todo)])
            trees[ctx] = stop
            todo.append(ctx)
    with gmpx.Group() as group:
        for stop in trees.values():
            group.go(stop)
    for ctx in trees:
        check_ends(ctx, Canceled)
    parent, cancel_parent = with_cancel(background())
    child, cancel_child = with_cancel(parent)
    go(lambda: (parent.done().recv_ok(), cancel_child()))
    cancel_parent()
    check_ends(child, Canceled)


@pytest.mark.parametrize("by_time", [False, True])
def test_layers(rng, by_time):
    """TestLayersCancel, TestLayersTimeout."""
    ctx, cancels, values = background(), [], []
    for n in range(100):
        kind = rng.randrange(3)
        if kind == 0:
            ctx = with_value(ctx, n, n)
            values.append(n)
        elif kind == 1:
            ctx, stop = with_cancel(ctx)
            cancels.append(stop)
        else:
            ctx, stop = with_timeout(ctx, 3600)
            cancels.append(stop)
    if by_time:
        ctx, stop = with_timeout(ctx, 0.002)
        cancels.append(stop)
    assert all(ctx.value(n) == n for n in values)
    assert ctx.err() is None or by_time
    if by_time:
        check_ends(ctx, DeadlineExceeded)
    else:
        rng.choice(cancels)()
        check_ends(ctx, Canceled) if ended(ctx) else cancels[0]()
        check_ends(ctx, Canceled)
    for stop in cancels:
        stop()
    assert all(ctx.value(n) == n for n in values)


def test_child_of_an_ended_parent():
    """TestWithCancelCanceledParent, TestWithCancelSimultaneouslyCanceledParent."""
    parent, cancel = with_cancel(background())
    cause = ValueError("because")
    cancel(cause)
    child, _ = with_cancel(parent)
    assert ended(child) and isinstance(child.err(), Canceled) and child.cause() is cause


def test_deadline_exceeded_is_a_timeout():
    """TestDeadlineExceededSupportsTimeout."""
    assert issubclass(DeadlineExceeded, TimeoutError)


def test_causes():
    """TestCause, TestCauseRace."""
    parent_cause, child_cause = ValueError("parent"), ValueError("child")
    parent, cancel_parent = with_cancel(background())
    child, cancel_child = with_cancel(parent)
    assert parent.cause() is None and background().cause() is None
    cancel_parent(parent_cause)
    cancel_child(child_cause)
    assert parent.cause() is child.cause() is parent_cause
    parent, cancel_parent = with_cancel(background())
    child, cancel_child = with_cancel(parent)
    cancel_child(child_cause)
    cancel_parent(parent_cause)
    assert child.cause() is child_cause and parent.cause() is parent_cause
    plain, cancel = with_cancel(background())
    cancel()
    assert isinstance(plain.cause(), Canceled)
    timed, cancel = with_timeout(background(), 0)
    cancel(ValueError("late"))
    assert isinstance(timed.cause(), DeadlineExceeded)


@pytest.mark.parametrize("when", ["cancel", "timeout", "ended"])
def test_after_func_is_called(when):
    """TestAfterFuncCalledAfterCancel, -AfterTimeout, -Immediately, -Asynchronously."""
    called = gmpx.Chan()
    ctx, cancel = with_timeout(background(), 0.002 if when == "timeout" else 3600)
    if when == "ended":
        cancel()
    stop = context.after_func(ctx, lambda: called.send(gmpx.current()))
    if when == "cancel":
        assert gmpx.select(called, block=False)[0] == -1
        cancel()
    assert called.recv(20) is not gmpx.current()
    assert stop() is False
    cancel()


def test_after_func_is_not_called_after_stop():
    """TestAfterFuncNotCalledAfterStop."""
    called = []
    ctx, cancel = with_cancel(background())
    stop = context.after_func(ctx, lambda: called.append(1))
    assert stop() is True and stop() is False
    cancel()
    gmpx.sleep(0.002)
    assert called == []


def test_err_is_set_once_done_is_closed():
    """TestContextErrDoneRace."""
    for _ in range(200):
        ctx, cancel = with_cancel(background())
        g = go(lambda ctx=ctx: (ctx.done().recv_ok(), ctx.err())[1])
        go(cancel)
        assert isinstance(g.result(20), Canceled)
