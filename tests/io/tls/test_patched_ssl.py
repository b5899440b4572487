"""TLS under gmpx.patch.ssl(): what ssl.SSLSocket does in goroutines, on threads, before and after the patch."""

import errno
import os
import select
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest

import gmpx
import gmpx.patch
from gmpx import Cancelled, go

sys.path.insert(0, str(Path(__file__).parent))

from peers import CERTS, CLIENT, SERVER, client_context, on_threads, server_context, tcp  # noqa: E402

PATIENCE = 20
BIG = 3_000_000
MANY = 20


def handshakes(a, b, server=SERVER, client=CLIENT, **options):
    """The client's end and the server's; both in goroutines."""
    host = options.pop("server_hostname", "localhost")
    other = go(server.wrap_socket, b, server_side=True)
    s = client.wrap_socket(a, server_hostname=host, **options)
    return s, other.result(PATIENCE)


@pytest.fixture
def ends(patched):
    c, s = handshakes(*tcp())
    with c, s:
        yield c, s


def parked(g):
    while g.wait_reason != "IO wait":
        assert not g.done(), g.result()
        gmpx.gosched()
    return g


def cancelled(g):
    g.cancel()
    with pytest.raises(Cancelled):
        g.result(PATIENCE)


def read_all(s, n):
    got = bytearray()
    while len(got) < n:
        data = s.recv(n - len(got))
        if not data:
            break
        got += data
    return bytes(got)


def blocks(s):
    return os.get_blocking(s.fileno())


def outcome(call):
    try:
        return call()
    except Exception as e:
        return type(e), str(e)


# ---- one connection ------------------------------------------------------------------------


def test_types_and_results(ends):
    c, s = ends
    assert type(c) is ssl.SSLSocket and isinstance(c, socket.socket)
    assert c.getpeercert()["subject"] and c.version() == s.version()
    g = parked(go(s.recv, 100))
    c.sendall(b"hello")
    assert g.result(PATIENCE) == b"hello"
    buffer = bytearray(10)
    c.send(memoryview(b"abc"))
    assert s.recv_into(buffer) == 3 and buffer == b"abc" + bytes(7)
    c.send(bytearray(b"0123456789"))
    assert s.recv_into(buffer, 4) == 4 and s.pending() == 6 and s.read(100) == b"456789"
    for wrong in (lambda: s.read(-1), lambda: s.read("x"), lambda: s.write("x"), lambda: s.recv(1, 1)):
        with pytest.raises((ValueError, TypeError)):
            wrong()


def test_reads_and_writes_of_two_goroutines_at_once(ends):
    c, s = ends
    data = os.urandom(BIG)
    writers = [go(c.sendall, data), go(s.sendall, data)]
    readers = [go(read_all, c, BIG), go(read_all, s, BIG)]
    assert [g.result(PATIENCE) for g in readers] == [data, data]
    for g in writers:
        g.result(PATIENCE)


def test_two_writers_do_not_mix_their_records(ends):
    c, s = ends
    writers = [go(c.write, bytes([n]) * 1_000_000) for n in range(4)]
    got = read_all(s, 4_000_000)
    assert [g.result(PATIENCE) for g in writers] == [1_000_000] * 4
    runs = [got[i : i + 1_000_000] for i in range(0, len(got), 1_000_000)]
    assert sorted(runs) == [bytes([n]) * 1_000_000 for n in range(4)]


def test_many_connections_on_one_thread(patched):
    def echo(b):
        with SERVER.wrap_socket(b, server_side=True) as s:
            while data := s.recv(65536):
                s.sendall(data)

    def client(a):
        with CLIENT.wrap_socket(a, server_hostname="localhost") as c:
            for _ in range(5):
                data = os.urandom(50_000)
                g = go(c.sendall, data)
                assert read_all(c, len(data)) == data
                g.result(PATIENCE)

    pairs = [tcp() for _ in range(MANY)]
    servers = [go(echo, b) for _, b in pairs]
    gmpx.map(client, [a for a, _ in pairs])
    for g in servers:
        g.result(PATIENCE)


def test_on_two_threads_of_the_runtime_and_a_foreign_one(ends, on_other_m):
    """OpenSSL's object is not for two threads at once, and each call gives up the GIL."""
    c, s = ends
    data = os.urandom(BIG)
    gs = [
        on_other_m(c.sendall, data),
        go(read_all, c, BIG),
        on_other_m(read_all, s, BIG),
    ]
    thread = threading.Thread(target=s.sendall, args=(data,))
    thread.start()
    assert gs[1].result(PATIENCE) == data and gs[2].result(PATIENCE) == data
    gs[0].result(PATIENCE)
    thread.join(PATIENCE)


def test_makefile_and_sendfile(ends, tmp_path):
    c, s = ends
    path = tmp_path / "file"
    path.write_bytes(os.urandom(400_000))
    with path.open("rb") as file:
        g = go(c.sendfile, file)
        assert read_all(s, 400_000) == path.read_bytes()
        assert g.result(PATIENCE) == 400_000
    with s.makefile("rb") as lines:
        g = parked(go(lines.readline))
        c.sendall(b"a line\n")
        assert g.result(PATIENCE) == b"a line\n"


def test_unwrap_and_go_on_in_plain(ends):
    c, s = ends
    other = parked(go(s.unwrap))
    assert c.unwrap() is c and other.result(PATIENCE) is s
    assert blocks(c) and blocks(s)
    g = parked(go(c.recv, 10))
    s.sendall(b"plain")
    assert g.result(PATIENCE) == b"plain"


def test_plain_text_right_behind_the_end_of_tls(patched):
    """It may be there before unwrap returns, and no edge will tell of it."""
    for _ in range(MANY):
        c, s = handshakes(*tcp())
        with c, s:
            def end(s=s):
                s.unwrap()
                s.sendall(b"plain")

            g = go(end)
            c.unwrap()
            assert c.recv(10) == b"plain"
            g.result(PATIENCE)


def test_server_name_callback_may_park(patched):
    names = []

    def chosen(sock, name, context):
        gmpx.sleep(0.001)
        names.append(name)

    context = server_context()
    context.sni_callback = chosen

    def handshake():
        c, s = handshakes(*tcp(), server=context)
        with c, s:
            go(c.sendall, b"x")
            assert s.recv(1) == b"x"

    with gmpx.Group() as group:
        for _ in range(5):
            group.go(handshake)
    assert names == ["localhost"] * 5


def test_session_reuse(patched):
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    c, s = handshakes(*tcp(), client=client)
    with c, s:
        session = c.session
    c, s = handshakes(*tcp(), client=client, session=session)
    with c, s:
        assert c.session_reused and s.session_reused


def test_post_handshake_authentication(patched):
    server, client = server_context(), client_context()
    server.verify_mode = ssl.CERT_OPTIONAL
    server.load_verify_locations(CERTS / "ca.pem")
    server.post_handshake_auth = client.post_handshake_auth = True
    client.load_cert_chain(CERTS / "localhost.pem")
    c, s = handshakes(*tcp(), server=server, client=client)
    with c, s:
        assert not s.getpeercert()
        s.verify_client_post_handshake()
        s.sendall(b"who?")
        assert c.recv(10) == b"who?"
        c.sendall(b"me")
        assert s.recv(10) == b"me" and s.getpeercert()


def test_connect_accept_and_no_handshake_on_connect(patched):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        listener = SERVER.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        with listener:
            accepting = parked(go(listener.accept))
            with CLIENT.wrap_socket(
                socket.socket(), server_hostname="localhost", do_handshake_on_connect=False
            ) as c:
                assert c.connect_ex(listener.getsockname()) == 0
                s, _ = accepting.result(PATIENCE)
                with s:
                    g = parked(go(s.do_handshake))
                    c.do_handshake()
                    g.result(PATIENCE)
                    g = parked(go(s.recv, 1))
                    c.send(b"x")
                    assert g.result(PATIENCE) == b"x"


def test_objects_over_memory_are_left_alone(patched):
    a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
    c = CLIENT.wrap_bio(a, b, server_hostname="localhost")
    s = SERVER.wrap_bio(b, a, server_side=True)
    for _ in range(3):
        for end in (c, s):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    c.write(b"x")
    assert s.read() == b"x"
    with pytest.raises(ssl.SSLWantReadError):
        s.read()


def test_subclasses(patched):
    class Counting(ssl.SSLSocket):
        count = 0

        def read(self, *args):
            self.count += 1
            return super().read(*args)

    client = client_context()
    client.sslsocket_class = Counting
    c, s = handshakes(*tcp(), client=client)
    with c, s:
        g = parked(go(c.recv, 10))
        s.sendall(b"x")
        assert g.result(PATIENCE) == b"x" and c.count == 1 and type(c) is Counting


# ---- time-outs, and who does not want to wait ----------------------------------------------


def words(call):
    """What a call raises, without the line of CPython's source that said it."""
    kind, text = outcome(call)
    return kind, text.rpartition(": ")[2]


def slow_handshake(patch):
    a, b = tcp()
    with a, b:
        a.settimeout(0.02)
        return words(lambda: CLIENT.wrap_socket(a, server_hostname="localhost"))


def slow_read(patch):
    c, s = handshakes(*tcp()) if patch else on_threads(*tcp())
    with c, s:
        c.settimeout(0.02)
        return words(lambda: c.recv(1)), words(lambda: c.recv_into(bytearray(5))), words(c.unwrap)


def slow_write(patch):
    c, s = handshakes(*tcp()) if patch else on_threads(*tcp())
    with c, s:
        c.settimeout(0.02)
        return words(lambda: [c.send(bytes(1_000_000)) for _ in range(100)])


def no_wait(patch):
    c, s = handshakes(*tcp()) if patch else on_threads(*tcp())
    with c, s:
        c.settimeout(0)
        s.setblocking(False)
        # the server's session tickets may be there or not: a first read takes them
        outcome(lambda: c.recv(1))
        return words(lambda: c.recv(1)), words(lambda: [s.send(bytes(1_000_000)) for _ in range(100)])


def no_wait_handshake(patch):
    a, b = tcp()
    a.settimeout(0)
    with b:
        wrong = words(lambda: CLIENT.wrap_socket(a, server_hostname="localhost"))
        a, c = tcp()
        a.settimeout(0)
        with c, CLIENT.wrap_socket(
            a, server_hostname="localhost", do_handshake_on_connect=False
        ) as s:
            return wrong, words(s.do_handshake)


@pytest.mark.parametrize("case", [slow_handshake, slow_read, slow_write, no_wait, no_wait_handshake])
def test_time_outs_are_the_originals(case):
    plain = case(False)
    gmpx.patch.all()
    assert go(case, True).result(PATIENCE) == plain


def test_who_waits_is_named_by_the_time_out_of_its_call(ends):
    c, s = ends
    c.settimeout(5)
    g = parked(go(c.recv, 1))
    c.settimeout(0.01)
    assert outcome(lambda: c.recv(1)) == (TimeoutError, "The read operation timed out")
    assert not g.done()
    c.settimeout(None)
    s.sendall(b"x")
    assert g.result(PATIENCE) == b"x"
    g = parked(go(c.recv, 1))
    s.sendall(b"y")
    assert g.result(PATIENCE) == b"y"


def test_cancel_leaves_a_reader_usable(ends):
    c, s = ends
    cancelled(parked(go(c.recv, 1)))
    with pytest.raises(TimeoutError), gmpx.timeout(0.01):
        c.recv(1)
    s.sendall(b"x")
    assert c.recv(1) == b"x"


def test_close_wakes_who_waits(ends):
    c, s = ends
    g = parked(go(c.recv, 1))
    c.close()
    with pytest.raises(OSError) as e:
        g.result(PATIENCE)
    assert e.value.errno == errno.EBADF


# ---- threads, before and after the patch ---------------------------------------------------


def exchange(c, s):
    c.sendall(b"to the server")
    assert s.recv(100) == b"to the server"
    s.sendall(b"to the client")
    assert c.recv(100) == b"to the client"


def on_a_thread(call, *args):
    found = []
    thread = threading.Thread(target=lambda: found.append(outcome(lambda: call(*args))))
    thread.start()
    thread.join(PATIENCE)
    return found[0]


def test_threads_use_what_goroutines_use(ends):
    c, s = ends
    assert on_a_thread(exchange, c, s) is None
    g = parked(go(c.recv, 100))
    assert not blocks(c)
    found = []
    reader = threading.Thread(target=lambda: found.append(s.recv(100)))
    reader.start()
    c.sendall(b"from a goroutine")
    reader.join(PATIENCE)
    assert found == [b"from a goroutine"]
    assert on_a_thread(s.sendall, b"from a thread") is None
    assert g.result(PATIENCE) == b"from a thread"
    exchange(c, s)


def test_a_thread_does_not_spin_on_what_goroutines_have_used(ends):
    c, s = ends
    cancelled(parked(go(c.recv, 1)))
    assert not blocks(c)
    cpu = []

    def read():
        start = time.thread_time()
        data = c.recv(10)
        cpu.append((data, time.thread_time() - start))

    thread = threading.Thread(target=read)
    thread.start()
    gmpx.sleep(0.3)
    s.sendall(b"x")
    thread.join(PATIENCE)
    assert cpu[0][0] == b"x" and cpu[0][1] < 0.1


def test_made_before_the_patch_and_in_use():
    c, s = on_threads(*tcp())
    with c, s:
        found = []
        reader = threading.Thread(target=lambda: found.append(s.recv(100)))
        reader.start()
        gmpx.patch.all()
        c.sendall(b"before")
        reader.join(PATIENCE)
        assert found == [b"before"]
        g = parked(go(s.recv, 100))
        go(c.sendall, b"after")
        assert g.result(PATIENCE) == b"after"
        exchange(c, s)


def test_undo_and_go_on():
    gmpx.patch.all()
    c, s = handshakes(*tcp())
    with c, s:
        exchange(c, s)
        waiting = parked(go(s.recv, 100))
        assert not blocks(s)
        gmpx.patch.undo()
        assert blocks(c)
        c.sendall(b"still")
        assert waiting.result(PATIENCE) == b"still"
        assert blocks(s)
        exchange(c, s)
        gmpx.patch.all()
        exchange(c, s)
        g = parked(go(c.recv, 1))
        s.sendall(b"x")
        assert g.result(PATIENCE) == b"x"


def test_detach_and_shutdown_give_the_descriptor_back(ends):
    c, s = ends
    cancelled(parked(go(c.recv, 1)))
    cancelled(parked(go(s.recv, 1)))
    assert not blocks(c) and not blocks(s)
    s.shutdown(socket.SHUT_WR)
    assert blocks(s)
    fd = c.detach()
    assert os.get_blocking(fd)
    os.close(fd)


def test_undo_restores_everything():
    import _ssl

    own = dict(vars(ssl.SSLSocket))
    below = dict(vars(_ssl._SSLSocket))
    gmpx.patch.ssl()
    assert gmpx.patch.is_patched("socket")
    assert gmpx.patch.is_patched("_ssl._SSLSocket.read")
    assert gmpx.patch.is_patched("ssl.SSLSocket.detach")
    gmpx.patch.undo("socket")  # what stands on it goes with it
    assert not gmpx.patch.is_patched("ssl")
    assert dict(vars(ssl.SSLSocket)) == own and dict(vars(_ssl._SSLSocket)) == below
    gmpx.patch.all(socket=False)
    assert not gmpx.patch.is_patched("ssl") and not gmpx.patch.is_patched("socket")
    gmpx.patch.undo()


def test_fork_goes_on_with_its_connections(ends):
    c, s = ends
    g = parked(go(c.recv, 100))
    s.sendall(b"x")
    assert g.result(PATIENCE) == b"x"
    pid = os.fork()
    if not pid:
        try:
            c.sendall(b"from the child")
            os._exit(0)
        finally:
            os._exit(1)
    assert s.recv(100) == b"from the child"
    assert os.waitpid(pid, 0)[1] == 0


def test_select_with_pending_data(ends):
    c, s = ends
    s.sendall(b"0123456789")
    assert c.recv(5) == b"01234" and c.pending() == 5
    assert select.select([c], [], [], 0) == ([], [], [])
    assert c.recv(5) == b"56789"


def test_its_descriptor_may_still_be_read(ends):
    """os.read under a connection that we have made non-blocking waits, as on one that blocks."""
    c, s = ends
    cancelled(parked(go(c.recv, 1)))  # also takes the session tickets
    assert not blocks(c)
    g = parked(go(os.read, c.fileno(), 100))
    s.sendall(b"x")
    assert g.result(PATIENCE)[:1] == b"\x17"  # a record of TLS
