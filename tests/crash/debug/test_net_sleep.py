"""An M about to sleep in its poller, into which sysmon looks meanwhile (rt/io/netpoll.pxi, W2, NP7)."""


def test_what_is_to_break_the_sleep_is_the_owners(held):
    """A worker M has seen its inbox empty; an item for its goroutine comes, with a write to what breaks
    its sleep; sysmon looks into the poller, and takes that event; the M sleeps, for good."""
    held("""
    from gmpx.io import wait_readable
    r, w = os.pipe()
    c = gmpx.Chan()
    begun = threading.Event()
    def waits():
        other = gmpx.go(wait_readable, r)       # keeps sysmon interested in this M's poller
        begun.set()
        got.append(c.recv())
        other.cancel()
    got = []
    g = gmpx.go(waits)
    assert begun.wait(PATIENCE)                 # on another M, for this thread stands
    until(lambda: g.wait_reason == "chan receive")
    time.sleep(0.05)
    arm("net_sleep")                            # its next sleep but one: this one ends for a look
    reached("net_sleep")
    assert not got
    thread(c.send, "item")
    time.sleep(0.1)                             # sysmon looks
    let_go("net_sleep")
    until(lambda: got == ["item"])
    """).end(0)
