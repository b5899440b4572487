"""The cases of gmpx.aio: coroutines and goroutines, or threads, that wait for each other.

README.md defines each case in words; the programs are workers/bridge_*.py, on_anyio.py, on_greenback.py.
"""

from case import EVERYONE, NO_FLOOR, Case

#: They take part in these cases only. gmpx-asyncio: a loop that keeps the main thread, as asyncio.run's.
VARIANTS = ("gmpx-asyncio", "anyio", "greenback")
BRIDGES = ("gmpx", "gmpx-asyncio", "asyncio", "uvloop", "anyio")
NO_BRIDGE = NO_FLOOR | {
    "Go": "has no coroutines to call",
    "trio": "anyio's thread calls are its own, on either",
    "gevent": "has no bridge to asyncio",
    "threads": "asyncio's own bridge is to threads",
}


def bridge_case(name, figure, size, quick, rivals=BRIDGES):
    return Case(
        f"bridge-{name}", figure, sizes=(size,), quick=(quick,), rivals=rivals, warmups=1, needs="gmpx.aio",
        absent={n: why for n, why in NO_BRIDGE.items() if n in EVERYONE},
    )


BRIDGE_CASES = [
    bridge_case("call", "one no-op that a coroutine calls and awaits", 2_000, 500, (*BRIDGES, "greenback")),
    bridge_case("calls", "one of N calls that coroutines await at once", 10_000, 1_000),
    bridge_case("back", "one no-op coroutine that is called from there", 2_000, 500, (*BRIDGES, "greenback")),
    bridge_case(
        "items", "one item from there in a coroutine, 128 ahead at most", 10_000, 1_000, BRIDGES[:-1]
    ),
]
