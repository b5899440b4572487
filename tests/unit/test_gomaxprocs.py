"""gomaxprocs: what it returns and refuses, that resizing keeps queued work, GMPX_MAXPROCS."""

import os
import subprocess
import sys
import threading

import pytest

import gmpx

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.fixture(autouse=True)
def restored():
    before = gmpx.gomaxprocs()
    yield
    gmpx.gomaxprocs(before)


def test_it_returns_the_setting_before():
    first = gmpx.gomaxprocs()
    assert type(first) is int and first >= 1
    assert gmpx.gomaxprocs(3) == first
    assert gmpx.gomaxprocs(1) == 3
    assert gmpx.gomaxprocs(None) == gmpx.gomaxprocs() == 1
    assert gmpx.gomaxprocs(n=first) == 1
    assert gmpx.stats()["gomaxprocs"] == first


@pytest.mark.parametrize("bad, error", [
    (0, ValueError), (-1, ValueError), (1025, ValueError), (10**30, ValueError),
    (-10**30, ValueError), (True, TypeError), (1.0, TypeError), ("2", TypeError), ([], TypeError),
])
def test_bad_input_is_refused_and_changes_nothing(bad, error):
    before = gmpx.gomaxprocs()
    with pytest.raises(error):
        gmpx.gomaxprocs(bad)
    assert gmpx.gomaxprocs() == before
    assert gmpx.go(int).result() == 0


@pytest.mark.parametrize("sizes", [(1, 2), (8, 1), (2, 64, 3), (1024, 1)])
def test_queued_work_is_kept(sizes):
    order = []
    gs = [gmpx.go(order.append, i) for i in range(600)]
    for n in sizes:
        gmpx.gomaxprocs(n)
        gs += [gmpx.go(order.append, i) for i in range(len(gs), len(gs) + 10)]
    for g in gs:
        g.join()
    assert sorted(order) == list(range(len(gs)))


def test_parked_goroutines_go_on_after_a_resize(parked, on_other_m):
    c = gmpx.Chan()
    gs = [on_other_m(c.recv), gmpx.go(c.recv), gmpx.go(c.recv)]
    parked(*gs)
    for n in (5, 1):
        gmpx.gomaxprocs(n)
        assert gmpx.go(lambda: 1).result() == 1
    for i in range(3):
        c.send(i)
    assert sorted(g.result() for g in gs) == [0, 1, 2]


def test_from_a_goroutine_and_from_a_thread(in_thread):
    before = gmpx.gomaxprocs()
    assert gmpx.go(gmpx.gomaxprocs, 5).result() == before
    assert in_thread(gmpx.gomaxprocs, 2).value() == 5
    assert gmpx.gomaxprocs() == 2


def test_a_goroutine_elsewhere_may_resize_under_its_own_feet(on_other_m):
    def body():
        for n in (1, 4, 2, 1):
            gmpx.gomaxprocs(n)
            gmpx.gosched()
            assert gmpx.go(lambda: n).result() == n
        return "done"

    assert on_other_m(body).result() == "done"


def test_resizing_under_load(rng):
    # Yielders, spawners and channel users all the while.
    c = gmpx.Chan(4)
    total = 400

    def produce(k):
        for i in range(total // 8):
            c.send((k, i))
            if rng.random() < 0.1:
                gmpx.gosched()

    wg = gmpx.WaitGroup()
    for k in range(8):
        wg.go(produce, k)
    reader = gmpx.go(lambda: [c.recv() for _ in range(total)])
    for _ in range(30):
        gmpx.gomaxprocs(rng.randint(1, 9))
        gmpx.gosched()
        gmpx.go(int)
    wg.wait()
    assert len(set(reader.result())) == total


def test_with_one_p_another_m_still_helps_a_blocked_main():
    gmpx.gomaxprocs(1)
    event = threading.Event()
    g = gmpx.go(event.set)
    assert event.wait(20)
    g.join()


def run(code, **env):
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, text=True,
        capture_output=True, timeout=60,
    )
    return done.returncode, done.stdout.strip(), done.stderr


def test_the_default_is_what_this_process_may_use():
    rc, out, err = run("import gmpx; print(gmpx.gomaxprocs())", GMPX_MAXPROCS="")
    assert rc == 0 and 1 <= int(out) <= CPUS, err


def test_the_environment_sets_it():
    assert run("import gmpx; print(gmpx.gomaxprocs())", GMPX_MAXPROCS="7")[1] == "7"


@pytest.mark.parametrize("bad", ["0", "-3", "x", "1.5", "1025"])
def test_a_bad_environment_is_told(bad):
    rc, out, err = run("import gmpx; gmpx.go(int)", GMPX_MAXPROCS=bad)
    assert rc == 1 and "GMPX_MAXPROCS must be an int from 1 to 1024" in err and repr(bad) in err
