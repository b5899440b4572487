"""A client of a database: N queries or commands, over 64 connections that are there already.

    databases.py RIVAL queries|incrs N      prints {"wall_ns": ..., "cpu_ns": ...} as JSON

queries: each is 20 ms in PostgreSQL, by psycopg 3. incrs: INCR in Redis, by redis-py's BlockingConnectionPool. Where
they are: GMPX_TEST_POSTGRES, GMPX_TEST_REDIS, as for tests/libraries. asyncio uses the libraries' own async twins.
"""

import asyncio
import json
import os
import queue
import sys
import time

from compiled import NotThere

NOT_THERE = 3
CONNECTIONS = 64
POSTGRES = os.environ.get("GMPX_TEST_POSTGRES", "host=127.0.0.1 port=5432 user=postgres dbname=test")
REDIS = os.environ.get("GMPX_TEST_REDIS", "redis://127.0.0.1:6379")
KEY = f"gmpx-perf-{os.getpid()}"
QUERY = "SELECT pg_sleep(0.02), %s::int"


def timed(run, n):
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    got = run(range(n))
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    if len(set(got)) != n:
        raise SystemExit("answers are lost")
    return {"wall_ns": wall, "cpu_ns": cpu}


def mapper(rival):
    if rival == "gmpx":
        import gmpx
        import gmpx.patch

        gmpx.patch.all()
        return lambda fn: lambda items: gmpx.map(fn, items)
    if rival == "gevent":
        from gevent import monkey

        monkey.patch_all()
        from gevent.pool import Group

        return lambda fn: lambda items: Group().map(fn, items)
    from concurrent.futures import ThreadPoolExecutor

    return lambda fn: lambda items: list(ThreadPoolExecutor(CONNECTIONS).map(fn, items))


def queries(rival, n):
    each = mapper(rival)
    import psycopg

    try:
        pool = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            pool.put(psycopg.connect(POSTGRES, autocommit=True))
    except psycopg.OperationalError as e:
        raise NotThere(f"no PostgreSQL: {e}") from None

    def one(i):
        connection = pool.get()
        try:
            return connection.execute(QUERY, (i,)).fetchone()[1]
        finally:
            pool.put(connection)

    each(one)(range(CONNECTIONS))
    return timed(each(one), n)


def incrs(rival, n):
    each = mapper(rival)
    import redis

    client = redis.Redis(connection_pool=redis.BlockingConnectionPool.from_url(REDIS, max_connections=CONNECTIONS, timeout=60))
    try:
        client.delete(KEY)
    except redis.ConnectionError as e:
        raise NotThere(f"no Redis: {e}") from None

    def one(i):
        return client.incr(KEY)

    each(one)(range(2 * CONNECTIONS))
    client.delete(KEY)
    try:
        return timed(each(one), n)
    finally:
        client.delete(KEY)


async def queries_async(n):
    import psycopg

    pool = asyncio.LifoQueue()
    try:
        for _ in range(CONNECTIONS):
            pool.put_nowait(await psycopg.AsyncConnection.connect(POSTGRES, autocommit=True))
    except psycopg.OperationalError as e:
        raise NotThere(f"no PostgreSQL: {e}") from None

    async def one(i):
        connection = await pool.get()
        try:
            return (await (await connection.execute(QUERY, (i,))).fetchone())[1]
        finally:
            pool.put_nowait(connection)

    return await timed_async(one, n)


async def incrs_async(n):
    import redis.asyncio as redis

    pool = redis.BlockingConnectionPool.from_url(REDIS, max_connections=CONNECTIONS, timeout=60)
    client = redis.Redis(connection_pool=pool)
    await client.delete(KEY)
    try:
        return await timed_async(lambda i: client.incr(KEY), n, lambda: client.delete(KEY))
    finally:
        await client.delete(KEY)


async def nothing():
    pass


async def timed_async(one, n, between=nothing):
    await asyncio.gather(*map(one, range(2 * CONNECTIONS)))
    await between()
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    got = await asyncio.gather(*map(one, range(n)))
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    if len(set(got)) != n:
        raise SystemExit("answers are lost")
    return {"wall_ns": wall, "cpu_ns": cpu}


def main():
    rival, program, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        if rival == "asyncio":
            found = asyncio.run({"queries": queries_async, "incrs": incrs_async}[program](n))
        else:
            found = {"queries": queries, "incrs": incrs}[program](rival, n)
    except (NotThere, ModuleNotFoundError) as reason:
        print(reason, file=sys.stderr)
        os._exit(NOT_THERE)
    print(json.dumps(found), flush=True)
    os._exit(0)  # not the closing of 64 connections


if __name__ == "__main__":
    main()
