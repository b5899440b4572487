"""Local."""

import gc
import threading
import weakref

import pytest

import gmpx
from gmpx import Chan, Local, go


class Thing:
    pass


def test_each_goroutine_has_its_own():
    mine, c = Local(), Chan()
    mine.x = "main"
    def work(n):
        assert not hasattr(mine, "x")
        mine.x = n
        c.recv()
        return mine.x
    gs = [go(work, n) for n in range(5)]
    for _ in gs:
        c.send(None)
    assert [g.result() for g in gs] == list(range(5)) and mine.x == "main"
    seen = []
    t = threading.Thread(target=lambda: seen.append(hasattr(mine, "x")))
    t.start()
    t.join()
    assert seen == [False]
    del mine.x
    with pytest.raises(AttributeError):
        mine.x
    with pytest.raises(AttributeError, match="no attribute 'x'"):
        del mine.x


def test_they_go_with_the_goroutine_and_with_the_local():
    mine = Local()
    refs = []
    def work(done):
        mine.thing = Thing()
        refs.append(weakref.ref(mine.thing))
        done.send(None)
        done.recv()
    c = Chan()
    g = go(work, c)
    c.recv()
    assert refs[0]() is not None
    c.send(None)
    g.join()                                    # the handle is kept
    assert refs[0]() is None
    mine.thing = Thing()
    ref = weakref.ref(mine.thing)
    del mine, work                              # (work's closure has it, too)
    gc.collect()
    assert ref() is None


def test_a_finalizer_at_the_end_may_use_it():
    mine, said = Local(), []
    class Loud:
        def __del__(self):
            said.append(gmpx.current().name)
    def work():
        mine.loud = Loud()
    go(work).join()
    assert len(said) == 1 and "work" in said[0]


def test_subclass():
    made = []
    class Mine(Local):
        kind = "class"
        def __init__(self, start, *, step=1):
            made.append(start)
            self.n = start
            self.step = step
        @property
        def next(self):
            return self.n + self.step
        @next.setter
        def next(self, value):
            self.n = value - self.step
        __hash__ = None
        def __eq__(self, other):
            return False
    mine = Mine(10, step=5)
    assert (mine.n, mine.next, mine.kind, made) == (10, 15, "class", [10])
    mine.next = 100
    mine.kind = "own"
    assert mine.n == 95 and mine.kind == "own"
    assert go(lambda: (mine.n, mine.kind)).result() == (10, "class")
    assert made == [10, 10]
    assert mine.__dict__ == {"n": 95, "step": 5, "kind": "own"}
    with pytest.raises(AttributeError):
        del mine.next


def test_an_init_that_fails_runs_again():
    class Bad(Local):
        fails = False
        def __init__(self):
            if Bad.fails:
                raise KeyError
            self.ok = True
    bad = Bad()
    Bad.fails = True
    def work():
        with pytest.raises(KeyError):
            bad.ok
        Bad.fails = False
        return bad.ok
    assert go(work).result() is True


def test_bad_input():
    with pytest.raises(TypeError):
        Local(1)
    with pytest.raises(AttributeError, match="read-only"):
        Local().__dict__ = {}
    with pytest.raises(AttributeError, match="read-only"):
        del Local().__dict__
