"""Corners where Python code runs at an awkward moment: finalizers, callbacks, hooks, first contact."""

import os

import pytest

SETUP = """
    import gc, os, signal, sys, threading, time, weakref
    import greenlet, gmpx
"""
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


# ---- handles that come after the end ---------------------------------------------------------

def test_the_handle_that_excepthook_gets_is_a_whole_one(child):
    child(SETUP + """
    kept = []
    gmpx.excepthook = lambda g, exc: kept.append((g, exc))
    def bad(): raise ValueError("x")
    gmpx.go(bad)
    gmpx.sleep(0.01)
    h = gmpx.go(bad); h.join(); del h               # its handle is dropped later
    for g, exc in kept:
        assert g.exception() is exc and g.done() and "bad" in g.name
        try: g.result()
        except ValueError as e: assert e is exc
    assert len(kept) == 2
    del g, kept[:]; gc.collect()
    """).end(0)


def test_a_handle_that_a_results_finalizer_finds(child):
    child(SETUP + """
    kept = []
    class R:
        def __del__(self): kept.extend(g for g in gmpx.goroutines() if g.id != 1)
    gmpx.go(R); gmpx.sleep(0.01)
    assert kept[0].result() is None and kept[0].exception() is None
    """).end(0)


def test_a_failure_whose_handle_lives_to_the_end_is_told_at_exit(child):
    c = child(SETUP + """
    def bad(): raise ValueError("never read")
    def read(): raise ValueError("was read")
    h, r = gmpx.go(bad), gmpx.go(read)
    h.join(); r.exception()
    """).end(0)
    assert c.err.count("ValueError: never read") == 1 and "was read" not in c.err


def test_a_long_chain_of_handles(child):
    child(SETUP + """
    h = None
    for i in range(200_000):
        h = gmpx.go(lambda x: x, h); h.join()
    ref = weakref.ref(h.result())
    del h
    assert ref() is None
    """).end(0)


# ---- first contact ---------------------------------------------------------------------------

@pytest.mark.parametrize("which", ["join", "wg", "mutex", "event", "sem", "rw", "once"])
def test_what_happens_during_a_threads_first_contact_is_seen(child, which):
    child(SETUP + f"""
    which = {which!r}
    c, hold, wg, ev = gmpx.Chan(), gmpx.Mutex(), gmpx.WaitGroup(), gmpx.Event()
    sem, rw, once = gmpx.Semaphore(0), gmpx.RWMutex(), gmpx.Once()
    entered, go_on = threading.Event(), threading.Event()
    class T(threading.Thread):
        slow = False
        @property
        def name(self):
            if self.slow and threading.current_thread() is self:
                entered.set(); go_on.wait()
            return "t"
        @name.setter
        def name(self, v): pass
    h = gmpx.go(c.recv)
    o = gmpx.go(once.do, gmpx.Chan(1).recv) if which == "once" else None
    hold.lock(); wg.add(); rw.lock()
    gmpx.gosched()
    target = dict(join=h.join, wg=wg.wait, mutex=hold.lock, event=ev.wait, sem=sem.acquire,
                  rw=rw.rlock, once=lambda: once.do(print))[which]
    t = T(target=target, daemon=True); t.slow = True; t.start(); entered.wait()
    c.send(1); h.join(); hold.unlock(); wg.done(); ev.set(); sem.release(); rw.unlock()
    if o is not None:
        o.cancel(); o.join()
    go_on.set(); t.join(20)
    assert not t.is_alive()
    """).end(0)


def test_an_unlock_that_fails_loses_no_waiter(child):
    child(SETUP + """
    class T(threading.Thread):
        bad = False
        @property
        def name(self):
            if self.bad and threading.current_thread() is self: raise MemoryError
            return "t"
        @name.setter
        def name(self, v): pass
    m = gmpx.Mutex(); m.lock(); out = []
    h = gmpx.go(lambda: (m.lock(), out.append("got it"))); gmpx.gosched()
    def un():
        try: m.unlock()
        except MemoryError: out.append("MemoryError")
    t = T(target=un); t.bad = True; t.start(); t.join()
    m.unlock()
    h.join(20)
    assert out == ["MemoryError", "got it"]
    """).end(0)


def test_a_timeout_whose_float_parks(child):
    child(SETUP + """
    class F:
        def __float__(self): gmpx.gosched(); return 0.2
    h = gmpx.go(int)
    h.join(F())
    wg = gmpx.WaitGroup(); wg.go(int)
    wg.wait(F())
    """).end(0)


# ---- fork ------------------------------------------------------------------------------------

@posix
def test_two_threads_that_fork_at_once(child):
    child("""
    import os, threading, sys, time
    os.register_at_fork(before=lambda: time.sleep(0.0005), after_in_parent=lambda: time.sleep(0.0005))
    import gmpx
    sys.setswitchinterval(1e-5)
    gmpx.go(int).join()
    def forker():
        for i in range(30):
            pid = os.fork()
            if pid == 0: os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            gmpx.go(int).join()
    ts = [threading.Thread(target=forker) for _ in range(3)]
    [t.start() for t in ts]; [t.join() for t in ts]
    """).end(0)


@posix
def test_a_fork_in_a_done_callback(child):
    c = child(SETUP + """
    pids = []
    def cb(h):
        pid = os.fork()
        pids.append(pid)
    h = gmpx.go(int); h.add_done_callback(cb); h.join()
    gmpx.sleep(0.01)
    print("parent", flush=True)
    assert os.waitpid(pids[0], 0)[1] == 0
    """).end(0)
    assert c.out == "parent\n"


# ---- shutdown and exit -----------------------------------------------------------------------

def test_shutdown_beside_a_callback_that_spawns(child):
    child(SETUP + """
    started, kids = threading.Event(), []
    def cb(h):
        started.set(); time.sleep(0.2)
        kids.append(gmpx.go(lambda: gmpx.sleep(0.05)))
    def user():
        h = gmpx.go(lambda: None); h.add_done_callback(cb)
    t = threading.Thread(target=user); gmpx.current(); t.start(); started.wait(); t.join()
    gmpx.shutdown()
    assert kids and kids[0].done() and gmpx.num_goroutine() == 1
    gmpx.shutdown()
    """).end(0)


def test_shutdown_beside_threads_that_spawn(child):
    child(SETUP + """
    import random
    stop = False
    def f(): gmpx.sleep(0.0005); return 1
    def user():
        while not stop:
            gmpx.go(f).join(20)
    gmpx.current()
    ts = [threading.Thread(target=user) for _ in range(2)]
    [t.start() for t in ts]
    end = time.time() + 5
    while time.time() < end and all(t.is_alive() for t in ts):
        try: gmpx.shutdown(0.5)
        except TimeoutError: pass
        time.sleep(random.random() * 0.003)
    assert all(t.is_alive() for t in ts)
    stop = True
    [t.join() for t in ts]
    gmpx.shutdown()
    """).end(0)


@pytest.mark.parametrize("how", ["exit", "shutdown"])
def test_a_main_thread_that_never_used_it(child, how):
    c = child(SETUP + f"""
    def user():
        def g():
            try: gmpx.Chan().recv()
            finally: print("finally ran", flush=True)
        h = gmpx.go(g)
        while h.status != "waiting": gmpx.sleep(0.01)
    t = threading.Thread(target=user); t.start(); t.join()
    if {how!r} == "shutdown":
        gmpx.shutdown(20)
        assert gmpx.num_goroutine() == 1
        print("after", flush=True)
    """).end(0)
    assert c.out.startswith("finally ran")


def test_a_thread_that_waits_for_a_goroutine_of_the_main_thread_at_exit(child):
    c = child(SETUP + """
    def g(): gmpx.sleep(0.1); return 7
    h = gmpx.go(g); gmpx.gosched()
    threading.Thread(target=lambda: print(h.result())).start()
    """).end(0)
    assert c.out == "7\n"


def test_ctrl_c_after_a_shutdown_and_a_new_start(child):
    child(SETUP + """
    gmpx.go(int).join(); gmpx.shutdown()
    out = []
    def busy():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for i in range(100000): pass
        except BaseException as e: out.append(("busy", repr(e)))
    gmpx.go(busy)
    try: gmpx.sleep(20)
    except KeyboardInterrupt: out.append("main")
    assert out == ["main"], out
    """).end(0)


# ---- callbacks -------------------------------------------------------------------------------

def test_a_callback_cannot_resume_a_parked_goroutine(child):
    child(SETUP + """
    for receives in (True, False):
        c = gmpx.Chan(); gl = []; out = []
        def a():
            gl.append(greenlet.getcurrent()); c.send(1); out.append("sent")
        def b():
            if receives: c.recv()
        def cb(h):
            try: gl[0].throw(ValueError("x"))
            except BaseException as e: out.append(type(e))
        x = gmpx.go(a); gmpx.gosched()
        gmpx.go(b).add_done_callback(cb)
        gmpx.sleep(0.05)
        if not receives: assert c.recv() == 1
        x.result()
        assert out == [RuntimeError, "sent"], out
    """).end(0)


def test_one_done_too_many_is_told(child):
    child(SETUP + """
    said = []
    sys.unraisablehook = lambda u: said.append(str(u.exc_value))
    wg = gmpx.WaitGroup()
    h = wg.go(lambda: None); wg.done(); h.join()
    wg.wait(20)
    gmpx.sleep(0.001)
    assert "negative WaitGroup counter" in said[0], said
    wg.go(int); wg.wait(20)
    """).end(0)


def test_a_thread_that_uses_it_while_it_ends(child):
    child(SETUP + """
    ch = gmpx.Chan(1000)
    def t(): gmpx.current().add_done_callback(ch.send_nowait)
    for i in range(20):
        x = threading.Thread(target=t); x.start(); x.join()
    assert gmpx.num_goroutine() == 1 and len(ch) == 20
    refused = []
    class D:
        def __del__(self):
            try: gmpx.num_goroutine()
            except RuntimeError: refused.append(1)
    loc = threading.local()
    def t3(): loc.x = D(); gmpx.num_goroutine()
    for i in range(10):
        x = threading.Thread(target=t3); x.start(); x.join()
    assert gmpx.num_goroutine() == 1, gmpx.goroutines()
    """).end(0)


def test_the_context_given_to_spawn_is_free_again_for_callbacks(child):
    child(SETUP + """
    import contextvars
    C = contextvars.copy_context(); out = []
    h = gmpx.spawn(lambda: None, context=C)
    h.add_done_callback(lambda h: out.append(C.run(lambda: 5)))
    gmpx.sleep(0.01)
    assert out == [5]
    """).end(0)


def test_a_callback_added_while_the_goroutine_ends(child):
    child(SETUP + """
    out = []; c = gmpx.Chan()
    h = gmpx.go(c.recv); gmpx.gosched()
    class X:
        def __del__(self): gc.disable(); c.send(1); h.join()
    keep = [[] for _ in range(300)]
    x = X(); x.me = x; del x
    gc.set_threshold(1)
    h.add_done_callback(lambda h: out.append("callback"))
    gc.set_threshold(700)
    assert out == ["callback"] or not h.done()
    """).end(0)


def test_a_callback_on_a_dead_handle_lets_its_caller_be_cancelled(child):
    child(SETUP + """
    h = gmpx.go(int); h.join(); c = gmpx.Chan(); out = []
    def g():
        h.add_done_callback(lambda h: c.recv()); out.append("went on")
    x = gmpx.go(g); gmpx.gosched(); x.cancel(); x.join(20)
    assert isinstance(x.exception(), gmpx.Cancelled) and not out
    """).end(0)


# ---- signals ---------------------------------------------------------------------------------

def test_ctrl_c_delivers_no_cancel(child):
    child(SETUP + """
    out = []
    def busy():
        gmpx.current().cancel()
        os.kill(os.getpid(), signal.SIGINT)
        for i in range(100000): pass
        out.append("fine")
    gmpx.go(busy)
    try: gmpx.sleep(20)
    except KeyboardInterrupt: pass
    gmpx.sleep(0.05)
    assert out == ["fine"]
    """).end(0)


def test_two_handlers_that_raise_are_both_heard(child):
    child(SETUP + """
    class A(Exception): pass
    class B(Exception): pass
    def ha(*a): raise A
    def hb(*a): raise B
    signal.signal(signal.SIGUSR1, ha); signal.signal(signal.SIGUSR2, hb)
    def killer():
        time.sleep(.1); os.kill(os.getpid(), signal.SIGUSR1); os.kill(os.getpid(), signal.SIGUSR2)
    threading.Thread(target=killer).start()
    got = set()
    while len(got) < 2:
        try: gmpx.sleep(20)
        except (A, B) as e: got.add(type(e))
    """).end(0)


def test_ctrl_c_in_a_callback_comes_before_the_next_goroutine(child):
    child(SETUP + """
    ran = []
    def cb(h):
        os.kill(os.getpid(), signal.SIGINT)
        for i in range(1000): pass
    h = gmpx.go(int); h.add_done_callback(cb); gmpx.go(ran.append, 1)
    try: gmpx.sleep(20)
    except KeyboardInterrupt: assert not ran
    else: raise AssertionError
    """).end(0)


# ---- the rest --------------------------------------------------------------------------------

def test_keyword_arguments_in_a_cycle_are_collected(child):
    child(SETUP + """
    class Box: pass
    b = Box(); r = weakref.ref(b)
    h = gmpx.go(ImportError, b, name="x"); h.join()
    b.me = h.result(); del b, h; gc.collect()
    assert r() is None
    """).end(0)


def test_timers_that_were_never_initialised(child):
    child(SETUP + """
    for cls in (gmpx.Timer, gmpx.Ticker):
        t = cls.__new__(cls)
        t.stop(); repr(t)
        try: t.reset(1)
        except RuntimeError: pass
        else: raise AssertionError
    """).end(0)


def test_imap_cancels_the_call_that_it_waits_for(child):
    child(SETUP + """
    seen = []; c = gmpx.Chan()
    def f(i): seen.append(gmpx.current()); c.recv()
    def reader():
        for x in gmpx.imap(f, range(3), limit=2): pass
    h = gmpx.go(reader)
    gmpx.sleep(0.02); h.cancel(); h.join()
    assert len(seen) == 2 and all(g.done() for g in seen)
    def inputs():
        yield from range(5)
        raise KeyError
    got = []
    try:
        for x in gmpx.imap(abs, inputs(), limit=3): got.append(x)
    except KeyError: pass
    assert got == list(range(5))
    """).end(0)
