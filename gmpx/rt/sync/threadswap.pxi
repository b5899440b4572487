# Sets our functions behind the methods of CPython's locks and SimpleQueue, and takes them back (TK6 in threadlock.pxi).

cdef int exchange_releases(bint on) except -1:
    rlock = rlock_type
    exchange_lock(on, False)
    swap_function(rlock.release, on, <void*>rlock_release, METH_NOARGS, &plain_rlock_release)
    swap_function(rlock.__exit__, on, <void*>rlock_release, METH_VARARGS, &plain_rlock_release)
    swap_function(rlock._release_save, on, <void*>rlock_release_save, METH_NOARGS, &plain_rlock_release_save)
    return 0


cdef int exchange_lock(bint on, bint acquire) except -1:
    # Lock's functions: ours, or what they are without the patch.
    lock = lock_type
    cdef bint any = on or locks_watched
    cdef void* to
    if acquire:
        to = <void*>lock_acquire if on else <void*>lock_acquire_watched
        for name in ("acquire", "acquire_lock", "__enter__"):
            swap_function(getattr(lock, name), any, to, METH_VARARGS | METH_KEYWORDS, &plain_lock_acquire)
        return 0
    to = <void*>lock_release if on else <void*>lock_release_watched
    for name in ("release", "release_lock"):
        swap_function(getattr(lock, name), any, to, METH_NOARGS, &plain_lock_release)
    swap_function(lock.__exit__, any, to, METH_VARARGS, &plain_lock_release)
    return 0


cdef int exchange_puts(bint on) except -1:
    queue = queue_type
    swap_function(queue.put, on, <void*>simple_queue_put, METH_FASTCALL | METH_KEYWORDS, &plain_queue_put)
    swap_function(queue.put_nowait, on, <void*>simple_queue_put_nowait, METH_FASTCALL | METH_KEYWORDS,
             &plain_queue_put_nowait)
    return 0


cdef int probe_rlock() except -1:
    # The layout in threadstate.h, on one of our own.
    lock = rlock_type()
    cdef PyObject* o = <PyObject*>lock
    cdef bint ok = gm_rlock_count(o) == 0
    cdef uint64_t me = PyThread_get_thread_ident()
    decref(gm_call_kw(plain_rlock_acquire, o, <PyObject*>only_false, NULL))
    ok = ok and gm_rlock_count(o) == 1 and gm_rlock_owner(o) == me
    decref(gm_call_kw(plain_rlock_acquire, o, <PyObject*>only_false, NULL))
    ok = ok and gm_rlock_count(o) == 2 and gm_rlock_owner(o) == me
    if ok:
        gm_rlock_set_count(o, 1)
        gm_rlock_set_owner(o, me ^ 1)
        ok = repr(lock).startswith("<locked") and f" owner={me ^ 1} count=1 " in repr(lock)
        gm_rlock_set_owner(o, me)
        decref(plain_rlock_release(o, NULL))
        ok = ok and gm_rlock_count(o) == 0 and repr(lock).startswith("<unlocked")
    if not ok:
        raise RuntimeError("gmpx does not know this interpreter's RLock")
    return 0


cdef int find_plain_locks() except -1:
    global plain_lock_locked, lock_type, rlock_type, new_lock
    cdef int flags = METH_VARARGS | METH_KEYWORDS
    import _thread
    lock, rlock = _thread.LockType, _thread.RLock
    if plain_lock_locked == NULL:
        for methods in ((lock.acquire, lock.acquire_lock, lock.__enter__), (lock.release, lock.release_lock, lock.__exit__),
                        (rlock.acquire, rlock.__enter__), (rlock.release, rlock.__exit__)):
            for method in methods:
                if gm_method_def(<PyObject*>method).ml_meth != gm_method_def(<PyObject*>methods[0]).ml_meth:
                    raise RuntimeError(f"gmpx does not know this interpreter's {method!r}")
        swap_function(lock.acquire, False, NULL, flags, &plain_lock_acquire)
        swap_function(lock.release, False, NULL, METH_NOARGS, &plain_lock_release)
        swap_function(rlock.acquire, False, NULL, flags, &plain_rlock_acquire)
        swap_function(rlock.release, False, NULL, METH_NOARGS, &plain_rlock_release)
        lock_type, rlock_type, new_lock = lock, rlock, _thread.allocate_lock
        plain_lock_locked = gm_method_def(<PyObject*>lock.locked).ml_meth
    return 0


def _swap_locks(on, dict callers, elsewhere):
    """_swap_locks(on, callers, elsewhere)
    The functions behind the methods of _thread.lock and _thread.RLock: ours, or the originals.

    Args:
        callers: {code object: "native", "shielded" or "elsewhere"}: whose waits are not the usual.
        elsewhere: called as (lock, seconds) for "elsewhere"; returns what acquire does. seconds is -1 for no limit.
    """
    global locks_on, lock_callers, lock_elsewhere
    cdef int flags = METH_VARARGS | METH_KEYWORDS
    find_plain_locks()
    rlock = rlock_type
    if on:
        probe_rlock()
        memset(locks_held, 0, sizeof(locks_held))   # nobody notes from here on
    lock_elsewhere = elsewhere
    lock_callers = {code: ("usual", "native", "shielded", "elsewhere").index(how) for code, how in callers.items()}
    if on or lock_waiting == 0:
        exchange_releases(on)
    swap_function(rlock._is_owned, on, <void*>rlock_is_owned, METH_NOARGS, &plain_rlock_is_owned)
    swap_function(rlock._acquire_restore, on, <void*>rlock_acquire_restore, METH_VARARGS, &plain_rlock_acquire_restore)
    if hasattr(rlock, "_recursion_count"):
        swap_function(rlock._recursion_count, on, <void*>rlock_recursion_count, METH_NOARGS, &plain_rlock_recursion_count)
    for name in ("acquire", "__enter__"):
        swap_function(getattr(rlock, name), on, <void*>rlock_acquire, flags, &plain_rlock_acquire)
    locks_on = on
    exchange_lock(on, True)
    watch_makers(not on and locks_watched)


def _swap_queues(on):
    """_swap_queues(on)
    The functions behind the methods of _queue.SimpleQueue: ours, or the originals."""
    global queues_on, plain_queue_empty, queue_type
    import _queue
    queue = queue_type = _queue.SimpleQueue
    plain_queue_empty = gm_method_def(<PyObject*>queue.empty).ml_meth
    if on or lock_waiting == 0:
        exchange_puts(on)
    swap_function(queue.get, on, <void*>simple_queue_get, METH_METHOD | METH_FASTCALL | METH_KEYWORDS, &plain_queue_get)
    queues_on = on


class _PlainLock:
    """The original methods of a lock, as functions: they block the thread, whatever runs on it."""

    @staticmethod
    def acquire(lock, blocking=True, timeout=-1):
        args = (blocking, timeout)
        find_plain_locks()
        return take_ref(gm_called_kw(plain_lock_acquire, <PyObject*>lock, <PyObject*>args, NULL))

    @staticmethod
    def release(lock):
        find_plain_locks()
        take_ref(lock_release(<PyObject*>lock, NULL))
