"""pika: blocking connections, each of one goroutine at a time."""

import itertools
import queue
import sys
import uuid
from collections import Counter

import pytest

import gmpx

pika = pytest.importorskip("pika")
POOL = 10


@pytest.fixture
def connect(url):
    return lambda **more: pika.BlockingConnection(parameters(url("rabbitmq"), **more))


def parameters(found, **more):
    found = pika.URLParameters(found.geturl() + "%2F?heartbeat=30")
    for name, value in more.items():
        setattr(found, name, value)
    return found


@pytest.fixture
def channel(connect):
    connection = connect()
    yield connection.channel()
    connection.close()


@pytest.fixture
def name(channel):
    name = f"gmpx-{uuid.uuid4().hex}"
    channel.queue_declare(name, auto_delete=False)
    yield name
    channel.queue_delete(name)


def test_a_crowd_publishes_and_five_consume(connect, channel, name, crowd, patience):
    """200 publishers over ten connections, with confirms; what is consumed is acknowledged."""
    pool, got = queue.Queue(), []
    connections = [connect() for _ in range(POOL)]
    for connection in connections:
        publisher = connection.channel()
        publisher.confirm_delivery()
        pool.put(publisher)

    def publish(i):
        publisher = pool.get()
        try:
            with crowd.waiting():
                publisher.basic_publish("", name, f"{i}".encode(), mandatory=True)
        finally:
            pool.put(publisher)

    def consume():
        connection = connect()
        channel = connection.channel()
        channel.basic_qos(prefetch_count=5)
        for method, _, body in channel.consume(name, inactivity_timeout=0.05):
            if method is not None:
                got.append(int(body))
                channel.basic_ack(method.delivery_tag)
            elif len(got) == 200:
                break
        channel.cancel()
        connection.close()

    consumers = [gmpx.go(consume) for _ in range(5)]
    crowd(publish)
    for g in consumers:
        g.result(patience)
    assert sorted(got) == list(range(200))
    assert crowd.most > 1
    assert channel.queue_declare(name, passive=True).method.message_count == 0
    assert pool.qsize() == POOL
    for connection in connections:
        connection.close()


def test_it_waits_as_a_goroutine(connect, channel, name, parked, patience):
    def consume():
        connection = connect()
        theirs = connection.channel()
        for method, _, body in theirs.consume(name):
            theirs.basic_ack(method.delivery_tag)
            theirs.cancel()
            connection.close()
            return body

    g = gmpx.go(consume)
    while not channel.queue_declare(name, passive=True).method.consumer_count:
        gmpx.sleep(0.002)
    parked(g, reason="IO wait")
    channel.basic_publish("", name, b"hello")
    assert g.result(patience) == b"hello"


def test_cancelled_and_timed_out(connect, channel, name, parked):
    """What a cancelled consumer has not acknowledged comes again once its connection is closed."""
    connection = connect()
    theirs = connection.channel()
    g = gmpx.go(lambda: [body for _, _, body in theirs.consume(name)])
    while not channel.queue_declare(name, passive=True).method.consumer_count:
        gmpx.sleep(0.002)
    channel.basic_publish("", name, b"again")
    parked(g, reason="IO wait")
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result(20)
    connection.close()
    while (found := channel.basic_get(name, auto_ack=True))[0] is None:
        gmpx.sleep(0.002)
    assert found[2] == b"again"
    with pytest.raises(TimeoutError), gmpx.timeout(0.05):
        for _ in channel.consume(name):
            pass
    channel.cancel()


# RabbitMQ itself takes nine seconds of CPU time to start: what is restarted is on the way to it.
FORWARDER = """
import asyncio, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()

async def taken(reader, writer):
    there = await asyncio.open_connection(sys.argv[2], sys.argv[3])
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer), return_exceptions=True)

async def main():
    async with await asyncio.start_server(taken, "127.0.0.1", sys.argv[1]) as server:
        await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def forwarder(url, new_server):
    found = url("rabbitmq")
    server = new_server("forwarder", lambda port, _: [sys.executable, "-c", FORWARDER, str(port), found.hostname,
                                                      str(found.port)])
    server.url = found._replace(netloc=found.netloc.rpartition("@")[0] + f"@{server.host}:{server.port}")
    yield server
    server.close()


def test_connections_are_lost(forwarder, channel, name, goes_on):
    """All at once, and none is to be had for a while; what was confirmed is in the queue afterwards, once."""
    numbers, confirmed, channels = itertools.count(), [], {}

    def connected():
        channel = pika.BlockingConnection(parameters(forwarder.url)).channel()
        channel.confirm_delivery()
        return channel, channel.queue_declare("", exclusive=True).method.queue

    def attempt(i):
        try:
            if i not in channels:
                channels[i] = connected()
            channel, own = channels[i]
            n = next(numbers)
            channel.basic_publish("", name, b"%d" % n, mandatory=True)
            confirmed.append(n)
            channel.basic_publish("", own, b"%d" % i, mandatory=True)
            return int(channel.basic_get(own, auto_ack=True)[2])
        except pika.exceptions.AMQPError:
            channels.pop(i, None)
            raise

    goes_on(forwarder, attempt, pika.exceptions.AMQPError)
    for mine, _ in channels.values():
        mine.connection.close()
    got = Counter()
    while (found := channel.basic_get(name, auto_ack=True))[0] is not None:
        got[int(found[2])] += 1
    assert set(confirmed) <= set(got) and max(got.values()) == 1


def test_the_librarys_own_time_out(silent):
    with pytest.raises(Exception, match="Timeout during AMQP handshake"):
        pika.BlockingConnection(pika.ConnectionParameters(*silent, blocked_connection_timeout=1, stack_timeout=0.1))


def test_threads_wait_as_threads(connect, name, in_thread):
    def run():
        connection = connect()
        channel = connection.channel()
        channel.basic_publish("", name, b"x")
        while (found := channel.basic_get(name, auto_ack=True))[0] is None:
            connection.sleep(0.01)
        connection.close()
        return found[2]

    assert in_thread(run).value() == b"x"
