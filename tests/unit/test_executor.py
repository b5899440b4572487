"""Executor and its futures: outcomes, limits, cancelling, callbacks, and who else waits for them."""

import asyncio
import concurrent.futures as cf
import contextvars
import gc
import logging
import os
import random
import subprocess
import sys
import threading
import weakref

import pytest

import gmpx
from gmpx import Chan, Executor, Future

PATIENCE = 20


def boom(text="boom"):
    raise ValueError(text)


@pytest.fixture
def executor():
    with Executor() as executor:
        yield executor


@pytest.fixture(params=[None, 1, 3])
def any_executor(request):
    with Executor(request.param) as executor:
        yield executor


# ---- outcomes --------------------------------------------------------------------------------


def test_a_call_and_its_value(any_executor):
    f = any_executor.submit(pow, 2, exp=5)
    assert isinstance(f, cf.Future)
    assert f.result(PATIENCE) == 32 and f.exception() is None
    assert f.done() and not f.cancelled() and not f.running()
    assert "finished returned int" in repr(f)


def test_what_it_raises_comes_with_its_traceback(any_executor):
    f = any_executor.submit(boom)
    with pytest.raises(ValueError, match="boom") as info:
        f.result(PATIENCE)
    assert info.traceback[-1].name == "boom"
    assert f.exception() is info.value
    assert "raised" in repr(f)


def test_states_on_the_way(any_executor, parked):
    c = Chan()
    f = any_executor.submit(c.recv)
    c.send(1)
    assert f.result(PATIENCE) == 1
    f = any_executor.submit(c.recv)
    with pytest.raises(TimeoutError):
        f.result(0.001)
    with pytest.raises(cf.TimeoutError):
        f.exception(-1)
    assert f.running() and not f.done() and not f.cancel()
    assert "running" in repr(f)
    c.send(2)
    assert f.result(PATIENCE) == 2


def test_a_goroutine_that_is_cancelled_is_a_cancelled_future(executor):
    def body():
        raise gmpx.Cancelled

    f = executor.submit(body)
    with pytest.raises(cf.CancelledError):
        f.result(PATIENCE)
    with pytest.raises(cf.CancelledError):
        f.exception()
    assert f.cancelled() and f.done()


def test_who_waits_is_cancelled_without_it(executor, parked):
    c = Chan()
    f = executor.submit(c.recv)
    g = gmpx.go(f.result)
    parked(g)
    g.cancel()
    assert isinstance(g.exception(), gmpx.Cancelled)
    c.send(1)
    assert f.result(PATIENCE) == 1


def test_it_cannot_be_set_from_outside(executor):
    f = executor.submit(int)
    for call in (lambda: f.set_result(1), lambda: f.set_exception(None), f.set_running_or_notify_cancel):
        with pytest.raises(cf.InvalidStateError):
            call()
    with pytest.raises(TypeError):
        type(f)()


def test_the_context_is_that_of_submit():
    var = contextvars.ContextVar("var", default=0)
    with Executor(1) as executor:
        c = Chan()
        first = executor.submit(c.recv)
        fs = []
        for i in range(5):
            var.set(i)
            fs.append(executor.submit(var.get))
        c.send(None)
        assert [f.result(PATIENCE) for f in fs] == list(range(5))
        first.result()


def test_an_unread_failure_goes_to_excepthook(hook):
    with Executor() as executor:
        f = executor.submit(boom, "unread")
        read = executor.submit(boom, "read")
        cf.wait([f, read])
        read.exception()
    del f, read
    gc.collect()
    assert [str(e) for _, e in hook] == ["unread"]


def test_values_are_not_kept():
    class Thing:
        pass

    with Executor() as executor:
        f = executor.submit(Thing)
        ref = weakref.ref(f.result())
        assert ref() is not None
        del f
        gc.collect()
        assert ref() is None


# ---- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_no_more_run_than_the_limit(limit):
    running, most = [0], [0]

    def body(i):
        running[0] += 1
        most[0] = max(most[0], running[0])
        gmpx.sleep(0.0005 * (i % 3))
        running[0] -= 1
        return i

    with Executor(limit) as executor:
        fs = [executor.submit(body, i) for i in range(200)]
        for f in fs[::2]:
            f.add_done_callback(Future.result)  # does not count
        assert [f.result(PATIENCE) for f in fs] == list(range(200))
    assert most[0] <= limit


def test_those_that_wait_start_in_order():
    with Executor(1) as executor:
        order = []
        fs = [executor.submit(order.append, i) for i in range(500)]
        cf.wait(fs)
    assert order == list(range(500))


def test_one_that_is_waited_for_while_it_waits(parked):
    with Executor(1) as executor:
        c = Chan()
        first = executor.submit(c.recv)
        second = executor.submit(pow, 2, 3)
        g = gmpx.go(second.result)
        parked(g)
        with pytest.raises(TimeoutError):
            second.result(0.001)
        c.send(1)
        assert g.result(PATIENCE) == 8 and first.result() == 1


def test_submitted_by_many_threads():
    done = []

    def thread(n):
        rnd = random.Random(n)
        fs = []
        for i in range(300):
            fs.append(executor.submit(done.append, (n, i)))
            if rnd.random() < 0.05:
                fs[rnd.randrange(len(fs))].result(PATIENCE)
        for f in fs:
            f.result(PATIENCE)

    for limit in (None, 2):
        with Executor(limit) as executor:
            threads = [threading.Thread(target=thread, args=(n,)) for n in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                while t.is_alive():  # goroutines go on meanwhile
                    gmpx.gosched()
                    t.join(0.001)
        assert sorted(done) == [(n, i) for n in range(4) for i in range(300)]
        done.clear()


# ---- cancelling --------------------------------------------------------------------------------


def test_cancel_while_it_waits(parked):
    with Executor(1) as executor:
        c = Chan()
        first = executor.submit(c.recv)
        fs = [executor.submit(int) for _ in range(3)]
        called = []
        fs[1].add_done_callback(called.append)
        g = gmpx.go(fs[1].exception)
        parked(g)
        assert fs[1].cancel() and fs[1].cancelled() and fs[1].done() and called == [fs[1]]
        assert isinstance(g.exception(PATIENCE), cf.CancelledError)
        c.send(None)
        assert [f.result(PATIENCE) for f in (fs[0], fs[2])] == [0, 0]
        first.result()


def test_what_a_callback_raises_in_the_canceller(parked, caplog):
    """An Exception is logged; what ends more than the callback goes on from cancel. Nothing waits for it for ever."""
    with Executor(1) as executor:
        c = Chan()
        first = executor.submit(c.recv)
        fs = [executor.submit(int) for _ in range(2)]
        fs[0].add_done_callback(lambda f: boom("in a callback"))
        fs[1].add_done_callback(lambda f: gmpx.Chan().recv())
        assert fs[0].cancel() and "in a callback" in caplog.text
        g = gmpx.go(fs[1].cancel)
        parked(g)
        g.cancel()
        with pytest.raises(gmpx.Cancelled):
            g.result(PATIENCE)
        assert fs[1].cancelled()
        c.send(None)
        executor._tasks().wait(PATIENCE)
        assert first.done()


def test_a_cancelled_future_keeps_no_arguments():
    class Argument:
        pass

    with Executor(1) as executor:
        c = Chan()
        executor.submit(c.recv)
        argument = Argument()
        there = weakref.ref(argument)
        f = executor.submit(print, argument, end=argument)
        del argument
        assert there() is not None
        assert f.cancel() and there() is None
        c.send(None)


@pytest.mark.in_order
def test_cancel_before_it_begins(executor):
    ran = []
    f = executor.submit(ran.append, 1)
    assert f.cancel() and f.cancelled() and f.done()
    with pytest.raises(cf.CancelledError):
        f.result()
    gmpx.gosched()
    assert ran == [] and f.cancelled()


@pytest.mark.in_order
@pytest.mark.parametrize("limit", [None, 1])
def test_shutdown_cancels_what_has_not_begun(limit, parked):
    executor = Executor(limit)
    c = Chan()
    first = executor.submit(c.recv)
    gmpx.gosched()
    fs = [executor.submit(int) for _ in range(100)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(f.cancelled() for f in fs)
    c.send("v")
    executor.shutdown()
    assert first.result() == "v"


def test_nothing_is_taken_after_shutdown():
    executor = Executor()
    f = executor.submit(int)
    executor.shutdown(wait=False)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(int)
    assert f.result(PATIENCE) == 0
    executor.shutdown()


# ---- callbacks ---------------------------------------------------------------------------------


def test_callbacks_run_in_order_and_may_park(any_executor, caplog):
    seen = []

    def park(f):
        gmpx.sleep(0.001)
        seen.append(("parked", f.result()))

    c = Chan()
    f = any_executor.submit(c.recv)
    f.add_done_callback(park)
    f.add_done_callback(lambda f: boom("in a callback"))
    f.add_done_callback(lambda f: seen.append(f))
    with caplog.at_level(logging.ERROR):
        c.send(7)
        any_executor.shutdown()
    assert seen == [("parked", 7), f]
    assert "exception calling callback" in caplog.text and "in a callback" in caplog.text
    f.add_done_callback(lambda f: seen.append("at once"))
    assert seen[-1] == "at once"


# ---- map ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffersize", [None, 1, 3])
def test_map(any_executor, buffersize):
    assert list(any_executor.map(pow, range(10), range(10, 20), buffersize=buffersize)) == [
        i**n for i, n in zip(range(10), range(10, 20))
    ]
    values = any_executor.map(lambda i: 1 // (3 - i), range(10), buffersize=buffersize)
    assert [next(values) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(values)
    with pytest.raises(StopIteration):
        next(values)


def test_map_reads_no_further_than_its_buffer(executor):
    read = []

    def inputs():
        for i in range(100):
            read.append(i)
            yield i

    values = executor.map(abs, inputs(), buffersize=4)
    assert len(read) == 4
    for n in range(10):
        assert next(values) == n
        assert len(read) == 5 + n
    values.close()


def test_map_in_time(executor):
    c = Chan()
    values = executor.map(lambda i: c.recv() if i else i, range(2), timeout=0.01)
    assert next(values) == 0
    with pytest.raises(TimeoutError):
        next(values)
    c.send(1)
    for bad in (0, -1):
        with pytest.raises(ValueError):
            executor.map(int, [1], buffersize=bad)
    with pytest.raises(TypeError):
        executor.map(int, [1], buffersize="1")


def test_map_that_is_given_up(hook):
    c = Chan()
    with Executor(1) as executor:
        values = executor.map(lambda i: c.recv() if i else i, range(5))
        assert next(values) == 0
        values.close()
        c.close()
    gc.collect()
    assert [type(e) for _, e in hook] == [], "who has given it up does not want to know"


# ---- who else waits ----------------------------------------------------------------------------


@pytest.mark.parametrize("when", [cf.ALL_COMPLETED, cf.FIRST_COMPLETED, cf.FIRST_EXCEPTION])
@pytest.mark.parametrize("wait", [cf.wait, gmpx.wait])
def test_wait(any_executor, when, wait):
    fs = [any_executor.submit(gmpx.sleep, 0.001 * (i % 3)) for i in range(20)]
    done, not_done = wait(fs, return_when=when, timeout=PATIENCE)
    assert len(done) + len(not_done) == 20 and len(done) >= (1 if when == cf.FIRST_COMPLETED else 20)
    fs.append(any_executor.submit(boom))
    done, not_done = wait(fs, return_when=cf.FIRST_EXCEPTION, timeout=PATIENCE)
    assert fs[-1] in done and str(fs[-1].exception()) == "boom"
    assert wait(fs).not_done == set()
    c = Chan()
    f = any_executor.submit(c.recv)
    assert wait([f], timeout=0.001).not_done == {f}
    c.send(1)
    assert wait([f]).done == {f}


@pytest.mark.parametrize("as_completed", [cf.as_completed, gmpx.as_completed])
def test_as_completed(any_executor, as_completed):
    fs = {any_executor.submit(gmpx.sleep, 0.001 * (i % 5)) for i in range(20)}
    assert set(as_completed(fs, timeout=PATIENCE)) == fs
    c = Chan()
    f = any_executor.submit(c.recv)
    with pytest.raises((TimeoutError, cf.TimeoutError)):  # before 3.11 its own
        list(as_completed([f], timeout=0.001))
    c.send(1)
    assert list(as_completed([f])) == [f]


def test_concurrent_futures_waits_for_all_kinds_at_once(executor):
    with cf.ThreadPoolExecutor(2) as threads:
        event = threading.Event()
        a, b = executor.submit(gmpx.sleep, 0.001), threads.submit(event.wait, PATIENCE)
        executor.submit(event.set)
        assert cf.wait([a, b], timeout=PATIENCE).not_done == set()
        c = gmpx.go(int)
        assert gmpx.wait([a, b, c]).not_done == set()
        assert set(gmpx.as_completed([a, b, c])) == {a, b, c}
        assert gmpx.gather(a, b, c) == [None, True, 0]


def test_gather(executor):
    fs = [executor.submit(pow, 2, n) for n in range(4)]
    bad = executor.submit(boom)
    assert gmpx.gather(*fs) == [1, 2, 4, 8]
    with pytest.raises(ValueError):
        gmpx.gather(*fs, bad)
    assert gmpx.gather(*fs, bad, return_exceptions=True) == [1, 2, 4, 8, bad.exception()]


def test_select(executor, in_thread):
    c, d = Chan(), Chan()
    f = executor.submit(c.recv)
    assert gmpx.select(f, d, block=False) == (-1, None, False)
    with pytest.raises(TimeoutError):
        gmpx.select(d, f, timeout=0.001)
    gmpx.go(d.send, 1)
    assert gmpx.select(f, d) == (1, 1, True)
    gmpx.go(c.send, "v")
    assert gmpx.select(d, f) == (1, f, True) and f.result() == "v"
    assert gmpx.select(d, f, None) == (1, f, True)
    foreign = cf.Future()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            gmpx.select(d, foreign, timeout=0.001)
    assert foreign._done_callbacks == [], "a case that was not chosen leaves nothing there"
    in_thread(foreign.set_result, 1)
    assert gmpx.select(d, foreign) == (1, foreign, True)


def test_goroutines_are_no_futures():
    g = gmpx.go(int)
    for wait in (cf.wait, lambda gs: list(cf.as_completed(gs))):
        with pytest.raises(TypeError, match="gmpx.wait"):
            wait([g])
    g.join()


@pytest.mark.parametrize("limit", [None, 2])
def test_asyncio_runs_in_it(limit):
    async def main():
        loop = asyncio.get_running_loop()
        many = [loop.run_in_executor(executor, pow, 2, n) for n in range(50)]
        assert await asyncio.gather(*many) == [2**n for n in range(50)]
        with pytest.raises(ValueError):
            await loop.run_in_executor(executor, boom)
        assert await asyncio.wrap_future(executor.submit(int, "7")) == 7

    with Executor(limit) as executor:
        asyncio.run(main())


# ---- being made --------------------------------------------------------------------------------


def test_the_initializer_is_called_once():
    calls = []
    with Executor(max_workers=2, initializer=calls.append, initargs=(1,)) as executor:
        assert calls == []
        assert list(executor.map(abs, range(5))) == list(range(5))
    assert calls == [1]


def test_an_initializer_that_fails(caplog):
    with Executor(initializer=boom) as executor:
        for _ in range(2):
            with pytest.raises(cf.BrokenExecutor):
                executor.submit(int)
    assert "Exception in initializer" in caplog.text


def test_no_call_begins_before_the_initializer_has_ended(parked, in_thread):
    c, calls = Chan(), []

    def initializer():
        executor.submit(calls.append, "its own").result()
        calls.append(c.recv())

    with Executor(initializer=initializer) as executor:
        g = gmpx.go(executor.submit, calls.append, 1)
        parked(g)
        h = gmpx.go(executor.submit, calls.append, 2)
        parked(h)
        t = in_thread(executor.submit, calls.append, 3)
        c.send("ready")
        for future in (g.result(PATIENCE), h.result(PATIENCE), t.value()):
            future.result(PATIENCE)
    assert calls[:2] == ["its own", "ready"] and sorted(calls[2:]) == [1, 2, 3]


def test_an_initializer_that_is_interrupted(parked, caplog):
    c = Chan()
    with Executor(initializer=c.recv) as executor:
        g = gmpx.go(executor.submit, int)
        parked(g)
        h = gmpx.go(executor.submit, int)
        parked(h)
        g.cancel()
        for wait in (g.result, h.result, lambda _: executor.submit(int)):
            with pytest.raises((gmpx.Cancelled, cf.BrokenExecutor)):
                wait(PATIENCE)
    assert "Exception in initializer" in caplog.text


def test_shutdown_while_the_initializer_runs(parked):
    c = Chan()
    executor = Executor(initializer=c.recv)
    g = gmpx.go(executor.submit, int)
    parked(g)
    executor.shutdown()
    c.send(None)
    with pytest.raises(RuntimeError, match="after shutdown"):
        g.result(PATIENCE)


def test_names_and_repr():
    with Executor(2, name="crawl") as executor:
        assert repr(executor) == "<Executor crawl running=0 waiting=0 limit=2>"
        assert {executor.submit(lambda: gmpx.current().name).result() for _ in range(5)} == {"crawl"}
        assert executor._max_workers == 2
    assert "shut down" in repr(executor)


@pytest.mark.parametrize(
    "arguments, error",
    [({"limit": 0}, ValueError), ({"limit": "x"}, TypeError), ({"max_workers": -1}, ValueError),
     ({"limit": 1, "max_workers": 1}, TypeError), ({"initializer": 3}, TypeError)],
)
def test_bad_input(arguments, error):
    with pytest.raises(error):
        Executor(**arguments)
    with Executor() as executor:
        for bad in ((), (3,), (None, 1)):
            with pytest.raises(TypeError):
                executor.submit(*bad)


def test_a_subclass_that_forgets_init():
    class Mine(Executor):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="__init__"):
        Mine().submit(int)


# ---- the program's end, fork -------------------------------------------------------------------


def script(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_the_program_waits_for_dropped_executors():
    code = """
import gmpx
def call(n):
    gmpx.sleep(0.01)
    print(n, flush=True)
executor = gmpx.Executor(1)
for n in range(3):
    executor.submit(call, n)
del executor
"""
    done = script(code)
    assert (done.stdout, done.stderr) == ("0\n1\n2\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork():
    """In the child calls of the parent's have failed, are shown so, and the executor takes new ones."""
    code = """
import os, warnings, gmpx
warnings.simplefilter("ignore")
executor, free = gmpx.Executor(1), gmpx.Executor()
c, d = gmpx.Chan(), gmpx.Chan()
fs = [executor.submit(c.recv), executor.submit(int), executor.submit(int)]
fs[1].add_done_callback(lambda f: print(type(f.exception()).__name__))
ended = free.submit(int)
ended.add_done_callback(lambda f: d.recv())
ended.result(30)
while gmpx.num_goroutine() < 3 or any(g.status != "waiting" for g in gmpx.goroutines()[1:]):
    gmpx.gosched()
pid = os.fork()
if pid == 0:
    for f in fs:
        assert f.done() and "raised" in repr(f), f
        assert type(f.exception()) is RuntimeError and "fork" in str(f.exception())
    assert gmpx.wait(fs, 30, gmpx.FIRST_EXCEPTION).done == set(fs)
    assert executor.submit(int).result(30) == 0 and ended.result() == 0
    executor.shutdown()
    free.shutdown()
    print("child", flush=True)
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
c.send(None)
d.send(None)
assert [f.result(30) for f in fs] == [None, 0, 0]
"""
    done = script(code)
    assert (done.stdout, done.stderr) == ("RuntimeError\nchild\nNoneType\n", "")
    assert done.returncode == 0


def test_map_refuses_async_functions(executor):
    async def later(n):
        return n

    with pytest.raises(TypeError, match="fn must be a plain function.*async def"):
        executor.map(later, [1])
