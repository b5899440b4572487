"""Measures gmpx beside its rivals: python perf/run.py --help; README.md says how and what."""

import argparse
import datetime
import json
import os
import platform
import random
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from statistics import median

import bounds
import bridge_cases
import cluster_cases
import compare
import cores_cases
import growth
import instructions
import net_cases
import plot
import report
import rivals
from cases import CASES

ROUNDS, QUICK_ROUNDS = 5, 3
# What --compare looks at: a quick run takes the other rivals in its first round only.
MEASURED = ("gmpx", "floor")
# A turn repeats its program for at least this long, in one process.
LEAST_MS, QUICK_LEAST_MS = 50, 20


class Results:
    """The figures of a run: for each case, size and rival one from each round."""

    def __init__(self, cases, chosen, options):
        self.cases = cases
        self.rivals = chosen
        self.quick, self.at_most = options.quick, options.at_most
        self.rng = random.Random(options.seed)
        self._figures = {}
        self._turns = {}
        self.failures, self.not_there = {}, {}

    def sizes(self, case):
        sizes = case.quick if self.quick else case.sizes
        return sorted({min(n, self.at_most or n) for n in sizes})

    def rivals_of(self, case):
        names = case.quick_rivals if self.quick and case.quick_rivals else case.rivals
        return [name for name in names if name in self.rivals]

    def turns(self, case):
        """Returns (size, rival) of every turn in a round; rows that share one share it."""
        pairs = ((n, name) for n in self.sizes(case) for name in self.rivals_of(case))
        return {(case.size_for(name, n), name): None for n, name in pairs}

    def has_turn(self, case, name, turn):
        """Tells whether a rival takes part in a round of a case, or of another of its program."""
        return not self.rivals[name].missing and (
            turn == 0 or not self.quick or name in MEASURED
        ) and any(
            name in self.rivals_of(other) for other in self.cases if other.program == case.program
        )

    def key(self, name, n, rival):
        for case in self.cases:
            if case.name == name:
                return name, case.size_for(rival, n), rival
        return name, n, rival

    def add(self, name, n, rival, turn, figure):
        self._figures.setdefault((name, n, rival), {})[turn] = figure

    def sample(self, case, n, rival, turn, least_ms):
        """Returns a figure; a turn that has those of several cases is taken once for all."""
        at = case.program, n, rival, turn
        if case.fan and at not in self._turns:
            names = [name for name in self.rivals if self.has_turn(case, name, turn)]
            found = cores_cases.sample(case.program, n, names, least_ms, self.rng)
            self._turns |= {(case.program, n, name, turn): found[name] for name in names}
        if at not in self._turns:
            try:
                self._turns[at] = self.rivals[rival].sample(case, n, least_ms)
            except rivals.Missing as reason:
                self._turns[at] = reason
        found = self._turns[at]
        if isinstance(found, rivals.Missing):
            raise found
        return found[case.name]

    def figures(self, name, n, rival):
        """Returns {round: figure}; a KeyError's only argument is what there is not."""
        found = self._figures.get(self.key(name, n, rival))
        if found is None:
            raise KeyError((name, n, rival))
        return found

    def ratio(self, case, n, rival):
        """Returns the median of rival/gmpx, each ratio within a round, or None."""
        try:
            mine = self.figures(case.name, n, "gmpx")
            theirs = self.figures(case.name, n, rival)
        except KeyError:
            return None
        ratios = [theirs[turn] / mine[turn] for turn in theirs if mine.get(turn)]
        return median(ratios) if ratios else None

    def as_json(self):
        """Returns a list of one dict for each row, also of rivals that are missing."""
        rows = []
        for case in self.cases:
            for n in self.sizes(case):
                for rival in self.rivals_of(case):
                    found = self._figures.get(self.key(case.name, n, rival), {})
                    values = list(found.values())
                    rows.append(
                        {
                            "case": case.name,
                            "n": n,
                            "n_of_rival": case.size_for(rival, n),
                            "rival": rival,
                            "unit": case.unit,
                            "rounds": list(found),
                            "figures": values,
                            "median": median(values) if values else None,
                            "min": min(values, default=None),
                            "max": max(values, default=None),
                            "over_gmpx": self.ratio(case, n, rival),
                        }
                    )
        return rows


def measure(results, rounds, least_ms, rng):
    """Runs every round: groups in random order, in them cases and sizes, in those the rivals.

    Those that are compared thus run one right after the other, and none is always first.
    """
    groups = {}
    for case in results.cases:
        groups.setdefault(case.group, []).append(case)
    total = sum(turns_of(results, case, rounds) for case in results.cases)
    done = 0
    for turn in range(rounds):
        for group in shuffled(groups, rng):
            cells = [
                (case, n)
                for case in groups[group]
                for n in sorted({size for size, _ in results.turns(case)})
                if case.turns is None or turn < case.turns
            ]
            for case, n in shuffled(cells, rng):
                takers = [
                    name
                    for size, name in results.turns(case)
                    if size == n and (turn == 0 or not results.quick or name in MEASURED)
                ]
                for name in shuffled(takers, rng):
                    progress(f"round {turn + 1}/{rounds}: {case.name} {n:,} {name}", done / total)
                    done += 1
                    take_turn(results, case, n, name, turn, least_ms if case.repeat else 0)
    progress("")


def turns_of(results, case, rounds):
    rounds = min(rounds, case.turns or rounds)
    return sum(
        1 if results.quick and name not in MEASURED else rounds for _, name in results.turns(case)
    )


def take_turn(results, case, n, name, turn, least_ms):
    key = (case.name, n, name)
    if results.rivals[name].missing or key in results.failures or key in results.not_there:
        return
    try:
        figure = results.sample(case, n, name, turn, least_ms)
    except rivals.NotThere as reason:
        results.not_there[key] = str(reason)
    except rivals.Missing as reason:
        results.failures[key] = str(reason)
    else:
        results.add(case.name, n, name, turn, figure)


def shuffled(items, rng):
    items = list(items)
    rng.shuffle(items)
    return items


def progress(text, part=None):
    """One line that is written over, on a terminal only; part: how much is done, as a bar."""
    if sys.stderr.isatty():
        full = round(30 * (part or 0))
        bar = "" if part is None else f"[{'#' * full}{'.' * (30 - full)}] {100 * part:3.0f} %  "
        sys.stderr.write(f"\r\x1b[K{bar}{text}")
        sys.stderr.flush()


def git(*words):
    try:
        command = ["git", "-C", str(rivals.PERF), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def load():
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


def package(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def machine():
    """Returns what a reader has to know to judge the figures."""
    commit = git("rev-parse", "--short=10", "HEAD")
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "machine": platform.machine(),
        "processor": processor(),
        "cpus": os.cpu_count(),
        "cpus_usable": len(affinity(0)) if affinity else os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gil": gil,
        "compiler": platform.python_compiler(),
        "greenlet": package("greenlet"),
        "cython": package("cython"),
        "commit": commit,
        "dirty": None if commit is None else bool(git("status", "--porcelain")),
        "load_before": load(),
    }


def print_header(facts, results, options, least_ms):
    commit = facts["commit"] or "unknown (no git)"
    print(f"date      {facts['date']}")
    print(f"machine   {facts['processor']}, {facts['system']}")
    print(f"CPUs      {facts['cpus']}, of which usable {facts['cpus_usable']}")
    print(f"python    {facts['python']}, {'with' if facts['gil'] else 'without'} the GIL")
    print(f"packages  greenlet {facts['greenlet']}, cython {facts['cython'] or 'not installed'}")
    print(f"commit    {commit}{' with uncommitted changes' if facts['dirty'] else ''}")
    if facts["load_before"]:
        print(f"load      {' '.join(f'{value:.2f}' for value in facts['load_before'])} before")
    if any(case.net for case in results.cases) and facts["cpus_usable"] == 1:
        print("network   server and load share the one CPU: figures are of both")
    width = max(9, *map(len, results.rivals))
    for rival in results.rivals.values():
        what = f"missing: {rival.missing}" if rival.missing else rival.version
        print(f"{rival.name:{width}} {what}")
    print(f"rounds    {options.rounds}, each turn >= {least_ms} ms; --seed {options.seed}")
    print(flush=True)


def parse(arguments):
    parser = argparse.ArgumentParser(description="Measures gmpx beside its rivals.")
    parser.add_argument("--rounds", type=positive, help=f"default {ROUNDS}, quick {QUICK_ROUNDS}")
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes")
    parser.add_argument(
        "--case", "--filter", action="append", metavar="TEXT", help="only cases with TEXT in their names"
    )
    parser.add_argument(
        "--rival", action="append", metavar="NAME", help="only these, and gmpx", type=str.lower
    )
    parser.add_argument(
        "--full", action="store_true",
        help="also the cases that a run leaves out unless their whole name is given: most of cores",
    )
    parser.add_argument("--at-most", type=positive, metavar="N", help="no size above N")
    parser.add_argument("--seed", type=int, help="of the order of turns; default: random, printed")
    parser.add_argument("--json", metavar="FILE", help="also writes everything to FILE")
    parser.add_argument(
        "--targets", action="store_true", help="checks the bounds; exit status 1 if one is missed"
    )
    parser.add_argument(
        "--compare", metavar="OLD", help="a file of --json: what is faster or slower since then"
    )
    parser.add_argument("--plot", metavar="DIRECTORY", help="draws ratios and scaling into it")
    parser.add_argument(
        "--instructions", action="store_true",
        help="counts instructions instead (valgrind), against baseline.json; 1 if one has grown",
    )
    parser.add_argument(
        "--accept", action="store_true", help="with --instructions: stores the counts as the baseline"
    )
    parser.add_argument("--list", action="store_true", help="names the cases and rivals, and ends")
    options = parser.parse_args(arguments)
    if options.rounds is None:
        options.rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1_000_000)
    return parser, options


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def is_wanted(case, texts, full):
    if case.on_request and not full:
        return case.name in texts or case.program in texts
    return any(text in case.name for text in texts)


def choose(parser, options):
    """Returns the cases and the rivals that the options leave."""
    texts = options.case or [""]
    cases = [case for case in CASES if is_wanted(case, texts, options.full)]
    if not cases:
        parser.error(f"no case is named like {' or '.join(texts)}; see --list")
    known = rivals.all_rivals()
    wanted = set(options.rival or map(str.lower, known)) | {"gmpx"}
    unknown = wanted - set(map(str.lower, known))
    if unknown:
        parser.error(f"no rival is named {' or '.join(sorted(unknown))}; see --list")
    # Variants of a rival are of no interest to a run without their cases.
    variants = {*net_cases.VARIANTS, *cores_cases.VARIANTS, *bridge_cases.VARIANTS, *cluster_cases.VARIANTS}
    idle = variants.difference(*(case.rivals for case in cases))
    return cases, {
        name: rival for name, rival in known.items() if name.lower() in wanted and name not in idle
    }


def print_list(full):
    for case in CASES:
        if case.on_request and not full:
            continue
        print(f"{case.name}: {case.figure}{f', in {case.unit}' if case.unit else ''}")
        print(f"    N     {', '.join(f'{n:,}' for n in case.sizes)}")
        print(f"    of    {', '.join(case.rivals)}")
        for rival, n in case.largest.items():
            print(f"          {rival} up to {n:,}")


def main(arguments=None):
    parser, options = parse(arguments)
    if options.list:
        print_list(options.full)
        return 0
    if options.instructions or options.accept:
        return instructions.main(options.accept)
    before = compare.load(options.compare) if options.compare else None
    cases, chosen = choose(parser, options)
    results = Results(cases, chosen, options)
    for rival in chosen.values():
        progress(f"preparing {rival.name}")
        rival.prepare()
    progress("")
    least_ms = QUICK_LEAST_MS if options.quick else LEAST_MS
    facts = machine()
    print_header(facts, results, options, least_ms)

    start = time.perf_counter()
    measure(results, options.rounds, least_ms, results.rng)
    facts["seconds"] = time.perf_counter() - start
    facts["load_after"] = load()

    report.show_results(results)
    report.show_gains(results)
    for word, found in (("failed", results.failures), ("missing", results.not_there)):
        for (case, n, rival), reason in found.items():
            print(f"{word}: {case} {n:,} {rival}: {reason}")
    after = " ".join(f"{value:.2f}" for value in facts["load_after"] or [])
    print(f"{facts['seconds']:.0f} s{f', load afterwards {after}' if after else ''}\n")
    verdicts = bounds.judge(results) if options.targets else []
    if options.targets:
        report.show_verdicts(verdicts)
    rows = results.as_json()
    report.show_growth(growth.growths(rows))
    content = as_content(options, facts, results, rows, verdicts)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
    if before is not None:
        report.show_comparison(*compare.compare(before, content))
    if options.plot:
        print("drawn:", *plot.plot(rows, options.plot))
    missed = any(verdict.word == "MISS" for verdict in verdicts)
    return 1 if missed or results.failures or chosen["gmpx"].missing else 0


def as_content(options, facts, results, rows, verdicts):
    """What --json writes."""
    return {
        "format": 1,
        "run": facts | {"rounds": options.rounds, "seed": options.seed, "quick": options.quick},
        "rivals": {
            name: {"version": rival.version, "missing": rival.missing}
            for name, rival in results.rivals.items()
        },
        "results": rows,
        "failures": [
            {"case": case, "n": n, "rival": rival, "reason": reason}
            for (case, n, rival), reason in results.failures.items()
        ],
        "missing": [
            {"case": case, "n": n, "rival": rival, "reason": reason}
            for (case, n, rival), reason in results.not_there.items()
        ],
        "targets": [
            {
                "text": verdict.bound.text,
                "figure": verdict.figure,
                "bound": verdict.bound.limit,
                "least": verdict.bound.least,
                "unit": verdict.bound.unit,
                "verdict": verdict.word,
            }
            for verdict in verdicts
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
