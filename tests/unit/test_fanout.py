"""map and imap: order, bounds, failures, laziness."""

import contextvars
import itertools

import pytest

import gmpx


def square(n):
    return n * n


def test_map_keeps_the_order_whatever_ends_first():
    c = gmpx.Chan()

    def body(i):
        if i == 0:
            c.recv()
        elif i == 99:
            c.send(None)
        return i

    assert gmpx.map(body, range(100)) == list(range(100))


@pytest.mark.parametrize("limit", [None, 1, 2, 7, 1000])
def test_map_is_the_builtin_map_as_a_list(limit):
    assert gmpx.map(square, range(50), limit=limit) == [n * n for n in range(50)]
    assert gmpx.map(pow, [2, 3, 4], (5, 2), limit=limit) == [32, 9], "the shortest ends it"
    assert gmpx.map(square, [], limit=limit) == []
    tuples = gmpx.map(lambda *a: a, "ab", "cd", "ef", limit=limit)
    assert tuples == [("a", "c", "e"), ("b", "d", "f")]
    assert gmpx.map(square, iter([1, 2]), limit=limit) == [1, 4]


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_map_runs_at_most_limit_at_once(limit):
    now, most = [0], [0]

    def body(i):
        now[0] += 1
        most[0] = max(most[0], now[0])
        gmpx.gosched()
        gmpx.gosched()
        now[0] -= 1
        return i

    assert gmpx.map(body, range(60), limit=limit) == list(range(60))
    assert most[0] <= limit
    assert limit == 1 or most[0] > 1


@pytest.mark.parametrize("limit", [None, 50])
def test_the_first_failure_in_time_is_raised_and_the_rest_cancelled(limit, hook):
    ended = []

    def body(i):
        try:
            if i == 30:
                raise KeyError("the first in time")
            gmpx.Chan().recv()
        finally:
            ended.append(i)

    before = gmpx.num_goroutine()
    with pytest.raises(KeyError, match="the first in time"):
        gmpx.map(body, range(50), limit=limit)
    assert 30 in ended and ended.count(30) == 1
    assert gmpx.num_goroutine() == before, "all have ended"
    assert hook == [], "failures of the cancelled are read"


@pytest.mark.parametrize("limit", [None, 2])
@pytest.mark.parametrize("timeout", [0, 0.01])
def test_map_times_out_and_the_calls_have_ended_then(limit, timeout):
    ended = []

    def body(i):
        try:
            gmpx.Chan().recv()
        finally:
            ended.append(i)

    before = gmpx.num_goroutine()
    with pytest.raises(TimeoutError):
        gmpx.map(body, range(5), limit=limit, timeout=timeout)
    assert gmpx.num_goroutine() == before
    assert gmpx.map(square, range(3), limit=limit, timeout=30) == [0, 1, 4]


@pytest.mark.parametrize("limit", [None, 2])
def test_a_failing_iterable_cancels_what_runs(limit, hook):
    def items():
        yield 1
        yield 2
        raise LookupError("input")

    before = gmpx.num_goroutine()
    with pytest.raises(LookupError, match="input"):
        gmpx.map(lambda i: gmpx.sleep(0), items(), limit=limit)
    assert gmpx.num_goroutine() == before and hook == []


def test_map_nests_and_runs_in_goroutines_and_threads(in_thread):
    def outer(i):
        return sum(gmpx.map(square, range(i)))

    want = [sum(n * n for n in range(i)) for i in range(10)]
    assert gmpx.map(outer, range(10)) == want
    assert gmpx.go(gmpx.map, outer, range(10)).result() == want
    assert in_thread(gmpx.map, outer, range(10)).value() == want
    assert in_thread(lambda: gmpx.map(outer, range(10), limit=3)).value() == want


@pytest.mark.parametrize("ordered", [True, False])
def test_imap_is_lazy_over_endless_input(ordered):
    read = []

    def endless():
        for i in itertools.count():
            read.append(i)
            yield i

    it = gmpx.imap(square, endless(), limit=4, ordered=ordered)
    assert read == [], "nothing happens before the first next"
    got = [next(it) for _ in range(10)]
    assert len(read) <= 10 + 5
    if ordered:
        assert got == [n * n for n in range(10)]
    else:
        assert len(set(got)) == 10 and set(got) <= {n * n for n in read}
    it.close()


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("limit", [None, 1, 5])
def test_imap_yields_everything_of_a_finite_input(ordered, limit):
    got = list(gmpx.imap(square, range(300), limit=limit, ordered=ordered))
    assert (got if ordered else sorted(got)) == [n * n for n in range(300)]
    assert list(gmpx.imap(square, [], limit=limit, ordered=ordered)) == []
    assert list(gmpx.imap(pow, [2, 3], [5], limit=limit, ordered=ordered)) == [32]


@pytest.mark.parametrize("ordered", [True, False])
def test_imap_has_at_most_limit_in_flight(ordered):
    flying, most = [0], [0]

    def source():
        for i in range(50):
            flying[0] += 1
            most[0] = max(most[0], flying[0])
            yield i

    for _ in gmpx.imap(square, source(), limit=6, ordered=ordered):
        flying[0] -= 1
    assert 1 < most[0] <= 7, "one more is read from the input than is in flight"


def test_imap_unordered_yields_as_they_end():
    c = gmpx.Chan()

    def body(i):
        return c.recv() if i == 0 else i

    it = gmpx.imap(body, range(5), ordered=False)
    assert sorted(next(it) for _ in range(4)) == [1, 2, 3, 4]
    c.close()
    with pytest.raises(gmpx.ChannelClosed):
        next(it)


@pytest.mark.parametrize("ordered", [True, False])
def test_imap_failures_end_the_iteration_and_cancel_the_rest(ordered, hook):
    def body(i):
        if i == 3:
            raise KeyError(i)
        if i > 3:
            gmpx.Chan().recv()
        return i

    before = gmpx.num_goroutine()
    it = gmpx.imap(body, itertools.count(), limit=8, ordered=ordered)
    got = []
    with pytest.raises(KeyError):
        for v in it:
            got.append(v)
    # unordered, the failure may be seen before what has begun earlier, on another thread
    assert sorted(got) == [0, 1, 2] if ordered else len(got) == len({*got} & {0, 1, 2})
    assert list(it) == []
    assert gmpx.num_goroutine() == before and hook == []


@pytest.mark.parametrize("ordered", [True, False])
def test_leaving_an_imap_cancels_what_flies(ordered, hook):
    def body(i):
        if i:
            gmpx.Chan().recv()
        return i

    before = gmpx.num_goroutine()
    for v in gmpx.imap(body, itertools.count(), limit=5, ordered=ordered):
        assert v == 0
        break
    assert gmpx.num_goroutine() == before and hook == []


# ---- with a limit, over what any goroutine may read: the one that ends starts the next -----------------

@pytest.mark.parametrize("make", [list, tuple, iter, lambda xs: xs], ids=["list", "tuple", "iterator", "range"])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_every_input_gives_the_same(make, limit):
    assert gmpx.map(pow, make(range(50)), [2] * 40, limit=limit) == [i * i for i in range(40)]
    assert gmpx.map(square, make(range(0)), limit=limit) == []


@pytest.mark.parametrize("make", [list, iter])
def test_each_call_has_a_copy_of_the_callers_context(make):
    var = contextvars.ContextVar("var", default=0)
    var.set(1)

    def call(i):
        found = var.get()
        var.set(i + 100)
        return found

    assert gmpx.map(call, make(range(20)), limit=2) == [1] * 20
    assert var.get() == 1


def test_a_list_that_grows_or_shrinks_while_it_is_read():
    inputs = [0, 1, 2]

    def call(i):
        if i < 10:
            inputs.append(i + 3)
        return i

    assert gmpx.map(call, inputs, limit=1) == list(range(13))
    inputs = list(range(100))

    def cut(i):
        del inputs[10:]
        return i

    assert gmpx.map(cut, inputs, limit=2) == list(range(10))


def test_after_a_failure_no_further_call_starts():
    started = []

    def call(i):
        started.append(i)
        if i == 5:
            raise ValueError(i)

    with pytest.raises(ValueError, match="5"):
        gmpx.map(call, list(range(1000)), limit=2)
    assert len(started) <= 8


def test_calls_name_the_goroutine_that_called_map_as_their_parent():
    def parent(_):
        gmpx.gosched()
        return gmpx.current().parent_id

    me = gmpx.current().id
    assert gmpx.map(parent, list(range(10)), limit=2) == [me] * 10


@pytest.mark.parametrize("options", [{}, {"budget": (abs, 1000)}, {"rate": gmpx.Limiter(1e6)}], ids=["", "budget", "rate"])
@pytest.mark.parametrize("ordered", [True, False])
def test_an_input_that_raises_does_so_after_the_values_before_it(ordered, options):
    c = gmpx.Chan()

    def inputs():
        yield from range(3)
        gmpx.go(lambda: [c.send(n) for n in range(3)])
        raise LookupError("the input")

    found = []
    with pytest.raises(LookupError, match="the input"):
        for value in gmpx.imap(lambda n: c.recv(), inputs(), ordered=ordered, **options):
            found.append(value)
    assert sorted(found) == [0, 1, 2]
