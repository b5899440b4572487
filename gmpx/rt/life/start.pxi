# Import: checks, locks, callables. Starts no thread and touches no signal.

cdef void sched_reset() noexcept nogil:
    # Nothing runs, nothing is queued, nobody sleeps. The lock and the id counter stay.
    memset(&sched.runq, 0, sizeof(sched.runq))
    sched.batch_spare = NULL
    gm_store_i64_relaxed(&sched.overflow, 0)
    sched.mfree = NULL
    sched.gfree = sched.gfree_spare = NULL
    sched.gfree_low = 0
    gm_store_i64_relaxed(&sched.gfree_size, 0)
    sched.pidle = NULL
    sched.midle = NULL
    sched.pwait_first = sched.pwait_last = NULL
    gm_store_u32_relaxed(&sched.npidle, 0)
    gm_store_u32_relaxed(&sched.nmidle, 0)
    gm_store_u32_relaxed(&sched.npwait, 0)
    gm_store_u32_relaxed(&sched.nmspinning, 0)
    gm_store_u32_relaxed(&sched.nm, 0)
    gm_store_u32_relaxed(&sched.nlocked, 0)
    gm_store_u32_relaxed(&sched.stopping, 0)
    gm_store_u32_relaxed(&sched.exiting, 0)
    gm_store_u32_relaxed(&sched.nblocked, 0)
    gm_store_u32_relaxed(&sched.nblocked_own, 0)
    gm_store_u32_relaxed(&sched.undelivered, 0)
    gm_store_u32_relaxed(&sched.over, 0)


cdef int sysmon_reset() noexcept nogil:
    # It has no thread and nothing to do.
    memset(&sysmon, 0, sizeof(sysmon))
    gm_store_i64_relaxed(&sysmon.until, INT64_MAX)
    return note_init(&sysmon.note)


cdef void p_reset(gm_p* p) noexcept nogil:
    gm_store_u32_relaxed(&p.status, P_SPARE)
    gm_store_ptr_relaxed(&p.m, NULL)
    memset(&p.spill, 0, sizeof(p.spill))
    p.seen_at = 0
    p.link = NULL
    gm_store_u32_relaxed(&p.runq_head, 0)
    gm_store_u32_relaxed(&p.runq_tail, 0)
    p.ngfree = 0
    p.goid_next = p.goid_end = 0


cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030D0000
    #  define gm_finalizing() Py_IsFinalizing()
    #else
    #  define gm_finalizing() _Py_IsFinalizing()
    #endif
    """
    int gm_finalizing() noexcept


cdef bint sys_finalizing() noexcept:
    return gm_finalizing()                      # sys.is_finalizing can't be imported any more then


cdef int start() except -1:
    global empty_tuple, worker_callable, g0_callable, context_sharing, main_ident, set_wakeup_fd
    import atexit
    import os
    import threading

    import _signal
    if PyInterpreterState_Get() != PyInterpreterState_Main():
        raise ImportError("gmpx works in the main interpreter only, not in a subinterpreter")
    cdef Goroutine probe = Goroutine.__new__(Goroutine)
    if <char*>&probe.g - <char*><PyObject*>probe != sizeof(PyObject):
        raise ImportError("gmpx was built wrong: Goroutine's layout is not what G() expects")
    if (<GoroutineHead*>probe).result != <PyObject*>probe._result:
        raise ImportError("gmpx was built wrong: Goroutine's layout is not GoroutineHead's")
    cdef AioWaiter waiter = AioWaiter.__new__(AioWaiter)
    if <char*>&waiter.g - <char*><PyObject*>waiter != sizeof(PyObject) or (
            <char*>&(<AioWaiterHead*><PyObject*>waiter).loop != <char*>&waiter.loop):
        raise ImportError("gmpx was built wrong: AioWaiter's layout is not AioWaiterHead's")
    (<PyTypeObject*>Goroutine).tp_dealloc = g_dealloc
    gm_greenlet_import()
    gm_gil_init()
    if gm_barrier_init() < 0 or gm_lock_init(&sched.lock, RANK_SCHED) < 0 or gm_lock_init(&fork_lock, RANK_FORK) < 0 or (
            sysmon_reset() < 0):
        raise MemoryError()
    gm_store_u64_relaxed(&next_mid, 1)
    gm_store_u64_relaxed(&sched.goid, 2)            # main is 1
    sched_reset()
    if blocks_start() < 0:
        raise MemoryError()
    empty_tuple = <PyObject*>()
    incref(empty_tuple)
    worker_def.ml_name = b"worker"
    worker_def.ml_meth = <PyCFunction>gm_worker_entry
    worker_def.ml_flags = METH_VARARGS
    g0_def.ml_name = b"g0"
    g0_def.ml_meth = <PyCFunction>g0_main
    g0_def.ml_flags = METH_VARARGS
    worker_callable = PyCFunction_NewEx(&worker_def, NULL, NULL)
    g0_callable = PyCFunction_NewEx(&g0_def, NULL, NULL)
    if worker_callable == NULL or g0_callable == NULL:
        raise MemoryError()
    context_sharing = _probe_context()
    if _probe_datastack():
        gm_root_enable()
    main_ident = threading.main_thread().ident
    set_wakeup_fd = _signal.set_wakeup_fd
    lockwatch_start()
    atexit.register(_at_exit)
    if hasattr(threading, "_register_atexit"):
        threading._register_atexit(_await_threads)
        threading._register_atexit(_program_over)       # before that: the last comes first
    if hasattr(os, "register_at_fork"):
        if gm_atfork_child(fork_child) != 0:
            raise MemoryError()
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_parent,
                            after_in_child=_after_fork_child)
    return 0


start()
