# What CPython keeps for a thread and a goroutine has for itself: threading.local, asyncio's running loop.
#
# Both lie in the thread state. A goroutine that leaves its M while it has some takes it along and puts it
# back when it resumes; threads do the same with themselves. Nothing is looked up at an access, so a
# threading.local costs what it costs without gmpx, and nothing is done for who has none.
#
# Invariants (GIL)
#   TL1  While on: what lies in the thread state of an M that runs a goroutine is that goroutine's. A
#        fresh one begins with nothing: those before it have taken theirs along, or dropped it at their end.
#   TL2  While off: goroutines that have some of their own (GF_LOCALS) keep it until they end; all others of
#        an M share its base, which lies in the thread state, or in m.base_locals while one of those runs.
#   TL3  At the end they go while the goroutine still runs: finalizers find a working threading.local.
#   TL4  Leaving and returning move references. Nothing is freed there and no Python code runs: the park
#        is armed.
#   TL5  GF_LOOP: the goroutine has said _set_running_loop(loop), and not yet None. The loop is unset where
#        it leaves, by asyncio's own functions, which keep their caches right, and where it ends.
#
# A foreign thread's goroutine never leaves its thread: all of this is for the other Ms.

cdef extern from "rt/platform/threadstate.h":
    bint gm_has_thread_locals(void*) noexcept
    void gm_locals_exchange(void*, gm_locals*) noexcept
    void gm_locals_clear(gm_locals*) noexcept
    void gm_locals_swap(gm_locals*, gm_locals*) noexcept
    void gm_asyncgen_exchange(void*, PyObject**, PyObject**) noexcept

cdef bint locals_on = False
cdef bint tls_used = False                  # locals have been on, or a loop has run: somebody may have some


cdef inline void tls_leave(gm_m* m, gm_g* g) noexcept:
    # g has left, or is about to: the M goes over to another greenlet.
    if gm_unlikely(tls_used):
        tls_leave_slow(m, g)


cdef inline void tls_return(gm_m* m, gm_g* g) noexcept:
    if gm_unlikely(tls_used) and g.flags & (GF_LOCALS | GF_LOOP):
        tls_return_slow(m, g)


cdef inline void tls_end(gm_m* m, gm_g* g) noexcept:
    if gm_unlikely(tls_used):
        tls_end_slow(m, g)


cdef void tls_leave_slow(gm_m* m, gm_g* g) noexcept:
    if g.flags & GF_LOOP:
        loop_leave(m, g)
    if g.flags & GF_LOCALS or (locals_on and gm_has_thread_locals(m.ts)):
        locals_leave(m, g)


cdef void locals_leave(gm_m* m, gm_g* g) noexcept:
    cdef gm_gext* ext
    if not g.flags & GF_LOCALS:
        try:
            ext_of(g)
        except MemoryError:
            return                          # the next one finds them: 80 bytes were not to be had
        g.flags |= GF_LOCALS
    ext = ext_get(g)
    gm_locals_swap(&ext.thread_locals, &m.base_locals)  # the former is empty while the goroutine runs
    gm_locals_exchange(m.ts, &ext.thread_locals)


cdef void tls_return_slow(gm_m* m, gm_g* g) noexcept:
    cdef gm_gext* ext = ext_get(g)
    if g.flags & GF_LOCALS:
        gm_locals_exchange(m.ts, &ext.thread_locals)
        gm_locals_swap(&ext.thread_locals, &m.base_locals)
    if g.flags & GF_LOOP:
        loop_return(m, g)


cdef void tls_end_slow(gm_m* m, gm_g* g) noexcept:
    # TL3. A finalizer may make some anew; what it makes without an end goes the last time unseen. It may turn this off.
    cdef gm_locals box
    cdef int rounds = 0
    if g.flags & GF_LOOP:
        loop_end(g)
    while rounds < 8 and gm_has_thread_locals(m.ts) and (locals_on or g.flags & GF_LOCALS):
        locals_drop(m)
        rounds += 1
    if g.flags & GF_LOCALS:
        g.flags &= ~<uint32_t>GF_LOCALS
        box = m.base_locals
        memset(&m.base_locals, 0, sizeof(box))
        gm_locals_exchange(m.ts, &box)
        gm_locals_clear(&box)
    elif locals_on:
        locals_drop(m)


cdef void locals_drop(gm_m* m) noexcept:
    cdef gm_locals box
    memset(&box, 0, sizeof(box))
    gm_locals_exchange(m.ts, &box)
    gm_locals_clear(&box)


cdef inline void tls_nobody(gm_m* m) noexcept:
    # Between two goroutines: what a done callback has left (TL1).
    if locals_on and gm_has_thread_locals(m.ts):
        locals_drop(m)


def thread_locals(on=True):
    """thread_locals(on=True)
    Whether ``threading.local`` follows the goroutine. Returns whether it did so before.

    Otherwise goroutines of one thread share its values. It holds for every ``threading.local``, also for
    those made before; reading one costs what it costs without. The values go with the goroutine. What a
    thread has at that time stays the main goroutine's, or the thread's own. ``gmpx.Local`` is always the goroutine's.
    Calls that ``gmpx.blocking`` runs elsewhere see that thread's.

    Args:
        on: False: goroutines that have values of their own keep them, the others share their thread's again.

    Blocks nothing; any thread may call it.
    """
    global locals_on, tls_used
    cdef bint before = locals_on
    cdef bint wanted = bool(on)
    cdef gm_locals* dropped
    cdef gm_m* m
    cdef Py_ssize_t n = 0, i = 0
    getm()
    if GM_FREE_THREADED and wanted:
        raise NotImplementedError("thread_locals() needs a build with a GIL")
    if wanted == before:
        return before
    m = allm_first()
    while m != NULL:
        n += 1
        m = m.all_next
    dropped = <gm_locals*>calloc(n, sizeof(gm_locals))
    if dropped == NULL:
        raise MemoryError()
    locals_on = wanted
    tls_used = True
    m = allm_first()
    while m != NULL and i < n:                  # what comes anew meanwhile has none
        if (m.kind == M_MAIN or m.kind == M_WORKER) and m.ts != NULL:
            locals_turn(m, &dropped[i])
        m = m.all_next
        i += 1
    for i in range(n):                          # only now: finalizers may do anything
        gm_locals_clear(&dropped[i])
    free(dropped)
    return before


cdef gm_g* locals_owner(gm_m* m) noexcept:
    # Who is on m's thread: it runs, or it is parking and has not left. NULL: nobody.
    cdef gm_g* g = m.curg
    if g != NULL:
        return g
    g = all_gs.head
    while g != NULL and (g.park == NULL or g.park.m != m or g.park.gl != NULL):
        g = g.all_next
    return g


cdef int locals_turn(gm_m* m, gm_locals* dropped) except -1:
    # m's thread, whose GIL we have.
    cdef gm_g* main = m.g_main if m.kind == M_MAIN else NULL
    cdef gm_g* g = locals_owner(m)
    cdef bint has_own = g != NULL and g.flags & GF_LOCALS
    cdef gm_gext* ext
    if locals_on:                               # the base (TL2) becomes main's, or of the one that is there
        if main != NULL and g != main:
            ext = ext_of(main)
            main.flags |= GF_LOCALS
            if has_own:
                gm_locals_swap(&ext.thread_locals, &m.base_locals)
            else:
                gm_locals_exchange(m.ts, &ext.thread_locals)
        elif has_own:
            gm_locals_swap(dropped, &m.base_locals)
        elif g == NULL:
            gm_locals_exchange(m.ts, dropped)
        return 0
    if g != NULL and g != main and not has_own and gm_has_thread_locals(m.ts):
        ext_of(g)
        g.flags |= GF_LOCALS
        has_own = True
    if main != NULL and main.flags & GF_LOCALS:
        main.flags &= ~<uint32_t>GF_LOCALS
        if g != main:
            ext = ext_get(main)
            if has_own:
                gm_locals_swap(&ext.thread_locals, &m.base_locals)
            else:
                gm_locals_exchange(m.ts, &ext.thread_locals)
            gm_locals_swap(&ext.thread_locals, dropped)
    return 0


# ---- asyncio's running loop ----------------------------------------------------------------

cdef enum:                                  # who wants the exchange
    LOOPS_PATCHED = 1                       # gmpx.patch.asyncio()
    LOOPS_WATCHED = 2                       # the runtime: see loop_stops in rt/io/asyncio.pxi

cdef PyCFunction plain_set_loop = NULL
cdef object asyncio_module = None           # _asyncio
cdef object loop_swap_task = None           # 3.14 on: the current task is the thread's, as the loop
cdef int loops_on = 0                       # LOOPS_*
cdef PyCFunction plain_get_loop = NULL
cdef Py_ssize_t loops_running = 0           # goroutines with GF_LOOP: while there are any, the exchange stays


cdef PyObject* patched_set_loop(PyObject* module, PyObject* loop) except NULL:
    cdef gm_m* m = lock_m() if bubble_on else polling_m()
    cdef PyObject* r
    if gm_unlikely(bubble_on) and loop != <PyObject*>None and in_bubble(gm_tls_m) and not loop_parks(<object>loop):
        loop_refused(<object>loop)
    r = plain_set_loop(module, loop)
    if m != NULL and m.ts == <void*>PyThreadState_Get() and r != NULL:
        loop_is(m.curg, <object>loop)
    return r


cdef int loop_refused(object loop) except -1:
    # In a bubble: its wait is not the bubble's, but its clock is.
    cleanup = getattr(loop, "_run_forever_cleanup", None)
    if cleanup is not None:
        cleanup()                               # 3.13 on this call is not under run_forever's try
    raise RuntimeError("this asyncio loop would wait by the clock of the world, which gmpx.testing.bubble keeps "
                       "from it: run the coroutine by gmpx.aio.run()")


cdef int loop_is(gm_g* g, object loop) except -1:
    global loops_running, tls_used
    cdef gm_gext* ext
    cdef PyObject* old
    if loop is None and not g.flags & GF_LOOP:
        return 0
    ext = ext_of(g)
    old = ext.loop
    if loop is None:
        ext.loop = NULL
        g.flags &= ~<uint32_t>GF_LOOP
        loops_running -= 1
        if loops_running == 0 and not loops_on:
            exchange_set_loop(False)
    else:
        ext.loop = own(loop)
        tls_used = True
        if not g.flags & GF_LOOP:
            g.flags |= GF_LOOP
            loops_running += 1
    xdecref(old)
    return 0


cdef int exchange_set_loop(bint on) except -1:
    return swap_function(asyncio_module._set_running_loop, on, <void*>patched_set_loop, METH_O, &plain_set_loop)


cdef void loop_end(gm_g* g) noexcept:
    # Its goroutine ends, and has not said _set_running_loop(None).
    cdef gm_gext* ext = ext_get(g)
    if loop_swap_task is not None:
        loop_swap_task(<object>ext.loop, None)
    xdecref(plain_set_loop(<PyObject*>asyncio_module, <PyObject*>None))
    loop_is(g, None)


cdef void loop_leave(gm_m* m, gm_g* g) noexcept:
    # TL4: the loop and the task are held here.
    cdef gm_gext* ext = ext_get(g)
    gm_asyncgen_exchange(m.ts, &ext.asyncgen_firstiter, &ext.asyncgen_finalizer)
    if loop_swap_task is not None:
        ext.task = own(loop_swap_task(<object>ext.loop, None))
    xdecref(plain_set_loop(<PyObject*>asyncio_module, <PyObject*>None))


cdef void loop_return(gm_m* m, gm_g* g) noexcept:
    cdef gm_gext* ext = ext_get(g)
    cdef PyObject* task = ext.task
    gm_asyncgen_exchange(m.ts, &ext.asyncgen_firstiter, &ext.asyncgen_finalizer)
    xdecref(plain_set_loop(<PyObject*>asyncio_module, ext.loop))
    if task != NULL:
        ext.task = NULL
        if task != <PyObject*>None:
            loop_swap_task(<object>ext.loop, <object>task)
        decref(task)


def _swap_running_loop(module, on):
    """_swap_running_loop(module, on)
    The function behind _asyncio's _set_running_loop: ours, or the original."""
    swap_running_loop(module, on, LOOPS_PATCHED)


def _watch_running_loop(module):
    """_watch_running_loop(module)
    Ours from now on, patch or not: gmpx.aio runs loops in goroutines."""
    swap_running_loop(module, True, LOOPS_WATCHED)


cdef int swap_running_loop(object module, bint on, int who) except -1:
    global asyncio_module, loop_swap_task, loops_on, plain_get_loop, modules_used
    import sys
    cdef gm_m* m = gm_tls_m
    if sys.version_info >= (3, 14):
        loop_swap_task = module._swap_current_task
    plain_get_loop = gm_method_def(<PyObject*>module._get_running_loop).ml_meth
    asyncio_module = module
    modules_used = &modules_seen                # nobody need look any more
    loops_on = loops_on | who if on else loops_on & ~who
    if loops_on or loops_running == 0:
        exchange_set_loop(loops_on != 0)
    if on and lock_m() != NULL:
        loop_is(m.curg, module._get_running_loop())
    return 0
