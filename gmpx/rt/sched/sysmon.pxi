# sysmon: a thread of its own that watches the others (proc.go: sysmon).
#
# It holds no P, runs no goroutine, has no Python thread state and never takes the GIL; all it does
# is to look, and to wake Ms:
#   - It fires the timers of Ms that do not see to theirs: Ms that stand in a call, or run for long
#     without a tick; foreign threads; threads that have ended.
#   - It looks into the pollers of Ms that have not for NET_LATE_NS (W7).
#   - It sees goroutines that keep a thread from others (rt/sched/blockwatch.pxi).
#   - It finds the Ps whose fresh Gs lie there because their M stands, and a global queue that does
#     not move, gives the verdict (rt/sched/policy.pxi) and has an M woken or started.
# It is started when it is first wanted. While `watch` is set it looks every LOOK_NS, or more often
# (rt/sched/watch.pxi). When QUIET_LOOKS in a row have found nothing to watch it sleeps: until the first
# timer of an M that does not see to its own, or until the next look for blocks, or for good.
#
# W3 and W4 (rt/sched/sleep.pxi) say why nobody waits for it in vain. Its side of both: note_clear,
# stores watch and until, heavy barrier, looks at everything once more, sleeps. (No barrier before a nap
# of NAP_MOST_NS or less, for which watch stays set: a timer that it misses is seen by the next look.) The
# others' side: they publish, pass the light barrier, read watch or until, and wake it if need be; who sees watch 0
# sets it, so one of many wakes it.

cdef enum:
    LOOK_NS = 5000000           # how often it looks while watch is set, at the least
    TIMER_LATE_NS = 5000000     # an awake M runs its own timers; by then sysmon does
    QUIET_LOOKS = 2
    SLOW_TAKES = 16             # fewer taken from the global queue in LOOK_NS: it hardly moves


cdef inline bint sysmon_rests() noexcept nogil:
    # After a fresh G was put where somebody might have to be sent for it (W4).
    gm_barrier_light()
    return gm_unlikely(gm_load_u32_relaxed(&sysmon.watch) == WATCH_NOT)


cdef inline void sysmon_watch() noexcept nogil:
    if sysmon_rests():
        sysmon_wake()


cdef inline void sysmon_timer(gm_m* m, int64_t when) noexcept nogil:
    # m, awake, has timers, the first of them due then (W3).
    gm_barrier_light()
    if gm_unlikely(timer_late(m, when) < gm_load_i64_relaxed(&sysmon.until)):
        sysmon_wake()


cdef inline int64_t timer_late(gm_m* m, int64_t when) noexcept nogil:
    # When sysmon fires it. The Ms that schedule have the first go.
    return when + (TIMER_LATE_NS if schedules(m) else 0)


cdef void sysmon_wake() noexcept nogil:
    cdef uint32_t was
    gm_store_i64_seqcst(&sysmon.until, 0)
    was = gm_exchange_u32_seqcst(&sysmon.watch, WATCH_ON)
    if was > WATCH_ON:
        gm_cas_u32_seqcst(&sysmon.watch, WATCH_ON, was)
    if was == WATCH_NOT or gm_load_u32_relaxed(&sysmon.started):
        if gm_exchange_u32_seqcst(&sysmon.started, 1) == 0:
            if PyThread_start_new_thread(sysmon_main, NULL) == <unsigned long>-1:
                # no thread to be had: the next one tries again
                gm_store_u32_seqcst(&sysmon.started, 0)
                gm_store_u32_seqcst(&sysmon.watch, WATCH_NOT)
                gm_store_i64_seqcst(&sysmon.until, INT64_MAX)
            return
        note_wakeup(&sysmon.note)


cdef void sysmon_main(void* unused) noexcept nogil:
    cdef int64_t now, until
    cdef bint quiet, woken
    gm_block_signals()
    gm_timer_slack_least()
    while True:
        note_clear(&sysmon.note, NOTE_ASLEEP)
        while gm_load_u32_seqcst(&sched.over):
            note_sleep(&sysmon.note, -1, False)         # for good
        now = gm_nanotime()
        until = sysmon_look(now, &quiet)
        sysmon.quiet = min(sysmon.quiet + 1, QUIET_LOOKS) if quiet else 0
        if sysmon.quiet < QUIET_LOOKS:
            until = min(until, now + LOOK_NS)
        else:
            hook_point(HOOK_SYSMON_QUIET)
            gm_store_i64_relaxed(&sysmon.hot_until, 0)
            if gm_exchange_u32_seqcst(&sysmon.watch, WATCH_NOT) != WATCH_NOT:
                blockwatch.unsettled = True             # BW3: a wake-up that a time-out has swallowed
        gm_store_i64_seqcst(&sysmon.until, until)
        # A nap ends before what is missed in it is late. It is none if `watch` is 0: what blockwatch_look
        # then takes for settled has to be so (BW3).
        if sysmon.quiet >= QUIET_LOOKS or until - now > NAP_MOST_NS:
            blockwatch_rests()
            hook_point(HOOK_SYSMON_SLEEP)
            gm_barrier_heavy()                          # W3, W4
        if sysmon.quiet >= QUIET_LOOKS and (
                anything_queued() or gm_load_u32_seqcst(&sched.undelivered)):
            gm_store_u32_seqcst(&sysmon.watch, WATCH_ON)
            sysmon.quiet = 0
            until = min(until, now + LOOK_NS)
        if sysmon.quiet >= QUIET_LOOKS:
            gm_store_u32_relaxed(&sched.nblocked_own, 0)
            gm_store_u32_relaxed(&sched.nblocked, 0)    # nothing keeps it up to date now
        until = min(until, first_timer())
        until = min(until, blockwatch_look(now, sysmon.quiet >= QUIET_LOOKS))
        if until == INT64_MAX:
            woken = note_sleep(&sysmon.note, -1, False) == 1
        else:
            woken = note_sleep(&sysmon.note, max(until - gm_nanotime(), 0), False) == 1
        if woken:
            sysmon.quiet = 0                            # there may be more of it
            if gm_nanotime() - sysmon.fresh_start >= FRESH_START_NS:
                sysmon.vain = sysmon.lessons = 0
                sysmon.fresh_start = gm_nanotime()
        gm_store_i64_seqcst(&sysmon.until, 0)           # it looks at once


cdef int64_t sysmon_look(int64_t now, bint* quiet) noexcept nogil:
    # One round. When it wants to look again at the latest; quiet: nothing is there to be watched.
    cdef bint stalled
    cdef int64_t nap = INT64_MAX
    late_timers(now)
    late_pollers(now)
    stalled = judge(now, quiet, &nap)
    if stalled or gm_load_u32_relaxed(&sched.undelivered):
        # One at a time: it is on its way, or does not get the GIL; it takes all that it finds.
        quiet[0] = False
        if gm_load_u32_relaxed(&sched.nmspinning) == 0:
            gm_unblock_signals()
            start_any()
            gm_block_signals()
    return min(nap, first_timer())


# ---- timers --------------------------------------------------------------------------------

cdef int64_t first_timer() noexcept nogil:
    # When the first timer is due that sysmon has to fire.
    cdef gm_m* m = allm_first()
    cdef int64_t when
    cdef int64_t first = INT64_MAX
    if gm_load_u32_relaxed(&sched.frozen):
        return INT64_MAX
    while m != NULL:
        when = gm_load_i64_relaxed(&m.timers.next_when)
        if when != INT64_MAX and not gm_load_u32_relaxed(&m.sleeps):
            first = min(first, timer_late(m, when))
        if net_awaited(m) and not gm_load_u32_relaxed(&m.polling):
            first = min(first, gm_load_i64_relaxed(&m.polled_at) + NET_LATE_NS)
        m = m.all_next
    return first


cdef void late_timers(int64_t now) noexcept nogil:
    cdef gm_m* m = allm_first()
    cdef int64_t when
    while m != NULL:
        when = gm_load_i64_relaxed(&m.timers.next_when)
        if when != INT64_MAX and not gm_load_u32_relaxed(&m.sleeps) and timer_late(m, when) <= now:
            while timers_batch(m, NULL, now):
                pass
        m = m.all_next


cdef void late_pollers(int64_t now) noexcept nogil:
    cdef gm_m* m = allm_first()
    while m != NULL:
        if net_awaited(m) and not gm_load_u32_relaxed(&m.polling) and (
                gm_load_i64_relaxed(&m.polled_at) + NET_LATE_NS <= now
                and not gm_load_u32_relaxed(&sched.frozen)):
            net_poll(m, NULL, 0)
        m = m.all_next


# ---- queues that do not move ----------------------------------------------------------------

cdef bint glob_stands(int64_t now) noexcept nogil:
    # Whether the head of the global queue has lain there for STALL_NS, and hardly any are taken.
    cdef uint64_t puts = gm_load_u64_relaxed(&sched.runq.puts)
    cdef uint64_t takes = gm_load_u64_relaxed(&sched.runq.takes)
    if sysmon.puts_at == 0 or now - sysmon.puts_at >= STALL_NS:
        sysmon.queue_stalled = sysmon.puts_at != 0 and takes < sysmon.puts and (
            takes - sysmon.takes < SLOW_TAKES)
        sysmon.puts = puts
        sysmon.takes = takes
        sysmon.puts_at = now
    return sysmon.queue_stalled


cdef bint anything_queued() noexcept nogil:
    cdef uint32_t i
    if gm_load_i64_relaxed(&sched.runq.size) > 0:
        return True
    for i in range(gm_load_u32_acquire(&sched.nallp)):
        if not runq_empty(allp[i]) or gm_load_i64_relaxed(&allp[i].spill.size) > 0:
            return True
    return False
