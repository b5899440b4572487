"""Greenlets of the user's own inside goroutines, and others' greenlets that must be left alone."""

import subprocess
import sys

import greenlet
import pytest

import gmpx


def test_a_child_greenlet_runs_inside_a_goroutine():
    def body():
        def child(x):
            y = greenlet.getcurrent().parent.switch(x + 1)
            return y * 2

        gr = greenlet.greenlet(child)
        got = gr.switch(1)
        return got, gr.switch(10), gr.dead

    assert gmpx.go(body).result() == (2, 20, True)
    assert body() == (2, 20, True), "and on main"


def test_a_child_greenlet_may_park_its_goroutine(parked):
    # What parks is the child; it is the child that must be resumed, with its parent below it.
    c = gmpx.Chan()

    def body():
        def child():
            first = c.recv()
            gmpx.gosched()
            gmpx.sleep(0.001)
            return first, c.recv()

        return greenlet.greenlet(child).switch()

    gs = [gmpx.go(body) for _ in range(3)]
    parked(*gs)
    for i in range(6):
        c.send(i)
    got = sorted(sum((g.result() for g in gs), ()))
    assert got == list(range(6))


def test_child_and_parent_park_in_turns():
    c = gmpx.Chan()

    def body():
        me = greenlet.getcurrent()

        def child():
            while True:
                me.switch(("child", c.recv()))

        gr = greenlet.greenlet(child)
        seen = []
        for _ in range(10):
            seen.append(gr.switch())
            seen.append(("parent", c.recv()))
        return seen

    g = gmpx.go(body)
    for i in range(20):
        c.send(i)
    seen = g.result()
    assert [v for _, v in seen] == list(range(20))
    assert [who for who, _ in seen] == ["child", "parent"] * 10


def test_the_current_goroutine_is_the_same_in_a_child():
    def body():
        return greenlet.greenlet(gmpx.current).switch() is gmpx.current()

    assert gmpx.go(body).result() is True


def test_goexit_and_exceptions_leave_a_child_through_its_parent(hook):
    def fails():
        raise KeyError("in the child")

    g = gmpx.go(lambda: greenlet.greenlet(fails).switch())
    assert g.exception().args == ("in the child",)
    g = gmpx.go(lambda: greenlet.greenlet(gmpx.goexit).switch())
    assert g.result() is None and hook == []


def test_main_may_park_in_a_child_greenlet():
    c = gmpx.Chan()
    gmpx.go(c.send, "to the child")
    assert greenlet.greenlet(c.recv).switch() == "to the child"
    assert gmpx.go(lambda: 1).result() == 1


# Resuming what is not one's own: in a process of its own, for the case that it goes wrong.

PROLOGUE = """
import greenlet, gmpx
c, its = gmpx.Chan(), []
def body():
    its.append(greenlet.getcurrent())
    return c.recv()
g = gmpx.go(body)
while g.status != "waiting":
    gmpx.gosched()
"""

EPILOGUE = """
assert g.status == "waiting", g
c.send("unharmed")
assert g.result(5) == "unharmed"
assert gmpx.go(lambda: 1).result(5) == 1
print("fine")
"""


def run(code):
    try:
        done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], text=True,
                              capture_output=True, timeout=20)
    except subprocess.TimeoutExpired:
        pytest.fail("it hangs")
    assert done.returncode == 0 and done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize("how", ["its[0].switch()", "its[0].throw(ValueError('from outside'))"])
def test_resuming_a_parked_goroutines_greenlet_is_a_runtime_error(how):
    run(f"{PROLOGUE}\ntry:\n    {how}\nexcept RuntimeError:\n    pass\n"
        f"else:\n    raise SystemExit('no error')\n{EPILOGUE}")


def test_a_goroutine_that_resumes_anothers_greenlet_gets_a_runtime_error():
    run(f"{PROLOGUE}\nh = gmpx.go(lambda: its[0].switch())\n"
        f"assert type(h.exception(5)) is RuntimeError, h\n{EPILOGUE}")


def test_a_goroutine_that_resumes_mains_greenlet_gets_a_runtime_error():
    run(f"{PROLOGUE}\nmain = greenlet.getcurrent()\nh = gmpx.go(lambda: main.switch())\n"
        f"assert type(h.exception(5)) is RuntimeError, h\n{EPILOGUE}")


def test_dropping_a_suspended_child_is_harmless():
    ended = []

    def body():
        def child():
            try:
                greenlet.getcurrent().parent.switch()
            finally:
                ended.append(1)

        gr = greenlet.greenlet(child)
        gr.switch()
        del gr
        gmpx.gosched()

    for g in [gmpx.go(body) for _ in range(10)]:
        g.result()
    assert len(ended) == 10
