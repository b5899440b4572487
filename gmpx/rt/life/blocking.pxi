# blocking: calls that would block a thread of the runtime, on spare threads (proc.go:
# entersyscallblock; here the call moves to another thread, and the M stays with its P).
#
# A spare thread is a daemon of threading's, so it has a name in logs, and trace functions. It
# runs one call after another and ends when it has had none for SPARE_IDLE_NS.
#
# Invariants (GIL)
#   Z1  A spare thread is idle (in spares_idle, the latest last; spare.call None) or has a call.
#   Z2  spares_running counts those with a call that are not parked in gmpx themselves. A call waits
#       in the queue only while spares_running >= the cap. So calls that wait for goroutines
#       which make calls do not use up what these need.
#   Z3  Whoever lowers spares_running lets a queued call have the place.
#   Z4  A call is RUNNING when some thread has it. Its caller may have left (LEFT) by then: what
#       it returns is dropped and what it raises goes to excepthook, by whoever comes second.
#   Z5  The queue is a list through the calls, first come first, each with a reference of its own:
#       whoever leaves one goes in one step, however many wait.
#
# Handing a call over: spare.call is set under the GIL, then note_wakeup. The thread went on the idle
# list, and cleared its note, under the GIL, and looks at spare.call when it has it again (N3).
#
# What is said for threads in rt/observe/dump.pxi's V2 holds here: an idle spare thread wakes nobody, one
# with a call may, unless that is parked in gmpx.

cdef enum:
    CALL_QUEUED = 0
    CALL_RUNNING = 1
    CALL_DONE = 2
    SPARES_MOST = 64

cdef int64_t SPARE_IDLE_NS = 10000000000

cdef list spares_idle = []
cdef set spares_busy = set()                # those with a call that has begun
cdef PyObject* spares_first = NULL          # the queue: BlockingCalls (Z5)
cdef PyObject* spares_last = NULL
cdef Py_ssize_t spares_queued = 0           # how many
cdef Py_ssize_t spares_running = 0
cdef Py_ssize_t spares_alive = 0
cdef Py_ssize_t spares_most = 0             # the cap; 0: not known yet
cdef uint64_t spares_epoch = 0              # counts the forks that led to this process
cdef uint64_t spares_named = 0


@cython.final
@cython.internal
cdef class BlockingCall:
    cdef object fn
    cdef object args
    cdef object kwargs
    cdef object ctx
    cdef object value                       # when done: what it returned ...
    cdef object exc                         # ... or raised
    cdef Goroutine caller
    cdef gm_waitq waiters                   # the caller
    cdef int state
    cdef bint left
    cdef bint queued
    cdef PyObject* next                     # Z5, borrowed
    cdef PyObject* prev

    cdef int run(self) except -1:
        # On a spare thread.
        try:
            self.value = self.ctx.run(self.fn, *self.args, **self.kwargs)
        except BaseException as e:
            self.exc = e
        self.fn = self.args = self.kwargs = self.ctx = None     # their finalizers run here
        self.finish()
        return 0

    cdef void finish(self) noexcept:
        self.state = CALL_DONE
        if not waitq_ready(gm_tls_m, &self.waiters) and self.left:
            self.drop()

    cdef void leave(self) noexcept:
        # The caller does not wait for it any more.
        self.left = True
        if self.state == CALL_DONE:
            self.drop()
        elif self.queued:
            queue_remove(self)

    cdef void drop(self) noexcept:
        # Z4
        exc, self.exc, self.value = self.exc, None, None
        if exc is not None:
            call_excepthook(self.caller, exc)

    cdef object answer(self):
        if self.exc is None:
            return self.value
        exc, self.exc = self.exc, None
        try:
            raise exc
        finally:
            exc = None


cdef void queue_put(BlockingCall call) noexcept:
    global spares_first, spares_last, spares_queued
    Py_INCREF(call)
    call.queued = True
    call.next = NULL
    call.prev = spares_last
    if spares_last != NULL:
        (<BlockingCall>spares_last).next = <PyObject*>call
    else:
        spares_first = <PyObject*>call
    spares_last = <PyObject*>call
    spares_queued += 1


cdef void queue_remove(BlockingCall call) noexcept:
    # The caller has a reference of its own.
    global spares_first, spares_last, spares_queued
    if call.prev != NULL:
        (<BlockingCall>call.prev).next = call.next
    else:
        spares_first = call.next
    if call.next != NULL:
        (<BlockingCall>call.next).prev = call.prev
    else:
        spares_last = call.prev
    call.next = call.prev = NULL
    call.queued = False
    spares_queued -= 1
    decref(<PyObject*>call)


cdef BlockingCall queue_take():
    # There is one.
    cdef BlockingCall call = <BlockingCall>spares_first
    queue_remove(call)
    return call


@cython.final
@cython.internal
cdef class Spare:
    # A spare thread.
    cdef BlockingCall call                  # Z1
    cdef gm_note note
    cdef uint64_t epoch
    cdef void* ts                           # its PyThreadState, for V2
    cdef bint given_up                      # it could not be started: its call is not its own

    def __cinit__(self):
        if note_init(&self.note) < 0:
            raise MemoryError()
        self.epoch = spares_epoch

    def __dealloc__(self):
        note_free(&self.note)

    def run(self):
        global spares_alive, gm_tls_spare
        gm_tls_spare = 1
        self.ts = PyThreadState_Get()
        spares_alive += 1
        spares_busy.add(self)
        while self.call is not None and not self.given_up:
            self.call.run()
            self.call = None
            if self.epoch != spares_epoch:
                return                      # the call has forked: nothing of this is here
            self.next_call()
        spares_busy.discard(self)
        spares_alive -= 1

    cdef int next_call(self) except -1:
        # Sets self.call, or leaves it None: the thread is to end.
        global spares_running
        cdef int r
        if spares_queued > 0:
            self.call = queue_take()                            # Z3
            self.call.state = CALL_RUNNING
            return 0
        spares_running -= 1
        spares_busy.discard(self)
        spares_idle.append(self)
        note_clear(&self.note, NOTE_ASLEEP)
        with nogil:
            r = note_sleep(&self.note, SPARE_IDLE_NS, False)
        if self.call is None and self in spares_idle:
            spares_idle.remove(self)
        spares_busy.add(self)
        return 0


cdef int call_start(BlockingCall call) except -1:
    # Gives it to an idle thread, to a new one, or to the queue (Z2).
    cdef Spare spare
    global spares_running
    if spares_most == 0:
        spares_begin()
    if spares_running >= spares_most:
        queue_put(call)
        return 0
    call.state = CALL_RUNNING
    spares_running += 1
    if spares_idle:
        spare = <Spare>spares_idle.pop()
        spare.call = call
        spares_busy.add(spare)
        note_wakeup(&spare.note)
        return 0
    spare = Spare.__new__(Spare)
    spare.call = call
    try:
        spare_thread(spare)
    except BaseException as e:
        if call.state == CALL_DONE or spare.ts != NULL:
            raise                           # it runs: the exception came while we waited for that
        spare.given_up = True
        spare.call = None
        call.state = CALL_QUEUED
        spares_running -= 1
        if not isinstance(e, RuntimeError) or spares_alive == len(spares_idle):
            raise
        queue_put(call)                     # the system has no more threads: it waits for one
    return 0


cdef int spare_thread(Spare spare) except -1:
    global spares_named
    import threading
    spares_named += 1
    threading.Thread(target=spare.run, name=f"gmpx blocking {spares_named}", daemon=True).start()
    return 0


cdef int spares_begin() except -1:
    global spares_most
    import os
    text = os.environ.get("GMPX_BLOCKING_THREADS", "")
    most = SPARES_MOST
    if text:
        try:
            most = int(text)
            if most < 1:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"GMPX_BLOCKING_THREADS must be an int of at least 1: {text!r}") from None
    spares_most = min(most, 1 << 20)
    return 0


cdef void spare_parks() noexcept:
    # A spare thread's call is about to park in gmpx (Z2, Z3). Its park is armed, so no Python code
    # may run here: a thread of its own starts what has waited.
    global spares_running
    spares_running -= 1
    if spares_queued > 0:
        PyThread_start_new_thread(spares_grow, NULL)


cdef inline void spare_goes_on() noexcept:
    global spares_running
    spares_running += 1


cdef void spares_grow(void* unused) noexcept nogil:
    with gil:
        spares_serve()


cdef void spares_serve() noexcept:
    cdef BlockingCall call
    try:
        while spares_queued > 0 and spares_running < spares_most:
            call = queue_take()
            call_start(call)
            if call.state == CALL_QUEUED:
                return                      # no thread to be had
    except BaseException as e:
        unraisable(e)


cdef void spares_retire() noexcept:
    # Shutdown: the idle ones end. They find no call, and that they are not on the list.
    while spares_idle:
        note_wakeup(&(<Spare>spares_idle.pop()).note)


cdef void spares_forget() noexcept:
    # In a fork's child: the threads are the parent's, as are the callers.
    global spares_running, spares_alive, spares_epoch, gm_tls_spare
    gm_tls_spare = 0
    spares_epoch += 1
    spares_running = spares_alive = 0
    forgotten.extend(spares_idle)           # not freed: their threads' notes
    forgotten.extend(spares_busy)
    spares_idle.clear()
    spares_busy.clear()
    while spares_queued > 0:
        queue_take()


cdef list forgotten = []


cdef bint spare_is_busy(void* ts) noexcept:
    for spare in spares_busy:
        if (<Spare>spare).ts == ts:
            return True
    return False


cdef bint spare_is_idle(void* ts) noexcept:
    for spare in spares_idle:
        if (<Spare>spare).ts == ts:
            return True
    return False


def blocking(fn, /, *args, **kwargs):
    """blocking(fn, /, *args, **kwargs)
    Runs ``fn(*args, **kwargs)`` on a spare thread and returns its value; parks the goroutine
    meanwhile, not the thread.

    For calls that would block the thread, and with it all goroutines that have started there:
    files, DNS, sqlite, ``subprocess``, ``time.sleep``. Threads are started on demand, 64 at most
    (environment variable GMPX_BLOCKING_THREADS); further calls wait in order. A thread whose
    call is itself parked in gmpx does not count, so nested calls do not starve. Idle ones end
    after ten seconds.

    fn runs in a copy of the caller's contextvars context, on another thread: what it sets in a
    context variable, a ``threading.local`` or a ``Local`` is not seen here. In fn itself
    ``blocking`` calls its function at once.

    Returns:
        What fn returns.

    Raises:
        TypeError: fn is not callable.
        What fn raises. When the wait is cut short, by cancel, timeout or Ctrl-C, the goroutine
        leaves at once; a call that has not begun never does, one that has runs on, its result
        is dropped and what it raises goes to excepthook.

    Parks the goroutine; on a foreign thread, blocks the thread.
    """
    cdef gm_m* m = getm()
    cdef gm_g* g = getg(m)
    cdef BlockingCall call
    cdef gm_sudog* s
    cdef int r
    if not callable(fn):
        raise TypeError(f"blocking() needs a callable, not {type(fn).__name__}")
    if gm_tls_spare:
        return fn(*args, **kwargs)
    take_cancel(g)                          # before the call: it would come too late for that
    import contextvars
    call = BlockingCall.__new__(BlockingCall)
    call.fn, call.args, call.kwargs = fn, args, kwargs
    call.ctx = contextvars.copy_context()
    call.caller = <Goroutine>OBJ(g)
    fn = args = kwargs = None
    try:
        call_start(call)
    except BaseException:
        call.leave()
        raise
    if call.state != CALL_DONE:
        s = sudog_arm(g, &call.waiters, WHY_BLOCKING)
        r = gopark(m, g, NO_DEADLINE)
        waitq_remove(&call.waiters, s)
        if r != WAKE_READY:
            call.leave()
            park_raise(m, r, "blocking")
    return call.answer()

