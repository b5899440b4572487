"""One turn of a cores case, in a process of its own as every turn.

    sample.py RIVAL PROGRAM N WARMUPS LEAST_MS [RUNS]   prints {case: figure} as JSON
    sample.py RIVAL version                             prints what is measured
    sample.py calibrate                                 prints what GMPX_PERF_FAN should be

PROGRAM is cores-KIND-WAY. N is how many Ps or threads there are (not for ways.PS). Of the runs the
first is the case -cold; of the others the median is the program's own figure, the slowest is -worst.
Each is the nanoseconds for one piece of work. A run repeats the fan-out for RUN turns of LEAST_MS.
"""

import json
import os
import sys
import time
from statistics import median

import kinds
import ways

NOT_THERE = 3
RUN = 6  # turns of LEAST_MS: 50, or 20 if quick
RUNS = 4
#: Those whose slowest run is asked for have more runs, unless in a hurry.
STEADY, STEADY_RUNS, STEADY_MS = ("gmpx", "threads"), 11, 50
MOST_TASKS = 20_000


def runs_of(rival, least_ms):
    return STEADY_RUNS if rival in STEADY and least_ms >= STEADY_MS else RUNS


def sizes():
    text = os.environ.get("GMPX_PERF_FAN")
    return json.loads(text) if text else kinds.calibrate()


def one_run(way, task, n, pieces, least_s):
    """Returns the nanoseconds for one piece of work."""
    done = 0
    begin = time.perf_counter()
    while True:
        if way(task, n) != n * (n - 1) // 2:
            raise SystemExit("a task was lost or came twice")
        done += n
        took = time.perf_counter() - begin
        if took >= least_s:
            return took / (done * pieces) * 1e9


def sample(rival, program, at_once, least_ms, runs):
    kind, name = program.removeprefix("cores-").rsplit("-", 1)
    work = kinds.all_work()[kind]
    os.environ["GMPX_MAXPROCS"] = str(ways.PS.get(rival, at_once))
    fan = ways.RIVALS[rival](at_once, work.kind.frees)
    way, task = fan.way(name), fan.task(work.kind.work(sizes()), work.form)
    least_s = RUN * least_ms / 1e3
    n = min(int(least_s * 1e6 / (work.us * work.pieces)), MOST_TASKS) // 2 * 2 or 2
    if work.form == "beside":
        kinds.compute_beside()
    figures = [one_run(way, task, n, work.pieces, least_s) for _ in range(runs)]
    # The cold run stands in for warm ones where there are none.
    warm = figures[1:] or figures
    return {
        program: median(warm), f"{program}-cold": figures[0], f"{program}-worst": max(warm),
        "warm": warm,
    }


def version(rival):
    if rival in ("threads", "executor"):
        return sys.version.split()[0]
    module = __import__(rival.partition("-")[0])
    ps = f", with {ways.PS[rival]} P" if rival in ways.PS else ""
    return module.__version__ + ps


def main():
    words = sys.argv[1:]
    try:
        if words == ["calibrate"]:
            print(json.dumps(kinds.calibrate()))
        elif words[1:] == ["version"]:
            print(version(words[0]))
        else:
            rival, program, n, _, least_ms, *runs = words
            least_ms = float(least_ms)
            runs = int(runs[0]) if runs else runs_of(rival, least_ms)
            print(json.dumps(sample(rival, program, int(n), least_ms, runs)), flush=True)
            # The threads of pools, and those that compute, would go on.
            os._exit(0)
    except ModuleNotFoundError as reason:
        print(reason, file=sys.stderr)
        return NOT_THERE
    return 0


if __name__ == "__main__":
    sys.exit(main())
