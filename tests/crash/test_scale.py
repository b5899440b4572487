"""Many goroutines: queued at once, spawned in a row, while gomaxprocs changes."""


def test_a_million_queued_at_once_run_once_each(child):
    child("""
        import gmpx
        N = 1_000_000
        seen = bytearray(N)
        def mark(i): seen[i] += 1
        wg = gmpx.WaitGroup()
        for i in range(N):
            wg.go(mark, i)
        wg.wait()
        assert seen == b"\\1" * N
        assert gmpx.num_goroutine() == 1
    """).end(0)


def test_five_million_spawns_leave_nothing(child):
    child("""
        import gc, os, sys, gmpx
        def noop(): pass
        def one(x): return x
        def run(n):
            wg = gmpx.WaitGroup()
            for _ in range(n // 1000):
                for _ in range(500):
                    wg.go(noop)
                for i in range(500):
                    wg.go(one, i)
                wg.wait()
        def blocks():
            gc.collect()
            return sys.getallocatedblocks()
        def resident():
            try:
                with open("/proc/self/statm") as f:
                    return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except FileNotFoundError:
                return 0
        run(100_000)
        before, pages = blocks(), resident()
        run(5_000_000)
        assert blocks() - before < 500, blocks() - before
        assert resident() - pages < 4_000_000, resident() - pages
        import sysconfig
        if not sysconfig.get_config_var("Py_GIL_DISABLED"):     # there functions' counts are deferred
            assert sys.getrefcount(noop) < 10 and sys.getrefcount(one) < 10
    """).end(0)


def test_references_to_shared_arguments_balance(child):
    child("""
        import sys, gmpx
        thing = object()
        c = gmpx.Chan(4)
        def f(a, *rest, k=None): return a
        def boom(a): raise ValueError(a)
        before = sys.getrefcount(thing)
        for _ in range(20_000):
            gmpx.go(f, thing); gmpx.go(f, thing, thing, k=thing)
            g = gmpx.go(boom, thing); g.exception()
            c.send(thing); c.recv()
            gmpx.go(c.send, thing); c.recv()
            try: c.recv(timeout=0)
            except TimeoutError: pass
            g = gmpx.go(c.recv); gmpx.gosched(); g.cancel(); g.join()
        while gmpx.num_goroutine() > 1:
            gmpx.gosched()
        del g
        assert sys.getrefcount(thing) == before, sys.getrefcount(thing) - before
    """).end(0)


def test_gomaxprocs_changes_under_load(child):
    child("""
        import hashlib, random, threading, time, gmpx
        block = bytes(1 << 16)
        count = [0]
        guard = threading.Lock()
        def work(i):
            hashlib.sha256(block).digest()
            if i % 3 == 0:
                gmpx.gosched()
            with guard:
                count[0] += 1
        wg = gmpx.WaitGroup()
        N = 6000
        for i in range(N):
            wg.go(work, i)
            if i % 20 == 0:
                gmpx.gomaxprocs(random.Random(i).choice([1, 2, 3, 8, 64]))
                assert 1 <= gmpx.gomaxprocs() <= 64
            if i % 500 == 0:
                time.sleep(0.01)                # the others come and take
        for n in (1, 5, 2, 1024, 1):
            gmpx.gomaxprocs(n)
            gmpx.gosched()
        wg.wait()
        assert count[0] == N
    """).end(0)


def test_bad_input_and_the_runtime_goes_on(child):
    child("""
        import math, gmpx
        def fails(error, f, *args, **kwargs):
            try: f(*args, **kwargs)
            except error: pass
            else: raise AssertionError((f, args, kwargs))
            assert gmpx.go(len, "abc").result() == 3
        c, wg, mutex = gmpx.Chan(), gmpx.WaitGroup(), gmpx.Mutex()
        g = gmpx.go(int); g.join()
        fails(TypeError, gmpx.go); fails(TypeError, gmpx.go, 5); fails(TypeError, wg.go, None)
        fails(TypeError, gmpx.spawn, 5)
        fails(TypeError, gmpx.spawn, int, context=5)
        fails(TypeError, gmpx.spawn, int, name=5)
        fails(ValueError, gmpx.Chan, -1); fails(TypeError, gmpx.Chan, 1.5)
        fails(TypeError, gmpx.Chan, "1"); fails(OverflowError, gmpx.Chan, 10**30)
        for f in (c.recv, c.recv_ok, wg.wait, mutex.lock, g.join, g.result, g.exception):
            fails(ValueError, f, timeout=-1); fails(ValueError, f, timeout=math.nan)
            fails(TypeError, f, timeout="1"); fails(TypeError, f, timeout=[])
        fails(ValueError, c.send, 1, timeout=-1)
        fails(ValueError, gmpx.sleep, -1); fails(ValueError, gmpx.sleep, math.nan)
        fails(TypeError, gmpx.sleep, "1"); fails(TypeError, gmpx.sleep, None)
        fails(ValueError, wg.done); fails(ValueError, wg.add, -1)
        fails(RuntimeError, mutex.unlock); fails(RuntimeError, mutex.release)
        fails(ValueError, gmpx.gomaxprocs, 0); fails(TypeError, gmpx.gomaxprocs, "2")
        fails(ValueError, gmpx.gomaxprocs, 10**6)
        fails(RuntimeError, gmpx.goexit)
        fails(TypeError, gmpx.map, 5, [1]); fails(ValueError, gmpx.map, abs, [1], limit=0)
        fails(TypeError, gmpx.Goroutine); fails(TypeError, gmpx.Machine)
        c.close()
        fails(gmpx.ChannelClosed, c.send, 1); fails(gmpx.ChannelClosed, c.close)
        fails(gmpx.ChannelClosed, c.recv)
        assert gmpx.num_goroutine() == 1
    """).end(0)
