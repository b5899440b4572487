"""pymemcache."""

import uuid

import pytest

import gmpx

pymemcache = pytest.importorskip("pymemcache")
POOL = 10


@pytest.fixture
def client(url):
    found = url("memcached")
    client = pymemcache.PooledClient((found.hostname, found.port), max_pool_size=POOL)
    yield client
    client.close()


@pytest.fixture
def key():
    return uuid.uuid4().hex


def test_a_crowd_shares_a_few_connections(client, key, crowd):
    """The pool raises where there is none left: that is for a semaphore to wait for."""
    free = gmpx.Semaphore(POOL)
    client.set(f"{key}-n", "0", noreply=False)

    def one(i):
        with free, crowd.waiting():
            client.set(f"{key}-{i}", str(i) * 10_000, noreply=False)
            client.incr(f"{key}-n", 1)
            many = client.get_many([f"{key}-{i}", f"{key}-none"])
            return many == {f"{key}-{i}": (str(i) * 10_000).encode()}

    assert all(crowd(one))
    assert crowd.most > 1
    assert client.get(f"{key}-n") == b"200"
    pool = client.client_pool
    assert not pool._used_objs and 0 < len(pool._free_objs) <= POOL


def test_large_values(client, key, crowd):
    free = gmpx.Semaphore(POOL)

    def one(i):
        with free:
            client.set(f"{key}-{i}", bytes([i]) * 1_000_000, noreply=False)
            return client.get(f"{key}-{i}") == bytes([i]) * 1_000_000

    assert all(crowd(one, 20))


def test_interrupted(silent, parked):
    """Its pool and its clients clean up after an Exception: not after Cancelled, nor KeyboardInterrupt.

    A time-out of its own is one, and within shield() it is all that there is.
    """
    client = pymemcache.PooledClient(silent, max_pool_size=2, timeout=0.2)

    def shielded():
        with gmpx.shield():
            return client.get("x")

    gs = [gmpx.go(shielded) for _ in range(2)]
    parked(*gs, reason="IO wait")
    with pytest.raises(RuntimeError, match="Too many objects"):
        client.get("x")
    for g in gs:
        g.cancel()
    for g in gs:
        with pytest.raises(TimeoutError, match="^timed out$"):
            g.result(20)
    assert not client.client_pool._used_objs
    with pytest.raises(TimeoutError), gmpx.timeout(0.02):
        client.get("x")
    assert len(client.client_pool._used_objs) == 1  # lost: docs/libraries.md says so
    client.close()


def test_the_librarys_own_time_out(silent):
    client = pymemcache.Client(silent, timeout=0.05)
    with pytest.raises(TimeoutError):
        client.get("x")


def test_the_server_is_restarted(server, goes_on):
    found = server("memcached")
    client = pymemcache.PooledClient((found.host, found.port), max_pool_size=20)

    def attempt(i):
        client.set(f"{i}", str(i), noreply=False)
        return int(client.get(f"{i}", i))

    goes_on(found, attempt, (OSError, pymemcache.exceptions.MemcacheError))
    assert not client.client_pool._used_objs
    client.close()
