# fatal, proc_yield and the note that an M sleeps on (Go's lock_sema.go / lock_futex.go).
#
# Invariants
#   N1  state is 1 while the M is awake or has been signalled, 0 from note_clear to the signal.
#   N2  Whoever moves state 0 -> 1 posts the semaphore once, unless it is the sleeper itself,
#       timing out. The sleeper takes every post before it clears again, so the semaphore's
#       count is 0 whenever state goes to 0.
#   N3  No wake-up is lost. Sleeper: note_clear (RMW), then looks for work, then sleeps.
#       Waker: publishes work, then note_wakeup (RMW on the same word). Whichever RMW is second
#       sees all before the first: either the waker finds 0 and posts, or the sleeper's look
#       finds the work. (tests/model/sleep.pml checks it.)

from libc.stdio cimport fprintf, fflush, stderr


cdef void fatal(const char* what) noexcept nogil:
    # A broken invariant: going on would lose or double work.
    fprintf(stderr, b"gmpx: fatal: %s\n", what)
    fflush(stderr)
    abort()


cdef inline void proc_yield(int n) noexcept nogil:
    # Spins for n pause instructions (Go's procyield).
    cdef int i
    for i in range(n):
        gm_pause()


cdef int note_init(gm_note* n) noexcept nogil:
    n.sem = PyThread_allocate_lock()
    if n.sem == NULL:
        return -1
    PyThread_acquire_lock(n.sem, WAIT_LOCK)     # a binary semaphore, empty
    gm_store_u32_relaxed(&n.state, 1)           # not yet shared
    return 0


cdef void note_free(gm_note* n) noexcept nogil:
    if n.sem != NULL:
        PyThread_release_lock(n.sem)
        PyThread_free_lock(n.sem)
        n.sem = NULL


cdef inline void note_clear(gm_note* n) noexcept nogil:
    # Owner: from here on wakers will signal. StoreLoad with the look for work that follows (N3).
    gm_exchange_u32_seqcst(&n.state, 0)


cdef inline void note_wakeup(gm_note* n) noexcept nogil:
    # Anyone, after publishing what the owner is to find (N3).
    if gm_exchange_u32_seqcst(&n.state, 1) == 0:
        PyThread_release_lock(n.sem)            # N2


cdef inline void note_cancel(gm_note* n) noexcept nogil:
    # Owner: does not sleep after all.
    if gm_exchange_u32_seqcst(&n.state, 1) != 0:
        PyThread_acquire_lock(n.sem, WAIT_LOCK)  # signalled meanwhile: takes the post (N2)


cdef int note_sleep(gm_note* n, int64_t ns, bint interruptible) noexcept nogil:
    # Owner, after note_clear: waits for a signal, at most ns nanoseconds (< 0: for ever).
    # Returns 1 when signalled, 0 on time-out, -1 when a signal handler wants to run.
    cdef PyLockStatus r
    cdef long long us = -1
    if ns >= 0:
        us = (ns + 999) // 1000                 # never early: rounds up
    r = PyThread_acquire_lock_timed(n.sem, us, interruptible)
    if r == PY_LOCK_ACQUIRED:
        return 1
    note_cancel(n)
    return -1 if r == PY_LOCK_INTR else 0
