"""Which goroutines run on which threads, under a GIL: what leaves it free spreads, what keeps it does not
(rt/sched/watch.pxi), and what is known to leave it for long is placed (rt/sched/learn.pxi).

Each task tells the thread that it runs on; nothing here is timed.
"""

import sysconfig

import pytest

pytestmark = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="about builds with a GIL"
)

SETUP = """
    import hashlib, os, threading, time, zlib
    import gmpx
    gmpx.gomaxprocs(2)
    main = threading.get_ident()
    BLOCK = os.urandom(1 << 20)
    NULL = os.open(os.devnull, os.O_WRONLY)
    def sha(i): hashlib.sha256(BLOCK); return threading.get_ident()
    def sleeps(i): time.sleep(0.002); return threading.get_ident()
    def writes(i): os.write(NULL, b"x"); return threading.get_ident()
    def python(i):
        for _ in range(20_000): pass
        return threading.get_ident()
    def in_group(f, n, limit):
        with gmpx.Group(limit=limit) as group:
            gs = [group.go(f, i) for i in range(n)]
        return [g.result() for g in gs]
    def on_workers(f, n, first):                # first: they have all parked before the first item
        c, out, wg = gmpx.Chan(), [], gmpx.WaitGroup()
        def worker():
            for i in c: out.append(f(i))
        for _ in range(8): wg.go(worker)
        if first: gmpx.sleep(0.01)
        for i in range(n): c.send(i)
        c.close()
        wg.wait()
        return out
    WAYS = {
        "go": lambda f, n: [g.result() for g in [gmpx.go(f, i) for i in range(n)]],
        "map": lambda f, n: gmpx.map(f, range(n)),
        "map, limit": lambda f, n: gmpx.map(f, range(n), limit=2),
        "map of an iterator, limit": lambda f, n: gmpx.map(f, iter(range(n)), limit=2),
        "imap": lambda f, n: list(gmpx.imap(f, range(n), limit=8)),
        "group": lambda f, n: in_group(f, n, 8),
        "workers": lambda f, n: on_workers(f, n, False),
    }
    def shares(threads):
        return sorted((threads.count(t) / len(threads) for t in set(threads)), reverse=True)
"""

WAYS = ["go", "map", "map, limit", "map of an iterator, limit", "imap", "group", "workers"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("task", ["sha", "sleeps"])
def test_what_leaves_the_gil_free_runs_on_several_threads(child, way, task):
    child(SETUP + f"""
    found = WAYS[{way!r}]({task}, 400)
    assert len(found) == 400
    assert shares(found)[0] < 0.9, (shares(found), gmpx.stats()["outside"])
    """).end(0)


def test_workers_that_parked_first_are_spread_when_their_kind_is_known(child):
    child(SETUP + """
    for _ in range(4):
        found = on_workers(sha, 400, True)
    assert shares(found)[0] < 0.9, (shares(found), gmpx.stats()["outside"])
    """).end(0)


# The first are stolen in a hot time, the second placed. Means of 20 runs: 4.4 to 5.0, 3.2 to 4.2; if who has taken such
# does not rest 5.9 to 6.4, 4.5 to 6.2.
@pytest.mark.parametrize(("size", "bound"), [(1 << 17, 5.5), (1 << 20, 4.4)])
def test_workers_that_wait_for_the_first_item_are_not_all_taken_by_one_thread(child, size, bound):
    # They park at once, while main's thread is in the first one's item. They meet, too: who is alone on his thread
    # would wait there for one of the others'.
    child(SETUP + f"""
    block = BLOCK[:{size}]
    there, back = gmpx.Chan(), gmpx.Chan()
    def run(n):
        c, threads, wg = gmpx.Chan(), [], gmpx.WaitGroup()
        def worker():
            threads.append(threading.get_ident())
            for i in c:
                hashlib.sha256(block)
                if i % 2: there.recv(); back.send(i)
                else: there.send(i); back.recv()
                hashlib.sha256(block)
        for _ in range(8): wg.go(worker)
        for i in range(n): c.send(i)
        c.close()
        wg.wait()
        return max(threads.count(t) for t in set(threads))
    run(200)
    most = [run(100) for _ in range(20)]
    assert sum(most) / len(most) < {bound}, most
    """).end(0)


@pytest.mark.parametrize("way", WAYS)
def test_what_keeps_the_gil_stays_where_it_is(child, way):
    # sysmon may send one for what lies behind a long one, or on a machine that stops for a while.
    child(SETUP + f"""
    found = WAYS[{way!r}](python, 1000)
    assert shares(found)[0] > 0.8, shares(found)
    assert not any(one["placed"] for one in gmpx.stats()["outside"]), gmpx.stats()["outside"]
    """).end(0)


def test_short_system_calls_stay_where_they_are(child):
    child(SETUP + """
    found = WAYS["go"](writes, 100_000)
    assert shares(found)[0] > 0.8, shares(found)
    assert not any(one["placed"] for one in gmpx.stats()["outside"]), gmpx.stats()["outside"]
    """).end(0)


def test_with_one_p_tasks_that_compute_stay_on_one_thread_each_way(child):
    # So short that none looks as if it stood, on a machine that stops for a while.
    child(SETUP + """
    gmpx.gomaxprocs(1)
    BLOCK = BLOCK[:1 << 16]
    for way in WAYS.values():
        found = way(sha, 1000)
        assert shares(found)[0] > 0.8, shares(found)
    """).end(0)


def test_a_long_blocking_function_that_is_known_leaves_the_main_thread_alone(child):
    child(SETUP + """
    gmpx.map(sleeps, range(100), limit=2)
    known = {one["name"]: one for one in gmpx.stats()["outside"]}
    assert known["sleeps"]["placed"] and known["sleeps"]["seconds_a_run"] > 0.001, known
    found = gmpx.map(sleeps, iter(range(100)), limit=2)
    assert found.count(main) < 20, found.count(main)
    """).end(0)


def test_code_that_has_changed_its_ways_is_forgotten(child):
    child(SETUP + """
    long = True
    def task(i):
        if long: time.sleep(0.002)
    gmpx.map(task, range(100), limit=2)
    assert any(one["name"] == "task" and one["placed"] for one in gmpx.stats()["outside"])
    long = False
    until = time.monotonic() + 30
    while any(one["name"] == "task" and one["placed"] for one in gmpx.stats()["outside"]):
        assert time.monotonic() < until, gmpx.stats()["outside"]
        gmpx.map(task, range(2000))         # several times: a spawn looks at what is known only while sysmon watches
    """).end(0)


def test_a_code_object_that_is_gone_is_mistaken_for_no_other(child):
    child(SETUP + """
    for n in range(200):
        scope = {"time": time}
        exec("def task(i): time.sleep(0.001)", scope)
        gmpx.map(scope["task"], range(3))
        del scope
    assert len(gmpx.stats()["outside"]) <= 64
    """).end(0)


def test_fresh_goroutines_start_beside_a_thread_that_blocks(child):
    child(SETUP + """
    begun, gate = threading.Event(), threading.Event()
    def blocks(): begun.set(); assert gate.wait(30)
    def spawner():                              # on another M
        assert begun.wait(30)
        gs = [gmpx.go(threading.get_ident) for _ in range(100)]
        found = [g.result(timeout=30) for g in gs]
        gate.set()
        return found
    g, h = gmpx.go(blocks), gmpx.go(spawner)
    assert len(h.result(timeout=30)) == 100
    g.join(timeout=30)
    """).end(0)


def test_a_builtin_function_is_known_by_its_name(child):
    child(SETUP + """
    gmpx.map(time.sleep, [0.002] * 100, limit=2)
    assert any(one["name"] == "sleep" and one["placed"] for one in gmpx.stats()["outside"])
    """).end(0)
