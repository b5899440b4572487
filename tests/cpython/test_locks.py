"""CPython's own lock tests (test.lock_tests), on gmpx's primitives, on goroutines and on threads.

The adapters only translate the interface: threading's acquire and wait return False where gmpx
raises TimeoutError. What is not run says why in SKIPPED.
"""

import _thread
import threading
import time
import types
import unittest

import pytest

import gmpx

lock_tests = pytest.importorskip("test.lock_tests", reason="this Python has no test package")

SKIPPED = {
    # name: why
    "test_locked_repr": "the text of repr() is gmpx's own",
    "test_repr": "the text of repr() is gmpx's own",
    "test_constructor": "the adapter's class, not gmpx's",
    "test__is_owned": "a private method of threading's",
    "test_at_fork_reinit": "a private method of threading's; tests/crash/test_fork*.py tests forks",
    "test_reset_internal_locks": "a private method of threading's",
    "test_weakref_deleted": "threading's private bookkeeping",
    "test_weakref_exists": "the adapter is no lock of threading's",
    "test_acquire": "of Condition: its default lock is an RLock, which gmpx has not",
    "test_thread_leak": "counts threads that lock_tests starts; here they are goroutines",
}


class Lock:
    def __init__(self):
        self.mutex = gmpx.Mutex()

    def acquire(self, blocking=True, timeout=-1):
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout < 0 and timeout != -1:
            raise ValueError("timeout value must be a non-negative number")
        if timeout > _thread.TIMEOUT_MAX:
            raise OverflowError("timeout value is too large")
        try:
            return self.mutex.lock(0 if not blocking else None if timeout == -1 else timeout)
        except TimeoutError:
            return False

    def release(self):
        self.mutex.unlock()

    def locked(self):
        return self.mutex.locked()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exc):
        self.release()


class Condition:
    def __init__(self, lock=None):
        self.lock = lock if lock is not None else Lock()
        self.cond = gmpx.Cond(self.lock.mutex)
        self.acquire, self.release = self.lock.acquire, self.lock.release

    def wait(self, timeout=None):
        try:
            return self.cond.wait(timeout)
        except TimeoutError:
            return False

    def wait_for(self, predicate, timeout=None):
        try:
            return self.cond.wait_for(predicate, timeout)
        except TimeoutError:
            return False

    def notify(self, n=1):
        if not self.lock.locked():
            raise RuntimeError("cannot notify on un-acquired lock")
        for _ in range(n):
            self.cond.signal()

    def notify_all(self):
        self.cond.broadcast()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exc):
        self.release()


class Semaphore:
    bounded = False

    def __init__(self, value=1):
        self.sem = gmpx.Semaphore(value)
        self.value = value

    def acquire(self, blocking=True, timeout=None):
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        try:
            return self.sem.acquire(timeout=timeout if blocking else 0)
        except TimeoutError:
            return False

    def release(self, n=1):
        if self.bounded and self.sem.free + n > self.value:
            raise ValueError("Semaphore released too many times")
        self.sem.release(n)

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exc):
        self.release()


class BoundedSemaphore(Semaphore):
    bounded = True


class Event:
    def __init__(self):
        self.event = gmpx.Event()
        self.set, self.clear, self.is_set = self.event.set, self.event.clear, self.event.is_set

    def wait(self, timeout=None):
        try:
            return self.event.wait(timeout)
        except TimeoutError:
            return False


class Barrier(gmpx.Barrier):
    def wait(self, timeout=None):
        try:
            return super().wait(timeout)
        except TimeoutError:
            raise threading.BrokenBarrierError from None


class LockTests(lock_tests.LockTests):
    locktype = staticmethod(Lock)


class ConditionTests(lock_tests.ConditionTests):
    locktype = staticmethod(Lock)
    condtype = staticmethod(Condition)


class SemaphoreTests(lock_tests.SemaphoreTests):
    semtype = staticmethod(Semaphore)


class BoundedSemaphoreTests(lock_tests.BoundedSemaphoreTests):
    semtype = staticmethod(BoundedSemaphore)


class EventTests(lock_tests.EventTests):
    eventtype = staticmethod(Event)


class BarrierTests(lock_tests.BarrierTests):
    barriertype = staticmethod(Barrier)


CLASSES = [LockTests, ConditionTests, SemaphoreTests, BoundedSemaphoreTests, EventTests,
           BarrierTests]
NAMES = [(cls, name) for cls in CLASSES for name in unittest.TestLoader().getTestCaseNames(cls)]
# not unittest's to collect
for cls in CLASSES:
    cls.__test__ = False


def start_goroutine(fn, args, kwargs=None):
    return gmpx.go(fn, *args, **(kwargs or {})).id


@pytest.fixture(params=["goroutines", "threads"])
def where(request, monkeypatch):
    if request.param == "goroutines":
        clock = types.SimpleNamespace(**{**vars(time), "sleep": gmpx.sleep})
        monkeypatch.setattr(lock_tests, "start_new_thread", start_goroutine)
        monkeypatch.setattr(lock_tests, "time", clock)
        if hasattr(lock_tests, "support"):
            monkeypatch.setattr(lock_tests.support, "time", clock)
    return request.param


@pytest.mark.parametrize("cls, name", NAMES, ids=[f"{c.__name__}-{n}" for c, n in NAMES])
def test_lock_tests(cls, name, where):
    if name in SKIPPED and (name != "test_acquire" or cls is ConditionTests):
        pytest.skip(SKIPPED[name])
    result = unittest.TestResult()
    cls(name).run(result)
    for _, text in result.errors + result.failures:
        pytest.fail(text, pytrace=False)
    for _, text in result.skipped:
        pytest.skip(text)
    assert result.testsRun == 1
