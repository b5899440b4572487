# RWMutex (Go's sync.RWMutex): many readers or one writer.
#
# Invariants (under the guard)
#   A1  writing excludes readers > 0. Both are changed for a waiter by the one that wakes it
#       (handed over), never by the waiter itself.
#   A2  A writer that waits keeps new readers out; the readers that wait when a writer unlocks all
#       go before the next writer. So neither starves.
#   A3  A writer that gives up its wait lets in the readers that waited behind it alone.


cdef int rw_lock(RWMutex rw, int64_t deadline) except -1:
    cdef gm_m* m = getm()                               # Y1
    cdef gm_g* g
    if not rw.writing and rw.readers == 0:
        rw.writing = True
        return 0
    if deadline == TRY_ONCE:
        raise TimeoutError("RWMutex.lock timed out")
    g = getg(m)
    try:
        wait_on(m, g, &rw.wq, WHY_RW_LOCK, deadline, "RWMutex.lock")
    except:
        if not rw.writing and not waitq_live(&rw.wq):
            rw_admit(m, rw)                             # A3
        raise
    return 0


cdef int rw_rlock(RWMutex rw, int64_t deadline) except -1:
    cdef gm_m* m = getm()                               # Y1
    if not rw.writing and not waitq_live(&rw.wq):       # A2
        rw.readers += 1
        return 0
    if deadline == TRY_ONCE:
        raise TimeoutError("RWMutex.rlock timed out")
    return wait_on(m, getg(m), &rw.rq, WHY_RW_RLOCK, deadline, "RWMutex.rlock")


cdef bint rw_admit(gm_m* m, RWMutex rw) noexcept:
    # Lets all waiting readers in. Whether there were any.
    cdef gm_sudog* s
    cdef bint some = False
    while True:
        s = waitq_get(&rw.rq)
        if s == NULL:
            return some
        rw.readers += 1
        some = True
        sudog_ready(m, s, False)


cdef void rw_to_writer(gm_m* m, RWMutex rw) noexcept:
    # Nobody holds it: the first waiting writer does from here on, if there is one.
    cdef gm_sudog* s = waitq_get(&rw.wq)
    if s == NULL:
        return
    rw.writing = True
    sudog_ready(m, s, False)


cdef int rw_unlock(RWMutex rw) except -1:
    cdef gm_m* m = getm()
    if not rw.writing:
        raise RuntimeError(f"unlock of unlocked {rw!r}")
    rw.writing = False
    if not rw_admit(m, rw):
        rw_to_writer(m, rw)
    return 0


cdef int rw_runlock(RWMutex rw) except -1:
    cdef gm_m* m = getm()
    if rw.readers == 0:
        raise RuntimeError(f"runlock of {rw!r}, which no reader holds")
    rw.readers -= 1
    if rw.readers == 0:
        rw_to_writer(m, rw)
    return 0


@cython.final
cdef class RWMutex:
    """RWMutex()
    A lock that many readers or one writer hold (Go's sync.RWMutex). Parks goroutines, not threads.

    ``with rw:`` writes, ``with rw.reader():`` reads. A writer that waits keeps new readers out,
    so a goroutine must not read-lock twice; the readers that wait when a writer unlocks go
    before the next writer. It has no owner: any goroutine may unlock it.
    """

    def __init__(self):
        pass                                # refuses arguments

    def lock(self, timeout=None):
        """lock(timeout=None)
        Takes it for writing: waits until no one holds it. Returns True.

        Args:
            timeout: seconds; None waits for ever, 0 tries once.

        Raises:
            TimeoutError: not taken in time.

        Blocks the goroutine; on a foreign thread, the thread.
        """
        rw_lock(self, deadline_of(timeout))
        return True

    def unlock(self):
        """unlock()
        Gives up what ``lock`` took.

        Raises:
            RuntimeError: no writer holds it.
        """
        rw_unlock(self)

    def rlock(self, timeout=None):
        """rlock(timeout=None)
        Takes it for reading: waits while a writer holds it or waits for it. Returns True.

        Args, Raises, Blocks: as ``lock``.
        """
        rw_rlock(self, deadline_of(timeout))
        return True

    def runlock(self):
        """runlock()
        Gives up what one ``rlock`` took.

        Raises:
            RuntimeError: no reader holds it.
        """
        rw_runlock(self)

    def try_lock(self):
        """try_lock()
        Takes it for writing if no one holds it. Never blocks. Returns whether it was taken."""
        if self.writing or self.readers > 0:
            return False
        self.writing = True
        return True

    def try_rlock(self):
        """try_rlock()
        Takes it for reading if no writer holds it or waits. Never blocks. Returns whether it was
        taken."""
        if self.writing or waitq_live(&self.wq):
            return False
        self.readers += 1
        return True

    def locked(self):
        """locked()
        True while a writer or a reader holds it."""
        return self.writing or self.readers > 0

    def reader(self):
        """reader()
        A context manager that holds it for reading."""
        cdef RWReader r = RWReader.__new__(RWReader)
        r.rw = self
        return r

    def __enter__(self):
        rw_lock(self, NO_DEADLINE)
        return True

    def __exit__(self, *exc):
        rw_unlock(self)

    def __repr__(self):
        if self.writing:
            return "<RWMutex writing>"
        return f"<RWMutex readers={self.readers}>"


@cython.final
cdef class RWReader:
    """What RWMutex.reader() returns. May be used again, and by several goroutines at once."""

    def __enter__(self):
        rw_rlock(self.rw, NO_DEADLINE)
        return True

    def __exit__(self, *exc):
        rw_runlock(self.rw)
