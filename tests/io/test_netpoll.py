"""Waiting for descriptors: wait_readable, wait_writable, notify_closing (rt/io/netpoll.pxi)."""

import errno
import os
import resource
import socket
import threading
import time

import pytest

import gmpx
from gmpx import Cancelled, go
from gmpx.io import notify_closing, wait_readable, wait_writable

PATIENCE = 20


@pytest.fixture
def pipe():
    r, w = os.pipe()
    yield r, w
    for fd in (r, w):
        try:
            os.close(fd)
        except OSError:
            pass


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    with a, b:
        yield a, b


def ended(g):
    g.join(PATIENCE)
    return g.exception()


def test_waits_until_there_is_something_to_read(pipe, parked):
    g = go(lambda: (wait_readable(pipe[0]), os.read(pipe[0], 9))[1])
    parked(g, reason="IO wait")
    os.write(pipe[1], b"x")
    assert g.result(PATIENCE) == b"x"


def test_returns_at_once_where_it_is_ready(pair):
    pair[1].send(b"x")
    wait_readable(pair[0])
    wait_writable(pair[0], PATIENCE)
    with open(__file__) as regular:
        wait_readable(regular)
        wait_writable(regular, timeout=0)


def test_the_same_descriptor_again_and_again(pipe):
    def reader():
        return [(wait_readable(pipe[0], PATIENCE), os.read(pipe[0], 1))[1] for _ in range(200)]

    g = go(reader)
    for i in range(200):
        os.write(pipe[1], bytes([i]))
        if i % 3:
            gmpx.gosched()
    assert g.result(PATIENCE) == [bytes([i]) for i in range(200)]


def test_readers_and_writers_of_one_descriptor(pair, parked):
    a, b = pair
    a.setblocking(False)
    try:
        while True:
            a.send(b"z" * 4096)
    except BlockingIOError:
        pass
    readers = [go(wait_readable, a) for _ in range(3)]
    writers = [go(wait_writable, a) for _ in range(3)]
    parked(*readers, *writers, reason="IO wait")
    b.send(b"x")
    assert [ended(g) for g in readers] == [None] * 3
    parked(*writers, reason="IO wait")
    b.setblocking(False)
    try:
        while b.recv(1 << 16):
            pass
    except BlockingIOError:
        pass
    assert [ended(g) for g in writers] == [None] * 3


def test_the_end_of_the_peer_is_readable(pair, parked):
    g = go(wait_readable, pair[0])
    parked(g)
    pair[1].close()
    assert ended(g) is None


def test_time_outs(pipe):
    for timeout in (0, 0.01):
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match="timed out"):
            wait_readable(pipe[0], timeout)
        assert time.monotonic() - begun >= timeout
    g = go(wait_readable, pipe[0], 0.01)
    assert isinstance(ended(g), TimeoutError)
    with pytest.raises(TimeoutError), gmpx.timeout(0.01):
        wait_readable(pipe[0])


def test_cancel_leaves_the_descriptor_usable(pipe, parked):
    g = go(wait_readable, pipe[0])
    parked(g)
    g.cancel()
    assert isinstance(ended(g), Cancelled)
    os.write(pipe[1], b"x")
    wait_readable(pipe[0], PATIENCE)


def test_closing_wakes_who_waits(pair, parked):
    g, h = go(wait_readable, pair[0]), go(wait_readable, pair[0])
    parked(g, h)
    notify_closing(pair[0])
    for error in map(ended, (g, h)):
        assert isinstance(error, OSError)
        assert error.errno == errno.EBADF
        assert f"descriptor {pair[0].fileno()} was closed" in str(error)


def test_a_number_that_another_file_has_now(pipe, parked):
    r, w = pipe
    g = go(wait_readable, r, 0.01)
    assert isinstance(ended(g), TimeoutError)
    keep = os.dup(r)  # the old file lives on, and is still registered
    notify_closing(r)
    os.close(r)
    r2, w2 = os.pipe()
    os.dup2(r2, r)
    g = go(wait_readable, r)
    parked(g)
    os.write(w, b"old")
    for _ in range(50):
        gmpx.sleep(0.0002)
    assert g.status == "waiting"
    os.write(w2, b"new")
    assert ended(g) is None
    for fd in (keep, r2, w2):
        os.close(fd)


@pytest.mark.parametrize("fd", [-1, True, 1.5, "0", None])
def test_bad_descriptors(fd):
    for wait in (wait_readable, wait_writable, notify_closing):
        with pytest.raises((TypeError, ValueError)):
            wait(fd)


def test_descriptors_that_are_not_there():
    r, w = os.pipe()
    os.close(r)
    os.close(w)
    for fd in (r, 10_000_000):
        for timeout in (0, None):
            with pytest.raises(OSError) as caught:
                wait_readable(fd, timeout)
            assert caught.value.errno == errno.EBADF


def test_foreign_threads(pipe, in_thread, until):
    threads = [in_thread(wait_readable, pipe[0], PATIENCE) for _ in range(3)]
    os.write(pipe[1], b"x")
    for thread in threads:
        thread.value()


def test_a_goroutine_of_another_m_waits_too(pair, on_other_m, parked):
    a, b = pair
    mine = go(wait_readable, a)
    parked(mine)
    other = on_other_m(wait_readable, a)
    until_waiting = time.monotonic() + PATIENCE
    while other.wait_reason != "IO wait" and time.monotonic() < until_waiting:
        gmpx.gosched()
    b.send(b"x")
    assert ended(mine) is None
    assert ended(other) is None
    again = go(wait_readable, a)
    assert ended(again) is None


def test_an_event_reaches_an_m_that_is_busy_elsewhere(pipe, on_other_m):
    """The main thread computes without a look into its poller: sysmon looks (NP5)."""
    woken = []

    def wait_in_vain():
        wait_readable(pipe[0])
        woken.append(time.monotonic())

    g = go(wait_in_vain)
    while g.wait_reason != "IO wait":
        gmpx.gosched()
    threading.Timer(0.05, os.write, (pipe[1], b"x")).start()
    end = time.monotonic() + PATIENCE
    while g.status == "waiting" and time.monotonic() < end:
        time.sleep(0.001)
    assert g.status != "waiting"  # readied; by its own M, if another one has taken it
    assert ended(g) is None


def test_the_deadlock_detector_counts_it_as_life(pipe):
    threading.Timer(0.5, os.write, (pipe[1], b"x")).start()
    g = go(wait_readable, pipe[0])
    assert g.join() is None
    wait_readable(pipe[0])


def test_twenty_thousand_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = 20_000
    if hard != resource.RLIM_INFINITY and hard < want:
        pytest.skip(f"only {hard} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, want), hard))
    fds = []
    try:
        while len(fds) < want - 100:  # the rest is for the process itself
            fds += os.pipe()
        gs = [go(wait_readable, r) for r in fds[::2]]
        while gs[-1].wait_reason != "IO wait":
            gmpx.gosched()
        for w in fds[1::2]:
            os.write(w, b"x")
        for g in gs:
            assert ended(g) is None
    finally:
        for fd in fds:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
