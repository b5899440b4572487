/* Debug builds: named points at which a test can hold a thread, to spell out an interleaving.
 *
 * The test arms a point; the first thread that comes to it stops there, with whatever it holds, until
 * the test lets it go. In other builds a point is nothing.
 */
#ifndef GMPX_HOOKS_H
#define GMPX_HOOKS_H

#include "atomics.h"

enum {
    HOOK_STOP_M = 0,            /* an M is on midle and has not yet looked again */
    HOOK_SYSMON_SLEEP = 1,      /* sysmon has said when it looks again, and has not yet looked once more */
    HOOK_READY_PUSHED = 2,      /* a goroutine is in an M's inbox, the M is not yet woken */
    HOOK_FIRING = 3,            /* timers have left the heap and are on no queue */
    HOOKS = 4
};

#if GMPX_DEBUG && !defined(GM_TSAN_HARNESS) && !defined(_WIN32)
enum { HOOK_OFF = 0, HOOK_ARMED = 1, HOOK_REACHED = 2 };
static gm_u32 gm_hooks[HOOKS];
static void gm_hook_point(int point) {
    if (gm_load_u32_relaxed(&gm_hooks[point]) == HOOK_ARMED
            && gm_cas_u32_seqcst(&gm_hooks[point], HOOK_ARMED, HOOK_REACHED)) {
        struct timespec t = {0, 100000};
        while (gm_load_u32_seqcst(&gm_hooks[point]) == HOOK_REACHED) {
            nanosleep(&t, NULL);
        }
    }
}
static int gm_hook_set(int point, unsigned state) { gm_store_u32_seqcst(&gm_hooks[point], state); return 1; }
static unsigned gm_hook_get(int point) { return gm_load_u32_seqcst(&gm_hooks[point]); }
#else
#  define gm_hook_point(point) ((void)0)
#  define gm_hook_set(point, state) 0
#  define gm_hook_get(point) 0
#endif

#endif
