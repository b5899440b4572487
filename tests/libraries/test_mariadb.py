"""PyMySQL; and mysqlclient, whose C code waits by itself, by gmpx.blocking."""

import itertools
import queue
import uuid
from collections import Counter
from contextlib import closing

import pytest

import gmpx

pymysql = pytest.importorskip("pymysql")
POOL = 10


@pytest.fixture
def connect(url):
    def connect(**more):
        found = url("mariadb")
        return pymysql.connect(host=found.hostname, port=found.port, user=found.username,
                               password=found.password or "", database=found.path[1:], **more)

    return connect


def ask(connection, text, *values):
    with connection.cursor() as cursor:
        cursor.execute(text, values)
        row = cursor.fetchone()
        return row and row[0]


@pytest.fixture
def table(connect):
    name = f"gmpx_{uuid.uuid4().hex}"
    with closing(connect(autocommit=True)) as connection:
        ask(connection, f"CREATE TABLE {name} (n int) ENGINE=InnoDB")
        yield name
        ask(connection, f"DROP TABLE {name}")


def test_a_crowd_shares_a_few_connections(connect, table, crowd):
    pool = queue.Queue()
    for _ in range(POOL):
        pool.put(connect())

    def one(i):
        connection = pool.get()
        try:
            ask(connection, f"INSERT INTO {table} VALUES (%s)", i)
            with crowd.waiting():
                assert ask(connection, "SELECT SLEEP(0.005)") == 0
            connection.commit()
            return ask(connection, "SELECT %s", i)
        finally:
            pool.put(connection)

    assert crowd(one) == list(range(200))
    assert crowd.most > 1
    assert pool.qsize() == POOL
    while pool.qsize():
        pool.get().close()
    with closing(connect()) as connection:
        assert ask(connection, f"SELECT count(DISTINCT n) * 1000 + count(*) FROM {table}") == 200 * 1001


def test_large_answers(connect, crowd):
    def one(i):
        with closing(connect()) as connection:
            return ask(connection, "SELECT REPEAT(%s, 2000000)", chr(97 + i)) == chr(97 + i) * 2_000_000

    assert all(crowd(one, 8))


def test_rows_one_by_one(connect, crowd):
    def one(i):
        with closing(connect(cursorclass=pymysql.cursors.SSCursor)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT seq FROM seq_1_to_2000")
            return [n for (n,) in cursor] == list(range(1, 2001))

    assert all(crowd(one, 10))


def test_it_waits_as_a_goroutine(connect, parked, patience):
    with closing(connect()) as ours, closing(connect()) as theirs:
        name = uuid.uuid4().hex
        assert ask(ours, "SELECT GET_LOCK(%s, 0)", name) == 1
        g = gmpx.go(ask, theirs, "SELECT GET_LOCK(%s, 60)", name)
        parked(g, reason="IO wait")
        assert ask(ours, "SELECT RELEASE_LOCK(%s)", name) == 1
        assert g.result(patience) == 1


def test_cancelled_and_timed_out_in_a_statement(connect, parked):
    """The connection is closed by then: PyMySQL does that whatever interrupts a read."""
    connection = connect()
    g = gmpx.go(ask, connection, "SELECT SLEEP(1)")
    parked(g, reason="IO wait")
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result(20)
    assert not connection.open

    connection = connect()
    with pytest.raises(TimeoutError), gmpx.timeout(0.02):
        ask(connection, "SELECT SLEEP(1)")
    assert not connection.open

    connection = connect(read_timeout=0.05)
    with pytest.raises(pymysql.OperationalError, match="timed out"):
        ask(connection, "SELECT SLEEP(1)")
    assert not connection.open
    with closing(connect()) as connection:
        assert ask(connection, "SELECT 7") == 7


def test_the_server_ends_a_connection_in_a_statement(connect, parked):
    with closing(connect()) as other:
        connection = connect()
        g = gmpx.go(ask, connection, "SELECT SLEEP(60)")
        parked(g)
        ask(other, "KILL %s", connection.thread_id())
        with pytest.raises(pymysql.Error):
            g.result(20)


def test_connecting_has_a_time_out(silent):
    with pytest.raises(pymysql.OperationalError, match="timed out"):
        pymysql.connect(host=silent[0], port=silent[1], connect_timeout=1, read_timeout=0.1)


def test_the_server_is_restarted(server, goes_on):
    """Five connections that all share, new ones for those lost; what was committed is there afterwards, once."""
    found, pool, numbers, committed = server("mariadb"), queue.Queue(), itertools.count(), []

    def connect():
        return pymysql.connect(host=found.host, port=found.port, user="root", database="test", ssl_disabled=True)

    def attempt(i):
        connection = pool.get()
        try:
            if not connection.open:
                connection = connect()
            n = next(numbers)
            ask(connection, "INSERT INTO kept VALUES (%s)", n)
            answer = ask(connection, "SELECT %s + SLEEP(0.002)", i)
            connection.commit()
            committed.append(n)
            return answer
        except pymysql.Error:
            if connection.open:
                connection.close()
            raise
        finally:
            pool.put(connection)

    with closing(connect()) as connection:
        ask(connection, "CREATE OR REPLACE TABLE kept (n int) ENGINE=InnoDB")
    for _ in range(5):
        pool.put(connect())
    goes_on(found, attempt, pymysql.Error)
    with closing(connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n FROM kept")
        kept = Counter(n for (n,) in cursor)
    assert set(committed) <= set(kept) and max(kept.values()) == 1
    assert pool.qsize() == 5
    while pool.qsize():
        pool.get().close()


def test_mysqlclient_on_spare_threads(url, crowd):
    mysqlclient = pytest.importorskip("MySQLdb")
    found = url("mariadb")

    def query(i):
        with closing(mysqlclient.connect(host=found.hostname, port=found.port, user=found.username,
                                         password=found.password or "", database=found.path[1:])) as connection:
            with closing(connection.cursor()) as cursor:
                cursor.execute("SELECT %s, SLEEP(0.005)", [i])
                return cursor.fetchone()[0]

    def one(i):
        with places, crowd.waiting():
            return gmpx.blocking(query, i)

    places = gmpx.Semaphore(POOL)
    assert crowd(one, 50) == list(range(50))
    assert crowd.most > 1
