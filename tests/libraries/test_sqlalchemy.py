"""SQLAlchemy over each driver: its pool, the ORM, and the asyncio extension."""

import asyncio
import threading
import time
import uuid
from contextlib import contextmanager

import pytest

import gmpx

sqlalchemy = pytest.importorskip("sqlalchemy")
text = sqlalchemy.text
SIZE, OVERFLOW = 6, 4
DRIVERS = {"psycopg": "postgres", "psycopg2": "postgres", "pg8000": "postgres", "pymysql": "mariadb"}
ASYNC_DRIVERS = {"asyncpg": "postgres", "psycopg": "postgres", "aiomysql": "mariadb", "asyncmy": "mariadb"}
SLEEP = {"postgres": "SELECT pg_sleep({0})", "mariadb": "SELECT SLEEP({0})"}


def address(found, driver):
    dialect = "mysql" if found.scheme == "mysql" else "postgresql"
    return sqlalchemy.URL.create(f"{dialect}+{driver}", found.username, found.password, found.hostname, found.port,
                                 found.path[1:])


@pytest.fixture(params=DRIVERS)
def driver(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def sleep(driver):
    return lambda seconds: text(SLEEP[DRIVERS[driver]].format(seconds))


@contextmanager
def engine_of(url, driver, **options):
    found = url(DRIVERS[driver])
    if driver == "pg8000":
        options["connect_args"] = {"ssl_context": False}  # making one for each connection takes most of the time
    engine = sqlalchemy.create_engine(address(found, driver), **options)
    yield engine
    assert engine.pool.checkedout() == 0
    engine.dispose()


@pytest.fixture
def engine(url, driver, patience):
    with engine_of(url, driver, pool_size=SIZE, max_overflow=OVERFLOW, pool_timeout=patience) as engine:
        yield engine


@pytest.fixture
def table(engine):
    table = sqlalchemy.Table(f"gmpx_{uuid.uuid4().hex}", sqlalchemy.MetaData(),
                             sqlalchemy.Column("n", sqlalchemy.Integer, primary_key=True, autoincrement=False),
                             sqlalchemy.Column("name", sqlalchemy.String(50)))
    table.create(engine)
    yield table
    table.drop(engine)


def test_a_crowd_shares_a_few_connections(engine, table, sleep, crowd):
    most = 0

    def one(i):
        nonlocal most
        with engine.begin() as connection:
            most = max(most, engine.pool.checkedout())
            with crowd.waiting():
                connection.execute(sleep(0.003))
            connection.execute(table.insert().values(n=i, name=f"name {i}"))
            return connection.execute(sqlalchemy.select(table.c.name).where(table.c.n == i)).scalar_one()

    assert crowd(one) == [f"name {i}" for i in range(200)]
    assert crowd.most > 1 and most <= SIZE + OVERFLOW
    assert engine.pool.checkedout() == 0 and 0 < engine.pool.checkedin() <= SIZE
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(table)).scalar() == 200


def test_sessions(engine, table, crowd):
    """The ORM; a scoped_session keeps its session in a threading.local, which follows the goroutine."""
    orm = pytest.importorskip("sqlalchemy.orm")

    class Row:
        pass

    orm.registry().map_imperatively(Row, table)
    scoped = orm.scoped_session(orm.sessionmaker(engine))
    sessions = set()

    def one(i):
        session = scoped()
        sessions.add(id(session))
        row = Row()
        row.n, row.name = i, "before"
        scoped.add(row)
        scoped.flush()
        gmpx.gosched()
        assert scoped() is session
        if i % 2:
            scoped.rollback()
        else:
            row.name = f"name {i}"
            scoped.commit()
        found = scoped.scalars(sqlalchemy.select(Row).where(table.c.n == i)).one_or_none()
        name = found and found.name
        held.append(session)  # so that no other has its id
        scoped.remove()
        return name

    held = []
    assert crowd(one, 40) == [None if i % 2 else f"name {i}" for i in range(40)]
    assert len(sessions) == 40


def test_cancelled_in_a_statement(engine, sleep, parked):
    def one():
        with engine.connect() as connection:
            connection.execute(text("SELECT 7"))
            connection.execute(sleep(2))

    gs = [gmpx.go(one) for _ in range(SIZE + OVERFLOW)]
    parked(*gs)
    waits = gmpx.go(one)
    parked(waits)
    for g in [*gs, waits]:
        g.cancel()
    for g in [*gs, waits]:
        with pytest.raises(gmpx.Cancelled):
            g.result(20)
    assert engine.pool.checkedout() == 0
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 7")).scalar() == 7


def test_a_time_out_in_a_statement(engine, sleep):
    with pytest.raises(TimeoutError), gmpx.timeout(0.05), engine.connect() as connection:
        connection.execute(sleep(2))
    assert engine.pool.checkedout() == 0
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 7")).scalar() == 7


def test_the_pools_time_out(url, driver):
    with (
        engine_of(url, driver, pool_size=1, max_overflow=0, pool_timeout=0.02) as engine,
        engine.connect(),
        pytest.raises(sqlalchemy.exc.TimeoutError),
    ):
        engine.connect()


@pytest.mark.parametrize("driver", ["psycopg", "pg8000"])
def test_the_server_is_restarted(driver, server, goes_on):
    pytest.importorskip(driver)
    postgres = server("postgres")
    with engine_of(lambda _: postgres.url, driver, pool_size=3, max_overflow=2, pool_pre_ping=True) as engine:

        def attempt(i):
            with engine.connect() as connection:
                return connection.execute(text("SELECT CAST(:i AS int), pg_sleep(0.002)"), {"i": i}).scalar()

        # pg8000 raises some errors of its sockets as they are
        goes_on(postgres, attempt, (sqlalchemy.exc.DBAPIError, OSError) if driver == "pg8000"
                else sqlalchemy.exc.DBAPIError)


# ---- the asyncio extension ------------------------------------------------------------------------


@pytest.fixture(params=ASYNC_DRIVERS)
def async_engine(request, url):
    extension = pytest.importorskip("sqlalchemy.ext.asyncio")
    pytest.importorskip(request.param)
    found = url(ASYNC_DRIVERS[request.param])


    def make():
        return extension.create_async_engine(address(found, request.param), pool_size=3, max_overflow=0)

    make()  # has imported all by now: goroutines that wait for an import hold their threads
    return make


def sleeping(engine, seconds):
    return text(SLEEP["mariadb" if engine.dialect.name == "mysql" else "postgres"].format(seconds))


def test_a_loop_in_each_of_several_goroutines(async_engine, crowd):
    async def one(engine, n):
        async with engine.connect() as connection:
            await connection.execute(sleeping(engine, 0.003))
            return (await connection.execute(text("SELECT :n + 0"), {"n": n})).scalar()

    async def some(i):
        engine = async_engine()
        answers = await asyncio.gather(*(one(engine, 100 * i + n) for n in range(12)))
        assert engine.pool.checkedout() == 0
        await engine.dispose()
        return [int(answer) for answer in answers]

    assert crowd(lambda i: asyncio.run(some(i)), 5) == [[100 * i + n for n in range(12)] for i in range(5)]


def test_what_parks_within_run_sync(async_engine, parked, until, patience):
    """Below greenlet_spawn: the goroutine parks where it stands, in SQLAlchemy's greenlet."""
    lock = threading.Lock()

    def below(connection):
        with lock:
            time.sleep(0.001)
            return connection.execute(text("SELECT 7")).scalar()

    async def main():
        engine = async_engine()
        async with engine.connect() as connection:
            entered.append(True)
            answer = await connection.run_sync(below)
        await engine.dispose()
        return answer

    entered = []
    with lock:
        g = gmpx.go(asyncio.run, main())
        until(lambda: entered or g.done())
        parked(g, reason="threading lock")
    assert g.result(patience) == 7


def test_cancelled_in_its_loop(async_engine, parked, until):
    engines = []

    async def main():
        engine = async_engine()
        engines.append(engine)
        try:
            async with engine.connect() as connection:
                asked.append(True)
                await connection.execute(sleeping(engine, 2))
        finally:
            await engine.dispose()

    asked = []
    g = gmpx.go(asyncio.run, main())
    until(lambda: asked or g.done())
    parked(g, reason="IO wait")
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result(20)
    assert engines[0].pool.checkedout() == 0
