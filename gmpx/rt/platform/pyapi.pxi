# CPython's and greenlet's C API over raw pointers: what hot code calls without counting.

from cpython.pystate cimport PyThreadState

cdef extern from *:
    ctypedef int (*visitproc)(PyObject*, void*) noexcept
    ctypedef struct PyTypeObject "PyTypeObject":
        PyObject* tp_dict
        void (*tp_dealloc)(PyObject*) noexcept
        void (*tp_free)(void*) noexcept
        int (*tp_traverse)(PyObject*, visitproc, void*) noexcept

cdef extern from "rt/platform/gil.h" nogil:
    enum: GM_GIL_FREE
    enum: GM_GIL_HELD
    enum: GM_GIL_OTHER
    enum: GM_GIL_WANTED
    bint gm_gil_is_free() nogil
    bint gm_gil_sees() nogil
    bint gm_gil_is_wanted() nogil
    int64_t gm_gil_interval() nogil
    void gm_gil_init()
    int gm_gil_sample(void*)
    int gm_waits_for_gil(int64_t)
    bint gm_has_gil "PyGILState_Check"()

cdef extern from "pycompat.h":
    void gm_reset_recursion() noexcept
    void gm_new_reference(PyObject*) noexcept
    void gm_drop_reference(PyObject*) noexcept
    void* gm_greenlet_token(void* ts) noexcept
    bint gm_has_weakrefs(PyObject*) noexcept
    PyObject* gm_new_untracked(PyTypeObject*) noexcept
    PyObject* gm_function_qualname(PyObject*) noexcept
    PyObject* gm_context_current(void* ts) noexcept
    PyObject* gm_context_vars(PyObject*) noexcept
    PyObject* gm_context_weakrefs(PyObject*) noexcept
    bint gm_context_untouched(PyObject*, PyObject*) noexcept

cdef extern from "Python.h":
    ctypedef PyObject* (*PyCFunctionFastWithKeywords)(
        PyObject*, PyObject* const*, Py_ssize_t, PyObject*) noexcept
    ctypedef PyObject* (*PyCFunction)(PyObject*, PyObject*) noexcept
    ctypedef struct PyMethodDef:
        const char* ml_name
        PyCFunction ml_meth
        int ml_flags
        const char* ml_doc
    int METH_FASTCALL
    int METH_KEYWORDS
    int METH_NOARGS
    int METH_VARARGS
    PyObject* PyCFunction_NewEx(PyMethodDef*, PyObject*, PyObject*)
    PyObject* PyDescr_NewMethod(PyTypeObject*, PyMethodDef*) except NULL
    void PyType_Modified(PyTypeObject*)
    int PyDict_SetItemString(PyObject*, const char*, PyObject*) except -1

    void incref "Py_INCREF"(PyObject*) noexcept
    void decref "Py_DECREF"(PyObject*) noexcept
    void xincref "Py_XINCREF"(PyObject*) noexcept
    void xdecref "Py_XDECREF"(PyObject*) noexcept
    Py_ssize_t refcnt "Py_REFCNT"(PyObject*) noexcept
    bint PyCallable_Check(PyObject*) noexcept
    bint PyObject_IS_GC(PyObject*) noexcept
    bint PyUnicode_CheckExact(PyObject*) noexcept
    bint PyTuple_Check(PyObject*) noexcept
    PyObject* PyUnicode_FromObject(PyObject*) except NULL       # of a str: exactly a str
    PyObject* PyLong_FromSsize_t(Py_ssize_t) noexcept
    void PyObject_GC_Track(PyObject*) noexcept
    void PyObject_GC_UnTrack(PyObject*) noexcept
    bint PyObject_GC_IsTracked(PyObject*) noexcept

    # NULL with an exception set is handled by the callers themselves
    PyObject* call "PyObject_Call"(PyObject*, PyObject*, PyObject*) noexcept
    PyObject* call_noargs "PyObject_CallNoArgs"(PyObject*) noexcept
    PyObject* vectorcall "PyObject_Vectorcall"(PyObject*, PyObject**, size_t, PyObject*) except NULL
    PyObject* tuple_new "PyTuple_New"(Py_ssize_t) noexcept
    void tuple_set "PyTuple_SET_ITEM"(PyObject*, Py_ssize_t, PyObject*) noexcept
    PyObject* tuple_get "PyTuple_GET_ITEM"(PyObject*, Py_ssize_t) noexcept
    Py_ssize_t tuple_size "PyTuple_GET_SIZE"(PyObject*) noexcept
    PyObject* list_get "PyList_GET_ITEM"(PyObject*, Py_ssize_t) noexcept
    void list_set "PyList_SET_ITEM"(PyObject*, Py_ssize_t, PyObject*) noexcept
    PyObject* dict_new "PyDict_New"() noexcept
    int dict_set "PyDict_SetItem"(PyObject*, PyObject*, PyObject*) noexcept
    void* PyMem_Calloc(size_t, size_t) noexcept
    void PyMem_Free(void*) noexcept
    void PyErr_Clear() noexcept
    PyObject* PyErr_Occurred() noexcept
    void PyErr_Fetch(PyObject**, PyObject**, PyObject**) noexcept
    void PyErr_Restore(PyObject*, PyObject*, PyObject*) noexcept
    void PyErr_NormalizeException(PyObject**, PyObject**, PyObject**) noexcept
    int PyException_SetTraceback(PyObject*, PyObject*) noexcept
    void PyObject_ClearWeakRefs(PyObject*) noexcept
    PyTypeObject* Py_TYPE(PyObject*) noexcept
    void PyErr_SetObject(PyObject*, PyObject*) noexcept
    PyObject* PyErr_NoMemory() noexcept
    void PyErr_SetNone(PyObject*) noexcept
    void PyErr_WriteUnraisable(PyObject*) noexcept
    int PyErr_CheckSignals() noexcept
    int PyThreadState_SetAsyncExc(unsigned long, PyObject*) noexcept
    int Py_AddPendingCall(int (*)(void*) except -1, void*) noexcept
    void PyErr_SetString(PyObject*, const char*) noexcept
    PyObject* PyExc_TypeError
    const char* PyUnicode_AsUTF8(PyObject*) except NULL
    PyObject* PyExc_OSError
    PyObject* PyErr_SetFromErrno(PyObject*) noexcept
    PyObject* Py_True
    Py_ssize_t PY_SSIZE_T_MAX
    PyObject* Py_False
    PyObject* context_copy "PyContext_Copy"(PyObject*) noexcept
    PyObject* context_copy_current "PyContext_CopyCurrent"() noexcept
    int context_enter "PyContext_Enter"(PyObject*) noexcept
    int context_exit "PyContext_Exit"(PyObject*) noexcept
    bint PyContext_CheckExact(PyObject*) noexcept
    PyThreadState* PyThreadState_Get() noexcept
    PyThreadState* PyEval_SaveThread() noexcept nogil
    void PyEval_RestoreThread(PyThreadState*) noexcept nogil
    PyObject* PyThreadState_GetDict() noexcept
    PyThreadState* PyThreadState_New(void*) noexcept nogil
    void PyThreadState_Clear(PyThreadState*) noexcept nogil     # with the GIL
    void PyThreadState_DeleteCurrent() noexcept nogil           # with the GIL, which it gives up
    void* PyInterpreterState_Get() noexcept
    void* PyInterpreterState_Main() noexcept nogil

cdef extern from "pythread.h":
    unsigned long PyThread_start_new_thread(void (*)(void*) noexcept nogil, void*) noexcept nogil
    unsigned long PyThread_get_thread_ident() noexcept nogil

cdef extern from *:
    """
    #include <greenlet/greenlet.h>
    static inline int gm_greenlet_import(void) {
        PyGreenlet_Import();
        return _PyGreenlet_API == NULL ? -1 : 0;
    }
    /* As PyGreenlet_New, which fills a dict of keywords: twice as dear. */
    static inline PyObject *gm_greenlet_new(PyObject *run, PyObject *parent) {
        PyObject *g = NULL, *args = PyTuple_Pack(parent != NULL ? 2 : 1, run, parent);
        if (args != NULL) {
            g = PyObject_Call((PyObject *)&PyGreenlet_Type, args, NULL);
            Py_DECREF(args);
        }
        return g;
    }
    static inline PyObject *gm_greenlet_current(void) {
        return (PyObject *)PyGreenlet_GetCurrent();
    }
    static inline PyObject *gm_greenlet_switch(PyObject *g, PyObject *args) {
        return PyGreenlet_Switch((PyGreenlet *)g, args, NULL);
    }
    static inline PyObject *gm_greenlet_throw(PyObject *g, PyObject *type, PyObject *value) {
        return PyGreenlet_Throw((PyGreenlet *)g, type, value, NULL);
    }
    static inline PyObject *gm_greenlet_parent(PyObject *g) {
        return (PyObject *)PyGreenlet_GetParent((PyGreenlet *)g);
    }
    """
    int gm_greenlet_import() except -1
    PyObject* greenlet_new "gm_greenlet_new"(PyObject*, PyObject*) noexcept
    PyObject* greenlet_current "gm_greenlet_current"() noexcept
    PyObject* greenlet_switch "gm_greenlet_switch"(PyObject*, PyObject*) noexcept
    PyObject* greenlet_throw "gm_greenlet_throw"(PyObject*, PyObject*, PyObject*) noexcept
    PyObject* greenlet_parent "gm_greenlet_parent"(PyObject*) noexcept
