# The part of harness.pyx that drives the netpoller: pollDescs, pollers, events.
#
# Threads 0 to OWNERS - 1 are Ms, each with a poller of its own and one goroutine, which reads items from
# the same few socket pairs, without a GIL: as a socket's reader, edge-triggered, or as wait_readable. Now
# and then it waits to write, which is granted at once, or stands, so that what others wait for in its
# poller is for those who look late. The last thread makes the items; the others are sysmon, who looks
# late, and, in a storm, cancel waits and give descriptors a new number (net_renew).
#
# A lost event shows: the maker sends a few, ends the storm, and waits until all have come out; only
# events can wake anybody then.

cdef extern from "<sys/socket.h>" nogil:
    int socketpair(int, int, int, int*)
    Py_ssize_t net_read "recv"(int, void*, size_t, int)
    Py_ssize_t net_write "send"(int, const void*, size_t, int)
    int AF_UNIX
    int SOCK_SEQPACKET
    int MSG_DONTWAIT
    int MSG_NOSIGNAL

cdef extern from "<unistd.h>" nogil:
    int net_close "close"(int)

cdef enum:
    OWNERS = 3
    PAIRS = 2
    BURST = 12

cdef gm_m nms[OWNERS]
cdef gm_park nparks[OWNERS]
cdef gm_g ngs[OWNERS]
cdef gm_i64 armed[OWNERS]           # the word of its park, for cancellers
cdef int pairs[PAIRS][2]            # read from [0], written to [1]
cdef gm_u32 storm
cdef gm_u32 owners_left
cdef gm_u32 n_cancelled


cdef int net_park(thread_t* t, gm_m* m, gm_pd* pd, uint32_t mode, bint once) noexcept nogil:
    # net_wait, on a foreign thread. -1: stuck.
    cdef gm_park* pk = &nparks[t.id]
    cdef gm_g* g = &ngs[t.id]
    cdef gm_waitq* q = &pd.rq if mode == PD_READ else &pd.wq
    cdef gm_m* owner
    cdef gm_sudog* s
    cdef gm_gq woken
    cdef int64_t until
    cdef int r = net_arm(m, pd, mode, once)
    if r != 0:
        t.bad += r > 0
        return 0
    pk.reason = -7                              # the winner's plain write races with a loser's
    s = sudog_arm(g, q, WHY_IO)
    gm_store_i64_release(&armed[t.id], <int64_t>s.word)
    owner = pd.m
    pd_unlock(pd)
    net_count(m, owner)
    until = gm_nanotime() + STUCK_NS
    while True:
        m_sleep_begin(m)
        if not inbox_empty(&m.inbox):
            m_sleep_cancel(m)
            break
        m_sleep(m, until)
        if gm_nanotime() > until:
            t.bad += 1                          # a lost wake-up
            gm_store_u32_relaxed(&done_flag, 1)
            return -1
    gm_fetch_add_u32_relaxed(&owner.net_waiters, <uint32_t>-1)
    woken.head = woken.tail = NULL
    woken.n = 0
    inbox_drain(&m.inbox, &woken)
    if woken.n != 1 or woken.head != g or gm_load_u64_relaxed(&pk.word) != s.word + 1:
        t.bad += 1                              # one winner, one push (K1, K4)
    if pk.reason == WAKE_CANCEL:
        pd_lock(pd)
        waitq_remove(q, s)
        pd_unlock(pd)
    elif pk.reason != WAKE_READY or (s.ok != NET_READY and s.ok != NET_CLOSED) or s.queue != NULL:
        t.bad += 1
    return 0


cdef void* net_owner(thread_t* t) noexcept nogil:
    cdef gm_m* m = &nms[t.id]
    cdef gm_pd* pd
    cdef uint32_t dice, f, item
    cdef bint once
    cdef Py_ssize_t n
    while gm_load_u32_relaxed(&done_flag) == 0:
        dice = rnd(t)
        pd = pd_find(pairs[t.id if t.id < PAIRS else dice % PAIRS][0])     # each has a reader
        once = dice & 16
        if dice % 2048 < 2:
            stand(2000000)
        if dice & 96 == 0:
            if not once:
                net_again(pd, PD_WRITE)
            if net_park(t, m, pd, PD_WRITE, once) < 0:
                break
            continue
        f = gm_load_u32_relaxed(&pd.flags)
        if f & PD_SET_READ:
            gm_fetch_and_u32_seqcst(&pd.flags, ~<uint32_t>PD_READ)      # NP2
        n = net_read(pd.fd, &item, sizeof(item), MSG_DONTWAIT)
        if n == sizeof(item) and item < n_items:
            if f & PD_SET_READ:
                net_more(m, pd)
            take(t, &items[item])
            continue
        if n >= 0:
            t.bad += 1
            break
        if not once:
            net_again(pd, PD_READ)
        if net_park(t, m, pd, PD_READ, once) < 0:
            break
    gm_fetch_add_u32_relaxed(&owners_left, <uint32_t>-1)
    return NULL


cdef void look_late(gm_m* m) noexcept nogil:
    # late_pollers
    if net_awaited(m) and not gm_load_u32_relaxed(&m.polling):
        net_poll(m, NULL, 0)


cdef void cancel_one(int i) noexcept nogil:
    cdef uint64_t word = <uint64_t>gm_load_i64_seqcst(&armed[i])
    if word != 0 and park_win(&nparks[i], word):
        nparks[i].reason = WAKE_CANCEL
        goready(NULL, &ngs[i], False)
        gm_fetch_add_u32_relaxed(&n_cancelled, 1)


cdef void* net_maker(thread_t* t) noexcept nogil:
    cdef uint32_t k, item
    cdef int64_t until
    while t.next < t.end and gm_load_u32_relaxed(&done_flag) == 0:
        gm_store_u32_relaxed(&storm, rnd(t) % 4)
        for k in range(rnd(t) % BURST + 1):
            if t.next == t.end:
                break
            item = index_of(make(t))
            while net_write(pairs[rnd(t) % PAIRS][1], &item, sizeof(item),
                            MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(item):
                gm_osyield()
            if rnd(t) % 4 == 0:
                gm_osyield()
        gm_store_u32_relaxed(&storm, 0)
        until = gm_nanotime() + STUCK_NS
        while gm_load_u32_relaxed(&n_out) < t.next:
            gm_osyield()
            if gm_nanotime() > until:
                t.bad += 1
                gm_store_u32_relaxed(&done_flag, 1)
                return NULL
    gm_store_u32_relaxed(&done_flag, 1)
    return NULL


cdef void* net_body(void* arg) noexcept nogil:
    cdef thread_t* t = <thread_t*>arg
    cdef uint32_t dice
    await_start()
    if t.id < OWNERS:
        return net_owner(t)
    if t.id == n_threads - 1:
        return net_maker(t)
    while gm_load_u32_relaxed(&owners_left) > 0:
        dice = rnd(t)
        look_late(&nms[dice % OWNERS])
        if gm_load_u32_relaxed(&done_flag):
            cancel_one(dice % OWNERS)
        elif gm_load_u32_relaxed(&storm) > 1 and dice % 64 < 8:
            cancel_one(dice // 64 % OWNERS)
        elif gm_load_u32_relaxed(&storm) > 1 and dice % 64 == 8:
            net_renew(pairs[dice // 64 % PAIRS][0], NET_CLOSED)
        gm_osyield()
    return NULL


def net(uint64_t seed, int threads, uint32_t count):
    cdef int i
    cdef gm_pd* pd
    if threads < OWNERS + 2:
        raise ValueError(f"more than {OWNERS + 1} threads")
    prepare(threads, count)
    for i in range(OWNERS):
        memset(&nms[i], 0, sizeof(gm_m))
        memset(&nparks[i], 0, sizeof(gm_park))
        if note_init(&nms[i].note) < 0 or gm_lock_init(&nms[i].timers.lock, 2) < 0:
            raise MemoryError()
        gm_store_i64_relaxed(&nms[i].timers.next_when, INT64_MAX)
        nms[i].kind = M_FOREIGN
        nparks[i].timer.index = -1
        nparks[i].g = &ngs[i]
        nparks[i].m = &nms[i]
        ngs[i].park = &nparks[i]
        gm_store_i64_relaxed(&armed[i], 0)
    for i in range(PAIRS):
        if socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pairs[i]) != 0 or pd_of(pairs[i][0]) == NULL:
            raise OSError("socketpair")
        net_renew(pairs[i][0], NET_READY)
    gm_store_u32_relaxed(&storm, 0)
    gm_store_u32_relaxed(&n_cancelled, 0)
    gm_store_u32_relaxed(&owners_left, OWNERS)
    with nogil:
        run(seed, threads, count, net_body, NULL, threads - 1)
    print(f"  {gm_load_u32_relaxed(&n_cancelled)} cancelled")
    for i in range(PAIRS):
        pd = pd_find(pairs[i][0])
        if not pd_idle(pd):
            return "a sudog is left over"
        net_close(pairs[i][0])
        net_close(pairs[i][1])
    for i in range(OWNERS):
        if gm_load_u32_relaxed(&nms[i].net_waiters) != 0:
            return "net_waiters is not 0"
        gm_poller_close(&nms[i].poller)
    return verdict()
