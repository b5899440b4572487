"""lock_os_thread and run_on_main in processes of their own: Ctrl-C, deadlock, exit."""


def test_ctrl_c_reaches_main_though_another_holds_its_thread(child):
    p = child("""
    import threading, gmpx
    def alone():
        with gmpx.lock_os_thread():
            print("in", flush=True)
            gmpx.sleep(3600)
    g = gmpx.go(alone)
    try:
        g.join()
    except KeyboardInterrupt:
        print("out", g.done())
        g.cancel()
        g.join()
        print(g.done())
    """)
    assert p.line() == "in"
    p.interrupt()
    p.end(0)
    assert p.out == "in\nout False\nTrue\n"


def test_ctrl_c_reaches_main_that_holds_it_itself(child):
    p = child("""
    import gmpx
    with gmpx.lock_os_thread():
        try:
            print("in", flush=True)
            gmpx.sleep(3600)
        except KeyboardInterrupt:
            print("out")
        gmpx.sleep(0.01)
    """)
    assert p.line() == "in"
    p.interrupt()
    p.end(0)
    assert p.out == "in\nout\n"


def test_waiting_for_one_bound_to_the_same_thread_is_a_deadlock(child):
    p = child("""
    import gmpx
    c = gmpx.Chan()
    def alone():
        with gmpx.lock_os_thread():
            c.recv()
    g = gmpx.go(alone)
    try:
        gmpx.sleep(0.01)
        c.send(1)                   # never: its thread is kept from it
    except gmpx.DeadlockError as e:
        print("asleep" in str(e), "alone" in str(e))
    g.cancel()
    """, GMPX_MAXPROCS="1")
    p.end(0)
    assert p.out == "True True\n"


def test_deadlock_of_a_locked_main(child):
    p = child("""
    import gmpx
    with gmpx.lock_os_thread():
        try:
            gmpx.Chan().recv()
        except gmpx.DeadlockError:
            print("seen")
        gmpx.sleep(0.3)             # no false alarm
    """)
    p.end(0)
    assert p.out == "seen\n"


def test_exit_cancels_it(child):
    p = child("""
    import threading, gmpx
    gmpx.gomaxprocs(2)
    begun = threading.Event()
    def alone():
        with gmpx.lock_os_thread():
            begun.set()
            try:
                gmpx.sleep(3600)
            finally:
                print("left")
    gmpx.go(alone)
    begun.wait(20)                  # main stands: it runs on another thread
    gmpx.go(lambda: None).join()
    """)
    p.end(0)
    assert p.out == "left\n" and p.took < 20


def test_dump_names_who_holds_the_thread(child):
    p = child("""
    import sys, threading, gmpx
    def alone():
        with gmpx.lock_os_thread():
            threading.Timer(0.05, gmpx.dump, [sys.stdout]).start()
            gmpx.sleep(0.3)
    gmpx.go(alone).join()
    """, GMPX_MAXPROCS="1")
    p.end(0)
    assert "locked to thread] on M0: alone" in p.out
    assert "its thread is locked by goroutine" in p.out


def test_main_must_have_used_gmpx(child):
    p = child("""
    import threading, gmpx
    def body():
        try:
            gmpx.run_on_main(int)
        except RuntimeError as e:
            print(e)
    t = threading.Thread(target=body)
    t.start()
    t.join()
    """)
    p.end(0)
    assert p.out == "run_on_main: the main thread has not used gmpx yet\n"
