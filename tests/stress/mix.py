"""Seeded random stress over everything that parks, with conservation checks.

    python tests/stress/mix.py [--seed N] [--seconds S] [--episode N] [--verbose]

A run is a row of short episodes. Each draws a shape from its own seed (how many goroutines,
channels, foreign threads, Ps, which operations), runs it to its end and then checks that nothing
was lost, doubled or left: items, calls, locks, goroutines, counters. An episode that fails or
hangs prints its seed; `--seed N --episode N` runs that one again. The seed fixes the shape and
each party's decisions, not the interleaving.
"""

import argparse
import faulthandler
import gc
import hashlib
import os
import random
import signal
import sys
import threading
import time
from collections import Counter

import gmpx

import askers
import locks
import operations as more
import outside
import tunnels
import tubes
import wires
from operations import Failure, check

HANG_S = 60
EPISODE_OPS = 4000
MOST_PROCS = 40
BLOCK = bytes(64 * 1024)
WARM_UP = 40  # episodes after which nothing may grow
GROWTH_BLOCKS = 5
KEPT_BLOCKS = 6000  # what free lists (4096 goroutines) and idle workers may hold in the end
SHOWN = ("spawned", "parked", "stolen", "m_parks", "m_wakes", "machines")


class Ledger:
    """What was sent, and what came of it. Written by all parties; list.append is atomic."""

    def __init__(self):
        self.sent = []  # items that a send has returned for
        self.kept = []  # items whose send raised: still the sender's
        self.received = []
        self.cancelled = []  # goroutines that ended with Cancelled

    def settle(self, left_over):
        """Each item sent was received once or lies in a buffer; none that was kept was."""
        got = Counter(self.received)
        got.update(left_over)
        doubled = [item for item, n in got.items() if n > 1]
        check(not doubled, f"received twice: {doubled[:5]}")
        sent = set(self.sent)
        check(len(sent) == len(self.sent), "the test sent an item twice")
        lost = sent - got.keys()
        check(not lost, f"lost: {len(lost)} of {len(sent)}, such as {sorted(lost)[:5]}")
        extra = got.keys() - sent
        check(not extra, f"received without a send that succeeded: {sorted(extra)[:5]}")


class Episode:
    """One shape, run once."""

    def __init__(self, seed, procs):
        self.rng = random.Random(seed)
        self.procs = procs
        self.ledger = Ledger()
        self.chans = [
            gmpx.Chan(self.rng.choice([0, 0, 0, 1, 2, 8, 100])) for _ in range(self.pick(1, 6))
        ]
        self.mutexes = [gmpx.Mutex() for _ in range(self.pick(1, 3))]
        self.inside = [0] * len(self.mutexes)
        self.locked_by_cancelled = 0
        self.shared = more.Shared(self.rng)
        self.shared.wires = wires.Wires(self.rng)
        self.shared.tunnels = tunnels.Tunnels(self.rng, self.shared.wires.patched)
        self.shared.tubes = tubes.Tubes(self.rng)
        self.shared.locks = locks.Locks(self.rng)
        self.gate = gmpx.WaitGroup()
        self.items = iter(range(10**9))
        self.started = self.ended = 0
        self.handles = []
        self.victims = set()

    def pick(self, low, high):
        """A number from low to high, small ones likelier."""
        return min(self.rng.randint(low, high), self.rng.randint(low, high))

    # ---- the parties ------------------------------------------------------------------------

    def send(self, rng, chan):
        item = next(self.items)
        timeout = rng.choice([None, None, None, 0, 0.0005, 0.01])
        try:
            if timeout is None and rng.random() < 0.2:
                chan.send_nowait(item)
            else:
                chan.send(item, timeout=timeout)
        except BaseException as error:
            self.ledger.kept.append(item)
            if not isinstance(error, (gmpx.ChannelClosed, gmpx.WouldBlock, TimeoutError)):
                raise
        else:
            self.ledger.sent.append(item)

    def receive(self, rng, chan):
        timeout = rng.choice([None, None, 0, 0.0005, 0.01])
        try:
            if timeout is None and rng.random() < 0.2:
                item = chan.recv_nowait()
            elif rng.random() < 0.3:
                item, ok = chan.recv_ok(timeout=timeout)
                if not ok:
                    return
            else:
                item = chan.recv(timeout=timeout)
        except (gmpx.ChannelClosed, gmpx.WouldBlock, TimeoutError):
            return
        self.ledger.received.append(item)

    def lock(self, rng, chan):
        i = rng.randrange(len(self.mutexes))
        mutex = self.mutexes[i]
        try:
            mutex.acquire(timeout=rng.choice([None, None, 0.01]))
        except TimeoutError:
            return
        try:
            self.inside[i] += 1
            check(self.inside[i] == 1, "two hold one Mutex")
            if rng.random() < 0.5:
                gmpx.gosched()
            check(self.inside[i] == 1, "two hold one Mutex")
        finally:
            self.inside[i] -= 1
            mutex.unlock()

    def spawn_and_join(self, rng, chan):
        value = rng.random()
        g = gmpx.go(self.child, value, rng.random() < 0.2)
        if rng.random() < 0.3:
            seen = []
            g.add_done_callback(seen.append)
        try:
            check(g.result(timeout=rng.choice([None, None, 5])) == value, "wrong result")
        except ZeroDivisionError:
            check(isinstance(g.exception(), ZeroDivisionError), "wrong exception")

    @staticmethod
    def child(value, fail):
        if value < 0.3:
            gmpx.gosched()
        if fail:
            raise ZeroDivisionError
        return value

    def cancel_child(self, rng, chan):
        never = gmpx.Chan()
        g = gmpx.go(never.recv)
        try:
            for _ in range(rng.randrange(3)):
                gmpx.gosched()
        finally:
            check(g.cancel(), "a parked goroutine was called dead")
        try:
            g.result()
        except gmpx.Cancelled:
            self.ledger.cancelled.append(g.id)
        else:
            raise Failure("a cancelled receive returned")

    def fan(self, rng, chan):
        n = rng.randrange(1, 40)
        if rng.random() < 0.5:
            found = gmpx.map(abs, range(-n, 0), limit=rng.choice([None, 1, 3]))
        else:
            found = sorted(gmpx.imap(abs, range(-n, 0), limit=4, ordered=rng.random() < 0.5))
            found.reverse()
        check(found == list(range(n, 0, -1)), "map: wrong values")

    def sleep(self, rng, chan):
        for_s = rng.choice([0, 0.0001, 0.001, 0.003])
        before = time.monotonic()
        gmpx.sleep(for_s)
        check(time.monotonic() - before >= for_s, "slept too short")

    def compute(self, rng, chan):
        kind = rng.randrange(4)
        if kind == 0:
            hashlib.sha256(BLOCK).digest()  # releases the GIL
        elif kind == 1:
            sum(range(rng.randrange(3000)))
        elif kind == 2:
            time.sleep(0.0005)  # blocks the thread
        else:
            os.write(self.pipe, b"x")

    def block(self, rng, chan):
        """Spawns, then blocks the thread for so long that another one runs what was spawned."""
        if rng.random() < 0.03:
            handles = [gmpx.go(self.child, 0.1, False) for _ in range(rng.randrange(1, 30))]
            time.sleep(0.008)
            for g in handles:
                check(g.result() == 0.1, "wrong result")

    def wait_group(self, rng, chan):
        """Counts by hand; several wait, some of them not to the end."""
        wg, seen, waits = gmpx.WaitGroup(), [], rng.choice([None, None, 0.0005])
        n = rng.randrange(1, 6)
        wg.add(n)

        def waiter():
            try:
                wg.wait(timeout=waits)
            except TimeoutError:
                return
            check(len(seen) == n, "WaitGroup.wait returned early")

        def counts(i):
            if i % 2:
                gmpx.gosched()
            seen.append(i)
            wg.done()

        waiters = [gmpx.go(waiter) for _ in range(rng.randrange(3))]
        for i in range(n):
            gmpx.go(counts, i)
        for g in waiters:
            g.result()
        wg.wait()
        check(sorted(seen) == list(range(n)), "WaitGroup: a goroutine ran twice or never")

    def join_another(self, rng, chan):
        """Joins a party, which may be its own, not started, cancelled or long dead."""
        if not self.handles:
            return  # the first runs before the one who spawned it has its handle
        g = rng.choice(self.handles)
        try:
            g.join(timeout=rng.choice([0, 0.0005, 0.002]))
        except TimeoutError:
            return
        except RuntimeError:
            check(g is gmpx.current(), "join refused")
            return
        check(g.done() and g.status == "dead", "join returned before the end")

    def close(self, rng, chan):
        if rng.random() < self.closing:
            try:
                chan.close()
            except gmpx.ChannelClosed:
                pass

    def cancel_another(self, rng, chan):
        if rng.random() < self.cancelling and self.handles:
            g = rng.choice(self.handles)
            self.victims.add(g)  # before: it may end at once
            g.cancel()

    def resize(self, rng, chan):
        if self.procs is None and rng.random() < 0.02:
            gmpx.gomaxprocs(rng.choice([1, 2, 3, 5, MOST_PROCS]))

    def fork(self, rng, chan):
        if not hasattr(os, "fork") or rng.random() > 0.004:
            return
        pid = os.fork()
        if pid:
            with gmpx.shield():  # it may park
                check(os.waitpid(pid, 0)[1] == 0, "a forked child failed")
            return
        status = 1
        try:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            check(gmpx.num_goroutine() == 1, f"goroutines in a child: {gmpx.goroutines()}")
            for c in self.chans:  # where the parent's goroutines wait
                try:
                    while True:
                        c.recv_nowait()
                except (gmpx.WouldBlock, gmpx.ChannelClosed):
                    pass
                if not c.closed:
                    gmpx.go(c.send, pid)
                    check(c.recv(timeout=HANG_S) == pid, "the child received something else")
            wires.in_child()
            askers.in_child()
            check(gmpx.map(abs, range(-20, 0)) == list(range(20, 0, -1)), "map in a child")
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)

    def collect(self, rng, chan):
        if rng.random() < 0.05:
            gc.collect()

    def child_greenlet(self, rng, chan):
        import greenlet

        def inner(a):
            gmpx.gosched()
            self.send(rng, chan)
            return a + 1

        check(greenlet.greenlet(inner).switch(1) == 2, "child greenlet: wrong value")

    def yield_(self, rng, chan):
        gmpx.gosched()

    OPERATIONS = (
        [send] * 6
        + [receive] * 6
        + [lock] * 2
        + [spawn_and_join, cancel_child, fan, sleep, compute, block]
        + [collect, child_greenlet, yield_, wait_group, join_another]
        + [close, cancel_another, resize, fork]
        + more.OPERATIONS
        + wires.OPERATIONS
        + askers.OPERATIONS
        + tunnels.OPERATIONS
        + tubes.OPERATIONS
        + outside.OPERATIONS
        + locks.OPERATIONS
    )

    def party(self, seed, operations):
        rng = random.Random(seed)
        self.started += 1
        try:
            for _ in range(operations):
                rng.choice(self.OPERATIONS)(self, rng, rng.choice(self.chans))
        finally:
            self.ended += 1

    FOREIGN = [send, receive, receive, lock, spawn_and_join, sleep, join_another, wait_group, close]
    FOREIGN += [o for o in more.OPERATIONS if o is not more.shielded]
    FOREIGN += wires.FOREIGN + tunnels.FOREIGN
    FOREIGN += wires.FOREIGN + tubes.FOREIGN
    FOREIGN += outside.FOREIGN + locks.FOREIGN

    def foreign(self, seed, operations, errors):
        rng = random.Random(seed)
        try:
            for _ in range(operations):
                rng.choice(self.FOREIGN)(self, rng, rng.choice(self.chans))
        except BaseException as error:
            errors.append(error)

    # ---- the whole --------------------------------------------------------------------------

    def run(self):
        rng = self.rng
        before = gmpx.num_goroutine()
        counted = gmpx.stats()
        gmpx.gomaxprocs(rng.choice([1, 1, 2, 2, 3, 8]) if self.procs is None else self.procs)
        reader, self.pipe = os.pipe()
        os.set_blocking(self.pipe, False)
        parties = self.pick(1, 200)
        each = max(EPISODE_OPS // parties // 4, 3)
        threads, errors = [], []
        for _ in range(rng.choice([0, 0, 1, 3])):
            args = (rng.random(), each, errors)
            threads.append(threading.Thread(target=self.foreign, args=args))
        self.closing = rng.choice([0, 0, 0, 0.05])
        self.cancelling = rng.choice([0, 0, 0.01, 0.1])
        self.signals = 0
        ticking = hasattr(signal, "setitimer") and rng.random() < 0.2
        if ticking:
            signal.signal(signal.SIGALRM, self.on_signal)
            signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        for _ in range(parties):
            self.handles.append(self.gate.go(self.party, rng.random(), each))
        for thread in threads:
            thread.start()
        for g in self.handles:
            if rng.random() < 0.05:
                self.victims.add(g)
                gmpx.gosched()
                g.cancel()
        if rng.random() < 0.3:
            gmpx.sleep(0.002)
            gmpx.gomaxprocs(rng.choice([1, 2, 4]))
        self.drain(rng, threads)
        if ticking:
            signal.setitimer(signal.ITIMER_REAL, 0)
        check(not errors, f"a foreign thread failed: {errors[:1]!r}")
        for g in self.handles:
            error = g.exception()
            if error is not None and not (g in self.victims and isinstance(error, gmpx.Cancelled)):
                raise error
        os.close(self.pipe)
        os.close(reader)
        left_over = []
        for chan in self.chans:
            left_over += list(chan)
            check(len(chan) == 0, "items in a drained channel")
        self.ledger.settle(left_over)
        for mutex in self.mutexes:
            check(not mutex.locked(), "a Mutex is left locked")
        self.shared.settle()
        self.shared.tunnels.settle()
        self.shared.wires.settle()
        self.shared.tubes.settle()
        self.shared.locks.settle()
        check(self.ended == self.started <= parties, "a party ran twice or did not end")
        check(self.started >= parties - len(self.victims), "a party never ran")
        self.gate.wait(timeout=HANG_S)
        self.counters(before, counted)
        askers.nothing_is_left()
        wires.nothing_is_left()
        if rng.random() < 0.05:
            gmpx.shutdown()  # the next episode starts the runtime anew

    def on_signal(self, signum, frame):
        self.signals += 1
        gmpx.go(int)

    def drain(self, rng, threads):
        """Feeds and empties the channels until all have ended, then closes them.

        Parties wait for ever in some of their operations: somebody has to be the other side.
        """
        while True:
            live = [g for g in self.handles if not g.done()]
            busy = [t for t in threads if t.is_alive()]
            if not live and not busy:
                break
            for chan in self.chans:
                if rng.random() < 0.5:
                    self.feed(chan)
                try:
                    self.ledger.received.append(chan.recv_nowait())
                except (gmpx.WouldBlock, gmpx.ChannelClosed):
                    pass
            self.shared.wires.poke(rng)
            self.shared.tunnels.poke(rng)
            self.shared.tubes.poke(rng)
            if rng.random() < 0.02:
                time.sleep(0.007)  # the main thread stands still: others run what it has queued
            else:
                gmpx.sleep(0.0002)
        for thread in threads:
            thread.join()
        for chan in self.chans:
            if not chan.closed:
                chan.close()

    def feed(self, chan):
        item = next(self.items)
        try:
            chan.send_nowait(item)
        except (gmpx.WouldBlock, gmpx.ChannelClosed):
            self.ledger.kept.append(item)
        else:
            self.ledger.sent.append(item)

    def counters(self, before, counted):
        end = time.monotonic() + 5
        while gmpx.num_goroutine() != before and time.monotonic() < end:
            gmpx.sleep(0.001)  # a done goroutine leaves the list a moment after its joiners wake
        check(gmpx.num_goroutine() == before, f"goroutines left: {gmpx.goroutines()}")
        now = gmpx.stats()
        spawned = now["spawned"] - counted["spawned"]
        finished = now["finished"] - counted["finished"]
        check(spawned == finished, f"{spawned} spawned, {finished} finished")
        check(now["queued"] == 0, "something is still queued")


def watchdog(state):
    """Prints where everything stands when an episode takes too long, and ends the process."""
    while True:
        time.sleep(1)
        if time.monotonic() - state["since"] > HANG_S:
            print(f"HANG: {state['what']}", file=sys.stderr, flush=True)
            faulthandler.dump_traceback(all_threads=True)
            print(gmpx.stats(), file=sys.stderr)
            for g in gmpx.goroutines():
                print(g, g.wait_reason, *g.stack().format()[-2:], file=sys.stderr)
            gmpx.dump(sys.stderr)
            print(state["episode"].shared.wires, file=sys.stderr)
            print(state["episode"].shared.tunnels, file=sys.stderr, flush=True)
            os._exit(3)


def blocks():
    gc.collect()
    return sys.getallocatedblocks()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--episode", type=int, help="run this one alone, once")
    parser.add_argument("--procs", type=int, help="gomaxprocs, instead of a random one")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    faulthandler.enable()
    wires.nothing_is_left()
    wires.many_descriptors()
    unread = []
    gmpx.excepthook = lambda g, error: unread.append((g.id, error))
    state = {"since": time.monotonic(), "what": ""}
    threading.Thread(target=watchdog, args=(state,), daemon=True).start()
    end = time.monotonic() + options.seconds
    warm = 0
    number = options.episode if options.episode is not None else 0
    while True:
        what = f"--seed {options.seed} --episode {number}"
        state.update(since=time.monotonic(), what=what)
        if options.verbose:
            print(what, flush=True)
        try:
            state["episode"] = Episode(f"{options.seed}:{number}", options.procs)
            state["episode"].run()
            # a party that is cancelled leaves its child's ZeroDivisionError unread
            odd = [e for _, e in unread if not isinstance(e, ZeroDivisionError)]
            check(not odd, f"exceptions that nobody read: {odd[:3]!r}")
        except BaseException:
            print(f"FAILED: {what}", file=sys.stderr, flush=True)
            raise
        number += 1
        if number == WARM_UP:
            warm = blocks()
        if options.episode is not None or time.monotonic() >= end:
            break
    unread.clear()
    outside.nothing_is_left(MOST_PROCS if options.procs is None else max(options.procs, 4))
    if number >= 4 * WARM_UP and options.episode is None:
        grown = (blocks() - warm) / (number - WARM_UP)
        print(f"{grown:.1f} memory blocks more for each episode")
        check(grown - KEPT_BLOCKS / (number - WARM_UP) < GROWTH_BLOCKS, "memory grows")
    sums = gmpx.stats()
    print(f"{number} episodes, nothing lost:", *(f"{key} {sums[key]}" for key in SHOWN))


if __name__ == "__main__":
    main()
