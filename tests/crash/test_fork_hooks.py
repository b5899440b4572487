"""A fork's child before the runtime's own at-fork function: others, registered earlier, come first; and
its timers afterwards, whatever its main does."""

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")

# `hooks` run in the child before gmpx's.
SETUP = """
    import faulthandler, gc, os, sys, threading, time
    hooks = []
    os.register_at_fork(after_in_child=lambda: [h() for h in hooks])
    import gmpx
    from gmpx import context
    PATIENCE = 30.0
    gmpx.go(lambda: None).join()
    def forked(body):
        pid = os.fork()
        if pid == 0:
            try:
                body()
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, status
    def stands_until(condition):                # the child's main runs Python, and never parks
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "still not so"
"""

# What an earlier at-fork function, or a finalizer that runs there, does with the parent's timers.
DOES = {
    "drops a channel of after": "made.append(gmpx.after(10))\nhooks.append(made.clear)",
    "stops a timer": (
        "made.append(gmpx.Timer(10))\n"
        "def stops(): assert made[0].stop() and not made[0].stop()\nhooks.append(stops)"
    ),
    "stops a function": "made.append(gmpx.after_func(10, int))\nhooks.append(made[0].stop)",
    "stops a ticker": "made.append(gmpx.Ticker(10))\nhooks.append(made[0].stop)",
    "resets a timer": "made.append(gmpx.Timer(10))\nhooks.append(lambda: made[0].reset(20))",
    "sets a timer": "hooks.append(lambda: made.append(gmpx.after(0.01)))",
    "cancels a context": (
        "made.extend(context.with_timeout(context.background(), 10))\nhooks.append(made[1])"
    ),
    "collects a timer in a cycle": (
        "class C: pass\nc = C(); c.c = c; c.t = gmpx.Timer(10); del c\nhooks.append(gc.collect)"
    ),
}


@pytest.mark.parametrize("does", DOES)
@pytest.mark.parametrize("others", [0, 100])
def test_an_earlier_function_with_timers(child, does, others):
    lines = "\n    ".join(DOES[does].split("\n"))
    child(SETUP + f"""
    gc.disable()
    made = []
    kept = [gmpx.Timer(5 + i) for i in range({others})]
    {lines}
    def body():
        for t in kept:
            assert t.stop()
        gmpx.after(0.01).recv()
        assert gmpx.go(int).result() == 0
    forked(body)
    gmpx.after(0.01).recv()                     # the parent goes on
    """).end(0)


@pytest.mark.parametrize("waits", ["gmpx.sleep(0.02)", "gmpx.gosched()", "gmpx.go(int).join()"])
def test_an_earlier_function_that_parks_runs_none_of_the_parents(child, waits):
    c = child(SETUP + f"""
    ran = []
    def other(tag):
        ran.append(tag)
        os.write(1, f"{{tag}} {{os.getpid() == parent}}\\n".encode())
    parent = os.getpid()
    def yielded():
        gmpx.gosched()
        other("yielded")
    def slept():
        gmpx.sleep(0.01)
        other("slept")
    def waited():
        ready.recv()
        other("waited")
    ready = gmpx.Chan(1)
    hooks.append(lambda: {waits})
    for fn in (yielded, slept, waited):
        gmpx.go(fn)
    gmpx.gosched()
    for _ in range(300):
        gmpx.go(other, "fresh")
    ready.send(None)
    def body():
        gmpx.sleep(0.03)
        assert ran == [], ran
    forked(body)
    gmpx.sleep(0.1)
    """).end(0)
    lines = c.out.split("\n")
    assert lines.count("fresh True") == 300
    assert lines.count("yielded True") == lines.count("slept True") == lines.count("waited True") == 1
    assert "False" not in c.out


def test_an_earlier_function_that_sleeps_deep_while_the_parents_main_does(child):
    # A thread forks. In the child the earlier function waits so long that it sleeps on the descriptor,
    # which must not be the parent's.
    child(SETUP + """
    import signal
    c, woken = gmpx.Chan(1), []
    def hook():
        c2 = gmpx.Chan()
        t = threading.Timer(0.3, lambda: c2.send("child's"))
        t.start()
        woken.append(c2.recv(timeout=PATIENCE))
    hooks.append(hook)
    def forks():
        time.sleep(0.3)                         # main sleeps deep by now
        pid = os.fork()
        if pid == 0:
            ok = woken == ["child's"] and gmpx.go(int).result() == 0
            os._exit(7 if ok else 1)
        time.sleep(0.1)
        c.send(pid)
        c.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    t = threading.Thread(target=forks); t.start()
    assert c.recv() > 1
    assert c.recv() == 7
    """).end(0)


def test_a_deadline_of_the_parents_fires_while_the_childs_main_is_busy(child):
    child(SETUP + """
    ctx, cancel = context.with_timeout(context.background(), 0.1)
    forked(lambda: stands_until(lambda: ctx.err() is not None))
    stands_until(lambda: ctx.err() is not None)
    """).end(0)


def test_timers_of_the_childs_own_fire_while_its_main_is_busy(child):
    child(SETUP + """
    def body():
        fired = []
        gmpx.after_func(0.01, fired.append, 1)
        stands_until(lambda: fired)
        c = gmpx.after(0.01)
        stands_until(lambda: len(c))
    forked(body)
    forked(lambda: forked(body))                # and in its child
    """).end(0)


def test_the_forking_goroutine_is_a_workers_or_a_threads(child):
    child(SETUP + """
    ctx, cancel = context.with_timeout(context.background(), 0.1)
    def forks():
        forked(lambda: stands_until(lambda: ctx.err() is not None))
    for start in (lambda: gmpx.go(forks), lambda: threading.Thread(target=forks)):
        out = start()
        if isinstance(out, threading.Thread):
            out.start()
            out.join()
        else:
            while not out.done():
                time.sleep(0.001)               # main stands: a worker runs it
            out.result()
    """).end(0)
