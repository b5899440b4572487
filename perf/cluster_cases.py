"""The cases of gmpx.cluster: two worker processes on this machine, by Dask.

README.md defines each case in words; the programs are workers/cluster_gmpx.py and workers/on_dask.py.
"""

from importlib.util import find_spec

from case import EVERYONE, Case

#: It takes part in these cases only.
VARIANTS = ("dask",)
ALONE = {name: "one process, here" for name in EVERYONE if name != "gmpx"}


def cluster_case(name, figure, size, quick, of_dask):
    return Case(
        f"cluster-{name}", figure, sizes=(size,), quick=(quick,), rivals=("gmpx", "dask"), absent=ALONE, warmups=2,
        largest={"dask": of_dask}, needs="gmpx.cluster", repeat=False,
    )  # fmt: skip


CLUSTER_CASES = [
    cluster_case("calls", "one no-op of a map over N, in two processes", 1_000_000, 100_000, 1_000),
    cluster_case("waits", "one of N waits of 10 ms, 500 at once in each of two processes", 10_000, 10_000, 1_000),
    cluster_case("sleeps", "one of N waits in time.sleep, as before", 10_000, 10_000, 1_000),
]
if find_spec("distributed") is None:
    CLUSTER_CASES.clear()
