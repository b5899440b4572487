"""Retry: how often, what for, how long in between, until when."""

import math
import random
import sys
import time

import pytest

import gmpx
from gmpx import Retry
from gmpx.retry import MOST_NOTED, Trials


class Flaky:
    """Fails so often, then returns its arguments. `at` are the times of the calls."""

    def __init__(self, failures, exc=ValueError):
        self.failures, self.exc, self.at = failures, exc, []

    def __call__(self, *args, **kwargs):
        self.at.append(time.monotonic())
        if len(self.at) <= self.failures:
            raise self.exc(f"failure {len(self.at)}")
        return args, kwargs

    def pauses(self):
        return [b - a for a, b in zip(self.at, self.at[1:])]


def notes(e):
    return "\n".join(getattr(e, "__notes__", ()))


def test_call_tries_again_and_returns_the_value(virtual):
    fn = Flaky(2)
    assert Retry(attempts=3).call(fn, 1, b=2) == ((1,), {"b": 2})
    assert len(fn.at) == 3


def test_the_last_failure_is_raised_with_a_note_of_those_before(virtual):
    fn = Flaky(10)
    with pytest.raises(ValueError, match="failure 3") as e:
        Retry(attempts=3).call(fn)
    assert notes(e.value) == "attempt 3 of 3\n  attempt 1: ValueError: failure 1\n  attempt 2: ValueError: failure 2"
    assert e.value.__context__ is None, "each attempt stands alone"
    with pytest.raises(ValueError) as e:
        Retry(attempts=1).call(Flaky(1))
    assert notes(e.value) == ""


def test_notes_do_not_grow_without_bound(virtual):
    fn = Flaky(100, lambda text: ValueError("x" * 5000))
    with pytest.raises(ValueError) as e:
        Retry(attempts=50, jitter=None).call(fn)
    lines = notes(e.value).splitlines()
    assert lines[:2] == ["attempt 50 of 50", "  39 more failed before"]
    assert len(lines) == 12 and lines[-1].startswith("  attempt 49: ValueError: xxx")
    assert max(map(len, lines)) < 300


def test_what_a_call_does_not_run_is_no_function_to_try_again():
    async def coroutine():
        pass

    async def agen():
        yield

    def gen():
        yield

    for fn in (coroutine, agen, gen):
        with pytest.raises(TypeError, match="does not run it"):
            Retry()(fn)


def test_failures_are_not_kept_without_bound():
    trials = Trials(Retry(attempts=None, backoff=0), 0.0)
    for n in range(1000):
        assert trials.failed(ValueError(n)) == 0
    assert len(trials.before) == MOST_NOTED + 1
    trials.withdraw(e := ValueError("the last"))
    lines = notes(e).splitlines()
    assert lines[1] == "  989 more failed before" and lines[2:] == [
        f"  attempt {n + 1}: ValueError: {n}" for n in range(989, 999)
    ]


@pytest.mark.parametrize(
    "on", [OSError, (KeyError, OSError), lambda e: isinstance(e, OSError)], ids=["type", "tuple", "function"]
)
def test_only_what_on_says_is_tried_again(virtual, on):
    fn = Flaky(1, ConnectionError)
    Retry(on=on).call(fn)
    assert len(fn.at) == 2
    fn = Flaky(1, LookupError)
    with pytest.raises(LookupError):
        Retry(on=on).call(fn)
    assert len(fn.at) == 1


@pytest.mark.parametrize("exc", [KeyboardInterrupt, SystemExit, GeneratorExit, gmpx.Cancelled, gmpx.DeadlockError])
def test_what_ends_the_program_or_the_goroutine_is_never_tried_again(virtual, exc):
    for retry in (Retry(), Retry(on=lambda e: True)):
        fn = Flaky(1, exc)
        with pytest.raises(exc):
            retry.call(fn)
        with pytest.raises(exc):
            for attempt in retry:
                with attempt:
                    raise exc
        assert len(fn.at) == 1


def test_goexit_ends_it(virtual):
    calls = []

    def body():
        calls.append(1)
        gmpx.goexit()

    assert gmpx.go(Retry().call, body).result() is None
    assert calls == [1]


def test_a_cancel_ends_a_pause(virtual):
    g = gmpx.go(Retry(backoff=100, most=100, jitter=None).call, Flaky(5))
    virtual.wait_all_parked()
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result()
    assert virtual.elapsed == 0


def test_pauses_grow_up_to_the_most(virtual):
    fn = Flaky(6)
    Retry(attempts=None, backoff=1, factor=3, most=20, jitter=None).call(fn)
    assert fn.pauses() == pytest.approx([1, 3, 9, 20, 20, 20])
    fn = Flaky(3)
    Retry(attempts=4, backoff=0).call(fn)
    assert fn.pauses() == [0, 0, 0]
    assert Retry(backoff=1, most=7, jitter=None).pause(100_000) == 7
    assert Retry(backoff=0, jitter=None).pause(100_000) == 0


@pytest.mark.parametrize(
    ("jitter", "least", "most"), [("full", 0, 8), ("equal", 4, 8), (0.25, 6, 10), (1, 0, 16), (0, 8, 8), (None, 8, 8)]
)
def test_jitter(jitter, least, most):
    def drawn():
        retry = Retry(backoff=8, jitter=jitter, random=random.Random(5))
        return [retry.pause(1) for _ in range(500)]

    found = drawn()
    assert found == drawn(), "a seed replays it"
    spread = most - least
    assert least <= min(found) <= least + spread / 20
    assert most - spread / 20 <= max(found) <= most


def test_retry_after(virtual):
    class Busy(Exception):
        pass

    def after(e):
        return e.args[0]

    asked = iter([5, 120, None])

    fn = Flaky(3, lambda text: Busy(next(asked)))
    Retry(attempts=4, backoff=1, jitter=None, most=4, after=after).call(fn)
    assert fn.pauses() == [5, 120, 4], "what is asked for is not capped"
    for bad, exc in ((-1, ValueError), (math.nan, ValueError), ("soon", TypeError)):
        with pytest.raises(exc, match="what after returns"):
            Retry(after=lambda e: bad).call(Flaky(1))


def test_no_attempt_begins_after_the_deadline_and_no_pause_either(virtual):
    fn = Flaky(100)
    retry = Retry(attempts=None, backoff=4, factor=1, jitter=None, deadline=10)
    with pytest.raises(ValueError, match="failure 3") as e:
        retry.call(fn)
    assert virtual.elapsed == 8, "it does not sleep in vain"
    assert "the next attempt would have begun after 10.0 s" in notes(e.value)
    assert "attempt 1: ValueError: failure 1" in notes(e.value)

    def slow():
        gmpx.sleep(30)
        raise KeyError("took long")

    with pytest.raises(KeyError):
        retry.call(slow)
    assert virtual.elapsed == 38, "what runs is not interrupted"


def test_a_deadline_starts_anew_with_each_call(virtual):
    retry = Retry(attempts=2, backoff=4, jitter=None, deadline=5)
    for _ in range(5):
        retry.call(Flaky(1))
    assert virtual.elapsed == 20


def test_as_a_decorator(virtual):
    @Retry(attempts=2)
    def ask(x):
        """Asks."""
        calls.append(x)
        if len(calls) < 2:
            raise ValueError
        return x

    calls = []
    assert ask("a") == "a" and calls == ["a", "a"]
    assert (ask.__name__, ask.__doc__) == ("ask", "Asks.")


def test_as_a_loop_of_blocks(virtual):
    numbers = []
    for attempt in Retry(attempts=5, backoff=2, jitter=None):
        with attempt:
            numbers.append(attempt.number)
            if attempt.number < 3:
                raise ValueError
    assert numbers == [1, 2, 3] and virtual.elapsed == 6
    with pytest.raises(ValueError) as e:
        for attempt in Retry(attempts=2):
            with attempt:
                raise ValueError(attempt.number)
    assert e.value.args == (2,) and "attempt 1: ValueError: 1" in notes(e.value)
    for attempt in Retry():
        with attempt:
            break
    assert attempt.number == 1


def test_one_retry_serves_many_at_once(virtual):
    retry = Retry(attempts=3, backoff=1, jitter=None)
    fns = [Flaky(i % 4) for i in range(40)]
    gs = [gmpx.go(retry.call, fn, i) for i, fn in enumerate(fns)]
    for i, g in enumerate(gs):
        if i % 4 == 3:
            assert type(g.exception()) is ValueError
        else:
            assert g.result() == ((i,), {})
    assert [len(fn.at) for fn in fns] == [1, 2, 3, 3] * 10


@pytest.mark.parametrize(
    ("options", "exc", "text"),
    [
        ({"attempts": 0}, ValueError, "attempts must be at least 1"),
        ({"attempts": 1.5}, TypeError, "attempts must be an int"),
        ({"attempts": True}, TypeError, "attempts must be an int"),
        ({"on": KeyboardInterrupt}, TypeError, "only an Exception is tried again"),
        ({"on": BaseException}, TypeError, "only an Exception is tried again"),
        ({"on": (ValueError, gmpx.Cancelled)}, TypeError, "only an Exception is tried again"),
        ({"on": "ValueError"}, TypeError, "on must be"),
        ({"on": (ValueError, 1)}, TypeError, "on must be"),
        ({"backoff": -1}, ValueError, "backoff"),
        ({"backoff": math.nan}, ValueError, "backoff"),
        ({"backoff": math.inf}, ValueError, "backoff must be a finite number"),
        ({"backoff": None}, TypeError, "backoff must be a number of seconds, not NoneType"),
        ({"most": None}, TypeError, "most must be a number of seconds, not NoneType"),
        ({"backoff": "1"}, TypeError, "backoff must be a number of seconds, not str"),
        ({"factor": "2"}, TypeError, "factor must be a number, not str"),
        ({"factor": 0.5}, ValueError, "factor must be at least 1"),
        ({"most": -1}, ValueError, "most"),
        ({"jitter": "half"}, ValueError, "jitter must be"),
        ({"jitter": 1.5}, ValueError, "jitter must be from 0 to 1"),
        ({"jitter": math.nan}, ValueError, "jitter must be from 0 to 1"),
        ({"random": 5}, TypeError, "random must be a random.Random"),
        ({"after": 5}, TypeError, "after must be callable"),
        ({"deadline": -1}, ValueError, "deadline"),
    ],
)
def test_bad_input(options, exc, text):
    with pytest.raises(exc, match=text):
        Retry(**options)


def test_bad_functions():
    with pytest.raises(TypeError, match="fn must be callable"):
        Retry()(5)
    with pytest.raises(TypeError, match="fn must be callable, not NoneType"):
        Retry().call(None)


def test_functions_whose_call_does_not_run_them():
    async def coroutine():
        pass

    def generator():
        yield

    for fn in (coroutine, generator):
        for use in (Retry(), Retry().call):
            with pytest.raises(TypeError, match="fn must be a plain function"):
                use(fn)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tracebacks show notes since 3.11")
def test_the_note_is_in_the_traceback(virtual):
    import traceback

    try:
        Retry(attempts=2).call(Flaky(5))
    except ValueError as e:
        text = "".join(traceback.format_exception(e))
    assert text.endswith("ValueError: failure 2\nattempt 2 of 2\n  attempt 1: ValueError: failure 1\n")
