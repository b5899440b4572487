"""Runs test modules of CPython's own suite in this process and prints {test id: outcome} as JSON.

    python patched.py [--patch before|after] [--goroutines N] [--only ID ...] module ...

``--patch before`` calls gmpx.patch.all() before the tests are imported, ``after`` when they have been.
Without ``--goroutines`` the tests run in the main goroutine; with it each TestCase class runs in N
goroutines at once, all classes side by side. What the tests print goes to stderr.
"""

import argparse
import importlib
import json
import os
import socket
import sys
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


def cases(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from cases(item)
        else:
            yield item


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


def side_by_side(module, tests, n, result):
    """Each class of the module in n goroutines at once; what the module sets up is set up once."""
    import gmpx

    classes = {}
    for test in tests:
        classes.setdefault(type(test), []).append(test)

    def run(cls, names):
        mine = Outcomes()
        unittest.TestSuite(cls(name) for name in names).run(mine)
        return mine.of

    group = [
        gmpx.go(run, cls, [test._testMethodName for test in own])
        for _ in range(n)
        for cls, own in classes.items()
        if own[0]._testMethodName != "runTest"
    ]
    for g in group:
        for name, outcome in g.result().items():
            if result.get(name, "ok") == "ok" or not outcome.startswith(("ok", "skipped")):
                result[name] = outcome


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--patch", choices=["before", "after"])
    parser.add_argument("--goroutines", type=int, default=0)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("modules", nargs="+")
    options = parser.parse_args()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in PROXIES:
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    warnings.simplefilter("default")
    if options.patch == "before":
        patch()
    found, outcomes = load(options.modules)
    if options.patch == "after":
        patch()
    vsock = vsock_works()
    for module, tests in found.items():
        tests = [
            test
            for test in tests
            if (vsock or "VSOCK" not in test.id())
            and test.id() not in options.skip and (not options.only or test.id() in options.only)
        ]
        if options.goroutines:
            side_by_side(module, tests, options.goroutines, outcomes)
        else:
            result = Outcomes()
            unittest.TestSuite(tests).run(result)
            outcomes.update(result.of)
    json.dump(outcomes, out, indent=1)
    out.flush()


if __name__ == "__main__":
    main()
