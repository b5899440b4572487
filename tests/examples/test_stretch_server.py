"""examples/stretch_server.py, run as a user runs it."""

import hashlib
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "stretch_server.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not run from a checkout")


def command(*arguments):
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def test_its_own_clients():
    done = subprocess.run(
        command("--rounds", 500, "--clients", 6, "--log"), capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"30 of 30 answers are right, \d+\.\d\d s\n", done.stdout)
    assert len(re.findall(r"^127\.0\.0\.1:\d+ \d+ bytes, \d+ ms$", done.stderr, re.M)) == 30


@pytest.fixture
def listening():
    """(address, process) of a server."""
    process = subprocess.Popen(
        command("--listen", "127.0.0.1:0", "--rounds", 10), stderr=subprocess.PIPE, text=True
    )
    port = int(re.search(r"listening on 127\.0\.0\.1:(\d+)", process.stderr.readline())[1])
    yield ("127.0.0.1", port), process
    process.kill()
    process.wait()
    process.stderr.close()


def test_a_client_of_ones_own(listening):
    address, process = listening
    with socket.create_connection(address, timeout=60) as conn, conn.makefile("rwb") as file:
        for word in (b"one", b"", b"two words"):
            file.write(word + b"\n")
            file.flush()
            expected = hashlib.pbkdf2_hmac("sha256", word, b"an example's salt", 10).hex()
            assert file.readline() == expected.encode() + b"\n"


def test_a_line_that_is_too_long_ends_the_connection(listening):
    address, process = listening
    with socket.create_connection(address, timeout=60) as conn:
        conn.sendall(b"x" * 5000)
        try:
            assert conn.recv(100) == b""
        except ConnectionResetError:
            pass
    assert "limit" in process.stderr.readline()


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 0), (signal.SIGINT, 128 + signal.SIGINT)])
def test_it_ends_cleanly(listening, number, status):
    address, process = listening
    with socket.create_connection(address, timeout=60) as conn:
        conn.sendall(b"word\n")
        assert len(conn.recv(100)) == 65
        process.send_signal(number)
        assert process.wait(60) == status
    assert "Traceback" not in process.stderr.read()
