"""Spin checks the models of the runtime's protocols, exhaustively, and finds the mistakes.

Each model names in its head what it models and claims. `#ifdef BUG_...` in a model is one way
to get the protocol wrong; each must violate a claim, or the claim would be empty.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MEMORY_MB = 900
TIME_LIMIT_S = 900              # a bound for hangs
COMPILER = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
# What runs long is compiled for that; but for gcc's search for dead stores, which takes minutes in pan.c's one
# long function and gains nothing.
OPTIMIZED = "-O1 -fno-dse"

# what passes: model and definitions
SOUND = [
    ("sleep", "FOREIGN"),
    ("sleep", "READIER HANDOVER"),
    ("sleep", "TWO NESTED"),
    ("gil", "NESTED=1"),
    ("gil", "IDLE NESTED=1"),
    ("gil", "SPAWNS=2 KIND=BLOCKED"),
    ("gil", "FOREIGN SPAWNS=0 LOOKS=0"),
    ("gil", "FOREIGN REGS=1 LOOKS=0"),
    ("gil", "READIER LOOKS=0"),
    ("gil", "RECYCLE"),
    ("gil", "HOT LOOKS=0"),
    ("gil", "HOT FOREIGN SPAWNS=0 LOOKS=0 FLIPS=0"),
    ("gil", "HOT FOREIGN REGS=1 SPAWNS=0 LOOKS=0"),
    ("gil", "PLACE LOOKS=0"),
    ("gil", "PLACE REGS=1 LOOKS=0"),
    ("gil", "PLACE SPAWNS=2 LOOKS=0 FLIPS=0 HOSTS2=1"),
    ("sysmon", ""),
    ("sysmon", "NODES FREE=1"),
    ("sysmon", "ENDS"),
    ("sysmon", "NAPS=1"),
    ("sysmon", "NAPS=1 NODES FREE=1"),
    ("signals", ""),
    ("signals", "ALONE"),
    ("signals", "HANDLER"),
    ("signals", "HANDLER ALONE"),
    ("netpoll", "CANCEL"),
    ("netpoll", "BUSY"),
    ("blocks", ""),
    ("threadlock", ""),
    ("threadlock", "GS=2 FS=2 CANCELS=2 THROWS=2"),
    ("threadlock", "FS=0 CANCELS=2 THROWS=2"),
    ("blocks", "FREE=2 GOS=1 PARKS=2"),
    ("blocks", "NAPS=1 GOS=1 PARKS=2"),
    ("park", ""),
    ("runq", ""),
    ("runq", "SLOTS=2 ITEMS=4 THIEVES=2"),
]

# what fails: the same, with the mistake
BROKEN = [
    ("threadlock", "BUG_TRY_THEN_ARM"),
    ("threadlock", "BUG_NOBODY_WOKEN"),
    ("threadlock", "BUG_WOKEN_KEPT"),
    ("threadlock", "BUG_NOT_PASSED_ON"),
    ("threadlock", "BUG_HANDED_AND_FREED"),
    ("sleep", "FOREIGN BUG_COUNT_AFTER_UNLOCK"),
    ("sleep", "FOREIGN BUG_NO_GLOBAL_LOOK"),
    ("sleep", "FOREIGN BUG_NO_PASS_ON"),
    ("sleep", "READIER BUG_WAKE_FIRST"),
    ("sleep", "FOREIGN BUG_NEW_M_COUNTED"),
    ("sleep", "TWO BUG_COUNT_TWICE"),
    ("sleep", "TWO BUG_GIVE_BACK_LATE"),
    ("sleep", "TWO BUG_NO_FENCE"),
    ("sleep", "TWO BUG_NO_RECHECK"),
    ("sleep", "TWO BUG_PLAIN_CLEAR"),
    ("sleep", "TWO BUG_RECHECK_FIRST"),
    ("sleep", "TWO BUG_SPINNING_AFTER_MPUT"),
    ("gil", "BUG_CLEAR_LATE"),
    ("gil", "BUG_LOOK_ONCE"),
    ("gil", "BUG_LOOK_THEN_CLEAR"),
    ("gil", "BUG_NO_HEAVY"),
    ("gil", "BUG_WATCH_FIRST"),
    ("gil", "SPAWNS=2 BUG_GRANT_ONCE"),
    ("gil", "FOREIGN REGS=1 SPAWNS=0 BUG_UNWATCHED_QUEUE"),
    ("gil", "FOREIGN REGS=1 BUG_NEW_M_COUNTED"),
    ("gil", "RECYCLE BUG_SLEEP_ONCE"),
    ("gil", "HOT LOOKS=0 FLIPS=0 BUG_SPINS_UNMARKED"),
    ("gil", "HOT FOREIGN REGS=1 SPAWNS=0 LOOKS=0 BUG_SENT_STAYS_OUT"),
    ("gil", "PLACE LOOKS=0 FLIPS=0 BUG_LEAVE_SILENT"),
    ("gil", "PLACE LOOKS=0 FLIPS=0 BUG_MADE_NONE_FORGOTTEN"),
    ("gil", "PLACE LOOKS=0 FLIPS=0 BUG_SENT_LEAVES_TOO"),
    ("gil", "PLACE REGS=1 LOOKS=0 FLIPS=0 BUG_SENT_LEAVES"),
    ("gil", "PLACE SPAWNS=2 LOOKS=0 FLIPS=0 HOSTS2=1 BUG_EQUALS"),
    ("sysmon", "BUG_DEADLINE_FIRST"),
    ("sysmon", "BUG_LOOK_ONCE"),
    ("sysmon", "NAPS=1 BUG_NAP_ENOUGH"),
    ("sysmon", "BUG_NO_HEAVY"),
    ("sysmon", "BUG_SLEEPS_KEPT"),
    ("sysmon", "BUG_SLEEPS_LATE"),
    ("sysmon", "BUG_UNTIL_FIRST"),
    ("sysmon", "BUG_UNTIL_LATE"),
    ("sysmon", "BUG_WAKES_SILENT"),
    ("sysmon", "NODES BUG_LOWER_LATE"),
    ("sysmon", "NODES BUG_UNDELIVERED_QUIET"),
    ("signals", "BUG_FLAG_CLEARED_LATE"),
    ("signals", "BUG_NO_FLAG"),
    ("signals", "BUG_NOT_ASKED"),
    ("signals", "ALONE BUG_ONLY_BLOCKED"),
    ("signals", "HANDLER BUG_LOOK_FIRST"),
    ("signals", "HANDLER BUG_WRITES_FIRST"),
    ("signals", "HANDLER ALONE BUG_ALONE_LOOK_FIRST"),
    ("blocks", "FREE=2 GOS=1 PARKS=2 BUG_CURG_IGNORED"),
    ("blocks", "NAPS=1 GOS=1 PARKS=2 BUG_NAP_SETTLED"),
    ("blocks", "BUG_NO_HEAVY"),
    ("blocks", "BUG_RESTS_LATE"),
    ("blocks", "BUG_ROUND_EARLY"),
    ("blocks", "BUG_ROUND_KEPT"),
    ("blocks", "FREE=2 GOS=1 PARKS=2 BUG_WAKE_SWALLOWED"),
    ("blocks", "BUG_WAKES_LATE"),
    ("blocks", "BUG_WAKES_SILENT"),
    ("netpoll", "BUG_CLEAR_LATE"),
    ("netpoll", "BUG_FLAGS_APART"),
    ("netpoll", "BUG_FLAG_FORGOTTEN"),
    ("netpoll", "BUG_FLAG_UNLOCKED"),
    ("netpoll", "BUG_NO_HUP"),
    ("netpoll", "BUG_QUEUED_LATE"),
    ("netpoll", "BUSY BUG_POLLING_KEPT"),
    ("netpoll", "BUSY BUG_UNTIL_LATE"),
    ("netpoll", "BUSY BUG_WAITER_SILENT"),
    ("netpoll", "BUSY BUG_WAKES_SILENT"),
    ("netpoll", "CANCEL BUG_BREAK_TAKEN"),
    ("netpoll", "CANCEL BUG_INBOX_FIRST"),
    ("netpoll", "CANCEL BUG_NO_BREAK"),
    ("park", "BUG_ELEM_FIRST"),
    ("park", "BUG_NO_SEQUENCE"),
    ("park", "BUG_PLAIN_CAS"),
    ("park", "BUG_READY_FIRST"),
    ("park", "BUG_SUDOG_LEFT"),
    ("park", "BUG_TIMER_LEFT"),
    ("runq", "BUG_BLIND_ADD"),
    ("runq", "BUG_COPY_LATE"),
    ("runq", "BUG_PLAIN_CAS"),
    ("runq", "BUG_TAIL_FIRST"),
]

pytestmark = [
    pytest.mark.skipif(
        shutil.which("spin") is None or COMPILER is None, reason="needs spin and a C compiler"
    ),
    pytest.mark.timeout(2 * TIME_LIMIT_S),
]


def run(command, directory):
    done = subprocess.run(
        command,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT_S,
    )
    return done.stdout


def check(directory, model, defines, optimize):
    """Generates, compiles and runs the verifier; returns what it prints."""
    flags = [f"-D{name}" for name in defines.split()]
    said = run(["spin", "-a", *flags, str(HERE / f"{model}.pml")], directory)
    assert (directory / "pan.c").exists(), said
    options = f"{optimize} -w -DSAFETY -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM={MEMORY_MB}"
    said = run([COMPILER, *options.split(), "-o", "pan", "pan.c"], directory)
    assert (directory / "pan").exists(), said
    # -E: a model says itself, where nothing moves any more, what an end state must be
    return run(["./pan", "-E", "-m20000"], directory)


def errors(said):
    return int(re.search(r"errors: (\d+)", said).group(1))


CHECKS = {}


def in_background(background, items):
    """The long ones first."""
    cases = [tuple(i.callspec.params.values()) for i in items if hasattr(i, "callspec")]
    for case in sorted(cases, key=BROKEN.__contains__):
        directory = background.directory / f"model-{len(CHECKS)}"
        directory.mkdir()
        CHECKS[case] = background.ask(check, directory, *case, OPTIMIZED if case in SOUND else "-O0")


@pytest.mark.parametrize("model, defines", SOUND)
def test_every_run_keeps_the_claim(model, defines):
    said = CHECKS[model, defines].result()
    assert errors(said) == 0, said
    for truncated in ("max search depth too small", "Search not completed", "MEMLIM"):
        assert truncated not in said, said


@pytest.mark.parametrize("model, defines", BROKEN)
def test_the_mistake_breaks_the_claim(model, defines):
    said = CHECKS[model, defines].result()
    assert errors(said) == 1 and "assertion violated" in said, said


def test_every_mistake_is_tried():
    tried = {name for _, defines in BROKEN for name in defines.split() if name.startswith("BUG_")}
    written = set()
    for path in HERE.glob("*.pml"):
        written |= set(re.findall(r"#\s*ifn?def (BUG_\w+)", path.read_text()))
        written |= set(re.findall(r"defined\((BUG_\w+)\)", path.read_text()))
    assert tried == written
