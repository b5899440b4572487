"""Runs of several configurations of one cores case in turns, each in a process of its own.

All processes are there from the beginning, and one of them runs at a time: run by run, in random order.
What the machine has to give changes within seconds, so that runs compare with those next to them.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from functools import cache

import rivals


def take(program, configurations, least_ms, rng):
    """Takes turns.

    Args:
        program: cores-KIND-WAY.
        configurations: {key: (rival, N, runs)}.
        least_ms: what a run takes at least.
        rng: what shuffles.

    Returns:
        {key: the nanoseconds for one piece of work of every run, or the rivals.Missing}.
    """
    calibrate()
    with tempfile.TemporaryDirectory() as place:
        processes = {
            key: Process([rival, program, n, least_ms, runs], f"{place}/{i}")
            for i, (key, (rival, n, runs)) in enumerate(configurations.items())
        }
        watch = threading.Timer(rivals.SAMPLE_LIMIT_S, lambda: [p.end() for p in processes.values()])
        watch.start()
        try:
            return in_turns(processes, {key: c[2] for key, c in configurations.items()}, rng)
        finally:
            watch.cancel()
            for process in processes.values():
                process.end()


def in_turns(processes, runs, rng):
    found = {key: [] for key in processes}
    for run in range(max(runs.values())):
        keys = [key for key in processes if run < runs[key] and isinstance(found[key], list)]
        rng.shuffle(keys)
        for key in keys:
            try:
                found[key].append(processes[key].run())
            except rivals.Missing as reason:
                found[key] = reason
    return found


@cache
def calibrate():
    """Sees that all processes do the same work."""
    command = [sys.executable, str(rivals.FAN), "calibrate"]
    os.environ["GMPX_PERF_FAN"] = rivals.run(command, rivals.SAMPLE_LIMIT_S)


class Process:
    """One of sample.py, which has started when this is made, and stands still between its runs."""

    def __init__(self, words, errors):
        self.errors = errors
        with open(errors, "w") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(rivals.FAN), *map(str, words)], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
            )
        self.stopped = False
        # It says that it is ready, or fails, which its first run will tell.
        self.failure = None
        try:
            self.line()
        except rivals.Missing as reason:
            self.failure = reason

    def run(self):
        if self.failure:
            raise self.failure
        if self.stopped:
            self.process.send_signal(signal.SIGCONT)
        else:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        return float(self.line())

    def line(self):
        """Returns what it prints before it stands still."""
        text = self.process.stdout.readline()
        if not text:
            raise self.reason()
        if hasattr(signal, "SIGSTOP"):
            _, status = os.waitpid(self.process.pid, os.WUNTRACED)
            self.stopped = os.WIFSTOPPED(status)
            if not self.stopped:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                raise self.reason()
        return text

    def reason(self):
        status = self.process.wait()
        with open(self.errors) as file:
            lines = file.read().strip().splitlines()
        last = lines[-1] if lines else "no message"
        if status == rivals.NOT_THERE:
            return rivals.NotThere(last)
        return rivals.Missing(f"exit status {status}: {last}")

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
