"""Group: what leaves it, what it waits for, what it cancels."""

import gc
import random
import sys

import pytest

import gmpx
from gmpx import Cancelled, Chan, Group, WaitGroup, go, shield, timeout
from gmpx._core import GroupCore

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup


def until(g, reason):
    while g.wait_reason != reason:
        gmpx.gosched()
    return g


def for_ever(log=None, name=None):
    try:
        Chan().recv()
    except Cancelled:
        if log is not None:
            log.append(name)
        raise


def fail(error, when=None):
    if when is not None:
        when.recv_ok()
    raise error


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = gmpx.num_goroutine()
    unread = []
    hook, gmpx.excepthook = gmpx.excepthook, lambda g, e: unread.append(e)
    yield
    gc.collect()
    gmpx.excepthook = hook
    assert gmpx.num_goroutine() == before
    assert not unread


@pytest.mark.parametrize("limit", [None, 2])
def test_leaving_waits_for_all(limit):
    log = []
    def child(n):
        gmpx.sleep(0.001 * n)
        log.append(n)
        return n
    with Group(limit) as grp:
        gs = [grp.go(child, n) for n in (3, 1, 2)]
        grp.go(lambda: grp.go(child, 4))            # from a child
    assert sorted(log) == [1, 2, 3, 4]
    assert [g.result() for g in gs] == [3, 1, 2]


@pytest.mark.parametrize("limit", [None, 10])
def test_the_first_failure_cancels_the_others_and_the_body(limit):
    log = []
    with pytest.raises(ExceptionGroup, match="unhandled errors in a Group") as e:
        with Group(limit) as grp:
            for n in range(5):
                grp.go(for_ever, log, n)
            never = grp.go(fail, KeyError("k"))
            for_ever(log, "body")
    assert log[-1] == "body" or sorted(map(str, log)) == ["0", "1", "2", "3", "4", "body"]
    assert [repr(x) for x in e.value.exceptions] == ["KeyError('k')"]
    assert never.done()


def test_each_exception_has_its_own_traceback():
    def deep():
        fail(ValueError("v"))
    with pytest.raises(ExceptionGroup) as e:
        with Group() as grp:
            grp.go(deep)
    frames, tb = [], e.value.exceptions[0].__traceback__
    while tb is not None:
        frames.append(tb.tb_frame.f_code.co_name)
        tb = tb.tb_next
    assert frames[-2:] == ["deep", "fail"]


def test_failures_while_being_cancelled_are_kept_in_order():
    def stubborn(n):
        try:
            for_ever()
        finally:
            raise IndexError(n)
    with pytest.raises(ExceptionGroup) as e:
        with Group() as grp:
            gs = [grp.go(stubborn, n) for n in range(3)]
            for g in gs:
                until(g, "chan receive")
            grp.go(fail, KeyError("first"))
    kinds = [type(x) for x in e.value.exceptions]
    assert kinds == [KeyError, IndexError, IndexError, IndexError]


def test_a_body_that_raises():
    log = []
    with pytest.raises(ExceptionGroup) as e:
        with Group() as grp:
            until(grp.go(for_ever, log, "child"), "chan receive")
            raise ValueError("body")
    assert [repr(x) for x in e.value.exceptions] == ["ValueError('body')"] and log == ["child"]
    with pytest.raises(ExceptionGroup) as e:
        with Group() as grp:
            g = grp.go(fail, KeyError("child"))
            try:
                g.join()
            except Cancelled:
                raise ValueError("body") from None
    assert [type(x) for x in e.value.exceptions] == [ValueError, KeyError]


def test_what_is_no_exception_makes_a_base_exception_group():
    class Odd(BaseException):
        pass
    with pytest.raises(BaseExceptionGroup) as e:
        with Group() as grp:
            grp.go(fail, Odd())
    assert not isinstance(e.value, ExceptionGroup)


@pytest.mark.parametrize("passing", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_program_passes_as_it_is(passing):
    log = []
    with pytest.raises(passing):
        with Group() as grp:
            until(grp.go(for_ever, log, "child"), "chan receive")
            raise passing
    assert log == ["child"]
    def fails_last():
        try:
            for_ever()
        finally:
            raise KeyError
    with pytest.raises(BaseExceptionGroup) as e:
        with Group() as grp:
            until(grp.go(fails_last), "chan receive")
            raise passing
    assert [type(x) for x in e.value.exceptions] == [KeyError, passing]


def test_goexit_in_the_body():
    log = []
    def work():
        with Group() as grp:
            until(grp.go(for_ever, log, "child"), "chan receive")
            gmpx.goexit()
    g = go(work)
    assert g.result() is None and log == ["child"]


# ---- from outside ----------------------------------------------------------------------------

@pytest.mark.parametrize("where", ["body", "exit"])
def test_cancelled_from_outside(where):
    log, ready = [], Chan()
    def work():
        with Group() as grp:
            until(grp.go(for_ever, log, "child"), "chan receive")
            ready.send(None)
            if where == "body":
                gmpx.sleep(60)
        log.append("never")
    g = go(work)
    ready.recv()
    gmpx.gosched()
    g.cancel("from outside")
    with pytest.raises(Cancelled, match="from outside"):
        g.result()
    assert log == ["child"]


@pytest.mark.parametrize("where", ["body", "exit"])
def test_a_timeout_around_it(where):
    log = []
    with pytest.raises(TimeoutError):
        with timeout(0.003):
            with Group() as grp:
                grp.go(for_ever, log, "child")
                if where == "body":
                    gmpx.sleep(60)
            log.append("never")
    assert log == ["child"]


def test_a_timeout_inside_the_body():
    with Group() as grp:
        g = grp.go(gmpx.sleep, 0.004)
        with pytest.raises(TimeoutError):
            with timeout(0.001):
                gmpx.sleep(60)
    assert g.exception() is None


def test_a_cancel_is_not_lost_behind_a_failure():
    ready, go_on = Chan(), Chan()
    def work():
        try:
            with Group() as grp:
                until(grp.go(fail, KeyError(), go_on), "chan receive")
                with shield():
                    ready.send(None)
                    go_on.recv_ok()
        except ExceptionGroup as e:
            kinds.extend(type(x) for x in e.exceptions)
        gmpx.sleep(60)
    kinds = []
    g = go(work)
    ready.recv()
    g.cancel()
    go_on.close()
    with pytest.raises(Cancelled):
        g.result()
    assert kinds == [KeyError]


def test_children_that_take_their_time_to_clean_up_are_waited_for():
    log = []
    def slow():
        try:
            for_ever()
        finally:
            with shield():
                gmpx.sleep(0.003)
            log.append("clean")
    with pytest.raises(ExceptionGroup):
        with Group() as grp:
            until(grp.go(slow), "chan receive")
            raise KeyError
    assert log == ["clean"]


# ---- cancel, nesting -------------------------------------------------------------------------

def test_cancel_is_no_error():
    log = []
    with Group() as grp:
        for n in range(3):
            until(grp.go(for_ever, log, n), "chan receive")
        grp.cancel()
        g = grp.go(log.append, "late: never runs")
        gmpx.sleep(60)
    assert sorted(log) == [0, 1, 2]
    with pytest.raises(Cancelled):
        g.result()
    with Group() as grp:
        grp.go(grp.cancel)
        grp.go(for_ever)
    with Group() as grp:
        grp.cancel()


def test_a_child_that_was_cancelled_alone_is_no_failure():
    with Group() as grp:
        a = until(grp.go(for_ever), "chan receive")
        b = grp.go(gmpx.sleep, 0.002)
        a.cancel()
    assert b.exception() is None and isinstance(a.exception(), Cancelled)


def test_nested():
    log = []
    def inner():
        with Group() as grp:
            grp.go(for_ever, log, "inner child")
            grp.go(fail, KeyError("inner"))
    with pytest.raises(ExceptionGroup) as e:
        with Group() as grp:
            grp.go(for_ever, log, "outer child")
            gmpx.gosched()
            grp.go(inner)
    (only,) = e.value.exceptions
    assert isinstance(only, ExceptionGroup) and type(only.exceptions[0]) is KeyError
    assert set(log) <= {"inner child", "outer child"}
    with pytest.raises(ExceptionGroup) as e:
        with Group() as outer:
            with Group() as inside:
                inside.go(for_ever)
                outer.go(fail, ValueError())
    assert [type(x) for x in e.value.exceptions] == [ValueError]


# ---- limit -----------------------------------------------------------------------------------

def test_limit_bounds_and_parks():
    now, most, log = [0], [0], []
    def child(n):
        now[0] += 1
        most[0] = max(most[0], now[0])
        gmpx.sleep(0.0005)
        now[0] -= 1
        log.append(n)
    with Group(3) as grp:
        for n in range(20):
            grp.go(child, n)
            assert n - len(log) <= 3
    assert most == [3] and sorted(log) == list(range(20))


def test_limit_with_a_failure_while_the_body_waits_for_room():
    with pytest.raises(ExceptionGroup) as e:
        with Group(1) as grp:
            stop = Chan()
            grp.go(fail, KeyError(), stop)
            go(stop.close)
            grp.go(print, "never")
            gmpx.sleep(60)
    assert [type(x) for x in e.value.exceptions] == [KeyError]


def test_a_child_that_never_ran_gives_its_place_back():
    with Group(1) as grp:
        grp.go(int).cancel()
        assert grp.go(int, "7").result() == 7


def test_bad_input():
    for bad, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error):
            Group(bad)
    for limit in (None, 2):
        grp = Group(limit)
        with pytest.raises(RuntimeError, match="outside"):
            grp.go(int)
        with grp:
            with pytest.raises(TypeError):
                grp.go(3)
            with pytest.raises(TypeError):
                grp.go()
        with pytest.raises(RuntimeError, match="outside"):
            grp.go(int)
        with pytest.raises(RuntimeError, match="only once"):
            grp.__enter__()


# ---- many ------------------------------------------------------------------------------------

def test_handles_are_not_kept():
    with Group() as grp:
        for _ in range(3):
            for _ in range(2000):
                grp.go(int)
            gmpx.sleep(0.001)
        while gmpx.num_goroutine() > 1:
            gmpx.gosched()
        gc.collect()
        assert sum(type(o) is gmpx.Goroutine and not o.done() for o in gc.get_objects()) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_trees_of_groups(seed):
    rng = random.Random(seed)
    started, ended = [], []

    def node(depth):
        started.append(1)
        try:
            gmpx.sleep(rng.random() * 0.001)
            if rng.random() < 0.05:
                raise KeyError(depth)
            if depth:
                with Group(rng.choice((None, None, 2))) as grp:
                    for _ in range(3):
                        grp.go(node, depth - 1)
                    gmpx.sleep(rng.random() * 0.001)
        finally:
            ended.append(1)
    try:
        with timeout(rng.choice((0.002, 0.01, 60))):
            node(4)
    except (ExceptionGroup, KeyError, TimeoutError):
        pass
    assert len(started) == len(ended) > 0


def test_from_a_foreign_thread_and_with_a_wait_group_inside():
    import threading
    out = []
    def work():
        with Group() as grp:
            wg = WaitGroup()
            for n in range(10):
                grp.go(wg.go, out.append, n)
        wg.wait()
        try:
            with Group() as grp:
                grp.go(fail, KeyError())
                for_ever()
        except ExceptionGroup as e:
            out.append(type(e.exceptions[0]))
    t = threading.Thread(target=work)
    t.start()
    while t.is_alive():
        gmpx.sleep(0.001)
    assert sorted(out[:-1]) == list(range(10)) and out[-1] is KeyError


def test_a_cancel_of_main_waits_for_the_failures(parked):
    main = gmpx.current()
    with pytest.raises(ExceptionGroup) as caught:
        with Group() as group:
            parked(group.go(fail_on_cancel, KeyError("child")))  # else it would never run
            go(main.cancel, "outer")
            Chan().recv()
    assert [type(e) for e in caught.value.exceptions] == [KeyError]
    with pytest.raises(Cancelled, match="outer"):
        gmpx.sleep(0.001)


def fail_on_cancel(error):
    try:
        Chan().recv()
    except Cancelled:
        raise error from None


@pytest.mark.parametrize("seed", range(20))
def test_a_cancel_reaches_the_groups_own_children_and_no_others(seed):
    # Groups, their ends and strangers in any order: the stretch of each in the list of all holds.
    rng = random.Random(seed)
    cores = [GroupCore() for _ in range(4)]
    for core in cores:
        core.enter()
    living = [{} for _ in cores]
    strangers = {}
    for _ in range(300):
        k = rng.randrange(5)
        if k == 4:
            own = gmpx.Event()
            strangers[go(own.wait)] = own
        elif rng.random() < 0.6 or not living[k]:
            own = gmpx.Event()
            living[k][cores[k].go(own.wait)] = own
        else:
            g = rng.choice(list(living[k]))
            living[k].pop(g).set()
            assert g.result() is True
    for core in cores:
        core.leave(None)  # so that no cancel is main's, too
    for k, core in enumerate(cores):
        core.cancel()
        for g in living[k]:
            assert type(g.exception()) is Cancelled
        core.wait_all()
        assert not any(g.done() for children in living[k + 1 :] for g in children)
    assert all(g.status != "dead" for g in strangers)
    for g, own in strangers.items():
        own.set()
        assert g.result() is True
