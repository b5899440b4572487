"""Rings, queues, notes, park words, Ms, sysmon and pollers under ThreadSanitizer, rings of 4 and 256.

harness.pyx includes the very fragments of gmpx/rt/ that ship; here they are compiled with
-fsanitize=thread and driven from C threads in a child process. A data-race report, a lost or
doubled item, a wrong order or a lost wake-up fails. BROKEN lists deliberate mistakes that the
harness must catch, each made in a copy of the fragments: what cannot fail proves nothing.

Longer, by hand:

    GMPX_NATIVE_ITEMS=5000000 GMPX_NATIVE_SEED=7 pytest tests/native -s --timeout=0
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FRAGMENTS = {
    "capi": "platform",
    "note": "platform",
    "runq": "sched",
    "gqueue": "sched",
    "gfree": "g",
    "park": "sched",
    "timers": "sched",
    "policy": "sched",
    "proc": "sched",
    "sleep": "sched",
    "learn": "sched",
    "watch": "sched",
    "sysmon": "sched",
    "blockwatch": "sched",
    "machine": "sched",
    "netpoll": "io",
}
# The parts of fragments that touch no Python object: what a part is called, and where it begins and ends
PARTS = {
    "netpoll": ("netpoll_nogil", [('cdef extern from "errno.h"', "cdef int net_wait(")]),
    "park": ("park_queue", [("cdef inline uint64_t park_arm(", "# ---- gopark ---")]),
    "learn": ("learn_nogil", [("cdef gm_u32 codes_placed", "# ---- learning ---")]),
    "proc": (
        "proc_nogil",
        [
            ("cdef enum:\n    FAIR_TICKS", "cdef inline void execute("),
            ("cdef inline gm_g* local_next(", "# Out of line, so that schedule"),
            ("cdef enum:                              # why find_work", "# ---- changing over"),
        ],
    ),
    "machine": (
        "machine_nogil",
        [
            ("cdef enum:\n    AWAIT_P_NS", 'cdef extern from *:\n    """\n    /* Always inline'),
            ("cdef inline bint schedules(", "cdef inline bint runs_main("),
            ("# ---- Ps: under sched.lock", "# ---- gomaxprocs"),
            ("cdef inline gm_m* allm_first()", "cdef void m_free("),
        ],
    ),
}
DRIVERS = ["fifo", "ring:3", "ring:2", "order:3", "inbox_and_note:3", "note:2", "note:3"]
DRIVERS += ["gfree:3", "park:3", "park:4", "net:6", "machines:5"]
SLOTS = (4, 256)                # of a ring
ITEMS = int(os.environ.get("GMPX_NATIVE_ITEMS", "40000"))
SEED = int(os.environ.get("GMPX_NATIVE_SEED", "0")) or int.from_bytes(os.urandom(3), "big") + 1
TIME_LIMIT_S = max(100, ITEMS // 1000)
BROKEN_ITEMS = 5000             # of which the sound harness makes a tenth of a second
TSAN_EXIT = 66


def unlocked(text):
    """A text, and the same without its lock."""
    return text, "".join(line for line in text.splitlines(True) if "gm_lock_" not in line)


# name: (fragment, text, what stands in its place, drivers of which one must fail)
BROKEN = {
    # V's scheduler: the head moves by a blind fetch-add, so that two takers get one G.
    "blind_fetch_add": (
        "runq",
        "        if gm_likely(gm_cas_u32_acqrel(&p.runq_head, h, h + 1)):\n            return g",
        "        gm_fetch_add_u32_seqcst(&p.runq_head, 1)\n        return g",
        ["ring:3"],
    ),
    # R1's release: the taker's reads of the G are not ordered after the owner's writes.
    "tail_relaxed": (
        "runq",
        "gm_store_u32_release(&p.runq_tail, t + 1)  #",
        "gm_store_u32_relaxed(&p.runq_tail, t + 1)  #",
        ["order:3"],
    ),
    # N2: the sleeper that timed out or did not sleep leaves the post behind.
    "post_left": (
        "note",
        "        PyThread_acquire_lock(n.sem, WAIT_LOCK)  # signalled meanwhile",
        "        pass  # signalled meanwhile",
        ["note:3"],
    ),
    # N3: the note is not cleared before the look for work.
    "never_cleared": ("note", "gm_exchange_u32_seqcst(&n.state, on)", "pass", ["inbox_and_note:3"]),
    # Q3: a push that is no compare-and-swap loses what another has pushed meanwhile.
    "inbox_store": (
        "gqueue",
        "        if gm_cas_ptr_seqcst(inbox, head, g):",
        "        gm_store_ptr_release(inbox, g)\n        if True:",
        ["inbox_and_note:3"],
    ),
    # K1: every waker thinks that it has won.
    "all_win": (
        "park",
        "return gm_cas_u64_acqrel(&pk.word, word, word + 1)",
        "gm_cas_u64_acqrel(&pk.word, word, word + 1)\n    return True",
        ["park:4"],
    ),
    # K1 for the timer: it fires at a park that has ended.
    "word_blind": ("timers", "if not park_win(t.park, t.word):", "if False:", ["park:4"]),
    # Q2: the global queue, or a spill, is taken from without the lock.
    "refill_unlocked": (
        "proc",
        *unlocked(
            """    gm_lock_acquire(&sched.lock)
    g = glob_runq_get(p, glob_share()) if q == &sched.runq else batches_get(q, p, GM_RUNQ_HALF)
    gm_lock_release(&sched.lock)
"""
        ),
        ["machines:5"],
    ),
    # sysmon reads of a P what its M's coming writes.
    "sample_unlocked": (
        "watch",
        *unlocked(
            """    gm_lock_acquire(&sched.lock)                # no M gives up its P, and then its thread state
    for i in range(n):
        seen |= sample(allp[i], now)
    gm_lock_release(&sched.lock)
"""
        ),
        ["machines:5"],
    ),
    # BW1: an M's P is read while that changes.
    "blocks_unlocked": (
        "blockwatch",
        *unlocked(
            """    gm_lock_acquire(&sched.lock)
    if blockwatch.unsettled:
        blockwatch.round += 1                           # BW3
        blockwatch.unsettled = not settled
    m = NULL if gm_load_u32_relaxed(&sched.frozen) else allm_first()        # BW4
    while m != NULL:
        on = blockwatch_m(m, now, settled, late, &asks) or on
        m = m.all_next
    gm_lock_release(&sched.lock)
"""
        ),
        ["machines:5"],
    ),
    # NP1: an event's waiters are taken without the lock.
    "event_unlocked": (
        "netpoll",
        "    pd_lock(pd)\n    if gm_likely(pd.seq ==",
        "    if gm_likely(pd.seq ==",
        ["net:6"],
    ),
    # NP2: an event that finds PD_READ set wakes nobody: "they know".
    "edge_swallowed": (
        "netpoll",
        "            gm_fetch_or_u32_seqcst(&pd.flags, bits)\n            pd_take(pd, bits, NET_READY, due)",
        "            if bits & ~gm_fetch_or_u32_seqcst(&pd.flags, bits):\n"
        "                pd_take(pd, bits, NET_READY, due)",
        ["net:6"],
    ),
    # A one-shot event of one direction leaves the other unarmed.
    "not_armed_again": (
        "netpoll",
        "            if not pd_idle(pd) and gm_poller_set(",
        "            if False and gm_poller_set(",
        ["net:6"],
    ),
    # W2 for who sleeps in its poller.
    "poller_not_broken": ("sleep", "        gm_poller_break(&m.poller)", "        pass", ["net:6"]),
    # Q3: newest first.
    "inbox_unreversed": (
        "gqueue",
        "        g.schedlink = prev\n        prev = g\n        g = next",
        "        gq_put(into, g)\n        g = next",
        ["inbox_and_note:3"],
    ),
}


def tsan_library():
    """libtsan of the compiler in use, or None."""
    if not sys.platform.startswith("linux") or shutil.which("gcc") is None:
        return None
    path = subprocess.run(
        ["gcc", "-print-file-name=libtsan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return os.path.realpath(path) if os.path.isabs(path) else None


def child_command():
    """setarch -R where it works: libtsan wants fixed places in the address space."""
    setarch = shutil.which("setarch")
    if setarch is not None:
        command = [setarch, os.uname().machine, "-R"]
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return []


@pytest.fixture(scope="session")
def tsan():
    """The preload library; skips where the harness cannot be built or run."""
    pytest.importorskip("Cython", reason="the harness is compiled by Cython")
    library = tsan_library()
    if library is None:
        pytest.skip("needs gcc and libtsan")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("the harness is about nogil code, which is the same on the GIL build")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("needs Python.h")
    probe = subprocess.run(
        [*child_command(), sys.executable, "-c", "pass"],
        env=dict(os.environ, LD_PRELOAD=library),
        capture_output=True,
        text=True,
    )
    if probe.returncode != 0:
        pytest.skip(f"libtsan does not run here: {probe.stderr.strip()[-200:]}")
    return library


def translate(directory, broken=None):
    """Writes directory/harness.c, with the mistake made in the copy of one fragment."""
    for name, room in FRAGMENTS.items():
        text = (ROOT / "gmpx" / "rt" / room / f"{name}.pxi").read_text()
        if broken is not None and broken[0] == name:
            assert text.count(broken[1]) == 1, f"{name}.pxi has changed: adapt BROKEN"
            text = text.replace(broken[1], broken[2])
        if name in PARTS:
            name, cuts = PARTS[name]
            text = "\n\n".join(text[text.index(a) : text.index(b)] for a, b in cuts)
        (directory / "rt" / room).mkdir(parents=True, exist_ok=True)
        (directory / "rt" / room / f"{name}.pxi").write_text(text)
    for name in ("harness.pyx", "harness_park.pxi", "harness_sched.pxi", "harness_net.pxi"):
        shutil.copy(HERE / name, directory)
    command = [sys.executable, "-m", "cython", "-3", "-I", str(ROOT), "harness.pyx"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def compile_harness(directory, slots, into):
    """Builds into/harness.so."""
    into.mkdir(exist_ok=True)
    command = [
        *"gcc -std=gnu11 -shared -fPIC -O1 -g1 -fno-omit-frame-pointer -fsanitize=thread".split(),
        # TSan cannot model fences; none of the fragments relies on one alone
        *"-Wno-tsan -w -DGM_TSAN_HARNESS".split(),
        f"-DGM_RUNQ_SLOTS={slots}",
        *("-I", str(ROOT / "gmpx"), "-I", sysconfig.get_path("include")),
        *(str(directory / "harness.c"), "-o", str(into / "harness.so")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def drive(library, directory, items, drivers, stuck_s=10.0, limit_s=TIME_LIMIT_S):
    """Runs drive.py; returns (exit status, output). A hang counts as a failure."""
    env = dict(
        os.environ,
        LD_PRELOAD=library,
        TSAN_OPTIONS=f"exitcode={TSAN_EXIT} halt_on_error=0 report_signal_unsafe=0",
    )
    command = [*child_command(), sys.executable, str(HERE / "drive.py"), str(directory)]
    try:
        done = subprocess.run(
            [*command, str(SEED), str(items), str(stuck_s), *drivers],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as e:
        return "hang", (e.stdout or b"").decode(errors="replace")
    return done.returncode, done.stdout


pytestmark = pytest.mark.timeout(900)  # behind the others in the background
BUILDS = {}


def in_background(background, items):
    for item in items:
        which = next(iter(item.callspec.params.values()))
        directory = background.directory / f"native-{which}"
        BUILDS[which] = background.ask(build, directory, *((which, None) if which in SLOTS else (4, BROKEN[which])))


def build(directory, slots, broken):
    """The harness with such a ring, and the mistake; where it is."""
    (directory / "c").mkdir(parents=True)
    translate(directory / "c", broken)
    compile_harness(directory / "c", slots, directory)
    return directory


@pytest.mark.parametrize("slots", SLOTS)
def test_each_item_comes_out_once_and_in_order(tsan, slots):
    status, output = drive(tsan, BUILDS[slots].result(), ITEMS, DRIVERS)
    print(output)
    assert status == 0, f"seed {SEED}\n{output[-6000:]}"
    assert "WARNING: ThreadSanitizer" not in output


@pytest.mark.parametrize("name", BROKEN)
def test_the_harness_catches(tsan, name):
    drivers = BROKEN[name][3]
    built = BUILDS[name].result()
    # Threads that take turns on a busy machine collide seldom: a longer run finds them.
    for items in (BROKEN_ITEMS, 10 * BROKEN_ITEMS, 100 * BROKEN_ITEMS):
        status, output = drive(tsan, built, items, drivers, 1.0, 5.0 + items / 5000)
        if status != 0:
            break
    print(output[:2000])
    assert status != 0, f"seed {SEED}: {name} went unnoticed\n{output[-2000:]}"
    assert status in ("hang", 1, TSAN_EXIT) or "gmpx: fatal" in output, output[-2000:]
