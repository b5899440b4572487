"""nats-py, which knows asyncio alone: a loop in each of several goroutines."""

import asyncio
import itertools
import uuid

import pytest

import gmpx
import gmpx.aio

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


def test_the_server_is_restarted(server, goes_on, subject, patience, until):
    """Two loops in goroutines, whose clients come back by themselves; what JetStream took is there afterwards."""
    found, numbers, acknowledged, loops = server("nats"), itertools.count(), {}, {}

    async def nothing(error):
        pass

    async def connected(name, prepare):
        client = await nats.connect(found.url.geturl(), max_reconnect_attempts=-1, reconnect_time_wait=0.02,
                                    error_cb=nothing)
        await prepare(client)
        await client.flush()
        ended = asyncio.Event()
        loops[name] = asyncio.get_running_loop(), client, ended
        await ended.wait()
        await client.close()

    async def answers(client):
        async def reply(message):
            await message.respond(message.data)

        await client.subscribe(subject, cb=reply)

    async def stores(client):
        await client.jetstream().add_stream(name="kept", subjects=["kept"])

    async def ask(client, i):
        body = b"%d" % next(numbers)
        stored = await client.jetstream().publish("kept", body, timeout=0.5)
        acknowledged[stored.seq] = body
        return int((await client.request(subject, b"%d" % i, timeout=0.5)).data)

    async def kept(client):
        stream = client.jetstream()
        return {seq: (await stream.get_msg("kept", seq)).data for seq in acknowledged}

    def asked(of, *args):
        loop, client, _ = loops["asking"]
        return gmpx.aio.run(of(client, *args), loop=loop, timeout=patience)

    gs = [gmpx.go(asyncio.run, connected("answering", answers)), gmpx.go(asyncio.run, connected("asking", stores))]
    until(lambda: len(loops) == 2)
    try:
        goes_on(found, lambda i: asked(ask, i), nats.errors.Error)
        assert acknowledged and asked(kept) == acknowledged
    finally:
        for loop, _, ended in loops.values():
            loop.call_soon_threadsafe(ended.set)
        for g in gs:
            g.result(patience)
