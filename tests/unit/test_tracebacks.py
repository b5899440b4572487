"""Traceback frames of the extension name the function and file that they are of."""

import re
import traceback
from pathlib import Path

import gmpx

RT = Path(gmpx.__file__).parent / "rt"


def frames(exc):
    return [at for at in traceback.extract_tb(exc.__traceback__) if "gmpx/rt" in at.filename]


def failures():
    """Exceptions out of many places."""
    c, full, mu, wg = gmpx.Chan(), gmpx.Chan(1), gmpx.Mutex(), gmpx.WaitGroup()
    full.send(1)
    mu.lock()
    wg.add()
    g = gmpx.go(int, "x")
    stuck = gmpx.go(c.recv)
    calls = [
        lambda: gmpx.Chan().send(1, timeout=0), lambda: full.recv_nowait() and full.recv(timeout=0),
        lambda: mu.lock(timeout=0), lambda: wg.wait(timeout=0), g.result, stuck.cancel.__call__,
        lambda: gmpx.sleep(-1), lambda: gmpx.Semaphore(-1), lambda: gmpx.Timer("x"),
        lambda: gmpx.select(3), lambda: gmpx.timeout("x"), lambda: gmpx.Cond().wait(),
        lambda: gmpx.Event().wait(0), gmpx.RWMutex().unlock, gmpx.RWMutex().runlock,
        lambda: gmpx.Mutex().unlock(), lambda: wg.add(-5), lambda: stuck.join(0), gmpx.goexit,
        lambda: gmpx.gomaxprocs(0), lambda: gmpx.spawn(1), lambda: gmpx.blocking(1),
        lambda: gmpx.Once().do(1),
    ]
    for call in calls:
        try:
            call()
        except Exception as e:
            yield e
    stuck.cancel()
    stuck.join()


def test_each_frame_is_of_its_file():
    seen = set()
    for exc in failures():
        for at in frames(exc):
            function = at.name.rpartition(".")[2]
            text = (RT.parent.parent / at.filename).read_text()
            assert re.search(rf"\b{re.escape(function)}\(", text), (at.filename, at.name)
            line = text.splitlines()[at.lineno - 1]
            assert "raise" in line or "(" in line, line
            seen.add(at.filename)
    assert len(seen) > 6
