# The part of harness.pyx that drives the netpoller: pollDescs, each M's poller, who looks into it.
#
# Threads 0 and 1 read items out of PIPES pipes, as foreign threads wait for descriptors: each has an M with a
# poller of its own, so that registrations move to and fro between the two. The others write the items. In
# between they cancel a reader's wait, look into its poller as sysmon does, and say of a pipe that its
# number is another's now. A reader that sleeps with something to read in its pipe has lost a wake-up.

cdef extern from "<unistd.h>" nogil:
    int pipe(int*)
    Py_ssize_t c_read "read"(int, void*, size_t)
    Py_ssize_t c_write "write"(int, const void*, size_t)
    int c_close "close"(int)

cdef extern from "<fcntl.h>" nogil:
    int fcntl(int, int, ...)
    int F_SETFL
    int O_NONBLOCK

cdef extern from *:
    """
    #include <poll.h>
    static int gm_has_data(int fd) { struct pollfd p = {fd, POLLIN, 0}; return poll(&p, 1, 0) > 0; }
    """
    bint gm_has_data(int) nogil

cdef enum:
    READERS = 2
    PIPES = 3

cdef gm_m net_ms[READERS]
cdef gm_park net_parks[READERS]
cdef gm_g net_gs[READERS]
cdef int pipes[PIPES][2]
cdef gm_u32 net_waits


cdef int net_once(thread_t* t, gm_m* m, int fd) noexcept nogil:
    # net_wait and park_foreign. 0: tries again; -1: stuck.
    cdef gm_park* pk = &net_parks[t.id]
    cdef gm_g* g = &net_gs[t.id]
    cdef gm_pd* pd = pd_of(fd)
    cdef gm_m* owner
    cdef int64_t until
    cdef int r
    pk.reason = -7                              # the winner's plain write races with a loser's
    r = net_arm(m, pd, PD_READ, rnd(t) % 4 == 0)
    if r != 0:
        t.bad += r > 0
        return 0 if r < 0 else -1
    sudog_arm(g, &pd.rq, WHY_IO)
    owner = pd.m
    pd_unlock(pd)
    net_count(m, owner)
    gm_fetch_add_u32_relaxed(&net_waits, 1)
    until = gm_nanotime() + STUCK_NS
    while True:
        m_sleep_begin(m)
        if not inbox_empty(&m.inbox):
            m_sleep_cancel(m)
            break
        if gm_load_u32_relaxed(&n_out) == n_items and park_win(pk, armed_word(pk)):
            m_sleep_cancel(m)                   # all has been read: the time-out of this wait
            break
        m_sleep(m, min(until, gm_nanotime() + 20000000))
        if gm_nanotime() >= until:
            if gm_has_data(fd) and inbox_empty(&m.inbox):
                t.bad += 1
                return -1
            until = gm_nanotime() + STUCK_NS
    gm_fetch_add_u32_relaxed(&owner.net_waiters, <uint32_t>-1)
    if gm_exchange_ptr_acqrel(&m.inbox, NULL) == NULL or pk.reason != WAKE_READY:
        pd_lock(pd)
        waitq_remove(&pd.rq, &pk.sudog)
        pd_unlock(pd)
    return 0


cdef void* net_reader(thread_t* t) noexcept nogil:
    cdef gm_m* m = &net_ms[t.id]
    cdef gm_pd* pd
    cdef uint32_t i
    cdef int fd = pipes[t.id][0]
    while gm_load_u32_relaxed(&n_out) < n_items:
        pd = pd_of(fd)
        if gm_load_u32_relaxed(&pd.flags) & PD_SET_READ:
            gm_fetch_and_u32_seqcst(&pd.flags, ~<uint32_t>PD_READ)
        if c_read(fd, &i, sizeof(i)) == sizeof(i):
            take(t, &items[i])
            gm_fetch_or_u32_seqcst(&pd.flags, gm_load_u32_relaxed(&pd.flags) & PD_SET_READ and PD_READ)
        elif net_once(t, m, fd) < 0:
            return NULL
        fd = pipes[rnd(t) % PIPES][0]
        if not gm_has_data(fd) and rnd(t) % 2:
            fd = pipes[t.id][0]
    return NULL


cdef void net_cancel(gm_pd* pd) noexcept nogil:
    # The lock stands for the GIL, which publishes a park's word to who cancels it.
    cdef gm_park* pk = NULL
    pd_lock(pd)
    if pd.rq.first != NULL and park_win(pd.rq.first.park, pd.rq.first.word):
        pk = pd.rq.first.park
    pd_unlock(pd)
    if pk != NULL:
        pk.reason = WAKE_CANCEL
        inbox_push(&pk.m.inbox, pk.g)
        wake_m(pk.m)


cdef void* net_body(void* arg) noexcept nogil:
    cdef thread_t* t = <thread_t*>arg
    cdef gm_g* g
    cdef gm_m* m
    cdef uint32_t i
    cdef uint32_t dice
    await_start()
    if t.id < READERS:
        return net_reader(t)
    while t.next < t.end or gm_load_u32_relaxed(&n_out) < n_items:
        dice = rnd(t) % 64
        m = &net_ms[dice % READERS]
        if t.next < t.end and dice >= 8:
            g = make(t)
            i = index_of(g)
            while c_write(pipes[rnd(t) % PIPES][1], &i, sizeof(i)) != sizeof(i):
                gm_osyield()                    # that one is full
        elif dice < 3:
            net_cancel(pd_of(pipes[dice][0]))
        elif dice < 6:
            if gm_poller_is_open(&m.poller):
                net_poll(m, NULL, 0)
        elif dice == 6:
            net_renew(pipes[rnd(t) % PIPES][0], NET_READY)
        else:
            gm_osyield()
        if rnd(t) % 256 == 0:
            stand(rnd(t) % 500000)              # so that the readers fall asleep
    return NULL


def wires(uint64_t seed, int threads, uint32_t count):
    cdef int i
    if threads <= READERS:
        raise ValueError(f"more than {READERS} threads: the others make the items")
    prepare(threads, count)
    gm_store_u32_relaxed(&net_waits, 0)
    memset(net_ms, 0, sizeof(net_ms))
    memset(net_parks, 0, sizeof(net_parks))
    for i in range(READERS):
        if note_init(&net_ms[i].note) < 0 or gm_lock_init(&net_ms[i].timers.lock, 2) < 0:
            raise MemoryError()
        gm_store_i64_relaxed(&net_ms[i].timers.next_when, INT64_MAX)
        net_ms[i].kind = M_FOREIGN
        net_parks[i].m = &net_ms[i]
        net_parks[i].g = &net_gs[i]
        net_gs[i].park = &net_parks[i]
        net_ms[i].all_next = &net_ms[i + 1] if i + 1 < READERS else NULL
    for i in range(PIPES):
        if pipe(pipes[i]) != 0:
            raise OSError("pipe")
        fcntl(pipes[i][0], F_SETFL, O_NONBLOCK)
        fcntl(pipes[i][1], F_SETFL, O_NONBLOCK)
        net_renew(pipes[i][0], NET_READY)
    gm_store_ptr_release(&allm, &net_ms[0])
    with nogil:
        run(seed, threads, count, net_body, NULL, READERS)
    print(f"  {gm_load_u32_relaxed(&net_waits)} waits")
    for i in range(PIPES):
        if not pd_idle(pd_of(pipes[i][0])):
            return "a sudog is left over"
        net_renew(pipes[i][0], NET_READY)
        c_close(pipes[i][0])
        c_close(pipes[i][1])
    for i in range(READERS):
        if gm_load_u32_relaxed(&net_ms[i].net_waiters) != 0:
            return "net_waiters is not 0"
        gm_poller_close(&net_ms[i].poller)
    gm_store_ptr_release(&allm, NULL)
    return verdict()
