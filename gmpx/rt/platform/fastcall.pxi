# Methods and functions made by hand for CPython's fastcall convention, where Cython's own parsing
# of arguments would cost as much as the work (go, send, recv).

cdef PyObject* own(object o):
    Py_INCREF(o)
    return <PyObject*>o


cdef int add_method(object cls, PyMethodDef* d, const char* name, PyCFunction f,
                    const char* doc) except -1:
    # d must live for ever.
    cdef PyObject* method
    d.ml_name = name
    d.ml_meth = f
    d.ml_flags = METH_FASTCALL | METH_KEYWORDS
    d.ml_doc = doc
    method = PyDescr_NewMethod(<PyTypeObject*>cls, d)
    PyDict_SetItemString((<PyTypeObject*>cls).tp_dict, name, method)
    decref(method)
    PyType_Modified(<PyTypeObject*>cls)
    return 0


cdef PyObject* call_method(PyObject* f, PyObject* self, PyObject** args, Py_ssize_t nargs,
                           PyObject* kwnames) except NULL:
    # f(self, *args, **kwargs)
    cdef PyObject* stack[5]
    cdef Py_ssize_t n = nargs + (tuple_size(kwnames) if kwnames != NULL else 0)
    cdef Py_ssize_t i
    if n > 4:
        raise TypeError(f"too many arguments: {n}")
    stack[0] = self
    for i in range(n):
        stack[i + 1] = args[i]
    return vectorcall(f, stack, nargs + 1, kwnames)
