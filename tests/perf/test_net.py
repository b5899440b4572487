"""The network's cases: that each rival's programs work, and that the load notices what is wrong."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

PERF = Path(__file__).resolve().parents[2] / "perf"
SAMPLE = PERF / "net" / "sample.py"
pytestmark = [
    pytest.mark.skipif(not PERF.exists(), reason="not run from a checkout"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the load takes epoll"),
]
for place in (PERF / "net", PERF):
    sys.path.insert(0, str(place))
compiled = pytest.importorskip("compiled")
case_of = pytest.importorskip("case")
machine = pytest.importorskip("machine")
messages = pytest.importorskip("messages")
net_cases = pytest.importorskip("net_cases")
rivals = pytest.importorskip("rivals")
run = pytest.importorskip("run")
for place in (PERF / "net", PERF):
    sys.path.remove(str(place))

NOT_THERE = 3
TINY = 3  # connections, calls, waits; bytes for burner-message
SHORT_MS = 3  # a load of 60 ms
EVERY_RIVAL = sorted({name for case in net_cases.NET_CASES for name in case.rivals})


@pytest.fixture(scope="module")
def load_program():
    try:
        return compiled.program("load")
    except compiled.NotThere as reason:
        pytest.skip(str(reason))


def sample(rival, program, n=TINY, environment=None):
    command = [sys.executable, str(SAMPLE), rival, program, str(n), "0", str(SHORT_MS)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.parametrize("rival", EVERY_RIVAL)
def test_every_program_of_a_rival_finds_its_result_right(rival, load_program):
    module = rival.partition("-")[0]
    if module == "Go":
        try:
            rivals.build_go()
        except rivals.Missing as reason:
            pytest.skip(str(reason))
    elif module == "gmpx":
        if not case_of.there(net_cases.NET_CASES[0]):
            pytest.skip("gmpx has no patch")
    elif module not in ("threads", "floor") and not find_spec(module):
        pytest.skip(f"{module} is not installed")
    programs = {}
    for case in net_cases.NET_CASES:
        if rival in case.rivals:
            programs.setdefault(case.program, set()).add(case.name)
    for program, names in programs.items():
        done = sample(rival, program)
        if done.returncode == NOT_THERE:  # a library or a server
            assert done.stderr.strip()
            continue
        assert done.returncode == 0, f"{program}: {done.stderr}"
        figures = json.loads(done.stdout)
        assert set(figures) == names
        # the memory of three connections may come from what is there
        assert all(value > 0 for name, value in figures.items() if "idle" not in name), figures


def test_what_is_not_there_is_no_failure():
    bare = {key: value for key, value in os.environ.items() if key != "GMPX_PERF_GO"}
    done = sample("Go", "waits-second", environment=bare)
    assert done.returncode == NOT_THERE and "Go" in done.stderr
    with pytest.raises(rivals.NotThere, match="Go"):
        rivals.run([sys.executable, str(SAMPLE), "Go", "waits-second", "1", "0", "1"], 60, env=bare)


def test_c_go_and_python_say_the_same():
    header = (PERF / "net" / "messages.h").read_text().replace("\\\n", "")
    for name in ("REQUEST", "RESPONSE"):
        (line,) = re.findall(rf"#define {name}\s(.*)", header)
        text = "".join(re.findall(r'"(.*?)"', line)).encode().decode("unicode_escape")
        assert text.encode() == getattr(messages, name)
    go = (PERF / "go" / "net.go").read_text()
    (constant,) = re.findall(r"response = (.*?)\n\t\w", go, re.S)
    text = "".join(re.findall(r'"(.*?)"', constant)).encode().decode("unicode_escape")
    assert text.encode() == messages.RESPONSE
    assert f"leastBuffer = {messages.LEAST_BUFFER}" in go


@pytest.mark.parametrize("cut", [1, 10, len(messages.REQUEST) - 1, len(messages.REQUEST)])
def test_requests_are_taken_wherever_they_are_cut(cut):
    stream = messages.REQUEST * 3
    answers, left = b"", b""
    for at in range(0, len(stream), cut):
        answer, left = messages.take(left + stream[at:at + cut])
        answers += answer
    assert (answers, left) == (messages.RESPONSE * 3, b"")
    with pytest.raises(ValueError, match="not served"):
        messages.take(b"GET /other HTTP/1.1\r\n\r\n")


def test_the_cpu_time_of_a_process_is_what_it_says_of_itself():
    own, seen = time.process_time_ns(), machine.cpu_ns(os.getpid())
    assert own <= seen <= time.process_time_ns()
    assert machine.resident(os.getpid()) > 1 << 20


def under_load(load_program, handle, n=2, kind="echo"):
    """Runs the load against a server whose connections handle(number, conn) serves."""
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept():
            try:
                while True:
                    conn, _ = listening.accept()
                    kept.append(conn)
                    handle_one = threading.Thread(target=handle, args=(len(kept), conn), daemon=True)
                    handle_one.start()
            except OSError:
                pass  # the end of the test

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        command = [load_program, kind, port, n, 64, 20, 60, 0, os.getpid()]
        done = subprocess.run(map(str, command), capture_output=True, text=True, timeout=30)
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    for conn in kept:
        conn.close()
    return done


def echoes(conn, times):
    try:
        for _ in range(times):
            data = conn.recv(4096)
            if not data:
                return False
            conn.sendall(data)
    except OSError:
        return False
    return True


def right(number, conn):
    echoes(conn, 1 << 30)


def wrong_in_the_end(number, conn):
    if number == 1:
        right(number, conn)
    elif echoes(conn, 5) and (data := conn.recv(4096)):
        conn.sendall(data[::-1])


def closed_early(number, conn):
    if number == 1:
        right(number, conn)
    elif echoes(conn, 5):
        conn.shutdown(socket.SHUT_RDWR)


def one_starves(number, conn):
    # the greeting, and what was asked before the count began
    echoes(conn, 1 if number == 2 else 1 << 30)


def test_the_load_counts(load_program):
    done = under_load(load_program, right)
    assert done.returncode == 0, done.stderr
    operations, taken, cpu, least, most = map(int, done.stdout.split())
    assert 0 < least <= most and least + most == operations
    assert taken >= 60_000_000 and cpu > 0


@pytest.mark.parametrize("handle, words", [
    (wrong_in_the_end, "wrong bytes on connection"),
    (closed_early, "was closed after"),
    (one_starves, "got nothing"),
])
def test_the_load_notices_what_is_wrong(load_program, handle, words):
    done = under_load(load_program, handle)
    assert done.returncode == 1 and words in done.stderr


class Counted:
    """A rival whose turns are counted, and fail from the second on."""

    name, missing = "gmpx", ""

    def __init__(self):
        self.turns = 0

    def sample(self, case, n, least_ms):
        self.turns += 1
        if self.turns > 1:
            raise rivals.NotThere("gone")
        return {"echo-64": 1.0, "echo-cpu": 2.0, "echo-fair": 3.0}


def test_cases_of_one_program_share_a_turn():
    _, options = run.parse(["--quick"])
    rival = Counted()
    cases = [case for case in net_cases.NET_CASES if case.program == "echo-64"]
    results = run.Results(cases, {"gmpx": rival}, options)
    for turn in range(2):
        for case in cases:
            run.take_turn(results, case, 100, "gmpx", turn, 0)
    assert rival.turns == 2
    assert [results.figures(c.name, 100, "gmpx") for c in cases] == [{0: 1.0}, {0: 2.0}, {0: 3.0}]
    assert set(results.not_there.values()) == {"gone"} and not results.failures
