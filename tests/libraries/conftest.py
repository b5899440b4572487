"""Real libraries against real servers, patched, in goroutines; each test skips where its library or server is not.

A server is looked for at the URL in an environment variable, which has a default on this machine (URLS). Those
that are restarted in mid-run, and those that are not there but installed, are started here: on a free port, with a
directory of their own.
"""

import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import gmpx
import gmpx.patch

URLS = {
    "postgres": "postgresql://postgres@127.0.0.1:5432/test",
    "mariadb": "mysql://root@127.0.0.1:3306/test",
    "redis": "redis://127.0.0.1:6379/0",
    "memcached": "memcached://127.0.0.1:11211",
    "rabbitmq": "amqp://guest:guest@127.0.0.1:5672/",
    "mqtt": "mqtt://127.0.0.1:1883",
    "nats": "nats://127.0.0.1:4222",
}
CROWD = 200
# No test waits for it to pass: what takes longer hangs.
PATIENCE = 60


@pytest.fixture(autouse=True)
def patched():
    gmpx.patch.all()
    yield
    gmpx.patch.undo()


@pytest.fixture
def patience():
    return PATIENCE


@pytest.fixture
def parked(until):
    """parked(*goroutines, reason=None): lets others run until each of these waits, and for that reason.

    It may wait for something else before; so, unlike the fixture of all tests, this one does not fail at that.
    """

    def parked(*goroutines, reason=None):
        for g in goroutines:
            until(lambda g=g: g.done() or g.status == "waiting" and reason in (None, g.wait_reason))
            assert not g.done(), f"{g!r} did not wait"

    return parked


class Crowd:
    """crowd(f): f(i) in 200 goroutines at once; the results in order.

    Where a call waits, f does ``with crowd.waiting():``. Afterwards ``crowd.most`` is how many of them waited at
    once in one thread: a call that holds its thread is alone there.
    """

    def __init__(self):
        self.inside = Counter()
        self.most = 0

    def __call__(self, f, n=CROWD):
        gs = [gmpx.go(f, i) for i in range(n)]
        try:
            return [g.result(PATIENCE) for g in gs]
        finally:
            for g in gs:
                g.cancel()

    @contextmanager
    def waiting(self):
        thread = threading.get_ident()
        assert not gmpx.current().name.startswith("thread "), "not a thread of the runtime"
        self.inside[thread] += 1
        self.most = max(self.most, self.inside[thread])
        try:
            yield
        finally:
            assert threading.get_ident() == thread
            self.inside[thread] -= 1


@pytest.fixture
def crowd():
    return Crowd()


@pytest.fixture
def goes_on(until):
    """goes_on(server, attempt, errors): goroutines call attempt() over and over while the server is restarted.

    Each has to have answers before, sees an error or none, and has to have answers afterwards.
    """

    def goes_on(server, attempt, errors, n=10):
        answers, failures, end = [0] * n, [0] * n, False

        def client(i):
            while not end:
                try:
                    assert attempt(i) == i
                    answers[i] += 1
                except errors:
                    failures[i] += 1
                gmpx.sleep(0.002)

        gs = [gmpx.go(client, i) for i in range(n)]

        def working(since):
            for g in gs:
                if g.done():
                    g.result()
            return all(now >= then + 3 for now, then in zip(answers, since, strict=True))

        try:
            until(lambda: working([0] * n), PATIENCE)
            server.stop()
            seen = sum(failures)
            until(lambda: sum(failures) > seen or any(g.done() for g in gs), PATIENCE)
            server.start()
            since = list(answers)
            until(lambda: working(since), PATIENCE)
        finally:
            end = True
            for g in gs:
                g.join(PATIENCE)
        for g in gs:
            g.result()

    return goes_on


def listens(host, port):
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


class Server:
    """A server of these tests' own.

    Args:
        name: which.
        command: command(port, directory), its argument list.
        user: whom it runs as, if root starts it.
    """

    def __init__(self, name, command, prepare=None, user=None):
        self.name, self.command, self.process = name, command, None
        self.host, self.port = "127.0.0.1", self.free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"gmpx-{name}-"))
        self.options = {}
        if user is not None and os.getuid() == 0:
            shutil.chown(self.directory, user, user)
            self.options = {"user": user, "group": user, "extra_groups": []}
        self.log = open(self.directory / "log", "ab")
        try:
            if prepare is not None:
                prepare(self)
            self.start()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def free_port():
        """One that the system gives nobody who asks for any, as a client does while the server is down."""
        while True:
            port = random.SystemRandom().randrange(20_000, 32_768)
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            return port

    def run(self, *command):
        subprocess.run(command, check=True, cwd=self.directory, stdout=self.log, stderr=self.log, **self.options)

    def start(self):
        self.process = subprocess.Popen(
            self.command(self.port, self.directory),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            **self.options,
        )
        end = time.monotonic() + PATIENCE
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{self.name} does not start:\n{(self.directory / 'log').read_text()}")
            time.sleep(0.02)

    def ready(self):
        return listens(self.host, self.port)

    def stop(self, number=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process = None

    def close(self):
        self.stop(signal.SIGKILL)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Postgres(Server):
    def __init__(self):
        def tool(name):
            found = shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)
            return found or pytest.skip(f"no {name} of PostgreSQL is installed")

        postgres, initdb = tool("postgres"), tool("initdb")

        def command(port, directory):
            options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off",
                       "max_connections": 60, "shared_buffers": "16MB", "client_connection_check_interval": "100ms"}
            settings = [f"--{name}={value}" for name, value in options.items()]
            return [postgres, "-D", str(directory / "data"), "-p", str(port), *settings]

        def prepare(server):
            server.run(initdb, "-D", str(server.directory / "data"), "-A", "trust", "-U", "postgres", "--no-sync",
                       "-E", "UTF8", "--locale=C")

        super().__init__("postgres", command, prepare, user="postgres")
        self.url = urlsplit(f"postgresql://postgres@{self.host}:{self.port}/postgres")

    def ready(self):
        return "ready to accept connections" in (self.directory / "log").read_text() and super().ready()

    def stop(self, number=signal.SIGINT):  # at once, and in order
        super().stop(number)
        if not self.log.closed:
            os.truncate(self.directory / "log", 0)


def mariadb(path, port, directory):
    """Without the tables of users and rights, which take long to make."""
    options = {"datadir": directory / "data", "socket": "socket", "pid-file": directory / "pid", "port": port,
               "bind-address": "127.0.0.1", "innodb-buffer-pool-size": "16M", "innodb-flush-log-at-trx-commit": 2}
    settings = [f"--{name}={value}" for name, value in options.items()]
    return [path, "--no-defaults", "--skip-grant-tables", "--skip-networking=0", "--skip-name-resolve", *settings]


# With no bound on its queues (0) Mosquitto 2.0 refuses what it has no room in flight for, and ends the connection.
MOSQUITTO = """
listener {port} 127.0.0.1
allow_anonymous true
user root
persistence true
persistence_location {directory}/
max_queued_messages 1000000
"""


def prepare_mosquitto(server):
    (server.directory / "conf").write_text(MOSQUITTO.format(port=server.port, directory=server.directory))


PROGRAMS = {"mariadb": "mariadbd", "redis": "redis-server", "memcached": "memcached", "mqtt": "mosquitto",
            "nats": "nats-server"}
COMMANDS = {
    "mariadb": mariadb,
    "redis": lambda path, port, _: [path, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
                                    "no"],
    "memcached": lambda path, port, _: [path, "-p", str(port), "-l", "127.0.0.1", "-u", "nobody", "-U", "0"],
    "mqtt": lambda path, _, directory: [path, "-c", str(directory / "conf")],
    "nats": lambda path, port, directory: [path, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(directory)],
}
MORE = {
    "mariadb": {"prepare": lambda server: server.run("mkdir", "-p", "data/test"), "user": "mysql"},
    "mqtt": {"prepare": prepare_mosquitto},
}
OWN = {"postgres", *PROGRAMS}


def private(name):
    """A new server of that name, or a skip."""
    if name == "postgres":
        return Postgres()
    path = shutil.which(PROGRAMS[name], path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
    if path is None:
        pytest.skip(f"no {PROGRAMS[name]} is installed")
    server = Server(name, lambda port, directory: COMMANDS[name](path, port, directory), **MORE.get(name, {}))
    known = urlsplit(URLS[name])
    server.url = known._replace(netloc=known.netloc.replace(str(known.port), str(server.port)))
    return server


@pytest.fixture(scope="session")
def started():
    """Servers that all tests share, by name."""
    servers = {}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture(scope="session")
def new_server():
    return Server


@pytest.fixture
def server(started):
    """server("redis"): a server of the tests' own, which may be restarted."""

    def server(name):
        if name not in started:
            started[name] = private(name)
        if started[name].process is None:
            started[name].start()
        return started[name]

    return server


@pytest.fixture
def url(server):
    """url("redis"): where one listens, as urllib.parse splits it."""

    def url(name):
        variable = f"GMPX_TEST_{name.upper()}"
        found = urlsplit(os.environ.get(variable, URLS[name]))
        if listens(found.hostname, found.port):
            return found
        if variable not in os.environ and name in OWN:
            return server(name).url
        pytest.skip(f"no {name} listens at {found.hostname}:{found.port} ({variable})")

    return url


@pytest.fixture
def silent():
    """(host, port) where connections are taken, and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=CROWD) as s:
        yield s.getsockname()


def pytest_terminal_summary(terminalreporter):
    counts, reasons = Counter(), Counter()
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if "tests/libraries/" in getattr(report, "nodeid", ""):
                if outcome == "skipped":
                    reasons[str(report.longrepr[2]).removeprefix("Skipped: ")] += 1
                if outcome in ("passed", "failed", "skipped", "error"):
                    counts[outcome] += 1
    if counts:
        said = "".join(f"; {reason}" + (f" ({n})" if n > 1 else "") for reason, n in sorted(reasons.items()))
        ran = counts["passed"] + counts["failed"] + counts["error"]
        terminalreporter.write_line(f"tests/libraries: {ran} ran, {counts['skipped']} skipped{said}")
