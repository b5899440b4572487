"""gmpx.gunicorn.Worker: gunicorn's own processes, with clients, signals and faults."""

import hashlib
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("gunicorn", reason="needs gunicorn: pip install -e '.[web]'")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn runs on POSIX systems")

CERTS = Path(__file__).parents[1] / "io" / "tls" / "certs"

APP = """
    import ctypes
    import hashlib
    import os
    import time

    from gunicorn.workers.base_async import ALREADY_HANDLED

    inside = most = 0
    print("loaded")

    def app(environ, start_response):
        path = environ["PATH_INFO"]
        answer = globals().get(path[1:] or "hello")
        return answer(environ, start_response)

    def reply(start_response, text, *headers):
        body = str(text).encode()
        start_response("200 OK", [("Content-Length", str(len(body))), *headers])
        return [body]

    def hello(environ, start_response):
        return reply(start_response, "hello")

    def pid(environ, start_response):
        return reply(start_response, os.getpid())

    def doze(environ, start_response):
        global inside, most
        inside += 1
        most = max(most, inside)
        try:
            time.sleep(float(environ["QUERY_STRING"]))
        finally:
            inside -= 1
        return reply(start_response, "slept")

    def crowd(environ, start_response):
        return reply(start_response, most)

    def facts(environ, start_response):
        names = "wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess", "SERVER_PROTOCOL", "REMOTE_ADDR"
        return reply(start_response, [environ.get(name) for name in names])

    def stream(environ, start_response):
        start_response("200 OK", [])
        yield b""
        for n in range(int(environ["QUERY_STRING"])):
            yield bytes([n % 256]) * 65536

    def digest(environ, start_response):
        digest = hashlib.sha256()
        while piece := environ["wsgi.input"].read(50_000):
            digest.update(piece)
        return reply(start_response, digest.hexdigest())

    def file(environ, start_response):
        size = os.stat("file").st_size
        start_response("200 OK", [("Content-Length", str(size))])
        return environ["wsgi.file_wrapper"](open("file", "rb"))

    def nothing(environ, start_response):
        start_response("204 No Content", [])
        return []

    def wrong(environ, start_response):
        raise ValueError("as it should")

    def wrong_at_first(environ, start_response):
        start_response("200 OK", [])
        yield b""
        raise ValueError("before anything was sent")

    def wrong_later(environ, start_response):
        start_response("200 OK", [])
        yield b"a part"
        raise ValueError("in the middle")

    def file_missing(environ, start_response):
        return open("no such file", "rb")

    def too_late(environ, start_response):
        import gmpx
        with gmpx.timeout(0.01):
            time.sleep(10)

    def out(environ, start_response):
        raise SystemExit(7)

    def upgrade(environ, start_response):
        s = environ["gunicorn.socket"]
        s.sendall(b"HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n")
        while data := s.recv(100):
            s.sendall(data.upper())
        return ALREADY_HANDLED

    def spin_for_ever(environ, start_response):
        while True:
            pass

    def stuck_in_c(environ, start_response):
        mutex = ctypes.create_string_buffer(64)
        while True:
            ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


@pytest.fixture
def serve(start):
    def serve(*options, app=APP, bind=("127.0.0.1:0",), **more):
        import gunicorn.config

        quiet = ["--no-control-socket"] if "control_socket_disable" in gunicorn.config.make_settings() else []
        binds = [word for address in bind for word in ("-b", address)]
        server = start(
            *("-m", "gunicorn", "-k", "gmpx.gunicorn.Worker", "--pid", "pid", "--keep-alive", "30", *quiet),
            *(*binds, *options, "web_app:app"),
            web_app=app,
            **more,
        )
        for text in server.said(r"Listening at: (\S+)")[0].split(","):
            scheme, _, rest = text.partition(":")
            host, _, port = rest.rpartition(":")
            server.address = rest if scheme == "unix" else (host.strip("/"), int(port))
        server.said("loaded")
        return server

    return serve


def workers(server):
    return [int(pid) for pid in server.said(r"Booting worker with pid: (\d+)")]


class Load(threading.Thread):
    """Clients that ask and ask, on connections that they keep, until they are stopped. .failures is what failed."""

    def __init__(self, server, path="/pid", clients=8):
        super().__init__()
        self.server, self.path, self.ends = server, path, threading.Event()
        self.failures, self.bodies = [], []
        self.clients = [threading.Thread(target=self.ask) for _ in range(clients)]
        self.start()

    def run(self):
        for client in self.clients:
            client.start()
        for client in self.clients:
            client.join()

    def ask(self):
        connection = self.server.connect()
        try:
            while not self.ends.is_set():
                status, body = self.server.get(self.path, connection)
                if status != 200:
                    self.failures.append((status, body))
                self.bodies.append(body)
        except Exception as error:
            self.failures.append(error)
        finally:
            connection.close()

    def stop(self):
        self.ends.set()
        self.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def until(self, condition):
        end = time.monotonic() + 40
        while not condition():
            assert time.monotonic() < end, (self.failures, set(self.bodies), self.server.log)
            time.sleep(0.05)


def test_many_clients_keep_their_connections(serve, together):
    server = serve()

    def ask(n):
        connection = server.connect()
        replies = {server.get("/", connection) for _ in range(20)}
        connection.close()
        return replies

    assert together(50, ask) == [{(200, b"hello")}] * 50
    assert server.end(signal.SIGTERM) == 0
    assert "Traceback" not in server.log


def test_waits_of_requests_are_parallel(serve, together):
    server = serve()
    start = time.monotonic()
    assert together(50, lambda _: server.get("/doze?0.3")) == [(200, b"slept")] * 50
    assert time.monotonic() - start < 50 * 0.3 / 2


def test_what_the_application_is_told(serve):
    server = serve("-w", "2")
    assert server.get("/facts") == (200, b"['http', True, True, 'HTTP/1.1', '127.0.0.1']")
    assert server.get("/nothing") == (204, b"")


def test_worker_connections_is_a_limit(serve, together):
    server = serve("--worker-connections", "3", "--keep-alive", "0")
    assert together(9, lambda _: server.get("/doze?0.05")) == [(200, b"slept")] * 9
    assert server.get("/crowd") == (200, b"3")


def test_bodies_and_files(serve):
    server = serve()
    connection = server.connect()
    for size in 0, 5, 1 << 22:
        body = os.urandom(size)
        server.path.with_name("file").write_bytes(body)
        digest = hashlib.sha256(body).hexdigest().encode()
        assert server.get("/digest", connection, "POST", body) == (200, digest)
        pieces = (body[n : n + 70_000] for n in range(0, size, 70_000))
        assert server.get("/digest", connection, "POST", pieces) == (200, digest)
        assert server.get("/file", connection) == (200, body)
    connection.close()


def test_a_body_that_nobody_reads_is_not_the_next_request(serve):
    server = serve()
    connection = server.connect()
    for _ in range(3):
        assert server.get("/", connection, "POST", b"GET /wrong HTTP/1.1\r\n\r\n" * 1000) == (200, b"hello")
    connection.close()


def test_big_streams(serve, together):
    server = serve()

    def ask(_):
        status, body = server.get("/stream?200")
        return status, hashlib.sha256(body).digest()

    whole = hashlib.sha256(b"".join(bytes([n]) * 65536 for n in range(200))).digest()
    assert together(8, ask) == [(200, whole)] * 8


def test_pipelined_requests_are_answered_in_order(serve):
    server = serve()
    with socket.create_connection(server.address, timeout=40) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /pid HTTP/1.0\r\nHost: x\r\n\r\n")
        text = b"".join(iter(lambda: s.recv(10_000), b""))
    first, _, second = text.partition(b"hello")
    assert first.startswith(b"HTTP/1.1 200 OK") and b"Connection: keep-alive" in first
    assert second.startswith(b"HTTP/1.0 200 OK") and b"Connection: close" in second


def test_clients_that_go_in_the_middle(serve):
    server = serve()
    for path in ["/stream?1000"] * 5 + ["/doze?0.1"] * 5:
        with socket.create_connection(server.address) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            if "stream" in path:
                s.recv(1000)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    with socket.create_connection(server.address) as s:
        s.sendall(b"GET / HT")
    assert server.get() == (200, b"hello")
    assert server.end(signal.SIGTERM) == 0
    assert "Traceback" not in server.log and len(workers(server)) == 1


def test_errors_of_the_application(serve):
    server = serve()
    for path in ["/wrong", "/wrong_at_first", "/out", "/file_missing", "/too_late"]:
        status, body = server.get(path)
        assert status == 500 and b"Internal Server Error" in body
    with socket.create_connection(server.address, timeout=40) as s:
        s.sendall(b"GET /wrong_later HTTP/1.1\r\nHost: x\r\n\r\n")
        text = b"".join(iter(lambda: s.recv(10_000), b""))
    assert text.endswith(b"\r\n\r\n6\r\na part\r\n")  # no last chunk: who asked sees that it is not all
    assert server.get() == (200, b"hello")
    assert server.log.count("ValueError: as it should") == 1
    assert server.log.count("ValueError: in the middle") == 1
    assert len(workers(server)) == 1


def test_a_bad_body_is_answered(serve):
    server = serve()
    with socket.create_connection(server.address, timeout=40) as s:
        s.sendall(b"POST /digest HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n")
        assert s.recv(10_000).startswith(b"HTTP/1.1 400 Bad Request")


def test_a_bad_request_is_answered(serve):
    server = serve()
    with socket.create_connection(server.address, timeout=40) as s:
        s.sendall(b"nonsense\r\n\r\n")
        assert s.recv(10_000).startswith(b"HTTP/1.1 400 Bad Request")


def test_a_silent_client_is_dropped_after_keepalive(serve):
    server = serve("--keep-alive", "2")
    with socket.create_connection(server.address, timeout=40) as s:
        assert s.recv(100) == b""
    connection = server.connect()
    assert server.get("/", connection) == (200, b"hello")
    assert connection.sock.recv(100) == b""
    connection.close()


def test_the_socket_can_be_taken_over(serve):
    server = serve()
    with socket.create_connection(server.address, timeout=40) as s:
        s.sendall(b"GET /upgrade HTTP/1.1\r\nHost: x\r\n\r\n")
        assert s.recv(1000).startswith(b"HTTP/1.1 101")
        s.sendall(b"mine")
        assert s.recv(100) == b"MINE"
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100) == b""
    assert "Traceback" not in server.log


def test_tls(serve, together):
    server = serve("--certfile", CERTS / "localhost.pem", "--keyfile", CERTS / "localhost.pem")
    server.path.with_name("tls").touch()
    with socket.create_connection(server.address):  # says nothing, and holds up nobody
        with socket.create_connection(server.address) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no TLS
        assert together(10, lambda _: server.get("/facts"))[0][1].startswith(b"['https'")
        body = os.urandom(1 << 20)
        digest = hashlib.sha256(body).hexdigest().encode()
        assert server.get("/digest", method="POST", body=body) == (200, digest)
        status, body = server.get("/stream?40")
        assert len(body) == 40 * 65536
    assert server.end(signal.SIGTERM) == 0
    assert "Traceback" not in server.log


def test_unix_socket_beside_tcp(serve, tmp_path):
    server = serve(bind=["127.0.0.1:0", f"unix:{tmp_path}/sock"])
    assert server.address == f"{tmp_path}/sock"
    port = int(server.said(r"http://127.0.0.1:(\d+)")[0])
    assert server.get() == (200, b"hello")
    server.address = "127.0.0.1", port
    assert server.get() == (200, b"hello")


def test_two_workers(serve):
    server = serve("-w", "2")
    pids = {str(pid).encode() for pid in map(int, server.said(r"Booting worker with pid: (\d+)", 2))}
    seen = set()
    end = time.monotonic() + 40
    while seen != pids and time.monotonic() < end:
        with Load(server) as load:
            time.sleep(0.2)
        assert not load.failures
        seen.update(load.bodies)
    assert seen == pids


def test_preloaded_application_that_has_used_gmpx(serve):
    more = """
    import threading
    import gmpx
    import gmpx.patch

    gmpx.patch.all()
    answers = gmpx.map(lambda n: time.sleep(0.01) or n * n, range(10))
    lock = threading.Lock()
    loaded = os.getpid()

    def inherited(environ, start_response):
        with lock:
            return reply(start_response, (answers, loaded == os.getppid(), gmpx.map(abs, [-1])))
    """
    server = serve("--preload", app=APP + more)
    assert server.get("/inherited") == (200, str(([n * n for n in range(10)], True, [1])).encode())
    assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_requests_in_flight_are_finished(serve, together, number):
    server = serve()
    worker = workers(server)[0]
    idle = server.connect()
    assert server.get("/", idle) == (200, b"hello")

    def ask(n):
        if n < 4:
            return server.get("/doze?1")
        time.sleep(0.5)
        server.kill(number)

    assert together(5, ask)[:4] == [(200, b"slept")] * 4
    if number == signal.SIGTERM:
        assert server.end() == 0
    else:
        server.said(rf"Worker exiting \(pid: {worker}\)")
        assert server.get("/pid")[1] != str(worker).encode()
    assert idle.sock.recv(10) == b""
    idle.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_quick_end(serve, number):
    server = serve("--graceful-timeout", "60")
    with socket.create_connection(server.address, timeout=40) as s:
        s.sendall(b"GET /doze?1000 HTTP/1.1\r\nHost: x\r\n\r\n")
        while server.get("/crowd") != (200, b"1"):
            time.sleep(0.02)
        assert server.end(number) == 0


def test_what_takes_longer_than_the_grace_is_cut(serve):
    server = serve("--graceful-timeout", "1")
    with socket.create_connection(server.address, timeout=40) as s:
        s.sendall(b"GET /doze?1000 HTTP/1.1\r\nHost: x\r\n\r\n")
        while server.get("/crowd") != (200, b"1"):
            time.sleep(0.02)
        worker = workers(server)[0]
        server.kill(signal.SIGHUP)
        assert s.recv(1000).startswith(b"HTTP/1.1 500 ")
    server.said(rf"Worker exiting \(pid: {worker}\)")
    assert re.search(r"Error handling request (GET )?/doze", server.log)
    assert server.get() == (200, b"hello")


def test_reload_under_load(serve):
    server = serve("-w", "2")
    with Load(server) as load:
        load.until(lambda: len(load.bodies) > 100)
        for n in range(2):
            server.kill(signal.SIGHUP)
            server.said("loaded", 2 * n + 4)  # they handle signals by then
            server.said("Worker exiting", 2 * n + 2)
    assert not load.failures
    assert len(set(load.bodies)) > 2


def test_a_new_master_under_load(serve):
    server = serve()
    pid_file = server.path.with_name("pid")
    with Load(server) as load:
        load.until(lambda: len(load.bodies) > 100)
        server.kill(signal.SIGUSR2)
        server.said("Booting worker", 2)
        assert server.end(signal.SIGTERM) == 0
        server.said("Master has been promoted")
        n = len(load.bodies)
        load.until(lambda: len(load.bodies) > n + 100)
    assert not load.failures
    load.until(lambda: pid_file.exists() and int(pid_file.read_text()) != server.pid)
    server.kill(signal.SIGTERM, int(pid_file.read_text()))
    server.said("Shutting down: Master", 2)


def test_logs_are_reopened_under_load(serve):
    server = serve("--access-logfile", "access")
    access = server.path.with_name("access")
    with Load(server) as load:
        load.until(lambda: len(load.bodies) > 100)
        access.rename(access.with_name("access.1"))
        server.kill(signal.SIGUSR1)
        load.until(lambda: access.exists() and "GET /pid" in access.read_text())
    assert not load.failures
    assert server.end(signal.SIGTERM) == 0
    lines = sum((len(p.read_text().splitlines()) for p in (access, access.with_name("access.1"))))
    assert lines == len(load.bodies)


def test_max_requests(serve):
    server = serve("-w", "2", "--max-requests", "100", "--max-requests-jitter", "50")
    with Load(server) as load:
        load.until(lambda: len(set(load.bodies)) >= 5)
    assert not load.failures
    assert "Autorestarting worker" in server.log


@pytest.mark.parametrize("how", ["spin_for_ever", "stuck_in_c"])
def test_a_worker_that_hangs_is_killed(serve, how):
    # on one P, so that it is the main thread
    server = serve("--timeout", "2", env={"GMPX_MAXPROCS": "1"})
    worker = workers(server)[0]
    with socket.create_connection(server.address, timeout=40) as s:
        s.sendall(f"GET /{how} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        server.said(rf"WORKER TIMEOUT \(pid:{worker}\)")
        assert b"200 OK" not in s.recv(1000)
    server.said("Booting worker", 2)
    assert server.get() == (200, b"hello")
    assert f"in {how}" in server.log  # gmpx's report of who keeps the thread


def test_the_reloader(serve):
    server = serve("--reload", "--reload-engine", "poll")
    assert server.get() == (200, b"hello")
    file = server.path.with_name("web_app.py")
    file.write_text(file.read_text().replace('"hello")\n\ndef pid', '"anew")\n\ndef pid'))
    later = time.time()
    while server.log.count("loaded") < 2:  # it may not have looked for the first time yet
        later += 5
        os.utime(file, (later, later))
        time.sleep(0.5)
    assert server.get() == (200, b"anew")


def test_hooks(serve, tmp_path):
    names = {"pre_request": 2, "post_request": 4, "worker_int": 1, "post_worker_init": 1, "worker_exit": 2}
    hooks = (
        f"def {name}({', '.join('abcd'[:n])}): print('hook {name}', flush=True)\n" for name, n in names.items()
    )
    (tmp_path / "hooks.py").write_text("".join(hooks))
    server = serve("-c", "hooks.py")
    assert server.get() == (200, b"hello")
    assert server.get("/wrong")[0] == 500
    server.said("hook post_request", 2)
    assert server.end(signal.SIGINT) == 0
    said = [line.split()[1] for line in server.log.splitlines() if line.startswith("hook ")]
    requests = ["pre_request", "post_request"] * 2
    assert said == ["post_worker_init", *requests, "worker_int", "worker_exit"]


def test_one_that_only_waits_does_not_hang(serve):
    server = serve("--timeout", "2")
    assert server.get("/doze?3") == (200, b"slept")
    assert "TIMEOUT" not in server.log


def test_the_end_of_the_master_ends_the_worker(serve):
    server = serve()
    worker = workers(server)[0]
    assert server.get() == (200, b"hello")
    server.kill(signal.SIGKILL)
    server.process.wait()
    end = time.monotonic() + 40
    while "Parent changed" not in server.log:
        assert time.monotonic() < end
        time.sleep(0.05)
    while os.path.exists(f"/proc/{worker}") and time.monotonic() < end:
        if "Z" in Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]:
            break
        time.sleep(0.05)
    assert time.monotonic() < end
