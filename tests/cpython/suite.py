"""What test_*_suites.py share: CPython's own test modules in processes of their own (patched.py).

A suite is what a test file says of its modules: which run alone under the patch, and which side by side in
goroutines. What fails under the patch is run again without it, and counts if it passes there. (A test that only
fails at times is run once under the patch: it counts.)
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PATCHED = Path(__file__).with_name("patched.py")
# Leaves nothing out for its slowness, and patches once before and once after the import.
ALL = os.environ.get("GMPX_CPYTHON_ALL") == "1"
# A process that hangs shows what for, and ends.
LIMIT = 300
WHENS = ["before", "after"] if ALL else ["before"]
PROCESS = "changes what is the whole process's: "


def run(args):
    path = os.pathsep.join([str(PATCHED.parents[2]), *sys.path])
    done = subprocess.run(
        [sys.executable, str(PATCHED), "--limit", str(LIMIT), *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert done.returncode == 0
        return json.loads(done.stdout)
    except (AssertionError, ValueError):
        end = done.stderr.decode(errors="replace")[-20000:]
        return {"process": f"{args}: ended with {done.returncode}\n{end}"}


def failed(outcomes):
    return {t: o for t, o in outcomes.items() if not o.startswith(("ok", "skipped"))}


def skip(patterns):
    return [arg for pattern in patterns for arg in ("--skip", pattern)]


def show(outcomes):
    return "\n".join(f"{test}\n{outcome}" for test, outcome in outcomes.items())


class Suite:
    """The modules of one test file.

    Args:
        modules: names below ``test``, for ``check_alone``.
        together: (module, goroutines, patched.py's options …), for ``check_together``.
        fails: {pattern of ids: why it fails under the patch and passes without}.
        slow: patterns of what is left out unless ALL.
        alone: {module: {pattern: why it cannot run beside others in one process, on threads no more than in goroutines}}.
        copies: {module: the modules of which each goroutine needs a copy, because their globals say which server is meant}.
        children: modules where much is done by Pythons that the tests start: those are patched, too.
    """

    def __init__(self, modules, together=(), *, fails=(), slow=(), alone=None, copies=None, children=()):
        self.modules, self.together = list(modules), list(together)
        self.fails, self.slow = list(fails), [] if ALL else list(slow)
        self.alone, self.copies, self.children = alone or {}, copies or {}, set(children)
        self.asked = {}

    def alone_args(self, module, when):
        children = ["--children"] if module in self.children else []
        return ["--patch", when, *children, *skip(self.fails), *skip(self.slow), module]

    def together_args(self, module, n, *options):
        copies = [arg for name in self.copies.get(module, []) for arg in ("--copy", name)]
        skips = [*skip(self.alone.get(module, ())), *skip(self.slow)]
        return ["--patch", "after", "--goroutines", str(n), *options, *copies, *skips, module]

    def in_background(self, background, items):
        wanted = {item.callspec.id for item in items if hasattr(item, "callspec")}
        for when in WHENS:
            for module in self.modules:
                if f"{module}-{when}" in wanted:
                    self.ask(background, self.alone_args(module, when))
        for args in self.together:
            if name(args) in wanted:
                self.ask(background, self.together_args(*args))

    def ask(self, background, args):
        self.asked[tuple(args)] = background.ask(run, args, waits=True)

    def outcomes(self, args):
        return self.asked[tuple(args)].result()

    def check_alone(self, module, when):
        outcomes = self.outcomes(self.alone_args(module, when))
        bad = failed(outcomes)
        if bad and "process" not in bad:
            plain = run([arg for test in bad for arg in ("--only", test)] + [module])
            bad = {test: outcome for test, outcome in bad.items() if test not in failed(plain)}
        assert not bad, show(bad)
        if list(outcomes) == [f"test.{module}"]:
            pytest.skip(outcomes[f"test.{module}"])

    def check_together(self, module, *rest):
        outcomes = self.outcomes(self.together_args(module, *rest))
        bad = failed(outcomes)
        assert not bad, show(bad)
        if list(outcomes) == [f"test.{module}"]:
            pytest.skip(outcomes[f"test.{module}"])


def name(args):
    """The id of a test of what runs together."""
    return "-".join(map(str, args))
