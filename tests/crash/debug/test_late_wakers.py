"""A waker that is late: between its push and its wake-up the M goes on, ends, serves another thread."""


def test_the_thread_has_ended_and_another_has_its_m(held):
    # timers_batch pushes the goroutine of a foreign thread, is held, and wakes the M afterwards. The
    # thread's look after a while finds the push; the thread ends; the next thread gets its M.
    held("""
    gmpx.go(lambda: None).join()
    arm("ready_pushed")
    at = []
    def first():
        at.append(_core._m_address())
        try:
            with gmpx.timeout(0.001):
                gmpx.Chan().recv()
        except TimeoutError:
            pass
    ended(thread(first))
    reached("ready_pushed")                     # sysmon has still to wake the M of `first`

    c, got, ms = gmpx.Chan(), [], []
    def second():
        at.append(_core._m_address())
        ms.append(gmpx.current())
        got.extend(c)
    t = thread(second)
    until(lambda: ms and ms[0].status == "waiting")
    assert at[0] == at[1]
    let_go("ready_pushed")                      # wakes `second`, for which nothing has come
    fired = threading.Event()
    gmpx.after_func(0.001, fired.set)
    assert fired.wait(PATIENCE)                 # sysmon has been there, and goes on
    assert ms[0].status == "waiting" and got == []
    for i in range(3):
        c.send(i)
    c.close()
    ended(t)
    assert got == [0, 1, 2]
    """).end(0)


def test_the_thread_has_ended_and_nobody_has_its_m(held):
    held("""
    gmpx.go(lambda: None).join()
    for i in range(3):
        arm("ready_pushed")
        def first():
            try:
                with gmpx.timeout(0.001):
                    gmpx.Chan().recv()
            except TimeoutError:
                pass
        ended(thread(first))
        reached("ready_pushed")
        let_go("ready_pushed")
    fired = threading.Event()
    gmpx.after_func(0.001, fired.set)
    assert fired.wait(PATIENCE)
    """).end(0)


def test_a_thread_that_comes_to_wait_anew_is_woken_in_vain(held):
    # The late wake-up meets the M's next sleep: that is slept on.
    held("""
    gmpx.go(lambda: None).join()
    arm("ready_pushed")
    c, got = gmpx.Chan(), []
    def waits():
        try:
            with gmpx.timeout(0.001):
                gmpx.Chan().recv()
        except TimeoutError:
            got.append("time-out")
        got.append(c.recv())
    t = thread(waits)
    reached("ready_pushed")
    until(lambda: got)
    let_go("ready_pushed")
    c.send("item")
    ended(t)
    assert got == ["time-out", "item"]
    """).end(0)
