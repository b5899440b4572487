# The part of harness.pyx that drives Ms, Ps and sysmon: the policy of a GIL build, without a GIL.
#
# Threads 0 to MS - 1 are Ms, on two Ps and as many spare ones as they want. The others make the items
# as foreign threads do: onto the global queue, or for a given M into its inbox. An M queues some of
# them anew on its own ring, lets some wait for a timer, and stands now and then, as in a system call,
# with all that is queued there; sysmon, which runs here as it ships, must send the others for it.
# An item that nobody comes for leaves the drivers hanging.

cdef enum:
    MS = 3
    AGAIN = 1 << 20             # gm_g.parent_goid: has been on a ring
    IDLE_WORKERS = 256

cdef gm_m mms[MS]
cdef gm_park mparks[MS]         # each M's one waiter for a timer
cdef gm_u32 n_stolen
cdef gm_u32 n_asked             # how often sysmon would have the reporter look


cdef bint new_m(gm_p* p) noexcept nogil:
    return False                                # all that there are have been started


cdef void blocks_ask() noexcept nogil:
    # The reporter, as far as sysmon sees it: nobody but what runs is bound to any M, so all are calm.
    cdef int i
    gm_fetch_add_u32_relaxed(&n_asked, 1)
    gm_lock_acquire(&sched.lock)
    for i in range(MS):
        mms[i].watch.seen = True
        mms[i].watch.calm = blockwatch.round
    gm_lock_release(&sched.lock)


cdef void all_stop() noexcept nogil:
    cdef int i
    for i in range(MS):
        gm_store_u32_seqcst(&mms[i].stop, 1)
        wake_m(&mms[i])


cdef void come_out(thread_t* t, gm_g* g) noexcept nogil:
    take(t, g)
    if gm_load_u32_relaxed(&n_out) == n_items:
        all_stop()


cdef bint wait_for_timer(thread_t* t, gm_m* m, gm_g* g) noexcept nogil:
    cdef gm_park* pk = &mparks[t.id]
    if pk.g != NULL:
        return False
    pk.g = g
    pk.m = m
    g.park = pk
    pk.timer.park = pk
    pk.timer.word = park_arm(pk, WHY_SLEEP)
    pk.timer.when = gm_nanotime() + rnd(t) % 3000000
    if timer_add(&pk.timer) < 0:
        t.bad += 1
    return True


cdef void stand(int64_t ns) noexcept nogil:
    cdef int64_t until = gm_nanotime() + ns
    while gm_nanotime() < until:
        gm_osyield()


cdef void m_runs(thread_t* t, gm_m* m, gm_g* g) noexcept nogil:
    cdef uint32_t dice = rnd(t) % 4096
    gm_store_u64_relaxed(&m.p.sched_tick, gm_load_u64_relaxed(&m.p.sched_tick) + 1)
    if dice == 0:
        stand(20000000)
    if g.park != NULL:                          # its timer has fired
        if g.park.m != m or g.park.reason != WAKE_TIMEOUT:
            t.bad += 1
        g.park = NULL
        mparks[t.id].g = NULL
        come_out(t, g)
    elif not g.parent_goid & AGAIN and dice % 2:
        g.parent_goid |= AGAIN
        runq_put(m.p, g)
        if policy_spawned():
            sysmon_wake()
    elif dice % 16 != 2 or not wait_for_timer(t, m, g):
        come_out(t, g)


cdef void* m_body(void* arg) noexcept nogil:
    # find_runnable's loop.
    cdef thread_t* t = <thread_t*>arg
    cdef gm_m* m
    cdef gm_g* g
    if t.id >= MS:
        return foreign_body(t)
    m = &mms[t.id]
    await_start()
    while True:
        g = local_next(m, m.p, NULL) if m.p != NULL else NULL
        if g != NULL:
            spin_end(m)
        elif find_work(m, &g) == WORK_STOP:
            return NULL
        if g != NULL:
            m_runs(t, m, g)


cdef void* foreign_body(thread_t* t) noexcept nogil:
    cdef gm_g* g
    cdef gm_m* m
    await_start()
    while t.next < t.end:
        g = make(t)
        if rnd(t) % 4:
            gm_lock_acquire(&sched.lock)
            glob_runq_put(g)
            gm_lock_release(&sched.lock)
            policy_queued()
        else:
            m = &mms[rnd(t) % MS]
            inbox_push(&m.inbox, g)
            wake_m(m)
        if rnd(t) % 512 == 0:
            stand(rnd(t) % 3000000)             # so that the Ms fall asleep
    return NULL


def machines(uint64_t seed, int threads, uint32_t count):
    """Once in a process: sysmon stays."""
    cdef int i
    if threads <= MS:
        raise ValueError(f"more than {MS} threads: the others make the items")
    prepare(threads, count)
    gm_store_u32_relaxed(&sched.nprocs, 2)
    for i in range(MS):
        if note_init(&mms[i].note) < 0 or gm_lock_init(&mms[i].timers.lock, 2) < 0:
            raise MemoryError()
        gm_store_i64_relaxed(&mms[i].timers.next_when, INT64_MAX)
        mms[i].kind = M_WORKER
        mms[i].ts = <void*>1
        mms[i].rng = seed + i + 1
        mms[i].housekeep_at = INT64_MAX
        mms[i].looked = True                    # sleeps for good: a lost wake-up is not found by chance
        mms[i].all_next = &mms[i + 1] if i + 1 < MS else NULL
        mparks[i].timer.index = -1
    gm_store_ptr_release(&allm, &mms[0])
    if note_init(&sysmon.note) < 0:
        raise MemoryError()
    blockwatch.limit = 10000000                 # it looks as often as it can
    blockwatch.next_at = INT64_MAX
    blockwatch.round = 1
    gm_store_u32_relaxed(&sysmon.watch, 0)
    gm_store_i64_relaxed(&sysmon.until, INT64_MAX)
    gm_lock_acquire(&sched.lock)
    for i in range(2):
        pid_put(new_p())
    gm_lock_release(&sched.lock)
    with nogil:
        run(seed, threads, count, m_body, NULL, MS)
    if gm_load_u32_relaxed(&sched.nmspinning) > 1:      # sysmon may just be sending somebody
        return "nmspinning is not 0"
    return verdict()
