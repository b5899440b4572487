"""Depth: each goroutine has a recursion allowance of its own, and overrunning it is survivable."""


def test_deep_recursion_is_an_ordinary_exception(child):
    child("""
        import gmpx
        def deep(n):
            return deep(n + 1)
        bad = [gmpx.go(deep, 0) for _ in range(5)]
        good = gmpx.go(lambda: 42)
        for g in bad:
            assert isinstance(g.exception(), RecursionError), g.exception()
        assert good.result() == 42
        assert gmpx.go(lambda: 43).result() == 43
    """).end(0)


def test_depth_is_not_inherited_from_the_spawner_or_the_waiter(child):
    child("""
        import sys, gmpx
        def depth(n):
            return 0 if n == 0 else 1 + depth(n - 1)
        half = sys.getrecursionlimit() // 2 + 100
        def down(n):
            if n:
                return down(n - 1)
            # both run while this stack is deep
            assert gmpx.go(depth, half).result() == half
            c = gmpx.Chan()
            g = gmpx.go(lambda: (c.recv(), depth(half)))
            gmpx.gosched()
            c.send(1)
            assert g.result() == (1, half)
            return "down"
        assert down(half) == "down"
        assert gmpx.go(down, half).result() == "down"
    """).end(0)


def test_a_long_chain_of_spawns_does_not_deepen(child):
    child("""
        import gmpx
        N = 20_000
        done = gmpx.Chan()
        def link(n):
            if n == 0:
                done.send("end")
            else:
                gmpx.go(link, n - 1)
                gmpx.gosched()
        gmpx.go(link, N)
        assert done.recv() == "end"
        def nested(n):
            return 0 if n == 0 else 1 + gmpx.go(nested, n - 1).result()
        assert nested(N) == N
    """).end(0)


def test_recursion_error_beside_parked_goroutines(child):
    child("""
        import gmpx
        c = gmpx.Chan()
        parked = [gmpx.go(c.recv) for _ in range(1000)]
        def deep(n):
            gmpx.gosched()
            return deep(n + 1)
        bad = [gmpx.go(deep, 0) for _ in range(3)]
        for g in bad:
            assert isinstance(g.exception(), RecursionError)
        for i in range(1000):
            c.send(i)
        assert sorted(g.result() for g in parked) == list(range(1000))
    """).end(0)
