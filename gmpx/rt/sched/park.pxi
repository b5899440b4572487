# Parking: gopark, goready and the park word (proc.go: gopark, goready; chan.go's sudog).
#
# A wait is: park_arm, put sudogs on wait queues, gopark, take the sudogs off again.
#
# Invariants
#   K1  word is odd from park_arm to the one CAS that wins it. Only the owner makes it odd.
#   K2  The winner alone writes reason, then readies the G; the inbox's CAS (or the M itself)
#       publishes both to the owner.
#   K3  A waker that comes between park_arm and the switch does no harm: only the owner M
#       resumes the G, from its own scheduler, which it has not yet reached.
#   K4  When gopark has returned, word is even: a stale sudog or timer can win nothing. The same
#       goes for the parks that a fork's child forgets.
#   K5  gl is the greenlet that is current when the G parks, which may be a child of the
#       worker's made by user code. It is what is resumed.


cdef inline uint64_t park_arm(gm_park* pk, int why) noexcept nogil:
    cdef uint64_t w = gm_load_u64_relaxed(&pk.word) + 1     # our own while even (K1)
    if GMPX_DEBUG and not (w & 1):
        fatal("park_arm: already parked")
    pk.why = <uint8_t>why
    gm_store_u32_relaxed(&pk.g.status, G_WAITING)           # a label; K1 orders the wake-ups
    gm_store_u64_relaxed(&pk.word, w)                       # published by the queue's guard
    return w


cdef inline uint64_t armed_word(gm_park* pk) noexcept nogil:
    # The odd value of this park, whether it has been won or not: only the owner asks, and it
    # moves once between.
    return (gm_load_u64_relaxed(&pk.word) - 1) | 1


cdef inline bint park_win(gm_park* pk, uint64_t word) noexcept nogil:
    return gm_cas_u64_acqrel(&pk.word, word, word + 1)      # K1, K2


cdef extern from *:
    """
    /* As gm_getm. */
    struct __pyx_t_4gmpx_5_core_gm_m;
    struct __pyx_t_4gmpx_5_core_gm_g;
    GM_INLINE void gm_goready(
        struct __pyx_t_4gmpx_5_core_gm_m *, struct __pyx_t_4gmpx_5_core_gm_g *, int);
    static GM_NOINLINE void gm_goready_elsewhere(
        struct __pyx_t_4gmpx_5_core_gm_m *, struct __pyx_t_4gmpx_5_core_gm_g *);
    """


cdef inline void goready "gm_goready"(gm_m* m, gm_g* g, bint next) noexcept nogil:
    # Makes a won G runnable on its own M. m: the calling M, or NULL. next: take Go's runnext
    # slot, so that the two ends of a channel share a time slice.
    cdef gm_m* owner = g.park.m
    gm_store_u32_relaxed(&g.status, G_RUNNABLE)
    if owner == m:
        counters(m).readied += 1
        if not next:
            gq_put(&m.ready, g)
            return
        if m.readynext != NULL:
            gq_put(&m.ready, m.readynext)                   # kicked to the tail, as in runqput
        m.readynext = g
        return
    goready_elsewhere(m, g)


cdef void goready_elsewhere "gm_goready_elsewhere"(gm_m* m, gm_g* g) noexcept nogil:
    # Out of line: what channels inline would save registers for it.
    cdef gm_m* owner = g.park.m
    if gm_unlikely(owner == &loop_m):
        loop_ready(m, g)                                    # a coroutine's (rt/io/asyncio.pxi)
        return
    if m != NULL:
        counters(m).readied += 1
    inbox_push(&owner.inbox, g)
    hook_point(HOOK_READY_PUSHED)
    wake_m(owner)                                           # Q4


# ---- wait queues: FIFO lists of sudogs, guarded by the object that holds them --------------

cdef inline void waitq_put(gm_waitq* q, gm_sudog* s) noexcept nogil:
    s.next = NULL
    s.prev = q.last
    if q.last != NULL:
        q.last.next = s
    else:
        q.first = s
    q.last = s
    s.queue = q


cdef inline void waitq_remove(gm_waitq* q, gm_sudog* s) noexcept nogil:
    # No-op when a waker has taken s off already.
    if s.queue == NULL:
        return
    if s.prev != NULL:
        s.prev.next = s.next
    else:
        q.first = s.next
    if s.next != NULL:
        s.next.prev = s.prev
    else:
        q.last = s.prev
    s.queue = NULL


cdef inline gm_sudog* waitq_get(gm_waitq* q) noexcept nogil:
    # Takes the first waiter whose park can be won, and wins it. Those that lost to another
    # waker are dropped: their owner finds queue == NULL.
    cdef gm_sudog* s
    while True:
        s = q.first
        if s == NULL:
            return NULL
        q.first = s.next
        if q.first != NULL:
            q.first.prev = NULL
        else:
            q.last = NULL
        s.queue = NULL
        if gm_likely(park_win(s.park, s.word)):
            return s


cdef inline void sudog_ready(gm_m* m, gm_sudog* s, bint next) noexcept nogil:
    # s from waitq_get: what it waits for has happened. m, next: as goready.
    s.park.reason = WAKE_READY
    goready(m, s.park.g, next)


cdef inline bint waitq_ready(gm_m* m, gm_waitq* q) noexcept nogil:
    # The first waiter goes on, if there is one.
    cdef gm_sudog* s = waitq_get(q)
    if s == NULL:
        return False
    sudog_ready(m, s, False)
    return True


cdef inline void waitq_ready_all(gm_m* m, gm_waitq* q) noexcept nogil:
    while waitq_ready(m, q):
        pass


cdef inline gm_sudog* sudog_arm(gm_g* g, gm_waitq* q, int why) noexcept nogil:
    # The single wait's sudog, on q.
    cdef gm_sudog* s = &g.park.sudog
    s.park = g.park
    s.elem = NULL
    s.ok = False
    s.word = park_arm(g.park, why)
    waitq_put(q, s)
    return s


# ---- gopark --------------------------------------------------------------------------------

# Out of line: their variables would lie in the frame that each parked goroutine keeps.
cdef extern from *:
    """
    struct __pyx_t_4gmpx_5_core_gm_m;
    struct __pyx_t_4gmpx_5_core_gm_g;
    static GM_NOINLINE int gm_park_alone(
        struct __pyx_t_4gmpx_5_core_gm_m *, struct __pyx_t_4gmpx_5_core_gm_g *, int64_t);
    static GM_NOINLINE int gm_park_foreign(
        struct __pyx_t_4gmpx_5_core_gm_m *, struct __pyx_t_4gmpx_5_core_gm_g *, int64_t);
    static GM_NOINLINE int gm_park_forbidden(
        struct __pyx_t_4gmpx_5_core_gm_m *, struct __pyx_t_4gmpx_5_core_gm_g *, int64_t);
    """

cdef int park_forbidden "gm_park_forbidden"(gm_m* m, gm_g* g, int64_t deadline) noexcept:
    # 0, or what ends the wait before it begins.
    cdef gm_park* pk = g.park
    if g.flags & GF_CANCEL and not g.flags & GF_SHIELD and park_win(pk, armed_word(pk)):
        g.flags &= ~<uint32_t>GF_CANCEL                 # a cancel that came before this wait
        return WAKE_CANCEL
    if deadline < 0 and loop_stops(m, g) and not scopes_timed(pk) and park_win(pk, armed_word(pk)):
        return WAKE_LOOP
    return 0


cdef int gopark(gm_m* m, gm_g* g, int64_t deadline) noexcept:
    # Gives the M away until a waker wins g's park word. The caller has armed the park.
    # deadline: CLOCK_MONOTONIC nanoseconds, < 0 for none. Returns WAKE_*; the caller takes its
    # sudogs off and raises what is to be raised (park_raise). -1: an exception was thrown into
    # the greenlet from outside, and is set. (Not "except -1": a handler around the call would
    # cost each parked goroutine 100 bytes of stack.)
    cdef gm_park* pk = g.park
    cdef int r
    counters(m).parked += 1
    if not GM_FREE_THREADED:
        learn(m, g, False)
    if gm_unlikely(g.flags & (GF_CANCEL | GF_LOOP | GF_SYSTEM)) and (
            g.flags & (GF_CANCEL | GF_LOOP) or m.keeps_off or modules_used[0] != modules_seen):
        r = park_forbidden(m, g, deadline)
        if r != 0:
            gm_store_u32_relaxed(&g.status, G_RUNNING)
            return r
    if gm_unlikely(pk.scopes != NULL) and scopes_interrupt(pk):
        gm_store_u32_relaxed(&g.status, G_RUNNING)
        scopes_delivered(pk)
        return WAKE_SCOPE
    pk.since = <uint32_t>(gm_nanotime_coarse() >> SINCE_SHIFT)
    if gm_unlikely(m.keeps_off):
        if m.kind == M_FOREIGN:
            return park_foreign(m, g, deadline)
        if g == m.locked_g and not bubble_on:               # M0 is alone there anyway
            r = park_alone(m, g, deadline)
            if r != ALONE_NOT:
                if r == WAKE_SCOPE:
                    scopes_delivered(pk)
                return r
    if deadline >= 0:
        pk.timer.when = deadline
        pk.timer.park = pk
        pk.timer.word = armed_word(pk)
        if timer_add(&pk.timer) < 0:
            deadline = -1
            if park_win(pk, armed_word(pk)):
                gm_store_u32_relaxed(&g.status, G_RUNNING)
                return WAKE_NOMEM
    r = park_m(m, g)
    if deadline >= 0:
        timer_stop(&pk.timer)
    if gm_unlikely(m.interrupt_later) and g == m.g_main:
        interrupt_soon(m)
    if gm_unlikely(r < 0):
        return -1
    if gm_unlikely(pk.reason == WAKE_SCOPE):
        scopes_delivered(pk)
    return pk.reason


cdef int park_m(gm_m* m, gm_g* g) noexcept:
    # Runs others until g is resumed (Go's park_m: the scheduler's side of a park).
    cdef gm_park* pk = g.park
    cdef gm_g* next
    cdef int r
    m.curg = NULL
    next = schedule_parked(m)
    if next == g:
        execute(m, g)                       # nobody else came: no switch at all
        return 0
    pk.gl = current_greenlet(pk)            # K5
    if gm_unlikely(pk.gl == NULL):
        return park_broken(m, g)
    tls_leave(m, g)
    if gm_unlikely(next == NULL):
        r = switch_to(m.g0)                 # the M stops and leaves g behind: for good
    else:
        r = transfer(m, next)
    if gm_unlikely(m.curg != g):
        r = park_resumed_by(m, g, r)
    tls_return(m, g)
    if gm_unlikely(r < 0):
        return park_broken(m, g)
    decref(pk.gl)
    pk.gl = NULL
    return 0


cdef inline PyObject* current_greenlet(gm_park* pk) noexcept:
    # A new reference to the greenlet that runs: nearly always the goroutine's home, which its
    # token tells for a tenth of what greenlet's own answer costs. NULL: an exception is set, the interpreter shuts
    # down, and what was to run next is left.
    cdef void* token = gm_greenlet_token(pk.m.ts)
    if gm_likely(token != NULL and token == pk.home_token):
        incref(pk.home)
        return pk.home
    return current_greenlet_slow(pk, token)


cdef PyObject* current_greenlet_slow(gm_park* pk, void* token) noexcept:
    cdef PyObject* gl = greenlet_current()
    if gl == NULL:
        PyErr_Clear()
        if not sys_finalizing():
            fatal("greenlet has been shut down under a running goroutine")
        PyErr_SetString(<PyObject*>RuntimeError, "gmpx cannot be used while the interpreter shuts down")
        return NULL
    if gl == pk.home:
        pk.home_token = token               # home lives, so no other greenlet can have it
    return gl


cdef int park_resumed_by(gm_m* m, gm_g* g, int r) noexcept:
    # The scheduler resumes g by execute and a switch: this was somebody else.
    while m.curg != g and by_user(m):
        throw_back(m)
        r = 0
    return r


cdef int park_broken(gm_m* m, gm_g* g) noexcept:
    # An exception was thrown into the parked greenlet from outside. The G goes on with it.
    if not park_win(g.park, armed_word(g.park)):
        if m.readynext == g:                # a waker was faster
            m.readynext = NULL
        if not inbox_empty(&m.inbox):
            inbox_drain(&m.inbox, &m.ready)
        gq_remove(&m.ready, g)
    execute(m, g)
    xdecref(g.park.gl)
    g.park.gl = NULL
    return -1


cdef int park_foreign_virtual(gm_m* m, gm_g* g, int64_t deadline) noexcept:
    # In a bubble the time-out is a timer, whose time M0 decides.
    cdef gm_park* pk = g.park
    cdef int r
    pk.timer.when = deadline
    pk.timer.park = pk
    pk.timer.word = armed_word(pk)
    if timer_add(&pk.timer) < 0 and park_win(pk, armed_word(pk)):
        gm_store_u32_relaxed(&g.status, G_RUNNING)
        return WAKE_NOMEM
    r = park_foreign(m, g, NO_DEADLINE)
    timer_stop(&pk.timer)
    return r


cdef int park_foreign "gm_park_foreign"(gm_m* m, gm_g* g, int64_t deadline) noexcept:
    # A foreign thread sleeps on its note; its G comes back through the inbox like any other.
    cdef gm_park* pk = g.park
    cdef PyThreadState* ts
    cdef int64_t look_at
    if deadline >= 0 or pk.timer.index < 0:
        pk.timer.when = deadline            # for V2 alone: it is in no heap
    if bubble_on and deadline >= 0:
        return park_foreign_virtual(m, g, deadline)
    if gm_tls_spare:
        spare_parks()
    ts = PyEval_SaveThread()
    look_at = gm_nanotime() + LOOK_AFTER_NS
    while True:
        m_sleep_begin(m)
        if not inbox_empty(&m.inbox):
            m_sleep_cancel(m)
            break
        if deadline >= 0 and gm_nanotime() >= deadline:
            if park_win(pk, armed_word(pk)):
                m_sleep_cancel(m)
                pk.reason = WAKE_TIMEOUT
                break
            deadline = NO_DEADLINE          # a waker has won: its push is on the way
        m_sleep(m, min(look_at, deadline if deadline >= 0 else INT64_MAX))
        if look_at != INT64_MAX and gm_nanotime() >= look_at:
            look_at = INT64_MAX             # once: from here on it sleeps for good
            main_looks_again()
    gm_rank_none()
    PyEval_RestoreThread(ts)
    if gm_tls_spare:
        spare_goes_on()
    gm_exchange_ptr_acqrel(&m.inbox, NULL)
    gm_store_u32_relaxed(&g.status, G_RUNNING)
    if pk.reason == WAKE_SCOPE:
        scopes_delivered(pk)
    return pk.reason


cdef int raise_interrupt(gm_m* m) except -1:
    # The main goroutine, running: raises what a signal handler has left for it.
    cdef object exc
    if m.interrupt == NULL:
        raise KeyboardInterrupt()
    exc = <object>m.interrupt
    xdecref(m.interrupt)
    m.interrupt = NULL
    raise exc


cdef int park_raise(gm_m* m, int reason, str what) except -1:
    # Raises what a park ended with, unless that is WAKE_READY.
    if reason == WAKE_READY:
        return 0
    if reason < 0:
        return -1                           # it is set already
    if reason == WAKE_TIMEOUT:
        raise TimeoutError(what + " timed out")
    if reason == WAKE_CANCEL:
        raise cancelled_error(gm_tls_m.curg)
    if reason == WAKE_SCOPE:
        raise Interrupted()
    if reason == WAKE_NOMEM:
        raise MemoryError()
    if reason == WAKE_LOOP:
        return loop_told(gm_tls_m.curg, what)
    return raise_interrupt(m)
