# asyncio: coroutines that wait for goroutines and channels, loops whose wait parks their goroutine.
#
# A coroutine waits as a goroutine does, by a sudog on the queue of what it waits for. What that belongs to, an
# AioWaiter, looks like a goroutine that never runs: its park's M is loop_m, which is no thread, and goready hands it to
# its loop instead of an M (loop_ready). No Python code runs for that, so that it may happen wherever goready may.
# The loop's thread then finds it in the loop's inbox and resolves its future (AioLoop.drain).
#
# How the loop is woken: one of ours (gmpx.aio.run) parks its goroutine in AioLoop.wait, on the queue `sleeper`; any
# other watches a descriptor, an eventfd or a pipe.
#
# Invariants (GIL)
#   AL1  An AioWaiter `waits` from its sudog's place on a queue until it is withdrawn, or taken out of the loop's inbox; its
#        loop's `armed` holds it for so long. Its word is odd until somebody wins it.
#   AL2  rung is set after a push, and cleared before the inbox is taken. Who finds it set has its push seen.
#   AL3  What has happened stays: who withdraws wins the word, or else the operation is complete, and counts.
#   AL4  Nothing of a closed loop waits.
#
# Rejected: a goroutine for each wait (two changes of thread more, and an item that it holds when the coroutine is
# cancelled has nowhere to go); done callbacks with call_soon_threadsafe (Python code on the thread that ends the
# goroutine, a lock and a system call for each).

cdef extern from *:
    """
    #if defined(_WIN32)
    #  define gm_bell_ring(fd) ((void)(fd))
    #  define gm_bell_hush(fd) ((void)(fd))
    #  define gm_bell_close(fd) ((void)(fd))
    #else
    #  include <unistd.h>
    /* fd: an eventfd or the writing end of a pipe, non-blocking. A full one rings already. */
    static void gm_bell_ring(int fd) {
        unsigned long long one = 1;
        while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {}
    }
    static void gm_bell_hush(int fd) {
        char b[512];
        ssize_t n;
        do n = read(fd, b, sizeof b); while (n == (ssize_t)sizeof b || (n < 0 && errno == EINTR));
    }
    static void gm_bell_close(int fd) { close(fd); }
    #endif
    """
    void gm_bell_ring(int) noexcept nogil
    void gm_bell_hush(int) noexcept nogil
    void gm_bell_close(int) noexcept nogil

cdef enum:                              # AioWaiter.kind
    AIO_RECV = 0
    AIO_SEND = 1
    AIO_JOIN = 2


cdef struct AioWaiterHead:              # class AioWaiter as C sees it (checked at import)
    PyObject head
    gm_g g
    gm_loop* loop


@cython.final
@cython.no_gc_clear                     # what it waits for lives until it has left the queue
cdef class AioWaiter:
    """One wait of a coroutine, begun by a method of AioLoop. The loop's thread alone uses it."""
    cdef gm_g g
    cdef gm_loop* loop                  # side's
    cdef gm_park park
    cdef AioLoop side
    cdef readonly object on             # the Chan or the Goroutine
    cdef int kind
    cdef readonly bint waits            # AL1
    cdef bint queued                    # it is in armed
    cdef public object future           # resolved when it is over; None: not yet
    cdef public object settle           # what resolves it: settle(future, goroutine); None: set_result(None)

    def __init__(self):
        raise TypeError("AioWaiters are made by AioLoop")

    def __dealloc__(self):
        if self.waits and park_win(&self.park, armed_word(&self.park)):
            aio_off(self)
        xdecref(self.park.sudog.elem)

    def withdraw(self):
        """withdraw()
        Gives up. False: what it waits for has happened (AL3)."""
        cdef PyObject* elem
        if not self.waits or not park_win(&self.park, armed_word(&self.park)):
            return False
        self.waits = False
        aio_off(self)
        elem = self.park.sudog.elem
        self.park.sudog.elem = NULL
        aio_leave(self)
        xdecref(elem)
        return True

    def value(self):
        """value()
        (item, ok), when it is over: ok False: the channel was closed."""
        cdef gm_sudog* s = &self.park.sudog
        cdef PyObject* elem = s.elem
        s.elem = NULL
        if self.kind == AIO_RECV:
            return (take_ref(elem), True) if elem != NULL else (None, False)
        xdecref(elem)
        return (None, s.ok == 1)


cdef inline void aio_off(AioWaiter w) noexcept:
    # Its word is won by us.
    if w.park.sudog.queue != NULL:
        waitq_remove(w.park.sudog.queue, &w.park.sudog)


cdef inline void aio_leave(AioWaiter w) noexcept:
    if w.queued:
        w.queued = False
        w.side.armed.discard(w)


cdef AioWaiter aio_waiter(AioLoop side, object on, int kind):
    cdef AioWaiter w = AioWaiter.__new__(AioWaiter)
    w.park.g = &w.g
    w.park.m = &loop_m
    w.park.timer.index = -1
    w.g.park = &w.park
    w.loop = &side.loop
    w.side = side
    w.on = on
    w.kind = kind
    return w


cdef int aio_arm(AioWaiter w) except -1:
    # Before the look at what it waits for: it allocates (C5).
    if w.side.closed:
        raise RuntimeError("the event loop is closed")
    w.side.armed.add(w)
    w.queued = True
    return 0


cdef void loop_ready(gm_m* m, gm_g* g) noexcept nogil:
    # goready's: g, an AioWaiter's, has been won.
    cdef gm_loop* loop = (<AioWaiterHead*>OBJ(g)).loop
    inbox_push(&loop.inbox, g)
    loop_ring(m, loop)


cdef void loop_ring(gm_m* m, gm_loop* loop) noexcept nogil:
    if gm_exchange_u32_seqcst(&loop.rung, 1) != 0:
        return                                      # AL2
    if loop.fd >= 0:
        gm_bell_ring(loop.fd)
    else:
        waitq_ready(m, &loop.sleeper)


@cython.final
cdef class AioLoop:
    """AioLoop(reads=-1, writes=-1)
    What the runtime keeps for a loop of asyncio's.

    Args:
        reads, writes: descriptors of a pipe, non-blocking, or twice an eventfd: the loop calls drain() when
            there is something to read. They are this object's from now on. -1: the loop waits by wait().
    """
    cdef gm_loop loop
    cdef gm_wish wish                   # of the goroutine in wait()
    cdef int reads
    cdef set armed                      # AL1
    cdef readonly bint closed           # AL4
    cdef public bint keeps              # its loop keeps the thread while it waits: no goroutine runs there
    cdef object __weakref__

    def __init__(self, int reads=-1, int writes=-1):
        self.reads = reads
        self.loop.fd = writes
        self.armed = set()

    def __dealloc__(self):
        bell_close(self)

    def __len__(self):
        return len(self.armed)

    def __bool__(self):
        return True

    def recv(self, Chan c not None):
        """recv(c)
        Begins to receive; over at once if an item is there or the channel closed."""
        cdef AioWaiter w = aio_waiter(self, c, AIO_RECV)
        cdef PyObject* v = chan_try_recv(getm(), c)
        if v != NULL:
            w.park.sudog.elem = v
            return w
        if c.is_closed:
            return w
        aio_arm(w)
        v = chan_try_recv(gm_tls_m, c)              # C5
        if v != NULL or c.is_closed:
            w.park.sudog.elem = v
            aio_leave(w)
            return w
        sudog_arm(&w.g, &c.recvq, WHY_RECV)
        w.waits = True
        return w

    def send(self, Chan c not None, v):
        """send(c, v)
        Begins to send; over at once if there is room.

        Raises:
            ChannelClosed: it is closed."""
        cdef AioWaiter w = aio_waiter(self, c, AIO_SEND)
        if chan_try_send(getm(), c, <PyObject*>v):
            w.park.sudog.ok = 1
            return w
        aio_arm(w)
        try:
            if chan_try_send(gm_tls_m, c, <PyObject*>v):
                w.park.sudog.ok = 1
                aio_leave(w)
                return w
        except:
            aio_leave(w)
            raise
        sudog_arm(&w.g, &c.sendq, WHY_SEND)
        w.park.sudog.elem = own(v)
        w.waits = True
        return w

    def join(self, Goroutine g not None):
        """join(g)
        Begins to wait for its end; over at once if it has ended.

        Raises:
            RuntimeError: it runs the loop, or waits on the thread that the loop keeps."""
        cdef AioWaiter w = aio_waiter(self, g, AIO_JOIN)
        cdef gm_m* m = getm()
        if gm_load_u32_acquire(&g.g.status) == G_DEAD:
            return w
        if &g.g == m.curg:
            raise RuntimeError(f"{g!r} cannot await itself")
        if self.keeps and g.g.park != NULL and g.g.park.m == m and schedules(m):
            raise RuntimeError(f"{g!r} has started on this thread, which the asyncio loop keeps from it: run the loop "
                               "by gmpx.aio.run")
        ext_of(&g.g)
        aio_arm(w)
        if gm_load_u32_acquire(&g.g.status) == G_DEAD:      # Y1
            aio_leave(w)
            return w
        sudog_arm(&w.g, &ext_get(&g.g).waiters, WHY_JOIN)
        w.waits = True
        return w

    def wake(self):
        """wake()
        Ends the loop's wait, or its next. Any thread."""
        loop_ring(gm_tls_m, &self.loop)

    def wait(self, int fd, timeout):
        """wait(fd, timeout)
        Parks the goroutine until the loop is woken, fd (-1: none) may be read, or the time is up."""
        cdef gm_m* m = getm()
        cdef gm_g* g = getg(m)
        cdef int64_t deadline = deadline_of(timeout)
        cdef gm_sudog* s
        cdef uint64_t word
        cdef int e = 0
        cdef int r
        if deadline == TRY_ONCE or gm_load_u32_relaxed(&self.loop.rung):
            return
        if not schedules(m) and fd >= 0:
            raise RuntimeError("this thread runs no goroutine that could wait for a descriptor")
        word = park_arm(g.park, WHY_IO)
        if fd >= 0:
            self.wish.fd, self.wish.mode = fd, PD_READ
            e = wish_arm(m, g, &self.wish, word)
        s = &g.park.sudog
        s.park = g.park
        s.elem = NULL
        s.word = word
        waitq_put(&self.loop.sleeper, s)
        if e != 0 and park_win(g.park, word):
            gm_store_u32_relaxed(&g.status, G_RUNNING)
            r = WAKE_READY                          # a look at it will say
        else:
            r = gopark(m, g, deadline)
        if fd >= 0:
            wish_drop(&self.wish)
            self.wish.pd = NULL
        waitq_remove(&self.loop.sleeper, s)
        if r != WAKE_TIMEOUT:
            park_raise(m, r, "IO wait")

    def drain(self):
        """drain()
        Resolves the futures of those that are over. The loop's thread."""
        cdef gm_g* g
        cdef gm_g* next
        cdef gm_gq due
        cdef AioWaiter w
        if self.reads >= 0:
            gm_bell_hush(self.reads)                # first: who rings after AL2's store writes again
        if gm_load_u32_relaxed(&self.loop.rung) == 0:
            return
        gm_exchange_u32_seqcst(&self.loop.rung, 0)  # AL2
        due.head = due.tail = NULL
        due.n = 0
        inbox_drain(&self.loop.inbox, &due)
        found = []
        g = due.head
        while g != NULL:
            next = g.schedlink
            w = <AioWaiter><object>OBJ(g)
            w.waits = False
            found.append(w)
            aio_leave(w)
            g = next
        for w in found:
            aio_resolve(w)

    def close(self):
        """close()
        Withdraws all that wait."""
        self.closed = True
        gm_exchange_ptr_acqrel(&self.loop.inbox, NULL)
        for w in list(self.armed):
            (<AioWaiter>w).withdraw()
        self.armed.clear()
        gm_store_u32_relaxed(&self.loop.rung, 1)    # nobody rings any more
        bell_close(self)


cdef void bell_close(AioLoop side) noexcept:
    if side.loop.fd >= 0 and side.loop.fd != side.reads:
        gm_bell_close(side.loop.fd)
    if side.reads >= 0:
        gm_bell_close(side.reads)
    side.reads = side.loop.fd = -1


cdef void aio_resolve(AioWaiter w) noexcept:
    try:
        if w.future is None or w.future.done():
            return
        if w.settle is None:
            w.future.set_result(None)
        else:
            w.settle(w.future, w.on)
    except BaseException as e:
        unraisable(e)                               # the loop is closed: nobody waits any more


cdef bint loop_parks(loop) except -1:
    # Whether it is gmpx.aio.run's.
    side = getattr(loop, "_gmpx", None)
    return type(side) is AioLoop and (<AioLoop>side).reads < 0 and not (<AioLoop>side).keeps


def _give_away():
    """_give_away()
    What the calling thread's P has queued goes to whoever comes: a loop is about to keep the thread."""
    cdef gm_m* m = gm_tls_m
    cdef gm_p* p
    cdef gm_g* g
    cdef uint32_t i
    cdef int n
    cdef bint more = True
    if m == NULL or m.p == NULL or fresh_len(m.p) == 0:
        return
    p = m.p
    while more:
        gm_lock_acquire(&sched.lock)
        for n in range(64):
            g = batches_pop(&p.spill) if p.spill.n > 0 else NULL
            if g != NULL:
                batches_took(&p.spill, 1)
            else:
                g = runq_get(p)
            if g == NULL:
                more = False
                break
            glob_runq_put(g)
        gm_lock_release(&sched.lock)
    for i in range(gm_load_u32_acquire(&sched.nallp)):
        if allp[i] != p and gm_load_u32_relaxed(&allp[i].status) == P_RUNNING:
            policy_queued()
            return
    sysmon_watch()
    if gm_load_u32_relaxed(&sched.nmspinning) == 0:
        start_any()                                 # it may be the only P: a spare one, then


# ---- a wait that stops the loop ------------------------------------------------------------
#
# A goroutine that parks while asyncio runs a loop in it takes the loop along: its coroutines stand still, and
# if they are what is waited for, for good. Such a wait of gmpx's own raises, if it has no time limit. What ends by
# itself stands still for as long as it would without gmpx, and does not: sleep, a call in `blocking`, a patched
# socket or lock, nor a Mutex, which others hold for a moment.
#
# Who runs a loop: GF_LOOP says it of main and the other Ms' goroutines, once _asyncio is there and watched, which
# main's first park sees to. A foreign thread's own is asked for.

cdef extern from *:
    """
    #define gm_dict_used(d) (&((PyDictObject *)(d))->ma_used)
    """
    Py_ssize_t* gm_dict_used(PyObject*) noexcept
    PyObject* PyImport_GetModuleDict() noexcept
    PyObject* PyDict_GetItemString(PyObject*, const char*) noexcept


cdef void loops_watch() noexcept:
    # Main, at its first park since a module has come.
    global modules_used, modules_seen
    cdef PyObject* modules = PyImport_GetModuleDict()
    cdef PyObject* module = PyDict_GetItemString(modules, b"_asyncio")
    if modules_used == &modules_none:
        incref(modules)                             # for good
        modules_used = gm_dict_used(modules)
    modules_seen = modules_used[0]
    if module == NULL:
        return
    try:
        swap_running_loop(<object>module, True, LOOPS_WATCHED)
    except BaseException:
        pass                                        # half imported: the next wait looks again


cdef bint loop_stops(gm_m* m, gm_g* g) noexcept:
    # Whether g, whose park is armed, would stop a loop of its own.
    if not 1 << g.park.why & (
            1 << WHY_RECV | 1 << WHY_SEND | 1 << WHY_SELECT | 1 << WHY_NO_CASES | 1 << WHY_JOIN | 1 << WHY_WAIT_GROUP
            | 1 << WHY_SEMAPHORE | 1 << WHY_COND | 1 << WHY_EVENT):
        return False
    return loop_runs(m, g)


cdef bint loop_runs(gm_m* m, gm_g* g) noexcept:
    # Whether asyncio runs a loop in g, which calls.
    cdef PyObject* loop
    cdef bint found
    if gm_unlikely(plain_get_loop == NULL):
        loops_watch()
        if plain_get_loop == NULL:
            return False
    if m.kind != M_FOREIGN:
        return g.flags & GF_LOOP != 0
    loop = plain_get_loop(<PyObject*>asyncio_module, NULL)
    if loop == NULL:
        PyErr_Clear()
        return False
    found = loop != <PyObject*>None
    decref(loop)
    return found


cdef int loop_told(gm_g* g, str what) except -1:
    cdef int why = g.park.why
    if why == WHY_RECV:
        hint = "'await gmpx.aio.recv(c)'"
    elif why == WHY_SEND:
        hint = "'await gmpx.aio.send(c, v)'"
    elif why == WHY_JOIN:
        hint = "'await' it"
    else:
        hint = "'await gmpx.go(f)', where f waits"
    raise RuntimeError(
        f"{what} without a time limit would stop the asyncio loop that runs in this goroutine: use {hint}, "
        "or give a timeout")
