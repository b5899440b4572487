# The scheduler: who runs next on this M (proc.go: schedule, findRunnable, execute, stealWork).
#
# Order of search in schedule: the global queue or the spill every 61st tick; readynext; then the
# M's ready Gs and the P's fresh ones in turns (ring, spill, global queue); those that yielded; then
# find_runnable: timers, inbox, global queue, other Ps' rings, sleep.
#
# Invariants
#   S1  Only the M itself runs schedule, with the GIL held and curg NULL.
#   S2  A G that schedule returns is on no queue; the caller runs it (execute, transfer) at once.
#   S3  Fresh Gs (park NULL) come from rings and the global queue; started Gs (park set) from
#       readynext, ready, yielded and inbox of their own M, and are never anywhere else: a
#       greenlet never changes threads.
#   S4  Neither kind starves. m.debt is how many more ready Gs than fresh ones were picked while
#       both were there, kept within TURN_SLOTS either way. Within that a worker whose G has ended
#       goes on with fresh Gs, which costs no switch, and one whose G parks with ready ones,
#       which costs no more than a fresh one would. A turn also ends after TURN_NS (looked at
#       every 8th G), so that the others wait for a few long tasks at most.
#       readynext goes first at most STREAK times in a row, and only when a G parks.
#   S6  A G that yields comes after all that is runnable on its M, as Go's gosched puts it on the
#       global queue. When none of them has had its turn for 61 ticks one joins ready: none starves.
#   S5  An M that gives up its P looks at every source of work afterwards (find_runnable), and
#       one that publishes work looks for sleepers afterwards: see rt/sched/sleep.pxi for the pairs.
#
# Why turns and not one by one: a fan-out whose spawner waits for each would pay two switches per
# task; so the spawner wakes to find 64 done (measured, nanoseconds a task: joining handles 45
# against 250; a buffered channel 205 against 670).

cdef enum:
    FAIR_TICKS = 61             # Go's schedtick % 61
    TURN_SLOTS = 64
    TURN_NS = 20000
    STREAK = 64
    SAFEPOINT_NS = 5000000      # CPython's switch interval
    GIL_SLOW_NS = 200000        # who gave up the GIL had to wait for it: others compute
    SPIN_ROUNDS = 4             # Go's stealTries
    SPIN_PAUSES = 30            # Go's procyield(30)
    HOT_SPIN_NS = 60000


cdef inline gm_counters* counters(gm_m* m) noexcept nogil:
    return &m.p.count if m.p != NULL else &m.count


cdef inline void execute(gm_m* m, gm_g* g) noexcept nogil:
    # g's code runs from here on. On whose stack is the caller's business.
    gm_rank_none()
    gm_store_u32_relaxed(&g.status, G_RUNNING)
    m.curg = g
    # the owner's own counter; sysmon reads it to see whether this P still moves
    gm_store_u64_relaxed(&m.p.sched_tick, gm_load_u64_relaxed(&m.p.sched_tick) + 1)


cdef inline gm_g* schedule(gm_m* m, gm_worker* w) noexcept:
    # Picks the next G. w: the worker that asks on its own behalf (its last G has ended), NULL
    # when a parking G asks. Blocks the thread, without the GIL, until there is one. NULL only
    # for w or g0: the M is to stop.
    cdef gm_p* p = m.p
    cdef gm_g* g
    cdef uint64_t tick
    if gm_unlikely(bubble_on) and m.kind == M_MAIN:
        return bubble_schedule(m, w)
    if gm_unlikely(p == NULL):
        return find_runnable(m, w)
    tick = gm_load_u64_relaxed(&p.sched_tick)
    if gm_unlikely(tick % FAIR_TICKS == 0):
        g = schedule_fair(m)
        if g != NULL:
            return g
        if m.p == NULL:
            return find_runnable(m, w)
        p = m.p
    # First what others have woken, so that later timers do not overtake it.
    if gm_unlikely(gm_load_ptr_relaxed(&m.inbox) != NULL):     # a hint; the drain acquires
        inbox_drain(&m.inbox, &m.ready)
    if gm_unlikely(gm_load_i64_relaxed(&m.timers.next_when) != INT64_MAX):
        timers_check(m, tick)
    g = local_next(m, p, w)
    if gm_likely(g != NULL):
        return g
    return find_runnable(m, w)


cdef gm_g* schedule_parked(gm_m* m) noexcept:
    # Not inlined: its variables would lie in the frame that each parked goroutine keeps.
    return schedule(m, NULL)


cdef inline gm_g* local_next(gm_m* m, gm_p* p, gm_worker* w) noexcept nogil:
    cdef gm_g* g = m.readynext
    cdef bint fresh = runq_len(p) != 0
    if g != NULL:
        m.readynext = NULL
        if gm_unlikely(m.interrupt != NULL) and g == m.g_main:
            return g
        if fresh:
            if gm_likely(w == NULL and m.next_streak < STREAK and m.debt < TURN_SLOTS):
                m.next_streak += 1
                m.debt += 1
                return g
        elif gm_likely(m.next_streak < STREAK or m.ready.head == NULL):
            m.next_streak += 1
            return g
        gq_put(&m.ready, g)
    m.next_streak = 0
    if m.ready.head == NULL:
        if not fresh:
            g = refill(m, p, w)
            return g if g != NULL else yielded_next(m)
        m.debt = 0
        return runq_get(p)
    if not fresh:
        return gq_get(&m.ready)
    return take_turn(m, p, w)


cdef inline gm_g* yielded_next(gm_m* m) noexcept nogil:
    # Nothing but those that yielded is left (S6).
    m.yield_takes += 1
    return gq_get(&m.yielded)


cdef inline gm_g* refill(gm_m* m, gm_p* p, gm_worker* w) noexcept nogil:
    # p's ring is empty: what has overflowed from it, then m's share of the global queue.
    if gm_likely(gm_load_i64_relaxed(&sched.overflow) == 0):
        return NULL
    return refill_slow(m, p, w)


cdef gm_g* refill_slow "gm_refill_slow"(gm_m* m, gm_p* p, gm_worker* w) noexcept nogil:
    cdef gm_g* g = NULL
    if gm_load_i64_relaxed(&p.spill.size) > 0:
        g = refill_from(p, &p.spill)
    elif gm_load_i64_relaxed(&sched.runq.size) > 0 and not hosts_many(m, w) and not policy_leaves(m):
        g = refill_from(p, &sched.runq)
    if g != NULL:
        spin_end(m)                     # a new M's first G: it must not count while that runs
    return g


cdef gm_g* refill_from(gm_p* p, gm_batches* q) noexcept nogil:
    cdef gm_g* g
    gm_lock_acquire(&sched.lock)
    g = glob_runq_get(p, glob_share()) if q == &sched.runq else batches_get(q, p, GM_RUNQ_HALF)
    gm_lock_release(&sched.lock)
    return g


cdef gm_g* take_turn(gm_m* m, gm_p* p, gm_worker* w) noexcept nogil:
    # ready has work and the ring may (S4).
    cdef gm_g* g
    cdef bint fresh = m.debt > -TURN_SLOTS if w != NULL and not hot() else m.debt >= TURN_SLOTS
    cdef int64_t now
    if fresh != m.turn_fresh:
        m.turn_fresh = fresh
        m.turn_start = 0
    elif m.debt % 8 == 0:
        now = gm_nanotime()
        if m.turn_start == 0:
            m.turn_start = now
        elif now - m.turn_start > TURN_NS:
            m.debt = -TURN_SLOTS if fresh else TURN_SLOTS
            m.turn_fresh = fresh = not fresh
            m.turn_start = 0
    if fresh:
        g = runq_get(p)
        if g != NULL:
            m.debt -= 1
            return g
    m.debt += 1
    return gq_get(&m.ready)


# Out of line, so that schedule itself is small enough to be inlined into the worker's loop.
cdef extern from *:
    """
    struct __pyx_t_4gmpx_5_core_gm_g;
    struct __pyx_t_4gmpx_5_core_gm_m;
    struct __pyx_t_4gmpx_5_core_gm_p;
    struct __pyx_t_4gmpx_5_core_gm_worker;
    static GM_NOINLINE struct __pyx_t_4gmpx_5_core_gm_g *gm_schedule_fair(
        struct __pyx_t_4gmpx_5_core_gm_m *);
    static GM_NOINLINE struct __pyx_t_4gmpx_5_core_gm_g *gm_refill_slow(
        struct __pyx_t_4gmpx_5_core_gm_m *, struct __pyx_t_4gmpx_5_core_gm_p *,
        struct __pyx_t_4gmpx_5_core_gm_worker *);
    """


cdef gm_g* schedule_fair "gm_schedule_fair"(gm_m* m) noexcept:
    # Every 61st tick: what must not wait for the local queues to run dry.
    cdef gm_p* p
    cdef gm_g* g = NULL
    if m.yield_waiting and m.yield_takes == m.yield_takes_seen:
        gq_put(&m.ready, gq_get(&m.yielded))
    m.yield_waiting = m.yielded.head != NULL
    m.yield_takes_seen = m.yield_takes
    safepoint(m)
    if hears_signals(m):
        check_signals(m)
    if gm_load_u32_relaxed(&sched.undelivered):
        timers_deliver(m)
    if net_awaited(m):
        net_poll(m, m, 0)
    if gm_load_u32_relaxed(&sched.npwait) != 0 or on_spare_p(m):
        hand_over_p(m)
        if m.p == NULL:
            return NULL
    p = m.p                             # a signal handler may have called gomaxprocs
    if gm_load_i64_relaxed(&sched.overflow) > 0:
        gm_lock_acquire(&sched.lock)
        # by turns; the tick is 61 times something here
        if sched.runq.n > 0 and not (m.kind == M_MAIN and places_now()) and (
                p.spill.n == 0 or gm_load_u64_relaxed(&p.sched_tick) & 1):
            g = glob_runq_get(p, 1)
        elif p.spill.n > 0:
            g = batches_get(&p.spill, p, 1)
        gm_lock_release(&sched.lock)
        spin_end(m)                     # a new M begins here
    return g


cdef inline void safepoint(gm_m* m) noexcept:
    # Goroutines that are loops of C run no bytecode, so the interpreter never looks whether another
    # thread waits for the GIL, or wants the world to stop: the scheduler does, as often.
    cdef int64_t now = gm_nanotime_coarse()
    if gm_unlikely(now - m.gil_since >= SAFEPOINT_NS):
        PyEval_RestoreThread(PyEval_SaveThread())
        m.gil_since = now


cdef inline void timers_check(gm_m* m, uint64_t tick) noexcept:
    # The coarse clock costs a quarter of the exact one and is late by a few ms at most.
    cdef int64_t now = gm_nanotime() if tick % 8 == 0 else gm_nanotime_coarse()
    if now >= gm_load_i64_relaxed(&m.timers.next_when):
        timers_batch(m, m, now)
        if gm_load_u32_relaxed(&sched.undelivered):
            timers_deliver(m)


# ---- when the local queues are empty -------------------------------------------------------

cdef gm_g* find_runnable(gm_m* m, gm_worker* w) noexcept:
    cdef PyThreadState* ts
    cdef gm_g* g
    cdef int why
    if w != NULL:
        context_leave(w)                # an idle worker keeps nothing of its last G
    m.looked = False
    m.look_again = 0
    m.searches = w != NULL
    if not GM_FREE_THREADED:
        policy_dry(m, hosted(m, w))
    while True:
        if hears_signals(m):
            if gm_unlikely(sigint_wanted) and not gm_load_u32_relaxed(&sched.stopping):
                sigint_again()
            check_signals(m)            # goroutines that are C functions do not look
        elif gm_load_u32_relaxed(&m.stop):
            if m.nworkers - m.nidle <= (1 if w != NULL else 0):
                return NULL
            gm_store_u32_relaxed(&m.stop, 0)    # a G stands on it: shutdown asks again later
        if m.p != NULL:
            g = local_next(m, m.p, w)   # without giving up the GIL
            if g != NULL:
                spin_end(m)
                if m.deep:
                    m_deep_end(m)
                return g
            if net_awaited(m) and net_look(m) > 0:
                continue
        gm_store_u32_relaxed(&m.hosts, hosted(m, w))
        gm_store_u32_relaxed(&m.seeks, M_SEEKS)
        ts = PyEval_SaveThread()
        g = NULL
        why = find_work(m, &g)
        gm_rank_none()
        m.gil_since = gm_nanotime()
        PyEval_RestoreThread(ts)
        gm_store_u32_relaxed(&m.seeks, 0)
        m.gil_slow = gm_nanotime() - m.gil_since > GIL_SLOW_NS
        if m.deep:
            m_deep_end(m)
        if g != NULL:
            return g
        spin_end(m)                     # handlers and finalizers may run now, for long
        if why == WORK_HOUSEKEEP:
            find_housekeep(m)
        elif why == WORK_TIMERS:
            timers_deliver(m)
        elif m.housekeep_at != INT64_MAX and gm_nanotime() >= m.housekeep_at:
            housekeep(m)                # a trickle of events does not put it off


cdef void find_housekeep(gm_m* m) noexcept:
    # A sleep of m has ended by itself, or by a signal.
    cdef int64_t now = gm_nanotime()
    if now >= m.look_at:
        m.looked = True
        look_for_life(m)
    if now >= m.housekeep_at:
        if policy_surplus(m):
            gm_store_u32_relaxed(&m.stop, 1)    # as shutdown does: find_runnable ends it
        housekeep(m)


cdef void housekeep(gm_m* m) noexcept:
    m.housekeep_at = INT64_MAX
    trim_workers(m)
    if gm_load_i64_relaxed(&sched.gfree_size) > GFREE_KEEP:
        gfree_trim()


cdef enum:                              # why find_work returned
    WORK_FOUND = 0                      # *out, or something on the M's own queues
    WORK_HOUSEKEEP = 1                  # a sleep has ended by itself, or for a signal handler
    WORK_STOP = 2
    WORK_TIMERS = 3                     # something is to be delivered with the GIL


cdef int find_work(gm_m* m, gm_g** out) noexcept nogil:
    # Without the GIL: returns when there is something to do, with a P held unless it is a
    # signal, a stop, timers to deliver or housekeeping.
    cdef int r
    while True:
        if not inbox_empty(&m.inbox):
            inbox_drain(&m.inbox, &m.ready)
        if gm_load_i64_relaxed(&m.timers.next_when) != INT64_MAX:
            timers_batch(m, m, gm_nanotime())
        if gm_load_u32_seqcst(&sched.undelivered):
            return WORK_TIMERS
        if m.readynext != NULL or m.ready.head != NULL or m.yielded.head != NULL:
            spin_end(m)
            if m.p == NULL:
                await_p(m)
            return WORK_FOUND
        if m.p != NULL:
            out[0] = look_around(m)
            if out[0] != NULL:
                return WORK_FOUND
            if hot() and hot_spin(m):
                continue
        r = stop_m(m, out)
        if r != WORK_FOUND or out[0] != NULL:
            return r


cdef gm_g* look_around(gm_m* m) noexcept nogil:
    # Work of others: the global queue, then the other Ps' rings. Holds a P, whose own ring and spill
    # are empty; NULL: nothing seen.
    cdef gm_g* g = NULL
    if not m.spinning and policy_spins(m):
        m.spinning = True
        gm_fetch_add_u32_seqcst(&sched.nmspinning, 1)
    if gm_load_i64_relaxed(&sched.runq.size) > 0 and not policy_leaves(m) and not leaves_placed(m):
        g = refill_from(m.p, &sched.runq)
    if g == NULL:
        g = steal_work(m)
    if g != NULL:
        policy_took(m, runq_len(m.p) + 1)
        spin_end(m)
    return g


cdef bint hot_spin(gm_m* m) noexcept nogil:
    # m, on a regular P, has run dry in a hot time: the next G may come in a moment, sooner than a thread
    # could be woken for it (measured: 30 us and more). So does one that rests, beyond that. True: there is
    # something to look at.
    cdef int64_t until
    cdef uint32_t i
    if on_spare_p(m) or leaves_placed(m) or not policy_hot_more(0):
        return False
    if not m.spinning:
        if not gm_cas_u32_seqcst(&sched.nmspinning, 0, 1):      # one is enough
            return False
        m.spinning = True
    until = max(gm_nanotime(), m.rests_until) + HOT_SPIN_NS
    while hot() and not gm_load_u32_relaxed(&m.stop) and gm_nanotime() < until:
        if not inbox_empty(&m.inbox) or gm_load_i64_relaxed(&sched.runq.size) > 0:
            return True
        for i in range(0 if policy_rests(m) else gm_load_u32_acquire(&sched.nallp)):
            # not policy_steals, which uses up what sysmon has granted
            if fresh_len(allp[i]) > 0 and policy_free(allp[i]):
                return True
        proc_yield(SPIN_PAUSES)
        gm_osyield()
    return False


cdef inline void spin_end(gm_m* m) noexcept nogil:
    if m.spinning:
        m.spinning = False
        policy_found(gm_fetch_add_u32_seqcst(&sched.nmspinning, <uint32_t>-1) == 1)


cdef inline uint32_t cheap_rand(gm_m* m) noexcept nogil:
    # xorshift64*; never 0 (seeded at new_m). Fairness of stealing needs no more.
    m.rng ^= m.rng >> 12
    m.rng ^= m.rng << 25
    m.rng ^= m.rng >> 27
    return <uint32_t>((m.rng * <uint64_t>2685821657736338717) >> 32)


cdef gm_g* steal_work(gm_m* m) noexcept nogil:
    # Visits every other P from a random start; a few rounds where the policy spins.
    cdef uint32_t n = gm_load_u32_acquire(&sched.nallp)
    cdef uint32_t start, i
    cdef int k
    cdef gm_g* g
    cdef bint eager = not on_spare_p(m) and not policy_rests(m)
    for k in range(SPIN_ROUNDS if GM_FREE_THREADED and m.spinning else 1):
        start = cheap_rand(m)
        counters(m).spins += 1
        for i in range(n):
            g = steal_from(m, allp[(start + i) % n], eager)
            if g != NULL:
                return g
        if not inbox_empty(&m.inbox):
            return NULL
        if GM_FREE_THREADED:
            proc_yield(SPIN_PAUSES)
    return NULL


cdef gm_g* steal_from(gm_m* m, gm_p* victim, bint eager) noexcept nogil:
    cdef gm_g* g = NULL
    cdef uint32_t most
    cdef uint32_t taken = 0
    if victim == m.p or fresh_len(victim) == 0:
        return NULL
    most = policy_steals(victim, eager)
    if most == 0:
        return NULL
    if runq_len(victim) > 0:
        g = runq_steal(m.p, victim, most, &taken)
    if g == NULL and gm_load_i64_relaxed(&victim.spill.size) > 0:
        gm_lock_acquire(&sched.lock)
        g = batches_get(&victim.spill, m.p, most)
        gm_lock_release(&sched.lock)
        taken = runq_len(m.p) + 1
    if g != NULL:
        counters(m).steals += 1
        counters(m).stolen += taken
    return g


# ---- changing over -------------------------------------------------------------------------

cdef inline int transfer(gm_m* m, gm_g* g) noexcept:
    # Switches from the current greenlet to where g runs: its own greenlet when it has started,
    # else an idle worker, else g0, which makes one. Returns when something switches back here;
    # -1 when that was an exception thrown from outside.
    cdef PyObject* to
    cdef gm_worker* w
    if g.park != NULL:
        execute(m, g)
        to = g.park.gl
    else:
        m.handoff = g
        w = m.idle_workers
        if gm_likely(w != NULL):
            m.idle_workers = w.next
            m.nidle -= 1
            if m.nidle < m.nidle_low:
                m.nidle_low = m.nidle
            to = w.park.home
        else:
            to = m.g0
    return switch_to(to)


cdef inline bint by_user(gm_m* m) noexcept nogil:
    # Whether what has just switched here was user code: of a goroutine, or of a done callback.
    return m.curg != NULL or m.callback_home != NULL


cdef void throw_back(gm_m* m) noexcept:
    # User code has switched to, or thrown into, a greenlet that is the scheduler's to resume: a
    # parked goroutine's, an idle worker, g0. It gets the error in its own call. Returns when
    # something switches here again.
    cdef PyObject* r
    PyErr_Clear()
    error = RuntimeError("this greenlet waits in gmpx: only the scheduler resumes it")
    cls = RuntimeError
    r = greenlet_throw(m.curg.park.home if m.curg != NULL else m.callback_home,
                       <PyObject*>cls, <PyObject*>error)
    xdecref(r)


cdef inline int switch_to(PyObject* gl) noexcept:
    cdef PyObject* r = greenlet_switch(gl, empty_tuple)
    if gm_unlikely(r == NULL):
        return -1
    decref(r)
    return 0


cpdef object gosched():
    """gosched()
    Yields: the goroutine goes to the tail of its queue and others run first.

    Returns at once when nothing else is runnable. On a foreign thread it yields the thread's
    time slice. A cancel that has come meanwhile is raised. Go: runtime.Gosched.
    """
    cdef gm_m* m = getm()
    cdef gm_g* g = m.curg
    if gm_unlikely(g == NULL):
        return None                     # a signal handler or finalizer inside the scheduler
    if gm_unlikely(m.keeps_off):
        if m.kind == M_FOREIGN:
            with nogil:
                gm_osyield()
        else:
            yield_alone(m)
    else:
        yield_now(m, g)
    take_cancel(g)
    return None


cdef extern from *:
    """
    /* As gm_getm. */
    struct __pyx_t_4gmpx_5_core_gm_g;
    struct __pyx_t_4gmpx_5_core_gm_m;
    GM_INLINE int gm_take_cancel(struct __pyx_t_4gmpx_5_core_gm_g *);
    GM_INLINE int gm_yield_now(struct __pyx_t_4gmpx_5_core_gm_m *, struct __pyx_t_4gmpx_5_core_gm_g *);
    static GM_NOINLINE int gm_take_cancel_slow(struct __pyx_t_4gmpx_5_core_gm_g *);
    """


cdef inline int take_cancel "gm_take_cancel"(gm_g* g) except -1:
    # Raises what a park would have to raise at once.
    if gm_unlikely(g.flags & GF_CANCEL or g.park.scopes != NULL):
        return take_cancel_slow(g)
    return 0


cdef int take_cancel_slow "gm_take_cancel_slow"(gm_g* g) except -1:
    if g.flags & GF_CANCEL and not g.flags & GF_SHIELD:
        raise cancelled_error(g)
    if g.park.scopes != NULL and scopes_take(g.park):
        raise Interrupted()
    return 0


cdef inline int yield_now "gm_yield_now"(gm_m* m, gm_g* g) except -1:
    # The yield alone, without a look at what is to be raised by it.
    cdef gm_g* next
    cdef gm_park* pk
    cdef int r
    if g == m.g_main:
        g.park.reason = WAKE_YIELD      # a signal may come meanwhile: see interrupt_main
    gm_store_u32_relaxed(&g.status, G_RUNNABLE)
    m.curg = NULL
    gq_put(&m.yielded, g)
    next = schedule(m, NULL)
    if next == g:
        execute(m, g)
    else:
        pk = g.park
        pk.gl = current_greenlet(pk)
        if gm_unlikely(pk.gl == NULL):
            gosched_broken(m, g)
        tls_leave(m, g)
        r = transfer(m, next)
        while gm_unlikely(m.curg != g):
            r = -1
            if not by_user(m):
                break                   # thrown into by greenlet itself
            throw_back(m)
            r = 0
        tls_return(m, g)
        if gm_unlikely(r < 0):
            xdecref(pk.gl)
            pk.gl = NULL
            gosched_broken(m, g)
        decref(pk.gl)
        pk.gl = NULL
    if g == m.g_main and g.park.reason == WAKE_INTERRUPT:
        raise_interrupt(m)
    return 0


cdef int gosched_broken(gm_m* m, gm_g* g) except -1:
    # An exception was thrown into the yielding greenlet from outside: it goes on with that.
    gq_remove(&m.yielded, g)
    gq_remove(&m.ready, g)
    m.yield_takes += 1
    execute(m, g)
    return -1
