# The handle: class Goroutine as users see it, joining, cancelling.
#
# Who may call: any thread. What it reads of a live goroutine belongs to that one's M: status and
# park word are atomic, the rest is looked at under the GIL and may be old when it is returned.

# In Go's words where Go has one; by WHY_*.
cdef tuple WHY_NAMES = (
    "chan receive",
    "chan send",
    "select",
    "select (no cases)",
    "sleep",
    "goroutine join",
    "sync.WaitGroup.Wait",
    "sync.Mutex.Lock",
    "sync.RWMutex.Lock",
    "sync.RWMutex.RLock",
    "sync.Semaphore.Acquire",
    "sync.Cond.Wait",
    "sync.Once.Do",
    "event",
    "shutdown",
    "blocking call",
    "wait_all_parked",
    "IO wait",
    "threading lock",
    "queue get",
    "rate limit",
)

cdef object await_goroutine = None

cdef tuple STATUS_NAMES = ("idle", "runnable", "running", "waiting", "dead")


@cython.final
cdef class Goroutine:
    """A goroutine: the handle that ``go`` returns.

    It may be kept or dropped; the goroutine runs either way. Any thread and any goroutine may
    use it.
    """

    def __init__(self):
        raise TypeError("goroutines are made by gmpx.go")

    @classmethod
    def __class_getitem__(cls, item):
        import types
        return types.GenericAlias(cls, item)

    def __reduce__(self):
        raise TypeError("cannot pickle a Goroutine")

    def __repr__(self):
        return f"<Goroutine {self.g.goid} {self.name} {self.status}>"

    @property
    def id(self):
        """The id: an int, never reused. The main goroutine is 1."""
        return self.g.goid

    @property
    def parent_id(self):
        """Id of the goroutine that spawned this one; 0 if none did."""
        return self.g.parent_goid

    @property
    def name(self):
        """The name: settable; the function's qualified name by default."""
        return g_name(&self.g)

    @name.setter
    def name(self, value):
        cdef PyObject* name = name_given(value)
        cdef PyObject* old
        cdef gm_gext* ext
        try:
            ext = ext_of(&self.g)
        except MemoryError:
            decref(name)
            raise
        old = ext.name
        ext.name = name
        xdecref(old)

    @name.deleter
    def name(self):
        raise AttributeError("a goroutine's name cannot be deleted")

    @property
    def status(self):
        """One of "idle", "runnable", "running", "waiting", "dead"."""
        return STATUS_NAMES[gm_load_u32_acquire(&self.g.status)]

    @property
    def wait_reason(self):
        """What it waits for, in Go's words ("chan receive", "sleep" ...), or ""."""
        cdef gm_park* pk = self.g.park
        if gm_load_u32_acquire(&self.g.status) != G_WAITING or pk == NULL:
            return ""
        return WHY_NAMES[pk.why]

    def done(self):
        """done()
        True if it has ended."""
        return gm_load_u32_acquire(&self.g.status) == G_DEAD        # pairs with goexit0 (L3)

    def join(self, timeout=None):
        """join(timeout=None)
        Waits until it has ended. Never raises what it raised.

        Args:
            timeout: seconds; None waits for ever, 0 looks once.

        Raises:
            TimeoutError: it has not ended in time.
            RuntimeError: a goroutine that joins itself.

        Blocks the calling goroutine, or the thread on a foreign thread.
        """
        if gm_load_u32_acquire(&self.g.status) == G_DEAD:
            if timeout is not None:
                deadline_of(timeout)        # bad input is bad whatever the state
            return None
        join_slow(self, deadline_of(timeout))

    def result(self, timeout=None):
        """result(timeout=None)
        Waits until it has ended; returns the function's value or raises its exception.

        The exception is raised with its own traceback. None after goexit().

        Args:
            timeout: seconds; None waits for ever, 0 looks once.

        Raises:
            TimeoutError: it has not ended in time.
            RuntimeError: the process was forked since, and it lives in the parent only.
        """
        cdef _Failure f
        if gm_load_u32_acquire(&self.g.status) != G_DEAD or timeout is not None:
            self.join(timeout)
        if gm_unlikely(self.g.flags & (GF_FAILED | GF_FORKED)):
            check_fork(self)
            f = <_Failure>self._result
            f.read = True
            raise f.exc.with_traceback(f.tb)
        return self._result

    def exception(self, timeout=None):
        """exception(timeout=None)
        Waits until it has ended; returns the exception that it raised, or None.

        Args, Raises: as ``join``.
        """
        cdef _Failure f
        self.join(timeout)
        check_fork(self)
        if self.g.flags & GF_FAILED:
            f = <_Failure>self._result
            f.read = True
            return f.exc
        return None

    def add_done_callback(self, fn):
        """add_done_callback(fn)
        Calls ``fn(handle)`` when it has ended; at once if it has already.

        Callbacks run in the order of adding, on the thread that ends the goroutine; they may
        not block in gmpx. What they raise goes to ``excepthook``. One that is called at once runs
        in the caller, which it may end (KeyboardInterrupt, Cancelled).
        """
        cdef gm_gext* ext
        if not callable(fn):
            raise TypeError(f"callback must be callable, not {type(fn).__name__}")
        found = []                              # may collect garbage: before the look (C5)
        if gm_load_u32_acquire(&self.g.status) == G_DEAD:
            try:
                fn(self)
            except Exception as e:
                call_excepthook(self, e)
            return
        ext = ext_of(&self.g)
        if ext.callbacks == NULL:
            ext.callbacks = own(found)
        (<list><object>ext.callbacks).append(fn)

    def _failed(self):
        """_failed()
        Whether it has ended with an exception other than Cancelled. Does not count as reading."""
        if gm_load_u32_acquire(&self.g.status) != G_DEAD or not self.g.flags & GF_FAILED:
            return False
        return not isinstance((<_Failure>self._result).exc, Cancelled)

    @property
    def _condition(self):
        # What concurrent.futures.wait and as_completed ask for first.
        raise TypeError("concurrent.futures waits for Futures: for goroutines use gmpx.wait, gmpx.as_completed")

    def _is_system(self):
        """_is_system()
        Whether it is main's or a foreign thread's."""
        return (self.g.flags & GF_SYSTEM) != 0

    def _remove_done_callback(self, fn):
        """_remove_done_callback(fn)
        Takes one that has not been called off again."""
        cdef gm_gext* ext = ext_get(&self.g)
        if ext != NULL and ext.callbacks != NULL:
            found = <list><object>ext.callbacks
            if fn in found:
                found.remove(fn)

    def __await__(self):
        """In a coroutine of asyncio's: waits for its end; its value or its exception. See gmpx.aio."""
        global await_goroutine
        if await_goroutine is None:
            from gmpx.aio import _await as await_goroutine
        return await_goroutine(self)

    def cancel(self, msg=None):
        """cancel(msg=None)
        Asks it to stop: raises Cancelled(msg), or Cancelled() for None, in it at its present or
        next park point.

        One that has not started never runs. Delivered only by an operation that really parks,
        by gosched and by sleep(0); calls before the delivery coalesce. The main goroutine and
        those of foreign threads are cancelled like any other.

        Returns:
            False if it has ended already, or is main and the program's end has begun; else True.
        """
        if msg is not None:
            set_cancel_message(&self.g, msg)
        return g_cancel(&self.g)

    def stack(self):
        """stack()
        Where a parked or running goroutine stands, as a ``traceback.StackSummary``: the oldest
        frame first, as in a traceback.

        Empty for one that has not started or has ended. That of a goroutine that runs on
        another thread is a snapshot.
        """
        import traceback
        frame = frame_of(&self.g)
        frames = traceback.walk_stack(frame) if frame is not None else iter(())
        found = traceback.StackSummary.extract(frames, capture_locals=False)
        found.reverse()
        return found


cdef int join_slow(Goroutine self, int64_t deadline) except -1:
    cdef gm_m* m = getm()
    cdef gm_g* g = getg(m)
    if g == &self.g:
        raise RuntimeError(f"{self!r} cannot join itself")
    ext_of(&self.g)
    if gm_load_u32_acquire(&self.g.status) == G_DEAD:       # Y1
        return 0
    if deadline == TRY_ONCE:
        raise TimeoutError("join timed out")
    wait_on(m, g, &ext_get(&self.g).waiters, WHY_JOIN, deadline, "join")
    return 0


cdef int check_fork(Goroutine self) except -1:
    if self.g.flags & GF_FORKED:
        raise RuntimeError(f"{self!r} was left behind in the parent process by fork")
    return 0


cdef object frame_here():
    # The frame that calls, or None: a goroutine may be a C function.
    import sys
    try:
        return sys._getframe()
    except ValueError:
        return None


cdef object frame_of(gm_g* g):
    cdef gm_park* pk = g.park
    cdef gm_m* m = gm_tls_m
    import sys
    if pk == NULL:
        return None
    if pk.gl != NULL:
        return (<object>pk.gl).gr_frame
    if m != NULL and m.curg == g:
        return frame_here()
    return sys._current_frames().get(pk.m.ident)


cdef bint g_cancel(gm_g* g) noexcept:
    cdef gm_park* pk = g.park
    cdef uint64_t word
    if gm_load_u32_acquire(&g.status) == G_DEAD or g.flags & GF_OVER:
        return False
    if pk == NULL:
        g.flags |= GF_CANCELLED             # trampoline looks before it calls
        return True
    if g.flags & GF_CANCELLING:
        return True                         # they coalesce until it is raised
    word = gm_load_u64_acquire(&pk.word)
    if (word & 1) and not g.flags & GF_SHIELD and park_win(pk, word):
        g.flags |= GF_CANCELLING
        pk.reason = WAKE_CANCEL
        goready(gm_tls_m, g, False)
    else:
        g.flags |= GF_CANCEL                # gopark looks before it waits
    return True


def _program_over():
    """_program_over()
    The interpreter exits: main has no code left that a cancel could stop, but exit functions that
    wait."""
    cdef gm_m* m = gm_tls_m
    if m != NULL and m.kind == M_MAIN and m.g_main != NULL:
        m.g_main.flags = m.g_main.flags & ~<uint32_t>GF_CANCEL | GF_OVER


cdef PyObject* raise_cancelled(gm_g* g) noexcept:
    try:
        e = cancelled_error(g)
    except BaseException as inner:
        e = inner
    PyErr_SetNone_of(e)
    return NULL


cdef int set_cancel_message(gm_g* g, object msg) except -1:
    cdef gm_gext* ext
    cdef PyObject* old
    if gm_load_u32_acquire(&g.status) == G_DEAD:
        return 0
    ext = ext_of(g)
    old = ext.cancel_message
    ext.cancel_message = own(msg)
    xdecref(old)
    return 0


cdef object cancelled_error(gm_g* g):
    # With the message of the latest cancel, if it has one. It is delivered.
    cdef gm_gext* ext = ext_get(g)
    cdef PyObject* msg
    g.flags = g.flags & ~<uint32_t>(GF_CANCEL | GF_CANCELLING) | GF_WAS_CANCELLED
    if ext == NULL or ext.cancel_message == NULL:
        return Cancelled()
    msg = ext.cancel_message
    ext.cancel_message = NULL
    return Cancelled(take_ref(msg))
