# A built-in function whose C function is exchanged for one that calls a function of Python's: whoever has
# imported it has ours (PO1 in rt/io/polling.pxi says when ours gives way).
#
# A C function is told its module and arguments, but not which one it is. So there is a C function for each
# place and calling convention, made by macros.
#
# Invariants
#   BI1  A place belongs to one built-in function for good; its original is kept there, unchanged, and
#        `plain` calls it whatever is set.
#   BI2  Calls that are under way when the original is set back end as they began.

cdef extern from *:
    """
    enum { GM_PLACES = 24, GM_CONVENTIONS = 6 };
    static struct { PyMethodDef was; PyObject *ours; int always; } gm_places[GM_PLACES];
    static int gm_place_is_ours(int always);

    typedef PyObject *(*gm_kw)(PyObject *, PyObject *, PyObject *);
    typedef PyObject *(*gm_fastkw)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
    #define GM_WAS(i, type) ((type)(void (*)(void))gm_places[i].was.ml_meth)
    #define GM_OURS(i) gm_place_is_ours(gm_places[i].always)
    static PyObject *gm_place_none(int i, PyObject *s, PyObject *a) {
        return GM_OURS(i) ? PyObject_CallNoArgs(gm_places[i].ours) : GM_WAS(i, PyCFunction)(s, a);
    }
    static PyObject *gm_place_o(int i, PyObject *s, PyObject *a) {
        return GM_OURS(i) ? PyObject_CallOneArg(gm_places[i].ours, a) : GM_WAS(i, PyCFunction)(s, a);
    }
    static PyObject *gm_place_v(int i, PyObject *s, PyObject *a) {
        return GM_OURS(i) ? PyObject_CallObject(gm_places[i].ours, a) : GM_WAS(i, PyCFunction)(s, a);
    }
    static PyObject *gm_place_vk(int i, PyObject *s, PyObject *a, PyObject *k) {
        return GM_OURS(i) ? PyObject_Call(gm_places[i].ours, a, k) : GM_WAS(i, gm_kw)(s, a, k);
    }
    static PyObject *gm_place_f(int i, PyObject *s, PyObject *const *a, Py_ssize_t n) {
        return GM_OURS(i) ? PyObject_Vectorcall(gm_places[i].ours, a, (size_t)n, NULL)
                          : GM_WAS(i, gm_fast)(s, a, n);
    }
    static PyObject *gm_place_fk(int i, PyObject *s, PyObject *const *a, Py_ssize_t n, PyObject *k) {
        return GM_OURS(i) ? PyObject_Vectorcall(gm_places[i].ours, a, (size_t)n, k)
                          : GM_WAS(i, gm_fastkw)(s, a, n, k);
    }
    #define GM_ALL_PLACES(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) \\
        X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
    #define GM_PLACE(i) \\
        static PyObject *gm_p##i##_n(PyObject *s, PyObject *a) { return gm_place_none(i, s, a); } \\
        static PyObject *gm_p##i##_o(PyObject *s, PyObject *a) { return gm_place_o(i, s, a); } \\
        static PyObject *gm_p##i##_v(PyObject *s, PyObject *a) { return gm_place_v(i, s, a); } \\
        static PyObject *gm_p##i##_vk(PyObject *s, PyObject *a, PyObject *k) { \\
            return gm_place_vk(i, s, a, k); } \\
        static PyObject *gm_p##i##_f(PyObject *s, PyObject *const *a, Py_ssize_t n) { \\
            return gm_place_f(i, s, a, n); } \\
        static PyObject *gm_p##i##_fk(PyObject *s, PyObject *const *a, Py_ssize_t n, PyObject *k) { \\
            return gm_place_fk(i, s, a, n, k); }
    GM_ALL_PLACES(GM_PLACE)
    #define GM_C(f) (PyCFunction)(void (*)(void))f
    #define GM_PLACE_ROW(i) {GM_C(gm_p##i##_n), GM_C(gm_p##i##_o), GM_C(gm_p##i##_v), \\
        GM_C(gm_p##i##_vk), GM_C(gm_p##i##_f), GM_C(gm_p##i##_fk)},
    static const PyCFunction gm_place_table[GM_PLACES][GM_CONVENTIONS] = {GM_ALL_PLACES(GM_PLACE_ROW)};
    static const int gm_place_flags[GM_CONVENTIONS] = {METH_NOARGS, METH_O, METH_VARARGS,
        METH_VARARGS | METH_KEYWORDS, METH_FASTCALL, METH_FASTCALL | METH_KEYWORDS};

    /* The place's C function for f's convention; NULL: an unknown one. */
    static PyCFunction gm_place_of(int i, PyObject *f) {
        int c;
        for (c = 0; c < GM_CONVENTIONS; c++)
            if (gm_builtin_flags(f) == gm_place_flags[c]) return gm_place_table[i][c];
        return NULL;
    }
    /* A function of its own that calls what f's is now. */
    static PyObject *gm_place_keep(int i, PyObject *f, PyObject *ours, int always) {
        PyCFunctionObject *c = (PyCFunctionObject *)f;
        gm_places[i].was = *c->m_ml;
        gm_places[i].always = always;
        Py_INCREF(ours);
        gm_places[i].ours = ours;
        return PyCFunction_NewEx(&gm_places[i].was, c->m_self, c->m_module);
    }
    static PyCFunction gm_place_was(int i) { return gm_places[i].was.ml_meth; }
    """
    enum: GM_PLACES
    PyCFunction gm_place_of(int, PyObject*) noexcept
    PyObject* gm_place_keep(int, PyObject*, PyObject*, bint) except NULL
    PyCFunction gm_place_was(int) noexcept

cdef int places_used = 0


cdef bint place_is_ours "gm_place_is_ours"(bint always) noexcept:
    if always:
        return PyInterpreterState_Get() == PyInterpreterState_Main()
    return polling_m() != NULL and not sys_finalizing()     # ours may need threads, which stand still then


@cython.final
cdef class _Builtin:
    """_Builtin(function, ours, always=False)
    A built-in function whose calls go to ``ours`` while it is on.

    Args:
        function: a built-in function of a module.
        ours: what is called instead, with the same arguments, where a goroutine could park.
        always: on foreign threads, too.

    Calling it with True sets ours, with False the original. ``plain`` is the original.

    Raises:
        RuntimeError: this interpreter calls the function in a way that gmpx does not know.
    """
    cdef int place
    cdef object function
    cdef readonly object plain

    def __init__(self, function, ours, always=False):
        global places_used
        if self.function is not None or places_used == GM_PLACES:
            raise RuntimeError("gmpx has no more places for built-in functions")
        if gm_place_of(0, <PyObject*>function) == NULL:
            raise RuntimeError(f"gmpx does not know how this interpreter calls {function!r}")
        self.place = places_used
        places_used += 1
        self.plain = take_ref(gm_place_keep(self.place, <PyObject*>function, <PyObject*>ours, always))
        self.function = function

    def __call__(self, on):
        gm_builtin_swap(<PyObject*>self.function,
                        gm_place_of(self.place, <PyObject*>self.function) if on
                        else gm_place_was(self.place))
