"""listen, serve, open_connection, and descriptors as cases of select."""

import errno
import math
import os
import socket
import struct
import subprocess
import sys
import textwrap

import pytest

import gmpx
from gmpx import Cancelled, Chan, context, go, select, spawn
from gmpx.io import Socket, listen, notify_closing, open_connection, readable, serve, writable

PATIENCE = 20


@pytest.fixture
def listener():
    with listen("127.0.0.1") as s:
        yield s


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    with a, b:
        yield a, b


def echo(conn, address):
    while data := conn.recv(65536):
        conn.sendall(data)


def error_of(g):
    g.join(PATIENCE)
    return g.exception()


def connect(listener):
    return open_connection(*listener.getsockname(), timeout=PATIENCE)


def test_an_echo_server(listener):
    server = go(serve, echo, listener)

    def client(i):
        with connect(listener) as s:
            s.sendall(b"%d" % i)
            s.shutdown(socket.SHUT_WR)
            got = b""
            while data := s.recv(100):
                got += data
            return int(got)

    assert gmpx.map(client, range(200), limit=50) == list(range(200))
    server.cancel()
    assert isinstance(error_of(server), Cancelled)
    assert listener.fileno() >= 0  # the caller's own


def test_serve_opens_and_closes_its_own_listener():
    with listen("127.0.0.1") as s:
        address = s.getsockname()
    server = go(serve, echo, address)
    while server.status != "waiting":
        gmpx.gosched()
    with open_connection(*address) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    server.cancel()
    error_of(server)
    with pytest.raises(ConnectionRefusedError):
        open_connection(*address)


def test_a_plain_unpatched_listener():
    with socket.create_server(("127.0.0.1", 0)) as plain:
        server = go(serve, echo, plain)
        with connect(plain) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
        server.cancel()
        error_of(server)
        assert plain.getsockname()


def test_a_handler_that_fails_leaves_the_others(listener, hook):
    def handler(conn, address):
        if conn.recv(1) == b"!":
            raise ValueError("told to")
        conn.sendall(b"fine")

    server = go(serve, handler, listener)
    with connect(listener) as bad, connect(listener) as good:
        bad.sendall(b"!")
        assert bad.recv(1) == b""
        good.sendall(b".")
        assert good.recv(10) == b"fine"
    while not hook:
        gmpx.gosched()
    [(_, error)] = hook
    assert str(error) == "told to"
    server.cancel()
    error_of(server)


def test_clients_that_vanish_are_no_news(listener, hook):
    server = go(serve, echo, listener)
    for _ in range(50):
        s = connect(listener)
        s.sendall(b"x")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    with connect(listener) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    server.cancel()
    error_of(server)
    assert hook == []


def test_limit(listener, until):
    inside, most = [], []
    gate = Chan()

    def handler(conn, address):
        inside.append(1)
        most.append(len(inside))
        gate.recv()
        inside.pop()

    server = go(serve, handler, listener, limit=3)
    clients = [connect(listener) for _ in range(8)]
    until(lambda: len(inside) == 3)
    for _ in clients:
        gate.send(None)
    for s in clients:
        assert s.recv(1) == b""
        s.close()
    assert max(most) == 3
    server.cancel()
    error_of(server)


@pytest.mark.parametrize("grace", [None, 0, PATIENCE, math.inf])
def test_grace(listener, grace, until):
    outcome = []
    inside = Chan(1)

    def handler(conn, address):
        inside.send(None)
        try:
            conn.recv(1)
            outcome.append("ended")
        except Cancelled:
            outcome.append("cancelled")
            raise

    ctx, cancel = context.with_cancel(context.background())
    server = go(serve, handler, listener, grace=grace, context=ctx)
    client = connect(listener)
    inside.recv()
    cancel()
    if grace:
        while server.wait_reason == "select":
            gmpx.gosched()
        assert not server.done()
        client.sendall(b"x")
    assert error_of(server) is None
    assert outcome == ["ended" if grace else "cancelled"]
    client.close()


def test_grace_runs_out(listener):
    inside = Chan(1)

    def handler(conn, address):
        inside.send(None)
        conn.recv(1)

    server = go(serve, handler, listener, grace=0.02)
    client = connect(listener)
    inside.recv()
    server.cancel()
    assert isinstance(error_of(server), Cancelled)
    assert client.recv(1) == b""
    client.close()


def test_out_of_descriptors(listener):
    """The server waits until there are some again, and serves the client that waited."""
    import resource

    server = go(serve, echo, listener)
    while server.status != "waiting":
        gmpx.gosched()
    client = Socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 100, hard))  # Ms that start take some, for good
    fill = []
    try:
        while True:
            fill.append(os.dup(0))
    except OSError as e:
        assert e.errno == errno.EMFILE
    client.connect(listener.getsockname())
    client.sendall(b"x")
    gmpx.sleep(0.02)
    assert not server.done()
    for fd in fill:
        os.close(fd)
    assert client.recv(1) == b"x"
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    client.close()
    server.cancel()
    error_of(server)


def test_closing_the_listener_ends_it(listener, parked):
    server = go(serve, echo, listener)
    with connect(listener) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        parked(server)
        listener.close()
        assert error_of(server) is None
        assert s.recv(1) == b""


def test_closing_the_listener_ends_it_on_a_foreign_thread(listener, in_thread):
    inside = Chan(1)

    def body():
        serve(lambda conn, address: inside.send(conn.recv(1)), listener, grace=math.inf)

    def client():
        with open_connection(*listener.getsockname()) as s:
            s.sendall(b"x")
        assert inside.recv() == b"x"
        listener.close()

    thread = in_thread(body)
    client()
    assert thread.value() is None


def test_a_listener_with_a_time_out(listener):
    listener.settimeout(0.001)
    server = go(serve, echo, listener)
    gmpx.sleep(0.01)
    with connect(listener) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    server.cancel()
    error_of(server)


def test_bad_arguments(listener):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with Socket(type=kind) as other, pytest.raises(ValueError, match="a stream socket that listens"):
            serve(echo, other)
    for wrong in (8000, "127.0.0.1:8000", echo, ("127.0.0.1",), None):
        with pytest.raises(TypeError, match="a listening socket or a tuple"):
            serve(echo, wrong)
    with pytest.raises(TypeError, match="handler"):
        serve(None, listener)
    with pytest.raises(TypeError, match="context"):
        serve(echo, listener, context=context.with_cancel(context.background()))
    for options in ({"limit": 0}, {"grace": -1}, {"grace": math.nan}, {"signals": [12345]}):
        with pytest.raises(ValueError):
            serve(echo, listener, **options)
    for name in ("grace", "handshake_timeout"):
        with pytest.raises(TypeError, match=f"{name} must be a number of seconds, not str"):
            serve(echo, listener, **{name: "1"})
    with pytest.raises(TypeError, match="signals.. needs signals such as signal.SIGTERM, not str 'T'"):
        serve(echo, listener, signals="TERM")
    with pytest.raises(ValueError, match="timeout must not be negative: -1"):
        open_connection("127.0.0.1", 1, timeout=-1)
    with pytest.raises(TypeError, match="timeout must be a number of seconds, not str"):
        open_connection("127.0.0.1", 1, timeout="1")


def test_time_outs_without_end(listener):
    server = spawn(serve, (echo, listener), {"handshake_timeout": math.inf, "grace": math.inf})
    for endless in (math.inf, 1e300):
        with open_connection(*listener.getsockname(), timeout=endless) as s:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
            assert s.gettimeout() is None
    server.cancel()
    error_of(server)


def test_open_connection_fails():
    with listen("127.0.0.1") as s:
        address = s.getsockname()
    with pytest.raises(ConnectionRefusedError):
        open_connection(*address)
    with listen("127.0.0.1", backlog=0) as full:
        clients = []
        with pytest.raises(TimeoutError, match="open_connection"):
            for _ in range(4):
                clients.append(open_connection(*full.getsockname(), timeout=0.05))
        for s in clients:
            s.close()


def test_open_connection_by_name(listener):
    server = go(serve, echo, listener)
    with open_connection("localhost", listener.getsockname()[1]) as s:
        assert type(s) is Socket
        assert s.gettimeout() is None
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    server.cancel()
    error_of(server)


def test_select_with_descriptors(pair, parked):
    a, b = pair
    c = Chan()
    case = readable(a)
    assert repr(case) == f"<gmpx.io.readable {a!r}>"
    assert select(c, case, block=False) == (-1, None, False)
    assert select(case, writable(b)) == (1, b, True)
    g = go(select, c, case)
    parked(g, reason="select")
    b.send(b"x")
    assert g.result(PATIENCE) == (1, a, True)
    assert select(case, c) == (0, a, True)
    a.recv(1)
    g = go(select, c, case)
    parked(g)
    c.send("item")
    assert g.result(PATIENCE) == (0, "item", True)
    with pytest.raises(TimeoutError):
        select(c, case, timeout=0.01)
    with pytest.raises(TimeoutError):
        select(case, timeout=0)
    g = go(select, case, case, readable(b))
    parked(g)
    a.send(b"y")
    assert g.result(PATIENCE) == (2, b, True)


def test_select_on_a_descriptor_that_is_closed(parked):
    r, w = os.pipe()
    case = readable(r)
    g = go(select, case, Chan())
    parked(g)
    notify_closing(r)
    assert error_of(g).errno == errno.EBADF
    os.close(r)
    with pytest.raises(OSError):
        select(case, Chan())
    os.close(w)
    with pytest.raises(TypeError):
        type(case)()


def test_select_with_descriptors_on_a_foreign_thread(pair, in_thread):
    a, b = pair
    c = Chan()
    thread = in_thread(select, c, readable(a))
    b.send(b"x")
    assert thread.value() == (1, a, True)


def run(code, status=0):
    code = "import os, socket, sys\nimport gmpx, gmpx.io\nfrom gmpx import go\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    return done.stdout.strip()


def test_sigterm_under_load():
    out = run(
        """
        import signal
        from gmpx import context
        ctx, cancel = context.with_cancel(context.background())
        signal.signal(signal.SIGTERM, lambda *_: cancel())
        listener = gmpx.io.listen("127.0.0.1")
        def sockets():
            fds = os.scandir("/proc/self/fd")
            return sum(os.path.islink(fd) and os.readlink(fd).startswith("socket:") for fd in fds)
        before = sockets()
        whole, inside = [0], []
        def handler(conn, address):
            inside.append(address)
            if len(inside) == 100:      # no earlier: who is left in the listener's queue waits for ever
                os.kill(os.getpid(), signal.SIGTERM)
            while len(request := conn.recv(3)) == 3:
                gmpx.sleep(0.01)
                conn.sendall(request)
            assert request == b""
            whole[0] += 1
        def client():
            with gmpx.io.open_connection(*listener.getsockname()) as s:
                for _ in range(30):
                    s.sendall(b"abc")
                    if s.recv(3) != b"abc":
                        return "cut"
            return "whole"
        clients = [go(client) for _ in range(100)]
        gmpx.io.serve(handler, listener, context=ctx, grace=20)
        print({g.result() for g in clients}, whole[0], gmpx.num_goroutine())
        print(sockets() - before < 5)
        """
    )
    assert out.splitlines() == ["{'whole'} 100 1", "True"]


SERVER = """
import signal, threading, time
listener = gmpx.io.listen("127.0.0.1")
def handler(conn, address):
    while len(request := conn.recv(3)) == 3:
        begun.append(1)
        gmpx.sleep(0.02)
        conn.sendall(request)
        answered.append(1)
begun, answered, outcomes = [], [], []
def client():
    # of the program's own threads: the server's goroutines end without them
    s = socket.create_connection(listener.getsockname())
    try:
        while True:
            s.sendall(b"abc")
            if s.recv(3) != b"abc":
                break
            time.sleep(0.001)
    except ConnectionError:
        pass
    outcomes.append(1)
threads = [threading.Thread(target=client) for _ in range(20)]
for thread in threads:
    thread.start()
def press(number, seconds):
    threading.Timer(seconds, os.kill, (os.getpid(), number)).start()
"""


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_server_under_load(number):
    """Every request that was begun is answered, and the process ends with 0."""
    out = run(
        SERVER
        + f"""
def handler(conn, address, serves=handler):
    # one request after the other, until the server ends
    with gmpx.io.signals(signal.{number}) as end:
        request = gmpx.io.readable(conn)
        while True:
            case, _, _ = gmpx.select(end, request)
            if case == 0 or len(data := conn.recv(3)) < 3:
                return
            begun.append(1)
            gmpx.sleep(0.02)
            conn.sendall(data)
            answered.append(1)
press(signal.{number}, 0.5)
gmpx.io.serve(handler, listener, grace=30, signals=(signal.SIGTERM, signal.SIGINT))
listener.close()
for thread in threads:
    while thread.is_alive():
        gmpx.sleep(0.001)
print(len(begun) == len(answered) > 20, len(outcomes), gmpx.num_goroutine())
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    )
    assert out.splitlines() == ["True 20 1", "True"]


def test_a_second_signal_ends_the_grace():
    out = run(
        """
        import signal, threading
        ended = []
        def handler(conn, address):
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                gmpx.sleep(3600)
            finally:
                ended.append(1)
        listener = gmpx.io.listen("127.0.0.1")
        clients = [gmpx.io.open_connection(*listener.getsockname()) for _ in range(3)]
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        gmpx.io.serve(handler, listener, grace=float("inf"), signals=[signal.SIGTERM, signal.SIGINT])
        print(len(ended) > 0, gmpx.num_goroutine())
        """
    )
    assert out == "True 1"


def test_dumps_say_what_is_waited_for(listener, pair, parked):
    import io

    a, b = pair
    r, w = os.pipe()
    client = connect(listener)
    other = listener.accept()[0]
    gs = [go(gmpx.io.wait_readable, fd) for fd in (client, a, r, listener)]
    parked(*gs, reason="IO wait")
    out = io.StringIO()
    gmpx.dump(out)
    text = out.getvalue()
    address = "%s:%s" % listener.getsockname()
    assert f"read of descriptor {client.fileno()}, peer {address}]" in text
    assert f"read of descriptor {a.fileno()}, peer]" in text
    assert f"read of descriptor {listener.fileno()}, listener {address}]" in text
    assert f"read of descriptor {r}, pipe:[" in text
    for g in gs:
        g.cancel()
        g.join()
    for fd in (r, w):
        os.close(fd)
    client.close()
    other.close()


def test_running_programs(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, gmpx.patch\n"
        "print(__name__, sys.argv, gmpx.patch.is_patched('socket'), sys.path[0])\n"
        "assert sys.modules['__main__'].__file__ == __file__ and __file__.startswith('/')\n"
    )
    (tmp_path / "module.py").write_text(script.read_text())

    def gm(*args, status=0, stdin=""):
        done = subprocess.run(
            [sys.executable, "-m", "gmpx", *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(gmpx.__file__))},
        )
        assert done.returncode == status, done.stderr
        return done.stdout.strip(), done.stderr

    path = os.path.realpath(tmp_path)
    args = "['%s', '-x', 'y']"
    assert gm("program.py", "-x", "y")[0] == f"__main__ {args % 'program.py'} True {path}"
    assert gm("--no-patch", "program.py")[0] == f"__main__ ['program.py'] False {path}"
    module = os.path.join(path, "module.py")
    assert gm("-m", "module", "-x", "y")[0] == f"__main__ {args % module} True {path}"
    code = "import sys, gmpx.patch; print(__name__, sys.argv, gmpx.patch.is_patched('socket'), sys.path[0])"
    assert gm("-c", code, "-x", "y")[0] == f"__main__ {args % '-c'} True"
    assert gm("-", "-x", "y", stdin=code)[0] == f"__main__ {args % '-'} True"
    assert "usage:" in gm("--help")[0]
    for bad in ((), ("-x",), ("--no-patch",), ("-c",), ("-m",)):
        assert "usage:" in gm(*bad, status=2)[1]
    assert "no such file: nothing.py" in gm("nothing.py", status=2)[1]
    assert gm("--version")[0] == gm("-V")[0] == f"gmpx {gmpx.__version__}"

    def py(*args):
        return subprocess.run([sys.executable, *args], capture_output=True, text=True, cwd=tmp_path).stderr

    assert gm("-m", "nope", status=1)[1] == py("-m", "nope") == f"{sys.executable}: No module named nope\n"
    for source in ("def f():\n    1 / 0\nf()\n", "print((\n", "import nope\n", "try:\n    1 / 0\nfinally:\n    [][0]\n"):
        script.write_text(source)
        shown = gm("program.py", status=1)[1]
        assert shown == py(str(script)) and "gmpx" not in shown.replace(path, "")
        if "SyntaxError" not in shown:  # else with importlib's frames
            assert gm("-m", "program", status=1)[1] == shown
    script.write_text("import sys\nsys.excepthook = lambda kind, error, tb: print(tb.tb_frame.f_code.co_filename)\n1 / 0\n")
    assert gm("program.py", status=1)[0] == str(script)
    script.write_text("raise SystemExit(7)")
    gm("program.py", status=7)
