# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, binding=False, auto_pickle=False, embedsignature=False
"""The runtime: one translation unit, so that hot paths inline across its parts.

Each part is one concept with its invariants at the top; HACKING.md has the tour.
"""
cimport cython

include "rt/platform/capi.pxi"        # C: atomics, locks
include "rt/platform/pyapi.pxi"       # CPython's and greenlet's C API

# Global state. Fields: _core.pxd.
cdef gm_sched sched
cdef gm_sysmon sysmon
cdef gm_lock fork_lock              # see rt/life/lifecycle.pxi
cdef enum:
    MOST_PS = 1024 + 10008          # gomaxprocs, and a spare for each M that may stand
cdef gm_p* allp[MOST_PS]            # Ps, never freed; [0, sched.nallp)
cdef gm_ptr allm                    # gm_m*: every M, dead ones too; grows under sched.lock
cdef gm_m loop_m                    # owner of the parks of asyncio's waiters: rt/io/asyncio.pxi
cdef Py_ssize_t modules_none = 0
cdef Py_ssize_t modules_seen = -1   # GIL: how many modules there were when main last looked for _asyncio ...
cdef Py_ssize_t* modules_used = &modules_none   # ... and how many there are; once it is there, modules_seen itself
cdef gm_u64 next_mid                # next M's id
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

cdef bint sigint_wanted = False     # GIL: shutdown has taken the handler away
cdef bint bubble_on = False         # GIL: see rt/sched/bubble.pxi
cdef int64_t bubble_now = 0         # GIL: its clock, or 0

include "rt/platform/note.pxi"        # what an M sleeps on
include "rt/sched/runq.pxi"           # a P's ring
include "rt/sched/gqueue.pxi"         # global queue, inbox
include "rt/g/gfree.pxi"              # dead Gs for reuse
include "rt/sched/timers.pxi"         # deadlines
include "rt/g/threadlocal.pxi"        # what a goroutine has of its thread for itself
include "rt/sched/park.pxi"           # gopark, goready, wait queues
include "rt/io/netpoll.pxi"           # waiting for descriptors
include "rt/sched/policy.pxi"          # whom to wake, what to steal
include "rt/sched/learn.pxi"           # which code is worth placing well
include "rt/sched/proc.pxi"           # schedule, find_runnable, steal_work
include "rt/sched/sleep.pxi"           # sleeping and waking Ms
include "rt/sched/watch.pxi"           # what sysmon sees of the Ps
include "rt/sched/sysmon.pxi"          # the thread that watches the others
include "rt/sched/blockwatch.pxi"      # who keeps a thread from others
include "rt/sched/machine.pxi"        # Ms and Ps
include "rt/g/context.pxi"            # contextvars
include "rt/sched/worker.pxi"         # worker greenlets, g0
include "rt/g/extra.pxi"              # a goroutine's rarer belongings
include "rt/g/goroutine.pxi"          # newproc1, goexit0
include "rt/g/handle.pxi"             # class Goroutine
include "rt/sync/time.pxi"            # time-outs, sleep
include "rt/platform/fastcall.pxi"    # methods made by hand
include "rt/sync/sync.pxi"            # WaitGroup, Mutex
include "rt/sync/chan.pxi"            # channels
include "rt/sync/select.pxi"          # select
include "rt/sync/rwmutex.pxi"         # RWMutex
include "rt/sync/semaphore.pxi"       # Semaphore
include "rt/sync/limiter.pxi"         # Limiter
include "rt/sync/cond.pxi"            # Cond, Event, Once
include "rt/sync/scope.pxi"           # timeout, shield
include "rt/sync/feed.pxi"            # under map with a limit
include "rt/sync/group.pxi"           # under Group
include "rt/sync/executor.pxi"        # under Executor
include "rt/sync/future.pxi"
include "rt/sync/timer.pxi"           # Timer, Ticker, after, after_func
include "rt/io/wait.pxi"              # wait_readable, wait_writable, notify_closing
include "rt/io/socket.pxi"            # recv, send
include "rt/io/connect.pxi"           # accept, connect
include "rt/io/twin.pxi"              # the other methods of sockets
include "rt/io/socket_table.pxi"      # birth and end; the table of methods
include "rt/io/standin.pxi"           # ours behind a built-in function
include "rt/sync/threadlock.pxi"      # CPython's locks
include "rt/sync/threadqueue.pxi"     # its SimpleQueue
include "rt/sync/threadswap.pxi"      # how ours come behind their methods, and go
include "rt/io/polling.pxi"           # time.sleep, select
include "rt/io/asyncio.pxi"           # loops that park, coroutines that wait for goroutines
include "rt/io/ssl.pxi"               # TLS
include "rt/io/streams.pxi"           # os.read, os.write
include "rt/io/fileio.pxi"            # FileIO
include "rt/g/spawn.pxi"              # go, spawn
include "rt/life/thread.pxi"          # M0, foreign threads, gomaxprocs
include "rt/life/signals.pxi"         # Ctrl-C
include "rt/life/lifecycle.pxi"       # shutdown, exit, fork
include "rt/observe/inspect.pxi"      # Machine, Processor, stats
include "rt/life/mainthread.pxi"      # run_on_main, lock_os_thread
include "rt/life/blocking.pxi"        # calls on spare threads
include "rt/sched/bubble.pxi"         # virtual time, seeded order: for tests of users
include "rt/observe/dump.pxi"         # snapshots, SIGQUIT, deadlock
include "rt/observe/blocks.pxi"       # tells of that
include "rt/observe/lockwatch.pxi"     # a thread that waits for itself
include "rt/observe/export_test.pxi"  # single operations, for tests
include "rt/life/start.pxi"           # what import does
