"""Children, patched: subprocess, os.waitpid and its like, os.system, multiprocessing.

Each test leaves nothing behind: no child, zombie or not, no descriptor, thread or goroutine.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from os import waitpid
from pathlib import Path

import pytest

import gmpx
import gmpx.patch
from gmpx import Cancelled, go
from gmpx._core import _net_left
from gmpx.patch import children

PATIENCE = 20
LINUX = sys.platform.startswith("linux")


def descriptors():
    """Without the two of each poller, which stay."""
    return len(os.listdir("/proc/self/fd")) - 2 * _net_left()[0]


def processes():
    """The children of this process, zombies too."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended
            found.update(map(int, (task / "children").read_text().split()))
    return found


def threads():
    """Without those that gmpx keeps for a while, and pytest's."""
    return [t for t in threading.enumerate() if not t.name.startswith(("gmpx ", "pytest"))]


@pytest.fixture(scope="module", autouse=True)
def deep_sleep():
    """The main thread has slept so long that it has opened what wakes it, and keeps that."""
    gmpx.sleep(0.3)


@pytest.fixture(autouse=True)
def patched(until):
    if not LINUX:
        pytest.skip("reads /proc")
    gmpx.patch.all()
    go(gmpx.sleep, 0).join()
    before = gmpx.num_goroutine(), descriptors(), processes(), threads()
    yield
    until(lambda: gmpx.num_goroutine() == before[0])
    assert _net_left()[1:] == (0, 0)
    until(lambda: descriptors() == before[1])  # sysmon has one for an instant, to look whether a thread sleeps
    assert processes() == before[2]
    assert threads() == before[3]
    until(lambda: not children._watches)  # threads that hear of an end, too
    gmpx.patch.undo()


@pytest.fixture(params=["pidfd", "thread"])
def way(request, monkeypatch):
    """How the end of a child is told."""
    if request.param == "thread":
        monkeypatch.setattr(children, "_pidfd", lambda pid: None)
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("no pidfd here")
    return request.param


def error_of(g):
    g.join(PATIENCE)
    return g.exception()


#: Writes a line when it is ready, then waits for one.
OBEYS = [sys.executable, "-c", "import sys; print(flush=True); sys.exit(int(sys.stdin.readline() or 1))"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); sys.stdin.read()",
]


@pytest.fixture
def obedient():
    """obedient(): a child that exits with the number that it is told."""
    started = []

    def start(args=OBEYS):
        process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"\n"
        return process

    yield start
    for process in started:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()


def tell(process, number):
    process.stdin.write(b"%d\n" % number)
    process.stdin.flush()


# ---- subprocess ------------------------------------------------------------------------------


def test_wait_parks_its_goroutine_alone(obedient, parked, way):
    process = obedient()
    gs = [go(process.wait), go(process.wait, 100)]
    parked(*gs)
    tell(process, 7)
    assert [g.result(PATIENCE) for g in gs] == [7, 7]
    assert process.wait() == process.poll() == 7


def test_a_hundred_side_by_side():
    def run(i):
        return subprocess.run(["sh", "-c", f"echo {i}; exit {i}"], capture_output=True)

    for i, done in enumerate(gmpx.map(run, range(100), limit=8)):
        assert (done.returncode, done.stdout) == (i, b"%d\n" % i)


def test_signals_are_exit_codes_as_ever():
    with subprocess.Popen(["sleep", "100"]) as process:
        g = go(process.wait)
        process.terminate()
        assert g.result(PATIENCE) == -signal.SIGTERM


def test_a_wait_that_times_out(obedient, way):
    process = obedient()
    for timeout in (0, 0.02, -1):
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            process.wait(timeout)
        assert caught.value.timeout == timeout and caught.value.cmd == process.args
    with pytest.raises(TimeoutError), gmpx.timeout(0.02):
        process.wait()
    tell(process, 3)
    assert process.wait(PATIENCE) == 3


def test_a_wait_that_is_cancelled(obedient, parked, way):
    process = obedient()
    g = go(process.wait)
    parked(g)
    g.cancel()
    assert isinstance(error_of(g), Cancelled)
    tell(process, 4)
    assert process.wait() == 4


def test_a_child_that_ignores_sigterm(obedient):
    process = obedient(STUBBORN)
    process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL


def test_run_kills_what_takes_too_long():
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        subprocess.run(["sh", "-c", "echo out; exec sleep 100"], capture_output=True, timeout=0.3)
    assert caught.value.output == b"out\n"


def test_a_run_that_is_cancelled(parked, until):
    before = processes()
    gs = [go(subprocess.run, ["sleep", "100"], capture_output=i % 2) for i in range(6)]
    until(lambda: len(processes() - before) == 6)
    parked(*gs)
    for g in gs:
        g.cancel()
    for g in gs:
        assert isinstance(error_of(g), Cancelled)
    assert processes() == before


def test_a_cancel_between_fork_and_exec(parked):
    """The child is there, and known, before the cancel comes."""
    r, w = os.pipe()
    found = []

    def start():
        with subprocess.Popen(["sh", "-c", "exit 5"], preexec_fn=lambda: os.read(r, 1)) as process:
            found.append(process)
            gmpx.sleep(0)

    g = go(start)
    parked(g)
    g.cancel()
    gmpx.sleep(0.02)
    os.write(w, b"x")
    assert isinstance(error_of(g), Cancelled)
    assert found[0].returncode == 5
    os.close(r)
    os.close(w)


@pytest.mark.parametrize("size", [65536, 3_000_000])
def test_much_on_stdout_and_stderr_at_once(size):
    code = "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d); sys.stderr.buffer.write(d)"
    data = os.urandom(size)

    def run(_):
        return subprocess.run([sys.executable, "-c", code], input=data, capture_output=True)

    for done in gmpx.map(run, range(3)):
        assert done.stdout == done.stderr == data


def test_a_child_that_does_not_read():
    """Its end is no error of communicate, and one of write."""
    big = bytes(1_000_000)
    assert subprocess.run(["true"], input=big).returncode == 0
    process = subprocess.Popen(["true"], stdin=subprocess.PIPE, bufsize=0)
    with pytest.raises(BrokenPipeError):
        while True:
            process.stdin.write(big)
    process.stdin.close()
    assert process.wait() == 0


def test_communicate_that_times_out_goes_on(way):
    with subprocess.Popen(
        ["sh", "-c", "echo x; exec sleep 100"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        for _ in range(2):
            with pytest.raises(subprocess.TimeoutExpired):
                process.communicate(timeout=0.1)
        process.kill()
        assert process.communicate() == (b"x\n", b"")


@pytest.mark.parametrize("pipes", [1, 2])
def test_a_communicate_that_is_cancelled(parked, pipes):
    kwargs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE if pipes == 2 else None}
    with subprocess.Popen(["sleep", "100"], **kwargs) as process:
        g = go(process.communicate)
        parked(g)
        g.cancel()
        assert isinstance(error_of(g), Cancelled)
        process.kill()


@pytest.mark.parametrize("reaper", ["waitpid", "ignored"])
def test_a_child_that_is_reaped_by_others(obedient, parked, way, reaper):
    """As CPython has it: its exit code is not known, so it is 0; waitpid says that there is no such child."""
    was = signal.signal(signal.SIGCHLD, signal.SIG_IGN) if reaper == "ignored" else None
    try:
        process = obedient()
        gs = [go(process.wait), go(process.wait, 100)]
        other = go(waitpid, process.pid, 0)
        parked(*gs, other)
        tell(process, 9)
        if reaper == "waitpid":
            results = [g.result(PATIENCE) for g in gs]
            assert results in ([9, 9], [0, 0])
            error = error_of(other)
            assert isinstance(error, ChildProcessError) if results == [9, 9] else error is None
        else:
            assert [g.result(PATIENCE) for g in gs] == [0, 0]
            assert isinstance(error_of(other), ChildProcessError)
    finally:
        if was is not None:
            signal.signal(signal.SIGCHLD, was)


def test_a_thread_that_waits_for_the_same(obedient, parked, in_thread, way):
    """It has the lock of Popen for as long; the goroutine does not wait for that."""
    process = obedient()
    thread = in_thread(process.wait)
    while not process._waitpid_lock.locked():
        time.sleep(0.001)
    g = go(process.wait)
    parked(g)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.02)
    tell(process, 6)
    assert g.result(PATIENCE) == 6
    assert thread.value() == 6


def test_a_program_that_is_not_there():
    for kwargs in ({}, {"preexec_fn": lambda: None}):
        with pytest.raises(FileNotFoundError):
            subprocess.run(["/nowhere/to/be/found"], **kwargs)
    with pytest.raises(subprocess.SubprocessError):
        subprocess.run(["true"], preexec_fn=lambda: 1 / 0)


def test_shells():
    def system(i):
        return os.waitstatus_to_exitcode(os.system(f"exit {i}"))

    assert gmpx.map(system, range(10)) == list(range(10))
    with os.popen("echo $((6 * 7)); exit 3") as out:
        assert out.read() == "42\n"
        assert out.close() == 3 << 8


# ---- os --------------------------------------------------------------------------------------


def spawn(*args):
    return os.posix_spawnp(args[0], args, os.environ)


WAITS = {
    "waitpid": lambda pid: waitpid(pid, 0),
    "wait4": lambda pid: os.wait4(pid, 0)[:2],
    "wait4 by name": lambda pid: os.wait4(options=0, pid=pid)[:2],
    "waitid": lambda pid: (lambda r: (r.si_pid, r.si_status << 8))(
        os.waitid(os.P_PID, pid, os.WEXITED)
    ),
    "a group": lambda pid: waitpid(-pid, 0),
    "stops": lambda pid: waitpid(pid, os.WUNTRACED),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_waits_for_one(wait, parked, way):
    process = subprocess.Popen(
        ["sh", "-c", "read x; exit 3"], stdin=subprocess.PIPE, start_new_session=True
    )
    pid = process.pid
    g = go(wait, pid)
    parked(g)
    process.stdin.close()
    assert g.result(PATIENCE) == (pid, 3 << 8)
    process.returncode = 3


def test_waitid_without_taking_it(way):
    pid = spawn("sh", "-c", "exit 3")
    for options in (os.WEXITED | os.WNOWAIT, os.WEXITED):
        result = os.waitid(os.P_PID, pid, options)
        assert (result.si_pid, result.si_status) == (pid, 3)


def test_waitid_of_a_pidfd(parked):
    pid = spawn("sleep", "0.05")
    fd = os.pidfd_open(pid)
    g = go(os.waitid, os.P_PIDFD, fd, os.WEXITED)
    parked(g)
    assert g.result(PATIENCE).si_pid == pid
    os.close(fd)


def test_stops_and_continues(parked):
    pid = spawn("sleep", "100")
    for number, options, told in (
        (signal.SIGSTOP, os.WUNTRACED, os.WIFSTOPPED),
        (signal.SIGCONT, os.WCONTINUED, os.WIFCONTINUED),
        (signal.SIGKILL, os.WUNTRACED | os.WCONTINUED, os.WIFSIGNALED),
    ):
        g = go(waitpid, pid, options)
        parked(g)
        os.kill(pid, number)
        found, status = g.result(PATIENCE)
        assert found == pid and told(status)


def test_a_cancelled_waitpid(parked, way):
    pid = spawn("sleep", "100")
    g = go(waitpid, pid, 0)
    parked(g)
    g.cancel()
    assert isinstance(error_of(g), Cancelled)
    os.kill(pid, signal.SIGKILL)
    assert waitpid(pid, 0) == (pid, signal.SIGKILL)


def test_children_that_are_there_no_more():
    pid = spawn("true")
    waitpid(pid, 0)
    for call in WAITS.values():
        with pytest.raises(ChildProcessError):
            call(pid)


@pytest.fixture
def adopts():
    """Orphans come to us (conftest.py): to be waited for, after their end."""
    before = processes()
    yield
    for pid in processes() - before:
        waitpid(pid, 0)


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", "import gmpx, gmpx.patch, os, signal, sys, time\ngmpx.patch.all()\n" + code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_waits_for_any_child():
    """Each child goes to one of those who wait, and to no two."""
    code = """
def child(n):
    pid = os.fork()
    if pid == 0:
        time.sleep(0.01)
        os._exit(n)
    return pid
for wait in (lambda: os.wait(), lambda: os.waitpid(-1, 0), lambda: os.wait3(0)[:2], lambda: os.waitpid(0, 0)):
    pids = {child(n): n << 8 for n in range(10)}
    ticks = []
    def tick():
        while True:
            gmpx.sleep(0.001)
            ticks.append(1)
    ticker = gmpx.go(tick)
    assert dict(gmpx.map(lambda _: wait(), range(10))) == pids
    assert ticks
    ticker.cancel()
    try:
        wait()
    except ChildProcessError:
        pass
pid = os.fork()
if pid == 0:
    signal.pause()
g = gmpx.go(os.wait)
while g.status != "waiting":
    gmpx.gosched()
g.cancel()
g.join()
os.kill(pid, signal.SIGKILL)
assert os.wait() == (pid, signal.SIGKILL)
print("good")
"""
    assert run(code) == "good\n"


def test_nothing_to_wait_for_is_no_deadlock():
    """The end of a child, or of what another process writes, wakes: no alarm while one waits for that."""
    code = """
import subprocess
p = subprocess.Popen(["sh", "-c", "sleep 0.5; exit 3"])
print(p.wait())
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "sleep 0.5"], os.environ)
print(os.wait()[1])
print(subprocess.run("sleep 0.5; echo x", shell=True, capture_output=True).stdout)
"""
    assert run(code) == "3\n0\nb'x\\n'\n"


def test_ctrl_c_ends_a_wait(adopts):
    code = """
import subprocess, _thread
def later():
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)
_thread.start_new_thread(later, ())
try:
    subprocess.run(["sleep", "100"])
except KeyboardInterrupt:
    print("interrupted")
"""
    assert run(code) == "interrupted\n"


# ---- multiprocessing -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, tmp_path, adopts):
    path = tmp_path / "program.py"
    path.write_text(
        f"""
import multiprocessing, os, sys, time
import gmpx, gmpx.patch

def work(n, out, lock, q):
    time.sleep(0.05)
    with lock:
        out.send(n)
    q.put(n * n)
    sys.exit(n)

if __name__ == "__main__":
    gmpx.patch.all()
    context = multiprocessing.get_context({method!r})
    ticks = []
    def tick():
        while True:
            gmpx.sleep(0.001)
            ticks.append(1)
    ticker = gmpx.go(tick)
    r, w = context.Pipe(duplex=False)
    lock, q = context.Lock(), context.Queue()
    got = gmpx.go(lambda: sorted(r.recv() for _ in range(3)))
    squares = [gmpx.go(q.get) for _ in range(3)]
    ps = [context.Process(target=work, args=(n, w, lock, q)) for n in range(3)]
    for p in ps:
        p.start()
    gmpx.map(lambda p: p.join(), ps)
    assert [p.exitcode for p in ps] == [0, 1, 2]
    assert got.result(20) == [0, 1, 2]
    assert sorted(g.result(20) for g in squares) == [0, 1, 4]
    assert ticks
    lock.acquire()
    g = gmpx.go(lock.acquire)
    while g.status != "waiting":
        gmpx.gosched()
    assert not lock.acquire(timeout=0.02)
    lock.release()
    assert g.result(20)
    p = context.Process(target=time.sleep, args=(100,))
    p.start()
    p.join(0.05)
    assert p.exitcode is None
    p.terminate()
    p.join()
    ticker.cancel()
    print("good")
"""
    )
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("good\n", 0), done.stderr


def test_connections_between_goroutines(parked):
    r, w = multiprocessing.Pipe(duplex=False)
    with r, w:
        g = go(r.recv)
        parked(g)
        big = os.urandom(1_000_000)
        sender = go(w.send, big)
        assert g.result(PATIENCE) == big
        sender.result(PATIENCE)
        assert not r.poll(0.01)
