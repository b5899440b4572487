"""The random stress of mix.py, for GMPX_STRESS_SECONDS (30) with the run's seed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("GMPX_STRESS_SECONDS", "30"))


@pytest.mark.timeout(SECONDS + 120)
def test_nothing_is_lost_doubled_or_left(request):
    seed = os.environ.get("GMPX_TEST_SEED") or str(int.from_bytes(os.urandom(4), "big"))
    command = [sys.executable, str(Path(__file__).with_name("mix.py"))]
    command += ["--seed", seed, "--seconds", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 100)
    assert done.returncode == 0, f"{' '.join(command[1:])}\n{done.stdout}{done.stderr}"
    assert "nothing lost" in done.stdout
