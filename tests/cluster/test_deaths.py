"""Calls that kill their workers, until for a moment there is none."""

import os
import signal
import threading
import time

import dask
import pytest
from distributed import KilledWorker, LocalCluster
from distributed.core import Status

import gmpx
from gmpx import cluster
from gmpx.cluster import ClusterExecutor

PATIENCE = 100
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@pytest.fixture(scope="module", params=(1, 2))
def local_cluster(request):
    # Who is away at that time after a death is given up by Dask, even if it has only just died again.
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}), LocalCluster(
        n_workers=request.param, threads_per_worker=1, processes=True, dashboard_address=None, death_timeout=60
    ) as local:
        yield local


@pytest.fixture
def client(module_client, local_cluster, until):
    running(local_cluster, until)
    module_client.wait_for_workers(len(local_cluster.workers), timeout=60)
    return module_client


def running(local, until, pid=None):
    """A nanny leaves a worker dead that has died while it was starting."""
    nannies = [nanny for nanny in local.workers.values() if pid is None or nanny.pid == pid]
    until(lambda: all(nanny.status == Status.running for nanny in nannies), patience=60)


@pytest.fixture
def deadly(client, local_cluster, marks, until):
    """Makes functions that get their worker killed by some items: once by each, or whenever they are called."""
    over = threading.Event()

    def kill():
        killed = set()
        while not over.is_set():
            for name in marks.there() - killed:
                if name.startswith("kill "):
                    killed.add(name)
                    pid = int(name.split()[1])
                    running(local_cluster, until, pid)
                    os.kill(pid, KILL)
            time.sleep(0.01)

    def make(items, always=False):
        def call(i):
            if i in items and (always or f"met {i}" not in marks.there()):
                marks.make(f"met {i}")
                marks.make(f"kill {os.getpid()}")
                gmpx.sleep(600)
            return i

        return call

    thread = threading.Thread(target=kill)
    thread.start()
    yield make
    over.set()
    thread.join()


@pytest.mark.parametrize("chunk", ("auto", 1))
def test_one_death(client, deadly, chunk):
    assert cluster.map(client, deadly({3}), range(5), chunk=chunk, timeout=PATIENCE) == list(range(5))
    assert cluster.map(client, abs, range(5), timeout=PATIENCE) == list(range(5))


def test_each_value_comes_once(client, deadly):
    found = list(cluster.imap(client, deadly({7, 31, 55}), range(60), chunk=5, ordered=False))
    assert sorted(found) == list(range(60))


def test_a_place_that_is_a_wish(client, deadly):
    wish = {"workers": sorted(client.nthreads())[:1], "allow_other_workers": True}
    found = cluster.map(client, deadly({3}), range(5), chunk=1, submit=wish, timeout=PATIENCE)
    assert found == list(range(5))


def test_a_large_function(client, deadly):
    table, call = list(os.urandom(1 << 16)), deadly({3})
    assert cluster.map(client, lambda i: table[call(i)], range(5), timeout=PATIENCE) == table[:5]


def test_a_call_that_always_kills(client, deadly):
    with pytest.raises(KilledWorker) as caught:
        cluster.map(client, deadly({13}, always=True), range(10, 15), chunk=5, timeout=PATIENCE)
    assert caught.value.__notes__ == ["it had 5 items, input[0] = 10 ... input[4] = 14"]


def test_calls_of_an_executor(client, deadly):
    with ClusterExecutor(client) as executor:
        call = deadly({3})
        futures = [executor.submit(call, i) for i in range(5)]
        assert [future.result(PATIENCE) for future in futures] == list(range(5))
        exc = executor.submit(deadly({4}, always=True), 4).exception(PATIENCE)
        assert isinstance(exc, KilledWorker)
        assert exc.__notes__ == ["it had call: args=(4,), kwargs={}"]
        assert executor.submit(abs, -1).result(PATIENCE) == 1
