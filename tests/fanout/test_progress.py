"""progress=: what is told, when, and to whom."""

import io
import sys

import pytest

import gmpx
from gmpx import Limiter, Progress, Retry


def fail_some(i):
    gmpx.sleep(1)
    if i % 3 == 0:
        raise KeyError(i)
    return i


def lazy(fn, *iterables, **options):
    return list(gmpx.imap(fn, *iterables, **options))


fans = pytest.mark.parametrize("fan", [gmpx.map, lazy])


@fans
@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("make", [list, iter])
def test_a_function_is_called_with_how_far_it_is(virtual, fan, limit, make):
    told = []
    fan(fail_some, make(range(6)), limit=limit, on_error="return", progress=told.append)
    assert all(isinstance(p, Progress) for p in told)
    assert told[0].done == 0
    last = told[-1]
    assert (last.done, last.failed, last.in_flight) == (6, 2, 0)
    assert last.total == (6 if make is list else None)
    assert last.elapsed == virtual.elapsed == 6 / limit
    assert last.rate == pytest.approx(limit)
    half = next(p for p in told if p.done == 3 or p.done == 4)
    assert half.in_flight <= limit
    assert half.eta == (pytest.approx((6 - half.done) / half.rate) if make is list else None)


@fans
def test_ten_times_a_second_at_most(virtual, fan):
    told = []
    fan(lambda i: gmpx.sleep(0.001), range(5000), limit=5, progress=told.append)
    assert 10 <= len(told) <= 13
    assert all(b.elapsed - a.elapsed >= 0.0999 for a, b in zip(told[:-1], told[1:-1]))
    assert told[-1].done == 5000


def test_what_ends_just_after_a_report_is_reported_before_long(virtual):
    told = []
    gmpx.map(gmpx.sleep, [1, 1.01, 1.02, 100], progress=told.append)
    assert [p.done for p in told] == [0, 1, 3, 4]
    assert [p.elapsed for p in told] == pytest.approx([0, 1, 1.1, 100], abs=0.002)


def test_a_map_that_stands_wakes_nobody_for_its_progress(virtual):
    c = gmpx.Chan()
    with pytest.raises(gmpx.DeadlockError):
        gmpx.map(lambda i: i and c.recv(), range(3), progress=lambda p: None)


@fans
@pytest.mark.parametrize("options", [{}, {"limit": 2}, {"budget": (abs, 5)}, {"rate": Limiter(10)}])
def test_what_it_raises_ends_the_map(virtual, fan, options):
    def show(progress):
        if progress.done:
            raise LookupError("the bar broke")

    with pytest.raises(LookupError, match="the bar broke"):
        fan(lambda i: gmpx.sleep(i * 10), range(10), progress=show, **options)
    assert gmpx.num_goroutine() == 1


@fans
def test_it_is_called_by_the_goroutine_that_reads(virtual, fan):
    me = gmpx.current()
    fan(lambda i: gmpx.sleep(1), range(5), limit=2, progress=lambda p: me is gmpx.current() or 1 / 0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@fans
def test_true_on_a_terminal_is_one_line(virtual, fan, monkeypatch):
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    fan(fail_some, range(6), limit=2, on_error="return", progress=True)
    text = out.getvalue()
    assert text.startswith("\r0/6 done, 0 failed, 0 in flight, 0/s, 0:00 gone")
    assert text.endswith("\n") and text.count("\n") == 1
    assert text.rsplit("\r", 1)[1].strip() == "6/6 done, 2 failed, 0 in flight, 2/s, 0:03"
    assert "\x1b" not in text
    out.truncate(0)
    with pytest.raises(KeyError):
        fan(fail_some, range(6), limit=2, progress=True)
    assert out.getvalue().endswith("\n")


@fans
def test_true_elsewhere_is_a_line_now_and_then(virtual, fan, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    fan(lambda i: gmpx.sleep(1), range(12), limit=1, progress=True)
    lines = out.getvalue().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["5/12", "10/12", "12/12"]
    assert lines[0] == "5/12 done, 0 failed, 1 in flight, 1/s, 0:05 gone, 0:07 left" or fan is lazy
    monkeypatch.setattr(sys, "stderr", None)
    fan(lambda i: i, range(12), progress=True)


class Tqdm:
    """As much of tqdm.tqdm as it takes."""

    def __init__(self, total=None):
        self.total, self.n = total, 0

    def update(self, n=1):
        self.n += n


class Rich:
    """As much of rich.progress.Progress as it takes."""

    def __init__(self):
        self.tasks, self.completed = [], {}

    def add_task(self, description, total=None):
        self.tasks.append((description, total))
        return len(self.tasks) - 1

    def update(self, task, *, completed):
        self.completed[task] = completed


@fans
def test_a_tqdm(virtual, fan):
    bar = Tqdm()
    fan(fail_some, range(1, 3), progress=bar)
    assert (bar.n, bar.total) == (2, 2)
    bar = Tqdm(total=10)
    fan(fail_some, iter(range(1, 3)), progress=bar)
    fan(fail_some, range(1, 3), progress=bar)
    assert (bar.n, bar.total) == (4, 10), "one bar for several"


@fans
def test_a_rich_progress(virtual, fan):
    bars = Rich()
    fan(fail_some, range(1, 3), progress=bars)
    fan(fail_some, iter(range(1, 3)), progress=bars, retry=Retry())
    assert bars.tasks == [("fail_some", 2), ("fail_some", None)] and bars.completed == {0: 2, 1: 2}


@fans
def test_the_real_ones(fan):
    tqdm = pytest.importorskip("tqdm")
    with tqdm.tqdm(file=io.StringIO()) as bar:
        fan(abs, range(20), progress=bar)
        assert bar.n == 20
    rich = pytest.importorskip("rich.progress")
    console = pytest.importorskip("rich.console").Console(file=io.StringIO())
    with rich.Progress(console=console) as bars:
        fan(abs, range(20), progress=bars)
        assert bars.tasks[0].completed == 20 and bars.tasks[0].total == 20


def test_the_text():
    text = str(Progress(5, 1, 2, 3605, 5.0))
    assert text == "5/3605 done, 1 failed, 2 in flight, 1/s, 0:05 gone, 1:00:00 left"
    assert str(Progress(5, 0, 2, None, 90.0)) == "5 done, 0 failed, 2 in flight, 0.0556/s, 1:30 gone"
    assert Progress(0, 0, 0, 5, 0.0).eta is None and Progress(0, 0, 0, 5, 0.0).rate == 0


@fans
def test_false_and_none_are_no_progress(virtual, fan, capsys):
    fan(abs, range(5), progress=False)
    fan(abs, range(5), progress=None, with_input=True)
    assert capsys.readouterr() == ("", "")


@fans
def test_a_class_is_refused(fan):
    class Bar:
        total = None

        def update(self, n):
            pass

    with pytest.raises(TypeError, match=r"progress must be an instance, Bar\(...\), not the class"):
        fan(abs, [1], progress=Bar)
