"""Limiter: the rate, the burst, the order, those that give up."""

import math
import os
import random
import subprocess
import sys
import threading
import time

import pytest

import gmpx
from gmpx import Limiter
from gmpx.testing import bubble, explore


def times(b, limiter, wants):
    """What each goroutine wants, and when it gets it; they come in this order."""
    got = []

    def body(i, n):
        limiter.acquire(n)
        got.append((i, b.elapsed))

    gs = []
    for i, n in enumerate(wants):
        gs.append(gmpx.go(body, i, n))
        b.wait_all_parked()
    for g in gs:
        g.join()
    return got


def test_tokens_come_in_evenly_after_the_burst(virtual):
    got = times(virtual, Limiter(10, burst=3), [1] * 8)
    assert got == [(i, pytest.approx(max(i - 2, 0) / 10)) for i in range(8)]


def test_the_bucket_fills_up_to_burst_and_no_further(virtual):
    limiter = Limiter(1, per=10, burst=2)
    assert limiter.try_acquire(2) and limiter.free == 0
    gmpx.sleep(10)
    assert limiter.free == 1 and not limiter.try_acquire(2)
    gmpx.sleep(1000)
    assert limiter.free == 2
    assert [limiter.try_acquire() for _ in range(3)] == [True, True, False]


def test_first_come_first_served_however_much_one_wants(virtual):
    limiter = Limiter(1, burst=3)
    limiter.acquire(3)
    assert times(virtual, limiter, [3, 1, 2, 1]) == [(0, 3), (1, 4), (2, 6), (3, 7)]


def test_nobody_barges_past_those_that_wait(virtual):
    limiter = Limiter(1, burst=2)
    limiter.acquire(2)
    g = gmpx.go(limiter.acquire, 2)
    gmpx.sleep(1.5)
    assert limiter.free == 1
    assert not limiter.try_acquire(), "there is a token, and somebody waits for two"
    with pytest.raises(TimeoutError):
        limiter.acquire(timeout=0)
    g.join()
    assert virtual.elapsed == 2


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_cancelled_waiter_leaves_no_gap_and_no_extra_token(virtual, which):
    limiter = Limiter(1)
    limiter.acquire()
    got = []

    def body(i):
        limiter.acquire()
        got.append((i, virtual.elapsed))

    gs = [gmpx.go(body, i) for i in range(5)]
    virtual.wait_all_parked()
    gmpx.sleep(0.5)
    gs[which].cancel()
    for g in gs:
        g.join()
    left = [i for i in range(5) if i != which]
    assert got == [(i, pytest.approx(at)) for at, i in enumerate(left, 1)]


def test_a_timeout_is_met_and_takes_nothing(virtual):
    limiter = Limiter(1, burst=2)
    limiter.acquire(2)
    behind = gmpx.go(lambda: limiter.acquire(2) and virtual.elapsed)
    virtual.wait_all_parked()
    with pytest.raises(TimeoutError, match="Limiter.acquire timed out"):
        limiter.acquire(timeout=1)
    assert virtual.elapsed == 1
    assert behind.result() == 2
    with pytest.raises(TimeoutError):  # at the head, too
        limiter.acquire(timeout=0.25)
    assert virtual.elapsed == 2.25
    with pytest.raises(TimeoutError):
        limiter.acquire(timeout=0)
    assert limiter.acquire(timeout=10) is True
    assert virtual.elapsed == 3


def test_with_takes_one_and_gives_none_back(virtual):
    limiter = Limiter(2)
    for i in range(4):
        with limiter as got:
            assert got is True and virtual.elapsed == i / 2
    with pytest.raises(KeyError), limiter:
        raise KeyError
    assert virtual.elapsed == 2


def test_it_says_what_it_waits_for(virtual):
    limiter = Limiter(1)
    limiter.acquire()
    gs = [gmpx.go(limiter.acquire) for _ in range(2)]
    virtual.wait_all_parked()
    assert [g.wait_reason for g in gs] == ["rate limit"] * 2


def test_many_tokens_add_up_to_the_rate_exactly(virtual):
    limiter = Limiter(3, per=1e-3)  # a third of a millisecond is no whole number of nanoseconds
    for _ in range(30_001):
        limiter.acquire()
    assert virtual.elapsed == pytest.approx(10, abs=2e-9)


def test_rates_far_apart(virtual):
    fast = Limiter(1e300)
    for _ in range(1000):
        fast.acquire()
    assert virtual.elapsed < 1e-5
    slow = Limiter(1e-9)
    slow.acquire()
    slow.acquire()
    assert virtual.elapsed == pytest.approx(1e9)


def test_a_clock_that_goes_back_is_no_long_wait(alone):
    limiter = Limiter(1000)
    with bubble():
        gmpx.sleep(1e6)
        limiter.acquire()
    began = time.monotonic()
    limiter.acquire()
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, -math.inf, 10**400])
def test_bad_rates(rate):
    with pytest.raises(ValueError, match="rate must be a finite number above 0"):
        Limiter(rate)
    with pytest.raises(ValueError, match="per must be a finite number above 0"):
        Limiter(1, rate)


def test_bad_input():
    for bad in ("1", None, True, [], 1j):
        with pytest.raises(TypeError, match="rate must be a number"):
            Limiter(bad)
        with pytest.raises(TypeError, match="per must be a number"):
            Limiter(1, bad)
    for bad in (0, -1):
        with pytest.raises(ValueError, match="burst must be at least 1"):
            Limiter(1, burst=bad)
        with pytest.raises(ValueError, match="n must be at least 1"):
            Limiter(1).acquire(bad)
    for bad in (1.5, True, "1"):
        with pytest.raises(TypeError, match="burst must be an int"):
            Limiter(1, burst=bad)
    for take in (Limiter(1, burst=2).acquire, Limiter(1, burst=2).try_acquire):
        with pytest.raises(ValueError, match="n must be at most burst, 2: 3"):
            take(3)
    with pytest.raises(ValueError, match="rate is too low"):
        Limiter(1e-300)
    with pytest.raises(ValueError):
        Limiter(1).acquire(timeout=-1)


def test_it_shows_what_it_is():
    limiter = Limiter(5, 60.0, burst=3)
    assert (limiter.rate, limiter.per, limiter.burst, limiter.free) == (5, 60.0, 3, 3)
    assert repr(limiter) == "<Limiter 5 in 60.0 s, burst=3, free=3>"


def test_from_foreign_threads_and_goroutines_at_once(in_thread):
    """The rate holds over all of them, and each gets what it has asked for."""
    limiter = Limiter(20_000, burst=5)
    got = []

    def take(n):
        for _ in range(n):
            limiter.acquire()
            got.append(time.monotonic())

    began = time.monotonic()
    threads = [in_thread(take, 20) for _ in range(3)]
    gmpx.map(take, [20] * 7)
    for thread in threads:
        thread.value()
    assert len(got) == 200
    assert max(got) - began >= 195 / 20_000 - 0.005


def conserves(seed):
    """Comers at random, some of which give up: never more than burst + rate * time, and in order."""
    rng = random.Random(seed)
    burst = rng.choice([1, 2, 5])
    limiter = Limiter(rng.choice([0.5, 3, 7]), burst=burst)
    arrived, got = [], []

    def body(i, n, patience):
        arrived.append(i)
        try:
            limiter.acquire(n, timeout=patience)
        except TimeoutError:
            return
        got.append((time.monotonic(), i, n))

    gs = []
    for i in range(60):
        patience = rng.choice([None, None, 0, rng.uniform(0, 5)])
        gs.append(gmpx.go(body, i, rng.randint(1, burst), patience))
        if rng.random() < 0.3:
            gmpx.sleep(rng.uniform(0, 3))
        if rng.random() < 0.2:
            rng.choice(gs).cancel()
    for g in gs:
        g.join()
    order = [arrived.index(i) for _, i, _ in got]
    assert order == sorted(order)
    for a in range(len(got)):
        taken = 0
        for at, _, n in got[a:]:
            taken += n
            assert taken <= burst + limiter.rate * (at - got[a][0]) + 1e-6
    return len(got)


def test_random_comers(alone, rng):
    assert sum(explore(conserves, rng.getrandbits(32), seeds=[rng.getrandbits(32) for _ in range(25)])) > 100


def test_threads_in_a_bubble_share_its_clock(virtual):
    limiter, ended = Limiter(1), gmpx.Event()

    def take():
        for _ in range(3):
            limiter.acquire()
        ended.set()

    t = threading.Thread(target=take)
    t.start()
    ended.wait()
    t.join()
    assert virtual.elapsed == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_some_wait():
    """In the child nobody has the turn: those who waited are the parent's."""
    code = """
import os, warnings, gmpx
warnings.simplefilter("ignore")
limiter = gmpx.Limiter(1, per=1e6)
limiter.acquire()
gs = [gmpx.go(limiter.acquire) for _ in range(3)]
while any(g.status != "waiting" for g in gs):
    gmpx.gosched()
fast = gmpx.Limiter(1000)
fast.acquire()
gs += [gmpx.go(fast.acquire, timeout=30) for _ in range(3)]
gmpx.gosched()
pid = os.fork()
if pid == 0:
    assert not limiter.try_acquire()
    for _ in range(5):
        gmpx.gather(*[gmpx.go(fast.acquire, timeout=30) for _ in range(3)])
    try:
        limiter.acquire(timeout=0.01)
    except TimeoutError:
        os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
for g in gs[3:]:
    g.result()
assert not limiter.try_acquire()
gmpx.shutdown()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_arguments_that_are_no_bucket():
    with pytest.raises(TypeError, match=r"Limiter\(\): rate must be a number"):
        Limiter()
    with pytest.raises(ValueError, match="burst must be at most"):
        Limiter(1, burst=10**30)
    with pytest.raises(ValueError, match="n must be at least 1"):
        Limiter(1).acquire(-(10**30))
