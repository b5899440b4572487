"""Smoke test of perf/run.py at tiny sizes: that it works, never how fast anything is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[2] / "perf" / "run.py"
TINY = 40

# Every case starts a process, some a cluster.
pytestmark = pytest.mark.timeout(400)


def perf_run(*options, timeout=330):
    return subprocess.run(
        [sys.executable, str(RUN), *map(str, options)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


TINY_RUN = []


def in_background(background, items):
    if any("tiny" in item.fixturenames for item in items):
        TINY_RUN.append(background.ask(tiny_run, background.directory / "run.json", waits=True))


def tiny_run(file):
    size = ("--quick", "--rounds", 1, "--at-most", TINY)
    done = perf_run(*size, "--rival", "asyncio", "--seed", 7, "--targets", "--json", file)
    assert file.exists(), done.stdout + done.stderr
    return done, json.loads(file.read_text())


@pytest.fixture(scope="module")
def tiny():
    """One run of every case against asyncio: (finished process, its JSON)."""
    return TINY_RUN[0].result()


def test_every_program_runs_and_finds_its_result_right(tiny):
    done, content = tiny
    assert content["failures"] == [], done.stdout
    assert {row["rival"] for row in content["results"]} == {"gmpx", "asyncio"}
    missing = {(one["case"], one["rival"]): one["reason"] for one in content["missing"]}
    for row in content["results"]:
        if missing.get((row["case"], row["rival"])):
            continue  # a library or a server
        assert len(row["figures"]) == 1, row
        assert row["min"] <= row["median"] <= row["max"], row
    listed = [line.partition(":")[0] for line in perf_run("--list").stdout.splitlines()]
    assert {row["case"] for row in content["results"]} == {n for n in listed if n[0] != " "}


def test_the_table_has_a_row_for_each_case_and_the_header_its_facts(tiny):
    done, content = tiny
    for row in content["results"]:
        assert row["case"] in done.stdout
    for fact in ("machine", "CPUs", "python", "commit", "--seed 7"):
        assert fact in done.stdout
    assert content["run"]["seed"] == 7


def test_a_bound_without_its_figures_is_not_checked(tiny):
    done, content = tiny
    verdicts = {target["text"]: target["verdict"] for target in content["targets"]}
    assert verdicts["spawn-waitgroup 1,000,000: gmpx/Go"] == "not checked"
    assert verdicts["memory-object"] == "ok"
    assert done.returncode == (1 if "MISS" in verdicts.values() else 0)


def test_a_rival_that_cannot_be_had_keeps_its_place_and_says_why():
    script = (
        f"import sys; sys.path.insert(0, {str(RUN.parent)!r})\n"
        "import rivals, run\n"
        "def broken():\n"
        "    raise rivals.Missing('no such tool')\n"
        "rivals.build_go = broken\n"
        "sys.exit(run.main(['--quick', '--rounds', '1', '--at-most', '10', '--rival', 'go',\n"
        "                   '--case', 'yield']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "missing: no such tool" in done.stdout
    (row,) = (line for line in done.stdout.splitlines() if line.split()[:2] == ["Go", "missing"])


def test_a_case_that_nobody_knows_is_an_error():
    done = perf_run("--case", "nonesuch")
    assert done.returncode == 2
    assert "nonesuch" in done.stderr
