"""`start(*arguments)` runs `python` with these in a directory of its own: a server, whose log says where it listens."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

# How long a server may take to say or do something. No test waits for it to pass.
PATIENCE = 40
CERTS = Path(__file__).parents[1] / "io" / "tls" / "certs"


class Server:
    """A process, and what it has started: they are a session."""

    def __init__(self, directory, arguments, env):
        self.path = directory / "log"
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=directory,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | env,
                start_new_session=True,
            )
        self.pid = self.process.pid
        self.address = None

    @property
    def log(self):
        return self.path.read_text(errors="replace")

    def said(self, pattern, times=1):
        """The matches of what is in the log so often, as soon as it is."""
        end = time.monotonic() + PATIENCE
        while len(found := re.findall(pattern, self.log)) < times:
            if time.monotonic() > end or not self.lives() and len(re.findall(pattern, self.log)) < times:
                raise AssertionError(f"not {times} times {pattern!r} in:\n{self.log}")
            time.sleep(0.02)
        return found

    def lives(self):
        """Whether one of its processes does."""
        self.process.poll()
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self, number, pid=None):
        os.kill(pid or self.pid, number)

    def end(self, number=None):
        """Its exit code."""
        if number is not None:
            self.kill(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.log}") from None

    def close(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def connect(self):
        """A connection, which is kept until it is closed."""
        if isinstance(self.address, str):
            return OverUnix(self.address)
        if self.path.with_name("tls").exists():
            context = ssl.create_default_context(cafile=CERTS / "ca.pem")
            return http.client.HTTPSConnection("localhost", self.address[1], timeout=PATIENCE, context=context)
        return http.client.HTTPConnection(*self.address, timeout=PATIENCE)

    def get(self, path="/", connection=None, method="GET", body=None):
        """(status, body); over a connection of its own unless one is given."""
        c = connection or self.connect()
        try:
            c.request(method, path, body)
            reply = c.getresponse()
            return reply.status, reply.read()
        finally:
            if connection is None:
                c.close()


class OverUnix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


@pytest.fixture
def start(tmp_path):
    servers = []

    def start(*arguments, env=(), **files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        server = Server(tmp_path, arguments, dict(env))
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def together():
    """together(n, fn): fn(0) … fn(n - 1) on n threads; a list of what they return."""

    def together(n, fn):
        with ThreadPoolExecutor(n) as pool:
            return list(pool.map(fn, range(n)))

    return together


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]
