# A goroutine's birth and end (proc.go: newproc1, goexit0).
#
# Who owns a Goroutine object: the runtime has one reference from newproc1 to the end of
# goexit0, which stands for "it is alive"; queues, Ms and wait nodes borrow it. Handles are
# ordinary references. In goexit0 a count of one means that nobody can ask for the result.
#
# Invariants
#   L1  A live G is not tracked by the cyclic collector, which costs as much as the rest of a
#       spawn: the runtime holds it anyway. It is tracked when it has ended, somebody holds it
#       and its result can be part of a cycle.
#   L2  At the end function, arguments and context go first, while the G still runs: finalizers
#       may do all that the G may. After the status is DEAD nothing of it may park.
#   L3  result is set before DEAD, DEAD before joiners are woken.
#   L4  An exception is never lost: read through the handle, or given to excepthook when the
#       last handle has gone (_Failure.__del__), at the end if there is none, or when the
#       interpreter exits.
#   L5  The list of all Gs holds exactly the live ones (GIL).

cdef inline gm_g* G(PyObject* obj) noexcept nogil:
    # gm_g is the object's first field (checked at import).
    return <gm_g*>(<char*>obj + sizeof(PyObject))


cdef inline PyObject* OBJ(gm_g* g) noexcept nogil:
    return <PyObject*>(<char*>g - sizeof(PyObject))


cdef struct GoroutineHead:                  # class Goroutine as C sees it (checked at import)
    PyObject head
    gm_g g
    PyObject* weakrefs
    PyObject* result


cdef inline PyObject** slot(gm_g* g) noexcept nogil:
    # Goroutine._result: the arguments of a live G (NULL: none), the result of a dead one.
    return &(<GoroutineHead*>OBJ(g)).result


cdef inline uint64_t assign_goid(gm_p* p) noexcept nogil:
    # Go's goidcache: ids come in blocks of 16 per P, so that Ps do not share a counter's line.
    if gm_unlikely(p.goid_next == p.goid_end):
        p.goid_next = gm_fetch_add_u64_relaxed(&sched.goid, GOID_BATCH)     # unique, unordered
        p.goid_end = p.goid_next + GOID_BATCH
    p.goid_next += 1
    return p.goid_next - 1


cdef inline void all_link(gm_g* g) noexcept:
    gm_mu_lock(&all_mu)
    g.all_prev = NULL
    g.all_next = all_gs.head
    if all_gs.head != NULL:
        all_gs.head.all_prev = g
    all_gs.head = g
    all_gs.n += 1
    gm_mu_unlock(&all_mu)


cdef inline void all_unlink(gm_g* g) noexcept:
    gm_mu_lock(&all_mu)
    if gm_unlikely(g.flags & GF_GROUP):
        group_unlink(g)
    if g.all_prev != NULL:
        g.all_prev.all_next = g.all_next
    else:
        all_gs.head = g.all_next
    if g.all_next != NULL:
        g.all_next.all_prev = g.all_prev
    all_gs.n -= 1
    gm_mu_unlock(&all_mu)


cdef gm_g* g_alloc() noexcept:
    # A new, untracked, IDLE Goroutine; the reference is the runtime's. NULL with MemoryError.
    cdef PyObject* obj = gm_new_untracked(<PyTypeObject*>Goroutine)     # L1
    if obj == NULL:
        return NULL
    return G(obj)


cdef void gfree_trim() noexcept:
    # F3. GIL held; drops references a batch at a time, without the lock.
    cdef gm_gfree* b
    cdef int i
    cdef int64_t n
    gm_lock_acquire(&sched.lock)
    n = min((sched.gfree_low + 1) // 2, gm_load_i64_relaxed(&sched.gfree_size) - GFREE_KEEP)
    gm_lock_release(&sched.lock)
    while n > 0:
        n -= GFREE_BATCH
        gm_lock_acquire(&sched.lock)
        b = gfree_pop()
        gm_lock_release(&sched.lock)
        if b == NULL:
            break
        for i in range(GFREE_BATCH):
            gm_store_u32_relaxed(&b.g[i].status, G_DEAD)
            decref(OBJ(b.g[i]))
        free(b)
    gm_lock_acquire(&sched.lock)
    sched.gfree_low = gm_load_i64_relaxed(&sched.gfree_size)
    gm_lock_release(&sched.lock)


cdef void g_dealloc(PyObject* obj) noexcept:
    # Goroutine's tp_dealloc. Cython's own would save and restore the error state around a
    # __dealloc__, which costs a burst of spawns a tenth of its time.
    # A handle's memory goes to the free list of the P that drops it, like a G's without one.
    cdef gm_g* g = G(obj)
    cdef PyObject* x
    PyObject_GC_UnTrack(obj)
    if gm_unlikely(gm_has_weakrefs(obj)):
        PyObject_ClearWeakRefs(obj)
    x = slot(g)[0]
    if gm_likely(g.extra == 0) and (x == NULL or not PyType_IS_GC(Py_TYPE(x))):
        g_free(obj)
    else:
        gm_free_in_turn(obj, g_free_deep)


cdef extern from *:
    """
    /* A handle whose result is a handle whose ...: CPython's trashcan bounds the depth. It counts per
     * thread, or measures the stack, and greenlet keeps the count of each greenlet: a finalizer that
     * parks in here holds nobody up. From 3.14 on _Py_Dealloc does it for every type. */
    static void gm_free_in_turn(PyObject *o, void (*f)(PyObject *)) {
    #if PY_VERSION_HEX < 0x030E0000
        Py_TRASHCAN_BEGIN(o, Py_TYPE(o)->tp_dealloc)
        f(o);
        Py_TRASHCAN_END
    #else
        f(o);
    #endif
    }
    """
    void gm_free_in_turn(PyObject*, void (*f)(PyObject*) noexcept) noexcept
    bint PyType_IS_GC(PyTypeObject*) noexcept


cdef void g_free_deep(PyObject* obj) noexcept:
    g_free(obj)


cdef inline void g_free(PyObject* obj) noexcept:
    cdef gm_g* g = G(obj)
    cdef gm_m* m
    cdef PyObject* x
    x = slot(g)[0]
    slot(g)[0] = NULL
    xdecref(x)                                  # may be a _Failure, which reports itself (L4)
    x = g.fn
    g.fn = NULL
    xdecref(x)
    if gm_unlikely(g.extra != 0):
        extra_free(g)
    m = gm_tls_m
    if m != NULL and m.p != NULL and not (g.flags & (GF_SYSTEM | GF_LOOSE)):
        gm_new_reference(obj)                   # the list's (F1)
        gm_store_u32_relaxed(&g.status, G_IDLE)
        if gfput(m.p, g):
            return
        gm_drop_reference(obj)
    Py_TYPE(obj).tp_free(obj)


cdef gm_g* newproc1(gm_m* m, PyObject* fn, PyObject* args, uint32_t flags,
                    PyObject* ctx, PyObject* wg) noexcept:
    # Makes a RUNNABLE G that is on no queue yet. Steals args and ctx (NULL: a snapshot of the
    # caller's); takes references to fn and wg. NULL with an exception.
    cdef gm_p* p = m.p
    cdef gm_g* g = NULL
    if ctx == NULL:
        ctx = context_snapshot(m)
        if gm_unlikely(ctx == NULL):
            xdecref(args)
            return NULL
    if gm_likely(p != NULL):
        g = gfget(p)
    if g == NULL:
        g = g_alloc()
        if gm_unlikely(g == NULL):
            xdecref(args)
            decref(ctx)
            return NULL
    incref(fn)
    g.fn = fn
    slot(g)[0] = args
    g.ctx = ctx
    g.flags = flags if p != NULL else flags | GF_LOOSE
    g.parent_goid = m.curg.goid if m.curg != NULL else 0
    g.goid = assign_goid(p) if p != NULL else gm_fetch_add_u64_relaxed(&sched.goid, 1)
    gm_store_u32_relaxed(&g.status, G_RUNNABLE)     # published by the queue it goes to
    xincref(wg)
    g.extra = <uintptr_t>wg | 1 if wg != NULL else 0
    if gm_unlikely(flags & GF_GROUP):
        group_link(<GroupCore>wg, g)
    else:
        all_link(g)
    counters(m).spawned += 1
    return g


cdef inline void newproc_publish(gm_m* m, gm_g* g) noexcept:
    # Puts a G from newproc1 at the tail of the queue, and sees to it that somebody comes.
    if gm_likely(m.p != NULL and policy_plain()):
        runq_put(m.p, g)
        if gm_unlikely(policy_spawned()):
            newproc_first()
    else:
        newproc_slow(m, g)


cdef void newproc_slow(gm_m* m, gm_g* g) noexcept:
    if m.p == NULL or (hot() and on_spare_p(m)):
        newproc_foreign(g)
    elif not placing() or not place(m, g):
        runq_put(m.p, g)
        if hot() and policy_hot_more():
            wake_p()
        if policy_spawned():
            newproc_first()


cdef void newproc_first() noexcept:
    # The first for a while: after a shutdown the runtime starts anew with it.
    if sigint_wanted:
        sigint_again()
    sysmon_wake()


cdef void newproc_foreign(gm_g* g) noexcept:
    # A foreign thread has no P: the global queue.
    gm_lock_acquire(&sched.lock)
    glob_runq_put(g)
    gm_lock_release(&sched.lock)
    policy_queued()


# ---- the end -------------------------------------------------------------------------------

cdef void goexit0(gm_m* m, gm_g* g, PyObject* r) noexcept:
    # r: what the function returned (stolen), or NULL with the exception it raised.
    cdef PyObject* obj = OBJ(g)
    cdef PyObject* x
    cdef PyObject* wg
    cdef PyObject* home = g.park.home if g.park != NULL else NULL
    if not GM_FREE_THREADED:
        learn(m, g, True)
    if gm_unlikely(g.flags & GF_SYSTEM):
        main_returned(r)                    # of a child process: does not come back
    if gm_unlikely(r == NULL):
        r = end_with_exception(g)
    x = g.fn
    g.fn = NULL
    if wanted(g) and (ext_get(g) == NULL or ext_get(g).name == NULL):
        g.fn = name_of(x)                   # the handle's default name
    decref(x)                               # L2
    x = slot(g)[0]
    if x != NULL:
        slot(g)[0] = NULL
        decref(x)
    if gm_unlikely(ext_get(g) != NULL) and ext_get(g).locals != NULL:
        x = ext_get(g).locals
        ext_get(g).locals = NULL
        decref(x)
    tls_end(m, g)
    x = g.ctx
    g.ctx = NULL
    decref(x)
    if gm_unlikely(g.flags & GF_OWN_CONTEXT) and g.park != NULL:
        context_leave(<gm_worker*>g.park)   # its owner may want to enter it again at once
    if wanted(g):
        slot(g)[0] = r                      # L3
        if r != <PyObject*>None and PyObject_IS_GC(r):
            PyObject_GC_Track(obj)          # L1
    else:
        if gm_unlikely(g.flags & GF_FAILED):
            slot(g)[0] = r
            g.fn = text_ref((<_Failure><object>r).name)
            report(<Goroutine>obj, <_Failure><object>r)     # L4
        else:
            decref(r)
        if gm_unlikely(refcnt(obj) > 1 or gm_has_weakrefs(obj)):
            late_handle(g)
    if gm_likely(g.park != NULL) and gm_unlikely(g.park.scopes != NULL):
        scopes_drop(g.park)
    g.park = NULL
    m.curg = NULL                           # what still runs is not the G's: it may not park
    gm_store_u32_release(&g.status, G_DEAD)         # pairs with done()'s acquire (L3)
    all_unlink(g)
    wg = take_wg(g)
    counters(m).finished += 1
    if wg != NULL:
        if gm_unlikely(g.flags & GF_FAILED):
            wg_failed(m, <WaitGroup>wg, obj)
        if gm_unlikely((<WaitGroup>wg).chains):
            if (<WaitGroup>wg).is_tasks:
                tasks_next(m, <Tasks>wg)
            else:
                feed_ended(m, <Feed>wg)
        wg_done(m, <WaitGroup>wg)
        decref(wg)
    if gm_unlikely(g.extra != 0):
        m.callback_home = home
        ext_finish(m, g)
        m.callback_home = NULL
        if gm_unlikely(m.forked_idle):
            main_returned(none_ref())           # the child of a fork in a callback
    if refcnt(obj) == 1 and not gm_has_weakrefs(obj):
        g_recycle(m, g)
    else:
        decref(obj)
    if gm_unlikely(tls_used):
        tls_nobody(m)


cdef void late_handle(gm_g* g) noexcept:
    # Somebody has got a handle after the look at `wanted`: excepthook, or a finalizer of the
    # result through goroutines(). It finds a result.
    if slot(g)[0] == NULL:
        slot(g)[0] = none_ref()
    elif not PyObject_GC_IsTracked(OBJ(g)):
        PyObject_GC_Track(OBJ(g))


cdef inline bint wanted(gm_g* g) noexcept:
    # Whether anybody can still ask for the result: by a handle, or in a done callback.
    return (refcnt(OBJ(g)) > 1 or (ext_get(g) != NULL and ext_get(g).callbacks != NULL)
            or (gm_unlikely(g.flags & GF_FAILED) and group_keeps(g)))


cdef inline void g_recycle(gm_m* m, gm_g* g) noexcept:
    cdef PyObject* x = g.fn
    if gm_unlikely(x != NULL):
        g.fn = NULL
        decref(x)
    x = slot(g)[0]
    if gm_unlikely(x != NULL):              # the handle went while the callbacks ran
        PyObject_GC_UnTrack(OBJ(g))
        slot(g)[0] = NULL
        decref(x)
    if gm_likely(g.extra == 0 and m.p != NULL and not g.flags & GF_LOOSE):
        gm_store_u32_relaxed(&g.status, G_IDLE)
        if gfput(m.p, g):                   # F1
            return
        gm_store_u32_relaxed(&g.status, G_DEAD)
    decref(OBJ(g))


cdef PyObject* name_of(PyObject* fn) noexcept:
    # A new reference to the function's qualified name, or NULL.
    cdef PyObject* found = gm_function_qualname(fn)
    if gm_likely(found != NULL):
        incref(found)
        return found
    try:
        name = getattr(<object>fn, "__qualname__", None)
        if type(name) is not str:
            name = type(<object>fn).__qualname__
        Py_INCREF(name)
        return <PyObject*>name
    except BaseException:
        return NULL


cdef PyObject* text_ref(str text) noexcept:
    Py_INCREF(text)
    return <PyObject*>text


cdef PyObject* end_with_exception(gm_g* g) noexcept:
    # The exception that is set, as the result: a _Failure, or None for goexit.
    cdef PyObject* t = NULL
    cdef PyObject* v = NULL
    cdef PyObject* tb = NULL
    cdef _Failure f
    PyErr_Fetch(&t, &v, &tb)
    PyErr_NormalizeException(&t, &v, &tb)
    if tb != NULL:
        PyException_SetTraceback(v, tb)
    try:
        if t == <PyObject*>GoExit:
            result = None
        else:
            f = _Failure.__new__(_Failure)
            f.exc = <object>v
            f.tb = <object>tb if tb != NULL else None
            f.goid = g.goid
            f.parent_goid = g.parent_goid
            f.name = g_name(g)
            f.link()
            g.flags |= GF_FAILED
            result = f
    except BaseException:
        result = None                       # no memory to say it: L4's one hole
    xdecref(t)
    xdecref(v)
    xdecref(tb)
    Py_INCREF(result)
    return <PyObject*>result


cdef void ext_finish(gm_m* m, gm_g* g) noexcept:
    # Wakes the joiners, runs the callbacks (inline, on this M; they may not park).
    cdef gm_sudog* s
    cdef gm_gext* ext = ext_get(g)
    cdef PyObject* callbacks
    gm_mu_lock(&all_mu)
    while True:
        s = waitq_get(&ext.waiters)
        if s == NULL:
            break
        s.ok = True
        sudog_ready(m, s, False)
    callbacks = ext.callbacks
    ext.callbacks = NULL
    gm_mu_unlock(&all_mu)
    if callbacks != NULL:
        handle = <Goroutine>OBJ(g)
        for fn in <list>callbacks:
            run_callback(fn, handle)
        decref(callbacks)


cdef void run_callback(object fn, Goroutine handle) noexcept:
    try:
        fn(handle)
    except BaseException as e:
        call_excepthook(handle, e)


cdef str g_name(gm_g* g):
    cdef PyObject* name = NULL
    if ext_get(g) != NULL and ext_get(g).name != NULL:
        return <str><object>ext_get(g).name
    if g.fn == NULL:
        return "?"
    if PyUnicode_CheckExact(g.fn):
        return <str><object>g.fn            # dead: goexit0 left the name
    name = name_of(g.fn)
    if name == NULL:
        return "?"
    found = <object>name
    decref(name)
    return found


# ---- exceptions that nobody can read -------------------------------------------------------

class Cancelled(BaseException):
    """Raised in a goroutine that was cancelled, and by ``result()`` of one that ended so."""


class GoExit(BaseException):
    """Raised by goexit() to end the current goroutine; its finally blocks run."""


@cython.final
@cython.internal
cdef class _Failure:
    # The result of a G that raised. Outlives no handle: when it goes unread, excepthook hears.
    cdef object exc
    cdef object tb
    cdef uint64_t goid
    cdef uint64_t parent_goid
    cdef str name
    cdef bint read
    cdef PyObject* prev             # all_failures, borrowed
    cdef PyObject* next
    cdef bint linked

    cdef void link(self) noexcept:
        global all_failures
        self.next = all_failures
        if all_failures != NULL:
            (<_Failure>all_failures).prev = <PyObject*>self
        all_failures = <PyObject*>self
        self.linked = True

    def __dealloc__(self):
        global all_failures
        if not self.linked:
            return
        if self.prev != NULL:
            (<_Failure>self.prev).next = self.next
        else:
            all_failures = self.next
        if self.next != NULL:
            (<_Failure>self.next).prev = self.prev

    def __del__(self):
        self.tell()

    cdef int tell(self) except -1:
        cdef Goroutine ghost
        cdef _Failure copy
        if self.read or self.exc is None or isinstance(self.exc, (SystemExit, Cancelled)):
            return 0
        self.read = True
        ghost = Goroutine.__new__(Goroutine)        # the handle is gone: one that looks like it
        ghost.g.flags = GF_LOOSE | GF_FAILED
        ghost.g.goid = self.goid
        ghost.g.parent_goid = self.parent_goid
        gm_store_u32_relaxed(&ghost.g.status, G_DEAD)
        ghost.name = self.name
        copy = _Failure.__new__(_Failure)           # self is being finalized
        copy.exc, copy.tb, copy.name = self.exc, self.tb, self.name
        copy.goid, copy.parent_goid = self.goid, self.parent_goid
        ghost._result = copy
        report(ghost, copy)
        return 0


cdef PyObject* all_failures = NULL      # GIL: every _Failure of a goroutine, borrowed


cdef int tell_all() except -1:
    # Interpreter exit: handles that are never dropped while anything can still be said.
    cdef PyObject* at = all_failures
    cdef list found = []
    while at != NULL:
        found.append(<object>at)
        at = (<_Failure>at).next
    for f in reversed(found):
        (<_Failure>f).tell()
    return 0


cdef void report(Goroutine handle, _Failure f) noexcept:
    exc = f.exc
    f.read = True
    if isinstance(exc, (SystemExit, Cancelled)):
        return
    call_excepthook(handle, exc)


cdef void call_excepthook(Goroutine handle, object exc) noexcept:
    hook = default_excepthook
    try:
        import gmpx
        hook = getattr(gmpx, "excepthook", default_excepthook)
    except BaseException:
        pass                                # the interpreter is going away
    try:
        if not callable(hook):
            raise TypeError(f"gmpx.excepthook must be callable, not {type(hook).__name__}")
        hook(handle, exc)
    except BaseException as e:
        try:
            default_excepthook(handle, e)
            if hook is not default_excepthook:
                default_excepthook(handle, exc)
        except BaseException:
            pass                            # stderr is closed: nobody to tell


def default_excepthook(g, exc):
    """default_excepthook(g, exc)
    Prints ``goroutine N [name]:`` and the traceback to stderr: gmpx.excepthook's first value.

    Called as ``excepthook(g, exc)`` for an exception that no one can retrieve any more: the
    handle is gone unread, or was never kept. SystemExit and Cancelled go unreported. Assign to
    ``gmpx.excepthook`` to replace it. Runs on the M that notices; it may not park.
    """
    import sys
    import traceback
    if sys is None or sys.stderr is None:
        return
    text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))
    sys.stderr.write(f"goroutine {g.id} [{g.name}]:\n{text}")
