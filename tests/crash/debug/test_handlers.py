"""Python's signal handlers on a main thread that is in the scheduler, at awkward moments."""

import pytest

# SIGUSR1 comes when M0 has set the wake-up descriptor and has not yet looked at the signals again: the
# handler runs with that descriptor set.
BEGUN = """
    c = gmpx.Chan(1)
    hope = gmpx.Timer(3600)
    def on_signal(handler):
        signal.signal(signal.SIGUSR1, lambda *a: handler())
        arm("deep_begun", raises=signal.SIGUSR1)
"""


def test_the_handler_raises(held):
    held(BEGUN + """
    def handler(): raise ZeroDivisionError
    on_signal(handler)
    try:
        c.recv()
    except ZeroDivisionError:
        pass
    assert signal.set_wakeup_fd(-1) == -1
    """).end(0)


def test_the_handler_wakes_main(held):
    held(BEGUN + """
    on_signal(lambda: c.send("item"))
    assert c.recv() == "item"
    assert signal.set_wakeup_fd(-1) == -1
    """).end(0)


def test_the_handler_sets_a_wakeup_descriptor_of_its_own(held):
    held(BEGUN + """
    import socket
    a, b = socket.socketpair()
    a.setblocking(False), b.setblocking(False)
    was = []
    def handler():
        was.append(signal.set_wakeup_fd(b.fileno()))
        threading.Thread(target=c.send, args=("item",)).start()
    on_signal(handler)
    assert c.recv() == "item"
    assert signal.set_wakeup_fd(-1) == b.fileno()
    """).end(0)


@pytest.mark.parametrize("ends, code", [("return", 0), ("raise ZeroDivisionError", 1)])
def test_the_handler_forks(held, ends, code):
    # No goroutine forks, so none goes on in the child: it ends with the handler, as a program does.
    c = held(BEGUN + f"""
    import atexit
    parent = os.getpid()
    atexit.register(lambda: os.getpid() != parent and os.write(1, b"at exit\\n"))
    pids = []
    def handler():
        pids.append(os.fork())
        if pids[0] == 0:
            {ends}
        c.send("item")
    on_signal(handler)
    assert c.recv() == "item" and os.getpid() == parent
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == {code}
    """).end(0)
    assert c.out.count("at exit") == 1
    assert c.err.splitlines().count("ZeroDivisionError") == code


def test_the_handler_forks_and_the_child_waits_in_it(held):
    held(BEGUN + """
    pids = []
    def handler():
        pids.append(os.fork())
        if pids[0] == 0:
            assert signal.set_wakeup_fd(-1) == -1
            t = thread(lambda: os._exit(gmpx.go(lambda: 7).result()))
            t.join(PATIENCE)
            os._exit(1)
        c.send("item")
    on_signal(handler)
    assert c.recv() == "item"
    assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 7
    """).end(0)


@pytest.mark.parametrize("comes", ["before", "meanwhile"])
def test_the_handler_waits_for_a_threads_spawn(held, comes):
    # M0 is the M that was woken for it, and stands in the handler: another has to come.
    held("""
    done, c = threading.Event(), gmpx.Chan(1)
    def handler(*a):
        assert done.wait(PATIENCE), "nobody runs it"
        c.send("item")
    signal.signal(signal.SIGUSR1, handler)
    gmpx.go(lambda: None).join()
    arm("deep")
    def other():
        reached("deep")
        if sys.argv[1] == "before":
            gmpx.go(done.set)
            until(_core._glob_runq_len)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            let_go("deep")
        else:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            let_go("deep")
            time.sleep(0.01)
            gmpx.go(done.set)
    t = thread(other)
    assert c.recv() == "item"
    ended(t)
    """, comes).end(0)
