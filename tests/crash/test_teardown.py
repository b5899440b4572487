"""What happens while a goroutine ends: finalizers that raise, handles that go first."""


def test_an_exception_in_del_is_reported_and_nothing_else(child):
    done = child("""
        import sys, gmpx
        told = []
        sys.unraisablehook = lambda u: told.append(str(u.exc_value))
        class Bad:
            def __init__(self, name): self.name = name
            def __del__(self): raise ValueError(self.name)
        def f(x): return 1
        assert gmpx.go(f, Bad("argument")).result() == 1
        g = gmpx.go(Bad, "result")
        g.join(); del g
        def raises(x): raise KeyError
        g = gmpx.go(raises, Bad("argument of one that raises"))
        assert isinstance(g.exception(), KeyError); del g
        gmpx.go(lambda: Bad("dropped")); gmpx.sleep(0.001)
        c = gmpx.Chan(1); c.send(Bad("in a channel")); del c
        assert sorted(told) == sorted(["argument", "result", "argument of one that raises",
                                       "dropped", "in a channel"]), told
        assert gmpx.num_goroutine() == 1
    """).end(0)
    assert done.err == ""


def test_finalizers_may_use_the_runtime(child):
    child("""
        import gmpx
        c = gmpx.Chan(10)
        class Sends:
            def __del__(self):
                c.send(gmpx.current().id)       # the goroutine's last act
                gmpx.go(c.send, "spawned")
                gmpx.gosched()
        def f(x): pass
        g = gmpx.go(f, Sends())
        g.join()
        assert c.recv() == g.id
        assert c.recv() == "spawned"
    """).end(0)


def test_a_goroutine_outlives_its_handle(child):
    child("""
        import gc, weakref, gmpx
        c, out = gmpx.Chan(), gmpx.Chan(1)
        g = gmpx.go(lambda: out.send(c.recv() * 2))
        gmpx.gosched()
        ref = weakref.ref(g)
        del g
        gc.collect()
        assert ref() is not None                # it lives: the runtime holds it
        c.send(21)
        assert out.recv() == 42
        gmpx.gosched()
        assert ref() is None
    """).end(0)


def test_arguments_are_freed_at_the_end_and_results_with_the_handle(child):
    child("""
        import weakref, gmpx
        class Thing: pass
        def f(x, *, key): return Thing()
        x, key = Thing(), Thing()
        refs = [weakref.ref(x), weakref.ref(key)]
        g = gmpx.go(f, x, key=key)
        del x, key
        g.join()
        assert [r() for r in refs] == [None, None]
        result = weakref.ref(g.result())
        assert result() is not None
        del g
        assert result() is None
    """).end(0)


def test_system_exit_and_interrupts_of_a_goroutine_are_results(child):
    done = child("""
        import sys, gmpx
        for error in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
            def f(): raise error
            g = gmpx.go(f)
            assert g.exception() is error
            try: g.result()
            except BaseException as e: assert e is error
            else: raise AssertionError
        def quiet(): sys.exit(5)
        gmpx.go(quiet)
        gmpx.gosched()
        gmpx.sleep(0.001)
    """).end(0)
    assert done.err == ""


def test_an_unread_exception_is_reported_once(child):
    done = child("""
        import gmpx
        def f(): raise ValueError("nobody reads me")
        gmpx.go(f)
        g = gmpx.go(f); g.join(); del g
        gmpx.sleep(0.001)
    """).end(0)
    assert done.err.count("ValueError: nobody reads me") == 2
    assert done.err.count("goroutine ") == 2


def test_threads_honour_settrace_and_setprofile(child):
    child("""
        import threading, time, gmpx
        main = threading.get_ident()
        seen = set()
        def tracer(frame, event, arg):
            if frame.f_code.co_name == "body":
                seen.add((event == "call", threading.get_ident() != main))
        threading.settrace(tracer)
        begun = threading.Event()
        def body():
            begun.set()
        gmpx.go(body)
        assert begun.wait(20)                   # the main thread stands: another M runs it
        end = time.monotonic() + 20
        while not seen and time.monotonic() < end:
            time.sleep(0.001)
        assert seen == {(True, True)}, seen
    """).end(0)


def test_a_subinterpreter_is_refused_with_a_clear_text(child):
    child("""
        import sys
        try:
            import _xxsubinterpreters as sub
        except ImportError:
            try:
                import _interpreters as sub
            except ImportError:
                sys.exit(0)
        import gmpx
        made = sub.create()
        source = (
            "try:\\n    import gmpx\\n"
            "except ImportError as e:\\n    assert 'interpreter' in str(e), e\\n"
            "else:\\n    raise AssertionError('imported')\\n"
        )
        failed = (getattr(sub, "run_string", None) or sub.exec)(made, source)
        assert failed is None, failed
        assert gmpx.go(int).result() == 0
    """).end(0)
