/* What CPython keeps per thread and a goroutine wants for itself, and the layouts behind its locks.
 *
 * threading.local. Up to 3.12 a local finds its values through the thread state's dict, from 3.13 on through two
 * objects that the state holds: the key under which each local has this thread's values, and the sentinel at whose
 * death they go. Whoever holds these references has the locals: exchanging them exchanges the locals of a thread,
 * also those made before, without a look at any of them. A thread that has touched none has NULL there.
 *
 * threading.RLock. Its owner is the thread's id: see rt/sync/threadlock.pxi. Probed when it is patched.
 */
#ifndef GMPX_THREADSTATE_H
#define GMPX_THREADSTATE_H

#include "pycompat.h"

#if PY_VERSION_HEX >= 0x030D0000
#  define GM_LOCALS_TOKEN threading_local_key
#else
#  define GM_LOCALS_TOKEN dict
#endif

GM_INLINE int gm_has_thread_locals(void *ts) { return ((PyThreadState *)ts)->GM_LOCALS_TOKEN != NULL; }

typedef struct {
    PyObject *token;
    PyObject *sentinel;         /* 3.13: its death empties the locals; else NULL */
} gm_locals;

GM_INLINE void gm_locals_exchange(void *ts, gm_locals *box) {
    PyThreadState *t = (PyThreadState *)ts;
    PyObject *token = t->GM_LOCALS_TOKEN;
    t->GM_LOCALS_TOKEN = box->token;
    box->token = token;
#if PY_VERSION_HEX >= 0x030D0000
    token = t->threading_local_sentinel;
    t->threading_local_sentinel = box->sentinel;
    box->sentinel = token;
#endif
}

GM_INLINE void gm_locals_swap(gm_locals *a, gm_locals *b) {
    gm_locals c = *a;
    *a = *b;
    *b = c;
}

/* sys.set_asyncgen_hooks: a loop's while it runs. */
GM_INLINE void gm_asyncgen_exchange(void *ts, PyObject **firstiter, PyObject **finalizer) {
    PyThreadState *t = (PyThreadState *)ts;
    PyObject *o = t->async_gen_firstiter;
    t->async_gen_firstiter = *firstiter;
    *firstiter = o;
    o = t->async_gen_finalizer;
    t->async_gen_finalizer = *finalizer;
    *finalizer = o;
}

/* Drops what the box holds, which is in no thread state any more. */
GM_INLINE void gm_locals_clear(gm_locals *box) {
    Py_CLEAR(box->sentinel);
    Py_CLEAR(box->token);
}

typedef struct {
    PyObject_HEAD
#if PY_VERSION_HEX >= 0x030E0000
    char mutex;
    unsigned long long owner;   /* 0: nobody */
    size_t more;                /* times it is held, less one */
#else
    void *lock;
#  if PY_VERSION_HEX >= 0x030D0000
    unsigned long long owner;
#  else
    unsigned long owner;
#  endif
    unsigned long count;
#endif
} gm_rlock;

GM_INLINE unsigned long long gm_rlock_owner(PyObject *o) { return ((gm_rlock *)o)->owner; }
GM_INLINE void gm_rlock_set_owner(PyObject *o, unsigned long long owner) {
#if PY_VERSION_HEX >= 0x030D0000
    ((gm_rlock *)o)->owner = owner;
#else
    ((gm_rlock *)o)->owner = (unsigned long)owner;
#endif
}
#if PY_VERSION_HEX >= 0x030E0000
GM_INLINE size_t gm_rlock_count(PyObject *o) { return gm_rlock_owner(o) ? ((gm_rlock *)o)->more + 1 : 0; }
GM_INLINE void gm_rlock_set_count(PyObject *o, size_t n) { ((gm_rlock *)o)->more = n - 1; }
#else
GM_INLINE size_t gm_rlock_count(PyObject *o) { return ((gm_rlock *)o)->count; }
GM_INLINE void gm_rlock_set_count(PyObject *o, size_t n) { ((gm_rlock *)o)->count = (unsigned long)n; }
#endif

#endif
