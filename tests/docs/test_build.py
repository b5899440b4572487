"""docs/ builds without a warning, and has every public name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gmpx
import gmpx.aio
import gmpx.cluster
import gmpx.io
import gmpx.patch
import gmpx.testing

DOCS = Path(gmpx.__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    if not DOCS.is_dir():
        pytest.skip("not run from a checkout")
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    path = os.pathsep.join(filter(None, [str(DOCS.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*command, str(DOCS), str(out)], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    return out


def test_reference_has_every_name(built):
    page = (built / "api.html").read_text()
    constants = {"ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"}
    names = {f"gmpx.{name}" for name in set(gmpx.__all__) - constants - {"context"}}
    names |= {f"gmpx.{module.__name__[5:]}.{name}"
              for module in (gmpx.aio, gmpx.cluster, gmpx.io, gmpx.patch) for name in module.__all__}  # fmt: skip
    names |= {f"gmpx.testing.{name}" for name in gmpx.testing.__all__}
    names |= {f"gmpx.context.{name}" for name in gmpx.context.__all__}
    names |= {"gmpx.Chan.send", "gmpx.Goroutine.result", "gmpx.WaitGroup.go", "gmpx.Group.go"}
    missing = {name for name in names if f'id="{name}"' not in page}
    # re-exported under their own module's name
    assert not {name for name in missing if f'id="gmpx._core.{name[5:]}"' not in page}
    for constant in constants:
        assert constant in page


@pytest.mark.parametrize("page", [path.stem for path in DOCS.glob("*.md") if path.stem not in ("index", "api")])
def test_guide_is_there(built, page):
    text = (built / f"{page}.html").read_text()
    assert "gmpx" in text and len(text) > 3000
