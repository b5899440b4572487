"""os.read, os.write and io's files on pipes, FIFOs and terminals, patched."""

import contextlib
import errno
import io
import os
import pty
import select
import shutil
import socket
import subprocess
import sys
import termios
import time
import tty
from functools import partial
from os import read, readv, write, writev

import pytest

import gmpx
import gmpx.patch
from gmpx import Cancelled, go
from gmpx._core import _net_left, _nowait

PATIENCE = 20


def descriptors():
    """Without the two of each poller, which stay."""
    return len(os.listdir("/proc/self/fd")) - 2 * _net_left()[0]


@pytest.fixture(scope="module", autouse=True)
def deep_sleep():
    """The main thread has slept so long that it has opened what wakes it, and keeps that."""
    gmpx.sleep(0.3)


@pytest.fixture(autouse=True)
def patched(until):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("reads /proc/self/fd")
    gmpx.patch.all()
    go(gmpx.sleep, 0).join()
    goroutines, fds = gmpx.num_goroutine(), descriptors()
    yield
    until(lambda: gmpx.num_goroutine() == goroutines)
    assert _net_left()[1:] == (0, 0)
    assert descriptors() == fds
    gmpx.patch.undo()


@pytest.fixture(params=["nowait", "reopen"])
def way(request):
    """How pipes are asked: as kernels since 6.5 allow it, and as those before."""
    was = _nowait(request.param == "nowait")
    yield request.param
    _nowait(was)


class Ends:
    """Two descriptors, closed at the end unless the test has."""

    def __init__(self, r, w):
        self.r, self.w = r, w

    def close(self, *names):
        for name in names or ("r", "w"):
            fd = getattr(self, name)
            setattr(self, name, None)
            if fd is not None:
                os.close(fd)


def make_pipe(tmp_path):
    return Ends(*os.pipe())


def make_fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)
    ends = Ends(os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY))
    os.close(both)
    return ends


def make_sockets(tmp_path):
    a, b = socket.socketpair()
    return Ends(a.detach(), b.detach())


def make_raw_tty(tmp_path):
    """Reads from the slave, writes to the master."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    return Ends(slave, master)


@pytest.fixture(params=[make_pipe, make_fifo, make_sockets, make_raw_tty])
def ends(request, way, tmp_path):
    ends = request.param(tmp_path)
    yield ends
    ends.close()


@pytest.fixture(params=[make_pipe, make_fifo, make_sockets])
def pipe(request, way, tmp_path):
    ends = request.param(tmp_path)
    yield ends
    ends.close()


def error_of(g):
    g.join(PATIENCE)
    return g.exception()


def fill(fd):
    """Writes until nothing more is taken."""
    n = 0
    blocking = os.get_blocking(fd)
    os.set_blocking(fd, False)
    try:
        for piece in (65536, 1):
            while True:
                n += os.write(fd, bytes(piece))
    except BlockingIOError:
        if n and piece == 65536:
            n += fill(fd)
    os.set_blocking(fd, blocking)
    return n


# ---- reading ---------------------------------------------------------------------------------


def test_read_parks(ends, parked):
    g = go(read, ends.r, 10)
    parked(g, reason="IO wait")
    assert write(ends.w, b"hello") == 5
    assert g.result(PATIENCE) == b"hello"


def test_readv_and_writev(ends, parked):
    a, b = bytearray(3), bytearray(5)
    g = go(readv, ends.r, (a, memoryview(b)))
    parked(g, reason="IO wait")
    assert writev(ends.w, [b"ab", b"cd", bytearray(b"e")]) == 5
    assert g.result(PATIENCE) == 5
    assert (a, b) == (b"abc", b"de\0\0\0")


def test_what_is_there_is_read_without_parking(ends):
    write(ends.w, b"hello")
    select.select([ends.r], [], [])
    g = go(lambda: (read(ends.r, 2), read(ends.r, 100_000)))
    assert g.result(PATIENCE) == (b"he", b"llo")


def test_the_end(pipe, parked):
    g = go(read, pipe.r, 10)
    parked(g)
    pipe.close("w")
    assert g.result(PATIENCE) == b""


def test_a_terminal_that_hangs_up(parked):
    master, slave = pty.openpty()
    g = go(read, master, 10)
    parked(g)
    os.close(slave)
    assert error_of(g).errno == errno.EIO
    os.close(master)


def test_a_terminal_that_does_not_wait_for_ever(way):
    """VMIN 0: a read gives what is there, or nothing after VTIME tenths of a second."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    mode = termios.tcgetattr(slave)
    for tenths in (0, 1):
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 0, tenths
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        assert go(read, slave, 10).result(PATIENCE) == b""
    os.close(slave)
    os.close(master)


def test_many_readers_of_one_pipe(ends, parked, on_other_m):
    """Each byte goes to one; the others, woken in vain, do not hold their thread."""
    got = []

    def reader():
        while (data := read(ends.r, 1)) != b".":
            got.append(data)

    gs = [go(reader) for _ in range(10)] + [on_other_m(reader)]
    parked(*gs)
    for i in range(100):
        write(ends.w, b"%c" % (65 + i % 26))
        if i % 10 == 0:
            gmpx.sleep(0.001)
    write(ends.w, b"." * len(gs))
    for g in gs:
        g.result(PATIENCE)
    assert len(got) == 100


def test_a_descriptor_that_does_not_block(ends):
    os.set_blocking(ends.r, False)
    os.set_blocking(ends.w, False)
    for call in (lambda: read(ends.r, 1), lambda: readv(ends.r, [bytearray(1)])):
        with pytest.raises(BlockingIOError):
            go(call).result(PATIENCE)
    raw_file = io.FileIO(ends.r, "r", closefd=False)
    assert go(raw_file.read, 1).result(PATIENCE) is None
    assert go(raw_file.readall).result(PATIENCE) is None
    assert go(raw_file.readinto, bytearray(1)).result(PATIENCE) is None


def test_partial_writes_of_what_does_not_block(pipe):
    os.set_blocking(pipe.w, False)
    n = go(write, pipe.w, bytes(10_000_000)).result(PATIENCE)
    assert 0 < n < 10_000_000
    n += fill(pipe.w)
    with pytest.raises(BlockingIOError):
        go(write, pipe.w, b"x").result(PATIENCE)
    while n:
        n -= len(read(pipe.r, 1_000_000))


# ---- writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [write, lambda fd, data: writev(fd, [data[:5], b"", data[5:]])])
def test_a_write_larger_than_what_fits(ends, parked, call):
    data = os.urandom(300_000)
    g = go(call, ends.w, data)
    parked(g, reason="IO wait")
    got = b""
    while len(got) < len(data):
        got += read(ends.r, 70_000)
    assert got == data
    assert g.result(PATIENCE) == len(data)


def test_many_writers_of_one_pipe(pipe):
    """Up to PIPE_BUF bytes stay together."""
    lines = [b"%c" % (65 + i) * 1000 + b"\n" for i in range(26)]

    def writer(line):
        for _ in range(40):
            assert write(pipe.w, line) == len(line)

    gs = [go(writer, line) for line in lines]
    with io.FileIO(pipe.r, "r", closefd=False) as f, io.BufferedReader(f) as reader:
        for _ in range(40 * 26):
            assert reader.readline() in lines
    for g in gs:
        g.result(PATIENCE)


def test_a_broken_pipe(pipe, parked):
    fill(pipe.w)
    gs = [go(write, pipe.w, b"x"), go(writev, pipe.w, [b"x"])]
    parked(*gs)
    pipe.close("r")
    for g in gs:
        assert isinstance(error_of(g), BrokenPipeError | ConnectionResetError)
    for call in (write, lambda fd, data: io.FileIO(fd, "w", closefd=False).write(data)):
        with pytest.raises(BrokenPipeError):
            go(call, pipe.w, b"x").result(PATIENCE)


def test_what_was_written_before_it_broke_counts(pipe, parked):
    g = go(write, pipe.w, bytes(10_000_000))
    parked(g)
    pipe.close("r")
    assert 0 < g.result(PATIENCE) < 10_000_000


def test_a_terminal_takes_a_lot(way, until):
    master, slave = pty.openpty()
    tty.setraw(slave)
    data = os.urandom(200_000)
    g = go(write, slave, data)
    got = b""
    while len(got) < len(data):
        got += read(master, 65536)
    assert got == data and g.result(PATIENCE) == len(data)
    os.close(slave)
    os.close(master)


# ---- ends of waits ---------------------------------------------------------------------------


@pytest.mark.parametrize("writes", [False, True])
def test_cancel_and_time_out(pipe, parked, writes):
    if writes:
        fill(pipe.w)
    call = (lambda: write(pipe.w, b"x")) if writes else (lambda: read(pipe.r, 1))
    g = go(call)
    parked(g)
    g.cancel()
    assert isinstance(error_of(g), Cancelled)
    with pytest.raises(TimeoutError), gmpx.timeout(0.01):
        call()


def test_dup2_that_closes_nothing(pipe, parked):
    g = go(read, pipe.r, 1)
    parked(g)
    os.dup2(pipe.r, pipe.r)
    with pytest.raises(OSError):
        os.dup2(1_000_000, pipe.r)
    parked(g)
    write(pipe.w, b"x")
    assert g.result(PATIENCE) == b"x"


@pytest.mark.parametrize("close", ["close", "FileIO", "dup2", "closerange"])
def test_closed_by_another_meanwhile(pipe, parked, close):
    g = go(read, pipe.r, 1)
    parked(g)
    if close == "FileIO":
        io.FileIO(pipe.r, "r").close()
        pipe.r = None
    elif close == "dup2":
        os.dup2(pipe.w, pipe.r)
    elif close == "closerange":
        os.closerange(pipe.r, pipe.r + 1)
        pipe.r = None
    else:
        pipe.close("r")
    error = error_of(g)
    assert error.errno == errno.EBADF and "was closed while a goroutine waited" in str(error)


def test_numbers_are_used_again(tmp_path, parked):
    """What a number was says nothing of what it is."""
    path = tmp_path / "f"
    for _ in range(3):
        r, w = os.pipe()
        write(w, b"1")
        assert read(r, 10) == b"1"
        os.close(r)
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        assert fd == r
        assert write(fd, b"hello") == 5 and os.lseek(fd, 0, 0) == 0 and read(fd, 10) == b"hello"
        os.close(fd)
        os.close(w)
        a, b = socket.socketpair()
        g = go(read, a.fileno(), 10)
        parked(g)
        write(b.fileno(), b"2")
        assert g.result(PATIENCE) == b"2"
        a.close()
        b.close()


def test_a_wrong_guess_is_found_out(parked, tmp_path):
    """Closed where nobody sees it: a pipe's number is a file's, a socket's a pipe's."""
    import ctypes

    close = ctypes.CDLL(None).close
    r, w = os.pipe()
    write(w, b"1")
    read(r, 1)
    close(r)
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    assert fd == r
    assert write(fd, b"hello") == 5 and os.lseek(fd, 0, 0) == 0
    assert read(fd, 10) == b"hello" and read(fd, 10) == b""
    os.close(w)
    os.close(fd)
    a, b = socket.socketpair()
    write(a.fileno(), b"1")
    assert read(b.fileno(), 10) == b"1"
    numbers = a.detach(), b.detach()
    for n in numbers:
        close(n)
    r, w = os.pipe()
    assert {r, w} == set(numbers)
    g = go(read, r, 10)
    parked(g)
    write(w, b"2")
    assert g.result(PATIENCE) == b"2"
    os.close(r)
    os.close(w)


def test_a_fifo_whose_number_is_a_regular_files(tmp_path):
    """Closed where nobody sees it, or without the patch: what is written goes on where it was, not at offset 0."""
    import ctypes

    def unpatched(fd):
        gmpx.patch.undo("os")
        os.close(fd)
        gmpx.patch.os()

    os.mkfifo(tmp_path / "fifo")
    for close in (ctypes.CDLL(None).close, unpatched):
        fifo = os.open(tmp_path / "fifo", os.O_RDWR)
        write(fifo, b"1")
        assert read(fifo, 1) == b"1"
        close(fifo)
        fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        assert fd == fifo
        assert write(fd, b"one ") + write(fd, b"two") == 7
        assert (tmp_path / "f").read_bytes() == b"one two"
        os.close(fd)


def test_a_file_whose_number_is_a_pipes_after_undo(tmp_path, parked):
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    read(fd, 1)
    gmpx.patch.undo("os")
    os.close(fd)
    r, w = os.pipe()
    gmpx.patch.os()
    assert r == fd
    g = go(read, r, 1)
    parked(g)
    write(w, b"x")
    assert g.result(PATIENCE) == b"x"
    os.close(r)
    os.close(w)


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="Linux has netlink")
def test_a_message_is_read_whole():
    """Also where the kernel does not tell how long it is."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 2) as s:  # NETLINK_USERSOCK
        s.bind((0, 0))
        s.sendto(b"x" * 10_000, s.getsockname())
        assert len(read(s.fileno(), 65536)) == 10_000


def test_short_writes_stay_together_without_reopening(in_thread):
    """A pipe that can only be polled before each write, beside a thread that writes to it, too."""
    import resource

    was = _nowait(False)
    r, w = os.pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        write(w, b"-")  # how the pipe is asked is found out here
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        _nowait(was)
    read(r, 1)
    got = []

    def writes(c):
        for _ in range(60):
            write(w, c * 4000)

    def reads():
        left = 2 * 60 * 4000
        while left:
            got.append(read(r, 4096))
            left -= len(got[-1])
            time.sleep(0.0005)

    writer, reader = in_thread(writes, b"a"), in_thread(reads)
    go(writes, b"b").result(PATIENCE)
    writer.join(PATIENCE)
    reader.join(PATIENCE)
    text = b"".join(got)
    assert all(text[i : i + 4000] in (b"a" * 4000, b"b" * 4000) for i in range(0, len(text), 4000))
    os.close(r)
    os.close(w)


def test_foreign_threads_block(pipe, in_thread):
    thread = in_thread(read, pipe.r, 10)
    write(pipe.w, b"x")
    assert thread.value() == b"x"
    thread = in_thread(write, pipe.w, bytes(1_000_000))
    n = 0
    while n < 1_000_000:
        n += len(read(pipe.r, 65536))
    assert thread.value() == 1_000_000


BAD = [
    lambda: os.read(),
    lambda: os.read("x", 1),
    lambda: os.read(0, "x"),
    lambda: os.read(0, -1),
    lambda: os.read(-1, 1),
    lambda: os.read(9999, 1),
    lambda: os.read(2**40, 1),
    lambda: os.read(10**30, 1),
    lambda: os.read(0.0, 1),
    lambda: os.write(9999, b"x"),
    lambda: os.write(1, "x"),
    lambda: os.write(1, None),
    lambda: os.readv(0, 1),
    lambda: os.readv(0, [b"x"]),
    lambda: os.readv(9999, [bytearray(1)]),
    lambda: os.writev(1, ["x"]),
    lambda: os.writev(1, iter([b"x"])),
    lambda: os.readv(0, {1: bytearray(1)}.values()),
    lambda: os.close("x"),
    lambda: os.close(9999),
    lambda: os.dup2(9999, 9998),
    lambda: os.splice(9999, 9998, 1),
    lambda: os.sendfile(9999, 9998, 0, 1),
    lambda: os.waitpid(1),
    lambda: os.waitpid("x", 0),
    lambda: os.waitpid(10**30, 0),
    lambda: os.wait3(),
    lambda: os.wait3("x"),
    lambda: os.wait4(1),
    lambda: os.wait4(1, options="x"),
    lambda: os.waitid(0, 0),
    lambda: os.waitid(99, 0, os.WEXITED),
    lambda: os.system(),
    lambda: os.system(1),
]


@pytest.mark.parametrize("call", BAD)
def test_bad_arguments_are_told_as_ever(call):
    def outcome():
        try:
            return call()
        except Exception as e:
            return type(e), str(e)

    now = outcome()
    gmpx.patch.undo()
    plain = outcome()
    gmpx.patch.all()
    assert now == plain


# ---- files of io -----------------------------------------------------------------------------


def test_files_over_pipes(pipe, parked):
    data = os.urandom(1_000_000)
    with open(pipe.r, "rb", closefd=False) as reader:
        g = go(reader.read)
        parked(g, reason="IO wait")
        with open(pipe.w, "wb") as writer:
            pipe.w = None
            assert go(writer.write, data).result(PATIENCE) == len(data)
        assert g.result(PATIENCE) == data


def test_text_over_pipes(pipe, parked):
    with open(pipe.r, closefd=False) as reader, open(pipe.w, "w") as writer:
        pipe.w = None
        g = go(list, reader)
        parked(g, reason="IO wait")
        for i in range(1000):
            print("line", i, file=writer, flush=i % 7 == 0)
        writer.close()
        assert g.result(PATIENCE) == [f"line {i}\n" for i in range(1000)]


@pytest.mark.parametrize("how", ["read", "readinto", "readall"])
def test_raw_files_over_pipes(pipe, parked, how):
    with open(pipe.r, "rb", buffering=0, closefd=False) as reader:
        buffer = bytearray(10)
        g = go({"read": lambda: reader.read(10), "readinto": lambda: reader.readinto(buffer)}.get(how, reader.read))
        parked(g, reason="IO wait")
        write(pipe.w, b"hello")
        if how == "readall":
            parked(g)
            pipe.close("w")
        result = g.result(PATIENCE)
        assert (bytes(buffer[:result]) if how == "readinto" else result) == b"hello"


def test_one_buffered_file_for_many(pipe, parked):
    """One parks with the file's lock; the others wait outside."""
    with open(pipe.r, "rb", closefd=False) as reader:
        gs = [go(reader.readline) for _ in range(5)]
        gs += [go(next, reader), go(reader.read1, 2), go(reader.peek, 1)]
        parked(*gs)
        for i in range(6):
            write(pipe.w, b"%d\n" % i)
            gmpx.sleep(0.001)
        write(pipe.w, b"ab")
        write(pipe.w, b"c")
        got = [g.result(PATIENCE) for g in gs]
        assert sorted(got[:6]) == [b"%d\n" % i for i in range(6)]


def test_others_while_somebody_waits_in_one_or_two_files(pipe, parked, tmp_path):
    """Those who use another file go on, those who use one of these wait outside, as before."""
    (tmp_path / "f").write_bytes(b"a line\n")
    r, w = os.pipe()
    with open(pipe.r, "rb", closefd=False) as one, open(r, "rb") as two:
        first = [go(one.readline), go(one.readline)]
        parked(*first)
        second = [go(two.readline), go(two.readline)]
        parked(*second)
        with open(tmp_path / "f", "rb") as f:
            assert f.readline() == b"a line\n"
        for gs, end in (second, w), (first, pipe.w):
            write(end, b"1\n")
            while not any(g.done() for g in gs):
                gmpx.gosched()
            parked(*(g for g in gs if not g.done()))
            write(end, b"2\n")
            assert {g.result(PATIENCE) for g in gs} == {b"1\n", b"2\n"}
    os.close(w)


def test_one_writer_for_many(pipe, parked):
    """As print of many to one standard output that is a full pipe."""
    fill_size = fill(pipe.w)
    with open(pipe.w, "w") as writer:
        pipe.w = None
        gs = [go(print, f"{i}" * 5000, file=writer, flush=True) for i in range(8)]
        parked(*gs)
        n = fill_size + 8 * 5001
        got = b""
        while len(got) < n:
            got += read(pipe.r, 65536)
        for g in gs:
            g.result(PATIENCE)
        assert sorted(got[fill_size:]) == sorted("".join(f"{i}" * 5000 + "\n" for i in range(8)).encode())


def test_a_cancelled_flush_writes_nothing_twice(pipe, parked):
    with open(pipe.w, "wb", buffering=400_000) as writer:
        pipe.w = None
        data = os.urandom(300_000)
        writer.write(data)
        g = go(writer.flush)
        parked(g)
        g.cancel()
        assert isinstance(error_of(g), Cancelled)
        g = go(writer.close)
        got = b""
        while len(got) < len(data):
            got += read(pipe.r, 65536)
        g.result(PATIENCE)
        assert got == data


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_what_a_buffered_writer_has_passed_on_counts(pipe, parked, how):
    """More than the buffer, and than the pipe: the wait ends in the middle, and nothing is written twice."""
    data = os.urandom(3_000_000)
    ended = []

    def writes():
        try:
            if how == "timeout":
                with gmpx.timeout(0.02):
                    writer.write(data)
            else:
                writer.write(data)
        except (Cancelled, TimeoutError) as e:
            ended.append(type(e))

    with open(pipe.w, "wb") as writer:
        pipe.w = None
        g = go(writes)
        parked(g)
        if how == "cancel":
            g.cancel()
        g.join(PATIENCE)
        closer = go(writer.close)
        got = b""
        while piece := read(pipe.r, 65536):
            got += piece
        closer.result(PATIENCE)
    assert ended == [Cancelled if how == "cancel" else TimeoutError]
    assert data.startswith(got)


def test_reading_and_closing_one_file(pipe, parked):
    """close() waits for the reader, as between threads."""
    reader = open(pipe.r, "rb")
    pipe.r = None
    g = go(reader.read, 3)
    parked(g)
    closer = go(reader.close)
    parked(g, closer)
    write(pipe.w, b"abc")
    assert g.result(PATIENCE) == b"abc"
    closer.result(PATIENCE)
    assert reader.closed


def test_errors_of_files_are_as_ever(pipe):
    with open(pipe.r, "rb", buffering=0, closefd=False) as r, open(
        pipe.w, "wb", buffering=0, closefd=False
    ) as w:
        for call in (
            lambda: r.write(b"x"),
            lambda: w.read(1),
            lambda: w.readinto(bytearray(1)),
        ):
            with pytest.raises(io.UnsupportedOperation, match="not open for"):
                call()
        for call in (
            lambda: w.write("x"),
            lambda: r.readinto(b"x"),
            lambda: r.read("x"),
            lambda: r.read(1, 2),
            lambda: w.write(),
        ):
            with pytest.raises(TypeError):
                call()
    with pytest.raises(ValueError, match="closed file"):
        r.read(1)


# ---- and so on -------------------------------------------------------------------------------


def test_sendfile_and_splice(pipe, parked, tmp_path):
    data = os.urandom(300_000)
    path = tmp_path / "f"
    path.write_bytes(data)

    def send(fd, call):
        sent = 0
        while sent < len(data):
            sent += call(pipe.w, fd, sent, len(data) - sent)

    calls = [os.sendfile]
    if hasattr(os, "splice") and not os.path.sameopenfile(pipe.w, pipe.r):
        import stat

        if stat.S_ISFIFO(os.fstat(pipe.w).st_mode):
            calls.append(lambda out, fd, offset, n: os.splice(fd, out, n, offset_src=offset))
    with path.open("rb") as f:
        for call in calls:
            g = go(send, f.fileno(), call)
            parked(g)
            got = b""
            while len(got) < len(data):
                got += read(pipe.r, 65536)
            assert got == data
            g.result(PATIENCE)


@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="has no sendfile")
def test_sendfile_to_a_regular_file_needs_no_thread(tmp_path, monkeypatch):
    monkeypatch.setattr("gmpx.patch.streams.blocking", None)
    (tmp_path / "a").write_bytes(b"hello")
    shutil.copyfile(tmp_path / "a", tmp_path / "b")
    with open(tmp_path / "a", "rb") as a, open(tmp_path / "b", "wb") as b:
        try:
            assert os.sendfile(b.fileno(), a.fileno(), 0, 5) == 5
        except OSError as error:  # to sockets alone, here
            assert error.errno in (errno.ENOTSOCK, errno.EINVAL)
    assert (tmp_path / "b").read_bytes() in (b"hello", b"")


def child(code, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-c", "import gmpx, gmpx.patch, os, sys; gmpx.patch.all()\n" + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **kwargs,
    )


def test_input_parks_its_goroutine_alone():
    code = """
ticks = []
def tick():
    while len(ticks) < 5:
        gmpx.sleep(0.001)
        ticks.append(1)
    print("ticked", flush=True)
gmpx.go(tick)
print(input("? "), sys.stdin.readline(), sys.stdin.read())
"""
    with child(code) as process:
        assert process.stdout.readline() == b"? ticked\n"
        out, _ = process.communicate(b"one\ntwo\nthree\nfour")
        assert out == b"one two\n three\nfour\n"
        assert process.returncode == 0


@contextlib.contextmanager
def at_terminal(code):
    """A process at a terminal of its own; what types there, and what reads until something is shown."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "import gmpx, gmpx.patch, os, sys; gmpx.patch.all()\n" + code],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)

    rest = b""

    def until(what):
        nonlocal rest
        got, rest = rest, b""
        while what not in got:
            got += read(master, 1000)
        end = got.index(what) + len(what)
        got, rest = got[:end], got[end:]
        return got

    try:
        yield process, partial(write, master), until
    finally:
        process.kill()
        process.wait(PATIENCE)
        os.close(master)


def test_input_at_a_terminal():
    code = """
ticks = []
def tick():
    while len(ticks) < 5:
        gmpx.sleep(0.001)
        ticks.append(1)
    print("ticked", flush=True)
gmpx.go(tick)
print("got", input("name? "), flush=True)
"""
    with at_terminal(code) as (process, say, until):
        assert b"name? " in until(b"ticked")
        say(b"gopher\n")
        until(b"got gopher")
        assert process.wait(PATIENCE) == 0


def test_two_goroutines_ask_at_one_terminal():
    """The one that has lost parks again, instead of waiting for the next line in its thread."""
    code = """
gs = [gmpx.go(input) for _ in range(2)]
while any(g.wait_reason != "IO wait" for g in gs):
    gmpx.gosched()
print("asked", flush=True)
first = next(gmpx.as_completed(gs))
print("first", first.result(), flush=True)
for _ in range(5):
    gmpx.sleep(0.01)                        # on whichever thread they are
    gmpx.map(gmpx.sleep, [0.001] * 4)
print("slept", flush=True)
print("both", sorted(gmpx.gather(*gs)), flush=True)
"""
    with at_terminal(code) as (process, say, until):
        until(b"asked")
        say(b"one\n")
        until(b"first one")
        until(b"slept")
        say(b"two\n")
        until(b"both ['one', 'two']")
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("end", ["asks again", "ends", "ends meanwhile"])
def test_ctrl_c_at_a_terminal_with_readline(end):
    """The terminal is as it was, and what is typed afterwards goes to the next input."""
    pytest.importorskip("readline")
    code = """
import fcntl, readline, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.argv[1] == "ends meanwhile":
    gmpx.go(input, "? ")
    gmpx.sleep(0.5)
    sys.exit()
try:
    input("? ")
except KeyboardInterrupt:
    print("interrupted", flush=True)
if sys.argv[1] == "asks again":
    print("got", input("again? "), flush=True)
"""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [sys.executable, "-c", "import gmpx, gmpx.patch, sys; gmpx.patch.all()\n" + code, end],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    got = b""

    def until_it_says(text):
        nonlocal got
        while text not in got:
            got += read(master, 1000)

    def until_readline_has_it():
        while termios.tcgetattr(slave)[3] == before[3]:
            gmpx.sleep(0.001)

    until_it_says(b"? ")
    until_readline_has_it()
    if end != "ends meanwhile":
        write(master, b"abc")
        until_it_says(b"abc")
        write(master, b"\x03")
        until_it_says(b"interrupted")
    if end == "asks again":
        until_it_says(b"again? ")
        until_readline_has_it()
        write(master, b"gopher\r")
        until_it_says(b"got gopher\r\n")
    assert process.wait(PATIENCE) == 0
    assert termios.tcgetattr(slave) == before
    os.close(slave)
    os.close(master)


def test_a_forks_child_has_streams_that_somebody_waits_in():
    code = """
import multiprocessing, os, warnings
warnings.simplefilter("ignore", DeprecationWarning)     # of forks in a process with threads
def work():
    print("worked", flush=True)
g = gmpx.go(sys.stdin.readline)
while g.wait_reason != "IO wait":
    gmpx.gosched()
process = multiprocessing.get_context("fork").Process(target=work)
process.start()
process.join()
print(process.exitcode, flush=True)
h = gmpx.go(lambda: sys.stderr.write("x" * 300_000))
while h.wait_reason != "IO wait":
    gmpx.gosched()
if not os.fork():
    print("the child", file=sys.stderr, flush=True)
    os._exit(0)
print("forked", flush=True)
print(os.wait()[1], g.result(), flush=True)
h.result()
"""
    with child(code, stderr=subprocess.PIPE) as process:
        assert [process.stdout.readline() for _ in range(3)] == [b"worked\n", b"0\n", b"forked\n"]
        g = go(process.stderr.read)
        process.stdin.write(b"for the parent\n")
        process.stdin.flush()
        assert process.stdout.read() == b"0 for the parent\n\n"
        text = g.result(PATIENCE)
        assert len(text) == 300_010 and b"the child" in text


def test_output_at_exit_is_complete():
    """More than the pipe takes is left to the interpreter's last flush."""
    for code in ("sys.stdout.write('x' * 300_000)", "print('x' * 299_999)\ngmpx.go(print, end='')"):
        with child(code) as process:
            assert len(process.stdout.read()) == 300_000
            assert process.wait(PATIENCE) == 0
