"""Import: no thread, no signal handler, no environment needed; what the package exports."""

import os
import subprocess
import sys

import pytest

import gmpx
from gmpx import _core


def run(code):
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_import_starts_no_thread():
    assert run(
        "import os\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "import gmpx, gmpx._core, threading\n"
        "print(len(os.listdir('/proc/self/task')) - before, threading.active_count())"
    ) == "0 1"


def test_import_touches_no_signal_handler():
    assert run(
        "import signal\n"
        "before = [signal.getsignal(s) for s in signal.valid_signals()]\n"
        "import gmpx\n"
        "print(before == [signal.getsignal(s) for s in signal.valid_signals()])"
    ) == "True"


def test_looking_around_starts_no_thread():
    assert run(
        "import gmpx, os, threading\n"
        "gmpx.current(), gmpx.num_goroutine(), gmpx.goroutines(), gmpx.stats()\n"
        "gmpx.Chan(1).send(1)\n"
        "gmpx.gomaxprocs(), gmpx.gosched()\n"
        "print(gmpx.stats()['machines'], threading.active_count())"
    ) == "1 1"


def test_import_in_a_thread_knows_the_main_thread():
    assert run(
        "import threading\n"
        "seen = []\n"
        "def body():\n"
        "    import gmpx\n"
        "    seen.append(gmpx.current().id)\n"
        "t = threading.Thread(target=body); t.start(); t.join()\n"
        "import gmpx\n"
        "print(seen[0] != 1, gmpx.current().id, gmpx.go(pow, 2, 5).result())"
    ) == "True 1 32"


def test_a_program_that_only_imports_ends_at_once_and_quietly():
    assert run("import gmpx") == ""


def test_a_small_program():
    assert run(
        "import gmpx\n"
        "c = gmpx.Chan()\n"
        "for i in range(3): gmpx.go(c.send, i)\n"
        "print([c.recv() for _ in range(3)])"
    ) == "[0, 1, 2]"


def test_all_is_complete_and_true():
    assert len(set(gmpx.__all__)) == len(gmpx.__all__)
    for name in gmpx.__all__:
        assert getattr(gmpx, name) is not None
        assert not name.startswith("_")
    contract = {
        "go", "spawn", "Goroutine", "current", "gosched", "goexit", "sleep", "excepthook", "Chan",
        "ChannelClosed", "WouldBlock", "WaitGroup", "Mutex", "map", "imap", "gomaxprocs",
        "num_goroutine", "goroutines", "stats", "shutdown", "Cancelled",
    }
    assert contract <= set(gmpx.__all__)


def test_the_cards_classes_are_importable_from_core():
    for name in ("Goroutine", "Machine", "Processor"):
        assert getattr(_core, name) is getattr(gmpx, name)


def test_cancelled_is_no_exception_and_the_errors_are():
    assert issubclass(gmpx.Cancelled, BaseException) and not issubclass(gmpx.Cancelled, Exception)
    assert issubclass(gmpx.ChannelClosed, Exception) and issubclass(gmpx.WouldBlock, Exception)


@pytest.mark.parametrize("name", sorted(set(gmpx.__all__) - {"excepthook"}))
def test_everything_public_has_a_docstring(name):
    assert (getattr(gmpx, name).__doc__ or "").strip()
    thing = getattr(gmpx, name)
    if isinstance(thing, type):
        for member, value in vars(thing).items():
            if not member.startswith("_"):
                assert (value.__doc__ or "").strip(), f"{name}.{member}"


@pytest.mark.parametrize("base", ["Goroutine", "Chan", "Mutex", "Machine", "Processor"])
def test_classes_that_are_final_refuse_subclasses(base):
    with pytest.raises(TypeError):
        type("Sub", (getattr(gmpx, base),), {})
