# CPython's own SimpleQueue, in place: gets that wait park the goroutine (TK5). See threadlock.pxi.

ctypedef PyObject* (*gm_fast_class)(PyObject*, PyTypeObject*, PyObject**, Py_ssize_t, PyObject*) noexcept
ctypedef PyObject* (*gm_fast_words)(PyObject*, PyObject**, Py_ssize_t, PyObject*) noexcept


cdef PyObject* simple_queue_get(PyObject* self, PyTypeObject* cls, PyObject** args, Py_ssize_t nargs,
                         PyObject* kwnames) except NULL:
    cdef gm_m* m = lock_m()
    cdef int64_t deadline = NO_DEADLINE
    cdef PyObject* none[1]
    if m == NULL or lock_try(TK_QUEUE, self, NULL, NULL) != 0 or not simple_queue_waits(
            args, nargs, kwnames, &deadline) or m.ts != <void*>PyThreadState_Get():
        return (<gm_fast_class><void*>plain_queue_get)(self, cls, args, nargs, kwnames)
    lock_wait(TK_QUEUE, self, m, m.curg, deadline)
    none[0] = Py_False
    return (<gm_fast_class><void*>plain_queue_get)(self, cls, none, 1, NULL)


cdef bint simple_queue_waits(PyObject** args, Py_ssize_t nargs, PyObject* kwnames, int64_t* deadline) except -1:
    # get(block=True, timeout=None): whether it waits, and until when. Arguments that are wrong are told
    # by the original, which does not wait then.
    cdef object block = <object>args[0] if nargs > 0 else True
    cdef object timeout = <object>args[1] if nargs > 1 else None
    cdef Py_ssize_t i
    cdef double seconds
    if nargs > 2:
        return False
    if kwnames != NULL:
        for i in range(tuple_size(kwnames)):
            name = <object>tuple_get(kwnames, i)
            if name == "block" and nargs < 1:
                block = <object>args[nargs + i]
            elif name == "timeout" and nargs < 2:
                timeout = <object>args[nargs + i]
            else:
                return False
    if not block:
        return False
    if timeout is not None:
        if not isinstance(timeout, (int, float)):
            return False
        seconds = timeout
        if not 0 <= seconds < 9.0e9:
            return False
        deadline[0] = clock_now() + ns_of(seconds)
    return True


cdef PyObject* simple_queue_put(PyObject* self, PyObject** args, Py_ssize_t nargs, PyObject* kwnames) except NULL:
    return simple_queue_woken(self, (<gm_fast_words><void*>plain_queue_put)(self, args, nargs, kwnames))


cdef PyObject* simple_queue_put_nowait(PyObject* self, PyObject** args, Py_ssize_t nargs, PyObject* kwnames) except NULL:
    return simple_queue_woken(self, (<gm_fast_words><void*>plain_queue_put_nowait)(self, args, nargs, kwnames))


cdef inline PyObject* simple_queue_woken(PyObject* self, PyObject* r) except NULL:
    cdef _LockWaiters w
    if gm_unlikely(waited_for(self)) and r != NULL:
        w = waiters_of(self)
        if w is not None:
            waitq_ready(gm_tls_m, &w.q)             # TK5
    return r
