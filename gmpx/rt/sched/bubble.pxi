# A bubble: virtual time and an order of scheduling that a seed decides (Go's testing/synctest;
# trio's MockClock). See gmpx/testing for the user's side.
#
# While bubble_on is set M0 alone runs goroutines: there are no worker Ms and none start. The clock
# stands still while anything can run. When nothing can, and no thread that belongs to the bubble is
# at work, those in wait_all_parked go on; with none there the clock jumps to the next timer; with
# no timer either it is a deadlock.
#
# Invariants
#   J1  bubble_on and bubble_now change under the GIL, by the main goroutine, while no spawned one
#       lives and no worker M does. bubble_now is 0 outside.
#   J2  Timers from outside lie in the heap with FAR_NS added, behind all of the bubble's.
#   J3  A thread belongs to the bubble if it began inside (its state's number says so), or runs a
#       call of blocking(). One that is parked in gmpx is not at work, whatever its time-out: that
#       is in the heap, too (park_foreign).
#   J4  With the GIL held between the last look at the queues and the look at the threads nothing
#       is missed: who spawns or wakes has the GIL, and lives.

cdef extern from "Python.h":
    uint64_t PyThreadState_GetID(void*) noexcept

cdef enum:
    BUBBLE_NAP_NS = 1000000     # how often M0 looks whether threads of the bubble are done
    BUBBLE_REACH = 64           # how far from the head of a queue a seed may pick

cdef int64_t FAR_NS = 4000000000000000000

cdef bint bubble_seeded = False
cdef uint64_t bubble_threads = 0            # threads with higher numbers began inside
cdef uint64_t bubble_turns = 0
cdef gm_waitq bubble_waiters                # wait_all_parked


def _bubble_enter(seed):
    """_bubble_enter(seed)
    Begins a bubble. seed: an int, or None for the order of coming."""
    global bubble_on, bubble_now, bubble_seeded, bubble_threads, bubble_turns
    cdef gm_m* m = getm()
    cdef object loop = asyncio_module._get_running_loop() if asyncio_module is not None else None
    if getg(m) != NULL and not runs_main(m):
        raise RuntimeError("a bubble belongs to the main goroutine")
    if bubble_on:
        raise RuntimeError("bubbles do not nest")
    if loop is not None and not loop_parks(loop):
        raise RuntimeError("the asyncio loop that runs here would wait by the clock of the world, which a bubble keeps "
                           "from it: run the coroutine by gmpx.aio.run()")
    if spawned_lives():
        raise RuntimeError("a bubble begins with no goroutine but main: " + ", ".join(
            repr(g) for g in live_goroutines() if not (<Goroutine>g).g.flags & GF_SYSTEM))
    gm_store_u32_seqcst(&sched.stopping, 1)
    try:
        if not stop_ms(m, gm_nanotime() + EXIT_NS):
            raise RuntimeError("a bubble begins with no goroutine but main")
        bubble_on = True
    finally:
        gm_store_u32_seqcst(&sched.stopping, 0)
    gm_store_u32_seqcst(&sched.frozen, 1)
    bubble_now = gm_nanotime()
    heaps_shift(True, 0)
    bubble_seeded = seed is not None
    bubble_turns = 0
    m.rng = mix_seed(<uint64_t>((seed or 0) & 0xffffffffffffffff))
    bubble_threads = last_thread()


def _bubble_leave():
    """_bubble_leave()
--

    Ends it. What still lives goes on by the clock of the world."""
    global bubble_on, bubble_now
    cdef gm_m* m = getm()
    if not bubble_on:
        return
    if getg(m) != NULL and not runs_main(m):
        raise RuntimeError("a bubble belongs to the main goroutine")
    heaps_shift(False, bubble_now - gm_nanotime())
    bubble_now = 0
    bubble_on = False
    gm_store_u32_seqcst(&sched.frozen, 0)
    waitq_ready_all(m, &bubble_waiters)
    m.rng = <uint64_t>gm_nanotime() | 1
    sysmon_wake()                               # for timers that it has left alone
    if anything_queued():
        policy_queued()


cdef void heaps_shift(bint entering, int64_t ahead) noexcept nogil:
    # J2. ahead: by how much the bubble's clock is before the world's, on the way out.
    cdef gm_m* m = allm_first()
    cdef gm_timers* h
    cdef gm_timer* t
    cdef Py_ssize_t i
    while m != NULL:
        h = &m.timers
        gm_lock_acquire(&h.lock)
        for i in range(h.n):
            t = h.heap[i]
            if entering:
                t.when += FAR_NS
            else:
                t.when -= FAR_NS if t.when >= FAR_NS else ahead
        i = h.n // 4 + 1
        while i > 0:                            # T2 anew
            i -= 1
            if i < h.n:
                timer_down(h, h.heap[i], i)
        timers_note_first(h)
        gm_lock_release(&h.lock)
        m = m.all_next


cdef int64_t heaps_first() noexcept nogil:
    # When the first timer of all Ms is due.
    cdef gm_m* m = allm_first()
    cdef int64_t first = INT64_MAX
    while m != NULL:
        first = min(first, gm_load_i64_relaxed(&m.timers.next_when))
        m = m.all_next
    return first


cdef void heaps_run(gm_m* me) noexcept nogil:
    # Fires what is due on the bubble's clock.
    cdef gm_m* m = allm_first()
    while m != NULL:
        if gm_load_i64_relaxed(&m.timers.next_when) <= bubble_now:
            while timers_batch(m, me, bubble_now):
                pass
        m = m.all_next


def _bubble_now():
    """_bubble_now()
--

    Seconds on the bubble's clock, which begins as time.monotonic's; None outside."""
    return bubble_now * 1e-9 if bubble_on else None


def _in_bubble():
    """_in_bubble()
--

    Whether the calling goroutine, or thread, belongs to a bubble."""
    return in_bubble(gm_tls_m)


cdef bint in_bubble(gm_m* m) noexcept:
    # m: the caller's, or NULL. J3; and M0's goroutines are all the bubble's.
    cdef void* ts
    if gm_likely(not bubble_on):
        return False
    ts = <void*>PyThreadState_Get()
    return m != NULL and m.kind == M_MAIN or PyThreadState_GetID(ts) > bubble_threads or spare_is_busy(ts)


def _bubble_settle():
    """_bubble_settle()
--

    Waits until all other goroutines of the bubble are parked."""
    cdef gm_m* m = getm()
    cdef gm_g* g = getg(m)
    if not bubble_on:
        raise RuntimeError("wait_all_parked: not in a bubble")
    wait_on(m, g, &bubble_waiters, WHY_BUBBLE, NO_DEADLINE, "wait_all_parked")


cdef uint64_t mix_seed(uint64_t seed) noexcept nogil:
    # splitmix64: neighbours among seeds are to differ from the first pick on.
    cdef uint64_t z = seed + <uint64_t>0x9e3779b97f4a7c15
    z = (z ^ (z >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    z = (z ^ (z >> 27)) * <uint64_t>0x94d049bb133111eb
    return (z ^ (z >> 31)) | 1


# ---- the schedule --------------------------------------------------------------------------

cdef gm_g* bubble_schedule(gm_m* m, gm_worker* w) noexcept:
    # M0, in place of schedule and find_runnable.
    cdef gm_g* g
    if w != NULL:
        context_leave(w)
    while True:
        safepoint(m)
        check_signals(m)
        if heaps_first() <= bubble_now:
            heaps_run(m)
        if gm_load_u32_relaxed(&sched.undelivered):
            timers_deliver(m)
        if not inbox_empty(&m.inbox):
            inbox_drain(&m.inbox, &m.ready)
        if m.p == NULL:
            take_p(m)                           # gomaxprocs has changed
        g = bubble_pick(m)
        if g != NULL:
            return g
        if bubble_life():                       # J4
            bubble_nap(m)
        elif bubble_waiters.first != NULL:
            waitq_ready_all(m, &bubble_waiters)
        elif heaps_first() < FAR_NS:
            bubble_jump()
        elif not bubble_dead(m):
            bubble_nap(m)


cdef void bubble_jump() noexcept:
    global bubble_now
    bubble_now = max(bubble_now, heaps_first())


cdef bint bubble_dead(gm_m* m) noexcept:
    # Nothing can ever run. False: main is not there to hear it.
    if m.interrupt != NULL or gm_load_u32_relaxed(&m.g_main.status) != G_WAITING:
        return False
    try:
        raise_deadlock(m)
    except BaseException as e:
        unraisable(e)
    return True


cdef void bubble_nap(gm_m* m) noexcept:
    # Until a thread wakes a goroutine, or may be done.
    cdef PyThreadState* ts
    m_sleep_begin(m)
    if not inbox_empty(&m.inbox):
        m_sleep_cancel(m)
        return
    ts = PyEval_SaveThread()
    m_sleep(m, gm_nanotime() + BUBBLE_NAP_NS)
    gm_rank_none()
    PyEval_RestoreThread(ts)


cdef bint bubble_life() noexcept:
    # J3: whether a thread that belongs to the bubble is at work.
    cdef void* ts = PyInterpreterState_ThreadHead(PyInterpreterState_Main())
    while ts != NULL:
        if (spare_is_busy(ts) or (
                PyThreadState_GetID(ts) > bubble_threads and not spare_is_idle(ts))) and (
                not thread_parked(ts)):
            return True
        ts = PyThreadState_Next(ts)
    return False


cdef bint thread_parked(void* ts) noexcept:
    # Whether it waits in gmpx, with nothing that wakes it.
    cdef gm_m* m
    cdef bint parked
    gm_lock_acquire(&sched.lock)
    m = m_of_state(ts)
    parked = m != NULL and inbox_empty(&m.inbox) and (
        m.kind != M_FOREIGN or gm_load_u64_relaxed(&m.g_main.park.word) & 1 != 0)
    gm_lock_release(&sched.lock)
    return parked


cdef uint64_t last_thread() noexcept:
    cdef uint64_t last = 0
    cdef void* ts = PyInterpreterState_ThreadHead(PyInterpreterState_Main())
    while ts != NULL:
        last = max(last, PyThreadState_GetID(ts))
        ts = PyThreadState_Next(ts)
    return last


# ---- picking -------------------------------------------------------------------------------

cdef gm_g* bubble_pick(gm_m* m) noexcept nogil:
    # NULL: nothing is runnable.
    global bubble_turns
    cdef gm_p* p = m.p
    cdef gm_g* g
    cdef uint64_t k
    cdef uint64_t fresh
    if m.readynext != NULL:
        gq_put(&m.ready, m.readynext)
        m.readynext = NULL
    if runq_len(p) == 0:
        g = refill(m, p, NULL)
        if g != NULL:
            bubble_put_first(p, g)
    fresh = runq_len(p)
    bubble_turns += 1
    if not bubble_seeded:                       # by turns, each in the order of coming
        if m.ready.head != NULL and (fresh == 0 or bubble_turns & 1):
            return gq_get(&m.ready)
        if fresh != 0:
            return runq_get(p)
        m.yield_takes += 1
        return gq_get(&m.yielded)
    if m.ready.n + fresh + m.yielded.n == 0:
        return NULL
    k = cheap_rand(m) % (m.ready.n + fresh + m.yielded.n)
    if k < <uint64_t>m.ready.n:
        return gq_take_at(&m.ready, k % BUBBLE_REACH)
    k -= m.ready.n
    if k < fresh:
        return runq_take_at(p, k % BUBBLE_REACH)
    m.yield_takes += 1
    return gq_take_at(&m.yielded, (k - fresh) % BUBBLE_REACH)


cdef void bubble_put_first(gm_p* p, gm_g* g) noexcept nogil:
    # At the head of the ring, of which M0 is the only taker now.
    cdef uint32_t h = gm_load_u32_relaxed(&p.runq_head) - 1
    gm_store_ptr_relaxed(&p.runq[h & (GM_RUNQ_SLOTS - 1)].g, g)
    gm_store_u32_release(&p.runq_head, h)


cdef gm_g* runq_take_at(gm_p* p, uint64_t k) noexcept nogil:
    # The k-th of the ring; the one at its head takes its place.
    cdef uint32_t h = gm_load_u32_relaxed(&p.runq_head)
    cdef gm_g* first = <gm_g*>gm_load_ptr_relaxed(&p.runq[h & (GM_RUNQ_SLOTS - 1)].g)
    cdef uint32_t at = (h + <uint32_t>k) & (GM_RUNQ_SLOTS - 1)
    cdef gm_g* g = <gm_g*>gm_load_ptr_relaxed(&p.runq[at].g)
    gm_store_ptr_relaxed(&p.runq[at].g, first)
    gm_store_ptr_relaxed(&p.runq[h & (GM_RUNQ_SLOTS - 1)].g, g)
    return runq_get(p)


cdef gm_g* gq_take_at(gm_gq* q, uint64_t k) noexcept nogil:
    cdef gm_g* g = q.head
    while k > 0 and g.schedlink != NULL:
        g = g.schedlink
        k -= 1
    gq_remove(q, g)
    return g
