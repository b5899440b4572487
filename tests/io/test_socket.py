"""Sockets whose methods park (rt/io/socket.pxi), as gmpx.io.Socket has them without any patch."""

import errno
import os
import socket
import struct
import subprocess
import sys
import textwrap
import threading

import pytest

import gmpx
from gmpx import Cancelled, go
from gmpx.io import Socket

PATIENCE = 20


def tcp():
    """A connected pair of TCP sockets that park."""
    with Socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = Socket()
        client.connect(listener.getsockname())
        server, _ = listener.accept()
    return client, server


def unix(kind=socket.SOCK_STREAM):
    return tuple(
        Socket(s.family, s.type, s.proto, s.detach()) for s in socket.socketpair(type=kind)
    )


@pytest.fixture(params=[tcp, unix])
def pair(request):
    a, b = request.param()
    with a, b:
        yield a, b


def error_of(g):
    g.join(PATIENCE)
    return g.exception()


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def test_recv_parks(pair, parked):
    a, b = pair
    g = go(b.recv, 100)
    parked(g, reason="IO wait")
    a.sendall(b"abc")
    assert g.result(PATIENCE) == b"abc"


def test_short_and_full_reads(pair, parked, until):
    a, b = pair
    got = []
    g = go(lambda: [got.append(b.recv(3)) for _ in range(4)])
    parked(g)
    a.sendall(b"abcdefgh")
    until(lambda: len(got) == 3)
    a.sendall(b"ij")
    g.result(PATIENCE)
    assert got == [b"abc", b"def", b"gh", b"ij"]


@pytest.mark.parametrize("together", [True, False])
def test_the_end_comes_after_a_short_read(pair, parked, until, together):
    a, b = pair
    got = []
    g = go(lambda: [got.append(b.recv(100)) for _ in range(3)])
    parked(g)
    a.sendall(b"abc")
    if not together:
        until(lambda: got)
    a.shutdown(socket.SHUT_WR)
    g.result(PATIENCE)
    assert got == [b"abc", b"", b""]


def test_a_reset_while_somebody_waits(parked):
    a, b = tcp()
    with b:
        g = go(b.recv, 10)
        parked(g)
        reset(a)
        assert isinstance(error_of(g), ConnectionResetError)
        assert b.recv(10) == b""


def test_urgent_data(parked, until):
    """A read ends at its mark, so that a short one does not mean that nothing is left."""
    a, b = tcp()
    got = []
    with a, b:
        g = go(lambda: [got.append(b.recv(100)) for _ in range(3)])
        parked(g)
        a.sendall(b"one")
        until(lambda: got == [b"one"])
        a.send(b"two!", socket.MSG_OOB)
        a.sendall(b"three")
        g.result(PATIENCE)
        assert got == [b"one", b"two", b"three"]


def test_sendall_to_a_slow_reader(pair, parked):
    a, b = pair
    for s, option in ((a, socket.SO_SNDBUF), (b, socket.SO_RCVBUF)):
        s.setsockopt(socket.SOL_SOCKET, option, 65536)  # the system's own may take all of it
    data = os.urandom(4_000_000)
    g = go(a.sendall, data)
    parked(g, reason="IO wait")
    got = bytearray()
    while len(got) < len(data):
        got += b.recv(65536)
    assert bytes(got) == data
    assert error_of(g) is None


def test_recv_into_and_flags(pair):
    a, b = pair
    a.send(b"hello")
    buffer = bytearray(10)
    assert b.recv(2, socket.MSG_PEEK) == b"he"
    assert b.recv_into(buffer, 3) == 3
    assert b.recv_into(buffer, nbytes=1, flags=socket.MSG_PEEK) == 1
    assert buffer[:3] == b"lel"
    assert b.recv_into(memoryview(buffer)[5:]) == 2
    assert bytes(buffer[5:7]) == b"lo"
    with pytest.raises(BlockingIOError):
        b.recv(1, socket.MSG_DONTWAIT)


def test_waitall(pair, parked):
    a, b = pair
    g = go(b.recv, 6, socket.MSG_WAITALL)
    a.send(b"abc")
    parked(g)
    a.send(b"def")
    assert g.result(PATIENCE) == b"abcdef"


def test_waitall_of_datagrams_is_one_of_them(parked):
    a, b = unix(socket.SOCK_DGRAM)
    with a, b:
        g = go(b.recv, 100, socket.MSG_WAITALL)
        parked(g)
        a.send(b"abc")
        assert g.result(PATIENCE) == b"abc"


def test_what_waits_for_all_keeps_its_first_part(pair, parked):
    a, b = pair
    g = go(b.recv, 6, socket.MSG_WAITALL)
    parked(g)
    a.send(b"abc")
    with pytest.raises(BlockingIOError):
        while b.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            gmpx.gosched()
    c, d = socket.socketpair()
    with Socket(fileno=c.detach()) as c, d:
        d.send(b"xyz")
        assert c.recv(3) == b"xyz"  # reads where g would have, had it kept its bytes there
    a.send(b"def")
    assert g.result(PATIENCE) == b"abcdef"


def test_arguments(pair):
    a, b = pair
    for bad in (lambda: a.recv(-1), lambda: a.recv_into(bytearray(2), 3)):
        with pytest.raises(ValueError):
            bad()
    for bad in (
        lambda: a.recv(),
        lambda: a.recv("1"),
        lambda: a.recv(1, 2, 3),
        lambda: a.send(),
        lambda: a.sendall("text"),
        lambda: a.recv_into(b"read-only"),
        lambda: a.recv_into(bytearray(3), size=1),
    ):
        with pytest.raises((TypeError, BufferError)):
            bad()


def test_time_outs_are_the_sockets_own(pair):
    a, b = pair
    b.settimeout(0.02)
    with pytest.raises(TimeoutError, match="^timed out$"):
        b.recv(1)
    a.send(b"x")
    assert b.recv(1) == b"x"
    assert b.gettimeout() == 0.02
    b.settimeout(0)
    with pytest.raises(BlockingIOError):
        b.recv(1)
    b.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            b.send(b"z" * 65536)


def test_cancel_and_timeout_leave_it_usable(pair, parked):
    a, b = pair
    g = go(b.recv, 10)
    parked(g)
    g.cancel()
    assert isinstance(error_of(g), Cancelled)
    with pytest.raises(TimeoutError), gmpx.timeout(0.01):
        b.recv(10)
    a.send(b"x")
    assert b.recv(10) == b"x"


def test_closing_wakes_who_waits(pair, parked, in_thread):
    for close in (lambda s: s.close(), lambda s: in_thread(s.close).value()):
        a, b = tcp()
        gs = [go(b.recv, 10) for _ in range(3)]
        parked(*gs)
        close(b)
        for g in gs:
            error = error_of(g)
            assert isinstance(error, OSError)
            assert error.errno == errno.EBADF
            assert "closed while" in str(error)
        a.close()


def test_a_closed_socket():
    s = Socket()
    s.close()
    for call in (lambda: s.recv(1), lambda: s.send(b""), s.accept, lambda: s.connect(("127.0.0.1", 1))):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF


def test_several_readers(pair, parked):
    a, b = pair
    gs = [go(b.recv, 1) for _ in range(5)]
    parked(*gs)
    a.send(b"abcde")
    assert sorted(g.result(PATIENCE) for g in gs) == [b"a", b"b", b"c", b"d", b"e"]


def test_the_open_file_stays_blocking(pair, parked):
    a, b = pair
    g = go(b.recv, 1)
    parked(g)
    a.send(b"x")
    g.join()
    assert os.get_blocking(b.fileno())
    assert os.get_blocking(a.fileno())


def test_foreign_threads_block(pair, in_thread):
    a, b = pair
    thread = in_thread(b.recv, 10)
    a.send(b"x")
    assert thread.value() == b"x"


def test_accept_in_goroutines_and_threads(in_thread, parked):
    with Socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        g = go(listener.accept)
        parked(g, reason="IO wait")
        thread = in_thread(listener.accept)
        clients = []
        for _ in range(2):
            clients.append(Socket())
            clients[-1].connect(listener.getsockname())
        for conn, address in (g.result(PATIENCE), thread.value()):
            assert type(conn) is Socket
            assert address in [c.getsockname() for c in clients]
            assert os.get_blocking(conn.fileno())
            conn.close()
        listener.settimeout(0.01)
        for accept in (listener.accept, lambda: in_thread(listener.accept).value()):
            with pytest.raises(TimeoutError):
                accept()
        for c in clients:
            c.close()


@pytest.mark.parametrize("family", ["AF_INET", "AF_UNIX"])
def test_accept_goes_on_without_blocking(family):
    """Two wait, another makes the open file blocking, and one client comes: who comes too late must not
    stand in accept(2), in which the GIL is kept."""
    code = f"""
        import os, socket, gmpx
        from gmpx.io import Socket
        s = Socket(socket.{family})
        s.bind(("127.0.0.1", 0) if {family == "AF_INET"} else "")
        s.listen()
        gs = [gmpx.go(s.accept) for _ in range(2)]
        while gs[1].wait_reason != "IO wait": gmpx.gosched()
        other = socket.socket(fileno=os.dup(s.fileno()))
        for blocking in (s.setblocking, other.setblocking):
            blocking(True)
            clients = []
            for _ in range(2):
                clients.append(socket.socket(socket.{family}))
                clients[-1].connect(s.getsockname())
                gmpx.sleep(0.01)
            for g in gs:
                g.result(5)[0].close()
            gs = [gmpx.go(s.accept) for _ in range(2)]
            while gs[1].wait_reason != "IO wait": gmpx.gosched()
        print("fine")
        os._exit(0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout == "fine\n", done.stderr


def test_unix_listeners(tmp_path, parked, in_thread):
    path = str(tmp_path / "s")
    with Socket(socket.AF_UNIX) as listener, Socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen(0)
        g = go(listener.accept)
        parked(g)
        client.connect(path)
        conn, address = g.result(PATIENCE)
        assert address == ""
        conn.close()
        # a full queue sends no event, so connect tries again and again
        others = [Socket(socket.AF_UNIX) for _ in range(4)]
        gs = [go(s.connect, path) for s in others]
        thread = in_thread(lambda: [listener.accept()[0].close() for _ in range(4)])
        for g in gs:
            assert error_of(g) is None
        thread.value()
        for s in others:
            s.close()


def test_connect_refused_and_timed_out():
    with Socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
        with Socket() as s, pytest.raises(ConnectionRefusedError):
            s.connect(address)
        with Socket() as s:
            assert s.connect_ex(address) == errno.ECONNREFUSED
            assert os.get_blocking(s.fileno())
    with Socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        clients = [Socket() for _ in range(4)]
        for s in clients:
            s.settimeout(0.05)
        with pytest.raises(TimeoutError):
            for s in clients:
                s.connect(full.getsockname())
        for s in clients:
            s.close()


def test_cancel_of_connect(parked):
    with Socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        clients = [Socket() for _ in range(4)]
        gs = [go(s.connect, full.getsockname()) for s in clients]
        while not any(g.wait_reason == "IO wait" for g in gs):
            gmpx.gosched()
        for g, s in zip(gs, clients, strict=True):
            g.cancel()
            assert error_of(g) is None or isinstance(error_of(g), Cancelled)
            assert os.get_blocking(s.fileno())
            s.close()


def test_datagrams(parked):
    with Socket(type=socket.SOCK_DGRAM) as a, Socket(type=socket.SOCK_DGRAM) as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        buffer = bytearray(10)
        for receive in (
            lambda: a.recvfrom(10),
            lambda: a.recvfrom(10, 0),
            lambda: (bytes(buffer[: a.recvfrom_into(buffer)[0]]), b.getsockname()),
            lambda: (bytes(buffer[: a.recvfrom_into(buffer, nbytes=3)[0]]), b.getsockname()),
            lambda: a.recvmsg(10)[::3],
            lambda: (bytes(buffer[: a.recvmsg_into([buffer])[0]]), b.getsockname()),
        ):
            g = go(receive)
            parked(g, reason="IO wait")
            assert b.sendto(b"abc", a.getsockname()) == 3
            assert g.result(PATIENCE) == (b"abc", b.getsockname())
        g = go(a.recv, 10)
        parked(g)
        assert b.sendto(b"abc", 0, a.getsockname()) == 3
        assert g.result(PATIENCE) == b"abc"
        g = go(a.recv, 10)
        parked(g)
        assert b.sendmsg([b"a", b"b"], [], 0, a.getsockname()) == 2
        assert g.result(PATIENCE) == b"ab"


def test_an_error_of_a_datagram_socket_does_not_spin(parked):
    with Socket(type=socket.SOCK_DGRAM) as a, Socket(type=socket.SOCK_DGRAM) as b:
        b.bind(("127.0.0.1", 0))
        a.connect(b.getsockname())
        b.close()
        a.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            a.recv(10)
        with pytest.raises(TimeoutError), gmpx.timeout(0.02):
            a.recv(10)


def test_descriptors_pass_through(parked):
    a, b = unix()
    with a, b:
        g = go(b.recvmsg, 10, socket.CMSG_SPACE(4))
        parked(g)
        r, w = os.pipe()
        a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", w))])
        data, [(_, _, sent)], _, _ = g.result(PATIENCE)
        assert data == b"x"
        fd = struct.unpack("i", sent)[0]
        os.write(fd, b"through")
        assert os.read(r, 10) == b"through"
        for fd in (r, w, fd):
            os.close(fd)


def test_a_number_used_again(parked):
    """Sockets that end in any way, and new ones with their numbers."""
    for end in ("close", "detach", "collect"):
        a, b = tcp()
        g = go(b.recv, 10)
        parked(g)
        a.send(b"1")
        assert g.result(PATIENCE) == b"1"
        fd = b.fileno()
        del g
        if end == "close":
            b.close()
        elif end == "detach":
            os.close(b.detach())
        else:
            with pytest.warns(ResourceWarning):
                del b
        c, d = tcp()
        assert fd in (c.fileno(), d.fileno())
        for x, y in ((c, d), (d, c)):
            g = go(x.recv, 10)
            parked(g)
            y.send(b"2")
            assert g.result(PATIENCE) == b"2"
        for s in (a, c, d):
            s.close()


@pytest.mark.parametrize("call", ["recv", "recv_into", "recvfrom", "recvmsg"])
def test_a_number_used_again_in_a_turn(call):
    """A call that lets others run first (SK5) is for the socket's descriptor afterwards, which may have
    none: its number is another's now."""
    ran = []
    thread = threading.get_ident()

    def closes():
        if threading.get_ident() != thread:  # where it may come into the call's middle, as any thread may
            go(closes)
            return
        fd = b.fileno()
        c, d = socket.socketpair()
        d.send(b"for another")
        b.close()
        os.dup2(c.fileno(), fd)
        ran.extend((fd, c, d))

    a, b = unix()
    a.sendall(bytes(10_000))
    args = bytearray(1) if call == "recv_into" else 1
    with pytest.raises(OSError) as caught:  # once closes has run, in one of its turns
        for i in range(10_000):
            if i == 40:
                go(closes)
            getattr(b, call)(args)
    assert caught.value.errno == errno.EBADF
    fd, c, d = ran
    assert c.recv(100) == b"for another"
    os.close(fd)
    for s in (a, c, d):
        s.close()


def test_two_objects_of_one_file(parked):
    a, b = tcp()
    g = go(b.recv, 10)
    parked(g)
    c = Socket(fileno=b.fileno())  # g tries again
    h = go(c.recv, 10)
    parked(g, h)
    a.send(b"x")
    while not (g.done() or h.done()):
        gmpx.gosched()
    a.send(b"y")
    assert {g.result(PATIENCE), h.result(PATIENCE)} == {b"x", b"y"}
    c.detach()
    a.close()
    b.close()


def test_makefile(pair, parked):
    a, b = pair
    with b.makefile("rw", encoding="utf-8", newline="\n") as f:
        g = go(lambda: list(f))
        parked(g)
        a.sendall(b"one\ntwo\n")
        parked(g)
        a.sendall(b"three\n")
        a.shutdown(socket.SHUT_WR)
        assert g.result(PATIENCE) == ["one\n", "two\n", "three\n"]


def test_a_socket_that_never_waits_lets_others_run(pair):
    a, b = pair
    ran = []
    other = go(ran.append, 1)
    for _ in range(100_000):
        a.send(b"x")
        b.recv(1)
        if ran:
            break
    assert ran == [1], other


def test_accept_without_descriptors():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Socket() as listener, Socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        fill = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 20, hard))
        try:
            while True:
                fill.append(os.dup(0))
        except OSError:
            pass
        try:
            for _ in range(2):
                with pytest.raises(OSError) as caught:
                    listener.accept()
                assert caught.value.errno == errno.EMFILE
        finally:
            for fd in fill:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        listener.accept()[0].close()


def test_on_another_m(on_other_m, parked):
    """A connection that one M has waited for goes on with a goroutine of another."""
    a, b = tcp()
    with a, b:
        g = go(b.recv, 10)
        parked(g)
        a.send(b"1")
        assert g.result(PATIENCE) == b"1"
        for i in range(10):
            g = on_other_m(b.recv, 10)
            h = go(a.recv, 10) if i % 2 else None
            threading.Timer(0.01, a.send, (b"2",)).start()
            assert g.result(PATIENCE) == b"2"
            if h:
                b.send(b"3")
                assert h.result(PATIENCE) == b"3"
            g = go(b.recv, 10)
            parked(g)
            a.send(b"4")
            assert g.result(PATIENCE) == b"4"
