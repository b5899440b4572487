"""The kinds of work of the cores cases: pieces that let go of the GIL, or do not, for a known time.

A kind may carry a form after a hyphen: `-parks`, whose tasks have one piece before and one after
a hand-shake with another task, so that each parks once; `-beside`, with two threads that compute
in pure Python beside it.
"""

import hashlib
import os
import threading
import time
import zlib
from dataclasses import dataclass
from typing import NamedTuple

BESIDE = 2
#: What a piece may take beside threads that compute: each way back to the GIL is a switch interval.
BESIDE_US = 10_000
FORMS = ("", "parks", "beside")


def sha(size):
    """SHA-256 lets go of the GIL from 2,048 bytes on."""
    data, sha256 = os.urandom(max(size, 2_048)), hashlib.sha256

    def work(i):
        sha256(data)
        return i

    return work


def squeeze(size):
    data, compress = (os.urandom(4_096) * (size // 4_096 + 1))[:size], zlib.compress

    def work(i):
        compress(data, 1)
        return i

    return work


def nap(us):
    seconds, sleep = us / 1e6, time.sleep

    def work(i):
        sleep(seconds)
        return i

    return work


def steps(size):
    def work(i):
        total = 0
        for k in range(size):
            total += k * k
        return i

    return work


def nothing(size):
    def work(i):
        return i

    return work


def byte(size):
    file, write = os.open(os.devnull, os.O_WRONLY), os.write

    def work(i):
        write(file, b"x")
        return i

    return work


#: The sizes at which a maker's time is taken, of those where size and time are in proportion.
PROBES = {sha: 1 << 16, squeeze: 1 << 16, steps: 2_000}


@dataclass(frozen=True)
class Kind:
    """One kind of work.

    Attributes:
        us: about how long a piece takes.
        make: what makes the function of a size; that is `us` itself where it isn't calibrated.
        frees: whether a piece lets go of the GIL for nearly all of its time.
        text: what a piece is.
    """

    us: float
    make: object
    frees: bool
    text: str

    def work(self, sizes):
        per_us = sizes.get(self.make.__name__, 1)
        return self.make(round(self.us * per_us))


KINDS = {
    **{f"sha{us}": Kind(us, sha, True, f"SHA-256 of about {us} us") for us in (20, 50, 100, 500, 1000)},
    "zlib500": Kind(500, squeeze, True, "zlib.compress of about 500 us"),
    "sleep": Kind(1_000, nap, True, "time.sleep of 1 ms"),
    "noop": Kind(0.1, nothing, False, "a call that does nothing"),
    "py50": Kind(50, steps, False, "pure Python of about 50 us"),
    "py5000": Kind(5_000, steps, False, "pure Python of about 5 ms"),
    "write": Kind(0.5, byte, False, "os.write of one byte to os.devnull"),
}


class Work(NamedTuple):
    """A kind in a form."""

    kind: Kind
    form: str

    @property
    def us(self):
        return max(self.kind.us, BESIDE_US) if self.form == "beside" else self.kind.us

    @property
    def pieces(self):
        """Those of one task."""
        return 2 if self.form == "parks" else 1

    @property
    def text(self):
        tail = {"": "", "parks": ", a park between two", "beside": ", beside two threads that compute"}
        return self.kind.text + tail[self.form]


def all_work():
    """Returns {name: Work} of every kind in every form."""
    return {
        f"{name}-{form}" if form else name: Work(kind, form)
        for name, kind in KINDS.items()
        for form in FORMS
    }


def calibrate():
    """Returns {name of a maker: its size for 1 us}, from the least of some times."""
    return {make.__name__: size / least_us(make(size)) for make, size in PROBES.items()}


def least_us(work):
    times = []
    for _ in range(40):
        begin = time.perf_counter_ns()
        work(0)
        times.append(time.perf_counter_ns() - begin)
    return min(times) / 1e3


def compute_beside():
    """Starts the threads of the form `beside`; they end with the process."""

    def compute():
        while True:
            for _ in range(1_000):
                pass

    for _ in range(BESIDE):
        threading.Thread(target=compute, daemon=True).start()
