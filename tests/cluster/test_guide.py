"""The programs of docs/cluster.md run as they are printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import gmpx

GUIDE = Path(gmpx.__file__).resolve().parents[1] / "docs" / "cluster.md"
if not GUIDE.exists():
    pytest.skip("not run from a checkout", allow_module_level=True)
PROGRAMS = re.findall(r"^```python cluster\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_program(tmp_path, number):
    program = PROGRAMS[number]
    assert program.count("LocalCluster(n_workers") == program.count("assert ") == 1
    path = tmp_path / "program.py"
    path.write_text(program.replace("LocalCluster(", "LocalCluster(dashboard_address=None, "))
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
