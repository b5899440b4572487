"""Ways to run a coroutine: in a goroutine, or on a loop that keeps its thread."""

import asyncio
import threading

import pytest

import gmpx
import gmpx.aio
import gmpx.patch

try:
    import uvloop
except ImportError:
    uvloop = None


def in_foreign_thread(coro):
    found = []

    def body():
        try:
            found.append((asyncio.run(coro), None))
        except BaseException as e:
            found.append((None, e))

    thread = threading.Thread(target=body)
    thread.start()
    while thread.is_alive():
        gmpx.sleep(0.0005)
    thread.join()
    value, exc = found[0]
    if exc is not None:
        raise exc
    return value


def on_uvloop(coro):
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


def in_goroutine(coro):
    return gmpx.go(gmpx.aio.run, coro).result(60)


def patched(coro):
    gmpx.patch.all(signal=False)
    try:
        return gmpx.go(asyncio.run, coro).result(60)
    finally:
        gmpx.patch.undo()


WAYS = {
    "main": gmpx.aio.run,
    "goroutine": in_goroutine,
    "asyncio": asyncio.run,
    "thread": in_foreign_thread,
    "patched": patched,
}
if uvloop is not None:
    WAYS["uvloop"] = on_uvloop


@pytest.fixture(params=WAYS)
def run(request):
    """run(coro): on each kind of loop in turn."""
    return WAYS[request.param]
