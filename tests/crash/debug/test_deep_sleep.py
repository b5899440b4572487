"""What comes when M0 has set the wake-up descriptor and is about to sleep on it (signals.pxi, W6)."""

import pytest

HELD = """
    def at_the_point(fn):
        def body():
            reached("deep")
            fn()
            let_go("deep")
        arm("deep")
        return thread(body)
"""


@pytest.mark.parametrize("to", ["process", "thread"])
def test_a_signal_is_not_slept_on(held, to):
    # Python's part of the handler runs on the main thread, which sleeps: the C part wakes it.
    held(HELD + """
    def send():
        if sys.argv[1] == "process":
            os.kill(os.getpid(), signal.SIGINT)
        else:                                   # the main thread's system call is not interrupted
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    at_the_point(send)
    try:
        gmpx.Chan().recv()
    except KeyboardInterrupt:
        print("ok")
    """, to).end(0)


def test_an_item_is_not_slept_on(held):
    held(HELD + """
    c = gmpx.Chan()
    at_the_point(lambda: c.send("item"))
    assert c.recv() == "item"
    """).end(0)


def test_a_spawn_is_not_slept_on(held):
    held(HELD + """
    c = gmpx.Chan()
    at_the_point(lambda: gmpx.go(c.send, "item"))
    assert c.recv() == "item"
    """).end(0)


def test_descriptors_closed_at_the_point(held):
    # The pipe is gone, its numbers may be others': M0 still wakes, and makes a new one.
    held(HELD + """
    c = gmpx.Chan()
    def closes():
        os.closerange(3, 256)
        c.send("item")
    at_the_point(closes)
    assert c.recv() == "item"
    at_the_point(lambda: c.send("again"))
    assert c.recv() == "again"
    """).end(0)
