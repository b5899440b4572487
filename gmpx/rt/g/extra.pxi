# What only some goroutines have: a name, joiners, callbacks, a WaitGroup to count down.
#
# gm_g.extra is 0 for the goroutine that has none of it, which is the usual one. The WaitGroup
# that `wg.go` gives it lies in the word itself, tagged by its lowest bit; anything more needs a
# gm_gext, made when it is first asked for.


cdef inline gm_gext* ext_get(gm_g* g) noexcept nogil:
    return NULL if g.extra & 1 else <gm_gext*>g.extra


cdef gm_gext* ext_of(gm_g* g) except NULL:
    # The gm_gext, made if need be.
    cdef gm_gext* ext = ext_get(g)
    if ext == NULL:
        ext = <gm_gext*>calloc(1, sizeof(gm_gext))
        if ext == NULL:
            raise MemoryError()
        if g.extra & 1:
            ext.wg = <PyObject*>(g.extra & ~<uintptr_t>1)
        g.extra = <uintptr_t>ext
    return ext


cdef inline PyObject* wg_of(gm_g* g) noexcept nogil:
    # The WaitGroup, borrowed, or NULL.
    if g.extra & 1:
        return <PyObject*>(g.extra & ~<uintptr_t>1)
    return (<gm_gext*>g.extra).wg if g.extra != 0 else NULL


cdef inline PyObject* take_wg(gm_g* g) noexcept nogil:
    # The WaitGroup, owned by the caller from here on, or NULL.
    cdef PyObject* wg
    if g.extra == 0:
        return NULL
    if gm_likely(g.extra & 1):
        wg = <PyObject*>(g.extra & ~<uintptr_t>1)
        g.extra = 0
        return wg
    wg = (<gm_gext*>g.extra).wg
    (<gm_gext*>g.extra).wg = NULL
    return wg


cdef void extra_free(gm_g* g) noexcept:
    cdef gm_gext* ext
    xdecref(take_wg(g))
    ext = ext_get(g)
    if ext != NULL:
        g.extra = 0
        xdecref(ext.callbacks)
        xdecref(ext.locals)
        gm_locals_clear(&ext.thread_locals)
        xdecref(ext.loop)
        xdecref(ext.task)
        xdecref(ext.asyncgen_firstiter)
        xdecref(ext.asyncgen_finalizer)
        xdecref(ext.name)
        xdecref(ext.cancel_message)
        free(ext)


cdef PyObject* name_given(object value) except NULL:
    # A new reference to the name as a plain str: one of a class of its own could run code when
    # it is shown.
    if not isinstance(value, str):
        raise TypeError(f"name must be a str, not {type(value).__name__}")
    return PyUnicode_FromObject(<PyObject*>value)


def _locals(make):
    """_locals(make)
    The current goroutine's table of Local attributes; make() makes it. It goes with the
    goroutine."""
    cdef gm_g* g = getg(getm())
    cdef gm_gext* ext = ext_of(g)
    cdef PyObject* found
    if ext.locals == NULL:
        found = own(make())
        ext = ext_of(g)
        if ext.locals == NULL:
            ext.locals = found
        else:
            decref(found)               # make() has called this
    return <object>ext.locals
