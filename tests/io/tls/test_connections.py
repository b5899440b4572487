"""gmpx.io.open_connection(tls=...) and serve(tls=...), without the patch and with it."""

import logging
import math
import socket
import ssl
import struct
import sys
from pathlib import Path

import pytest

import gmpx
import gmpx.patch
from gmpx import Cancelled, Chan, go
from gmpx.io import Socket, listen, open_connection, serve

sys.path.insert(0, str(Path(__file__).parent))

from peers import CLIENT, SERVER, client_context  # noqa: E402

PATIENCE = 20


@pytest.fixture(params=["plain", "patched"], autouse=True)
def patch(request):
    if request.param == "patched":
        gmpx.patch.all()


@pytest.fixture
def listener():
    with listen("127.0.0.1") as s:
        yield s


@pytest.fixture
def server(listener):
    """server(handler, **options): the address."""
    servers = []

    def start(handler, **options):
        servers.append(gmpx.spawn(serve, (handler, listener), {"tls": SERVER, **options}))
        return listener.getsockname()

    yield start
    for g in servers:
        g.cancel()
        g.join(PATIENCE)


def connect(address, **options):
    options = {"tls": CLIENT, "timeout": PATIENCE, **options}
    return open_connection(*address, **options)


def echo(conn, address):
    while data := conn.recv(65536):
        conn.sendall(data)


def read_all(s):
    got = b""
    while data := s.recv(65536):
        got += data
    return got


def test_an_echo_server(server):
    address = server(echo)

    def client(i):
        with connect(address) as s:
            g = go(s.sendall, b"%d" % i * 10_000)
            got = b""
            while len(got) < 10_000 * len(b"%d" % i):
                got += s.recv(65536)
            g.result(PATIENCE)
            return got == b"%d" % i * 10_000

    assert all(gmpx.map(client, range(50), limit=20))


def test_what_they_are(server):
    types = Chan(1)

    def handler(conn, address):
        types.send((isinstance(conn, ssl.SSLSocket), isinstance(conn, Socket), conn.server_side))
        conn.recv(1)

    with connect(server(handler)) as s:
        assert types.recv() == (True, True, True)
        assert isinstance(s, ssl.SSLSocket) and isinstance(s, Socket) and s.gettimeout() is None
        assert s.getpeercert() and s.session is not None and s.context is CLIENT
        assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_end_is_said(server):
    """Also to those who insist on a close_notify."""
    with connect(server(lambda conn, address: conn.sendall(b"all"))) as s:
        s.suppress_ragged_eofs = False
        assert read_all(s) == b"all"


def test_server_hostname(server):
    address = server(echo)
    for name in (None, "localhost"):
        with connect(address, server_hostname=name) as s:
            assert s.server_hostname == (name or "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError, match="other.example"):
        connect(address, server_hostname="other.example")


def test_true_asks_the_system(server):
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(server(echo), tls=True)


def test_wrong_arguments(listener):
    with pytest.raises(ValueError, match="server_hostname without tls"):
        open_connection("127.0.0.1", 1, server_hostname="x")
    with pytest.raises(TypeError, match="tls must be True or an ssl.SSLContext, not str"):
        open_connection("127.0.0.1", 1, tls="yes")
    with pytest.raises(TypeError, match="tls must be an ssl.SSLContext, not bool"):
        serve(echo, listener, tls=True)
    with pytest.raises(ValueError, match="an SSLContext for servers, not one of PROTOCOL_TLS_CLIENT"):
        serve(echo, listener, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(ValueError, match="handshake_timeout must be above 0"):
        serve(echo, listener, tls=SERVER, handshake_timeout=0)


def test_who_does_not_shake_hands_keeps_nobody_waiting(server, caplog):
    address = server(echo, handshake_timeout=0.3)
    with caplog.at_level(logging.INFO, "gmpx.io"):
        with open_connection(*address) as mute, open_connection(*address) as chatter:
            chatter.sendall(b"GET / HTTP/1.0\r\n\r\n" * 10)
            with connect(address) as s:
                s.sendall(b"x")
                assert s.recv(1) == b"x"
            assert mute.recv(1) == b""
            assert outcome(lambda: chatter.recv(1000)) is not None
            while len(caplog.records) < 2:  # noted after the end
                gmpx.sleep(0.001)
    words = [record.getMessage() for record in caplog.records]
    assert len(words) == 2 and all("TLS handshake with ('127.0.0.1', " in w for w in words)


def outcome(call):
    try:
        return call()
    except OSError as error:
        return error


def test_a_handshake_counts_for_the_limit(server):
    address = server(echo, limit=1, handshake_timeout=0.05)
    with open_connection(*address):
        with connect(address) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"


def test_time_out_of_the_handshake(listener):
    with pytest.raises(TimeoutError, match=r"open_connection: 127.0.0.1:\d+ timed out"):
        connect(listener.getsockname(), timeout=0.05)
    g = go(connect, listener.getsockname())
    while g.wait_reason != "IO wait":
        gmpx.gosched()
    g.cancel()
    with pytest.raises(Cancelled):
        g.result(PATIENCE)


def test_a_peer_that_is_gone_is_no_news(server, monkeypatch):
    seen = []
    monkeypatch.setattr(gmpx, "excepthook", lambda g, error: seen.append(error))

    def flood(conn, address):
        for _ in range(10_000):
            conn.sendall(bytes(10_000))

    address = server(flood)
    with connect(address) as s:
        assert s.recv(1)
    with connect(address) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    while any(g.name.endswith("flood") for g in gmpx.goroutines()):
        gmpx.sleep(0.001)
    assert not seen


@pytest.mark.parametrize("grace", [None, math.inf])
def test_an_end_with_grace(listener, grace, until):
    """Those in a handshake, those in a handler."""
    begun, goes_on = Chan(), gmpx.Event()
    ended = []

    def handler(conn, address):
        begun.send(True)
        try:
            goes_on.wait()
            conn.sendall(b"done")
            ended.append("done")
        except Cancelled:
            ended.append("cancelled")
            raise

    options = {"tls": SERVER, "grace": grace, "handshake_timeout": 0.2}
    server = gmpx.spawn(serve, (handler, listener), options)
    with connect(listener.getsockname()) as s, open_connection(*listener.getsockname()) as mute:
        begun.recv()
        until(lambda: sum(g.name.endswith("handler") for g in gmpx.goroutines()) == 2)
        server.cancel()
        for _ in range(3):
            gmpx.gosched()
        goes_on.set() if grace else None
        server.join(PATIENCE)
        assert ended == (["done"] if grace else ["cancelled"])
        assert (read_all(s) if grace else outcome(lambda: s.recv(10))) == (b"done" if grace else b"")
        assert mute.recv(1) == b""


def test_a_listener_that_is_an_ssl_socket(listener):
    """Not in plain text to whom has wrapped it."""
    wrapped = SERVER.wrap_socket(listener, server_side=True)
    with wrapped:
        server = go(serve, echo, wrapped)
        with connect(wrapped.getsockname()) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
        server.cancel()
        server.join(PATIENCE)


def test_threads_use_it_too(server, in_thread):
    address = server(echo)

    def client():
        with connect(address) as s:
            s.sendall(b"x")
            return s.recv(1)

    assert in_thread(client).value() == b"x"
    with connect(address) as s:
        g = go(s.recv, 10)
        while g.wait_reason != "IO wait":
            gmpx.gosched()
        in_thread(s.sendall, b"from a thread").value()
        assert g.result(PATIENCE) == b"from a thr"


def test_unwrap_detach_shutdown(server):
    def handler(conn, address):
        assert conn.recv(10) == b"tls"
        assert conn.unwrap() is conn
        conn.sendall(b"plain")

    with connect(server(handler)) as s:
        s.sendall(b"tls")
        assert s.unwrap() is s
        assert s.recv(10) == b"plain"
        with Socket(fileno=s.detach()) as rest:
            assert rest.recv(1) == b""


def test_what_is_set_reaches_the_connection(server):
    with connect(server(echo)) as s:
        other = client_context()
        s.context = other
        assert s.context is other and s._sslobj.context is other
        assert s.cipher() and s.version() == "TLSv1.3" and s.pending() == 0
        assert s.selected_alpn_protocol() is None and s.get_channel_binding() is not None
