"""A recv of many bytes gives up the GIL: goroutines of other Ms come to the socket meanwhile (rt/io, SK6, NP8)."""

PAIR = """
    import socket
    from gmpx import go
    from gmpx.io import Socket, listen

    with listen("127.0.0.1") as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        a = Socket()
        a.connect(listener.getsockname())
        b, _ = listener.accept()
    buffer = bytearray(300000)

    def reads_on_another_m():
        begun = threading.Event()
        g = go(lambda: (begun.set(), b.recv_into(buffer))[1])
        assert begun.wait(PATIENCE)         # this thread stands, so that another M comes for it
        return g

    def parked(g):
        while g.wait_reason != "IO wait":
            gmpx.gosched()
"""


def test_who_comes_during_a_read_that_leaves_something(held):
    """A clears PD_READ and gets as much as it has asked for; B finds PD_READ clear and parks; A sets it.
    No edge follows."""
    held(PAIR + """
    g = go(b.recv, 10)                      # from here on b is watched
    parked(g)
    a.send(b"1")
    assert g.result(PATIENCE) == b"1"
    a.sendall(b"x" * 400000)
    while len(b.recv(400000, socket.MSG_PEEK)) < 400000:
        gmpx.gosched()
    gmpx.sleep(0.02)                        # the poller has told of all that
    arm("big_read")
    A = reads_on_another_m()
    reached("big_read")
    B = go(b.recv, 10)
    parked(B)
    let_go("big_read")
    assert A.result(PATIENCE) == 300000
    assert B.result(PATIENCE) == b"x" * 10
    """).end(0)


def test_an_edge_before_a_read_in_vain_has_the_gil_again(held):
    """A, the first to read, finds nothing; B and C wait and have b watched by their M; data comes, B
    takes a part of it. A must not forget that edge: C, who waits on, keeps b in the poller of B's M."""
    held(PAIR + """
    arm("big_read")
    A = reads_on_another_m()
    reached("big_read")
    C = go(b.sendall, bytes(1 << 24))
    B = go(b.recv, 10)
    parked(C)
    parked(B)
    a.send(b"y" * 20)
    assert B.result(PATIENCE) == b"y" * 10
    let_go("big_read")
    assert A.result(PATIENCE) == 10
    C.cancel()
    """).end(0)


def test_a_close_during_a_read_leaves_the_number_to_its_end(held):
    """Else the read would go on with whoever gets the number."""
    held(PAIR + """
    number = b.fileno()
    a.send(b"y" * 20)
    arm("big_read")
    A = reads_on_another_m()
    reached("big_read")
    b.close()
    assert b.fileno() == -1
    others = [Socket() for _ in range(5)]
    assert number not in [s.fileno() for s in others]
    b.close()                               # once more is nothing
    child = os.fork()                       # nobody reads there: the number is free
    if child == 0:
        os._exit(0 if Socket().fileno() == number else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    let_go("big_read")
    assert A.result(PATIENCE) == 20
    assert Socket().fileno() == number
    """).end(0)
