"""redis-py."""

import threading
import uuid

import pytest

import gmpx

redis = pytest.importorskip("redis")
POOL = 10


@pytest.fixture
def pool(url, patience):
    pool = redis.BlockingConnectionPool.from_url(url("redis").geturl(), max_connections=POOL, timeout=patience)
    yield pool
    pool.disconnect()


@pytest.fixture
def client(pool):
    return redis.Redis(connection_pool=pool)


@pytest.fixture
def key(client):
    key = f"gmpx:{uuid.uuid4().hex}"
    yield key
    for name in client.scan_iter(f"{key}*", count=1000):
        client.delete(name)


def all_back(pool):
    """Whether as many connections as there may be can be had at once."""
    held = []
    pool.timeout = 0.5
    try:
        for _ in range(POOL):
            held.append(pool.get_connection())
        with pytest.raises(redis.ConnectionError):
            pool.get_connection()
    finally:
        for connection in held:
            pool.release(connection)
    return len(held) == POOL


def test_a_crowd_shares_a_few_connections(client, pool, key, crowd):
    def one(i):
        client.set(f"{key}:{i}", i)
        client.incr(key)
        with crowd.waiting():
            assert client.blpop([f"{key}:never"], timeout=0.01) is None
        client.rpush(f"{key}:list", i)
        with client.pipeline() as pipe:
            return int(pipe.get(f"{key}:{i}").echo("x" * 5000).execute()[0])

    assert crowd(one) == list(range(200))
    assert crowd.most > 1
    assert int(client.get(key)) == 200
    assert sorted(map(int, client.lrange(f"{key}:list", 0, -1))) == list(range(200))
    assert all_back(pool)


def test_large_values(client, key, crowd):
    def one(i):
        value = bytes([i]) * 3_000_000
        client.set(f"{key}:{i}", value)
        return client.get(f"{key}:{i}") == value

    assert all(crowd(one, 12))


def test_it_waits_as_a_goroutine(client, key, parked, patience):
    gs = [gmpx.go(client.blpop, f"{key}:{i}") for i in range(POOL - 1)]
    parked(*gs, reason="IO wait")
    for i in range(POOL - 1):
        client.rpush(f"{key}:{i}", i)
    assert [int(g.result(patience)[1]) for g in gs] == list(range(POOL - 1))


def test_who_waits_for_a_connection(client, pool, key, parked, patience):
    """Ten wait for the server, and ten for these."""
    first = [gmpx.go(client.blpop, f"{key}:{i}") for i in range(POOL)]
    parked(*first, reason="IO wait")
    then = [gmpx.go(client.blpop, f"{key}:{i}") for i in range(POOL, 2 * POOL)]
    parked(*then)
    then[3].cancel()
    with pytest.raises(gmpx.Cancelled):
        then.pop(3).result(patience)
    with redis.Redis.from_url(f"redis://{pool.connection_kwargs['host']}:{pool.connection_kwargs['port']}") as other:
        for i in range(2 * POOL):
            if i != POOL + 3:
                other.rpush(f"{key}:{i}", i)
    assert [int(g.result(patience)[1]) for g in first + then] == [i for i in range(2 * POOL) if i != POOL + 3]
    assert all_back(pool)


def test_cancelled_and_timed_out_in_a_command(client, pool, key, parked):
    """Whatever interrupts a read ends the connection: none gives one command's answer to the next."""
    gs = [gmpx.go(client.blpop, f"{key}:{i}") for i in range(POOL)]
    parked(*gs, reason="IO wait")
    for g in gs:
        g.cancel()
    for g in gs:
        with pytest.raises(gmpx.Cancelled):
            g.result(20)
    for i in range(POOL):
        client.rpush(f"{key}:{i}", f"left {i}")
        assert client.echo(f"{i}") == f"{i}".encode()
    with pytest.raises(TimeoutError), gmpx.timeout(0.02):
        client.blpop(f"{key}:none")
    assert client.echo("x") == b"x"
    assert client.lrange(f"{key}:0", 0, -1) == [b"left 0"]
    assert all_back(pool)


def test_the_librarys_own_time_out(silent):
    with redis.Redis(*silent, socket_timeout=0.05, retry=None) as client, pytest.raises(redis.TimeoutError):
        client.get("x")


def test_a_subscriber(client, key, parked, patience):
    n = 50

    def subscriber():
        with client.pubsub() as pubsub:
            pubsub.subscribe(key)
            found = []
            for message in pubsub.listen():
                if message["type"] == "subscribe":
                    subscribed.done()
                else:
                    found.append(int(message["data"]))
                if len(found) == n:
                    return found

    subscribed = gmpx.WaitGroup()
    subscribed.add(3)
    gs = [gmpx.go(subscriber) for _ in range(3)]
    subscribed.wait()
    parked(*gs, reason="IO wait")
    for i in range(n):
        assert client.publish(key, i) == 3
    assert [g.result(patience) for g in gs] == [list(range(n))] * 3


def test_its_lock(client, key, crowd):
    """One at a time; the lock keeps its token in a threading.local."""
    inside = most = 0

    def one(i):
        nonlocal inside, most
        with client.lock(key, timeout=60, sleep=0.001):
            inside += 1
            most = max(most, inside)
            client.incr(f"{key}:n")
            inside -= 1

    crowd(one, 30)
    assert most == 1 and int(client.get(f"{key}:n")) == 30


def test_threads_wait_as_threads(client, key, in_thread):
    waits = in_thread(client.blpop, key)
    client.rpush(key, "x")
    assert waits.value()[1] == b"x"
    assert threading.current_thread() is threading.main_thread()


def test_the_server_is_restarted(server, goes_on):
    found = server("redis")
    pool = redis.BlockingConnectionPool(host=found.host, port=found.port, max_connections=5, timeout=60)
    client = redis.Redis(connection_pool=pool)

    def attempt(i):
        client.set(f"{i}", i)
        return int(client.echo(f"{i}"))

    goes_on(found, attempt, (redis.ConnectionError, redis.TimeoutError))
    pool.disconnect()


def test_asyncio(url, key, crowd):
    import asyncio

    import redis.asyncio

    address = url("redis").geturl()

    async def some(i):
        async with redis.asyncio.Redis.from_url(address) as client:
            await client.set(f"{key}:{i}", i)
            return await asyncio.gather(*(client.incr(f"{key}:{i}") for _ in range(5)))

    assert [sorted(found) for found in crowd(lambda i: asyncio.run(some(i)), 10)] == [
        list(range(i + 1, i + 6)) for i in range(10)]
