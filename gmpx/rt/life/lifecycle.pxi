# shutdown, interpreter exit and fork.
#
# Shutdown cancels every live goroutine but main's and foreign threads', runs the scheduler
# until they have ended, then stops the worker Ms one by one. Anything of it may be cut short by
# the time-out; the runtime then goes on as it is. At interpreter exit it is cut short after
# EXIT_NS: what is left is abandoned where it stands. Abandoned greenlets are never resumed nor
# freed: freeing a suspended greenlet throws into it.
#
# Fork: the child has one thread. All state about other threads and all that a lock guards is
# forgotten, not freed, since it may have been half-way through a change; the forking G becomes
# goroutine 1 on an M0 of its own. fork_child does at once what other at-fork functions rely on,
# _after_fork_child the rest.
#
# An M's PyThreadState is made without the GIL, under a lock of CPython's own that a child of 3.11
# needs at once. So Ms are not started across a fork: sched.forking, a count under fork_lock. It
# is no lock that is held across the fork: other at-fork functions run Python code meanwhile, so
# another thread may want to fork, too. fork_lock is held for instants and nobody waits for the GIL
# under it.
#
# Rejected: taking the other locks before the fork, too. Between that and their release Python code runs
# (other at-fork functions, 3.12's warning), which may wait for the GIL while its holder waits for
# such a lock.

cdef enum:
    EXIT_NS = 1000000000
    EXIT_STOP_NS = 300000000


def shutdown(timeout=None):
    """shutdown(timeout=None)
    Stops the runtime: parked goroutines get Cancelled, queued ones never run, all Ms end.

    It starts anew at the next ``go``.

    Args:
        timeout: seconds to wait for goroutines to end; None waits for ever.

    Raises:
        TimeoutError: some have not ended in time; they keep running.
        RuntimeError: called from a goroutine other than main, or a foreign thread.
    """
    cdef int64_t deadline = deadline_of(timeout)
    cdef gm_m* m = gm_tls_m
    if gm_load_u32_relaxed(&sched.nallp) == 0:
        return None                         # nothing has ever run
    m = getm()
    if not runs_main(m):
        raise RuntimeError("shutdown() belongs to the main goroutine")
    if deadline == TRY_ONCE:
        deadline = gm_nanotime()
    gm_store_u32_seqcst(&sched.stopping, 1)
    try:
        while True:
            cancel_all(m, deadline)
            if stop_ms(m, deadline):
                break                               # else more has been spawned meanwhile
        reap_all(m)
        spares_retire()
        sigint_restore()
    finally:
        gm_store_u32_seqcst(&sched.stopping, 0)
        gm_store_u32_seqcst(&sysmon.watch, 0)           # see newproc_first
        if anything_queued():                           # a foreign thread has spawned meanwhile
            sysmon_watch()
            wake_p()


cdef int cancel_all(gm_m* m, int64_t deadline) except -1:
    # Cancels whatever lives until nothing does. New Gs that finally blocks spawn count too.
    cdef list live
    while True:
        live = [g for g in live_goroutines() if not (<Goroutine>g).g.flags & GF_SYSTEM]
        if not live:
            return 0
        for g in live:
            g_cancel(&(<Goroutine>g).g)
        # join in short steps: a G may be busy on another M, and more may come
        for g in live:
            join_until(m, <Goroutine>g, deadline)


cdef int join_until(gm_m* m, Goroutine g, int64_t deadline) except -1:
    if gm_load_u32_acquire(&g.g.status) != G_DEAD:
        wait_on(m, getg(m), &ext_of(&g.g).waiters, WHY_SHUTDOWN, deadline, "shutdown")
    return 0


cdef bint stop_ms(gm_m* m, int64_t deadline) except -1:
    # Asks the worker Ms to end and waits for that; False when goroutines live again, which an M
    # that they have parked on goes on to serve (find_runnable).
    while gm_load_u32_seqcst(&sched.nm) > ask_to_stop():
        # Threads end within microseconds; they need the GIL for it.
        if deadline >= 0 and gm_nanotime() >= deadline:
            raise TimeoutError("shutdown timed out: a thread of the runtime is busy")
        nap()
        if spawned_lives() and not gm_load_u32_relaxed(&sched.exiting):
            return False
    return not spawned_lives()


cdef uint32_t ask_to_stop() noexcept:
    # All worker Ms but those with a G that has been abandoned, which are left alone with all that
    # stands on their greenlets. Returns how many these are.
    cdef gm_m* other
    cdef gm_g* g
    cdef uint32_t left = 0
    gm_mu_lock(&all_mu)
    gm_lock_acquire(&sched.lock)
    other = allm_first()
    while other != NULL:
        other.abandoned = False
        other = other.all_next
    g = all_gs.head
    while g != NULL:
        if g.park != NULL and not (g.flags & GF_SYSTEM):
            g.park.m.abandoned = True
        g = g.all_next
    other = allm_first()
    while other != NULL:
        if other.kind == M_WORKER and other.abandoned:
            left += 1
        elif other.kind == M_WORKER:
            gm_store_u32_seqcst(&other.stop, 1)
            midle_remove(other)                         # nobody is to send it to work any more
            wake_m(other)                               # W5
        other = other.all_next
    gm_lock_release(&sched.lock)
    gm_mu_unlock(&all_mu)
    return left


cdef bint spawned_lives() noexcept:
    cdef gm_g* g = all_gs.head
    while g != NULL:
        if not g.flags & GF_SYSTEM:
            return True
        g = g.all_next
    return False


cdef int nap() except -1:
    import time
    time.sleep(0.0002)
    return 0


cdef int reap_all(gm_m* m) except -1:
    # M0's idle workers go too; its g0 stays.
    if m.idle_workers != NULL:
        m.reap = m.nidle
        m.reaper = greenlet_current()
        m.curg = NULL
        switch_to(m.g0)
        m.curg = m.g_main
    return 0


def _await_threads():
    """_await_threads()
    Before the interpreter joins threads at its end: they may wait for goroutines of this one."""
    cdef gm_m* m = gm_tls_m
    import threading
    if not runs_main(m):
        return
    while spawned_lives() and any(t.is_alive() and not t.daemon for t in threading.enumerate()
                                  if t is not threading.main_thread()):
        try:
            sleep(0.002)
        except DeadlockError as e:
            unraisable(e)
            return


def _at_exit():
    """_at_exit()
    Interpreter exit: as shutdown, for at most a second or so; then goroutines are abandoned."""
    cdef gm_m* m = gm_tls_m
    cdef int64_t deadline
    if gm_load_u32_relaxed(&sched.nallp) == 0:
        return                              # nothing has ever run
    m = getm()
    if not runs_main(m):
        gm_store_u32_seqcst(&sched.over, 1)
        await_report()
        return
    gm_store_u32_seqcst(&sched.stopping, 1)
    gm_store_u32_seqcst(&sched.exiting, 1)
    try:
        deadline = gm_nanotime() + EXIT_NS
        try:
            cancel_all(m, deadline)
        except TimeoutError:
            if interrupt_running() > 0:
                try:
                    cancel_all(m, gm_nanotime() + EXIT_STOP_NS)
                except TimeoutError:
                    pass
        try:
            stop_ms(m, max(deadline, gm_nanotime()) + EXIT_STOP_NS
                    if gm_load_u32_relaxed(&sched.nm) else deadline)
        except TimeoutError:
            pass
    except KeyboardInterrupt:
        pass                                # the user will not wait
    finally:
        tell_all()
        gm_store_u32_seqcst(&sched.over, 1)
        await_report()


cdef void await_report() noexcept:
    # BR2, for a while: a hook may take as long as it likes.
    cdef int turns = 0
    while blocks_await() and turns < BLOCK_EXIT_TURNS:
        turns += 1
        try:
            nap()
        except BaseException:
            return                          # the user will not wait


cdef int interrupt_running() except -1:
    # Raises Cancelled in the Python code that still runs on other Ms. A thread that runs Python
    # while the interpreter is taken down crashes it now and then (CPython's daemon threads do).
    # Returns in how many.
    cdef gm_m* m
    cdef uint64_t idents[64]
    cdef int i
    cdef int n = 0
    gm_lock_acquire(&sched.lock)
    m = allm_first()
    while m != NULL and n < 64:
        if m.kind == M_WORKER and m.curg != NULL:
            idents[n] = m.ident
            n += 1
        m = m.all_next
    gm_lock_release(&sched.lock)
    for i in range(n):
        PyThreadState_SetAsyncExc(idents[i], <PyObject*>Cancelled)
    return n


# ---- fork ----------------------------------------------------------------------------------

def _before_fork():
    """_before_fork()
    Waits for Ms that are being started; no more start until the fork is over."""
    with nogil:
        gm_lock_acquire(&fork_lock)
        sched.forking += 1
        gm_lock_release(&fork_lock)


def _after_fork_parent():
    """_after_fork_parent()
    Lets Ms start again."""
    with nogil:
        gm_lock_acquire(&fork_lock)
        sched.forking -= 1
        gm_lock_release(&fork_lock)


cdef void fork_child() noexcept nogil:
    # In the child before any Python code runs there: other at-fork functions may drop, spawn or
    # wait for goroutines. The locks, which threads of the parent may have held, and all that they
    # guard; and if this thread has the GIL, all that that guards.
    global forked_gs
    cdef gm_m* m = gm_tls_m
    gm_rank_forked()
    gm_lock_init(&sched.lock, RANK_SCHED)
    gm_lock_init(&fork_lock, RANK_FORK)
    sched.forking = 0
    sched_reset()
    sysmon_reset()
    blocks_reset()
    gm_barrier_init()
    if not breaker_armed:
        gm_break_forget()                           # else once signals no longer go there
    net_forked()
    ssl_forked()
    gm_store_ptr_release(&allm, m)
    if m != NULL:
        m.all_next = NULL
        memset(&m.watch, 0, sizeof(gm_watch))
        gm_lock_init(&m.timers.lock, RANK_TIMERS)
        timers_forget(&m.timers)
    gm_store_u32_relaxed(&sched.stopping, 1)        # no M before _after_fork_child
    forked_gs = False
    if gm_load_u32_relaxed(&sched.nallp) > 0 and gm_has_gil():
        # not nogil for Cython, which counts references there
        (<void (*)(gm_m*) noexcept nogil>fork_gs)(m)


cdef bint forked_gs = False                 # fork_gs has been there


cdef void timers_forget(gm_timers* h) noexcept nogil:
    h.heap = NULL                           # another thread may have been in realloc
    h.n = h.room = 0                        # _after_fork_child adds anew what goes on
    h.fired = h.fired_last = NULL
    gm_store_u32_relaxed(&h.firing, 0)
    gm_store_i64_seqcst(&h.next_when, INT64_MAX)


cdef void fork_gs(gm_m* m) noexcept:
    # In the child, GIL held, m its thread's M or NULL: no goroutine but the one that forked runs on,
    # no timer is in a heap, no P is held but by m.
    global forked_gs
    cdef gm_g* me = m.curg if m != NULL else NULL
    cdef gm_g* g
    cdef gm_g* next
    cdef gm_tnode* node
    cdef PyObject* wg
    cdef uint32_t i
    cdef uint32_t n = gm_load_u32_relaxed(&sched.nprocs)
    forked_gs = True
    # Every other goroutine is dead, without its finally blocks.
    g = all_gs.head
    while g != NULL:
        next = g.all_next
        if g != me:
            all_unlink(g)
            g.flags |= GF_FORKED
            if g.park != NULL:
                scopes_close(g.park)
            wg = take_wg(g)                 # not given up, as all that it refers to
            if wg != NULL and (<WaitGroup>wg).n > 0:
                (<WaitGroup>wg).n -= 1
            forget_park(g)
            gm_store_u32_release(&g.status, G_DEAD)
            # its reference stays with the queues and greenlets that are forgotten with it
        g = next
    node = started_nodes
    while node != NULL:                     # nodes_again adds those that go on
        node.timer.index = TIMER_FORKED
        node.on_fired = False
        node.m = m
        node = node.all_next
    if me != NULL:
        scopes_forked(me.park)
    locks_forked(m, me)
    for i in range(gm_load_u32_relaxed(&sched.nallp)):
        p_reset(allp[i])
        if i < n:
            pid_put(allp[i])
    if m != NULL:
        m_forked(m)


cdef void m_forked(gm_m* m) noexcept nogil:
    # Nothing is queued on it; it has a P, if it had one.
    cdef bint had = m.p != NULL
    m.p = NULL
    m.nextp = NULL
    m.readynext = NULL
    memset(&m.ready, 0, sizeof(m.ready))
    memset(&m.yielded, 0, sizeof(m.yielded))
    gm_exchange_ptr_acqrel(&m.inbox, NULL)
    m.blocked = m.pwaiting = m.spinning = m.yield_waiting = m.deep = False
    gm_store_u32_relaxed(&m.stop, 0)
    m.handoff = NULL
    if had:
        acquire_p(m, pid_get())


def _after_fork_child():
    """_after_fork_child()
    Starts the runtime anew around the thread and the goroutine that forked."""
    global m0_machine, main_ident
    cdef gm_m* m = gm_tls_m
    cdef gm_g* me = m.curg if m != NULL else NULL
    main_ident = PyThread_get_thread_ident()
    breaker_forked()
    if not forked_gs and gm_load_u32_relaxed(&sched.nallp) > 0:
        fork_gs(m)
    m0_machine = NULL
    if m != NULL:
        adopt_m0(m, me)
    gm_store_u32_relaxed(&sched.stopping, 0)
    if me != NULL:
        scopes_again(me.park)
    if started_nodes != NULL:
        nodes_again(m if m != NULL else getm())
    spares_forget()
    files_forked()
    quit_forked()
    if m != NULL and m.p == NULL:
        gm_lock_acquire(&sched.lock)
        m.nextp = pid_get()
        m_awake(m)
        gm_lock_release(&sched.lock)


cdef void forget_park(gm_g* g) noexcept:
    # Its sudogs and timers stay where they are, in memory that nobody frees: wakers find an even
    # word and drop them, so what a dead sender had to send is never received.
    cdef uint64_t word
    if g.park != NULL:
        word = gm_load_u64_relaxed(&g.park.word)
        gm_store_u64_relaxed(&g.park.word, word + (word & 1))
        g.park = NULL


cdef int adopt_m0(gm_m* m, gm_g* me) except -1:
    # The forking thread's M becomes M0, its current G goroutine 1.
    global m0_machine
    m.kind = M_MAIN
    m.id = 0
    m.cpu_clock = gm_cpu_clock()
    m.tid = gm_tid()
    m.keeps_off = m.lock_depth > 0
    m.alone_park = NULL
    m0_machine = m.obj
    incref(m.obj)
    if me == NULL:
        m.forked_idle = True
        return 0
    m.g_main = me
    m.g_self = OBJ(me)
    me.goid = 1
    me.flags = (me.flags | GF_SYSTEM) & ~<uint32_t>(GF_CANCEL | GF_CANCELLED)
    if m.g0 == NULL:                        # a foreign thread had none
        m.g0 = greenlet_new(g0_callable, NULL)
        if m.g0 == NULL:
            raise MemoryError()
    return 0


cdef void main_returned(PyObject* r) noexcept:
    # The function of a goroutine that forked has ended, in the child, whose main it is: the
    # process ends as with a main module's last line. Its thread's frames are the parent's.
    cdef PyObject* t = NULL
    cdef PyObject* v = NULL
    cdef PyObject* tb = NULL
    if r == NULL:                           # before all else: Python code runs with no error set
        PyErr_Fetch(&t, &v, &tb)
        PyErr_NormalizeException(&t, &v, &tb)
        if tb != NULL:
            PyException_SetTraceback(v, tb)
    import os
    code = 1
    try:
        code = 0 if r != NULL else exit_code(<object>v)
        exit_functions()
    finally:
        os._exit(code)


cdef int exit_code(object exc) except -1:
    # What the interpreter makes of an exception that leaves the main module.
    import sys
    if not isinstance(exc, SystemExit):
        sys.excepthook(type(exc), exc, exc.__traceback__)
        return 1
    if exc.code is None:
        return 0
    if isinstance(exc.code, int):
        return exc.code & 0xff
    print(exc.code, file=sys.stderr)
    return 1


cdef int exit_functions() except -1:
    import atexit
    import sys
    import threading
    try:
        threading._shutdown()               # joins threads that are no daemons
    except AssertionError:
        pass                                # up to 3.12 where threading never knew this thread
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass                            # closed, or none
    return 0
