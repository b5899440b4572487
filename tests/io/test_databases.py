"""gmpx.patch's group "psycopg", on stand-ins for the libraries: tests/libraries has the real ones."""

import importlib
import select
import socket
import sys
import types

import pytest

import gmpx
import gmpx.patch

LIBRARIES = "psycopg", "psycopg_pool", "psycopg2"
WAITING = '''
def wait_c(gen, fileno): return "C"
def wait_poll(gen, fileno): return "Python"
def wait_select(gen, fileno): return "Python"
wait = wait_c
'''
CONNECTION = '''
from . import waiting
_INTERRUPTED = (OSError, KeyboardInterrupt)
'''
EXTENSIONS = '''
POLL_OK, POLL_READ, POLL_WRITE = range(3)
callback = None

def set_wait_callback(f):
    global callback
    callback = f

def get_wait_callback():
    return callback
'''


@pytest.fixture(autouse=True)
def libraries(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.partition(".")[0] in LIBRARIES:
            monkeypatch.delitem(sys.modules, name)
    for package, modules in {
        "psycopg": {"__init__": "from . import connection", "waiting": WAITING, "connection": CONNECTION},
        "psycopg_pool": {"__init__": "from . import pool", "pool": "CLIENT_EXCEPTIONS = Exception"},
        "psycopg2": {"__init__": "from . import extensions", "extensions": EXTENSIONS},
    }.items():
        (tmp_path / package).mkdir()
        for name, text in modules.items():
            (tmp_path / package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    yield
    gmpx.patch.undo()
    assert sys.meta_path == before
    for name in list(sys.modules):
        if name.partition(".")[0] in LIBRARIES:
            del sys.modules[name]


def libraries_wait():
    """What waits in psycopg 3 and psycopg2."""
    psycopg, psycopg2 = (importlib.import_module(name) for name in ("psycopg", "psycopg2"))
    callback = psycopg2.extensions.get_wait_callback()
    interrupts = gmpx.Cancelled in psycopg.connection._INTERRUPTED
    return psycopg.connection.waiting.wait(None, 0), interrupts, callback and callback.__module__


PLAIN, OURS = ("C", False, None), ("Python", True, "gmpx.patch.databases")


def test_imported_before():
    assert libraries_wait() == PLAIN
    gmpx.patch.psycopg()
    gmpx.patch.psycopg()
    assert libraries_wait() == OURS
    assert gmpx.patch.is_patched("psycopg.waiting.wait") and gmpx.patch.is_patched("select")
    gmpx.patch.undo("psycopg")
    assert libraries_wait() == PLAIN


def test_imported_afterwards():
    gmpx.patch.psycopg()
    assert "psycopg" not in sys.modules and "psycopg2" not in sys.modules
    assert not gmpx.patch.is_patched("psycopg.waiting.wait")
    assert "psycopg.waiting.wait (once it is imported)" in gmpx.patch.report()
    assert libraries_wait() == OURS
    assert gmpx.patch.is_patched("psycopg.waiting.wait")
    gmpx.patch.undo("select")  # what stands on it goes along
    assert not gmpx.patch.is_patched("psycopg")
    assert libraries_wait() == PLAIN


def test_undone_before_it_is_imported():
    gmpx.patch.psycopg()
    gmpx.patch.undo()
    assert libraries_wait() == PLAIN


def test_without_select_there_is_none():
    gmpx.patch.all(select=False)
    assert not gmpx.patch.is_patched("psycopg")
    assert libraries_wait() == PLAIN


def test_modules_keep_their_loaders():
    gmpx.patch.psycopg()
    waiting = importlib.import_module("psycopg.waiting")
    plain = importlib.import_module("psycopg").__loader__
    assert type(waiting.__loader__) is type(waiting.__spec__.loader) is type(plain)
    assert waiting.__loader__.get_source("psycopg.waiting") == WAITING


def test_imported_anew():
    gmpx.patch.psycopg()
    assert libraries_wait() == OURS
    importlib.reload(sys.modules["psycopg.waiting"])
    assert libraries_wait() == OURS
    del sys.modules["psycopg"], sys.modules["psycopg.waiting"], sys.modules["psycopg.connection"]
    assert libraries_wait() == OURS
    gmpx.patch.undo()
    assert libraries_wait() == PLAIN


def test_an_import_that_fails(tmp_path):
    path = tmp_path / "psycopg" / "waiting.py"
    path.write_text("raise ImportError('no libpq')")
    gmpx.patch.psycopg()
    with pytest.raises(ImportError, match="no libpq"):
        importlib.import_module("psycopg")
    path.write_text(WAITING + "# longer")
    importlib.invalidate_caches()
    assert libraries_wait() == OURS


def test_what_the_program_has_chosen_stays():
    psycopg, psycopg2 = (importlib.import_module(name) for name in ("psycopg", "psycopg2"))
    chosen = psycopg.waiting.wait = psycopg.waiting.wait_select
    psycopg2.extensions.set_wait_callback(print)
    gmpx.patch.psycopg()
    assert "psycopg.waiting.wait (nothing to do)" in gmpx.patch.report()
    gmpx.patch.undo()
    assert psycopg.waiting.wait is chosen
    assert psycopg2.extensions.get_wait_callback() is print


def test_what_others_have_set_since_stays():
    gmpx.patch.psycopg()
    psycopg, psycopg2 = (importlib.import_module(name) for name in ("psycopg", "psycopg2"))
    psycopg.waiting.wait = print
    psycopg2.extensions.set_wait_callback(print)
    with pytest.warns(RuntimeWarning) as warned:
        gmpx.patch.undo()
    assert sorted(str(w.message).split(" has been")[0] for w in warned) == [
        "gmpx.patch: psycopg.waiting.wait", "gmpx.patch: psycopg2's wait callback"]
    assert all(w.filename == __file__ for w in warned)
    assert psycopg.waiting.wait is psycopg2.extensions.get_wait_callback() is print


class Connection:
    """As much of psycopg2's as its callback sees: it wants to write, then to read a byte."""

    OperationalError = OSError

    def __init__(self, sock, states):
        self.sock, self.states = sock, iter(states)

    def fileno(self):
        return self.sock.fileno()

    def poll(self):
        return next(self.states)


@pytest.mark.parametrize("where", ["goroutine", "thread"])
def test_psycopg2_waits(where, parked, in_thread):
    gmpx.patch.psycopg()
    extensions = importlib.import_module("psycopg2.extensions")
    ok, read, write = extensions.POLL_OK, extensions.POLL_READ, extensions.POLL_WRITE
    a, b = socket.socketpair()
    with a, b:
        start = gmpx.go if where == "goroutine" else in_thread
        waits = start(extensions.get_wait_callback(), Connection(a, [write, read, ok]))
        if where == "goroutine":
            parked(waits, reason="IO wait")
        b.send(b"x")
        assert (waits.result(20) if where == "goroutine" else waits.value()) is None
        with pytest.raises(OSError, match="bad state from poll: 7"):
            extensions.get_wait_callback()(Connection(a, [7]))


def test_psycopg2_wait_is_cancelled(parked):
    gmpx.patch.psycopg()
    extensions = importlib.import_module("psycopg2.extensions")
    a, b = socket.socketpair()
    with a, b:
        g = gmpx.go(extensions.get_wait_callback(), Connection(a, [extensions.POLL_READ]))
        parked(g)
        g.cancel()
        with pytest.raises(gmpx.Cancelled):
            g.result(20)


def test_the_pool_of_psycopg():
    gmpx.patch.psycopg()
    pool = importlib.import_module("psycopg_pool").pool
    assert pool.CLIENT_EXCEPTIONS == (Exception, gmpx.Cancelled)
    gmpx.patch.undo()
    assert pool.CLIENT_EXCEPTIONS is Exception


def test_without_poll_it_is_the_one_by_select(monkeypatch):
    monkeypatch.setattr(gmpx.patch.databases, "select", types.SimpleNamespace(select=select.select))
    gmpx.patch.psycopg()
    psycopg = importlib.import_module("psycopg")
    assert psycopg.waiting.wait is psycopg.waiting.wait_select
