"""CPython's tests of thread pools pass on gmpx.Executor."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("test.support", reason="this Python has no test package")

SCRIPT = Path(__file__).with_name("executor.py")

# What cannot be so.
SKIPS = {
    "*.test_threads_terminate": "counts the threads of an executor",
    "*.test_context_manager_shutdown": "joins the threads of an executor",
    "*.test_del_shutdown": "joins the threads of an executor",
    "*.test_shutdown_no_wait": "joins the threads of an executor",
    "*.test_thread_names_*": "names of threads",
    "*.test_saturation": "counts the threads of an executor",
    "*.test_idle_thread_reuse": "counts the threads of an executor",
    "*.test_default_workers": "there is no bound by default",
    "*.test_cancel_futures": "wants some of 50 calls to have begun by then: a goroutine begins when its spawner waits",
    "*.test_hang_gh83386": "runs a Python that knows nothing of gmpx; tests/crash/test_executor.py",
    "*.test_hang_gh94440": "a process pool's",
    "*.test_interpreter_shutdown": "runs a Python that knows nothing of gmpx; tests/crash/test_executor.py",
    "*.test_submit_after_interpreter_shutdown": "runs a Python that knows nothing of gmpx; tests/crash/test_executor.py",
    "*.test_hang_global_shutdown_lock": "forks process pools for a minute; tests/crash/test_executor.py",
}


@pytest.mark.skipif(
    importlib.util.find_spec("test.test_concurrent_futures") is None,
    reason="this Python's test package has no tests of concurrent.futures",
)
@pytest.mark.timeout(300)
def test_thread_pool_classes():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--patch", *(arg for skipped in SKIPS for arg in ("--skip", skipped))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[2]), *sys.path])},
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-10000:]
    outcomes = json.loads(done.stdout)
    assert len(outcomes) >= 25
    bad = {test: outcome for test, outcome in outcomes.items() if outcome not in ("ok", "skipped")}
    assert not bad, "\n".join(f"{test}\n{outcome}" for test, outcome in bad.items())
