"""Operations of the stress run over pipes and children, patched.

A pipe has a byte value of its own; what was written, what was read and what is left must agree. Writes are
no longer than PIPE_BUF: a cancel finds all of one written, or nothing. Lines go through one buffered file
for all. A child gives back what it was told, whatever becomes of who waits for it; none is left.
"""

import errno
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import gmpx
from gmpx import _core, patch

from operations import check

PIPE_BUF = 4096
SIZES = [1, 1, 100, PIPE_BUF]
CHILDREN = 0.02  # of the operations over them: each takes milliseconds
SETTLE_S = 20


class Pipe:
    def __init__(self, tag):
        self.tag = tag
        self.r, self.w = os.pipe()
        self.written, self.read = [], []

    def take(self, data):
        check(not data.strip(self.tag), f"bytes of another file: {data[:20]!r}")
        self.read.append(len(data))

    def settle(self):
        os.set_blocking(self.r, False)
        with suppress(BlockingIOError):
            while True:
                self.take(os.read(self.r, 1 << 16))
        written, read = sum(self.written), sum(self.read)
        check(written == read, f"pipe: {written} bytes written, {read} read")
        os.close(self.r)
        os.close(self.w)


class Tubes:
    """What the parties of an episode share."""

    def __init__(self, rng):
        self.patched = hasattr(os, "readv") and rng.random() < 0.7
        self.nowait = _core._nowait()
        self.pipes = []
        self.readers = self.writers = 0
        if not self.patched:
            return
        patch.os()
        patch.subprocess()
        _core._nowait(self.nowait and rng.random() < 0.6)
        self.pipes = [Pipe(bytes([65 + i])) for i in range(rng.randint(1, 3))]
        r, w = os.pipe()
        self.reader, self.writer = open(r, "rb"), open(w, "wb")
        self.lines = {}  # line -> how often written less how often read
        self.numbers = iter(range(10**9))

    def poke(self, rng):
        """The other side of whoever waits for ever. Called by the main goroutine; never waits long."""
        for pipe in self.pipes:
            with suppress(TimeoutError), gmpx.timeout(0.001):
                if rng.random() < 0.7 and select.select([], [pipe.w], [], 0)[1]:
                    pipe.written.append(os.write(pipe.w, pipe.tag))
            with suppress(TimeoutError), gmpx.timeout(0.001):
                if rng.random() < 0.7 and select.select([pipe.r], [], [], 0)[0]:
                    pipe.take(os.read(pipe.r, 1 << 16))
        if self.readers:
            gmpx.go(self.write_line)
        elif self.writers:
            gmpx.go(self.read_line)

    def write_line(self):
        line = b"%d " % next(self.numbers) * 20 + b"\n"
        with gmpx.shield():
            self.lines[line] = 1
            self.writers += 1
            self.writer.write(line)
            self.writer.flush()
            self.writers -= 1

    def read_line(self):
        with gmpx.shield():
            self.readers += 1
            line = self.reader.readline()
            self.readers -= 1
            check(line in self.lines, f"no line that was written: {line!r}")
            self.lines[line] -= 1

    def settle(self):
        if not self.patched:
            return
        for pipe in self.pipes:
            pipe.settle()
        self.writer.close()
        for line in self.reader:
            self.lines[line] -= 1
        self.reader.close()
        check(not any(self.lines.values()), f"lines lost or doubled: {self.lines}")
        patch.undo("os", "subprocess")
        _core._nowait(self.nowait)
        end = time.monotonic() + SETTLE_S
        while children() and time.monotonic() < end:
            # who is cancelled twice leaves a child that it has killed; subprocess sees to it
            # when the Popen object goes, which a goroutine's traceback still has
            for pid in children():
                os.waitpid(int(pid), os.WNOHANG)
            gmpx.sleep(0.001)
        left = [Path(f"/proc/{pid}/status").read_text().split()[:6] for pid in children()]
        check(not left, f"children are left: {left}")


def children():
    found = []
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended
            found += task.read_text().split()
    return found


def limited(rng):
    return gmpx.timeout(rng.choice([None, None, 0.0004, 0.002]))


def write(self, rng, chan):
    tubes = self.shared.tubes
    if tubes.patched:
        pipe = rng.choice(tubes.pipes)
        data = pipe.tag * rng.choice(SIZES)
        with suppress(TimeoutError), limited(rng):
            n = os.writev(pipe.w, [data, b""]) if rng.random() < 0.2 else os.write(pipe.w, data)
            pipe.written.append(n)
            check(n == len(data), "a short write")


def read(self, rng, chan):
    tubes = self.shared.tubes
    if tubes.patched:
        pipe = rng.choice(tubes.pipes)
        with suppress(TimeoutError), limited(rng):
            if rng.random() < 0.2:
                buffer = bytearray(100)
                pipe.take(bytes(buffer[: os.readv(pipe.r, [buffer])]))
            else:
                pipe.take(os.read(pipe.r, rng.choice([1, 5000, 1 << 20])))


def line(self, rng, chan):
    tubes = self.shared.tubes
    if tubes.patched:
        rng.choice([tubes.write_line, tubes.read_line])()


def close_pipe_under(self, rng, chan):
    """Closes a pipe's end on which others wait: each of them is told."""
    if not self.shared.tubes.patched:
        return
    r, w = os.pipe()
    file = os.fdopen(r, "rb", buffering=0)
    waits = [lambda: os.read(r, 10), lambda: os.readv(r, [bytearray(5)]), lambda: file.read(5)]
    gs = [gmpx.go(rng.choice(waits)) for _ in range(rng.randrange(1, 5))]
    with gmpx.shield():
        while any(g.status != "waiting" for g in gs):
            gmpx.gosched()
        file.close()
        os.close(w)
        for g in gs:
            error = g.exception()
            check(getattr(error, "errno", 0) == errno.EBADF, f"closed under: {error!r}")


def child(self, rng, chan):
    if not self.shared.tubes.patched or rng.random() > CHILDREN:
        return
    with suppress(TimeoutError), limited(rng):
        rng.choice([run, echo, stubborn, spawned, shell])(rng)


def run(rng):
    n = rng.randrange(100)
    done = subprocess.run(["sh", "-c", f"exit {n}"], preexec_fn=rng.choice([None, None, int]))
    check(done.returncode == n, f"exit code {done.returncode}, not {n}")


def echo(rng):
    data = os.urandom(rng.choice([1, 5000, 200_000]))
    done = subprocess.run(["cat"], input=data, capture_output=True)
    check(done.stdout == data and done.stderr == b"", "cat gave back something else")


def stubborn(rng):
    with subprocess.Popen(["sleep", "100"]) as process:
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(rng.choice([0, 0.001, 0.005]))
                check(False, "a sleep of 100 seconds has ended")
        finally:
            process.kill()
    check(process.returncode == -signal.SIGKILL, f"killed: {process.returncode}")


def spawned(rng):
    n = rng.randrange(100)
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", f"exit {n}"], os.environ)
    try:
        status = os.wait4(pid, 0)[1] if rng.random() < 0.5 else os.waitpid(pid, 0)[1]
    except BaseException:
        with gmpx.shield():
            os.waitpid(pid, 0)
        raise
    check(status == n << 8, f"status {status}, not {n}")


def shell(rng):
    n = rng.randrange(100)
    with gmpx.shield():  # else its thread and its child go on
        check(os.system(f"exit {n}") == n << 8, "os.system")


OPERATIONS = [write] * 2 + [read] * 2 + [line, close_pipe_under, child]
FOREIGN = [write, read]
