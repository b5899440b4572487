# How Ms sleep and are woken (proc.go: stopm, startm, wakep).
#
# Every sleep of an M has one form: m_sleep_begin; a look at all that could end it; then m_sleep, or
# m_sleep_cancel. Every wake-up of a given M is wake_m, after what is to be found was published. What
# the M sleeps on, its semaphore, the breaker's descriptor or its poller, is known in m_sleep and
# wake_m alone: from its first wait for a descriptor on an M always sleeps in its poller. The loops
# around it: stop_m (nothing to run), await_p (no P), park_foreign, park_alone (m runs no others),
# bubble_nap.
#
# Why no wake-up is lost (each pair is store, full barrier, load on both sides):
#   W1  Work in the global queue. Publisher: puts it under sched.lock, then asks the policy, which
#       wakes an M (wake_p) or knows of Ms that are awake. Sleeper: in one critical section of
#       sched.lock looks at the queue, gives up spinning and its P and goes on midle. A put before
#       that section is seen in it; after it wake_p sees no spinner and an idle P, and finds the
#       sleeper under the lock. Those that are awake look before they sleep, and every 61st tick; if
#       they do not get to it sysmon sees the queue's age (W4). A sleeper may leave what it sees to another M
#       (leave_to): that one gets a P in the same section; or a thread is made for it; or, when none can be,
#       an M on midle gets the P, and who could have none made takes the work (made_none). From a spare P in
#       a hot time, where more are awake than there are CPUs, or while it rests, it leaves it to nobody (policy_leaves,
#       leaves_to), unless it was sent; those that are awake come to it, or sysmon sends one later.
#   W2  A G for a given M. goready: pushes to the inbox (CAS), then wake_m (RMW). Sleeper: m_sleep_begin
#       (RMW), then looks at the inbox, then sleeps.
#   W3  A timer. Its own M sees to it when it sleeps: only it adds to its heap, and the deadline of its
#       sleep is read after the last add. While it does not sleep sysmon's next look is no later than
#       the timer: timer_add, and an M that wakes with timers pending (m_wakes), store (next_when,
#       m.sleeps), pass the light barrier and read sysmon.until; sysmon stores until, passes the
#       heavy one and reads those. (rt/platform/barrier.h)
#   W4  Fresh Gs on a P's own ring or spill. Free-threaded build: `go` wakes as Go does, and the last
#       spinner rechecks all rings after it has given up nmspinning (stop_m). GIL build: its owner
#       comes to them, or it stands and sysmon, which looks every LOOK_NS while `watch` is set, has them
#       stolen. A hot time only adds to that: a spinner that finds nothing owes nobody a look. `go` puts,
#       passes the light barrier, reads watch; sysmon clears watch, passes the heavy one, and looks at all
#       queues once more.
#   W5  stop, nextp, a P for an M that waits for one: written before wake_m, read after m_sleep_begin
#       or under sched.lock.
#   W6  A signal for the main thread: see m_deep in rt/life/signals.pxi.
#   W7  An event of a descriptor. Its M sleeps in the poller that watches that, or looks there itself;
#       while it does neither sysmon does: see rt/io/netpoll.pxi.

cdef enum:
    LOOK_AFTER_NS = 100000000   # a sleep this long has M0 look for signals and for a deadlock
    HOUSEKEEP_NS = 1000000000   # how often an M lets surplus workers and dead Gs go

cdef extern from *:
    """
    #define GM_SURPLUS_NS 10000000000LL     /* how long a surplus M sleeps before it ends */
    """
    int64_t SURPLUS_NS "GM_SURPLUS_NS"


# ---- any M's sleep -------------------------------------------------------------------------

cdef inline uint32_t sleeps_on(gm_m* m) noexcept nogil:
    # Only m changes it, and not in its sleep.
    if gm_poller_is_open(&m.poller):
        return NOTE_NETPOLL
    return NOTE_POLLING if m.deep else NOTE_ASLEEP


cdef inline void m_sleep_begin(gm_m* m) noexcept nogil:
    # From here on a wake_m ends the sleep.
    note_clear(&m.note, sleeps_on(m))


cdef inline void m_sleep_cancel(gm_m* m) noexcept nogil:
    note_cancel(&m.note, sleeps_on(m))


cdef int m_sleep(gm_m* m, int64_t until) noexcept nogil:
    # Sleeps, after m_sleep_begin, until somebody wakes m or the clock says `until` (INT64_MAX: for
    # ever). 1: woken. 0: the time is up, or a part of it; -1: a signal handler wants to run (M0).
    # Nothing of that is certain: the caller looks again.
    cdef int64_t left = -1
    if until != INT64_MAX:
        left = max(until - gm_nanotime(), 0)
    if m.deep:
        hook_point(HOOK_DEEP)
    if gm_poller_is_open(&m.poller):
        return net_sleep(m, left)
    if m.deep:
        return note_poll(&m.note, left)
    return note_sleep(&m.note, left, hears_signals(m))


cdef inline void wake_m(gm_m* m) noexcept nogil:
    # Anyone, after publishing what m is to find. m may have ended, and serve another thread.
    cdef uint32_t was = note_wakeup(&m.note)
    if gm_unlikely(was > NOTE_AWAKE):
        wake_polling(m, was)


cdef void wake_polling(gm_m* m, uint32_t was) noexcept nogil:
    # N2
    if was == NOTE_POLLING:
        gm_break_wake()
    else:
        gm_poller_break(&m.poller)


cdef inline void m_dozes(gm_m* m) noexcept nogil:
    # m, before it reads its heap's first deadline for a sleep: sysmon need not look at it (W3).
    gm_store_u32_relaxed(&m.sleeps, 1)          # a hint too early: m itself is still awake


cdef inline void m_wakes(gm_m* m) noexcept nogil:
    cdef int64_t when
    gm_store_u32_relaxed(&m.sleeps, 0)
    blockwatch_awake()                          # BW2
    when = gm_load_i64_relaxed(&m.timers.next_when)
    if when != INT64_MAX and when > gm_nanotime():      # else m fires it next (timers_batch)
        sysmon_timer(m, when)                   # W3


# ---- nothing to run ------------------------------------------------------------------------

cdef int stop_m(gm_m* m, gm_g** out) noexcept nogil:
    # Nothing to do: gives up the P, sleeps until woken (Go's stopm, and the part of findRunnable
    # that comes before it). Returns WORK_FOUND to look again, or with *out set; else why.
    cdef int64_t until, now
    cdef int r
    cdef bint leaves, sent
    cdef gm_m* other = NULL
    m_sleep_begin(m)                                    # W2: from here on a push wakes us
    gm_lock_acquire(&sched.lock)
    leaves = sched.runq.n > 0 and leaves_to(m, &other)
    if m.p == NULL and sched.runq.n > 0 and sched.pidle != NULL and not leaves:
        acquire_p(m, pid_get())
    if m.p != NULL:
        if sched.runq.n > 0 and not leaves and not policy_leaves(m):
            out[0] = glob_runq_get(m.p, glob_share())   # W1
            policy_took(m, runq_len(m.p) + 1)
            gm_lock_release(&sched.lock)
            m_sleep_cancel(m)
            spin_end(m)
            return WORK_FOUND
    sent = m.p != NULL and m.spinning and on_spare_p(m)
    if m.p != NULL:
        release_p(m)
    # Before mput: whoever finds m there may set spinning again. Under the lock: work that is put
    # into the global queue after our look there must not be left to a spinner that is none (W1).
    if m.spinning:
        m.spinning = False
        gm_fetch_add_u32_seqcst(&sched.nmspinning, <uint32_t>-1)
    mput(m)
    if gm_unlikely(other != NULL):
        leave_to(m, other, sent)
    else:
        gm_lock_release(&sched.lock)
    hook_point(HOOK_STOP_M)
    # Go's delicate dance: after spinning has been given up, look at every ring again (W4). Not
    # only ex-spinners do: a wake_p that found no M to start has left its work to us.
    if GM_FREE_THREADED and recheck_runqs(m):
        return WORK_FOUND
    counters(m).m_parks += 1
    m_dozes(m)
    now = gm_nanotime()
    until = sleep_until(m, now)
    if not inbox_empty(&m.inbox) or gm_load_u32_seqcst(&m.stop) or (
            gm_load_u32_seqcst(&sched.undelivered) or look_is_asked(m)):    # W2, W5
        m_sleep_cancel(m)
        r = 1
    else:
        r = m_sleep(m, until)
    m_wakes(m)
    counters(m).m_wakes += 1
    gm_lock_acquire(&sched.lock)
    m_awake(m)
    gm_lock_release(&sched.lock)
    if gm_load_u32_acquire(&m.stop):
        return WORK_STOP
    if r < 0 or m.deep:
        return WORK_HOUSEKEEP
    now = gm_nanotime()
    if r > 0 or (now >= until and until != m.look_at):
        m.looked = False                                # whatever it was, look again after it
    if r == 0:
        if now >= m.look_at or now >= m.housekeep_at:
            return WORK_HOUSEKEEP
    return WORK_FOUND


cdef void leave_to(gm_m* m, gm_m* other, bint sent) noexcept nogil:
    # m, on midle, has left the global queue to another M (leaves_to), which gets a P for it. With none
    # idle the Ms that have them come to the queue; but if m was sent there by sysmon (start_any), these
    # stand: then the spare P that m had goes on. sched.lock is held and left here.
    cdef gm_p* p = pid_get()
    if p == NULL and sent:
        p = spare_p()
    if p != NULL:
        gm_fetch_add_u32_seqcst(&sched.nmspinning, 1)
        if other != m:
            hand_p(other, p)
        else:
            gm_lock_release(&sched.lock)
            if new_m(p):
                return
            m.made_none = True
            gm_lock_acquire(&sched.lock)
            give_p(p)
    gm_lock_release(&sched.lock)


cdef int64_t sleep_until(gm_m* m, int64_t now) noexcept nogil:
    # When m's sleep has to end by itself.
    if m.nidle > IDLE_WORKERS or gm_load_i64_relaxed(&sched.gfree_size) > GFREE_KEEP:
        m.housekeep_at = min(m.housekeep_at, now + HOUSEKEEP_NS)
    elif policy_surplus(m):
        m.housekeep_at = min(m.housekeep_at, now + SURPLUS_NS)
    else:
        m.housekeep_at = INT64_MAX
    # Once: then it sleeps for good. M0 in its deep sleep has looked.
    if m.deep:
        m.look_at = now + m.look_again if m.look_again > 0 else INT64_MAX
    else:
        m.look_at = INT64_MAX if m.looked and not hears_signals(m) else now + LOOK_AFTER_NS
    return min(min(m.look_at, m.housekeep_at), gm_load_i64_relaxed(&m.timers.next_when))


cdef bint recheck_runqs(gm_m* m) noexcept nogil:
    # On midle, note cleared. True: took a P and spins again because some ring has work.
    cdef uint32_t i
    for i in range(gm_load_u32_acquire(&sched.nallp)):
        if not runq_empty(allp[i]):
            gm_lock_acquire(&sched.lock)
            m_awake(m)
            if m.p == NULL and sched.pidle != NULL:
                acquire_p(m, pid_get())
            if m.p != NULL:
                gm_lock_release(&sched.lock)
                m_sleep_cancel(m)
                if not m.spinning:          # start_m has not counted it just now
                    m.spinning = True
                    gm_fetch_add_u32_seqcst(&sched.nmspinning, 1)
                return True
            mput(m)
            gm_lock_release(&sched.lock)
            return False
    return False


# ---- waking one for work -------------------------------------------------------------------

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
        put_back(p)
        gm_fetch_add_u32_seqcst(&sched.nmspinning, <uint32_t>-1)
        return
    hand_p(m, p)


cdef inline void hand_p(gm_m* m, gm_p* p) noexcept nogil:
    # m, on midle, is to look for work with p. sched.lock held.
    midle_remove(m)
    m.nextp = p
    m.spinning = True
    wake_m(m)


cdef void start_any() noexcept nogil:
    # sysmon: an M is to look at what lies about, whatever the others do. A sleeping one, or a new
    # one if the policy has room for it; with an idle P, or a spare one.
    cdef gm_p* p
    gm_fetch_add_u32_seqcst(&sched.nmspinning, 1)
    gm_lock_acquire(&sched.lock)
    p = pid_get()
    if p == NULL:
        p = spare_p()
    if p == NULL:                                       # no memory
        gm_fetch_add_u32_seqcst(&sched.nmspinning, <uint32_t>-1)
        gm_lock_release(&sched.lock)
        return
    start_m(p)


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


cdef void m_awake(gm_m* m) noexcept nogil:
    # m itself, awake: leaves midle and takes the P that came with the wake-up.
    midle_remove(m)
    if m.nextp != NULL:
        acquire_p(m, m.nextp)
        m.nextp = NULL
