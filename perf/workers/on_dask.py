"""Dask's own map: the programs of cluster-*."""

import atexit
import operator
import sys
import time
from functools import cache

from harness import check, each, main

NOT_THERE = 3
AT_ONCE = 500
WAIT_S = 0.01

try:
    import dask
    import distributed
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(NOT_THERE)


# Its faster setting: all tasks go to the workers at once. By default some wait in the scheduler, and cost five times as much.
dask.config.set({"distributed.scheduler.worker-saturation": float("inf")})


@cache
def client(threads):
    local = distributed.LocalCluster(n_workers=2, threads_per_worker=threads, processes=True, dashboard_address=None)
    found = distributed.Client(local)
    atexit.register(local.close)
    atexit.register(found.close)
    return found


def calls(n):
    c = client(1)
    start = time.perf_counter_ns()
    found = c.gather(c.map(operator.neg, range(n), pure=False))
    figure = each(start, n)
    check(sum(found), -n * (n - 1) // 2)
    return figure


def sleeps(n):
    c = client(AT_ONCE)
    start = time.perf_counter_ns()
    found = c.gather(c.map(time.sleep, [WAIT_S] * n, pure=False))
    figure = each(start, n)
    check(len(found), n)
    return figure


PROGRAMS = {"cluster-calls": calls, "cluster-waits": sleeps, "cluster-sleeps": sleeps}

if __name__ == "__main__":
    main(distributed.__version__, PROGRAMS)
