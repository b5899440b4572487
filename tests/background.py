"""What takes long and needs nothing of the tests' process begins with the session, and runs beside it.

A test module, or a conftest.py, that has `in_background(background, items)` asks there for what the collected tests
want; the tests of such modules come last, and wait for what is not there yet.

    job = background.ask(fn, *args, waits=False)    waits: it waits more than it computes, or minds being slow: it begins
                                                    when the first of its kind is asked for its result
    job.result()                                    returns what fn has returned, raises what it has raised
    background.directory                            for what they write

It is done by the threads of a process that is forked before the first test: a thread of it in the tests' process would
be one that might still wake a goroutine, so that no deadlock would be told there. Where there is no fork, result()
calls fn.
"""

import contextlib
import os
import pickle
import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WAITERS = 3
# For what computes: it has what the tests leave of the machine.
NICE = 19
LOOK_EVERY_S = 0.05
#: The file that says that those which wait are to begin.
WANTED = "wanted"


class Background:
    def __init__(self):
        self.jobs = []
        self.pid = None
        self._directory = None

    @property
    def directory(self):
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="gmpx-tests-"))
        return self._directory

    def ask(self, fn, *args, waits=False):
        assert self.pid is None, "the session has begun"
        self.jobs.append(Job(self, len(self.jobs), fn, args, waits))
        return self.jobs[-1]

    def begin(self):
        if not self.jobs or not hasattr(os, "fork"):
            return
        parent, directory = os.getpid(), self.directory
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setpgid(0, 0)
                nowhere = os.open(os.devnull, os.O_RDWR)
                for fd in range(3):
                    os.dup2(nowhere, fd)
                os.closerange(3, 4096)
                self._work(directory, parent)
            finally:
                os._exit(0)
        with contextlib.suppress(OSError):  # it has done so
            os.setpgid(self.pid, self.pid)

    def _work(self, directory, parent):
        """The process's: until all is done, or who wants it has ended."""
        computing = ThreadPoolExecutor(os.cpu_count(), initializer=os.nice, initargs=(NICE,))
        waiting = ThreadPoolExecutor(WAITERS)
        left = [job for job in self.jobs if job.waits]
        done = [computing.submit(job.run, directory) for job in self.jobs if not job.waits]
        while left or not all(future.done() for future in done):
            if os.getppid() != parent:
                os.killpg(0, signal.SIGKILL)
            if left and (directory / WANTED).exists():
                done += [waiting.submit(job.run, directory) for job in left]
                left = []
            time.sleep(LOOK_EVERY_S)

    def alive(self):
        try:
            # without taking its exit status
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def end(self):
        if self.pid is not None:
            for kill in os.killpg, os.kill:
                with contextlib.suppress(OSError):  # it has ended
                    kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):  # a test has taken its exit status
                os.waitpid(self.pid, 0)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)


class Job:
    def __init__(self, background, number, fn, args, waits):
        self.background, self.number = background, number
        self.fn, self.args, self.waits = fn, args, waits

    def outcome(self):
        try:
            return True, self.fn(*self.args)
        except BaseException as e:
            return False, e

    def run(self, answers):
        outcome = self.outcome()
        try:
            data = pickle.dumps(outcome)
        except Exception as e:
            data = pickle.dumps((False, AssertionError(f"{outcome!r}: {e!r}")))
        (answers / f"{self.number}.part").write_bytes(data)
        os.replace(answers / f"{self.number}.part", answers / f"{self.number}.answer")

    def result(self):
        if self.background.pid is None:
            good, value = self.outcome()
        else:
            answer = self.background.directory / f"{self.number}.answer"
            if self.waits:
                (self.background.directory / WANTED).touch()
            while not answer.exists():
                lost = not self.background.alive()
                assert not lost or answer.exists(), f"{self.fn.__name__}{self.args}: its process has ended"
                time.sleep(LOOK_EVERY_S)
            good, value = pickle.loads(answer.read_bytes())
        if good:
            return value
        raise value


def asks(item):
    return hasattr(getattr(item, "module", None), "in_background")


def begin(session):
    """What the plugins and test modules of a collected session ask for."""
    background = Background()
    for plugin in session.config.pluginmanager.get_plugins():
        if hasattr(plugin, "in_background"):
            plugin.in_background(background, session.items)
    by_module = {}
    for item in filter(asks, session.items):
        by_module.setdefault(item.module, []).append(item)
    for module, items in by_module.items():
        module.in_background(background, items)
    background.begin()
    return background
