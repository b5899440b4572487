"""requests, urllib3 and httpx against nginx, plain and by TLS."""

import asyncio
import os
import shutil
import ssl
import subprocess

import pytest

import gmpx
import gmpx.io

POOL = 10
CONFIG = """
daemon off; worker_processes 1; pid {0}/pid; error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {0}/t1; proxy_temp_path {0}/t2; fastcgi_temp_path {0}/t3; uwsgi_temp_path {0}/t4;
    scgi_temp_path {0}/t5;
    keepalive_requests 100000;
    client_max_body_size 10m;
    server {{
        listen 127.0.0.1:{1};
        location / {{ return 200 "$arg_i"; }}
        location /large {{ alias {0}/large; }}
        location /behind {{ proxy_pass http://127.0.0.1:{2}; }}
        location /gone {{ return 302 /?i=$arg_i; }}
    }}
    server {{
        listen 127.0.0.1:{3} ssl;
        ssl_certificate {0}/cert.pem; ssl_certificate_key {0}/key.pem;
        location / {{ return 200 "$arg_i"; }}
        location /behind {{ proxy_pass http://127.0.0.1:{2}; }}
    }}
}}
"""
LARGE = bytes(range(256)) * 20_000


def prepare(nginx, directory, port, behind, tls):
    (directory / "nginx.conf").write_text(CONFIG.format(directory, port, behind, tls))
    (directory / "large").write_bytes(LARGE)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="session")
def nginxes():
    servers = []
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def nginx(nginxes, new_server):
    """Plain at .port, by TLS at .tls; what is behind it listens at .behind, where a test starts that."""
    if not nginxes:
        path = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
        if path is None:
            pytest.skip("no nginx is installed")
        if shutil.which("openssl") is None:
            pytest.skip("no openssl is installed")
        ports = [new_server.free_port() for _ in range(2)]

        def make_ready(server):
            server.directory.chmod(0o755)  # its workers are nobody's
            prepare(server, server.directory, server.port, *ports)

        server = new_server("nginx", lambda port, directory: [path, "-p", str(directory), "-c", "nginx.conf"], make_ready)
        server.behind, server.tls = ports
        nginxes.append(server)
    if nginxes[0].process is None:
        nginxes[0].start()
    return nginxes[0]


@pytest.fixture
def behind(nginx):
    """What nginx asks for /behind: goroutines, which take five milliseconds, or until .open is set for /behind/held."""

    class Behind:
        held, open = 0, gmpx.Event()

    def answer(conn, address):
        request = b""
        while b"\r\n\r\n" not in request:
            data = conn.recv(65536)
            if not data:
                return
            request += data
        path = request.split(b" ")[1]
        if path.startswith(b"/behind/held"):
            Behind.held += 1
            Behind.open.wait()
        else:
            gmpx.sleep(0.005)
        body = path.rpartition(b"=")[2]
        conn.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    listener = gmpx.io.listen("127.0.0.1", nginx.behind, backlog=200)
    serving = gmpx.go(gmpx.io.serve, answer, listener)
    yield Behind
    Behind.open.set()
    serving.cancel()
    serving.join()
    listener.close()


class Requests:
    def __init__(self, module, verify):
        self.session = module.Session()
        self.session.trust_env = False
        self.session.verify = verify
        adapter = module.adapters.HTTPAdapter(pool_connections=2, pool_maxsize=POOL, pool_block=True)
        self.session.mount("http://", adapter)
        self.session.mount("https://", adapter)
        self.errors, self.timed_out = module.RequestException, module.Timeout

    def get(self, url, timeout=60):
        reply = self.session.get(url, timeout=timeout)
        reply.raise_for_status()
        return reply.content

    def left(self):
        """How many connections are out of the pools."""
        pools = self.session.get_adapter("http://").poolmanager.pools
        return sum(POOL - pools[key].pool.qsize() for key in pools.keys())

    def close(self):
        self.session.close()


class Urllib3:
    def __init__(self, module, verify):
        self.manager = module.PoolManager(maxsize=POOL, block=True, ca_certs=verify, retries=False)
        self.retries = module.Retry(connect=False, read=False, redirect=3)
        self.errors, self.timed_out = module.exceptions.HTTPError, module.exceptions.TimeoutError

    def get(self, url, timeout=60):
        reply = self.manager.request("GET", url, timeout=timeout, retries=self.retries)
        assert reply.status == 200, reply.status
        return reply.data

    def left(self):
        pools = self.manager.pools
        return sum(POOL - pools[key].pool.qsize() for key in pools.keys())

    def close(self):
        self.manager.clear()


class Httpx:
    def __init__(self, module, verify):
        context = ssl.create_default_context(cafile=verify)
        limits = module.Limits(max_connections=POOL, max_keepalive_connections=POOL)
        self.client = module.Client(verify=context, limits=limits, follow_redirects=True, trust_env=False)
        self.errors, self.timed_out = module.HTTPError, module.TimeoutException

    def get(self, url, timeout=60):
        reply = self.client.get(url, timeout=timeout)
        reply.raise_for_status()
        return reply.content

    def left(self):
        pool = self.client._transport._pool
        return len(pool._requests) + sum(not (c.is_idle() or c.is_closed()) for c in pool.connections)

    def close(self):
        self.client.close()


@pytest.fixture(params=[Requests, Urllib3, Httpx], ids=lambda cls: cls.__name__.lower())
def client(request, nginx):
    module = pytest.importorskip(request.param.__name__.lower())
    client = request.param(module, str(nginx.directory / "cert.pem"))
    yield client
    assert client.left() == 0
    client.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_crowd_shares_a_few_connections(client, nginx, behind, crowd, scheme):
    base = f"{scheme}://127.0.0.1:{nginx.port if scheme == 'http' else nginx.tls}"

    # httpcore, asked for more than its pool has, closes connections in use, with threads as with goroutines.
    places = gmpx.Semaphore(POOL if isinstance(client, Httpx) else 200)

    def one(i):
        with places:
            with crowd.waiting():
                first = client.get(f"{base}/behind?i={i}")
            return int(first), int(client.get(f"{base}/?i={i}"))

    assert crowd(one) == [(i, i) for i in range(200)]
    assert crowd.most > 1


def test_redirects_and_large_answers(client, nginx, crowd):
    base = f"http://127.0.0.1:{nginx.port}"
    assert crowd(lambda i: client.get(f"{base}/gone?i={i}"), POOL) == [b"%d" % i for i in range(POOL)]
    assert all(crowd(lambda i: client.get(f"{base}/large") == LARGE, POOL))


def test_cancelled_and_timed_out(client, nginx, behind, parked, until):
    """The connections are there for the next.

    Who waits for one, waits in a semaphore. In their pools a cancel then is one too many: urllib3 puts a connection
    back that it has not got, so that another gets FullPoolError; httpcore keeps the place of one that it has given.
    """
    base = f"http://127.0.0.1:{nginx.port}"
    free = gmpx.Semaphore(POOL)

    def get(i):
        with free:
            return client.get(f"{base}/behind/held?i={i}")

    gs = [gmpx.go(get, i) for i in range(2 * POOL)]
    until(lambda: behind.held == POOL)
    parked(*gs)
    for g in gs[::2]:
        g.cancel()
    for g in gs[::2]:
        with pytest.raises(gmpx.Cancelled):
            g.result(20)
    behind.open.set()
    assert [int(g.result(20)) for g in gs[1::2]] == list(range(1, 2 * POOL, 2))
    behind.open.clear()
    with pytest.raises(TimeoutError), gmpx.timeout(0.05):
        client.get(f"{base}/behind/held?i=1")
    assert client.get(f"{base}/?i=5") == b"5"


def test_the_librarys_own_time_out(client, silent):
    with pytest.raises(client.timed_out):
        client.get("http://{}:{}/".format(*silent), timeout=0.05)


def test_the_server_is_restarted(client, nginx, goes_on):
    goes_on(nginx, lambda i: int(client.get(f"http://127.0.0.1:{nginx.port}/?i={i}")), client.errors)


def test_threads_wait_as_threads(client, nginx, in_thread):
    threads = [in_thread(client.get, f"http://127.0.0.1:{nginx.port}/?i={i}") for i in range(5)]
    assert [int(thread.value()) for thread in threads] == list(range(5))


def test_httpx_asyncio(nginx, behind, crowd):
    httpx = pytest.importorskip("httpx")
    base = f"http://127.0.0.1:{nginx.port}/behind?i="

    async def some(i):
        async with httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=5), timeout=60) as client:
            replies = await asyncio.gather(*(client.get(f"{base}{10 * i + n}") for n in range(10)))
            return [int(reply.content) for reply in replies]

    assert crowd(lambda i: asyncio.run(some(i)), 10) == [[10 * i + n for n in range(10)] for i in range(10)]
