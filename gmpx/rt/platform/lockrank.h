/* Debug builds: locks are taken in rising rank, and the GIL is waited for with none held.
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
#else
static __thread unsigned gm_ranks_held;             /* bit r: a lock of rank r */
#endif

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

static inline void gm_rank_none(void) {
    if (gm_ranks_held) gm_rank_fatal("the GIL or Python code under a lock", 0);
}

#endif
