"""Operations of the stress run on CPython's own locks, queues and locals, patched.

Goroutines hold the locks while they park; foreign threads take them, too. At most as many are inside as may be,
what goes into a queue comes out of it once, a threading.local is its goroutine's.
"""

import queue
import threading
from itertools import count
from random import Random

import gmpx
from gmpx import _core, patch

from operations import check

WAITS_S = 50
GROUPS = ("threading", "queue")


class Guard:
    """A lock, and how many are inside: list.append and list.pop are atomic."""

    def __init__(self, lock, most=1):
        self.lock, self.most = lock, most
        self.inside = []

    def hold(self, rng):
        self.inside.append(None)
        try:
            check(len(self.inside) <= self.most, f"{len(self.inside)} inside of {self.lock!r}")
            pause(rng)
        finally:
            self.inside.pop()


class Locks:
    """What the parties of an episode share."""

    def __init__(self, rng):
        self.patched = rng.random() < 0.7
        self.guards = [
            Guard(threading.Lock()),  # made before the patch
            Guard(threading.RLock()),
            Guard(threading.Semaphore(2), 2),
            Guard(threading.Condition()),
        ]
        self.queues = [queue.SimpleQueue(), queue.Queue(), queue.LifoQueue(3)]
        self.put = [[] for _ in self.queues]
        self.got = [[] for _ in self.queues]
        self.local = threading.local()
        self.numbers = count()
        self.cond = threading.Condition()
        self.tokens = 0
        if self.patched:
            for group in GROUPS:
                getattr(patch, group)()

    def settle(self):
        if not self.patched:
            return
        for guard in self.guards:
            check(not guard.inside, f"somebody is inside of {guard.lock!r}")
            check(guard.lock.acquire(blocking=False), f"nobody is inside of {guard.lock!r}")
            guard.lock.release()
        for q, put, got in zip(self.queues, self.put, self.got):
            while True:
                try:
                    got.append(q.get(block=False))
                except queue.Empty:
                    break
            lost, made = set(put) - set(got), set(got) - set(put)
            check(not lost and not made and len(got) == len(set(got)), f"{q!r}: lost {lost}, made up {made}")
        patch.undo(*GROUPS)


def pause(rng):
    kind = rng.randrange(6)
    if kind == 0:
        gmpx.sleep(rng.choice([0, 0.0002]))
    elif kind < 3:
        gmpx.gosched()


def takes(self, rng, chan):
    locks = self.shared.locks
    if not locks.patched:
        return
    guard = rng.choice(locks.guards)
    if rng.random() < 0.5:
        with guard.lock:
            guard.hold(rng)
        return
    kwargs = rng.choice([{"blocking": False}, {"timeout": 0.0003}, {"timeout": WAITS_S}])
    taken = guard.lock.acquire(**kwargs)
    check(taken or kwargs.get("timeout") != WAITS_S, f"{guard.lock!r} was not to be had")
    if taken:
        try:
            guard.hold(rng)
        finally:
            guard.lock.release()


def nests(self, rng, chan):
    locks = self.shared.locks
    if not locks.patched:
        return
    guard = locks.guards[1]
    with guard.lock:
        check(guard.lock._is_owned(), "an RLock is not its holder's")
        pause(rng)
        with guard.lock:
            guard.hold(rng)
        pause(rng)
        guard.hold(rng)


def queues(self, rng, chan):
    locks = self.shared.locks
    if not locks.patched:
        return
    k = rng.randrange(len(locks.queues))
    q, item = locks.queues[k], next(locks.numbers)
    # with the item goes its note: a cancel comes before both, or after
    with shielded():
        try:
            q.put(item, timeout=rng.choice([0.001, 0.01]))
            locks.put[k].append(item)
        except queue.Full:
            return
    pause(rng)
    with shielded():
        try:
            locks.got[k].append(q.get(timeout=rng.choice([0.0005, 0.01, 0.05])))
        except queue.Empty:
            pass


def waits(self, rng, chan):
    """One for whom another is notified: the tokens are as many as the notifications."""
    locks = self.shared.locks
    if not locks.patched:
        return
    if rng.random() < 0.5:
        with locks.cond:
            locks.tokens += 1
            locks.cond.notify()
        return
    with locks.cond:
        if locks.cond.wait_for(lambda: locks.tokens > 0, timeout=rng.choice([0.0005, 0.005])):
            locks.tokens -= 1
            check(locks.tokens >= 0, "a token twice")
        check(locks.cond._is_owned(), "a Condition.wait without its lock")


def remembers(self, rng, chan):
    locks = self.shared.locks
    if not locks.patched or not _core._parks():
        return
    mine = next(locks.numbers)
    before = getattr(locks.local, "x", None)
    check(before is None or before[0] == gmpx.current().id, f"another's local: {before}")
    locks.local.x = gmpx.current().id, mine
    for _ in range(rng.randrange(3)):
        pause(rng)
    check(locks.local.x == (gmpx.current().id, mine), "a local has changed")


def handed(self, rng, chan):
    """A lock is taken by one and released by another."""
    locks = self.shared.locks
    if not locks.patched:
        return
    lock = threading.Lock()
    lock.acquire()
    other = Random(rng.random())

    def release():
        pause(other)
        lock.release()

    with shielded():
        if rng.random() < 0.8:
            gmpx.go(release)
        else:
            threading.Thread(target=release).start()
        check(lock.acquire(timeout=WAITS_S), "a release was lost")


def shielded():
    return gmpx.shield()


OPERATIONS = [takes, takes, nests, queues, queues, waits, remembers, handed]
FOREIGN = [takes, nests, queues, waits, handed]
