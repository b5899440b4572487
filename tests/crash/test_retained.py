"""What a burst leaves behind goes, also where events go on coming."""


def test_workers_of_a_burst_go_under_a_trickle(child):
    # No sleep of the M lasts as long as housekeeping waits: it comes by the clock all the same.
    child("""
    import time
    import gmpx
    from gmpx import _core
    N = 3000
    ev = gmpx.Event()
    gs = [gmpx.go(ev.wait) for _ in range(N)]
    while any(g.status != "waiting" for g in gs):
        gmpx.gosched()
    ev.set()
    gmpx.wait(gs)
    del gs
    def idle():
        return [m.idle_workers for m in _core._machines()]
    assert sum(idle()) > N // 2, idle()
    end = time.monotonic() + 20
    while max(idle()) > 256 and time.monotonic() < end:     # IDLE_WORKERS stay, of each M
        gmpx.sleep(0.02)
    assert max(idle()) <= 256, idle()
    """).end(0)
