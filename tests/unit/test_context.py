"""contextvars: what a goroutine inherits, that it is a copy, that parking mixes nothing up."""

import contextvars
import weakref

import pytest

import gmpx

var = contextvars.ContextVar("var", default="default")
other = contextvars.ContextVar("other", default=None)


def test_a_goroutine_gets_the_spawners_values_of_the_time_of_go():
    token = var.set("at go")
    try:
        g = gmpx.go(var.get)
        h = gmpx.WaitGroup().go(var.get)
        s = gmpx.spawn(var.get)
        var.set("later")
        assert (g.result(), h.result(), s.result()) == ("at go",) * 3
    finally:
        var.reset(token)
    assert gmpx.go(var.get).result() == "default"


def test_what_a_goroutine_sets_nobody_else_sees(parked):
    c = gmpx.Chan()

    def body(value):
        before = var.get()
        var.set(value)
        c.recv()
        return before, var.get()

    gs = [gmpx.go(body, i) for i in range(20)]
    parked(*gs)
    assert var.get() == "default"
    for _ in gs:
        c.send(None)
    assert [g.result() for g in gs] == [("default", i) for i in range(20)]
    assert var.get() == "default"


def test_a_used_context_is_not_handed_on_to_the_next():
    # One worker runs these one after another; the second must not see what the first set.
    seen = []

    def body(i):
        seen.append(var.get())
        var.set(i)

    gs = [gmpx.go(body, i) for i in range(200)]
    for g in gs:
        g.join()
    assert seen == ["default"] * 200


def test_a_context_that_was_set_and_reset_or_kept_is_fresh_for_the_next():
    kept = []

    def body(i):
        assert var.get() == "default"
        token = var.set(i)
        var.reset(token)
        kept.append(contextvars.copy_context())

    for g in [gmpx.go(body, i) for i in range(50)]:
        g.result()
    assert all(var not in ctx for ctx in kept)


def test_children_inherit_through_generations():
    def generation(n):
        var.set(var.get() + str(n))
        return var.get() if n == 0 else gmpx.go(generation, n - 1).result()

    token = var.set("")
    try:
        assert gmpx.go(generation, 5).result() == "543210"
        assert var.get() == ""
    finally:
        var.reset(token)


def test_values_stay_with_their_goroutine_across_every_kind_of_park(in_thread):
    c, mu = gmpx.Chan(), gmpx.Mutex()

    def body(i):
        var.set(i)
        gmpx.gosched()
        assert var.get() == i
        gmpx.sleep(0.001)
        assert var.get() == i
        with mu:
            gmpx.gosched()
            assert var.get() == i
        c.send(i)
        assert gmpx.go(var.get).result() == i
        return var.get() == i

    gs = [gmpx.go(body, i) for i in range(20)]
    assert sorted(c.recv() for _ in gs) == list(range(20))
    assert all(g.result() for g in gs)
    assert var.get() == "default"
    thread = in_thread(lambda: (var.set("thread's"), gmpx.go(var.get).result()))
    assert thread.value()[1] == "thread's"


def test_main_keeps_its_values_while_others_run(parked):
    token = var.set("main's")
    try:
        for i in range(5):
            gmpx.go(var.set, i)
            gmpx.sleep(0.0005)
            gmpx.gosched()
            assert var.get() == "main's"
    finally:
        var.reset(token)


def test_a_token_resets_in_its_own_goroutine_only():
    def body():
        token = var.set(1)
        gmpx.gosched()
        var.reset(token)
        return var.get(), var.set(2)

    value, token = gmpx.go(body).result()
    assert value == "default"
    with pytest.raises(ValueError):
        var.reset(token)


def test_a_context_of_ones_own_is_entered_itself():
    ctx = contextvars.copy_context()
    ctx.run(var.set, "mine")

    def body():
        before = var.get()
        var.set("changed")
        gmpx.gosched()
        return before

    assert gmpx.spawn(body, context=ctx).result() == "mine"
    assert ctx[var] == "changed" and var.get() == "default"
    assert gmpx.spawn(body, context=ctx).result() == "changed"


def test_a_context_in_use_is_that_goroutines_error(parked):
    ctx = contextvars.copy_context()
    c = gmpx.Chan()
    holder = gmpx.spawn(c.recv, context=ctx)
    parked(holder)
    second = gmpx.spawn(int, context=ctx)
    assert type(second.exception()) is RuntimeError
    c.send(None)
    holder.join()
    assert gmpx.spawn(lambda: 7, context=ctx).result() == 7


def test_a_context_is_freed_with_its_goroutine():
    class Value:
        pass

    value = Value()
    ref = weakref.ref(value)
    token = other.set(value)
    g = gmpx.go(other.get)
    assert g.result() is value
    other.reset(token)
    del value, token, g
    for _ in range(2):  # the last snapshot is kept until the next spawn of another context
        gmpx.go(int).join()
    assert ref() is None


def test_callbacks_and_run_inside(hook):
    ctx = contextvars.copy_context()
    ctx.run(var.set, "inner")

    def body():
        def parks():
            gmpx.gosched()
            return var.get(), gmpx.go(var.get).result()

        return ctx.run(parks), var.get()

    gs = [gmpx.go(body)]
    assert gs[0].result() == (("inner", "inner"), "default")
    assert hook == []
