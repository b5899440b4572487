/* A store-then-load barrier whose two sides cost differently.
 *
 * light: for those who publish all the time. On Linux and Windows it only forbids the compiler to
 * move a load before the store.
 * heavy: for the one who seldom looks. Makes every thread of the process pass a full barrier, so
 * that either it sees what they have stored or they see what it has stored: membarrier on Linux
 * (where a kernel before 4.14 or a sandbox refuses it, a page is taken away from all processors, which
 * interrupts them), FlushProcessWriteBuffers on Windows. Elsewhere both are full fences.
 */
#ifndef GMPX_BARRIER_H
#define GMPX_BARRIER_H

#include "atomics.h"

#if defined(__linux__)
#  include <sys/mman.h>
#  include <sys/syscall.h>
#  include <unistd.h>
enum { GM_MEMBARRIER_EXPEDITED = 1 << 3, GM_MEMBARRIER_REGISTER = 1 << 4 };
static void *gm_barrier_page;               /* where there is no membarrier */

static int gm_membarrier(int command) {
#  if defined(__NR_membarrier)
    return (int)syscall(__NR_membarrier, command, 0, 0);
#  else
    (void)command;
    return -1;
#  endif
}
#endif

/* At import, and in a fork's child. 0, or -1. */
static int gm_barrier_init(void) {
#if defined(__linux__)
    if ((gm_membarrier(GM_MEMBARRIER_REGISTER) != 0 || gm_membarrier(GM_MEMBARRIER_EXPEDITED) != 0)
            && gm_barrier_page == NULL) {
        gm_barrier_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (gm_barrier_page == MAP_FAILED) {
            gm_barrier_page = NULL;
            return -1;
        }
    }
#endif
    return 0;
}

GM_INLINE void gm_barrier_light(void) {
#if (defined(__linux__) || defined(_WIN32)) && defined(__GNUC__) && !defined(__SANITIZE_THREAD__) \
        && !defined(GM_TSAN_HARNESS)
#  if !defined(__x86_64__) && !defined(__i386__)
    if (gm_barrier_page != NULL) {          /* no interrupt there when a page goes */
        gm_fence_seqcst();
    }
#  endif
    __asm__ volatile("" ::: "memory");
#elif defined(_MSC_VER) && !defined(__clang__)
    _ReadWriteBarrier();
#else
    gm_fence_seqcst();
#endif
}

static void gm_barrier_heavy(void) {
    gm_fence_seqcst();
#if defined(__linux__)
    if (gm_barrier_page == NULL && gm_membarrier(GM_MEMBARRIER_EXPEDITED) != 0) {
        gm_barrier_init();                  /* a sandbox has closed since import */
    }
    if (gm_barrier_page != NULL) {
        mprotect(gm_barrier_page, 4096, PROT_READ | PROT_WRITE);
        *(volatile char *)gm_barrier_page = 1;      /* in this processor's tables at least */
        mprotect(gm_barrier_page, 4096, PROT_NONE);
    }
#elif defined(_WIN32)
    FlushProcessWriteBuffers();
#endif
    gm_fence_seqcst();
}

#endif
