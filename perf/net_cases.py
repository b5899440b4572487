"""The cases of the network: servers under load, clients of a slow server, waits.

net/sample.py runs them. Several cases may be figures of one turn (`program`): wall time, CPU time,
fairness. README.md defines each case in words.
"""

from case import EVERYONE, NO_FLOOR, Case

#: They take part in cases of the network only: one P instead of all, protocols instead of streams.
VARIANTS = ("gmpx-1p", "Go-1p", "asyncio-protocol", "uvloop-protocol")
SERVERS = (
    "gmpx", "Go", "Go-1p", "asyncio", "asyncio-protocol", "uvloop", "uvloop-protocol", "trio",
    "gevent", "threads", "floor",
)
#: A quick run would take too long with all of them in every case.
QUICK_SERVERS = ("gmpx", "Go-1p", "uvloop-protocol", "floor")
QUICK_ECHOES = tuple(
    rival for rival in SERVERS if rival not in ("Go", "asyncio-protocol", "trio")
)
AT_ONCE = ("gmpx", "gevent", "threads")
WAITERS = ("gmpx", "Go", "asyncio", "uvloop", "trio", "gevent", "threads")
DATABASES = ("gmpx", "asyncio", "gevent", "threads")
NO_DATABASE = NO_FLOOR | {"Go": "the libraries are Python's", "uvloop": "as asyncio", "trio": "the libraries have none for it"}
NO_LOCKS = NO_FLOOR | {name: "has no such locks" for name in ("Go", "asyncio", "uvloop", "trio")}
WEB = ("gmpx", "uvloop", "gevent", "threads")
NO_WEB = NO_FLOOR | {"Go": "they are servers of Python's"}
NO_WEB |= {name: "uvicorn is faster on uvloop" for name in ("asyncio", "trio")}
NO_BLOCKING = {name: "requests and urllib3 block" for name in ("asyncio", "uvloop", "trio")}
NO_BLOCKING |= {"Go": "requests and urllib3 are Python's", **NO_FLOOR}


def net_case(name, figure, sizes, quick, rivals, absent=None, **options):
    """Returns a Case with what those of the network have in common."""
    reasons = {n: why for n, why in (absent or {}).items() if n in EVERYONE and n not in rivals}
    options = {"turns": 3, "needs": "gmpx.patch"} | options
    return Case(
        name, figure, sizes=sizes, quick=quick, rivals=rivals, absent=reasons, net=True, **options
    )


NET_CASES = [
    *(
        net_case(
            name, figure, (1, 100, 1_000), (100,), SERVERS,
            unit=unit, program="echo-64", quick_rivals=QUICK_ECHOES,
        )
        for name, figure, unit in (
            ("echo-64", "one echo of 64 bytes on one of N connections", "ns"),
            ("echo-cpu", "the server's CPU time for it", "ns"),
            ("echo-fair", "how many times from the mean a connection's echoes are", ""),
        )
    ),
    net_case(
        "echo-16k",
        "one echo of 16 KiB on one of N connections",
        (100,), (100,), SERVERS,
        turns=2, quick_rivals=QUICK_SERVERS,
    ),
    net_case(
        "echo-cores",
        "one echo of 64 bytes, server and load on whatever CPU is free",
        (100,), (100,), ("gmpx", "gmpx-1p", "Go", "Go-1p"),
        absent={name: "about several Ps" for name in EVERYONE},
        quick_rivals=("gmpx", "gmpx-1p"),
    ),
    *(
        net_case(
            name, figure, (100,), (100,), SERVERS,
            turns=2, program="accept-close", quick_rivals=QUICK_SERVERS,
        )
        for name, figure in (
            ("accept-close", "one connection accepted and closed, N clients at once"),
            ("accept-cpu", "the server's CPU time for it"),
        )
    ),
    *(
        net_case(
            name, figure, (100,), (100,), SERVERS,
            turns=2, program="http-keepalive", quick_rivals=QUICK_SERVERS,
        )
        for name, figure in (
            ("http-keepalive", "one HTTP/1.1 request on one of N connections that are kept"),
            ("http-cpu", "the server's CPU time for it"),
        )
    ),
    *(
        net_case(
            name, figure, (10_000,), (1_000,),
            tuple(rival for rival in SERVERS if rival not in ("floor", "threads")),
            absent=NO_FLOOR | {"threads": "10,000 threads are too many"},
            unit=unit, turns=1, program="idle-memory", quick_rivals=("gmpx", "gevent"),
        )
        for name, figure, unit in (
            ("idle-memory", "resident memory of one of N idle connections", "B"),
            ("idle-cpu", "the server's CPU time in a second with N idle connections", "ns"),
        )
    ),
    *(
        net_case(
            name, figure, (1_000,), (200,), AT_ONCE, absent=NO_BLOCKING, program=program
        )
        for program, name, figure in (
            ("requests-get", "requests-get", "one of N requests.get of 50 ms, 64 at once"),
            ("requests-get", "requests-cpu", "the client's CPU time for it"),
            ("requests-urllib3", "requests-urllib3", "the same by a pool of urllib3"),
            ("requests-urllib3", "requests-urllib3-cpu", "the client's CPU time for that"),
        )
    ),
    *(
        net_case(
            name, figure, sizes, quick, rivals,
            absent=absent, program=program, quick_rivals=AT_ONCE,
        )
        for program, sizes, quick, rivals, absent, figure in (
            (
                "secure-get", (1_000,), (200,), AT_ONCE, NO_BLOCKING,
                "one of N requests over TLS of 50 ms, 64 at once, connections kept",
            ),
            (
                "secure-handshake", (1_000,), (200,), WAITERS, NO_FLOOR,
                "one of N connections with a TLS handshake, 64 at once",
            ),
            (
                "secure-bulk", (1_000_000_000,), (50_000_000,), WAITERS, NO_FLOOR,
                "16 KiB of N bytes received over TLS",
            ),
        )
        for name, figure in (
            (program, figure), (f"{program}-cpu", "the client's CPU time for it"),
        )
    ),
    *(
        net_case(
            name, f"{figure} on one of N connections, by gunicorn", (64,), (64,), WEB, absent=NO_WEB,
            needs="gmpx.gunicorn", tool="wrk", program=program, quick_rivals=("gmpx", "gevent"),
        )
        for program, words in (
            ("web-hello", "one request of 13 bytes"),
            ("web-upstream", "one request that asks another server for 10 ms"),
            ("web-json", "one request of 20 KB of JSON"),
        )
        for name, figure in ((program, words), (f"{program}-p99", f"how long 99 of 100 take at most: {words}"))
    ),
    *(
        net_case(name, figure, (n,), (n,), DATABASES, absent=NO_DATABASE, program=program, quick_rivals=("gmpx", "gevent"))
        for program, n, words in (
            ("database-queries", 500, "one of N queries of 20 ms in PostgreSQL, over 64 connections"),
            ("database-incrs", 5_000, "one of N INCRs in Redis, over a pool of 64 connections"),
        )
        for name, figure in ((program, words), (f"{program}-cpu", "the client's CPU time for it"))
    ),
    *(
        net_case(name, figure, (100_000,), (20_000,), AT_ONCE, absent=NO_LOCKS, program="locks-alone")
        for name, figure in (
            ("locks-alone", "one `with` of a threading.Lock that nobody else wants"),
            ("locks-rlock", "one `with` of a threading.RLock"),
            ("locks-simplequeue", "one put and one get of a queue.SimpleQueue"),
            ("locks-queue", "one put and one get of a queue.Queue"),
            ("locks-local", "one read of a threading.local"),
        )
    ),
    *(
        net_case(
            name, figure, (2_000,), (2_000,), WAITERS, absent=NO_FLOOR,
            unit=unit, turns=1, program="waits-second", quick_rivals=("gmpx", "gevent"),
        )
        for name, figure, unit in (
            ("waits-second", "one of N waits of a second at once", "ns"),
            ("waits-threads", "threads of the process meanwhile", ""),
        )
    ),
    *(
        net_case(
            name, figure, (200,), (200,), WAITERS, absent=NO_FLOOR,
            turns=2, program="names-lookup", quick_rivals=("gmpx", "gevent", "threads"),
        )
        for name, figure in (
            ("names-lookup", "one of N names looked up at once, answered after 20 ms"),
            ("names-cpu", "the client's CPU time for it"),
        )
    ),
    net_case(
        "burner-message",
        "one send of N bytes and the recv of it, beside a thread that computes",
        (64,), (64,), (*WAITERS, "floor"),
        turns=2, quick_rivals=("gmpx", "threads", "floor"),
    ),
    *(
        net_case(
            name, figure, (100, 1_000), (100,), WAITERS, absent=NO_FLOOR,
            program="children-run", quick_rivals=("gmpx", "asyncio", "threads"),
        )
        for name, figure in (
            ("children-run", "one of N children that end at once, 8 at once"),
            ("children-cpu", "the CPU time of their parent for it"),
        )
    ),
    *(
        net_case(
            name, figure, (1_024,), (256,), WAITERS, absent=NO_FLOOR,
            quick_rivals=("gmpx", "asyncio", "threads"),
        )
        for name, figure in (
            ("pipe-read", "one MiB of N out of a child through a pipe"),
            ("pipe-write", "one MiB of N into a child through a pipe"),
        )
    ),
]
