# How Ms sleep and are woken (proc.go: stopm, startm, wakep; sysmon's role is the poller's here).
#
# A sleeping M is on sched.midle. One of the sleepers is the poller: it sleeps with a time-out,
# until the next timer is due or, while sched.watch is set, for POLL_NS, after which it looks
# for a P that has fresh Gs and has not ticked for STALL_NS and runs them itself.
#
# Why no wake-up is lost (each pair is store, full barrier, load on both sides):
#   W1  Work in the global queue. Publisher: puts it under sched.lock, then wake_p. Sleeper: in one
#       critical section of sched.lock looks at the queue, gives up spinning and its P and goes on
#       midle. A put before that section is seen in it; after it wake_p sees no spinner and an idle
#       P, and finds the sleeper under the lock. (On a GIL build only
#       those look that may_take names: there the queue is the overflow of a P that moves, or
#       wake_p has found it a runner, or it has stalled: W4.)
#   W2  A G for a given M. goready: pushes to the inbox (CAS), then note_wakeup (RMW). stop_m:
#       note_clear (RMW), then looks at the inbox, then sleeps.
#   W3  A timer that comes before all others. timer_add: writes next_when (seqcst), then reads
#       poll_until. Poller: writes poll_until (seqcst), then reads next_when, then sleeps. When
#       there is no poller, an M that goes to sleep becomes it; an M that runs checks timers in
#       schedule; the poller that leaves for work passes the role on to a sleeper.
#   W4  Fresh Gs on a P's own ring need no wake-up while their P moves: its owner comes to them.
#       For a P that stands still there is the poller. GIL build: `go` reads watch under the GIL
#       after its put, and poll_disarm clears it under the GIL after a look at all the queues.
#       Free-threaded build: `go` wakes as Go does (wake_p), and the last spinner rechecks all
#       rings after it has given up nmspinning (stop_m).
#   W5  stop, nextp, a P for an M that waits for one: written before note_wakeup, read after
#       note_clear or under sched.lock.
#
# Rejected: waking an M for each spawn on a GIL build. Spreading tiny pure-Python tasks over
# threads that share a GIL made them up to 2.1 times slower (chains of spawns on two Ms, 3.14).

cdef enum:
    POLL_NS = 5000000           # how often the poller looks while watch is set
    STALL_NS = 5000000          # a P with fresh Gs has stood still for this long, as all others
    SLOW_STALL_NS = 50000000    # or for this long, whatever the others did
    RESCUE_NS = 100000          # between visits to a P whose owner is blocked
    CONTENDED_NS = 1000000      # a wait for the GIL that says that somebody runs Python
    POLLS_TO_DISARM = 20        # looks in a row that saw nothing queued
    SIGNAL_NS = 100000000       # how often the sleeping M0 looks for signals
    HOUSEKEEP_NS = 1000000000   # how often a sleeping M lets surplus workers and dead Gs go


# ---- sleeping ------------------------------------------------------------------------------

cdef int stop_m(gm_m* m, gm_g** out) noexcept nogil:
    # Nothing to do: gives up the P, sleeps until woken (Go's stopm, and the part of findRunnable
    # that comes before it). Returns WORK_FOUND to look again, or with *out set; else why.
    cdef bint disarm = False
    cdef bint poller
    cdef int r
    note_clear(&m.note)                                 # W2: from here on a push wakes us
    gm_lock_acquire(&sched.lock)
    if m.p != NULL:
        if sched.runq.n > 0 and may_take(m) and not on_spare_p(m):
            out[0] = glob_runq_get(m.p, 0)              # W1
            gm_lock_release(&sched.lock)
            note_cancel(&m.note)
            spin_end(m)
            return WORK_FOUND
        release_p(m)
    if GM_FREE_THREADED and sched.runq.n > 0 and sched.pidle != NULL:   # W1: came without a P
        acquire_p(m, pid_get())
        gm_lock_release(&sched.lock)
        note_cancel(&m.note)
        return WORK_FOUND
    # Before mput: whoever finds m there may set spinning again. Under the lock: work that is put
    # into the global queue after our look there must not be left to a spinner that is none (W1).
    if m.spinning:
        m.spinning = False
        gm_fetch_add_u32_seqcst(&sched.nmspinning, <uint32_t>-1)
    mput(m)
    gm_lock_release(&sched.lock)
    # Go's delicate dance: after spinning has been given up, look at every ring again (W4). Not
    # only ex-spinners do: a wake_p that found no M to start has left its work to us.
    if GM_FREE_THREADED and recheck_runqs(m):
        return WORK_FOUND
    counters(m).m_parks += 1
    poller = gm_cas_ptr_seqcst(&sched.poller, NULL, m)
    r = sleep_m(m, poller)
    counters(m).m_wakes += 1
    gm_lock_acquire(&sched.lock)
    wake_m(m)
    gm_lock_release(&sched.lock)
    if poller:
        if r == 0 and not gm_load_u32_relaxed(&m.stop):
            poll_rescue(m, out)
        disarm = sched.idle_polls >= POLLS_TO_DISARM
        if disarm:
            sched.idle_polls = 0
        poll_leave()
    if out[0] != NULL:
        return WORK_RESCUE
    if gm_load_u32_acquire(&m.stop):
        return WORK_STOP
    if r < 0 or (r == 0 and gm_nanotime() >= min(m.signal_at, m.housekeep_at)):
        return WORK_HOUSEKEEP
    return WORK_DISARM if disarm else WORK_FOUND


cdef bint recheck_runqs(gm_m* m) noexcept nogil:
    # On midle, note cleared. True: took a P and spins again because some ring has work.
    cdef uint32_t i
    for i in range(gm_load_u32_acquire(&sched.nallp)):
        if not runq_empty(allp[i]):
            gm_lock_acquire(&sched.lock)
            wake_m(m)
            if m.p == NULL and sched.pidle != NULL:
                acquire_p(m, pid_get())
            if m.p != NULL:
                gm_lock_release(&sched.lock)
                note_cancel(&m.note)
                if not m.spinning:          # start_m has not counted it just now
                    m.spinning = True
                    gm_fetch_add_u32_seqcst(&sched.nmspinning, 1)
                return True
            mput(m)
            gm_lock_release(&sched.lock)
            return False
    return False


cdef int sleep_m(gm_m* m, bint poller) noexcept nogil:
    # On midle, note cleared. Returns note_sleep's answer.
    cdef int64_t until = INT64_MAX
    cdef int r
    cdef int64_t now = gm_nanotime()
    # A signal that lands between the last look and the semaphore's system call, or on another
    # thread, does not interrupt the wait (CPython's own lock waits share this).
    m.signal_at = now + SIGNAL_NS if m.kind == M_MAIN else INT64_MAX
    if m.nidle <= IDLE_WORKERS and (
            not poller or gm_load_i64_relaxed(&sched.gfree_size) <= GFREE_KEEP):
        m.housekeep_at = INT64_MAX
    elif m.housekeep_at == INT64_MAX:
        m.housekeep_at = now + HOUSEKEEP_NS
    until = min(m.signal_at, m.housekeep_at)
    if poller:
        until = min(until, poll_deadline())
    if not inbox_empty(&m.inbox) or gm_load_u32_seqcst(&m.stop):    # W2, W5
        note_cancel(&m.note)
        r = 1
    elif until == INT64_MAX:
        r = note_sleep(&m.note, -1, False)
    else:
        r = note_sleep(&m.note, max(until - now, 0), m.kind == M_MAIN)
    return r


cdef inline void poll_leave() noexcept nogil:
    # The poller lays its role down. StoreLoad with poll_pass_on's look at timers and watch; whoever
    # adds a timer or sets watch does it before he reads poll_until.
    gm_store_i64_seqcst(&sched.poll_until, 0)           # no poller: see poll_wake_before
    gm_store_ptr_release(&sched.poller, NULL)           # pairs with the CAS of the next one


cdef int64_t poll_deadline() noexcept nogil:
    # W3: poll_until is written before next_when is read for the last time.
    cdef int64_t until, when
    while True:
        until = gm_load_i64_seqcst(&timers.next_when)
        if gm_load_u32_seqcst(&sched.watch):
            until = min(until, gm_nanotime() + gm_load_i64_relaxed(&sched.poll_every))
        gm_store_i64_seqcst(&sched.poll_until, until)
        when = gm_load_i64_seqcst(&timers.next_when)
        if when >= until:
            return until


cdef void poll_wake_before(int64_t when) noexcept nogil:
    # A timer or the watch wants the poller sooner (W3). Without a poller nobody sleeps with a
    # time-out: whoever goes to sleep next becomes it. poll_until is 0 then.
    cdef gm_m* m
    if gm_load_i64_seqcst(&sched.poll_until) <= when:
        return
    gm_lock_acquire(&sched.lock)
    m = <gm_m*>gm_load_ptr_seqcst(&sched.poller)
    if m != NULL:
        note_wakeup(&m.note)
    gm_lock_release(&sched.lock)


cdef void poll_pass_on(gm_m* m) noexcept nogil:
    # m leaves for work, or for the GIL, and there is no poller: wakes a sleeper, which becomes it
    # (W3, W4).
    if gm_load_ptr_seqcst(&sched.poller) != NULL:
        return
    if gm_load_i64_seqcst(&timers.next_when) == INT64_MAX and not gm_load_u32_seqcst(&sched.watch):
        return
    gm_lock_acquire(&sched.lock)
    if sched.midle != NULL:
        note_wakeup(&sched.midle.note)
        gm_lock_release(&sched.lock)
        return
    gm_lock_release(&sched.lock)
    if gm_load_u32_relaxed(&sched.watch):
        new_m(NULL)


# ---- the poller's look at stalled Ps -------------------------------------------------------
#
# A P that holds fresh Gs is stalled when its owner has not ticked for STALL_NS while nobody else
# ticked either, or for SLOW_STALL_NS whatever the others did (an M that waits for the GIL stands
# still for as long as the others keep it). It stays so until its owner ticks. Then the poller
# runs some of its Gs: one at its first visit, twice as many at each further one. So a thread
# that does nothing but spawn for a while keeps its Gs: those that another thread runs stay bound
# to that, and talk across the GIL from then on (measured: 3,000 against 700 ns for each of
# 100,000 goroutines on an unbuffered channel). For an owner that is blocked the visits follow
# each other closely; that it is blocked, and not just busy with Python, shows when nobody
# contends for the GIL.

cdef inline bint stands_still(int64_t since, int64_t now) noexcept nogil:
    return now - since >= SLOW_STALL_NS or (
        now - since >= STALL_NS and now - sched.ticked_at >= STALL_NS)


cdef bint poll_look(int64_t now) noexcept nogil:
    # The poller: updates who has ticked and who is stalled. True: somebody is.
    cdef bint queued = False
    cdef bint stalled = False
    cdef uint32_t i
    cdef uint32_t n = gm_load_u32_acquire(&sched.nallp)
    cdef uint64_t moves
    cdef gm_p* p
    for i in range(n):
        p = allp[i]
        moves = gm_load_u64_relaxed(&p.sched_tick)
        if moves != p.seen:
            p.seen = moves
            p.seen_at = sched.ticked_at = now
            p.stalled = False
    for i in range(n):
        p = allp[i]
        if runq_len(p) > 0:
            queued = True
            p.stalled = p.stalled or stands_still(p.seen_at, now)
            stalled = stalled or p.stalled
    moves = gm_load_u64_relaxed(&sched.runq_takes)
    if moves != sched.runq_seen or gm_load_i64_relaxed(&sched.runq_size) == 0:
        sched.runq_seen = moves
        sched.runq_seen_at = now
        sched.runq_stalled = False
    if gm_load_i64_relaxed(&sched.runq_size) > 0:
        queued = True
        sched.runq_stalled = sched.runq_stalled or stands_still(sched.runq_seen_at, now)
        stalled = stalled or sched.runq_stalled
    sched.idle_polls = 0 if queued else sched.idle_polls + 1
    return stalled


cdef void poll_rescue(gm_m* m, gm_g** out) noexcept nogil:
    # The poller, after its sleep. With out[0] set m holds a P: a G that was queued where nothing
    # moved; others may be in m's ring.
    cdef uint32_t i, start, taken
    cdef uint32_t n = gm_load_u32_acquire(&sched.nallp)
    cdef gm_p* p
    if not gm_load_u32_relaxed(&sched.watch):
        return
    if not poll_look(gm_nanotime()):
        sched.rescue_most = 1
        gm_store_i64_relaxed(&sched.poll_every, POLL_NS)
        return
    gm_lock_acquire(&sched.lock)
    if m.p == NULL:
        acquire_p(m, pid_get() if sched.pidle != NULL else spare_p())
    if sched.runq_stalled:
        out[0] = glob_runq_get(m.p, sched.rescue_most)
        # not a sign of life of those who should have taken it
        sched.runq_seen = gm_load_u64_relaxed(&sched.runq_takes)
    gm_lock_release(&sched.lock)
    start = cheap_rand(m)
    for i in range(n):
        p = allp[(start + i) % n]
        if out[0] != NULL:
            break
        if p.stalled and p != m.p:
            out[0] = runq_steal(m.p, p, sched.rescue_most, &taken)
            if out[0] != NULL:
                counters(m).steals += 1
                counters(m).stolen += taken
    if out[0] == NULL:
        gm_lock_acquire(&sched.lock)
        release_p(m)
        gm_lock_release(&sched.lock)
    else:
        sched.rescue_most = min(2 * sched.rescue_most, GM_RUNQ_HALF)


cdef void rescued(int64_t waited) noexcept nogil:
    # A rescuer has got the GIL, for which it waited so many ns.
    gm_store_i64_relaxed(&sched.poll_every, POLL_NS if waited > CONTENDED_NS else RESCUE_NS)


cdef inline void poll_spawned() noexcept:
    # `go` on a GIL build, GIL held, after its put: makes sure that somebody watches (W4).
    if gm_unlikely(gm_load_u32_relaxed(&sched.watch) == 0):
        poll_arm()


cdef void poll_arm() noexcept:
    if gm_unlikely(sigint_wanted):
        sigint_again()
    gm_store_u32_seqcst(&sched.watch, 1)
    if gm_load_ptr_seqcst(&sched.poller) != NULL:
        poll_wake_before(0)
    elif gm_load_u32_relaxed(&sched.nmidle) == 0:
        if not new_m(NULL) and gm_load_u32_seqcst(&sched.nm) == 0:
            gm_store_u32_seqcst(&sched.watch, 0)        # nobody there: the next `go` tries again
    else:
        poll_pass_on(NULL)


cdef void poll_disarm() noexcept:
    # GIL held, so no `go` is between its put and its look at watch (W4).
    if not anything_queued():
        gm_store_u32_seqcst(&sched.watch, 0)


cdef bint anything_queued() noexcept nogil:
    cdef uint32_t i
    if gm_load_i64_relaxed(&sched.runq_size) > 0:
        return True
    for i in range(gm_load_u32_relaxed(&sched.nallp)):
        if not runq_empty(allp[i]):
            return True
    return False


# ---- waking --------------------------------------------------------------------------------

cdef void wake_p() noexcept nogil:
    # Work was published: sees to it that an M looks for it, if there is an idle P and no M
    # spins already (Go's wakep). StoreLoad (W1, W4): the caller's put, this fence, these looks; the
    # other side's RMWs of npidle and nmspinning, then its looks at the queues.
    cdef gm_p* p
    gm_fence_seqcst()
    if gm_load_u32_seqcst(&sched.npidle) == 0:
        return
    if gm_load_u32_seqcst(&sched.nmspinning) != 0 or not gm_cas_u32_seqcst(&sched.nmspinning, 0, 1):
        return
    gm_lock_acquire(&sched.lock)
    p = pid_get()
    if p == NULL:
        gm_fetch_add_u32_seqcst(&sched.nmspinning, <uint32_t>-1)
        gm_lock_release(&sched.lock)
        return
    start_m(p)


cdef void start_m(gm_p* p) noexcept nogil:
    # Gives p to a sleeping M or to a new one, which starts out spinning (the caller has counted
    # it in nmspinning). sched.lock is held and left here.
    if sched.midle == NULL:
        gm_lock_release(&sched.lock)
        if new_m(p):
            return
        gm_lock_acquire(&sched.lock)
    give_p(p)
    gm_lock_release(&sched.lock)


cdef void give_p(gm_p* p) noexcept nogil:
    # sched.lock held. In one section with the look at midle: an M that goes there later finds the
    # idle P, one that is there now gets it.
    cdef gm_m* m = sched.midle
    if m == NULL:
        pid_put(p)
        gm_fetch_add_u32_seqcst(&sched.nmspinning, <uint32_t>-1)
        return
    midle_remove(m)
    m.nextp = p
    m.spinning = True
    note_wakeup(&m.note)


# ---- midle: under sched.lock ---------------------------------------------------------------

cdef void mput(gm_m* m) noexcept nogil:
    m.idle_prev = NULL
    m.idle_next = sched.midle
    if sched.midle != NULL:
        sched.midle.idle_prev = m
    sched.midle = m
    m.blocked = True
    gm_fetch_add_u32_relaxed(&sched.nmidle, 1)


cdef void midle_remove(gm_m* m) noexcept nogil:
    if not m.blocked:
        return
    if m.idle_prev != NULL:
        m.idle_prev.idle_next = m.idle_next
    else:
        sched.midle = m.idle_next
    if m.idle_next != NULL:
        m.idle_next.idle_prev = m.idle_prev
    m.blocked = False
    gm_fetch_add_u32_relaxed(&sched.nmidle, <uint32_t>-1)


cdef void wake_m(gm_m* m) noexcept nogil:
    # m itself, awake: leaves midle and takes the P that came with the wake-up.
    midle_remove(m)
    if m.nextp != NULL:
        acquire_p(m, m.nextp)
        m.nextp = NULL
