/* Debug builds: named points at which a test can hold a thread, to spell out an interleaving.
 *
 * The test arms a point; the first thread that comes to it stops there, with whatever it holds, until
 * the test lets it go. A thread that stops with the GIL, or with a lock that is waited for with the
 * GIL, would hold up the test, too: such a point is armed with a time, after which the thread goes on
 * by itself, or is let go by a thread that comes to another point; or the thread does something there
 * and goes on. In other builds a point is nothing.
 */
#ifndef GMPX_HOOKS_H
#define GMPX_HOOKS_H

#include "atomics.h"
#include <signal.h>

enum {
    HOOK_STOP_M = 0,            /* an M is on midle and has not yet looked again */
    HOOK_SYSMON_QUIET = 1,      /* sysmon has seen nothing to watch, and has not yet said that it rests */
    HOOK_SYSMON_SLEEP = 2,      /* it has said when it looks again, and has not yet looked once more */
    HOOK_READY_PUSHED = 3,      /* a goroutine is in an M's inbox, the M is not yet woken */
    HOOK_TIMERS_LOCKED = 4,     /* the lock of a heap is held, timers are about to fire */
    HOOK_FIRING = 5,            /* timers have left the heap and are on no queue */
    HOOK_DEEP_BEGUN = 6,        /* signals go to the breaker, M0 has not yet looked at them once more */
    HOOK_DEEP = 7,              /* M0 is about to sleep on the breaker */
    HOOK_LOOKED = 8,            /* M0 has looked for a deadlock */
    HOOK_BIG_READ = 9,          /* recv(2) of many bytes has returned, the GIL is not yet taken back */
    HOOK_NET_SLEEP = 10,        /* an M is about to sleep in its poller, and others still look there */
    HOOKS = 11
};

#if GMPX_DEBUG && !defined(GM_TSAN_HARNESS) && !defined(_WIN32)
enum { HOOK_OFF = 0, HOOK_ARMED = 1, HOOK_REACHED = 2 };
enum { HOOK_STEP_NS = 100000 };
static gm_u32 gm_hooks[HOOKS];
static gm_u32 gm_hook_steps[HOOKS];             /* how long a thread stands there; 0: for as long as it takes */
static gm_u32 gm_hook_frees[HOOKS];             /* 1 + the point where the thread is that goes on; 0: none */
static gm_u32 gm_hook_raises[HOOKS];            /* the signal that the thread raises; 0: none */
static void gm_hook_point(int point) {
    struct timespec t = {0, HOOK_STEP_NS};
    unsigned n, steps, frees;
    if (gm_load_u32_relaxed(&gm_hooks[point]) != HOOK_ARMED
            || !gm_cas_u32_seqcst(&gm_hooks[point], HOOK_ARMED, HOOK_REACHED)) {
        return;
    }
    frees = gm_load_u32_relaxed(&gm_hook_frees[point]);
    if (gm_load_u32_relaxed(&gm_hook_raises[point]) != 0) {
        raise((int)gm_load_u32_relaxed(&gm_hook_raises[point]));
        return;
    }
    if (frees != 0) {
        gm_store_u32_seqcst(&gm_hooks[frees - 1], HOOK_OFF);
        return;
    }
    steps = gm_load_u32_relaxed(&gm_hook_steps[point]);
    for (n = 0; gm_load_u32_seqcst(&gm_hooks[point]) == HOOK_REACHED && (steps == 0 || n < steps); n++) {
        nanosleep(&t, NULL);
    }
}
static int gm_hook_set(int point, unsigned state, unsigned ms, unsigned frees, unsigned raises) {
    gm_store_u32_relaxed(&gm_hook_steps[point], ms * (1000000 / HOOK_STEP_NS));
    gm_store_u32_relaxed(&gm_hook_frees[point], frees);
    gm_store_u32_relaxed(&gm_hook_raises[point], raises);
    gm_store_u32_seqcst(&gm_hooks[point], state);
    return 1;
}
static unsigned gm_hook_get(int point) { return gm_load_u32_seqcst(&gm_hooks[point]); }
#else
#  define gm_hook_point(point) ((void)0)
static int gm_hook_set(int point, unsigned state, unsigned ms, unsigned frees, unsigned raises) {
    (void)point, (void)state, (void)ms, (void)frees, (void)raises;
    return 0;
}
static unsigned gm_hook_get(int point) { (void)point; return 0; }
#endif

#endif
