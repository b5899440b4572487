"""The look for a deadlock beside what is just under way (rt/observe/dump.pxi, V1; timers.pxi, T5)."""


def test_a_timer_that_has_left_its_heap_is_life(held):
    # sysmon has taken a foreign thread's timer off the heap and has not yet woken the thread; main,
    # parked, looks for a deadlock. The look itself lets sysmon go on.
    held("""
    c = gmpx.Chan()
    def foreign():
        try:
            with gmpx.timeout(0.001):
                gmpx.Chan().recv()
        except TimeoutError:
            c.send("alive")
    gmpx.go(lambda: None).join()
    arm("firing")
    t = thread(foreign)
    reached("firing")
    arm("looked", frees="firing")
    assert c.recv() == "alive"                  # no DeadlockError
    assert not _core._hook_reached("firing")
    ended(t)
    """).end(0)


def test_a_func_timer_that_has_fired_and_is_not_delivered_is_life(held):
    held("""
    c = gmpx.Chan()
    gmpx.go(lambda: None).join()
    arm("firing")
    def foreign():
        gmpx.after_func(0.001, c.send, "alive")
    ended(thread(foreign))
    reached("firing")
    arm("looked", frees="firing")
    assert c.recv() == "alive"
    """).end(0)


def test_a_deadlock_is_told_when_a_thread_ends_beside_a_deep_sleep(held):
    # M0 has looked, seen a thread that lives, and is about to sleep for good: the thread ends then.
    held("""
    stop = threading.Event()
    t = thread(stop.wait)
    arm("deep")
    def ends():
        reached("deep")
        stop.set()
        ended(t)
        let_go("deep")
    other = thread(ends)
    try:
        gmpx.Chan().recv()
    except gmpx.DeadlockError:
        pass
    else:
        raise AssertionError
    """).end(0)


def test_a_deadlock_is_told_when_a_thread_parks_beside_a_deep_sleep(held):
    held("""
    c = gmpx.Chan()
    arm("deep")
    def parks():
        reached("deep")
        let_go("deep")
        c.recv()                                # for good
    t = thread(parks)
    try:
        gmpx.Chan().recv()
    except gmpx.DeadlockError:
        c.send(None)
        ended(t)
    else:
        raise AssertionError
    """).end(0)
