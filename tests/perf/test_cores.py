"""The cases of several Ps: that every way and every rival does all the work, and what is asked for."""

import json
import os
import random
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

PERF = Path(__file__).resolve().parents[2] / "perf"
pytestmark = pytest.mark.skipif(not PERF.exists(), reason="not run from a checkout")
sys.path.insert(0, str(PERF))
bounds = pytest.importorskip("bounds")
cores = pytest.importorskip("cores")
cores_cases = pytest.importorskip("cores_cases")
kinds = pytest.importorskip("fan.kinds")
turns = pytest.importorskip("fan.turns")
ways = pytest.importorskip("fan.ways")
rivals = pytest.importorskip("rivals")
run = pytest.importorskip("run")
sys.path.remove(str(PERF))

TINY = 14  # an even number: tasks of the form `parks` meet in pairs
SIZES = {"sha": 100, "squeeze": 50, "steps": 1}  # for 1 us; quick ones
PROGRAM = "cores-sha500-map"


@pytest.mark.parametrize("ps", [1, 2, 8])
def test_every_way_calls_each_task_once(ps):
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from fan import kinds, ways\n"
        "calls = []\n"
        "def work(i):\n"
        "    calls.append(i)\n"
        "    return i\n"
        "fan = ways.Gmpx(2, True)\n"
        "for form, pieces in (('', 1), ('parks', 2)):\n"
        "    for name in ways.WAYS:\n"
        "        calls.clear()\n"
        f"        assert fan.way(name)(fan.task(work, form), {TINY}) == sum(range({TINY})), name\n"
        f"        assert sorted(calls) == sorted([*range({TINY})] * pieces), name\n"
        "print('all right')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(PERF)], capture_output=True, text=True, timeout=60,
        env=os.environ | {"GMPX_MAXPROCS": str(ps)},
    )
    assert done.returncode == 0 and "all right" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def sizes(monkeypatch):
    monkeypatch.setattr(turns, "calibrate", lambda: None)
    monkeypatch.setenv("GMPX_PERF_FAN", json.dumps(SIZES))


@pytest.mark.parametrize("kind", ["sha20", "py50-parks", "write-beside"])
def test_a_turn_has_the_figures_of_every_rival(kind, sizes):
    program = f"cores-{kind}-workers8"
    found = cores_cases.sample(program, 2, ways.RIVALS, 0.1, random.Random(1))
    for rival in ways.RIVALS:
        if rival in ("gevent", "joblib") and find_spec(rival) is None:
            assert isinstance(found[rival], rivals.NotThere)
            continue
        assert set(found[rival]) == {program, f"{program}-cold", f"{program}-worst"}
        assert 0 < found[rival][program] <= found[rival][f"{program}-worst"]


def test_a_process_that_fails_takes_no_turn_from_the_others(sizes):
    of = {"bad": ("nonesuch", 2, 3), "good": ("threads", 2, 3), "better": ("threads", 1, 2)}
    found = turns.take(PROGRAM, of, 0.1, random.Random(1))
    assert len(found["good"]) == 3 and len(found["better"]) == 2
    assert "nonesuch" in str(found["bad"])


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal")
def test_processes_run_one_at_a_time(sizes):
    """Also of one whose threads compute, nothing runs between its turns."""
    process = turns.Process(["threads", "cores-sleep-beside-map", 2, 1, 2], os.devnull)
    try:
        process.run()
        with open(f"/proc/{process.process.pid}/stat") as stat:
            assert stat.read().rpartition(")")[2].split()[0] == "T"
        process.run()
    except FileNotFoundError:
        pytest.skip("no /proc")
    finally:
        process.end()


def test_the_figures_of_runs():
    found = cores_cases.figures("p", [9, 2, 1, 3, 2, 2, 50, 60])
    assert found == {"p": 2, "p-cold": 9, "p-worst": 60}
    assert cores_cases.runs_of("gmpx", 50) - 1 >= 10 > cores_cases.runs_of("gmpx", 20)


@pytest.mark.parametrize("name", kinds.KINDS)
def test_work_returns_its_number(name):
    assert kinds.KINDS[name].work(SIZES)(5) == 5


def test_sizes_are_of_one_microsecond():
    sizes = kinds.calibrate()
    assert set(sizes) == set(SIZES) and min(sizes.values()) > 0


def test_the_readme_says_what_every_kind_form_and_way_is():
    readme = (PERF / "README.md").read_text()
    for name in (*kinds.KINDS, *filter(None, kinds.FORMS), *ways.WAYS):
        assert f"`{name}`" in readme, name


def chosen(*words):
    parser, options = run.parse(words)
    return {case.name for case in run.choose(parser, options)[0] if case.fan}


def test_most_of_the_matrix_is_measured_on_request_only():
    few = {f"cores-{name}{end}" for name in cores_cases.CHOSEN for end in ("", "-cold", "-worst")}
    assert chosen() == chosen("--filter", "cores") == few
    every = {case.name for case in cores_cases.CORES_CASES}
    assert chosen("--full", "--filter", "cores") == every > few
    assert chosen("--full", "--filter", "sleep-group8") > {"cores-sleep-group8-cold"}
    whole = "cores-sleep-imap2"
    assert chosen("--filter", whole) == {whole, f"{whole}-cold", f"{whole}-worst"}


def verdicts(program, **figures):
    """What the bounds say of one round; figures: the ns of each rival, and the slowest runs'."""
    found = {(program, 2, name.replace("_", "-")): {0: ns} for name, ns in figures.items()}
    for rival in ("gmpx", "threads"):
        slowest = figures.get(f"{rival}_worst", figures[rival])
        found[f"{program}-worst", 2, rival] = {0: slowest, 1: figures[rival]}

    def look(*key):
        if key not in found:
            raise KeyError(key)
        return found[key]

    case = SimpleNamespace(fan=True, program=program)
    results = SimpleNamespace(cases=[case] * 3, figures=look)
    judged = [v for v in bounds.judge(results) if v.bound.text.startswith(program)]
    return [verdict.word for verdict in judged]


FINE = {"gmpx": 100, "gmpx_1p": 190, "gmpx_8p": 105, "threads": 100, "executor": 110}


@pytest.mark.parametrize("program, figures, words", [
    (PROGRAM, {}, "ok ok ok ok"),
    (PROGRAM, {"gmpx_1p": 150}, "ok ok ok ok"),  # the machine gives threads no more
    (PROGRAM, {"gmpx_1p": 150, "threads": 90}, "MISS ok ok ok"),
    (PROGRAM, {"executor": 90, "gmpx_8p": 115}, "ok MISS MISS ok"),
    (PROGRAM, {"gmpx_worst": 120}, "ok ok ok MISS"),
    (PROGRAM, {"gmpx_worst": 120, "threads_worst": 130}, "ok ok ok ok"),
    ("cores-sha20-map8", {"gmpx_1p": 151, "threads": 60}, "ok ok ok ok"),
    ("cores-sha20-map8", {"gmpx_1p": 149}, "MISS ok ok ok"),
    ("cores-noop-go", {"gmpx_1p": 98}, "ok ok ok ok"),
    ("cores-noop-go", {"gmpx_1p": 95}, "MISS ok ok ok"),
    ("cores-write-parks-go", {"gmpx_1p": 86}, "ok ok ok ok"),
    ("cores-sha100-beside-go", {}, ""),
])
def test_bounds(program, figures, words):
    assert " ".join(verdicts(program, **FINE | figures)) == words


def test_a_bound_of_what_was_not_measured_is_not_checked():
    figures = {"gmpx": 100, "threads": 100}
    assert verdicts(PROGRAM, **figures) == ["not checked"] * 3 + ["ok"]


def test_the_quick_look_has_a_line_for_each_kind_and_way(capsys):
    cores.main("noop,sha20-parks go,map2 --rounds 1 --runs 2 --ms 1 --ps 2,3".split())
    head, *lines = capsys.readouterr().out.splitlines()
    assert "1 rounds of 2 runs" in head
    names = ["noop-go", "noop-map2", "sha20-parks-go", "sha20-parks-map2"]
    assert [line.split()[0] for line in lines] == names
    for line in lines:
        for word in ("1P ", "2P ", "3P ", "best ", "cold ", "worst ", "threads ", "executor "):
            assert word in line
        assert "failed" not in line


def test_a_kind_that_nobody_knows_is_an_error(capsys):
    with pytest.raises(SystemExit):
        cores.main(["nonesuch", "go"])
    assert "nonesuch" in capsys.readouterr().err
