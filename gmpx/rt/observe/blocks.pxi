# The reporter: tells which goroutine keeps its thread from others (rt/sched/blockwatch.pxi).
#
# A thread of its own, started when sysmon first asks for it, like SIGQUIT's, without a Python state
# while it waits. For each look it makes one, takes the GIL, looks at every M that stands and calls
# gmpx.block_hook for the one behind which somebody has waited longest.
#
# Invariants
#   BR1  A verdict is given with the GIL, sched.lock held, and only of an M with a goroutine running: then
#        its queues stand still, for all that writes them needs the GIL or is its scheduler, where curg is
#        NULL. (On a free-threaded build they are hints, and `curg` is as true as Machine.curg.)
#   BR2  Nothing is done once `over` is set, and exit waits until nothing is under way: `busy` is set, then
#        over is read; exit sets over, then reads busy. A state is never made for a dying interpreter.
#   BR3  A state is made by thread_state_new, so not across a fork. A fork's child has no reporter, and
#        asks anew.
#   BR4  One report a second at most; a goroutine that has been reported, and goes on, is reported again
#        when it has lasted twice as long.
#
# A goroutine that keeps the GIL in one call of C holds up the reporter, too. What sysmon has measured
# is from before; the stack is of the moment at which the GIL is had, which is mostly right after
# that call. The report says for how long the GIL could not be had.

cdef enum:
    BLOCK_TELL_NS = 1000000000
    BLOCK_LIMIT_MS = 100
    BLOCK_MOST_MS = 3600000
    BLOCK_EXIT_TURNS = 1500             # naps that exit waits for a report: 0.3 s or a bit more


cdef int blocks_start() except -1:
    # Import: the limit.
    import os
    text = os.environ.get("GMPX_BLOCK_WARN_MS", "")
    ms = BLOCK_LIMIT_MS
    if text:
        try:
            ms = int(text)
            if not 0 <= ms <= BLOCK_MOST_MS:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"GMPX_BLOCK_WARN_MS must be an int from 0 to {BLOCK_MOST_MS}: {text!r}") from None
    blockwatch.limit = <int64_t>ms * 1000000
    return blocks_reset()


cdef int blocks_reset() noexcept nogil:
    # There is no reporter, and nothing has been seen. The limit stays.
    cdef int64_t limit = blockwatch.limit
    memset(&blockwatch, 0, sizeof(blockwatch))
    blockwatch.limit = limit
    blockwatch.next_at = INT64_MAX
    blockwatch.round = 1
    return note_init(&blockwatch.note)


cdef void blocks_ask() noexcept nogil:
    # sysmon
    gm_store_u32_seqcst(&blockwatch.asked, 1)
    if gm_exchange_u32_seqcst(&blockwatch.started, 1) == 0:
        if PyThread_start_new_thread(blocks_main, NULL) == <unsigned long>-1:
            gm_store_u32_seqcst(&blockwatch.started, 0)     # no thread to be had: at the next look
        return
    note_wakeup(&blockwatch.note)


cdef void blocks_main(void* unused) noexcept nogil:
    gm_block_all_signals()
    while True:
        note_clear(&blockwatch.note, NOTE_ASLEEP)
        gm_store_u32_seqcst(&blockwatch.busy, 1)
        if gm_exchange_u32_seqcst(&blockwatch.asked, 0) == 0 or gm_load_u32_seqcst(&sched.over):
            gm_store_u32_seqcst(&blockwatch.busy, 0)
            note_sleep(&blockwatch.note, -1, False)
            continue
        note_cancel(&blockwatch.note, NOTE_ASLEEP)
        blocks_look()
        gm_store_u32_seqcst(&blockwatch.busy, 0)


cdef void blocks_look() noexcept nogil:
    cdef PyThreadState* ts = thread_state_new()             # BR3
    if ts == NULL:
        return
    blockwatch.begun_at = gm_nanotime()
    PyEval_RestoreThread(ts)
    # not nogil for Cython, which counts references there
    (<void (*)() noexcept nogil>blocks_examine)()
    PyThreadState_Clear(ts)
    PyThreadState_DeleteCurrent()


cdef bint blocks_await() noexcept nogil:
    # BR2: whether exit has to wait.
    return gm_load_u32_seqcst(&blockwatch.busy) != 0


cdef void blocks_examine() noexcept:
    cdef gm_m* m
    cdef gm_m* worst = NULL
    cdef gm_watch w
    cdef int64_t now = gm_nanotime()
    if gm_load_u32_seqcst(&sched.over) or sys_finalizing():
        return
    gm_lock_acquire(&sched.lock)
    m = allm_first()
    while m != NULL:
        if block_examine(m, now) and (
                worst == NULL or waiting_since(&m.watch) < waiting_since(&worst.watch)):
            worst = m
        m = m.all_next
    if worst != NULL:
        w = worst.watch
        worst.watch.tell_at = now + max(BLOCK_TELL_NS, now - w.since)       # BR4
        blockwatch.tell_at = now + BLOCK_TELL_NS
    gm_lock_release(&sched.lock)
    if worst != NULL:
        try:
            block_tell(worst, &w, now, now - blockwatch.begun_at)
        except BaseException as e:
            unraisable(e)


cdef bint block_examine(gm_m* m, int64_t now) noexcept nogil:
    # BR1. Whether a report of m is due.
    cdef gm_watch* w = &m.watch
    cdef Py_ssize_t others
    cdef Py_ssize_t local
    if w.p == NULL or m.p != w.p or gm_load_u64_relaxed(&m.p.sched_tick) != w.tick or m.curg == NULL:
        return False
    w.seen = True
    w.cpu_seen = gm_cpu_time(m.cpu_clock)
    w.seen_at = now
    others = m.nworkers - m.nidle
    if m.curg != m.g_main:
        others += (1 if m.kind == M_MAIN else 0) - 1
    if others <= 0 and inbox_empty(&m.inbox):
        w.calm = blockwatch.round                           # BW3
    local = local_len(m)
    if local == 0:
        w.local_at = 0
    elif w.local_at == 0:
        if w.cpu >= 0 and w.cpu_seen - w.cpu < BLOCK_CPU_NS:
            w.local_at = w.since                            # it cannot have readied any since
        elif now - blockwatch.begun_at >= blockwatch.limit // 2:
            w.local_at = max(blockwatch.begun_at, w.since)             # nor while it kept the GIL
        else:
            w.local_at = now
            if w.inbox_at == 0:
                watch_from(w, now, w.cpu_seen)
    return m.locked_g == NULL and block_is_due(w, now)


cdef Py_ssize_t local_len(gm_m* m) noexcept nogil:
    return m.ready.n + m.yielded.n + (1 if m.readynext != NULL else 0)


cdef Py_ssize_t inbox_len(gm_m* m) noexcept nogil:
    # BR1: only its M takes from it.
    cdef gm_g* g = <gm_g*>gm_load_ptr_acquire(&m.inbox)
    cdef Py_ssize_t n = 0
    while g != NULL:
        n += 1
        if GM_FREE_THREADED:
            break
        g = g.schedlink
    return n


cdef int block_tell(gm_m* m, gm_watch* w, int64_t now, int64_t gil_wait) except -1:
    # GIL held since m was examined, so what was found there is still so.
    cdef gm_g* g = m.curg
    cdef bint starves, computes
    if g == NULL:
        return 0
    import sys
    from gmpx.blocks import BlockReport, tell
    handle = <object>OBJ(g)
    waiting = local_len(m) + inbox_len(m)
    main_waits = m.kind == M_MAIN and g != m.g_main and (
        gm_load_u32_relaxed(&m.g_main.status) == G_RUNNABLE)
    watch_waits(w, gm_waits_for_gil(m.tid))
    starves = w.wanted > w.away             # a call that has just ended waits for the GIL, too
    computes = 2 * w.held > w.looks
    if w.from_cpu >= 0:
        # a tenth: others that compute leave it a part of the GIL's time, and of the machine's
        computes = w.cpu_seen - w.from_cpu >= (now - w.from_at) // 10
    # A clock that stands does not tell, on a loaded machine: it may be the others' turn.
    computes = computes or (not starves and gm_sleeps_in_kernel(m.tid) == 0)
    stack = stack_of(g, sys._current_frames())
    stack.reverse()
    blockwatch.told += 1
    tell(BlockReport(
        handle, m.id, "computing" if computes else "starved" if starves else "blocked", (now - w.since) * 1e-9, waiting,
        (now - waiting_since(w)) * 1e-9, main_waits, gil_wait * 1e-9, stack))
    return 0
