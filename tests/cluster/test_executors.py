"""Other outer levels than Dask's: any concurrent.futures.Executor."""

import asyncio
import multiprocessing
import operator
import os
import signal
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

import gmpx
from gmpx import cluster
from gmpx.cluster import ranges


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_processes(pool):
    assert cluster.map(pool, operator.neg, range(5000)) == [-i for i in range(5000)]
    assert list(cluster.imap(pool, pow, range(50), [2] * 50, chunk=7)) == [i * i for i in range(50)]
    assert os.getpid() not in cluster.map(pool, lambda i: os.getpid(), range(4))


def test_a_range_fans_out_in_goroutines(pool):
    def call(i):
        barrier = gmpx.__dict__.setdefault("_test_barrier", gmpx.Barrier(10))
        barrier.wait(60)
        return i

    assert cluster.map(pool, call, range(40), chunk=10) == list(range(40))


def test_an_exceptions_traceback(pool):
    def call(i):
        return 1 // i

    with pytest.raises(ZeroDivisionError) as caught:
        cluster.map(pool, call, [1, 0])
    assert "in call" in "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    if not (sys.modules.get("tblib") or caught.value.__cause__ is None):
        assert isinstance(caught.value.__cause__, cluster.RemoteTraceback)


def test_threads():
    with ThreadPoolExecutor(2) as threads:
        assert cluster.map(threads, operator.neg, range(1000)) == [-i for i in range(1000)]
    assert list(cluster.imap(gmpx.Executor(4), abs, [-1, -2])) == [1, 2]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_pool_that_breaks_says_so():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        with pytest.raises(BrokenProcessPool):
            cluster.map(pool, lambda i: os.kill(os.getpid(), signal.SIGKILL), range(3))


def test_an_executor_takes_no_options_of_dasks(pool):
    with pytest.raises(TypeError, match="resources"):
        cluster.map(pool, abs, [1], submit={"resources": {}})


def test_few_functions_are_kept(pool):
    for k in range(ranges.SESSIONS + 5):
        assert cluster.map(pool, lambda i, k=k: i + k, [1]) == [1 + k]

    def kept(i):
        from gmpx.cluster import ranges

        return len(ranges._sessions)

    assert cluster.map(pool, kept, [1])[0] <= ranges.SESSIONS


def test_in_a_coroutine(marks):
    def wait():
        while "go" not in marks.there():
            gmpx.sleep(0.01)

    async def calls(pool):
        with pytest.raises(RuntimeError, match=r"^cluster.map would stop the asyncio loop .*asyncio.to_thread\(f\)"):
            cluster.map(pool, abs, [-1])
        values = cluster.imap(pool, abs, [-1])
        with pytest.raises(RuntimeError, match="^cluster.imap would stop the asyncio loop"):
            next(values)
        assert await asyncio.to_thread(cluster.map, pool, abs, [-1]) == [1]
        assert await gmpx.go(cluster.map, pool, abs, [-1]) == [1]
        with cluster.ClusterExecutor(pool) as executor:
            assert await asyncio.wrap_future(executor.submit(abs, -1)) == 1
        with pytest.raises(RuntimeError, match="^ClusterExecutor.shutdown, .*would stop the asyncio loop"):
            with cluster.ClusterExecutor(pool) as executor:
                executor.submit(wait)
        with pytest.raises(LookupError):
            with cluster.ClusterExecutor(pool) as executor:
                executor.submit(wait)
                raise LookupError
        marks.make("go")

    with ThreadPoolExecutor(2) as pool:
        asyncio.run(calls(pool))
