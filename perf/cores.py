"""What several Ps gain, for who works on the scheduler: a line for each kind of work and way.

    python perf/cores.py KINDS WAYS [--rounds 3] [--runs 5] [--ps 2] [--cold]

KINDS and WAYS are names with commas between, or `all`; a kind may have a form: sha100-parks,
sha500-beside. The cases are those of run.py, and so is how they are run (fan/sample.py): each
configuration in processes of its own, in turns. Times are those of one piece of work; a speed-up is
the time with one P over that of the configuration, in the same round: the median and, in brackets,
the least and the greatest. `cold` is that of the first run in a process, `worst` the median of all
warm runs over the slowest one.
"""

import argparse
import random
import sys
from statistics import median

import rivals
from cores_cases import CORES_CASES
from fan.kinds import all_work
from fan.ways import RIVALS, WAYS


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", help=" ".join(all_work()))
    parser.add_argument("ways", help=" ".join(WAYS))
    parser.add_argument("--rounds", type=int, default=3, help="processes of each configuration")
    parser.add_argument("--runs", type=int, default=5, help="of one process, the first is cold")
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


def names(parser, text, known):
    found = list(known) if text == "all" else text.split(",")
    for name in found:
        if name not in known:
            parser.error(f"{name!r} is none of {' '.join(known)}")
    return found


def measure(case, options, rng):
    """Returns {configuration: its samples}; a configuration is (rival, how many Ps or threads)."""
    known = rivals.all_rivals()
    of = [("gmpx-1p", 1), *(("gmpx", ps) for ps in options.ps), *((name, 2) for name in options.rivals)]
    found = {each: [] for each in of}
    for _ in range(options.rounds):
        for name, n in rng.sample(of, len(of)):
            try:
                sample = known[name].sample(case, n, options.ms / 6, 1 if options.cold else options.runs)
            except rivals.Missing as reason:
                sample = reason
            found[name, n].append(sample)
    return found


def speed_ups(one, several, name):
    return [a[name] / b[name] for a, b in zip(one, several) if isinstance(a, dict) and isinstance(b, dict)]


def spread(values):
    return f"{median(values):5.2f} [{min(values):.2f} {max(values):.2f}]"


def line(case, found, options):
    one = found["gmpx-1p", 1]
    parts = []
    for (name, n), samples in found.items():
        failures = [str(each) for each in samples if not isinstance(each, dict)]
        label = f"{n}P" if name == "gmpx" else name
        warm = [] if failures else [x for each in samples for x in each["warm"]]
        if failures:
            parts.append(f"{label} failed: {failures[0]}")
        elif name == "gmpx-1p":
            parts.append(f"1P {median(warm) / 1e3:9.2f} us")
        else:
            ups = speed_ups(one, samples, case.name)
            if not ups:
                continue
            parts.append(f"{label} {spread(ups)}")
            if name == "gmpx" and not options.cold:
                cold = median(speed_ups(one, samples, f"{case.name}-cold"))
                parts.append(f"cold {cold:.2f} worst {median(warm) / max(warm):.2f}")
    return f"{case.name.removeprefix('cores-'):24} " + "  ".join(parts)


def main(arguments=None):
    options = parse(arguments)
    rng = random.Random(options.seed)
    cases = {case.name: case for case in CORES_CASES}
    print(f"{sys.version.split()[0]}, {options.rounds} rounds"
          f"{' of one cold run' if options.cold else f' of {options.runs} runs'}, >= {options.ms} ms each")
    for kind in options.kinds:
        for way in options.ways:
            case = cases[f"cores-{kind}-{way}"]
            print(line(case, measure(case, options, rng), options), flush=True)


if __name__ == "__main__":
    main()
