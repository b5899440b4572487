"""examples/http_fanout.py, run as a user runs it, against its own server and against one that we control."""

import contextlib
import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "http_fanout.py"
OWN = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not run from a checkout")


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True, text=True, timeout=100, env=OWN, **options,
    )  # fmt: skip


class Page(http.server.BaseHTTPRequestHandler):
    """/N/... answers a first request with status N, and 200 afterwards; the rest is named below."""

    def do_GET(self):
        server = self.server
        with server.guard:
            server.counts[self.path] = count = server.counts.get(self.path, 0) + 1
            server.times.setdefault(self.path, []).append(time.monotonic())
            server.inside += 1
            server.most = max(server.most, server.inside)
        try:
            self.answer(self.path.split("/")[1], count)
        finally:
            with server.guard:
                server.inside -= 1

    def answer(self, what, count):
        if what == "together":
            self.server.together.wait(30)
        if what == "drip":  # never quiet for long, never done
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while not self.server.over.wait(0.02):
                    self.wfile.write(b".")
        elif what == "hang":
            self.server.over.wait(60)
        elif what == "shut" and count == 1:
            self.close_connection = True
        elif what.isdecimal() and (count == 1 or self.path.endswith("always")):
            self.send_response(int(what))
            if self.path.endswith("/wait"):
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * (10 if what == "short" else 1000))

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 200
    daemon_threads = True


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Page) as server:
        server.guard = threading.Lock()
        server.counts, server.times, server.inside, server.most = {}, {}, 0, 0
        server.over = threading.Event()
        server.together = threading.Barrier(80)
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def rows(text):
    """{path: (status, bytes, tries, error)} of --output's lines."""
    found = {}
    for line in text.splitlines():
        status, size, seconds, tries, url, error = line.split("\t")
        assert float(seconds) >= 0
        found[re.sub("^http://[^/]*", "", url)] = (status, int(size), int(tries), error)
    return found


def test_its_own_server(tmp_path):
    done = run("--output", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"300 of 300 URLs, 2\.2 MB in \d+\.\d\d s, 60 further tries; "
        r"the times of all of them add up to \d+\.\d\d s\n",
        done.stdout,
    )
    found = rows((tmp_path / "out").read_text())
    assert list(found) == [f"/page/{n}" for n in range(300)]
    for n, (status, size, tries, error) in enumerate(found.values()):
        assert (status, size, error) == ("200", len(b"%d\n" % n) * 2000, "")
        assert tries == (2 if n % 10 in (3, 7) else 1)


def test_without_retries_what_fails_is_reported_and_the_status_tells():
    done = run("--pages", 20, "--retries", 0)
    assert done.returncode == 1
    assert done.stdout.startswith("16 of 20 URLs")
    failed = done.stderr.splitlines()
    assert len(failed) == 4
    assert re.fullmatch(r"failed after 1 try: http://\S+/page/3: .*503.*", failed[0])
    assert re.fullmatch(r"failed after 1 try: http://\S+/page/7: IncompleteRead.*", failed[1])


def test_all_are_under_way_at_once(server):
    """The server answers when all eighty are there."""
    done = run(*[f"{server.url}/together/{n}" for n in range(80)], "--limit", 80)
    assert done.returncode == 0, done.stderr
    assert server.most == 80


def test_limit(server):
    done = run(*[f"{server.url}/ok/{n}" for n in range(60)], "--limit", 3)
    assert done.returncode == 0
    assert 1 <= server.most <= 3
    assert sum(server.counts.values()) == 60


def test_what_is_tried_again_and_what_is_not(server):
    paths = ["/503/a", "/429/b", "/404/c", "/410/d", "/shut/e", "/short/f", "/500/always", "/ok/g"]
    done = run(*[server.url + path for path in paths], "-r", 2, "-o", "-")
    assert done.returncode == 1
    found = rows(done.stdout)
    assert list(found) == paths
    assert {path: row[:3] for path, row in found.items()} == {
        "/503/a": ("200", 1000, 2),
        "/429/b": ("200", 1000, 2),
        "/404/c": ("404", 0, 1),
        "/410/d": ("410", 0, 1),
        "/shut/e": ("200", 1000, 2),
        "/short/f": ("-", 0, 3),
        "/500/always": ("500", 0, 3),
        "/ok/g": ("200", 1000, 1),
    }
    assert {path: row[2] for path, row in found.items()} == server.counts
    assert done.stderr.count("failed after") == 4
    assert "4 of 8 URLs" in done.stderr  # the summary: stdout is the output's


def test_a_server_that_says_when(server):
    done = run(f"{server.url}/503/wait")
    assert done.returncode == 0
    first, second = server.times["/503/wait"]
    assert 0.9 <= second - first


def test_timeout_is_for_the_whole_try(server):
    """One server says nothing, another a byte now and then: it never meets the socket's own time-out."""
    begun = time.monotonic()
    done = run(f"{server.url}/hang/a", f"{server.url}/drip/b", "-t", 0.5, "-r", 1)
    assert done.returncode == 1
    assert 1 <= time.monotonic() - begun < 20
    assert done.stderr.count("failed after 2 tries") == 2
    assert done.stderr.count("timed out") == 2


def test_nobody_there_and_bad_urls():
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    done = run(f"http://127.0.0.1:{port}/", "http://127.0.0.1:99999/", "http://[x/", "-r", 1)
    assert done.returncode == 1
    refused, port, name = done.stderr.splitlines()
    assert refused.startswith("failed after 2 tries") and "refused" in refused
    assert "failed after" in port and "failed after 1 try" in name


def test_urls_from_a_file(server, tmp_path):
    urls = tmp_path / "urls"
    urls.write_text(f"{server.url}/ok/1\n\n{server.url}/ok/2\n{server.url}/ok/1\n")
    assert run("-f", urls).stdout.startswith("2 of 2 URLs, 2.0 kB")
    assert run("-f", "-", input=urls.read_text()).stdout.startswith("2 of 2 URLs, 2.0 kB")
    assert run("-f", os.devnull).stdout.startswith("0 of 0 URLs")


@pytest.mark.parametrize(
    "arguments",
    [["ftp://x/"], ["-l", "0"], ["-r", "-1"], ["-p", "-1"], ["-t", "0"], ["-f", "none"], ["--no-such"]],
)
def test_bad_usage(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ") and done.stdout == ""


def on_terminal(*arguments):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=theirs, env=OWN,
    )  # fmt: skip
    os.close(theirs)
    return process, ours


def read_terminal(terminal, until=None):
    text = b""
    with contextlib.suppress(OSError):  # EIO: the other end was closed
        while until is None or not re.search(until, text):
            chunk = os.read(terminal, 4096)
            if not chunk:
                break
            text += chunk
    return text


def test_progress_is_drawn_on_a_terminal_and_wiped():
    process, terminal = on_terminal("--pages", "50")
    text = read_terminal(terminal)
    out, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 0
    assert re.search(rb"\r\[\.+\] 0/50 URLs, 0 failed", text)
    assert text.endswith(b"\r\x1b[K")
    assert out.startswith(b"50 of 50 URLs")


def test_ctrl_c_leaves_cleanly(server):
    urls = [f"{server.url}/ok/1", *(f"{server.url}/hang/{n}" for n in range(20))]
    process, terminal = on_terminal(*urls)
    read_terminal(terminal, until=rb" 0/21 URLs")
    while server.inside < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    rest = read_terminal(terminal)
    out, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 128 + signal.SIGINT
    assert rest.endswith(b"interrupted\r\n")
    assert b"Traceback" not in rest and b"goroutine" not in rest
    assert out == b""


@pytest.fixture
def certificate(tmp_path):
    """A self-signed one for localhost: (certificate, key)."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
               "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
               "-out", str(files[0]), "-keyout", str(files[1])]  # fmt: skip
    try:
        made = subprocess.run(command, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("needs openssl")
    if made.returncode:
        pytest.skip(made.stderr.decode())
    return files


def test_https_goes_through_spare_threads(server, certificate):
    """Several at once, although TLS is not patched; a certificate that nobody vouches for is final."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.together = threading.Barrier(20)
    urls = [f"https://localhost:{server.server_port}/together/{n}" for n in range(20)]
    command = [sys.executable, str(SCRIPT), *urls]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60,
        env=OWN | {"SSL_CERT_FILE": str(certificate[0])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("20 of 20 URLs")
    done = run(urls[0])
    assert done.returncode == 1
    assert "failed after 1 try" in done.stderr and "CERTIFICATE_VERIFY_FAILED" in done.stderr
