/* Debug builds: locks are taken in rising rank, the GIL is waited for with none held, and it is not
 * given up in a wait for a lock.
 *
 * The ranks stand in HACKING.md. The thread-local word is why this is included by the one
 * extension only, and in debug builds only.
 */
#ifndef GMPX_LOCKRANK_H
#define GMPX_LOCKRANK_H

#include <stdio.h>
#include <stdlib.h>

#if defined(_MSC_VER) && !defined(__clang__)
static __declspec(thread) unsigned gm_ranks_held;
static __declspec(thread) char gm_rank_self;
#else
static __thread unsigned gm_ranks_held;             /* bit r: a lock of rank r */
static __thread char gm_rank_self;                  /* its address stands for the thread */
#endif

/* The thread that waits for a lock with the GIL held: while it does nobody else has the GIL. */
static gm_ptr gm_rank_waiter;

static void gm_rank_fatal(const char *what, unsigned rank) {
    fprintf(stderr, "gmpx: fatal: %s: rank %u, held ranks %#x\n", what, rank, gm_ranks_held);
    fflush(stderr);
    abort();
}

static inline void gm_rank_enter(unsigned rank) {
    if (rank == 0) return;                          /* Python code may run under it */
    if (gm_ranks_held >> rank) gm_rank_fatal("lock taken out of order", rank);
    gm_ranks_held |= 1u << rank;
}

static inline void gm_rank_leave(unsigned rank) {
    if (rank == 0) return;
    if (!(gm_ranks_held >> rank & 1)) gm_rank_fatal("lock released that is not held", rank);
    gm_ranks_held &= ~(1u << rank);
}

/* Whether the calling thread has the GIL. CPython's PyGILState_Check does not know that once there has
 * been a subinterpreter, nor at the end. */
static inline int gm_rank_has_gil(void) {
#if PY_VERSION_HEX >= 0x030D0000
    return PyThreadState_GetUnchecked() != NULL;
#elif PY_VERSION_HEX >= 0x030C0000
    return _PyThreadState_UncheckedGet() != NULL;
#else
    PyThreadState *ts = _PyThreadState_UncheckedGet();
    return ts != NULL && ts == PyGILState_GetThisThreadState();
#endif
}

/* Around the wait for a lock. Returns whether the thread has the GIL, to be told to the second. */
static inline int gm_rank_wait(unsigned rank) {
#if defined(Py_GIL_DISABLED)
    (void)rank;
    return 0;
#else
    void *other;
    if (!gm_rank_has_gil()) return 0;
    if (rank == 0) gm_rank_fatal("fork_lock waited for with the GIL", rank);
    other = gm_exchange_ptr_acqrel(&gm_rank_waiter, &gm_rank_self);
    if (other != NULL) gm_rank_fatal("the GIL was given up in a wait for a lock", rank);
    return 1;
#endif
}

static inline void gm_rank_waited(unsigned rank, int had_gil) {
    if (!had_gil) return;
    if (gm_exchange_ptr_acqrel(&gm_rank_waiter, NULL) != &gm_rank_self || !gm_rank_has_gil()) {
        gm_rank_fatal("the GIL was given up in a wait for a lock", rank);
    }
}

/* In a fork's child. */
static inline void gm_rank_forked(void) {
    gm_store_ptr_relaxed(&gm_rank_waiter, NULL);
}

static inline void gm_rank_none(void) {
    if (gm_ranks_held) gm_rank_fatal("the GIL or Python code under a lock", 0);
}

#endif
