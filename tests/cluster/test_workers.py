"""Workers that die, Dask's context in goroutines, the preload."""

import os
import signal
import subprocess
import sys

import dask
import pytest
from distributed import get_client, get_worker, worker_client

import gmpx
from gmpx import cluster


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
@pytest.mark.parametrize("ordered", (True, False))
def test_a_worker_that_is_killed_loses_nothing(client, marks, ordered):
    def call(i):
        if i == 0:
            marks.make(f"pid-{os.getpid()}")
        gmpx.sleep(0.001)
        return i

    n = 3000
    values = cluster.imap(client, call, range(n), chunk=100, limit=10, ordered=ordered)
    found = [next(values) for _ in range(10)]
    pid = next(int(name.partition("-")[2]) for name in marks.there() if name.startswith("pid-"))
    os.kill(pid, signal.SIGKILL)
    found += values
    if not ordered:
        found.sort()
    assert found == list(range(n))
    client.wait_for_workers(2, timeout=60)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_call_that_kills_its_worker_once(client, marks):
    def call(i):
        if i == 150 and not os.path.exists(os.path.join(marks.path, "killed")):
            marks.make("killed")
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    assert cluster.map(client, call, range(300), chunk=20) == list(range(300))
    assert "killed" in marks.there()
    client.wait_for_workers(2, timeout=60)


def test_dasks_context_is_there_in_goroutines(client):
    def call(i):
        gmpx.sleep(0)
        return get_worker().address, get_client().scheduler.address

    found = cluster.map(client, call, range(40), chunk=5)
    assert {address for address, _ in found} == set(client.nthreads())
    assert {address for _, address in found} == {client.scheduler.address}


def test_calls_may_submit_tasks_and_wait_for_them(client):
    # both workers have one thread each, and all of these wait at once
    def call(i):
        with worker_client() as c:
            return c.submit(pow, i, 2, pure=False).result()

    assert cluster.map(client, call, range(8), chunk=2) == [i * i for i in range(8)]


def test_dasks_own_tasks_run_beside_a_map(client, marks):
    def call(i):
        marks.make(f"in {i}")
        while "go" not in marks.there():
            gmpx.sleep(0.01)
        return i

    g = gmpx.go(cluster.map, client, call, range(2), chunk=1)
    marks.wait("in 0")
    marks.wait("in 1")
    assert client.gather(client.map(abs, [-3, -4], pure=False)) == [3, 4]
    marks.make("go")
    assert g.result() == [0, 1]


def test_tasks_of_dasks_own_as_goroutines(client):
    # by the preload's executor: they wait for each other in one worker that has one thread
    n = 20

    def call(i):
        barrier = gmpx.__dict__.setdefault("_test_barrier", gmpx.Barrier(n))
        barrier.wait(60)
        return gmpx.current().name, get_worker().address

    where = sorted(client.nthreads())[0]
    with dask.annotate(executor="gmpx", workers=[where]):
        futures = client.map(call, range(n), pure=False)
    assert client.gather(futures) == [("dask task", where)] * n
    client.run(lambda: gmpx.__dict__.pop("_test_barrier", None) and None)


def test_tasks_in_goroutines_may_submit_and_fail(client):
    def call(i):
        with worker_client() as c:
            found = c.submit(pow, i, 2, pure=False).result()
        if found == 9:
            raise LookupError("nine")
        return found

    with dask.annotate(executor="gmpx"):
        futures = client.map(call, range(4), pure=False)
    assert client.gather(futures[:3]) == [0, 1, 4]
    with pytest.raises(LookupError, match="nine"):
        futures[3].result()


def test_a_worker_started_by_hand_with_the_patch(client, until):
    address = client.scheduler.address
    command = [
        sys.executable, "-m", "distributed.cli.dask_worker", address, "--preload", "gmpx.cluster.patched",
        "--nthreads", "1", "--no-dashboard", "--no-nanny", "--name", "by-hand", "--resources", "odd=2",
    ]  # fmt: skip
    worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        before = set(client.nthreads())
        client.wait_for_workers(3, timeout=60)
        (mine,) = set(client.nthreads()) - before

        def wait(i):
            import time

            before = gmpx.stats()["parked"]
            time.sleep(0.001)
            return gmpx.patch.is_patched("time.sleep"), gmpx.stats()["parked"] > before

        found = cluster.map(client, wait, range(100), submit={"workers": [mine]})
        assert set(found) == {(True, True)}
        found = cluster.map(client, lambda i: get_worker().address, range(20), chunk=2, submit={"resources": {"odd": 1}})
        assert set(found) == {mine}
    finally:
        worker.terminate()
        _, err = worker.communicate(timeout=60)
    assert "Traceback" not in err, err
    until(lambda: len(client.nthreads()) == 2, patience=60)
