# What sysmon sees of the Ps: which of them stand, and whose goroutines run without the GIL.
#
# A look at a P is a sample: has it ticked since the last one, and who has the GIL (rt/platform/gil.h)?
# A goroutine that was found *outside*, without the GIL, leaves it to other threads: another M then gains
# what this one loses nothing by. One that keeps it gains nothing by another M, and is slowed by it.
#
#   STANDS_*  is the verdict on a P that has not ticked between looks (rt/sched/policy.pxi).
#   hot       says of the whole process that its work is done outside, so that every `go` wakes an M and thieves
#             take what they find. It lasts until COLD_LOOKS have shown nobody outside, and no longer than
#             HOT_NS from the last look that showed one of
#               A  a G that has been outside for OUTSIDE_NS, by the last two samples of the same tick;
#               B  half of the last 16 samples of a P outside, and PACE_NS or more from tick to tick:
#                  tasks that are too short for A.
#             A sample outside counts if the G stays there for PROBE_NS: a system call of a microsecond ends
#             sooner, and a second thread would only be in its way when it comes back for the GIL
#             (measured on 1-byte writes: 0.5 of one thread's speed without the probe).
#
# How often: every NAP_NS while fresh Gs wait and a P is idle, and a CPU, for VAIN_NAPS looks that show nothing;
# then half as often after each, down to NAP_MOST_NS. A new start after the next sample outside, or after the
# next spawn that finds sysmon at rest, but not within FRESH_START_NS. Else every BUSY_NAP_NS, up to four times that
# while all compute (each look stops one of them), a quarter while one may stand in the kernel. (Go's 20 us are wrong
# here: a look costs up to 20 us of CPU in a virtual machine; at a steady 50 us that is 17 % of a core.) Where nothing
# is queued every LOOK_NS, for LESSONS looks at most (lesson).

cdef enum:
    SEEN_OUTSIDE = 1            # and computes
    SEEN_BLOCKED = 2            # without the GIL, and has not used its CPU time: in the kernel, perhaps
    STALL_NS = 5000000          # a P with fresh Gs has stood still for this long, as all others
    SLOW_STALL_NS = 50000000    # or for this long, whatever the others did
    BLOCKED_NS = 500000         # or outside for this long, and used no CPU time
    FREE_SAMPLES = 3            # in a row that found nobody who had the GIL, or waited for it
    OTHER_SAMPLES = 16          # found so often without the GIL, somebody else perhaps having it
    STILL_NS = 10000000         # or its clock has stood for this long
    OUTSIDE_NS = 100000
    LESSONS = 32                # looks at goroutines that take turns, with nothing fresh queued
    PACE_NS = 8000
    PROBE_NS = 5000
    HOT_NS = 20000000
    COLD_LOOKS = 8              # in a row that show nobody outside end it
    PLACED_HOT_NS = 5000000     # but not so soon after placed code was spawned: it has to get to its Ms
    NAP_NS = 50000
    NAP_MOST_NS = 1000000
    BUSY_NAP_NS = 500000
    VAIN_NAPS = 50
    FRESH_START_NS = 20000000


cdef bint judge(int64_t now, bint* quiet, int64_t* nap) noexcept nogil:
    # Updates what is known of each P. True: an M is to be sent for fresh Gs. nap: until when they are
    # to be looked at again.
    cdef uint32_t i
    cdef uint32_t blocked = 0
    cdef uint32_t own = 0
    cdef uint32_t idle
    cdef uint32_t n = gm_load_u32_acquire(&sched.nallp)
    cdef bint stalled = False
    cdef bint queued = False
    cdef bint ticks
    cdef int seen = 0
    cdef gm_p* p
    for i in range(n):
        p = allp[i]
        if gm_load_u64_relaxed(&p.sched_tick) != gm_load_u64_relaxed(&p.seen):
            sysmon.ticked_at = now
    ticks = sysmon.ticked_at == now
    sysmon.standing = now - sysmon.ticked_at
    gm_lock_acquire(&sched.lock)                # no M gives up its P, and then its thread state
    for i in range(n):
        seen |= sample(allp[i], now)
    gm_lock_release(&sched.lock)
    sysmon.vain = 0 if seen else sysmon.vain + 1
    for i in range(n):
        p = allp[i]
        if gm_load_u32_relaxed(&p.verdict) == STANDS_BLOCKED:
            blocked += 1
            own += p.id < <int32_t>gm_load_u32_relaxed(&sched.nprocs)
        if fresh_len(p) > 0:
            queued = True
            if gm_load_u32_relaxed(&p.verdict) != STANDS_NOT:
                stalled = True
    gm_store_u32_relaxed(&sched.nblocked, blocked)
    gm_store_u32_relaxed(&sched.nblocked_own, own)
    if gm_load_i64_relaxed(&sched.runq.size) > 0:
        queued = True
        # Every P that is held stands in the kernel: nobody comes to it.
        idle = gm_load_u32_relaxed(&sched.npidle)
        stalled = glob_stands(now) or stalled or (
            blocked > 0 and blocked + idle >= gm_load_u32_relaxed(&sched.nprocs))
    else:
        sysmon.puts_at = 0
    quiet[0] = not queued and not lesson(ticks)
    if gm_load_u32_relaxed(&sysmon.lone):
        gm_store_i64_relaxed(&sysmon.hot_until, 0)
    if not GM_FREE_THREADED:
        heat(now, queued, seen)
        if queued:
            nap[0] = now + next_nap(now, seen)
    return stalled


cdef inline bint lesson(bint ticks) noexcept nogil:
    # Nothing fresh is queued. Whether to look on, at goroutines that take turns while a P is idle: what is
    # learnt now places the next ones. A few times after each wake-up, for it costs who has no use for it.
    if GM_FREE_THREADED or not ticks or gm_load_u32_relaxed(&sched.npidle) == 0 or sysmon.vain >= COLD_LOOKS:
        return False
    sysmon.lessons += 1
    return sysmon.lessons <= LESSONS


cdef void heat(int64_t now, bint queued, int seen) noexcept nogil:
    # Whether this is a hot time.
    sysmon.cold = 0 if seen or not hot() else sysmon.cold + 1
    if sysmon.cold >= COLD_LOOKS and now >= gm_load_i64_relaxed(&sysmon.placed_until):
        gm_store_i64_relaxed(&sysmon.hot_until, 0)
    if now < gm_load_i64_relaxed(&sysmon.hot_until) and gm_load_u32_relaxed(&sched.nprocs) > 1:
        watch_is(WATCH_HOT)
        if queued and gm_load_u32_relaxed(&sched.npidle) > 0 and placed_more(now):
            gm_unblock_signals()
            wake_p()                            # may start a thread, which inherits the mask
            gm_block_signals()
    else:
        watch_is(WATCH_PLACE if placing() else WATCH_ON)


cdef inline void watch_is(uint32_t how) noexcept nogil:
    # While sysmon watches at all: that is for sysmon_wake to begin, and for it and shutdown to end.
    cdef uint32_t was = gm_load_u32_relaxed(&sysmon.watch)
    if was != WATCH_NOT and was != how:
        gm_cas_u32_seqcst(&sysmon.watch, was, how)


cdef void heat_up(int64_t now) noexcept nogil:
    # Code is spawned that is known to run outside.
    gm_store_i64_relaxed(&sysmon.hot_until, now + HOT_NS)
    gm_store_i64_relaxed(&sysmon.placed_until, now + PLACED_HOT_NS)
    if sysmon_rests():
        sysmon_wake()
    watch_is(WATCH_HOT)


cdef int64_t next_nap(int64_t now, int seen) noexcept nogil:
    cdef bint idle = gm_load_u32_relaxed(&sched.npidle) > 0
    if seen:
        sysmon.fresh_start = now
    if not idle or not policy_hot_more():
        # The longer they all compute the longer they will.
        sysmon.steady = min(sysmon.steady + 1, 2) if seen == SEEN_OUTSIDE and not idle else 0
        return BLOCKED_NS // 4 if seen & SEEN_BLOCKED else <int64_t>BUSY_NAP_NS << sysmon.steady
    if sysmon.vain < VAIN_NAPS:
        return NAP_NS
    return min(<int64_t>NAP_NS << min(sysmon.vain - VAIN_NAPS, 10), NAP_MOST_NS)


cdef inline int64_t fresh_len(gm_p* p) noexcept nogil:
    return runq_len(p) + gm_load_i64_relaxed(&p.spill.size)


cdef int sample(gm_p* p, int64_t now) noexcept nogil:
    # One look at p: SEEN_*. sched.lock held.
    cdef uint64_t tick = gm_load_u64_relaxed(&p.sched_tick)
    cdef gm_m* m = <gm_m*>gm_load_ptr_acquire(&p.m)
    cdef bint runs = m != NULL and m.ts != NULL and not gm_load_u32_relaxed(&m.seeks)
    cdef bint stood = runs and p.seen_at != 0 and tick == gm_load_u64_relaxed(&p.seen)
    cdef bint away = False              # outside, perhaps in the kernel
    cdef bint outside = False
    cdef bint still                     # it has not run since the last look
    cdef int64_t cpu = -1
    cdef uint64_t covers
    cdef int gil
    if runs:
        gil = gm_gil_sample(m.ts)
        cpu = gm_cpu_time(m.cpu_clock)
        # A clock that has stood since the last look needs no probe: of hundreds that sleep in the kernel
        # each would have its 5 us, with the lock held.
        still = stood and cpu >= 0 and cpu == p.cpu
        away = gil == GM_GIL_FREE and (still or stays_outside(p, m, tick))
        if cpu >= 0 and 2 * (cpu - p.cpu) >= now - p.cpu_at:    # a clock that has run: it computes
            # but may have come to wait for the GIL just now
            away = away or gil == GM_GIL_OTHER or gil == GM_GIL_WANTED and gm_sleeps_in_kernel(m.tid) == 0
            outside = away
        if p.cpu_at != 0:
            covers = min(now - p.cpu_at, LOOK_NS)
            gm_store_u64_relaxed(&p.looked_ns, gm_load_u64_relaxed(&p.looked_ns) + covers)
            if away:
                gm_store_u64_relaxed(&p.outside_ns, gm_load_u64_relaxed(&p.outside_ns) + covers)
                if cpu > p.cpu:
                    gm_store_u64_relaxed(&p.outside_cpu_ns, gm_load_u64_relaxed(&p.outside_cpu_ns)
                                         + min(<uint64_t>(cpu - p.cpu), covers))
        if away or gil == GM_GIL_HELD:                          # else it waits for the GIL, perhaps
            gm_store_u64_relaxed(&p.sampled_tick, tick)
            gm_store_u32_relaxed(&p.learns, 1)
        if gil == GM_GIL_HELD or not still:
            p.still_at = now
        p.cpu, p.cpu_at = cpu, now
        if gil != GM_GIL_WANTED:
            p.free = 0 if gil != GM_GIL_FREE else p.free + 1 if stood else 1
            p.other = p.other + 1 if gil == GM_GIL_OTHER else 0 if gil == GM_GIL_HELD else p.other
        elif not still:                                         # else it says nothing
            p.free = 0
        gm_store_u32_relaxed(&p.outside, gm_load_u32_relaxed(&p.outside) << 1 | outside)
        p.looks += 1
        if p.looks % 16 == 0:                                               # B
            if popcount(gm_load_u32_relaxed(&p.outside) & 0xffff) >= 8 and (
                    now - p.paced_at >= PACE_NS * <int64_t>(tick - p.paced)):
                gm_store_i64_relaxed(&sysmon.hot_until, now + HOT_NS)
            p.paced, p.paced_at = tick, now
    if not stood:
        gm_store_u32_relaxed(&p.verdict, STANDS_NOT)
        gm_store_u64_relaxed(&p.seen, tick)
        p.seen_at = now
        p.seen_cpu = cpu
        p.other = 0
        p.grant_next = 1
        return SEEN_OUTSIDE if outside else SEEN_BLOCKED if away else 0
    if gm_load_u32_relaxed(&p.outside) & 3 == 3 and now - p.seen_at >= OUTSIDE_NS:                # A
        gm_store_i64_relaxed(&sysmon.hot_until, now + HOT_NS)
    # pairs with the acquire in policy_steals
    gm_store_u32_release(&p.verdict, verdict_on(p, m, now - p.seen_at, cpu - p.seen_cpu if cpu >= 0 else -1))
    return SEEN_OUTSIDE if outside else SEEN_BLOCKED if away else 0


cdef bint stays_outside(gm_p* p, gm_m* m, uint64_t tick) noexcept nogil:
    cdef int64_t until = gm_nanotime() + PROBE_NS
    while gm_nanotime() < until:
        proc_yield(1)
        if gm_gil_sample(m.ts) == GM_GIL_HELD or gm_load_u64_relaxed(&p.sched_tick) != tick:
            return False
    return True


cdef uint32_t verdict_on(gm_p* p, gm_m* m, int64_t stood, int64_t cpu) noexcept nogil:
    # p has stood for that long, and used that much CPU time meanwhile, -1 if it is not known.
    cdef int64_t still = p.cpu_at - p.still_at      # for so long its clock has not moved
    if p.free >= FREE_SAMPLES and (stood >= STALL_NS // 2 if cpu < 0 else
                                   stood >= BLOCKED_NS and still >= BLOCKED_NS // 2 or
                                   stood >= 2 * BLOCKED_NS and 4 * cpu < stood):
        if sleeps(p, m):
            return STANDS_BLOCKED
    if stood < STALL_NS or gm_load_u32_relaxed(&sysmon.lone):
        return STANDS_NOT
    if p.other >= OTHER_SAMPLES and cpu < STALL_NS // 2 and sleeps(p, m):
        return STANDS_BLOCKED
    # Who waits for the GIL looks around at each switch interval, which takes CPU time.
    if cpu >= 0 and still >= max(STILL_NS, 2 * gm_gil_interval()) and sleeps(p, m):
        return STANDS_BLOCKED
    # One that the system does not let run goes on with its Gs when it is let; nobody else would get
    # the GIL that it keeps.
    if (stood >= SLOW_STALL_NS or sysmon.standing >= STALL_NS) and (cpu < 0 or cpu >= STALL_NS // 2):
        if fresh_len(p) > 0:
            gm_store_u32_relaxed(&p.grant, p.grant_next)
            p.grant_next = min(2 * p.grant_next, GM_RUNQ_HALF)
        return STANDS_BUSY
    return STANDS_NOT


cdef inline bint sleeps(gm_p* p, gm_m* m) noexcept nogil:
    # A clock that stands does not tell, on a loaded machine: it may be the others' turn.
    return gm_load_u32_relaxed(&p.verdict) == STANDS_BLOCKED or gm_sleeps_in_kernel(m.tid) != 0


cdef inline int popcount(uint32_t x) noexcept nogil:
    cdef int n = 0
    while x:
        x &= x - 1
        n += 1
    return n
