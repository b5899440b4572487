# What the runtime calls of C: atomics, CPython's C API in raw-pointer form, greenlet's C API.

from cpython.ref cimport PyObject, Py_INCREF, Py_DECREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t, INT64_MAX
from libc.stdlib cimport calloc, malloc, realloc, free, abort
from libc.string cimport memset, memcpy

cdef extern from "atomics.h" nogil:
    uint32_t gm_load_u32_relaxed(gm_u32*)
    uint32_t gm_load_u32_acquire(gm_u32*)
    uint32_t gm_load_u32_seqcst(gm_u32*)
    void gm_store_u32_relaxed(gm_u32*, uint32_t)
    void gm_store_u32_release(gm_u32*, uint32_t)
    void gm_store_u32_seqcst(gm_u32*, uint32_t)
    uint32_t gm_exchange_u32_seqcst(gm_u32*, uint32_t)
    bint gm_cas_u32_acqrel(gm_u32*, uint32_t, uint32_t)
    bint gm_cas_u32_seqcst(gm_u32*, uint32_t, uint32_t)
    uint32_t gm_fetch_add_u32_relaxed(gm_u32*, uint32_t)
    uint32_t gm_fetch_add_u32_seqcst(gm_u32*, uint32_t)
    uint32_t gm_fetch_or_u32_seqcst(gm_u32*, uint32_t)
    uint32_t gm_fetch_and_u32_seqcst(gm_u32*, uint32_t)
    uint64_t gm_load_u64_relaxed(gm_u64*)
    uint64_t gm_load_u64_acquire(gm_u64*)
    void gm_store_u64_relaxed(gm_u64*, uint64_t)
    bint gm_cas_u64_acqrel(gm_u64*, uint64_t, uint64_t)
    uint64_t gm_fetch_add_u64_relaxed(gm_u64*, uint64_t)
    int64_t gm_load_i64_relaxed(gm_i64*)
    int64_t gm_load_i64_seqcst(gm_i64*)
    void gm_store_i64_relaxed(gm_i64*, int64_t)
    void gm_store_i64_seqcst(gm_i64*, int64_t)
    void gm_store_i64_release(gm_i64*, int64_t)
    int64_t gm_fetch_add_i64_relaxed(gm_i64*, int64_t)
    void* gm_load_ptr_relaxed(gm_ptr*)
    void* gm_load_ptr_acquire(gm_ptr*)
    void* gm_load_ptr_seqcst(gm_ptr*)
    void gm_store_ptr_relaxed(gm_ptr*, void*)
    void gm_store_ptr_release(gm_ptr*, void*)
    void* gm_exchange_ptr_acqrel(gm_ptr*, void*)
    bint gm_cas_ptr_seqcst(gm_ptr*, void*, void*)
    void gm_fence_seqcst()
    bint gm_cas_i64_seqcst(gm_i64*, int64_t, int64_t)
    uint64_t gm_load_u64_seqcst(gm_u64*)
    void gm_pause()

cdef extern from "pycompat.h" nogil:
    bint gm_likely(bint)
    bint gm_unlikely(bint)
    int64_t gm_nanotime()
    void gm_prefetch_g(void*)
    int64_t gm_nanotime_coarse()
    int64_t gm_cpu_clock()
    int64_t gm_cpu_time(int64_t)
    int64_t gm_tid()
    int gm_sleeps_in_kernel(int64_t)
    void gm_timer_slack_least()
    void gm_osyield()
    int gm_atfork_child(void (*f)() noexcept nogil)
    int gm_lock_init(gm_lock*, unsigned int rank)
    void gm_lock_acquire(gm_lock*)
    void gm_lock_release(gm_lock*)
    void gm_rank_none()
    void gm_rank_forked()
    void gm_mu_lock(gm_mu*)
    void gm_mu_unlock(gm_mu*)

cdef extern from "rt/platform/hooks.h" nogil:
    enum: HOOK_STOP_M
    enum: HOOK_SYSMON_QUIET
    enum: HOOK_SYSMON_SLEEP
    enum: HOOK_READY_PUSHED
    enum: HOOK_TIMERS_LOCKED
    enum: HOOK_FIRING
    enum: HOOK_DEEP_BEGUN
    enum: HOOK_DEEP
    enum: HOOK_LOOKED
    enum: HOOK_BIG_READ
    enum: HOOK_NET_SLEEP
    void hook_point "gm_hook_point"(int)
    bint gm_hook_set(int, unsigned int, unsigned int, unsigned int, unsigned int)
    unsigned int gm_hook_get(int)

cdef extern from "rt/platform/barrier.h" nogil:
    int gm_barrier_init()
    void gm_barrier_light()
    void gm_barrier_heavy()

cdef extern from "rt/io/poller.h" nogil:
    uint32_t GM_POLL_READ
    uint32_t GM_POLL_WRITE
    uint32_t GM_POLL_HUP
    uint32_t GM_POLL_ONCE
    uint32_t GM_POLL_URGENT
    uint64_t GM_POLL_BROKEN
    uint64_t GM_POLL_SIGNAL
    enum: GM_POLL_EDGES
    ctypedef struct gm_pevent:
        pass
    bint gm_poller_is_open(gm_poller*)
    int gm_poller_open(gm_poller*)
    void gm_poller_close(gm_poller*)
    int gm_poller_set(gm_poller*, int fd, uint32_t want, uint64_t tag, bint known)
    void gm_poller_unset(gm_poller*, int fd)
    bint gm_poller_lives(gm_poller*)
    int gm_poller_wait(gm_poller*, gm_pevent*, int n, int64_t ns)
    void gm_poller_break(gm_poller*)
    uint64_t gm_pevent_tag(gm_pevent*)
    uint32_t gm_pevent_bits(gm_pevent*)

cdef extern from "pythread.h" nogil:
    ctypedef int PyLockStatus
    PyLockStatus PY_LOCK_FAILURE
    PyLockStatus PY_LOCK_ACQUIRED
    PyLockStatus PY_LOCK_INTR
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock)
    int PyThread_acquire_lock(PyThread_type_lock, int)
    PyLockStatus PyThread_acquire_lock_timed(PyThread_type_lock, long long, int)
    void PyThread_release_lock(PyThread_type_lock)
    int WAIT_LOCK
