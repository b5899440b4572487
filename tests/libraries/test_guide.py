"""The blocks of docs/libraries.md that need a server: each is a program of its own."""

import re
from pathlib import Path

import pytest

import gmpx

GUIDE = Path(gmpx.__file__).resolve().parents[1] / "docs" / "libraries.md"
BLOCKS = re.findall(r"^```python libraries\n(.*?)^```$", GUIDE.read_text(), re.M | re.S) if GUIDE.exists() else []


@pytest.mark.parametrize("program", BLOCKS, ids=range(len(BLOCKS)))
def test_block(program, url):
    for name in re.findall(r"^(?:import|from) (psycopg_pool|psycopg|sqlalchemy|redis)", program, re.M):
        pytest.importorskip(name)
    if "postgres@" in program:
        found = url("postgres").geturl().partition("://")[2]
        assert "postgres@127.0.0.1:5432/test" in program
        program = program.replace("postgres@127.0.0.1:5432/test", found)
    else:
        found = url("redis")
        where = 'host="127.0.0.1", port=6379'
        assert where in program
        program = program.replace(where, f"host={found.hostname!r}, port={found.port}")
    assert "assert " in program
    exec(compile(program, str(GUIDE), "exec"), {"__name__": "guide"})


def test_there_are_some():
    if not GUIDE.exists():
        pytest.skip("not run from a checkout")
    assert len(BLOCKS) >= 4
