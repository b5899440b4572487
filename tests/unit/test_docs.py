"""The examples in README and docstrings run and print what they say."""

import contextlib
import doctest
import io
import os
import pathlib
import re

import pytest

import gmpx
import gmpx._core
import gmpx.fanout

ROOT = pathlib.Path(gmpx.__file__).resolve().parent.parent
README = ROOT / "README.md"


def documented():
    """Everything public that has a docstring with an example, by name."""
    things = {"gmpx": gmpx}
    for name in gmpx.__all__:
        thing = getattr(gmpx, name)
        things[name] = thing
        if isinstance(thing, type):
            for member, value in vars(thing).items():
                if not member.startswith("_"):
                    things[f"{name}.{member}"] = value
    return {name: t.__doc__ for name, t in things.items() if ">>>" in (t.__doc__ or "")}


DOCUMENTED = documented()


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_docstring(name):
    globs = {n: getattr(gmpx, n) for n in gmpx.__all__}
    globs["gmpx"] = gmpx
    test = doctest.DocTestParser().get_doctest(DOCUMENTED[name], globs, name, None, None)
    assert test.examples
    out = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=out.append)
    assert runner.failures == 0, "".join(out)


@pytest.mark.skipif(not README.exists(), reason="not run from a checkout")
def test_readme(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = README.read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert len(blocks) >= 3
    code = "\n".join(blocks)
    expected = [c.strip() for line in code.splitlines() if line.lstrip().startswith("print(")
                for c in re.findall(r"\)\s+# (.*)$", line)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        globs = {"__name__": "readme"}
        exec(compile(code, "README.md", "exec"), globs)
    assert printed.getvalue().splitlines() == expected
    squares = globs.get("squares")
    if squares is not None:
        squares.close()
    assert os.getcwd() == str(ROOT)
