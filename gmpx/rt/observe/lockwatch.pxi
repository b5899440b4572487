# Without the patch: a goroutine that blocks its thread on a lock which a parked goroutine of that thread holds.
#
# The holder runs again only on that thread, so nobody ever runs there again: it is told at once, or raised
# in the one that waits (GMPX_LOCK_DEADLOCK). Acquiring and releasing a lock of CPython's notes who has it, in
# a table by the lock's address, which costs some nanoseconds; a lock's maker notes the line.
#
# Invariants (GIL)
#   LW1  An entry of locks_held names who has acquired a lock that has not been released since. One that is
#        overwritten by another lock's is not told; none is told wrongly.
#   LW2  An entry of locks_made is of the latest lock at that address, made since it is watched. It owns the code object.
#   LW3  The patch ends it: then such a goroutine parks, and what is a deadlock is told by DeadlockError.
#
# Not told: waits with a time-out, which end; RLocks, which let goroutines of one thread in together.

cdef enum:
    LOCKS_HELD = 1024
    LOCKS_MADE = 4096

cdef struct gm_lock_held:
    PyObject* lock                      # borrowed: compared, never followed
    gm_m* m
    uint64_t goid

cdef struct gm_lock_made:
    PyObject* lock                      # borrowed, as above
    PyObject* code                      # owned
    int line

cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x030B0000
    #  include <frameobject.h>
    #endif
    /* The line that calls from outside of the module whose code's file is `skip`: its code object, a new reference. */
    static PyObject *gm_calling_line(PyObject *skip, int *line) {
        PyFrameObject *f = PyEval_GetFrame(), *back;
        PyCodeObject *code;
        int up;
        if (f == NULL) return NULL;
        Py_INCREF(f);
        code = PyFrame_GetCode(f);
        for (up = 0; up < 4 && code->co_filename == skip; up++) {
            back = PyFrame_GetBack(f);
            if (back == NULL) break;
            Py_DECREF(f);
            Py_DECREF(code);
            f = back;
            code = PyFrame_GetCode(f);
        }
        *line = PyFrame_GetLineNumber(f);
        Py_DECREF(f);
        return (PyObject *)code;
    }
    #define gm_get_new(t) (((PyTypeObject *)(t))->tp_new)
    #define gm_set_new(t, f) (((PyTypeObject *)(t))->tp_new = (f))
    """
    PyObject* gm_calling_line(PyObject*, int*) noexcept
    ctypedef PyObject* (*newfunc)(PyTypeObject*, PyObject*, PyObject*) noexcept
    newfunc gm_get_new(PyObject*) noexcept
    void gm_set_new(PyObject*, newfunc) noexcept

cdef bint locks_watched = False
cdef bint locks_raise = False
cdef gm_lock_held locks_held[LOCKS_HELD]
cdef gm_lock_made locks_made[LOCKS_MADE]
cdef object threading_file = None
cdef PyCFunction plain_allocate_lock = NULL
cdef newfunc plain_lock_new = NULL


cdef PyObject* lock_acquire_watched(PyObject* self, PyObject* args, PyObject* kwargs) except NULL:
    cdef gm_m* m = lock_m()
    cdef gm_lock_held* h = &locks_held[lock_place(self) % LOCKS_HELD]
    cdef PyObject* r
    if m == NULL:
        r = gm_call_kw(plain_lock_acquire, self, args, kwargs)
        if h.lock == self and r == Py_True:
            h.lock = NULL                       # of a lock that died locked (Condition.wait's do)
        return r
    if gm_unlikely(h.lock == self) and h.m == m and h.goid != m.curg.goid:
        lock_deadlock(self, args, kwargs, m, h)
    r = gm_call_kw(plain_lock_acquire, self, args, kwargs)
    if r == Py_True:
        h.lock = self
        h.m = m
        h.goid = m.curg.goid
    return r


cdef PyObject* lock_release_watched(PyObject* self, PyObject* unused) except NULL:
    cdef gm_lock_held* h = &locks_held[lock_place(self) % LOCKS_HELD]
    if h.lock == self:
        h.lock = NULL
    return plain_lock_release(self, NULL)


cdef int lock_deadlock(PyObject* self, PyObject* args, PyObject* kwargs, gm_m* m, gm_lock_held* h) except -1:
    cdef int64_t deadline
    cdef gm_lock_made* made = &locks_made[lock_place(self) % LOCKS_MADE]
    cdef PyObject* locked
    if m.ts != <void*>PyThreadState_Get():
        return 0                                # another interpreter's code
    try:
        if not lock_arguments(args, kwargs, &deadline) or deadline != NO_DEADLINE:
            return 0
    except BaseException:
        return 0                                # the original says it
    locked = plain_lock_locked(self, NULL)
    decref(locked)
    if locked != Py_True:
        return 0
    holder = goroutine_by_id(h.goid)
    if holder is None:
        return 0                                # it has ended with the lock, which anybody may release
    import sys
    from gmpx.blocks import BlockReport
    from gmpx.blocks import lock_deadlock as tell
    frames = sys._current_frames()
    stack, holder_stack = stack_of(m.curg, frames), stack_of(&(<Goroutine>holder).g, frames)
    stack.reverse()
    holder_stack.reverse()
    text = tell(
        BlockReport(<object>OBJ(m.curg), m.id, "deadlocked", 0.0, local_len(m), 0.0, False, 0.0, stack, holder, holder_stack),
        <object>self, ((<object>made.code).co_filename, made.line) if made.lock == self else None, not locks_raise)
    if locks_raise:
        raise DeadlockError(text)
    return 0


cdef object goroutine_by_id(uint64_t goid):
    cdef gm_g* g = all_gs.head
    while g != NULL:
        if g.goid == goid:
            return <object>OBJ(g)
        g = g.all_next
    return None


# ---- who makes them ------------------------------------------------------------------------

cdef void lock_made(PyObject* lock) noexcept:
    cdef gm_lock_made* made = &locks_made[lock_place(lock) % LOCKS_MADE]
    cdef PyObject* old = made.code
    if PyInterpreterState_Get() != PyInterpreterState_Main():
        return                                  # its code objects go with it
    made.lock = lock
    made.code = gm_calling_line(<PyObject*>threading_file, &made.line)
    if made.code == NULL:
        made.lock = NULL
    xdecref(old)


cdef PyObject* watched_allocate_lock(PyObject* module, PyObject* unused) except NULL:
    cdef PyObject* r = plain_allocate_lock(module, unused)
    if r != NULL:
        lock_made(r)
    return r


cdef PyObject* watched_lock_new(PyTypeObject* cls, PyObject* args, PyObject* kwargs) except NULL:
    cdef PyObject* r = plain_lock_new(cls, args, kwargs)
    if r != NULL:
        lock_made(r)
    return r


cdef int watch_makers(bint on) except -1:
    global threading_file, plain_lock_new
    import sys
    import threading

    import _thread
    threading_file = threading.Event.set.__code__.co_filename
    for name in ("allocate_lock", "allocate"):
        swap_function(getattr(_thread, name), on, <void*>watched_allocate_lock, METH_NOARGS, &plain_allocate_lock)
    if sys.version_info >= (3, 13):
        if plain_lock_new == NULL:
            plain_lock_new = gm_get_new(<PyObject*>_thread.LockType)
        gm_set_new(<PyObject*>_thread.LockType, <newfunc><void*>watched_lock_new if on else plain_lock_new)
    return 0


cdef int lockwatch_start() except -1:
    # Import: GMPX_LOCK_DEADLOCK.
    global locks_watched, locks_raise
    import os
    text = os.environ.get("GMPX_LOCK_DEADLOCK", "report")
    if text not in ("report", "raise", "off"):
        raise ValueError(f"GMPX_LOCK_DEADLOCK must be report, raise or off: {text!r}")
    locks_raise = text == "raise"
    locks_watched = text != "off" and not GM_FREE_THREADED
    if locks_watched:
        find_plain_locks()
        exchange_lock(False, True)
        exchange_lock(False, False)
        watch_makers(True)
    return 0
