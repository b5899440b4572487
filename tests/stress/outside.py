"""Operations of the stress run that are outside, without the GIL: they block the thread, or compute in C.

A piece of work returns its number. They are fanned out in each way that there is: every piece is done exactly
once, and no more of them at a time than a limit allows. What a piece waits for in its thread is done by a
goroutine that has not started, or by a thread: whoever keeps the thread must not keep that.
"""

import hashlib
import os
import threading
import time
import zlib
from contextlib import closing, nullcontext

import gmpx
from gmpx import _core

from operations import check

DATA = os.urandom(1 << 12) * 64
SIZES = [1 << n for n in range(12, 19)]
DIGESTS = {size: hashlib.sha256(DATA[:size]).digest() for size in SIZES}
NULL = os.open(os.devnull, os.O_WRONLY)
WAITS_S = 50
ENDS_S = 15  # a thread that there is too many of has slept for ten seconds then
MOST = 40  # pieces of a fan-out
MOST_WAITING = 5  # of those that wait: each holds a thread, and a pipe


def sleeping(seconds):
    def piece(i):
        before = time.monotonic()
        time.sleep(seconds)
        check(time.monotonic() - before >= seconds, "slept too short")
        return i

    return piece


def hashing(size):
    def piece(i):
        digest = hashlib.sha256(memoryview(DATA)[:size]).digest()
        check(digest == DIGESTS[size], "a wrong digest")
        return i

    return piece


def deflating(size):
    def piece(i):
        check(zlib.decompress(zlib.compress(DATA[i:size], 1)) == DATA[i:size], "a wrong zlib")
        return i

    return piece


def writing(times):
    def piece(i):
        for _ in range(times):
            check(os.write(NULL, b"x") == 1, "a short write")
        return i

    return piece


def by_pipe(i):
    r, w = os.pipe()
    text = b"%d" % i
    g = gmpx.go(os.write, w, text)
    try:
        check(os.read(r, 20) == text, "bytes of another pipe")
    finally:
        with shielded():
            g.join()
            os.close(r)
            os.close(w)
    return i


def by_event(i):
    event = threading.Event()
    if i % 4 == 3:
        threading.Thread(target=event.set).start()
    else:
        gmpx.go(event.set)
    check(event.wait(WAITS_S), "an Event was not set")
    return i


def shielded():
    return gmpx.shield() if _core._parks() else nullcontext()


def pieces(rng):
    """Returns what does a piece of work, and how many of them there may be."""
    kind = rng.randrange(8)
    if kind == 0:
        return sleeping(rng.choice([0.0001, 0.0005, 0.003])), MOST_WAITING
    if kind == 1:
        return by_pipe, MOST_WAITING
    if kind == 2:
        return by_event, MOST_WAITING
    if kind == 3:
        return deflating(rng.choice(SIZES[:4])), MOST
    if kind == 4:
        return writing(rng.choice([1, 1, 10])), MOST
    if kind == 5:
        several = [hashing(SIZES[0]), writing(1), by_event, sleeping(0.0001), hashing(SIZES[-1])]
        return lambda i: several[i % 5](i), 2 * MOST_WAITING
    return hashing(rng.choice(SIZES)), MOST


class Counted:
    """A piece of work that counts how many are under way: list.append and list.pop are atomic."""

    def __init__(self, piece, limit=None):
        self.piece = piece
        self.limit = limit
        self.inside, self.done = [], []

    def __call__(self, i):
        self.inside.append(i)
        try:
            check(self.limit is None or len(self.inside) <= self.limit, "more than the limit")
            value = self.piece(i)
            self.done.append(i)
            return value
        finally:
            self.inside.pop()

    def settle(self, n):
        check(sorted(self.done) == list(range(n)), "a piece was done twice, or never")


def one(self, rng, chan):
    pieces(rng)[0](rng.randrange(8))


def burst(self, rng, chan):
    """By go, from one goroutine or from some that it has spawned."""
    piece, most = pieces(rng)
    work, n = Counted(piece), rng.randint(1, most)

    def spawns(numbers):
        return [gmpx.go(work, i) for i in numbers]

    if rng.random() < 0.7:
        gs = spawns(range(n))
    else:
        gs = sum((gmpx.go(spawns, range(k, n, 3)).result() for k in range(3)), [])
    check(sorted(g.result() for g in gs) == list(range(n)), "go: wrong values")
    work.settle(n)


def mapped(self, rng, chan):
    piece, most = pieces(rng)
    limit = rng.choice([None, 1, 2, 8])
    work, n = Counted(piece, limit), rng.randint(1, most)
    kind = rng.randrange(3)
    if kind == 0:
        found = gmpx.map(work, range(n), limit=limit)
    else:
        with closing(gmpx.imap(work, range(n), limit=limit, ordered=kind == 1)) as values:
            found = list(values)
    check(found == list(range(n)) or kind == 2 and sorted(found) == list(range(n)), "map: wrong values")
    work.settle(n)


def grouped(self, rng, chan):
    piece, most = pieces(rng)
    limit = rng.choice([None, 1, 2, 8])
    work, n = Counted(piece, limit), rng.randint(1, most)
    with gmpx.Group(limit) as group:
        gs = [group.go(work, i) for i in range(n)]
    check([g.result() for g in gs] == list(range(n)), "Group: wrong values")
    work.settle(n)


def workers(self, rng, chan):
    """Some take numbers from a channel and do the work, and send them to another."""
    piece, most = pieces(rng)
    count, n = rng.randint(1, 6), rng.randint(1, most)
    work = Counted(piece, count)
    jobs, results = (gmpx.Chan(rng.choice([0, 1, 8, 50])) for _ in range(2))

    def worker():
        for i in jobs:
            results.send(work(i))

    def feed():
        for i in range(n):
            jobs.send(i)
        jobs.close()

    gs = [gmpx.go(worker) for _ in range(count)]
    gs.append(gmpx.go(feed))
    try:
        check(sorted(results.recv() for _ in range(n)) == list(range(n)), "workers: wrong values")
        for g in gs:
            g.result()
        work.settle(n)
        check(len(results) == 0, "a result is left")
    finally:
        with shielded():
            for g in gs:
                g.cancel()
            for g in gs:
                g.join()


def nothing_is_left(procs):
    """At the end of a run that has had procs Ps at most."""
    for code in gmpx.stats()["outside"]:
        check(code["seconds_a_run"] >= 0 and code["seconds_a_turn"] >= 0, f"outside: {code}")
    end = time.monotonic() + ENDS_S
    while (machines := gmpx.stats()["machines"]) > procs + 2 and time.monotonic() < end:
        gmpx.sleep(0.5)
    check(machines <= procs + 2, f"{machines} threads are left of {procs} Ps")


OPERATIONS = [one, one, burst, burst, mapped, grouped, workers]
FOREIGN = [one, burst, mapped, grouped, workers]
