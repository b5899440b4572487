"""An idle process sleeps: none of its threads runs at all."""

import os
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads /proc")

IDLE_S = 3.0            # over which nothing is to run; longer than housekeeping takes to be done
SETTLE_S = 4.0          # looks for a deadlock, housekeeping after the start

SETUP = """
    import os, signal, sys, threading, time, gmpx
    def ready(): print("ready", flush=True)
    def on_foreign(fn, *args):
        threading.Thread(target=fn, args=args, daemon=True).start()
"""

MODES = {
    "a channel, 1,000 parked": """
    c = gmpx.Chan()
    never = gmpx.Chan()
    for _ in range(1000): gmpx.go(never.recv)
    gmpx.sleep(0.01)
    gmpx.after(3600)
    hope = gmpx.Timer(3600)
    ready(); c.recv()
    """,
    "sleep": """
    gmpx.go(int).join()
    ready(); gmpx.sleep(60)
    """,
    "a channel with a time-out": """
    gmpx.go(int).join()
    ready()
    gmpx.Chan().recv(timeout=60)
    """,
    "threading's join": """
    gmpx.go(int).join()
    gate = threading.Event()
    t = threading.Thread(target=gate.wait, daemon=True); t.start()
    ready(); t.join()
    """,
    "a thread that is parked, main joins it": """
    gmpx.go(int).join()
    c = gmpx.Chan()
    t = threading.Thread(target=c.recv, daemon=True); t.start()
    ready(); t.join()
    """,
    "time.sleep": """
    gmpx.go(int).join()
    ready(); time.sleep(60)
    """,
    "time.sleep, workers idle and parked": """
    gate, c = threading.Event(), gmpx.Chan()
    def body(): gate.wait(); c.recv()
    gs = [gmpx.go(body) for _ in range(5)]
    on_foreign(lambda: [gmpx.go(gate.wait) for _ in range(5)])
    time.sleep(0.3); gate.set()
    ready(); time.sleep(60)
    """,
    "time.sleep, a long timer": """
    t = gmpx.after_func(3600, int)
    ready(); time.sleep(60)
    """,
    "a handler of the program's own": """
    signal.signal(signal.SIGTERM, lambda *a: None)
    ready(); gmpx.Chan().recv()
    """,
    "lock_os_thread": """
    gmpx.go(int).join()
    with gmpx.lock_os_thread():
        signal.signal(signal.SIGTERM, lambda *a: None)
        ready(); gmpx.Chan().recv()
    """,
}


def switches(pid):
    """{thread: context switches so far}, or None for what has gone meanwhile."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            text = open(f"/proc/{pid}/task/{task}/status").read()
        except OSError:
            continue
        found[task] = sum(int(x.split()[1]) for x in text.splitlines() if "ctxt_switches" in x)
    return found


@pytest.fixture(scope="module")
def watched(request, module_child):
    """{mode: (switches before, switches after, exit code)}, of all that the run wants, watched at once."""
    modes = {i.callspec.params["mode"] for i in request.session.items if i.path == request.path}
    idle = {mode: module_child(SETUP + MODES[mode]) for mode in modes}
    for c in idle.values():
        assert c.line() == "ready"
    time.sleep(SETTLE_S)
    before = {mode: switches(c.process.pid) for mode, c in idle.items()}
    time.sleep(IDLE_S)
    return {mode: (before[mode], switches(c.process.pid), c.process.poll()) for mode, c in idle.items()}


@pytest.mark.parametrize("mode", MODES)
def test_no_thread_runs(watched, mode):
    before, after, code = watched[mode]
    assert code is None
    assert sys.platform != "linux" or before
    assert after == before
