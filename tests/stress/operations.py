"""Operations of the stress run over what is built on parking: select, locks, timers, groups."""

import sys

import gmpx
from gmpx import context

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class Failure(AssertionError):
    """A conservation check that did not hold."""


def check(condition, text):
    if not condition:
        raise Failure(text)


class Shared:
    """Locks and counters that all parties of an episode use."""

    def __init__(self, rng):
        self.rw = gmpx.RWMutex()
        self.readers = self.writers = 0
        self.units = rng.randint(1, 5)
        self.sem = gmpx.Semaphore(self.units)
        self.taken = 0
        self.cond = gmpx.Cond()
        self.tokens = 0
        self.given = self.got = 0
        self.ctx, self.end_ctx = context.with_cancel(context.background())

    def settle(self):
        check(not self.rw.locked(), "an RWMutex is left locked")
        check(self.sem.free == self.units, f"semaphore: {self.sem.free} of {self.units} units free")
        check(not self.cond.mutex.locked(), "a Cond's mutex is left locked")
        check(self.given == self.got + self.tokens, "tokens lost")
        self.end_ctx()
        check(self.ctx.done().closed and not self.ctx._children, "a context is left")


def select(self, rng, chan):
    """Any number of cases in both directions; at most one of them happens."""
    cases, items = [], {}
    for c in rng.choices(self.chans, k=rng.randint(1, 5)):
        if rng.random() < 0.5:
            cases.append(c)
        else:
            items[len(cases)] = next(self.items)
            cases.append((c, items[len(cases)]))
    if rng.random() < 0.2:
        cases.append(None)
    if rng.random() < 0.2:
        cases.append(gmpx.go(gmpx.gosched))
    happened = -1
    try:
        if rng.random() < 0.2:
            happened, value, ok = gmpx.select(*cases, block=False)
        else:
            happened, value, ok = gmpx.select(
                *cases, timeout=rng.choice([None, 0, 0.0003, 0.002, 0.01]))
    except (TimeoutError, gmpx.ChannelClosed):
        pass
    finally:
        for i, item in items.items():
            (self.ledger.sent if i == happened else self.ledger.kept).append(item)
        # case None and goroutines have no item
        if happened >= 0 and type(cases[happened]) is gmpx.Chan and ok:
            self.ledger.received.append(value)


def read_or_write(self, rng, chan):
    s = self.shared
    try:
        if rng.random() < 0.7:
            s.rw.rlock(timeout=rng.choice([None, None, 0, 0.002]))
            s.readers += 1
            try:
                check(s.writers == 0, "a reader beside a writer")
                if rng.random() < 0.5:
                    gmpx.gosched()
            finally:
                s.readers -= 1
                s.rw.runlock()
        else:
            s.rw.lock(timeout=rng.choice([None, None, 0, 0.002]))
            s.writers += 1
            try:
                check(s.writers == 1 and s.readers == 0, "a writer beside others")
                if rng.random() < 0.5:
                    gmpx.gosched()
                check(s.writers == 1 and s.readers == 0, "a writer beside others")
            finally:
                s.writers -= 1
                s.rw.unlock()
    except TimeoutError:
        pass


def take_units(self, rng, chan):
    s = self.shared
    n = rng.randint(1, s.units)
    try:
        s.sem.acquire(n, timeout=rng.choice([None, None, 0, 0.002]))
    except TimeoutError:
        return
    s.taken += n
    try:
        check(s.taken <= s.units, "more units than there are")
        if rng.random() < 0.5:
            gmpx.gosched()
    finally:
        s.taken -= n
        s.sem.release(n)


def tokens(self, rng, chan):
    """A condition variable: who takes a token has seen one there."""
    s = self.shared
    with s.cond:
        if rng.random() < 0.5:
            s.tokens += 1
            s.given += 1
            s.cond.signal() if rng.random() < 0.7 else s.cond.broadcast()
            return
        try:
            s.cond.wait_for(lambda: s.tokens, timeout=rng.choice([0, 0.0005, 0.003]))
        except TimeoutError:
            return
        finally:
            check(s.cond.mutex.locked(), "Cond.wait came back without its mutex")
        s.tokens -= 1
        s.got += 1


def time_limit(self, rng, chan):
    """What is received in a block whose time is over is received."""
    inner = rng.choice([0, 0.0002, 0.001, 0.005])
    try:
        with gmpx.timeout(rng.choice([0, 0.0005, 0.002, None])):
            with gmpx.timeout(inner):
                rng.choice(LIMITED)(self, rng, chan)
                gmpx.sleep(0.0001)
    except TimeoutError:
        pass


def timers(self, rng, chan):
    kind = rng.randrange(4)
    if kind == 0:
        t = gmpx.Timer(rng.choice([0, 0.0005, 60]))
        if rng.random() < 0.5:
            gmpx.gosched()
        t.stop()
        try:
            t.c.recv_nowait()
            raise Failure("received from a stopped timer")
        except gmpx.WouldBlock:
            pass
    elif kind == 1:
        ran = []
        t = gmpx.after_func(rng.choice([0, 0.0003]), ran.append, 1)
        try:
            gmpx.sleep(0.0004)
        finally:
            if t.stop():
                check(not ran, "a stopped function has run")
    elif kind == 2:
        i, at, ok = gmpx.select(gmpx.Chan(), gmpx.after(rng.choice([0, 0.001])), timeout=60)
        check(i == 1 and ok, "after")
    else:
        ticker = gmpx.Ticker(0.0005)
        try:
            a = ticker.c.recv(timeout=60)
            check(ticker.c.recv(timeout=60) > a, "ticks out of order")
        finally:
            ticker.stop()


def group(self, rng, chan):
    """All children have ended when the block is left, however it is left."""
    state = {"began": 0, "ended": 0}
    seeds = [rng.random() for _ in range(rng.randrange(1, 8))]
    fails = rng.random() < 0.3

    def child(kind):
        state["began"] += 1
        try:
            if kind < 0.3:
                gmpx.gosched()
            elif kind < 0.6:
                gmpx.sleep(0.0003)
            elif kind < 0.7 and fails:
                raise ZeroDivisionError
            elif kind < 0.8:
                with gmpx.Group() as inner:
                    inner.go(gmpx.gosched)
                    inner.go(child, 0.1)
        finally:
            state["ended"] += 1

    try:
        with gmpx.timeout(rng.choice([None, None, 0.0004])):
            with gmpx.Group(rng.choice([None, None, 1, 3])) as grp:
                for kind in seeds:
                    grp.go(child, kind)
                if rng.random() < 0.1:
                    grp.cancel()
    except TimeoutError:
        pass
    except BaseExceptionGroup as e:
        check(e.split(ZeroDivisionError)[1] is None, repr(e))
    finally:
        check(state["began"] == state["ended"], "a Group was left before its children")


def contexts(self, rng, chan):
    ctx, cancel = context.with_timeout(self.shared.ctx, rng.choice([0.0003, 60]))
    kid, cancel_kid = context.with_cancel(ctx)
    try:
        i, v, ok = gmpx.select(kid.done(), chan, timeout=rng.choice([0, 0.001]))
        if i == 1 and ok:
            self.ledger.received.append(v)
        elif i == 0:
            check(kid.err() is not None, "a context's channel closed before its end")
    except TimeoutError:
        pass
    finally:
        cancel()
        cancel_kid()
        check(kid.done().closed and ctx.done().closed, "a cancelled context lives")


def shielded(self, rng, chan):
    """A cancel inside waits for the end of the shield."""
    with gmpx.shield():
        passed = 0
        for _ in range(3):
            gmpx.gosched()
            gmpx.sleep(0.00005)
            passed += 1
        check(passed == 3, "a shield let something through")


def gathers(self, rng, chan):
    n = rng.randrange(1, 8)
    gs = [gmpx.go(self.child, 0.1 * i, False) for i in range(n)]
    kind = rng.randrange(3)
    if kind == 0:
        check(gmpx.gather(*gs) == [0.1 * i for i in range(n)], "gather: wrong values")
    elif kind == 1:
        check({*gmpx.as_completed(gs)} == {*gs}, "as_completed: not each once")
    else:
        done, not_done = gmpx.wait(gs, timeout=rng.choice([None, 0]))
        check(done | not_done == {*gs} and not done & not_done, "wait: not each once")


LIMITED = [read_or_write, take_units, tokens, timers, select]

OPERATIONS = (
    [select] * 5 + [read_or_write, take_units, tokens] * 2
    + [time_limit] * 2 + [timers, group, contexts, shielded, gathers]
)
