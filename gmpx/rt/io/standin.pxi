# What is set behind built-in functions and methods of built-in types. Neither can be changed in place through
# Python, and everybody has imported them by name. So the C function behind the object is exchanged
# (PyMethodDef.ml_meth, which each call reads): whoever has it has ours.
#
# swap_function sets a C function of ours. A stand-in does what is said in Python (gmpx/patch/*.py), or is a gate,
# something that comes before the original.
#
# Invariants
#   SI1  A stand-in does what it stands for where the calling thread runs no goroutine that could park, or
#        another interpreter's code.
#   SI2  A place belongs to one function for good. Its original is kept there, unchanged, and `plain` calls it
#        whatever is set. Calls that are under way when the original is set back end as they began.

cdef extern from "rt/io/standin.h":
    ctypedef struct gm_standin:
        PyMethodDef* def_ "def"
        PyMethodDef plain
        PyObject* ours
        int gate
        int always
        int is_method
    gm_standin gm_standins[64]
    enum: GM_STANDINS
    PyCFunction gm_standin_function(int, int) noexcept
    PyMethodDef* gm_method_def(PyObject*) noexcept
    int METH_METHOD

cdef extern from *:
    """
    #define gm_self_of(f) (((PyCFunctionObject *)(f))->m_self)
    #define gm_module_of(f) (((PyCFunctionObject *)(f))->m_module)
    """
    PyObject* gm_self_of(PyObject*) noexcept
    PyObject* gm_module_of(PyObject*) noexcept
    PyTypeObject* gm_descr_type "PyDescr_TYPE"(PyObject*) noexcept


cdef int swap_function(object f, bint ours, void* to, int flags, PyCFunction* was,
                       void* with_class=NULL) except -1:
    # to: what has the convention `flags`; with_class: the same for an interpreter whose f gets its class, too.
    # was: the original, which calls of ours that wait go on to use when it is back in its place.
    cdef PyMethodDef* d = gm_method_def(<PyObject*>f)
    if d != NULL and with_class != NULL and d.ml_flags == METH_METHOD | METH_FASTCALL | METH_KEYWORDS:
        to = with_class
    elif d == NULL or d.ml_flags != flags:
        raise RuntimeError(f"gmpx does not know how this interpreter calls {f!r}")
    if was[0] == NULL:
        was[0] = d.ml_meth
    d.ml_meth = <PyCFunction>to if ours else was[0]
    return 0


# ---- stand-ins -----------------------------------------------------------------------------

cdef enum:                              # gm_standin.gate
    GATE_NONE = 0
    GATE_CLOSE = 1                      # os.close(fd)
    GATE_CLOSERANGE = 2
    GATE_DUP2 = 3
    GATE_FILE_CLOSE = 4                 # FileIO.close()
    GATE_BUFFER = 5                     # a method of a BufferedReader or BufferedWriter


cdef int standin_asks "gm_standin_asks"(gm_standin* s, PyObject* self, PyObject** args,
                                        Py_ssize_t n) except -1:
    if s.gate != GATE_NONE:
        gate_pass(s, self, args, n)
        return 0
    if s.ours == NULL:
        return 0
    if s.always:
        return PyInterpreterState_Get() == PyInterpreterState_Main()
    return polling_m() != NULL and not sys_finalizing()     # ours may need threads, which stand still then


cdef PyObject* standin_call "gm_standin_call"(gm_standin* s, PyObject* self, PyObject** args,
                                              Py_ssize_t nargs, PyObject* kwnames) except NULL:
    cdef object ours = <object>s.ours   # it may be taken away meanwhile
    if s.is_method:
        return call_method(<PyObject*>ours, self, args, nargs, kwnames)
    return vectorcall(<PyObject*>ours, args, nargs, kwnames)


cdef gm_standin* standin_of(object f) except NULL:
    cdef PyMethodDef* d = gm_method_def(<PyObject*>f)
    cdef gm_standin* s
    cdef int i
    if d == NULL:
        raise TypeError(f"no built-in function or method: {f!r}")
    for i in range(GM_STANDINS):
        s = &gm_standins[i]
        if s.def_ == d:
            return s
        if s.def_ == NULL:
            if gm_standin_function(i, d.ml_flags) == NULL:
                raise RuntimeError(f"gmpx does not know how this interpreter calls {f!r}")
            s.plain = d[0]
            s.is_method = not isinstance(f, type(len))
            s.def_ = d
            return s
    raise RuntimeError("gmpx has no stand-ins left")


cdef int standin_set(object f, object ours, int gate) except -1:
    cdef gm_standin* s = standin_of(f)
    cdef PyObject* old = s.ours
    cdef bint on = ours is not None or gate != GATE_NONE
    s.ours = own(ours) if ours is not None else NULL
    s.gate = gate
    s.def_.ml_meth = gm_standin_function(<int>(s - gm_standins), s.plain.ml_flags) if on else s.plain.ml_meth
    xdecref(old)
    return 0


@cython.final
cdef class _Builtin:
    """_Builtin(function, ours, always=False)
    A built-in function, or a method of a built-in type, whose calls go to ``ours`` while it is on.

    Args:
        function: a built-in function of a module, or a method as its type has it.
        ours: what is called instead, with the same arguments, where a goroutine could park.
        always: on foreign threads, too.

    Calling it with True sets ours, with False the original. ``plain`` is the original.

    Raises:
        RuntimeError: this interpreter calls the function in a way that gmpx does not know.
    """
    cdef object function
    cdef object ours
    cdef readonly object plain

    def __init__(self, function, ours, always=False):
        cdef gm_standin* s = standin_of(function)
        s.always = always
        self.function, self.ours = function, ours
        if s.is_method:
            self.plain = take_ref(PyDescr_NewMethod(gm_descr_type(<PyObject*>function), &s.plain))
        else:
            self.plain = take_ref(PyCFunction_NewEx(&s.plain, gm_self_of(<PyObject*>function),
                                                    gm_module_of(<PyObject*>function)))

    def __call__(self, on):
        standin_set(self.function, self.ours if on else None, GATE_NONE)
