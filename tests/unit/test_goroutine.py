"""Handles: identity, state, result, exception, join, goexit, the list of all."""

import gc
import io
import sys
import threading
import time
import traceback

import pytest

import gmpx


def boom(text="boom"):
    raise ValueError(text)


# ---- identity and state ---------------------------------------------------------------------


def test_main_goroutine_is_number_one_and_running():
    main = gmpx.current()
    assert (main.id, main.name, main.status, main.wait_reason) == (1, "main", "running", "")
    assert main.parent_id == 0
    assert not main.done()
    assert gmpx.current() is main


def test_ids_are_unique_ints_and_never_reused():
    seen = set()
    for _ in range(3):
        handles = [gmpx.go(int) for _ in range(500)]
        ids = [g.id for g in handles]
        for g in handles:
            g.join()
        del handles
        assert all(type(i) is int and i > 1 for i in ids)
        assert len(set(ids)) == 500 and seen.isdisjoint(ids)
        seen.update(ids)


def test_parent_id_is_the_spawner():
    child = []
    g = gmpx.go(lambda: child.append(gmpx.go(int)))
    g.join()
    assert g.parent_id == 1
    assert child[0].parent_id == g.id
    child[0].join()
    assert child[0].parent_id == g.id


def test_current_is_the_handle_itself_within_and_without():
    g = gmpx.go(gmpx.current)
    assert g.result() is g


@pytest.mark.in_order
def test_status_follows_a_life(parked):
    c = gmpx.Chan()
    seen = []

    def body():
        seen.append((gmpx.current().status, gmpx.current().wait_reason))
        c.recv()

    g = gmpx.go(body)
    assert (g.status, g.wait_reason, g.done()) == ("runnable", "", False)
    parked(g)
    assert (g.status, g.wait_reason, g.done()) == ("waiting", "chan receive", False)
    c.send(None)
    g.join()
    assert (g.status, g.wait_reason, g.done()) == ("dead", "", True)
    assert seen == [("running", "")]


@pytest.mark.parametrize(
    "reason", ["chan receive", "chan send", "sleep", "sync.Mutex.Lock", "sync.WaitGroup.Wait"]
)
def test_wait_reason_is_in_gos_words(reason, parked):
    c, mu, wg = gmpx.Chan(), gmpx.Mutex(), gmpx.WaitGroup()
    mu.lock()
    wg.add()
    bodies = {
        "chan receive": (c.recv, lambda: c.send(1)),
        "chan send": (lambda: c.send(1), c.recv),
        "sleep": (lambda: gmpx.sleep(0.05), lambda: None),
        "sync.Mutex.Lock": (mu.lock, mu.unlock),
        "sync.WaitGroup.Wait": (wg.wait, wg.done),
    }
    wait, release = bodies[reason]
    g = gmpx.go(wait)
    parked(g, reason=reason)
    release()
    g.join()
    assert g.wait_reason == ""


def test_name_defaults_to_the_qualified_name():
    class Callable:
        def __call__(self):
            pass

        def method(self):
            pass

    for fn, name in [
        (boom, "boom"),
        (Callable().method, Callable.method.__qualname__),
        (Callable(), Callable.__qualname__),
        (int, "int"),
        (len, "len"),
    ]:
        g = gmpx.go(fn)
        assert g.name == name
        assert g.exception() is None or True
        assert g.name == name, "the name outlives the function"


def test_name_is_settable_and_must_be_a_str():
    g = gmpx.go(int)
    g.name = "worker 1"
    assert g.name == "worker 1" and "worker 1" in repr(g)
    for bad in (None, 1, b"x"):
        with pytest.raises(TypeError):
            g.name = bad
    with pytest.raises((AttributeError, NotImplementedError)):
        del g.name
    assert g.name == "worker 1"
    g.join()
    assert g.name == "worker 1"
    g.name = "ended"
    assert g.name == "ended"


def test_a_name_of_a_class_of_its_own_becomes_a_plain_str():
    class Name(str):
        def __repr__(self):
            raise AssertionError

    g = gmpx.spawn(int, name=Name("given"))
    assert type(g.name) is str and g.name == "given" and "given" in repr(g)
    g.name = Name("set")
    assert type(g.name) is str and g.name == "set"
    assert g.result() == 0


def test_a_spawn_that_raises_leaves_no_goroutine():
    # One that was made before a late check failed lived on, queued nowhere: shutdown waited for it.
    def raises():
        raise ZeroDivisionError
        yield

    before = gmpx.num_goroutine()
    for args, options in [
        ((None,), {}),
        ((int, 5), {}),
        ((int, raises()), {}),
        ((int, (), 5), {}),
        ((int, ()), {"name": 5}),
        ((int, ()), {"name": b"x"}),
        ((int, ()), {"context": {}}),
    ]:
        with pytest.raises((TypeError, ZeroDivisionError)):
            gmpx.spawn(*args, **options)
        assert gmpx.num_goroutine() == before, (args, options)
    gmpx.shutdown(20)


def test_handles_are_only_made_by_go():
    with pytest.raises(TypeError):
        gmpx.Goroutine()
    for name in ("id", "parent_id", "status", "wait_reason"):
        with pytest.raises(AttributeError):
            setattr(gmpx.current(), name, 1)


# ---- result, exception, join ----------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0, "text", [1], ValueError("a value, not raised")])
def test_result_is_the_very_object(value):
    g = gmpx.go(lambda: value)
    assert g.result() is value
    assert g.result() is value, "may be asked again"
    assert g.exception() is None
    assert g.join() is None


def test_result_raises_with_the_goroutines_own_traceback():
    def inner():
        boom()

    g = gmpx.go(inner)
    for _ in range(3):
        with pytest.raises(ValueError, match="boom") as caught:
            g.result()
        names = [f.name for f in traceback.extract_tb(caught.tb)]
        assert names[-2:] == ["inner", "boom"]
        assert names.count("boom") == 1, "asking again must not pile up frames"
    assert len(names) < 6


def test_exception_returns_the_object_and_join_raises_nothing(hook):
    g = gmpx.go(boom, "once")
    assert g.join() is None
    exc = g.exception()
    assert type(exc) is ValueError and exc.args == ("once",)
    assert g.exception() is exc
    with pytest.raises(ValueError) as caught:
        g.result()
    assert caught.value is exc
    del g
    gc.collect()
    assert hook == [], "it was read"


def test_cause_and_context_are_kept():
    def body():
        try:
            boom("first")
        except ValueError as exc:
            raise KeyError("second") from exc

    exc = gmpx.go(body).exception()
    assert type(exc) is KeyError
    assert exc.__cause__.args == ("first",)


def test_an_exception_being_handled_by_the_caller_is_not_the_goroutines_context():
    try:
        boom("the caller's")
    except ValueError:
        exc = gmpx.go(boom, "its own").exception()
    assert exc.__context__ is None


def test_exc_info_is_the_goroutines_own(parked):
    c = gmpx.Chan()
    seen = []

    def handler(text):
        try:
            boom(text)
        except ValueError:
            c.recv()
            seen.append((text, str(sys.exc_info()[1])))
        seen.append(sys.exc_info())

    gs = [gmpx.go(handler, text) for text in ("a", "b")]
    parked(*gs)
    assert sys.exc_info() == (None, None, None)
    for _ in gs:
        c.send(None)
    for g in gs:
        g.result()
    nothing = (None, None, None)
    assert sorted(s for s in seen if s != nothing) == [("a", "a"), ("b", "b")]
    assert len(seen) == 4 and seen.count(nothing) == 2


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_base_exceptions_are_stored_like_others(exc):
    def body():
        raise exc

    g = gmpx.go(body)
    assert g.exception() is exc
    with pytest.raises(type(exc)):
        g.result()
    assert gmpx.go(lambda: 1).result() == 1


@pytest.mark.parametrize("wait", ["join", "result", "exception"])
def test_waits_time_out_and_the_goroutine_goes_on(wait, parked):
    c = gmpx.Chan()
    g = gmpx.go(c.recv)
    with pytest.raises(TimeoutError):
        getattr(g, wait)(0)
    parked(g)
    for timeout in (0, 0.0, -0.0, 1e-9, 0.001):
        with pytest.raises(TimeoutError):
            getattr(g, wait)(timeout)
        with pytest.raises(TimeoutError):
            getattr(g, wait)(timeout=timeout)
    assert not g.done()
    c.send("v")
    assert getattr(g, wait)(None) == ("v" if wait == "result" else None)
    assert getattr(g, wait)(0) == ("v" if wait == "result" else None), "0 looks once"


@pytest.mark.parametrize("wait", ["join", "result", "exception"])
@pytest.mark.parametrize("state", ["alive", "dead"])
def test_waits_refuse_bad_timeouts_and_stay_usable(wait, state):
    c = gmpx.Chan()
    g = gmpx.go(c.recv)
    if state == "dead":
        c.send(5)
        g.join()
    for bad, error in [
        (-1, ValueError),
        (-1e-9, ValueError),
        (float("nan"), ValueError),
        (float("-inf"), ValueError),
        ("1", TypeError),
        ([], TypeError),
    ]:
        with pytest.raises(error):
            getattr(g, wait)(bad)
    if state == "alive":
        c.send(5)
    assert g.result() == 5


def test_an_endless_timeout_is_for_ever():
    for endless in (float("inf"), 1e300, 10**12):
        assert gmpx.go(lambda: 7).result(endless) == 7


def test_a_timeout_error_of_the_function_is_not_one_of_the_wait():
    def body():
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        gmpx.go(body).result(5)


def test_many_joiners_all_go_on(parked):
    c = gmpx.Chan()
    g = gmpx.go(c.recv)
    joiners = [gmpx.go(g.result) for _ in range(50)]
    parked(*joiners, reason="goroutine join")
    c.send("v")
    assert [j.result() for j in joiners] == ["v"] * 50


def test_a_joiner_that_timed_out_leaves_no_trace(parked):
    c = gmpx.Chan()
    g = gmpx.go(c.recv)
    for _ in range(100):
        with pytest.raises(TimeoutError):
            g.join(1e-6)
    other = gmpx.go(g.join)
    parked(other)
    c.send(1)
    other.result()
    # a stale wake-up would end this sleep of main's early
    with pytest.raises(TimeoutError):
        gmpx.Chan().recv(0.01)


def test_joining_oneself_is_an_error():
    g = gmpx.go(lambda: gmpx.current().join())
    assert type(g.exception()) is RuntimeError
    with pytest.raises(RuntimeError):
        gmpx.current().join()


def test_a_chain_of_joins_of_a_thousand():
    def link(n):
        return 0 if n == 0 else 1 + gmpx.go(link, n - 1).result()

    assert gmpx.go(link, 1000).result() == 1000


# ---- goexit ---------------------------------------------------------------------------------


def test_goexit_runs_finally_blocks_and_the_result_is_none(hook):
    seen = []

    def inner():
        try:
            gmpx.goexit()
        finally:
            seen.append("inner")

    def body():
        try:
            inner()
        except Exception:
            seen.append("caught")
        finally:
            seen.append("outer")
        seen.append("after")

    g = gmpx.go(body)
    assert g.result() is None and g.exception() is None
    assert seen == ["inner", "outer"]
    del g
    gmpx.go(gmpx.goexit)
    gmpx.go(int).join()
    assert hook == []


def test_goexit_in_a_finally_that_parks(parked):
    c = gmpx.Chan()
    seen = []

    def body():
        try:
            gmpx.goexit()
        finally:
            seen.append(c.recv())

    g = gmpx.go(body)
    parked(g)
    c.send("cleaned")
    assert g.result() is None
    assert seen == ["cleaned"]


def test_goexit_is_an_error_on_main_and_foreign_threads(in_thread):
    with pytest.raises(RuntimeError):
        gmpx.goexit()
    thread = in_thread(gmpx.goexit)
    with pytest.raises(RuntimeError):
        thread.value()
    assert gmpx.go(lambda: 1).result() == 1


# ---- the list -------------------------------------------------------------------------------


def test_goroutines_lists_exactly_the_live_ones(parked):
    before = gmpx.num_goroutine()
    c = gmpx.Chan()
    gs = [gmpx.go(c.recv) for _ in range(10)]
    assert gmpx.num_goroutine() == before + 10
    parked(*gs)
    listed = gmpx.goroutines()
    assert listed[0] is gmpx.current()
    assert {g.id for g in listed} >= {g.id for g in gs}
    assert len(listed) == gmpx.num_goroutine() == before + 10
    c.close()
    for g in gs:
        assert type(g.exception()) is gmpx.ChannelClosed
    assert gmpx.num_goroutine() == before
    assert not {g.id for g in gmpx.goroutines()} & {g.id for g in gs}


@pytest.mark.in_order
def test_stack_shows_where_a_parked_goroutine_stands(parked):
    c = gmpx.Chan()

    def waits_here():
        c.recv()

    g = gmpx.go(lambda: waits_here())
    assert len(g.stack()) == 0
    parked(g)
    stack = g.stack()
    assert isinstance(stack, traceback.StackSummary)
    assert "waits_here" in [f.name for f in stack]
    c.send(None)
    g.join()
    assert len(g.stack()) == 0
    assert "test_stack_shows_where_a_parked_goroutine_stands" in [
        f.name for f in gmpx.current().stack()
    ]


def test_a_stack_has_its_oldest_frame_first_as_a_traceback_has(parked):
    c = gmpx.Chan()

    def inner():
        c.recv()

    def outer():
        inner()

    g = gmpx.go(outer)
    parked(g)
    assert [f.name for f in g.stack()] == ["outer", "inner"]
    text = io.StringIO()
    gmpx.dump(text)
    dumped = text.getvalue()
    assert dumped.rindex("outer\n") < dumped.index("inner\n")
    c.send(None)
    g.join()

    def here():
        own = [f.name for f in gmpx.current().stack()]
        assert own == [f.name for f in traceback.extract_stack()]
        assert own[-1] == "here"

    here()
    gmpx.go(here).result()


def test_gosched_and_current_are_usable_before_any_spawn_in_a_new_thread(in_thread):
    def body():
        gmpx.gosched()
        return gmpx.current().name, gmpx.current() is gmpx.current()

    name, same = in_thread(body).value()
    assert name.startswith("thread ") and same
    assert threading.current_thread() is threading.main_thread()


# ---- cancel of what the runtime has not started ----------------------------------------------


def test_main_is_cancelled_in_its_wait(until):
    main, c = gmpx.current(), gmpx.Chan()

    def ask():
        until(lambda: main.wait_reason == "chan receive")
        return main.cancel("stop"), main.cancel("stop")

    g = gmpx.go(ask)
    with pytest.raises(gmpx.Cancelled, match="stop"):
        c.recv()
    assert g.result() == (True, True)
    with pytest.raises(gmpx.WouldBlock):
        c.send_nowait("nobody waits any more")
    gmpx.sleep(0.001)  # delivered once


def test_main_is_cancelled_from_a_thread(until, in_thread):
    main = gmpx.current()

    def ask():
        while main.wait_reason != "chan receive":
            time.sleep(0)
        return main.cancel()

    thread = in_thread(ask)
    with pytest.raises(gmpx.Cancelled):
        gmpx.Chan().recv()
    assert thread.value() is True


@pytest.mark.parametrize("wait", [lambda: gmpx.sleep(60), lambda: gmpx.sleep(0), gmpx.gosched])
def test_main_cancels_itself(wait):
    assert gmpx.current().cancel("me") is True
    with gmpx.shield():
        gmpx.sleep(0.001)
    with pytest.raises(gmpx.Cancelled, match="me"):
        wait()
    gmpx.gosched()


def test_a_thread_is_cancelled_in_its_wait(until, in_thread):
    own, c = [], gmpx.Chan()

    def body():
        own.append(gmpx.current())
        with pytest.raises(gmpx.Cancelled, match="stop"):
            c.recv()
        gmpx.sleep(0.001)
        return gmpx.go(int).result()

    thread = in_thread(body)
    until(lambda: own and own[0].wait_reason == "chan receive")
    assert own[0].cancel("stop") is True
    assert thread.value() == 0
    assert own[0].cancel() is False, "the thread has ended"
    with pytest.raises(gmpx.WouldBlock):
        c.send_nowait("nobody waits any more")


@pytest.mark.parametrize(
    "wait",
    [lambda: gmpx.sleep(60), lambda: gmpx.sleep(0), gmpx.gosched, lambda: gmpx.blocking(int)],
    ids=["sleep", "sleep(0)", "gosched", "blocking"],
)
def test_a_thread_is_cancelled_before_its_wait(wait, in_thread):
    def body():
        assert gmpx.current().cancel() is True
        with gmpx.shield():
            gmpx.gosched()
        with pytest.raises(gmpx.Cancelled):
            wait()
        gmpx.gosched()

    in_thread(body).value()


def test_shutdown_leaves_main_and_threads_alone(until, in_thread):
    own, c = [], gmpx.Chan()

    def body():
        own.append(gmpx.current())
        return c.recv()

    thread = in_thread(body)
    until(lambda: own and own[0].wait_reason == "chan receive")
    gmpx.shutdown(20)
    gmpx.sleep(0.001)
    assert own[0].wait_reason == "chan receive"
    c.send(7)
    assert thread.value() == 7
