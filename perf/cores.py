"""What several Ps gain, for who works on the scheduler: a line for each kind of work and way.

    python perf/cores.py KINDS WAYS [--rounds 3] [--runs 5] [--ps 2] [--cold]

KINDS and WAYS are names with commas between, or `all`; a kind may have a form: sha100-parks,
sha500-beside. The cases are those of run.py, and so is how they are run (fan/turns.py): each
configuration in processes of its own, run by run in turns. Times are those of one piece of work; a
speed-up is the time with one P over that of the configuration, of the runs next to each other: the
median and, in brackets, the least and the greatest; `best` is that of the least times, which others on
the machine disturb least. `cold` is that of the first run in a process, `worst` the median of all warm
runs over the slowest one.
"""

import argparse
import random
import sys
from statistics import median

from fan.kinds import all_work
from fan.turns import take
from fan.ways import RIVALS, WAYS
from rivals import Missing


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", help=" ".join(all_work()))
    parser.add_argument("ways", help=" ".join(WAYS))
    parser.add_argument("--rounds", type=int, default=3, help="processes of each configuration")
    parser.add_argument("--runs", type=at_least_two, default=5, help="of one process, the first is cold")
    parser.add_argument("--ms", type=int, default=300, help="what a run takes at least")
    parser.add_argument("--ps", default="2", help="how many Ps, several with commas between")
    parser.add_argument("--cold", action="store_true", help="one run in each process")
    parser.add_argument(
        "--rivals", default="threads,executor", help="of threads, executor, gevent, joblib, none"
    )
    parser.add_argument("--seed", type=int, help="of the order of turns")
    options = parser.parse_args(arguments)
    options.kinds = names(parser, options.kinds, all_work())
    options.ways = names(parser, options.ways, WAYS)
    others = [] if options.rivals == "none" else options.rivals.split(",")
    options.rivals = names(parser, ",".join(others), RIVALS) if others else []
    options.ps = [int(ps) for ps in options.ps.split(",")]
    return options


def at_least_two(text):
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError("at least 2, the first is cold")
    return value


def names(parser, text, known):
    found = list(known) if text == "all" else text.split(",")
    for name in found:
        if name not in known:
            parser.error(f"{name!r} is none of {' '.join(known)}")
    return found


def measure(program, options, rng):
    """Returns {configuration: the runs of each round, or why there are none}."""
    runs = 1 if options.cold else options.runs
    of = {"1P": ("gmpx-1p", 1, runs)}
    of |= {f"{ps}P": ("gmpx", ps, runs) for ps in options.ps}
    of |= {name: (name, 2, runs) for name in options.rivals}
    rounds = [take(program, of, options.ms, rng) for _ in range(options.rounds)]
    return {key: [each[key] for each in rounds] for key in of}


def line(program, found, cold):
    parts = []
    for key, rounds in found.items():
        failures = [each for each in (*found["1P"], *rounds) if isinstance(each, Missing)]
        if failures:
            parts.append(f"{key} failed: {failures[0]}")
            continue
        warm = slice(0 if cold else 1, None)
        own = [ns for runs in rounds for ns in runs[warm]]
        if key == "1P":
            alone = own
            parts.append(f"1P {median(own) / 1e3:9.2f} us")
            continue
        ups = [one / ns for a, b in zip(found["1P"], rounds) for one, ns in zip(a[warm], b[warm])]
        parts.append(f"{key} {median(ups):5.2f} [{min(ups):.2f} {max(ups):.2f}]")
        parts.append(f"best {min(alone) / min(own):.2f}")
        if key.endswith("P") and not cold:
            first = median(a[0] / b[0] for a, b in zip(found["1P"], rounds))
            parts.append(f"cold {first:.2f} worst {median(own) / max(own):.2f}")
    return f"{program.removeprefix('cores-'):24} " + "  ".join(parts)


def main(arguments=None):
    options = parse(arguments)
    rng = random.Random(options.seed)
    print(f"{sys.version.split()[0]}, {options.rounds} rounds"
          f"{' of one cold run' if options.cold else f' of {options.runs} runs'}, >= {options.ms} ms each")
    for kind in options.kinds:
        for way in options.ways:
            program = f"cores-{kind}-{way}"
            print(line(program, measure(program, options, rng), options.cold), flush=True)


if __name__ == "__main__":
    main()
