"""The guides' Python snippets run, in their order, and what they assert holds."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gmpx
import gmpx.patch

DOCS = Path(gmpx.__file__).resolve().parents[1] / "docs"
OTHERS = ("asyncio", "executors", "servers", "patching", "threads", "libraries", "rate-limits", "cluster")
GUIDES = sorted([*DOCS.glob("from-*.md"), *(DOCS / f"{name}.md" for name in OTHERS)])
# How many blocks and asserts a guide has at least, if not five.
FEW = {"executors": (3, 5), "threads": (3, 2), "libraries": (1, 2), "cluster": (2, 5)}
# Of its own: ``cluster`` needs workers, ``gevent`` needs it, ``server`` is a whole program, an echo server on
# port 8000; ``libraries`` is for tests/libraries, which have the servers.
BLOCK = re.compile(r"^```python(?: (gevent|server|libraries|cluster))?\n(.*?)^```$", re.M | re.S)
SERVERS = [(path, match[2]) for path in GUIDES if path.exists()
           for match in BLOCK.finditer(path.read_text()) if match[1] == "server"]  # fmt: skip

if not DOCS.is_dir():
    pytest.skip("not run from a checkout", allow_module_level=True)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_guide(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": guide.stem}
    ran = asserted = 0
    text = guide.read_text()
    try:
        for match in BLOCK.finditer(text):
            if match[1] in ("server", "libraries", "cluster") or match[1] == "gevent" and not has_gevent():
                continue
            line = text.count("\n", 0, match.start(2))
            exec(compile("\n" * line + match[2], str(guide), "exec"), names)
            ran += 1
            asserted += match[2].count("assert ")
        left = [line for line in gmpx.patch.report().splitlines() if "not patched" not in line]
        assert not left, "the guide takes its patches back"
    finally:
        gmpx.patch.undo()
    runs, asserts = FEW.get(guide.stem, (5, 5))
    assert ran >= runs and asserted >= asserts


def test_every_python_block_is_known():
    """None is left out for its fence alone."""
    for guide in GUIDES:
        text = guide.read_text()
        assert len(BLOCK.findall(text)) == len(re.findall(r"^```\s*py", text, re.M)), guide


@pytest.mark.parametrize("program", [program for _, program in SERVERS])
def test_server(program, tmp_path):
    """It echoes; SIGTERM ends it, with grace where it says so."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    assert program.count("8000") == 1
    path = tmp_path / "program.py"
    path.write_text(program.replace("8000", str(port)))
    process = subprocess.Popen([sys.executable, str(path)], stderr=subprocess.PIPE, text=True)
    try:
        with connect(port, process) as s:
            s.sendall(b"hello")
            assert s.recv(100) == b"hello"
            process.terminate()
            if "SIGTERM" in program:
                while listens(port):
                    time.sleep(0.01)
                s.sendall(b"still there?")
                assert s.recv(100) == b"still there?"
                s.shutdown(socket.SHUT_WR)
                assert s.recv(100) == b""
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0 if "SIGTERM" in program else -signal.SIGTERM, "")
    finally:
        process.kill()
        process.communicate()


def connect(port, process):
    end = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except ConnectionRefusedError:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        pass  # it was in the queue of a listener that closed
    return True


def test_servers_are_there():
    assert len(SERVERS) == 2 and os.path.basename(SERVERS[0][0]) == "servers.md"


def has_gevent():
    try:
        import gevent  # noqa: F401
    except ImportError:
        return False
    return True
