"""Work that comes to an M which is on midle and has not yet looked again (rt/sched/sleep.pxi, W1, W2)."""

HELD = """
    def at_the_point(fn):
        def body():
            reached("stop_m")
            fn()
            let_go("stop_m")
        gmpx.go(lambda: None).join()
        arm("stop_m")
        return thread(body)
    c = gmpx.Chan(1)
"""


def test_a_foreign_threads_spawn(held):
    held(HELD + """
    at_the_point(lambda: gmpx.go(c.send, "item"))
    assert c.recv() == "item"
    """).end(0)


def test_an_item_for_a_goroutine_that_is_bound_to_it(held):
    held(HELD + """
    at_the_point(lambda: c.send("item"))
    assert c.recv() == "item"
    """).end(0)


def test_a_timer_of_a_foreign_thread(held):
    held(HELD + """
    def sets():
        gmpx.after_func(0.001, c.send, "item")
    at_the_point(sets)
    assert c.recv() == "item"
    """).end(0)
