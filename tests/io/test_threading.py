"""gmpx.patch's groups "threading" and "queue": CPython's own locks park goroutines."""

import _thread
import gc
import itertools
import queue
import random
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import gmpx
import gmpx.patch

MADE_BEFORE = {"lock": threading.Lock(), "rlock": threading.RLock(), "queue": queue.Queue(), "event": threading.Event(),
               "simple": queue.SimpleQueue()}


@pytest.fixture(autouse=True)
def patched():
    gmpx.patch.threading()
    gmpx.patch.queue()
    yield
    gmpx.patch.undo("threading", "queue")


def parked(*gs):
    while not all(g.status == "waiting" for g in gs):
        gmpx.sleep(0.001)


def exclusive(lock, n=8):
    """n goroutines go through it; returns how many were inside at most."""
    inside, most = 0, 0

    def through():
        nonlocal inside, most
        for _ in range(3):
            with lock:
                inside += 1
                most = max(most, inside)
                gmpx.gosched()
                gmpx.sleep(0.0005)
                inside -= 1

    for g in [gmpx.go(through) for _ in range(n)]:
        g.result(10)
    return most


@pytest.mark.parametrize("make", [
    threading.Lock, threading.RLock, threading.Condition, lambda: threading.Condition(threading.Lock()),
    threading.Semaphore, threading.BoundedSemaphore, _thread.allocate_lock,
    lambda: MADE_BEFORE["lock"], lambda: MADE_BEFORE["rlock"],
])
def test_one_at_a_time(make):
    assert exclusive(make()) == 1


def test_semaphore_lets_as_many_in():
    assert exclusive(threading.Semaphore(3)) == 3


def test_it_parks_the_goroutine_and_says_so():
    lock = threading.Lock()
    with lock:
        g = gmpx.go(lock.acquire)
        parked(g)
        assert g.wait_reason == "threading lock"
        assert not g.done()
    assert g.result(5) is True
    lock.release()


def test_a_lock_is_handed_to_and_fro_between_a_thread_and_goroutines():
    lock, count, turns = threading.Lock(), 0, 2000

    def add():
        nonlocal count
        for i in range(turns):
            with lock:
                seen = count
                if i % 50 == 0:
                    time.sleep(0)
                count = seen + 1

    threads = [threading.Thread(target=add) for _ in range(2)]
    for t in threads:
        t.start()
    gs = [gmpx.go(add) for _ in range(4)]
    for g in gs:
        g.result(30)
    for t in threads:
        t.join(30)
    assert count == 6 * turns


def test_nobody_starves_who_waits_for_one_that_takes_it_again_at_once():
    lock, taken = threading.Lock(), []

    def hog():
        for i in range(1000):
            with lock:
                if taken:
                    return i
                gmpx.gosched()

    g = gmpx.go(hog)
    gmpx.gosched()

    def one():
        with lock:
            taken.append(True)

    gmpx.go(one).result(5)
    assert g.result(5) <= 3


def test_rlock_belongs_to_the_goroutine():
    lock = threading.RLock()
    with lock, lock:
        assert lock._is_owned()
        assert gmpx.go(lock._is_owned).result(5) is False
        assert gmpx.go(lock.acquire, False).result(5) is False
        with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
            gmpx.go(lock.release).result(5)
        assert gmpx.go(lock.acquire, timeout=0.01).result(5) is False
        g = gmpx.go(lock.acquire)
        parked(g)
    assert g.result(5) is True
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        lock.release()
    assert "count=1" in repr(lock)

    def again():
        return lock.acquire(False)

    assert gmpx.go(again).result(5) is False    # its owner has gone with it


def test_rlock_counts_in_a_goroutine():
    lock, found = threading.RLock(), []

    def count():
        with lock:
            with lock:
                found.append(repr(lock).partition("count=")[2][0])
                if hasattr(lock, "_recursion_count"):
                    assert lock._recursion_count() == 2
                gmpx.sleep(0.001)
            found.append(repr(lock).partition("count=")[2][0])
        found.append(lock._is_owned())

    gmpx.go(count).result(5)
    assert found == ["2", "1", False]
    assert repr(lock).startswith("<unlocked")


def test_rlock_held_across_the_patch():
    gmpx.patch.undo("threading")
    lock = threading.RLock()
    with lock:
        gmpx.patch.threading()
        assert gmpx.go(lock.acquire, False).result(5) is False
        assert lock.acquire(False)
        lock.release()
    assert gmpx.go(lock.acquire, False).result(5) is True


@pytest.mark.parametrize("call", [
    lambda lock: lock.acquire(False, 1),
    lambda lock: lock.acquire(timeout=-2),
    lambda lock: lock.acquire(True, -2),
    lambda lock: lock.acquire(True, threading.TIMEOUT_MAX * 2),
    lambda lock: lock.acquire(1, 2, 3),
    lambda lock: lock.acquire(block=True),
    lambda lock: lock.acquire(True, "x"),
    lambda lock: lock.acquire(True, float("nan")),
    lambda lock: lock.release(),
])
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_errors_are_the_originals(call, make):
    def error(taken):
        lock = make()
        if taken:
            lock.acquire()
        try:
            call(lock)
        except Exception as e:
            return type(e), str(e), lock.acquire(False)
        return None

    for taken in (False, True):
        ours = gmpx.go(error, taken).result(5), error(taken)
        gmpx.patch.undo("threading")
        theirs = error(taken)
        gmpx.patch.threading()
        assert ours == (theirs, theirs)


@pytest.mark.parametrize("args, kwargs", [
    ((), {}), ((True,), {}), ((1,), {}), ((True, 5), {}), ((True, 5.0), {}), ((), {"timeout": 5}),
    ((), {"blocking": True}), ((True, -1), {}), ((), {"blocking": True, "timeout": -1}),
])
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_all_ways_to_ask(args, kwargs, make):
    lock = make()
    lock.acquire()
    g = gmpx.go(lock.acquire, *args, **kwargs)
    parked(g)
    lock.release()
    assert g.result(5) is True


@pytest.mark.parametrize("args, kwargs", [
    ((False,), {}), ((0,), {}), ((True, 0), {}), ((True, 0.01), {}), ((), {"timeout": 0.01}), ((), {"blocking": False}),
])
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_all_ways_to_give_up(args, kwargs, make):
    lock = make()
    with lock:
        assert gmpx.go(lock.acquire, *args, **kwargs).result(5) is False


def test_cancel_ends_the_wait_and_loses_no_wake_up():
    lock = threading.Lock()
    lock.acquire()
    gs = []
    for _ in range(3):      # in this order, whatever thread they are on
        gs.append(gmpx.go(lock.acquire))
        parked(*gs)
    lock.release()          # gs[0] is woken, and cancelled before it runs: it keeps the lock
    gs[0].cancel()
    gs[1].cancel()
    gs[1].join(5)
    with pytest.raises(gmpx.Cancelled):
        gs[1].result(0)
    assert gs[0].result(5) is True
    lock.release()
    assert gs[2].result(5) is True


def test_condition_comes_out_with_its_lock_when_it_is_cancelled():
    for cond in (threading.Condition(), threading.Condition(threading.Lock())):
        held = []

        def wait(cond=cond, held=held):
            with cond:
                try:
                    cond.wait()
                finally:
                    held.append(cond._is_owned())

        g = gmpx.go(wait)
        parked(g)
        with cond:
            g.cancel()
            gmpx.sleep(0.01)
            assert not g.done()             # it waits for the lock
        g.join(5)
        with pytest.raises(gmpx.Cancelled):
            g.result(0)
        assert held == [True]
        assert cond.acquire(False)
        cond.release()


def test_scope_ends_a_wait():
    lock = threading.Lock()
    with lock, pytest.raises(TimeoutError), gmpx.timeout(0.01):
        lock.acquire()
    assert lock.acquire(False)


@pytest.mark.parametrize("make", [queue.Queue, queue.LifoQueue, queue.PriorityQueue, queue.SimpleQueue,
                                  lambda: MADE_BEFORE["queue"], lambda: MADE_BEFORE["simple"]])
@pytest.mark.parametrize("producers", ["threads", "goroutines"])
def test_queues_lose_nothing(make, producers):
    q, n = make(), 4
    gs = [gmpx.go(lambda: [q.get() for _ in range(50)]) for _ in range(n)]
    parked(*gs)

    def put(k):
        for i in range(50):
            q.put((k, i))

    if producers == "threads":
        makers = [threading.Thread(target=put, args=(k,)) for k in range(n)]
        for t in makers:
            t.start()
    else:
        makers = [gmpx.go(put, k) for k in range(n)]
    got = [item for g in gs for item in g.result(10)]
    for maker in makers:
        maker.join(10)
    assert sorted(got) == list(itertools.product(range(n), range(50)))


def test_simple_queue_arguments():
    q = queue.SimpleQueue()

    def outcome(*args, **kwargs):
        try:
            return q.get(*args, **kwargs)
        except Exception as e:
            return type(e), str(e)

    for args, kwargs in [((False,), {}), ((), {"block": False}), ((True, 0), {}), ((True, 0.01), {}), ((True, -1), {}),
                         ((), {"timeout": -1}), ((1, 2, 3), {}), ((), {"wrong": 1}), ((True, "x"), {}),
                         ((), {"timeout": 0.01})]:
        ours = gmpx.go(outcome, *args, **kwargs).result(5)
        gmpx.patch.undo("queue")
        assert ours == outcome(*args, **kwargs)
        gmpx.patch.queue()


def test_bounded_queue_blocks_who_puts():
    q = queue.Queue(1)
    q.put(0)
    g = gmpx.go(q.put, 1)
    parked(g)
    assert q.get() == 0
    g.result(5)
    with pytest.raises(queue.Full):
        gmpx.go(q.put, 2, timeout=0.01).result(5)


def test_events_barriers_timers():
    event = MADE_BEFORE["event"]
    gs = [gmpx.go(event.wait) for _ in range(3)]
    parked(*gs)
    threading.Timer(0.01, event.set).start()
    assert [g.result(5) for g in gs] == [True] * 3
    event.clear()
    assert gmpx.go(event.wait, 0.01).result(5) is False
    barrier = threading.Barrier(3)
    assert sorted(g.result(5) for g in [gmpx.go(barrier.wait) for _ in range(3)]) == [0, 1, 2]


def test_thread_join_parks():
    gate = threading.Event()
    threads = [threading.Thread(target=gate.wait, args=(20,)) for _ in range(10)]
    for t in threads:
        t.start()
    joins = [gmpx.go(t.join) for t in threads]
    parked(*joins)                              # all of them, on whatever threads
    assert gmpx.go(threads[0].join, 0.001).result(5) is None
    assert all(t.is_alive() for t in threads)
    joins[0].cancel()                           # what it had asked for goes on elsewhere, and takes nothing
    joins.pop(0).join(5)
    gate.set()
    threads[0].join(5)
    for g in joins:
        g.result(10)
    assert not any(t.is_alive() for t in threads)


def test_a_join_that_is_given_up_leaves_the_thread_alive():
    go_on = threading.Event()
    t = threading.Thread(target=go_on.wait)
    t.start()
    g = gmpx.go(t.join)
    parked(g)
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result(5)
    with pytest.raises(TimeoutError), gmpx.timeout(0.005):
        t.join()
    assert t.is_alive() and t in threading.enumerate()
    go_on.set()
    t.join(5)
    assert not t.is_alive()


def test_joins_leave_the_spare_threads_alone():
    go_on = threading.Event()
    threads = [threading.Thread(target=go_on.wait) for _ in range(70)]
    for t in threads:
        t.start()
    gs = [gmpx.go(t.join) for t in threads]
    parked(*gs)
    for _ in range(70):
        with pytest.raises(TimeoutError), gmpx.timeout(0.0001):
            threads[0].join()
    assert gmpx.go(gmpx.blocking, int, "3").result(10) == 3
    go_on.set()
    for g in gs:
        g.result(10)
    assert not any(t.is_alive() for t in threads)


def test_a_thread_cannot_join_itself():
    found = []

    def work():
        try:
            threading.current_thread().join()
        except RuntimeError as e:
            found.append(str(e))

    t = threading.Thread(target=work)
    t.start()
    t.join(5)
    assert found == ["cannot join current thread"]
    with pytest.raises(RuntimeError, match="cannot join current thread"):
        threading.current_thread().join()


def test_thread_pool_and_goroutines():
    with ThreadPoolExecutor(2) as pool:
        gs = [gmpx.go(lambda i=i: pool.submit(lambda: (time.sleep(0.001), i)[1]).result()) for i in range(50)]
        assert [g.result(10) for g in gs] == list(range(50))


def test_waiters_outlive_the_patch():
    lock, q = threading.Lock(), queue.SimpleQueue()
    lock.acquire()
    g, h = gmpx.go(lock.acquire), gmpx.go(q.get)
    parked(g, h)
    gmpx.patch.undo("threading", "queue")
    lock.release()
    q.put(1)
    assert (g.result(5), h.result(5)) == (True, 1)
    for method in (_thread.LockType.release, queue.SimpleQueue.put):
        assert "built-in" in repr(method) or "method" in repr(method)


def test_rlocks_outlive_the_patch():
    cond, wanted, other = threading.Condition(), threading.RLock(), threading.RLock()

    def waits():
        with cond:
            return cond.wait(5)

    def wants():
        with wanted:
            return wanted._is_owned()

    def comes_later():
        with other:
            with other:
                return other._is_owned()

    with wanted:
        gs = [gmpx.go(waits), gmpx.go(wants), gmpx.go(wants)]
        parked(*gs)
        gmpx.patch.undo("threading", "queue")
        assert gmpx.go(comes_later).result(5) is True       # while others wait
    with cond:
        cond.notify()
    assert [g.result(5) for g in gs] == [True] * 3
    assert gmpx.go(comes_later).result(5) is True
    for lock in (cond._lock, wanted, other):
        assert repr(lock).startswith("<unlocked")


def test_a_condition_waits_across_the_patch():
    gmpx.patch.undo("threading", "queue")
    cond = threading.Condition()
    done = []

    def waits():
        with cond:
            done.append(cond.wait(5))

    def patches():
        gmpx.patch.threading()
        with cond:
            cond.notify()

    t = threading.Timer(0.02, patches)

    def starts():
        t.start()
        waits()                                 # natively; it comes out with an RLock of the goroutine's

    gmpx.go(starts).result(5)
    t.join(5)
    assert done == [True]
    assert repr(cond._lock).startswith("<unlocked")


def test_locks_go_with_their_last_reference():
    class Mine(threading.RLock if isinstance(threading.RLock, type) else type(threading.RLock())):
        pass

    lock = Mine()
    with lock:
        g = gmpx.go(lock.acquire)
        parked(g)
    g.result(5)
    del g
    ref = weakref.ref(lock)
    del lock
    gc.collect()
    assert ref() is None


def test_conservation_under_a_seeded_storm():
    rng = random.Random(int(time.time()))
    seed = rng.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    locks = [threading.Lock(), threading.RLock(), threading.Semaphore(2)]
    held = [0, 0, 0]
    limits = [1, 1, 2]

    def go_through(rng):
        done = 0
        for _ in range(60):
            k = rng.randrange(3)
            timeout = rng.choice([-1, -1, 0.0005, 0]) if k < 2 else rng.choice([None, 0.0005])
            try:
                ok = locks[k].acquire(True, timeout) if k < 2 else locks[k].acquire(timeout=timeout)
                if not ok:
                    continue
                try:
                    held[k] += 1
                    assert held[k] <= limits[k]
                    if rng.random() < 0.3:
                        gmpx.sleep(0.0002)
                    elif rng.random() < 0.3:
                        gmpx.gosched()
                    done += 1
                finally:
                    held[k] -= 1
                    locks[k].release()
            except gmpx.Cancelled:
                pass
        return done

    gs = [gmpx.go(go_through, random.Random(rng.random())) for _ in range(12)]
    threads = [threading.Thread(target=go_through, args=(random.Random(rng.random()),)) for _ in range(2)]
    for t in threads:
        t.start()
    while not all(g.done() for g in gs):
        rng.choice(gs).cancel()
        gmpx.sleep(0.001)
    for t in threads:
        t.join(30)
    assert held == [0, 0, 0]
    assert locks[0].acquire(False) and gmpx.go(locks[1].acquire, False).result(5)
