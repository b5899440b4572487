"""Exceptions that nobody reads: who hears of them, once, and what the hook may do."""

import gc
import re
import sys
import traceback

import pytest

import gmpx


def boom(text="boom"):
    raise ValueError(text)



def test_a_handle_that_was_never_kept_reports(hook, until):
    gmpx.go(boom, "lost")
    until(lambda: hook)
    (g, exc), = hook
    assert exc.args == ("lost",) and g.name == "boom" and g.id > 1 and g.done()
    assert [f.name for f in traceback.extract_tb(exc.__traceback__)][-1] == "boom"


def test_a_handle_dropped_unread_reports_once(hook):
    g = gmpx.go(boom)
    goid = g.id
    g.join()
    assert hook == [], "join is not reading, and the handle is there"
    del g
    gc.collect()
    assert [(h.id, str(e)) for h, e in hook] == [(goid, "boom")]


def test_a_name_shows_in_the_report_of_a_dropped_handle(hook):
    g = gmpx.spawn(boom, name="named")
    g.join()
    del g
    assert hook[0][0].name == "named"


@pytest.mark.parametrize("keep", [True, False])
def test_an_unread_system_exit_is_silent(hook, keep, until, capsys):
    ended = []

    def body():
        ended.append(1)
        raise SystemExit(1)

    g = gmpx.go(body)
    if keep:
        g.join()
    del g
    until(lambda: ended)
    gmpx.gosched()
    assert hook == [] and capsys.readouterr().err == ""


def test_an_unread_keyboard_interrupt_is_reported(hook, until):
    def body():
        raise KeyboardInterrupt

    gmpx.go(body)
    until(lambda: hook)
    assert type(hook[0][1]) is KeyboardInterrupt


def test_the_default_hook_prints_number_name_and_traceback(capsys):
    g = gmpx.spawn(boom, name="printer")
    goid = g.id
    g.join()
    del g
    err = capsys.readouterr().err
    assert err.startswith(f"goroutine {goid} [printer]:\nTraceback (most recent call last):\n")
    assert re.search(r'line \d+, in boom\n', err)
    assert err.endswith("ValueError: boom\n")


def test_a_hook_that_raises_hides_nothing_and_hurts_nobody(monkeypatch, capsys):
    def bad_hook(g, exc):
        raise LookupError("in the hook")

    monkeypatch.setattr(gmpx, "excepthook", bad_hook)
    g = gmpx.go(boom, "the first")
    g.join()
    del g
    err = capsys.readouterr().err
    assert "LookupError: in the hook" in err and "ValueError: the first" in err
    assert gmpx.go(lambda: 1).result() == 1


@pytest.mark.parametrize("bad", [None, 5])
def test_a_hook_that_is_no_function_hurts_nobody(monkeypatch, capsys, bad):
    monkeypatch.setattr(gmpx, "excepthook", bad)
    g = gmpx.go(boom, "still told")
    g.join()
    del g
    assert "ValueError: still told" in capsys.readouterr().err
    assert gmpx.go(lambda: 1).result() == 1


def test_a_hook_that_waits_hurts_nobody(monkeypatch, capsys, until):
    called = []

    def parking_hook(g, exc):
        called.append(exc)
        gmpx.Chan().recv(0.01)  # an error of one kind or another

    monkeypatch.setattr(gmpx, "excepthook", parking_hook)

    def body():
        boom()

    gmpx.go(body)
    until(lambda: called)
    assert gmpx.go(lambda: 1).result(5) == 1


def test_a_reader_that_comes_while_the_goroutine_runs_counts(hook, parked):
    c = gmpx.Chan()

    def body():
        c.recv()
        boom()

    g = gmpx.go(body)
    reader = gmpx.go(g.exception)
    parked(g, reader)
    del g
    c.send(None)
    assert type(reader.result()) is ValueError
    del reader
    gc.collect()
    assert hook == []


def test_closed_stderr_hurts_nobody(monkeypatch):
    for stderr in (None, open("/dev/null")):
        monkeypatch.setattr(sys, "stderr", stderr)
        g = gmpx.go(boom)
        g.join()
        del g
    monkeypatch.undo()
    assert gmpx.go(lambda: 1).result() == 1
