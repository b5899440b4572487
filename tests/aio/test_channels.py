"""Channels in coroutines: send, recv, iterate."""

import asyncio
import sys

import pytest

import gmpx
from gmpx import aio

TIMEOUTS = sys.version_info >= (3, 11)


def test_to_a_goroutine_and_back(run):
    async def main():
        there, back = gmpx.Chan(), gmpx.Chan()

        def echo():
            for v in there:
                back.send(v * 2)
            back.close()

        g = gmpx.go(echo)
        found = []
        for n in range(50):
            await aio.send(there, n)
            found.append(await aio.recv(back))
        there.close()
        with pytest.raises(gmpx.ChannelClosed):
            await aio.recv(back)
        await g
        return found

    assert run(main()) == [2 * n for n in range(50)]


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_iterate(run, capacity):
    async def main():
        c = gmpx.Chan(capacity)

        def produce():
            for n in range(100):
                c.send(n)
            c.close()

        g = gmpx.go(produce)
        found = [v async for v in aio.iterate(c)]
        await g
        return found

    assert run(main()) == list(range(100))


def test_between_coroutines_of_one_loop(run):
    async def main():
        c = gmpx.Chan()

        async def produce():
            for n in range(100):
                await aio.send(c, n)
            c.close()

        task = asyncio.ensure_future(produce())
        found = [v async for v in aio.iterate(c)]
        await task
        return found

    assert run(main()) == list(range(100))


def test_waiters_take_their_turns(run):
    async def main():
        c = gmpx.Chan()
        tasks = [asyncio.ensure_future(aio.recv(c)) for _ in range(5)]
        await asyncio.sleep(0)
        for n in range(5):
            await aio.send(c, n)
        received = await asyncio.gather(*tasks)
        tasks = [asyncio.ensure_future(aio.send(c, n)) for n in range(5)]
        await asyncio.sleep(0)
        sent = [await aio.recv(c) for _ in range(5)]
        await asyncio.gather(*tasks)
        return received, sent

    assert run(main()) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])


def test_close_ends_all_waits(run):
    async def main():
        c, full = gmpx.Chan(), gmpx.Chan(1)
        full.send("kept")
        tasks = [asyncio.ensure_future(aio.recv(c)) for _ in range(3)]
        tasks += [asyncio.ensure_future(aio.send(full, n)) for n in range(3)]
        await asyncio.sleep(0.001)
        c.close()
        full.close()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert full.recv() == "kept"
        with pytest.raises(gmpx.ChannelClosed):
            await aio.send(full, 1)
        return [type(e) for e in found]

    assert run(main()) == [gmpx.ChannelClosed] * 6


def test_none_is_an_item(run):
    async def main():
        c = gmpx.Chan(1)
        await aio.send(c, None)
        first = await aio.recv(c)
        task = asyncio.ensure_future(aio.recv(c))
        await asyncio.sleep(0)
        await aio.send(c, None)
        return first, await task

    assert run(main()) == (None, None)


def test_a_goroutines_select_meets_them(run):
    async def main():
        a, b = gmpx.Chan(), gmpx.Chan()
        receiver = asyncio.ensure_future(aio.recv(b))
        await asyncio.sleep(0)
        g = gmpx.go(gmpx.select, a, (b, "sent"))
        assert (await g)[0] == 1
        g = gmpx.go(gmpx.select, a, b)
        await aio.send(a, "x")
        return await receiver, await g

    assert run(main()) == ("sent", (0, "x", True))


def test_ten_thousand_waits(run):
    async def main():
        channels = [gmpx.Chan() for _ in range(10_000)]
        tasks = [asyncio.ensure_future(aio.recv(c)) for c in channels]
        await asyncio.sleep(0)

        def fill():
            for n, c in enumerate(channels):
                c.send(n)

        g = gmpx.go(fill)
        found = await asyncio.gather(*tasks)
        await g
        return found

    assert run(main()) == list(range(10_000))


# ---- cancelling ----------------------------------------------------------------------------


def test_a_cancelled_recv_takes_nothing(run):
    async def main():
        c = gmpx.Chan()
        task = asyncio.ensure_future(aio.recv(c))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(gmpx.WouldBlock):
            c.send_nowait(1)

    run(main())


def test_a_cancelled_send_has_not_sent(run):
    async def main():
        c = gmpx.Chan()
        task = asyncio.ensure_future(aio.send(c, 1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(gmpx.WouldBlock):
            c.recv_nowait()

    run(main())


def test_what_has_happened_counts_and_the_cancel_comes_next(run):
    async def main():
        c = gmpx.Chan()
        log = []

        async def receives():
            log.append(await aio.recv(c))
            await asyncio.sleep(10)

        async def sends():
            await aio.send(c, "out")
            log.append("sent")
            await asyncio.sleep(10)

        receiver = asyncio.ensure_future(receives())
        await asyncio.sleep(0)
        c.send_nowait("in")
        receiver.cancel("r")
        sender = asyncio.ensure_future(sends())
        await asyncio.sleep(0)
        assert c.recv_nowait() == "out"
        sender.cancel("s")
        found = await asyncio.gather(receiver, sender, return_exceptions=True)
        return sorted(log), [type(e) for e in found], receiver.cancelled(), sender.cancelled()

    assert run(main()) == (["in", "sent"], [asyncio.CancelledError] * 2, True, True)


def test_the_same_when_the_future_has_been_resolved(run):
    async def main():
        c = gmpx.Chan()
        log = []

        async def receives():
            log.append(await aio.recv(c))
            await asyncio.sleep(10)

        receiver = asyncio.ensure_future(receives())
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        c.send_nowait("in")
        loop._gmpx.drain()
        receiver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiver
        return log

    assert run(main()) == ["in"]


@pytest.mark.skipif(not TIMEOUTS, reason="asyncio.timeout came with 3.11")
def test_a_time_limit_that_ends_with_the_wait_leaves_no_cancel_behind(run):
    async def main():
        c = gmpx.Chan()

        async def receives():
            async with asyncio.timeout(None) as limit:
                loop = asyncio.get_running_loop()
                loop.call_soon(c.send_nowait, "in")
                limit.reschedule(loop.time() - 1)  # expires at the loop's next turn, right after that
                value = await aio.recv(c)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            return value

        return await asyncio.ensure_future(receives())

    assert run(main()) == "in"


def test_conservation_in_a_storm_of_cancels(run, rng):
    """Each item that a send has sent comes out once; those of cancelled sends never do."""
    seed = rng.random()
    print("seed", seed)

    async def main():
        c = gmpx.Chan(rng.choice([0, 1, 4]))
        sent, cancelled, received = set(), set(), []

        async def sends(n):
            try:
                await aio.send(c, n)
            except asyncio.CancelledError:
                cancelled.add(n)
                raise
            sent.add(n)

        async def receives():
            received.append(await aio.recv(c))

        def goroutine_sends(n):
            c.send(n)
            sent.add(n)

        def goroutine_receives():
            received.append(c.recv())

        tasks, gs = [], []
        for n in range(600):
            kind = rng.random()
            if kind < 0.35:
                tasks.append(asyncio.ensure_future(sends(n)))
            elif kind < 0.7:
                tasks.append(asyncio.ensure_future(receives()))
            elif kind < 0.85:
                gs.append(gmpx.go(goroutine_sends, n))
            else:
                gs.append(gmpx.go(goroutine_receives))
            if rng.random() < 0.5 and tasks:
                rng.choice(tasks).cancel()
            if rng.random() < 0.3:
                await asyncio.sleep(0)
        for g in gs:
            if rng.random() < 0.2:
                g.cancel()
        await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        for g in gs:
            g.cancel()
        await asyncio.gather(*tasks, *(aio.wait(g) for g in gs), return_exceptions=True)
        while len(c):
            received.append(c.recv_nowait())
        assert len(received) == len(set(received))
        assert not cancelled & set(received)
        assert set(received) == sent
        assert len(asyncio.get_running_loop()._gmpx) == 0

    for _ in range(5):
        run(main())
