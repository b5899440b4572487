/* A store-then-load barrier whose two sides cost differently.
 *
 * light: for those who publish all the time. Forbids the compiler to move a load before the store.
 * heavy: for the one who seldom looks. Makes every thread of the process pass a full barrier, so
 * that either it sees what they have stored or they see what it has stored. Linux has a system call
 * for that (membarrier), Windows FlushProcessWriteBuffers; elsewhere, and where the call is
 * refused, the light side is a full fence too.
 */
#ifndef GMPX_BARRIER_H
#define GMPX_BARRIER_H

#include "atomics.h"

static int gm_barrier_full = 1;             /* constant once gm_barrier_init has run */

#if defined(__linux__)
#  include <sys/syscall.h>
#  include <unistd.h>
enum { GM_MEMBARRIER_EXPEDITED = 1 << 3, GM_MEMBARRIER_REGISTER = 1 << 4 };
static int gm_membarrier(int command) {
#  if defined(__NR_membarrier)
    return (int)syscall(__NR_membarrier, command, 0, 0);
#  else
    (void)command;
    return -1;
#  endif
}
#endif

/* At import, and in a fork's child. */
static void gm_barrier_init(void) {
#if defined(__linux__)
    gm_barrier_full = gm_membarrier(GM_MEMBARRIER_REGISTER) != 0
        || gm_membarrier(GM_MEMBARRIER_EXPEDITED) != 0;
#elif defined(_WIN32)
    gm_barrier_full = 0;
#endif
}

GM_INLINE void gm_barrier_light(void) {
#if defined(__SANITIZE_THREAD__) || defined(GM_TSAN_HARNESS)
    gm_fence_seqcst();
#elif defined(__GNUC__)
    if (__builtin_expect(gm_barrier_full, 0)) {
        gm_fence_seqcst();
    } else {
        __asm__ volatile("" ::: "memory");
    }
#else
    gm_fence_seqcst();
#endif
}

static void gm_barrier_heavy(void) {
    gm_fence_seqcst();
#if defined(__linux__)
    if (!gm_barrier_full) {
        gm_membarrier(GM_MEMBARRIER_EXPEDITED);
    }
#elif defined(_WIN32)
    FlushProcessWriteBuffers();
#endif
}

#endif
