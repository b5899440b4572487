# Worker greenlets, made lazily, and g0 that starts them.
#
# A worker calls one fresh G after another, inline, with no switch. When a G parks it keeps the
# worker it stands on; the M goes on from another. A worker whose search turns up a started G
# becomes idle and switches to it.
#
# Invariants
#   G1  A worker is running (its greenlet is current or under the current one), on its M's idle
#       list, or kept by the parked G that stands on it.
#   G2  Who switches to an idle worker has set m.handoff; the worker takes it at once. A NULL
#       handoff means: end.
#   G3  Only g0 starts workers, from its own shallow stack: a new greenlet inherits the depth of
#       the one that starts it, so a chain of starts would run into RecursionError. g0 and each
#       worker begin with a full recursion allowance.
#   G4  g0 has control only to make a worker for m.handoff and to end idle workers (m.reap). On a worker M it is the thread's root
#       greenlet and searches itself when it has nothing of these to do; on M0 somebody else
#       always does.
#   G5  No pointer to a C stack crosses a switch: workers are on the heap.
#
# Behind a worker's struct lies the first chunk of its stack of Python frames: rt/platform/datastack.h
# has the invariants (DS1 ...).

cdef enum:
    IDLE_WORKERS = 256          # idle workers of an M that are never let go
    # Workers start on one of a few floors of the C stack in turn. A switch copies a stack away
    # only where the next one needs its place, so between workers on different floors one of two
    # switches copies nothing. A stack that outgrows its floor is copied as always.
    FLOORS = 2
    FLOOR_BYTES = 8192

cdef extern from "Python.h":
    void* PyMem_Malloc(size_t)

cdef extern from "rt/platform/datastack.h":
    enum: GM_ROOT_BYTES
    const size_t gm_root_room               # 0: workers have none
    void gm_root_enable() noexcept
    void* gm_root_begin(void* ts, void* at) noexcept
    void gm_root_end(void* ts, void* at) noexcept
    int gm_probe_begin() noexcept
    int gm_probe_look() noexcept
    bint gm_probe_end() noexcept


def _probe_look():
    return gm_probe_look()


def _probe_datastack():
    """_probe_datastack()
    True if CPython runs Python code on a root chunk of our own as datastack.h says: a call lies in
    it, one that is too deep for it on a second chunk, and then it is as before.
    """
    down = eval("lambda f, n, look: f(f, n - 1, look) if n else look()")
    first = deep = 0
    if gm_probe_begin() < 0:
        return False
    try:
        first = down(down, 0, _probe_look)
        deep = down(down, GM_ROOT_BYTES // 80, _probe_look)
    except Exception:                           # imported where hardly any recursion is left
        pass
    return gm_probe_end() and first == 0 and deep == 1


cdef extern from *:
    """
    static PyObject *gm_worker_main(PyObject *, PyObject *);
    /* The frame that a dying interpreter's unwinding must not pass (pycompat.h). */
    static PyObject *gm_worker_entry(PyObject *self, PyObject *unused) {
        GM_UNWIND_GUARD;
        PyObject *r = gm_worker_main(self, unused);
        GM_UNWIND_DISARM;
        return r;
    }
    """
    PyObject* gm_worker_entry(PyObject*, PyObject*) noexcept


cdef extern from *:
    """
    #if defined(_MSC_VER)
    #  include <malloc.h>
    #  define gm_alloca _alloca
    #else
    #  define gm_alloca __builtin_alloca
    #endif
    /* Starts a greenlet `skip` bytes further down the C stack. */
    static GM_NOINLINE PyObject *gm_start_below(PyObject *gl, PyObject *args, size_t skip) {
        volatile char *pad = (volatile char *)gm_alloca(skip + 1);
        PyObject *r;
        pad[0] = 0;
        r = gm_greenlet_switch(gl, args);
        pad[skip] = 0;
        return r;
    }
    """
    PyObject* start_below "gm_start_below"(PyObject*, PyObject*, size_t) noexcept


cdef void trampoline(gm_m* m, gm_worker* w, gm_g* g) noexcept:
    # A fresh G's whole life on this worker: from its first instruction to its end.
    cdef PyObject* r
    cdef PyObject* args = slot(g)[0]
    g.park = &w.park
    w.park.g = g
    execute(m, g)
    if gm_unlikely(g.flags & GF_CANCELLED):
        r = raise_cancelled(g)
    elif gm_unlikely(context_for(m, w, g) < 0):
        r = NULL
    elif args == NULL:
        r = call_noargs(g.fn)
    elif gm_unlikely(g.flags & GF_KWARGS):
        if not PyObject_GC_IsTracked(tuple_get(args, 0)):
            PyObject_GC_Track(tuple_get(args, 0))
        r = call(g.fn, tuple_get(args, 0), tuple_get(args, 1))
    else:
        if not PyObject_GC_IsTracked(args):
            PyObject_GC_Track(args)         # the function may keep it
        r = call(g.fn, args, NULL)
    goexit0(m, g, r)


cdef PyObject* worker_main "gm_worker_main"(PyObject* self, PyObject* unused) noexcept:
    # What a worker greenlet runs.
    cdef gm_m* m = gm_tls_m
    cdef gm_worker* w = m.starting
    cdef gm_g* g
    cdef int r
    m.starting = NULL
    gm_reset_recursion()                        # G3
    if gm_root_room > 0:
        w.park.home_token = gm_root_begin(m.ts, w + 1)
    while True:
        g = m.handoff
        m.handoff = NULL
        if g == NULL:                           # G2
            break
        while True:
            trampoline(m, w, g)
            g = schedule(m, w)
            if g == NULL or g.park != NULL:
                break
        context_leave(w)
        if g == NULL:                           # the M stops
            break
        w.next = m.idle_workers
        m.idle_workers = w
        m.nidle += 1
        r = transfer(m, g)
        while gm_unlikely(by_user(m)):          # G2: not the scheduler
            throw_back(m)
            r = 0
        if gm_unlikely(r < 0):
            idle_remove(m, w)                   # killed from outside
            break
    worker_free(w)
    return none_ref()


cdef void idle_remove(gm_m* m, gm_worker* w) noexcept:
    cdef gm_worker** at = &m.idle_workers
    while at[0] != NULL:
        if at[0] == w:
            at[0] = w.next
            m.nidle -= 1
            return
        at = &at[0].next


cdef void spawn_failed(gm_m* m, gm_g* g) noexcept:
    # No memory for a worker: g ends with that exception instead of running.
    execute(m, g)
    m.curg = NULL                           # no greenlet is its own: its finalizers may not park
    goexit0(m, g, NULL)


cdef PyObject* none_ref() noexcept:
    if PyErr_Occurred() != NULL:
        return NULL
    Py_INCREF(None)
    return <PyObject*>None


cdef void worker_free(gm_worker* w) noexcept:
    # On w's own greenlet, under no Python frame of it.
    context_leave(w)
    w.park.m.nworkers -= 1
    xdecref(w.park.home)                        # the caller's frames hold it too
    if gm_root_room > 0:
        gm_root_end(w.park.m.ts, w + 1)         # DS1
    PyMem_Free(w)


cdef gm_worker* worker_new(gm_m* m) noexcept:
    # NULL with an exception set.
    cdef gm_worker* w = <gm_worker*>PyMem_Malloc(sizeof(gm_worker) + gm_root_room)
    if w == NULL:
        PyErr_NoMemory()
        return NULL
    memset(w, 0, sizeof(gm_worker))
    w.park.home = greenlet_new(worker_callable, m.g0)
    if w.park.home == NULL:
        PyMem_Free(w)
        return NULL
    m.nworkers += 1
    w.park.m = m
    w.park.timer.index = -1
    return w


cdef void g0_loop(gm_m* m) noexcept:
    # G4.
    cdef gm_g* g
    cdef gm_worker* w
    while True:
        while gm_unlikely(by_user(m)):          # not from the scheduler
            throw_back(m)
        if m.reap > 0:
            reap_workers(m)
            continue
        g = m.handoff
        m.handoff = NULL
        if g == NULL:
            g = schedule(m, NULL)
        if g == NULL:                           # a worker M stops
            m.reap = m.nidle
            m.reaper = NULL
            reap_workers(m)
            return
        if g.park != NULL or m.idle_workers != NULL:
            transfer(m, g)
        else:
            w = worker_new(m)
            if w == NULL:
                spawn_failed(m, g)
                continue
            m.handoff = g
            m.starting = w
            m.next_floor = (m.next_floor + 1) % FLOORS
            xdecref(start_below(w.park.home, empty_tuple, m.next_floor * FLOOR_BYTES))
        if gm_unlikely(PyErr_Occurred() != NULL):
            PyErr_WriteUnraisable(NULL)


cdef void reap_workers(gm_m* m) noexcept:
    # On g0: ends m.reap idle workers, then returns to the greenlet that asked.
    cdef gm_worker* w
    cdef PyObject* back
    while m.reap > 0 and m.idle_workers != NULL:
        m.reap -= 1
        w = m.idle_workers
        m.idle_workers = w.next
        m.nidle -= 1
        m.handoff = NULL
        switch_to(w.park.home)                         # it ends, back to its parent: here
        if PyErr_Occurred() != NULL:
            PyErr_WriteUnraisable(NULL)
    m.reap = 0
    m.nidle_low = m.nidle
    back = m.reaper
    m.reaper = NULL
    if back != NULL:
        switch_to(back)
        decref(back)


cdef void trim_workers(gm_m* m) noexcept:
    # Housekeeping before an idle M sleeps on: of the workers that nobody has needed since the
    # last look, half are let go. A burst's stacks are gone in some ten seconds of idleness,
    # and a load that needs its workers keeps them.
    cdef Py_ssize_t n
    if m.nidle > IDLE_WORKERS and m.nidle_low > 0 and m.g0 != NULL:
        n = min((m.nidle_low + 1) // 2, m.nidle - IDLE_WORKERS)
        if n > 0:
            m.reap = n
            m.reaper = greenlet_current()
            if m.reaper == m.g0:                # g0 itself searches
                decref(m.reaper)
                m.reaper = NULL
                reap_workers(m)
            else:
                switch_to(m.g0)
    m.nidle_low = m.nidle


cdef PyObject* g0_main(PyObject* self, PyObject* unused) noexcept:
    # M0's g0. Never returns: its parent is the main greenlet, which may be anywhere.
    gm_reset_recursion()                        # G3
    g0_loop(gm_tls_m)
    return none_ref()
