"""A goroutine that would stop the loop that runs in it is told."""

import asyncio
import threading

import pytest

import gmpx
import gmpx.io
from gmpx import aio


def waits():
    """(what to use instead, the wait) of everything that could stop a loop for good."""
    full = gmpx.Chan()
    mutex = gmpx.Mutex()
    group = gmpx.WaitGroup()
    group.add()
    empty = gmpx.Semaphore(1)
    empty.acquire()

    def cond():
        with mutex:
            gmpx.Cond(mutex).wait()

    return [
        ("gmpx.aio.recv", full.recv),
        ("gmpx.aio.recv", full.recv_ok),
        ("gmpx.aio.recv", lambda: next(full)),
        ("gmpx.aio.send", lambda: full.send(1)),
        ("gmpx.go", lambda: gmpx.select(full)),
        ("gmpx.go", gmpx.select),
        ("gmpx.go", gmpx.Event().wait),
        ("gmpx.go", group.wait),
        ("gmpx.go", empty.acquire),
        ("gmpx.go", cond),
        ("gmpx.go", lambda: gmpx.Group().__enter__()),
    ]


def test_told_at_once(run):
    async def main():
        for hint, wait in waits():
            with pytest.raises(RuntimeError, match="would stop the asyncio loop") as caught:
                wait()
            assert hint in str(caught.value)

    run(main())


def test_join_is_told(run):
    c = gmpx.Chan()

    async def main():
        g = gmpx.go(c.recv)
        for wait in (g.join, g.result, g.exception, lambda: gmpx.gather(g), lambda: gmpx.wait([g])):
            with pytest.raises(RuntimeError, match="would stop the asyncio loop"):
                wait()
        assert not g.done()
        await aio.send(c, 1)
        await g
        assert g.result() == 1  # needs no wait

    run(main())


def test_in_callbacks_and_generators_too():
    async def main():
        loop = asyncio.get_running_loop()
        told = []
        loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
        loop.call_soon(gmpx.Chan().recv)
        await asyncio.sleep(0.001)
        return [type(e) for e in told]

    assert aio.run(main()) == [RuntimeError]


def test_what_needs_no_wait_is_as_ever(run):
    async def main():
        c = gmpx.Chan(1)
        c.send(1)
        assert c.recv() == 1
        assert gmpx.select(c, block=False) == (-1, None, False)
        with gmpx.Mutex():
            pass
        event = gmpx.Event()
        event.set()
        event.wait()

    run(main())


def test_waits_with_an_end_are_not_told(run):
    async def main():
        c = gmpx.Chan()
        with pytest.raises(TimeoutError):
            c.recv(timeout=0.001)
        gmpx.sleep(0.001)
        assert gmpx.blocking(abs, -1) == 1
        assert gmpx.go(abs, -2).result(timeout=10) == 2

    run(main())


def test_a_mutex_that_somebody_holds_for_a_moment(run):
    async def main():
        mutex = gmpx.Mutex()
        mutex.lock()
        gmpx.after_func(0.002, mutex.unlock)
        with mutex:
            return "locked"

    assert run(main()) == "locked"


def test_other_goroutines_of_the_thread_are_not_told():
    c = gmpx.Chan()
    go_on = gmpx.Chan()

    async def main():
        await aio.recv(go_on)
        await asyncio.sleep(0.002)
        return "done"

    g = gmpx.go(aio.run, main())
    receivers = [gmpx.go(c.recv) for _ in range(3)]
    go_on.send(None)
    for n in range(3):
        c.send(n)
    assert sorted(r.result(10) for r in receivers) == [0, 1, 2]
    assert g.result(10) == "done"
    gmpx.go(c.send, 1)
    assert c.recv() == 1


def test_after_the_loop_it_is_as_ever(run):
    async def main():
        pass

    run(main())
    c = gmpx.Chan()
    gmpx.go(c.send, 1)
    assert c.recv() == 1


def test_code_in_a_coroutines_goroutine_is_not_told(run):
    async def main():
        c = gmpx.Chan()
        g = gmpx.go(c.recv)
        await gmpx.go(c.send, "x")
        return await g

    assert run(main()) == "x"


# ---- a fan-out is told by its own name -------------------------------------------------------


def fan_outs():
    """(how the message begins, the call) of what waits for calls of its own."""
    never = gmpx.Chan()

    def stuck(n):
        return never.recv()

    def iterate(*args, **options):
        next(gmpx.imap(stuck, range(3), *args, **options))

    return [
        ("map ", lambda: gmpx.map(stuck, range(3))),
        ("map ", lambda: gmpx.map(stuck, range(3), limit=2)),
        ("map ", lambda: gmpx.map(stuck, iter(range(3)), limit=2)),
        ("map ", lambda: gmpx.map(stuck, range(3), budget=(abs, 1))),
        ("map ", lambda: gmpx.map(stuck, range(3), limit=1, progress=lambda p: None)),
        ("imap ", iterate),
        ("imap ", lambda: iterate(ordered=False)),
        ("imap ", lambda: iterate(budget=(abs, 5))),
        ("imap ", lambda: iterate(ordered=False, budget=(abs, 5))),
    ]


def test_fan_outs_are_told_by_their_names(run):
    async def main():
        for begin, call in fan_outs():
            with pytest.raises(RuntimeError, match=f"^{begin}(without a time limit )?would stop the asyncio loop") as caught:
                call()
            assert "await gmpx.go(" in str(caught.value)

    run(main())


def test_an_error_of_a_call_is_its_own_where_a_loop_runs(run):
    def fails(n):
        raise RuntimeError(f"mine {n}")

    async def main():
        for ordered in (True, False):
            it = gmpx.imap(fails, [7], ordered=ordered)
            with pytest.raises(RuntimeError, match="mine 7"):
                await gmpx.go(next, it)

    run(main())


def test_a_block_with_a_time_limit_is_let_through(run):
    c = gmpx.Chan()

    async def main():
        with gmpx.timeout(60):
            assert gmpx.map(abs, [-1, -2]) == [1, 2]
            assert list(gmpx.imap(abs, [-1, -2])) == [1, 2]
        with pytest.raises(TimeoutError), gmpx.timeout(0.001):
            c.recv()
        with pytest.raises(RuntimeError, match="would stop"), gmpx.timeout(60), gmpx.shield():
            c.recv()  # nothing ends that
        with pytest.raises(RuntimeError, match="would stop"), gmpx.timeout(None):
            c.recv()

    run(main())


# ---- executors -------------------------------------------------------------------------------


def test_leaving_an_executor_waits_for_callbacks(run):
    """The future is done and has woken the coroutine; its callback's goroutine goes on when `with` ends."""
    gate = gmpx.Event()

    def open_gate(waiter):
        while waiter.wait_reason != "shutdown":
            gmpx.sleep(0.0005)
        gate.set()

    async def main():
        loop = asyncio.get_running_loop()
        ended = []
        called = asyncio.Event()

        def callback(future):
            loop.call_soon_threadsafe(called.set)
            gate.wait()
            ended.append(future.result())

        with gmpx.Executor() as executor:
            executor.submit(pow, 2, 3).add_done_callback(callback)
            await called.wait()
            gmpx.go(open_gate, gmpx.current())
        assert ended == [8]

    run(main())


def test_leaving_an_executor_lets_callbacks_of_its_own_thread_end():
    """A callback that has started on the loop's thread can go on only there."""
    gate = gmpx.Event()
    before = gmpx.gomaxprocs(1)

    async def main():
        ended = []

        def callback(future):
            where.append(threading.get_ident())
            gate.wait()
            ended.append(future.result())

        where = []
        with gmpx.Executor() as executor:
            executor.submit(pow, 2, 3).add_done_callback(callback)
            while not where:
                gmpx.gosched()
            gate.set()
        return ended, where

    try:
        ended, where = asyncio.run(main())
    finally:
        gmpx.gomaxprocs(before)
    assert ended == [8] and where == [threading.get_ident()]


def test_leaving_an_executor_with_cancelled_calls(run):
    """They have not begun and never run, but are queued yet."""

    async def main():
        with gmpx.Executor() as executor:
            futures = [executor.submit(int) for _ in range(20)]
            for f in futures:
                f.cancel()
            await asyncio.gather(*map(aio.wait, futures), return_exceptions=True)
        assert all(f.done() for f in futures)

    run(main())


def test_run_in_executor_in_a_with(run):
    async def main():
        loop = asyncio.get_running_loop()
        with gmpx.Executor(limit=3) as executor:
            return await asyncio.gather(*(loop.run_in_executor(executor, pow, 2, n) for n in range(20)))

    for _ in range(20):
        assert run(main()) == [2**n for n in range(20)]


def test_leaving_an_executor_with_calls_is_told(run):
    gate = gmpx.Event()

    async def main():
        with pytest.raises(RuntimeError, match="Executor.*would stop the asyncio loop.*shutdown"):
            with gmpx.Executor() as executor:
                future = executor.submit(gate.wait)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(int)
        gate.set()
        assert await aio.wait(future)

    run(main())


@pytest.mark.parametrize("limit", [None, 1])
def test_an_exception_of_the_block_comes_out_of_with(run, limit):
    gate = gmpx.Event()

    async def main():
        futures = []
        with pytest.raises(asyncio.TimeoutError) as caught:
            with gmpx.Executor(limit) as executor:
                futures = [executor.submit(gate.wait), executor.submit(abs, -2)]
                await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        assert "calls of <Executor" in caught.value.__notes__[0]
        gate.set()
        assert [await aio.wait(f) for f in futures] == [True, 2]

        with pytest.raises(KeyError) as caught:
            with gmpx.Executor(limit) as executor:
                await asyncio.get_running_loop().run_in_executor(executor, int)
                raise KeyError("mine")
        assert not hasattr(caught.value, "__notes__")  # nothing was left

    run(main())


def test_leaving_an_executor_under_a_time_limit(run):
    gate = gmpx.Event()

    async def main():
        with gmpx.timeout(60), gmpx.Executor() as executor:
            future = executor.submit(gmpx.sleep, 0.01)
        assert future.done()
        with pytest.raises(TimeoutError):
            with gmpx.timeout(0.01), gmpx.Executor() as executor:
                future = executor.submit(gate.wait)
        assert not future.done()
        gate.set()
        assert future.result(60)  # it may have started on this thread

    run(main())
