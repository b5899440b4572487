"""Faults happen in processes of their own: `child(source)` runs one and hands back its end."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

# A shell's background jobs start with these ignored, and children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGQUIT") and signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# How long a child may take before it is called hung. No test waits for it to pass.
PATIENCE = 60


class Child:
    def __init__(self, source, argv=(), env=None, cwd=None):
        command = [sys.executable, "-X", "faulthandler"]
        # 3.12 and later warn of every fork in a process with threads
        command += ["-W", "ignore:This process:DeprecationWarning"]
        command += ["-c", textwrap.dedent(source), *argv]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (env or {}),
            cwd=cwd,  # where it imports gmpx from, if there is one
        )
        self.out = self.err = ""

    def line(self):
        """The next line that it prints."""
        text = b""
        while not text.endswith(b"\n"):
            # byte by byte: communicate() would not see what a buffer has read ahead
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                self.end()
                raise AssertionError(f"the child ended early:\n{self.err}")
            text += byte
        self.out += text.decode()
        return text.decode().strip()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def end(self, code=None):
        """Waits for the end; returns self. code: the exit code that it must have."""
        try:
            out, self.err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # faulthandler prints all stacks
            _, err = self.process.communicate()
            raise AssertionError(f"the child hangs:\n{err}") from None
        self.out += out
        self.took = time.monotonic() - self.started
        if code is not None:
            assert self.process.returncode == code, f"{self.out}\n{self.err}"
        return self


@contextlib.contextmanager
def children():
    """start(source, *argv, cwd=None, **env): starts a Child; all of them end with the block."""
    started = []

    def start(source, *argv, cwd=None, **env):
        started.append(Child(source, argv, env, cwd))
        return started[-1]

    try:
        yield start
    finally:
        for c in started:
            if c.process.poll() is None:
                c.process.kill()
            c.process.wait()
            for pipe in (c.process.stdin, c.process.stdout, c.process.stderr):
                pipe.close()


@pytest.fixture
def child():
    """child(source, *argv, cwd=None, **env): starts it; .end(code) waits."""
    with children() as start:
        yield start


@pytest.fixture(scope="module")
def module_child():
    """The same, for children that several tests look at."""
    with children() as start:
        yield start
