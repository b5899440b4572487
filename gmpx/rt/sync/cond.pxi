# Cond, Once, Event: waiting for something that others say has happened (Go's sync, threading).
#
# Invariants (under the guard)
#   D1  Cond.wait is on the queue before it unlocks the mutex, so a signal that follows finds it.
#       A signal wakes a waiter whose park it has won; one that gives up takes no signal with it.
#   D2  Cond.wait returns or raises with the mutex held: nothing interrupts the locking again.
#       What comes meanwhile is raised afterwards, the strongest of it (as a Group does). Only
#       DeadlockError and a second Ctrl-C end that: nobody would ever unlock it.
#   D4  Between arming and gopark nothing can fail.
#   D3  Event.set and the end of Once.do change the state and wake all waiters in one step.


# ---- Cond ----------------------------------------------------------------------------------

cdef int cond_lock(object lock) except -1:
    cdef gm_m* m
    if type(lock) is Mutex:
        mutex_lock(<Mutex>lock, NO_DEADLINE)
    elif type(lock) is RWMutex:
        rw_lock(<RWMutex>lock, NO_DEADLINE)
    else:                                   # CPython's, under the patch
        m = getm()
        lock_wait(TK_RLOCK if isinstance(lock, rlock_type) else TK_LOCK, <PyObject*>lock, m, getg(m), NO_DEADLINE)
    return 0


cdef int cond_unlock(object lock) except -1:
    if type(lock) is Mutex:
        return mutex_unlock(<Mutex>lock)
    return rw_unlock(<RWMutex>lock)


cdef int cond_check(object lock) except -1:
    # D4
    if not ((<Mutex>lock).held if type(lock) is Mutex else (<RWMutex>lock).writing):
        raise RuntimeError("Cond.wait: the mutex is not locked")
    return 0


cdef int cond_lock_again(gm_g* g, object lock) except -1:
    # D2. A cancel waits (GF_SHIELD); what a signal handler raises in main is raised at the end.
    cdef uint32_t before = g.flags & GF_SHIELD
    held = None
    g.flags |= GF_SHIELD
    while True:
        try:
            cond_lock(lock)
            break
        except BaseException as e:
            if isinstance(e, DeadlockError) or (
                    isinstance(e, KeyboardInterrupt) and isinstance(held, KeyboardInterrupt)):
                g.flags = (g.flags & ~<uint32_t>GF_SHIELD) | before
                raise
            held = stronger(held, e)
    g.flags = (g.flags & ~<uint32_t>GF_SHIELD) | before
    if held is not None:
        raise held
    return 0


cpdef object stronger(object a, object b):
    """stronger(a, b)
    Of two exceptions that have come from outside while something could not be left, the one that
    leaves it: KeyboardInterrupt and SystemExit before Cancelled, that before a time-out's
    interruption. The earlier of two alike. None is weaker than any."""
    return b if strength(b) > strength(a) else a


cdef int strength(object e) noexcept:
    if e is None:
        return 0
    if isinstance(e, Interrupted):
        return 1
    if isinstance(e, Cancelled):
        return 2
    return 3


cdef int cond_wait(Cond self, object timeout) except -1:
    cdef int64_t deadline = deadline_of(timeout)
    cdef gm_m* m = getm()
    cdef gm_g* g = getg(m)
    cdef gm_sudog* s
    cdef int r
    cond_check(self.lock)
    if deadline == TRY_ONCE:
        raise TimeoutError("Cond.wait timed out")
    s = sudog_arm(g, &self.waiters, WHY_COND)      # D1
    cond_unlock(self.lock)
    r = gopark(m, g, deadline)
    waitq_remove(&self.waiters, s)
    first = None
    try:
        park_raise(m, r, "Cond.wait")
    except BaseException as e:
        first = e
    try:
        cond_lock_again(g, self.lock)
    except BaseException as e:
        if isinstance(e, DeadlockError) or first is None or stronger(first, e) is e:
            raise
    if first is not None:
        raise first
    return 0


@cython.final
cdef class Cond:
    """Cond(mutex=None)
    A condition variable (Go's sync.Cond). ``with cond:`` holds its mutex.

    Args:
        mutex: the Mutex, or RWMutex (its writer's side), that guards the condition; None makes
            a Mutex. Afterwards ``mutex`` is it.

    Raises:
        TypeError: something else, such as a threading.Lock.

    >>> cond, queue = Cond(), []
    >>> def consume():
    ...     with cond:
    ...         cond.wait_for(lambda: queue)
    ...         return queue.pop()
    >>> g = go(consume)
    >>> with cond:
    ...     queue.append("item")
    ...     cond.signal()
    >>> g.result()
    'item'
    """

    def __cinit__(self, mutex=None):
        if mutex is None:
            mutex = Mutex()
        elif type(mutex) is not Mutex and type(mutex) is not RWMutex:
            raise TypeError(f"Cond needs a gmpx Mutex or RWMutex, not {type(mutex).__name__}")
        self.lock = mutex

    @property
    def mutex(self):
        """The Mutex or RWMutex that guards the condition."""
        return self.lock

    def wait(self, timeout=None):
        """wait(timeout=None)
        Unlocks the mutex, waits for a signal, locks it again. Returns True.

        The mutex is held again, however this ends, but for DeadlockError and a second Ctrl-C while
        it waits for the mutex itself. As with any condition variable, look at the
        condition afterwards: another goroutine may have been there first.

        Args:
            timeout: seconds until the signal; None waits for ever, 0 raises at once. Locking
                again may take longer.

        Raises:
            TimeoutError: no signal in time.
            RuntimeError: the mutex is not locked.

        Blocks the goroutine; on a foreign thread, the thread.
        """
        cond_wait(self, timeout)
        return True

    def wait_for(self, predicate, timeout=None):
        """wait_for(predicate, timeout=None)
        Waits until ``predicate()``, called with the mutex held, is true; returns its value.

        Args:
            timeout: seconds in all; None waits for ever, 0 looks once.

        Raises:
            TimeoutError: it was not true in time. What predicate raises.

        Blocks, other errors: as ``wait``.
        """
        cdef int64_t deadline = deadline_of(timeout)
        cdef int64_t left
        if not self.lock.locked():
            raise RuntimeError("Cond.wait_for: the mutex is not locked")
        while True:
            found = predicate()
            if found:
                return found
            if deadline == NO_DEADLINE:
                cond_wait(self, None)
                continue
            left = deadline - clock_now() if deadline != TRY_ONCE else 0
            if left <= 0:
                raise TimeoutError("Cond.wait_for timed out")
            try:
                cond_wait(self, left * 1e-9)
            except TimeoutError:
                found = predicate()
                if found:
                    return found
                raise TimeoutError("Cond.wait_for timed out") from None

    def signal(self):
        """signal()
        Wakes the goroutine that has waited longest, if one waits. The mutex need not be held."""
        waitq_ready(getm(), &self.waiters)

    def broadcast(self):
        """broadcast()
        Wakes all that wait. The mutex need not be held."""
        waitq_ready_all(getm(), &self.waiters)

    def __enter__(self):
        cond_lock(self.lock)
        return True

    def __exit__(self, *exc):
        cond_unlock(self.lock)

    def __repr__(self):
        return f"<Cond {self.lock!r}>"


# ---- Event ---------------------------------------------------------------------------------

@cython.final
cdef class Event:
    """Event()
    A flag that goroutines wait for (threading.Event, but for the time-out)."""

    def __init__(self):
        pass                                # refuses arguments

    def is_set(self):
        """is_set()
        Whether it is set."""
        return self.on

    def set(self):
        """set()
        Sets it and wakes all that wait."""
        self.on = True                      # D3
        waitq_ready_all(gm_tls_m, &self.waiters)

    def clear(self):
        """clear()
        Sets it back: later waits wait."""
        self.on = False

    def wait(self, timeout=None):
        """wait(timeout=None)
        Waits until it is set. Returns True.

        Args:
            timeout: seconds; None waits for ever, 0 looks once.

        Raises:
            TimeoutError: it was not set in time (threading's returns False).

        Blocks the goroutine; on a foreign thread, the thread.
        """
        cdef int64_t deadline = deadline_of(timeout)
        cdef gm_m* m = getm()               # Y1
        if self.on:
            return True
        if deadline == TRY_ONCE:
            raise TimeoutError("Event.wait timed out")
        wait_on(m, getg(m), &self.waiters, WHY_EVENT, deadline, "Event.wait")
        return True

    def _wait_call(self):
        """_wait_call()
        Waits as a call does that blocks: also where a loop of asyncio's stops for it."""
        cdef gm_m* m = getm()
        if not self.on:
            wait_on(m, getg(m), &self.waiters, WHY_BLOCKING, NO_DEADLINE, "the call")
        return True

    def __repr__(self):
        return f"<Event {'set' if self.on else 'unset'}>"


# ---- Once ----------------------------------------------------------------------------------

cdef enum:
    ONCE_NEW = 0
    ONCE_RUNNING = 1
    ONCE_DONE = 2


@cython.final
cdef class Once:
    """Once()
    Does something exactly once, whoever comes first (Go's sync.Once)."""

    def __init__(self):
        pass                                # refuses arguments

    def do(self, fn):
        """do(fn)
        Calls ``fn()`` if this is the first call; else waits until the first one has ended.

        It counts as done also when fn raises; what it raises goes to the first caller alone.

        Raises:
            TypeError: fn is not callable.
            RuntimeError: fn itself calls ``do``.

        Blocks the goroutine; on a foreign thread, the thread.
        """
        cdef gm_m* m
        cdef gm_g* g
        if not callable(fn):
            raise TypeError(f"Once.do needs a callable, not {type(fn).__name__}")
        if self.state == ONCE_DONE:
            return None
        m = getm()
        g = getg(m)
        if self.state == ONCE_RUNNING:
            if self.goid == g.goid:
                raise RuntimeError("Once.do called by its own function")
            wait_on(m, g, &self.waiters, WHY_ONCE, NO_DEADLINE, "Once.do")
            return None
        self.state, self.goid = ONCE_RUNNING, g.goid
        try:
            fn()
        finally:
            self.state = ONCE_DONE          # D3
            waitq_ready_all(getm(), &self.waiters)

    @property
    def done(self):
        """True once the first call has ended."""
        return self.state == ONCE_DONE

    def __repr__(self):
        return f"<Once {('new', 'running', 'done')[self.state]}>"
