"""The cyclic collector and finalizers, at any moment."""


def test_a_collection_at_every_allocation(child):
    child("""
        import gc, hashlib, time, gmpx
        c, dels = gmpx.Chan(5), []
        block = bytes(1 << 14)
        class Cycle:
            def __init__(self):
                self.me, self.chan = self, c
            def __del__(self):
                dels.append(1)
                gmpx.go(int)
                try: self.chan.send_nowait(1)
                except gmpx.WouldBlock: pass
        def party(i):
            for _ in range(30):
                Cycle()
                gmpx.gosched()
                gmpx.go(lambda: Cycle()).join()
                try: c.recv(timeout=0.0001)
                except TimeoutError: pass
                hashlib.sha256(block).digest()
            return i
        gmpx.gomaxprocs(3)
        gc.set_threshold(1, 1, 1)
        gs = [gmpx.go(party, i) for i in range(20)]
        time.sleep(0.02)                        # the main thread stands: others take them
        assert [g.result() for g in gs] == list(range(20))
        gc.set_threshold(700, 10, 10)
        gc.collect()
        while gmpx.num_goroutine() > 1:         # what the last finalizers spawned
            gmpx.sleep(0.001)
        assert len(dels) == 20 * 30 * 2, len(dels)
    """).end(0)


def test_gc_callbacks_may_spawn_and_join(child):
    child("""
        import gc, gmpx
        ran = []
        gc.callbacks.append(lambda phase, info: gmpx.go(ran.append, 1).join())
        def collects():
            for _ in range(20): gc.collect()
        gs = [gmpx.go(collects) for _ in range(10)]
        for g in gs: g.result()
        gc.callbacks.clear()
        # a collection that finds another one under way, parked in its callback, does nothing
        assert len(ran) >= 2 * 20 and gmpx.num_goroutine() == 1
    """).end(0)


def test_freeze_and_what_only_a_parked_goroutine_holds(child):
    child("""
        import gc, gmpx
        c = gmpx.Chan()
        gs = [gmpx.go(c.recv) for _ in range(100)]
        gmpx.gosched()
        gc.freeze(); gc.collect()
        for i in range(100): c.send(i)
        assert [g.result() for g in gs] == list(range(100))
        gc.unfreeze(); gc.collect()
        ended = []
        def unreachable():
            mine = gmpx.Chan()
            try: mine.recv()
            finally: ended.append(1)
        gmpx.go(unreachable)
        gmpx.gosched()
        for _ in range(3): gc.collect()
        assert not ended and gmpx.num_goroutine() == 2
        gmpx.shutdown()
        assert ended
    """).end(0)


def test_the_collector_may_look_at_every_object(child):
    child("""
        import gc, gmpx
        c = gmpx.Chan(2); c.send(c)             # a cycle through a buffer
        m, wg = gmpx.Mutex(), gmpx.WaitGroup()
        gs = [gmpx.go(c.send, [c]) for _ in range(5)]
        gs += [gmpx.go(list) for _ in range(5)]
        def looks():
            for o in gc.get_objects(): gc.get_referents(o)
            for g in gmpx.goroutines(): gc.get_referrers(g)
        looks()                                 # parked, queued ...
        gmpx.go(looks).result()
        for _ in range(6): c.recv()
        for g in gs: g.join()
        looks()                                 # ... and dead
    """).end(0)


def test_cycles_through_dead_handles_are_freed(child):
    child("""
        import gc, weakref, gmpx
        class Thing: pass
        def made(thing):
            return thing                        # the result, and it holds the handle
        refs = []
        for i in range(100):
            thing = Thing()
            thing.g = gmpx.go(made, thing) if i % 2 else gmpx.spawn(made, (thing,), name="n")
            thing.g.join()
            refs.append(weakref.ref(thing))
            del thing
        def fails(thing):
            e = ValueError(); e.thing = thing
            raise e
        for i in range(100):
            thing = Thing()
            thing.g = gmpx.go(fails, thing)
            thing.g.exception()
            refs.append(weakref.ref(thing))
            del thing
        gc.collect(); gc.collect()
        alive = [i for i, r in enumerate(refs) if r() is not None]
        assert not alive, alive
    """).end(0)


def test_a_collection_in_a_threads_first_call(child):
    child("""
        import gc, threading, gmpx
        ran = []
        gc.callbacks.append(lambda phase, info: gmpx.go(ran.append, 1).join())
        class Cycle:
            def __init__(self): self.me = self
            def __del__(self): gmpx.go(ran.append, 2)
        gc.set_threshold(1, 1, 1)
        Cycle()
        c = gmpx.Chan(1)
        gmpx.go(c.send, 5)
        assert c.recv() == 5
        def foreign():
            Cycle()
            gmpx.go(c.send, 6)
        for _ in range(20):
            thread = threading.Thread(target=foreign)
            thread.start(); thread.join()
            assert c.recv() == 6
        gc.callbacks.clear()
        gc.set_threshold(700, 10, 10)
        while gmpx.num_goroutine() > 1:
            gmpx.sleep(0.001)
        assert [g.name for g in gmpx.goroutines()] == ["main"]
        assert ran
    """).end(0)


