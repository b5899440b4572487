# Ms and Ps: threads, who holds which P, and how many there are (proc.go: newm, acquirep,
# wirep, pidleget, pidleput, procresize, mstart).
#
# Invariants
#   M1  An M runs Gs only while it holds a P; a P is held by at most one M. p.m and m.p change
#       together in wire_p and release_p, under sched.lock.
#   M2  A P with id >= nprocs is a spare (P_SPARE while nobody holds it); there are as many as are
#       wanted. An M whose own Gs are ready uses one when no P comes free in AWAIT_P_NS (at once under
#       a GIL), and an M that sysmon sends where Ps stand. So every M can always go on with the Gs
#       that are bound to it, whatever the others do. A P is P_RUNNING from the moment that it is
#       given to an M, be it by nextp.
#   M3  How many worker Ms there may be is the policy's (policy_more_ms).
#   M4  The thread's M is found through a thread-local pointer, set once per thread.
#   M5  An M's memory is an M for good (allm only grows); one whose thread has ended waits in
#       sched.mfree, unless Gs were left parked on it. So a waker that comes late wakes an M in vain
#       and harms nobody. Its timers stay with it, and sysmon sees to them.

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    static __declspec(thread) struct __pyx_t_4gmpx_5_core_gm_m *gm_tls_m;
    #elif defined(__GLIBC__)
    /* glibc keeps room for a few static TLS words of modules loaded later. */
    static __thread struct __pyx_t_4gmpx_5_core_gm_m *gm_tls_m
        __attribute__((tls_model("initial-exec")));
    #else
    static __thread struct __pyx_t_4gmpx_5_core_gm_m *gm_tls_m;
    #endif
    #if defined(_MSC_VER) && !defined(__clang__)
    static __declspec(thread) unsigned long long gm_tls_ending;
    static __declspec(thread) int gm_tls_spare;
    #else
    static __thread unsigned long long gm_tls_ending;
    static __thread int gm_tls_spare;
    #endif
    """
    gm_m* gm_tls_m
    uint64_t gm_tls_ending              # id of the thread state with which a foreign M has ended
    int gm_tls_spare                    # a thread of blocking()'s: see rt/life/blocking.pxi

cdef enum:
    AWAIT_P_NS = 5000000        # an M with ready Gs waits this long for a regular P
    HANDOVER_NS = 1000000       # and this long before another M's P is asked for
    MAX_PROCS = 1024


cdef extern from *:
    """
    /* Always inline: the module is so large that the compiler would rather not. */
    struct __pyx_t_4gmpx_5_core_gm_m;
    GM_INLINE struct __pyx_t_4gmpx_5_core_gm_m *gm_getm(void);
    """


cdef inline gm_m* getm "gm_getm"() except NULL:
    # The calling thread's M; makes one at its first call.
    cdef gm_m* m = gm_tls_m
    if gm_likely(m != NULL):
        return m
    return m_of_new_thread()


cdef inline gm_m* current_m() noexcept nogil:
    # The calling thread's M, or NULL.
    return gm_tls_m


cdef inline gm_g* getg(gm_m* m) except NULL:
    # The goroutine whose code runs on m.
    if gm_unlikely(m.curg == NULL):
        raise RuntimeError("this would park the scheduler: a signal handler or finalizer that "
                           "runs between goroutines may not block in gmpx")
    return m.curg


cdef inline bint schedules(gm_m* m) noexcept nogil:
    # Whether goroutines start on m: it has a scheduler and looks at its timers.
    return m.kind == M_MAIN or m.kind == M_WORKER


cdef inline bint hears_signals(gm_m* m) noexcept nogil:
    # Whether Python's signal handlers run on m's thread.
    return m.kind == M_MAIN


cdef inline bint runs_main(gm_m* m) noexcept nogil:
    # Whether the main goroutine is what runs on m.
    return m != NULL and m.kind == M_MAIN and m.curg == m.g_main


# ---- Ps: under sched.lock ------------------------------------------------------------------

cdef void pid_put(gm_p* p) noexcept nogil:
    gm_store_u32_relaxed(&p.status, P_IDLE)
    p.link = sched.pidle
    sched.pidle = p
    gm_fetch_add_u32_seqcst(&sched.npidle, 1)       # wake_p reads it without the lock


cdef gm_p* pid_get() noexcept nogil:
    cdef gm_p* p = sched.pidle
    if p != NULL:
        sched.pidle = p.link
        p.link = NULL
        gm_store_u32_relaxed(&p.status, P_RUNNING)
        gm_fetch_add_u32_seqcst(&sched.npidle, <uint32_t>-1)
    return p


cdef gm_p* spare_p() noexcept nogil:
    # A P beyond gomaxprocs that nobody holds (M2), made if need be; NULL when there is no memory.
    cdef uint32_t i
    cdef gm_p* p
    for i in range(gm_load_u32_relaxed(&sched.nprocs), gm_load_u32_relaxed(&sched.nallp)):
        if gm_load_u32_relaxed(&allp[i].status) == P_SPARE:
            p = allp[i]
            break
    else:
        p = new_p()
        if p == NULL:
            return NULL
    gm_store_u32_relaxed(&p.status, P_RUNNING)
    return p


cdef gm_p* new_p() noexcept nogil:
    # sched.lock held.
    cdef uint32_t n = gm_load_u32_relaxed(&sched.nallp)
    cdef gm_p* p
    if n >= MOST_PS:
        return NULL
    p = <gm_p*>calloc(1, sizeof(gm_p))
    if p == NULL:
        return NULL
    p.id = n
    gm_store_u32_relaxed(&p.status, P_SPARE)
    allp[n] = p
    gm_store_u32_release(&sched.nallp, n + 1)       # pairs with the acquire of thieves and sysmon
    return p


cdef void put_back(gm_p* p) noexcept nogil:
    # A P that was on its way to an M, or is given up: idle, or off every list if it is a spare.
    if p.id < <int32_t>gm_load_u32_relaxed(&sched.nprocs):
        pid_put(p)
    else:
        gm_store_u32_relaxed(&p.status, P_SPARE)
        p_drain(p)


cdef inline void acquire_p(gm_m* m, gm_p* p) noexcept nogil:
    wire_p(m, p)
    p.seen_at = p.cpu_at = 0                    # sysmon: not known to stand before it was seen twice


cdef inline void wire_p(gm_m* m, gm_p* p) noexcept nogil:
    if m.p != NULL or gm_load_ptr_relaxed(&p.m) != NULL:
        fatal("wire_p: already in")             # M1
    m.p = p
    gm_store_ptr_release(&p.m, m)               # pairs with sysmon's acquire
    gm_store_u32_relaxed(&p.status, P_RUNNING)


cdef void release_p(gm_m* m) noexcept nogil:
    # Gives the P back.
    cdef gm_p* p = m.p
    m.p = NULL
    gm_store_ptr_release(&p.m, NULL)
    put_back(p)


cdef void p_drain(gm_p* p) noexcept nogil:
    # Moves p's ring and spill to the global queue; as a taker: p may have an owner.
    cdef gm_g* g
    cdef uint32_t h
    batches_move(&p.spill, &sched.runq)
    while True:
        h = gm_load_u32_acquire(&p.runq_head)
        if h == gm_load_u32_acquire(&p.runq_tail):
            return
        g = <gm_g*>gm_load_ptr_relaxed(&p.runq[h & (GM_RUNQ_SLOTS - 1)].g)
        if gm_cas_u32_acqrel(&p.runq_head, h, h + 1):
            glob_runq_put(g)


cdef void change_p(gm_m* m) noexcept nogil:
    # m, on a spare P, takes an idle one, and with it, in its order, all that lies on the spare. sched.lock held;
    # p_changed afterwards, without it.
    cdef gm_p* p = pid_get()
    cdef gm_g* g
    while True:
        g = runq_get(m.p)                           # p's ring has room (R3): it was empty, and is as long
        if g == NULL:
            break
        runq_put(p, g)
    batches_move(&m.p.spill, &p.spill)
    release_p(m)
    acquire_p(m, p)


cdef inline void p_changed(gm_m* m) noexcept nogil:
    # As after a spawn: who looked at all rings meanwhile may have missed what was on its way (W4).
    if fresh_len(m.p) > 0 and policy_spawned():
        sysmon_wake()


cdef void await_p(gm_m* m) noexcept nogil:
    # m has ready Gs and no P: an idle one, or one that another M hands over (hand_over_p), or
    # after AWAIT_P_NS a spare (M2). Under a GIL the spare at once: the GIL is the tighter bound,
    # and a P that is handed over takes its ring of fresh Gs to another thread (measured: 3,500
    # against 750 ns for each of 100,000 goroutines on an unbuffered channel).
    cdef int64_t until = gm_nanotime() + AWAIT_P_NS
    cdef int64_t left
    gm_lock_acquire(&sched.lock)
    if m.nextp != NULL:
        m_awake(m)
    elif sched.pidle != NULL:
        acquire_p(m, pid_get())
    else:
        if not GM_FREE_THREADED:
            m.nextp = spare_p()
        if m.nextp == NULL:
            pwait_put(m, until - AWAIT_P_NS)
        while m.nextp == NULL:
            m_sleep_begin(m)                    # under the lock that guards nextp (W5)
            gm_lock_release(&sched.lock)
            left = until - gm_nanotime()
            if left > 0:
                m_sleep(m, until)
            else:
                m_sleep_cancel(m)
            gm_lock_acquire(&sched.lock)
            if m.nextp == NULL and (left <= 0 or sched.pidle != NULL):
                m.nextp = pid_get() if sched.pidle != NULL else spare_p()
                if m.nextp != NULL:
                    pwait_remove(m)
                else:
                    until = gm_nanotime() + AWAIT_P_NS      # no memory for one more
        m_awake(m)
    gm_lock_release(&sched.lock)


cdef void pwait_put(gm_m* m, int64_t now) noexcept nogil:
    m.pwaiting = True
    m.pwait_since = now
    m.pwait_next = NULL
    if sched.pwait_last != NULL:
        sched.pwait_last.pwait_next = m
    else:
        sched.pwait_first = m
    sched.pwait_last = m
    gm_fetch_add_u32_relaxed(&sched.npwait, 1)


cdef void pwait_remove(gm_m* m) noexcept nogil:
    cdef gm_m* q = sched.pwait_first
    cdef gm_m* before = NULL
    while q != NULL and q != m:
        before = q
        q = q.pwait_next
    if q == NULL:
        return
    if before == NULL:
        sched.pwait_first = m.pwait_next
    else:
        before.pwait_next = m.pwait_next
    if sched.pwait_last == m:
        sched.pwait_last = before
    m.pwaiting = False
    gm_fetch_add_u32_relaxed(&sched.npwait, <uint32_t>-1)


cdef void hand_over_p(gm_m* m) noexcept nogil:
    # schedule, every 61st tick: an M that has waited for a P gets this one (not at once: two
    # threads that pass a P to and fro every few microseconds get nothing done); and a P beyond
    # gomaxprocs is given up for a regular one, on a free-threaded build also for none: m goes on through
    # find_runnable then, where it waits in its turn if it has ready Gs.
    cdef gm_m* waiter
    cdef gm_p* p
    cdef bint changed = False
    gm_lock_acquire(&sched.lock)
    waiter = sched.pwait_first
    if on_spare_p(m):
        if sched.pidle != NULL:
            change_p(m)
            changed = True
        elif GM_FREE_THREADED:
            release_p(m)
    elif waiter != NULL and gm_nanotime() - waiter.pwait_since >= HANDOVER_NS:
        pwait_remove(waiter)
        p = m.p
        m.count.handoffs += 1
        m.p = NULL
        gm_store_ptr_release(&p.m, NULL)
        waiter.nextp = p
        wake_m(waiter)
    gm_lock_release(&sched.lock)
    if changed:
        p_changed(m)
    if gm_load_i64_relaxed(&sched.runq.size) > 0:
        policy_queued()                         # what a spare P's ring and spill held


# ---- gomaxprocs ----------------------------------------------------------------------------

cdef int procresize(uint32_t n) except -1:
    # GIL held. Queued work is kept: what lies on a P that goes away moves to the global queue, or from
    # the caller's to the P that it has instead. Another M that holds such a P gives it up at its next fair
    # tick or when it runs dry.
    cdef uint32_t i
    cdef gm_m* m = gm_tls_m
    cdef gm_p* p
    cdef bint made = True
    cdef bint changed = False
    gm_lock_acquire(&sched.lock)
    while made and gm_load_u32_relaxed(&sched.nallp) < n:
        made = new_p() != NULL
    if made:
        gm_store_u32_relaxed(&sched.nprocs, n)
        while True:
            p = pid_get()
            if p == NULL:
                break
            gm_store_u32_relaxed(&p.status, P_SPARE)
        i = n
        while i > 0:
            i -= 1
            if gm_load_u32_relaxed(&allp[i].status) == P_SPARE:
                pid_put(allp[i])
        if m != NULL and m.p != NULL and on_spare_p(m) and sched.pidle != NULL:
            change_p(m)                         # else n Ps run beside the caller's
            changed = True
        for i in range(n, gm_load_u32_relaxed(&sched.nallp)):
            p_drain(allp[i])
    gm_lock_release(&sched.lock)
    if not made:
        raise MemoryError()
    if changed:
        p_changed(m)
    if gm_load_i64_relaxed(&sched.runq.size) > 0:
        policy_queued()
    return 0


# ---- Ms ------------------------------------------------------------------------------------

cdef gm_m* m_alloc(int kind) noexcept nogil:
    # A dead M, or a new one (M5).
    cdef gm_m* m
    gm_lock_acquire(&sched.lock)
    m = sched.mfree
    if m != NULL:
        sched.mfree = m.free_next
        m.free_next = NULL
    gm_lock_release(&sched.lock)
    if m == NULL:
        m = <gm_m*>calloc(1, sizeof(gm_m))
        if m == NULL:
            return NULL
        if note_init(&m.note) < 0 or gm_lock_init(&m.timers.lock, RANK_TIMERS) < 0:
            free(m)
            return NULL
        gm_store_i64_seqcst(&m.timers.next_when, INT64_MAX)
        m.kind = M_DEAD
        gm_lock_acquire(&sched.lock)
        m.all_next = allm_first()
        gm_store_ptr_release(&allm, m)          # pairs with the acquire of those who walk
        gm_lock_release(&sched.lock)
    m.rng = (<uint64_t>gm_nanotime() ^ <uint64_t><uintptr_t>m) | 1
    m.housekeep_at = m.look_at = INT64_MAX
    gm_lock_acquire(&sched.lock)
    m.id = <int64_t>gm_fetch_add_u64_relaxed(&next_mid, 1) if kind != M_MAIN else 0
    m.kind = kind
    gm_lock_release(&sched.lock)
    return m


cdef inline gm_m* allm_first() noexcept nogil:
    # Every M that there has been, through all_next; M_DEAD ones among them.
    return <gm_m*>gm_load_ptr_acquire(&allm)


cdef void m_free(gm_m* m) noexcept nogil:
    # The thread is gone or goes. Not for reuse if Gs were left parked on it: who wakes one of
    # them later finds a dead M's inbox.
    gm_lock_acquire(&sched.lock)
    counters_fold(&m.count)
    memset(&m.count, 0, sizeof(m.count))
    m.kind = M_DEAD
    m.ts = NULL
    m.ident = 0
    m.curg = m.g_main = m.locked_g = NULL
    m.obj = NULL
    m.alone_park = NULL
    m.keeps_off = m.deep = m.looked = False
    m.lock_depth = 0
    m.nextp = NULL
    m.spinning = False
    gm_store_u32_relaxed(&m.stop, 0)
    gm_store_u32_relaxed(&m.sleeps, 0)
    if m.nworkers == 0:
        m.free_next = sched.mfree
        sched.mfree = m
    gm_lock_release(&sched.lock)
    sysmon_wake()                               # its timers are sysmon's now


cdef bint new_m(gm_p* p) noexcept nogil:
    # Starts a worker thread, which begins with p. False: there are enough (M3), the runtime stops, or the system has no thread to give; the work then waits for the
    # Ms that there are.
    cdef gm_m* m
    cdef uint32_t n = gm_fetch_add_u32_seqcst(&sched.nm, 1)
    if not policy_more_ms(n) or gm_load_u32_seqcst(&sched.stopping) or bubble_on:
        gm_fetch_add_u32_seqcst(&sched.nm, <uint32_t>-1)
        return False
    m = m_alloc(M_WORKER)
    if m != NULL:
        m.nextp = p
        m.spinning = True
        gm_store_u32_relaxed(&m.seeks, M_STARTS)
        if PyThread_start_new_thread(m_start, m) != <unsigned long>-1:
            return True
        m_free(m)
    gm_fetch_add_u32_seqcst(&sched.nm, <uint32_t>-1)
    return False


cdef PyThreadState* thread_state_new() noexcept nogil:
    # Not while a fork is under way: see rt/life/lifecycle.pxi.
    cdef PyThreadState* ts
    while True:
        gm_lock_acquire(&fork_lock)
        if sched.forking == 0:
            break
        gm_lock_release(&fork_lock)
        gm_osyield()
    ts = PyThreadState_New(PyInterpreterState_Main())
    gm_lock_release(&fork_lock)
    return ts


cdef void m_start(void* arg) noexcept nogil:
    # The thread of a worker M.
    global gm_tls_m
    cdef gm_m* m = <gm_m*>arg
    cdef PyThreadState* ts
    gm_tls_m = m
    # PyGILState_Ensure alone would make the state at a moment that a fork does not know of.
    ts = thread_state_new()
    if ts != NULL:
        with gil:                               # finds that state, and leaves it
            m_loop(m)
        # Before the state goes, which sysmon looks at: finalizers may spawn, as on a foreign thread.
        spin_end(m)
        m_gives_up_p(m)
        PyEval_RestoreThread(ts)
        PyThreadState_Clear(ts)
        PyThreadState_DeleteCurrent()
    spin_end(m)
    m_gives_up_p(m)                             # nextp: the thread state could not be made
    gm_tls_m = NULL
    m_free(m)
    gm_fetch_add_u32_seqcst(&sched.nm, <uint32_t>-1)


cdef void m_gives_up_p(gm_m* m) noexcept nogil:
    gm_lock_acquire(&sched.lock)
    if m.nextp != NULL:
        put_back(m.nextp)
        m.nextp = NULL
    if m.p != NULL:
        p_drain(m.p)
        release_p(m)
    gm_lock_release(&sched.lock)
    if gm_load_i64_relaxed(&sched.runq.size) > 0:
        policy_queued()


cdef void m_loop(gm_m* m) noexcept:
    # On the thread's root greenlet, which is this M's g0.
    cdef Machine obj
    cdef PyObject* me
    m.ident = PyThread_get_thread_ident()       # before all that allocates: finalizers may call go
    m.cpu_clock = gm_cpu_clock()
    m.tid = gm_tid()
    m.ts = PyThreadState_Get()
    gm_store_u32_relaxed(&m.seeks, 0)
    me = greenlet_current()
    if me == NULL:
        PyErr_Clear()
        return
    m.g0 = me
    obj = Machine.__new__(Machine)
    obj.m = m
    m.obj = <PyObject*>obj
    gm_lock_acquire(&sched.lock)
    m_awake(m)
    gm_lock_release(&sched.lock)
    thread_hooks()
    g0_loop(m)
    obj.m = NULL
    m.obj = NULL
    m.g0 = NULL
    xdecref(m.ctx_snap)
    m.ctx_snap = NULL
    decref(me)


cdef void thread_hooks() noexcept:
    # What threading.Thread does for a new thread: debuggers, profilers and coverage rely on it.
    import sys
    import threading
    try:
        trace, profile = threading.gettrace(), threading.getprofile()
        if trace is not None:
            sys.settrace(trace)
        if profile is not None:
            sys.setprofile(profile)
    except BaseException:
        PyErr_WriteUnraisable(NULL)
