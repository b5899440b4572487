/* What gmpx needs of CPython and of the platform beyond the documented C API, one name each.
 *
 * Static inline functions and macros only; no state lives here. Whatever depends on a
 * private layout says so and has a probe in rt/g/context.pxi or a fallback beside it.
 */
#ifndef GMPX_PYCOMPAT_H
#define GMPX_PYCOMPAT_H

#include <Python.h>
#include <stdint.h>
#include "atomics.h"

#ifdef Py_GIL_DISABLED
#  define GM_FREE_THREADED 1
#else
#  define GM_FREE_THREADED 0
#endif

#ifndef GMPX_DEBUG
#  define GMPX_DEBUG 0
#endif

/* The ring's size: a power of two. The native tests build it with 4 as well. */
#ifndef GM_RUNQ_SLOTS
#  define GM_RUNQ_SLOTS 256
#endif
#define GM_RUNQ_HALF (GM_RUNQ_SLOTS / 2)

#if defined(__GNUC__)
#  define gm_likely(x) __builtin_expect(!!(x), 1)
#  define gm_unlikely(x) __builtin_expect(!!(x), 0)
#else
#  define gm_likely(x) (x)
#  define gm_unlikely(x) (x)
#endif

/* Keeps a function's variables out of its callers' frames, and its code out of theirs. */
#if defined(_MSC_VER) && !defined(__clang__)
#  define GM_NOINLINE __declspec(noinline)
#else
#  define GM_NOINLINE __attribute__((noinline))
#endif

/* Fetches a queued goroutine's object head and fields into the cache (x points between). */
GM_INLINE void gm_prefetch_g(void *x) {
#if defined(__GNUC__)
    __builtin_prefetch((char *)x - 16, 1);
    __builtin_prefetch((char *)x + 48, 1);
    __builtin_prefetch((char *)x + 100, 1);
#else
    (void)x;
#endif
}

/* ---- clocks: CLOCK_MONOTONIC, nanoseconds -------------------------------------------- */

#if defined(_WIN32)
#  ifndef WIN32_LEAN_AND_MEAN
#    define WIN32_LEAN_AND_MEAN
#  endif
#  include <windows.h>
GM_INLINE int64_t gm_nanotime(void) {
    LARGE_INTEGER c, f;
    QueryPerformanceFrequency(&f);
    QueryPerformanceCounter(&c);
    return (int64_t)(c.QuadPart / f.QuadPart) * 1000000000
         + (int64_t)(c.QuadPart % f.QuadPart) * 1000000000 / f.QuadPart;
}
GM_INLINE void gm_osyield(void) { SwitchToThread(); }
#else
#  include <time.h>
#  include <pthread.h>
#  include <sched.h>
/* Not inlined: its timespec would lie in the frame of each goroutine that parks. */
__attribute__((noinline, unused)) static int64_t gm_nanotime(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
GM_INLINE void gm_osyield(void) { sched_yield(); }
#endif

/* The CPU time of a thread, for others to read. gm_cpu_clock: the calling thread's clock, 0 where there
 * is none; gm_cpu_time: nanoseconds, -1 if it is not known. */
#if defined(__linux__)
GM_INLINE int64_t gm_cpu_clock(void) {
    clockid_t c;
    return pthread_getcpuclockid(pthread_self(), &c) == 0 ? (int64_t)c : 0;
}
GM_INLINE int64_t gm_cpu_time(int64_t clock) {
    struct timespec t;
    if (clock == 0 || clock_gettime((clockid_t)clock, &t) != 0) return -1;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
#else
GM_INLINE int64_t gm_cpu_clock(void) { return 0; }
GM_INLINE int64_t gm_cpu_time(int64_t clock) { (void)clock; return -1; }
#endif

#if defined(__linux__)
#  include <fcntl.h>
#  include <stdio.h>
#  include <string.h>
#  include <sys/syscall.h>
#  include <unistd.h>
/* The beginning of /proc/self/task/TID/FILE, a string; 0: it cannot be had. */
static int gm_task_read(int64_t tid, const char *file, char *text, size_t size) {
    char path[64];
    ssize_t n;
    int fd;
    snprintf(path, sizeof(path), "/proc/self/task/%lld/%s", (long long)tid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    n = read(fd, text, size - 1);
    close(fd);
    if (n <= 0) return 0;
    text[n] = 0;
    return 1;
}
#endif

/* Whether a thread sleeps in the kernel: 1, 0 if it runs or could, -1 if that is not known. A clock that
 * stands does not tell: on a loaded machine it is the others' turn. Costs some 5 us. */
#if defined(__linux__)
GM_INLINE int64_t gm_tid(void) { return (int64_t)syscall(SYS_gettid); }
static int gm_sleeps_in_kernel(int64_t tid) {
    char text[128];
    const char *end;
    if (!gm_task_read(tid, "stat", text, sizeof(text))) return -1;
    end = strrchr(text, ')');                   /* after the name, which may hold anything */
    if (end == NULL || end[1] != ' ' || end[2] == 0) return -1;
    return end[2] != 'R';
}
#else
GM_INLINE int64_t gm_tid(void) { return 0; }
static int gm_sleeps_in_kernel(int64_t tid) { (void)tid; return -1; }
#endif

/* The calling thread's short sleeps end when they are to, and not up to 50 us later. */
#if defined(__linux__)
#  include <sys/prctl.h>
GM_INLINE void gm_timer_slack_least(void) { prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0); }
#else
GM_INLINE void gm_timer_slack_least(void) {}
#endif

/* Calls f in the child of every fork(), before Python's own at-fork functions. */
#if defined(_WIN32)
GM_INLINE int gm_atfork_child(void (*f)(void)) { (void)f; return 0; }
#else
#  include <pthread.h>
GM_INLINE int gm_atfork_child(void (*f)(void)) { return pthread_atfork(NULL, NULL, f); }
#endif

/* A clock read for a quarter of the price that may lag by a few milliseconds (Linux's tick). */
#if defined(CLOCK_MONOTONIC_COARSE)
GM_INLINE int64_t gm_nanotime_coarse(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
#else
GM_INLINE int64_t gm_nanotime_coarse(void) { return gm_nanotime(); }
#endif

/* ---- internal locks ------------------------------------------------------------------- */

/* gm_lock guards the scheduler's own lists, for tens of nanoseconds, with or without the GIL. Nobody
 * takes the GIL, runs Python code or drops a reference while holding one, and waiting for one does
 * not give the GIL up: what the GIL guards stays so across it (HACKING.md, "Locks"). CPython's
 * PyMutex gives it up, so it serves where there is none to give up. */
#if defined(Py_GIL_DISABLED) && !defined(GM_TSAN_HARNESS)
typedef struct { PyMutex m; unsigned rank; } gm_lock;
GM_INLINE int gm_lock_make(gm_lock *l) { memset(&l->m, 0, sizeof l->m); return 0; }
#  define GM_LOCK(l) PyMutex_Lock(&(l)->m)
#  define GM_UNLOCK(l) PyMutex_Unlock(&(l)->m)
#else
#  include <pythread.h>
typedef struct { PyThread_type_lock m; unsigned rank; } gm_lock;
GM_INLINE int gm_lock_make(gm_lock *l) {
    l->m = PyThread_allocate_lock();
    return l->m == NULL ? -1 : 0;
}
#  define GM_LOCK(l) PyThread_acquire_lock((l)->m, WAIT_LOCK)
#  define GM_UNLOCK(l) PyThread_release_lock((l)->m)
#endif

#if GMPX_DEBUG && !defined(GM_TSAN_HARNESS)
#  include "rt/platform/lockrank.h"
#else
#  define gm_rank_enter(rank) ((void)0)
#  define gm_rank_leave(rank) ((void)0)
#  define gm_rank_wait(rank) 0
#  define gm_rank_waited(rank, had_gil) ((void)(had_gil))
#  define gm_rank_none() ((void)0)
#  define gm_rank_forked() ((void)0)
#endif

/* Ranks: HACKING.md. */
GM_INLINE int gm_lock_init(gm_lock *l, unsigned rank) { l->rank = rank; return gm_lock_make(l); }
GM_INLINE void gm_lock_acquire(gm_lock *l) {
    int had_gil;
    gm_rank_enter(l->rank);
    had_gil = gm_rank_wait(l->rank);
    GM_LOCK(l);
    gm_rank_waited(l->rank, had_gil);
}
GM_INLINE void gm_lock_release(gm_lock *l) { gm_rank_leave(l->rank); GM_UNLOCK(l); }

/* gm_mu guards a Python-visible object (a channel, a wait group, a goroutine's waiters).
 * The GIL does that on a GIL build, where it compiles to nothing. */
#if GM_FREE_THREADED
typedef PyMutex gm_mu;
GM_INLINE void gm_mu_lock(gm_mu *l) { PyMutex_Lock(l); }
GM_INLINE void gm_mu_unlock(gm_mu *l) { PyMutex_Unlock(l); }
#else
typedef char gm_mu;
GM_INLINE void gm_mu_lock(gm_mu *l) { (void)l; }
GM_INLINE void gm_mu_unlock(gm_mu *l) { (void)l; }
#endif

/* ---- thread state --------------------------------------------------------------------- */

/* Gives the running code a full recursion allowance: a goroutine's depth must not depend on
 * how deep the code was that happened to start its worker. */
GM_INLINE void gm_reset_recursion(void) {
    PyThreadState *ts = PyThreadState_Get();
#if PY_VERSION_HEX >= 0x030C0000
    ts->py_recursion_remaining = ts->py_recursion_limit;
#  if defined(Py_C_RECURSION_LIMIT) && PY_VERSION_HEX < 0x030E0000
    ts->c_recursion_remaining = Py_C_RECURSION_LIMIT;
#  elif defined(C_RECURSION_LIMIT) && PY_VERSION_HEX < 0x030E0000     /* early 3.12 */
    ts->c_recursion_remaining = C_RECURSION_LIMIT;
#  endif
#elif PY_VERSION_HEX >= 0x030B0000
    ts->recursion_remaining = ts->recursion_limit;
#else
    ts->recursion_depth = 0;
#endif
}

/* A Python function's __qualname__, borrowed; NULL for any other callable. */
GM_INLINE PyObject *gm_function_qualname(PyObject *f) {
    return PyFunction_Check(f) ? ((PyFunctionObject *)f)->func_qualname : NULL;
}

GM_INLINE int gm_has_weakrefs(PyObject *o) {
    return *(PyObject **)((char *)o + Py_TYPE(o)->tp_weaklistoffset) != NULL;
}

/* A zeroed object of a static type with the collector's header, not tracked: what
 * PyType_GenericAlloc does, without the tracking that a live goroutine does not want. */
GM_INLINE PyObject *gm_new_untracked(PyTypeObject *type) {
    PyObject *o = (PyObject *)_PyObject_GC_New(type);
    if (o != NULL) {
        memset((char *)o + sizeof(PyObject), 0, (size_t)type->tp_basicsize - sizeof(PyObject));
    }
    return o;
}

/* A dead object comes back to life for a free list, as CPython's own free lists do it. */
GM_INLINE void gm_new_reference(PyObject *o) { _Py_NewReference(o); }
GM_INLINE void gm_drop_reference(PyObject *o) { Py_SET_REFCNT(o, 0); }

/* A token of the greenlet that runs: the bottom chunk of CPython's stack of Python frames, of
 * which each greenlet has its own for as long as it lives. NULL where that does not say it
 * (3.10, no Python frame yet, a stack of more than two chunks): ask greenlet then. */
GM_INLINE void *gm_greenlet_token(void *ts) {
#if PY_VERSION_HEX >= 0x030B0000
    _PyStackChunk *c = ((PyThreadState *)ts)->datastack_chunk;
    if (c != NULL && c->previous != NULL) {
        c = c->previous;                        /* a worker's first is small */
    }
    return c != NULL && c->previous == NULL ? c : NULL;
#else
    (void)ts;
    return NULL;
#endif
}

/* ---- contextvars ---------------------------------------------------------------------- */

/* The head of CPython's PyContext, unchanged from 3.7 to 3.14. rt/g/context.pxi probes it at
 * import and copies a context for each goroutine if it ever differs. */
typedef struct {
    PyObject_HEAD
    PyObject *prev;
    PyObject *vars;
    PyObject *weakrefs;
} gm_context;

GM_INLINE PyObject *gm_context_current(void *ts) { return ((PyThreadState *)ts)->context; }
GM_INLINE PyObject *gm_context_vars(PyObject *c) { return ((gm_context *)c)->vars; }
GM_INLINE PyObject *gm_context_weakrefs(PyObject *c) { return ((gm_context *)c)->weakrefs; }
GM_INLINE int gm_context_untouched(PyObject *c, PyObject *base) {
    /* The two references are the worker's and the thread state's: no one else has it. */
    return Py_REFCNT(c) == 2 && ((gm_context *)c)->weakrefs == NULL
        && ((gm_context *)c)->vars == ((gm_context *)base)->vars;
}

/* ---- tracebacks ------------------------------------------------------------------------ */

/* Key of a traceback frame's code object in Cython's cache: file and line (see setup.py). Ten bits
 * are the line's, the rest a hash (FNV-1a) of the name. */
GM_INLINE int gm_traceback_key(const char *filename, int c_line, int py_line) {
    unsigned int hash = 2166136261u;
    if (c_line) {
        return -c_line;
    }
    while (*filename) {
        hash = (hash ^ (unsigned char)*filename++) * 16777619u;
    }
    return (int)((hash >> 11 << 10 ^ (unsigned int)py_line) & 0x7fffffffu);
}

/* ---- threads that outlive the interpreter --------------------------------------------- */

/* Before 3.14 CPython ends a thread that asks for the GIL after finalization has begun by
 * pthread_exit, which unwinds its stack. On a greenlet's sliced stack that would run into
 * frames that are no longer there. A worker's frame carries this guard: an unwind that
 * reaches it stops and sleeps for ever, as CPython 3.14 itself does. */
#if defined(__GNUC__) && !defined(_WIN32)
GM_INLINE void gm_unwind_stop(int *armed) {
    while (*armed) {
        pause();
    }
}
#  define GM_UNWIND_GUARD int gm_unwind_armed __attribute__((cleanup(gm_unwind_stop))) = 1
#  define GM_UNWIND_DISARM gm_unwind_armed = 0
#else
#  define GM_UNWIND_GUARD int gm_unwind_armed = 1
#  define GM_UNWIND_DISARM (void)gm_unwind_armed
#endif

#endif /* GMPX_PYCOMPAT_H */
