# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Drives rings, queues, free lists, notes, park words, Ms, sysmon and pollers from C threads, for
ThreadSanitizer.

The fragments included here are the shipped ones (or a copy with one deliberate mistake, see
test_native.py), compiled with -fsanitize=thread and a ring of GM_RUNQ_SLOTS. Thread bodies
touch no Python object and hold no GIL: TSan sees all there is to see.

Each body hands plain fields of a G (goid, parent_goid) from thread to thread without any
ordering of its own, so a missing release or acquire in a fragment is a reported data race.
All counts that the bodies keep for themselves are relaxed, for the same reason.
"""
from gmpx._core cimport *

include "rt/platform/capi.pxi"

cdef gm_sched sched
cdef gm_sysmon sysmon
cdef enum:
    MOST_PS = 64
cdef gm_p* allp[MOST_PS]
cdef gm_ptr allm
cdef gm_m loop_m                # owner of no park here

cdef extern from *:
    """
    enum { GM_GIL_FREE = 0, GM_GIL_HELD = 1, GM_GIL_OTHER = 2, GM_GIL_WANTED = 3 };
    static int gm_gil_sample(void *ts) { (void)ts; return GM_GIL_FREE; }
    static int gm_gil_is_free(void) { return 1; }
    static int gm_gil_sees(void) { return 0; }
    static int gm_waits_for_gil(int64_t tid) { (void)tid; return 0; }
    static long long gm_gil_interval(void) { return 5000000; }
    """
    enum: GM_GIL_FREE
    enum: GM_GIL_HELD
    enum: GM_GIL_OTHER
    enum: GM_GIL_WANTED
    int gm_gil_sample(void*) nogil
    int gm_waits_for_gil(int64_t) nogil
    bint gm_gil_is_free() nogil
    bint gm_gil_sees() nogil
    int64_t gm_gil_interval() nogil

cdef extern from "pythread.h" nogil:
    unsigned long PyThread_start_new_thread(void (*)(void*) noexcept nogil, void*)

include "rt/platform/note.pxi"
include "rt/sched/runq.pxi"
include "rt/sched/gqueue.pxi"
include "rt/g/gfree.pxi"
include "rt/sched/park_queue.pxi"      # of park.pxi: the park word, goready, the wait queues
include "rt/sched/timers.pxi"
include "rt/sched/policy.pxi"
include "rt/sched/learn_nogil.pxi"      # of learn.pxi: who takes what is placed
include "rt/sched/proc_nogil.pxi"       # of proc.pxi: what searches for work
include "rt/io/netpoll_nogil.pxi"       # of netpoll.pxi: all but the end of a wait
include "rt/sched/sleep.pxi"
include "rt/sched/watch.pxi"
include "rt/sched/sysmon.pxi"
include "rt/sched/blockwatch.pxi"
include "rt/sched/machine_nogil.pxi"    # of machine.pxi: who holds which P

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    int pthread_create(pthread_t*, void*, void* (*)(void*) noexcept nogil, void*)
    int pthread_join(pthread_t, void**)

cdef enum:
    MAX_THREADS = 8

cdef struct thread_t:
    int id
    uint64_t rng
    gm_p* p
    uint32_t next               # items [next, end) are this thread's to put
    uint32_t end
    uint32_t bad                # own count of violated promises
    uint32_t last[MAX_THREADS]  # order checks: last item seen of each producer

# Longer than any delay of a loaded machine: whoever waits so long waits for something lost.
cdef int64_t STUCK_NS = 10000000000

cdef gm_g* items = NULL
cdef gm_u32* seen = NULL        # how often each item came out
cdef uint32_t n_items = 0
cdef int n_threads = 0
cdef thread_t ths[MAX_THREADS]
cdef gm_p* ps[MAX_THREADS]
cdef gm_u32 n_out               # items that have come out
cdef gm_u32 start_flag
cdef gm_u32 done_flag
cdef gm_ptr inbox
cdef gm_note notes[2]
cdef gm_u32 ball                # ping-pong: whose turn, a growing number


# ---- what all drivers share ----------------------------------------------------------------

cdef inline uint32_t rnd(thread_t* t) noexcept nogil:
    t.rng ^= t.rng >> 12
    t.rng ^= t.rng << 25
    t.rng ^= t.rng >> 27
    return <uint32_t>((t.rng * <uint64_t>2685821657736338717) >> 32)


cdef inline uint32_t index_of(gm_g* g) noexcept nogil:
    return <uint32_t>(g - items)


cdef inline gm_g* make(thread_t* t) noexcept nogil:
    # The next item of t's, with plain fields that its taker reads.
    cdef gm_g* g = &items[t.next]
    g.goid = t.next
    g.parent_goid = t.id
    t.next += 1
    return g


cdef inline void take(thread_t* t, gm_g* g) noexcept nogil:
    cdef uint32_t i = index_of(g)
    if i >= n_items or g.goid != i or gm_fetch_add_u32_relaxed(&seen[i], 1) != 0:
        t.bad += 1
    g.goid = ~<uint64_t>i                       # a second taker races here, for TSan to see
    gm_fetch_add_u32_relaxed(&n_out, 1)


cdef inline bint in_order(thread_t* t, gm_g* g) noexcept nogil:
    # Before take: of each producer, later items come later.
    cdef uint32_t i = index_of(g) + 1
    cdef uint64_t by = g.parent_goid
    if by >= MAX_THREADS or i <= t.last[by]:
        return False
    t.last[by] = i
    return True


cdef inline void await_start() noexcept nogil:
    while gm_load_u32_relaxed(&start_flag) == 0:
        gm_osyield()


cdef void run(uint64_t seed, int n, uint32_t count, void* (*body)(void*) noexcept nogil,
              void* (*first)(void*) noexcept nogil, int takers) noexcept nogil:
    # n threads run body (thread 0 runs first, if given) over count items, which all but the
    # first `takers` of them make.
    cdef pthread_t ids[MAX_THREADS]
    cdef int i
    cdef int makers = n - takers
    cdef thread_t* t
    for i in range(n):
        t = &ths[i]
        memset(t, 0, sizeof(thread_t))
        t.id = i
        t.rng = (seed * 1000003 + i * 7919) | 1
        t.p = ps[i]
        rnd(t)
        if i >= takers:
            t.next = <uint32_t>(<uint64_t>count * (i - takers) // makers)
            t.end = <uint32_t>(<uint64_t>count * (i - takers + 1) // makers)
    for i in range(n):
        if pthread_create(&ids[i], NULL, first if i == 0 and first != NULL else body, &ths[i]):
            fatal(b"pthread_create")
    gm_store_u32_relaxed(&start_flag, 1)
    for i in range(n):
        pthread_join(ids[i], NULL)


cdef int prepare(int n, uint32_t count) except -1:
    global items, seen, n_items, n_threads
    cdef int i
    if not 0 < n <= MAX_THREADS:
        raise ValueError("threads")
    free(items)
    free(seen)
    items = <gm_g*>calloc(count + 1, sizeof(gm_g))
    seen = <gm_u32*>calloc(count + 1, sizeof(gm_u32))
    n_items = count
    n_threads = n
    for i in range(n):
        free(ps[i])
        ps[i] = <gm_p*>calloc(1, sizeof(gm_p))
        ps[i].id = i
        # close to the wrap of the 32-bit indices: they must survive it
        gm_store_u32_relaxed(&ps[i].runq_head, <uint32_t>-(count // 2))
        gm_store_u32_relaxed(&ps[i].runq_tail, <uint32_t>-(count // 2))
    gm_store_u32_relaxed(&sched.nprocs, n)
    gm_store_u32_relaxed(&sysmon.watch, 1)      # nobody starts it but machines()
    gm_store_i64_relaxed(&sysmon.until, 0)
    gm_store_u32_relaxed(&n_out, 0)
    gm_store_u32_relaxed(&start_flag, 0)
    gm_store_u32_relaxed(&done_flag, 0)
    gm_store_ptr_relaxed(&inbox, NULL)
    return 0


cdef str verdict():
    # None when every item came out once and every promise was kept.
    cdef uint32_t i
    cdef uint32_t lost = 0
    cdef uint32_t doubled = 0
    cdef uint32_t bad = 0
    for i in range(n_items):
        if gm_load_u32_relaxed(&seen[i]) == 0:
            lost += 1
        elif gm_load_u32_relaxed(&seen[i]) > 1:
            doubled += 1
    for i in range(<uint32_t>n_threads):
        bad += ths[i].bad
    if lost or doubled or bad:
        return f"of {n_items} items {lost} lost, {doubled} doubled; {bad} promises broken"
    return None


# ---- rings and the global queue ------------------------------------------------------------

cdef void* ring_body(void* arg) noexcept nogil:
    # An M with its P: puts, gets, helps itself to the global queue, steals. R1..R4, Q2.
    cdef thread_t* t = <thread_t*>arg
    cdef gm_g* g
    cdef uint32_t k, taken
    cdef gm_p* victim
    cdef int64_t idle_since = 0
    await_start()
    while gm_load_u32_relaxed(&n_out) < n_items:
        if t.next < t.end:
            idle_since = 0
            k = min(rnd(t) % (GM_RUNQ_SLOTS + GM_RUNQ_SLOTS // 2) + 1, t.end - t.next)
            for k in range(k):
                if rnd(t) % 64 == 0:            # as a foreign thread does
                    g = make(t)
                    gm_lock_acquire(&sched.lock)
                    glob_runq_put(g)
                    gm_lock_release(&sched.lock)
                else:
                    runq_put(t.p, make(t))
        k = rnd(t) % (GM_RUNQ_SLOTS + 2)
        g = NULL
        for k in range(k + 1):
            g = runq_get(t.p)
            if g == NULL:
                break
            take(t, g)
        if g != NULL:
            if rnd(t) % 8 == 0:                 # schedule_fair: the ring may be full
                gm_lock_acquire(&sched.lock)
                g = glob_runq_get(t.p, 1)
                gm_lock_release(&sched.lock)
                if g != NULL:
                    take(t, g)
            continue
        if rnd(t) % 2:
            gm_lock_acquire(&sched.lock)
            g = glob_runq_get(t.p, rnd(t) % (GM_RUNQ_HALF + 1))
            gm_lock_release(&sched.lock)
        else:
            victim = ps[rnd(t) % <uint32_t>n_threads]
            if rnd(t) % 4 == 0:                 # its own overflow, or a victim's
                gm_lock_acquire(&sched.lock)
                g = batches_get(overflow_of(victim), t.p, rnd(t) % GM_RUNQ_HALF + 1)
                gm_lock_release(&sched.lock)
            elif victim != t.p and runq_len(victim) > 0:
                g = runq_steal(t.p, victim, rnd(t) % GM_RUNQ_HALF + 1, &taken)
        if g != NULL:
            take(t, g)
            idle_since = 0
        elif idle_since == 0:
            idle_since = gm_nanotime()
        elif gm_nanotime() - idle_since > STUCK_NS // 4:
            break                               # lost: verdict() says how many
        else:
            gm_osyield()
    return NULL


cdef void* order_owner(void* arg) noexcept nogil:
    # Puts everything into its ring, never so much that it overflows; takes some itself. What it
    # makes are all the items.
    cdef thread_t* t = <thread_t*>arg
    cdef gm_g* g
    t.next = 0
    await_start()
    while t.next < n_items:
        if runq_len(t.p) < GM_RUNQ_SLOTS:
            runq_put(t.p, make(t))
        else:
            gm_osyield()
        if rnd(t) % 4 == 0:
            g = runq_get(t.p)
            if g != NULL:
                if not in_order(t, g):
                    t.bad += 1
                take(t, g)
    while True:
        g = runq_get(t.p)
        if g == NULL:
            return NULL
        if not in_order(t, g):
            t.bad += 1
        take(t, g)


cdef void* order_thief(void* arg) noexcept nogil:
    # What a thief gets, its own ring included, comes in the order of the puts (R5, runq_steal).
    cdef thread_t* t = <thread_t*>arg
    cdef gm_g* g
    cdef uint32_t taken
    cdef int64_t until = gm_nanotime() + 12 * STUCK_NS
    await_start()
    while gm_load_u32_relaxed(&n_out) < n_items and gm_nanotime() < until:
        g = runq_get(t.p)
        if g == NULL:
            g = runq_steal(t.p, ps[0], rnd(t) % GM_RUNQ_HALF + 1, &taken)
        if g == NULL:
            gm_osyield()
            continue
        if not in_order(t, g):
            t.bad += 1
        take(t, g)
    return NULL


# ---- the inbox and its note ----------------------------------------------------------------

cdef void* inbox_pusher(void* arg) noexcept nogil:
    cdef thread_t* t = <thread_t*>arg
    await_start()
    while t.next < t.end:
        inbox_push(&inbox, make(t))
        note_wakeup(&notes[0])                  # Q4
        if rnd(t) % 16 == 0:
            gm_osyield()
    return NULL


cdef void* inbox_owner(void* arg) noexcept nogil:
    # Sleeps as stop_m does: note_clear, look, sleep (W2). Q3 and N3.
    cdef thread_t* t = <thread_t*>arg
    cdef gm_gq q
    cdef gm_g* g
    cdef int64_t ns
    q.head = q.tail = NULL
    q.n = 0
    await_start()
    while gm_load_u32_relaxed(&n_out) < n_items:
        note_clear(&notes[0], NOTE_ASLEEP)
        if inbox_empty(&inbox):
            ns = STUCK_NS if rnd(t) % 4 else rnd(t) % 50000
            if note_sleep(&notes[0], ns, False) == 0 and ns == STUCK_NS:
                t.bad += 1                      # a lost wake-up
                return NULL
        else:
            note_cancel(&notes[0], NOTE_ASLEEP)
        inbox_drain(&inbox, &q)
        while True:
            g = gq_get(&q)
            if g == NULL:
                break
            if not in_order(t, g):
                t.bad += 1
            take(t, g)
    return NULL


# ---- the note alone ------------------------------------------------------------------------

cdef void* note_player(void* arg) noexcept nogil:
    # Threads 0 and 1: hits the ball when it is odd or even, sleeps until the other has.
    cdef thread_t* t = <thread_t*>arg
    cdef gm_note* mine = &notes[t.id]
    cdef gm_note* other = &notes[1 - t.id]
    cdef uint32_t turn
    cdef int64_t ns
    cdef int r
    await_start()
    turn = t.id
    while turn < n_items:
        while gm_load_u32_relaxed(&ball) != turn:
            note_clear(mine, NOTE_ASLEEP)
            if gm_load_u32_relaxed(&ball) == turn:
                note_cancel(mine, NOTE_ASLEEP)
                break
            ns = STUCK_NS
            if rnd(t) % 3 == 0:
                ns = rnd(t) % 30000
            r = note_sleep(mine, ns, False)
            if r == 1 and gm_load_u32_relaxed(&mine.state) == 0:
                t.bad += 1                      # a post that nobody made for this sleep (N2)
            if r == 0 and ns == STUCK_NS:
                t.bad += 1                      # a lost wake-up
                gm_store_u32_relaxed(&done_flag, 1)
                return NULL
        gm_fetch_add_u32_relaxed(&seen[turn], 1)
        gm_store_u32_relaxed(&ball, turn + 1)
        note_wakeup(other)                      # N3: orders the ball before it
        turn += 2
    gm_store_u32_relaxed(&done_flag, 1)
    return NULL


cdef void* note_body(void* arg) noexcept nogil:
    # The others: wake-ups that mean nothing must do no harm (N2).
    cdef thread_t* t = <thread_t*>arg
    if t.id < 2:
        return note_player(arg)
    await_start()
    while gm_load_u32_relaxed(&done_flag) == 0:
        note_wakeup(&notes[rnd(t) % 2])
        if rnd(t) % 4 == 0:
            gm_osyield()
    return NULL


# ---- free lists ----------------------------------------------------------------------------

cdef enum:
    STASH = 4 * GFREE_LOCAL


cdef void* gfree_body(void* arg) noexcept nogil:
    # F2: an item that comes from a list is on no other. seen[i] 1: out, 0: on a list or unused.
    cdef thread_t* t = <thread_t*>arg
    cdef gm_g* stash[STASH]
    cdef gm_g* g
    cdef uint32_t held = 0
    cdef uint32_t rounds = 4 * n_items // <uint32_t>n_threads
    cdef uint32_t k
    await_start()
    while rounds > 0:
        k = rnd(t) % (2 * GFREE_LOCAL)
        if rnd(t) % 2:
            while k > 0 and held < STASH:
                k -= 1
                rounds -= rounds > 0
                g = gfget(t.p)
                if g == NULL:
                    if t.next == t.end:
                        break
                    g = make(t)
                if g.goid != index_of(g) or gm_fetch_add_u32_relaxed(&seen[index_of(g)], 1) != 0:
                    t.bad += 1
                g.parent_goid = t.id
                stash[held] = g
                held += 1
        else:
            while k > 0 and held > 0:
                k -= 1
                held -= 1
                g = stash[held]
                if g.parent_goid != <uint64_t>t.id:
                    t.bad += 1
                gm_fetch_add_u32_relaxed(&seen[index_of(g)], <uint32_t>-1)
                if not gfput(t.p, g):
                    t.bad += 1
    while held > 0:
        held -= 1
        gm_fetch_add_u32_relaxed(&seen[index_of(stash[held])], <uint32_t>-1)
        if not gfput(t.p, stash[held]):
            t.bad += 1
    return NULL


include "harness_park.pxi"


# ---- for drive.py --------------------------------------------------------------------------

SLOTS = GM_RUNQ_SLOTS


def init(double stuck):
    """stuck: seconds after which what has not come is lost."""
    global STUCK_NS
    cdef int i
    STUCK_NS = <int64_t>(stuck * 1e9)
    memset(&sched, 0, sizeof(sched))
    if gm_lock_init(&sched.lock, 1) < 0 or gm_lock_init(&guard, 0) < 0:
        raise MemoryError()
    for i in range(2):
        if note_init(&notes[i]) < 0:
            raise MemoryError()
    for i in range(MAX_THREADS):
        if note_init(&ms[i].note) < 0 or gm_lock_init(&ms[i].timers.lock, 2) < 0:
            raise MemoryError()
        gm_store_i64_relaxed(&ms[i].timers.next_when, INT64_MAX)
        parks[i].timer.index = -1


include "harness_sched.pxi"
include "harness_net.pxi"


def ring(uint64_t seed, int threads, uint32_t count):
    prepare(threads, count)
    with nogil:
        run(seed, threads, count, ring_body, NULL, 0)
    return verdict()


def order(uint64_t seed, int threads, uint32_t count):
    prepare(threads, count)
    with nogil:
        run(seed, threads, count, order_thief, order_owner, 1)
    return verdict()


def inbox_and_note(uint64_t seed, int threads, uint32_t count):
    prepare(threads, count)
    with nogil:
        run(seed, threads, count, inbox_pusher, inbox_owner, 1)
    return verdict() or posts_left()


def note(uint64_t seed, int threads, uint32_t count):
    prepare(threads, count)
    gm_store_u32_relaxed(&ball, 0)
    note_clear(&notes[0], NOTE_ASLEEP)
    note_wakeup(&notes[0])
    note_cancel(&notes[0], NOTE_ASLEEP)                      # signalled meanwhile
    if (left := posts_left()) is not None:
        return left
    with nogil:
        run(seed, threads, count, note_body, NULL, 0)
    return verdict() or posts_left()


def park(uint64_t seed, int threads, uint32_t count):
    prepare(threads, count)
    gm_store_u32_relaxed(&n_timeouts, 0)
    gm_store_u32_relaxed(&receivers_left, RECEIVERS)
    with nogil:
        run(seed, threads, count, park_body, NULL, RECEIVERS)
    if queues[0].first != NULL or queues[1].first != NULL or ms[0].timers.n + ms[1].timers.n != 0:
        return "a sudog or a timer is left over"
    print(f"  {gm_load_u32_relaxed(&n_timeouts)} time-outs")
    return verdict()


cdef str posts_left():
    # The semaphores must be empty once state is 1 and nobody sleeps (N2).
    cdef int i
    for i in range(2):
        note_clear(&notes[i], NOTE_ASLEEP)
        note_cancel(&notes[i], NOTE_ASLEEP)
        if PyThread_acquire_lock(notes[i].sem, 0):      # NOWAIT_LOCK
            return f"note {i}: a post is left over"
    return None


def gfree(uint64_t seed, int threads, uint32_t count):
    cdef gm_g* g
    cdef uint32_t i
    prepare(threads, count)
    with nogil:
        run(seed, threads, count, gfree_body, NULL, 0)
    for i in range(<uint32_t>threads):                  # every item used is on a list, once
        while ps[i].ngfree > 0:
            ps[i].ngfree -= 1
            take(&ths[i], ps[i].gfree[ps[i].ngfree])
    while True:
        g = gfget(ps[0])
        if g == NULL:
            break
        take(&ths[0], g)
    if gm_load_i64_relaxed(&sched.gfree_size) != 0:
        return "gfree_size is not 0"
    for i in range(<uint32_t>threads):                  # items that no thread has ever made
        while ths[i].next < ths[i].end:
            take(&ths[i], make(&ths[i]))
    return verdict()


# Single steps, for the sequential check of R5 against a plain list.

def one_thread(uint32_t count):
    prepare(1, count)
    ths[0].id = 0
    ths[0].next = 0


def put():
    runq_put(ps[0], make(&ths[0]))


def get():
    cdef gm_g* g = runq_get(ps[0])
    return None if g == NULL else index_of(g)


def get_global(Py_ssize_t most):
    cdef gm_g* g
    gm_lock_acquire(&sched.lock)
    g = batches_get(overflow_of(ps[0]), ps[0], most if most > 0 else GM_RUNQ_HALF)
    gm_lock_release(&sched.lock)
    return None if g == NULL else index_of(g)
