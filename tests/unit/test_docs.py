"""The examples in README and docstrings run and print what they say."""

import contextlib
import doctest
import io
import os
import pathlib
import re
import socket
import urllib.request

import pytest

import gmpx
import gmpx._core
import gmpx.aio
import gmpx.fanout
import gmpx.io
import gmpx.patch

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
    for module in (gmpx.aio, gmpx.io, gmpx.patch):
        things[module.__name__] = module
        things |= {f"{module.__name__}.{name}": getattr(module, name) for name in module.__all__}
    return {name: t.__doc__ for name, t in things.items() if ">>>" in (t.__doc__ or "")}


DOCUMENTED = documented()


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_docstring(name):
    globs = {n: getattr(gmpx, n) for n in gmpx.__all__}
    globs["gmpx"] = gmpx
    if name.startswith("gmpx.aio"):
        globs |= {n: getattr(gmpx.aio, n) for n in gmpx.aio.__all__}
    if name.startswith("gmpx.io."):
        globs |= {n: getattr(gmpx.io, n) for n in gmpx.io.__all__}
        globs["socket"] = socket
    test = doctest.DocTestParser().get_doctest(DOCUMENTED[name], globs, name, None, None)
    assert test.examples
    out = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=out.append)
    assert runner.failures == 0, "".join(out)


@pytest.mark.skipif(not README.exists(), reason="not run from a checkout")
def test_readme(monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(urllib.request, "_opener", None)
    text = README.read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert len(blocks) >= 3
    code = "\n".join(blocks)
    expected = [c.strip() for line in code.splitlines() if line.lstrip().startswith("print(")
                for c in re.findall(r"\)\s+# (.*)$", line)]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            globs = {"__name__": "readme"}
            exec(compile(code, "README.md", "exec"), globs)
        assert all(line.endswith(": not patched") for line in gmpx.patch.report().splitlines())
    finally:
        gmpx.patch.undo()
    assert printed.getvalue().splitlines() == expected
    squares = globs.get("squares")
    if squares is not None:
        squares.close()
    globs["server"].join()
    globs["listener"].close()
    for name in ("r", "w"):
        os.close(globs[name])
    assert os.getcwd() == str(ROOT)
