"""Ends: of loops whose goroutines go on, of the process; forks; Ctrl-C."""

import asyncio
import gc
import os
import signal
import subprocess
import sys

import pytest

import gmpx
from gmpx import aio

pytestmark = pytest.mark.timeout(120)


def script(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **options
    )


def test_a_loop_that_ends_before_the_goroutine(run):
    c = gmpx.Chan()
    found = []

    async def main():
        g = gmpx.go(c.recv)
        found.append(g)
        aio.wait(g)
        asyncio.ensure_future(aio.recv(gmpx.Chan()))
        await asyncio.sleep(0.001)

    run(main())
    gc.collect()
    if not found[0].done():
        c.send_nowait("late")
    assert found[0].result(10) == "late"


def test_a_closed_loop_takes_no_item():
    c = gmpx.Chan()
    loop = asyncio.new_event_loop()
    task = loop.create_task(aio.recv(c))
    loop.run_until_complete(asyncio.sleep(0))
    loop._gmpx.close()
    with pytest.raises(gmpx.WouldBlock):
        c.send_nowait(1)
    task._log_destroy_pending = False
    loop.close()


def test_a_loop_that_is_dropped_takes_no_item():
    c = gmpx.Chan()
    loop = asyncio.new_event_loop()
    task = loop.create_task(aio.recv(c))
    loop.run_until_complete(asyncio.sleep(0))
    task._log_destroy_pending = False
    loop.close()
    del task, loop
    gc.collect()
    with pytest.raises(gmpx.WouldBlock):
        c.send_nowait(1)


def test_the_program_ends_with_waits_outstanding():
    code = """
import asyncio, gmpx
from gmpx import aio
c = gmpx.Chan()
async def main():
    asyncio.ensure_future(aio.recv(c))
    aio.wait(gmpx.go(c.recv))
    await asyncio.sleep(0.001)
    print("end", flush=True)
RUN(main())
"""
    for run in ("aio.run", "asyncio.run"):
        done = script(code.replace("RUN", run))
        assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
        assert "Traceback" not in done.stderr


CTRL_C = """
import asyncio, os, signal, gmpx
from gmpx import aio
async def main():
    async def strikes():
        os.kill(os.getpid(), signal.SIGINT)
    asyncio.ensure_future(strikes())
    try:
        WAIT
    finally:
        await asyncio.sleep(0.001)
        print("cleaned up", flush=True)
gmpx.gosched()
before = signal.getsignal(signal.SIGINT)
try:
    aio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
assert signal.getsignal(signal.SIGINT) is before
"""


@pytest.mark.parametrize(
    "wait",
    [
        "await asyncio.sleep(30)",
        "await aio.recv(gmpx.Chan())",
        "await gmpx.go(gmpx.Chan().recv)",
        "while True: await asyncio.sleep(0)",
    ],
)
def test_ctrl_c_as_in_asyncio_run(wait):
    done = script(CTRL_C.replace("WAIT", wait))
    assert (done.returncode, done.stdout) == (0, "cleaned up\ninterrupted\n"), done.stderr


def test_ctrl_c_while_another_goroutine_has_the_loop():
    """It is the main goroutine's, as ever."""
    code = """
import asyncio, os, signal, gmpx
from gmpx import aio
async def main():
    await asyncio.sleep(0.002)
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(0.002)
    return "went on"
g = gmpx.go(aio.run, main())
try:
    gmpx.Chan().recv(timeout=30)
except KeyboardInterrupt:
    print(g.result(30))
"""
    done = script(code)
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork():
    """In the child nobody waits on the loop of another goroutine; a new loop runs."""
    code = """
import asyncio, os, gmpx, warnings
warnings.simplefilter("ignore")
from gmpx import aio
c = gmpx.Chan()
async def waits():
    return await aio.recv(c)
g = gmpx.go(aio.run, waits())
while g.status != "waiting":
    gmpx.gosched()
pid = os.fork()
if pid == 0:
    try:
        c.send_nowait(1)
    except gmpx.WouldBlock:
        pass
    else:
        os._exit(3)
    async def main():
        return await gmpx.go(abs, -7)
    os._exit(aio.run(main()))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
c.send(5)
assert g.result(30) == 5
"""
    done = script(code)
    assert done.returncode == 0, done.stderr


def test_imported_by_name():
    done = script("import gmpx; print(gmpx.aio.__name__)")
    assert done.stdout == "gmpx.aio\n", done.stderr
    done = script("import gmpx, sys; assert 'asyncio' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_await_imports_the_bridge():
    code = """
import asyncio, gmpx
async def main():
    return await gmpx.go(abs, -3)
assert asyncio.run(main()) == 3
"""
    done = script(code)
    assert done.returncode == 0, done.stderr


def test_told_without_the_bridge_and_the_patch():
    code = """
import asyncio, sys, gmpx
async def main():
    try:
        gmpx.Chan().recv()
    except RuntimeError as e:
        return str(e)
assert "gmpx.aio.recv" in asyncio.run(main())
assert "gmpx.aio" not in sys.modules
"""
    done = script(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs SIGUSR1")
def test_signal_handlers_of_the_loop():
    async def main():
        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, came.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(came.wait(), 10)
        return loop.remove_signal_handler(signal.SIGUSR1)

    assert aio.run(main())


@pytest.mark.parametrize("procs", [1, 4])
def test_a_loop_that_keeps_the_main_thread_keeps_no_goroutine_waiting(procs):
    """What it starts runs elsewhere, if main has the only P, too; also what nobody awaits."""
    code = """
import asyncio, threading, gmpx
from gmpx import aio
async def main():
    c = gmpx.Chan()
    there = {await gmpx.go(threading.get_ident) for _ in range(50)}
    assert threading.get_ident() not in there, there
    gs = [gmpx.go(c.send, n) for n in range(1000)]
    assert sorted([await aio.recv(c) for _ in gs]) == list(range(1000))
    came = asyncio.Event()
    gmpx.go(asyncio.get_running_loop().call_soon_threadsafe, came.set)
    await came.wait()
asyncio.run(main())
"""
    done = script(code, env=os.environ | {"GMPX_MAXPROCS": str(procs)})
    assert done.returncode == 0, done.stderr
