# cython: language_level=3, binding=False
"""The floors of floors.py: a raw greenlet switch from C, methods that do nothing else."""

from time import perf_counter_ns

from cpython.ref cimport PyObject

cdef extern from "greenlet.h":
    ctypedef struct PyGreenlet:
        pass
    void PyGreenlet_Import()
    PyObject* _PyGreenlet_API "(PyObject *)_PyGreenlet_API"
    object PyGreenlet_New(PyObject* run, PyGreenlet* parent)
    object PyGreenlet_Switch(PyGreenlet* target, PyObject* args, PyObject* kwargs)

PyGreenlet_Import()
if _PyGreenlet_API == NULL:
    raise ImportError("greenlet does not offer its C API")

cdef object first, second
cdef Py_ssize_t rounds


cdef class Empty:
    def method(self):
        pass

    def go(self, function):
        function()

    def map(self, function, values):
        return [function(value) for value in values]

    def __enter__(self):
        pass

    def __exit__(self, *exc):
        pass


def first_run():
    cdef Py_ssize_t i
    for i in range(rounds):
        PyGreenlet_Switch(<PyGreenlet*>second, NULL, NULL)


def second_run():
    cdef Py_ssize_t i
    for i in range(rounds):
        PyGreenlet_Switch(<PyGreenlet*>first, NULL, NULL)


def switch_in_turn(Py_ssize_t n):
    """Returns the nanoseconds that two greenlets take to switch to each other n times each."""
    global first, second, rounds
    rounds = n
    first = PyGreenlet_New(<PyObject*>first_callable, NULL)
    second = PyGreenlet_New(<PyObject*>second_callable, NULL)
    start = perf_counter_ns()
    PyGreenlet_Switch(<PyGreenlet*>first, NULL, NULL)
    return perf_counter_ns() - start


cdef object first_callable = first_run, second_callable = second_run
