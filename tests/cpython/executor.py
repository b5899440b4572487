"""Runs the ThreadPool classes of CPython's test_concurrent_futures on gmpx.Executor; {test id: outcome} as JSON.

    python executor.py [--patch] [--skip ID] ...
"""

import argparse
import faulthandler
import fnmatch
import importlib
import json
import pkgutil
import sys
import unittest
from concurrent import futures

import gmpx

out, sys.stdout = sys.stdout, sys.stderr  # the tests print how long they took
faulthandler.dump_traceback_later(250, exit=True)
options = argparse.ArgumentParser()
options.add_argument("--patch", action="store_true")
options.add_argument("--skip", action="append", default=[])
options = options.parse_args()

futures.ThreadPoolExecutor = gmpx.Executor
package = importlib.import_module("test.test_concurrent_futures")
modules = [package]
if hasattr(package, "__path__"):  # since 3.12
    names = [m.name for m in pkgutil.iter_modules(package.__path__) if m.name.startswith("test_")]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
if options.patch:
    gmpx.patch.all()

outcomes = {}
for module in modules:
    for name, cls in vars(module).items():
        if not name.startswith("ThreadPool") or not issubclass(cls, unittest.TestCase):
            continue
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(cls):
            if any(fnmatch.fnmatch(test.id(), skipped) for skipped in options.skip):
                continue
            result = unittest.TestResult()
            print("--", test.id(), file=sys.stderr, flush=True)
            test.run(result)
            bad = [text for _, text in result.errors + result.failures]
            outcomes[test.id()] = bad[0] if bad else "skipped" if result.skipped else "ok"
faulthandler.cancel_dump_traceback_later()
print(json.dumps(outcomes), file=out)
