"""gmpx.patch: in place, at any time, and back again."""

import os
import select
import selectors
import socket
import subprocess
import sys
import time
import warnings
from time import sleep

import pytest

import gmpx
import gmpx.patch
from gmpx import go

PATIENCE = 20


@pytest.fixture
def patched():
    gmpx.patch.all()
    yield
    gmpx.patch.undo()


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    with a, b:
        yield a, b


def originals():
    return [
        *(getattr(socket.socket, name) for name in ("recv", "accept", "connect", "__init__")),
        *(cls.poll for cls in (type(select.poll()), select.epoll)),
    ]


def test_undo_restores_everything():
    before = originals()
    own = dict(vars(socket.socket))
    gmpx.patch.all()
    gmpx.patch.all()
    assert all(now is not then for now, then in zip(originals(), before, strict=True))
    gmpx.patch.undo()
    assert originals() == before
    assert dict(vars(socket.socket)) == own
    gmpx.patch.undo()


def test_groups_and_report():
    report = gmpx.patch.report().splitlines()
    assert all(line.endswith(": not patched") for line in report)
    assert {line.split(":")[0] for line in report} >= {"socket", "select", "time", "os", "subprocess", "psycopg"}
    gmpx.patch.all(select=False)
    try:
        assert gmpx.patch.is_patched("socket") and gmpx.patch.is_patched("time.sleep")
        assert gmpx.patch.is_patched("socket.socket.recv")
        assert gmpx.patch.is_patched("threading.Lock") and gmpx.patch.is_patched("threading.RLock")
        with pytest.raises(TypeError, match="a name such as 'time.sleep', not builtin_function_or_method"):
            gmpx.patch.is_patched(time.sleep)
        assert not gmpx.patch.is_patched("select")
        assert "socket.socket.recv" in gmpx.patch.report()
        gmpx.patch.select()
        gmpx.patch.undo("socket")
        assert not gmpx.patch.is_patched("socket")
        assert gmpx.patch.is_patched("select.select")
    finally:
        gmpx.patch.undo()
    assert not gmpx.patch.is_patched("input") and not gmpx.patch.is_patched("time.sleep")
    for bad in ("no", 1, None):
        with pytest.raises(TypeError, match=f"socket must be True or False, not {bad!r}"):
            gmpx.patch.all(time=True, socket=bad)
    assert not gmpx.patch.is_patched("time")
    for call in (
        lambda: gmpx.patch.all(sockets=True),
        lambda: gmpx.patch.undo("sockets"),
        lambda: gmpx.patch.is_patched("sockets"),
    ):
        with pytest.raises(ValueError, match="no such group: 'sockets'"):
            call()


def test_signatures_and_docs_are_the_originals():
    import inspect

    before = inspect.signature(socket.socket), socket.socket.recv.__doc__
    gmpx.patch.all()
    try:
        now = inspect.signature(socket.socket), socket.socket.recv.__doc__
    finally:
        gmpx.patch.undo()
    assert now == before


def test_what_others_have_replaced_since_stays():
    gmpx.patch.socket()
    mine = lambda self, n: b""  # noqa: E731
    ours = socket.socket.recv
    socket.socket.recv = mine
    with pytest.warns(RuntimeWarning, match=r"socket\.socket\.recv has been replaced by others") as warned:
        gmpx.patch.undo()
    assert warned[0].filename == __file__
    assert socket.socket.recv is mine
    del socket.socket.recv
    assert socket.socket.recv is not ours


def test_a_function_that_was_imported_by_name(patched):
    begun = time.monotonic()
    gmpx.map(sleep, [0.05] * 100)
    gmpx.map(time.sleep, [0.05] * 100)
    assert 0.1 <= time.monotonic() - begun
    g = go(sleep, 60)
    while g.wait_reason != "sleep":
        gmpx.gosched()
    g.cancel()
    g.join()


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), 1e300, "1", None])
def test_sleep_with_bad_arguments(bad):
    def outcome():
        try:
            sleep(bad)
        except Exception as e:
            return type(e), str(e)

    plain = outcome()
    gmpx.patch.time()
    try:
        assert outcome() == plain
    finally:
        gmpx.patch.undo()


def test_a_socket_that_was_there_before(pair, parked):
    a, b = pair
    a.send(b"1")
    assert b.recv(1) == b"1"
    gmpx.patch.socket()
    try:
        g = go(b.recv, 1)
        parked(g, reason="IO wait")
        a.send(b"2")
        assert g.result(PATIENCE) == b"2"
        g = go(b.recv, 1)
        parked(g)
    finally:
        gmpx.patch.undo()
    a.send(b"3")  # the one that waits is not disturbed
    assert g.result(PATIENCE) == b"3"


def test_create_connection_with_several_addresses(patched, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        info = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        addresses = [(*info, ("127.0.0.1", 1)), (*info, ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: addresses)
        g = go(server.accept)
        with socket.create_connection(("anywhere", port), timeout=PATIENCE) as client:
            conn, address = g.result(PATIENCE)
            assert address == client.getsockname()
            conn.close()


def test_subclasses(patched, pair, parked):
    class Mine(socket.socket):
        def recv(self, *args):
            return super().recv(*args).upper()

    a, b = pair
    with Mine(fileno=b.detach()) as mine:
        g = go(mine.recv, 10)
        parked(g)
        a.send(b"x")
        assert g.result(PATIENCE) == b"X"


@pytest.mark.parametrize("count", [None, 1_000_000])
def test_sendfile(patched, pair, parked, tmp_path, count):
    a, b = pair
    data = b"0123456789" * 300_000
    path = tmp_path / "f"
    path.write_bytes(data)
    with path.open("rb") as f:
        g = go(a.sendfile, f, 10, count)
        parked(g)
        wanted = data[10:] if count is None else data[10 : 10 + count]
        got = bytearray()
        while len(got) < len(wanted):
            got += b.recv(65536)
        assert g.result(PATIENCE) == len(wanted)
        assert bytes(got) == wanted
        assert f.tell() == 10 + len(wanted)


def test_select(patched, pair, parked):
    a, b = pair
    assert select.select([a], [b], [], 0) == ([], [b], [])
    begun = time.monotonic()
    assert select.select([a], [], [b], 0.02) == ([], [], [])
    assert select.select([], [], [], 0.02) == ([], [], [])
    assert time.monotonic() - begun >= 0.04
    g = go(select.select, iter([a, b]), (), ())
    parked(g, reason="IO wait")
    b.send(b"x")
    assert g.result(PATIENCE) == ([a], [], [])
    for bad in (
        lambda: select.select([a], [], []) if select.select(1, [], []) else None,
        lambda: select.select([a], [], [], "1"),
        lambda: select.select([object()], [], []),
    ):
        with pytest.raises(TypeError):
            bad()
    with pytest.raises(ValueError):
        select.select([a], [], [], -1)
    fd = os.dup(a.fileno())
    os.close(fd)
    with pytest.raises(OSError):
        select.select([fd], [], [])


def test_urgent_data_in_select(patched):
    with socket.create_server(("127.0.0.1", 0)) as server:
        a = socket.create_connection(server.getsockname())
        b, _ = server.accept()
    with a, b:
        a.send(b"x")
        g = go(select.select, [], [], [b])
        while g.status != "waiting":
            gmpx.gosched()
        a.send(b"!", socket.MSG_OOB)
        assert g.result(PATIENCE) == ([], [], [b])


@pytest.mark.parametrize(
    "kind", ["SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector"]
)
def test_selectors(patched, pair, parked, kind):
    if not hasattr(selectors, kind):
        pytest.skip(f"this platform has no {kind}")
    a, b = pair
    with getattr(selectors, kind)() as s:
        s.register(a, selectors.EVENT_READ, "data")
        assert s.select(0) == []
        begun = time.monotonic()
        assert s.select(0.02) == []
        assert time.monotonic() - begun >= 0.02
        g = go(s.select)
        parked(g, reason="IO wait")
        b.send(b"x")
        [(key, events)] = g.result(PATIENCE)
        assert (key.data, events) == ("data", selectors.EVENT_READ)
        s.modify(a, selectors.EVENT_WRITE)
        assert len(s.select()) == 1


def test_objects_made_before_the_patch(pair, parked):
    a, b = pair
    poll, epoll = select.poll(), select.epoll()
    poll.register(a, select.POLLIN)
    epoll.register(a.fileno(), select.EPOLLIN)
    gmpx.patch.select()
    try:
        gs = [go(poll.poll), go(epoll.poll), go(poll.poll, None), go(epoll.poll, timeout=PATIENCE)]
        parked(*gs, reason="IO wait")
        b.send(b"x")
        for g in gs:
            assert [fd for fd, _ in g.result(PATIENCE)] == [a.fileno()]
    finally:
        gmpx.patch.undo()
        epoll.close()


def test_foreign_threads_are_as_before(patched, pair, in_thread):
    a, b = pair
    with selectors.DefaultSelector() as s:
        s.register(b, selectors.EVENT_READ)
        threads = [
            in_thread(select.select, [b], [], [], PATIENCE),
            in_thread(s.select, PATIENCE),
            in_thread(sleep, 0.01),
        ]
        a.send(b"x")
        for thread in threads:
            thread.value()
        assert in_thread(b.recv, 5).value() == b"x"


def test_asyncio_in_a_goroutine(patched):
    import asyncio

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        line = await reader.readline()
        await asyncio.sleep(0.01)
        writer.close()
        server.close()
        return line

    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    ticks = []

    def ticker():
        while True:
            gmpx.sleep(0.002)
            ticks.append(1)

    g = go(ticker)
    assert go(asyncio.run, main()).result(PATIENCE) == b"HELLO\n"
    assert ticks
    g.cancel()
    g.join()


def test_http_after_everything_was_imported_and_used():
    code = """
import http.client, http.server, threading, urllib.request
together = threading.Barrier(40)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/all":
            together.wait(30)
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 100
server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = "http://127.0.0.1:%d" % server.server_port
get = lambda path: urllib.request.urlopen(url + path).read()
assert get("/") == b"ok"
import gmpx, gmpx.patch
gmpx.patch.all()
# the server answers when all forty are there at once
print(gmpx.map(get, ["/all"] * 40) == [b"ok"] * 40)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_a_subinterpreter_is_left_alone(patched):
    try:
        import _interpreters as interpreters
    except ImportError:
        interpreters = pytest.importorskip("_xxsubinterpreters")
    i = interpreters.create()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreters.run_string(i, "import time; time.sleep(0.01)")
    interpreters.destroy(i)
