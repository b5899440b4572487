# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, binding=False, auto_pickle=False, embedsignature=False
"""The runtime: one translation unit, so that hot paths inline across its parts.

Each part is one concept with its invariants at the top; HACKING.md has the tour.
"""
cimport cython

include "rt/capi.pxi"       # C: atomics, locks
include "rt/pyapi.pxi"      # CPython's and greenlet's C API

# Global state. Fields: _core.pxd.
cdef gm_sched sched
cdef gm_timers timers
cdef gm_lock fork_lock              # see rt/lifecycle.pxi
cdef gm_p* allp[1024 + 8]           # Ps, never freed; [0, sched.nallp)
cdef gm_m* allm = NULL              # sched.lock: every M
cdef gm_u64 next_mid                # next M's id
cdef list processors = []           # keeps the Processor objects of allp
cdef gm_mu all_mu                   # guards all_gs (GIL build: the GIL)
cdef gm_gq all_gs                   # live Gs through all_next; n counts them
cdef gm_counters lost_counts        # sched.lock: counts of Ms that have ended
cdef PyObject* empty_tuple = NULL
cdef PyObject* worker_callable = NULL
cdef PyObject* g0_callable = NULL

cdef enum:
    GOID_BATCH = 16
    RANK_FORK = 0                   # lock ranks: HACKING.md
    RANK_TIMERS = 1
    RANK_SCHED = 2

cdef bint bubble_on = False         # GIL: see rt/bubble.pxi
cdef int64_t bubble_now = 0         # GIL: its clock, or 0

include "rt/note.pxi"       # what an M sleeps on
include "rt/runq.pxi"       # a P's ring
include "rt/gqueue.pxi"     # global queue, inbox
include "rt/gfree.pxi"      # dead Gs for reuse
include "rt/timers.pxi"     # deadlines
include "rt/park.pxi"       # gopark, goready, wait queues
include "rt/proc.pxi"       # schedule, find_runnable, steal_work
include "rt/poll.pxi"       # sleeping and waking Ms, stalled Ps
include "rt/machine.pxi"    # Ms and Ps
include "rt/context.pxi"    # contextvars
include "rt/worker.pxi"     # worker greenlets, g0
include "rt/extra.pxi"      # a goroutine's rarer belongings
include "rt/goroutine.pxi"  # newproc1, goexit0
include "rt/handle.pxi"     # class Goroutine
include "rt/time.pxi"       # time-outs, sleep
include "rt/fastcall.pxi"   # methods made by hand
include "rt/sync.pxi"       # WaitGroup, Mutex
include "rt/chan.pxi"       # channels
include "rt/select.pxi"     # select
include "rt/rwmutex.pxi"    # RWMutex
include "rt/semaphore.pxi"  # Semaphore
include "rt/cond.pxi"       # Cond, Event, Once
include "rt/scope.pxi"      # timeout, shield
include "rt/group.pxi"      # under Group
include "rt/timer.pxi"      # Timer, Ticker, after, after_func
include "rt/spawn.pxi"      # go, spawn
include "rt/thread.pxi"     # M0, foreign threads, gomaxprocs
include "rt/signals.pxi"    # Ctrl-C
include "rt/lifecycle.pxi"  # shutdown, exit, fork
include "rt/inspect.pxi"    # Machine, Processor, stats
include "rt/mainthread.pxi" # run_on_main, lock_os_thread
include "rt/blocking.pxi"   # calls on spare threads
include "rt/bubble.pxi"     # virtual time, seeded order: for tests of users
include "rt/dump.pxi"       # snapshots, SIGQUIT, deadlock
include "rt/export_test.pxi"  # single operations, for tests
include "rt/start.pxi"      # what import does
