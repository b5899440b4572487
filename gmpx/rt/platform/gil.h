/* Who has the GIL, as a thread sees it that has not: a sample, for sysmon's judgement alone.
 *
 * 3.10 and 3.11 say which thread state runs. From 3.12 on the interpreter's lock itself is read, by
 * CPython's internal headers. Where they are unknown (a later version) the thread state's own mark
 * answers, which does not tell a free GIL from another's.
 */
#ifndef GMPX_GIL_H
#define GMPX_GIL_H

#include <Python.h>

#define GM_GIL_INTERNAL (PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x03100000 \
                         && !defined(Py_GIL_DISABLED))
#if GM_GIL_INTERNAL
#  ifndef Py_BUILD_CORE
#    define Py_BUILD_CORE 1
#    define GM_GIL_UNDEF
#  endif
#  undef _PyGC_FINALIZED        /* 3.12: the internal header has a function of that name */
#  include "internal/pycore_interp.h"
#  ifdef GM_GIL_UNDEF
#    undef Py_BUILD_CORE
#    undef GM_GIL_UNDEF
#  endif
#endif

enum {
    GM_GIL_FREE = 0,            /* nobody has it */
    GM_GIL_HELD = 1,            /* ts has it */
    GM_GIL_OTHER = 2,           /* ts has it not; somebody else may */
};

#if GM_GIL_INTERNAL
static volatile int *gm_gil_locked;
#endif

/* With the GIL, once. */
static void gm_gil_init(void) {
#if GM_GIL_INTERNAL
    gm_gil_locked = (volatile int *)&PyInterpreterState_Get()->ceval.gil->locked;
#endif
}

/* Whether nobody has it; yes where that is not known. */
static inline int gm_gil_is_free(void) {
#if GM_GIL_INTERNAL
    return *gm_gil_locked <= 0;
#elif PY_VERSION_HEX < 0x030C0000
    return _PyThreadState_UncheckedGet() == NULL;
#else
    return 1;
#endif
}

static inline int gm_gil_sample(void *p) {
    volatile PyThreadState *ts = (volatile PyThreadState *)p;
#if defined(Py_GIL_DISABLED)
    return ts->state == 1 ? GM_GIL_HELD : GM_GIL_FREE;
#elif PY_VERSION_HEX >= 0x030C0000
#  if PY_VERSION_HEX >= 0x030D0000
    if (ts->state == 1) return GM_GIL_HELD;     /* attached */
#  else
    if (ts->_status.active) return GM_GIL_HELD;
#  endif
#  if GM_GIL_INTERNAL
    return *gm_gil_locked > 0 ? GM_GIL_OTHER : GM_GIL_FREE;
#  else
    return GM_GIL_OTHER;
#  endif
#else
    PyThreadState *runs = _PyThreadState_UncheckedGet();
    return runs == NULL ? GM_GIL_FREE : runs == ts ? GM_GIL_HELD : GM_GIL_OTHER;
#endif
}

#endif
