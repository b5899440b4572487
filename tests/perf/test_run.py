"""perf/run.py from the outside: it runs, tabulates, and names what is missing. No times."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PERF = Path(__file__).resolve().parents[2] / "perf"


def run(*arguments, env=None):
    command = [sys.executable, str(PERF / "run.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=100, env=os.environ | (env or {})
    )


def test_every_program_of_gmpx_and_asyncio_gives_its_figures(tmp_path):
    out = tmp_path / "out.json"
    done = run(
        *("--quick", "--rounds", "1", "--at-most", "50", "--seed", "3"),
        *("--rival", "asyncio", "--json", str(out)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert not found["failures"]
    rows = {(row["case"], row["rival"]): row for row in found["results"]}
    cases = {case for case, _ in rows}
    assert {"spawn-waitgroup", "fanout-unbuffered", "pingpong", "memory-parked"} <= cases
    for (case, rival), row in rows.items():
        assert row["median"] is not None, (case, rival)
        assert row["n"] <= 50
        assert case in done.stdout
    assert rows["pingpong", "asyncio"]["over_gmpx"] > 0
    assert found["run"]["seed"] == 3
    assert found["run"]["python"] in done.stdout


def test_a_rival_that_is_missing_is_named(tmp_path):
    # without a `go` beside the interpreter or on PATH
    if (Path(sys.executable).parent / "go").exists():
        pytest.skip("go is installed beside this interpreter")
    done = run(
        *("--quick", "--rounds", "1", "--at-most", "20", "--case", "yield", "--rival", "go"),
        env={"PATH": str(tmp_path)},
    )
    assert "missing: no `go` to be found" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--case", "nonsense"], "no case is named like nonsense"),
        (["--rival", "nonsense"], "no rival is named nonsense"),
        (["--rounds", "0"], "at least 1"),
    ],
)
def test_bad_options_are_refused(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_bounds_that_were_not_measured_are_not_called_kept(tmp_path):
    done = run(
        *("--quick", "--rounds", "1", "--at-most", "20", "--case", "yield"),
        *("--rival", "gmpx", "--targets"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not checked" in done.stdout
    assert "MISS" not in done.stdout
