# The part of harness.pyx that drives the park word, the wait queues and the timers.
#
# Threads 0 and 1 receive, each on two queues at once and with a deadline. The others hand out
# the items, from either queue; the GIL that guards the queues is `guard` here. The runtime's own
# second sudog is select's; one that is on a queue beside the park's own is the same to a waker.

cdef enum:
    RECEIVERS = 2

cdef gm_lock guard
cdef gm_waitq queues[2]
cdef gm_m ms[MAX_THREADS]
cdef gm_park parks[MAX_THREADS]
cdef gm_g waiters[MAX_THREADS]
cdef gm_sudog seconds[MAX_THREADS]
cdef gm_u32 n_timeouts
cdef gm_u32 receivers_left


cdef enum:
    TIMER_SCOPE = 1
    TIMER_NODE = 2


cdef void loop_ready(gm_m* m, gm_g* g) noexcept nogil:
    pass


cdef inline gm_m* current_m() noexcept nogil:
    return NULL


cdef void main_looks_again() noexcept nogil:
    pass


cdef bint look_is_asked(gm_m* m) noexcept nogil:
    return False


cdef void node_fire(gm_timers* h, gm_timer* t, int64_t now) noexcept nogil:
    pass                                        # all timers here are time-outs of parks


cdef gm_g* scope_fire(gm_scope* s) noexcept nogil:
    return NULL


cdef int park_once(thread_t* t) noexcept nogil:
    # One wait, as select has it, on a foreign thread. 0: an item or a time-out; -1: stuck.
    cdef gm_m* m = &ms[t.id]
    cdef gm_park* pk = &parks[t.id]
    cdef gm_g* g = &waiters[t.id]
    cdef gm_sudog* first = &pk.sudog
    cdef gm_sudog* second = &seconds[t.id]
    cdef gm_gq woken
    cdef int got = 0
    pk.g = g
    pk.m = m
    pk.reason = -7                              # the winner's plain write races with a loser's
    g.park = pk
    gm_lock_acquire(&guard)
    sudog_arm(g, &queues[t.id % 2], WHY_RECV)
    second.park = pk
    second.word = first.word
    second.elem = NULL
    waitq_put(&queues[1 - t.id % 2], second)
    gm_lock_release(&guard)
    pk.timer.when = gm_nanotime() + rnd(t) % 20000
    pk.timer.park = pk
    pk.timer.word = first.word
    if timer_add(&pk.timer) < 0:
        return -1
    while True:
        note_clear(&m.note, NOTE_ASLEEP)
        if not inbox_empty(&m.inbox):
            note_cancel(&m.note, NOTE_ASLEEP)
            break
        if note_sleep(&m.note, STUCK_NS, False) == 0:
            t.bad += 1                          # a lost wake-up: the timer must have fired
            return -1
    timer_stop(&pk.timer)
    woken.head = woken.tail = NULL
    woken.n = 0
    inbox_drain(&m.inbox, &woken)
    if woken.n != 1 or woken.head != g or gm_load_u64_relaxed(&pk.word) != first.word + 1:
        t.bad += 1                              # one winner, one push (K1, K4)
    gm_lock_acquire(&guard)
    waitq_remove(&queues[t.id % 2], first)
    waitq_remove(&queues[1 - t.id % 2], second)
    gm_lock_release(&guard)
    if first.elem != NULL:
        got += 1
        take(t, <gm_g*>first.elem)
    if second.elem != NULL:
        got += 1
        take(t, <gm_g*>second.elem)
    if got != (pk.reason == WAKE_READY) or pk.reason not in (WAKE_READY, WAKE_TIMEOUT):
        t.bad += 1
    if pk.reason == WAKE_TIMEOUT:
        gm_fetch_add_u32_relaxed(&n_timeouts, 1)
    return 0


cdef void* park_body(void* arg) noexcept nogil:
    cdef thread_t* t = <thread_t*>arg
    cdef gm_sudog* s
    await_start()
    if t.id < RECEIVERS:
        while gm_load_u32_relaxed(&n_out) < n_items and park_once(t) == 0:
            pass
        gm_fetch_add_u32_relaxed(&receivers_left, <uint32_t>-1)
        return NULL
    while gm_load_u32_relaxed(&receivers_left) > 0:
        if rnd(t) % 8 < 7 and t.next < t.end:
            gm_lock_acquire(&guard)
            s = waitq_get(&queues[rnd(t) % 2])
            if s != NULL:
                s.elem = <PyObject*>make(t)
                s.park.reason = WAKE_READY
                goready(NULL, s.park.g, False)
            gm_lock_release(&guard)
        else:
            timers_batch(&ms[rnd(t) % RECEIVERS], NULL, gm_nanotime())
    return NULL
