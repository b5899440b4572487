"""A backend for joblib: ``import gmpx.joblib``, then ``joblib.parallel_config(backend="gmpx", n_jobs=500)``."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any

from joblib import register_parallel_backend  # type: ignore
from joblib.parallel import ParallelBackendBase  # type: ignore

from gmpx.executor import Executor
from gmpx.fanout import IMAP_LIMIT

__all__ = ["Backend"]


class Backend(ParallelBackendBase, metaclass=ABCMeta):  # type: ignore
    """joblib's calls as goroutines, ``n_jobs`` of them at once; 256 where that is None or negative.

    They are in one process, under one GIL: for what waits, not for what computes.
    """

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True
    default_n_jobs = IMAP_LIMIT

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls run at once."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        return n_jobs if n_jobs is not None and n_jobs > 0 else IMAP_LIMIT

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """A Parallel begins."""
        self.parallel = parallel
        n_jobs = self.effective_n_jobs(n_jobs)
        self._executor = Executor(n_jobs, name="joblib")
        return n_jobs

    def submit(self, func: Any, callback: Any = None) -> Any:
        """Starts a batch of calls; the Future."""
        future = self._executor.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        """What the batch returned, or raises what it raised."""
        return out.result()

    def terminate(self) -> None:
        """The Parallel has ended."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """One has failed: what has not begun does not."""
        self.terminate()
        if ensure_ready:
            self.configure(self.parallel.n_jobs, self.parallel)


register_parallel_backend("gmpx", Backend)
