"""What a case is: its sizes, its rivals, and why others take no part.

cases.py and net_cases.py have the cases.
"""

import shutil
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
            hyphen, or the program of fan/sample.py) are measured one after the other, so that
            they compare.
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
        needs: a name of gmpx, or a module of it ("gmpx.patch"), without which there is no such
            case; "" for none.
        tool: a program without which there is no such case; "" for none.
        net: whether a turn is one of net/sample.py's instead of a worker's.
        fan: whether its rivals take turns by fan/turns.py.
        on_request: whether a run leaves it out unless asked for more (--full).
        program: that of net/sample.py or fan/sample.py, if it is another case's: one turn has the
            figures of both.
        quick_rivals: who takes part in a quick run; by default all.
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
    tool: str = ""
    net: bool = False
    fan: bool = False
    on_request: bool = False
    program: str = ""
    quick_rivals: tuple = ()

    def __post_init__(self):
        if not self.rivals:
            taking = tuple(name for name in EVERYONE if name not in self.absent)
            object.__setattr__(self, "rivals", tuple(filter(self._has_program, taking)))
        if not self.program:
            object.__setattr__(self, "program", self.name)

    def _has_program(self, rival):
        return rival not in PROGRAMS or self.name in PROGRAMS[rival]

    @property
    def group(self):
        # What comes of one turn stays together.
        if self.fan:
            return self.program
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
    """Tells whether there is what the case needs."""
    if case.tool and shutil.which(case.tool) is None:
        return False
    if not case.needs:
        return True
    try:
        if case.needs.startswith("gmpx."):
            import_module(case.needs)
            return True
        return hasattr(import_module("gmpx"), case.needs)
    except ImportError:
        return False
