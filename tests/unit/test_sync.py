"""WaitGroup and Mutex."""

import threading
import weakref

import pytest

import gmpx
from gmpx import Mutex, WaitGroup


# ---- WaitGroup -----------------------------------------------------------------------------


def test_wait_returns_at_once_at_zero():
    wg = WaitGroup()
    assert wg.wait() is None and wg.wait(0) is None
    wg.add(2)
    wg.done()
    wg.add(-1)
    assert wg.wait(0) is None


@pytest.mark.in_order
def test_wait_waits_for_all_of_go():
    wg = WaitGroup()
    seen = []
    gs = [wg.go(seen.append, i) for i in range(300)]
    assert seen == [] and repr(wg) == "<WaitGroup count=300>"
    wg.wait()
    assert sorted(seen) == list(range(300))
    assert all(g.done() for g in gs)


def test_go_passes_arguments_and_returns_the_handle():
    wg = WaitGroup()
    g = wg.go(lambda *a, **k: (a, k), 1, 2, x=3)
    assert isinstance(g, gmpx.Goroutine)
    assert g.result() == ((1, 2), {"x": 3})
    wg.wait(0)


def test_a_goroutine_counts_down_however_it_ends(hook):
    wg = WaitGroup()

    def fails():
        raise ValueError("counted")

    gs = [wg.go(fails), wg.go(gmpx.goexit), wg.go(int)]
    never = wg.go(int)
    never.cancel()
    parked = wg.go(gmpx.Chan().recv)
    gmpx.gosched()
    parked.cancel()
    wg.wait(10)
    assert type(gs[0].exception()) is ValueError
    assert gs[1].result() is None
    for g in (never, parked):
        assert type(g.exception()) is gmpx.Cancelled
    assert hook == []


def test_all_waiters_go_on_and_the_group_is_used_again(parked):
    wg = WaitGroup()
    for _ in range(3):
        wg.add(2)
        waiters = [gmpx.go(wg.wait) for _ in range(10)]
        parked(*waiters, reason="sync.WaitGroup.Wait")
        wg.done()
        gmpx.gosched()
        assert not any(g.done() for g in waiters)
        wg.done()
        for g in waiters:
            assert g.result() is None


def test_a_negative_counter_is_an_error_and_changes_nothing():
    wg = WaitGroup()
    with pytest.raises(ValueError, match="negative WaitGroup counter"):
        wg.done()
    with pytest.raises(ValueError, match="negative WaitGroup counter"):
        wg.add(-1)
    wg.add(2)
    with pytest.raises(ValueError):
        wg.add(-3)
    assert repr(wg) == "<WaitGroup count=2>"
    wg.add(-2)
    wg.wait(0)


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_wait_times_out_and_may_be_repeated(timeout):
    wg = WaitGroup()
    wg.add()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            wg.wait(timeout)
    with pytest.raises(TimeoutError):
        gmpx.go(wg.wait, timeout).result()
    wg.done()
    wg.wait(timeout)


def test_go_with_bad_input_leaves_the_counter():
    wg = WaitGroup()
    for bad in ((), (None,), (5, 1)):
        with pytest.raises(TypeError):
            wg.go(*bad)
    wg.wait(0)


def test_threads_wait_and_count(in_thread, parked):
    wg = WaitGroup()
    wg.add(5)
    waiting = [in_thread(wg.wait) for _ in range(3)]
    g = gmpx.go(wg.wait)
    parked(g)
    for _ in range(5):
        in_thread(wg.done).value()
    for thread in waiting:
        thread.value()
    g.result()
    results = in_thread(lambda: [wg.go(threading.get_ident) for _ in range(5)]).value()
    wg.wait()
    assert all(type(g.result()) is int for g in results)


def test_a_finished_goroutine_does_not_keep_its_group():
    wg = WaitGroup()
    g = wg.go(int)
    wg.wait()
    ref = weakref.ref(wg)
    del wg
    assert ref() is None
    g.join()


def test_a_group_dropped_by_its_owner_lives_with_its_goroutines(parked):
    c = gmpx.Chan()
    wg = WaitGroup()
    g = wg.go(c.recv)
    parked(g)
    ref = weakref.ref(wg)
    del wg
    assert ref() is not None
    c.send(1)
    g.join()
    assert ref() is None


# ---- Mutex ---------------------------------------------------------------------------------


def test_lock_and_unlock_and_their_other_names():
    mu = Mutex()
    assert mu.locked() is False and repr(mu) == "<Mutex unlocked>"
    for take, give in [(mu.lock, mu.unlock), (mu.acquire, mu.release), (mu.try_lock, mu.unlock)]:
        assert take() is True
        assert mu.locked() is True and repr(mu) == "<Mutex locked>"
        assert mu.try_lock() is False
        assert give() is None
        assert mu.locked() is False
    with mu as got:
        assert got is True and mu.locked()
    assert not mu.locked()


def test_with_unlocks_when_the_block_raises():
    mu = Mutex()
    with pytest.raises(KeyError):
        with mu:
            raise KeyError
    assert not mu.locked()


def test_unlock_of_unlocked_is_an_error():
    mu = Mutex()
    for give in (mu.unlock, mu.release):
        with pytest.raises(RuntimeError, match="unlock of unlocked"):
            give()
    with mu:
        mu.unlock()
        mu.lock()


def test_it_has_no_owner_and_is_not_reentrant(in_thread):
    mu = Mutex()
    mu.lock()
    gmpx.go(mu.unlock).result()
    assert not mu.locked()
    mu.lock()
    in_thread(mu.unlock).value()
    with mu:
        with pytest.raises(TimeoutError):
            mu.lock(0.001)


@pytest.mark.in_order
def test_waiters_get_it_in_order_and_nobody_barges_in(parked):
    mu = Mutex()
    order = []

    def take(i):
        mu.lock()
        order.append(i)
        mu.unlock()

    mu.lock()
    gs = [gmpx.go(take, i) for i in range(20)]
    parked(*gs, reason="sync.Mutex.Lock")
    mu.unlock()
    assert mu.locked(), "it was handed over"
    assert mu.try_lock() is False
    with pytest.raises(TimeoutError):
        mu.lock(0)
    mu.lock()
    assert order == list(range(20))
    mu.unlock()
    for g in gs:
        g.result()


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_lock_times_out_and_a_lost_waiter_is_passed_over(timeout, parked):
    mu = Mutex()
    mu.lock()
    hasty = [gmpx.go(mu.lock, timeout) for _ in range(3)]
    patient = gmpx.go(mu.lock)
    for g in hasty:
        assert type(g.exception()) is TimeoutError
    parked(patient)
    for take in (mu.lock, mu.acquire):
        with pytest.raises(TimeoutError):
            take(timeout)
        with pytest.raises(TimeoutError):
            take(timeout=timeout)
    mu.unlock()
    assert patient.result() is True
    assert mu.locked()
    mu.unlock()
    assert mu.lock(timeout) is True and mu.acquire is not None
    mu.unlock()


def test_a_cancelled_waiter_is_passed_over(parked):
    mu = Mutex()
    mu.lock()
    first, second = gmpx.go(mu.lock), gmpx.go(mu.lock)
    parked(first, second)
    first.cancel()
    mu.unlock()
    assert type(first.exception()) is gmpx.Cancelled
    assert second.result() is True
    mu.unlock()


def test_exclusion_across_goroutines_and_threads(in_thread):
    mu = Mutex()
    inside = [0]
    total = [0]

    def work():
        for i in range(100):
            with mu:
                inside[0] += 1
                assert inside[0] == 1
                before = total[0]
                if i % 10 == 0 and gmpx.current().id > 1:
                    gmpx.gosched()
                total[0] = before + 1
                inside[0] -= 1

    gs = [gmpx.go(work) for _ in range(10)]
    threads = [in_thread(work) for _ in range(3)]
    for thread in threads:
        thread.value()
    for g in gs:
        g.result()
    assert total[0] == 1300 and not mu.locked()
