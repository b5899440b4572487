"""compare, growth, plot, instruction counts: their logic; and the counts against the baseline."""

import sys
from pathlib import Path

import pytest

PERF = Path(__file__).resolve().parents[2] / "perf"
pytestmark = pytest.mark.skipif(not PERF.exists(), reason="not run from a checkout")
sys.path.insert(0, str(PERF))

compare = pytest.importorskip("compare")
growth = pytest.importorskip("growth")
instructions = pytest.importorskip("instructions")


def row(case, n, rival, figures, unit="ns", own=None, over=None):
    return {"case": case, "n": n, "n_of_rival": own or n, "rival": rival, "unit": unit,
            "figures": figures, "over_gmpx": over}


def run(spawn=(100, 102, 104), floor=(50, 51, 52), memory=(6000, 6010)):
    return {"format": 1, "results": [
        row("spawn", 1000, "gmpx", list(spawn)), row("yield", 1000, "floor", list(floor)),
        row("memory", 1000, "gmpx", list(memory), unit="B")]}


def words(old, new):
    return {v.case: v.word for v in compare.compare(old, new)[0]}


@pytest.mark.parametrize("factor, word", [
    (1, "same"), (1.03, "same"), (0.97, "same"), (1.12, "slower"), (0.85, "faster")])
def test_verdicts(factor, word):
    assert words(run(), run(spawn=[factor * x for x in (100, 102, 104)]))["spawn"] == word


def test_a_slower_machine_is_no_verdict():
    twice = run(spawn=(200, 204, 208), floor=(100, 102, 104))
    assert words(run(), twice) == {"spawn": "same", "memory": "same"}
    assert compare.compare(run(), twice)[1] == 2
    assert words(run(), run(floor=(100, 102, 104)))["spawn"] == "faster"


def test_noise_raises_the_threshold():
    noisy = run(spawn=(112, 140, 150))
    assert words(run(), noisy)["spawn"] == "same"


def test_what_is_in_one_run_only_has_no_verdict():
    old = run()
    old["results"] = old["results"][1:]
    assert words(old, run()) == {"memory": "same"}


def test_growth():
    rows = [row("a", n, "gmpx", [c]) for n, c in ((10, 500), (1000, 100), (1_000_000, 160))]
    rows += [row("b", n, "gmpx", [c]) for n, c in ((1000, 100), (100_000, 140))]
    rows += [row("c", n, "gmpx", [1]) for n in (10, 100)]
    rows += [row("d", 100_000, "asyncio", [9], own=1000), row("d", 1000, "asyncio", [3])]
    found = {g.case: (round(g.factor, 2), g.marked) for g in growth.growths(rows)}
    assert found == {"a": (1.6, True), "b": (1.4, False)}


def test_plots(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    import plot

    rows = [row("a", n, r, [c * k], over=k if r != "gmpx" else None)
            for n, c in ((1000, 100), (100_000, 160)) for r, k in (("gmpx", 1), ("Go", 0.5))]
    files = plot.plot(rows, tmp_path)
    assert len(files) == 4 and all(f.stat().st_size > 1000 for f in files)


CALLGRIND = """\
ob=(1) /usr/lib/libc.so
fn=(1) f
1 1000
ob=(2) /somewhere/gmpx/_core.cpython.so
fn=(2) g
+3 7
cfn=(1)
cob=(1)
calls=1 0
* 500
-2 5
ob=(1)
fn=(1)
4 9
ob=(2)
fn=(3)
* 30
"""


def test_only_gmpxs_own_instructions_count():
    assert instructions.own(CALLGRIND) == 7 + 5 + 30


def test_what_may_grow():
    assert instructions.grown({"a": (102.9, 100), "b": (103.1, 100), "c": (50, 100)}) == ["b"]


@pytest.mark.timeout(300)
def test_no_hot_path_has_grown():
    try:
        found = instructions.check()
    except instructions.NotChecked as why:
        pytest.skip(f"not checked: {why}")
    worse = {path: found[path] for path in instructions.grown(found)}
    assert not worse, (
        f"more instructions than perf/baseline.json allows: {worse}; if that is worth it, "
        "accept it: python perf/run.py --instructions --accept")
