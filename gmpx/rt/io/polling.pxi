# time.sleep, select.select, and the poll methods of select.poll, select.epoll and select.kqueue objects,
# as they are after gmpx.patch: each tries without waiting, parks until something may be ready, and tries
# again, so that results and exceptions are the original's.
#
# The C function behind the two functions is exchanged (swap_function). The types of select are mutable; their
# methods are set like those of any class.
#
# Invariants
#   PO1  Ours is called with the original's convention (checked in swap_function), and gives way to the original
#       where the calling thread runs no goroutine that could park, or another interpreter's code.

cdef extern from *:
    """
    static PyObject *gm_call_fast(PyCFunction f, PyObject *self, PyObject **args, Py_ssize_t n) {
        return ((gm_fast)(void (*)(void))f)(self, args, n);
    }
    #if PY_VERSION_HEX >= 0x030B0000
    #  define gm_audit_sleep(o) PySys_Audit("time.sleep", "O", o)
    #else
    #  define gm_audit_sleep(o) 0
    #endif
    /* CPython's pollObject begins so. */
    typedef struct { PyObject_HEAD PyObject *dict; } gm_poll_object;
    #define gm_poll_dict(o) (((gm_poll_object *)(o))->dict)
    #if !defined(_WIN32)
    #  include <poll.h>
    #  ifndef POLLRDHUP
    #    define POLLRDHUP 0
    #  endif
    #else
    #  define POLLPRI 0x0400
    #  define POLLRDHUP 0
    #endif
    """
    PyObject* gm_call_fast(PyCFunction, PyObject*, PyObject**, Py_ssize_t) except NULL
    int gm_audit_sleep(PyObject*) except -1
    PyObject* gm_poll_dict(PyObject*) noexcept
    int POLLIN
    int POLLOUT
    int POLLPRI
    int POLLRDHUP

cdef extern from "Python.h":
    bint PyFloat_Check(PyObject*) noexcept
    bint PyLong_Check(PyObject*) noexcept
    double PyFloat_AsDouble(PyObject*) except? -1
    int PyObject_AsFileDescriptor(PyObject*) except -1
    object PySequence_Fast(object, const char*)
    Py_ssize_t PySequence_Fast_GET_SIZE(object) noexcept
    PyObject* PySequence_Fast_GET_ITEM(object, Py_ssize_t) noexcept
    int METH_O

cdef enum:
    PRIORITY_NAP_NS = 10000000          # urgent data alone is looked for so often
    POLL_NAP_NS = 2000000               # a look at a poll object takes microseconds, unless it has to wait
    POLL_TRIES = 25                     # for the GIL; a thread that waits in it stays

cdef PyCFunction plain_sleep = NULL
cdef PyCFunction plain_select = NULL
cdef object plain_poll = None
cdef object plain_epoll = None
cdef object plain_kqueue = None


cdef inline gm_m* polling_m() noexcept:
    # io_m, PO1.
    cdef gm_m* m = io_m()
    return m if m != NULL and m.ts == <void*>PyThreadState_Get() else NULL


# ---- waiting for many ----------------------------------------------------------------------

cdef struct gm_wish:                    # one direction of one descriptor
    gm_sudog sudog
    gm_pd* pd
    gm_m* owner
    int fd
    uint32_t mode
    uint32_t urgent             # GM_POLL_URGENT, or 0


cdef int wish_arm(gm_m* m, gm_g* g, gm_wish* w, uint64_t word) noexcept nogil:
    # g's park is armed. 0, or an errno.
    cdef int r
    cdef gm_sudog* s = &w.sudog
    w.pd = pd_of(w.fd)
    if w.pd == NULL:
        return EBADF
    r = net_arm(m, w.pd, w.mode | w.urgent, True)
    if r != 0:
        w.pd = NULL
        return r
    s.park = g.park
    s.elem = NULL
    s.ok = NET_READY
    s.word = word
    waitq_put(&w.pd.rq if w.mode == PD_READ else &w.pd.wq, s)
    w.owner = w.pd.m
    pd_unlock(w.pd)
    net_count(m, w.owner)
    return 0


cdef void wish_drop(gm_wish* w) noexcept nogil:
    if w.pd == NULL:
        return
    gm_fetch_add_u32_relaxed(&w.owner.net_waiters, <uint32_t>-1)
    pd_lock(w.pd)                       # always: see net_wait
    waitq_remove(&w.pd.rq if w.mode == PD_READ else &w.pd.wq, &w.sudog)
    pd_unlock(w.pd)


cdef int wait_many(gm_m* m, gm_wish* w, Py_ssize_t n, int64_t deadline) except -1:
    # Parks until one of them may be ready: 1; 0: the time is up.
    cdef gm_g* g = m.curg
    cdef uint64_t word = park_arm(g.park, WHY_IO)
    cdef Py_ssize_t i
    cdef int e = 0
    cdef int r
    for i in range(n):
        e = wish_arm(m, g, &w[i], word)
        if e != 0:
            break
    if e != 0 and park_win(g.park, word):
        gm_store_u32_relaxed(&g.status, G_RUNNING)
        r = WAKE_READY                  # a regular file, or an error: the caller's try will say
    else:
        r = gopark(m, g, deadline)
    for i in range(n):
        wish_drop(&w[i])
    if e != 0 and e != EPERM and r == WAKE_READY:
        raise_errno(e)
    if r == WAKE_TIMEOUT:
        return 0
    park_raise(m, r, "IO wait")
    return 1


cdef int wait_masks(gm_m* m, list masks, int64_t deadline) except -1:
    # masks: [(descriptor, poll(2) events)]. As wait_many.
    cdef Py_ssize_t n = 0
    cdef Py_ssize_t i = 0
    cdef gm_wish* w
    cdef int fd, mask
    cdef bint naps = False
    for _, mask in masks:
        n += (mask & POLLIN != 0) + (mask & POLLOUT != 0)
        naps = naps or not mask & (POLLIN | POLLOUT)
    if naps:                            # urgent data, the peer's end or errors alone
        deadline = min(deadline if deadline >= 0 else INT64_MAX, clock_now() + PRIORITY_NAP_NS)
    w = <gm_wish*>calloc(max(n, 1), sizeof(gm_wish))
    if w == NULL:
        raise MemoryError()
    try:
        for fd, mask in masks:
            if mask & POLLIN:
                w[i].fd, w[i].mode = fd, PD_READ
                w[i].urgent = GM_POLL_URGENT if mask & POLLPRI else 0
                i += 1
            if mask & POLLOUT:
                w[i].fd, w[i].mode = fd, PD_WRITE
                i += 1
        return wait_many(m, w, n, deadline) or naps
    finally:
        free(w)


# ---- time.sleep ----------------------------------------------------------------------------

cdef PyObject* patched_sleep(PyObject* module, PyObject* arg) except NULL:
    cdef gm_m* m = gm_tls_m
    cdef double seconds
    cdef int r
    if m == NULL:
        m = io_m_new()
    if m == NULL or m.kind == M_FOREIGN or m.curg == NULL or m.ts != <void*>PyThreadState_Get() or not (
            PyFloat_Check(arg) or PyLong_Check(arg)):
        return keep(plain_sleep(module, arg))
    seconds = PyFloat_AsDouble(arg)
    if not 0 <= seconds < 9.0e9:        # it has the words for that
        return keep(plain_sleep(module, arg))
    gm_audit_sleep(arg)
    if seconds == 0:
        gosched()
        return own(None)
    park_arm(m.curg.park, WHY_SLEEP)
    r = gopark(m, m.curg, clock_now() + ns_of(seconds))
    if r != WAKE_TIMEOUT:
        park_raise(m, r, "sleep")
    return own(None)


cdef inline PyObject* keep(PyObject* r) except NULL:
    # An exception that is set goes on.
    return r


# ---- select.select -------------------------------------------------------------------------

cdef list wished(object seq):
    # [(object, its descriptor)]: each fileno() is called once, and may change a list as it goes.
    cdef Py_ssize_t i = 0
    cdef list pairs = []
    cdef object fast = PySequence_Fast(seq, b"arguments 1-3 must be sequences")
    while i < PySequence_Fast_GET_SIZE(fast):
        obj = <object>PySequence_Fast_GET_ITEM(fast, i)
        pairs.append((obj, PyObject_AsFileDescriptor(<PyObject*>obj)))
        i += 1
    return pairs


cdef list granted(list pairs, list ready):
    cdef set fds = set(ready)
    return [obj for obj, fd in pairs if fd in fds]


cdef PyObject* patched_select(PyObject* module, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = polling_m()
    cdef PyObject* now[4]
    cdef int64_t deadline = NO_DEADLINE
    cdef double seconds
    cdef list pairs = []
    cdef list numbers = []
    cdef list masks = []
    cdef int i
    cdef object zero = 0
    if m == NULL or nargs < 3 or nargs > 4:
        return gm_call_fast(plain_select, module, args, nargs)
    if nargs == 4 and args[3] != <PyObject*>None:
        if not (PyFloat_Check(args[3]) or PyLong_Check(args[3])):
            return gm_call_fast(plain_select, module, args, nargs)
        seconds = PyFloat_AsDouble(args[3])
        if not 0 < seconds < 9.0e9:
            return gm_call_fast(plain_select, module, args, nargs)
        deadline = clock_now() + ns_of(seconds)
    for i in range(3):
        pairs.append(wished(<object>args[i]))
        numbers.append([fd for _, fd in pairs[i]])
        masks.extend([(fd, POLLIN if i == 0 else POLLOUT if i == 1 else POLLPRI) for fd in numbers[i]])
        now[i] = <PyObject*>(<object>numbers[i])
    now[3] = <PyObject*>zero
    while True:
        found = take_ref(gm_call_fast(plain_select, module, now, 4))
        if any(found) or (deadline >= 0 and clock_now() >= deadline):
            return own((granted(pairs[0], found[0]), granted(pairs[1], found[1]),
                        granted(pairs[2], found[2])))
        wait_masks(m, masks, deadline)


# ---- poll, epoll and kqueue objects --------------------------------------------------------

cdef PyObject* patched_poll(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    # poll(timeout=None): milliseconds
    cdef gm_m* m = polling_m()
    cdef int64_t deadline = NO_DEADLINE
    cdef double ms
    cdef int tries = 0
    if m == NULL or nargs > 1:
        return call_method(<PyObject*>plain_poll, self, args, nargs, NULL)
    if nargs == 1 and args[0] != <PyObject*>None:
        if not (PyFloat_Check(args[0]) or PyLong_Check(args[0])):
            return call_method(<PyObject*>plain_poll, self, args, nargs, NULL)
        ms = PyFloat_AsDouble(args[0])
        if ms == 0 or not -2.0e9 < ms < 2.0e9:
            return call_method(<PyObject*>plain_poll, self, args, nargs, NULL)
        if ms > 0:
            deadline = clock_now() + ns_of(ms / 1000)
    while True:
        found = None
        try:
            found = plain_poll(<object>self, 0)
        except RuntimeError:            # "concurrent poll()": a goroutine of another M looks, too
            tries += 1
            if tries == POLL_TRIES:
                raise
        if found is None:
            nap_until(m, clock_now() + POLL_NAP_NS)
            continue
        if found or (deadline >= 0 and clock_now() >= deadline):
            return own(found)
        wait_masks(m, list((<dict><object>gm_poll_dict(self)).items()), deadline)


cdef PyObject* patched_epoll(PyObject* self, PyObject** args, Py_ssize_t nargs,
                             PyObject* kwnames) except NULL:
    # poll(timeout=None, maxevents=-1): seconds
    cdef gm_m* m = polling_m()
    cdef int64_t deadline = NO_DEADLINE
    cdef Py_ssize_t i
    cdef int fd
    timeout, most = None, -1
    if m == NULL or nargs > 2:
        return call_method(<PyObject*>plain_epoll, self, args, nargs, kwnames)
    if nargs > 0:
        timeout = <object>args[0]
    if nargs > 1:
        most = <object>args[1]
    for i in range(tuple_size(kwnames) if kwnames != NULL else 0):
        if <object>tuple_get(kwnames, i) == "timeout" and nargs < 1:
            timeout = <object>args[nargs + i]
        elif <object>tuple_get(kwnames, i) == "maxevents" and nargs < 2:
            most = <object>args[nargs + i]
        else:
            return call_method(<PyObject*>plain_epoll, self, args, nargs, kwnames)
    if timeout is not None:
        if not isinstance(timeout, (int, float)) or timeout == 0 or not -2.0e6 < timeout < 2.0e6:
            return call_method(<PyObject*>plain_epoll, self, args, nargs, kwnames)
        if timeout > 0:
            deadline = clock_now() + ns_of(timeout)
    while True:
        found = plain_epoll(<object>self, 0, most)
        if found or (deadline >= 0 and clock_now() >= deadline):
            return own(found)
        fd = (<object>self).fileno()
        fd_wait(fd, PD_READ, deadline)


cdef PyObject* patched_kqueue(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    # control(changelist, max_events, timeout=None)
    cdef gm_m* m = polling_m()
    cdef int64_t deadline = NO_DEADLINE
    cdef int fd
    if m == NULL or nargs < 2 or nargs > 3 or <object>args[1] == 0:
        return call_method(<PyObject*>plain_kqueue, self, args, nargs, NULL)
    if nargs == 3 and args[2] != <PyObject*>None:
        timeout = <object>args[2]
        if not isinstance(timeout, (int, float)) or not 0 < timeout < 2.0e6:
            return call_method(<PyObject*>plain_kqueue, self, args, nargs, NULL)
        deadline = clock_now() + ns_of(timeout)
    found = plain_kqueue(<object>self, <object>args[0], <object>args[1], 0)
    while not found and not (deadline >= 0 and clock_now() >= deadline):
        fd = (<object>self).fileno()
        fd_wait(fd, PD_READ, deadline)
        found = plain_kqueue(<object>self, None, <object>args[1], 0)
    return own(found)


# ---- setting them --------------------------------------------------------------------------

def _swap_sleep(on):
    """_swap_sleep(on)
--

    The function behind time.sleep: ours, or the original."""
    import time
    swap_function(time.sleep, on, <void*>patched_sleep, METH_O, &plain_sleep)


def _swap_select(on):
    """_swap_select(on)
--

    The function behind select.select: ours, or the original."""
    import select
    swap_function(select.select, on, <void*>patched_select, METH_FASTCALL, &plain_select)


cdef PyMethodDef poll_def, epoll_def, kqueue_def


cdef object polling_method(object cls, PyMethodDef* d, const char* name, void* f, int flags):
    d.ml_name = name
    d.ml_meth = <PyCFunction>f
    d.ml_flags = METH_FASTCALL | flags
    return take_ref(PyDescr_NewMethod(<PyTypeObject*><PyObject*>cls, d))


def _polling_methods():
    """_polling_methods()
--

    [(type, name, method)] for the types of the module select."""
    global plain_poll, plain_epoll, plain_kqueue
    import select
    cdef list found = []
    if hasattr(select, "poll"):
        cls = type(select.poll())
        probe = select.poll()
        probe.register(0, POLLOUT)
        if (<object>gm_poll_dict(<PyObject*>probe)) != {0: POLLOUT}:
            raise RuntimeError("gmpx does not know this interpreter's poll objects")
        plain_poll = plain_poll or cls.poll
        found.append((cls, "poll", polling_method(cls, &poll_def, b"poll", <void*>patched_poll, 0)))
    if hasattr(select, "epoll"):
        cls = select.epoll
        plain_epoll = plain_epoll or cls.poll
        found.append((cls, "poll", polling_method(cls, &epoll_def, b"poll", <void*>patched_epoll,
                                                  METH_KEYWORDS)))
    if hasattr(select, "kqueue"):
        cls = select.kqueue
        plain_kqueue = plain_kqueue or cls.control
        found.append((cls, "control", polling_method(cls, &kqueue_def, b"control",
                                                     <void*>patched_kqueue, 0)))
    return found


def _parks():
    """_parks()
--

    Whether a patched call parks a goroutine, in the calling thread, now."""
    return polling_m() != NULL
