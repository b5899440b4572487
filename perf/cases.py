"""The cases: what is measured, at which sizes, and against whom.

README.md defines each case in words; the programs are in workers/ and go/ under the same names.
"""

from dataclasses import dataclass, field

EVERYONE = ("gmpx", "Go", "asyncio", "threads")


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
        rivals: who takes part.
        warmups: runs in the same process that do not count.
        largest: the largest N of a rival that is too slow for the others'.
        turns: rounds that the case takes part in, None for all.
        repeat: whether a turn may consist of several runs in one process.
    """

    name: str
    figure: str
    sizes: tuple
    quick: tuple
    unit: str = "ns"
    rivals: tuple = EVERYONE
    warmups: int = 0
    largest: dict = field(default_factory=dict)
    turns: int | None = None
    repeat: bool = True

    @property
    def group(self):
        return self.name.partition("-")[0]

    def size_for(self, rival, n):
        """Returns the N that the rival runs in the row of n."""
        return min(n, self.largest.get(rival, n))


CASES = [
    Case(
        "spawn-waitgroup",
        "one no-op spawned and waited for in bulk",
        sizes=(1_000, 10_000, 100_000, 1_000_000),
        quick=(1_000, 10_000),
        warmups=1,
        largest={"asyncio": 100_000, "threads": 10_000},
    ),
    Case(
        "spawn-handles",
        "one no-op spawned and joined through its handle",
        sizes=(100_000, 1_000_000),
        quick=(10_000,),
        warmups=1,
        largest={"asyncio": 100_000, "threads": 10_000},
    ),
    Case(
        "spawn-cold",
        "the same as spawn-waitgroup, the first time in a process",
        sizes=(1_000_000,),
        quick=(100_000,),
        rivals=("gmpx", "Go"),
        repeat=False,
    ),
    Case(
        "fanout-buffered",
        "one task that sends one value; channel of capacity N",
        sizes=(1_000, 10_000, 100_000),
        quick=(1_000, 10_000),
    ),
    Case(
        "fanout-unbuffered",
        "one task that sends one value; rendezvous",
        sizes=(1_000, 10_000, 100_000),
        quick=(1_000, 10_000),
        warmups=1,
        largest={"asyncio": 10_000, "threads": 1_000},
    ),
    Case(
        "yield",
        "one yield of two that yield in turn",
        sizes=(100_000,),
        quick=(10_000,),
        rivals=("gmpx", "Go", "asyncio", "floor"),
        largest={"asyncio": 10_000},
    ),
    Case(
        "pingpong",
        "one round trip of a value between two",
        sizes=(10_000, 100_000),
        quick=(10_000,),
        rivals=(*EVERYONE, "floor"),
        largest={"asyncio": 10_000, "threads": 10_000},
    ),
    Case(
        "contended-buffered",
        "one of 1,000 values from each of N producers; channel of capacity 128",
        sizes=(10, 100),
        quick=(10,),
    ),
    Case(
        "contended-unbuffered",
        "one of 1,000 values from each of N producers; rendezvous",
        sizes=(10, 100),
        quick=(10,),
        largest={"threads": 10},
    ),
    Case(
        "memory-parked",
        "resident memory of one task that waits to receive",
        sizes=(100_000,),
        quick=(10_000,),
        unit="B",
        rivals=("gmpx", "Go", "asyncio"),
        turns=3,
        repeat=False,
    ),
    Case(
        "memory-rounds",
        "resident memory after three rounds of N parked, over that after the first",
        sizes=(100_000,),
        quick=(10_000,),
        unit="",
        rivals=("gmpx",),
        turns=3,
        repeat=False,
    ),
    Case(
        "memory-queued",
        "resident memory of one no-op that has not started",
        sizes=(1_000_000,),
        quick=(100_000,),
        unit="B",
        rivals=("gmpx",),
        turns=3,
        repeat=False,
    ),
    Case(
        "memory-object",
        "size of the goroutine object itself",
        sizes=(1,),
        quick=(1,),
        unit="B",
        rivals=("gmpx",),
        turns=1,
        repeat=False,
    ),
]
