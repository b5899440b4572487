"""Work that comes while sysmon goes to rest: between its look and its word that it rests, or between
that and its sleep (rt/sched/sysmon.pxi, W3 and W4)."""

import sysconfig

import pytest

gil = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="without a GIL `go` wakes an M itself"
)

RESTS = """
    point = sys.argv[1]
    gmpx.go(lambda: None).join()                # sysmon's thread begins
    arm("sysmon_quiet")
    gmpx.go(lambda: None).join()                # it is awake, whatever it did
    reached("sysmon_quiet")                     # it has looked: nothing is queued
    if point == "sysmon_sleep":
        arm("sysmon_sleep")
        let_go("sysmon_quiet")
        reached("sysmon_sleep")                 # it has said that it rests
"""
points = pytest.mark.parametrize("point", ["sysmon_quiet", "sysmon_sleep"])


@gil
@points
def test_a_spawn_before_its_sleep_is_seen_to(held, point):
    held(RESTS + """
    done = threading.Event()
    gmpx.go(done.set)                           # main's ring, and main stands from here on
    let_go(point)
    assert done.wait(PATIENCE), "nobody came for it"
    again = threading.Event()
    gmpx.go(again.set)
    assert again.wait(PATIENCE), "nobody is told any more"
    """, point).end(0)


@points
def test_a_foreign_threads_spawn_before_its_sleep_is_seen_to(held, point):
    held(RESTS + """
    got = []
    t = thread(lambda: got.append(gmpx.go(lambda: 42).result()))
    until(lambda: _core._glob_runq_len() or got)
    let_go(point)
    ended(t)
    assert got == [42]
    """, point).end(0)


@points
def test_a_foreign_threads_timer_before_its_sleep_is_fired(held, point):
    held(RESTS + """
    got = []
    t = thread(lambda: got.append(gmpx.after(0.001).recv()))
    until(_core._n_timers)
    let_go(point)
    ended(t)
    assert len(got) == 1
    """, point).end(0)


@points
def test_main_stands_with_a_timer_set_before_its_sleep(held, point):
    held(RESTS + """
    fired = threading.Event()
    gmpx.after_func(0.001, fired.set)
    let_go(point)
    assert fired.wait(PATIENCE)
    """, point).end(0)
