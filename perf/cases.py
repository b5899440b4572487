"""The cases: what is measured, at which sizes, and against whom.

case.py says what a case is, net_cases.py has those of the network, cores_cases.py those of several Ps, bridge_cases.py
those of asyncio beside goroutines, cluster_cases.py those of gmpx.cluster.
README.md defines each case in words; the programs are in workers/ and go/ under the same names.
A new case is an entry here, a program in each worker that takes part, and a line there.
"""

from case import (
    AS_ASYNCIO, EVERYONE, NO_FLOOR, NO_HANDLES, NO_HEAP, NO_PARKED_THREADS, NO_TURNS, ONLY_GMPX,
    UNSHARED, Case, largest, only, since_3_11, there,
)
from bridge_cases import BRIDGE_CASES
from cluster_cases import CLUSTER_CASES
from cores_cases import CORES_CASES
from net_cases import NET_CASES

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
    *(
        Case(
            f"executor-{way}",
            figure,
            sizes=(100_000,),
            quick=(1_000,),
            rivals=("gmpx", "threads"),
            warmups=1,
            absent={name: "has no executor of its own" for name in EVERYONE if name not in ("gmpx", "threads")},
            needs="Executor",
        )
        for way, figure in (
            ("submit", "one no-op submitted, and its future's result"),
            ("limited", "the same with 8 at once"),
            ("map", "one call of an executor's map"),
        )
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

FAN_CASES = [
    Case(
        f"fan-{way}{option}",
        f"one no-op of {'an imap' if way else 'a map'} with a limit and {what}",
        sizes=(100_000,),
        quick=(10_000,),
        warmups=1,
        absent=ONLY_GMPX,
        needs="Limiter",
        turns=3,
    )
    for option, what in {
        "bare": "no other option", "rate": "a rate", "retry": "a Retry", "timeout": "an item_timeout",
        "failures": 'on_error="return"', "budget": "a budget", "progress": "a progress",
        "inputs": "with_input", "all": "all of these",
    }.items()
    for way in ("", "lazy-")
]  # fmt: skip

ALL_CASES += FAN_CASES + BRIDGE_CASES + CLUSTER_CASES + NET_CASES + CORES_CASES
CASES = [case for case in ALL_CASES if there(case)]
