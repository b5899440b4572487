# go and WaitGroup.go: the public side of newproc.
#
# Both are C functions of the fastcall convention made by hand: a Cython function with
# **kwargs makes a dict for each call, which costs as much as a third of the whole spawn.

cdef PyObject* pack_args(PyObject** args, Py_ssize_t nargs, PyObject* kwnames,
                         uint32_t* flags) noexcept:
    # What follows the function: a tuple, (tuple, dict) with keywords, or NULL for nothing.
    # flags says which; NULL with ~0 in flags: an exception.
    cdef PyObject* t
    cdef PyObject* d
    cdef PyObject* both
    cdef Py_ssize_t i
    cdef Py_ssize_t nkw = tuple_size(kwnames) if kwnames != NULL else 0
    flags[0] = 0
    if nargs == 0 and nkw == 0:
        return NULL
    t = tuple_new(nargs)
    if t == NULL:
        flags[0] = ~<uint32_t>0
        return NULL
    for i in range(nargs):
        incref(args[i])
        tuple_set(t, i, args[i])
    PyObject_GC_UnTrack(t)                  # while it is queued only the G has it (L1)
    if nkw == 0:
        return t
    d = dict_new()
    both = tuple_new(2)
    if d == NULL or both == NULL:
        decref(t)
        xdecref(d)
        xdecref(both)
        flags[0] = ~<uint32_t>0
        return NULL
    tuple_set(both, 0, t)
    tuple_set(both, 1, d)
    for i in range(nkw):
        if dict_set(d, tuple_get(kwnames, i), args[nargs + i]) < 0:
            decref(both)
            flags[0] = ~<uint32_t>0
            return NULL
    PyObject_GC_UnTrack(both)
    flags[0] = GF_KWARGS
    return both


cdef inline PyObject* goroutine_create(PyObject** args, Py_ssize_t nargs, PyObject* kwnames,
                                       PyObject* wg, uint32_t kind) noexcept:
    # args[0] is the function; kind: GF_GROUP or 0. A new reference to the handle, or NULL with an exception.
    cdef gm_m* m = gm_tls_m
    cdef gm_g* g
    cdef PyObject* packed = NULL
    cdef uint32_t flags = 0
    if gm_unlikely(nargs < 1):
        return raise_type(b"go() needs a function to run")
    if gm_unlikely(not PyCallable_Check(args[0])):
        return raise_not_callable(args[0])
    if gm_unlikely(m == NULL):
        m = m_or_null()
        if m == NULL:
            return NULL
    if nargs > 1 or kwnames != NULL:
        packed = pack_args(args + 1, nargs - 1, kwnames, &flags)
        if gm_unlikely(flags == ~<uint32_t>0):
            return NULL
    g = newproc1(m, args[0], packed, flags | kind, NULL, wg)
    if gm_unlikely(g == NULL):
        return NULL
    if wg != NULL:
        (<WaitGroup>wg).n += 1
    incref(OBJ(g))                          # the caller's; before anyone can run g
    newproc_publish(m, g)
    return OBJ(g)


cdef gm_m* m_or_null() noexcept:
    try:
        return getm()
    except BaseException as e:
        PyErr_SetNone_of(e)
        return NULL


cdef void PyErr_SetNone_of(object e) noexcept:
    cls = type(e)
    PyErr_SetObject(<PyObject*>cls, <PyObject*>e)


cdef PyObject* raise_type(const char* text) noexcept:
    PyErr_SetString(PyExc_TypeError, text)
    return NULL


cdef PyObject* raise_not_callable(PyObject* fn) noexcept:
    e = TypeError(f"go() needs a callable, not {type(<object>fn).__name__}")
    PyErr_SetNone_of(e)
    return NULL


cdef PyObject* go_fastcall(PyObject* self, PyObject** args, Py_ssize_t nargs,
                           PyObject* kwnames) noexcept:
    return goroutine_create(args, nargs, kwnames, NULL, 0)


cdef PyObject* wg_go_fastcall(PyObject* self, PyObject** args, Py_ssize_t nargs,
                              PyObject* kwnames) except? NULL:
    if gm_unlikely((<WaitGroup>self).is_group):
        return group_go(<GroupCore>self, args, nargs, kwnames)
    return goroutine_create(args, nargs, kwnames, self, 0)


cdef PyMethodDef go_def
cdef PyMethodDef wg_go_def
cdef PyMethodDef worker_def
cdef PyMethodDef g0_def


cdef object make_go():
    go_def.ml_name = b"go"
    go_def.ml_meth = <PyCFunction><void*>go_fastcall
    go_def.ml_flags = METH_FASTCALL | METH_KEYWORDS
    go_def.ml_doc = b"""go(fn, /, *args, **kwargs)
--

Runs ``fn(*args, **kwargs)`` concurrently, in a new goroutine. Never blocks.

Appended to the tail of the queue; never runs fn inline. The goroutines that one goroutine
spawns are taken in order while 256 or fewer are queued on its P, fairly beyond that: on one
thread they start in order, and side by side while work spreads over several. It gets a copy of
the caller's contextvars context. An exception that it raises is kept for
``result()``; when no one can retrieve it any more, it goes to ``excepthook``.

Returns:
    The Goroutine: a handle that may be kept or dropped.

Raises:
    TypeError: fn is not callable.

Any thread may call it. Go: the go statement.
"""
    add_method(WaitGroup, &wg_go_def, b"go", <PyCFunction><void*>wg_go_fastcall,
               b"""go($self, fn, /, *args, **kwargs)
--

Counts up, runs ``fn(*args, **kwargs)`` in a new goroutine, and counts down at its end.

Returns:
    The Goroutine, as ``gmpx.go``.

Raises:
    TypeError: fn is not callable; the counter is unchanged.

Go 1.25: WaitGroup.Go.
""")
    return c_function(&go_def)


cdef object c_function(PyMethodDef* d):
    name = "gmpx"
    cdef PyObject* f = PyCFunction_NewEx(d, NULL, <PyObject*>name)
    if f == NULL:
        raise MemoryError()
    return take_ref(f)


go = make_go()


cdef tuple tuple_of(object args):
    if type(args) is tuple:
        return args
    try:
        found = iter(args)
    except TypeError:
        raise TypeError(f"args must be a tuple, not {type(args).__name__}") from None
    return tuple(found)


cdef dict dict_of(object kwargs):
    if kwargs is None:
        return {}
    try:
        return dict(kwargs)
    except (TypeError, ValueError) as e:
        raise TypeError(f"kwargs must be a dict or None, not {type(kwargs).__name__}") from e


def spawn(fn, args=(), kwargs=None, *, name=None, context=None):
    """spawn(fn, args=(), kwargs=None, *, name=None, context=None)
    ``go`` with options.

    Args:
        fn, args, kwargs: what to call, with what.
        name: the goroutine's name; None for the function's qualified name.
        context: a contextvars.Context to run in (not copied); None for a copy of the caller's.

    Returns:
        The Goroutine.

    Raises:
        TypeError: fn is not callable, or an argument is of the wrong type.
    """
    cdef gm_m* m = getm()
    cdef gm_g* g
    cdef gm_gext* ext = NULL
    cdef PyObject* ctx = NULL
    cdef uint32_t flags = GF_KWARGS
    # All that can raise comes first: a goroutine that is made and not queued would live for ever.
    if not callable(fn):
        raise TypeError(f"spawn() needs a callable, not {type(fn).__name__}")
    if context is not None:
        if not PyContext_CheckExact(<PyObject*>context):
            raise TypeError(f"context must be a contextvars.Context, not {type(context).__name__}")
        flags |= GF_OWN_CONTEXT
    packed = (tuple_of(args), dict_of(kwargs))
    if name is not None:
        ext = <gm_gext*>calloc(1, sizeof(gm_gext))
        if ext == NULL:
            raise MemoryError()
        try:
            ext.name = name_given(name)
        except BaseException:
            free(ext)
            raise
    if context is not None:
        ctx = <PyObject*>context
        incref(ctx)
    Py_INCREF(packed)
    g = newproc1(m, <PyObject*>fn, <PyObject*>packed, flags, ctx, NULL)
    if g == NULL:
        if ext != NULL:
            decref(ext.name)
            free(ext)
        raise MemoryError()
    g.extra = <uintptr_t>ext
    handle = <Goroutine>OBJ(g)
    newproc_publish(m, g)
    return handle
