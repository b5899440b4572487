"""What the tests of Go's sync package check (and x/sync's errgroup and semaphore), asked of gmpx.

Left out: TestCondCopy, TestWaitGroupAlign (values cannot be copied here; alignment is C's);
TestMutexMisuse's fatal errors are RuntimeErrors here; Map, Pool and OnceFunc are not part of gmpx.
"""

import pytest

import gmpx
from gmpx import Cond, Group, Mutex, Once, RWMutex, Semaphore, WaitGroup, go

PATIENCE = 30


def run_all(fn, n):
    for g in [go(fn, k) for k in range(n)]:
        g.result(PATIENCE)


def test_mutex_excludes():
    """TestMutex (HammerMutex), with some that only try."""
    mu, inside, count = Mutex(), [0], [0]

    def hammer(k):
        for i in range(300):
            if i % 3 == 0:
                if mu.try_lock():
                    mu.unlock()
                continue
            with mu:
                inside[0] += 1
                assert inside[0] == 1
                gmpx.gosched()
                count[0] += 1
                inside[0] -= 1

    run_all(hammer, 10)
    assert count[0] == 10 * 200 and not mu.locked()


@pytest.mark.parametrize("unlock", [
    lambda: Mutex().unlock(),
    lambda: RWMutex().unlock(),
    lambda: RWMutex().runlock(),
    lambda: (lambda rw: (rw.rlock(), rw.unlock()))(RWMutex()),
    lambda: (lambda rw: (rw.lock(), rw.runlock()))(RWMutex()),
])
def test_unlocking_what_is_not_locked(unlock):
    """TestMutexMisuse."""
    with pytest.raises(RuntimeError):
        unlock()


def test_a_hog_does_not_keep_the_mutex():
    """TestMutexFairness."""
    mu, stop, turns = Mutex(), [], []

    def hog():
        while not stop:
            with mu:
                gmpx.gosched()

    h = go(hog)
    for _ in range(10):
        with mu:
            turns.append(1)
    stop.append(True)
    h.join(PATIENCE)
    assert len(turns) == 10


def test_semaphore_of_one_is_a_mutex():
    """TestSemaphore (HammerSemaphore); x/sync TestWeighted."""
    sem, inside = Semaphore(1), [0]

    def hammer(k):
        for _ in range(200):
            with sem:
                inside[0] += 1
                assert inside[0] == 1
                gmpx.gosched()
                inside[0] -= 1

    run_all(hammer, 10)
    assert sem.free == 1


def test_a_large_request_is_not_starved(parked):
    """x/sync TestLargeAcquireDoesntStarve."""
    sem = Semaphore(4)
    sem.acquire(4)
    large = go(sem.acquire, 4)
    parked(large)
    small = [go(sem.acquire, 1) for _ in range(3)]
    parked(*small)
    for _ in range(4):
        assert not large.done()
        sem.release(1)
    large.join(PATIENCE)
    assert not any(g.done() for g in small)
    sem.release(4)
    for g in small:
        g.join(PATIENCE)


def test_readers_share():
    """TestParallelReaders."""
    rw, ready, release, done = RWMutex(), gmpx.Chan(), gmpx.Chan(), gmpx.Chan()

    def reader():
        with rw.reader():
            ready.send(None)
            release.recv()
        done.send(None)

    n = 5
    for _ in range(n):
        go(reader)
    for _ in range(n):
        ready.recv()  # all are in
    for _ in range(n):
        release.send(None)
    for _ in range(n):
        done.recv()


def test_writers_and_readers_exclude_each_other():
    """TestRWMutex (HammerRWMutex): writers count 10,000, readers 1."""
    rw, active = RWMutex(), [0]

    def write(k):
        for _ in range(100):
            with rw:
                active[0] += 10000
                assert active[0] == 10000
                gmpx.gosched()
                active[0] -= 10000

    def read(k):
        for _ in range(100):
            with rw.reader():
                active[0] += 1
                assert 1 <= active[0] < 10000
                gmpx.gosched()
                active[0] -= 1

    gs = [go(write if k % 5 == 0 else read, k) for k in range(15)]
    for g in gs:
        g.result(PATIENCE)


def test_cond_signal_wakes_one():
    """TestCondSignal, TestCondSignalGenerations: one for each, in the order of coming."""
    m = Mutex()
    c, n = Cond(m), 20
    running, awake = gmpx.Chan(n), gmpx.Chan(n)

    def body(k):
        with m:
            running.send(k)
            c.wait()
            awake.send(k)

    for k in range(n):
        go(body, k)
        assert running.recv() == k
        m.lock()  # it waits, so it has unlocked
        m.unlock()
    for k in range(n):
        assert gmpx.select(awake, block=False)[0] == -1
        with m:
            c.signal()
        assert awake.recv() == k
    c.signal()


def test_cond_broadcast_wakes_all():
    """TestCondBroadcast."""
    m = Mutex()
    c, n, out = Cond(m), 50, []
    running = gmpx.Chan(n)

    def body(k):
        with m:
            running.send(k)
            c.wait()
            out.append(k)

    gs = [go(body, k) for k in range(n)]
    for _ in range(n):
        running.recv()
    with m:
        c.broadcast()
    for g in gs:
        g.join(PATIENCE)
    assert sorted(out) == list(range(n))


def test_cond_passes_a_value_round():
    """TestRace."""
    x = [0]
    c = Cond()

    def first():
        with c:
            x[0] = 1
            c.wait()
            assert x[0] == 2
            x[0] = 3
            c.signal()

    def second():
        while True:
            with c:
                if x[0] == 1:
                    x[0] = 2
                    c.signal()
                    return
            gmpx.gosched()

    def third():
        while True:
            with c:
                if x[0] == 2:
                    c.wait()
                    assert x[0] == 3
                    return
                if x[0] == 3:
                    return
            gmpx.gosched()

    for g in [go(first), go(second), go(third)]:
        g.result(PATIENCE)


def test_a_signal_is_not_stolen_by_one_that_waits_later():
    """TestCondSignalStealing."""
    for _ in range(50):
        m = Mutex()
        c, ready, woken = Cond(m), gmpx.Chan(), []

        def body(c=c, m=m, ready=ready, woken=woken):
            with m:
                ready.send(None)
                c.wait()
                woken.append(1)

        g = go(body)
        ready.recv()
        m.lock()
        m.unlock()
        stop = []

        def thief(c=c, m=m, stop=stop):
            with m:
                while not stop:
                    try:
                        c.wait(0.0001)
                    except TimeoutError:
                        pass

        c.signal()
        late = go(thief)
        g.join(PATIENCE)
        stop.append(True)
        late.join(PATIENCE)
        assert woken == [1]


def test_once():
    """TestOnce."""
    once, count = Once(), [0]

    def up():
        gmpx.gosched()
        count[0] += 1

    run_all(lambda k: (once.do(up), count[0] == 1 or pytest.fail("not done")), 10)
    assert count == [1]


def test_once_that_raises_is_done():
    """TestOncePanic."""
    once = Once()
    with pytest.raises(ZeroDivisionError):
        once.do(lambda: 1 / 0)
    once.do(lambda: pytest.fail("called twice"))


def test_wait_group_serves_again_and_again():
    """TestWaitGroup, TestWaitGroupRace, TestWaitGroupGo."""
    one, two = WaitGroup(), WaitGroup()
    for _ in range(8):
        n = 16
        one.add(n)
        two.add(n)
        exited = gmpx.Chan(n)

        def body(exited=exited):
            one.done()
            two.wait()
            exited.send(True)

        for _ in range(n):
            go(body)
        one.wait()
        for _ in range(n):
            assert gmpx.select(exited, block=False)[0] == -1
            two.done()
        for _ in range(n):
            exited.recv()
    count = []
    for k in range(10):
        one.go(count.append, k)
    one.wait()
    assert sorted(count) == list(range(10))


def test_wait_group_below_zero():
    """TestWaitGroupMisuse."""
    wg = WaitGroup()
    wg.add()
    wg.done()
    with pytest.raises(ValueError):
        wg.done()


def test_errgroup_zero_group_and_first_error():
    """errgroup TestZeroGroup, TestWithContext: the first failure cancels the others."""
    with Group() as grp:
        pass
    first, others, wait = ValueError("first"), [], gmpx.WaitGroup()
    wait.add(3)

    def fails():
        wait.wait()
        raise first

    def waits():
        try:
            wait.done()
            gmpx.Chan().recv()
        except gmpx.Cancelled:
            others.append(1)
            raise

    with pytest.raises(BaseException) as caught:
        with Group() as grp:
            for _ in range(3):
                grp.go(waits)
            grp.go(fails)
    assert caught.value.exceptions == (first,) and others == [1, 1, 1]


def test_errgroup_limit():
    """errgroup TestGoLimit."""
    active = [0]

    def body():
        active[0] += 1
        assert active[0] <= 3
        gmpx.sleep(0.0001)
        active[0] -= 1

    with Group(limit=3) as grp:
        for _ in range(50):
            grp.go(body)
