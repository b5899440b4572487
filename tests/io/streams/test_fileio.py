"""io's files over pipes and FIFOs, patched."""

import io
import os
from os import read, write

import pytest

import gmpx
from gmpx import Cancelled, go
from two_ends import PATIENCE, error_of, fill

pytestmark = pytest.mark.in_order  # who comes first to a file has its lock


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
