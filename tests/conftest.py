"""Fixtures for all tests: a replayable random source, hand-shakes, and a check that nothing is left."""

import ctypes
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import background
import gmpx
from gmpx import _core

SEED = int(os.environ.get("GMPX_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)

# How long a hand-shake may take before the test is called hung. No test waits for it to pass.
PATIENCE = 20.0
# What still lives after a test gets this long to end.
GRACE = 2.0

EXCEPTHOOK = gmpx.excepthook

# Names that nobody has are asked for where no name server may answer: the C library waits for 5 s by itself.
os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")

# What any process of the tests may have resident, in MiB: watch.py ends what has more.
MOST_MIB = int(os.environ.get("GMPX_TEST_MOST_MIB", "6144"))
# How many seconds after its time-out a test is ended from outside; pytest-timeout has failed then.
OVERTIME = 60
PR_SET_CHILD_SUBREAPER = 36


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # One seed replays hypothesis's examples too.
    if getattr(config.option, "hypothesis_seed", 0) is None:
        config.option.hypothesis_seed = str(SEED)
    if sys.platform.startswith("linux") and os.path.isdir("/proc/self"):
        start_watch(config)


def start_watch(config):
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans come to us
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}  # a sanitizer's
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("watch.py"))]
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # its stderr is to be the run's own
        config.watch = subprocess.Popen(
            [*command, str(os.getpid()), str(MOST_MIB)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=env,
            start_new_session=True,  # Ctrl-C is not for it
        )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=background.asks)


def pytest_collection_finish(session):
    if not session.config.option.collectonly:
        session.config.background = background.begin(session)


def pytest_unconfigure(config):
    if hasattr(config, "background"):
        config.background.end()
    watch = getattr(config, "watch", None)
    if watch is not None:
        watch.kill()
        watch.wait()
        watch.stdin.close()


def tell_watch(config, seconds, what):
    watch = getattr(config, "watch", None)
    if watch is not None and watch.poll() is None:
        what = what.replace("\n", " ")[:1000]
        os.write(watch.stdin.fileno(), f"{seconds} {what}\n".encode())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    config, marker = item.config, item.get_closest_marker("timeout")
    seconds = config.getoption("timeout", None)
    if marker is not None:
        seconds = marker.args[0] if marker.args else marker.kwargs.get("timeout", seconds)
    elif seconds is None and config.pluginmanager.hasplugin("timeout"):
        seconds = config.getini("timeout")
    seconds = float(seconds or 0)
    tell_watch(config, seconds + OVERTIME if seconds else 0, item.nodeid)
    try:
        return (yield)
    finally:
        tell_watch(config, 0, "no test")


def pytest_report_header(config):
    return f"GMPX_TEST_SEED={SEED}"


@pytest.fixture
def rng(request):
    """A random source of the test's own: it does not depend on which tests ran before."""
    return random.Random(f"{SEED}:{request.node.nodeid}")


@pytest.fixture
def until():
    """until(condition): lets others run until condition() is true."""

    def until(condition, patience=PATIENCE):
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"still not so after {patience} s: {condition}")
            gmpx.gosched()
            time.sleep(0)  # gives the GIL to what runs on other threads

    return until


@pytest.fixture
def parked(until):
    """parked(*goroutines, reason=None): lets others run until all of these wait."""

    def parked(*goroutines, reason=None):
        for g in goroutines:
            seen = []
            until(lambda g=g, seen=seen: seen.append(g.status) or seen[-1] in ("waiting", "dead"))
            assert seen[-1] == "waiting", f"{g!r} did not wait"
            if reason is not None:
                assert g.wait_reason == reason

    return parked


@pytest.fixture(autouse=True)
def in_order(request):
    """A test that is marked in_order relies on the order in which what it spawns starts.

    Nobody promises it: a thread that stands still for some milliseconds, in a long collection say, has
    its fresh goroutines stolen by another.
    """
    if request.node.get_closest_marker("in_order") is None:
        yield
        return
    _core._lone(True)
    yield
    _core._lone(False)


@pytest.fixture
def hook(monkeypatch):
    """A list of the (goroutine, exception) pairs that excepthook was called with."""
    calls = []
    monkeypatch.setattr(gmpx, "excepthook", lambda g, exc: calls.append((g, exc)))
    return calls


@pytest.fixture
def in_thread():
    """in_thread(fn, *args): runs fn in a foreign thread; the thread, whose .value() is fn's."""
    threads = []

    class Foreign(threading.Thread):
        def __init__(self, fn, args):
            super().__init__(daemon=True)
            self.fn, self.args, self.returned, self.raised = fn, args, None, None

        def run(self):
            try:
                self.returned = self.fn(*self.args)
            except BaseException as exc:
                self.raised = exc

        def value(self):
            # Goroutines go on while this waits, so it asks and does not block the thread.
            end = time.monotonic() + PATIENCE
            while self.is_alive() and time.monotonic() < end:
                gmpx.gosched()
                self.join(0.0005)
            assert not self.is_alive(), "a foreign thread hangs"
            if self.raised is not None:
                raise self.raised
            return self.returned

    def start(fn, *args):
        thread = Foreign(fn, args)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join(GRACE)
        assert not thread.is_alive(), "a foreign thread is left"


@pytest.fixture
def on_other_m():
    """on_other_m(fn): a goroutine that runs fn on an M other than the main thread's.

    It has begun to run when this returns. The main thread stands still meanwhile, which is what
    lets another M take what is queued on its P.
    """

    def start(fn, *args):
        begun = threading.Lock()
        begun.acquire()
        ident = []

        def body():
            ident.append(threading.get_ident())
            begun.release()
            return fn(*args)

        g = gmpx.go(body)
        # under a patch, too
        assert gmpx._core._PlainLock.acquire(begun, True, PATIENCE), "no other M came"
        assert ident[0] != threading.get_ident()
        return g

    return start


def spawned():
    """Live goroutines but main's and those that belong to foreign threads."""
    return [
        g
        for g in gmpx.goroutines()
        if g.id != 1 and g is not gmpx.current() and not g.name.startswith("thread ")
    ]


@pytest.fixture(autouse=True)
def nothing_left():
    """Fails a test that leaves goroutines, queued work, its excepthook or its gomaxprocs."""
    procs = gmpx.gomaxprocs()
    yield
    hooked = gmpx.excepthook
    gmpx.excepthook = EXCEPTHOOK
    now = gmpx.gomaxprocs(procs)
    end = time.monotonic() + GRACE
    for g in spawned():
        try:
            g.join(max(end - time.monotonic(), 0.001))
        except TimeoutError:
            pass
    left = [(repr(g), g.wait_reason) for g in spawned()]
    for g in spawned():  # so that one test's failure is not the next one's
        g.cancel()
    for g in spawned():
        try:
            g.join(GRACE)
        except TimeoutError:
            pass
    assert not left, f"goroutines are left: {left}"
    assert gmpx.stats()["queued"] == 0
    foreign = [g for g in gmpx.goroutines() if g.name.startswith("thread ")]
    assert len(foreign) < threading.active_count(), f"goroutines of ended threads: {foreign}"
    assert hooked is EXCEPTHOOK, "excepthook was not restored"
    assert now == procs, "gomaxprocs was not restored"
