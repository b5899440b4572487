"""The guides' Python snippets run, in their order, and what they assert holds."""

import re
from pathlib import Path

import pytest

import gmpx

DOCS = Path(gmpx.__file__).resolve().parents[1] / "docs"
GUIDES = sorted(DOCS.glob("from-*.md"))
BLOCK = re.compile(r"^```python( gevent)?\n(.*?)^```$", re.M | re.S)

if not GUIDES:
    pytest.skip("not run from a checkout", allow_module_level=True)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_guide(guide):
    names = {"__name__": guide.stem}
    ran = asserted = 0
    text = guide.read_text()
    for match in BLOCK.finditer(text):
        if match[1] and not has_gevent():
            continue
        line = text.count("\n", 0, match.start(2))
        exec(compile("\n" * line + match[2], str(guide), "exec"), names)
        ran += 1
        asserted += match[2].count("assert ")
    assert ran >= 5 and asserted >= 5


def has_gevent():
    try:
        import gevent  # noqa: F401
    except ImportError:
        return False
    return True
