"""examples/chat.py, run as a user runs it; the clients are plain sockets of this process."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "chat.py"
PATIENCE = 30

pytestmark = [
    pytest.mark.skipif(not SCRIPT.exists(), reason="not run from a checkout"),
    pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM"),
]


class Chat:
    """The server's process, and clients of it."""

    def __init__(self, stack, *arguments, code=None):
        program = [str(SCRIPT)] if code is None else ["-c", code]
        self.stack = stack
        self.process = subprocess.Popen(
            [sys.executable, *program, "--port", "0", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.callback(self.kill)
        line = self.process.stdout.readline()
        self.port = int(re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)[1])

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def client(self, name=None, **options):
        client = self.stack.enter_context(Client(self.port, **options))
        if name is not None:
            assert client.line() == "What is your name?"
            client.send(name)
            assert client.line() == f"* Welcome, {name}. /nick NAME, /me TEXT, /who, /quit."
        return client

    def end(self, number=signal.SIGTERM):
        """Ends the server; returns what it printed."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        assert (self.process.returncode, err) == (0, "")
        return out


class Client:
    def __init__(self, port, receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.file.close()
        self.socket.close()

    def send(self, *lines):
        for line in lines:
            self.socket.sendall(line if isinstance(line, bytes) else line.encode() + b"\n")

    def line(self):
        """The next line, "" at the end."""
        line = self.file.readline()
        assert not line or line.endswith(b"\n")
        return line.decode().rstrip("\n")

    def until(self, text):
        while (line := self.line()) != text:
            assert line, f"no {text!r} before the end"


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


def test_what_one_says_all_others_read(stack):
    chat = Chat(stack)
    ann, bob, cem = chat.client("ann"), chat.client("bob"), chat.client("cem")
    assert [ann.line(), ann.line(), bob.line()] == ["* bob has come", "* cem has come", "* cem has come"]
    ann.send("hello", "how are you?")
    for client in (bob, cem):
        assert [client.line(), client.line()] == ["ann: hello", "ann: how are you?"]
    bob.send("/me waves")
    for client in (ann, cem):
        assert client.line() == "* bob waves"  # and not what it said itself
    bob.send("/who", "/what", "/quit")
    assert [bob.line(), bob.line(), bob.line()] == [
        "* ann, bob, cem", "* There are /nick NAME, /me TEXT, /who, /quit.", "",
    ]  # fmt: skip
    assert ann.line() == "* bob has gone"
    cem.__exit__()
    assert ann.line() == "* cem has gone"
    assert chat.end() == "3 came and said 3 lines\n"


def test_names(stack):
    chat = Chat(stack)
    ann = chat.client("ann")
    other = chat.client()
    assert other.line() == "What is your name?"
    other.send("ann", "a b", "x" * 21, "", "b-1")
    assert other.line() == "* ann is taken."
    for _ in range(2):
        assert other.line() == "* A name has letters, digits and hyphens, up to 20."
    assert other.line().startswith("* Welcome, b-1.")
    assert ann.line() == "* b-1 has come"
    other.send("/nick ann", "/nick", "/nick bob")
    assert other.line() == "* ann is taken."
    assert other.line() == "* A name has letters, digits and hyphens, up to 20."
    assert [other.line(), ann.line()] == ["* b-1 is bob now"] * 2
    other.send("/quit")
    assert ann.line() == "* bob has gone"


def test_lines_come_in_pieces_and_several_at_once(stack):
    chat = Chat(stack)
    ann, bob = chat.client("ann"), chat.client("bob")
    assert ann.line() == "* bob has come"
    for piece in (b"on", b"e\r\ntw", b"o\nthree\nfo"):
        ann.send(piece)
        time.sleep(0.02)
    assert [bob.line() for _ in range(3)] == ["ann: one", "ann: two", "ann: three"]
    ann.send(b"ur\n")
    assert bob.line() == "ann: four"


def test_what_is_no_text_does_not_reach_other_terminals(stack):
    chat = Chat(stack)
    ann, bob = chat.client("ann"), chat.client("bob")
    assert ann.line() == "* bob has come"
    ann.send(b"\x1b[2Jboo\x07 \xff\n", "gr\u00fc\u00df \u4e16")
    assert bob.line() == "ann: [2Jboo \ufffd"
    assert bob.line() == "ann: gr\u00fc\u00df \u4e16"


def test_a_line_without_end(stack):
    chat = Chat(stack)
    ann, bob = chat.client("ann"), chat.client("bob")
    with contextlib.suppress(OSError):  # reset: it has not read all
        ann.send(b"x" * 20_000)
    with contextlib.suppress(OSError):
        ann.until("* That line is too long.")
    assert bob.line() == "* ann has gone"


def run_with(**constants):
    changes = "".join(f"chat.{name} = {value!r}\n" for name, value in constants.items())
    return f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\nimport chat\n{changes}sys.exit(chat.main())"


def test_who_does_not_read_is_dropped_and_holds_up_nobody(stack):
    chat = Chat(stack, code=run_with(OUTBOX_LINES=50, SEND_S=0.5))
    ann, bob = chat.client("ann"), chat.client("bob")
    slow = chat.client("slow", receive_bytes=4096)
    assert [ann.line(), ann.line(), bob.line()] == ["* bob has come", "* slow has come", "* slow has come"]
    line = "x" * 2000
    for i in range(10_000):
        ann.send(f"{i} {line}")
        if (said := bob.line()) == "* slow does not keep up":
            said = bob.line()
            break
        assert said == f"ann: {i} {line}"
    else:
        raise AssertionError("it was not dropped")
    bob.send("/who")
    bob.until("* ann, bob")
    with contextlib.suppress(OSError):
        while slow.line():
            pass
    assert chat.end().startswith("3 came")


def test_who_says_nothing_for_long(stack):
    chat = Chat(stack, code=run_with(IDLE_S=0.3))
    ann = chat.client("ann")
    assert ann.line() == ""


def test_more_clients_than_the_limit_wait(stack):
    chat = Chat(stack, "--limit", "2")
    ann, bob = chat.client("ann"), chat.client("bob")
    cem = chat.client()
    cem.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        cem.socket.recv(1)
    bob.send("/quit")
    assert [ann.line(), ann.line()] == ["* bob has come", "* bob has gone"]
    cem.socket.settimeout(PATIENCE)
    assert cem.socket.recv(5) == b"What "


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_is_told(stack, number):
    chat = Chat(stack)
    ann, guest = chat.client("ann"), chat.client()
    assert guest.line() == "What is your name?"
    assert chat.end(number) == "1 came and said 0 lines\n"
    for client in (ann, guest):
        assert [client.line(), client.line()] == ["* The server ends. Good-bye.", ""]


def test_who_does_not_leave_is_cut_off(stack):
    chat = Chat(stack, "--grace", "0.2", code=run_with(OUTBOX_LINES=10**6, SEND_S=600))
    ann, slow = chat.client("ann"), chat.client("slow", receive_bytes=4096)
    for _ in range(4000):
        ann.send("x" * 2000)
    ann.send("/who")
    ann.until("* ann, slow")
    begun = time.monotonic()
    assert chat.end().startswith("2 came")
    assert time.monotonic() - begun < PATIENCE


def test_an_address_that_is_taken(stack):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), "--port", str(taken.getsockname()[1])],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert "cannot listen on 127.0.0.1:" in done.stderr and "Traceback" not in done.stderr


def test_hundreds_of_clients(stack):
    chat = Chat(stack)
    clients = [chat.client(f"c{i}") for i in range(200)]
    clients[0].until("* c199 has come")
    clients[-1].send("hello")
    for client in clients[:-1]:
        client.until("c199: hello")
    assert chat.end() == "200 came and said 1 lines\n"
