"""timeout and shield; cancel with a message."""

import threading

import pytest

import gmpx
from gmpx import Cancelled, Chan, Cond, Mutex, WaitGroup, go, select, shield, timeout


def until(g, reason):
    while g.wait_reason != reason:
        gmpx.gosched()
    return g


# ---- timeout ---------------------------------------------------------------------------------

def locked():
    m = Mutex()
    m.lock()
    return m


def cond_wait():
    c = Cond()
    with c:
        try:
            c.wait()
        finally:
            assert c.mutex.locked()


def busy():
    wg = WaitGroup()
    wg.add()
    wg.wait()


WAITS = {
    "recv": lambda: Chan().recv(),
    "iteration": lambda: list(Chan()),
    "send": lambda: Chan().send(1),
    "select": lambda: select(Chan(), (Chan(), 1)),
    "lock": lambda: locked().lock(),
    "sleep": lambda: gmpx.sleep(60),
    "WaitGroup": busy,
    "Cond": cond_wait,
    "Event": lambda: gmpx.Event().wait(),
    "Semaphore": lambda: gmpx.Semaphore(0).acquire(),
    "rlock": lambda: (lambda rw: (rw.lock(), rw.rlock()))(gmpx.RWMutex()),
    "join": lambda: go(gmpx.sleep, 0.05).join(),
    "with its own": lambda: Chan().recv(timeout=60),
}


@pytest.mark.parametrize("how", WAITS)
def test_it_interrupts_every_wait_present_or_next(how):
    for seconds in (0, 0.002):
        with pytest.raises(TimeoutError, match="timed out after"):
            with timeout(seconds) as t:
                WAITS[how]()
        assert t.expired


def test_a_block_that_waits_no_more_is_not_interrupted():
    with timeout(0) as t:
        pass
    assert t.expired
    with timeout(0.001) as t:
        c = Chan(1)
        c.send(1)
        c.recv()
    with timeout(None) as t:
        gmpx.sleep(0.001)
    assert not t.expired
    gmpx.sleep(0.003)


def test_gosched_is_interrupted():
    with pytest.raises(TimeoutError):
        with timeout(0.002):
            while True:
                gmpx.gosched()


def test_inside_it_is_a_cancelled():
    seen = []
    with pytest.raises(TimeoutError) as e:
        with timeout(0.001):
            try:
                Chan().recv()
            except Cancelled as inner:
                seen.append(inner)
                raise
    assert e.value.__cause__ is seen[0]


def test_it_interrupts_once_so_that_finally_may_wait():
    done = []
    with pytest.raises(TimeoutError):
        with timeout(0.001):
            try:
                Chan().recv()
            finally:
                gmpx.sleep(0.002)
                done.append(1)
    assert done


def test_other_errors_pass():
    with pytest.raises(KeyError):
        with timeout(0.001):
            try:
                Chan().recv()
            except Cancelled:
                raise KeyError from None


def test_swallowed_inside():
    with timeout(0.001) as t:
        try:
            Chan().recv()
        except Cancelled:
            pass
        gmpx.sleep(0.001)
    assert t.expired


def test_the_inner_one_first():
    order = []
    with timeout(60) as outer:
        try:
            with timeout(0.001):
                Chan().recv()
        except TimeoutError:
            order.append("inner")
        gmpx.sleep(0.001)
    assert order == ["inner"] and not outer.expired


def test_the_outer_one_first():
    with pytest.raises(TimeoutError, match="after 0.001 s"):
        with timeout(0.001):
            try:
                with timeout(60):
                    Chan().recv()
            except TimeoutError:
                pytest.fail("the inner one has time left")


def test_both_over_the_outer_one_wins():
    with pytest.raises(TimeoutError, match="after 0 s"):
        with timeout(0):
            try:
                with timeout(0.0):
                    Chan().recv()
            except TimeoutError:
                pytest.fail("inner")


def test_the_outer_one_over_after_the_inner():
    with pytest.raises(TimeoutError, match="after 0.01 s"):
        with timeout(0.01):
            with pytest.raises(TimeoutError, match="after 0.001 s"):
                with timeout(0.001):
                    Chan().recv()
            Chan().recv()


def test_a_cancel_wins():
    def work():
        with timeout(0.001):
            try:
                Chan().recv()
            finally:
                me.send(gmpx.current())
                go_on.recv()
    me, go_on = Chan(), Chan()
    g = go(work)
    me.recv()
    g.cancel("by hand")
    with pytest.raises(Cancelled, match="by hand"):
        g.result()

    def late():
        with timeout(0.001):
            try:
                Chan().recv()
            finally:
                gmpx.current().cancel()
    with pytest.raises(Cancelled):
        go(late).result()


def test_what_came_in_time_is_kept():
    c = Chan()
    for _ in range(200):
        go(c.send, "v")
        got = None
        try:
            with timeout(0.00005):
                got = c.recv()
        except TimeoutError:
            assert got is None
            assert c.recv() == "v"
        else:
            assert got == "v"


def test_in_a_foreign_thread():
    said = []
    def work():
        for seconds in (0, 0.003):
            try:
                with timeout(seconds):
                    Chan().recv()
            except TimeoutError as e:
                said.append(str(e))
    t = threading.Thread(target=work)
    t.start()
    t.join()
    assert said == ["timed out after 0 s", "timed out after 0.003 s"]


def test_reset():
    with timeout(0.001) as t:
        t.reset(60)
        gmpx.sleep(0.003)
        t.reset(None)
        gmpx.sleep(0.003)
        assert not t.expired
    with pytest.raises(TimeoutError):
        with timeout(60) as t:
            t.reset(0.001)
            Chan().recv()
    with pytest.raises(RuntimeError, match="not inside"):
        t.reset(1)


def test_bad_input():
    for bad, error in ((-1, ValueError), (float("nan"), ValueError), ("1", TypeError)):
        with pytest.raises(error):
            timeout(bad)
    with timeout(1) as t:
        with pytest.raises(RuntimeError, match="only once"):
            t.__enter__()
    with pytest.raises(RuntimeError, match="only once"):
        t.__enter__()
    with pytest.raises(RuntimeError, match="not entered"):
        t.__exit__(None, None, None)


def test_left_by_another_goroutine():
    t = timeout(60)
    def enter():
        t.__enter__()
        return t
    go(enter).join()
    with pytest.raises(RuntimeError, match="not entered"):
        t.__exit__(None, None, None)
    with timeout(60) as t:
        with pytest.raises(RuntimeError, match="by the goroutine that entered"):
            go(t.__exit__, None, None, None).result()


def test_a_goroutine_that_ends_inside_leaves_nothing():
    before = gmpx._core._n_timers()
    for _ in range(10):
        go(lambda: timeout(0.002).__enter__()).join()
    assert gmpx._core._n_timers() == before
    gmpx.sleep(0.004)


def test_not_in_the_order_of_entering():
    a, b = timeout(60), timeout(0.001)
    a.__enter__()
    b.__enter__()
    a.__exit__(None, None, None)
    with pytest.raises(TimeoutError):
        try:
            Chan().recv()
        except Cancelled as e:
            b.__exit__(type(e), e, None)


# ---- shield ----------------------------------------------------------------------------------

def test_a_cancel_comes_after_the_shield():
    log, c = [], Chan()
    def work():
        with shield():
            log.append(c.recv())
            with shield():
                log.append(c.recv())
            gmpx.gosched()
            log.append("inside")
        log.append("behind")
        gmpx.sleep(60)
    g = until(go(work), "chan receive")
    g.cancel("m")
    g.cancel()
    c.send(1)
    c.send(2)
    with pytest.raises(Cancelled, match="m"):
        g.result()
    assert log == [1, 2, "inside", "behind"]


def test_a_timeout_outside_waits_one_inside_does_not():
    log = []
    with pytest.raises(TimeoutError, match="after 0.002 s"):
        with timeout(0.002):
            with shield():
                with pytest.raises(TimeoutError, match="after 0.004 s"):
                    with timeout(0.004):
                        Chan().recv()
                gmpx.sleep(0.001)
                log.append("shielded")
            gmpx.sleep(60)
    assert log == ["shielded"]


def test_clean_up_that_waits():
    done = Chan(1)
    def work():
        try:
            gmpx.sleep(60)
        finally:
            with shield():
                gmpx.sleep(0.001)
                done.send("clean")
    g = until(go(work), "sleep")
    g.cancel()
    g.cancel()
    assert done.recv() == "clean"
    assert isinstance(g.exception(), Cancelled)


def test_cancel_message():
    g = until(go(gmpx.sleep, 60), "sleep")
    g.cancel("why")
    with pytest.raises(Cancelled) as e:
        g.result()
    assert e.value.args == ("why",)
    g = go(print)
    g.cancel(msg=("any", "thing"))
    with pytest.raises(Cancelled) as e:
        g.result()
    assert e.value.args == (("any", "thing"),)
    g = until(go(gmpx.sleep, 60), "sleep")
    g.cancel()
    assert g.exception().args == ()
