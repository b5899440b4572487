"""What `dask worker --preload gmpx.cluster` does: an executor "gmpx", whose tasks are goroutines.

A task that is sent with ``dask.annotate(executor="gmpx")`` runs as a goroutine and takes none of its worker's
threads: of tasks that wait, one worker runs thousands at once. What ``gmpx.cluster.map`` sends needs no preload.

Dask tells its own pools from other executors by the name of their type: where that has "ThreadPoolExecutor" in it,
it keeps a task's state under its thread's id, which goroutines share. This one's has not; it gets the bare task,
and brings Dask's context along itself.
"""

from __future__ import annotations

import gc
import time
from typing import Any

from gmpx.executor import Executor

__all__ = ["TaskExecutor", "dask_setup", "dask_teardown"]


class TaskExecutor(Executor):
    """Runs a worker's tasks as goroutines."""

    def __init__(self, worker: Any) -> None:
        super().__init__(name="dask task")
        self._worker = worker

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Called by the worker, on its loop, with a task and what it needs."""
        key = getattr(args[0], "key", None) if args else None
        if key is not None:
            self._worker.loop.add_callback(self._secede, key)
        return super().submit(_in_context, self._worker, fn, args, kwargs)

    def _secede(self, key: Any) -> None:
        """The task holds no thread; the next may come."""
        from distributed.worker_state_machine import SecedeEvent  # type: ignore[import-not-found,import-untyped,unused-ignore]

        self._worker.handle_stimulus(
            SecedeEvent(key=key, compute_duration=0.0, stimulus_id=f"gmpx-secede-{time.time()}")
        )


def _in_context(worker: Any, fn: Any, args: Any, kwargs: Any) -> Any:
    # The goroutine's context is its own: nothing to take back.
    from distributed.worker import _worker_cvar  # type: ignore[import-not-found,import-untyped,unused-ignore]

    _worker_cvar.set(worker)
    return fn(*args, **kwargs)


def dask_setup(worker: Any) -> None:
    """Called by Dask when a worker has started: gives it the executor "gmpx"."""
    if hasattr(worker, "executors"):  # a scheduler has none
        worker.executors.setdefault("gmpx", TaskExecutor(worker))
        # All that Dask has imported stays. A full collection of it keeps the GIL for some 100 ms, and those become
        # frequent where thousands of calls are under way.
        gc.collect()
        gc.freeze()


def dask_teardown(worker: Any) -> None:
    """Called by Dask when a worker closes."""
    executor = getattr(worker, "executors", {}).get("gmpx")
    if executor is not None:
        executor.shutdown(wait=False, cancel_futures=True)
