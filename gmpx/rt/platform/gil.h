/* Who has the GIL, and whether somebody waits for it, as a thread sees it that has not: a sample, for
 * sysmon's judgement alone.
 *
 * Who runs: the thread state says it (3.12 on), or the runtime (before). The lock itself is read by
 * CPython's internal headers: whether it is taken, and who waits for it, by glibc's count in its condition
 * variable. That is private to glibc: its place is known for 2.25 to 2.40 and, from 2.41 on, without a field
 * that was before it. Where the headers are unknown (a later version) an answer does not tell a free GIL from
 * another's; where the C library is another, not those who wait from those who have left it. On free-threaded
 * builds ts either runs, HELD, or does not, FREE.
 */
#ifndef GMPX_GIL_H
#define GMPX_GIL_H

#include <Python.h>
#include <stdlib.h>
#include <string.h>
#include "pycompat.h"

#if PY_VERSION_HEX < 0x03100000 && !defined(Py_GIL_DISABLED)
#  define GM_GIL_INTERNAL 1
#  ifndef Py_BUILD_CORE
#    define Py_BUILD_CORE 1
#    define GM_GIL_UNDEF
#  endif
#  undef _PyGC_FINALIZED        /* 3.12: the internal header has a function of that name */
#  if PY_VERSION_HEX >= 0x030C0000
#    include "internal/pycore_interp.h"
#    define GM_GIL (PyInterpreterState_Get()->ceval.gil)
#  else
#    include "internal/pycore_runtime.h"
#    define GM_GIL (&_PyRuntime.ceval.gil)
#  endif
#  ifdef GM_GIL_UNDEF
#    undef Py_BUILD_CORE
#    undef GM_GIL_UNDEF
#  endif
#else
#  define GM_GIL_INTERNAL 0
#endif

enum {
    GM_GIL_FREE = 0,            /* nobody has it */
    GM_GIL_HELD = 1,            /* ts has it */
    GM_GIL_OTHER = 2,           /* ts has it not; somebody else may */
    GM_GIL_WANTED = 3,          /* ts has it not; somebody waits for it, ts perhaps */
};

#if GM_GIL_INTERNAL && defined(__GLIBC__) && defined(_POSIX_THREADS)
#  define GM_GIL_WAITERS 1
#  include <gnu/libc-version.h>
#else
#  define GM_GIL_WAITERS 0
#endif

#if GM_GIL_INTERNAL
static volatile struct _gil_runtime_state *gm_gil;
#endif
/* Its condition variable's count of waiters, times 8 and three bits; and the mutex's word, 2: contended. NULL: not
 * known. */
static volatile unsigned int *gm_gil_waiters;
static volatile int *gm_gil_mutex;

/* With the GIL, once. */
static void gm_gil_init(void) {
#if GM_GIL_INTERNAL
    gm_gil = GM_GIL;
#endif
#if GM_GIL_WAITERS
    /* as the process has it, not the headers */
    const char *version = gnu_get_libc_version();
    const char *minor = strchr(version, '.');
    int n = minor != NULL && version[0] == '2' && minor == version + 1 ? atoi(minor + 1) : 0;
    if (n >= 25) {
        gm_gil_waiters = (volatile unsigned int *)((char *)&GM_GIL->cond + (n >= 41 ? 28 : 36));
        gm_gil_mutex = (volatile int *)&GM_GIL->mutex;
    }
#endif
}

/* Whether who waits for it is known. */
static inline int gm_gil_sees(void) { return gm_gil_waiters != NULL; }

/* Whether nobody has it; yes where that is not known. */
static inline int gm_gil_is_free(void) {
#if !GM_GIL_INTERNAL
    return 1;
#elif PY_VERSION_HEX < 0x030C0000
    return _PyThreadState_UncheckedGet() == NULL;
#else
    return *(volatile int *)&gm_gil->locked <= 0;
#endif
}

/* Whether somebody waits for it; no where that is not known. */
static inline int gm_gil_is_wanted(void) {
    return gm_gil_sees() && (*gm_gil_waiters >> 3 != 0 || *gm_gil_mutex > 1);
}

/* Nanoseconds: how often who waits for it looks around. */
static inline long long gm_gil_interval(void) {
#if GM_GIL_INTERNAL
    return (long long)gm_gil->interval * 1000;
#else
    return 5000000;
#endif
}

/* Whether a thread that sleeps in the kernel waits there for the GIL: 1; 0; -1: not known, or it does not sleep. What it
 * waits on is the first argument of the system call that it is in. Costs some 10 us. */
static int gm_waits_for_gil(int64_t tid) {
#if GM_GIL_INTERNAL && defined(__linux__)
    char text[128];
    unsigned long long on;
    if (!gm_task_read(tid, "syscall", text, sizeof(text))) return -1;
    if (sscanf(text, "%*d %llx", &on) != 1) return -1;
    return on - (uintptr_t)gm_gil < sizeof(*gm_gil);
#else
    (void)tid;
    return -1;
#endif
}

static inline int gm_gil_sample(void *p) {
    volatile PyThreadState *ts = (volatile PyThreadState *)p;
#if defined(Py_GIL_DISABLED)
    return ts->state == 1 ? GM_GIL_HELD : GM_GIL_FREE;
#else
#  if PY_VERSION_HEX >= 0x030D0000
    if (ts->state == 1) return GM_GIL_HELD;     /* attached */
#  elif PY_VERSION_HEX >= 0x030C0000
    if (ts->_status.active) return GM_GIL_HELD;
#  else
    if (_PyThreadState_UncheckedGet() == ts) return GM_GIL_HELD;
#  endif
    if (gm_gil_is_wanted()) return GM_GIL_WANTED;
    return GM_GIL_INTERNAL && gm_gil_is_free() ? GM_GIL_FREE : GM_GIL_OTHER;
#endif
}

#endif
