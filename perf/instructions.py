"""Counts instead of times: instructions of gmpx's own code on its hot paths, by valgrind.

Each path runs at two sizes under `valgrind --tool=callgrind`, all in one process; the difference is
what the further operations cost, whatever a path's beginning costs. Only instructions in functions of the extension
module count, and of the main thread: what CPython and greenlet do is not gmpx's, and other Ms come
and go by the clock. The figures go to baseline.json under the compiler, the Python version and the
architecture, since each of these changes them.
"""

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKER = HERE / "workers" / "counted.py"
BASELINE = HERE / "baseline.json"
SMALL, LARGE = 1000, 3000
MAY_GROW = 1.03


class NotChecked(Exception):
    """Why there is no count."""


def worker(*arguments, prefix=(), env=None):
    command = [*prefix, sys.executable, str(WORKER), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr}")
    return done.stdout.strip()


def key():
    """What the counts depend on."""
    version = ".".join(platform.python_version_tuple()[:2])
    return f"{worker('key')}, {platform.python_implementation()} {version}, {platform.machine()}"


def paths():
    return worker("paths").split()


def count():
    """{path: instructions of gmpx for one operation}."""
    if shutil.which("valgrind") is None:
        raise NotChecked("there is no valgrind")
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        options = ["--tool=callgrind", f"--callgrind-out-file={out}", "--separate-threads=yes"]
        options += ["--dump-before=gm_mark"]
        env = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(p for p in sys.path if p),
            "PYTHONHASHSEED": "0",
            "GMPX_MAXPROCS": "1",
            "GMPX_SIGQUIT": "0",
        }
        worker(SMALL, LARGE, prefix=["valgrind", *options], env=env)
        # three parts for each path: what comes before its small run, that, its large run
        found = {}
        for i, path in enumerate(paths()):
            small, large = (
                own((Path(directory) / f"out.{3 * i + part}-01").read_text()) for part in (2, 3)
            )
            found[path] = (large - small) / (LARGE - SMALL)
        return found


def own(text):
    """The cost of all functions of the extension module themselves, in callgrind's format."""
    names = {}
    mine = False
    called = False
    found = 0
    for line in text.splitlines():
        if line.startswith("ob="):
            number, _, name = line[3:].partition(" ")
            if name:
                names[number] = name
            mine = "/gmpx/_core." in names[number]
        elif line.startswith("cob="):
            number, _, name = line[4:].partition(" ")
            if name:
                names[number] = name
        elif line.startswith("calls="):
            called = True  # the next line is the cost of the call, not of this function
        elif line and (line[0].isdigit() or line[0] in "+-*"):
            if mine and not called:
                found += int(line.split()[1])
            called = False
    return found


def baseline():
    return json.loads(BASELINE.read_text()) if BASELINE.exists() else {}


def check():
    """{path: (count, stored count)}; NotChecked where there is nothing to compare with."""
    if shutil.which("valgrind") is None:
        raise NotChecked("there is no valgrind")
    stored = baseline().get(key())
    if stored is None:
        raise NotChecked(f"baseline.json has no figures for {key()}")
    now = count()
    return {path: (now[path], stored[path]) for path in stored}


def grown(found):
    """The paths that cost more than they may."""
    return [path for path, (now, then) in found.items() if now > then * MAY_GROW]


def accept():
    """Counts all paths and stores them for this compiler, Python and architecture."""
    figures = baseline()
    figures[key()] = {path: round(n, 1) for path, n in count().items()}
    BASELINE.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    return figures[key()]


def main(accepting):
    """For run.py --instructions: prints the figures; the exit status."""
    try:
        if accepting:
            for path, now in accept().items():
                print(f"{path:16} {now:8,.1f}")
            print(f"stored in {BASELINE.name} for {key()}")
            return 0
        found = check()
    except NotChecked as why:
        print(f"not checked: {why}")
        return 0
    print(f"instructions of gmpx's own code for each operation; {key()}")
    print(f"{'':16} {'now':>8} {'stored':>8}")
    for path, (now, then) in found.items():
        print(f"{path:16} {now:8,.1f} {then:8,.1f} {100 * (now / then - 1):+6.1f} %")
    worse = grown(found)
    if worse:
        print(f"grown by more than {100 * (MAY_GROW - 1):.0f} %: {', '.join(worse)}")
    return 1 if worse else 0
