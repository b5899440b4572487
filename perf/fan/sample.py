"""One configuration of a cores case, in a process of its own; turns.py has several of them.

    sample.py RIVAL PROGRAM N LEAST_MS RUNS   prints a line when ready and one after each run: the
                                              nanoseconds for one piece of work
    sample.py RIVAL version                   prints what is measured
    sample.py calibrate                       prints what GMPX_PERF_FAN should be

PROGRAM is cores-KIND-WAY. N is how many Ps or threads there are (not for ways.PS). A run repeats the
fan-out for LEAST_MS. After each line the process stops itself until it gets SIGCONT, so that threads
stand still wherever they are; where there are no such signals it reads a line.
"""

import json
import os
import signal
import sys
import time

import kinds
import ways

NOT_THERE = 3
MOST_TASKS = 20_000


def pause():
    if hasattr(signal, "SIGSTOP"):
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        sys.stdin.readline()


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
    n = min(int(least_ms * 1e3 / (work.us * work.pieces)), MOST_TASKS) // 2 * 2 or 2
    if work.form == "beside":
        kinds.compute_beside()
    print("ready", flush=True)
    for _ in range(runs):
        pause()
        print(one_run(way, task, n, work.pieces, least_ms / 1e3), flush=True)
    pause()


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
            rival, program, n, least_ms, runs = words
            sample(rival, program, int(n), float(least_ms), int(runs))
            # The threads of pools, and those that compute, would go on.
            os._exit(0)
    except ModuleNotFoundError as reason:
        print(reason, file=sys.stderr)
        return NOT_THERE
    return 0


if __name__ == "__main__":
    sys.exit(main())
