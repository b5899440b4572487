"""What networks do to servers and clients: resets, peers that stop, floods, and sockets closed under others.

Each test leaves nothing behind: no goroutine, no descriptor, nobody counted as a waiter.
"""

import contextlib
import errno
import os
import resource
import socket
import struct

import pytest

import gmpx
from gmpx import Cancelled, go
from gmpx._core import _net_left
from gmpx.io import Socket, listen, open_connection, readable, serve, wait_readable, wait_writable

PATIENCE = 20


def descriptors():
    """Without the two of each poller, which stay."""
    return len(os.listdir("/proc/self/fd")) - 2 * _net_left()[0]


@pytest.fixture(autouse=True)
def nothing_left(until):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("reads /proc/self/fd")
    go(gmpx.sleep, 0).join()
    goroutines, fds = gmpx.num_goroutine(), descriptors()
    yield
    until(lambda: gmpx.num_goroutine() == goroutines)
    assert _net_left()[1:] == (0, 0)
    until(lambda: descriptors() == fds)  # sysmon has one for an instant, to look whether a thread sleeps


def tcp(cls=Socket):
    with listen("127.0.0.1") as listener:
        a = cls()
        a.connect(listener.getsockname())
        b, _ = listener.accept()
    return a, b


def unix():
    return tuple(Socket(s.family, s.type, s.proto, s.detach()) for s in socket.socketpair())


@pytest.fixture(params=[tcp, unix])
def pair(request):
    a, b = request.param()
    with a, b:
        yield a, b


@pytest.fixture
def server():
    """server(handler, **options): serves on a listener of its own; its address."""
    started = []

    def start(handler, **options):
        listener = listen("127.0.0.1")
        started.append((listener, go(serve, handler, listener, **options)))
        return listener.getsockname()

    yield start
    for listener, g in started:
        g.cancel()
        assert isinstance(error_of(g), Cancelled)
        listener.close()


def error_of(g):
    g.join(PATIENCE)
    return g.exception()


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def full(s):
    """Sends until nothing more is taken."""
    timeout = s.gettimeout()
    s.settimeout(0)
    n = 0
    try:
        while True:
            n += s.send(bytes(65536))
    except BlockingIOError:
        pass
    s.settimeout(timeout)
    return n


# ---- peers that go ---------------------------------------------------------------------------


@pytest.mark.parametrize("waits", ["recv", "sendall", "readable", "writable", "select"])
def test_a_reset_ends_any_wait(waits, parked):
    a, b = tcp()
    if waits in ("sendall", "writable"):
        full(b)
    g = go(
        {
            "recv": lambda: b.recv(10),
            "sendall": lambda: b.sendall(bytes(1 << 20)),
            "readable": lambda: wait_readable(b),
            "writable": lambda: wait_writable(b),
            "select": lambda: gmpx.select(gmpx.Chan(), readable(b)),
        }[waits]
    )
    parked(g)
    reset(a)
    error = error_of(g)
    if waits in ("recv", "sendall"):
        assert isinstance(error, ConnectionResetError | BrokenPipeError)
    else:
        assert error is None
    b.close()


def test_resets_in_mid_request(server, hook):
    """Half a request, then a reset: the handler hears of it, the others go on."""
    ends = []

    def handler(conn, address):
        try:
            while len(request := conn.recv(8, socket.MSG_WAITALL)) == 8:
                conn.sendall(request * 1000)
            ends.append(len(request))
        except OSError as e:
            ends.append(type(e))
            raise

    address = server(handler)
    for i in range(40):
        s = open_connection(*address)
        s.sendall(b"12345678"[: i % 8] or b"12345678")
        if i % 2:
            gmpx.sleep(0.0005)
        reset(s)
    with open_connection(*address) as s:
        s.sendall(b"12345678")
        assert s.recv(8, socket.MSG_WAITALL) == b"12345678"
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536):
            pass
    assert set(ends) <= {ConnectionResetError, BrokenPipeError, 0, *range(8)}
    assert hook == []


def test_a_thousand_clients_that_vanish(server, hook):
    """By FIN and by RST, before they are accepted, before and after a request."""
    served = []

    def handler(conn, address):
        served.append(1)
        while data := conn.recv(100):
            conn.sendall(data)

    address = server(handler)

    def client(i):
        with Socket() as s:
            s.connect(address)
            if i % 3:
                s.sendall(b"request")
            if i % 3 == 2:
                s.recv(100)
            if i % 8:  # a FIN leaves a port behind for a minute
                reset(s)

    for g in [go(client, i) for i in range(1000)]:
        assert error_of(g) is None
    with open_connection(*address) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    assert hook == []


# ---- peers that stop -------------------------------------------------------------------------


def test_a_peer_that_has_stopped_reading(pair):
    """Every way to wait for it has an end."""
    a, b = pair
    full(a)
    a.settimeout(0.01)
    for wait in (lambda: a.sendall(bytes(1 << 20)), lambda: a.send(b"x"), lambda: a.sendmsg([b"x"])):
        with pytest.raises(TimeoutError):
            wait()
    with pytest.raises(TimeoutError):
        wait_writable(a, timeout=0.01)
    a.settimeout(None)
    with pytest.raises(TimeoutError), gmpx.timeout(0.01):
        a.sendall(bytes(1 << 20))
    g = go(a.sendall, bytes(1 << 20))
    while g.wait_reason != "IO wait":
        gmpx.gosched()
    g.cancel()
    assert isinstance(error_of(g), Cancelled)


def test_a_half_open_connection(pair, parked):
    """The peer sends no more, and still reads."""
    a, b = pair
    g = go(b.recv, 10)
    parked(g)
    a.shutdown(socket.SHUT_WR)
    assert g.result(PATIENCE) == b""
    assert b.recv(10) == b""
    b.sendall(b"still")
    assert a.recv(10) == b"still"
    # one that says nothing any more
    b.settimeout(0.01)
    a.settimeout(0.01)
    with pytest.raises(TimeoutError):
        a.recv(10)
    wait_readable(b, timeout=0)


def test_a_peer_that_says_nothing(pair):
    a, b = pair
    b.settimeout(0.01)
    calls = [lambda: b.recv(1), lambda: b.recv_into(bytearray(1)), lambda: b.recvmsg(1)]
    for call in calls + [lambda: b.recvfrom(1), lambda: wait_readable(b, timeout=0.01)]:
        with pytest.raises(TimeoutError):
            call()
    a.send(b"x")
    assert b.recv(1) == b"x"


def test_a_slow_reader_holds_the_writer(pair, parked):
    """Nothing is kept for it but what the system keeps."""
    a, b = pair
    total = 64 << 20
    most = 16 << 20  # in the system's buffers
    sent = [0]

    def writes():
        piece = bytes(1 << 16)
        for _ in range(total // len(piece)):
            a.sendall(piece)
            sent[0] += len(piece)
        a.shutdown(socket.SHUT_WR)

    g = go(writes)
    parked(g, reason="IO wait")
    before = resident()
    got = 0
    while data := b.recv(1 << 14):
        got += len(data)
        if got < 1 << 20:
            gmpx.gosched()
        assert sent[0] - got < most
    assert got == total
    assert error_of(g) is None
    assert resident() - before < 8 << 20


def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_full_listen_queue(family, until):
    """Who is not taken waits; time-outs and cancels end that; who is taken later is served."""
    with Socket(family) as listener:
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
        listener.listen(0)
        inside = []
        try:
            with pytest.raises(TimeoutError):
                for _ in range(10):
                    inside.append(Socket(family))
                    inside[-1].settimeout(0.03)
                    inside[-1].connect(listener.getsockname())
            with Socket(family) as s:
                with pytest.raises(TimeoutError), gmpx.timeout(0.01):
                    s.connect(listener.getsockname())
            with Socket(family) as s:
                g = go(s.connect, listener.getsockname())
                until(lambda: g.wait_reason is not None)
                g.cancel()
                assert isinstance(error_of(g), Cancelled)
            with Socket(family) as late:
                g = go(late.connect, listener.getsockname())
                while not g.done():
                    listener.accept()[0].close()
                assert error_of(g) is None
        finally:
            for s in inside:
                s.close()


# ---- sockets closed under others -------------------------------------------------------------


@pytest.fixture(params=["goroutine", "other M", "thread"])
def close(request, on_other_m, in_thread):
    """close(socket), by somebody else."""
    return {
        "goroutine": lambda s: go(s.close).join(),
        "other M": lambda s: on_other_m(s.close).join(),
        "thread": lambda s: in_thread(s.close).value(),
    }[request.param]


WAITS = {
    "recv": lambda s: s.recv(10),
    "recv_into": lambda s: s.recv_into(bytearray(10)),
    "recvmsg": lambda s: s.recvmsg(10),
    "send": lambda s: s.send(b"x" * 10),
    "sendall": lambda s: s.sendall(bytes(1 << 20)),
    "sendmsg": lambda s: s.sendmsg([b"x" * 10]),
    "readable": lambda s: wait_readable(s),
    "writable": lambda s: wait_writable(s),
    "select": lambda s: gmpx.select(gmpx.Chan(), readable(s)),
}


@pytest.mark.parametrize("waits", WAITS)
def test_closed_under_who_waits(waits, pair, close, parked):
    a, b = pair
    full(b)
    gs = [go(WAITS[waits], b) for _ in range(3)]
    parked(*gs)
    close(b)
    for g in gs:
        error = error_of(g)
        assert isinstance(error, OSError) and error.errno == errno.EBADF


def test_closed_under_waits_of_two_ms(pair, close, parked, on_other_m, until):
    """Their descriptor is in one M's poller; the others' wake-up goes through its inbox."""
    a, b = pair
    gs = [go(b.recv, 10), go(wait_readable, b)]
    parked(*gs)
    gs += [on_other_m(b.recv, 10), on_other_m(wait_readable, b)]
    until(lambda: all(g.wait_reason == "IO wait" for g in gs))
    close(b)
    for g in gs:
        assert error_of(g).errno == errno.EBADF


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_closed_under_accept(family, close, parked):
    listener = Socket(family)
    listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
    listener.listen()
    gs = [go(listener.accept) for _ in range(3)]
    parked(*gs)
    close(listener)
    for g in gs:
        assert error_of(g).errno == errno.EBADF


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_closed_under_connect(family, close, until):
    with Socket(family) as listener:
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
        listener.listen(0)
        inside = []
        for _ in range(10):  # until the queue is full
            inside.append(Socket(family))
            inside[-1].settimeout(0.03)
            if inside[-1].connect_ex(listener.getsockname()):
                break
        s = Socket(family)
        g = go(s.connect, listener.getsockname())
        until(lambda: g.wait_reason is not None)
        close(s)
        assert error_of(g).errno == errno.EBADF
        for s in inside:
            s.close()


def test_its_number_is_taken_at_once(pair, close, parked):
    """The next file with the number has none of the first one's waiters, and its own are served."""
    a, b = pair
    with contextlib.ExitStack() as stack:
        while True:
            g = go(b.recv, 10)
            parked(g)
            fd = b.fileno()
            close(b)
            c, d = (stack.enter_context(s) for s in unix())
            if fd in (c.fileno(), d.fileno()):
                break
            # Another M, which has just started, has taken it for its poller, as each does once.
            assert error_of(g).errno == errno.EBADF
            a, b = (stack.enter_context(s) for s in unix())
        for x, y in ((c, d), (d, c)):
            h = go(x.recv, 10)
            parked(h)
            y.send(b"x")
            assert h.result(PATIENCE) == b"x"
        assert error_of(g).errno == errno.EBADF
