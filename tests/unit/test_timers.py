"""Timer, Ticker, after, after_func."""

import contextvars
import gc
import random
import sys
import threading
import time
import weakref

import pytest

import gmpx
from gmpx import Chan, Ticker, Timer, WouldBlock, after, after_func, go, select


def nothing_in(c):
    with pytest.raises(WouldBlock):
        c.recv_nowait()


# ---- after and Timer -------------------------------------------------------------------------

def test_after_sends_the_time_once():
    start = time.monotonic()
    c = after(0.01)
    assert c.cap == 1 and len(c) == 0
    at = c.recv(timeout=60)
    assert isinstance(at, float) and start + 0.01 <= at <= time.monotonic()
    nothing_in(c)


@pytest.mark.parametrize("seconds", [0, 1e-12])
def test_at_once(seconds):
    after(seconds).recv(timeout=60)
    Timer(seconds).c.recv(timeout=60)


def test_in_the_order_of_their_times():
    delays = [0.001 * k for k in range(20)]
    random.Random(1).shuffle(delays)
    made = []                               # (made after, made before, seconds, channel)
    for d in delays:
        start = time.monotonic()
        c = after(d)
        made.append((start, time.monotonic(), d, c))
    got = {}
    while len(got) < len(made):
        left = [c for _, _, _, c in made if c not in got]
        i, at, _ = select(*left, timeout=60)
        got[left[i]] = at
    # two that are due when select looks come in any order, hence by their sent times
    for _, before, d, c in made:
        for start, _, e, other in made:
            if before + d < start + e:
                assert got[c] <= got[other], (d, e)


def test_stop():
    t = Timer(60)
    assert repr(t) == "<Timer pending>"
    assert t.stop() is True and t.stop() is False
    assert repr(t) == "<Timer idle>"
    t = Timer(0)
    t.c.recv(timeout=60)
    assert t.stop() is False


def test_nothing_stale_is_received_after_stop_or_reset():
    for again in (False, True):
        t = Timer(0)
        while len(t.c) == 0:
            gmpx.sleep(0.0005)
        assert (t.reset(60) if again else t.stop()) is True
        nothing_in(t.c)
        assert t.stop() is again


def test_reset():
    t = Timer(60)
    assert t.reset(0.001) is True
    t.c.recv(timeout=60)
    assert t.reset(0.001) is False
    t.c.recv(timeout=60)


def test_a_closed_channel_stops_no_one():
    t, u = Timer(0.001), Timer(0.002)
    t.c.close()
    u.c.recv(timeout=60)
    assert t.c.recv_ok() == (None, False)


def test_a_timer_whose_channel_nobody_has_goes():
    before = gmpx._core._n_timers()
    c, t = after(60), Timer(60)
    ticker = Ticker(60)
    assert gmpx._core._n_timers() == before + 3
    kept = ticker.c
    del c, t, ticker
    gc.collect()
    assert gmpx._core._n_timers() == before + 1
    del kept
    assert gmpx._core._n_timers() == before


def test_stopped_timers_hold_no_memory():
    def turn():
        timers = [Timer(60) for _ in range(20_000)]
        assert all(t.stop() for t in timers)
        funcs = [after_func(60, print) for _ in range(20_000)]
        assert all(t.stop() for t in funcs)
    pending = gmpx._core._n_timers()
    turn()
    gc.collect()
    before = sys.getallocatedblocks()
    turn()
    gc.collect()
    assert sys.getallocatedblocks() - before < 500
    assert gmpx._core._n_timers() == pending


# ---- Ticker ----------------------------------------------------------------------------------

def test_ticker_keeps_the_beat():
    ticker = Ticker(0.005)
    ticks = [ticker.c.recv(timeout=60) for _ in range(5)]
    ticker.stop()
    for a, b in zip(ticks, ticks[1:]):
        assert b > a
    # on the beat: never sooner than the number of beats says
    assert ticks[-1] - ticks[0] >= 0.005 * 3
    gmpx.sleep(0.01)
    nothing_in(ticker.c)
    assert not ticker.c.closed


def test_a_slow_receiver_misses_ticks():
    ticker = Ticker(0.001)
    gmpx.sleep(0.02)
    ticker.c.recv(timeout=60)
    ticker.stop()
    nothing_in(ticker.c)


def test_ticker_reset():
    ticker = Ticker(60)
    ticker.reset(0.001)
    ticker.c.recv(timeout=60)
    ticker.stop()
    ticker.reset(0.001)
    ticker.c.recv(timeout=60)
    ticker.reset(60)
    nothing_in(ticker.c)
    ticker.stop()


# ---- after_func ------------------------------------------------------------------------------

var = contextvars.ContextVar("var", default="default")


def test_after_func_runs_in_a_goroutine_with_the_callers_context():
    c = Chan(1)
    var.set("the caller's")
    def fn(*args):
        c.send((args, var.get(), gmpx.current().id))
    t = after_func(0.001, fn, 1, 2)
    var.set("later")
    args, seen, goid = c.recv(timeout=60)
    assert args == (1, 2) and seen == "the caller's" and goid != gmpx.current().id
    assert t.c is None and t.stop() is False
    assert t.reset(0.001) is False
    assert c.recv(timeout=60)[1] == "the caller's"


def test_after_func_stop():
    c = Chan(1)
    assert after_func(0.002, c.send, "never").stop() is True
    gmpx.sleep(0.005)
    nothing_in(c)


def test_after_func_runs_though_nobody_has_the_timer():
    c = Chan(1)
    after_func(0.002, c.send, "x")
    gc.collect()
    assert c.recv(timeout=60) == "x"


def test_after_func_wakes_a_thread_that_is_no_goroutine():
    # The main thread stands in a lock of threading's, so another M must come.
    done = threading.Event()
    after_func(0.002, done.set)
    assert done.wait(60)


def test_what_it_was_called_with_is_freed():
    class Thing:
        pass
    thing, c = Thing(), Chan(1)
    ref = weakref.ref(thing)
    t = after_func(0, lambda x: c.send(None), thing)
    c.recv(timeout=60)
    del t, thing
    while ref() is not None:
        gmpx.sleep(0.001)


def test_an_error_goes_to_the_excepthook(monkeypatch):
    c = Chan(1)
    monkeypatch.setattr(gmpx, "excepthook", lambda g, e: c.send(repr(e)))
    after_func(0, lambda: 1 / 0)
    assert "ZeroDivisionError" in c.recv(timeout=60)


def test_from_a_foreign_thread():
    got = []
    def work():
        got.append(after(0.002).recv(timeout=60))
        c = Chan(1)
        after_func(0.001, c.send, "f")
        got.append(c.recv(timeout=60))
    t = threading.Thread(target=work)
    t.start()
    t.join()                        # the main thread runs no goroutines meanwhile
    assert len(got) == 2 and got[1] == "f"


# ---- bad input -------------------------------------------------------------------------------

@pytest.mark.parametrize("make", [Timer, Ticker, after, lambda s: after_func(s, print),
                                  lambda s: Timer(60).reset(s), lambda s: Ticker(60).reset(s)])
@pytest.mark.parametrize("bad, error", [
    (-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (None, TypeError)])
def test_bad_seconds(make, bad, error):
    with pytest.raises(error):
        make(bad)


def test_more_bad_input():
    with pytest.raises(ValueError, match="positive"):
        Ticker(0)
    with pytest.raises(TypeError, match="callable"):
        after_func(1, 3)
    with pytest.raises(RuntimeError, match="once"):
        Timer(60).__init__(1)


def test_for_ever():
    c = after(1e300)
    assert Timer(float("inf")).stop() is False
    nothing_in(c)


# ---- many ------------------------------------------------------------------------------------

def test_many_started_stopped_and_fired():
    rng = random.Random(7)
    fired = []
    timers, stopped = [], 0
    for i in range(5000):
        timers.append(after_func(rng.random() * 0.05, fired.append, i))
        if rng.random() < 0.5:
            stopped += timers[rng.randrange(len(timers))].stop()
    while gmpx._core._n_timers() or gmpx.num_goroutine() > 1:
        gmpx.sleep(0.001)
    assert len(fired) == len(set(fired)) == 5000 - stopped
