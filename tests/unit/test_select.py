"""select: choice, fairness, parking, time-outs, what it leaves behind."""

import gc
import random
import sys
import threading
from collections import Counter

import pytest

import gmpx
from gmpx import Chan, ChannelClosed, WaitGroup, go, select


def full(*items):
    c = Chan(len(items))
    for v in items:
        c.send(v)
    return c


def until_parked(g, reason="select"):
    while g.wait_reason != reason:
        gmpx.gosched()


# ---- something is ready ----------------------------------------------------------------------

def test_receives_from_the_one_that_is_ready():
    assert select(Chan(), full("x"), Chan(1)) == (1, "x", True)


def test_sends_to_the_one_that_has_room():
    c, d = full(1), Chan(1)
    assert select((c, "a"), (d, "b")) == (1, None, True)
    assert d.recv() == "b" and len(c) == 1


def test_completes_a_parked_sender_and_a_parked_receiver():
    c = Chan()
    sender = go(c.send, "v")
    until_parked(sender, "chan send")
    assert select(c) == (0, "v", True)
    receiver = go(c.recv)
    until_parked(receiver, "chan receive")
    assert select((c, "w")) == (0, None, True)
    assert receiver.result() == "w"


def test_a_drained_closed_channel_is_ready():
    c = full(1)
    c.close()
    assert select(c) == (0, 1, True)
    assert select(c) == (0, None, False)
    assert select(c) == (0, None, False)


def test_a_send_on_a_closed_channel_raises():
    c = Chan(1)
    c.close()
    with pytest.raises(ChannelClosed, match="send on closed channel"):
        select(Chan(), (c, 1))


def test_a_dead_goroutine_is_ready_and_its_value_is_the_handle():
    def fail():
        raise KeyError("k")
    g = go(fail)
    g.join()
    assert select(Chan(), g) == (1, g, True)
    with pytest.raises(KeyError):
        g.result()


@pytest.mark.parametrize("n", [2, 3, 10])
def test_each_ready_case_has_the_same_chance(n):
    chans = [full(*range(2000)) for _ in range(n)]
    seen = Counter(select(*chans)[0] for _ in range(1000 * n))
    # 1000 expected each, standard deviation below 32: 6 of them
    assert set(seen) == set(range(n)) and all(abs(k - 1000) < 192 for k in seen.values()), seen


def test_the_same_channel_in_both_directions():
    c = full("old", "older")
    seen = Counter()
    for _ in range(100):
        while len(c) != 1:
            c.recv() if len(c) else c.send("refill")
        seen[select(c, (c, "new"))[0]] += 1
    assert seen[0] > 10 and seen[1] > 10


def test_a_select_never_meets_itself():
    c = Chan()
    assert select(c, (c, 1), block=False) == (-1, None, False)
    with pytest.raises(TimeoutError):
        select(c, (c, 1), c, (c, 2), timeout=0.005)
    assert select(c, (c, 1), block=False) == (-1, None, False)


def test_two_selects_on_the_same_two_directions_meet():
    c = Chan()
    a = go(select, c, (c, "a"))
    until_parked(a)
    i, v, ok = select(c, (c, "b"))
    j, w, _ = a.result()
    assert {i, j} == {0, 1} and ok
    assert (v, w) == (("a", None) if i == 0 else (None, "b"))


# ---- nothing is ready ------------------------------------------------------------------------

def test_without_blocking():
    assert select(block=False) == (-1, None, False)
    assert select(Chan(), None, (None, 1), (Chan(), 1), block=False) == (-1, None, False)


def test_timeout():
    c, d = Chan(), full(1)
    with pytest.raises(TimeoutError, match="select timed out"):
        select(c, (d, "v"), timeout=0.002)
    with pytest.raises(TimeoutError, match="select timed out"):
        select(c, (d, "v"), timeout=0)
    with pytest.raises(TimeoutError):
        select(timeout=0.002)
    assert len(d) == 1 and d.recv() == 1
    with pytest.raises(gmpx.WouldBlock):
        c.send_nowait("nobody waits")


def test_ready_in_time():
    c, d = Chan(), Chan()
    go(lambda: (gmpx.sleep(0.002), d.send("late")))
    assert select(c, d, timeout=60) == (1, "late", True)


@pytest.mark.parametrize("winner", range(4))
def test_every_kind_of_case_ends_a_wait(winner):
    recv, send, closing, gate = Chan(), Chan(), Chan(), Chan()
    ending = go(gate.recv)
    g = go(select, recv, (send, "sent"), closing, ending, None)
    until_parked(g)
    if winner == 0:
        recv.send("got")
    elif winner == 1:
        assert send.recv() == "sent"
    elif winner == 2:
        closing.close()
    else:
        gate.send(None)
    assert g.result() == (winner, ["got", None, None, ending][winner], winner != 2)
    # no residue in the queues of the losers
    for c in (recv, closing):
        if not c.closed:
            with pytest.raises(gmpx.WouldBlock):
                c.send_nowait(0)
    with pytest.raises(gmpx.WouldBlock):
        send.recv_nowait()
    if winner != 3:
        gate.send(None)
    ending.join()


def test_a_parked_send_case_hears_of_the_close():
    c, d = Chan(), Chan()
    g = go(select, d, (c, 1))
    until_parked(g)
    c.close()
    with pytest.raises(ChannelClosed, match="send on closed channel"):
        g.result()
    with pytest.raises(gmpx.WouldBlock):
        d.send_nowait(0)


def test_no_live_case_parks_for_ever():
    a, b = go(select), go(select, None, (None, "v"))
    until_parked(a, "select (no cases)")
    until_parked(b, "select (no cases)")
    for g in (a, b):
        g.cancel()
        with pytest.raises(gmpx.Cancelled):
            g.result()


def test_cancelled_it_takes_and_sends_nothing():
    c, d = Chan(), Chan()
    g = go(select, c, (d, "never"))
    until_parked(g)
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result()
    with pytest.raises(gmpx.WouldBlock):
        c.send_nowait(1)
    with pytest.raises(gmpx.WouldBlock):
        d.recv_nowait()


def test_a_select_that_has_lost_does_not_take_a_waiters_place():
    # Its sudog on d is still there when d is used: the G has been woken but has not run.
    c, d = Chan(), Chan()
    g = go(select, c, d)
    until_parked(g)
    c.send("c")
    with pytest.raises(gmpx.WouldBlock):
        d.send_nowait("d")
    assert select((d, "d"), block=False) == (-1, None, False)
    assert g.result() == (0, "c", True)


def test_waiters_of_a_channel_are_served_in_their_order_select_or_not():
    c, other = Chan(), Chan()
    gs = []
    for i in range(6):
        gs.append(go(select, other, c, c) if i % 2 else go(c.recv_ok))
        until_parked(gs[-1], "select" if i % 2 else "chan receive")
    for i in range(6):
        c.send(i)
    assert [g.result()[-2] for g in gs] == list(range(6))


@pytest.mark.parametrize("n", [1, 2, 100, 1000])
def test_many_cases(n):
    chans = [Chan() for _ in range(n)]
    for at in {0, n // 2, n - 1}:
        g = go(select, *chans)
        until_parked(g)
        chans[at].send(at)
        assert g.result() == (at, at, True)
        d = full(at)
        assert select(*chans[:at], d, *chans[at:]) == (at, at, True)
    assert select(*chans, block=False) == (-1, None, False)


# ---- bad input -------------------------------------------------------------------------------

@pytest.mark.parametrize("bad", [3, "c", [Chan(), 1], (Chan(),), (Chan(), 1, 2), (3, 1), Chan])
def test_what_is_no_case(bad):
    c = full(1)
    with pytest.raises(TypeError, match="select case 1 must be a Chan"):
        select(c, bad)
    assert len(c) == 1


def test_bad_options():
    c = full(1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'blok'"):
        select(c, blok=False)
    with pytest.raises(ValueError, match="takes no timeout"):
        select(c, block=False, timeout=1)
    for bad in (-1, float("nan")):
        with pytest.raises(ValueError):
            select(c, timeout=bad)
    with pytest.raises(TypeError):
        select(c, timeout="1")
    with pytest.raises(RuntimeError, match="cannot join itself"):
        select(c, gmpx.current())
    assert len(c) == 1


# ---- references ------------------------------------------------------------------------------

class Thing:
    pass


def test_references():
    v, c, d = Thing(), Chan(1), Chan()
    before = sys.getrefcount(v), sys.getrefcount(c)
    for _ in range(100):
        select((c, v), d)
        assert select(d, c)[1] is v
        with pytest.raises(TimeoutError):
            select((d, v), timeout=1e-9)
    gc.collect()
    assert (sys.getrefcount(v), sys.getrefcount(c)) == before


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal")
def test_references_of_none():
    c, d = Chan(1), Chan()
    before = sys.getrefcount(None)
    for _ in range(10_000):
        select((c, None), d)
        select(c, d, block=False)
        select(d, None, block=False)
    assert abs(sys.getrefcount(None) - before) < 1000


def test_references_of_a_wait():
    v, c, d, e = Thing(), Chan(), Chan(), Chan()
    before = sys.getrefcount(v)
    for i in range(60):
        g = go(select, (c, v), (d, v), e)
        until_parked(g)
        if i % 3 == 0:
            assert d.recv() is v
        elif i % 3 == 1:
            e.send(v)
        else:
            g.cancel()
        g.join()
        g.exception()
        del g
    gc.collect()
    assert sys.getrefcount(v) == before


def test_a_value_dropped_by_a_loser_may_use_the_channels():
    c, d = Chan(), Chan()
    heard = []

    class Loud:
        def __del__(self):
            heard.append(select(d, block=False))
    g = go(lambda: select((c, Loud()), d))
    until_parked(g)
    d.send("x")
    assert g.result() == (1, "x", True)
    assert heard == [(-1, None, False)]


# ---- threads and conservation ----------------------------------------------------------------

def test_on_a_foreign_thread():
    c, d, back = Chan(), Chan(), Chan(2)
    t = threading.Thread(target=lambda: (back.send(select(c, d)), back.send(select(c, timeout=60))))
    t.start()
    d.send("one")
    assert back.recv() == (1, "one", True)
    c.send("two")
    assert back.recv() == (0, "two", True)
    t.join()


@pytest.mark.parametrize("seed", range(4))
def test_conservation(seed):
    # Everyone selects over all channels, in and out, with time-outs and cancels between.
    rng = random.Random(seed)
    chans = [Chan(rng.choice((0, 0, 1, 3))) for _ in range(4)]
    sent, got, wg = [], [], WaitGroup()

    def party(k):
        mine = random.Random(seed * 1000 + k)
        for i in range(150):
            item = (k, i)
            cases = [(c, item) if mine.random() < 0.5 else c
                     for c in mine.sample(chans, mine.randint(1, 4))]
            try:
                j, v, ok = select(*cases, timeout=mine.choice((0, 0.0005, 0.002)))
            except TimeoutError:
                continue
            if type(cases[j]) is tuple:
                sent.append(item)
            else:
                got.append(v)
            if mine.random() < 0.1:
                gmpx.gosched()
    gs = [wg.go(party, k) for k in range(12)]
    for _ in range(3):
        gmpx.sleep(rng.random() * 0.01)
        rng.choice(gs).cancel()
    wg.wait()
    for c in chans:
        got.extend(c.recv() for _ in range(len(c)))
    assert len(set(got)) == len(got)
    # A cancel that comes with a completed select is raised at the next park: nothing is lost.
    assert sorted(sent) == sorted(got), seed
    for g in gs:
        g.exception()
