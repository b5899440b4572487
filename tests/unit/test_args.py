"""Bad input: each call gets the error that the contract names, and the runtime goes on."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gmpx

NAN = float("nan")


def waits():
    """Every blocking call, as a function of its time-out: none of them can go on at once."""
    full, empty, mu, wg = gmpx.Chan(1), gmpx.Chan(), gmpx.Mutex(), gmpx.WaitGroup()
    full.send(0)
    mu.lock()
    wg.add()
    end = gmpx.Chan()
    g = gmpx.go(end.recv_ok)
    return end, {
        "Chan.send": lambda t: full.send(1, t),
        "Chan.send, timeout=": lambda t: full.send(1, timeout=t),
        "Chan.recv": empty.recv,
        "Chan.recv, timeout=": lambda t: empty.recv(timeout=t),
        "Chan.recv_ok": empty.recv_ok,
        "Chan.recv_ok, timeout=": lambda t: empty.recv_ok(timeout=t),
        "Mutex.lock": mu.lock,
        "Mutex.acquire": mu.acquire,
        "Mutex.lock, timeout=": lambda t: mu.lock(timeout=t),
        "WaitGroup.wait": wg.wait,
        "Goroutine.join": g.join,
        "Goroutine.result": g.result,
        "Goroutine.exception": g.exception,
        "Goroutine.join, timeout=": lambda t: g.join(timeout=t),
        "map": lambda t: gmpx.map(end.recv_ok, [None], timeout=t),
    }


NAMES = [
    "Chan.send", "Chan.send, timeout=", "Chan.recv", "Chan.recv, timeout=", "Chan.recv_ok",
    "Chan.recv_ok, timeout=", "Mutex.lock", "Mutex.acquire", "Mutex.lock, timeout=",
    "WaitGroup.wait", "Goroutine.join", "Goroutine.result", "Goroutine.exception",
    "Goroutine.join, timeout=", "map",
]


@pytest.fixture
def wait():
    """wait(name): that blocking call."""
    end, table = waits()
    assert list(table) == NAMES
    yield table.__getitem__
    end.close()


BAD_TIMEOUTS = [
    (-1, ValueError), (-0.001, ValueError), (-1e-300, ValueError), (NAN, ValueError),
    (float("-inf"), ValueError), (-10**30, ValueError), ("x", TypeError), ("1", TypeError),
    (b"1", TypeError), ([], TypeError), ({}, TypeError), (object(), TypeError), (1j, TypeError),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["main", "goroutine", "thread"])
def test_bad_timeouts(name, where, wait, in_thread):
    def body():
        for bad, error in BAD_TIMEOUTS:
            with pytest.raises(error):
                wait(name)(bad)

    if where == "main":
        body()
    elif where == "goroutine":
        gmpx.go(body).result()
    else:
        in_thread(body).value()
    with pytest.raises(TimeoutError):
        wait(name)(0)
    with pytest.raises(TimeoutError):
        wait(name)(0.0005)
    assert gmpx.go(lambda: 1).result() == 1


@pytest.mark.parametrize("bad, error", [(t, e) for t, e in BAD_TIMEOUTS] + [(None, TypeError)])
def test_sleep_refuses(bad, error):
    with pytest.raises(error):
        gmpx.sleep(bad)
    assert type(gmpx.go(gmpx.sleep, bad).exception()) is error
    assert gmpx.sleep(0) is None


def test_a_bad_timeout_is_bad_though_nothing_has_to_wait():
    c, mu, wg, g = gmpx.Chan(1), gmpx.Mutex(), gmpx.WaitGroup(), gmpx.go(int)
    g.join()
    for bad, error in BAD_TIMEOUTS:
        for ready in (lambda t: c.send(1, t), mu.lock, mu.acquire, wg.wait, g.join, g.result,
                      g.exception, lambda t: gmpx.map(int, [], timeout=t),
                      lambda t: gmpx.map(int, [], limit=1, timeout=t)):
            with pytest.raises(error):
                ready(bad)
    assert len(c) == 0 and not mu.locked()
    c.send(5)
    for bad, error in BAD_TIMEOUTS:
        for recv in (c.recv, c.recv_ok):
            with pytest.raises(error):
                recv(bad)
    assert c.recv() == 5


class Float:
    def __init__(self, value):
        self.value = value

    def __float__(self):
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


def test_a_timeout_may_be_anything_with_float():
    with pytest.raises(TimeoutError):
        gmpx.Chan().recv(Float(0.0005))
    with pytest.raises(ValueError):
        gmpx.Chan().recv(Float(-1.0))
    with pytest.raises(ZeroDivisionError):
        gmpx.Chan().recv(Float(ZeroDivisionError()))


@settings(max_examples=100, deadline=None, database=None)
@given(st.one_of(st.floats(), st.integers(), st.text(), st.binary(), st.booleans(), st.none(),
                 st.lists(st.none(), max_size=1)))
def test_any_timeout_is_taken_or_refused_as_the_contract_says(timeout):
    c = gmpx.Chan(1)
    c.send("there")
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    try:
        assert c.recv(timeout) == "there"
        assert timeout is None or number and timeout >= 0
    except ValueError:
        assert number and not timeout >= 0
    except TypeError:
        assert timeout is not None and not number


CALLS = [
    (gmpx.go, (), TypeError),
    (gmpx.go, (None,), TypeError),
    (gmpx.go, (5,), TypeError),
    (gmpx.go, ("print",), TypeError),
    (gmpx.spawn, (), TypeError),
    (gmpx.spawn, (None,), TypeError),
    (gmpx.spawn, (int, 5), TypeError),
    (gmpx.spawn, (int, (), 5), TypeError),
    (gmpx.spawn, (int, (), {}, "name is by keyword"), TypeError),
    (gmpx.WaitGroup().go, (), TypeError),
    (gmpx.WaitGroup().go, (None,), TypeError),
    (gmpx.WaitGroup, (1,), TypeError),
    (gmpx.WaitGroup().add, (1.5,), TypeError),
    (gmpx.WaitGroup().add, ("1",), TypeError),
    (gmpx.WaitGroup().add, (None,), TypeError),
    (gmpx.WaitGroup().add, (-1,), ValueError),
    (gmpx.WaitGroup().add, (2**70,), OverflowError),
    (gmpx.WaitGroup().done, (), ValueError),
    (gmpx.WaitGroup().done, (1,), TypeError),
    (gmpx.Mutex, (1,), TypeError),
    (gmpx.Mutex().unlock, (), RuntimeError),
    (gmpx.Mutex().try_lock, (1,), TypeError),
    (gmpx.Chan, (-1,), ValueError),
    (gmpx.Chan, (-10**9,), ValueError),
    (gmpx.Chan, (1.0,), TypeError),
    (gmpx.Chan, ("1",), TypeError),
    (gmpx.Chan, (None,), TypeError),
    (gmpx.Chan, (1, 2), TypeError),
    (gmpx.Chan, (2**70,), OverflowError),
    (gmpx.Chan().send, (), TypeError),
    (gmpx.Chan(1).send, (1, None, 3), TypeError),
    (gmpx.Chan().send_nowait, (), TypeError),
    (gmpx.Chan().recv, (1, 2), TypeError),
    (gmpx.Chan().recv_nowait, (1,), TypeError),
    (gmpx.Chan().close, (1,), TypeError),
    (gmpx.Chan.recv, (5,), TypeError),
    (gmpx.Chan.send, (5, 1), TypeError),
    (gmpx.sleep, (), TypeError),
    (gmpx.gosched, (1,), TypeError),
    (gmpx.goexit, (1,), TypeError),
    (gmpx.goexit, (), RuntimeError),
    (gmpx.current, (1,), TypeError),
    (gmpx.stats, (1,), TypeError),
    (gmpx.goroutines, (1,), TypeError),
    (gmpx.num_goroutine, (1,), TypeError),
    (gmpx.map, (), TypeError),
    (gmpx.map, (int,), TypeError),
    (gmpx.map, (None, [1]), TypeError),
    (gmpx.map, (int, 5), TypeError),
    (gmpx.imap, (), TypeError),
    (gmpx.imap, (int,), TypeError),
    (gmpx.imap, (None, [1]), TypeError),
    (gmpx.imap, (int, 5), TypeError),
]


@pytest.mark.parametrize(
    "fn, args, error", CALLS, ids=[f"{i}-{call[0].__qualname__}" for i, call in enumerate(CALLS)])
def test_bad_calls(fn, args, error):
    before = gmpx.num_goroutine()
    with pytest.raises(error):
        fn(*args)
    assert gmpx.num_goroutine() == before
    assert gmpx.go(lambda: 1).result() == 1


KEYWORDS = [
    (gmpx.Chan, {"capacity": -1}, ValueError),
    (gmpx.Chan, {"size": 1}, TypeError),
    (gmpx.Chan().recv, {"time": 1}, TypeError),
    (gmpx.Chan(1).send, {"v": 1, "x": 2}, TypeError),
    (gmpx.Mutex().lock, {"blocking": True}, TypeError),
    (gmpx.spawn, {"fn": int, "name": 5}, TypeError),
    (gmpx.spawn, {"fn": int, "name": b"x"}, TypeError),
    (gmpx.spawn, {"fn": int, "context": 5}, TypeError),
    (gmpx.spawn, {"fn": int, "context": {}}, TypeError),
    (gmpx.spawn, {"fn": int, "nam": "x"}, TypeError),
]
for _limit, _error in [
        (0, ValueError), (-1, ValueError), (1.0, TypeError), ("1", TypeError), (True, TypeError)]:
    KEYWORDS.append((lambda limit: gmpx.map(int, [1], limit=limit), {"limit": _limit}, _error))
    KEYWORDS.append((lambda limit: gmpx.imap(int, [1], limit=limit), {"limit": _limit}, _error))


@pytest.mark.parametrize("fn, kwargs, error", KEYWORDS)
def test_bad_keywords(fn, kwargs, error):
    before = gmpx.num_goroutine()
    with pytest.raises(error):
        fn(**kwargs)
    assert gmpx.num_goroutine() == before
    assert gmpx.go(lambda: 1).result() == 1


def test_a_function_called_with_wrong_arguments_is_its_goroutines_error():
    g = gmpx.go(lambda: None, 1)
    assert type(g.exception()) is TypeError
    g = gmpx.spawn(lambda: None, (), {"x": 1})
    assert type(g.exception()) is TypeError


def test_go_takes_any_arguments_and_keywords():
    def fn(*args, **kwargs):
        return args, kwargs

    assert gmpx.go(fn).result() == ((), {})
    assert gmpx.go(fn, 1, *range(20)).result() == ((1, *range(20)), {})
    assert gmpx.go(fn, fn=1, self=2, args=3, timeout=4).result() == (
        (), {"fn": 1, "self": 2, "args": 3, "timeout": 4})
    assert gmpx.spawn(fn, [1, 2], {"x": 3}).result() == ((1, 2), {"x": 3})
    assert gmpx.spawn(fn, iter("ab")).result() == (("a", "b"), {})
    assert gmpx.spawn(fn, kwargs=None, name=None, context=None).result() == ((), {})
    assert gmpx.spawn(fn, kwargs=[("a", 1)]).result() == ((), {"a": 1})
    assert gmpx.spawn(fn, kwargs=[]).result() == ((), {})


def test_send_by_keyword_and_recv_without():
    c = gmpx.Chan(capacity=1)
    assert c.send(v=3) is None
    assert c.recv(timeout=None) == 3
    assert threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(
    "call, error, said",
    [
        (lambda: gmpx.spawn(print, 5), TypeError, "args must be a tuple, not int"),
        (lambda: gmpx.spawn(print, (), 5), TypeError, "kwargs must be a dict or None, not int"),
        (lambda: gmpx.spawn(print, (), ["abc"]), TypeError, "kwargs must be a dict or None, not list"),
        (lambda: gmpx.wait(5), TypeError, "Goroutines or Futures are needed, not int"),
        (lambda: gmpx.as_completed(5), TypeError, "Goroutines or Futures are needed, not int"),
        (lambda: gmpx.shield(5), TypeError, "shield() takes no arguments, 1 given"),
        (lambda: gmpx.dump(5), TypeError, "dump() needs a text file, not int"),
        (lambda: gmpx.WaitGroup().add("x"), TypeError, "n must be an int, not str"),
        (lambda: gmpx.WaitGroup().add(1.5), TypeError, "n must be an int, not float"),
        (lambda: gmpx.WaitGroup().add(-(10**30)), OverflowError, f"n is out of range: {-(10**30)}"),
        (lambda: gmpx.WaitGroup().add(-1), ValueError, "negative WaitGroup counter: 0 + -1"),
        (lambda: gmpx.Chan("a"), TypeError, "channel capacity must be an int, not str"),
        (lambda: gmpx.Chan(1.5), TypeError, "channel capacity must be an int, not float"),
        (lambda: gmpx.Chan(10**30), OverflowError, f"channel capacity is out of range: {10**30}"),
        (lambda: gmpx.Chan(-(10**30)), ValueError, f"channel capacity must not be negative: {-(10**30)}"),
        (lambda: gmpx.Chan(-1), ValueError, "channel capacity must not be negative: -1"),
        (lambda: gmpx.io.listen(5), TypeError, "host must be a str, not int"),
        (lambda: gmpx.io.listen("127.0.0.1", "x"), TypeError, "port must be an int, not str"),
    ],
)
def test_an_error_names_the_argument(call, error, said):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == said


def test_what_stands_for_an_int_is_taken():
    class Three:
        def __index__(self):
            return 3

    wg = gmpx.WaitGroup()
    wg.add(Three())
    wg.add(-3)
    wg.wait(0)
    assert gmpx.Chan(Three()).cap == 3
