"""psycopg 3, psycopg2 and pg8000, without anything above them."""

import queue
import subprocess
import sys
import uuid
from contextlib import closing, contextmanager

import pytest

import gmpx

POOL = 10


class Driver:
    """What the tests need of a driver; the drivers agree on the rest.

    Attributes:
        module: the DB-API module.
        after_cancel: what a statement that is cancelled leaves of its connection.
    """

    def __init__(self, name, url):
        self.name, self.url = name, url
        self.module = pytest.importorskip(name)
        if name == "pg8000":
            self.module = pytest.importorskip("pg8000.dbapi")
        self.after_cancel = {"psycopg": "usable", "psycopg2": "closed", "pg8000": "out of step"}[name]

    def connect(self, **more):
        database = {"psycopg": "dbname", "psycopg2": "dbname", "pg8000": "database"}[self.name]
        url = self.url
        more = {database: url.path[1:], "user": url.username, "host": url.hostname, "port": url.port, **more}
        if url.password:
            more["password"] = url.password
        if self.name == "pg8000":
            more.setdefault("ssl_context", False)  # making one for each connection takes most of the time
        return self.module.connect(**more)


@pytest.fixture(params=["psycopg", "psycopg2", "pg8000"])
def driver(request, url):
    pytest.importorskip(request.param)
    return Driver(request.param, url("postgres"))


def ask(connection, text, *values):
    cursor = connection.cursor()
    try:
        cursor.execute(text, values)
        return cursor.fetchone()[0] if cursor.description else None
    finally:
        cursor.close()


@pytest.fixture
def asker(driver):
    """asker(text, *values): asks on a connection of its own."""
    with closing(driver.connect()) as connection:
        connection.autocommit = True
        yield lambda text, *values: ask(connection, text, *values)


@pytest.fixture
def table(asker):
    name = f"gmpx_{uuid.uuid4().hex}"
    asker(f"CREATE TABLE {name} (n int)")
    yield name
    asker(f"DROP TABLE {name}")


@contextmanager
def taken(pool):
    connection = pool.get()
    try:
        yield connection
    finally:
        pool.put(connection)


def test_a_crowd_shares_a_few_connections(driver, asker, table, crowd):
    pool = queue.Queue()
    for _ in range(POOL):
        pool.put(driver.connect())

    def one(i):
        with taken(pool) as connection:
            ask(connection, f"INSERT INTO {table} VALUES (%s)", i)
            with crowd.waiting():
                answer = ask(connection, "SELECT %s::int, pg_sleep(0.005)", i)
            connection.commit()
        return answer

    try:
        assert crowd(one) == list(range(200))
        assert pool.qsize() == POOL
        assert crowd.most > 1
        assert asker(f"SELECT count(DISTINCT n) * 1000 + count(*) FROM {table}") == 200 * 1001
    finally:
        while pool.qsize():
            pool.get().close()


def test_large_answers_and_statements(driver, crowd):
    """What has to be sent and read in many turns."""
    size = 3_000_000

    def one(i):
        with closing(driver.connect()) as connection:
            text = chr(97 + i) * size
            assert ask(connection, "SELECT md5(%s::text)", text) == ask(connection, "SELECT md5(repeat(%s, %s))",
                                                                        chr(97 + i), size)
            return ask(connection, "SELECT repeat(%s, %s)", chr(97 + i), size) == text

    assert all(crowd(one, 8))


def test_it_waits_as_a_goroutine(driver, parked, patience):
    """Two on one lock of the server: while one waits for it, this thread goes on, and lets it go."""
    with closing(driver.connect()) as ours, closing(driver.connect()) as theirs:
        key = uuid.uuid4().int % 2**62
        ask(ours, "SELECT pg_advisory_xact_lock(%s::bigint)::text", key)
        g = gmpx.go(ask, theirs, "SELECT pg_advisory_xact_lock(%s::bigint)::text || 'x'", key)
        parked(g, reason="IO wait")
        ours.rollback()
        assert g.result(patience) == "x"


def test_connecting_waits_as_a_goroutine(driver, silent, parked):
    more = {"timeout": 30} if driver.name == "pg8000" else {"connect_timeout": 30}
    g = gmpx.go(driver.connect, host=silent[0], port=silent[1], **more)
    parked(g, reason="IO wait")
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result(20)


def check_after(driver, connection):
    if driver.after_cancel == "usable":
        connection.rollback()
        assert ask(connection, "SELECT 7") == 7
    elif driver.after_cancel == "closed":
        assert connection.closed
    else:
        pass  # what comes next on it may be that statement's answer: to be closed


def test_cancelled_in_a_statement(driver, asker, parked, until):
    name = f"gmpx {uuid.uuid4().hex}"
    with closing(driver.connect(application_name=name)) as connection:
        g = gmpx.go(ask, connection, "SELECT pg_sleep(60)::text")
        running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name = %s"
        until(lambda: asker(running, name) == 1)
        parked(g, reason="IO wait")
        g.cancel()
        with pytest.raises(gmpx.Cancelled):
            g.result(20)
        if driver.name == "psycopg":
            assert asker(running, name) == 0  # it has told the server
        check_after(driver, connection)
    asker("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s", name)


def test_a_time_out_in_a_statement(driver, asker):
    name = f"gmpx {uuid.uuid4().hex}"
    with closing(driver.connect(application_name=name)) as connection:
        with pytest.raises(TimeoutError), gmpx.timeout(0.05):
            ask(connection, "SELECT pg_sleep(60)::text")
        check_after(driver, connection)
    asker("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s", name)


def test_the_servers_own_time_out(driver):
    with closing(driver.connect()) as connection:
        ask(connection, "SET statement_timeout = 50")
        connection.commit()
        with pytest.raises(driver.module.Error, match="statement timeout"):
            ask(connection, "SELECT pg_sleep(60)::text")
        connection.rollback()
        assert ask(connection, "SELECT 7") == 7


def test_the_server_ends_a_connection_in_a_statement(driver, asker, parked):
    connection = driver.connect()
    pid = ask(connection, "SELECT pg_backend_pid()")
    g = gmpx.go(ask, connection, "SELECT pg_sleep(60)::text")
    parked(g)
    assert asker("SELECT pg_terminate_backend(%s)", pid) is True
    with pytest.raises((driver.module.Error, OSError)):
        g.result(20)
    with closing(driver.connect()) as another:
        assert ask(another, "SELECT 7") == 7
    try:
        connection.close()
    except driver.module.Error:
        pass  # pg8000: it is closed


def test_threads_wait_as_threads(driver, in_thread):
    def run():
        with closing(driver.connect()) as connection:
            return ask(connection, "SELECT 7, pg_sleep(0.01)")

    assert [thread.value() for thread in [in_thread(run) for _ in range(3)]] == [7] * 3


def test_the_server_is_restarted(driver, server, goes_on):
    postgres = server("postgres")
    driver.url = postgres.url
    connections = {}

    def attempt(i):
        try:
            if i not in connections:
                connections[i] = driver.connect()
            answer = ask(connections[i], "SELECT %s::int, pg_sleep(0.002)", i)
            connections[i].commit()
            return answer
        except (driver.module.Error, OSError):
            if i in connections:
                try:
                    connections.pop(i).close()
                except (driver.module.Error, OSError):
                    pass
            raise

    goes_on(postgres, attempt, (driver.module.Error, OSError))
    for connection in connections.values():
        connection.close()


# ---- psycopg 3 ------------------------------------------------------------------------------------


@pytest.fixture
def psycopg():
    return pytest.importorskip("psycopg")


@pytest.fixture
def conninfo(url):
    return url("postgres").geturl()


@pytest.fixture
def pool(psycopg, conninfo, patience):
    psycopg_pool = pytest.importorskip("psycopg_pool")
    with psycopg_pool.ConnectionPool(conninfo, min_size=2, max_size=POOL, open=False, timeout=patience) as pool:
        yield pool


def back(pool):
    stats = pool.get_stats()
    return stats["pool_available"] == stats["pool_size"] and not stats["requests_waiting"]


def test_psycopg_pool(pool, crowd, until):
    def one(i):
        with pool.connection() as connection, crowd.waiting():
            return connection.execute("SELECT %s::int, pg_sleep(0.005)", [i]).fetchone()[0]

    assert crowd(one) == list(range(200))
    assert crowd.most > 1
    until(lambda: back(pool))
    assert pool.get_stats()["pool_max"] == POOL


def test_psycopg_pool_after_cancels(psycopg, pool, conninfo, parked, until, patience):
    """Of those that have a connection, and of those that wait for one."""
    name = f"gmpx {uuid.uuid4().hex}"

    def one():
        with pool.connection() as connection:
            connection.execute(f"SELECT pg_sleep(60) -- {name}")

    gs = [gmpx.go(one) for _ in range(2 * POOL)]
    with psycopg.connect(conninfo, autocommit=True) as other:
        active = f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%% -- {name}'"
        until(lambda: ask(other, active) == POOL)
    until(lambda: pool.get_stats()["requests_waiting"] == POOL)
    parked(*gs)
    for g in gs:
        g.cancel()
    for g in gs:
        with pytest.raises(gmpx.Cancelled):
            g.result(patience)
    until(lambda: back(pool))
    with pool.connection() as connection:
        assert connection.execute("SELECT 7").fetchone() == (7,)


def test_psycopg_pool_has_a_time_out(psycopg, pool, until):
    import psycopg_pool

    with gmpx.Group() as group:
        release = gmpx.Event()

        def hold():
            with pool.connection():
                release.wait()

        for _ in range(POOL):
            group.go(hold)
        until(lambda: pool.get_stats()["pool_size"] == POOL and not pool.get_stats()["pool_available"])
        with pytest.raises(psycopg_pool.PoolTimeout), pool.connection(timeout=0.02):
            pass
        with pytest.raises(TimeoutError), gmpx.timeout(0.02), pool.connection():
            pass
        release.set()
    until(lambda: back(pool))


def test_psycopg_pool_when_the_server_is_restarted(psycopg, server, goes_on, until):
    psycopg_pool = pytest.importorskip("psycopg_pool")
    postgres = server("postgres")
    with psycopg_pool.ConnectionPool(postgres.url.geturl(), min_size=4, max_size=4, timeout=1,
                                     open=False, reconnect_timeout=60,
                                     check=psycopg_pool.ConnectionPool.check_connection) as pool:

        def attempt(i):
            with pool.connection() as connection:
                return connection.execute("SELECT %s::int", [i]).fetchone()[0]

        goes_on(postgres, attempt, psycopg.Error)
        until(lambda: back(pool))


def test_psycopg_copy_pipeline_and_cursors(psycopg, conninfo):
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TEMP TABLE t (n int, s text)")
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            for n in range(20_000):
                copy.write_row((n, "x" * 50))
        with connection.cursor().copy("COPY t TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 20_000
        with connection.cursor(name="c") as cursor:
            cursor.itersize = 1000
            cursor.execute("SELECT n FROM t ORDER BY n")
            assert [n for (n,) in cursor] == list(range(20_000))
        with connection.pipeline():
            answers = [connection.execute("SELECT %s::int", [n]) for n in range(300)]
            assert [a.fetchone()[0] for a in answers] == list(range(300))


def test_psycopg_notifications(psycopg, conninfo, parked, patience):
    channel = f"gmpx_{uuid.uuid4().hex}"
    with psycopg.connect(conninfo, autocommit=True) as a, psycopg.connect(conninfo, autocommit=True) as b:
        a.execute(f"LISTEN {channel}")
        g = gmpx.go(lambda: next(a.notifies()).payload)
        parked(g, reason="IO wait")
        b.execute("SELECT pg_notify(%s, 'hello')", [channel])
        assert g.result(patience) == "hello"
        assert list(a.notifies(timeout=0.01)) == []


def test_psycopg_asyncio(psycopg, conninfo, crowd):
    """A loop in each of several goroutines, some statements in each."""
    import asyncio

    async def one(n):
        async with await psycopg.AsyncConnection.connect(conninfo) as connection:
            cursor = await connection.execute("SELECT %s::int, pg_sleep(0.005)", [n])
            return (await cursor.fetchone())[0]

    async def some(i):
        return await asyncio.gather(*(one(10 * i + n) for n in range(4)))

    assert crowd(lambda i: asyncio.run(some(i)), 5) == [[10 * i + n for n in range(4)] for i in range(5)]


# ---- psycopg2 -------------------------------------------------------------------------------------


def test_psycopg2_pool(url, crowd):
    """It does not wait for a connection: that is for a semaphore to do."""
    psycopg2 = pytest.importorskip("psycopg2")
    from psycopg2.pool import ThreadedConnectionPool

    pool, free = ThreadedConnectionPool(2, POOL, url("postgres").geturl()), gmpx.Semaphore(POOL)

    def one(i):
        with free:
            connection = pool.getconn()
            try:
                with connection, crowd.waiting():
                    return ask(connection, "SELECT %s::int, pg_sleep(0.005)", i)
            finally:
                pool.putconn(connection)

    assert crowd(one) == list(range(200))
    assert crowd.most > 1
    assert not pool._used
    held = [pool.getconn() for _ in range(POOL)]
    with pytest.raises(psycopg2.pool.PoolError):
        pool.getconn()
    for connection in held:
        pool.putconn(connection)
    pool.closeall()


def test_psycopg2_has_no_copy_under_a_callback(url):
    """As under gevent. Without the group there is."""
    import io

    psycopg2 = pytest.importorskip("psycopg2")

    def copy():
        with closing(psycopg2.connect(url("postgres").geturl())) as connection:
            found = io.StringIO()
            connection.cursor().copy_expert("COPY (SELECT 7) TO STDOUT", found)
            return found.getvalue()

    with pytest.raises(psycopg2.ProgrammingError, match="copy_expert cannot be used with an asynchronous callback"):
        copy()
    gmpx.patch.undo("psycopg")
    assert gmpx.blocking(copy) == "7\n"


# ---- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("name", ["psycopg", "psycopg2"])
def test_the_order_of_imports_does_not_matter(name, order, url):
    pytest.importorskip(name)
    if name == "psycopg" and sys.modules["psycopg"].pq.__impl__ == "python":
        pytest.skip("psycopg has no C code here")
    program = f"""
import sys
import gmpx, gmpx.patch
if {order == "before"}:
    import {name}
else:
    gmpx.patch.all()
    assert "{name}" not in sys.modules
    import {name}
gmpx.patch.all()
asked = False
def run():
    global asked
    cursor = {name}.connect({url("postgres").geturl()!r}).cursor()
    cursor.execute("SELECT 7")
    asked = True
    cursor.execute("SELECT pg_sleep(60)")
g = gmpx.go(run)
while not asked or g.wait_reason != "IO wait":
    gmpx.gosched()
g.cancel()
g.join()
gmpx.patch.undo()
if "{name}" == "psycopg":
    assert psycopg.waiting.wait is psycopg.waiting.wait_c
else:
    assert psycopg2.extensions.get_wait_callback() is None
print("well")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("well\n", "", 0)
