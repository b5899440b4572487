# Semaphore: a weighted counting semaphore, first come first served (golang.org/x/sync/semaphore).
#
# Invariants (under the guard)
#   B1  value >= 0: what is free. Who wakes a waiter has taken its share off before (handed over).
#   B2  While a live waiter stands at the head of the queue nobody else takes, however little it
#       wants: a large request does not starve.
#   B3  Whenever value grows or the head leaves, the queue is served until the head wants more
#       than there is.
#
# A waiter's sudog.elem holds the number that it wants, not an object.


cdef inline bint sem_try(Semaphore sem, Py_ssize_t n) noexcept:
    if gm_likely(sem.value >= n and not waitq_live(&sem.waiters)):
        sem.value -= n
        return True
    return False


cdef void sem_serve(gm_m* m, Semaphore sem) noexcept:
    # B3
    cdef gm_sudog* s
    while waitq_live(&sem.waiters) and <Py_ssize_t>sem.waiters.first.elem <= sem.value:
        s = waitq_get(&sem.waiters)
        if s == NULL:
            return
        sem.value -= <Py_ssize_t>s.elem
        sudog_ready(m, s, False)


cdef int sem_acquire(Semaphore sem, Py_ssize_t n, int64_t deadline) except -1:
    cdef gm_m* m = getm()                   # Y1
    cdef gm_g* g
    cdef gm_sudog* s
    cdef int r
    if sem_try(sem, n):
        return 0
    if deadline == TRY_ONCE:
        raise TimeoutError("Semaphore.acquire timed out")
    g = getg(m)
    s = sudog_arm(g, &sem.waiters, WHY_SEMAPHORE)
    s.elem = <PyObject*>n
    r = gopark(m, g, deadline)
    s.elem = NULL
    if r == WAKE_READY:
        return 0
    waitq_remove(&sem.waiters, s)
    sem_serve(m, sem)                       # B3: it may have been the head
    return park_raise(m, r, "Semaphore.acquire")


cdef int sem_release(Semaphore sem, Py_ssize_t n) except -1:
    cdef gm_m* m = getm()
    if n > PY_SSIZE_T_MAX - sem.value:
        raise OverflowError("semaphore value too large")
    sem.value += n
    if sem.waiters.first != NULL:
        sem_serve(m, sem)
    return 0


cdef extern from "Python.h":
    Py_ssize_t long_as_ssize "PyLong_AsSsize_t"(PyObject*) noexcept


cdef Py_ssize_t index_of(object n, str what) except? -1:
    # An int, or what stands for one.
    cdef Py_ssize_t k
    if type(n) is int:
        k = long_as_ssize(<PyObject*>n)
        if gm_likely(k != -1 or PyErr_Occurred() == NULL):
            return k
        PyErr_Clear()
        raise OverflowError(f"{what} is out of range: {n}")
    try:
        return n
    except TypeError:
        raise TypeError(f"{what} must be an int, not {type(n).__name__}") from None


cdef Py_ssize_t count_of(object n, Py_ssize_t least, str what) except -1:
    # least: 0 or more.
    cdef Py_ssize_t k
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"{what} must be an int, not {type(n).__name__}")
    k = long_as_ssize(<PyObject*>n)
    if gm_unlikely(k == -1 and PyErr_Occurred() != NULL):
        PyErr_Clear()
        if n > 0:
            raise ValueError(f"{what} must be at most {PY_SSIZE_T_MAX}: {n}")
    if k < least:
        raise ValueError(f"{what} must be at least {least}: {n}")
    return k


@cython.final
cdef class Semaphore:
    """Semaphore(n=1)
    Hands out up to n units (golang.org/x/sync/semaphore). Parks goroutines, not threads.

    First come, first served: one that wants many is not overtaken by those that want few.
    ``with sem:`` holds one unit.

    Args:
        n: units at the start, >= 0.

    Raises:
        ValueError: negative. TypeError: not an int.
    """

    def __cinit__(self, n=1):
        self.value = count_of(n, 0, "semaphore value")

    def acquire(self, n=1, timeout=None):
        """acquire(n=1, timeout=None)
        Takes n units, waiting until they are there. Returns True.

        Args:
            n: how many, >= 1.
            timeout: seconds; None waits for ever, 0 tries once.

        Raises:
            TimeoutError: not taken in time.
            ValueError: n is below 1.

        Blocks the goroutine; on a foreign thread, the thread.
        """
        sem_acquire(self, count_of(n, 1, "n"), deadline_of(timeout))
        return True

    def try_acquire(self, n=1):
        """try_acquire(n=1)
        Takes n units if they are there and nobody waits. Never blocks. Returns whether it did."""
        return sem_try(self, count_of(n, 1, "n"))

    def release(self, n=1):
        """release(n=1)
        Gives n units, >= 1, and lets those on whom it is the turn have them.

        Raises:
            ValueError: n is below 1.
        """
        sem_release(self, count_of(n, 1, "n"))

    @property
    def free(self):
        """How many units are there to be taken."""
        return self.value

    def __enter__(self):
        sem_acquire(self, 1, NO_DEADLINE)
        return True

    def __exit__(self, *exc):
        sem_release(self, 1)

    def __repr__(self):
        return f"<Semaphore free={self.value}>"
