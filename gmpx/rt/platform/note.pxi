# fatal, proc_yield and the note that an M sleeps on (Go's lock_sema.go / lock_futex.go).
#
# Invariants
#   N1  state is NOTE_AWAKE while the M is awake or has been signalled; from note_clear to the
#       signal it says what the M sleeps on: its semaphore, the breaker (a descriptor) or its poller.
#   N2  Whoever moves the state to NOTE_AWAKE owes one post, to what it says, unless
#       it is the sleeper itself, timing out. The sleeper takes every post of the semaphore
#       before it clears again, so the count is 0 whenever the state is NOTE_ASLEEP. The others
#       may keep one: a sleep that ends too early looks again.
#   N3  No wake-up is lost. Sleeper: note_clear (RMW), then looks for work, then sleeps.
#       Waker: publishes work, then note_wakeup (RMW on the same word). Whichever RMW is second
#       sees all before the first: either the waker finds the sleeper and posts, or the sleeper's
#       look finds the work. (tests/model/sleep.pml checks it.)
#   Every sleep may end without cause (a wake-up that came late for the one before; a thread's M that
#   serves another now): all who sleep look again.

cdef extern from "rt/platform/breaker.h" nogil:
    int gm_break_fd[2]
    int gm_break_user
    int gm_break_open()
    void gm_break_forget()
    void gm_break_wake()
    int gm_break_wait(int64_t)
    void gm_break_drain()
    void gm_block_signals()
    void gm_block_all_signals()
    void gm_unblock_signals()
    void gm_signals_note()

cdef extern from *:
    """
    #define GM_LONGEST_SLEEP_NS 3600000000000LL     /* an hour: within all platforms' longest wait */
    """
    int64_t LONGEST_SLEEP_NS "GM_LONGEST_SLEEP_NS"

cdef enum:
    NOTE_ASLEEP = 0             # may sleep on the semaphore
    NOTE_AWAKE = 1
    NOTE_POLLING = 2            # may sleep on the breaker
    NOTE_NETPOLL = 3            # may sleep in its poller (rt/io/netpoll.pxi)

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
    gm_store_u32_relaxed(&n.state, NOTE_AWAKE)           # not yet shared
    return 0


cdef void note_free(gm_note* n) noexcept nogil:
    if n.sem != NULL:
        PyThread_release_lock(n.sem)
        PyThread_free_lock(n.sem)
        n.sem = NULL


cdef inline void note_clear(gm_note* n, uint32_t on) noexcept nogil:
    # Owner: from here on wakers will signal. StoreLoad with the look for work that follows (N3).
    gm_exchange_u32_seqcst(&n.state, on)


cdef inline uint32_t note_wakeup(gm_note* n) noexcept nogil:
    # Anyone, after publishing what the owner is to find (N3). Returns what the owner slept on; where
    # that is not the semaphore the post is the caller's (wake_m).
    cdef uint32_t was = gm_exchange_u32_seqcst(&n.state, NOTE_AWAKE)
    if was == NOTE_ASLEEP:
        PyThread_release_lock(n.sem)            # N2
    return was


cdef inline void note_cancel(gm_note* n, uint32_t on) noexcept nogil:
    # Owner: does not sleep after all, on what it had cleared the note for.
    if gm_exchange_u32_seqcst(&n.state, NOTE_AWAKE) == NOTE_AWAKE and on == NOTE_ASLEEP:
        PyThread_acquire_lock(n.sem, WAIT_LOCK)  # signalled meanwhile: takes the post (N2)


cdef int note_sleep(gm_note* n, int64_t ns, bint interruptible) noexcept nogil:
    # Owner, after note_clear(NOTE_ASLEEP): waits for a signal, at most ns nanoseconds (< 0: for
    # ever). Returns 1 when signalled, 0 on time-out, -1 when a signal handler wants to run.
    cdef PyLockStatus r
    cdef long long us = -1
    if ns >= 0:
        us = (min(ns, LONGEST_SLEEP_NS) + 999) // 1000      # never early: rounds up
    r = PyThread_acquire_lock_timed(n.sem, us, interruptible)
    if r == PY_LOCK_ACQUIRED:
        return 1
    note_cancel(n, NOTE_ASLEEP)
    return -1 if r == PY_LOCK_INTR else 0


cdef int note_poll(gm_note* n, int64_t ns) noexcept nogil:
    # As note_sleep, after note_clear(NOTE_POLLING).
    cdef int r = gm_break_wait(ns if ns < 0 else min(ns, LONGEST_SLEEP_NS))
    note_cancel(n, NOTE_POLLING)
    return r
