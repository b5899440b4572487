# Scopes: blocks of code whose parks are interrupted together (timeout, Group), or whose
# cancellation waits (shield).
#
# A goroutine's scopes are a list, innermost first, that hangs from its park. A scope fires when
# its timer runs out, or by hand. That interrupts the park that the goroutine is in, or else its
# next one, with Interrupted, a Cancelled, which the scope knows again when it leaves the block.
# A scope interrupts once; those that have fired by then share the one interruption, and it is the
# outermost of them that it ends. A scope that has fired outside of a shield waits for its end.
#
# Invariants
#   I1  The list and the states are changed under the lock of the timers of the goroutine's M.
#   I2  Who fires sets the state, then tries to win the park; gopark arms, then asks scopes_due
#       under the lock, if there are scopes at all. So either sees the other.
#   I3  A scope is on the list of the goroutine that opened it until that one closes it or ends.
#       The list owns a reference.

cdef enum:                      # gm_scope.state
    SCOPE_CLOSED = 0
    SCOPE_OPEN = 1
    SCOPE_FIRED = 2             # an interruption is due
    SCOPE_DELIVERED = 3


class Interrupted(Cancelled):
    """The Cancelled by which a timeout or a Group ends its block; it becomes the error of that one
    on the way out."""


cdef inline void scopes_lock(gm_park* pk) noexcept nogil:
    gm_lock_acquire(&pk.m.timers.lock)


cdef inline void scopes_unlock(gm_park* pk) noexcept nogil:
    gm_lock_release(&pk.m.timers.lock)


cdef uint32_t scopes_due(gm_park* pk) noexcept nogil:
    # I1. How many have fired, undelivered, with no shield inside.
    cdef gm_scope* s = pk.scopes
    cdef uint32_t n = 0
    while s != NULL and not s.is_shield:
        n += s.state == SCOPE_FIRED
        s = s.outer
    return n


cdef gm_g* scope_fire(gm_scope* s) noexcept nogil:
    # Lock held (I1). The goroutine that is to be readied with WAKE_SCOPE, or NULL.
    cdef gm_park* pk = s.park
    cdef uint64_t word
    if s.state != SCOPE_OPEN:
        return NULL
    s.state = SCOPE_FIRED
    if scopes_due(pk) == 0:
        return NULL
    word = gm_load_u64_acquire(&pk.word)                # I2
    if not (word & 1) or not park_win(pk, word):
        return NULL
    pk.reason = WAKE_SCOPE
    return pk.g


cdef bint scopes_interrupt(gm_park* pk) noexcept nogil:
    # gopark, armed: whether a scope wants this park not to happen. It is won then.
    cdef bint due
    scopes_lock(pk)                       # I2
    due = scopes_due(pk) != 0
    scopes_unlock(pk)
    return due and park_win(pk, armed_word(pk))


cdef bint scopes_timed(gm_park* pk) noexcept nogil:
    # Whether the time of a scope will end this park.
    cdef gm_scope* s
    cdef bint found = False
    scopes_lock(pk)
    s = pk.scopes
    while s != NULL and not s.is_shield and not found:
        found = s.state == SCOPE_FIRED or (s.state == SCOPE_OPEN and s.timer.index >= 0)
        s = s.outer
    scopes_unlock(pk)
    return found


cdef void scopes_delivered(gm_park* pk) noexcept nogil:
    cdef gm_scope* s
    scopes_lock(pk)
    pk.m.timers.deliveries += 1
    s = pk.scopes
    while s != NULL and not s.is_shield:
        if s.state == SCOPE_FIRED:
            s.state = SCOPE_DELIVERED
            s.delivery = pk.m.timers.deliveries
        s = s.outer
    scopes_unlock(pk)


cdef void scopes_undeliver(gm_park* pk) noexcept nogil:
    # Right after scopes_delivered: it is to come again, at the next park.
    cdef gm_scope* s
    scopes_lock(pk)
    s = pk.scopes
    while s != NULL and not s.is_shield:
        if s.state == SCOPE_DELIVERED and s.delivery == pk.m.timers.deliveries:
            s.state = SCOPE_FIRED
        s = s.outer
    scopes_unlock(pk)


cdef void scope_push(gm_park* pk, gm_scope* s) noexcept:
    incref(s.obj)                                       # I3
    s.park = pk
    scopes_lock(pk)
    s.state = SCOPE_OPEN
    s.outer = pk.scopes
    pk.scopes = s
    scopes_unlock(pk)


cdef int scope_pop(gm_scope* s) except -1:
    # Its state at the end, and its reference back to the caller.
    cdef gm_scope** at = &s.park.scopes
    cdef int state
    scopes_lock(s.park)
    if s.timer.index >= 0:
        timer_remove(&s.park.m.timers, &s.timer)
    state = s.state
    s.state = SCOPE_CLOSED
    while at[0] != s:                                   # nearly always the first
        at = &at[0].outer
    at[0] = s.outer
    scopes_unlock(s.park)
    return state


cdef void scopes_drop(gm_park* pk) noexcept:
    # The goroutine ends with scopes open: somebody entered them by hand.
    cdef gm_scope* s
    while pk.scopes != NULL:
        s = pk.scopes
        scope_pop(s)
        decref(s.obj)


cdef bint scopes_take(gm_park* pk) noexcept nogil:
    # A wait that did not park: whether it is interrupted.
    cdef bint due
    scopes_lock(pk)
    due = scopes_due(pk) != 0
    scopes_unlock(pk)
    if due:
        scopes_delivered(pk)
    return due


cdef void scopes_again(gm_park* pk) noexcept:
    # A fork's child: its one goroutine's time goes on.
    cdef gm_scope* s = pk.scopes
    while s != NULL:
        if s.timer.index == TIMER_FORKED:
            s.timer.index = -1
            timer_add(&s.timer)             # without memory for it the scope has no deadline
        s = s.outer


cdef void scopes_forked(gm_park* pk) noexcept:
    # A fork's child: the heap that they lay in is forgotten.
    cdef gm_scope* s = pk.scopes
    pk.timer.index = -1
    while s != NULL:
        if s.timer.index >= 0:
            s.timer.index = TIMER_FORKED
        s = s.outer


cdef void scopes_close(gm_park* pk) noexcept:
    # A fork's child: of a goroutine that has stayed in the parent.
    cdef gm_scope* s = pk.scopes
    while s != NULL:
        s.timer.index = -1
        s.state = SCOPE_CLOSED
        s = s.outer


cdef object passing_by(gm_g* g, object exc):
    # What was on its way out already when the interruption exc came, while something was cleaned
    # up: a cancel of this goroutine, or what ends the program. None if nothing was.
    cdef int n = 0
    exc = exc.__context__
    while exc is not None and n < 100:
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            return exc
        if isinstance(exc, Cancelled) and not isinstance(exc, Interrupted) and (
                g.flags & GF_WAS_CANCELLED):
            return exc
        exc = exc.__context__
        n += 1
    return None


cdef int shield_flag(gm_g* g) except -1:
    # GF_SHIELD says whether there is a shield at all.
    cdef gm_scope* s = g.park.scopes
    while s != NULL and not s.is_shield:
        s = s.outer
    g.flags = g.flags & ~<uint32_t>GF_SHIELD | (GF_SHIELD if s != NULL else 0)
    return 0


cdef class Scope:
    """Scope()
    What Group and timeout are made of. One use; opened and closed by the same goroutine."""

    def __cinit__(self):                    # whatever __init__ takes: Cython drops it
        self.s.timer.index = -1
        self.s.timer.word = TIMER_SCOPE
        self.s.obj = <PyObject*>self

    cdef int open(self, int64_t deadline) except -1:
        cdef gm_m* m = getm()
        cdef gm_g* g = getg(m)
        if self.s.park != NULL:
            raise RuntimeError(f"a {type(self).__name__} can be entered only once")
        scope_push(g.park, &self.s)
        if deadline == TRY_ONCE:
            self.fire()
        elif deadline >= 0:
            self.arm(m, deadline)
        return 0

    cdef int arm(self, gm_m* m, int64_t deadline) except -1:
        self.s.timer.when = deadline
        if timer_add(&self.s.timer) < 0:
            raise MemoryError()
        return 0

    cdef int fire(self) except -1:
        cdef gm_g* g
        scopes_lock(self.s.park)
        if self.s.timer.index >= 0:
            timer_remove(&self.s.park.m.timers, &self.s.timer)
        g = scope_fire(&self.s)
        scopes_unlock(self.s.park)
        if g != NULL:
            goready(getm(), g, False)
        return 0

    cdef bint close(self, object exc) except -1:
        # Leaves the block, from which exc comes, or None. Whether exc is an interruption that
        # ends here. Raises Cancelled when the goroutine has been cancelled meanwhile.
        cdef gm_m* m = getm()
        cdef gm_g* g = getg(m)
        cdef gm_scope* outer
        cdef int state
        if self.s.park == NULL or self.s.state == SCOPE_CLOSED:
            raise RuntimeError(f"this {type(self).__name__} is not entered")
        if self.s.park != g.park:
            raise RuntimeError(f"a {type(self).__name__} must be left by the goroutine that entered it")
        state = scope_pop(&self.s)
        decref(<PyObject*>self)
        if self.s.is_shield:
            shield_flag(g)
        if state != SCOPE_DELIVERED or not isinstance(exc, Interrupted):
            return False
        if g.flags & GF_CANCEL and not g.flags & GF_SHIELD:
            raise cancelled_error(g) from None
        above = passing_by(g, exc)
        if above is not None:
            raise above
        outer = self.s.outer
        while outer != NULL and not outer.is_shield:
            if outer.state == SCOPE_DELIVERED and outer.delivery == self.s.delivery:
                return False
            outer = outer.outer
        return True

    def _open(self):
        self.open(NO_DEADLINE)

    def _fire(self):
        self.fire()

    def _close(self, exc):
        return self.close(exc)


@cython.final
cdef class timeout(Scope):
    """timeout(seconds)
    A context manager that gives the block inside so many seconds.

    When they are over, the wait that the block is in, or its next one, is interrupted: by
    Cancelled, which becomes TimeoutError when it leaves the block. A block that waits no more is
    not interrupted, and nothing is raised: a busy loop or time.sleep runs on. If the goroutine
    itself is cancelled, or an outer time-out is over, too, that wins. Not around a ``yield``: the
    consumer's waits would be interrupted. On a thread of the program's own it limits gmpx's own waits alone:
    what ``gmpx.patch`` has patched blocks that thread as it did before. There ``go(fn).result()``.

    Args:
        seconds: a number >= 0; 0 interrupts the first wait; None never does.

    Raises:
        TimeoutError: from the block, as above.
        ValueError: negative or NaN. TypeError: not a number.
        RuntimeError: entered twice.

    >>> c = Chan()
    >>> try:
    ...     with timeout(0.01):
    ...         c.recv()
    ... except TimeoutError as e:
    ...     print(e)
    timed out after 0.01 s
    """
    cdef object seconds
    cdef bint over

    def __init__(self, seconds):
        if seconds is not None:
            seconds_of(seconds, "timeout")      # bad input is bad at once
        self.seconds = seconds

    def __enter__(self):
        self.open(deadline_of(self.seconds))
        return self

    def __exit__(self, kind, exc, tb):
        self.over = self.s.state >= SCOPE_FIRED
        if self.close(exc):
            raise TimeoutError(f"timed out after {self.seconds} s") from exc
        return False

    def reset(self, seconds):
        """reset(seconds)
        Starts the time anew, from now, inside the block; of no use once it is over. With None there is no limit
        any more: where another goroutine says that, a wait of the block in a coroutine, which the limit let through,
        may stop its loop for good.

        Raises:
            RuntimeError: outside of the block.
        """
        cdef int64_t deadline = deadline_of(seconds)
        cdef bint again
        if self.s.state == SCOPE_CLOSED:
            raise RuntimeError("timeout.reset: not inside the block")
        scopes_lock(self.s.park)
        again = self.s.state == SCOPE_OPEN
        if self.s.timer.index >= 0:
            timer_remove(&self.s.park.m.timers, &self.s.timer)
        scopes_unlock(self.s.park)
        if not again:
            return
        self.seconds = seconds
        if deadline == TRY_ONCE:
            self.fire()
        elif deadline >= 0:
            self.arm(getm(), deadline)

    @property
    def expired(self):
        """Whether the time is over (was, when the block was left)."""
        return self.over or self.s.state >= SCOPE_FIRED

    def __repr__(self):
        return f"<timeout {self.seconds} s>"


@cython.final
cdef class shield(Scope):
    """shield()
    A context manager that puts off cancellation: one that arrives inside the block, also by an
    outer timeout or Group, comes at the first wait after it. For clean-up that waits.

    >>> def work(started, done):
    ...     started.set()
    ...     try:
    ...         sleep(60)
    ...     finally:
    ...         with shield(), timeout(5):
    ...             done.send("cleaned up")
    >>> started, done = Event(), Chan()
    >>> g = go(work, started, done)
    >>> _ = started.wait()
    >>> _ = g.cancel()
    >>> done.recv()
    'cleaned up'
    """

    def __init__(self, *args):
        if args:
            raise TypeError(f"shield() takes no arguments, {len(args)} given")
        self.s.is_shield = True

    def __enter__(self):
        self.open(NO_DEADLINE)
        shield_flag(getg(getm()))
        return self

    def __exit__(self, kind, exc, tb):
        self.close(None)
        return False
