"""gmpx.cluster.map and imap over a Dask cluster of two processes."""

import itertools
import operator
import os
import traceback

import pytest

import gmpx
from gmpx import cluster
from gmpx.cluster import ClusterExecutor, flow, sizes

# Functions are made inside the tests: workers cannot import this file.


def test_map_keeps_the_order(client):
    for n in (0, 1, 2, 1000, 50_000):
        assert cluster.map(client, operator.neg, range(n)) == [-i for i in range(n)]


def test_several_iterables_end_with_the_shortest(client):
    assert cluster.map(client, pow, [2, 3, 4], iter([5, 2])) == [32, 9]
    assert list(cluster.imap(client, pow, itertools.count(), [2] * 40)) == [i * i for i in range(40)]


def test_both_workers_take_part_and_each_call_is_a_goroutine(client):
    def where(i):
        gmpx.sleep(0)
        return os.getpid(), gmpx.current().id

    found = cluster.map(client, where, range(400), chunk=20)
    assert {pid for pid, _ in found} == set(client.run(os.getpid).values())
    assert len(set(found)) == 400


def test_a_given_chunk_is_kept(client, monkeypatch):
    sent = []
    send = flow.Flow.send
    monkeypatch.setattr(flow.Flow, "send", lambda self, part: (sent.append(len(part.indexes)), send(self, part)))
    assert cluster.map(client, abs, range(103), chunk=10) == list(range(103))
    assert sent == [10] * 10 + [3]


def test_limit_counts_for_a_worker_over_all_its_ranges(client):
    def call(i):
        found = gmpx.__dict__.setdefault("_test_load", [0, 0])
        found[0] += 1
        found[1] = max(found)
        gmpx.sleep(0.001)
        found[0] -= 1

    cluster.map(client, call, range(200), chunk=10, limit=3)
    most = client.run(lambda: gmpx.__dict__.pop("_test_load", [0, 0])[1])
    assert max(most.values()) == 3


def test_what_a_range_has_not_begun_in_time_is_sent_again(client, monkeypatch):
    monkeypatch.setattr(sizes, "SLICE", 0.0)  # no call after a range's first one
    assert cluster.map(client, operator.neg, range(30)) == [-i for i in range(30)]
    assert list(cluster.imap(client, operator.neg, range(12))) == [-i for i in range(12)]
    assert sorted(cluster.imap(client, operator.neg, range(12), ordered=False)) == [-i for i in range(11, -1, -1)]


@pytest.mark.parametrize("ordered", (True, False))
@pytest.mark.parametrize("how", ({"chunk": 5}, {"limit": 5}))
def test_imap_reads_an_endless_input_as_far_as_there_is_room(client, ordered, how):
    read = []

    def numbers():
        for i in itertools.count():
            read.append(i)
            yield i

    values = cluster.imap(client, operator.neg, numbers(), ordered=ordered, **how)
    found = []
    for i in range(1, 201):
        found.append(next(values))
        # 2 ranges for each of 2 workers, 2 more that wait, and that which is read
        assert len(read) - i <= 5 * (4 + 4 + 1)
    values.close()
    assert found == [-i for i in range(200)] if ordered else len(set(found)) == 200


def test_unordered(client, marks):
    def call(i):
        if i == 0:
            while not os.path.exists(os.path.join(marks.path, "go")):
                gmpx.sleep(0.01)
        return i

    values = cluster.imap(client, call, range(60), chunk=10, ordered=False)
    found = [next(values) for _ in range(50)]
    assert sorted(found) == list(range(10, 60))
    marks.make("go")
    assert sorted(values) == list(range(10))


def test_an_exception_comes_with_its_traceback(client):
    def inner(i):
        raise LookupError(f"no {i}")

    def outer(i):
        return inner(i) if i == 7 else i

    with pytest.raises(LookupError, match="no 7") as caught:
        cluster.map(client, outer, range(10))
    text = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert "in inner" in text and "in outer" in text


def test_the_first_failure_cancels_the_others(client, marks):
    def call(i):
        if i == 0:
            while len(os.listdir(marks.path)) < 3:
                gmpx.sleep(0.01)
            raise ValueError("0")
        marks.make(f"in {i}")
        try:
            gmpx.sleep(600)
        finally:
            marks.make(f"out {i}")

    with pytest.raises(ValueError):
        cluster.map(client, call, range(4), chunk=2)
    for i in (1, 2, 3):
        marks.wait(f"out {i}")


def test_imap_raises_in_the_place_of_the_value(client):
    def call(i):
        if i >= 25:
            raise ValueError(i)
        gmpx.sleep(0.001)
        return i

    values = cluster.imap(client, call, range(40), chunk=10)
    assert [next(values) for _ in range(25)] == list(range(25))
    with pytest.raises(ValueError, match="^25$"):
        next(values)
    assert list(values) == []


def test_closing_an_imap_cancels_what_is_under_way(client, marks):
    def call(i):
        if i == 0:
            return i
        marks.make(f"in {i}")
        try:
            gmpx.sleep(600)
        finally:
            marks.make(f"out {i}")

    values = cluster.imap(client, call, range(2), chunk=1)
    assert next(values) == 0
    marks.wait("in 1")
    values.close()
    marks.wait("out 1")


def test_a_timeout_cancels(client, marks):
    def call(i):
        marks.make(f"in {i}")
        try:
            gmpx.sleep(600)
        finally:
            marks.make(f"out {i}")

    with pytest.raises(TimeoutError):
        cluster.map(client, call, range(1), timeout=0.5)
    if "in 0" in marks.there():
        marks.wait("out 0")


def test_a_cancelled_goroutine_gives_its_map_up(client, marks):
    def call(i):
        marks.make(f"in {i}")
        try:
            gmpx.sleep(600)
        finally:
            marks.make(f"out {i}")

    g = gmpx.go(cluster.map, client, call, range(1))
    marks.wait("in 0")
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result()
    marks.wait("out 0")


def test_on_error_return_and_with_input(client):
    def call(i):
        if i % 2:
            raise KeyError(i)
        return i * 10

    found = cluster.map(client, call, range(4), on_error="return", with_input=True)
    assert [(i, v) for i, v in found if not i % 2] == [(0, 0), (2, 20)]
    (_, first), (_, second) = found[1], found[3]
    assert isinstance(first, gmpx.Failure) and (first.item, first.attempts) == (1, 1)
    assert isinstance(second.exception, KeyError) and second.exception.args == (3,)
    assert dict(cluster.imap(client, abs, [-1, -2], with_input=True)) == {-1: 1, -2: 2}


def test_retry_and_item_timeout(client):
    def call(i):
        if i == 1:
            raise ConnectionError("never")
        if i == 2:
            gmpx.sleep(600)
        return i

    retry = gmpx.Retry(3, on=ConnectionError, backoff=0)
    found = cluster.map(client, call, range(4), retry=retry, item_timeout=0.5, on_error="return")
    assert found[0] == 0 and found[3] == 3
    assert isinstance(found[1].exception, ConnectionError) and found[1].attempts == 3
    assert isinstance(found[2].exception, TimeoutError) and found[2].item == 2


def test_what_calls_return_may_be_a_failure(client):
    def call(i):
        return gmpx.Failure(i, ValueError("mine"))

    (found,) = cluster.map(client, call, [5], retry=gmpx.Retry(2))
    assert found.item == 5


def test_progress(client):
    seen = []
    cluster.map(client, abs, range(50), chunk=10, progress=seen.append)
    assert (seen[0].done, seen[0].total) == (0, 50)
    assert (seen[-1].done, seen[-1].failed, seen[-1].in_flight) == (50, 0, 0)
    assert all(a.done <= b.done for a, b in zip(seen, seen[1:]))


def test_what_cannot_be_pickled(client):
    class Odd(Exception):
        def __init__(self, a, b):
            super().__init__(a)

    def call(i):
        if i == 1:
            return gmpx.Chan()
        if i == 2:
            raise Odd("two", "arguments")
        return i

    found = cluster.map(client, call, range(4), on_error="return")
    assert found[0] == 0 and found[3] == 3
    assert isinstance(found[1].exception, TypeError)
    assert "Odd" in str(found[2].exception) or type(found[2].exception).__name__ == "Odd"


@pytest.mark.parametrize("ordered", (True, False))
@pytest.mark.parametrize("chunk", (1, 3, 100))
def test_items_that_cannot_be_pickled(client, ordered, chunk):
    items = [1, 2, gmpx.Chan(), 4, 5, gmpx.Chan(), gmpx.Chan(), gmpx.Chan(), 9]
    bad = [2, 5, 6, 7]

    def check(found):
        failures = {items.index(value.item): value for value in found if isinstance(value, gmpx.Failure)}
        assert sorted(failures) == bad
        for i, failure in failures.items():
            assert isinstance(failure.exception, TypeError) and failure.attempts == 0
            (note,) = failure.exception.__notes__
            assert f"input[{i}] = <Chan" in note
        assert sorted(value for value in found if isinstance(value, int)) == [-9, -5, -4, -2, -1]

    seen = []
    found = list(
        cluster.imap(client, operator.neg, items, chunk=chunk, ordered=ordered, on_error="return", progress=seen.append)
    )
    check(found)
    assert (seen[-1].done, seen[-1].failed) == (9, 4)
    if ordered:
        assert [i for i, value in enumerate(found) if isinstance(value, gmpx.Failure)] == bad
        check(cluster.map(client, operator.neg, iter(items), chunk=chunk, on_error="return"))
        values = cluster.imap(client, operator.neg, items, chunk=chunk)
        assert [next(values), next(values)] == [-1, -2]
        with pytest.raises(TypeError) as caught:
            next(values)
        assert "input[2] = <Chan" in caught.value.__notes__[0]
        with pytest.raises(TypeError) as caught:
            cluster.map(client, operator.neg, items, chunk=chunk)
        assert "input[2] = <Chan" in caught.value.__notes__[0]


def test_goexit_and_base_exceptions(client):
    def leave(i):
        gmpx.goexit()

    def end(i):
        raise SystemExit(3)

    assert cluster.map(client, leave, range(3)) == [None] * 3
    with pytest.raises(SystemExit):
        cluster.map(client, end, range(3), on_error="return")


def test_an_input_that_raises(client):
    def numbers():
        yield from range(3)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        cluster.map(client, abs, numbers())
    values = cluster.imap(client, abs, numbers())
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="no more"):
        next(values)


def test_a_large_function_is_sent_once_to_a_worker(client):
    table = os.urandom(1 << 20)
    found = cluster.map(client, lambda i: table[i], range(100), chunk=10)
    assert found == list(table[:100])


def test_a_foreign_thread_may_call(client, in_thread):
    assert in_thread(cluster.map, client, abs, [-1, -2]).value() == [1, 2]


def test_bad_input(client):
    for wrong in (
        lambda: cluster.map(client, 5, []),
        lambda: cluster.map(client, abs),
        lambda: cluster.map("tcp://localhost", abs, []),
        lambda: cluster.imap(client, abs, [], chunk="some"),
        lambda: cluster.imap(client, abs, [], retry=3),
        lambda: cluster.imap(client, abs, [], ordered="no"),
        lambda: cluster.map(client, abs, [], with_input="no"),
        lambda: cluster.map(client, abs, [], progress=3),
    ):
        with pytest.raises(TypeError):
            wrong()
    for submit in (3, {"nope": 1}, {"key": "mine"}):
        with pytest.raises(TypeError, match="submit"):
            cluster.map(client, abs, [1], submit=submit)
        with pytest.raises(TypeError, match="submit"):
            ClusterExecutor(client, submit=submit)
    for wrong in (
        lambda: cluster.imap(client, abs, [], chunk=0),
        lambda: cluster.imap(client, abs, [], limit=0),
        lambda: cluster.imap(client, abs, [], on_error="ignore"),
        lambda: cluster.map(client, abs, [], timeout=-1),
        lambda: cluster.map(client, abs, [], submit={"allow_other_workers": True}),
    ):
        with pytest.raises(ValueError):
            wrong()
