# contextvars: which context a goroutine runs in.
#
# `go` gives the new G a snapshot of the caller's context; the G runs in a copy of its own.
# Both are shared as long as nobody can tell: one snapshot serves all spawns between two
# changes of the caller's context, and a worker lets the next G run in the copy that the last
# one left untouched, when both have the same snapshot. A context is untouched if its mapping
# is the snapshot's still (the mapping is immutable and replaced by every set) and nobody else
# holds the context. With that a spawn costs no copy and a run no enter and exit (20 ns less).
#
# Invariants
#   X1  w.ctx is entered on w's greenlet, and on no other, or NULL.
#   X2  Code of a G runs in a context whose mapping equals its snapshot's at its start.
#
# context_sharing is False, and each G gets its own copy, where the probe finds that
# PyContext is not laid out as pycompat.h says.

cdef bint context_sharing = False


def _probe_context():
    """_probe_context()
    True if CPython's PyContext has the layout that sharing relies on.
    """
    import contextvars
    var = contextvars.ContextVar("gmpx.probe")
    ctx = contextvars.copy_context()
    cdef PyObject* raw = <PyObject*>ctx
    cdef PyObject* before = gm_context_vars(raw)
    twin = ctx.copy()
    if before == NULL or gm_context_vars(<PyObject*>twin) != before:
        return False
    ctx.run(var.set, 1)
    if gm_context_vars(raw) == before or gm_context_vars(<PyObject*>twin) != before:
        return False
    import weakref
    if gm_context_weakrefs(<PyObject*>twin) != NULL:
        return False
    ref = weakref.ref(twin)
    return gm_context_weakrefs(<PyObject*>twin) == <PyObject*>ref


cdef inline PyObject* context_snapshot(gm_m* m) noexcept:
    # A new reference to a context that equals the current one; NULL with MemoryError.
    cdef PyObject* now = gm_context_current(m.ts)
    cdef PyObject* snap = m.ctx_snap
    if gm_likely(snap != NULL and now != NULL and context_sharing
                 and gm_context_vars(now) == gm_context_vars(snap)):
        incref(snap)
        return snap
    snap = context_copy_current()
    if snap == NULL:
        return NULL
    now = m.ctx_snap
    m.ctx_snap = snap
    incref(snap)
    xdecref(now)
    return snap


cdef inline int context_for(gm_m* m, gm_worker* w, gm_g* g) noexcept:
    # Sees to it that w's greenlet is in g's context (X2). -1 with an exception.
    if gm_likely(w.ctx != NULL and w.ctx_base == g.ctx and context_sharing
                 and gm_context_current(m.ts) == w.ctx and gm_context_untouched(w.ctx, g.ctx)):
        return 0
    return context_change(w, g)


cdef int context_change(gm_worker* w, gm_g* g) noexcept:
    cdef PyObject* ctx
    context_leave(w)
    if g.flags & GF_OWN_CONTEXT:
        ctx = g.ctx
        incref(ctx)
    else:
        ctx = context_copy(g.ctx)
        if ctx == NULL:
            return -1
    if context_enter(ctx) < 0:
        decref(ctx)
        return -1
    w.ctx = ctx
    incref(g.ctx)
    w.ctx_base = g.ctx
    return 0


cdef inline void context_leave(gm_worker* w) noexcept:
    if w.ctx != NULL:
        context_drop(w)


cdef void context_drop(gm_worker* w) noexcept:
    cdef PyObject* ctx = w.ctx
    cdef PyObject* base = w.ctx_base
    w.ctx = NULL
    w.ctx_base = NULL
    if context_exit(ctx) < 0:
        # The G left another context entered: only C code can do that. Its loss.
        PyErr_Clear()
    decref(ctx)
    decref(base)
