"""What patched calls answer, exceptions and their words included, is what the original answers."""

import array
import errno
import select
import socket
import sys
import time

import pytest

import gmpx
import gmpx.patch
from gmpx import go

PATIENCE = 20


@pytest.fixture
def patched():
    gmpx.patch.all()
    yield
    gmpx.patch.undo()


def outcome(call):
    try:
        return call()
    except Exception as e:
        return type(e), str(e)


def both(call):
    """What call answers without the patch and with it."""
    plain = outcome(call)
    gmpx.patch.all()
    try:
        return plain, outcome(call)
    finally:
        gmpx.patch.undo()


ONCE = bytearray(4)
CALLS = {
    "recv_into()": lambda a, b: a.recv_into(),
    "recv_into(1)": lambda a, b: a.recv_into(1),
    "recv_into(bytes)": lambda a, b: a.recv_into(b"abcd"),
    "recv_into(str)": lambda a, b: a.recv_into("abcd"),
    "recv_into(x, y, z, z)": lambda a, b: a.recv_into(ONCE, 1, 0, 0),
    "recv_into(-1)": lambda a, b: a.recv_into(ONCE, -1),
    "recv_into(5)": lambda a, b: a.recv_into(ONCE, 5),
    "recv_into(float)": lambda a, b: a.recv_into(ONCE, 1.0),
    "recv_into(flags)": lambda a, b: a.recv_into(ONCE, 1, 2**31),
    "recv_into(-flags)": lambda a, b: a.recv_into(ONCE, 1, -(2**31) - 1),
    "recv_into(2**100)": lambda a, b: a.recv_into(ONCE, 2**100),
    "recv_into(name)": lambda a, b: a.recv_into(buf=ONCE),
    "recv_into(twice)": lambda a, b: a.recv_into(ONCE, buffer=ONCE),
    "recv_into(strided)": lambda a, b: a.recv_into(memoryview(ONCE)[::2]),
    "recv_into(ints)": lambda a, b: (b.send(b"abcdefgh"), a.recv_into(array.array("i", [0, 0]))),
    "recv(-1)": lambda a, b: a.recv(-1),
    "recv(str)": lambda a, b: a.recv("1"),
    "recv(flags)": lambda a, b: a.recv(1, "x"),
    "send()": lambda a, b: a.send(),
    "send(1, 2, 3)": lambda a, b: a.send(b"", 0, 0),
    "send(str)": lambda a, b: a.send("abc"),
    "send(strided)": lambda a, b: a.send(memoryview(ONCE)[::2]),
    "send(2**31)": lambda a, b: a.send(b"x", 2**31),
    "sendall()": lambda a, b: a.sendall(),
    "sendall(str)": lambda a, b: a.sendall("abc"),
    "sendall(None)": lambda a, b: a.sendall(None),
    "sendto()": lambda a, b: a.sendto(b"x"),
    "sendto(str)": lambda a, b: a.sendto("x", "/nowhere"),
    "sendmsg()": lambda a, b: a.sendmsg(),
    "sendmsg(1)": lambda a, b: a.sendmsg(1),
    "sendmsg([1])": lambda a, b: a.sendmsg([1]),
    "sendmsg(iter)": lambda a, b: (a.sendmsg(iter([b"x", b"y"])), b.recv(2)),
    "sendmsg(ancdata)": lambda a, b: a.sendmsg([b"x"], 1),
    "recvmsg()": lambda a, b: a.recvmsg(),
    "recvmsg(-1)": lambda a, b: a.recvmsg(-1),
    "recvmsg_into(1)": lambda a, b: a.recvmsg_into(1),
    "recvmsg_into(bytes)": lambda a, b: a.recvmsg_into([b"x"]),
    "recvfrom()": lambda a, b: a.recvfrom(),
    "recvfrom(-1)": lambda a, b: a.recvfrom(-1),
    "recvfrom_into(5)": lambda a, b: a.recvfrom_into(ONCE, 5),
    "recvfrom_into(name)": lambda a, b: (b.send(b"x"), a.recvfrom_into(buffer=ONCE)),
    "accept": lambda a, b: a.accept(),
    "connect()": lambda a, b: a.connect(),
    "connect(1)": lambda a, b: a.connect(1),
    "connect(/)": lambda a, b: a.connect("/nowhere/to/be/found"),
    "connect_ex(/)": lambda a, b: a.connect_ex("/nowhere/to/be/found"),
    "recv(time-out, flags)": lambda a, b: (a.settimeout(0.05), a.recv(1, socket.MSG_DONTWAIT)),
    "recv(DONTWAIT)": lambda a, b: a.recv(1, socket.MSG_DONTWAIT),
    "recvfrom(time-out, flags)": lambda a, b: (
        a.settimeout(0.05),
        a.recvfrom(1, socket.MSG_DONTWAIT),
    ),
    "recvfrom(DONTWAIT)": lambda a, b: a.recvfrom(1, socket.MSG_DONTWAIT),
    "closed": lambda a, b: (a.close(), a.recv(1)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_sockets(call):
    def run():
        a, b = socket.socketpair()
        with a, b:
            return call(a, b)

    plain, patched = both(run)
    assert patched == plain


SELECTS = {
    "no sequence": lambda fd: select.select(1, [], [], 0.05),
    "no descriptor": lambda fd: select.select(["x"], [], [], 0.05),
    "closed": lambda fd: select.select([], [9999], [], 0.05),
    "negative": lambda fd: select.select([], [], [-1], 0.05),
    "nothing": lambda fd: select.select([], (), iter([]), 0.05),
    "a set": lambda fd: select.select([], {fd}, [], 0.05),
    "twice": lambda fd: select.select([], [fd, fd], [], 0.05),
    "a bad time-out": lambda fd: select.select([], [fd], [], "x"),
}


@pytest.mark.parametrize("call", SELECTS.values(), ids=SELECTS)
def test_select(call):
    a, b = socket.socketpair()
    with a, b:
        plain, patched = both(lambda: call(a.fileno()))
    assert patched == plain


def test_select_asks_each_object_once_for_its_descriptor(patched):
    a, b = socket.socketpair()
    mine = []

    class Shortens:
        def fileno(self):
            del mine[-1]
            return a.fileno()

    with a, b:
        mine[:] = [Shortens() for _ in range(10)]
        assert select.select([], mine, []) == ([], mine[:5], [])


def test_a_poll_object_that_others_look_at(patched, on_other_m, in_thread):
    """A look of another M's goroutine is no "concurrent poll()"; a thread that waits in it is."""
    a, b = socket.socketpair()
    with a, b:
        poll = select.poll()
        poll.register(a, select.POLLIN)

        def often():
            for _ in range(300):
                assert poll.poll(0.1) == []

        gs = [on_other_m(often), go(often)]
        often()
        for g in gs:
            assert g.result(PATIENCE) is None

        waits = in_thread(poll.poll)
        with pytest.raises(RuntimeError, match=r"concurrent poll\(\) invocation"):
            while True:
                poll.poll(1)
        b.send(b"x")
        assert [fd for fd, _ in waits.value()] == [a.fileno()]


@pytest.mark.skipif(not hasattr(socket.socket, "sendmsg"), reason="no sendmsg here")
def test_iterators_that_have_to_wait(patched, parked):
    a, b = socket.socketpair()
    with a, b:
        buffer = bytearray(3)
        g = go(b.recvmsg_into, iter([memoryview(buffer)]))
        parked(g, reason="IO wait")
        a.send(b"abc")
        assert g.result(PATIENCE)[0] == 3
        assert buffer == b"abc"

        while True:
            try:
                a.send(b"x" * 4096, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
        g = go(a.sendmsg, (part for part in (b"the", b"end")), iter([]))
        parked(g, reason="IO wait")
        got = b""
        while not got.endswith(b"theend"):
            got += b.recv(65536)
            gmpx.gosched()
        assert g.result(PATIENCE) == 6


def test_recvfrom_into_by_name_parks(patched, parked):
    a, b = socket.socketpair()
    with a, b:
        buffer = bytearray(3)
        g = go(b.recvfrom_into, buffer=buffer)
        parked(g, reason="IO wait")
        a.send(b"abc")
        assert g.result(PATIENCE)[0] == 3


def test_a_time_out_comes_before_flags(patched):
    a, b = socket.socketpair()
    with a, b:
        a.settimeout(0.05)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            a.recv(1, socket.MSG_DONTWAIT)
        assert time.monotonic() - begun >= 0.05
        a.settimeout(None)
        with pytest.raises(BlockingIOError) as caught:
            a.recv(1, socket.MSG_DONTWAIT)
        assert caught.value.errno == errno.EAGAIN


def test_an_audit_hook_may_keep_what_it_gets(patched, monkeypatch):
    kept = []
    events = []
    auditing = [True]

    def hook(event, args):
        if auditing and event in ("socket.sendto", "socket.connect"):
            kept.append(args[0])
            events.append(event)

    sys.addaudithook(hook)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b,
    ):
        a.bind(("127.0.0.1", 0))
        b.connect(a.getsockname())
        b.sendto(b"1", a.getsockname())
        auditing.clear()
        assert a.recvfrom(1)[0] == b"1"
        assert events == ["socket.connect", "socket.sendto"]
        assert len({id(s) for s in kept}) == 2
