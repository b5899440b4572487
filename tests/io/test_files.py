"""gmpx.io.open: files on spare threads."""

import os
import select

import pytest

import gmpx
import gmpx.io
from gmpx import Cancelled, go

PATIENCE = 20


def test_as_open_does(tmp_path):
    path = tmp_path / "f"
    with gmpx.io.open(path, "w+", encoding="utf-8", newline="\n") as f:
        assert f.write("één\ntwo\n") == 8
        f.writelines(c + "\n" for c in "ab")
        f.flush()
        assert f.seek(0) == 0
        assert f.readline() == "één\n"
        assert list(f) == ["two\n", "a\n", "b\n"]
        f.seek(0)
        assert f.readlines() == ["één\n", "two\n", "a\n", "b\n"]
        assert f.encoding == "utf-8" and f.name == str(path) and not f.closed
        assert "gmpx.io.File" in repr(f)
    assert f.closed
    for call in (f.read, f.__enter__):
        with pytest.raises(ValueError, match="closed file"):
            call()
    with gmpx.io.open(path, "rb") as f:
        buffer = bytearray(3)
        assert f.peek(1)[:1] == "é".encode()[:1]
        assert f.readinto(buffer) == 3 and f.readinto1(buffer) == 3 and f.tell() == 6
        assert f.read1(3) == b"two" and f.read() == b"\na\nb\n"
    with gmpx.io.open(path, "rb+", buffering=0) as f:
        assert f.truncate(4) == 4
        assert f.readall() == "één".encode()[:4]
    with pytest.raises(FileNotFoundError):
        gmpx.io.open(tmp_path / "g")


def test_one_call_after_the_other(tmp_path):
    with gmpx.io.open(tmp_path / "f", "w+") as f:
        gmpx.map(f.write, [f"{i:05}\n" * 100 for i in range(50)])
        f.seek(0)
        lines = f.readlines()
    assert len(lines) == 5000
    assert all(len(set(lines[i : i + 100])) == 1 for i in range(0, 5000, 100))


def test_a_fifo_whose_other_end_comes_late(tmp_path, parked):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    g = go(gmpx.io.open, path)
    parked(g, reason="blocking call")
    with gmpx.io.open(path, "w") as w, g.result(PATIENCE) as r:
        reading = go(r.read)
        parked(reading)
        w.write("hello")
        w.close()
        assert reading.result(PATIENCE) == "hello"


def test_a_cancelled_call_goes_on_and_keeps_the_others_out(parked, until):
    r, w = os.pipe()
    os.write(w, b"ab")
    with gmpx.io.open(r, "rb") as f:
        g = go(f.read, 3)
        until(lambda: not select.select([r], [], [], 0)[0])  # it has begun
        parked(g)
        g.cancel()
        g.join(PATIENCE)
        assert isinstance(g.exception(), Cancelled)
        waits = go(f.read, 3)
        parked(waits)
        os.write(w, b"cdef")
        assert waits.result(PATIENCE) == b"def"
        os.close(w)
