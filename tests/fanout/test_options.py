"""map and imap with rate, retry, item_timeout, on_error, budget, with_input, blocking: on virtual time."""

import functools
import gc
import itertools
import math
import random
import threading
import time
import weakref

import pytest

import gmpx
from gmpx import Failure, Limiter, Retry
from gmpx.testing import explore


def eager_map(fn, *iterables, **options):
    return gmpx.map(fn, *iterables, **options)


def lazy(fn, *iterables, **options):
    return list(gmpx.imap(fn, *iterables, **options))


def lazy_unordered(fn, *iterables, **options):
    return list(gmpx.imap(fn, *iterables, ordered=False, **options))


every = pytest.mark.parametrize("fan", [eager_map, lazy, lazy_unordered])
in_order = pytest.mark.parametrize("fan", [eager_map, lazy])


def square(n):
    return n * n


# ---- rate ------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("limit", [None, 2, 100])
def test_rate(virtual, fan, limit):
    at = []
    got = fan(lambda i: at.append(virtual.elapsed) or i, range(10), rate=Limiter(10, burst=3), limit=limit)
    assert sorted(got) == list(range(10))
    assert at == [pytest.approx(max(i - 2, 0) / 10) for i in range(10)]


def test_a_rate_without_a_limit_parks_nobody_but_the_caller(virtual):
    most = [0]

    def body(i):
        most[0] = max(most[0], gmpx.num_goroutine())

    gmpx.map(body, range(200), rate=Limiter(10))
    assert most[0] <= 4, "main, the one that runs, one that waits for a token"
    assert virtual.elapsed == pytest.approx(19.9)


def test_one_limiter_for_several_maps_a_group_and_others(virtual):
    limiter, at = Limiter(10), []

    def body(i):
        at.append(virtual.elapsed)

    gs = [
        gmpx.go(eager_map, body, range(10), rate=limiter),
        gmpx.go(eager_map, body, range(10), rate=limiter, limit=3),
        gmpx.go(lazy, body, range(10), rate=limiter, limit=3),
    ]
    with gmpx.Group(rate=limiter) as group:
        for i in range(10):
            group.go(body, i)
    for g in gs:
        g.join()
    assert at == [pytest.approx(i / 10) for i in range(40)]


@pytest.mark.parametrize("limit", [None, 2])
def test_a_failure_is_not_kept_back_by_the_rate(virtual, limit):
    def body(i):
        gmpx.sleep(1)
        raise KeyError(i)

    with pytest.raises(KeyError):
        gmpx.map(body, range(10), rate=Limiter(1, per=100), limit=limit)
    assert virtual.elapsed == 1
    limiter = Limiter(1, per=100)
    with pytest.raises(TimeoutError):
        gmpx.map(square, range(10), rate=limiter, limit=limit, timeout=150)
    assert virtual.elapsed == 151
    limiter.acquire()
    assert virtual.elapsed == 201, "those that gave up have taken none"


def test_every_attempt_takes_a_token(virtual):
    at = []

    def body(i):
        at.append(virtual.elapsed)
        raise KeyError(i)

    got = gmpx.map(body, "ab", rate=Limiter(1), retry=Retry(3, backoff=0), on_error="return")
    assert [f.attempts for f in got] == [3, 3]
    assert sorted(at) == [0, 1, 2, 3, 4, 5]


# ---- retry -----------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("options", [{}, {"item_timeout": 100}, {"limit": 3}, {"rate": Limiter(1e9)}])
def test_retry(virtual, fan, options):
    seen = []

    def body(i):
        seen.append(i)
        if seen.count(i) <= i % 3:
            raise KeyError(i)
        return i

    got = fan(body, range(9), retry=Retry(3, on=KeyError, backoff=1, jitter=None), **options)
    assert sorted(got) == list(range(9))
    assert sorted(seen) == sorted(i for i in range(9) for _ in range(i % 3 + 1))


@every
def test_what_is_tried_in_vain_is_raised(virtual, fan, hook):
    def body(i):
        if i == 2:
            raise KeyError(i)
        gmpx.sleep(1000)

    with pytest.raises(KeyError) as e:
        fan(body, [2, 0, 1], retry=Retry(4, backoff=1, factor=1, jitter=None))
    assert virtual.elapsed == 3 and hook == []
    assert "attempt 3: KeyError: 2" in "".join(e.value.__notes__)


def test_a_retrys_deadline_counts_the_wait_for_tokens(virtual):
    def body(i):
        raise KeyError(i)

    (got,) = gmpx.map(body, [1], rate=Limiter(1, per=10), retry=Retry(9, deadline=25, backoff=0), on_error="return")
    assert got.attempts == 3 and virtual.elapsed == 25
    assert "attempt 3 of 9; the next attempt would have begun after 25.0 s" in got.exception.__notes__[0]
    assert "attempt 2: KeyError: 1" in got.exception.__notes__[0] and "attempt 3: " not in got.exception.__notes__[0]


# ---- item_timeout ----------------------------------------------------------------------------


@in_order
def test_item_timeout(virtual, fan):
    got = fan(gmpx.sleep, [1, 100, 2], item_timeout=5, on_error="return")
    assert got[0] is None and got[2] is None
    assert type(got[1].exception) is TimeoutError and got[1].item == 100
    assert virtual.elapsed == 5
    with pytest.raises(TimeoutError, match="timed out after 5"):
        fan(gmpx.sleep, [1, 100, 2], item_timeout=5)
    assert virtual.elapsed == 10


def test_item_timeout_is_for_all_attempts_and_pauses(virtual):
    def body(i):
        gmpx.sleep(2)
        raise KeyError(i)

    (got,) = gmpx.map(body, [1], item_timeout=9, retry=Retry(None, backoff=1, factor=1, jitter=None), on_error="return")
    assert type(got.exception) is TimeoutError and got.attempts == 4 and virtual.elapsed == 9


def test_item_timeout_does_not_count_the_wait_for_tokens(virtual):
    assert gmpx.map(gmpx.sleep, [1] * 5, item_timeout=2, rate=Limiter(1, per=100)) == [None] * 5
    assert list(gmpx.imap(gmpx.sleep, [1] * 5, item_timeout=2, rate=Limiter(1, per=100))) == [None] * 5

    def body(i):
        gmpx.sleep(1)
        raise KeyError(i)

    began = virtual.elapsed
    (got,) = gmpx.map(
        body, [1], item_timeout=3.5, rate=Limiter(1, per=100), retry=Retry(None, backoff=0), on_error="return"
    )
    assert type(got.exception) is TimeoutError and got.attempts == 4
    assert virtual.elapsed - began == pytest.approx(300.5)


def test_the_whole_may_time_out_before_an_item(virtual):
    with pytest.raises(TimeoutError):
        gmpx.map(gmpx.sleep, [100] * 3, item_timeout=50, timeout=20, on_error="return")
    assert virtual.elapsed == 20


# ---- on_error, with_input --------------------------------------------------------------------


@in_order
def test_failures_as_values(virtual, fan, hook):
    got = fan(lambda i: 6 // i, [1, 0, 3], on_error="return")
    assert got[0] == 6 and got[2] == 2
    failure = got[1]
    assert type(failure) is Failure and type(failure.exception) is ZeroDivisionError
    assert (failure.item, failure.attempts) == (0, 1)
    assert failure.exception.__traceback__ is not None
    assert repr(failure).startswith("Failure(0, ZeroDivisionError(")
    assert fan(divmod, [1], [0], on_error="return")[0].item == (1, 0)
    assert hook == []


@in_order
def test_with_input(virtual, fan):
    assert fan(square, [1, 2], with_input=True) == [(1, 1), (2, 4)]
    assert fan(pow, [1, 2], [3, 4], with_input=True) == [((1, 3), 1), ((2, 4), 16)]
    (pair,) = fan(lambda i: 1 // i, [0], with_input=True, on_error="return")
    assert pair[0] == 0 and pair[1].item == 0


@every
@pytest.mark.parametrize("exc", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_no_failure(virtual, fan, exc):
    def body(i):
        raise exc(i)

    with pytest.raises(exc):
        fan(body, [1], on_error="return", retry=Retry())


@every
@pytest.mark.parametrize("options", [{"on_error": "return"}, {"budget": (abs, 100)}, {"progress": id}, {"limit": 3, "progress": id}])
def test_a_cancel_of_the_caller_ends_all(virtual, fan, options):
    ended = []

    def body(i):
        try:
            gmpx.sleep(1000)
        finally:
            ended.append(i)

    g = gmpx.go(fan, body, range(5), **options)
    virtual.wait_all_parked()
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result()
    assert sorted(ended) == list(range(min(5, options.get("limit", 5)))) and virtual.elapsed == 0


@every
@pytest.mark.parametrize("options", [{"on_error": "return"}, {"budget": (abs, 3)}, {"progress": id}, {"limit": 3, "progress": id}])
def test_a_call_may_end_its_goroutine(virtual, fan, options):
    assert fan(lambda i: gmpx.goexit(), range(5), **options) == [None] * 5


def test_failures_keep_nothing_alive_by_cycles(virtual):
    class Input:
        pass

    item = Input()
    ref = weakref.ref(item)
    gc.disable()
    try:
        got = gmpx.map(lambda i: 1 // 0, [item], on_error="return", retry=Retry(2, backoff=0), item_timeout=5)
        assert got[0].item is item
        del item, got
        assert ref() is None
    finally:
        gc.enable()


# ---- budget ----------------------------------------------------------------------------------


class Watch:
    """What flies and what it weighs, as the calls see it."""

    def __init__(self):
        self.now, self.most, self.at_once = [], 0, 0

    def __call__(self, weight):
        self.now.append(weight)
        self.most = max(self.most, sum(self.now) if len(self.now) > 1 else 0)
        self.at_once = max(self.at_once, len(self.now))
        gmpx.sleep(1 + weight % 3)
        self.now.remove(weight)
        return weight


@every
@pytest.mark.parametrize("limit", [None, 3])
def test_budget(virtual, fan, limit):
    watch = Watch()
    weights = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]
    got = fan(watch, weights, budget=(abs, 10), limit=limit)
    assert sorted(got) == sorted(weights)
    assert 5 < watch.most <= 10 and watch.at_once <= (limit or 15)
    assert watch.at_once > 1


@every
def test_what_weighs_more_than_the_most_flies_alone(virtual, fan):
    watch = Watch()
    assert sorted(fan(watch, [1, 100, 1, 1, 200], budget=(abs, 10))) == [1, 1, 1, 100, 200]
    assert watch.most == 2


@every
def test_weights_may_be_fractions_and_0(virtual, fan):
    watch = Watch()
    fan(watch, [0.1] * 30, budget=(float, 0.3))
    assert watch.at_once <= 3 and watch.most <= 0.3 + 1e-9
    watch = Watch()
    fan(watch, [0] * 30, budget=(abs, 1))
    assert watch.at_once == 30


@every
@pytest.mark.parametrize("weight", [-1, math.nan, math.inf])
def test_bad_weights(virtual, fan, weight):
    with pytest.raises(ValueError, match="budget: a weight must be"):
        fan(square, [1, 2], budget=(lambda i: weight, 5))


def test_several_iterables_are_weighed_as_a_tuple(virtual):
    seen = []
    gmpx.map(pow, [1, 2], [3, 4], budget=(lambda t: seen.append(t) or 1, 5))
    assert seen == [(1, 3), (2, 4)]


def test_in_imap_values_that_wait_count(virtual):
    started = []
    it = gmpx.imap(lambda i: started.append(i) or i, range(10), budget=(lambda i: 1, 3))
    assert next(it) == 0
    gmpx.sleep(10)
    assert len(started) <= 4
    assert list(it) == list(range(1, 10))


@pytest.mark.parametrize("limit", [None, 2])
def test_a_failure_ends_the_wait_for_room(virtual, limit):
    def body(i):
        if i == 0:
            gmpx.sleep(1)
            raise KeyError
        gmpx.sleep(1000)

    with pytest.raises(KeyError):
        gmpx.map(body, range(10), budget=(lambda i: 1, 2), limit=limit)
    assert virtual.elapsed == 1
    with pytest.raises(TimeoutError):
        gmpx.map(gmpx.sleep, [1000] * 10, budget=(lambda i: 1, 2), limit=limit, timeout=5)
    assert virtual.elapsed == 6


# ---- the rest of what the bare ones are ------------------------------------------------------

ALL = {
    "rate": Limiter(1e9, burst=1000), "retry": Retry(2, backoff=0), "item_timeout": 1e6,
    "budget": (lambda i: 1, 5), "progress": lambda p: None,
}  # fmt: skip


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("options", [{k: v} for k, v in ALL.items()] + [ALL], ids=[*ALL, "all"])
def test_imap_stays_lazy(virtual, ordered, options):
    read, ended = [], []

    def endless():
        for i in itertools.count():
            read.append(i)
            yield i

    def body(i):
        try:
            gmpx.sleep(1)
            return i
        finally:
            ended.append(i)

    it = gmpx.imap(body, endless(), limit=4, ordered=ordered, **options)
    assert read == []
    got = list(itertools.islice(it, 10))
    assert got == list(range(10)) if ordered else len(set(got) & set(read)) == 10
    assert len(read) <= 16
    before = len(ended)
    it.close()
    virtual.wait_all_parked()
    assert len(ended) <= before + 4 and gmpx.num_goroutine() == 1


@every
@pytest.mark.parametrize("options", [{k: v} for k, v in ALL.items()] + [ALL], ids=[*ALL, "all"])
def test_a_failing_input(virtual, fan, options, hook):
    def items():
        yield 1
        yield 2
        raise LookupError("input")

    with pytest.raises(LookupError, match="input"):
        fan(square, items(), **options)
    assert gmpx.num_goroutine() == 1 and hook == []


@every
@pytest.mark.parametrize("options", [{k: v} for k, v in ALL.items()] + [ALL], ids=[*ALL, "all"])
@pytest.mark.parametrize("limit", [None, 1, 3])
def test_nothing_to_do(virtual, fan, options, limit):
    assert fan(square, [], limit=limit, **options) == []
    assert sorted(fan(square, iter([2, 3]), limit=limit, **options)) == [4, 9]


def test_each_call_sees_the_callers_context_and_has_its_own_goroutine(virtual):
    me = gmpx.current()
    found = gmpx.map(lambda i: gmpx.current(), range(20), **ALL)
    assert len({g.id for g in found}) == 20 and me not in found
    assert {g.parent_id for g in found} == {me.id}


def test_blocking_goes_to_spare_threads():
    me = threading.get_ident()
    idents = gmpx.map(lambda i: (threading.get_ident(), time.sleep(0.01))[0], range(8), blocking=True, limit=4)
    assert me not in idents
    assert list(gmpx.imap(square, range(5), blocking=True)) == [0, 1, 4, 9, 16]
    (got,) = gmpx.map(lambda i: 1 // i, [0], blocking=True, on_error="return", retry=Retry(2, backoff=0))
    assert type(got.exception) is ZeroDivisionError and got.attempts == 2


def test_a_group_with_a_rate_and_a_limit(virtual):
    at = []
    with gmpx.Group(limit=2, rate=Limiter(1)) as group:
        for i in range(4):
            group.go(lambda: (at.append(virtual.elapsed), gmpx.sleep(3)))
    assert at == [0, 1, 3, 4]
    with pytest.raises(TypeError, match="rate must be a Limiter"):
        gmpx.Group(rate=5)
    with gmpx.Group(limit=1, rate=Limiter(1, per=100)) as group:
        group.go(int)
        with pytest.raises(TimeoutError), gmpx.timeout(5):
            group.go(int)
        group.go(int)  # the room of the one that was interrupted is free again


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize("fan", [gmpx.map, gmpx.imap])
@pytest.mark.parametrize(
    ("options", "exc", "text"),
    [
        ({"rate": 5}, TypeError, "rate must be a Limiter, not int"),
        ({"rate": Limiter}, TypeError, "rate must be a Limiter"),
        ({"retry": 3}, TypeError, "retry must be a Retry, not int"),
        ({"item_timeout": -1}, ValueError, "item_timeout must not be negative"),
        ({"item_timeout": math.nan}, ValueError, "item_timeout must not be NaN"),
        ({"item_timeout": "5"}, TypeError, "item_timeout must be a number"),
        ({"on_error": "ignore"}, ValueError, 'on_error must be "raise" or "return"'),
        ({"on_error": None}, ValueError, "on_error must be"),
        ({"budget": 5}, TypeError, "budget must be"),
        ({"budget": (5, abs)}, TypeError, "budget must be"),
        ({"budget": (abs, 5, 5)}, TypeError, "budget must be"),
        ({"budget": (abs, "5")}, TypeError, "budget: the most must be a number"),
        ({"budget": (abs, True)}, TypeError, "budget: the most must be a number"),
        ({"budget": (abs, 0)}, ValueError, "budget: the most must be above 0"),
        ({"budget": (abs, math.nan)}, ValueError, "budget: the most must be above 0"),
        ({"progress": 5}, TypeError, "progress must be True"),
        ({"limit": 0, "with_input": True}, ValueError, "limit must be at least 1"),
    ],
)
def test_bad_input_is_bad_at_once(fan, options, exc, text):
    with pytest.raises(exc, match=text):
        fan(lambda i: pytest.fail("called"), [1], **options)


@pytest.mark.parametrize("fan", [gmpx.map, gmpx.imap])
def test_bad_functions_and_no_input(fan):
    with pytest.raises(TypeError, match="fn must be callable, not int"):
        fan(5, [1], with_input=True)
    with pytest.raises(TypeError, match="at least one iterable"):
        fan(square, with_input=True)
    with pytest.raises(ValueError, match="timeout"):
        gmpx.map(square, [1], with_input=True, timeout=-1)


# ---- all at random ---------------------------------------------------------------------------


def conserves(seed):
    """Any options: each item once, in order, no bound exceeded, the same answers as without any."""
    rng = random.Random(seed)
    n = rng.choice([0, 1, 7, 60])
    limit = rng.choice([None, 1, 2, 7])
    budget = rng.choice([None, 1, 6, 20.5])
    rate = rng.choice([None, 1, 50])
    burst = rng.choice([1, 4])
    attempts = rng.choice([None, 1, 3])
    item_timeout = rng.choice([None, 5])
    returns = attempts is None or rng.random() < 0.7
    with_input = rng.random() < 0.5
    kind = rng.choice(["map", "imap", "unordered"])
    plan = [(rng.choice([0, 0, 1, 4]), rng.choice([0, 0.1, 3, 9]), rng.choice([0, 0, 1, 2.5, 30])) for _ in range(n)]
    calls, flying, began, reports = [0] * n, {}, [], []

    def weight(i):
        return plan[i][2]

    def body(i):
        failures, seconds, w = plan[i]
        calls[i] += 1
        began.append(time.monotonic())
        flying[i] = w
        assert limit is None or len(flying) <= limit
        assert budget is None or len(flying) == 1 or sum(flying.values()) <= budget + 1e-9
        try:
            if seconds:
                gmpx.sleep(seconds)
            if calls[i] <= failures:
                raise KeyError(i)
            return -i
        finally:
            del flying[i]

    options = {"limit": limit, "item_timeout": item_timeout, "with_input": with_input, "on_error": "return"}
    if rate is not None:
        options["rate"] = Limiter(rate, burst=burst)
    if attempts is not None:
        options["retry"] = Retry(attempts, backoff=0)
    if budget is not None:
        options["budget"] = (weight, budget)
    if rng.random() < 0.5:
        options["progress"] = reports.append
    inputs = rng.choice([list, iter, tuple])(range(n))
    if kind == "map":
        got = gmpx.map(body, inputs, **options)
    else:
        got = list(gmpx.imap(body, inputs, ordered=kind == "imap", **options))
    if with_input:
        if kind == "unordered":
            got.sort(key=lambda pair: pair[0])
        assert [i for i, _ in got] == list(range(n))
        got = [value for _, value in got]
    elif kind == "unordered":
        got.sort(key=lambda v: v.item if isinstance(v, Failure) else -v)
    assert len(got) == n and not flying
    for i, value in enumerate(got):
        failures, seconds, _ = plan[i]
        if isinstance(value, Failure):
            assert value.item == i and value.attempts == calls[i]
            if type(value.exception) is TimeoutError:
                assert item_timeout is not None and seconds * calls[i] >= item_timeout
            else:
                assert type(value.exception) is KeyError
                assert calls[i] == (attempts or 1) and failures >= calls[i]
        else:
            assert value == -i and calls[i] == failures + 1
    if rate is not None:
        for a in range(len(began)):
            assert len([t for t in began[a:] if t <= began[a] + 3]) <= burst + rate * 3 + 1e-6
    if reports:
        assert reports[-1].done == n and reports[-1].in_flight == 0
        assert reports[-1].failed == sum(isinstance(v, Failure) for v in got)
        assert [p.done for p in reports] == sorted(p.done for p in reports)
    return n


def test_any_options_conserve_every_item(alone, rng):
    seeds = [rng.getrandbits(32) for _ in range(150)]
    done = 0
    for seed in seeds:
        done += sum(explore(conserves, seed, seeds=[rng.getrandbits(32)]))
    assert done > 1000


def test_the_same_on_several_threads(rng):
    """Not on virtual time: the calls really run side by side."""
    n = 3000
    started, flying = [0] * n, []

    def body(i):
        started[i] += 1
        flying.append(i)
        assert len(flying) <= 40
        if i % 5 == 0:
            gmpx.gosched()
        flying.remove(i)
        return i

    options = {
        "limit": 40, "rate": Limiter(1e9, burst=10**6), "retry": Retry(), "item_timeout": 60, "on_error": "return",
        "budget": (lambda i: 1 + i % 3, 100), "progress": lambda p: None, "with_input": True,
    }  # fmt: skip
    assert gmpx.map(body, range(n), **options) == [(i, i) for i in range(n)]
    assert list(gmpx.imap(body, range(n), **options)) == [(i, i) for i in range(n)]
    assert sorted(gmpx.imap(body, range(n), ordered=False, **options)) == [(i, i) for i in range(n)]
    del options["budget"]
    assert gmpx.map(body, range(n), **options) == [(i, i) for i in range(n)]
    assert started == [4] * n


# ---- what it cannot do -----------------------------------------------------------------------


async def async_function(n):
    return n


async def async_generator(n):
    yield n


class AsyncCallable:
    async def __call__(self, n):
        return n


@pytest.mark.parametrize("fn", [
    async_function, async_generator, functools.partial(async_function, 1), AsyncCallable(), AsyncCallable().__call__,
])
@every
def test_async_functions_are_refused(fan, fn):
    for options in ({}, {"retry": Retry()}):
        with pytest.raises(TypeError, match="fn must be a plain function.*async def"):
            fan(fn, [1], **options)


def test_a_proxy_that_fails_to_answer_is_called(virtual):
    class Proxy:
        def __getattr__(self, name):
            raise RuntimeError(f"proxy: {name}")

        def __call__(self, n):
            return n + 1

    lines = []
    assert gmpx.map(Proxy(), [1, 2]) == [2, 3]
    assert gmpx.map(Proxy(), [1, 2], progress=lines.append) == [2, 3]
    assert list(gmpx.imap(Proxy(), [1, 2])) == [2, 3]


@pytest.mark.parametrize("with_input", ["no", None, 1, 0, []])
@every
def test_with_input_is_a_bool(virtual, fan, with_input):
    with pytest.raises(TypeError, match=f"with_input must be a bool, not {type(with_input).__name__}"):
        fan(square, [1], with_input=with_input)


@pytest.mark.parametrize("limit", [None, 2])
@pytest.mark.parametrize("options", [{}, {"budget": (abs, 100)}, {"progress": lambda p: None}])
def test_a_time_out_names_the_map(virtual, limit, options):
    for inputs in (range(5), iter(range(5))):
        with pytest.raises(TimeoutError, match="^map timed out$"):
            gmpx.map(lambda n: gmpx.sleep(60), inputs, limit=limit, timeout=1, **options)


@every
def test_a_bad_weight_names_the_function_and_the_item(virtual, fan):
    with pytest.raises(TypeError, match="budget: <class 'str'> must return a number, not '7', for 7"):
        fan(abs, [7], budget=(str, 9))


@pytest.mark.parametrize("ordered", ["no", None, 1])
def test_ordered_is_a_bool(ordered):
    with pytest.raises(TypeError, match="ordered must be a bool"):
        gmpx.imap(abs, [1], ordered=ordered)
