# Ms and Ps: threads, who holds which P, and how many there are (proc.go: newm, acquirep,
# wirep, pidleget, pidleput, procresize, mstart).
#
# Invariants
#   M1  An M runs Gs only while it holds a P; a P is held by at most one M. p.m and m.p change
#       together in wire_p and release_p, under sched.lock.
#   M2  A P with id >= nprocs is a spare (P_DEAD while nobody holds it): used by an M whose own
#       Gs are ready when no P comes free in AWAIT_P_NS (at once under a GIL), and by the
#       poller's rescue. So every M can always go on with the Gs that are bound to it, whatever
#       the others do.
#   M3  At most nprocs + 1 worker Ms: the one more runs Gs while the main thread is busy with
#       Python code of its own and keeps its P. Those kept to one G (U4) do not count.
#   M4  The thread's M is found through a thread-local pointer, set once per thread.

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
    SPARES = 2                  # Ps beyond nprocs: one each for M3's extra M and for M0


cdef inline gm_m* getm() except NULL:
    # The calling thread's M; makes one at its first call.
    cdef gm_m* m = gm_tls_m
    if gm_likely(m != NULL):
        return m
    return m_of_new_thread()


cdef inline gm_g* getg(gm_m* m) except NULL:
    # The goroutine whose code runs on m.
    if gm_unlikely(m.curg == NULL):
        raise RuntimeError("this would park the scheduler: a signal handler or finalizer that "
                           "runs between goroutines may not block in gmpx")
    return m.curg


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
        gm_fetch_add_u32_seqcst(&sched.npidle, <uint32_t>-1)
    return p


cdef gm_p* spare_p() noexcept nogil:
    # A P beyond gomaxprocs that nobody holds (M2).
    cdef uint32_t i
    for i in range(gm_load_u32_relaxed(&sched.nallp)):
        if (gm_load_u32_relaxed(&allp[i].status) == P_DEAD
                and gm_load_ptr_relaxed(&allp[i].m) == NULL):
            return allp[i]
    fatal("spare_p: more Ms than Ps")
    return NULL


cdef inline void acquire_p(gm_m* m, gm_p* p) noexcept nogil:
    wire_p(m, p)
    p.stalled = False
    p.seen = ~<uint64_t>0                       # never so: not stalled before it was seen twice


cdef inline void wire_p(gm_m* m, gm_p* p) noexcept nogil:
    if m.p != NULL or gm_load_ptr_relaxed(&p.m) != NULL:
        fatal("wire_p: already in")             # M1
    m.p = p
    gm_store_ptr_release(&p.m, m)               # pairs with the poller's acquire
    gm_store_u32_relaxed(&p.status, P_RUNNING)


cdef gm_p* release_p(gm_m* m) noexcept nogil:
    # Gives the P back: to the idle list, or off every list if it is a spare; its ring goes to
    # the global queue in that case.
    cdef gm_p* p = m.p
    m.p = NULL
    gm_store_ptr_release(&p.m, NULL)
    if p.id < <int32_t>gm_load_u32_relaxed(&sched.nprocs):
        pid_put(p)
    else:
        gm_store_u32_relaxed(&p.status, P_DEAD)
        runq_drain(p)
    return p


cdef void runq_drain(gm_p* p) noexcept nogil:
    # Moves p's ring to the global queue, as a taker: p may have an owner.
    cdef gm_g* g
    cdef uint32_t h
    while True:
        h = gm_load_u32_acquire(&p.runq_head)
        if h == gm_load_u32_acquire(&p.runq_tail):
            return
        g = <gm_g*>gm_load_ptr_relaxed(&p.runq[h & (GM_RUNQ_SLOTS - 1)].g)
        if gm_cas_u32_acqrel(&p.runq_head, h, h + 1):
            glob_runq_put(g)


cdef void await_p(gm_m* m) noexcept nogil:
    # m has ready Gs and no P: an idle one, or one that another M hands over (hand_over_p), or
    # after AWAIT_P_NS a spare (M2). Under a GIL the spare at once: the GIL is the tighter bound,
    # and a P that is handed over takes its ring of fresh Gs to another thread (measured: 3,500
    # against 750 ns for each of 100,000 goroutines on an unbuffered channel).
    cdef int64_t until = gm_nanotime() + AWAIT_P_NS
    cdef int64_t left
    gm_lock_acquire(&sched.lock)
    if m.nextp != NULL:
        wake_m(m)
    elif sched.pidle != NULL:
        acquire_p(m, pid_get())
    elif not GM_FREE_THREADED:
        acquire_p(m, spare_p())
    else:
        m.pwaiting = True
        m.pwait_since = until - AWAIT_P_NS
        m.pwait_next = NULL
        if sched.pwait_last != NULL:
            sched.pwait_last.pwait_next = m
        else:
            sched.pwait_first = m
        sched.pwait_last = m
        gm_fetch_add_u32_relaxed(&sched.npwait, 1)
        while m.nextp == NULL:
            note_clear(&m.note)                 # under the lock that guards nextp (W5)
            gm_lock_release(&sched.lock)
            left = until - gm_nanotime()
            if left > 0:
                note_sleep(&m.note, left, False)
            else:
                note_cancel(&m.note)
            gm_lock_acquire(&sched.lock)
            if m.nextp == NULL and (left <= 0 or sched.pidle != NULL):
                pwait_remove(m)
                m.nextp = pid_get() if sched.pidle != NULL else spare_p()
        wake_m(m)
    gm_lock_release(&sched.lock)


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
    # gomaxprocs is given up (under a GIL only for a regular one). m goes on through
    # find_runnable, where it waits in its turn if it has ready Gs.
    cdef gm_m* waiter
    cdef gm_p* p
    gm_lock_acquire(&sched.lock)
    waiter = sched.pwait_first
    if m.p.id >= <int32_t>gm_load_u32_relaxed(&sched.nprocs):
        if GM_FREE_THREADED or sched.pidle != NULL:
            release_p(m)
    elif waiter != NULL and gm_nanotime() - waiter.pwait_since >= HANDOVER_NS:
        pwait_remove(waiter)
        p = m.p
        m.count.handoffs += 1
        m.p = NULL
        gm_store_ptr_release(&p.m, NULL)
        waiter.nextp = p
        note_wakeup(&waiter.note)
    gm_lock_release(&sched.lock)


# ---- gomaxprocs ----------------------------------------------------------------------------

cdef int procresize(uint32_t n) except -1:
    # GIL held. Queued work is kept: what lies on a P that goes away moves to the global queue,
    # and an M that holds such a P gives it up at its next fair tick or when it runs dry.
    cdef uint32_t i
    cdef gm_p* p
    cdef gm_p* idle
    cdef bint more = False
    while gm_load_u32_relaxed(&sched.nallp) < n + 1 + SPARES:
        new_p()
    gm_lock_acquire(&sched.lock)
    gm_store_u32_relaxed(&sched.nprocs, n)
    idle = sched.pidle
    sched.pidle = NULL
    gm_store_u32_seqcst(&sched.npidle, 0)
    while idle != NULL:
        p = idle
        idle = p.link
        p.link = NULL
        gm_store_u32_relaxed(&p.status, P_DEAD)
    i = gm_load_u32_relaxed(&sched.nallp)
    while i > 0:
        i -= 1
        p = allp[i]
        if gm_load_u32_relaxed(&p.status) == P_DEAD and gm_load_ptr_relaxed(&p.m) == NULL:
            if i < n and not nextp_of_someone(p):
                pid_put(p)
        if i >= n:
            runq_drain(p)
    gm_lock_release(&sched.lock)
    if gm_load_i64_relaxed(&sched.runq_size) > 0:
        wake_p()
    return 0


cdef bint nextp_of_someone(gm_p* p) noexcept nogil:
    # sched.lock held: p is on its way to an M that has been woken with it.
    cdef gm_m* m = allm
    while m != NULL:
        if m.nextp == p:
            return True
        m = m.all_next
    return False


cdef int new_p() except -1:
    cdef Processor obj = Processor.__new__(Processor)     # first: a finalizer may make Ps, too
    cdef uint32_t n = gm_load_u32_relaxed(&sched.nallp)
    if n >= MAX_PROCS + 1 + SPARES:
        raise RuntimeError("too many processors")
    obj.p.id = n
    processors.append(obj)                  # keeps it for good
    allp[n] = obj.p
    gm_store_u32_release_(&sched.nallp, n + 1)      # pairs with the acquire of thieves
    return 0


cdef inline void gm_store_u32_release_(gm_u32* a, uint32_t v) noexcept nogil:
    gm_store_u32_release(a, v)


# ---- Ms ------------------------------------------------------------------------------------

cdef gm_m* m_alloc(int kind) noexcept nogil:
    cdef gm_m* m = <gm_m*>calloc(1, sizeof(gm_m))
    if m == NULL:
        return NULL
    if note_init(&m.note) < 0:
        free(m)
        return NULL
    m.kind = kind
    m.rng = (<uint64_t>gm_nanotime() ^ <uint64_t><uintptr_t>m) | 1
    gm_lock_acquire(&sched.lock)
    m.id = <int64_t>gm_fetch_add_u64_relaxed(&next_mid, 1) if kind != M_MAIN else 0
    m.all_next = allm_get()
    if m.all_next != NULL:
        m.all_next.all_prev = m
    allm_set(m)
    gm_lock_release(&sched.lock)
    return m


cdef inline gm_m* allm_get() noexcept nogil:
    return allm


cdef inline void allm_set(gm_m* m) noexcept nogil:
    global allm
    allm = m


cdef void m_free(gm_m* m) noexcept nogil:
    # The thread is gone or goes; m is on no list but allm. Its memory stays if Gs were left
    # parked on it: who wakes one of them later finds a dead M's inbox.
    gm_lock_acquire(&sched.lock)
    if m.all_prev != NULL:
        m.all_prev.all_next = m.all_next
    else:
        allm_set(m.all_next)
    if m.all_next != NULL:
        m.all_next.all_prev = m.all_prev
    counters_fold(&m.count)
    gm_lock_release(&sched.lock)
    if m.nworkers == 0:
        note_free(&m.note)
        free(m)


cdef bint new_m(gm_p* p) noexcept nogil:
    # Starts a worker thread, which begins with p if that is given. False: the limit is reached
    # (M3), the runtime stops, or the system has no thread to give; the work then waits for the
    # Ms that there are.
    cdef gm_m* m
    cdef uint32_t n = gm_fetch_add_u32_seqcst(&sched.nm, 1)
    if n > gm_load_u32_relaxed(&sched.nprocs) + gm_load_u32_relaxed(&sched.nlocked) or gm_load_u32_seqcst(&sched.stopping) or bubble_on:
        gm_fetch_add_u32_seqcst(&sched.nm, <uint32_t>-1)
        return False
    m = m_alloc(M_WORKER)
    if m != NULL:
        m.nextp = p
        m.spinning = p != NULL
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
        PyEval_RestoreThread(ts)
        PyThreadState_Clear(ts)
        PyThreadState_DeleteCurrent()
    spin_end(m)
    gm_tls_m = NULL
    gm_lock_acquire(&sched.lock)
    if m.p != NULL:
        runq_drain(m.p)                         # finalizers of the end may have spawned
        release_p(m)
    if m.nextp != NULL:                         # the thread state could not be made
        pid_put(m.nextp)
        m.nextp = NULL
    gm_lock_release(&sched.lock)
    m_free(m)
    gm_fetch_add_u32_seqcst(&sched.nm, <uint32_t>-1)


cdef void m_loop(gm_m* m) noexcept:
    # On the thread's root greenlet, which is this M's g0.
    cdef Machine obj
    cdef PyObject* me
    m.ident = PyThread_get_thread_ident()       # before all that allocates: finalizers may call go
    m.ts = PyThreadState_Get()
    me = greenlet_current()
    if me == NULL:
        PyErr_Clear()
        return
    m.g0 = me
    obj = Machine.__new__(Machine)
    obj.m = m
    m.obj = <PyObject*>obj
    gm_lock_acquire(&sched.lock)
    wake_m(m)
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
