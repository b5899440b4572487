# CPython's own locks, in place: _thread.lock, _thread.RLock, _queue.SimpleQueue.
#
# The C functions behind their methods are exchanged (threadswap.pxi). The objects stay CPython's, so every lock
# there is parks goroutines, whoever made it and when: threading's Lock, RLock, and its Condition, Event,
# Semaphore, Barrier, Timer and queue's queues, which are Python code over these. A state is changed by the
# original functions alone. What is added is a queue of the goroutines that wait for an object.
#
# Who acquires in a goroutine tries without blocking; if that fails it parks. Whoever releases, on any thread,
# looks for such waiters. Foreign threads block in CPython as ever.
#
# Invariants (GIL)
#   TK1  A waiter is on its object's queue from a failed try to its wake-up; nothing runs between that try and
#        park_arm. A release comes after that try, so it finds it.
#   TK2  A lock that is free while goroutines wait for it has one that is woken and has not tried yet
#        (`woken`): that one takes it, or finds it taken, and then the next release wakes the next. One that leaves
#        instead, because it was thrown into, wakes the next itself.
#   TK3  A waiter that was woken and found the lock taken has LOST: it goes to the head of the queue and the
#        next release hands the lock over, without freeing it. So nobody starves, and who only ever locks and
#        unlocks need not change threads at each turn (Go's two modes of sync.Mutex).
#   TK4  An RLock that a goroutine holds has owner_key as its owner, which is no thread's id; but the main
#        goroutine has its thread's, so that what it held before the exchange goes on. After a fork it has what it had
#        before, when it need not have been the main one.
#   TK5  SimpleQueue (threadqueue.pxi): every put wakes one waiter; one that finds nothing waits again, at the head.
#   TK6  While somebody waits, release and put stay ours, also when the exchange has been taken back. What is acquired
#        from then on has its thread's id as its owner, as CPython knows it.
#
# Not here: who ends a wait in C alone. A thread's end does (Thread.join, threading._shutdown): those wait on another thread
# (gmpx/patch/locks.py).
# The locks of imports stay CPython's: they belong to a thread by its id, and their bookkeeping is one
# entry a thread.

cdef enum:
    TK_LOCK = 0
    TK_RLOCK = 1
    TK_QUEUE = 2
    S_NEW = 0                           # gm_sudog.ok: it has not been woken
    S_HANDED = 1                        # it has what it waits for
    S_LOST = 2                          # TK3
    # how a wait is done, by who asks
    AS_USUAL = 0
    AS_NATIVE = 1                       # it blocks the thread
    AS_SHIELDED = 2                     # it ends with the lock held, whatever comes
    AS_ELSEWHERE = 3                    # another thread blocks

cdef extern from "rt/platform/threadstate.h":
    uint64_t gm_rlock_owner(PyObject*) noexcept
    void gm_rlock_set_owner(PyObject*, uint64_t) noexcept
    size_t gm_rlock_count(PyObject*) noexcept
    void gm_rlock_set_count(PyObject*, size_t) noexcept

cdef extern from *:
    """
    #define gm_call_kw(f, self, a, kw) ((PyCFunctionWithKeywords)(void (*)(void))(f))(self, a, kw)
    /* The code object of the Python function that calls, borrowed, or NULL. */
    static PyObject *gm_calling_code(void) {
        PyFrameObject *f = PyEval_GetFrame();
        PyObject *code;
        if (f == NULL) return NULL;
        code = (PyObject *)PyFrame_GetCode(f);
        Py_DECREF(code);                /* its frame holds it */
        return code;
    }
    """
    PyObject* gm_call_kw(PyCFunction, PyObject*, PyObject*, PyObject*) noexcept
    PyObject* gm_called_kw "gm_call_kw"(PyCFunction, PyObject*, PyObject*, PyObject*) except NULL
    PyObject* gm_calling_code() noexcept

cdef PyCFunction plain_lock_acquire = NULL
cdef PyCFunction plain_lock_release = NULL
cdef PyCFunction plain_lock_locked = NULL
cdef PyCFunction plain_rlock_acquire = NULL
cdef PyCFunction plain_rlock_release = NULL
cdef PyCFunction plain_rlock_is_owned = NULL
cdef PyCFunction plain_rlock_release_save = NULL
cdef PyCFunction plain_rlock_acquire_restore = NULL
cdef PyCFunction plain_rlock_recursion_count = NULL
cdef PyCFunction plain_queue_get = NULL
cdef PyCFunction plain_queue_put = NULL
cdef PyCFunction plain_queue_put_nowait = NULL
cdef PyCFunction plain_queue_empty = NULL

cdef tuple only_false = (False,)
# Not to be had by an import any more in a finalizer at the interpreter's exit:
cdef object lock_type = None                # _thread.lock
cdef object rlock_type = None               # _thread.RLock
cdef object queue_type = None               # _queue.SimpleQueue
cdef object new_lock = None                 # _thread.allocate_lock
cdef object lock_elsewhere = None           # what AS_ELSEWHERE calls: (lock, seconds or -1), the result is acquire's
cdef dict lock_callers = {}                 # code object -> AS_*
cdef bint locks_on = False                  # else they are watched (rt/observe/lockwatch.pxi), or CPython's
cdef bint queues_on = False


@cython.final
cdef class _LockWaiters:
    # The goroutines that wait for one object.
    cdef gm_waitq q
    cdef Py_ssize_t woken
    cdef Py_ssize_t users
    cdef object held                        # the object lives as long as somebody waits


cdef enum:
    LOCK_PLACES = 1024

cdef dict lock_waiters = {}                 # id(object) -> _LockWaiters
cdef Py_ssize_t lock_waiting = 0            # its length
cdef uint32_t lock_waits[LOCK_PLACES]       # its objects by address: most releases find a 0, and need no look


cdef inline uint32_t lock_place(PyObject* lock) noexcept:
    return <uint32_t>((<uint64_t><uintptr_t>lock >> 4) * <uint64_t>0x9e3779b97f4a7c15 >> 40)


cdef inline bint waited_for(PyObject* self) noexcept:
    # False: nobody waits for it.
    return lock_waiting != 0 and lock_waits[lock_place(self) % LOCK_PLACES] != 0


cdef inline gm_m* lock_m() noexcept:
    # The M whose goroutine could park, or NULL: the thread blocks. (net_native, but for bubbles, in which
    # locks are as good as channels.)
    cdef gm_m* m = gm_tls_m
    if m == NULL or m.kind == M_FOREIGN or m.curg == NULL:
        return NULL
    return m


cdef uint64_t main_owner = 0                # a fork's child: the main goroutine's owner_key, if it is not its thread's


cdef inline uint64_t owner_key(gm_m* m, gm_g* g) noexcept:
    if gm_unlikely(g == m.g_main):
        return main_owner if gm_unlikely(main_owner != 0) else m.ident
    return g.goid << 1 | 1                  # TK4: the ids of threads are even


# ---- waiting -------------------------------------------------------------------------------

cdef int lock_try(int kind, PyObject* self, gm_m* m, gm_g* g) noexcept:
    # Whether what is waited for could be had at once; for a queue, whether there is an item. -1: an exception is set.
    cdef PyObject* r
    cdef bint got
    if kind == TK_QUEUE:
        r = plain_queue_empty(self, NULL)
        got = r == Py_False
    elif kind == TK_RLOCK and gm_rlock_count(self) > 0:
        return 0
    else:
        r = gm_call_kw(plain_lock_acquire if kind == TK_LOCK else plain_rlock_acquire, self,
                       <PyObject*>only_false, NULL)
        got = r == Py_True
    if r == NULL:
        return -1
    decref(r)
    if got and kind == TK_RLOCK:
        gm_rlock_set_owner(self, owner_key(m, g))
    return got


cdef int lock_wait(int kind, PyObject* self, gm_m* m, gm_g* g, int64_t deadline) except -1:
    # Parks until it has it: 1. 0: the deadline has come. No handler stands around gopark: it would cost each
    # waiter 100 bytes of stack.
    cdef gm_sudog* s = &g.park.sudog
    cdef int state = S_NEW
    cdef int r = WAKE_READY
    cdef int got
    cdef object key = <uintptr_t>self
    cdef _LockWaiters w = <_LockWaiters>lock_waiters.get(key)
    if w is None:
        w = lock_waiters_new(key, self)
    w.users += 1
    while True:
        got = lock_try(kind, self, m, g)            # TK1
        if got != 0:
            break
        sudog_arm(g, &w.q, WHY_THREAD_QUEUE if kind == TK_QUEUE else WHY_THREAD_LOCK)
        s.ok = state
        if state == S_LOST:
            waitq_to_head(&w.q, s)
        r = gopark(m, g, deadline)
        if r != WAKE_READY:
            break
        if s.ok == S_HANDED:
            got = 1
            break
        w.woken -= 1
        state = S_LOST
    if r < 0 and s.queue == NULL:                   # thrown into after it had been woken (TK2)
        lock_pass_on(kind, self, m, w, s.ok == S_HANDED)
    waitq_remove(&w.q, s)
    w.users -= 1
    if gm_unlikely(not locks_on) and got == 1 and kind == TK_RLOCK:
        gm_rlock_set_owner(self, m.ident)           # TK6
    if w.users == 0:
        lock_forget(key)
    if got != 0:
        return got
    if r == WAKE_TIMEOUT:
        return 0
    return park_raise(m, r, "a lock")


cdef _LockWaiters lock_waiters_new(object key, PyObject* self):
    global lock_waiting
    cdef _LockWaiters mine = _LockWaiters()
    cdef _LockWaiters w = <_LockWaiters>lock_waiters.setdefault(key, mine)
    if w is mine:                                   # else the collector has run, and others have begun to wait
        w.held = <object>self
        lock_waiting = len(lock_waiters)
        lock_waits[lock_place(self) % LOCK_PLACES] += 1
    return w


cdef int lock_forget(object key) except -1:
    global lock_waiting
    if lock_waiters.pop(key, None) is not None:
        lock_waits[lock_place(<PyObject*><uintptr_t>key) % LOCK_PLACES] -= 1
    lock_waiting = len(lock_waiters)
    if lock_waiting == 0:                           # TK6
        if not locks_on:
            exchange_releases(False)
        if not queues_on:
            exchange_puts(False)
    return 0


cdef void locks_forked(gm_m* m, gm_g* me) noexcept:
    # In a fork's child: me, which forked, becomes the main goroutine. Those that waited are no more, one that had been
    # woken (TK2) with them; what they refer to is forgotten, not freed.
    global lock_waiters, lock_waiting, main_owner
    if me == NULL or m.kind == M_FOREIGN:
        main_owner = 0
    elif me != m.g_main:
        main_owner = owner_key(m, me)
    if lock_waiting != 0:
        incref(<PyObject*>lock_waiters)
        lock_waiters = {}
        lock_waiting = 0
        memset(lock_waits, 0, sizeof(lock_waits))


cdef void waitq_to_head(gm_waitq* q, gm_sudog* s) noexcept:
    # s is the last.
    if q.first == s:
        return
    q.last = s.prev
    s.prev.next = NULL
    s.prev = NULL
    s.next = q.first
    q.first.prev = s
    q.first = s


cdef int lock_pass_on(int kind, PyObject* self, gm_m* m, _LockWaiters w, bint handed) except -1:
    # A waiter goes that had been woken, with the exception that was thrown into it.
    cdef PyObject* r
    if kind == TK_QUEUE:
        lock_wake(m, w)
        return 0
    if not handed:
        w.woken -= 1
        r = NULL
        if kind == TK_LOCK:
            r = plain_lock_locked(self, NULL)
        if r == Py_False or (kind == TK_RLOCK and gm_rlock_count(self) == 0):
            lock_wake(m, w)
        xdecref(r)
    elif kind == TK_LOCK:
        xdecref(lock_release(self, NULL))
    else:
        rlock_free(self, m)
    return 0


cdef inline void lock_wake(gm_m* m, _LockWaiters w) noexcept:
    cdef gm_sudog* s
    if w.woken > 0:
        return
    s = waitq_get(&w.q)
    if s != NULL:
        w.woken += 1
        sudog_ready(m, s, False)


cdef _LockWaiters waiters_of(PyObject* self):
    if PyInterpreterState_Get() != PyInterpreterState_Main():
        return None                                 # whose locks are its own; it may not have our GIL
    return <_LockWaiters>lock_waiters.get(<uintptr_t>self)


# ---- arguments -----------------------------------------------------------------------------

cdef int lock_arguments(PyObject* args, PyObject* kwargs, int64_t* deadline) except -1:
    # acquire(blocking=True, timeout=-1): 0: it does not wait. What is wrong is said by the original, to
    # which a lock that is free gives no reason to wait.
    cdef Py_ssize_t n = tuple_size(args)
    cdef PyObject* first = tuple_get(args, 0) if n > 0 else Py_True
    cdef double seconds = -1
    deadline[0] = NO_DEADLINE
    if kwargs == NULL and n <= 2 and (first == Py_True or (first == Py_False and n == 1)):
        if n < 2:
            return first == Py_True
        if type(<object>tuple_get(args, 1)) is float:
            seconds = PyFloat_AsDouble(tuple_get(args, 1))
            if 0 <= seconds < 9.0e9:
                deadline[0] = clock_now() + ns_of(seconds)
                return 1
    return lock_arguments_slow(<object>args, <object>kwargs if kwargs != NULL else {}, deadline)


cdef int lock_arguments_slow(tuple args, dict kwargs, int64_t* deadline) except -1:
    cdef bint blocking
    cdef double seconds
    free = new_lock()
    take_ref(gm_called_kw(plain_lock_acquire, <PyObject*>free, <PyObject*>args, <PyObject*>kwargs))
    blocking = bool(args[0] if len(args) > 0 else kwargs.get("blocking", True))
    seconds = args[1] if len(args) > 1 else kwargs.get("timeout", -1)
    if not blocking:
        return 0
    if seconds != -1:
        deadline[0] = clock_now() + ns_of(min(seconds, 9.0e9))
    return 1


cdef int lock_caller() except -1:
    cdef PyObject* code = gm_calling_code()
    if code == NULL:
        return AS_USUAL
    how = lock_callers.get(<object>code)
    return AS_USUAL if how is None else <int>how


# ---- Lock ----------------------------------------------------------------------------------

cdef PyObject* lock_acquire(PyObject* self, PyObject* args, PyObject* kwargs) except NULL:
    cdef gm_m* m = lock_m()
    cdef PyObject* r
    if m == NULL:
        return gm_call_kw(plain_lock_acquire, self, args, kwargs)
    r = gm_call_kw(plain_lock_acquire, self, <PyObject*>only_false, NULL)
    if gm_likely(r == Py_True and tuple_size(args) == 0 and kwargs == NULL):
        return r
    return lock_acquire_slow(self, args, kwargs, m, r)


cdef PyObject* lock_acquire_slow(PyObject* self, PyObject* args, PyObject* kwargs, gm_m* m, PyObject* r) except NULL:
    # r: what the try has brought.
    cdef int64_t deadline
    cdef int blocking
    cdef int how
    cdef bint got = r == Py_True
    if r == NULL:
        return NULL
    decref(r)
    try:
        blocking = lock_arguments(args, kwargs, &deadline)
    except BaseException:
        if got:
            decref(lock_release(self, NULL))
        raise
    if got or not blocking:
        return own(got)
    how = lock_caller()
    if how == AS_NATIVE or m.ts != <void*>PyThreadState_Get():
        return gm_call_kw(plain_lock_acquire, self, args, kwargs)
    if how == AS_ELSEWHERE:
        return own(lock_elsewhere(<object>self, -1 if deadline == NO_DEADLINE else max(
            0, deadline - clock_now()) * 1e-9))
    if how == AS_SHIELDED:
        cond_lock_again(m.curg, <object>self)
        return own(True)
    return own(lock_wait(TK_LOCK, self, m, m.curg, deadline) == 1)


cdef PyObject* lock_release(PyObject* self, PyObject* unused) except NULL:
    if gm_likely(not waited_for(self)):
        return plain_lock_release(self, NULL)
    return lock_release_slow(self)


cdef PyObject* lock_release_slow(PyObject* self) except NULL:
    cdef gm_m* m = gm_tls_m
    cdef _LockWaiters w = waiters_of(self)
    cdef gm_sudog* s
    cdef PyObject* r
    if w is None:
        return plain_lock_release(self, NULL)
    if w.q.first != NULL and w.q.first.ok == S_LOST:
        r = plain_lock_locked(self, NULL)
        decref(r)
        if r == Py_True:
            s = waitq_get(&w.q)
            if s != NULL:
                s.ok = S_HANDED                     # TK3
                sudog_ready(m, s, False)
                return own(None)
    r = plain_lock_release(self, NULL)
    if r != NULL:
        lock_wake(m, w)
    return r


# ---- RLock ---------------------------------------------------------------------------------

cdef PyObject* rlock_acquire(PyObject* self, PyObject* args, PyObject* kwargs) except NULL:
    cdef gm_m* m = lock_m()
    cdef PyObject* r
    cdef size_t count
    if m == NULL:
        return gm_call_kw(plain_rlock_acquire, self, args, kwargs)
    if gm_likely(tuple_size(args) == 0 and kwargs == NULL):
        count = gm_rlock_count(self)
        if count == 0:
            r = gm_call_kw(plain_rlock_acquire, self, <PyObject*>only_false, NULL)
            if gm_likely(r == Py_True):
                gm_rlock_set_owner(self, owner_key(m, m.curg))
                return r
            if r == NULL:
                return NULL
            decref(r)
        elif gm_rlock_owner(self) == owner_key(m, m.curg):
            gm_rlock_set_count(self, count + 1)
            return own(True)
    return rlock_acquire_slow(self, args, kwargs, m)


cdef PyObject* rlock_acquire_slow(PyObject* self, PyObject* args, PyObject* kwargs, gm_m* m) except NULL:
    cdef int64_t deadline
    cdef int blocking = lock_arguments(args, kwargs, &deadline)
    cdef gm_g* g = m.curg
    cdef int how
    if gm_rlock_count(self) > 0 and gm_rlock_owner(self) == owner_key(m, g):
        gm_rlock_set_count(self, gm_rlock_count(self) + 1)
        return own(True)
    cdef int got = lock_try(TK_RLOCK, self, m, g)
    if got < 0:
        return NULL
    if got:
        return own(True)
    if not blocking:
        return own(False)
    how = lock_caller()
    if how == AS_NATIVE or m.ts != <void*>PyThreadState_Get():
        return rlock_acquire_native(self, m, g, deadline)
    return own(lock_wait(TK_RLOCK, self, m, g, deadline) == 1)


cdef PyObject* rlock_acquire_native(PyObject* self, gm_m* m, gm_g* g, int64_t deadline) except NULL:
    # Blocks the thread; for good, if another goroutine of it holds the lock.
    cdef PyObject* r
    if gm_rlock_owner(self) == m.ident and gm_rlock_count(self) > 0:
        raise RuntimeError("this lock is held by another goroutine of the same thread, which would wait for itself")
    args = (True, -1 if deadline == NO_DEADLINE else max(0, deadline - clock_now()) * 1e-9)
    r = gm_call_kw(plain_rlock_acquire, self, <PyObject*>args, NULL)
    if r == Py_True:
        gm_rlock_set_owner(self, owner_key(m, g))
    return r


cdef PyObject* rlock_release(PyObject* self, PyObject* unused) except NULL:
    cdef gm_m* m = lock_m()
    cdef size_t count = gm_rlock_count(self)
    if m == NULL and not waited_for(self):
        return plain_rlock_release(self, NULL)
    if gm_unlikely(not rlock_mine(self)):
        raise RuntimeError("cannot release un-acquired lock")
    if count > 1:
        gm_rlock_set_count(self, count - 1)
    else:
        rlock_free(self, m)
    return own(None)


cdef int rlock_free(PyObject* self, gm_m* m) except -1:
    # The caller has it once: it is handed over, or freed. m: the calling M, or NULL.
    cdef _LockWaiters w
    cdef gm_sudog* s
    if gm_unlikely(waited_for(self)):
        w = waiters_of(self)
        if w is not None:
            if w.q.first != NULL and w.q.first.ok == S_LOST:
                s = waitq_get(&w.q)
                if s != NULL:
                    gm_rlock_set_owner(self, owner_key(s.park.m, s.park.g))
                    s.ok = S_HANDED
                    sudog_ready(gm_tls_m, s, False)
                    return 0
            rlock_free_plain(self)
            lock_wake(gm_tls_m, w)
            return 0
    return rlock_free_plain(self)


cdef int rlock_free_plain(PyObject* self) except -1:
    cdef PyObject* r
    gm_rlock_set_owner(self, PyThread_get_thread_ident())
    r = plain_rlock_release(self, NULL)
    if r == NULL:
        return -1
    decref(r)
    return 0


cdef inline bint rlock_mine(PyObject* self) noexcept:
    cdef gm_m* m = lock_m()
    cdef uint64_t owner = gm_rlock_owner(self)
    if gm_rlock_count(self) == 0:
        return False
    if m == NULL:
        return owner == PyThread_get_thread_ident()
    return owner == owner_key(m, m.curg) or (not locks_on and owner == m.ident)     # TK6


cdef PyObject* rlock_is_owned(PyObject* self, PyObject* unused) except NULL:
    return own(rlock_mine(self))


cdef PyObject* rlock_recursion_count(PyObject* self, PyObject* unused) except NULL:
    return own(gm_rlock_count(self) if rlock_mine(self) else 0)


cdef PyObject* rlock_release_save(PyObject* self, PyObject* unused) except NULL:
    if not rlock_mine(self):
        raise RuntimeError("cannot release un-acquired lock")
    state = (gm_rlock_count(self), PyThread_get_thread_ident())     # an owner with whom the original could restore it
    gm_rlock_set_count(self, 1)
    rlock_free(self, lock_m())
    return own(state)


cdef PyObject* rlock_acquire_restore(PyObject* self, PyObject* args) except NULL:
    cdef gm_m* m = lock_m()
    cdef size_t count
    if m == NULL or m.ts != <void*>PyThreadState_Get():
        return plain_rlock_acquire_restore(self, args)
    (count, _), = <tuple>args
    held = None
    if lock_try(TK_RLOCK, self, m, m.curg) != 1:
        try:
            cond_lock_again(m.curg, <object>self)
        except DeadlockError:
            raise
        except BaseException as e:
            if not rlock_mine(self):
                raise
            held = e
    gm_rlock_set_count(self, count)
    if held is not None:
        raise held
    return own(None)
