# run_on_main, and lock_os_thread (proc.go: LockOSThread, stoplockedm, handoffp).
#
# run_on_main queues a fresh G on M0 itself, through its inbox, as if it had started there.
#
# lock_os_thread. While m.lock_depth > 0 only m.locked_g's goroutine runs on m. When that parks, m gives
# its P away with what is queued there and sleeps on its note, as a foreign thread does (m.keeps_off
# says so to gopark). Goroutines that have started on m wait in m.ready meanwhile: they are bound to
# its thread.
#
# Invariants
#   U1  m.lock_depth, m.locked_g and m.keeps_off: the owner. locked_g is the G that entered; while it lives
#       nobody else runs on m but main after an interrupt (U3).
#   U2  m.alone_park is set while m sleeps so, under the GIL: V1 looks at it. Its timer's when is
#       the deadline, which is in no heap.
#   U3  Ctrl-C must reach the main goroutine whatever holds M0: for the rest of such a park M0
#       runs whoever is ready.
#   U4  There are threads enough: each locked worker M allows one more (policy_more_ms).
#   No wake-up is lost: m_sleep_begin, then the look at inbox and word, then sleep (W2).


def run_on_main(fn, /, *args, **kwargs):
    """run_on_main(fn, /, *args, **kwargs)
    Runs ``fn(*args, **kwargs)`` on the main thread and returns its value.

    For what must happen there: GUI toolkits, ``signal.signal``. It runs as a goroutine of its
    own when the main thread has nothing else to run: at the latest when the main goroutine parks
    or yields. Called on the main thread it runs at once, in the caller.

    Returns:
        What fn returns.

    Raises:
        TypeError: fn is not callable. RuntimeError: the main thread has not used gmpx yet.
        What fn raises. Cancelling the caller cancels fn.

    Parks the goroutine; on a foreign thread, blocks the thread.
    """
    cdef gm_m* m = getm()
    cdef gm_m* m0
    cdef gm_g* g
    getg(m)
    if not callable(fn):
        raise TypeError(f"run_on_main() needs a callable, not {type(fn).__name__}")
    if m.kind == M_MAIN:
        return fn(*args, **kwargs)
    take_cancel(m.curg)
    if m0_machine == NULL:
        raise RuntimeError("run_on_main: the main thread has not used gmpx yet")
    packed = (args, kwargs)
    Py_INCREF(packed)
    g = newproc1(m, <PyObject*>fn, <PyObject*>packed, GF_KWARGS, NULL, NULL)
    if g == NULL:
        raise MemoryError()
    handle = <Goroutine>OBJ(g)
    fn = args = kwargs = packed = None
    m0 = (<Machine>m0_machine).m
    inbox_push(&m0.inbox, g)
    wake_m(m0)
    blockwatch_awake()                          # BW3
    try:
        handle.join()
    except BaseException:
        handle.cancel()
        raise
    return handle.result()


@cython.final
cdef class lock_os_thread:
    """lock_os_thread()
    Context manager: keeps the thread to the current goroutine alone (runtime.LockOSThread).

    A goroutine never changes threads anyway; inside the block no other runs on its thread either,
    so what a C library keeps per thread stays as it was left. Nests.

    Goroutines that have started on the same thread stand still until the block ends, also while
    it waits: do not wait in it for one of these, which can be the main goroutine
    (``run_on_main`` waits likewise). Fresh goroutines go to other threads. Ctrl-C still reaches
    the main goroutine.

    Raises:
        RuntimeError: left by another goroutine than entered it, or there are too many threads.
    """
    cdef gm_m* m
    cdef Goroutine holder
    cdef Py_ssize_t depth

    def __enter__(self):
        cdef gm_m* m = getm()
        cdef gm_g* g = getg(m)
        if self.holder is not None and (self.m != m or &self.holder.g != g):
            raise RuntimeError("lock_os_thread: entered by another goroutine already")
        if m.lock_depth == 0 and m.kind == M_WORKER:
            gm_fetch_add_u32_seqcst(&sched.nlocked, 1)      # U4
        self.m = m
        self.holder = <Goroutine>OBJ(g)
        self.depth += 1
        m.lock_depth += 1
        m.locked_g = g
        m.keeps_off = True
        return None

    def __exit__(self, *exc):
        cdef gm_m* m = gm_tls_m
        if self.depth == 0:
            raise RuntimeError("lock_os_thread: left without being entered")
        if m != self.m or &self.holder.g != m.curg:
            raise RuntimeError("lock_os_thread: left by another goroutine than entered it")
        self.depth -= 1
        if self.depth == 0:
            self.holder = None
        unlock_thread(m, 1)

    def __dealloc__(self):
        # A goroutine that has ended inside, by __enter__ without __exit__.
        if self.depth > 0 and gm_tls_m == self.m and self.m != NULL:
            unlock_thread(self.m, self.depth)


cdef void unlock_thread(gm_m* m, Py_ssize_t depth) noexcept:
    m.lock_depth -= depth
    if m.lock_depth > 0:
        return
    m.locked_g = NULL
    m.keeps_off = m.kind == M_FOREIGN
    if m.kind == M_WORKER:
        gm_fetch_add_u32_seqcst(&sched.nlocked, <uint32_t>-1)


# ---- parking alone -------------------------------------------------------------------------

cdef enum:
    ALONE_NOT = -2              # park_alone: m is to run others after all


cdef int park_alone "gm_park_alone"(gm_m* m, gm_g* g, int64_t deadline) noexcept:
    # g is m.locked_g, its park armed. Returns WAKE_*, or ALONE_NOT.
    cdef gm_park* pk = g.park
    cdef PyThreadState* ts
    cdef int64_t due
    cdef int r
    m.curg = NULL
    pk.timer.when = deadline                                # U2
    m.alone_park = pk
    m.looked = False
    m.look_again = 0
    ts = PyEval_SaveThread()
    hand_off_p(m)
    while True:
        m_sleep_begin(m)
        if alone_ready(m, g):
            m_sleep_cancel(m)
            break
        if look_is_asked(m):
            m_sleep_cancel(m)
            PyEval_RestoreThread(ts)
            m_deep_end(m)
            ts = PyEval_SaveThread()
            continue
        if deadline >= 0 and gm_nanotime() >= deadline:
            if park_win(pk, armed_word(pk)):
                m_sleep_cancel(m)
                pk.reason = WAKE_TIMEOUT
                break
            deadline = NO_DEADLINE                          # a waker has won: its push comes
        m_dozes(m)
        due = min(sleep_until(m, gm_nanotime()), deadline if deadline >= 0 else INT64_MAX)
        r = m_sleep(m, due)
        m_wakes(m)
        if gm_load_i64_relaxed(&m.timers.next_when) <= gm_nanotime():
            timers_batch(m, m, gm_nanotime())
        if r <= 0 or m.deep or gm_load_u32_seqcst(&sched.undelivered):
            PyEval_RestoreThread(ts)
            alone_looks(m, g)
            if m.interrupt != NULL and g != m.g_main:
                m.alone_park = NULL
                pk.timer.when = -1
                if m.deep:
                    m_deep_end(m)
                take_p(m)
                return ALONE_NOT                            # U3
            ts = PyEval_SaveThread()
    await_p(m)
    gm_rank_none()
    PyEval_RestoreThread(ts)
    if m.deep:
        m_deep_end(m)
    m.alone_park = NULL
    execute(m, g)
    return pk.reason


cdef void alone_looks(gm_m* m, gm_g* g) noexcept:
    # A sleep in park_alone has ended by itself, by a signal or for timers that have fired.
    cdef int64_t now = gm_nanotime()
    if m.deep:
        m_deep_end(m)
    if hears_signals(m):
        check_signals(m)
    if gm_load_u32_relaxed(&sched.undelivered):
        timers_deliver(m)
    if now >= m.look_at and m.interrupt == NULL:
        m.looked = True
        look_for_life(m)
        if m.deep:
            check_signals(m)                                # W6


cdef void take_p(gm_m* m) noexcept:
    cdef PyThreadState* ts = PyEval_SaveThread()
    await_p(m)
    gm_rank_none()
    PyEval_RestoreThread(ts)


cdef bint alone_ready(gm_m* m, gm_g* g) noexcept nogil:
    # Whether g has been readied; takes it off its queue. All else stays queued on m.
    cdef gm_gq came
    cdef gm_g* x
    cdef Py_ssize_t before
    cdef bint found = m.readynext == g
    if found:
        m.readynext = NULL
    came.head = came.tail = NULL
    came.n = 0
    if not inbox_empty(&m.inbox):
        inbox_drain(&m.inbox, &came)
    while True:
        x = gq_get(&came)
        if x == NULL:
            break
        if x == g:
            found = True
        else:
            gq_put(&m.ready, x)
    if not found and not (gm_load_u64_acquire(&g.park.word) & 1):
        before = m.ready.n                      # by m itself: it was on its way here
        gq_remove(&m.ready, g)
        found = m.ready.n != before
    return found


cdef void hand_off_p(gm_m* m) noexcept nogil:
    # Go's handoffp: what is queued on m's P goes to whoever comes.
    if m.p == NULL:
        return
    spin_end(m)
    m_gives_up_p(m)


cdef void yield_alone(gm_m* m) noexcept:
    # gosched: the fresh ones that wait may run elsewhere.
    cdef PyThreadState* ts = PyEval_SaveThread()
    if m.p != NULL and fresh_len(m.p) > 0:
        hand_off_p(m)
    gm_osyield()
    if m.p == NULL:
        await_p(m)
    gm_rank_none()
    PyEval_RestoreThread(ts)
