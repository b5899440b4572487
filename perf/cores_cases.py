"""The cases of several Ps: what each kind of work gains by each way to fan it out.

fan/sample.py runs them. A turn has three of them: warm runs, the first one of the process (-cold),
and the slowest of the warm ones (-worst). N is how many Ps or threads there are. README.md defines
them in words.
"""

from case import Case
from fan.kinds import all_work
from fan.ways import RIVALS, WAYS

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
