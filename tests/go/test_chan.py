"""What Go's runtime/chan_test.go checks, asked of gmpx. Each test names the one it answers to.

Left out, since they are about what Python has not: TestShrinkStackDuringBlockedSend,
TestNoShrinkStackWhileParking, TestSelectStackAdjust (Go moves and shrinks stacks).
"""

import collections
import math

import pytest

import gmpx
from gmpx import Chan, ChannelClosed, WouldBlock, go, select


def blocked(c):
    """Whether a non-blocking receive finds nothing."""
    return select(c, block=False)[0] == -1


@pytest.mark.parametrize("cap", [0, 1, 2, 7, 50])
class TestChan:
    """TestChan, its parts in their order."""

    def test_receive_from_an_empty_channel_blocks(self, cap, parked):
        c = Chan(cap)
        gs = [go(c.recv), go(select, c)]
        parked(*gs, reason=None)
        assert blocked(c)
        c.send(0)
        c.send(0)
        assert gs[0].result() == 0 and gs[1].result() == (0, 0, True)

    def test_send_to_a_full_channel_blocks(self, cap, parked):
        c = Chan(cap)
        for n in range(cap):
            c.send(n)
        g = go(c.send, "late")
        parked(g, reason="chan send")
        with pytest.raises(WouldBlock):
            c.send_nowait(0)
        assert select((c, 0), block=False)[0] == -1
        assert [c.recv() for _ in range(cap + 1)] == [*range(cap), "late"]
        g.join()

    def test_after_close_all_is_received_then_zero_values(self, cap):
        c = Chan(cap)
        for n in range(cap):
            c.send(n)
        c.close()
        assert [c.recv_ok() for _ in range(cap)] == [(n, True) for n in range(cap)]
        assert c.recv_ok() == (None, False) and select(c) == (0, None, False)
        with pytest.raises(ChannelClosed):
            c.recv()

    def test_close_wakes_a_receiver(self, cap, parked):
        c = Chan(cap)
        g = go(c.recv_ok)
        parked(g)
        c.close()
        assert g.result() == (None, False)

    def test_a_hundred_in_order(self, cap):
        c = Chan(cap)
        g = go(lambda: [c.send(n) for n in range(100)])
        assert [c.recv() for _ in range(100)] == list(range(100))
        g.join()

    def test_many_senders_and_receivers_lose_and_double_nothing(self, cap):
        senders, each = 4, 250
        c, counts = Chan(cap), Chan()
        for _ in range(senders):
            go(lambda: [c.send(n) for n in range(each)])

        def receive():
            counts.send(collections.Counter(c.recv() for _ in range(each)))

        for _ in range(senders):
            go(receive)
        total = sum((counts.recv() for _ in range(senders)), collections.Counter())
        assert total == {n: senders for n in range(each)}

    def test_len_and_cap(self, cap):
        c = Chan(cap)
        assert (len(c), c.cap) == (0, cap)
        for _ in range(cap):
            c.send(1)
        assert (len(c), c.cap) == (cap, cap)


def test_nonblocking_receive_sees_what_was_sent_before_it():
    """TestNonblockRecvRace."""
    for _ in range(1000):
        c = Chan(1)
        c.send(1)
        g = go(lambda c=c: select(c, block=False)[0])
        c.close()
        c.recv_ok()
        assert g.result() == 0  # the item, or the close: never "not ready"


@pytest.mark.parametrize("second", ["send", "close"])
def test_nonblocking_select_sees_one_of_two(second):
    """TestNonblockSelectRace, TestNonblockSelectRace2."""
    for _ in range(1000):
        c1, c2 = Chan(1), Chan(1)
        c1.send(1)
        g = go(select, c1, c2, block=False)
        if second == "send":
            c2.send(1)
        else:
            c2.close()
        select(c1, block=False)
        assert g.result()[0] != -1


@pytest.mark.parametrize("cap", [0, 10])
def test_select_sends_and_receives_on_one_channel(cap):
    """TestSelfSelect."""
    c = Chan(cap)

    def body(p):
        for i in range(500):
            send, receive = (c, p), c
            cases = (send, receive) if p == 0 or i % 2 == 0 else (receive, send)
            index, value, _ = select(*cases)
            if cases[index] is receive and cap == 0:
                assert value != p, "received from itself"

    gs = [go(body, p) for p in range(2)]
    for g in gs:
        g.result(30)


def test_select_stress(rng):
    """TestSelectStress: four channels, alone and in select, each item once."""
    n = 400
    chans = [Chan(), Chan(), Chan(2), Chan(3)]
    wg = gmpx.WaitGroup()

    def senders():
        for c in chans:
            wg.go(lambda c=c: [c.send(0) for _ in range(n)])

        def by_select():
            left = {k: n for k in range(4)}
            while left:
                open_ = list(left)
                index, _, _ = select(*[(chans[k], 0) for k in open_])
                k = open_[index]
                left[k] -= 1
                if not left[k]:
                    del left[k]

        wg.go(by_select)

    def receivers():
        for c in chans:
            wg.go(lambda c=c: [c.recv() for _ in range(n)])

        def by_select():
            left = {k: n for k in range(4)}
            while left:
                open_ = list(left)
                k = open_[select(*[chans[k] for k in open_])[0]]
                left[k] -= 1
                if not left[k]:
                    del left[k]

        wg.go(by_select)

    senders()
    receivers()
    wg.wait(60)
    assert all(len(c) == 0 and blocked(c) for c in chans)


def test_select_is_fair():
    """TestSelectFairness: within ten standard deviations, also behind cases that are never ready."""
    trials = 4000
    c1, c2 = Chan(trials + 1), Chan(trials + 1)
    for _ in range(trials + 1):
        c1.send(1)
        c2.send(2)
    c3, c4, out, done = Chan(), Chan(), Chan(), Chan()

    def body():
        while True:
            value = select(c3, c4, c1, c2)[1]
            if select((out, value), done)[0] == 1:
                return

    g = go(body)
    counts = collections.Counter(out.recv() for _ in range(trials))
    assert set(counts) == {1, 2}
    assert abs(counts[1] - trials / 2) < 10 * math.sqrt(trials / 4)
    done.close()
    g.join()


def test_send_any_object():
    """TestChanSendInterface."""
    c = Chan(1)
    thing = object()
    c.send(thing)
    assert select((c, thing), block=False)[0] == -1
    assert select((c, thing), (c, object()), block=False)[0] == -1
    assert c.recv() is thing


@pytest.mark.parametrize("cap", [0, 100])
def test_two_sends_on_one_channel_are_chosen_at_random(cap):
    """TestPseudoRandomSend."""
    n, got = 100, []
    c = Chan(cap)

    def receive():
        for _ in range(n):
            gmpx.gosched()
            got.append(c.recv())

    g = go(receive)
    for _ in range(n):
        select((c, 1), (c, 0))
    g.join()
    assert n / 10 < sum(got) < n - n / 10


def test_many_consumers_of_one_queue():
    """TestMultiConsumer."""
    workers, items, primes = 23, 5000, [2, 3, 7, 11, 13, 17, 19, 23, 27, 31]
    q, r = Chan(workers * 3), Chan(workers * 3)
    wg = gmpx.WaitGroup()

    def work(k):
        for value in q:
            if primes[k % len(primes)] == value:
                gmpx.gosched()
            r.send(value)

    for k in range(workers):
        wg.go(work, k)

    def feed():
        for n in range(items):
            q.send(primes[n % len(primes)])
        q.close()
        wg.wait()
        r.close()

    go(feed)
    got = list(r)
    assert len(got) == items
    assert sum(got) == sum(primes[n % len(primes)] for n in range(items))


def test_a_channel_twice_in_one_select_is_taken_once(parked):
    """TestSelectDuplicateChannel: the loser's place in the queue goes with it."""
    c, d, e = Chan(), Chan(), Chan()
    first = go(select, c, c, d)
    parked(first)
    second = go(c.recv)
    parked(second)
    c.send("first")
    c.send("second")
    assert first.result()[1] == "first" and second.result() == "second"
    assert blocked(c) and select((c, 0), block=False)[0] == -1
    third = go(select, e, d)
    parked(third)
    d.close()
    assert third.result() == (1, None, False)
