"""gmpx.Executor under what takes executors: tqdm, dask, joblib."""

import threading
import time

import pytest

import gmpx


@pytest.fixture(params=[None, 3])
def executor(request):
    with gmpx.Executor(request.param) as executor:
        yield executor


def test_tqdm():
    concurrent = pytest.importorskip("tqdm.contrib.concurrent", reason="needs tqdm")
    # what thread_map and process_map are
    assert concurrent._executor_map(gmpx.Executor, abs, range(-20, 20), max_workers=4, disable=True) == [
        abs(i) for i in range(-20, 20)
    ]


def test_tqdm_thread_map(monkeypatch):
    concurrent = pytest.importorskip("tqdm.contrib.concurrent", reason="needs tqdm")
    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor", gmpx.Executor)
    assert concurrent.thread_map(pow, range(20), range(20), disable=True) == [i**i for i in range(20)]


def test_dask(executor):
    dask = pytest.importorskip("dask", reason="needs dask")

    @dask.delayed
    def square(i):
        gmpx.sleep(0.001)
        return i * i, threading.get_ident()

    with dask.config.set(pool=executor):
        found = dask.compute(*[square(i) for i in range(30)], scheduler="threads")
    assert [v for v, _ in found] == [i * i for i in range(30)]


def boom(i):
    if i == 7:
        raise ValueError("seven")
    return i


@pytest.mark.parametrize("n_jobs", [-1, 1, 2, 50])
def test_joblib(n_jobs):
    joblib = pytest.importorskip("joblib", reason="needs joblib")
    import gmpx.joblib  # noqa: F401

    most, running = [0], [0]

    def body(i):
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.001)
        running[0] -= 1
        return i

    with joblib.parallel_config(backend="gmpx", n_jobs=n_jobs):
        assert joblib.Parallel()(joblib.delayed(body)(i) for i in range(60)) == list(range(60))
        with joblib.Parallel(return_as="generator") as parallel:
            assert list(parallel(joblib.delayed(body)(i) for i in range(20))) == list(range(20))
        with pytest.raises(ValueError, match="seven"):
            joblib.Parallel()(joblib.delayed(boom)(i) for i in range(60))
    assert most[0] <= (n_jobs if n_jobs > 0 else 256)
