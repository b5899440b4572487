"""The cases of several Ps: what each kind of work gains by each way to fan it out.

fan/turns.py runs them. A turn has three of them: warm runs, the first one of the process (-cold),
and the slowest of the warm ones (-worst). N is how many Ps or threads there are. README.md defines
them in words.
"""

from statistics import median

from case import Case
from fan.kinds import all_work
from fan.turns import take
from fan.ways import RIVALS, WAYS
from rivals import Missing

#: They take part in these cases only, beside gmpx-1p.
VARIANTS = ("gmpx-8p", "executor", "joblib")
QUICK = ("gmpx", "gmpx-1p", "threads", "executor")
#: For each end of a name what it is of, and who takes part.
ENDS = {
    "": ("", tuple(RIVALS)),
    "-cold": (", in a process's first run", QUICK),
    "-worst": (", in its slowest warm run", ("gmpx", "threads")),
}
ABSENT = {
    "Go": "has no GIL",
    "asyncio": "has threads do it: executor",
    "uvloop": "has threads do it: executor",
    "trio": "has threads do it, as executor",
    "floor": "threads are it",
    "gevent": "takes part in the warm figure",
}
#: A run has these unless it is asked for more.
CHOSEN = (
    "sha20-map", "sha100-go", "sha100-map8", "sha500-imap2", "sha500-parked8",
    "sha100-parks-workers8", "zlib500-group8", "noop-go", "py50-map", "write-map",
)


def cores_cases():
    for kind, work in all_work().items():
        for way, text in WAYS.items():
            program = f"cores-{kind}-{way}"
            for end, (of, rivals) in ENDS.items():
                yield Case(
                    program + end,
                    f"one piece of work ({work.text}), {text}, on N Ps{of}",
                    sizes=(2,),
                    quick=(2,),
                    rivals=rivals,
                    absent={name: why for name, why in ABSENT.items() if name not in rivals},
                    turns=2,
                    fan=True,
                    program=program,
                    on_request=f"{kind}-{way}" not in CHOSEN,
                    quick_rivals=QUICK if end == "" else rivals,
                )


CORES_CASES = list(cores_cases())

RUN = 6  # turns of a round's LEAST_MS: 50, or 20 if quick
RUNS, FEW_RUNS = 6, 3
STEADY_RUNS, STEADY_MS = 11, 50


def runs_of(rival, least_ms):
    """How many runs a process has: those whose slowest is asked for the most, unless in a hurry."""
    if rival not in (*QUICK, "gmpx-8p") or least_ms < STEADY_MS:
        return FEW_RUNS
    return STEADY_RUNS if rival in ENDS["-worst"][1] else RUNS


def sample(program, n, names, least_ms, rng):
    """Takes a turn of all rivals; returns {rival: {case: figure}, or the rivals.Missing}."""
    of = {name: (name, n, runs_of(name, least_ms)) for name in names}
    found = take(program, of, RUN * least_ms, rng)
    return {
        name: runs if isinstance(runs, Missing) else figures(program, runs)
        for name, runs in found.items()
    }


def figures(program, runs):
    first, *warm = runs
    return {
        # of those runs that the others have, too
        program: median(warm[:RUNS - 1]), f"{program}-cold": first, f"{program}-worst": max(warm),
    }
