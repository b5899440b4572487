"""gmpx.cluster.ClusterExecutor: concurrent.futures over a Dask cluster."""

import operator
import os
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest
from distributed import Client

import gmpx
from gmpx import cluster
from gmpx.cluster import ClusterExecutor


def test_submit_and_map(client):
    with ClusterExecutor(client) as executor:
        future = executor.submit(pow, 2, 5)
        assert type(future) is Future and future.result(60) == 32
        assert executor.submit(int, "11", base=2).result(60) == 3
        assert list(executor.map(operator.neg, range(300))) == [-i for i in range(300)]
        assert executor.submit(os.getpid).result(60) in client.run(os.getpid).values()


def test_calls_that_find_no_room_go_together(client, monkeypatch):
    with ClusterExecutor(client) as executor:
        ranges = []
        start = executor._engine.start
        monkeypatch.setattr(executor._engine, "start", lambda *args: (ranges.append(1), start(*args))[1])
        futures = [executor.submit(operator.neg, i) for i in range(2000)]
        assert [future.result(60) for future in futures] == [-i for i in range(2000)]
    assert len(ranges) < 500


def test_exceptions(client):
    def fail(i):
        raise LookupError(i)

    with ClusterExecutor(client) as executor:
        futures = [executor.submit(fail, i) for i in range(3)]
        assert [repr(future.exception(60)) for future in futures] == [f"LookupError({i})" for i in range(3)]
        bad, good = executor.submit(abs, gmpx.Chan()), executor.submit(abs, -1)
        assert good.result(60) == 1
        assert isinstance(bad.exception(60), TypeError)


def test_goroutines_wait_for_its_futures(client):
    with ClusterExecutor(client) as executor:
        futures = [executor.submit(abs, -i) for i in range(10)]
        assert gmpx.gather(*futures) == list(range(10))
        assert {f.result() for f in gmpx.as_completed(futures)} == set(range(10))


def test_shutdown(client, marks):
    def wait(i):
        marks.make(f"in {i}")
        while "go" not in marks.there():
            gmpx.sleep(0.01)
        return i

    executor = ClusterExecutor(client)
    first = executor.submit(wait, 0)
    marks.wait("in 0")
    assert not first.cancel()  # it runs
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)
    marks.make("go")
    executor.shutdown()
    assert first.result(0) == 0


def test_what_has_not_been_sent_can_be_cancelled(client, marks):
    def wait(i):
        while "go" not in marks.there():
            gmpx.sleep(0.01)
        return i

    executor = ClusterExecutor(client)
    executor._engine.width = lambda: 1
    first = executor.submit(wait, 0)
    while not first.running():
        gmpx.gosched()
    second, third = executor.submit(wait, 1), executor.submit(wait, 2)
    assert second.cancel()
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        third.result(0)
    marks.make("go")
    executor.shutdown()
    assert first.result(0) == 0


def test_over_another_executor():
    with ThreadPoolExecutor(2) as threads, ClusterExecutor(threads) as executor:
        assert list(executor.map(abs, [-1, -2])) == [1, 2]


class Faulty(ThreadPoolExecutor):
    """Threads that take nothing for some times when told so."""

    faults = taken = 0

    def submit(self, *args, **kwargs):
        if self.faults:
            self.faults -= 1
            raise OSError("no room")
        self.taken += 1
        return super().submit(*args, **kwargs)


gates = {}


def wait_for(name):
    gates[name].wait(60)


@pytest.fixture
def gate():
    """gate(name): an event, for which wait_for(name) waits. Events cannot be pickled."""
    yield lambda name: gates.setdefault(name, gmpx.Event())
    for event in gates.values():
        event.set()
    gates.clear()


@pytest.mark.parametrize("faults", (1, 100))
def test_calls_that_cannot_be_sent_end(gate, until, faults):
    with Faulty(1) as threads, ClusterExecutor(threads) as executor:
        go = gate("go")
        first = executor.submit(wait_for, "go")
        until(lambda: threads.taken == 1)
        executor.submit(wait_for, "go")
        until(lambda: threads.taken == 2)  # as many as the width
        bad = gmpx.Chan()
        calls = [executor.submit(abs, arg) for arg in (-1, bad, -2, -3, bad, -4, -5, -6)]
        threads.faults = faults
        go.set()
        gmpx.wait([first, *calls], timeout=60)
        found = [type(future.exception(0)) for future in calls]
        assert set(found) == {TypeError, OSError} and found[0] is OSError
        threads.faults = 0
        assert gmpx.gather(executor.submit(abs, -7)) == [7]


def test_calls_beside_some_that_cannot_be_pickled(gate, until):
    with Faulty(1) as threads, ClusterExecutor(threads) as executor:
        go = gate("go")
        for n in (1, 2):
            executor.submit(wait_for, "go")
            until(lambda: threads.taken == n)
        bad = gmpx.Chan()
        calls = [executor.submit(abs, arg) for arg in (-1, bad, -2, -3, bad, -4, bad, bad)]
        go.set()
        gmpx.wait(calls, timeout=60)
        found = [future.exception(0) or future.result(0) for future in calls]
        assert [value for value in found if isinstance(value, int)] == [1, 2, 3, 4]
        assert [type(found[i]) for i in (1, 4, 6, 7)] == [TypeError] * 4


def test_news_of_what_was_given_up_fail_nobody(gate, until):
    with Faulty(1) as threads, ClusterExecutor(threads) as executor:
        old, new = gate("old"), gate("new")
        first = executor.submit(wait_for, "old")
        until(lambda: threads.taken == 1)
        threads.faults = 1
        second = executor.submit(abs, -1)
        gmpx.wait([first, second], timeout=60)
        assert isinstance(first.exception(0), OSError) and isinstance(second.exception(0), OSError)
        third = executor.submit(wait_for, "new")
        until(lambda: threads.taken == 2)
        old.set()  # its range ends, and the thread takes the next
        fourth = executor.submit(abs, -1)
        new.set()
        assert gmpx.gather(third, fourth) == [None, 1]


def test_map_with_a_buffersize():
    read = []

    def numbers():
        for i in range(20):
            read.append(i)
            yield i

    with ThreadPoolExecutor(2) as threads, ClusterExecutor(threads) as executor:
        values = executor.map(operator.neg, numbers(), buffersize=3)
        assert len(read) == 3
        assert next(values) == 0 and len(read) == 4
        assert list(values) == [-i for i in range(1, 20)]
        for wrong, error in (("3", TypeError), (0, ValueError)):
            with pytest.raises(error, match="buffersize"):
                executor.map(abs, [1], buffersize=wrong)


def test_a_client_that_is_closed(local_cluster):
    client = Client(local_cluster, timeout=60)
    with ClusterExecutor(client) as executor:
        assert executor.submit(abs, -1).result(60) == 1
        client.close()
        for wrong in (
            lambda: ClusterExecutor(client),
            lambda: cluster.map(client, abs, [1]),
            lambda: cluster.imap(client, abs, [1]),
            executor.submit(abs, 1).result,
        ):
            with pytest.raises(RuntimeError, match="the client is closed"):
                wrong()


def test_bad_input():
    with pytest.raises(TypeError):
        ClusterExecutor("tcp://localhost")
    with ThreadPoolExecutor(1) as threads, pytest.raises(ValueError):
        ClusterExecutor(threads, limit=0)
    with ThreadPoolExecutor(1) as threads, pytest.raises(TypeError, match="submit"):
        ClusterExecutor(threads, submit=3)
    with ThreadPoolExecutor(1) as threads, ClusterExecutor(threads) as executor:
        with pytest.raises(TypeError, match="needs a callable, not NoneType"):
            executor.submit(None)
