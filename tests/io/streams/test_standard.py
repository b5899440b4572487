"""Standard streams, patched: input() at pipes and terminals, forks, the end of the process."""

import contextlib
import os
import pty
import subprocess
import sys
import termios
from functools import partial
from os import read, write

import pytest

import gmpx
from gmpx import go
from two_ends import PATIENCE

START = "import gmpx, gmpx.patch, os, sys; gmpx.patch.all()\n"
TICKS = """
ticks = []
def tick():
    while len(ticks) < 5:
        gmpx.sleep(0.001)
        ticks.append(1)
    print("ticked", flush=True)
gmpx.go(tick)
"""


def child(code, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-c", START + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **kwargs,
    )


def test_input_parks_its_goroutine_alone():
    code = TICKS + """
print(input("? "), sys.stdin.readline(), sys.stdin.read())
"""
    with child(code) as process:
        assert process.stdout.readline() == b"? ticked\n"
        out, _ = process.communicate(b"one\ntwo\nthree\nfour")
        assert out == b"one two\n three\nfour\n"
        assert process.returncode == 0


@contextlib.contextmanager
def at_terminal(code):
    """A process at a terminal of its own; what types there, and what reads until something is shown."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", START + code],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)

    rest = b""

    def until(what):
        nonlocal rest
        got, rest = rest, b""
        while what not in got:
            got += read(master, 1000)
        end = got.index(what) + len(what)
        got, rest = got[:end], got[end:]
        return got

    try:
        yield process, partial(write, master), until
    finally:
        process.kill()
        process.wait(PATIENCE)
        os.close(master)


def test_input_at_a_terminal():
    code = TICKS + """
print("got", input("name? "), flush=True)
"""
    with at_terminal(code) as (process, say, until):
        assert b"name? " in until(b"ticked")
        say(b"gopher\n")
        until(b"got gopher")
        assert process.wait(PATIENCE) == 0


def test_two_goroutines_ask_at_one_terminal():
    """The one that has lost parks again, instead of waiting for the next line in its thread."""
    code = """
gs = [gmpx.go(input) for _ in range(2)]
while any(g.wait_reason != "IO wait" for g in gs):
    gmpx.gosched()
print("asked", flush=True)
first = next(gmpx.as_completed(gs))
print("first", first.result(), flush=True)
for _ in range(5):
    gmpx.sleep(0.01)                        # on whichever thread they are
    gmpx.map(gmpx.sleep, [0.001] * 4)
print("slept", flush=True)
print("both", sorted(gmpx.gather(*gs)), flush=True)
"""
    with at_terminal(code) as (process, say, until):
        until(b"asked")
        say(b"one\n")
        until(b"first one")
        until(b"slept")
        say(b"two\n")
        until(b"both ['one', 'two']")
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("end", ["asks again", "ends", "ends meanwhile"])
def test_ctrl_c_at_a_terminal_with_readline(end):
    """The terminal is as it was, and what is typed afterwards goes to the next input."""
    pytest.importorskip("readline")
    code = """
import fcntl, readline, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.argv[1] == "ends meanwhile":
    gmpx.go(input, "? ")
    gmpx.sleep(0.5)
    sys.exit()
try:
    input("? ")
except KeyboardInterrupt:
    print("interrupted", flush=True)
if sys.argv[1] == "asks again":
    print("got", input("again? "), flush=True)
"""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [sys.executable, "-c", "import gmpx, gmpx.patch, sys; gmpx.patch.all()\n" + code, end],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    got = b""

    def until_it_says(text):
        nonlocal got
        while text not in got:
            got += read(master, 1000)

    def until_readline_has_it():
        while termios.tcgetattr(slave)[3] == before[3]:
            gmpx.sleep(0.001)

    until_it_says(b"? ")
    until_readline_has_it()
    if end != "ends meanwhile":
        write(master, b"abc")
        until_it_says(b"abc")
        write(master, b"\x03")
        until_it_says(b"interrupted")
    if end == "asks again":
        until_it_says(b"again? ")
        until_readline_has_it()
        write(master, b"gopher\r")
        until_it_says(b"got gopher\r\n")
    assert process.wait(PATIENCE) == 0
    assert termios.tcgetattr(slave) == before
    os.close(slave)
    os.close(master)


def test_a_forks_child_has_streams_that_somebody_waits_in():
    code = """
import multiprocessing, os, warnings
warnings.simplefilter("ignore", DeprecationWarning)     # of forks in a process with threads
def work():
    print("worked", flush=True)
g = gmpx.go(sys.stdin.readline)
while g.wait_reason != "IO wait":
    gmpx.gosched()
process = multiprocessing.get_context("fork").Process(target=work)
process.start()
process.join()
print(process.exitcode, flush=True)
h = gmpx.go(lambda: sys.stderr.write("x" * 300_000))
while h.wait_reason != "IO wait":
    gmpx.gosched()
if not os.fork():
    print("the child", file=sys.stderr, flush=True)
    os._exit(0)
print("forked", flush=True)
print(os.wait()[1], g.result(), flush=True)
h.result()
"""
    with child(code, stderr=subprocess.PIPE) as process:
        assert [process.stdout.readline() for _ in range(3)] == [b"worked\n", b"0\n", b"forked\n"]
        g = go(process.stderr.read)
        process.stdin.write(b"for the parent\n")
        process.stdin.flush()
        assert process.stdout.read() == b"0 for the parent\n\n"
        text = g.result(PATIENCE)
        assert len(text) == 300_010 and b"the child" in text


def test_output_at_exit_is_complete():
    """More than the pipe takes is left to the interpreter's last flush."""
    for code in ("sys.stdout.write('x' * 300_000)", "print('x' * 299_999)\ngmpx.go(print, end='')"):
        with child(code) as process:
            assert len(process.stdout.read()) == 300_000
            assert process.wait(PATIENCE) == 0
