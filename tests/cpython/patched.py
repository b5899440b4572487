"""Runs test modules of CPython's own suite in this process and prints {test id: outcome} as JSON.

    python patched.py [--patch before|after] [--goroutines N] [--clients | --copy MODULE]
        [--children] [--limit SECONDS] [--only ID] [--skip ID] module ...

``--patch before`` calls gmpx.patch.all() before the tests are imported, ``after`` when they have been.
Without ``--goroutines`` the tests run in the main goroutine; with it each TestCase class runs in N
goroutines at once, all classes side by side. ``--clients``: what a test starts as a client is a goroutine,
too, not a thread. ``--copy``: for files that keep in globals, or in those of this module, which server is
meant: each of the N goroutines has a copy of them to itself, and runs one class after the other.
``--children``: Pythons that tests
start are patched, too. IDs are patterns. What the tests print goes to stderr.
"""

import _thread
import argparse
import contextlib
import contextvars
import faulthandler
import fnmatch
import importlib
import json
import os
import socket
import sys
import tempfile
import threading
import time
import types
import unittest
import warnings

# No test may look for what a sandbox has not: no hosts elsewhere ("network").
RESOURCES = ["cpu", "subprocess", "walltime"]
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")


class Outcomes(unittest.TestResult):
    """{test id: "ok", "skipped: …", or a traceback}; the worst outcome of a test that ran more than once."""

    def __init__(self):
        super().__init__()
        self.of = {}

    def _note(self, test, outcome):
        name = test.id()
        if self.of.get(name, "ok") == "ok" or not outcome.startswith(("ok", "skipped")):
            self.of[name] = outcome

    def startTest(self, test):
        super().startTest(test)
        self._note(test, "ok")
        if os.environ.get("PATCHED_VERBOSE"):
            print("--", test.id(), file=sys.stderr, flush=True)

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            found = self.failures if issubclass(err[0], test.failureException) else self.errors
            self._note(test, f"{subtest}\n{found[-1][1]}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note(test, f"skipped: {reason}")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._note(test, "unexpected success")


def patch():
    import gmpx.patch

    gmpx.patch.all()


def patch_children():
    """Pythons that tests start for a piece of code (-c) are patched, too."""
    from test.support import script_helper

    head = f"import sys; sys.path[:0] = {sys.path!r}; import gmpx.patch; gmpx.patch.all()\n"

    def wrap(start):
        def patched(*args, **options):
            args = [head + arg if i and args[i - 1] == "-c" else arg for i, arg in enumerate(args)]
            return start(*args, **options)

        return patched

    for name in ("run_python_until_end", "spawn_python"):
        setattr(script_helper, name, wrap(getattr(script_helper, name)))


def cases(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from cases(item)
        else:
            yield item


def named(test, patterns):
    return any(fnmatch.fnmatchcase(test.id(), pattern) for pattern in patterns)


def load(names):
    """({module: [tests]}, {name: why it cannot be had})"""
    from test import support

    found, missing = {}, {}
    for name in names:
        # test_socketserver asks for it, and uses this host alone
        support.use_resources = [*RESOURCES, "network"] if name == "test_socketserver" else RESOURCES
        try:
            module = importlib.import_module(f"test.{name}")
        except (ImportError, unittest.SkipTest) as e:
            missing[f"test.{name}"] = f"skipped: {type(e).__name__}: {e}"
        else:
            found[module] = list(cases(unittest.defaultTestLoader.loadTestsFromModule(module)))
    return found, missing


def vsock_works():
    """Whether a VSOCK connection can be made; else test_socket's test of it waits for ever."""
    try:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as s:
            s.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
            s.listen()
            with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as client:
                client.settimeout(2)
                client.connect((1, s.getsockname()[1]))
    except (AttributeError, OSError):
        return False
    return True


class OwnNames:
    """test.support.os_helper, with a TESTFN for each goroutine of side_by_side and what that starts."""

    of = contextvars.ContextVar("of", default="")

    def __init__(self, os_helper):
        self.os_helper = os_helper

    @property
    def TESTFN(self):
        return self.os_helper.TESTFN + self.of.get()

    def __getattr__(self, name):
        return getattr(self.os_helper, name)


class Exit(Exception):
    """thread.exit() of a goroutine."""


def leave():
    raise Exit


def start_thread(fn, args):
    return _thread.start_new_thread(contextvars.copy_context().run, (fn, *args))


def start_goroutine(fn, args):
    import gmpx

    def run():
        with contextlib.suppress(Exit):
            fn(*args)

    return gmpx.go(run).id


def event_class():
    import gmpx

    class Event:
        """threading.Event's interface."""

        def __init__(self):
            self.event = gmpx.Event()
            self.set, self.clear, self.is_set = self.event.set, self.event.clear, self.event.is_set

        def wait(self, timeout=None):
            try:
                return self.event.wait(timeout)
            except TimeoutError:
                return False

    return Event


def adapt(module, clients):
    """For side_by_side. test_socket starts its clients by _thread, and they meet at events."""
    from test import support
    from test.support import threading_helper

    # they wait until the process has no more threads than before: here they are the others'
    threading_helper.wait_threads_exit = lambda timeout=None: contextlib.nullcontext()
    threading_helper.threading_setup = lambda: ()
    threading_helper.threading_cleanup = lambda *before: None
    # and take the process's children
    support.reap_children = module.reap_children = lambda: None
    if module.__name__ == "test.test_subprocess":
        module.BaseTestCase.setUp = module.BaseTestCase.tearDown = lambda self: None
    if hasattr(module, "os_helper"):
        module.os_helper = OwnNames(module.os_helper)
    if hasattr(module, "ThreadableTest"):
        start, leaves = (start_goroutine, leave) if clients else (start_thread, _thread.exit)
        module.thread = types.SimpleNamespace(start_new_thread=start, exit=leaves)
        if clients:
            module.threading = types.SimpleNamespace(
                **{**vars(threading), "Event": event_class()}
            )


def note_all(of, result):
    for name, outcome in of.items():
        if result.get(name, "ok") == "ok" or not outcome.startswith(("ok", "skipped")):
            result[name] = outcome


def in_copies(module, owned, skipped, n, result):
    """A module in n goroutines at once, each with a copy of its own, also of the modules ``owned``."""
    import gmpx

    def copied():
        for name in (*owned, module.__name__):
            sys.modules.pop(name, None)
            package, _, child = name.rpartition(".")
            vars(sys.modules.get(package, sys)).pop(child, None)  # "from package import child"
        copy = importlib.import_module(module.__name__)
        if hasattr(copy, "os_helper"):
            copy.os_helper = OwnNames(copy.os_helper)
        return copy

    def run(i, copy):
        OwnNames.of.set(f"_copy_{i}")
        tests = cases(unittest.defaultTestLoader.loadTestsFromModule(copy))
        mine = Outcomes()
        unittest.TestSuite(test for test in tests if not skipped(test)).run(mine)
        return mine.of

    copies = [copied() for _ in range(n)]
    for g in [gmpx.go(run, i, copy) for i, copy in enumerate(copies)]:
        note_all(g.result(), result)


def side_by_side(tests, n, result):
    """Each class of a module in n goroutines at once; what the module sets up is set up once."""
    import gmpx

    classes = {}
    for test in tests:
        classes.setdefault(type(test), []).append(test._testMethodName)

    def run(i, cls, names):
        # what setUpClass sets is each copy's own
        cls = type(cls.__name__, (cls,), {"__module__": cls.__module__, "__qualname__": cls.__qualname__})
        OwnNames.of.set(f"_{cls.__name__}_{i}")
        mine = Outcomes()
        unittest.TestSuite(cls(name) for name in names).run(mine)
        return mine.of

    group = [gmpx.go(run, i, cls, names) for i in range(n) for cls, names in classes.items()]
    for g in group:
        note_all(g.result(), result)


def run_module(module, tests, options, outcomes):
    vsock = vsock_works()

    def skipped(test):
        if "VSOCK" in test.id() and not vsock:
            return True
        return named(test, options.skip) or bool(options.only) and not named(test, options.only)

    tests = [test for test in tests if not skipped(test)]
    if options.copy:
        adapt(module, False)
        in_copies(module, options.copy, skipped, options.goroutines, outcomes)
    elif options.goroutines:
        adapt(module, options.clients)
        side_by_side(tests, options.goroutines, outcomes)
    else:
        result = Outcomes()
        unittest.TestSuite(tests).run(result)
        outcomes.update(result.of)


def end_at(seconds):
    """Shows what everybody waits for, and ends the process."""
    time.sleep(seconds)
    if "gmpx" in sys.modules:
        sys.modules["gmpx"].dump()
    faulthandler.dump_traceback()
    os._exit(3)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--patch", choices=["before", "after"])
    parser.add_argument("--goroutines", type=int, default=0)
    parser.add_argument("--clients", action="store_true")
    parser.add_argument("--copy", action="append", default=[])
    parser.add_argument("--children", action="store_true")
    parser.add_argument("--limit", type=float, default=600, help="seconds")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("modules", nargs="+")
    options = parser.parse_args()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _thread.start_new_thread(end_at, (options.limit,))
    for name in PROXIES:
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    warnings.simplefilter("default")
    # said of end_at's thread, at times into what a test compares
    warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
    if options.children:
        patch_children()
    if options.patch == "before":
        patch()
    found, outcomes = load(options.modules)
    if options.patch == "after":
        patch()
    with tempfile.TemporaryDirectory() as path:
        os.chdir(path)
        for module, tests in found.items():
            run_module(module, tests, options, outcomes)
        os.chdir("/")
    json.dump(outcomes, out, indent=1)
    out.flush()


if __name__ == "__main__":
    main()
