"""examples/checksum_cluster.py, run as a user runs it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "checksum_cluster.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not run from a checkout")


@pytest.fixture
def tree(tmp_path):
    for k in range(40):
        (tmp_path / f"d{k % 3}").mkdir(exist_ok=True)
        (tmp_path / f"d{k % 3}" / f"f{k:02}").write_bytes(os.urandom(k * 1000))
    return tmp_path


def manifest(tree):
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    return [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}" for path in files]


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, timeout=100
    )


def test_one_process(tree):
    done = run("--one", tree)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines(), key=lambda line: line[66:]) == manifest(tree)
    assert done.stderr.startswith("40 files, ")


def test_two_processes_find_the_same(tree):
    pytest.importorskip("distributed", reason="needs distributed (gmpx[dask])")
    done = run("-n", 2, tree)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines(), key=lambda line: line[66:]) == manifest(tree)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_what_cannot_be_read_is_named(tree):
    (tree / "d0" / "f00").chmod(0)
    done = run("--one", tree)
    assert done.returncode == 1 and "Permission denied" in done.stderr
