# Deadlines: a 4-ary heap of timers (Go's time.go), nearly all of them the time-out of one park;
# the others are a scope's or a Timer's.
#
# Invariants
#   T1  heap[i].index == i; index is -1 for a timer that is not in the heap.
#   T2  heap[parent].when <= heap[child].when; next_when mirrors heap[0].when.
#   T3  A timer is fired under timers.lock: its park word is won there, before the lock is
#       left, so once timer_stop has returned the timer can touch no later park.
#   T4  Who adds a timer that comes before all others wakes the poller, if the poller sleeps
#       beyond it. StoreLoad: timer_add writes next_when, then reads poll_until; poll_sleep
#       writes poll_until, then reads next_when (both seqcst).
#
# Add and stop are O(log n); nothing here touches a Python object.


cdef inline void timer_place(gm_timer* t, Py_ssize_t i) noexcept nogil:
    timers.heap[i] = t
    t.index = i


cdef void timer_up(gm_timer* t, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t parent
    while i > 0:
        parent = (i - 1) // 4
        if timers.heap[parent].when <= t.when:
            break
        timer_place(timers.heap[parent], i)
        i = parent
    timer_place(t, i)


cdef void timer_down(gm_timer* t, Py_ssize_t i) noexcept nogil:
    cdef Py_ssize_t c, least, k
    while True:
        c = 4 * i + 1
        if c >= timers.n:
            break
        least = c
        for k in range(c + 1, min(c + 4, timers.n)):
            if timers.heap[k].when < timers.heap[least].when:
                least = k
        if timers.heap[least].when >= t.when:
            break
        timer_place(timers.heap[least], i)
        i = least
    timer_place(t, i)


cdef inline void timers_note_first() noexcept nogil:
    # seqcst: T4
    gm_store_i64_seqcst(&timers.next_when, timers.heap[0].when if timers.n > 0 else INT64_MAX)


cdef int timer_add(gm_timer* t) noexcept nogil:
    # t.when, t.park and t.word are set. Returns -1 when there is no memory.
    cdef gm_timer** bigger
    cdef bint first
    gm_lock_acquire(&timers.lock)
    if timers.n == timers.room:
        bigger = <gm_timer**>realloc(timers.heap, max(64, timers.room * 2) * sizeof(gm_timer*))
        if bigger == NULL:
            gm_lock_release(&timers.lock)
            return -1
        timers.heap = bigger
        timers.room = max(64, timers.room * 2)
    timers.n += 1
    timer_up(t, timers.n - 1)
    first = t.index == 0
    if first:
        timers_note_first()
    gm_lock_release(&timers.lock)
    if first:
        poll_wake_before(t.when)                    # T4
    return 0


cdef void timer_remove(gm_timer* t) noexcept nogil:
    # timers.lock held, t in the heap.
    cdef Py_ssize_t i = t.index
    cdef gm_timer* last
    timers.n -= 1
    last = timers.heap[timers.n]
    t.index = -1
    if last != t:
        if i > 0 and last.when < timers.heap[(i - 1) // 4].when:
            timer_up(last, i)
        else:
            timer_down(last, i)
    if timers.room > 1024 and timers.n < timers.room // 4:
        timers_shrink()
    if i == 0:
        timers_note_first()


cdef void timers_shrink() noexcept nogil:
    # A stopped timer holds no memory for long: the heap's array follows its use.
    cdef gm_timer** smaller = <gm_timer**>realloc(
        timers.heap, (timers.room // 2) * sizeof(gm_timer*))
    if smaller != NULL:
        timers.heap = smaller
        timers.room //= 2


cdef inline void timer_stop(gm_timer* t) noexcept nogil:
    gm_lock_acquire(&timers.lock)
    if t.index >= 0:
        timer_remove(t)
    gm_lock_release(&timers.lock)


cdef gm_g* timer_fire(gm_timer* t, int64_t now) noexcept nogil:
    # One that is no park's time-out, under timers.lock. A goroutine to be readied, or NULL.
    if t.word == TIMER_NODE:
        node_fire(t, now)
        return NULL
    timer_remove(t)
    return scope_fire(<gm_scope*>t)


cdef void timers_run(gm_m* m, int64_t now) noexcept nogil:
    # Fires all that is due. The woken go to their Ms after the lock is left.
    cdef gm_gq due
    cdef gm_timer* t
    cdef gm_g* g
    due.head = due.tail = NULL
    due.n = 0
    gm_lock_acquire(&timers.lock)
    while timers.n > 0 and timers.heap[0].when <= now:
        t = timers.heap[0]
        if t.park == NULL:
            g = timer_fire(t, now)
            if g != NULL:
                gq_put(&due, g)
            continue
        timer_remove(t)
        if park_win(t.park, t.word):                # T3
            t.park.reason = WAKE_TIMEOUT
            gq_put(&due, t.park.g)
    gm_lock_release(&timers.lock)
    while True:
        g = gq_get(&due)
        if g == NULL:
            return
        goready(m, g, False)
