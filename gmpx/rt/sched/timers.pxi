# Deadlines: a 4-ary heap of timers for each M (Go's time.go), nearly all of them the time-out of one
# park; the others are a scope's or a Timer's.
#
# A timer is in the heap of the M on whose thread it was set: for a park or a scope the M that its
# goroutine is bound to, for a Timer the one that called. So it is a heap's own M that adds to it (who
# resets another's timeout wakes that M, which reads its deadline anew), and that M alone runs it as long
# as it looks: in schedule, in find_work, and at the end of a sleep that it
# has given the heap's first deadline. Where the M does not look (it stands in a call, its thread
# has ended, it is a foreign thread's) sysmon does.
#
# Invariants
#   T1  heap[i].index == i; index is < 0 for a timer that is not in a heap.
#   T2  heap[parent].when <= heap[child].when; next_when mirrors heap[0].when.
#   T3  A timer is fired under its heap's lock: its park word is won there, before the lock is
#       left, so once timer_stop has returned the timer can touch no later park.
#   T4  Who adds a timer that comes before all others of its heap tells sysmon, if that would look
#       later. StoreLoad: timer_add writes next_when, then reads sysmon.until; sysmon writes until,
#       then reads next_when (rt/sched/sysmon.pxi, W3).
#   T5  A batch that has left the heap and is not yet on its queues counts in h.firing.
#
# Add and stop are O(log n); nothing here touches a Python object. At most TIMER_BATCH fire in one
# holding of the lock, so that a hundred thousand that are due together hold up nobody.

cdef enum:
    TIMER_BATCH = 64
    TIMER_FORKED = -2           # index: in a heap when the process was forked, to be added again


cdef inline gm_m* timer_m(gm_timer* t) noexcept nogil:
    # Whose heap it is, or goes, in.
    if t.park != NULL:
        return t.park.m
    if t.word == TIMER_SCOPE:
        return (<gm_scope*>t).park.m
    return (<gm_tnode*>t).m


cdef inline void timer_place(gm_timers* h, gm_timer* t, Py_ssize_t i) noexcept nogil:
    h.heap[i] = t
    t.index = i


cdef void timer_up(gm_timers* h, gm_timer* t, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t parent
    while i > 0:
        parent = (i - 1) // 4
        if h.heap[parent].when <= t.when:
            break
        timer_place(h, h.heap[parent], i)
        i = parent
    timer_place(h, t, i)


cdef void timer_down(gm_timers* h, gm_timer* t, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t c, least, k
    while True:
        c = 4 * i + 1
        if c >= h.n:
            break
        least = c
        for k in range(c + 1, min(c + 4, h.n)):
            if h.heap[k].when < h.heap[least].when:
                least = k
        if h.heap[least].when >= t.when:
            break
        timer_place(h, h.heap[least], i)
        i = least
    timer_place(h, t, i)


cdef inline void timers_note_first(gm_timers* h) noexcept nogil:
    # The lock's holder; read without it (T4: timer_add has the barrier).
    gm_store_i64_release(&h.next_when, h.heap[0].when if h.n > 0 else INT64_MAX)


cdef int timer_add(gm_timer* t) noexcept nogil:
    # t.when and what timer_m asks for are set. Returns -1 when there is no memory.
    cdef gm_m* m = timer_m(t)
    cdef gm_timers* h = &m.timers
    cdef gm_timer** bigger
    cdef bint first
    gm_lock_acquire(&h.lock)
    if h.n == h.room:
        bigger = <gm_timer**>realloc(h.heap, max(64, h.room * 2) * sizeof(gm_timer*))
        if bigger == NULL:
            gm_lock_release(&h.lock)
            return -1
        h.heap = bigger
        h.room = max(64, h.room * 2)
    h.n += 1
    timer_up(h, t, h.n - 1)
    first = t.index == 0
    if first:
        timers_note_first(h)
    gm_lock_release(&h.lock)
    if first:
        sysmon_timer(m, t.when)                     # T4
        if gm_unlikely(m != current_m()):
            wake_m(m)                               # it may sleep beyond it
    return 0


cdef void timer_remove(gm_timers* h, gm_timer* t) noexcept nogil:
    # h.lock held, t in the heap.
    cdef Py_ssize_t i = t.index
    cdef gm_timer* last
    h.n -= 1
    last = h.heap[h.n]
    t.index = -1
    if last != t:
        if i > 0 and last.when < h.heap[(i - 1) // 4].when:
            timer_up(h, last, i)
        else:
            timer_down(h, last, i)
    if h.room > 1024 and h.n < h.room // 4:
        timers_shrink(h)
    if i == 0:
        timers_note_first(h)


cdef void timers_shrink(gm_timers* h) noexcept nogil:
    # A stopped timer holds no memory for long: the heap's array follows its use.
    cdef gm_timer** smaller = <gm_timer**>realloc(h.heap, (h.room // 2) * sizeof(gm_timer*))
    if smaller != NULL:
        h.heap = smaller
        h.room //= 2


cdef inline void timer_stop(gm_timer* t) noexcept nogil:
    cdef gm_timers* h = &timer_m(t).timers
    gm_lock_acquire(&h.lock)
    if t.index >= 0:
        timer_remove(h, t)
    gm_lock_release(&h.lock)


cdef gm_g* timer_fire(gm_timers* h, gm_timer* t, int64_t now) noexcept nogil:
    # The first of h, under its lock. A goroutine that is to be readied, or NULL.
    if t.park != NULL:
        timer_remove(h, t)
        if not park_win(t.park, t.word):            # T3
            return NULL
        t.park.reason = WAKE_TIMEOUT
        return t.park.g
    if t.word == TIMER_NODE:
        node_fire(h, t, now)
        return NULL
    timer_remove(h, t)
    return scope_fire(<gm_scope*>t)


cdef bint timers_batch(gm_m* owner, gm_m* m, int64_t now) noexcept nogil:
    # Fires what is due in owner's heap, TIMER_BATCH at most. m: the calling M, NULL for sysmon. All
    # that it wakes is bound to owner: it goes there at once, with one wake-up. True: there is more.
    cdef gm_timers* h = &owner.timers
    cdef gm_gq due
    cdef gm_g* g
    cdef int n = 0
    cdef bint more
    cdef int64_t next_when
    due.head = due.tail = NULL
    due.n = 0
    gm_lock_acquire(&h.lock)
    hook_point(HOOK_TIMERS_LOCKED)
    gm_fetch_add_u32_seqcst(&h.firing, 1)           # T5
    if m == NULL and gm_load_u32_relaxed(&sched.frozen):
        now = -1                                    # J2: the clock is another
    while n < TIMER_BATCH and h.n > 0 and h.heap[0].when <= now:
        g = timer_fire(h, h.heap[0], now)
        if g != NULL:
            gm_store_u32_relaxed(&g.status, G_RUNNABLE)
            gq_put(&due, g)
        n += 1
    next_when = h.heap[0].when if h.n > 0 else INT64_MAX
    more = n == TIMER_BATCH and next_when <= now
    if h.fired != NULL:
        gm_store_u32_seqcst(&sched.undelivered, 1)  # inside of firing: see timers_deliver
    gm_lock_release(&h.lock)
    hook_point(HOOK_FIRING)
    if m != NULL:
        counters(m).readied += due.n
    if owner == m:
        while due.head != NULL:
            gq_put(&m.ready, gq_get(&due))
        if next_when != INT64_MAX:
            sysmon_timer(m, next_when)              # W3: m is awake, for how long nobody knows
    elif due.head != NULL:
        inbox_push_all(&owner.inbox, &due)
        hook_point(HOOK_READY_PUSHED)
        wake_m(owner)                               # Q4; owner may have ended (M5)
    elif n > 0:
        main_looks_again()                          # that may have been the last sign of life
    gm_fetch_add_u32_seqcst(&h.firing, <uint32_t>-1)
    return more


cdef bint timers_pending(gm_timers* h) noexcept nogil:
    # Whether anything of it can still make a goroutine run.
    cdef bint pending
    gm_lock_acquire(&h.lock)
    pending = h.n > 0 or h.fired != NULL or gm_load_u32_seqcst(&h.firing) != 0
    gm_lock_release(&h.lock)
    return pending
