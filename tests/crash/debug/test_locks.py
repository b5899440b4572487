"""The rule of HACKING.md, "Locks": a wait for a lock of rank 1 or 2 does not give the GIL up."""

import sysconfig

import pytest

pytestmark = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="there is no GIL to give up"
)


def test_waiting_for_a_heaps_lock_keeps_the_gil(held):
    # sysmon stands in the lock of main's heap for a while; main, with the GIL, adds a timer to that
    # heap. Another thread wants the GIL all the time, and would count if it got it.
    held("""
    sys.setswitchinterval(1000)                 # nobody is made to give the GIL up
    n, start = [0], threading.Lock()
    def counts():
        start.acquire()
        for _ in range(1000):
            n[0] += 1
    late = gmpx.Timer(100)
    late.stop()
    start.acquire()
    t = thread(counts)
    gmpx.go(lambda: None).join()
    arm("timers_locked", ms=300)
    due = gmpx.Timer(0.001)
    reached("timers_locked")                    # main stands here: sysmon sees to its timer
    start.release()
    before = n[0]
    late.reset(100)
    after = n[0]
    assert before == after == 0, (before, after)
    t.join()
    assert n[0] == 1000
    due.stop(), late.stop()
    """).end(0)


def test_groups_that_fail_beside_a_busy_timer(held):
    # The assertions of lockrank.h look at each wait.
    held("""
    def bad(): raise ValueError
    gmpx.excepthook = lambda *a: None
    ticker = gmpx.Ticker(0.0005)
    def body():
        for i in range(100):
            try:
                with gmpx.Group() as g:
                    g.go(bad); g.go(gmpx.sleep, 1)
            except BaseExceptionGroup:
                pass
            else:
                raise AssertionError("the failure is lost")
            gmpx.after(0.0005).recv()
    if sys.version_info < (3, 11):
        from exceptiongroup import BaseExceptionGroup
    failed = []
    def guarded():
        try:
            body()
        except BaseException as e:
            failed.append(e)
    threads = [thread(guarded) for _ in range(3)]
    while any(t.is_alive() for t in threads):
        gmpx.sleep(0.001)
    assert not failed, failed
    """).end(0)
