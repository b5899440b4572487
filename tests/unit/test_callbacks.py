"""Done callbacks: order, what they see, what they may do, what their errors become."""

import gc

import pytest

import gmpx


def boom(text="boom"):
    raise ValueError(text)



def test_callbacks_run_in_order_with_the_handle_after_the_end():
    c = gmpx.Chan()
    g = gmpx.go(c.recv)
    seen = []
    for i in range(5):
        g.add_done_callback(lambda h, i=i: seen.append((i, h is g, h.done(), h.result())))
    gmpx.gosched()
    assert seen == []
    c.send("v")
    g.join()
    gmpx.gosched()
    assert seen == [(i, True, True, "v") for i in range(5)]


def test_a_callback_on_a_dead_goroutine_runs_at_once():
    g = gmpx.go(lambda: 3)
    g.join()
    seen = []
    assert g.add_done_callback(lambda h: seen.append(h.result())) is None
    assert seen == [3]


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_callback_raises_goes_to_the_hook_and_the_others_run(hook, when):
    g = gmpx.go(lambda: 3)
    if when == "after":
        g.join()
    seen = []
    g.add_done_callback(lambda h: boom("in a callback"))
    g.add_done_callback(seen.append)
    assert g.result() == 3
    gmpx.gosched()
    assert seen == [g]
    assert [(h is g, str(e)) for h, e in hook] == [(True, "in a callback")]


@pytest.mark.in_order
def test_callbacks_see_failures_and_reading_there_counts(hook):
    seen = []
    gmpx.go(boom).add_done_callback(lambda h: seen.append(h.exception()))
    gmpx.go(int).join()
    gmpx.gosched()
    assert [str(e) for e in seen] == ["boom"]
    gc.collect()
    assert hook == []


def test_a_callback_may_spawn_and_close_but_not_park(hook):
    c, done = gmpx.Chan(), gmpx.Chan(1)

    def callback(h):
        done.send_nowait(gmpx.go(lambda: "spawned"))
        c.close()

    g = gmpx.go(int)
    g.add_done_callback(callback)
    assert c.recv_ok() == (None, False)
    assert done.recv().result() == "spawned"
    g = gmpx.go(int)
    g.add_done_callback(lambda h: gmpx.Chan().recv())
    g.join()
    gmpx.gosched()
    assert [type(e) for _, e in hook] == [RuntimeError]


def test_a_callback_must_be_callable():
    g = gmpx.go(int)
    with pytest.raises(TypeError):
        g.add_done_callback(None)
    assert g.result() == 0


def test_a_callback_added_by_a_callback_runs():
    seen = []
    g = gmpx.go(int)
    g.add_done_callback(lambda h: h.add_done_callback(lambda h: seen.append("inner")))
    g.join()
    gmpx.gosched()
    assert seen == ["inner"]
