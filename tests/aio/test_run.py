"""gmpx.aio.run: a coroutine in a goroutine."""

import asyncio
import contextvars
import gc
import os
import socket
import subprocess
import sys
import threading
import weakref

import pytest

import gmpx
import gmpx.io
from gmpx import aio
from gmpx.testing import bubble

VAR = contextvars.ContextVar("VAR", default="none")


def test_value_and_exception():
    async def value():
        await asyncio.sleep(0.001)
        return 42

    async def fails():
        await asyncio.sleep(0)
        raise KeyError("x")

    assert aio.run(value()) == 42
    with pytest.raises(KeyError):
        aio.run(fails())
    assert gmpx.go(aio.run, value()).result(10) == 42
    with pytest.raises(KeyError):
        gmpx.go(aio.run, fails()).result(10)


@pytest.mark.in_order
def test_only_the_goroutine_parks():
    """Loops side by side on one thread, each in its goroutine; each sees its own."""
    rendezvous = gmpx.Chan()

    async def one(n):
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if n % 2:
            await aio.send(rendezvous, n)
            got = n
        else:
            got = await aio.recv(rendezvous)
        await asyncio.sleep(0.001)
        assert asyncio.get_running_loop() is loop
        assert asyncio.current_task() is task
        return loop, got, threading.get_ident()

    found = [g.result(10) for g in [gmpx.go(aio.run, one(n)) for n in range(20)]]
    assert len({id(loop) for loop, _, _ in found}) == 20
    assert sorted(got for _, got, _ in found) == sorted(list(range(1, 20, 2)) * 2)
    assert asyncio._get_running_loop() is None


def test_async_generators_stay_with_their_loop():
    go_on = gmpx.Chan()
    log, kept = [], []

    async def endless(n):
        try:
            while True:
                yield n
        finally:
            await asyncio.sleep(0)
            log.append(n)

    async def slow():
        gen = endless("slow")
        kept.append(gen)
        await gen.__anext__()
        await aio.recv(go_on)
        assert await gen.__anext__() == "slow"
        log.append("alive")

    async def quick():
        gen = endless("quick")
        kept.append(gen)
        await gen.__anext__()

    g = gmpx.go(aio.run, slow())
    while g.status != "waiting":
        gmpx.gosched()
    gmpx.go(aio.run, quick()).result(10)
    go_on.send(None)
    g.result(10)
    assert log == ["quick", "alive", "slow"]


def test_a_busy_loop_leaves_others_their_turns():
    done = []

    async def busy():
        while not done:
            await asyncio.sleep(0)
        return "seen"

    g = gmpx.go(aio.run, busy())
    gmpx.go(done.append, 1)
    assert g.result(10) == "seen"


def test_sockets():
    async def serve(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        answer = await reader.read()
        writer.close()
        server.close()
        return answer

    gs = [gmpx.go(aio.run, main()) for _ in range(5)]
    assert [g.result(10) for g in gs] == [b"hello\n"] * 5


def test_a_goroutine_of_the_same_thread_is_what_a_loop_waits_for():
    """Both ends of a socket, one of them a goroutine's."""
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)

        def writes():
            gmpx.sleep(0.002)
            b.send(b"x")

        async def main():
            gmpx.go(writes)
            return await asyncio.get_running_loop().sock_recv(a, 10)

        assert aio.run(main()) == b"x"


def test_threads_subprocesses_and_names():
    async def main():
        process = await asyncio.create_subprocess_exec("true")
        info = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
        return await process.wait(), await asyncio.to_thread(abs, -1), bool(info)

    assert aio.run(main()) == (0, 1, True)
    assert gmpx.go(aio.run, main()).result(10) == (0, 1, True)


def test_the_coroutine_has_a_copy_of_the_context():
    async def main():
        before = VAR.get()
        VAR.set("coroutine's")
        return before

    def body():
        VAR.set("goroutine's")
        return aio.run(main()), VAR.get()

    assert gmpx.go(body).result(10) == ("goroutine's", "goroutine's")


def test_what_is_left_at_the_end():
    log = []

    async def left():
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0)
            log.append("task")

    async def gen():
        try:
            yield 1
        finally:
            log.append("generator")

    async def main():
        keep = asyncio.ensure_future(left())
        items = gen()
        await items.__anext__()
        await asyncio.sleep(0)
        return keep, items

    aio.run(main())
    assert log == ["task", "generator"]


def test_the_loop_goes():
    async def main():
        await gmpx.go(int)
        return weakref.ref(asyncio.get_running_loop())

    refs = [aio.run(main()), gmpx.go(aio.run, main()).result(10)]
    gmpx.gosched()
    gc.collect()
    assert [r() for r in refs] == [None, None]


def test_no_descriptor_is_left():
    async def main():
        await gmpx.go(int)

    aio.run(main())
    asyncio.run(main())
    gc.collect()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        aio.run(main())
        asyncio.run(main())
    gc.collect()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_on_a_foreign_thread(in_thread):
    async def main():
        return await gmpx.go(abs, -1), await asyncio.sleep(0.001, "slept")

    assert in_thread(aio.run, main()).value() == (1, "slept")


def test_in_blocking():
    async def main():
        return await gmpx.go(abs, -1)

    assert gmpx.blocking(aio.run, main()) == 1


# ---- cancelling, time limits ---------------------------------------------------------------


def test_cancelling_the_goroutine_cancels_the_coroutine(parked):
    log = []

    async def main():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError as e:
            log.append(e.args)
            raise
        finally:
            await asyncio.sleep(0.001)
            log.append("cleaned up")

    g = gmpx.go(aio.run, main())
    parked(g)
    g.cancel("enough")
    with pytest.raises(gmpx.Cancelled) as caught:
        g.result(10)
    assert caught.value.args == ("enough",)
    assert log == [("enough",), "cleaned up"]


def test_one_that_never_waits_is_cancelled_too(parked):
    begun = gmpx.Event()

    async def main():
        begun.set()
        while True:
            await asyncio.sleep(0)

    g = gmpx.go(aio.run, main())
    begun.wait(10)
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result(10)


def test_a_coroutine_that_keeps_the_cancel_returns(parked):
    async def main():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return "kept"

    g = gmpx.go(aio.run, main())
    parked(g)
    g.cancel()
    assert g.result(10) == "kept"


def test_a_cancel_of_its_own_is_asyncios():
    async def main():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        aio.run(main())


def test_timeout():
    log = []

    async def main():
        try:
            await asyncio.sleep(10)
        finally:
            log.append("cleaned up")

    for start in (aio.run, lambda *a, **k: gmpx.go(aio.run, *a, **k).result(10)):
        with pytest.raises(TimeoutError):
            start(main(), timeout=0.001)
    with pytest.raises(TimeoutError):
        aio.run(main(), timeout=0)
    assert log == ["cleaned up"] * 3

    async def quick():
        return 1

    assert aio.run(quick(), timeout=0) == 1
    assert aio.run(quick(), timeout=10) == 1
    for bad, error in ((-1, ValueError), (float("nan"), ValueError), ("1", TypeError)):
        coro = quick()
        with pytest.raises(error):
            aio.run(coro, timeout=bad)
        coro.close()


def test_inside_a_timeout_block():
    log = []

    async def main(limit):
        try:
            limit.reset(0.001)
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    with pytest.raises(TimeoutError):
        with gmpx.timeout(None) as limit:
            aio.run(main(limit))
    assert log == ["cleaned up"]


def test_in_a_group(parked):
    log = []

    async def main():
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    def fails():
        gmpx.sleep(0.002)
        raise KeyError

    with pytest.raises(BaseException) as caught:
        with gmpx.Group() as group:
            g = group.go(aio.run, main())
            parked(g)
            group.go(fails)
    assert [type(e) for e in caught.value.exceptions] == [KeyError]
    assert log == ["cleaned up"]


def test_errors():
    with pytest.raises(TypeError, match="a coroutine is needed"):
        aio.run(1)

    async def inner():
        pass

    async def main():
        with pytest.raises(RuntimeError, match="await the coroutine"):
            aio.run(inner())

    aio.run(main())
    asyncio.run(main())


# ---- on a loop that runs elsewhere ---------------------------------------------------------


def test_on_another_loop():
    async def who(n):
        await asyncio.sleep(0.001)
        return n, asyncio.get_running_loop(), VAR.get()

    async def main():
        loop = asyncio.get_running_loop()

        def body(n):
            VAR.set(n)
            return aio.run(who(n), loop=loop)

        found = await asyncio.gather(*(aio.wait(gmpx.go(body, n)) for n in range(20)))
        assert [(n, n) for n in range(20)] == [(n, v) for n, _, v in found]
        return {id(at) for _, at, _ in found} == {id(loop)}

    assert aio.run(main())
    assert asyncio.run(main())


def test_on_another_loop_errors_and_limits():
    log = []

    async def fails():
        raise KeyError

    async def waits():
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    async def main():
        loop = asyncio.get_running_loop()
        with pytest.raises(KeyError):
            await gmpx.go(aio.run, fails(), loop=loop)
        with pytest.raises(TimeoutError):
            await gmpx.go(aio.run, waits(), loop=loop, timeout=0.001)
        g = gmpx.go(aio.run, waits(), loop=loop)
        while g.status != "waiting":
            await asyncio.sleep(0.001)
        g.cancel()
        with pytest.raises(asyncio.CancelledError):
            await g
        with pytest.raises(RuntimeError, match="await the coroutine"):
            aio.run(fails(), loop=loop)
        return loop

    for way in (aio.run, asyncio.run):
        loop = way(main())
        assert log == ["cleaned up"] * 2
        log.clear()
        with pytest.raises(RuntimeError, match="does not run"):
            aio.run(fails(), loop=loop)


# ---- many ----------------------------------------------------------------------------------


def test_many_loops_at_once():
    gate = gmpx.Event()

    def opens():
        gmpx.sleep(0.01)
        gate.set()

    async def one(n):
        await gmpx.go(gate.wait)
        await asyncio.sleep(0)
        return n

    gs = [gmpx.go(aio.run, one(n)) for n in range(400)]
    gmpx.go(opens)
    assert [g.result(60) for g in gs] == list(range(400))


def test_elsewhere_on_a_loop_that_is_stopped():
    """A time limit holds though nobody is there to end the coroutine; when the loop goes on, that is cancelled."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    seen = []

    async def stops():
        try:
            loop.stop()
            await asyncio.sleep(0)
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    loop.call_soon(started.set)
    t = threading.Thread(target=loop.run_forever)
    t.start()
    gmpx.blocking(started.wait)
    with pytest.raises(TimeoutError):
        aio.run(stops(), timeout=0.05, loop=loop)
    gmpx.blocking(t.join)
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert seen == ["cancelled"]


def test_bad_loops():
    for loop in (3, asyncio.SelectorEventLoop):
        with pytest.raises(TypeError, match="loop must be an asyncio event loop"):
            aio.run(asyncio.sleep(0), loop=loop)


def test_a_time_limit_elsewhere_names_the_call():
    async def main():
        loop = asyncio.get_running_loop()
        g = gmpx.go(lambda: aio.run(asyncio.sleep(60), loop=loop, timeout=0.001))
        with pytest.raises(TimeoutError, match=r"^gmpx.aio.run\(\) timed out"):
            await g

    aio.run(main())


# ---- in a bubble -----------------------------------------------------------------------------


@pytest.fixture
def alone():
    """A bubble begins with no goroutine but main."""
    gmpx.shutdown(20)


def test_time_is_virtual_in_a_bubble(alone):
    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await asyncio.gather(*(asyncio.sleep(n * 0.1, n) for n in range(50))) == list(range(50))
        assert loop.time() - began == pytest.approx(4.9)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3600)
        assert await gmpx.go(pow, 2, 5) == 32
        c = gmpx.Chan()
        g = gmpx.go(lambda: (gmpx.sleep(60), c.send("late")))
        assert await aio.recv(c) == "late"
        await g

    for seed in (None, 1, 2):
        with bubble(seed) as b:
            aio.run(main())
            assert b.elapsed == pytest.approx(4.9 + 3600 + 60, abs=1e-5)


def test_several_loops_in_a_bubble(alone):
    async def naps(n):
        for _ in range(n):
            await asyncio.sleep(n)
        return n

    with bubble() as b:
        assert gmpx.map(lambda n: aio.run(naps(n)), range(1, 6)) == [1, 2, 3, 4, 5]
        assert b.elapsed == pytest.approx(25, abs=1e-5)


def test_a_coroutine_that_stops_its_loop_is_told_in_a_bubble(alone):
    async def main():
        with pytest.raises(RuntimeError, match="would stop the asyncio loop"):
            gmpx.Chan().recv()

    with bubble():
        aio.run(main())


def test_a_deadlock_in_a_bubble_is_told(alone):
    async def main():
        await aio.recv(gmpx.Chan())

    with bubble(), pytest.raises(gmpx.DeadlockError):
        aio.run(main())


def test_a_foreign_thread_runs_coroutines_in_a_bubble(alone):
    found = []
    with bubble() as b:
        thread = threading.Thread(target=lambda: found.append(aio.run(asyncio.sleep(3600, "slept"))))
        thread.start()
        gmpx.sleep(7200)
        assert found == ["slept"]
        thread.join()
        assert b.elapsed == 7200


def test_descriptors_in_a_bubble_are_refused(alone):
    async def main():
        asyncio.get_running_loop().add_reader(0, int)

    with bubble(), pytest.raises(RuntimeError, match="virtual time"):
        aio.run(main())


def test_a_callback_that_waits_for_the_loop_is_told(alone):
    """Under the end of an Executor: what it stands in is over only when the loop goes on."""

    async def main():
        loop = asyncio.get_running_loop()
        waiter = gmpx.current()
        answered, ended = gmpx.Event(), asyncio.Event()

        def callback(future):
            while waiter.wait_reason != "shutdown":
                gmpx.sleep(0.001)
            loop.call_soon_threadsafe(answered.set)
            answered.wait()
            loop.call_soon_threadsafe(ended.set)

        with pytest.raises(RuntimeError, match="Executor.*would stop the asyncio loop"):
            with gmpx.Executor() as executor:
                future = executor.submit(int)
                waited = aio.wait(future)  # callbacks are called in the order of adding
                future.add_done_callback(callback)
                await waited
        await ended.wait()

    with bubble():
        aio.run(main())


def test_a_thread_from_before_a_bubble_has_its_loops(alone):
    begin, found = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as server:

        async def connect():
            _, writer = await asyncio.open_connection(*server.getsockname())
            writer.close()
            return "connected"

        def body():
            begin.wait()
            for run in (asyncio.run, aio.run):
                try:
                    found.append(run(connect()))
                except BaseException as e:
                    found.append(e)

        thread = threading.Thread(target=body)
        thread.start()
        with bubble():
            begin.set()
            thread.join()
    assert found == ["connected", "connected"]


def test_a_thread_of_a_bubble_has_no_other_loop(alone):
    async def main():
        asyncio.get_running_loop().add_reader(0, int)

    found = []

    def body():
        try:
            aio.run(main())
        except RuntimeError as e:
            found.append(str(e))

    with bubble():
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
    assert "virtual time" in found[0]


def test_a_bubble_in_another_loop_is_refused(alone):
    async def main():
        with pytest.raises(RuntimeError, match=r"run the coroutine by gmpx.aio.run\(\)"):
            with bubble():
                await asyncio.sleep(3600)
        return "refused"

    assert asyncio.run(main()) == "refused"


def test_a_bubble_in_a_coroutine_of_aio(alone):
    async def main():
        with bubble() as b:
            await asyncio.sleep(3600)
            return round(b.elapsed)

    assert aio.run(main()) == 3600


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_another_loop_in_a_bubble_is_refused(alone):
    with bubble(), pytest.raises(RuntimeError, match=r"run the coroutine by gmpx.aio.run\(\)"):
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(asyncio.sleep(0.01))
        finally:
            loop.close()
    assert asyncio.run(asyncio.sleep(0, "afterwards")) == "afterwards"


def test_asyncio_that_a_bubble_imports_is_refused():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", """if True:
        import sys
        from gmpx.testing import bubble
        with bubble():
            import asyncio
            try:
                asyncio.run(asyncio.sleep(0.01))
            except RuntimeError as e:
                print(e)
    """], capture_output=True, text=True, timeout=60)
    assert "run the coroutine by gmpx.aio.run()" in done.stdout, done.stderr
