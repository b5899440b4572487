# A thread's first contact with the runtime: M0 for the main thread, a foreign M for others.
#
# M0 holds the main goroutine (id 1) and a P from the start. A foreign thread gets an M without
# a P and a goroutine of its own, so that it can park (on its note) and be woken like any G.
# Both belong to a Machine object; a foreign thread's lies in the dict of the thread's state and
# ends with it. A C library's thread has a new state for each of its calls into Python, and with
# that a new M: only what still runs in the state that ends (its finalizers) is turned away.

cdef uint64_t main_ident = 0                # thread id of the main thread
cdef PyObject* m0_machine = NULL            # owned: M0's Machine, once there is one


cdef gm_m* m_of_new_thread() except NULL:
    # All that allocates comes first: a finalizer that the collector runs then may call gmpx, and
    # be the first of this thread.
    global gm_tls_m, m0_machine
    cdef bint main = PyThread_get_thread_ident() == main_ident
    cdef uint32_t procs
    cdef Machine obj
    cdef Goroutine g
    cdef object root, g0
    cdef dict keeper
    cdef gm_m* m
    if sys_finalizing():
        raise RuntimeError("gmpx cannot be used while the interpreter shuts down")
    if not main and gm_tls_ending == PyThreadState_GetID(PyThreadState_Get()):
        raise RuntimeError("gmpx cannot be used by a finalizer of a thread that ends")
    if gm_load_u32_relaxed(&sched.nallp) == 0:
        procs = default_procs()             # runs Python code: somebody else may be faster
        if gm_load_u32_relaxed(&sched.nallp) == 0:
            procresize(procs)
    quit_start()
    obj = Machine.__new__(Machine)
    g = Goroutine.__new__(Goroutine)
    g.name = "main" if main else "thread " + thread_name()
    root = root_greenlet() if main else None
    g0 = new_g0(root) if main else None
    keeper = None if main else thread_state_dict()
    if gm_tls_m != NULL:
        return gm_tls_m
    obj.park = <gm_park*>calloc(1, sizeof(gm_park))
    m = m_alloc(M_MAIN if main else M_FOREIGN)
    if m == NULL or obj.park == NULL:
        raise MemoryError()
    obj.m = m
    m.ident = PyThread_get_thread_ident()
    m.cpu_clock = gm_cpu_clock()
    m.tid = gm_tid()
    m.ts = PyThreadState_Get()
    m.obj = <PyObject*>obj
    obj.park.m = m
    obj.park.g = &g.g
    obj.park.timer.index = -1
    PyObject_GC_UnTrack(<PyObject*>g)       # L1
    Py_INCREF(g)                            # the runtime's reference
    m.g_self = <PyObject*>g
    m.g_main = &g.g
    m.curg = &g.g
    m.keeps_off = not main
    g.g.flags = GF_SYSTEM
    g.g.park = obj.park
    g.g.goid = 1 if main else gm_fetch_add_u64_relaxed(&sched.goid, 1)
    gm_store_u32_relaxed(&g.g.status, G_RUNNING)
    all_link(&g.g)
    gm_tls_m = m
    if not main:
        keeper["gmpx.machine"] = obj        # ends with the thread
        return m
    m0_machine = own(obj)
    m.g0 = own(g0)
    m.g_main.park.home = own(root)          # kept: it lives as long as the thread
    gm_lock_acquire(&sched.lock)
    m.nextp = pid_get() if sched.pidle != NULL else spare_p()
    m_awake(m)                              # none for want of memory: it waits for one (find_work)
    gm_lock_release(&sched.lock)
    sigint_install()
    return m


cdef str thread_name():
    # threading's name without making a dummy Thread for a thread that it does not know.
    import threading
    t = threading._active.get(PyThread_get_thread_ident())
    return t.name if t is not None else str(PyThread_get_thread_ident())


cdef dict thread_state_dict():
    cdef PyObject* d = PyThreadState_GetDict()
    if d == NULL:
        raise MemoryError()
    return <dict><object>d


cdef object root_greenlet():
    # The thread's own, from which g0 hangs.
    cdef PyObject* up
    cdef PyObject* root = greenlet_current()
    if root == NULL:
        raise MemoryError()
    while True:
        up = greenlet_parent(root)
        if up == NULL:
            break
        decref(root)
        root = up
    PyErr_Clear()
    return take_ref(root)


cdef object new_g0(object root):
    cdef PyObject* g0 = greenlet_new(g0_callable, <PyObject*>root)
    if g0 == NULL:
        raise MemoryError()
    return take_ref(g0)


cdef bint m_end(gm_m* m) noexcept:
    # A foreign thread has ended, or M0 goes: its goroutine is over. False: leave all as it is.
    global gm_tls_m, gm_tls_ending
    cdef PyObject* g = m.g_self
    if gm_tls_m != m:
        # Not the thread's own end: the interpreter drops what belongs to a thread that stayed in
        # the parent of a fork, or that still sleeps on its note while the process exits.
        return False
    m.curg = NULL                           # callbacks and finalizers may not park any more
    if g != NULL:
        m.g_self = NULL
        all_unlink(G(g))
        if G(g).park != NULL:
            scopes_drop(G(g).park)          # entered by hand, or in a generator that is left
        G(g).park = NULL
        gm_store_u32_release(&G(g).status, G_DEAD)
        if ext_get(G(g)) != NULL:
            ext_finish(m, G(g))
        decref(g)
    gm_tls_m = NULL
    gm_tls_ending = PyThreadState_GetID(PyThreadState_Get())    # ids begin at 1
    xdecref(m.ctx_snap)
    m.ctx_snap = NULL
    m_free(m)
    main_looks_again()
    return True


# ---- how many Ps ---------------------------------------------------------------------------

cdef uint32_t default_procs() except 0:
    """The CPUs that this process may use; env GMPX_MAXPROCS."""
    import os
    try:
        cpus = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        cpus = os.cpu_count() or 1
    cpus = min(max(cpus, 1), MAX_PROCS)
    gm_store_u32_relaxed(&sched.ncpu, cpus)
    text = os.environ.get("GMPX_MAXPROCS", "")
    if not text:
        return cpus
    try:
        n = int(text)
        if not 1 <= n <= MAX_PROCS:
            raise ValueError
        return n
    except ValueError:
        raise ValueError(f"GMPX_MAXPROCS must be an int from 1 to {MAX_PROCS}: {text!r}") from None


def gomaxprocs(n=None):
    """gomaxprocs(n=None)
    Returns the number of Ps, and sets it to n if that is given.

    Takes effect at once; queued goroutines are kept. Ps bound how many goroutines may run
    user code at the same time. Default: the CPUs that the process may use, or the environment
    variable GMPX_MAXPROCS.

    Under a GIL code that lets go of it (hashes, compression) spreads over the Ps by itself, from
    tasks of some 20 us on; Python code gains nothing by them. n is not the size of a thread pool: more Ps
    than CPUs make nothing faster that computes, and goroutines in calls that block their thread do not count, for
    others take over what waits behind them. What parks needs no P. See the guide on threads.

    Args:
        n: 1 to 1024, or None to leave it.

    Returns:
        The setting before.

    Raises:
        ValueError: n out of range. TypeError: n is not an int.

    Go: runtime.GOMAXPROCS.
    """
    cdef uint32_t before
    cdef Py_ssize_t want
    getm()
    before = gm_load_u32_relaxed(&sched.nprocs)
    if n is None:
        return before
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"gomaxprocs() needs an int, not {type(n).__name__}")
    want = min(max(n, -1), MAX_PROCS + 1)
    if not 1 <= want <= MAX_PROCS:
        raise ValueError(f"gomaxprocs must be from 1 to {MAX_PROCS}: {n}")
    if <uint32_t>want != before:
        procresize(<uint32_t>want)
    return before
