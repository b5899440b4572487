"""paho-mqtt: its loop in a goroutine, or in the thread that it starts."""

import itertools
import threading
import uuid
from collections import Counter

import pytest

import gmpx

mqtt = pytest.importorskip("paho.mqtt.client")


@pytest.fixture
def client(url):
    found = url("mqtt")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"gmpx-{uuid.uuid4().hex}")
    client.max_inflight_messages_set(50)
    client.connect(found.hostname, found.port)
    yield client
    client.disconnect()


@pytest.fixture
def topic():
    return f"gmpx/{uuid.uuid4().hex}"


@pytest.mark.parametrize("loop", ["goroutine", "thread"])
def test_a_crowd_publishes_over_one_connection(client, topic, crowd, loop, until, patience):
    got, subscribed = [], []
    # The server drops what its queue for a subscriber has no room for (a hundred, say), also with QoS 2.
    free, arrived = gmpx.Semaphore(20), [threading.Event() for _ in range(200)]

    def on_message(client, data, message):
        got.append(int(message.payload))
        arrived[got[-1]].set()

    client.on_message = on_message
    client.on_subscribe = lambda *args: subscribed.append(True)
    if loop == "goroutine":
        looping = gmpx.go(client.loop_forever)
    else:
        client.loop_start()
    client.subscribe(topic, qos=2)
    until(lambda: subscribed)

    def publish(i):
        with free, crowd.waiting():
            message = client.publish(topic, i, qos=1 + i % 2)
            message.wait_for_publish(patience)
            return message.is_published() and arrived[i].wait(patience)

    assert all(crowd(publish))
    assert crowd.most > 1
    assert sorted(got) == list(range(200))
    client.disconnect()
    if loop == "goroutine":
        looping.result(patience)
    else:
        client.loop_stop()


def test_a_loop_waits_as_a_goroutine_and_is_cancelled(client, parked):
    looping = gmpx.go(client.loop_forever)
    parked(looping)
    looping.cancel()
    with pytest.raises(gmpx.Cancelled):
        looping.result(20)


def test_the_server_is_restarted(server, goes_on, topic, until, patience):
    """Both ends have a session: what was acknowledged arrives, with QoS 2 once."""
    found, numbers, acknowledged, got, subscribed = server("mqtt"), itertools.count(), [], [], []

    def connect():
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=uuid.uuid4().hex, clean_session=False)
        client.reconnect_delay_set(0.02, 0.02)
        client.on_message = lambda *args: got.append(args[2].payload)
        client.on_subscribe = lambda *args: subscribed.append(True)
        client.connect(found.host, found.port)
        return client, gmpx.go(client.loop_forever)

    def attempt(i):
        n = next(numbers)
        body = b"%d %d %d" % (n, i, 1 + n % 2)
        message = publisher.publish(topic, body, qos=1 + n % 2)
        message.wait_for_publish(0.5)
        if not message.is_published():
            raise TimeoutError
        acknowledged.append(body)
        return int(body.split()[1])

    ends = (publisher, _), (subscriber, _) = connect(), connect()
    try:
        subscriber.subscribe(topic, qos=2)
        until(lambda: subscribed)
        goes_on(found, attempt, (RuntimeError, TimeoutError))
        until(lambda: set(acknowledged) <= set(got), patience)
    finally:
        for client, looping in ends:
            client.disconnect()
            looping.result(patience)
    for body, times in Counter(got).items():
        assert times == 1 or body.endswith(b" 1"), body
