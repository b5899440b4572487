"""`dask worker --preload gmpx.cluster.patched`: as `gmpx.cluster`, and the standard library waits as goroutines do."""

from __future__ import annotations

from typing import Any

from gmpx import lock_os_thread, patch
from gmpx.cluster import preload
from gmpx.cluster.preload import dask_teardown

__all__ = ["dask_setup", "dask_teardown"]


def dask_setup(worker: Any) -> None:
    """Called by Dask when a worker has started, on its loop."""
    patch.all()
    # A patched loop parks, and its thread would run goroutines that may keep it from the loop.
    lock_os_thread().__enter__()
    preload.dask_setup(worker)
