"""mypy --strict over surface.py, and the stubs against the extension (stubtest)."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed")
HERE = Path(__file__).parent
# Modules of gmpx that cannot be imported without another package.
NEEDS = {"gmpx.gunicorn": "gunicorn", "gmpx.joblib": "joblib"}


def run(*command):
    # an editable install is found by an import hook, which mypy does not know
    env = os.environ | {"MYPYPATH": str(HERE.parents[1])}
    command = [sys.executable, "-m", *command]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_strict():
    run("mypy", "--strict", str(HERE / "surface.py"))


@pytest.mark.timeout(300)
def test_stubs_agree_with_the_extension(tmp_path):
    allow = [f"--allowlist={HERE.parent / 'stubtest.allow'}"]
    missing = [module for module, needs in NEEDS.items() if importlib.util.find_spec(needs) is None]
    if missing:
        (tmp_path / "allow").write_text("".join(f"{module}\n" for module in missing))
        allow.append(f"--allowlist={tmp_path / 'allow'}")
    run("mypy.stubtest", "gmpx", "--ignore-disjoint-bases", *allow)
