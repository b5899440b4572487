"""A cluster of processes on this machine, and what tests ask its workers."""

import pytest

pytest.importorskip("distributed", reason="needs distributed (gmpx[dask])")
from distributed import Client, LocalCluster  # noqa: E402


@pytest.fixture(scope="module")  # other tests count threads and descriptors
def local_cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, preload=["gmpx.cluster"],
        death_timeout=60,
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")  # other tests count threads and descriptors
def module_client(local_cluster):
    with Client(local_cluster, timeout=60) as client:
        yield client


@pytest.fixture
def client(module_client):
    module_client.wait_for_workers(2, timeout=60)
    return module_client


@pytest.fixture
def marks(tmp_path, until):
    """Names that calls leave on the disk, wherever they run: .make(name) there, .wait(name) here."""

    class Marks:
        def __init__(self, path):
            self.path = str(path)

        def make(self, name):
            import os

            open(os.path.join(self.path, str(name)), "a").close()

        def there(self):
            import os

            return set(os.listdir(self.path))

        def wait(self, name):
            until(lambda: str(name) in self.there(), patience=60)

    return Marks(tmp_path)
