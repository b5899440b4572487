# Every struct, status and cdef class of the runtime, with the rules of its fields.
#
# Field rules read "writer / readers / guard". "owner" is the M that holds the P, or that the
# G is bound to; "sched.lock" is the runtime's lock, "timers.lock" that of an M's timers; "GIL" also
# means the object's gm_mu on a free-threaded build. A G is on at most one queue at a time, linked
# through schedlink; which one is said by its status (below).

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from cpython.ref cimport PyObject

cdef extern from "atomics.h" nogil:
    ctypedef struct gm_u32:
        pass
    ctypedef struct gm_u64:
        pass
    ctypedef struct gm_i64:
        pass
    ctypedef struct gm_ptr:
        pass

cdef extern from "pycompat.h" nogil:
    enum: GM_RUNQ_SLOTS
    enum: GM_RUNQ_HALF
    enum: GM_FREE_THREADED
    enum: GMPX_DEBUG
    ctypedef struct gm_lock:
        pass
    ctypedef struct gm_mu:
        pass

cdef extern from "rt/io/poller.h" nogil:
    ctypedef struct gm_poller:
        pass

cdef extern from "rt/platform/threadstate.h":
    ctypedef struct gm_locals:
        PyObject* token
        PyObject* sentinel

cdef extern from "pythread.h" nogil:
    ctypedef void* PyThread_type_lock

# A goroutine's status. Owner, queue and legal successors:
#   IDLE      free list or a test; no queue but gfree. -> RUNNABLE (newproc1)
#   RUNNABLE  fresh (park NULL): a ring or the global queue, any M may take it.
#             started (park set): readynext, ready, yielded or inbox of its own M.
#             -> RUNNING (execute)
#   RUNNING   curg of its M; no queue.  -> WAITING (gopark), RUNNABLE (gosched), DEAD (goexit0)
#   WAITING   on the wait queues and timers that its park's sudogs and timer name.
#             -> RUNNABLE (goready, by the one waker that won the park word)
#   DEAD      no queue; kept alive by handles only, or about to go to a free list. -> IDLE
cdef enum:
    G_IDLE = 0
    G_RUNNABLE = 1
    G_RUNNING = 2
    G_WAITING = 3
    G_DEAD = 4

# 128 bytes with Python's head and the collector's, so that a burst of spawns moves as little
# memory as possible: what only some goroutines have lies elsewhere (extra, park).

cdef enum:                      # gm_g.flags, written by the owner only
    GF_KWARGS = 1               # args is (tuple, dict)
    GF_SYSTEM = 2               # main or a foreign thread's: never cancelled by shutdown
    GF_FAILED = 4               # ended with an exception: result is a _Failure
    GF_CANCELLED = 8            # asked to stop before it started: never runs
    GF_FORKED = 16              # was alive in the parent when this process was forked
    GF_OWN_CONTEXT = 32         # ctx is entered itself, not copied
    GF_CANCEL = 64              # asked to stop: Cancelled at its next park
    GF_LOOSE = 128              # its memory came from no free list and goes to none
    GF_SHIELD = 256             # a cancel waits until this is gone
    GF_CANCELLING = 512         # a cancel has won its park and is not yet raised
    GF_WAS_CANCELLED = 1024     # one has been raised in it
    GF_GROUP = 4096             # constant: its WaitGroup is a GroupCore
    GF_OVER = 2048              # main, whose program has ended: not to be cancelled any more
    GF_LOCALS = 8192            # it has thread locals of its own: see rt/g/threadlocal.pxi
    GF_LOOP = 16384             # asyncio runs a loop in it

cdef enum:                      # what a park ends with; written by the winner of the park word
    WAKE_READY = 0              # what was waited for has happened
    WAKE_TIMEOUT = 1
    WAKE_CANCEL = 2             # Cancelled is to be raised
    WAKE_INTERRUPT = 3          # the main goroutine: M0's pending exception is to be raised
    WAKE_NOMEM = 4              # the owner itself: no memory for the deadline's timer
    WAKE_YIELD = 5              # the main goroutine in gosched: not woken by anyone yet
    WAKE_SCOPE = 6              # one of its scopes has fired: Interrupted is to be raised
    WAKE_LOOP = 7               # the owner itself: the wait would stop the asyncio loop that runs in it

cdef enum:                      # gm_p.status, under sched.lock
    P_IDLE = 0                  # on sched.pidle, no M
    P_RUNNING = 1               # owned by an M, or on its way to one (nextp)
    P_SPARE = 2                 # id >= gomaxprocs, no M: off every list

cdef enum:                      # gm_m.kind
    M_MAIN = 0                  # the main thread: holds the main goroutine
    M_WORKER = 1
    M_FOREIGN = 2               # a thread of the user's: parks on its note, never schedules
    M_DEAD = 3                  # no thread: waits for reuse

cdef enum:                      # gm_m.seeks, but for 0: it runs Gs
    M_SEEKS = 1                 # it has none, and looks for one without the GIL
    M_STARTS = 2                # its thread does not run Python code yet

cdef enum:                      # gm_park.why; the words are in rt/g/handle.pxi
    WHY_RECV = 0
    WHY_SEND = 1
    WHY_SELECT = 2
    WHY_NO_CASES = 3
    WHY_SLEEP = 4
    WHY_JOIN = 5
    WHY_WAIT_GROUP = 6
    WHY_MUTEX = 7
    WHY_RW_LOCK = 8
    WHY_RW_RLOCK = 9
    WHY_SEMAPHORE = 10
    WHY_COND = 11
    WHY_ONCE = 12
    WHY_EVENT = 13
    WHY_SHUTDOWN = 14
    WHY_BLOCKING = 15
    WHY_BUBBLE = 16
    WHY_IO = 17
    WHY_THREAD_LOCK = 18
    WHY_THREAD_QUEUE = 19
    WHY_LIMITER = 20

cdef enum:
    SINCE_SHIFT = 20            # about a millisecond; the count wraps after 52 days

cdef struct gm_g
cdef struct gm_m
cdef struct gm_sudog
cdef struct gm_park
cdef struct gm_gext

cdef struct gm_gq:              # FIFO of Gs through schedlink; guarded by its holder
    gm_g* head
    gm_g* tail
    Py_ssize_t n

cdef enum:
    GFREE_LOCAL = 64            # dead Gs that a P keeps
    GFREE_BATCH = 32            # how many at once move between it and sched.gfree

cdef struct gm_gfree:           # sched.lock: a stack of batches of dead Gs
    gm_gfree* next
    gm_g* g[GFREE_BATCH]

cdef struct gm_batch:           # sched.lock: a run of Gs in the global queue
    gm_batch* next
    uint32_t first              # g[first:end] are queued
    uint32_t end
    gm_g* g[GM_RUNQ_HALF + 1]   # as many as a full ring gives away

cdef struct gm_batches:         # FIFO of batches: the global queue, or a P's spill; sched.lock
    gm_batch* head
    gm_batch* tail
    gm_gq linked                # Gs for which there was no memory for a batch
    Py_ssize_t n                # Gs in all
    gm_i64 size                 # n for those who look without the lock, as a hint
    gm_u64 puts                 # how many came and went since the start: the head's age is read
    gm_u64 takes                # off them (sysmon)

cdef struct gm_waitq:           # GIL
    gm_sudog* first
    gm_sudog* last

cdef struct gm_timer:           # in the heap of the M that its park, scope or node names
    int64_t when                # timers.lock: CLOCK_MONOTONIC nanoseconds
    Py_ssize_t index            # timers.lock: place in the heap, < 0 when not in it
    gm_park* park               # whose time-out it is, with the word to win; NULL: word says what
    uint64_t word               # it is part of (TIMER_SCOPE, TIMER_NODE)

cdef struct gm_scope:           # timers.lock; see rt/sync/scope.pxi
    gm_timer timer              # first: the heap knows it by that
    gm_scope* outer
    gm_park* park               # of the goroutine that opened it; NULL before
    PyObject* obj               # borrowed: the Scope
    int state
    uint32_t delivery           # which interruption it has had
    bint is_shield              # constant

cdef struct gm_tnode:           # timers.lock; see rt/sync/timer.pxi
    gm_timer timer              # first
    gm_m* m                     # whose heap: changed only while it is in none and not on_fired
    gm_tnode* next              # timers.fired
    gm_tnode* prev
    bint on_fired
    int64_t period              # ns; 0: fires once
    int64_t fired_at            # while on_fired
    gm_tnode* all_next          # GIL: started_nodes
    gm_tnode* all_prev
    bint started                # GIL: on that list
    bint kept                   # constant: its function runs in a fork's child, too
    PyObject* obj               # borrowed: the TimerNode

# One waiting party on one wait queue. Lives in the waiter's park (never on a C stack: a
# suspended greenlet's stack is copied away), and is unlinked before the wait returns.
cdef struct gm_sudog:
    gm_sudog* next              # GIL: the queue's owner
    gm_sudog* prev
    gm_waitq* queue             # GIL: queue that it is on, or NULL
    gm_park* park
    uint64_t word               # the park word to win
    PyObject* elem              # owned: value to send, or the value received
    int ok                      # GIL, the winner: 1 completed by its peer, 0 woken by close

# What a started goroutine waits with: 152 bytes, each of which a parked goroutine costs, and a
# worker's 176 are what the allocator hands out. Embedded in its worker, or allocated for main and
# foreign goroutines. word is even while nothing is waited for and odd during a park; wakers
# race by a CAS from the odd value that they were registered with to the next even one, so
# exactly one wins, and one that comes too late for its park can win no later one.
cdef struct gm_park:
    gm_u64 word                 # owner: even -> odd; winner: odd -> even
    gm_g* g                     # execute
    gm_m* m                     # constant: the M whose greenlet stands here
    PyObject* gl                # owner: the greenlet to resume, owned while parked
    PyObject* home              # constant, owned: the worker's greenlet, or the thread's root
    void* home_token            # owner: home's gm_greenlet_token, once known
    short reason                # winner of word, before it publishes the G
    uint8_t why                 # owner: WHY_*, what is waited for
    uint32_t since              # owner: when the wait began, in units of 2**SINCE_SHIFT ns
    gm_scope* scopes            # timers.lock, the owner: innermost first
    gm_sudog sudog
    gm_timer timer

cdef struct gm_loop:            # see rt/io/asyncio.pxi
    gm_ptr inbox                # gm_g* stack: pushed by anyone, taken whole by the loop's thread
    gm_u32 rung                 # anyone / the loop's thread: it is to look there
    int fd                      # constant until it is closed: what wakes the loop, -1: its goroutine parks
    gm_waitq sleeper            # GIL: the goroutine that runs the loop, while it waits for events

cdef struct gm_pd:              # what is known of a descriptor: see rt/io/netpoll.pxi
    gm_u32 lock                 # guards the rest
    gm_u32 flags                # PD_*: set under the lock; a reader of its socket clears and sets PD_READ
    uint32_t seq                # tag of its events: those that carry another are another file's
    int32_t fd                  # constant
    gm_m* m                     # in whose poller it is, or NULL
    gm_waitq rq
    gm_waitq wq
    gm_u32 attempts             # anyone: how many there are, and PD_CLOSES (NP8)

cdef struct gm_g:
    gm_g* schedlink             # holder of the queue that the G is on
    gm_g* all_next              # GIL: list of all live Gs
    gm_g* all_prev
    PyObject* fn                # owned from newproc1 until goexit0; then its name, if held
    PyObject* ctx               # owned, as fn: the snapshot to copy, or the context itself
    uint64_t goid
    uint64_t parent_goid
    gm_u32 status               # owner of the status / anyone
    uint32_t flags
    gm_park* park               # execute / waker; NULL while fresh and when dead
    uintptr_t extra             # GIL: 0, WaitGroup | 1 (owned), or gm_gext*; see rt/g/extra.pxi

cdef struct gm_gext:            # GIL
    gm_waitq waiters            # joiners
    PyObject* wg                # owned until goexit0: WaitGroup to count down, or NULL
    PyObject* callbacks         # list or NULL
    PyObject* name              # str or NULL
    PyObject* cancel_message    # what Cancelled is to say, or NULL
    PyObject* locals            # owned until goexit0: {Local: dict}, or NULL
    gm_locals thread_locals     # GF_LOCALS: its own while it does not run, empty while it does
    PyObject* loop              # GF_LOOP, owned: asyncio's
    PyObject* asyncgen_firstiter    # owned: its hooks while it does not run, the others' while it does
    PyObject* asyncgen_finalizer
    PyObject* task              # owned: the loop's current task while the goroutine does not run, or NULL

# A worker greenlet: runs one fresh G after another inline. Owned by its M.
cdef struct gm_worker:
    gm_park park
    gm_worker* next             # M's idle list
    PyObject* ctx               # owned: the context that is entered on this greenlet, or NULL
    PyObject* ctx_base          # owned: the snapshot that ctx is a copy of

# A one-shot event that an M sleeps on (Go's note): see rt/platform/note.pxi.
cdef struct gm_note:
    gm_u32 state                # NOTE_*
    PyThread_type_lock sem

cdef struct gm_counters:        # owner of the P (GIL for the foreign ones)
    uint64_t spawned
    uint64_t finished
    uint64_t parked
    uint64_t readied
    uint64_t steals             # successful visits
    uint64_t stolen             # Gs taken in them
    uint64_t handoffs
    uint64_t spins
    uint64_t m_parks
    uint64_t m_wakes

cdef struct gm_slot:            # one ring entry: written by the owner, read by thieves
    gm_ptr g

cdef struct gm_p:
    int32_t id
    gm_u32 status               # sched.lock / anyone
    gm_ptr m                    # gm_m*: owner (wire_p) / anyone
    gm_p* link                  # sched.lock: pidle
    gm_u64 sched_tick           # owner / sysmon: a G was started or resumed
    # the ring: fresh Gs only. head: CAS by whoever takes; tail: owner, release.
    gm_u32 runq_head
    gm_u32 runq_tail
    gm_slot runq[GM_RUNQ_SLOTS]
    gm_batches spill            # sched.lock: what overflowed from the ring, on GIL builds
    gm_g* gfree[GFREE_LOCAL]    # owner: dead Gs for reuse
    uint32_t ngfree
    uint64_t goid_next          # owner: ids [goid_next, goid_end) are this P's
    uint64_t goid_end
    gm_counters count
    # what sysmon has seen of it, written by sysmon alone (acquire_p: by the lock)
    gm_u64 seen                 # sched_tick at seen_at, sysmon / thieves
    int64_t seen_at
    int64_t seen_cpu            # its M's CPU time at seen_at, -1 if not known
    gm_u32 learns               # sysmon, owner: there is a sample that learn has not seen
    gm_u64 looked_ns            # sysmon / owner: time that its samples stand for
    gm_u64 outside_ns           # of that, time that its Gs were outside
    gm_u64 outside_cpu_ns       # of that, CPU time that they used
    gm_u64 sampled_tick         # sysmon / owner: sched_tick at the latest sample
    int64_t learnt_at           # owner: when learn has last attributed what had come, and up to what
    uint64_t learnt_looked
    uint64_t learnt_ns
    uint64_t learnt_cpu_ns
    uint64_t learnt_tick
    uint64_t learnt_runs
    gm_u32 outside              # sysmon / thieves: its last samples, a bit each, the latest lowest: its G was outside
    uint32_t looks
    uint64_t paced              # sched_tick at paced_at, 16 samples ago or less
    int64_t paced_at
    int free                    # samples in a row that found nobody having the GIL
    int other                   # since its M was last found with it, that found another having it
    int64_t cpu                 # its M's CPU time at the last sample, at cpu_at
    int64_t cpu_at
    int64_t still_at            # until when it was last seen to run
    gm_u32 verdict              # STANDS_*, sysmon / thieves
    gm_u32 grant                # STANDS_BUSY: how many Gs thieves may take, sysmon sets, they take
    uint32_t grant_next         # how many at the next look
    PyObject* obj               # GIL: borrowed: the Processor, once somebody has asked for it

cdef struct gm_timers:          # an M's: see rt/sched/timers.pxi
    gm_lock lock
    gm_timer** heap             # lock: 4-ary heap by when
    Py_ssize_t n                # lock
    Py_ssize_t room             # lock
    gm_i64 next_when            # lock / anyone: when of the first, INT64_MAX for none
    uint32_t deliveries         # lock: interruptions so far
    gm_tnode* fired             # lock: those that are to be delivered, in order
    gm_tnode* fired_last
    gm_u32 firing               # lock / anyone: batches that are on their way to the queues

cdef struct gm_watch:           # an M's, for the block detector: sysmon, reporter / sched.lock
    gm_p* p                     # NULL: it is not watched
    uint64_t tick               # p's, since `since`
    int64_t since
    int64_t cpu                 # the thread's CPU time at since, -1 if it is not known
    int64_t cpu_now             # at sysmon's last look
    int64_t cpu_seen            # at the reporter's last look
    int64_t seen_at             # when that was
    int64_t local_at            # since when somebody waits on the M's own queues, 0: nobody
    int64_t inbox_at            # in its inbox
    int64_t from_at             # since when it is looked at what the goroutine does: at since, or when
    int64_t from_cpu            # somebody was first found waiting; CPU time then
    int64_t tell_at             # not to be reported again before
    uint32_t looks              # sysmon's since from_at
    uint32_t held               # so often it had the GIL then
    uint32_t wanted             # or waited for it
    uint32_t away               # or stood in another call
    bint seen                   # the reporter has looked at this tick
    uint64_t calm               # blockwatch.round in which nobody else was bound to it

cdef struct gm_blockwatch:      # see rt/sched/blockwatch.pxi, rt/observe/blocks.pxi
    int64_t limit               # constant: nanoseconds, 0: off
    gm_u32 rests                # sysmon sleeps with no look in view
    uint64_t round              # sched.lock: verdicts of another one do not count
    int64_t tell_at             # sched.lock: no report before
    int64_t next_at             # sysmon: its next look, INT64_MAX: none
    bint unsettled              # sysmon: something was queued when it last looked
    # the reporter
    gm_note note
    gm_u32 started              # its thread lives
    gm_u32 asked                # sysmon / reporter: it is to look
    gm_u32 busy                 # reporter / exit: it may have a thread state
    int64_t begun_at            # reporter: since when it has waited for the GIL
    uint64_t told               # GIL: reports so far

# A thread. Type-stable: once made its memory is an M for good, and is used anew when the thread has
# gone, so that a late waker finds an M, if not the one that it meant.
cdef struct gm_m:
    int64_t id
    uint64_t ident              # constant: the thread's id
    int64_t cpu_clock           # constant: of its CPU time, 0 if there is none
    int64_t tid                 # constant: the system's id of the thread, 0 if there is none
    int kind                    # sched.lock / sysmon, as a hint
    void* ts                    # constant: the thread's PyThreadState
    gm_g* curg                  # owner: G whose code runs, NULL while scheduling
    gm_p* p                     # owner
    gm_p* nextp                 # sched.lock: P handed over with the wake-up
    gm_g* readynext             # owner: Go's runnext
    gm_gq ready                 # owner: started Gs
    gm_gq yielded               # owner: those that called gosched
    uint64_t yield_takes        # owner: how often one of them had its turn
    uint64_t yield_takes_seen   # owner: yield_takes at the last fair tick
    bint yield_waiting          # owner: yielded was not empty then
    gm_ptr inbox                # gm_g* stack: pushed by anyone, taken whole by the owner
    gm_note note
    gm_u32 sleeps               # owner / sysmon: it sees to its own timers
    bint deep                   # owner (M0): its next sleep ends with a signal, for certain
    gm_poller poller            # owner / sysmon, wakers: open from the first wait for a descriptor on
    gm_u32 net_waiters          # who waits for what this poller watches / owner, sysmon
    gm_u32 polling              # owner / sysmon: it sleeps in its poller
    gm_i64 polled_at            # who has looked last: owner, sysmon
    uint32_t net_misses         # owner: see net_look
    bint gil_slow               # owner: it had to wait for the GIL when it last gave it up
    uint32_t io_ops             # owner: see SK5 in rt/io/socket.pxi
    uint64_t io_tick
    char* scratch               # owner: what recv reads into
    gm_timers timers
    gm_watch watch              # sysmon, reporter / sched.lock
    bint spinning               # owner
    bint blocked                # sched.lock: on midle
    gm_m* idle_prev             # sched.lock: midle
    gm_m* idle_next
    gm_m* pwait_next            # sched.lock: waiting for a P
    bint pwaiting               # sched.lock
    int64_t pwait_since         # sched.lock
    gm_m* all_next              # constant: allm, which only grows
    gm_m* free_next             # sched.lock: sched.mfree
    gm_g* handoff               # owner: fresh G for the worker that is switched to next
    gm_worker* starting         # owner: worker that g0 has just made
    gm_worker* idle_workers     # owner
    Py_ssize_t nidle
    Py_ssize_t nworkers         # owner (GIL: shutdown): workers that live, the idle among them
    Py_ssize_t nidle_low        # owner: fewest idle since the last trim
    Py_ssize_t reap             # owner: idle workers that g0 is to end
    PyObject* reaper            # owner: greenlet that g0 returns to after that; owned
    int64_t housekeep_at        # owner: when to let surplus workers and dead Gs go
    int64_t look_at             # owner: when a sleep ends to look whether anything can ever run
    bint made_none              # owner: it could not have another thread made for what is queued
    gm_u32 hosts                # owner, before it sleeps / sched.lock: started Gs that are bound to it
    gm_u32 seeks                # owner / sysmon: M_SEEKS, M_STARTS
    bint searches               # owner: a worker greenlet of its own, in find_runnable
    bint looked                 # owner: it has, and nothing has run here since
    int64_t look_again          # owner (M0): how long the next look may wait, threads being there
    int64_t gil_since           # owner: when the scheduler last gave way to who waits for the GIL
    uint32_t next_floor         # owner: see FLOORS
    uint32_t took               # owner: how many Gs it has just taken; 0: it has run dry since
    uint32_t took_hosts         # owner: hosts at that time
    int64_t took_at
    int64_t rests_until         # owner: see policy_dry
    PyObject* g0                # owner: greenlet that starts workers; owned
    int debt                    # owner: see S4 in rt/sched/proc.pxi
    bint turn_fresh
    int64_t turn_start
    int next_streak             # owner: readynext picks in a row
    gm_locals base_locals       # GIL: TL2 in rt/g/threadlocal.pxi
    bint keeps_off              # owner: parks without running others: foreign, or locked to one G
    Py_ssize_t lock_depth       # owner: lock_os_thread blocks that are open
    gm_g* locked_g              # owner: who opened them
    gm_park* alone_park         # GIL: what m sleeps in, alone
    bint forked_idle            # owner: the process was forked while no goroutine ran on it
    PyObject* callback_home     # owner: greenlet on which done callbacks run now, or NULL
    uint64_t rng                # owner
    PyObject* ctx_snap          # owner: latest snapshot given to a spawned G
    PyObject* interrupt         # GIL: exception to bring to the main goroutine (M0)
    bint interrupt_later        # GIL: interrupt could not be delivered to main's last wait (M0)
    gm_u32 stop                 # shutdown: end the thread
    bint abandoned              # GIL: shutdown leaves a parked G behind on it
    PyObject* obj               # owned: the Machine
    gm_g* g_main                # M0 and foreign threads: the thread's own goroutine
    PyObject* g_self            # owned: its Goroutine
    gm_counters count           # used while no P is held

cdef struct gm_sched:
    gm_lock lock
    gm_u32 over                 # nothing of the runtime is to look at Python's memory any more
    gm_u32 exiting              # the interpreter exits: what lives is abandoned at the end
    uint32_t forking            # fork_lock: forks under way
    gm_batches runq             # lock: the global queue
    gm_batch* batch_spare       # lock: one kept for reuse
    gm_i64 overflow             # lock / anyone, as a hint: Gs in runq and in all spills
    gm_gfree* gfree             # lock: dead Gs that no P holds
    gm_gfree* gfree_spare       # lock: one batch kept for reuse
    int64_t gfree_low           # lock: smallest gfree_size since the last trim
    gm_i64 gfree_size           # lock / anyone, as a hint
    gm_p* pidle                 # lock
    gm_u32 npidle               # lock / anyone, as a hint
    gm_m* midle                 # lock: sleeping Ms, latest first
    gm_u32 nmidle               # lock / anyone, as a hint
    gm_m* pwait_first           # lock: Ms with ready Gs that wait for a P
    gm_m* pwait_last
    gm_u32 npwait               # lock / anyone, as a hint
    gm_u32 nmspinning           # the spinning M itself / anyone
    gm_u32 nprocs               # lock (gomaxprocs) / anyone
    gm_u32 nallp                # GIL and lock: Ps that exist, with the spares / anyone
    gm_u64 goid                 # fetch_add: next block of ids
    gm_m* mfree                 # lock: dead Ms
    gm_u32 nm                   # worker threads that live
    gm_u32 nlocked              # of them, kept to one goroutine (lock_os_thread)
    gm_u32 ncpu                 # constant from the first contact on: the CPUs that the process may use
    gm_u32 nblocked             # sysmon / anyone: Ms that it has found in a system call
    gm_u32 nblocked_own         # those of them that hold regular Ps
    gm_u32 undelivered          # anyone: Ms' `fired` lists may hold something
    gm_u32 look_asked           # M0 is to look for a deadlock once more
    gm_u32 frozen               # a bubble has the clock: sysmon leaves timers alone
    gm_u32 stopping             # shutdown under way: no new M

cdef struct gm_sysmon:          # see rt/sched/sysmon.pxi
    gm_note note
    gm_u32 started              # anyone: its thread lives
    gm_u32 watch                # WATCH_*: sysmon, who wakes it / anyone
    gm_i64 until                # it looks at the timers by then
    # its own
    int64_t ticked_at           # when a P was last seen to have ticked
    int64_t standing            # how long that is ago
    uint64_t puts               # sched.runq.puts and takes at puts_at
    uint64_t takes
    int64_t puts_at
    bint queue_stalled
    int quiet                   # looks in a row that saw nothing to watch
    gm_i64 hot_until            # sysmon, spawners: see rt/sched/watch.pxi
    gm_i64 placed_until         # spawners: see heat_up
    gm_i64 waiting_until        # with the GIL / anyone: until when placed code counts that waits (rt/sched/learn.pxi)
    int vain                    # looks in a row that found no goroutine outside
    int lessons                 # looks at those that take turns, since a wake-up last made vain 0
    int cold                    # the same, in a hot time
    int steady                  # that found all Ps busy and some outside, none in the kernel; 2 at most
    int64_t fresh_start         # when vain was last 0
    gm_u32 lone                 # tests: an M that computes has none of its fresh Gs stolen


cdef class Goroutine:
    cdef gm_g g                 # first: gm_g* and object are a constant apart (rt/g/goroutine.pxi)
    cdef object __weakref__
    cdef object _result         # alive: the arguments or NULL; dead: the value or a _Failure


cdef class Machine:
    cdef gm_m* m                # owned: freed with the object
    cdef gm_park* park          # owned: park of main's or the foreign thread's goroutine


cdef class Processor:
    cdef gm_p* p                # owned, if detached; else one of allp
    cdef bint owned


include "rt/sync/classes.pxi"
