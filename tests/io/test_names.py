"""gmpx.io.names: look-ups on threads of their own."""

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from socket import getaddrinfo as imported_before

import pytest

import gmpx
import gmpx.patch
from gmpx import Cancelled, go
from gmpx.io import names

PATIENCE = 20


def threads():
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


@pytest.fixture
def patched(monkeypatch, until):
    monkeypatch.setattr(names, "IDLE_S", 0.02)
    monkeypatch.setattr(names, "_pool", None)
    gmpx.patch.all()
    yield
    gmpx.patch.undo()
    pool = names._pool
    if pool is not None:
        until(lambda: not pool.workers)
        assert not (pool.asked or pool.queue or pool.idle or pool.running)


class Library:
    """Stands in for the C library's functions: a name is answered when the test says so."""

    def __init__(self):
        self.calls = []
        self.gates = {}
        self.opened = False

    def gate(self, host):
        gate = self.gates.setdefault(host, threading.Event())
        if self.opened:
            gate.set()
        return gate

    def open(self):
        """All, also those of questions that a thread has yet to come to."""
        self.opened = True
        for gate in list(self.gates.values()):
            gate.set()

    def getaddrinfo(self, host, *args):
        if args and args[-1] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        self.calls.append(host)
        assert self.gate(host).wait(PATIENCE)
        if host.startswith("unknown"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(2, 1, 6, "", ("127.0.0.9", args[0] if args else 0))]

    def gethostbyname_ex(self, host):
        self.calls.append(host)
        assert self.gate(host).wait(PATIENCE)
        return host, ["alias"], ["127.0.0.9"]


@pytest.fixture
def library(patched, monkeypatch):
    library = Library()
    monkeypatch.setattr(names, "plain_getaddrinfo", library.getaddrinfo)
    monkeypatch.setattr(names, "plain_gethostbyname_ex", library.gethostbyname_ex)
    yield library
    library.open()


def look_up(host, port=80):
    return socket.getaddrinfo(host, port)[0][4]


FUNCTIONS = [
    socket.gethostbyname,
    socket.gethostbyname_ex,
    socket.gethostbyaddr,
    socket.getfqdn,
    lambda host: socket.getaddrinfo(host, 80),
    lambda host: socket.getaddrinfo(host, "http", type=socket.SOCK_STREAM),
    lambda host: imported_before(host, None, socket.AF_INET, flags=socket.AI_CANONNAME),
    lambda host: socket.getaddrinfo(host, 80, flags=socket.AI_NUMERICHOST),
    lambda host: socket.getaddrinfo(host, 80, socket.AF_INET6),
    lambda host: socket.getaddrinfo(host, 80, 0, 99),
    lambda host: socket.getaddrinfo(host, 80, flags=-1),
    lambda host: socket.getaddrinfo(host, object()),
    lambda host: socket.getaddrinfo(host),
    lambda host: socket.getaddrinfo(host, 80, kind=1),
    lambda host: socket.getnameinfo((host, 80), 0),
    lambda host: socket.getnameinfo((host, 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV),
    lambda host: socket.getnameinfo((host, 80)),
    lambda host: socket.getnameinfo(host, 0),
]
HOSTS = [
    *("localhost", "127.0.0.1", "127.1", "::1", "::1%lo", "", "255.255.255.255"),
    *("0x7f.1", "cafe", "name.invalid", "999.1.1.1", "x" * 70, "a\0b", "\xff.invalid", "a" * 300),
    *(b"127.0.0.1", b"localhost", b"\xff", bytearray(b"localhost"), None, 5, "\udc80"),
]


@pytest.mark.parametrize("host", HOSTS, ids=repr)
def test_results_and_errors_are_the_originals(host):
    def outcome(call):
        try:
            return call(host)
        except Exception as e:
            return type(e), e.args

    plain = [outcome(call) for call in FUNCTIONS]
    gmpx.patch.all()
    try:
        assert [outcome(call) for call in FUNCTIONS] == plain
        assert gmpx.map(lambda call: outcome(call), FUNCTIONS) == plain
    finally:
        gmpx.patch.undo()


def test_one_question_for_all(library, parked, until):
    askers = [go(socket.getaddrinfo, "name", 80) for _ in range(20)]
    other = go(look_up, "name", 443)
    parked(*askers, other)
    until(lambda: len(library.calls) == 2)
    askers[0].cancel()
    with pytest.raises(Cancelled):
        askers[0].result(PATIENCE)
    late = go(socket.getaddrinfo, "name", 80)
    parked(late)
    library.gate("name").set()
    answers = [g.result(PATIENCE) for g in [*askers[1:], late]]
    assert all(answer == answers[0] for answer in answers)
    assert len({id(answer) for answer in answers}) == 20
    assert other.result(PATIENCE) == ("127.0.0.9", 443)
    assert library.calls == ["name", "name"]
    assert look_up("name") == ("127.0.0.9", 80)  # nothing is remembered
    assert len(library.calls) == 3


def test_each_asker_has_its_own_answer(library, parked):
    # (_socket's: what socket.getaddrinfo returns is a copy anyway)
    lists = [go(socket.gethostbyname_ex, "name") for _ in range(2)]
    errors = [go(look_up, "unknown") for _ in range(2)]
    parked(*lists, *errors)
    library.gate("name").set()
    library.gate("unknown").set()
    one, two = (g.result(PATIENCE) for g in lists)
    one[1].append("more")
    assert two == ("name", ["alias"], ["127.0.0.9"])
    for g in errors:
        g.join(PATIENCE)
    one, two = (g.exception() for g in errors)
    assert one is not two and type(one) is type(two) is socket.gaierror
    assert one.args == two.args == (socket.EAI_NONAME, "Name or service not known")
    assert one.errno == socket.EAI_NONAME and one.__traceback__ is not two.__traceback__


def test_leaving_at_once(library, parked):
    g = go(look_up, "silent")
    parked(g)
    g.cancel()
    with pytest.raises(Cancelled):
        g.result(PATIENCE)
    with pytest.raises(TimeoutError), gmpx.timeout(0.01):
        look_up("silent")
    assert library.calls == ["silent"]  # the second has joined the first


def test_a_question_that_nobody_waits_for_any_more_is_not_asked(library, parked, monkeypatch, until):
    monkeypatch.setenv("GMPX_NAME_THREADS", "1")
    first = go(look_up, "first")
    parked(first)
    second = [go(look_up, "second") for _ in range(2)]
    third = go(look_up, "third")
    parked(*second, third)
    second[0].cancel()
    second[0].join()
    second[1].cancel()
    second[1].join()
    library.gate("first").set()
    library.gate("third").set()
    assert first.result(PATIENCE) == third.result(PATIENCE)
    assert library.calls == ["first", "third"]


def test_silence_does_not_keep_the_others_waiting(library, parked, until):
    before = threads()
    silent = [go(look_up, f"silent{i}") for i in range(200)]
    parked(*silent)
    for i in range(20):
        library.gate(f"name{i}").set()
    assert gmpx.map(look_up, [f"name{i}" for i in range(20)]) == [("127.0.0.9", 80)] * 20
    assert len(names._pool.workers) <= 200 + 20
    for g in silent:
        g.cancel()
    gmpx.wait(silent)
    library.open()
    until(lambda: not names._pool.workers and threads() <= before + 8)  # of the runtime's


def test_no_more_threads_than_that(library, parked, monkeypatch, until):
    monkeypatch.setenv("GMPX_NAME_THREADS", "3")
    monkeypatch.setattr(names, "SLOW_S", 0.01)
    gs = [go(look_up, f"name{i}") for i in range(10)]
    parked(*gs)
    gmpx.sleep(0.05)
    assert len(library.calls) == 3
    for i in range(10):
        library.gate(f"name{i}").set()
    gmpx.gather(*gs)
    assert sorted(library.calls) == [f"name{i}" for i in range(10)]


def test_no_thread_to_be_had(library, monkeypatch):
    def refuse(*args):
        raise RuntimeError("can't start new thread")

    library.gate("name").set()
    monkeypatch.setattr(names._thread, "start_new_thread", refuse)
    assert look_up("name") == ("127.0.0.9", 80)


def test_bad_setting(library, monkeypatch):
    for text in ("0", "many"):
        monkeypatch.setenv("GMPX_NAME_THREADS", text)
        with pytest.raises(ValueError, match="GMPX_NAME_THREADS"):
            look_up("name")


def test_numbers_need_no_thread(patched):
    before = threads()
    for _ in range(3):
        socket.getaddrinfo("127.0.0.1", 80)
        socket.getaddrinfo("::1", "http")
        socket.getaddrinfo(None, 80, flags=socket.AI_PASSIVE)
        socket.gethostbyname("127.0.0.1")
        socket.gethostbyname("")
        socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
        with socket.create_server(("", 0)) as s, socket.socket() as client:
            client.connect(("127.0.0.1", s.getsockname()[1]))
    assert names._pool is None
    assert threads() == before


def test_foreign_threads_ask_by_themselves(library, in_thread):
    answer = in_thread(socket.getaddrinfo, "localhost", 80).value()
    assert answer[0][4][:2] in (("127.0.0.1", 80), ("::1", 80))
    assert library.calls == []


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_connecting_to_a_name(library, parked, until, method):
    with socket.create_server(("127.0.0.9", 0)) as server, socket.socket() as s:
        g = go(getattr(s, method), ("name", server.getsockname()[1]))
        parked(g)
        until(lambda: library.calls == ["name"])
        library.gate("name").set()
        assert not g.result(PATIENCE)
        assert s.getpeername() == server.getsockname()
        library.gate("unknown").set()
        with pytest.raises(socket.gaierror, match="not known"):
            getattr(s, method)(("unknown", 1))


def test_datagrams_and_bind_by_name(library, parked, until):
    def exchange():
        with socket.socket(type=socket.SOCK_DGRAM) as a, socket.socket(type=socket.SOCK_DGRAM) as b:
            a.bind(("name", 0))
            assert a.getsockname()[0] == "127.0.0.9"
            name = ("name", a.getsockname()[1])
            assert b.sendto(b"1", name) == b.sendto(b"2", 0, name) == b.sendmsg([b"3"], [], 0, name) == 1
            return [a.recv(10) for _ in range(3)]

    g = go(exchange)
    parked(g)
    library.gate("name").set()
    assert g.result(PATIENCE) == [b"1", b"2", b"3"]
    assert library.calls == ["name"] * 4


@pytest.mark.parametrize(
    "address",
    [("name",), ("name", "1"), ("name", 1, 2), ("a\0b", 1), (5, 1), ["name", 1], ("name", 70000), ("", 0)],
    ids=repr,
)
def test_bad_addresses(address):
    def outcome():
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            try:
                s.bind(address)
            except Exception as e:
                return type(e), str(e)

    plain = outcome()
    gmpx.patch.all()
    try:
        assert outcome() == plain
    finally:
        gmpx.patch.undo()


def test_open_connection(library, parked):
    with gmpx.io.listen("127.0.0.9") as server:
        port = server.getsockname()[1]
        g = go(gmpx.io.open_connection, "name", port)
        parked(g)
        library.gate("name").set()
        with g.result(PATIENCE) as s:
            assert s.getpeername() == server.getsockname()
        with pytest.raises(TimeoutError, match="open_connection: silent"):
            gmpx.io.open_connection("silent", port, timeout=0.01)


def run(code, status=0):
    head = "import os, socket, sys, time\nimport gmpx, gmpx.io, gmpx.patch\nfrom gmpx import go\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (status, ""), done.stderr
    return done.stdout.strip()


HANG = """
import threading
from gmpx.io import names
gmpx.patch.all()
begun = threading.Event()
def hang(host, *args):
    begun.set()
    time.sleep(60)          # not in a goroutine
names.plain_getaddrinfo = hang
g = go(socket.getaddrinfo, "name", 80)
while not begun.is_set():
    gmpx.gosched()
"""


def test_exit_does_not_wait_for_a_look_up():
    begun = time.monotonic()
    assert run(HANG + "print('end')\nsys.exit(3)", status=3) == "end"
    assert time.monotonic() - begun < 30


def test_looking_up_at_exit():
    assert "127.0.0.1" in run(
        """
        import atexit, weakref
        gmpx.patch.all()
        class Late:
            def __del__(self):
                print(socket.gethostbyname("localhost"))
        atexit.register(lambda: print(socket.gethostbyname("localhost")))
        keep = Late()
        """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_during_a_look_up():
    assert (
        run(
            HANG
            + """
import warnings
warnings.simplefilter("ignore")
pid = os.fork()
if pid == 0:
    assert names._pool is None
    names.plain_getaddrinfo = lambda host, *args: [(2, 1, 6, "", (host, 1))]
    with gmpx.timeout(20):
        assert socket.getaddrinfo("name", 80)[0][4] == ("name", 1)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
        )
        == "7"
    )


def test_a_bubble_waits_for_it():
    assert run(
        """
        from gmpx import testing
        gmpx.patch.all()
        socket.gethostbyname("localhost")       # a thread from before
        from gmpx.io import names
        plain = names.plain_gethostbyname
        names.plain_gethostbyname = lambda host: plain(host)
        with testing.bubble(), gmpx.timeout(60):
            print(socket.gethostbyname("localhost"))
        """
    ) == "127.0.0.1"


SERVED = """
import os, sys
sys.path.insert(0, {path!r})
import nameserver
try:
    nameserver.enter()
except OSError as e:
    print("skip:", e)
    sys.exit()
import socket, time
import gmpx, gmpx.io, gmpx.patch
from gmpx import go
gmpx.patch.all()
server = nameserver.Server()
def error(call, *args):
    try:
        return call(*args)
    except Exception as e:
        return type(e), e.args
"""


def served(code):
    done = subprocess.run(
        [sys.executable, "-c", SERVED.format(path=str(Path(__file__).parent)) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.stdout.startswith("skip:"):
        pytest.skip(done.stdout)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


def test_a_server_that_does_not_answer():
    """Of a hundred names: cancel and time limits end the wait at once, and others are answered."""
    served(
        """
        fds, tasks = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
        silent = [go(socket.gethostbyname, f"silent.n{i}.test") for i in range(100)]
        gmpx.sleep(0)
        found = gmpx.map(socket.gethostbyname, [f"n{i}.test" for i in range(50)])
        assert found == [nameserver.address_of(f"n{i}.test") for i in range(50)]
        try:
            with gmpx.timeout(0.01):
                socket.gethostbyname("silent.n1.test")
        except TimeoutError:
            pass
        assert silent[0].cancel()
        silent[0].join()
        assert not any(g.done() for g in silent[1:])
        last = silent.pop()
        for g in silent:
            g.cancel()
        gmpx.wait(silent)
        assert gmpx.num_goroutine() == 2
        plain = gmpx.blocking(error, socket.gethostbyname, "silent.n99.test")
        assert error(last.result) == plain and plain[0] is socket.gaierror, plain
        from gmpx.io import names
        names.IDLE_S = 0.01
        for g in [go(socket.gethostbyname, f"x{i}.test") for i in range(100)]:
            g.join()
        deadline = time.monotonic() + 60
        while names._pool.workers and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not names._pool.workers
        server.close()
        gmpx.shutdown()
        left = len(os.listdir("/proc/self/task")) - tasks
        assert left <= 3, left              # one of blocking, two of the runtime
        assert len(os.listdir("/proc/self/fd")) - fds <= 4
        """
    )


def test_names_that_are_unknown_and_names_that_are_asked_once():
    served(
        """
        plain = gmpx.blocking(error, socket.getaddrinfo, "unknown.test", 80)
        assert plain[0] is socket.gaierror
        assert error(socket.getaddrinfo, "unknown.test", 80) == plain
        found = gmpx.map(socket.gethostbyname, ["late-50.test"] * 200)
        assert found == [nameserver.address_of("late-50.test")] * 200
        assert server.asked()["late-50.test"] == 1
        s = socket.create_server(("", 0))
        with socket.create_connection(("n.test", s.getsockname()[1])) as c:
            assert c.getpeername()[0] == nameserver.address_of("n.test")
        server.close()
        """
    )
