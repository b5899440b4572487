"""Chan: rendezvous, buffer, close, order of waiters, time-outs, foreign threads, references."""

import gc
import pickle
import sys
import threading
import weakref

import pytest

import gmpx
from gmpx import Chan, ChannelClosed, WouldBlock


class Thing:
    """Something to hold a weak reference to."""


# ---- rendezvous ----------------------------------------------------------------------------


def test_a_sender_without_buffer_waits_for_its_receiver(parked):
    c = Chan()
    g = gmpx.go(c.send, "v")
    parked(g, reason="chan send")
    assert len(c) == 0, "a parked sender's item is not in the buffer"
    assert c.recv() == "v"
    assert g.result() is None


def test_a_receiver_that_waits_gets_the_very_object(parked):
    c = Chan()
    thing = Thing()
    g = gmpx.go(c.recv)
    parked(g, reason="chan receive")
    assert c.send(thing) is None
    assert g.result() is thing


@pytest.mark.in_order
@pytest.mark.parametrize("capacity", [0, 1, 5])
def test_receivers_are_served_in_the_order_of_their_coming(capacity, parked):
    c = Chan(capacity)
    gs = [gmpx.go(c.recv) for _ in range(20)]
    parked(*gs)
    for i in range(20):
        c.send(i)
    assert [g.result() for g in gs] == list(range(20))


@pytest.mark.in_order
@pytest.mark.parametrize("capacity", [0, 1, 5])
def test_senders_are_served_in_the_order_of_their_coming(capacity, parked):
    c = Chan(capacity)
    gs = [gmpx.go(c.send, i) for i in range(20)]
    parked(*gs[capacity:])
    assert [c.recv() for _ in range(20)] == list(range(20))
    for g in gs:
        assert g.result() is None


@pytest.mark.in_order
def test_a_freed_slot_goes_to_the_first_parked_sender(parked):
    c = Chan(1)
    c.send("buffered")
    gs = [gmpx.go(c.send, v) for v in ("first", "second")]
    parked(*gs)
    assert c.recv_nowait() == "buffered"
    assert gs[0].result() is None and len(c) == 1 and not gs[1].done()
    with pytest.raises(WouldBlock):
        c.send_nowait("barges in")
    assert [c.recv(), c.recv()] == ["first", "second"]
    gs[1].result()


def test_a_ping_pong_keeps_step():
    ping, pong = Chan(), Chan()

    def answer():
        for v in ping:
            pong.send(v + 1)

    g = gmpx.go(answer)
    for i in range(2000):
        ping.send(i)
        assert pong.recv() == i + 1
    ping.close()
    assert g.result() is None


@pytest.mark.parametrize("capacity", [0, 1, 7, 100])
def test_many_to_many_delivers_each_item_once_and_in_order_per_sender(capacity):
    c = Chan(capacity)
    wg = gmpx.WaitGroup()

    def produce(k):
        for i in range(200):
            c.send((k, i))

    for k in range(10):
        wg.go(produce, k)
    readers = [gmpx.go(lambda: list(c)) for _ in range(4)]
    wg.wait()
    c.close()
    got = [g.result() for g in readers]
    assert sorted(x for one in got for x in one) == [(k, i) for k in range(10) for i in range(200)]
    for one in got:
        for k in range(10):
            mine = [i for kk, i in one if kk == k]
            assert mine == sorted(mine)


def test_a_sieve_of_goroutines():
    def generate(out):
        n = 2
        try:
            while True:
                out.send(n)
                n += 1
        except ChannelClosed:
            pass

    def keep(prime, source, out):
        try:
            for n in source:
                if n % prime:
                    out.send(n)
        except ChannelClosed:
            source.close()

    gs, primes = [], []
    source = Chan()
    gs.append(gmpx.go(generate, source))
    for _ in range(40):
        prime = source.recv()
        primes.append(prime)
        out = Chan()
        gs.append(gmpx.go(keep, prime, source, out))
        source = out
    source.close()
    for g in gs:
        g.result()
    assert primes[-3:] == [163, 167, 173] and len(set(primes)) == 40


# ---- buffer --------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, 2, 15, 16, 17, 33, 1000])
def test_a_buffer_holds_exactly_its_capacity_in_order(capacity):
    c = Chan(capacity)
    assert c.cap == capacity and len(c) == 0
    for turn in range(3):  # the ring's ends fall elsewhere each time
        for i in range(capacity):
            c.send_nowait((turn, i))
            assert len(c) == i + 1
        with pytest.raises(WouldBlock):
            c.send_nowait("too many")
        assert [c.recv_nowait() for _ in range(capacity)] == [(turn, i) for i in range(capacity)]
        with pytest.raises(WouldBlock):
            c.recv_nowait()
        if capacity > 2:
            c.send_nowait(0)
            c.recv_nowait()


def test_a_ring_that_grows_while_it_is_wrapped_keeps_the_order():
    c = Chan(100)
    for i in range(16):
        c.send(i)
    assert [c.recv() for _ in range(10)] == list(range(10))
    for i in range(16, 110):
        c.send(i)
    assert len(c) == 100
    assert [c.recv() for _ in range(100)] == list(range(10, 110))


def test_a_huge_capacity_costs_nothing_until_it_is_used():
    c = Chan(10**9)
    assert c.cap == 10**9 and sys.getsizeof(c) < 1000
    c.send(1)
    assert c.recv() == 1


def test_none_is_an_item_like_others():
    c = Chan(2)
    c.send(None)
    assert c.recv_ok() == (None, True)
    c.send(None)
    c.close()
    assert [v for v in c] == [None]
    assert c.recv_ok() == (None, False)


def test_an_empty_channel_is_true():
    assert Chan() and Chan(1) and len(Chan()) == 0


# ---- close ---------------------------------------------------------------------------------


def test_after_close_the_buffer_drains_first():
    c = Chan(3)
    c.send(1)
    c.send(2)
    assert c.closed is False
    assert c.close() is None
    assert c.closed is True and len(c) == 2
    for send in (c.send, c.send_nowait):
        with pytest.raises(ChannelClosed):
            send(3)
    assert c.recv() == 1
    assert c.recv_ok(0) == (2, True)
    for _ in range(3):
        for recv in (c.recv, c.recv_nowait, lambda: c.recv(0), lambda: c.recv(timeout=1)):
            with pytest.raises(ChannelClosed):
                recv()
        assert c.recv_ok() == c.recv_ok(0) == c.recv_ok(timeout=1) == (None, False)
        assert list(c) == []


def test_a_second_close_is_an_error():
    c = Chan()
    c.close()
    for _ in range(2):
        with pytest.raises(ChannelClosed):
            c.close()
    assert c.closed


def test_close_wakes_every_receiver(parked):
    c = Chan()
    raising = [gmpx.go(c.recv) for _ in range(20)]
    telling = [gmpx.go(c.recv_ok) for _ in range(20)]
    looping = [gmpx.go(lambda: list(c)) for _ in range(20)]
    timed = [gmpx.go(c.recv, 30) for _ in range(20)]
    parked(*raising, *telling, *looping, *timed)
    c.close()
    assert {type(g.exception()) for g in raising + timed} == {ChannelClosed}
    assert {g.result() for g in telling} == {(None, False)}
    assert all(g.result() == [] for g in looping)


def test_close_wakes_every_sender_and_their_items_are_lost(parked):
    c = Chan(1)
    c.send("buffered")
    things = [Thing() for _ in range(20)]
    refs = [weakref.ref(t) for t in things]
    gs = [gmpx.go(c.send, t, 30 if i % 2 else None) for i, t in enumerate(things)]
    parked(*gs)
    del things
    c.close()
    assert {type(g.exception()) for g in gs} == {ChannelClosed}
    assert list(c) == ["buffered"]
    gs.clear()
    gc.collect()
    assert not any(r() for r in refs)


def test_close_by_a_goroutine_wakes_main():
    c = Chan()
    gmpx.go(c.close)
    with pytest.raises(ChannelClosed):
        c.recv()


def test_error_texts_name_operation_object_and_state():
    c = Chan(3)
    c.close()
    name = r"<Chan \d+ cap=3 len=0 closed>"
    with pytest.raises(ChannelClosed, match=f"^send on closed channel {name}$"):
        c.send(1)
    with pytest.raises(ChannelClosed, match=f"^receive on closed channel {name}$"):
        c.recv()
    with pytest.raises(ChannelClosed, match=f"^close of closed channel {name}$"):
        c.close()
    with pytest.raises(WouldBlock, match=r"receive on <Chan \d+ cap=0"):
        Chan().recv_nowait()
    with pytest.raises(TimeoutError, match=r"send on <Chan \d+ cap=0"):
        Chan().send(1, 0)


# ---- nowait and iteration ------------------------------------------------------------------


def test_nowait_meets_parked_parties(parked):
    c = Chan()
    with pytest.raises(WouldBlock):
        c.send_nowait(1)
    with pytest.raises(WouldBlock):
        c.recv_nowait()
    g = gmpx.go(c.recv)
    parked(g)
    assert c.send_nowait("to a receiver") is None
    assert g.result() == "to a receiver"
    g = gmpx.go(c.send, "from a sender")
    parked(g)
    assert c.recv_nowait() == "from a sender"
    g.result()


def test_iteration_shares_the_items_among_its_loops():
    c = Chan(4)
    loops = [gmpx.go(lambda: list(c)) for _ in range(3)]
    for i in range(300):
        c.send(i)
    c.close()
    got = [g.result() for g in loops]
    assert sorted(sum(got, [])) == list(range(300))
    assert iter(c) is c


def test_leaving_a_loop_leaves_the_rest_in_the_channel():
    c = Chan(3)
    for i in range(3):
        c.send(i)
    for v in c:
        break
    assert v == 0 and [c.recv(), c.recv()] == [1, 2]


# ---- time-outs -----------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.0, 1e-9, 0.001])
def test_expiry_raises_and_leaves_the_channel_as_it_was(timeout, parked):
    c = Chan()
    for wait in (c.recv, c.recv_ok):
        with pytest.raises(TimeoutError):
            wait(timeout)
        with pytest.raises(TimeoutError):
            wait(timeout=timeout)
    with pytest.raises(TimeoutError):
        c.send("lost", timeout)
    with pytest.raises(TimeoutError):
        c.send("lost", timeout=timeout)
    with pytest.raises(WouldBlock):
        c.recv_nowait()  # the sender that gave up has left nothing
    with pytest.raises(WouldBlock):
        c.send_nowait(1)  # nor has the receiver
    g = gmpx.go(c.recv)
    parked(g)
    c.send("later", timeout)
    assert g.result() == "later"


def test_timeout_0_takes_what_is_there(parked):
    c = Chan(1)
    c.send("a", 0)
    assert c.recv(0) == "a"
    g = gmpx.go(c.send, "b")
    g.join()
    assert c.recv_ok(0) == ("b", True)


def test_waiters_in_the_middle_of_the_queue_may_give_up(parked, until):
    c = Chan()
    patient = [gmpx.go(c.recv)]
    parked(patient[-1])  # a thief may start one later than those spawned after it
    hasty = [gmpx.go(c.recv, 0.002) for _ in range(5)]
    patient.append(gmpx.go(c.recv))
    parked(patient[-1])
    hasty += [gmpx.go(c.recv, 0.001) for _ in range(5)]
    patient.append(gmpx.go(c.recv))
    assert {type(g.exception()) for g in hasty} == {TimeoutError}
    parked(*patient)
    for i in range(3):
        c.send_nowait(i)
    assert [g.result() for g in patient] == [0, 1, 2]


def test_an_item_is_never_both_sent_and_timed_out(rng):
    # Receivers give up at about the time that senders come: each send that returned was
    # received, each that raised was not.
    c = Chan()
    got, sent = [], []

    def receive():
        for _ in range(60):
            try:
                got.append(c.recv(rng.random() * 0.0004))
            except TimeoutError:
                pass

    def send(k):
        for i in range(60):
            try:
                c.send((k, i), rng.random() * 0.0004)
            except TimeoutError:
                pass
            else:
                sent.append((k, i))

    gs = [gmpx.go(receive) for _ in range(5)] + [gmpx.go(send, k) for k in range(5)]
    for g in gs:
        g.result()
    assert sorted(got) == sorted(sent)
    assert sent, "none met at all"


# ---- foreign threads -----------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, 3])
def test_threads_send_and_goroutines_receive(capacity, in_thread):
    c = Chan(capacity)

    def produce(k):
        for i in range(100):
            c.send((k, i))

    gs = [gmpx.go(lambda: [c.recv() for _ in range(100)]) for _ in range(3)]
    threads = [in_thread(produce, k) for k in range(3)]
    for thread in threads:
        thread.value()
    got = sorted(sum((g.result() for g in gs), []))
    assert got == [(k, i) for k in range(3) for i in range(100)]


@pytest.mark.parametrize("capacity", [0, 3])
def test_goroutines_send_and_threads_receive(capacity, in_thread):
    c = Chan(capacity)
    threads = [in_thread(lambda: list(c)) for _ in range(3)]
    wg = gmpx.WaitGroup()
    for k in range(3):
        wg.go(lambda k=k: [c.send((k, i)) for i in range(100)])
    wg.wait()
    c.close()
    got = sorted(sum((t.value() for t in threads), []))
    assert got == [(k, i) for k in range(3) for i in range(100)]


def test_threads_talk_to_threads_without_any_goroutine(in_thread):
    c = Chan()
    reader = in_thread(lambda: [c.recv() for _ in range(500)])
    in_thread(lambda: [c.send(i) for i in range(500)]).value()
    assert reader.value() == list(range(500))


def test_time_outs_and_close_work_in_threads(in_thread, until):
    c = Chan()
    for wait in (lambda: c.recv(0), lambda: c.recv(0.001), lambda: c.send(1, 0.001)):
        with pytest.raises(TimeoutError):
            in_thread(wait).value()
    waiting = in_thread(c.recv_ok)
    until(lambda: any(g.name.startswith("thread ") and g.status == "waiting"
                      for g in gmpx.goroutines()))
    c.close()
    assert waiting.value() == (None, False)


def test_a_thread_that_ends_leaves_no_waiter(in_thread):
    c = Chan()
    with pytest.raises(TimeoutError):
        in_thread(c.recv, 0.001).value()
    with pytest.raises(WouldBlock):
        c.send_nowait("to nobody")


def test_a_thread_blocks_alone(in_thread):
    # While a foreign thread waits, goroutines and main go on, and so do other threads.
    c, other = Chan(), Chan(1)
    waiting = in_thread(c.recv)
    in_thread(other.send, "through").value()
    assert gmpx.go(other.recv).result() == "through"
    c.send("at last")
    assert waiting.value() == "at last"


# ---- references ----------------------------------------------------------------------------


def test_an_item_is_freed_when_its_receiver_drops_it(parked):
    c = Chan(1)
    for via in ("buffer", "parked receiver", "parked sender"):
        thing = Thing()
        ref = weakref.ref(thing)
        if via == "buffer":
            c.send(thing)
            del thing
            assert ref() is not None
            c.recv()
        elif via == "parked receiver":
            g = gmpx.go(lambda: c.recv() and None)
            parked(g)
            c.send(thing)
            del thing
            g.join()
        else:
            c.send(0)
            g = gmpx.go(c.send, thing)
            parked(g)
            del thing
            c.recv()
            c.recv()
            g.join()
        assert ref() is None, via


def test_what_was_not_sent_is_freed():
    c = Chan()
    for timeout in (0, 0.001):
        thing = Thing()
        ref = weakref.ref(thing)
        with pytest.raises(TimeoutError) as caught:
            c.send(thing, timeout)
        del thing, caught
        assert ref() is None


def test_a_dropped_channel_frees_its_items_and_cycles():
    c = Chan(3)
    thing = Thing()
    ref, cref = weakref.ref(thing), weakref.ref(c)
    c.send(thing)
    del thing, c
    assert ref() is None and cref() is None
    c = Chan(1)
    c.send(c)
    cref = weakref.ref(c)
    del c
    gc.collect()
    assert cref() is None


def test_the_collector_sees_through_a_channel():
    c = Chan(3)
    thing = Thing()
    c.send(thing)
    assert any(thing in gc.get_referents(x) for x in gc.get_referents(c) if isinstance(x, list))
    c.recv()


def test_an_item_whose_finalizer_uses_the_channel(hook):
    c = Chan(20)

    class Again:
        def __del__(self):
            if not c.closed and len(c) < c.cap:
                c.send_nowait("from a finalizer")

    for _ in range(30):
        while len(c) < c.cap:
            c.send(Again())
        c.recv()
    c.close()
    for _ in c:
        pass
    assert c.recv_ok() == (None, False) and hook == []


def test_no_memory_is_kept_after_many_items():
    def turn(n):
        c = Chan(8)
        g = gmpx.go(lambda: sum(1 for _ in c))
        for i in range(n):
            c.send(i)
        c.close()
        return g.result()

    sizes = []
    for _ in range(5):
        assert turn(5000) == 5000
        gc.collect()
        sizes.append(sys.getallocatedblocks())
    assert sizes[-1] - sizes[1] < 200, sizes


# ---- the object ----------------------------------------------------------------------------


def test_chan_is_generic_unpicklable_and_read_only():
    assert Chan[int].__origin__ is Chan
    assert Chan[int](2).cap == 2
    with pytest.raises(TypeError):
        pickle.dumps(Chan())
    for name in ("cap", "closed"):
        with pytest.raises(AttributeError):
            setattr(Chan(), name, 1)
    a, b = Chan(), Chan()
    assert a != b and hash(a) != hash(b) and repr(a) != repr(b)
    assert threading.current_thread() is threading.main_thread()
