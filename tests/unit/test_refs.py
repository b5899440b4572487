"""Reference counts: what a goroutine held is freed when it ends, and nothing grows."""

import gc
import sys
import weakref

import pytest

import gmpx


class Thing:
    pass


def grows(turn, times=6):
    """Blocks that the last turns of many left behind."""
    sizes = []
    for _ in range(times):
        turn()
        gc.collect()
        sizes.append(sys.getallocatedblocks())
    return min(sizes[-2:]) - min(sizes[1:3])


@pytest.mark.parametrize("how", ["args", "kwargs", "function", "bound method", "closure"])
@pytest.mark.parametrize("keep", [True, False])
def test_what_it_was_called_with_is_freed_at_its_end(how, keep):
    thing = Thing()
    ref = weakref.ref(thing)
    freed = gmpx.Chan(1)
    weakref.finalize(thing, freed.send_nowait, "freed")
    if how == "args":
        g = gmpx.go(lambda t: None, thing)
    elif how == "kwargs":
        g = gmpx.go(lambda t: None, t=thing)
    elif how == "function":
        thing.__class__ = type("Callable", (Thing,), {"__call__": lambda self: None})
        g = gmpx.go(thing)
    elif how == "bound method":
        thing.__class__ = type("Bound", (Thing,), {"method": lambda self: None})
        g = gmpx.go(thing.method)
    else:
        g = gmpx.go(lambda t=thing: None)
    del thing
    assert ref() is not None, "while it is queued"
    if not keep:
        del g
    assert freed.recv(20) == "freed"
    assert ref() is None
    if keep:
        assert g.result() is None


def test_spawn_frees_its_arguments_too():
    thing = Thing()
    ref = weakref.ref(thing)
    g = gmpx.spawn(lambda t, k: None, (thing,), {"k": thing}, name="named")
    del thing
    g.join()
    assert ref() is None and g.name == "named"


def test_arguments_go_before_joiners_go_on():
    for _ in range(50):
        thing = Thing()
        ref = weakref.ref(thing)
        g = gmpx.go(id, thing)
        del thing
        g.join()
        assert ref() is None


def test_a_result_lives_as_long_as_the_handle_and_is_freed_with_it():
    g = gmpx.go(Thing)
    g.join()
    ref = weakref.ref(g.result())
    assert ref() is not None
    del g
    assert ref() is None


def test_a_result_that_nobody_can_ask_for_is_freed_at_once(until):
    refs = []

    def body():
        thing = Thing()
        refs.append(weakref.ref(thing))
        return thing

    gmpx.go(body)
    until(lambda: refs and refs[0]() is None)


def test_an_exception_and_its_frames_go_with_the_handle(hook):
    refs = []

    def body():
        thing = Thing()
        refs.append(weakref.ref(thing))
        raise ValueError

    g = gmpx.go(body)
    assert type(g.exception()) is ValueError
    assert refs[0]() is not None, "the traceback holds the frame"
    del g
    gc.collect()
    assert refs[0]() is None and hook == []


def test_a_cancelled_one_that_never_ran_frees_its_arguments():
    thing = Thing()
    ref = weakref.ref(thing)
    g = gmpx.go(id, thing)
    del thing
    g.cancel()
    g.join()
    assert ref() is None
    g.exception()


def test_a_cycle_through_the_result_is_collected():
    box = []
    g = gmpx.go(lambda: box)
    assert g.result() is box
    box.append(g)
    thing = Thing()
    box.append(thing)
    ref = weakref.ref(thing)
    del box, g, thing
    gc.collect()
    assert ref() is None


def test_a_cycle_through_a_stored_exception_is_collected(hook):
    class Failure(Exception):
        pass

    def body():
        raise failure

    failure = Failure()
    g = gmpx.go(body)
    failure.handle = g
    ref = weakref.ref(failure)
    assert g.exception() is failure
    del failure, g
    gc.collect()
    assert ref() is None and hook == []


def test_callbacks_are_freed_when_they_have_run():
    thing = Thing()
    ref = weakref.ref(thing)
    g = gmpx.go(int)
    g.add_done_callback(lambda h, t=thing: None)
    del thing
    assert ref() is not None
    g.join()
    gmpx.gosched()
    assert ref() is None


def test_a_handle_may_be_referenced_weakly():
    g = gmpx.go(int)
    ref = weakref.ref(g)
    assert ref() is g
    g.join()
    del g
    assert ref() is None
    assert gmpx.go(int).result() == 0


def test_what_a_goroutine_caught_is_not_kept_by_its_worker():
    # A worker runs one goroutine after another: the last exception must not stay with it.
    refs = []

    def body():
        thing = Thing()
        refs.append(weakref.ref(thing))
        try:
            raise ValueError(thing)
        except ValueError:
            gmpx.gosched()

    for g in [gmpx.go(body) for _ in range(20)]:
        g.join()
    gc.collect()
    assert not any(r() for r in refs)


@pytest.mark.in_order
def test_no_growth_over_200_000_spawns():
    def turn():
        wg = gmpx.WaitGroup()
        for i in range(40_000):
            wg.go(int)
        wg.wait()

    assert grows(turn, 5) < 400             # free lists: 64 a P, and how the Ps share them


@pytest.mark.in_order
@pytest.mark.parametrize("what", ["handles", "failures", "parks", "timeouts", "names", "contexts"])
def test_no_growth_whatever_the_goroutines_do(what, hook):
    import contextvars

    c = gmpx.Chan()
    var = contextvars.ContextVar("var")

    def fails():
        raise ValueError

    def waits():
        try:
            c.recv(0.0001)
        except TimeoutError:
            pass

    def spawn(i):
        if what == "handles":
            return gmpx.go(int)
        if what == "failures":
            return gmpx.go(fails)
        if what == "parks":
            return gmpx.go(gmpx.gosched)
        if what == "timeouts":
            return gmpx.go(waits)
        if what == "names":
            return gmpx.spawn(int, name=f"n {i}")
        return gmpx.go(var.set, i)

    def turn():
        gs = [spawn(i) for i in range(300)]
        for g in gs:
            g.exception()
            g.add_done_callback(id)

    assert grows(turn, 12) < 150
    assert hook == []


@pytest.mark.in_order
def test_a_finalizer_that_parks_as_a_handle_goes_holds_no_other_up(parked):
    # A depth that all goroutines shared stayed raised while it waited: past 50 of them no handle's
    # result was dropped any more.
    stop, alive = gmpx.Event(), []

    class Parks:
        def __del__(self):
            stop.wait()

    class Counted:
        def __init__(self):
            alive.append(1)

        def __del__(self):
            alive.pop()

    def drops():
        g = gmpx.go(Parks)
        g.join()
        del g

    gs = [gmpx.go(drops) for _ in range(60)]
    try:
        parked(*gs, reason="event")
        for _ in range(100):
            g = gmpx.go(Counted)
            g.join()
            assert len(alive) == 1
            del g
            assert not alive
    finally:
        stop.set()
    for g in gs:
        g.result()
