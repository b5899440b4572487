"""RWMutex, Semaphore, Cond, Event, Once."""

import random
import threading

import pytest

import gmpx
from gmpx import Cancelled, Chan, Cond, Event, Mutex, Once, RWMutex, Semaphore, WaitGroup, go


def until(g, reason):
    while g.wait_reason != reason:
        gmpx.gosched()
    return g


def cancelled(g):
    g.cancel()
    with pytest.raises(Cancelled):
        g.result()


# ---- RWMutex ---------------------------------------------------------------------------------

WRITE, READ = "sync.RWMutex.Lock", "sync.RWMutex.RLock"


def test_readers_together_a_writer_alone():
    rw = RWMutex()
    assert rw.rlock() is True and rw.rlock() is True
    assert not rw.try_lock() and rw.locked()
    rw.runlock()
    w = until(go(rw.lock), WRITE)
    rw.runlock()
    assert w.result() is True
    assert not rw.try_rlock() and not rw.try_lock()
    rw.unlock()
    assert not rw.locked() and rw.try_lock()
    rw.unlock()
    assert rw.try_rlock()


def test_a_waiting_writer_keeps_new_readers_out_and_they_go_before_the_next_writer():
    rw, order = RWMutex(), []
    rw.rlock()
    def writer(n):
        with rw:
            order.append(f"w{n}")
            gmpx.gosched()
    def reader(n):
        with rw.reader():
            order.append(f"r{n}")
            gmpx.gosched()
    gs = [until(go(writer, 1), WRITE), until(go(reader, 1), READ), until(go(writer, 2), WRITE),
          until(go(reader, 2), READ)]
    assert not rw.try_rlock()
    rw.runlock()
    for g in gs:
        g.result()
    assert order == ["w1", "r1", "r2", "w2"]


@pytest.mark.parametrize("end", ["cancel", "timeout"])
def test_a_writer_that_gives_up_lets_the_readers_behind_it_in(end):
    rw = RWMutex()
    rw.rlock()
    w = until(go(rw.lock, None if end == "cancel" else 0.02), WRITE)
    r = until(go(rw.rlock), READ)
    if end == "cancel":
        w.cancel()
    assert r.result() is True
    assert isinstance(w.exception(), Cancelled if end == "cancel" else TimeoutError)
    rw.runlock()
    rw.runlock()
    assert not rw.locked()


def test_a_reader_that_gives_up_is_not_counted():
    rw = RWMutex()
    rw.lock()
    cancelled(until(go(rw.rlock), READ))
    with pytest.raises(TimeoutError):
        rw.rlock(timeout=0)
    with pytest.raises(TimeoutError):
        rw.lock(timeout=0.001)
    rw.unlock()
    assert repr(rw) == "<RWMutex readers=0>"


def test_unlocking_what_is_not_locked():
    rw = RWMutex()
    with pytest.raises(RuntimeError, match="unlock of unlocked"):
        rw.unlock()
    with pytest.raises(RuntimeError, match="no reader holds"):
        rw.runlock()
    with rw.reader(), pytest.raises(RuntimeError, match="unlock of unlocked"):
        rw.unlock()


@pytest.mark.parametrize("seed", range(3))
def test_rwmutex_under_load(seed):
    rw, state, wg = RWMutex(), {"readers": 0, "writer": False, "n": 0}, WaitGroup()

    def party(k):
        rng = random.Random(seed * 100 + k)
        for _ in range(80):
            try:
                if rng.random() < 0.3:
                    rw.lock(timeout=rng.choice((None, 0, 0.0005)))
                    assert not state["writer"] and state["readers"] == 0
                    state["writer"] = True
                    gmpx.gosched()
                    state["n"] += 1
                    state["writer"] = False
                    rw.unlock()
                else:
                    rw.rlock(timeout=rng.choice((None, 0, 0.0005)))
                    assert not state["writer"]
                    state["readers"] += 1
                    gmpx.gosched()
                    state["readers"] -= 1
                    rw.runlock()
            except TimeoutError:
                pass
    gs = [wg.go(party, k) for k in range(20)]
    threads = [threading.Thread(target=party, args=(100 + k,)) for k in range(2)]
    for t in threads:
        t.start()
    wg.wait()
    for t in threads:
        t.join()
    for g in gs:
        g.result()
    assert not rw.locked() and state["n"] > 0


# ---- Semaphore -------------------------------------------------------------------------------

ACQUIRE = "sync.Semaphore.Acquire"


def test_semaphore_counts():
    sem = Semaphore(3)
    assert sem.acquire() is True and sem.acquire(2) is True
    assert sem.free == 0 and not sem.try_acquire()
    g = until(go(sem.acquire, 2), ACQUIRE)
    sem.release()
    gmpx.gosched()
    assert not g.done()
    sem.release()
    assert g.result() is True and sem.free == 0
    sem.release(5)
    assert sem.free == 5


def test_a_large_request_is_not_overtaken():
    sem, order = Semaphore(1), []
    sem.acquire()
    def take(n):
        sem.acquire(n)
        order.append(n)
    gs = [until(go(take, n), ACQUIRE) for n in (3, 1, 1)]
    sem.release(2)
    assert not sem.try_acquire()
    for _ in range(5):
        gmpx.gosched()
    assert order == []
    sem.release(1)
    gs[0].join()
    assert order == [3] and sem.free == 0
    sem.release(2)
    for g in gs:
        g.join()
    assert order == [3, 1, 1] and sem.free == 0


def test_when_the_head_gives_up_those_behind_it_go():
    sem = Semaphore(2)
    big = until(go(sem.acquire, 3), ACQUIRE)
    small = until(go(sem.acquire, 2), ACQUIRE)
    cancelled(big)
    assert small.result() is True and sem.free == 0
    late = until(go(sem.acquire, 1, 0.005), ACQUIRE)
    with pytest.raises(TimeoutError):
        late.result()
    sem.release()
    assert sem.free == 1


def test_semaphore_as_a_context_manager_limits():
    sem, now, most = Semaphore(3), [0], [0]
    def work():
        with sem:
            now[0] += 1
            most[0] = max(most[0], now[0])
            gmpx.gosched()
            now[0] -= 1
    wg = WaitGroup()
    for _ in range(50):
        wg.go(work)
    wg.wait()
    assert most == [3] and sem.free == 3


def test_semaphore_bad_input():
    for bad, error in ((-1, ValueError), (1.5, TypeError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(error):
            Semaphore(bad)
    sem = Semaphore(0)
    for bad in (0, -1):
        with pytest.raises(ValueError):
            sem.acquire(bad)
        with pytest.raises(ValueError):
            sem.release(bad)
    with pytest.raises(ValueError):
        sem.acquire(timeout=-1)
    with pytest.raises(TimeoutError):
        sem.acquire(timeout=0)
    assert sem.free == 0


# ---- Cond ------------------------------------------------------------------------------------

WAIT = "sync.Cond.Wait"


def waiting(cond, order, n):
    with cond:
        order.append(-n)
        cond.wait()
        assert cond.mutex.locked()
        order.append(n)


@pytest.mark.in_order
@pytest.mark.parametrize("make", [lambda: None, Mutex, RWMutex])
def test_signal_wakes_one_in_order_broadcast_all(make):
    cond, order = Cond(make()), []
    gs = [until(go(waiting, cond, order, n), WAIT) for n in (1, 2, 3, 4)]
    assert order == [-1, -2, -3, -4]
    del order[:]
    cond.signal()
    gs[0].result()
    assert order == [1]
    with cond:
        cond.broadcast()
        assert order == [1]
    for g in gs:
        g.result()
    assert order == [1, 2, 3, 4] and not cond.mutex.locked()
    cond.signal()
    cond.broadcast()


@pytest.mark.parametrize("end", ["cancel", "timeout"])
def test_cond_wait_holds_the_mutex_again_when_it_raises(end):
    cond, seen = Cond(), []
    def wait():
        with cond:
            try:
                cond.wait(timeout=None if end == "cancel" else 0.002)
            except (Cancelled, TimeoutError):
                seen.append(cond.mutex.locked())
                raise
    g = until(go(wait), WAIT)
    cond.mutex.lock()
    if end == "cancel":
        g.cancel()
        g.cancel()
    until(g, "sync.Mutex.Lock")
    if end == "cancel":
        g.cancel()                          # while it locks again: the lock comes first
        gmpx.gosched()
        assert g.wait_reason == "sync.Mutex.Lock"
    cond.mutex.unlock()
    assert isinstance(g.exception(), Cancelled if end == "cancel" else TimeoutError)
    assert seen == [True] and not cond.mutex.locked()
    with cond:
        cond.signal()


def test_a_signalled_waiter_that_is_cancelled_while_it_locks_keeps_the_signal():
    cond, got = Cond(), []
    def wait():
        with cond:
            got.append(cond.wait())
            gmpx.sleep(10)
    g = until(go(wait), WAIT)
    with cond:
        cond.signal()
        until(g, "sync.Mutex.Lock")
        g.cancel()
    with pytest.raises(Cancelled):
        g.result()
    assert got == [True] and not cond.mutex.locked()


def test_a_cancelled_waiter_takes_no_signal():
    cond, order = Cond(), []
    first = until(go(waiting, cond, order, 1), WAIT)
    second = until(go(waiting, cond, order, 2), WAIT)
    first.cancel()
    cond.signal()
    second.result()
    with pytest.raises(Cancelled):
        first.result()


def test_wait_for():
    cond, box = Cond(), []
    def get():
        with cond:
            return cond.wait_for(lambda: box and box.pop())
    gs = [until(go(get), WAIT) for _ in range(3)]
    for i in (1, 2, 3):
        with cond:
            box.append(i)
            cond.broadcast()
        gmpx.gosched()
    assert sorted(g.result() for g in gs) == [1, 2, 3]
    with cond:
        assert cond.wait_for(lambda: "at once", timeout=0) == "at once"
        for t in (0, 0.002):
            with pytest.raises(TimeoutError, match="wait_for"):
                cond.wait_for(lambda: False, timeout=t)
            assert cond.mutex.locked()
        with pytest.raises(KeyError):
            cond.wait_for({}.popitem)


def test_cond_bad_input():
    for bad in (threading.Lock(), 3, Cond):
        with pytest.raises(TypeError, match="Cond needs"):
            Cond(bad)
    cond = Cond()
    with pytest.raises(RuntimeError, match="not locked"):
        cond.wait()
    with pytest.raises(RuntimeError, match="not locked"):
        cond.wait_for(bool)
    with cond:
        with pytest.raises(TimeoutError):
            cond.wait(timeout=0)
        with pytest.raises(ValueError):
            cond.wait(timeout=-1)
        assert cond.mutex.locked()


# ---- Event -----------------------------------------------------------------------------------

def test_event():
    e = Event()
    assert not e.is_set() and repr(e) == "<Event unset>"
    gs = [until(go(e.wait), "event") for _ in range(3)]
    for t in (0, 0.001):
        with pytest.raises(TimeoutError):
            e.wait(timeout=t)
    cancelled(until(go(e.wait), "event"))
    e.set()
    assert [g.result() for g in gs] == [True] * 3
    assert e.wait(timeout=0) is True and e.is_set()
    e.clear()
    assert not e.is_set()
    t = threading.Thread(target=lambda: e.set())
    t.start()
    assert e.wait(timeout=60)
    t.join()


# ---- Once ------------------------------------------------------------------------------------

def test_once():
    once, calls, gate = Once(), [], Chan()
    def first():
        calls.append(1)
        gate.recv()
    a = until(go(once.do, first), "chan receive")
    others = [until(go(once.do, lambda: calls.append(2)), "sync.Once.Do") for _ in range(3)]
    cancelled(until(go(once.do, print), "sync.Once.Do"))
    assert not once.done
    gate.send(None)
    for g in (a, *others):
        assert g.result() is None
    once.do(print)
    assert calls == [1] and once.done


def test_an_exception_counts_as_done():
    once = Once()
    with pytest.raises(ZeroDivisionError):
        once.do(lambda: 1 / 0)
    once.do(lambda: 1 / 0)
    assert once.done


def test_once_bad_input():
    once = Once()
    with pytest.raises(TypeError, match="callable"):
        once.do(3)
    with pytest.raises(RuntimeError, match="its own function"):
        once.do(lambda: once.do(print))
    assert once.done
