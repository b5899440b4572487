"""examples/api_client.py, run as a user runs it, against its own server."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "api_client.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not run from a checkout")


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, timeout=100
    )


def answers(stdout):
    return {int(status): int(n) for n, status in re.findall(r"(\d+) times (\d+)", stdout)}


def test_all_records_come():
    done = run("--records", 30, "--rate", 500, "--server-rate", 100_000)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("30 of 30 records in ")
    assert answers(done.stdout) == {200: 30, 503: 3}
    assert re.fullmatch(r"30/30 done, 0 failed, 0 in flight, \S+, \S+\n", done.stderr)


def test_too_many_requests_are_tried_again_when_the_server_says():
    done = run("--records", 20, "--rate", 1000, "--burst", 20, "--server-rate", 70, "--attempts", 40, "--timeout", 60, "-q")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("20 of 20 records in ") and done.stderr == ""
    counts = answers(done.stdout)
    assert counts[200] == 20 and counts[503] == 2 and counts[429] > 0


def test_what_cannot_be_had_is_named():
    done = run("--records", 8, "--missing", 6, "--rate", 500, "-q", "--server-rate", 100_000)
    assert done.returncode == 1
    assert done.stdout.startswith("6 of 8 records in ")
    assert done.stderr == "".join(f"record {n}: HTTP Error 404: Not Found (1 attempt)\n" for n in (6, 7))


def test_ctrl_c():
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--records", "100000", "--rate", "20"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stderr.readline()  # the first report: it has begun
        assert "/100000 done" in line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out) == (130, "") and err.endswith("interrupted\n")
