"""nats-py, which knows asyncio alone: a loop in each of several goroutines."""

import asyncio
import uuid

import pytest

import gmpx

nats = pytest.importorskip("nats")


@pytest.fixture
def address(url):
    return url("nats").geturl()


@pytest.fixture
def subject():
    return f"gmpx.{uuid.uuid4().hex}"


def test_requests_and_replies(address, subject, crowd, patience, until):
    """A server in a goroutine, and ten clients with twenty requests each."""
    listening, ended = [], []

    async def answer():
        client = await nats.connect(address)

        async def reply(message):
            await message.respond(b"%d" % (2 * int(message.data)))

        await client.subscribe(subject, cb=reply)
        await client.flush()
        listening.append(True)
        while not ended:
            await asyncio.sleep(0.005)
        await client.drain()

    async def ask(i):
        client = await nats.connect(address)
        replies = await asyncio.gather(
            *(client.request(subject, b"%d" % (20 * i + n), timeout=patience) for n in range(20)))
        await client.close()
        return [int(reply.data) for reply in replies]

    server = gmpx.go(asyncio.run, answer())
    until(lambda: listening)

    answers = crowd(lambda i: asyncio.run(ask(i)), 10)
    ended.append(True)
    server.result(patience)
    assert sum(answers, []) == list(range(0, 400, 2))


def test_a_time_out_and_a_cancel(address, subject, parked, until):
    """The library's own; and a goroutine whose loop waits for a message."""

    async def nobody():
        client = await nats.connect(address)
        try:
            with pytest.raises(nats.errors.NoRespondersError):
                await client.request(subject, b"?", timeout=5)
            subscription = await client.subscribe(subject)
            with pytest.raises(nats.errors.TimeoutError):
                await subscription.next_msg(timeout=0.05)
            waiting.append(True)
            await subscription.next_msg(timeout=60)
        finally:
            await client.close()

    waiting = []
    g = gmpx.go(asyncio.run, nobody())
    until(lambda: waiting or g.done())
    parked(g, reason="IO wait")
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result(20)
