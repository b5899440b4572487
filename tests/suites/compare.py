"""Another package's own pytest suite: as it is, patched, and each test in a goroutine; says what differs.

    python compare.py [--modes plain,patched,goroutines] [--limit SECONDS] [--again N] DIRECTORY [pytest's arguments]

DIRECTORY is an unpacked source distribution or a checkout; what its tests need is installed where this runs, the
package itself among it, and servers run. Each mode is a process of its own:

plain       without gmpx.
patched     gmpx.patch.all() before the tests, and what they test, are imported.
goroutines  that, and each test, setUp and tearDown of unittest with it, in a goroutine of its own; pytest's fixtures
            remain in the main one.

Prints the counts as rows of a Markdown table, then each test whose outcome is not the same in all modes, and how it
ended. With --again those tests run N times more in each mode: one that fails at times in each is not the patch's. The
exit status is 1 if something differs. Where tests are limited to fractions of a second, on a busy machine, add
``-o timeout_func_only=true``: pytest-timeout's signal then does not come into what pytest itself does.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve()
MODES = ("plain", "patched", "goroutines")


# ---- in the process of a mode: a plugin of pytest ------------------------------------------


class Plugin:
    """Notes {test: [outcome, how it ended]}, after each test, for a process that ends early."""

    def __init__(self, mode, path):
        self.mode = mode
        self.note = open(path, "a")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item):
        if self.mode != "goroutines":
            return (yield)
        import gmpx

        plain = item.runtest
        ends = []

        def caught():
            try:
                plain()
            except BaseException as e:  # also pytest's own of skip and fail
                ends.append(e)

        def runtest():
            gmpx.go(caught).join()
            if ends:
                raise ends.pop()

        item.runtest = runtest
        return (yield)

    def pytest_runtest_logstart(self, nodeid, location):
        self.note.write(json.dumps([nodeid, "did not end", ""]) + "\n")
        self.note.flush()

    def pytest_runtest_logreport(self, report):
        outcome, how = report.outcome, ""
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if report.skipped else "xpassed"
        elif report.when != "call":
            if outcome == "passed":
                return
            outcome = "error" if outcome == "failed" else outcome
        if outcome in ("failed", "error"):
            how = str(report.longrepr)[-4000:]
        elif outcome == "skipped":
            how = str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
        self.note.write(json.dumps([report.nodeid, outcome, how]) + "\n")
        self.note.flush()

    def pytest_collectreport(self, report):
        if report.failed:
            self.note.write(json.dumps([report.nodeid, "error", str(report.longrepr)[-4000:]]) + "\n")
            self.note.flush()


def main_of_mode(args):
    mode, path = os.environ.pop("GMPX_COMPARE").split(":", 1)
    if mode != "plain":
        import gmpx.patch

        gmpx.patch.all()
    return pytest.main(["-p", "no:cacheprovider", *args], plugins=[Plugin(mode, path)])


# ---- the comparison ------------------------------------------------------------------------


def run(mode, options, args):
    """{test: (outcome, how it ended)}"""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as notes:
        env = {**os.environ, "GMPX_COMPARE": f"{mode}:{notes.name}"}
        command = [sys.executable, str(HERE), *args]
        try:
            done = subprocess.run(
                command,
                cwd=options.directory,
                env=env,
                timeout=options.limit,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            code, out = done.returncode, done.stdout
        except subprocess.TimeoutExpired as e:
            code, out = f"not within {options.limit:g} s", e.stdout or b""
        if options.keep:
            Path(options.keep, f"{mode}.out").write_bytes(out)
        found = {}
        for line in notes:
            test, outcome, how = json.loads(line)
            was = found.get(test, ("", ""))[0]
            if was in ("failed", "error") and outcome != "did not end":
                continue                        # a tear-down after that
            found[test] = (outcome, how)
    if code not in (0, 1) or not found:         # all passed, some failed
        found["the process"] = ("error", f"ended with {code}\n{out[-4000:].decode(errors='replace')}")
    return found


def row(mode, found):
    counts = collections.Counter(outcome for outcome, _ in found.values())
    return f"| {mode} | {len(found)} | " + ", ".join(f"{n} {outcome}" for outcome, n in counts.most_common()) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", type=lambda s: s.split(","), default=MODES)
    parser.add_argument("--limit", type=float, default=1800, help="seconds for each mode")
    parser.add_argument("--again", type=int, default=0)
    parser.add_argument("--keep", help="a directory for what pytest prints")
    parser.add_argument("directory")
    options, args = parser.parse_known_args()
    print("| mode | tests | outcomes |\n| --- | --- | --- |")
    of = {}
    for mode in options.modes:
        of[mode] = run(mode, options, args)
        print(row(mode, of[mode]), flush=True)
    tests = dict.fromkeys(test for found in of.values() for test in found)
    missing = ("not run", "")
    differ = [t for t in tests if len({of[mode].get(t, missing)[0] for mode in options.modes}) > 1]
    again = collections.defaultdict(list)
    if differ and options.again:
        ids = [t for t in differ if t != "the process"]
        flags = [arg for arg in args if arg.startswith("-")]
        for _ in range(options.again):
            for mode in options.modes:
                found = run(mode, options, [*flags, *ids])
                for t in ids:
                    again[t, mode].append(found.get(t, missing)[0])
    for t in differ:
        print(f"\n{t}")
        for mode in options.modes:
            outcome, how = of[mode].get(t, missing)
            print(f"    {mode}: {outcome}; again: {', '.join(again[t, mode])}" if again else f"    {mode}: {outcome}")
            for line in how.strip().splitlines()[-12:]:
                print(f"        {line}")
    return bool(differ)


if __name__ == "__main__":
    sys.exit(main_of_mode(sys.argv[1:]) if "GMPX_COMPARE" in os.environ else main())
