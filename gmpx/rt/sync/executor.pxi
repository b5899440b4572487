# Under Executor (gmpx/executor.py): futures whose call is a goroutine.
#
# A future is a handle beside the Goroutine's: it holds one as soon as there is room, and everything that it
# knows then is what that one knows. So submit costs what `go` costs, and an object. What only some futures
# have (a place in the queue, waiters of concurrent.futures) is in `more`.
#
# Invariants
#   FU1  state goes from FU_WAITS to one other, and stays (GIL). FU_STARTED: there is a goroutine, which was made
#        and published in that step. It has a call until then, and none after.
#   FU2  Tasks.n counts the futures that have neither ended nor been cancelled while they waited, and those whose
#        callbacks no goroutine has been started for yet; Tasks.callbacks counts these goroutines, which are
#        nobody's turn of the limit. shutdown waits for both, in that order: callbacks are not added without the
#        former.
#   FU3  Tasks.running counts goroutines between their start and the look at the queue at their end, which
#        comes before the count-down (as FD2). With a limit, nothing waits while it is below the limit.
#   FU4  Once somebody has asked for `_condition`, `_state` changes only with that held: concurrent.futures.wait
#        counts and registers in one such block. What a goroutine's end does there are a few steps that never
#        park, so the lock is a plain one and blocks the thread.
#   FU5  Where asyncio runs a loop in the goroutine that waits, and no time limit is on it, shutdown waits only once all
#        calls have ended. What is left then: last steps of goroutines; those that were cancelled, which never run; and
#        callbacks. Wherever they have started or are queued they can go on: the wait parks, and so gives up this
#        thread to those that are bound to it. None of them needs the loop, asyncio's callbacks only ring it, but one of
#        the user's may wait for it. So what a callback is in yet after CALLBACKS_NS counts as such a wait.
#
# Free-threaded builds: a cancel may come a moment too late for one that has just begun; the call's outcome
# then counts, as it does if cancel returns False.

from collections import deque

cdef int64_t CALLBACKS_NS = 5000000000      # FU5: far more than what notes a result takes on a loaded machine

cdef enum:
    FU_WAITS = 0
    FU_STARTED = 1
    FU_CANCELLED = 2            # while it waited
    FU_FAILED = 3               # could not be started: more.failure says why

# What executor.py gives: the class of futures; concurrent.futures' names.
cdef object future_class = None
cdef object future_base = None              # concurrent.futures.Future
cdef object future_errors = None            # (CancelledError, TimeoutError, LOGGER)
cdef object future_condition = None         # makes a Condition


def _executor_parts(cls, base, cancelled, timed_out, logger, condition):
    """_executor_parts(cls, base, cancelled, timed_out, logger, condition)
    See gmpx/executor.py."""
    global future_class, future_base, future_errors, future_condition
    future_class = cls
    future_base = base
    future_errors = cancelled, timed_out, logger
    future_condition = condition


@cython.final
cdef class Tasks(WaitGroup):
    """Tasks(limit, name=None)
    What an Executor has under way. limit: 0 for none."""

    def __cinit__(self, Py_ssize_t limit, str name=None):
        self.limit = limit
        self.name = name
        self.chains = limit > 0
        self.is_tasks = True
        self.waiting = deque()
        self.callbacks = WaitGroup()

    def __init__(self, limit, name=None):
        pass

    def cancel_waiting(self):
        """cancel_waiting()
        Cancels all that have not begun."""
        cdef FutureCore f
        cdef gm_g* g
        while self.waiting:
            f = self.waiting.popleft()
            f.cancel()
        gm_mu_lock(&all_mu)
        g = all_gs.head
        while g != NULL:
            if wg_of(g) == <PyObject*>self and not begun(g):
                g_cancel(g)
            g = g.all_next
        gm_mu_unlock(&all_mu)

    def abandon(self, exc):
        """abandon(exc)
        After fork, in the child: nothing of it lives here. What waits fails with exc."""
        cdef FutureCore f
        self.running = 0
        self.n = 0
        while self.waiting:
            f = self.waiting.popleft()
            if f.state == FU_WAITS:
                self.n += f.callbacks is not None   # FU2: counted down when they have been called
                future_unstartable(f, exc)

    def wait_all(self):
        """wait_all()
        Waits until all have ended, and their callbacks. False: a call or a callback has not ended, and the wait for it
        would stop the asyncio loop that runs in this goroutine."""
        cdef gm_m* m = getm()
        cdef gm_g* g
        while self.n > 0 or self.callbacks.n > 0:
            g = getg(m)
            if not loop_runs(m, g) or scopes_timed(g.park):
                self.wait()
                self.callbacks.wait()
            elif calls_live(self) or not tasks_rest(self, m, g):
                return False
        return True

    def told(self):
        """told()
        Whether each goroutine that it has yet stands where the last DeadlockError showed it."""
        cdef gm_g* g
        cdef bint found = True
        if tasks_told is None:
            return False
        gm_mu_lock(&all_mu)
        g = all_gs.head
        while g != NULL and found:
            if (wg_of(g) == <PyObject*>self or wg_of(g) == <PyObject*>self.callbacks) and (
                    gm_load_u32_acquire(&g.status) != G_DEAD):
                found = g.park != NULL and tasks_told.get(<uintptr_t>g) == gm_load_u64_relaxed(&g.park.word)
            g = g.all_next
        gm_mu_unlock(&all_mu)
        return found

    def busy(self):
        """busy()
        Whether anything of it has not ended."""
        return self.n > 0 or self.callbacks.n > 0

    def counts(self):
        """counts()
        (running, waiting)."""
        return self.running if self.limit else self.n, sum(not f.done() for f in self.waiting)


cdef dict tasks_told = None                 # address: park word of the Executors' goroutines, at the last DeadlockError


cdef int tasks_tell() except -1:
    # A DeadlockError is about to tell all that stands.
    global tasks_told
    cdef gm_g* g
    cdef dict found = {}
    gm_mu_lock(&all_mu)
    try:
        g = all_gs.head
        while g != NULL:
            if wg_of(g) != NULL and g.park != NULL:
                found[<uintptr_t>g] = gm_load_u64_relaxed(&g.park.word)
            g = g.all_next
    finally:
        gm_mu_unlock(&all_mu)
    tasks_told = found
    return 0


cdef bint tasks_rest(Tasks tasks, gm_m* m, gm_g* g) except -1:
    # FU5: WHY_SHUTDOWN stops a loop and is let through. False: a callback may wait for the loop.
    cdef WaitGroup wg = tasks if tasks.n > 0 else tasks.callbacks
    try:
        wait_on(m, g, &wg.waiters, WHY_SHUTDOWN, clock_now() + CALLBACKS_NS, "Executor.shutdown")
    except TimeoutError:
        return tasks.calling == 0
    return True


cdef bint calls_live(Tasks tasks) except -1:
    # Whether a call has neither ended nor been cancelled before it began. No more are submitted.
    cdef gm_g* g
    cdef bint found = False
    for f in tasks.waiting:
        if not f.done():
            return True
    gm_mu_lock(&all_mu)
    g = all_gs.head
    while g != NULL and not found:
        found = wg_of(g) == <PyObject*>tasks and gm_load_u32_acquire(&g.status) != G_DEAD and (
            begun(g) or g.flags & GF_CANCELLED == 0)
        g = g.all_next
    gm_mu_unlock(&all_mu)
    return found


cdef inline bint begun(gm_g* g) noexcept nogil:
    return g.park != NULL or gm_load_u32_acquire(&g.status) != G_RUNNABLE


cdef class ExecutorCore:
    """See gmpx/executor.py."""

    def __cinit__(self, *args, **kwargs):
        self.looks = True                       # until _set_up

    def _set_up(self, Tasks tasks not None, bint looks):
        self.tasks = tasks
        self.looks = looks

    def _is_set_up(self):
        return self.tasks is not None

    def _looks(self, bint looks):
        self.looks = looks

    def _tasks(self):
        return self.tasks


cdef PyObject* submit_fastcall(PyObject* self, PyObject** args, Py_ssize_t nargs,
                               PyObject* kwnames) except NULL:
    cdef ExecutorCore executor = <ExecutorCore>self
    cdef Tasks tasks
    cdef FutureCore f
    cdef PyObject* h
    if gm_unlikely(nargs < 1):
        raise TypeError("submit() needs a function to run")
    if gm_unlikely(not PyCallable_Check(args[0])):
        raise TypeError(f"submit() needs a callable, not {type(<object>args[0]).__name__}")
    if gm_unlikely(executor.looks):
        (<object>executor)._look()
    tasks = executor.tasks
    f = FutureCore.__new__(future_class)
    f.tasks = tasks
    if tasks.limit > 0:
        gm_mu_lock(&tasks.mu)
        if tasks.running >= tasks.limit:
            gm_mu_unlock(&tasks.mu)
            future_queue(f, args, nargs, kwnames)
            return own(f)
        tasks.running += 1                      # FU3
        gm_mu_unlock(&tasks.mu)
    h = goroutine_create(args, nargs, kwnames, <PyObject*>tasks, 0)
    if gm_unlikely(h == NULL):
        if tasks.limit > 0:
            tasks_give_back(tasks)
        return NULL
    f.g = <Goroutine>h
    decref(h)
    f.state = FU_STARTED
    if gm_unlikely(tasks.name is not None):
        f.g.name = tasks.name
    return own(f)


cdef void tasks_give_back(Tasks tasks) noexcept:
    # The room of one that could not be started; meanwhile others may have come to wait for it. An exception is set.
    cdef PyObject* t = NULL
    cdef PyObject* v = NULL
    cdef PyObject* tb = NULL
    PyErr_Fetch(&t, &v, &tb)
    tasks_next(gm_tls_m, tasks)
    PyErr_Restore(t, v, tb)


cdef int future_queue(FutureCore f, PyObject** args, Py_ssize_t nargs, PyObject* kwnames) except -1:
    cdef gm_m* m = getm()
    cdef Tasks tasks = f.tasks
    cdef _FutureMore more = future_more(f)
    cdef bint room
    if nargs > 1 or kwnames != NULL:
        more.args = pack_args(args + 1, nargs - 1, kwnames, &more.flags)
        if more.flags == ~<uint32_t>0:
            raise MemoryError()
    more.ctx = context_snapshot(m)
    if more.ctx == NULL:
        raise MemoryError()
    more.fn = <object>args[0]
    tasks.n += 1
    gm_mu_lock(&tasks.mu)                       # FU3
    tasks.waiting.append(f)
    room = tasks.running < tasks.limit          # one has ended meanwhile
    tasks.running += room
    gm_mu_unlock(&tasks.mu)
    if room:
        tasks_next(m, tasks)
    return 0


cdef void tasks_next(gm_m* m, Tasks tasks) noexcept:
    # There is room for one more, which is counted as running: starts the first that waits.
    cdef FutureCore f
    while True:
        gm_mu_lock(&tasks.mu)                   # FU3
        if not tasks.waiting:
            tasks.running -= 1
            gm_mu_unlock(&tasks.mu)
            return
        f = <FutureCore>tasks.waiting.popleft()
        gm_mu_unlock(&tasks.mu)
        if f.state == FU_WAITS:
            try:
                future_start(m, f)
                return
            except BaseException as e:
                future_unstartable(f, e)
                wg_done(m, tasks)


cdef int future_start(gm_m* m, FutureCore f) except -1:
    # FU1. It is counted already.
    cdef _FutureMore more = f.more
    cdef PyObject* args = more.args
    cdef PyObject* ctx = more.ctx
    cdef gm_g* g
    more.args = more.ctx = NULL
    g = newproc1(m, <PyObject*>more.fn, args, more.flags, ctx, <PyObject*>f.tasks)
    if g == NULL:
        raise MemoryError()
    f.g = <Goroutine>OBJ(g)
    f.state = FU_STARTED
    more.fn = None
    if f.tasks.name is not None or more.hooks is not None:
        try:
            if f.tasks.name is not None:
                f.g.name = f.tasks.name
            if more.hooks is not None:
                for hook in more.hooks:
                    f.g.add_done_callback(hook)
                more.hooks = None
        except BaseException as e:
            unraisable(e)
    newproc_publish(m, g)
    if more.started is not None:
        (<Event>more.started).set()
    return 0


cdef void future_unstartable(FutureCore f, exc) noexcept:
    f.more.failure = exc
    f.state = FU_FAILED
    try:
        future_dropped(f)
    except BaseException as e:
        unraisable(e)


cdef int future_dropped(FutureCore f) except -1:
    # It has ended without a goroutine. In its caller, for whom the last exception of a callback is that ends more
    # than the callback (Cancelled, Ctrl-C).
    cdef _FutureMore more = f.more
    cdef PyObject* args = more.args
    cdef PyObject* ctx = more.ctx
    hooks, more.hooks = more.hooks, None
    more.fn = None
    more.args = more.ctx = NULL
    if more.started is not None:
        (<Event>more.started).set()
    xdecref(args)
    xdecref(ctx)
    if hooks is None:
        return 0
    failure = None
    for hook in hooks:
        try:
            hook(None)
        except BaseException as e:
            failure = e
    if failure is not None:
        try:
            raise failure
        finally:
            del failure
    return 0


cdef PyMethodDef submit_def
add_method(ExecutorCore, &submit_def, b"submit", <PyCFunction><void*>submit_fastcall,
           b"""submit($self, fn, /, *args, **kwargs)
--

Runs ``fn(*args, **kwargs)`` in a goroutine of its own, as soon as there is room.

It gets a copy of the caller's contextvars context as it is now. Never blocks.

Returns:
    The Future, which is a ``concurrent.futures.Future``.

Raises:
    RuntimeError: after shutdown.
    TypeError: fn is not callable.
""")
