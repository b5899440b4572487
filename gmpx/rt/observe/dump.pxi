# What hangs and where: snapshots for dump(), SIGQUIT, deadlock detection.
#
# A snapshot takes raw (code, line) pairs of every goroutine under the GIL before anything is
# formatted (gmpx/dump.py does that).
#
# SIGQUIT: the handler (rt/observe/sigquit.h) posts a semaphore; a thread of its own, which holds no GIL
# and has no Python state while it waits, then calls gmpx.dump. It is made at a process's first
# contact with the runtime, unless SIGQUIT is in use already.
#
# Deadlock. M0 looks when it has slept for LOOK_AFTER_NS, and then sleeps for good, if there is no
# thread that the runtime does not know: while one lives it looks again after twice the time each.
# Other Ms, and foreign threads, that have slept for so long or end wake M0 to look anew. It is a
# deadlock if the main goroutine is parked and nothing can end its wait or another's:
#   V1  every M of the runtime sleeps, with nothing in its inbox or queues; nothing is queued
#       anywhere; no timer is pending or about to be delivered (an M that is kept to one goroutine:
#       that one is parked without a time-out, and the others there cannot run);
#   V2  every other thread of the interpreter is parked in gmpx, without a time-out and with
#       nothing in its inbox, or is blocking()'s and idle;
#   V4  the process has no other threads that might call Python (Linux: those of /proc/self/task;
#       elsewhere unseen).
#   V3  no Python signal handler is installed but the default one of SIGINT, or what gmpx.aio.run and asyncio.run
#       put in its place;
#   V5  nobody waits for a descriptor.
# All that could change this needs the GIL, which the look holds, or is an M that V1 sees awake.

from libc.signal cimport SIGQUIT

cdef extern from "rt/observe/sigquit.h" nogil:
    int gm_quit_install()
    bint gm_quit_is_ours()
    void gm_quit_wait()
    void gm_quit_fork_child()

cdef extern from "Python.h":
    void* PyInterpreterState_ThreadHead(void*) noexcept
    void* PyThreadState_Next(void*) noexcept

cdef bint quit_tried = False
cdef bint quit_thread_runs = False


class DeadlockError(RuntimeError):
    """Raised in the main goroutine when nothing can ever run again. Its text is the dump.

    Every goroutine is parked then, and there is no timer, no other thread that is not parked in
    gmpx, and no Python signal handler but the default SIGINT one (or that of ``gmpx.aio.run``), so it is never a
    false alarm. On Linux threads that a C library has made count, too; elsewhere they are not seen.
    """


# ---- snapshots -----------------------------------------------------------------------------

def _snapshot():
    """_snapshot()
--

    All live goroutines: (handle, status, reason, seconds waited, M's id, id of the goroutine that
    has locked that M or 0, [(code, line) ...], (descriptor, "read" or "write") or None, the text of the
    lock or SimpleQueue that it waits for or "")."""
    cdef int64_t now = gm_nanotime_coarse() >> SINCE_SHIFT
    cdef Goroutine g
    cdef gm_park* pk
    cdef list found = []
    import sys
    running = sys._current_frames()
    locks = {<uintptr_t>&(<_LockWaiters>w).q: (<_LockWaiters>w).held for w in lock_waiters.values()}
    for obj in live_goroutines():
        g = <Goroutine>obj
        pk = g.g.park
        waited = 0.0
        mid = None
        locked = 0
        if pk != NULL:
            mid = pk.m.id
            if pk.m.locked_g != NULL:
                locked = pk.m.locked_g.goid
            if gm_load_u32_acquire(&g.g.status) == G_WAITING:
                waited = <uint32_t>(<uint32_t>now - pk.since) * (1e-9 * (1 << SINCE_SHIFT))
        found.append((obj, g.status, g.wait_reason, waited, mid, locked, stack_of(&g.g, running),
                      awaited_by(pk) if pk != NULL else None,
                      lock_text(locks.get(<uintptr_t>pk.sudog.queue)) if pk != NULL else ""))
    return found


cdef str lock_text(object lock):
    # A lock of CPython's under the patch. Who has it is known of an RLock alone.
    cdef PyObject* o = <PyObject*>lock
    cdef uint64_t owner
    if lock is None:
        return ""
    text = f"{type(lock).__module__}.{type(lock).__name__} at {<uintptr_t>o:#x}"
    if type(lock) is not rlock_type or gm_rlock_count(o) == 0:
        return text
    owner = gm_rlock_owner(o)
    return f"{text} held by {owner_text(owner)}"


cdef str owner_text(uint64_t owner):
    # TK4
    cdef gm_g* g = all_gs.head
    while g != NULL:
        if owner == (g.goid << 1 | 1) or (g.park != NULL and g == g.park.m.g_main and owner == owner_key(g.park.m, g)):
            return f"goroutine {g.goid}"
        g = g.all_next
    return f"goroutine {owner >> 1}, which has ended" if owner & 1 else f"thread {owner}"


cdef object awaited_by(gm_park* pk):
    cdef uint32_t mode
    cdef gm_pd* pd = pd_awaited_by(pk, &mode)
    if pd == NULL:
        return None
    return pd.fd, "read" if mode == PD_READ else "write"


cdef list stack_of(gm_g* g, dict running):
    # Innermost first.
    cdef gm_park* pk = g.park
    cdef gm_m* m = gm_tls_m
    cdef list found = []
    cdef object frame
    if pk == NULL:
        return found
    if pk.gl != NULL:
        frame = (<object>pk.gl).gr_frame
    elif m != NULL and m.curg == g:
        frame = frame_here()
    else:
        frame = running.get(pk.m.ident)
    while frame is not None:
        found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return found


def _nprocs():
    """_nprocs()
--

    gomaxprocs(), without making the calling thread known to the runtime."""
    return gm_load_u32_relaxed(&sched.nprocs)


# ---- SIGQUIT -------------------------------------------------------------------------------

cdef int quit_start() except -1:
    global quit_tried, quit_thread_runs
    import os
    if quit_tried:
        return 0
    quit_tried = True
    if os.environ.get("GMPX_SIGQUIT", "") == "0" or gm_quit_install() <= 0:
        return 0
    PyThread_start_new_thread(quit_thread, NULL)
    quit_thread_runs = True
    return 0


cdef void quit_thread(void* unused) noexcept nogil:
    gm_block_all_signals()                  # else those that the program blocks and waits for end up here
    while True:
        gm_quit_wait()
        quit_dump()


cdef void quit_dump() noexcept with gil:
    try:
        import gmpx
        gmpx.dump()
    except BaseException as e:
        unraisable(e)


cdef void quit_forked() noexcept:
    # In a fork's child: the thread is the parent's.
    global quit_thread_runs
    quit_thread_runs = False
    if quit_tried and gm_quit_is_ours():
        gm_quit_fork_child()
        PyThread_start_new_thread(quit_thread, NULL)
        quit_thread_runs = True


# ---- deadlock ------------------------------------------------------------------------------

cdef enum:
    LOOK_AGAIN_NS = 1000000000              # threads live that may yet wake somebody


cdef void look_for_life(gm_m* m) noexcept:
    # m has slept for LOOK_AFTER_NS; GIL held.
    if not hears_signals(m):
        main_looks_again()
        return
    gm_store_u32_seqcst(&sched.look_asked, 0)
    m.look_again = max(2 * m.look_again, LOOK_AGAIN_NS) if deadlock_look(m) else 0
    hook_point(HOOK_LOOKED)
    if m.interrupt == NULL:
        m_deep_begin(m)
        hook_point(HOOK_DEEP_BEGUN)


cdef bint deadlock_look(gm_m* m) noexcept:
    # M0 in the scheduler, GIL held, having found nothing to run. True: there is life that may end
    # without a word to the runtime, so look again.
    if gm_load_u32_relaxed(&m.g_main.status) != G_WAITING and m.alone_park == NULL:
        return False
    if anybody_awaits_io():
        return False                        # an event will wake its M, which looks again
    if not runtime_asleep(m):
        return True
    if any_timer():
        return False                        # an M will run, and sleep again
    if sys_finalizing():
        return False                        # nothing can be imported any more: a finalizer hangs, as it would without gmpx
    try:
        if signal_life():
            return False
        if foreign_life() or native_life():
            return True
        raise_deadlock(m)
    except BaseException as e:
        unraisable(e)
    return False


cdef bint any_timer() noexcept nogil:
    # V1. Those that are just firing count (T5).
    cdef gm_m* m = allm_first()
    while m != NULL:
        if timers_pending(&m.timers):
            return True
        m = m.all_next
    return False


cdef bint anybody_awaits_io() noexcept nogil:
    cdef gm_m* m = allm_first()
    while m != NULL:
        if net_awaited(m):
            return True
        m = m.all_next
    return False


cdef bint runtime_asleep(gm_m* m) noexcept:
    # V1
    cdef gm_m* other
    cdef bint asleep = True
    if anything_queued() or not inbox_empty(&m.inbox):
        return False
    if m.alone_park != NULL:
        if m.alone_park.timer.when >= 0:
            return False
    elif m.readynext != NULL or m.ready.head != NULL or m.yielded.head != NULL:
        return False
    gm_lock_acquire(&sched.lock)
    other = allm_first()
    while other != NULL and asleep:
        if other.kind == M_WORKER:
            if not inbox_empty(&other.inbox):
                asleep = False
            elif other.alone_park != NULL:
                asleep = other.alone_park.timer.when < 0
            elif not other.blocked:
                asleep = False
        other = other.all_next
    gm_lock_release(&sched.lock)
    return asleep


cdef bint foreign_life() noexcept:
    # V2. Whether a thread runs that is not parked in gmpx.
    cdef void* ts = PyInterpreterState_ThreadHead(PyInterpreterState_Main())
    while ts != NULL:
        if thread_lives(ts):
            return True
        ts = PyThreadState_Next(ts)
    return False


cdef gm_m* m_of_state(void* ts) noexcept nogil:
    # The M of the thread with that state, or NULL. sched.lock held.
    cdef gm_m* m = allm_first()
    while m != NULL and m.ts != ts:
        m = m.all_next
    return m


cdef bint thread_lives(void* ts) noexcept:
    cdef gm_m* m
    cdef bint lives = not spare_is_idle(ts)
    gm_lock_acquire(&sched.lock)
    m = m_of_state(ts)
    if m != NULL and m.kind != M_FOREIGN:
        lives = False                       # V1 has looked at it
    elif lives and m != NULL and inbox_empty(&m.inbox):
        lives = gm_load_u32_relaxed(&m.g_main.status) != G_WAITING or m.g_main.park.timer.when >= 0
    gm_lock_release(&sched.lock)
    return lives


cdef bint native_life() except -1:
    # V4. A C library's thread has a Python state only while it calls.
    cdef void* ts = PyInterpreterState_ThreadHead(PyInterpreterState_Main())
    cdef Py_ssize_t known = ((1 if quit_thread_runs else 0) + gm_load_u32_relaxed(&sysmon.started)
                             + gm_load_u32_relaxed(&blockwatch.started))
    import os
    if blocks_await():
        return True                         # it may have a state just now: counted twice
    while ts != NULL:
        known += 1
        ts = PyThreadState_Next(ts)
    try:
        return len(os.listdir("/proc/self/task")) > known
    except OSError:
        return False


cdef bint signal_life() except -1:
    # V3
    import signal
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if type(handler) is _SignalHandler:
            handler = handler.handler
        if callable(handler) and handler is not signal.default_int_handler and (
                handler is not _sigint_handler) and not (number == SIGINT and loop_sigint(handler)):
            return True
    return False


cdef bint loop_sigint(handler) except -1:
    # Whether it does to a loop's main task what the default one does to a program, and nothing else.
    import functools
    import sys
    import types
    if type(handler) is types.FunctionType:
        return getattr(handler, "_gmpx_loop_sigint", None) is True      # gmpx.aio.run's
    runner = getattr(sys.modules.get("asyncio.runners"), "Runner", None)    # 3.11 on
    return runner is not None and isinstance(handler, functools.partial) and (
        getattr(handler.func, "__func__", None) is runner._on_sigint)


cdef int raise_deadlock(gm_m* m) except -1:
    try:
        from gmpx.dump import format_dump
        text = format_dump()
    except Exception as e:
        text = f"(no dump: {e!r})"
    tasks_tell()
    set_interrupt(m, DeadlockError("all goroutines are asleep: deadlock\n\n" + text))
    interrupt_main(m)
    return 0
