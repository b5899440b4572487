"""The cases: what is measured, at which sizes, and against whom.

README.md defines each case in words; the programs are in workers/ and go/ under the same names.
A new case is an entry here, a program in each worker that takes part, and a line there.
"""

import sys
from dataclasses import dataclass, field
from importlib import import_module

#: They want an interpreter without the GIL; the header of a run on another one says so.
FREE_THREADED = ("pyroutine-rt", "mt-asyncio", "hypertile", "tonio")
GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
EVERYONE = ("gmpx", "Go", "asyncio", "uvloop", "trio", "gevent", "threads")
if not GIL:
    EVERYONE = (*EVERYONE, *FREE_THREADED)
EVERYONE = (*EVERYONE, "floor")

NO_FLOOR = {"floor": "no lower bound is known"}
NO_TURNS = {"threads": "threads do not take turns"}
NO_PARKED_THREADS = {"threads": "100,000 threads are too many"}
ONLY_GMPX = {name: "about gmpx alone" for name in EVERYONE if name != "gmpx"}
AS_ASYNCIO = {name: "its tasks are asyncio's" for name in ("uvloop", "mt-asyncio", "hypertile")}
NO_HANDLES = {"Go": "has no handles", "trio": "has no handles"}
NO_HEAP = {"trio": "its timers belong to tasks"}
THREADS_AS_ELSEWHERE = {"threads": "pingpong and mutex-contended say what a parked thread costs"}
#: A free-threaded rival has programs for these only; mt-asyncio and hypertile run asyncio's.
PROGRAMS = {
    "pyroutine-rt": (
        "spawn-waitgroup spawn-handles map-calls fanout-buffered hop-buffered yield pingpong "
        "contended-buffered timers-sleeping hash-1m hash-16k cpu-python"
    ).split(),
    "tonio": (
        "spawn-waitgroup map-calls fanout-buffered hop-buffered yield timers-sleeping "
        "hash-1m hash-16k cpu-python"
    ).split(),
}
UNSHARED = "its tasks would need a lock around the count"


@dataclass(frozen=True)
class Case:
    """One thing that is measured.

    Attributes:
        name: also that of the programs; the cases of one group (the part before the first
            hyphen) are measured one after the other, so that they compare.
        figure: what one figure means.
        unit: "ns" (for each operation), "B" (for each goroutine) or "" (a ratio).
        sizes: the Ns, each a row of its own.
        quick: the Ns of a quick run.
        rivals: who takes part; by default everyone who is not absent.
        absent: {rival: why it takes no part}.
        warmups: runs in the same process that do not count.
        largest: the largest N of a rival that is too slow for the others'.
        turns: rounds that the case takes part in, None for all.
        repeat: whether a turn may consist of several runs in one process.
        needs: a name of gmpx without which there is no such case, "" for none.
    """

    name: str
    figure: str
    sizes: tuple
    quick: tuple
    unit: str = "ns"
    rivals: tuple = ()
    warmups: int = 0
    largest: dict = field(default_factory=dict)
    turns: int | None = None
    repeat: bool = True
    absent: dict = field(default_factory=dict)
    needs: str = ""

    def __post_init__(self):
        if not self.rivals:
            taking = tuple(name for name in EVERYONE if name not in self.absent)
            object.__setattr__(self, "rivals", tuple(filter(self._has_program, taking)))

    def _has_program(self, rival):
        return rival not in PROGRAMS or self.name in PROGRAMS[rival]

    @property
    def group(self):
        return self.name.partition("-")[0]

    def size_for(self, rival, n):
        """Returns the N that the rival runs in the row of n."""
        return min(n, self.largest.get(rival, n))


def largest(asyncio=None, trio=None, gevent=None, threads=None):
    """Returns Case.largest; what runs asyncio's programs, or is like it, takes its sizes."""
    sizes = {"asyncio": asyncio, "trio": trio, "gevent": gevent, "threads": threads}
    sizes |= dict.fromkeys(("uvloop", *FREE_THREADED), asyncio)
    return {name: n for name, n in sizes.items() if n is not None and name in EVERYONE}


def only(*names, **reasons):
    """Returns Case.absent of an operation that only these rivals have; `reasons` name others' better."""
    general = dict.fromkeys((n for n in EVERYONE[1:] if n not in PROGRAMS), "has no such operation")
    general |= NO_FLOOR | AS_ASYNCIO | THREADS_AS_ELSEWHERE | reasons
    return {name: reason for name, reason in general.items() if name not in names}


def since_3_11(*names):
    """Returns the names, without asyncio where Python is too old."""
    return [name for name in names if name != "asyncio" or sys.version_info >= (3, 11)]


def there(case):
    """Tells whether gmpx has what the case needs."""
    if not case.needs:
        return True
    try:
        return hasattr(import_module("gmpx"), case.needs)
    except ImportError:
        return False


SPAWN_LARGEST = largest(asyncio=100_000, trio=10_000, gevent=10_000, threads=10_000)
TEN_THOUSAND = largest(asyncio=10_000, trio=10_000, gevent=10_000, threads=10_000)

ALL_CASES = [
    Case(
        "spawn-waitgroup",
        "one no-op spawned and waited for in bulk",
        sizes=(1_000, 10_000, 100_000, 1_000_000),
        quick=(1_000, 10_000),
        warmups=1,
        largest=SPAWN_LARGEST,
    ),
    Case(
        "spawn-handles",
        "one no-op spawned and joined through its handle",
        sizes=(100_000, 1_000_000),
        quick=(10_000,),
        warmups=1,
        largest=SPAWN_LARGEST,
    ),
    Case(
        "spawn-cold",
        "the same as spawn-waitgroup, the first time in a process",
        sizes=(1_000_000,),
        quick=(100_000,),
        rivals=("gmpx", "Go"),
        absent={name: "fresh memory is a small part of its cost" for name in EVERYONE[2:]},
        repeat=False,
    ),
    Case(
        "map-calls",
        "one small call of a map over N",
        sizes=(1_000, 10_000, 100_000, 1_000_000),
        quick=(10_000,),
        warmups=1,
        largest=TEN_THOUSAND,
    ),
    Case(
        "fanout-buffered",
        "one task that sends one value; channel of capacity N",
        sizes=(1_000, 10_000, 100_000),
        quick=(10_000,),
        largest=TEN_THOUSAND | {"asyncio": 100_000, "uvloop": 100_000, "threads": 100_000},
        absent=NO_FLOOR,
    ),
    Case(
        "fanout-unbuffered",
        "one task that sends one value; rendezvous",
        sizes=(1_000, 10_000, 100_000),
        quick=(1_000,),
        warmups=1,
        largest=TEN_THOUSAND | {"threads": 1_000},
        absent=NO_FLOOR,
    ),
    Case(
        "yield",
        "one yield of two that yield in turn",
        sizes=(100_000,),
        quick=(10_000,),
        largest=TEN_THOUSAND,
        absent=NO_TURNS,
    ),
    Case(
        "pingpong",
        "one round trip of a value between two",
        sizes=(10_000, 100_000),
        quick=(10_000,),
        largest=TEN_THOUSAND | {"threads": 1_000},
    ),
    Case(
        "hop-buffered",
        "one value from one to another; channel of capacity 128",
        sizes=(100_000,),
        quick=(10_000,),
        largest=TEN_THOUSAND,
    ),
    Case(
        "hop-unbuffered",
        "one value from one to another; rendezvous",
        sizes=(100_000,),
        quick=(10_000,),
        largest=TEN_THOUSAND | {"threads": 1_000},
    ),
    Case(
        "contended-buffered",
        "one of 1,000 values from each of N producers; channel of capacity 128",
        sizes=(10, 100),
        quick=(10,),
        largest=largest(trio=10),
        absent=NO_FLOOR,
    ),
    Case(
        "contended-unbuffered",
        "one of 1,000 values from each of N producers; rendezvous",
        sizes=(10, 100),
        quick=(10,),
        largest=largest(trio=10, threads=10),
        absent=NO_FLOOR,
    ),
    Case(
        "select-receive",
        "one value from whichever of N rendezvous channels has one",
        sizes=(2, 10, 100),
        quick=(2, 10, 100),
        rivals=("gmpx", "Go", "asyncio", "uvloop"),
        absent=NO_FLOOR | {name: "has no select" for name in ("trio", "gevent", "threads")},
        needs="select",
    ),
    Case(
        "select-plain",
        "one plain receive of N values that are there",
        sizes=(10_000,), quick=(10_000,), warmups=1,
        absent=only("Go", "asyncio", "trio", "gevent", "floor"),
    ),
    Case(
        "select-ready",
        "one receive by select over two channels that have N values each",
        sizes=(10_000,), quick=(10_000,), warmups=1,
        absent=only("Go", "asyncio", trio="has no select", gevent="has no select"),
        largest=largest(asyncio=1_000),
    ),
    Case(
        "select-cases",
        "one send, and a select over N channels of which that one is ready",
        sizes=(1, 10, 100, 1_000),
        quick=(1, 1_000),
        warmups=1,
        absent=only("Go", "asyncio", trio="has no select", gevent="has no select"),
    ),
    Case(
        "select-parking",
        "one round trip as in pingpong, where each receives by a select over two",
        sizes=(10_000,), quick=(10_000,), warmups=1,
        absent=only("Go", "asyncio", trio="has no select", gevent="has no select"),
        largest=largest(asyncio=1_000),
    ),
    Case(
        "mutex-alone",
        "one locking and unlocking that nobody disputes",
        sizes=(100_000,),
        quick=(10_000,),
        largest=TEN_THOUSAND,
    ),
    Case(
        "mutex-contended",
        "one of 100 lockings by each of N, held over a yield",
        sizes=(10, 100),
        quick=(10,),
        largest=largest(threads=10),
        absent=NO_FLOOR,
    ),
    Case(
        "rwmutex-read",
        "one locking and unlocking as a reader that nobody disputes",
        sizes=(10_000,), quick=(10_000,), warmups=1,
        absent=only("Go"),
    ),
    Case(
        "semaphore-alone",
        "one acquiring and releasing that nobody disputes",
        sizes=(10_000,), quick=(10_000,), warmups=1,
        absent=only("Go", "asyncio", "trio", "gevent", "floor"),
    ),
    Case(
        "once-done",
        "one call of a Once that is done",
        sizes=(10_000,), quick=(10_000,), warmups=1,
        absent=only("Go", "floor"),
    ),
    Case(
        "cond-pingpong",
        "one turn each of two that wait for theirs at a condition",
        sizes=(10_000,),
        quick=(2_000,),
        warmups=1,
        absent=only("Go", "asyncio", "trio"),
    ),
    Case(
        "event-pingpong",
        "one turn each of two that wait for an Event of theirs",
        sizes=(10_000,),
        quick=(2_000,),
        warmups=1,
        absent=only("asyncio", "trio", "gevent"),
    ),
    Case(
        "barrier-cycle",
        "one waiting at a barrier of N, 100 times",
        sizes=(10, 100),
        quick=(10,),
        warmups=1,
        absent=only(*since_3_11("asyncio")),
    ),
    Case(
        "waitgroup-alone",
        "one add, done and wait by one task",
        sizes=(100_000,),
        quick=(10_000,),
        rivals=("gmpx", "Go", "floor"),
        absent={name: "has no wait group" for name in EVERYONE[2:-1]},
    ),
    Case(
        "waitgroup-contended",
        "one of N that wait for N others to be done",
        sizes=(10_000,),
        quick=(1_000,),
        warmups=1,
        largest=largest(threads=100),
        absent=NO_FLOOR | {"mt-asyncio": UNSHARED},
    ),
    Case(
        "timers-sleeping",
        "CPU time of one of N that sleep for 50 to 150 ms at once",
        sizes=(1_000, 10_000, 100_000),
        quick=(1_000,),
        warmups=1,
        largest=TEN_THOUSAND | {"trio": 1_000, "threads": 1_000},
        turns=3,
        repeat=False,
        absent=NO_FLOOR,
    ),
    *(
        Case(
            f"timers-{verb}",
            f"{verb} of one timer while N others are pending",
            sizes=(1_000, 100_000, 1_000_000),
            quick=(1_000, 100_000),
            absent=only("Go", "asyncio", "uvloop", "gevent") | NO_HEAP,
            largest=largest(gevent=10_000) | {"asyncio": 100_000, "uvloop": 100_000},
            turns=2,
        )
        for verb in ("start", "stop")
    ),
    Case(
        "timers-zero",
        "one of ten sleeps of 0 by each of N",
        sizes=(1_000,),
        quick=(1_000,),
        warmups=1,
        absent=only("asyncio", "trio", "gevent", Go="its Sleep(0) returns at once"),
    ),
    Case(
        "timers-short",
        "CPU time of one of ten sleeps of 1 ms by each of N",
        sizes=(10, 1_000),
        quick=(1_000,),
        warmups=1,
        repeat=False,
        absent=only("Go", "asyncio", "uvloop", "trio", "gevent"),
    ),
    Case(
        "timers-ticking",
        "CPU time of one of 20 ticks, 5 ms apart, of N tickers",
        sizes=(10, 1_000),
        quick=(1_000,),
        warmups=1,
        repeat=False,
        turns=3,
        absent=only("Go"),
    ),
    Case(
        "timers-firing",
        "CPU time of one of N functions that are called after 1 ms",
        sizes=(10_000,),
        quick=(1_000,),
        warmups=1,
        repeat=False,
        absent=only("Go", "asyncio", "uvloop", "gevent") | NO_HEAP,
    ),
    Case(
        "timeout-unused",
        "one block with a timeout that does not expire",
        sizes=(10_000,),
        quick=(2_000,),
        warmups=1,
        absent=only("Go", *since_3_11("asyncio"), "trio", "gevent"),
    ),
    Case(
        "cancel-parked",
        "one of N that are spawned, all wait to receive, are cancelled and joined",
        sizes=(1_000, 10_000),
        quick=(1_000,),
        warmups=1,
        turns=3,
        absent=only("Go", "asyncio", "trio", "gevent"),
        largest=largest(trio=1_000, gevent=1_000),
    ),
    Case(
        "group-children",
        "one of N no-ops spawned into a group that is left",
        sizes=(10_000,),
        quick=(1_000,),
        warmups=1,
        turns=3,
        absent=only("Go", "asyncio", "trio", "gevent"),
    ),
    *(
        Case(
            f"context-{name}",
            text,
            sizes=(1_000, 100_000),
            quick=(1_000,),
            turns=3,
            absent=only("Go"),
        )
        for name, text in (
            ("making", "making one of N contexts with cancel that have one parent"),
            ("cancelling", "cancelling one of them, by the parent"),
        )
    ),
    *(
        Case(
            f"futures-{name}",
            text,
            sizes=(10_000,),
            quick=(1_000,),
            warmups=1,
            turns=3,
            absent=only("asyncio", "gevent", *floor) | NO_HANDLES,
        )
        for name, text, *floor in (
            ("gather", "one of N calls spawned and gathered"),
            ("wait", "one of N calls spawned and waited for"),
            ("completed", "one of N calls spawned and taken as they end"),
            ("result", "result() of one that has ended", "floor"),
        )
    ),
    Case(
        "local-get",
        "one look at an attribute of a goroutine-local",
        sizes=(10_000,), quick=(10_000,), warmups=1,
        absent=only("asyncio", "gevent", "threads", trio="its ContextVar is asyncio's"),
    ),
    Case(
        "spawn-options",
        "one no-op spawned with a name and a context, and joined",
        sizes=(10_000,),
        quick=(1_000,),
        warmups=1,
        turns=3,
        absent=only(*since_3_11("asyncio")),
    ),
    Case(
        "sieve",
        "one hop in a chain of filters that finds N primes",
        sizes=(2_000,),
        quick=(200,),
        largest=largest(asyncio=200, trio=100, gevent=200, threads=50),
        turns=3,
    ),
    Case(
        "skynet",
        "one of N leaves of a tree of tasks that sums them",
        sizes=(1_000, 10_000, 100_000, 1_000_000),
        quick=(1_000,),
        largest=TEN_THOUSAND | {"threads": 100},
        turns=3,
        absent=NO_FLOOR,
    ),
    Case(
        "parked",
        "one of N that are spawned, all wait to receive, and get a value each",
        sizes=(1_000, 10_000, 100_000),
        quick=(1_000,),
        warmups=1,
        largest=TEN_THOUSAND,
        turns=3,
        absent=NO_FLOOR | NO_PARKED_THREADS,
    ),
    Case(
        "parked-first",
        "the first N parked in a process, over the same when warm",
        sizes=(100_000,),
        quick=(10_000,),
        unit="",
        absent=ONLY_GMPX,
        repeat=False,
    ),
    Case(
        "recursion-swaying",
        "one call of N, from the depth of recursion where calls are dearest",
        sizes=(1_000,),
        quick=(1_000,),
        turns=3,
        absent=only("threads"),
    ),
    Case(
        "hash-1m",
        "SHA-256 of one of N blocks of 1 MiB",
        sizes=(64,),
        quick=(16,),
    ),
    Case(
        "hash-16k",
        "SHA-256 of one of N blocks of 16 KiB",
        sizes=(2_000,),
        quick=(200,),
    ),
    Case(
        "cpu-python",
        "one of N pieces of pure-Python work of a millisecond",
        sizes=(200,),
        quick=(50,),
    ),
    Case(
        "service",
        "one of N requests: 10 us of CPU work, 1 ms of waiting, two channels",
        sizes=(10_000,),
        quick=(1_000,),
    ),
    *(
        Case(
            name,
            f"{text} lateness of a 1 kHz ticker in N ticks beside a CPU hog",
            sizes=(ticks,),
            quick=(100,),
            turns=3,
            repeat=False,
        )
        for name, text, ticks in (
            ("latency-p50", "median", 500),
            ("latency-p99", "99th percentile of the", 500),
            ("latency-p999", "99.9th percentile of the", 1_000),
        )
    ),
    Case(
        "memory-parked",
        "resident memory of one task that waits to receive",
        sizes=(100_000,),
        quick=(10_000,),
        unit="B",
        largest=largest(trio=10_000, gevent=10_000),
        turns=3,
        repeat=False,
        absent=NO_FLOOR | NO_PARKED_THREADS | AS_ASYNCIO,
    ),
    *(
        Case(
            f"memory-{name}",
            text,
            sizes=(100_000,),
            quick=(10_000,),
            unit="B",
            turns=2,
            repeat=False,
            absent=only("Go", "asyncio", "gevent") | NO_HEAP,
            largest=largest(gevent=10_000),
        )
        for name, text in (
            ("timers", "resident memory of one pending timer"),
            ("stopped", "what of it is left when all are stopped"),
        )
    ),
    Case(
        "memory-rounds",
        "resident memory after three rounds of N parked, over that after the first",
        sizes=(100_000,),
        quick=(10_000,),
        unit="",
        absent=ONLY_GMPX,
        turns=3,
        repeat=False,
    ),
    Case(
        "memory-queued",
        "resident memory of one no-op that has not started",
        sizes=(1_000_000,),
        quick=(100_000,),
        unit="B",
        absent=ONLY_GMPX,
        turns=3,
        repeat=False,
    ),
    Case(
        "memory-object",
        "size of the goroutine object itself",
        sizes=(1,),
        quick=(1,),
        unit="B",
        absent=ONLY_GMPX,
        turns=1,
        repeat=False,
    ),
]

CASES = [case for case in ALL_CASES if there(case)]
