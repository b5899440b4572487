# Blocks: which goroutine keeps a thread from others that are ready there. What sysmon sees of it.
#
# A goroutine that has started is bound to its M, so one that stands in a call or computes holds up all
# those that are ready there; nobody can steal them. sysmon looks for that every period (50 ms, or
# half of the limit) at Ms whose tick has not moved. What waits there cannot be seen from outside but
# for the inbox: `ready`, `readynext`, `yielded` and `curg` are plain fields of their M, and stay so,
# since they are written at every switch. So sysmon asks the reporter (rt/observe/blocks.pxi), a thread
# that takes the GIL: under it, and with a goroutine running there, they stand still. It asks only when
# the answer can be another than it was: once for each tick, then after the M's thread has used CPU time
# (a goroutine that sleeps in the kernel readies nobody), and when what waits has waited for the limit.
#
# Nothing of this is on the way of who does not block: the M that runs writes what it would write anyway,
# and sysmon reads it.
#
# Invariants
#   BW1  m.watch holds for (p, tick): both are compared under sched.lock, under which m.p changes. An M
#        that takes up another goroutine has ticked.
#   BW2  An M that wakes is looked at. It stores m.sleeps, passes the light barrier and reads `rests`
#        (m_wakes); sysmon stores rests, passes the heavy one and reads m.sleeps, before it sleeps
#        without a look in view (the same pair as W3).
#   BW3  An M that is awake is looked at, unless it is calm: no other goroutine was bound to it when the
#        reporter looked, nobody has been put into its inbox (run_on_main; it reads `rests` after
#        it, as in BW2), and nobody has queued a fresh one since. Another becomes bound only by starting,
#        and `go` wakes sysmon when `watch` is 0 (W4). So a verdict counts only if it was given after
#        sysmon had stored that 0, had passed its barrier and had seen nothing queued: round moves
#        then, and at every look before; also when sysmon finds `watch` at 1 which it had left at 0, for a
#        wake-up may be lost in the end of its sleep. A fresh goroutine that was taken off its queue just before, and
#        is not yet counted as bound, is in its M's scheduler: curg is NULL, which is no verdict.
#   BW4  While a bubble has the clock nobody looks: its end wakes sysmon.
#   A goroutine that readies another and then blocks says so to nobody. That it is seen rests on BW3.
#
# Rejected: that goready, or whoever parks, leaves a sign for sysmon (a store each on the hottest
# paths); sysmon reading the queues itself (a data race, and with the GIL it would have to wait for
# the very goroutine that it watches).

cdef enum:
    BLOCK_LOOK_NS = 50000000
    BLOCK_CPU_NS = 1000000          # who has used less since it began to stand has been in the kernel

cdef gm_blockwatch blockwatch


cdef inline void blockwatch_awake() noexcept nogil:
    # After something was stored that sysmon has to see: BW2, BW3.
    gm_barrier_light()
    if gm_unlikely(gm_load_u32_relaxed(&blockwatch.rests) != 0):
        blockwatch_wake()


cdef void blockwatch_wake() noexcept nogil:
    if gm_exchange_u32_seqcst(&blockwatch.rests, 0) != 0:
        note_wakeup(&sysmon.note)


cdef inline void blockwatch_rests() noexcept nogil:
    # sysmon, before its heavy barrier: from here on who wakes tells it (BW2).
    if blockwatch.limit != 0:
        gm_store_u32_seqcst(&blockwatch.rests, 1)


cdef int64_t blockwatch_look(int64_t now, bint settled) noexcept nogil:
    # sysmon, after its heavy barrier. settled: nothing was queued, and `watch` is 0 since before that.
    # When it has to look again.
    cdef bint on = not settled
    cdef bint asks = False
    cdef bint late
    cdef gm_m* m
    cdef int64_t period = max(min(blockwatch.limit // 2, BLOCK_LOOK_NS), LOOK_NS)
    if blockwatch.limit == 0:
        return INT64_MAX
    if not settled:
        blockwatch.unsettled = True
    if now < blockwatch.next_at and blockwatch.next_at - now <= period:
        gm_store_u32_seqcst(&blockwatch.rests, 0)
        return blockwatch.next_at
    # The process was stopped, or the machine too busy to let sysmon run: nor, perhaps, who seems to stand.
    late = now - blockwatch.next_at > blockwatch.limit
    gm_lock_acquire(&sched.lock)
    if blockwatch.unsettled:
        blockwatch.round += 1                           # BW3
        blockwatch.unsettled = not settled
    m = NULL if gm_load_u32_relaxed(&sched.frozen) else allm_first()        # BW4
    while m != NULL:
        on = blockwatch_m(m, now, settled, late, &asks) or on
        m = m.all_next
    gm_lock_release(&sched.lock)
    blockwatch.next_at = now + period if on else INT64_MAX
    if on:
        gm_store_u32_seqcst(&blockwatch.rests, 0)
    if asks:
        blocks_ask()
    return blockwatch.next_at


cdef bint blockwatch_m(gm_m* m, int64_t now, bint settled, bint late, bint* asks) noexcept nogil:
    # sched.lock held. Whether m has to be looked at again.
    cdef gm_watch* w = &m.watch
    cdef uint64_t tick
    cdef int gil
    if not schedules(m) or gm_load_u32_relaxed(&m.sleeps):      # BW2
        w.p = NULL
        return False
    if m.p == NULL or m.ts == NULL:
        w.p = NULL
        return True
    tick = gm_load_u64_relaxed(&m.p.sched_tick)
    if m.p != w.p or tick != w.tick or late:
        memset(w, 0, sizeof(gm_watch))
        w.p = m.p
        w.tick = tick
        w.since = now
        w.cpu = gm_cpu_time(m.cpu_clock)
        watch_from(w, now, w.cpu)
    w.cpu_now = gm_cpu_time(m.cpu_clock)
    w.looks += 1
    gil = gm_gil_sample(m.ts)
    if gil == GM_GIL_HELD:
        w.held += 1
    else:
        watch_waits(w, 0 if gil == GM_GIL_FREE or (gil == GM_GIL_OTHER and gm_gil_sees()) else gm_waits_for_gil(m.tid))
    if w.inbox_at == 0 and not inbox_empty(&m.inbox):
        if w.local_at == 0:
            watch_from(w, now, w.cpu_now)
        w.inbox_at = now
    if w.calm == blockwatch.round and w.inbox_at == 0:
        return False                                            # BW3
    if w.since != now and blockwatch_asks(w, now, settled):
        asks[0] = True
    return True


cdef inline void watch_from(gm_watch* w, int64_t now, int64_t cpu) noexcept nogil:
    w.from_at = now
    w.from_cpu = cpu
    w.looks = w.held = w.wanted = w.away = 0


cdef inline void watch_waits(gm_watch* w, int waits) noexcept nogil:
    # waits: as gm_waits_for_gil says it, of the thread that stands.
    w.wanted += waits == 1
    w.away += waits == 0


cdef inline int64_t waiting_since(gm_watch* w) noexcept nogil:
    # Since when, as far as it is known, the first of them waits; 0: nobody does.
    if w.local_at == 0 or w.inbox_at == 0:
        return w.local_at + w.inbox_at
    return min(w.local_at, w.inbox_at)


cdef inline bint block_is_due(gm_watch* w, int64_t now) noexcept nogil:
    cdef int64_t first = waiting_since(w)
    return first != 0 and now - first >= blockwatch.limit and now >= w.tell_at and (
        now >= blockwatch.tell_at)


cdef bint blockwatch_asks(gm_watch* w, int64_t now, bint settled) noexcept nogil:
    # Whether a look with the GIL can tell more than the last one did.
    if not w.seen:
        return True
    if settled and w.calm != 0 and w.calm != blockwatch.round:
        return True                                             # it was calm: is it still? (BW3)
    if waiting_since(w) != 0:
        return block_is_due(w, now)
    # Each makes a goroutine that computes give up the GIL (0.5 ms on a busy machine of two processors).
    return now - w.seen_at >= blockwatch.limit and (w.cpu_now < 0 or w.cpu_now != w.cpu_seen)
