"""Corners of descriptors, each of which was wrong once."""

import errno
import os
import socket
import subprocess
import sys
import textwrap
import time

import pytest

import gmpx
import gmpx.io
import gmpx.patch
from gmpx import go

PATIENCE = 20


def run(code):
    code = "import os, select, socket, threading, time\nimport gmpx, gmpx.io, gmpx.patch\n" + (
        textwrap.dedent(code)
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("end", ["collected", "undone"])
def test_a_number_that_was_used_while_nobody_saw_to_it(end):
    """What is known of a descriptor is forgotten when sockets are patched."""
    assert run(
        f"""
        import warnings; warnings.simplefilter("ignore")
        if {end == "collected"}:
            l = gmpx.io.listen("127.0.0.1")
            a = gmpx.io.open_connection(*l.getsockname()); b, _ = l.accept()
        else:
            gmpx.patch.all()
            l = socket.create_server(("127.0.0.1", 0))
            a = socket.create_connection(l.getsockname()); b, _ = l.accept()
        gmpx.after_func(0.02, lambda: a.sendall(b"x")); b.recv(100)
        n = b.fileno()
        if {end == "collected"}:
            del b
        else:
            gmpx.patch.undo(); b.close()
        c, d = socket.socketpair()
        assert c.fileno() == n
        gmpx.patch.all()
        d.sendall(b"hello"); c.settimeout({PATIENCE})
        print(c.recv(100))
        """
    ) == repr(b"hello")


def test_descriptors_of_the_program_are_left_alone():
    """A program closes our descriptors, and opens files of its own under these numbers."""
    out = run(
        """
        def ours():
            for n in map(int, os.listdir("/proc/self/fd")):
                try:
                    if "event" in os.readlink(f"/proc/self/fd/{n}"): yield n
                except OSError: pass
        r, w = os.pipe()
        g = gmpx.go(gmpx.io.wait_readable, r)
        while g.wait_reason != "IO wait": gmpx.gosched()
        mine = list(ours())
        for n in mine: os.close(n)
        files = [open(os.devnull) for _ in mine]
        if os.fork() == 0:
            for f in files: os.fstat(f.fileno())
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
        os.write(w, b"x")
        g.join()
        for f in files: os.fstat(f.fileno())
        print(len(mine) > 0)
        """
    )
    assert out == "True"


def test_first_contact_from_a_subinterpreter():
    out = run(
        """
        gmpx.patch.all()
        try: import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        i = interpreters.create()
        interpreters.run_string(i, "import time; time.sleep(0.01)")
        interpreters.destroy(i)
        time.sleep(0.01)
        print(gmpx._core._parks())
        """
    )
    assert out == "True"


def test_a_socket_of_ours_sends_files(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(bytes(5_000_000))
    pair = socket.socketpair()
    a, b = (gmpx.io.Socket(s.family, s.type, s.proto, s.detach()) for s in pair)

    def reader():
        n = 0
        while data := b.recv(1 << 16):
            n += len(data)
        return n

    with a, b, path.open("rb") as f:
        g = go(reader)
        assert a.sendfile(f) == 5_000_000
        a.shutdown(socket.SHUT_WR)
        assert g.result(PATIENCE) == 5_000_000


def test_what_cannot_wait_does_not_let_others_run():
    """Somebody may hold a lock of threading's meanwhile."""
    out = run(
        """
        gmpx.patch.all(); lock = threading.Lock()
        def work(n):
            a, b = socket.socketpair(); a.setblocking(False)
            for i in range(100):
                with lock: a.send(b"x")
        with gmpx.Group() as g:
            for i in range(3): g.go(work, i)
        print("done")
        """
    )
    assert out == "done"


def test_urgent_data_and_data_in_one_poll(parked):
    import select

    with socket.create_server(("127.0.0.1", 0)) as server:
        a = socket.create_connection(server.getsockname())
        b, _ = server.accept()
    gmpx.patch.select()
    try:
        with a, b:
            poll = select.poll()
            poll.register(b, select.POLLIN | select.POLLPRI)
            g = go(poll.poll)
            parked(g)
            a.send(b"!", socket.MSG_OOB)
            assert g.result(PATIENCE) == [(b.fileno(), select.POLLPRI)]
    finally:
        gmpx.patch.undo()


def test_data_that_is_there_when_the_time_is_up():
    """The scheduler fires timers before it looks into the poller; the data has come in time."""
    limit, in_time = 0.001, 0
    pair = socket.socketpair()
    a, b = (gmpx.io.Socket(s.family, s.type, s.proto, s.detach()) for s in pair)
    until = time.monotonic() + PATIENCE
    with a, b:
        a.settimeout(limit)
        while in_time < 50:
            assert time.monotonic() < until, f"sent in time {in_time} times only"
            begin = time.monotonic()
            g = go(a.recv, 10)
            while g.status not in ("waiting", "dead"):
                gmpx.gosched()
            b.send(b"x")
            sent_after = time.monotonic() - begin
            while time.monotonic() < begin + 3 * limit:  # computes beyond the time-out
                pass
            try:
                assert g.result(PATIENCE) == b"x"
            except TimeoutError:  # main had not its turn in time
                assert sent_after >= limit
                assert a.recv(10) == b"x"
            in_time += sent_after < limit


def test_the_next_address_is_tried(monkeypatch):
    from gmpx.io import dialing

    with gmpx.io.listen("127.0.0.1") as listener:
        good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname())
        unknown = (12345, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))
        monkeypatch.setattr(dialing, "_addresses", lambda *_: [unknown, good])
        gmpx.io.open_connection("anywhere", 1).close()
        monkeypatch.setattr(dialing, "_addresses", lambda *_: [unknown])
        with pytest.raises(OSError) as caught:
            gmpx.io.open_connection("anywhere", 1)
        assert caught.value.errno == errno.EAFNOSUPPORT


def test_a_second_ctrl_c_ends_the_handlers():
    out = run(
        """
        import signal
        ended = []
        def handler(conn, address):
            inside.send(None)
            try: gmpx.sleep(60)
            finally: ended.append(1)
        inside = gmpx.Chan(1)
        l = gmpx.io.listen("127.0.0.1")
        c = gmpx.io.open_connection(*l.getsockname())
        def press():
            inside.recv()
            os.kill(os.getpid(), signal.SIGINT)
            while gmpx.goroutines()[0].wait_reason == "IO wait": gmpx.sleep(0.001)
            gmpx.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
        gmpx.go(press)
        try:
            gmpx.io.serve(handler, l, grace=30)
        except KeyboardInterrupt:
            pass
        while len(gmpx.goroutines()) > 1: gmpx.gosched()
        print(ended)
        """
    )
    assert out == "[1]"
