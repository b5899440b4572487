"""What gmpx promises of its speed and size, each bound a figure of one and the same run."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from fan.kinds import all_work

SPAWN = "spawn-waitgroup"
SPAWN_SIZES = (1_000, 10_000, 100_000, 1_000_000)
PARKED_BYTES = 4_000  # "4.0 KB", read strictly
IDLE_BYTES = 5_000  # "5 KB"
IDLE_NS = 1_000_000  # of CPU time in a second: "none" is a thousandth
HANDFUL = 8  # of threads
#: How many times gmpx's the time of each for an echo is at least.
ECHOES = {
    "Go-1p": 1.0, "uvloop-protocol": 1.0, "uvloop": 1.35, "gevent": 1.7, "asyncio": 1.5,
    "floor": 0.85,
}
# Several Ps: what work that lets go of the GIL gains by two, where it takes so long or each task is
# a goroutine of its own, or a worker is; and what is kept where the GIL is kept.
GAIN, OF_THREADS = 1.85, 0.95
LONG_US = 500
AS_FAST = 0.97  # nowhere slower, of figures that vary by some percent
UNLIMITED = ("go", "map", "workers8", "parked8")
KEEPS_GIL = {"write": 0.8 if sys.version_info >= (3, 14) else 0.85}


@dataclass(frozen=True)
class Bound:
    """One bound.

    Attributes:
        text: what it says.
        of: called with a look-up (case, n, rival) -> figure; returns what is bounded.
        limit: the bound, a ratio unless a unit is given.
        least: whether the limit is the least instead of the most.
        by_round: whether `of` sees the figures of one round and its median over the rounds
            counts; otherwise it sees the medians, or what else it asks for (`of`). A maximum needs
            the latter: that of noisy figures is too large on average.
    """

    text: str
    of: Callable
    limit: float
    unit: str = ""
    least: bool = False
    by_round: bool = True


def ratio(case, n, over, under):
    return lambda get: get(case, n, over) / get(case, n, under)


def growth(get):
    costs = [get(SPAWN, n, "gmpx") for n in SPAWN_SIZES]
    return max(costs) / min(costs)


def handle_cost(n):
    return lambda get: get("spawn-handles", n, "gmpx") - get(SPAWN, n, "gmpx")


def figure(case, n):
    return lambda get: get(case, n, "gmpx")


def select_parking(get):
    """What a select that waits costs over a receive that does, in parks and resumes (of yield)."""
    more = get("select-parking", 10_000, "gmpx") - get("pingpong", 10_000, "gmpx")
    return more / 2 / get("yield", 100_000, "gmpx")


def all_waits(get):
    return get("waits-second", 2_000, "gmpx") * 2_000 / 1e9


def all_bounds():
    million = 1_000_000
    yield Bound(f"{SPAWN} 1,000,000 (quiet machine)", figure(SPAWN, million), 150, "ns")
    yield Bound(f"{SPAWN} 1,000,000: gmpx/Go", ratio(SPAWN, million, "gmpx", "Go"), 0.8)
    yield Bound("spawn-cold 1,000,000 (quiet machine)", figure("spawn-cold", million), 150, "ns")
    yield Bound("spawn-cold 1,000,000: gmpx/Go", ratio("spawn-cold", million, "gmpx", "Go"), 0.8)
    for slow in ("asyncio", "threads"):
        yield Bound(
            f"{SPAWN} 1,000,000: {slow}/gmpx", ratio(SPAWN, million, slow, "gmpx"), 40, least=True
        )
    yield Bound(f"{SPAWN} 1,000 to 1,000,000: dearest/cheapest", growth, 1.3, by_round=False)
    for n in (100_000, million):
        yield Bound(f"spawn-handles less {SPAWN} {n:,}", handle_cost(n), 50, "ns")
    for way in ("submit", "map"):
        of = ratio(f"executor-{way}", 100_000, "threads", "gmpx")
        yield Bound(f"executor-{way} 100,000: threads/gmpx", of, 20, least=True)
    for way in ("fan-all", "fan-lazy-all"):
        yield Bound(f"{way} 100,000 (quiet machine)", figure(way, 100_000), 3_000, "ns")
    yield Bound(
        "cluster-calls 1,000,000: dask/gmpx", ratio("cluster-calls", million, "dask", "gmpx"), 20, least=True
    )
    for way in ("waits", "sleeps"):  # 1.5 times what 1,000 at once take for 10 ms each
        yield Bound(f"cluster-{way} 10,000", figure(f"cluster-{way}", 10_000), 15_000, "ns")
    for case in ("fanout-buffered", "fanout-unbuffered"):
        for n in (10_000, 100_000):
            yield Bound(f"{case} {n:,}: gmpx/Go", ratio(case, n, "gmpx", "Go"), 1.0)
    yield Bound("yield: gmpx/floor", ratio("yield", 100_000, "gmpx", "floor"), 1.25)
    for n in (10_000, 100_000):
        yield Bound(f"pingpong {n:,}: gmpx/floor", ratio("pingpong", n, "gmpx", "floor"), 1.4)
    for case in ("contended-buffered", "contended-unbuffered"):
        for n in (10, 100):
            yield Bound(f"{case} {n:,}: gmpx/Go", ratio(case, n, "gmpx", "Go"), 3.5)
            yield Bound(
                f"{case} {n:,}: asyncio/gmpx", ratio(case, n, "asyncio", "gmpx"), 10, least=True
            )
    yield Bound(
        "select-ready/select-plain",
        lambda get: get("select-ready", 10_000, "gmpx") / get("select-plain", 10_000, "gmpx"),
        2.5,
    )
    yield Bound("select-parking less pingpong, in yields for each select", select_parking, 1.0)
    yield Bound("mutex-alone: gmpx/threads", ratio("mutex-alone", 100_000, "gmpx", "threads"), 1.3)
    yield Bound("memory-parked 100,000", figure("memory-parked", 100_000), PARKED_BYTES, "B")
    yield Bound("parked-first 100,000: first/warm", figure("parked-first", 100_000), 2.6)
    yield Bound(
        "recursion-swaying: gmpx/threads",
        ratio("recursion-swaying", 1_000, "gmpx", "threads"),
        1.2,
    )
    yield Bound("memory-rounds 100,000: third/first", figure("memory-rounds", 100_000), 1.15)
    yield Bound("memory-queued 1,000,000", figure("memory-queued", million), 200, "B")
    yield Bound("memory-object", figure("memory-object", 1), 200, "B")
    yield from network_bounds()


def network_bounds():
    for n in (100, 1_000):
        for rival, least in ECHOES.items():
            of = ratio("echo-64", n, rival, "gmpx")
            yield Bound(f"echo-64 {n:,}: {rival}/gmpx", of, least, least=True)
        yield Bound(f"echo-fair {n:,}: from the mean", figure("echo-fair", n), 2.0)
    yield Bound("echo-cpu 1: gmpx/threads", ratio("echo-cpu", 1, "gmpx", "threads"), 1.0)
    two_ps = ratio("echo-cores", 100, "gmpx", "gmpx-1p")
    yield Bound("echo-cores 100: gmpx/gmpx-1p", two_ps, 1.0)
    for case, rival, most in (
        ("requests-get", "gevent", 0.75), ("requests-get", "threads", 1.0),
        ("requests-cpu", "threads", 1.0),
    ):
        yield Bound(f"{case} 1,000: gmpx/{rival}", ratio(case, 1_000, "gmpx", rival), most)
    for case, n, rival, most in (
        ("secure-get", 1_000, "gevent", 1.1), ("secure-get", 1_000, "threads", 1.0),
        ("secure-handshake", 1_000, "gevent", 1.0),
        ("secure-bulk", 1_000_000_000, "threads", 1 / 0.95),
    ):
        yield Bound(f"{case} {n:,}: gmpx/{rival}", ratio(case, n, "gmpx", rival), most)
    of = ratio("web-hello", 64, "gevent", "gmpx")
    yield Bound("web-hello 64: gevent/gmpx", of, 1.3, least=True)
    of = ratio("web-hello-p99", 64, "gmpx", "gevent")
    yield Bound("web-hello-p99 64: gmpx/gevent", of, 1.0)
    for rival in ("gevent", "asyncio"):
        of = ratio("database-queries", 500, "gmpx", rival)
        yield Bound(f"database-queries 500: gmpx/{rival}", of, 1.1)
    for name, n in (("call", 2_000), ("calls", 10_000), ("back", 2_000)):
        for rival in ("gmpx", "gmpx-asyncio"):
            yield Bound(
                f"bridge-{name} {n:,}: {rival}/asyncio", ratio(f"bridge-{name}", n, rival, "asyncio"), 1.0
            )
    yield Bound("locks-alone: gmpx/threads", ratio("locks-alone", 100_000, "gmpx", "threads"), 1.5)
    yield Bound("locks-local: gmpx/threads", ratio("locks-local", 100_000, "gmpx", "threads"), 1.05)
    yield Bound("waits-second 2,000, all of them", all_waits, 2.5, "s")
    yield Bound("waits-threads 2,000", figure("waits-threads", 2_000), HANDFUL)
    yield Bound("burner-message 64", figure("burner-message", 64), 10_000, "ns")
    yield Bound("idle-memory 10,000", figure("idle-memory", 10_000), IDLE_BYTES, "B")
    yield Bound("idle-cpu 10,000, in a second", figure("idle-cpu", 10_000), IDLE_NS, "ns")


def cores_bounds(programs):
    for program in programs:
        kind, way = program.removeprefix("cores-").rsplit("-", 1)
        work = all_work()[kind]
        if work.form == "beside":
            continue
        yield two_ps(program, kind, work.kind, way)
        of = ratio(program, 2, "executor", "gmpx")
        yield Bound(f"{program}: executor/gmpx", of, AS_FAST, least=True)
        of = ratio(program, 2, "gmpx-8p", "gmpx")
        yield Bound(f"{program}: 8 Ps/2 Ps", of, 1.1)
        yield Bound(
            f"{program}: all runs, median/slowest, or that over threads'",
            steadiness(program), 0.85, least=True, by_round=False,
        )


def two_ps(program, name, kind, way):
    """What 2 Ps gain over one, in the cases of several Ps."""
    gain = ratio(program, 2, "gmpx-1p", "gmpx")
    text = f"{program}: 1 P/2 Ps"
    if not kind.frees:
        return Bound(text, gain, KEEPS_GIL.get(name.partition("-")[0], AS_FAST), least=True)
    if kind.us < LONG_US and way not in UNLIMITED:
        return Bound(text, gain, 1.5, least=True)
    as_threads = ratio(program, 2, "threads", "gmpx")
    return Bound(
        f"{text} over {GAIN}, or threads/gmpx over {OF_THREADS}",
        lambda get: max(gain(get) / GAIN, as_threads(get) / OF_THREADS),
        1.0,
        least=True,
    )


def steadiness(program):
    """The median run over the slowest of all; a machine that does the same to threads is excused."""

    def of(get):
        own, threads = (
            get(program, 2, rival) / get(f"{program}-worst", 2, rival, of=max)
            for rival in ("gmpx", "threads")
        )
        return max(own, own / threads)

    return of


@dataclass(frozen=True)
class Verdict:
    """A bound beside its figure; the figure is None where `missing` was not measured."""

    bound: Bound
    figure: float | None
    missing: str = ""

    @property
    def word(self):
        if self.figure is None:
            return "not checked"
        if self.bound.least:
            return "ok" if self.figure >= self.bound.limit else "MISS"
        return "ok" if self.figure <= self.bound.limit else "MISS"


def judge(results):
    """Returns a Verdict for each bound, from run.Results."""
    programs = dict.fromkeys(case.program for case in results.cases if case.fan)
    return [judge_one(bound, results) for bound in (*all_bounds(), *cores_bounds(programs))]


def judge_one(bound, results):
    try:
        if not bound.by_round:
            return Verdict(
                bound, bound.of(lambda *key, of=median: of(results.figures(*key).values()))
            )
        used = []
        # The first look tells which figures the bound takes.
        bound.of(lambda *key: used.append(key) or median(results.figures(*key).values()))
        turns = set.intersection(*(set(results.figures(*key)) for key in used))
        if not turns:
            return Verdict(bound, None, "round without a failure")
        figures = [bound.of(lambda *key, t=turn: results.figures(*key)[t]) for turn in turns]
        return Verdict(bound, median(figures))
    except KeyError as error:
        case, n, rival = error.args[0]
        return Verdict(bound, None, f"{rival} in {case} {n:,}")
