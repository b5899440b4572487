"""CPython's own tests of threads, locks, queues, locals and event loops: none fails under the patch that passes without.

Then those of the locks, queues and locals run in goroutines side by side, three of each class (suite.py).
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("test.support", reason="this Python has no test package")
pytest.importorskip("test.lock_tests", reason="this Python's test package has no tests")

sys.path.insert(0, str(Path(__file__).parent))
from suite import ALL, LIMIT, PROCESS, WHENS, Suite, name  # noqa: E402

sys.path.remove(str(Path(__file__).parent))

# A package since 3.12, of which these are not about processes.
FUTURES = ["test_concurrent_futures"]
if getattr(find_spec("test.test_concurrent_futures"), "submodule_search_locations", None) is not None:
    FUTURES = [
        f"test_concurrent_futures.test_{part}"
        for part in ("thread_pool", "as_completed", "future", "init", "shutdown", "wait")
    ]

MODULES = [
    "test_thread",
    "test_threading",
    "test_threading_local",
    "test_threadedtempfile",
    "test_threadsignals",
    "test_queue",
    "test_sched",
    "test_context",
    *FUTURES,
    "test_asyncio.test_base_events",
    "test_asyncio.test_locks",
    "test_asyncio.test_queues",
    "test_asyncio.test_runners",
    "test_asyncio.test_taskgroups",
    "test_asyncio.test_threads",
    "test_asyncio.test_timeouts",
]

# Half a minute each, or much that has little to do with threads.
LONG = [
    "test_logging",
    "test_decimal",
    "test_asyncio.test_events",
    "test_asyncio.test_futures",
    "test_asyncio.test_tasks",
    "test_free_threading",
]
if ALL:
    MODULES += LONG

# What fails under the patch and passes without: {pattern of ids: why}.
FAILS = {
    # up to 3.12
    "*.ThreadTests.test_tstate_lock": "waits by itself for a lock of Thread's own, which C code releases",
}

# Processes and interpreters of a pool's own.
SLOW = ["*.ProcessPool*", "*Interpreter*"]

# What cannot run beside others in one process, on threads no more than in goroutines.
ALONE = {
    "test_thread": {
        "*.test__count": PROCESS + "counts all threads",
        "*.test_unraisable_exception": PROCESS + "the hook of what cannot be raised",
        "*.TestForkInThread.*": "waits for any child",
    },
    "test_threading": {
        "*.test_thread_leak": PROCESS + "counts all threads",
    }
    | {
        f"*.{cls}.*": PROCESS + "counts threads, sets hooks, sends signals, starts children"
        for cls in (
            "ThreadTests",
            "ThreadJoinOnShutdown",
            "SubinterpThreadingTests",
            "ThreadingExceptionTests",
            "ThreadRunFail",
            "ExceptHookTests",
            "MiscTestCase",
            "InterruptMainTests",
            "AtexitTests",
        )
    },
    "test_threading_local": {
        "*.test_cycle_collection": PROCESS + "the collector: while it runs for one, gc.collect does nothing for others",
        "_threading_local": "a doctest",
    },
    "test_queue": {},
}

TOGETHER = [(module, 3) for module in ALONE]
SUITE = Suite(MODULES, TOGETHER, fails=FAILS, slow=SLOW, alone=ALONE)


in_background = SUITE.in_background


@pytest.mark.timeout(LIMIT * 3 + 60)
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("module", MODULES)
def test_none_fails_that_passes_unpatched(module, when):
    SUITE.check_alone(module, when)


@pytest.mark.timeout(LIMIT * 3 + 60)
@pytest.mark.parametrize("args", TOGETHER, ids=name)
def test_side_by_side_in_goroutines(args):
    SUITE.check_together(*args)
