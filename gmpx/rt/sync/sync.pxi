# WaitGroup and Mutex (Go's sync package), and the one wait that both and join share.
#
# Invariants
#   Y1  A waiter's sudog is on the queue from the look at the state to its wake-up; state and
#       queue change together under the object's guard, so no wake-up falls between. getm() and
#       deadline_of come before that look: both may run Python code.
#   Y2  Mutex: held stays True while it is handed from unlock to the first waiter: FIFO, nobody
#       barges in. A waiter that gave up (time-out, cancel) has won its own park word and is
#       never handed the lock.


cdef int wait_on(gm_m* m, gm_g* g, gm_waitq* q, int why, int64_t deadline,
                 str what) except -1:
    # Parks g on q until a waker takes it off. Raises TimeoutError, Cancelled ...
    cdef gm_sudog* s = sudog_arm(g, q, why)
    cdef int r
    r = gopark(m, g, deadline)
    if gm_unlikely(r != WAKE_READY):
        waitq_remove(q, s)
        return park_raise(m, r, what)
    return 0


# ---- WaitGroup -----------------------------------------------------------------------------

cdef inline void wg_done(gm_m* m, WaitGroup wg) noexcept:
    gm_mu_lock(&wg.mu)
    if gm_unlikely(wg.n <= 0):
        gm_mu_unlock(&wg.mu)
        wg_negative(wg)
        return
    wg.n -= 1
    if gm_unlikely(wg.n == 0):
        wg_release(m, wg)
    gm_mu_unlock(&wg.mu)


cdef void wg_negative(WaitGroup wg) noexcept:
    # A goroutine of `go` has ended, and somebody has counted down for it already.
    unraisable(ValueError(f"negative WaitGroup counter: done() was called too often on {wg!r}"))


cdef void wg_release(gm_m* m, WaitGroup wg) noexcept:
    waitq_ready_all(m, &wg.waiters)


cdef void wg_failed(gm_m* m, WaitGroup wg, PyObject* handle) noexcept:
    if wg.fail_fast and wg.first_failed is None:
        wg.first_failed = <object>handle
        wg_release(m, wg)
    elif wg.is_group:
        group_failed(m, <GroupCore>wg, handle)


cdef class WaitGroup:
    """WaitGroup()
    Waits for a number of goroutines to end (Go's sync.WaitGroup).

    ``go`` counts up, spawns, and counts down when the goroutine has ended, however it ends.
    ``add`` and ``done`` count by hand. May be used again after a wait.

    >>> wg = WaitGroup()
    >>> found = []
    >>> for i in range(3):
    ...     _ = wg.go(found.append, i)
    >>> wg.wait()
    >>> sorted(found)
    [0, 1, 2]
    """

    def __init__(self):
        pass                                # refuses arguments

    def add(self, n=1):
        """add(n=1)
        Adds n, which may be negative, to the counter; at zero the waiters go on.

        Raises:
            ValueError: the counter would become negative; it is unchanged. TypeError: n is not an int.
            OverflowError: too large.
        """
        cdef gm_m* m = getm()
        cdef Py_ssize_t k = index_of(n, "n")
        if k < -self.n:
            raise ValueError(f"negative WaitGroup counter: {self.n} + {n}")
        if k > PY_SSIZE_T_MAX - self.n:
            raise OverflowError(f"WaitGroup counter too large: {self.n} + {n}")
        self.n += k
        if self.n == 0:
            wg_release(m, self)

    def done(self):
        """done()
        Counts down by one.

        Raises:
            ValueError: the counter is zero.
        """
        if self.n <= 0:
            raise ValueError("negative WaitGroup counter")
        wg_done(getm(), self)

    def wait(self, timeout=None):
        """wait(timeout=None)
        Waits until the counter is zero.

        Args:
            timeout: seconds; None waits for ever, 0 looks once.

        Raises:
            TimeoutError: the counter did not become zero in time.

        Blocks the goroutine; on a foreign thread, the thread.
        """
        cdef int64_t deadline = deadline_of(timeout)
        cdef gm_m* m = getm()               # Y1
        if self.n == 0 or self.first_failed is not None:
            return None
        if deadline == TRY_ONCE:
            raise TimeoutError("WaitGroup.wait timed out")
        wait_on(m, getg(m), &self.waiters, WHY_WAIT_GROUP, deadline, "WaitGroup.wait")

    def __repr__(self):
        return f"<WaitGroup count={self.n}>"


cdef class FailFast(WaitGroup):
    # For map: wait also returns when a goroutine of `go` has raised, which `failed` then names.

    def __cinit__(self):
        self.fail_fast = True

    @property
    def failed(self):
        return self.first_failed

    @staticmethod
    def check_timeout(timeout, what="timeout"):
        return None if timeout is None else seconds_of(timeout, what)


# ---- Mutex ---------------------------------------------------------------------------------

@cython.final
cdef class Mutex:
    """Mutex()
    A mutual exclusion lock that parks goroutines, not threads (Go's sync.Mutex).

    Not re-entrant and without an owner: any goroutine may unlock it. Waiters get it in the
    order of their coming. ``acquire`` and ``release`` are threading.Lock's names for ``lock``
    and ``unlock``; it is a context manager.
    """

    def __init__(self):
        pass                                # refuses arguments

    def lock(self, timeout=None):
        """lock(timeout=None)
        Takes the lock, waiting for it if need be. Returns True.

        Args:
            timeout: seconds; None waits for ever, 0 tries once.

        Raises:
            TimeoutError: not taken in time.

        Blocks the goroutine; on a foreign thread, the thread.
        """
        if timeout is None:
            return mutex_lock(self, NO_DEADLINE)
        return mutex_lock(self, deadline_of(timeout))

    def acquire(self, timeout=None):
        """acquire(timeout=None)
        The same as ``lock``."""
        return mutex_lock(self, deadline_of(timeout))

    def unlock(self):
        """unlock()
        Gives the lock up, to the first waiter if there is one.

        Raises:
            RuntimeError: it is not locked.
        """
        mutex_unlock(self)

    def release(self):
        """release()
        The same as ``unlock``."""
        mutex_unlock(self)

    def try_lock(self):
        """try_lock()
        Takes the lock if it is free. Never blocks. Returns whether it was taken."""
        if self.held:
            return False
        self.held = True
        return True

    def locked(self):
        """locked()
        True while someone holds it."""
        return self.held

    def __enter__(self):
        mutex_lock(self, NO_DEADLINE)
        return True

    def __exit__(self, *exc):
        mutex_unlock(self)

    def __repr__(self):
        return f"<Mutex {'locked' if self.held else 'unlocked'}>"


cdef bint mutex_lock(Mutex self, int64_t deadline) except -1:
    cdef gm_m* m
    cdef gm_g* g
    cdef gm_sudog* s
    if not self.held:
        self.held = True
        return True
    if deadline == TRY_ONCE:
        raise TimeoutError("Mutex.lock timed out")
    m = getm()
    g = getg(m)
    if not self.held:                       # Y1
        self.held = True
        return True
    wait_on(m, g, &self.waiters, WHY_MUTEX, deadline, "Mutex.lock")
    return True                             # handed over: held is still True (Y2)


cdef int mutex_unlock(Mutex self) except -1:
    cdef gm_m* m = getm()                   # may raise: before anything is taken
    cdef gm_sudog* s
    if not self.held:
        raise RuntimeError(f"unlock of unlocked {self!r}")
    if not waitq_ready(m, &self.waiters):
        self.held = False
    return 0
