# Timer, Ticker, after, after_func: timers that do something (Go's time package).
#
# A TimerNode is what lies in the heap of rt/sched/timers.pxi. When it is due it goes to the list
# `fired`, in the heap's lock; an M that holds the GIL takes it from there and sends the time to
# its channel, or starts its function (timers_deliver).
#
# Invariants
#   H1  A node is in the heap when timer.index >= 0, and on `fired` when on_fired; a ticker may be
#       on both. Both belong to the M node.m and are changed under the lock of its timers.
#   H2  A channel keeps its node, a node does not keep its channel: when nobody has the channel any
#       more the timer goes. A node with a function is kept by the runtime while it is pending.
#   H4  started_nodes (GIL) holds every node that is in the heap or on `fired`: a fork's child makes
#       its heap from it. Timers with a channel go on there, for the goroutine that forked has it;
#       functions do not, since they run in the parent (but a context's deadline does).
#   H3  Once stop or reset has returned nothing of the time before can be received.

cdef enum:
    TIMER_SCOPE = 1             # gm_timer.word of one that has no park: what it is part of
    TIMER_NODE = 2


cdef void node_fire(gm_timers* h, gm_timer* t, int64_t now) noexcept nogil:
    # h.lock held; t is the first in the heap and due.
    cdef gm_tnode* node = <gm_tnode*>t
    if node.period > 0:
        t.when += node.period * (1 + (now - t.when) // node.period)
        timer_down(h, t, 0)
        timers_note_first(h)
    else:
        timer_remove(h, t)
    if node.on_fired:
        return                              # a tick that nobody has come to deliver: dropped
    node.on_fired = True
    node.fired_at = now
    node.next = NULL
    node.prev = h.fired_last
    if node.prev != NULL:
        node.prev.next = node
    else:
        h.fired = node
    h.fired_last = node


cdef void fired_remove(gm_tnode* node) noexcept nogil:
    # The lock of node.m's timers held.
    cdef gm_timers* h = &node.m.timers
    if not node.on_fired:
        return
    node.on_fired = False
    if node.prev != NULL:
        node.prev.next = node.next
    else:
        h.fired = node.next
    if node.next != NULL:
        node.next.prev = node.prev
    else:
        h.fired_last = node.prev


cdef gm_tnode* started_nodes = NULL


cdef inline void started_put(gm_tnode* node) noexcept:
    global started_nodes
    if node.started:
        return
    node.started = True
    node.all_prev = NULL
    node.all_next = started_nodes
    if started_nodes != NULL:
        started_nodes.all_prev = node
    started_nodes = node


cdef inline void started_remove(gm_tnode* node) noexcept:
    global started_nodes
    if not node.started:
        return
    node.started = False
    if node.all_prev != NULL:
        node.all_prev.all_next = node.all_next
    else:
        started_nodes = node.all_next
    if node.all_next != NULL:
        node.all_next.all_prev = node.all_prev


cdef void nodes_again(gm_m* m) noexcept:
    # H4. In a fork's child, whose heaps have what its own at-fork functions have set: m's gets the others.
    cdef gm_tnode* node = started_nodes
    cdef gm_tnode* next
    while node != NULL:
        next = node.all_next
        if node.timer.index == TIMER_FORKED:
            node.timer.index = -1
            node.m = m
            if ((<TimerNode>node.obj).call is not None and not node.kept) or (
                    timer_add(&node.timer) < 0):
                started_remove(node)        # its reference, if any, stays: L5's dead have it
        node = next


cdef void timers_deliver(gm_m* m) noexcept:
    # With the GIL: all that has fired, on whichever M's list. sched.undelivered is lowered before
    # the lists are read, and raised under a list's lock after it has grown: it is never 0 while a
    # list has something and nobody is at it.
    cdef gm_m* owner = allm_first()
    gm_store_u32_seqcst(&sched.undelivered, 0)
    while owner != NULL:
        while deliver_first(m, &owner.timers):
            pass
        owner = owner.all_next


cdef bint deliver_first(gm_m* m, gm_timers* h) noexcept:
    cdef gm_tnode* node
    cdef TimerNode obj
    cdef int64_t at = 0
    gm_lock_acquire(&h.lock)
    node = h.fired
    if node != NULL:
        fired_remove(node)
        at = node.fired_at                  # once the lock is left it may fire again
    gm_lock_release(&h.lock)
    if node == NULL:
        return False
    obj = <TimerNode>node.obj
    try:
        obj.deliver(m, at)
    except BaseException as e:              # no memory
        unraisable(e)
    return True


cdef void unraisable(object e) noexcept:
    PyErr_SetNone_of(e)
    PyErr_WriteUnraisable(NULL)


@cython.final
cdef class TimerNode:
    """What lies in the heap for a Timer, a Ticker or a channel of after."""

    def __cinit__(self):
        self.node.timer.index = -1
        self.node.timer.word = TIMER_NODE
        self.node.obj = <PyObject*>self

    def __dealloc__(self):
        self.cancel()

    cdef bint pending(self) noexcept:
        return self.node.timer.index != -1 or self.node.on_fired

    cdef bint cancel(self) noexcept:
        # Whether it was pending.
        cdef gm_timers* h
        cdef bint was
        if self.node.m == NULL:
            return False                            # has never been started
        h = &self.node.m.timers
        gm_lock_acquire(&h.lock)
        was = self.pending()
        if self.node.timer.index >= 0:
            timer_remove(h, &self.node.timer)
        self.node.timer.index = -1
        fired_remove(&self.node)
        gm_lock_release(&h.lock)
        started_remove(&self.node)
        return was

    cdef int start(self, int64_t delay) except -1:
        # delay: nanoseconds, < 0 for never.
        if self.chan == NULL and self.call is None:
            raise RuntimeError("this timer has not been initialised")
        cdef gm_m* m = getm()                       # a thread's first time runs Python code ...
        self.cancel()                               # ... and somebody else may have started it
        if delay < 0:
            return 0
        self.node.m = m
        self.node.timer.when = clock_now() + delay
        if timer_add(&self.node.timer) < 0:
            raise MemoryError()
        started_put(&self.node)
        self.hold()
        return 0

    cdef bint stop(self) except -1:
        cdef bint was = self.cancel()
        cdef PyObject* v
        if self.chan != NULL:                       # H3
            v = chan_try_recv(getm(), <Chan>self.chan)
            if v != NULL:
                decref(v)
                was = True
        self.let_go()
        return was

    cdef void hold(self) noexcept:
        if self.call is not None and not self.held:
            self.held = True
            Py_INCREF(self)                         # H2

    cdef void let_go(self) noexcept:
        if self.held:
            self.held = False
            Py_DECREF(self)

    cdef int deliver(self, gm_m* m, int64_t fired_at) except -1:
        cdef Chan c
        cdef object at
        if self.node.period == 0:
            started_remove(&self.node)
        if self.call is not None:
            self.let_go()                           # the caller has a reference of its own
            call = (self.call[0], self.call[1])
            start_later(m, self.call[2], call)
            return 0
        if self.chan == NULL or refcnt(self.chan) == 0 or (<Chan>self.chan).is_closed:
            return 0                                # 0: its weak references' callbacks run
        c = <Chan>self.chan
        at = fired_at * 1e-9                        # may collect garbage
        if not c.is_closed:
            chan_try_send(m, c, <PyObject*>at)      # full: dropped
        return 0


cdef int start_later(gm_m* m, object context, tuple call) except -1:
    # go call[0](*call[1]), in a copy of that context.
    cdef gm_g* g
    cdef PyObject* ctx = context_copy(<PyObject*>context)
    if ctx == NULL:
        raise MemoryError()
    packed = (call[1], {})
    Py_INCREF(packed)
    g = newproc1(m, <PyObject*>(<object>call[0]), <PyObject*>packed, GF_KWARGS | GF_OWN_CONTEXT,
                 ctx, NULL)
    if g == NULL:
        raise MemoryError()
    newproc_publish(m, g)
    return 0


cdef int64_t delay_of(object seconds, str what, bint positive) except -2:
    # Nanoseconds; -1 for never.
    cdef double s = seconds_of(seconds, f"{what}: seconds")
    if positive and s == 0:
        raise ValueError(f"{what}: seconds must be positive: {seconds!r}")
    return -1 if isinf(s) else ns_of(s)


cdef Chan timer_chan(TimerNode node):
    cdef Chan c = Chan(1)
    c.keeps = node
    node.chan = <PyObject*>c                        # H2: outlives it
    return c


@cython.final
cdef class Timer:
    """Timer(seconds)
    Sends the time to the channel ``c`` once, after so many seconds (Go's time.Timer).

    The time is that of ``time.monotonic``, a float. A timer whose channel nobody has any more goes
    without having fired. ``c`` is None for the timer that ``after_func`` returns.

    Args:
        seconds: a number >= 0.

    Raises:
        ValueError: negative or NaN. TypeError: not a number.
    """

    def __cinit__(self, *args, **kwargs):
        self.node = TimerNode.__new__(TimerNode)

    def __init__(self, seconds):
        cdef int64_t delay = delay_of(seconds, "Timer", False)
        if self.chan is not None:
            raise RuntimeError("a Timer is initialised once")
        self.chan = timer_chan(self.node)
        self.node.start(delay)

    @property
    def c(self):
        """The channel that gets the time; None for a timer of ``after_func``."""
        return self.chan

    def stop(self):
        """stop()
        Keeps it from firing.

        Returns:
            True if it was pending: nothing will be received, no function will run. False if it
            has fired (and what it sent was received) or had been stopped.
        """
        return self.node.stop()

    def _keep(self):
        """_keep()
        Its function is to run in a fork's child, too. Returns self."""
        self.node.node.kept = True
        return self

    def reset(self, seconds):
        """reset(seconds)
        Starts it anew, from now, whatever became of it before. Nothing of the time before will be
        received. A function that has started keeps running.

        Returns, Raises: as ``stop``; as Timer.
        """
        cdef int64_t delay = delay_of(seconds, "Timer.reset", False)
        was = self.node.stop()
        self.node.start(delay)
        return was

    def __repr__(self):
        return f"<Timer {'pending' if self.node.pending() else 'idle'}>"


@cython.final
cdef class Ticker:
    """Ticker(seconds)
    Sends the time to the channel ``c`` every so many seconds (Go's time.Ticker).

    The time is that of ``time.monotonic``. Ticks that a slow receiver has no room for are dropped;
    those that come later keep to the beat. It goes when nobody has the channel any more.

    Args:
        seconds: a number > 0.

    Raises:
        ValueError: zero, negative or NaN. TypeError: not a number.

    >>> ticker = Ticker(0.001)
    >>> ticker.c.recv() < ticker.c.recv()
    True
    >>> ticker.stop()
    """

    def __cinit__(self, *args, **kwargs):
        self.node = TimerNode.__new__(TimerNode)

    def __init__(self, seconds):
        cdef int64_t period = delay_of(seconds, "Ticker", True)
        if self.chan is not None:
            raise RuntimeError("a Ticker is initialised once")
        self.chan = timer_chan(self.node)
        self.node.node.period = period
        self.node.start(period)

    @property
    def c(self):
        """The channel that gets the time at each tick."""
        return self.chan

    def stop(self):
        """stop()
        No more ticks. The channel stays open, as in Go, so that no receiver takes the end for a
        tick."""
        self.node.stop()

    def reset(self, seconds):
        """reset(seconds)
        Ticks every so many seconds from now on, also after ``stop``.

        Raises: as Ticker.
        """
        cdef int64_t period = delay_of(seconds, "Ticker.reset", True)
        self.node.stop()
        self.node.node.period = period
        self.node.start(period)

    def __repr__(self):
        return f"<Ticker {'pending' if self.node.pending() else 'idle'}>"


def after(seconds):
    """after(seconds)
    A channel that gets the time, ``time.monotonic()``, once, after so many seconds.

    Args, Raises: as Timer. Go: time.After.

    >>> c = Chan()
    >>> select(c, after(0.001))[0]
    1
    """
    cdef int64_t delay = delay_of(seconds, "after", False)
    cdef TimerNode node = TimerNode.__new__(TimerNode)
    cdef Chan c = timer_chan(node)
    node.start(delay)
    return c


def after_func(seconds, fn, /, *args):
    """after_func(seconds, fn, /, *args)
    Calls ``fn(*args)`` in a goroutine of its own after so many seconds (Go's time.AfterFunc).

    It runs in a copy of the caller's contextvars context. In the child of a fork it does not run.

    Args:
        seconds: a number >= 0.

    Returns:
        A Timer, whose ``stop`` and ``reset`` work; its ``c`` is None.

    Raises:
        TypeError: fn is not callable, or seconds not a number. ValueError: negative or NaN.
    """
    cdef int64_t delay = delay_of(seconds, "after_func", False)
    cdef Timer t
    cdef PyObject* ctx
    if not callable(fn):
        raise TypeError(f"after_func needs a callable, not {type(fn).__name__}")
    ctx = context_copy_current()
    if ctx == NULL:
        raise MemoryError()
    t = Timer.__new__(Timer)
    t.node.call = (fn, args, take_ref(ctx))
    t.node.start(delay)
    return t
