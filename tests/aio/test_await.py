"""await g, and gmpx.aio.wait(g)."""

import asyncio
import concurrent.futures
import contextvars
import gc
import sys
import threading
import traceback
import weakref

import pytest

import gmpx
from gmpx import aio

VAR = contextvars.ContextVar("VAR", default="none")


def test_await_gives_the_value(run):
    async def main():
        return [await gmpx.go(abs, -3), await aio.wait(gmpx.go(abs, -4))]

    assert run(main()) == [3, 4]


def test_one_that_has_ended(run):
    async def main():
        g = gmpx.go(abs, -3)
        await g
        return await g, await aio.wait(g), g.result()

    assert run(main()) == (3, 3, 3)


def test_await_raises_with_the_goroutines_traceback(run, hook):
    def fails():
        raise KeyError("x")

    async def main():
        found = []
        for awaitable in (gmpx.go(fails), aio.wait(gmpx.go(fails))):
            try:
                await awaitable
            except KeyError as e:
                found.append("".join(traceback.format_exception(type(e), e, e.__traceback__)))
        return found

    for text in run(main()):
        assert "in fails" in text
        assert 'raise KeyError("x")' in text
    gc.collect()
    assert hook == []  # it counts as read


def test_an_exception_that_nobody_awaits_goes_to_excepthook(hook):
    async def main():
        gmpx.go(int, "x")
        await gmpx.go(int)
        await asyncio.sleep(0.01)

    aio.run(main())
    while not hook:
        gmpx.sleep(0.001)
    assert [type(e) for _, e in hook] == [ValueError]


def test_cancelling_the_task_cancels_the_goroutine(run):
    c = gmpx.Chan()

    async def main():
        for wrap in (lambda g: g, aio.wait):
            g = gmpx.go(c.recv)
            task = asyncio.ensure_future(wrap(g))
            await asyncio.sleep(0.001)
            assert not task.done()
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError):
                await task
            while not g.done():
                await asyncio.sleep(0.001)
            with pytest.raises(gmpx.Cancelled) as caught:
                g.result()
            assert caught.value.args == ("enough",)

    run(main())


def test_shield_keeps_the_cancel_off(run):
    c = gmpx.Chan()

    async def main():
        g = gmpx.go(c.recv)
        task = asyncio.ensure_future(asyncio.shield(aio.wait(g)))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await aio.send(c, "later")
        return await g

    assert run(main()) == "later"


def test_a_cancelled_goroutine_is_a_cancelled_future(run):
    c = gmpx.Chan()

    async def main():
        for wrap in (lambda g: g, aio.wait):
            g = gmpx.go(c.recv)
            task = asyncio.ensure_future(wrap(g))
            await asyncio.sleep(0.001)
            g.cancel("gone")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()

    run(main())


def test_asyncios_time_limits(run):
    c = gmpx.Chan()

    async def main():
        g = gmpx.go(c.recv)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(aio.wait(g), 0.001)
        while not g.done():
            await asyncio.sleep(0.001)
        assert isinstance(g.exception(), gmpx.Cancelled)

    run(main())


def test_gather_wait_and_as_completed(run):
    async def main():
        gathered = await asyncio.gather(*(aio.wait(gmpx.go(abs, -n)) for n in range(5)), gmpx.go(abs, -5))
        done, pending = await asyncio.wait([aio.wait(gmpx.go(abs, -n)) for n in range(5)])
        assert not pending
        each = sorted([await f for f in asyncio.as_completed([aio.wait(gmpx.go(abs, -n)) for n in range(5)])])
        return gathered, sorted(f.result() for f in done), each

    assert run(main()) == (list(range(6)), list(range(5)), list(range(5)))


def test_several_tasks_await_one(run):
    c = gmpx.Chan()

    async def main():
        g = gmpx.go(c.recv)
        tasks = [asyncio.ensure_future(aio.wait(g)) for _ in range(3)]

        async def plain():
            return await g

        tasks += [asyncio.ensure_future(plain()) for _ in range(3)]
        await asyncio.sleep(0.001)
        await aio.send(c, "x")
        return await asyncio.gather(*tasks)

    assert run(main()) == ["x"] * 6


def test_a_goroutine_has_a_copy_of_the_coroutines_context(run):
    def look():
        before = VAR.get()
        VAR.set("goroutine's")
        return before

    async def main():
        VAR.set("task's")
        return await gmpx.go(look), VAR.get()

    assert run(main()) == ("task's", "task's")


def test_ten_thousand(run):
    async def one(n):
        return await gmpx.go(abs, -n)

    async def main():
        return (
            await asyncio.gather(*(aio.wait(gmpx.go(abs, -n)) for n in range(10_000))),
            await asyncio.gather(*(one(n) for n in range(10_000))),
        )

    assert run(main()) == (list(range(10_000)), list(range(10_000)))


def test_stop_iteration_does_not_stop_the_loop(run):
    def stops():
        raise StopIteration(1)

    async def main():
        found = []
        for awaitable in (gmpx.go(stops), aio.wait(gmpx.go(stops))):
            with pytest.raises(RuntimeError) as caught:
                await awaitable
            found.append(type(caught.value.__cause__))
        return found

    assert run(main()) == [StopIteration] * 2


def test_without_a_loop():
    g = gmpx.go(int)
    with pytest.raises(RuntimeError, match="no asyncio loop runs"):
        aio.wait(g)
    with pytest.raises(RuntimeError, match="no asyncio loop runs"):
        g.__await__().send(None)
    for coro in (aio.recv(gmpx.Chan(1)), aio.send(gmpx.Chan(1), 1), aio.iterate(gmpx.Chan(1)).__anext__()):
        with pytest.raises(RuntimeError, match="no asyncio loop runs"):
            coro.send(None)
    g.join()


def test_bad_arguments(run):
    async def main():
        with pytest.raises(TypeError):
            aio.wait(1)
        with pytest.raises(TypeError):
            await aio.recv(1)
        with pytest.raises(TypeError):
            await aio.send(1, 1)
        with pytest.raises(TypeError):
            aio.iterate(1)

    run(main())


def test_a_loop_does_not_await_its_own_goroutine(run):
    async def main():
        with pytest.raises(RuntimeError, match="await itself"):
            await gmpx.current()

    run(main())


def test_one_bound_to_the_thread_that_the_loop_keeps_is_told():
    c = gmpx.Chan()
    begun = []

    def waits():
        begun.append(threading.get_ident())
        return c.recv()

    g = gmpx.go(waits)
    while g.status != "waiting":
        gmpx.gosched()

    async def main():
        return await g

    if begun == [threading.get_ident()]:  # else another thread has stolen it
        with pytest.raises(RuntimeError, match="gmpx.aio.run"):
            asyncio.run(main())

    async def both():
        await aio.send(c, 1)
        return await g

    assert aio.run(both()) == 1


def test_nothing_is_kept(run):
    class Value:
        pass

    async def main():
        g = gmpx.go(Value)
        ref = weakref.ref(await g)
        await aio.wait(g)
        return ref, weakref.ref(g)

    refs = run(main())
    gmpx.gosched()
    gc.collect()
    assert [r() for r in refs] == [None, None]


def test_a_dropped_coroutine_leaves_the_goroutine_alone():
    c = gmpx.Chan()
    loop = asyncio.new_event_loop()
    g = gmpx.spawn(c.recv)

    async def main():
        return await g

    task = loop.create_task(main())
    loop.run_until_complete(asyncio.sleep(0.001))
    task._log_destroy_pending = False
    del task
    loop.close()
    del loop
    gc.collect()
    c.send("still there")
    assert g.result(5) == "still there"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup came with 3.11")
def test_in_a_task_group(run):
    async def main():
        c = gmpx.Chan()

        async def waits():
            return await gmpx.go(c.recv)

        async def fails():
            await asyncio.sleep(0.001)
            raise KeyError

        with pytest.raises(BaseExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(waits())
                group.create_task(fails())

    run(main())


def test_a_future_of_any_executor(run):
    async def main():
        with gmpx.Executor() as executor, concurrent.futures.ThreadPoolExecutor(1) as threads:
            assert await asyncio.gather(aio.wait(executor.submit(abs, -1)), aio.wait(threads.submit(abs, -2))) == [1, 2]
            with pytest.raises(ZeroDivisionError):
                await aio.wait(executor.submit(divmod, 1, 0))
        for wrong in (5, asyncio.get_running_loop().create_future()):
            with pytest.raises(TypeError, match="a Goroutine or a concurrent.futures.Future is needed, not"):
                aio.wait(wrong)

    run(main())
