"""os.read, os.write and their like on pipes, FIFOs, sockets and terminals, patched."""

import errno
import io
import os
import pty
import select
import shutil
import socket
import termios
import time
import tty
from os import read, readv, write, writev

import pytest

import gmpx
import gmpx.patch
from gmpx import Cancelled, go
from gmpx._core import _nowait
from two_ends import PATIENCE, error_of, fill

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


def test_nothing_is_read_without_parking(ends):
    assert read(ends.r, 0) == b""
    assert readv(ends.r, [bytearray()]) == 0
    with open(ends.r, "rb", buffering=0, closefd=False) as file:
        assert file.read(0) == b"" and file.readinto(bytearray()) == 0


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


# ---- from one to the other -------------------------------------------------------------------


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
