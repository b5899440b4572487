"""The programs of cluster-* by gmpx.cluster, over a LocalCluster of two processes that lives as long as this one."""

import atexit
import operator
import time
from functools import cache

import gmpx
from gmpx import cluster
from harness import check, each

AT_ONCE = 500
WAIT_S = 0.01


@cache
def client():
    from distributed import Client, LocalCluster

    local = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, preload=["gmpx.cluster.patched"]
    )
    found = Client(local)
    atexit.register(local.close)
    atexit.register(found.close)
    return found


def calls(n):
    c = client()
    start = time.perf_counter_ns()
    found = cluster.map(c, operator.neg, range(n))
    figure = each(start, n)
    check(sum(found), -n * (n - 1) // 2)
    return figure


def waits(wait):
    def program(n):
        c = client()
        start = time.perf_counter_ns()
        found = cluster.map(c, wait, [WAIT_S] * n, limit=AT_ONCE)
        figure = each(start, n)
        check(len(found), n)
        return figure

    return program


PROGRAMS = {"cluster-calls": calls, "cluster-waits": waits(gmpx.sleep), "cluster-sleeps": waits(time.sleep)}
