# The part of harness.pyx that drives the netpoller: pollDescs, each M's poller, who looks into it.
#
# Threads 0 and 1 read items out of one pipe, as foreign threads wait for descriptors: each has an M with a
# poller of its own, so that the registration moves to and fro between the two. The others write the items. In
# between they cancel a reader's wait, look into its poller as sysmon does, and say of the pipe that its
# number is another's now. If both sleep with something to read a wake-up is lost.

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
    QUIET_ITEMS = 64

cdef gm_m net_ms[READERS]
cdef gm_park net_parks[READERS]
cdef gm_g net_gs[READERS]
cdef int pipe_ends[2]
cdef gm_u32 net_waits
cdef gm_u32 n_written
cdef gm_u32 readers_left


cdef int net_once(thread_t* t, gm_m* m, int fd) noexcept nogil:
    # net_wait and park_foreign. 0: tries again; -1: stuck.
    cdef gm_park* pk = &net_parks[t.id]
    cdef gm_g* g = &net_gs[t.id]
    cdef gm_pd* pd = pd_of(fd)
    cdef gm_m* owner
    cdef int64_t until
    cdef uint32_t out
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
    out = gm_load_u32_relaxed(&n_out)
    while True:
        m_sleep_begin(m)
        if not inbox_empty(&m.inbox):
            m_sleep_cancel(m)
            break
        m_sleep(m, until)
        if gm_nanotime() >= until:
            if not inbox_empty(&m.inbox) or (
                    gm_has_data(fd) and gm_load_u32_relaxed(&n_out) == out):
                t.bad += 1
                break
            out = gm_load_u32_relaxed(&n_out)   # the other reads all
            until = gm_nanotime() + STUCK_NS
    gm_fetch_add_u32_relaxed(&owner.net_waiters, <uint32_t>-1)
    if gm_exchange_ptr_acqrel(&m.inbox, NULL) == NULL or pk.reason != WAKE_READY:
        pd_lock(pd)
        waitq_remove(&pd.rq, &pk.sudog)
        pd_unlock(pd)
    return -1 if t.bad else 0


cdef void* net_reader(thread_t* t) noexcept nogil:
    cdef gm_m* m = &net_ms[t.id]
    cdef gm_pd* pd
    cdef uint32_t i
    cdef int fd = pipe_ends[0]
    while gm_load_u32_relaxed(&n_out) < n_items:
        pd = pd_of(fd)
        if gm_load_u32_relaxed(&pd.flags) & PD_SET_READ:
            gm_fetch_and_u32_seqcst(&pd.flags, ~<uint32_t>PD_READ)
        if c_read(fd, &i, sizeof(i)) == sizeof(i):
            take(t, &items[i])
            gm_fetch_or_u32_seqcst(&pd.flags, gm_load_u32_relaxed(&pd.flags) & PD_SET_READ and PD_READ)
        elif net_once(t, m, fd) < 0:
            return NULL
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
    cdef bint quiet
    await_start()
    if t.id < READERS:
        net_reader(t)
        gm_fetch_add_u32_relaxed(&readers_left, <uint32_t>-1)
        return NULL
    while gm_load_u32_relaxed(&readers_left) > 0:
        if gm_load_u32_relaxed(&n_out) == n_items:
            net_cancel(pd_of(pipe_ends[0]))
            gm_osyield()
            continue
        dice = rnd(t) % 64
        m = &net_ms[dice % READERS]
        # By turns it is quiet: nobody comes who would wake by chance a reader whose event is lost.
        quiet = t.next == t.end or t.next // QUIET_ITEMS % 2
        if t.next < t.end and (quiet or dice >= 8):
            if quiet and gm_load_u32_relaxed(&n_written) - gm_load_u32_relaxed(&n_out) > 8:
                if dice < 16 and gm_poller_is_open(&m.poller):
                    net_poll(m, NULL, 0)        # an edge that nobody waits for yet
                gm_osyield()
                continue
            g = make(t)
            i = index_of(g)
            while c_write(pipe_ends[1], &i, sizeof(i)) != sizeof(i):
                gm_osyield()                    # it is full
            gm_fetch_add_u32_relaxed(&n_written, 1)
        elif quiet:
            gm_osyield()
            if dice == 0 and gm_poller_is_open(&m.poller):
                net_poll(m, NULL, 0)
        elif dice < 3:
            net_cancel(pd_of(pipe_ends[0]))
        elif dice < 6:
            if gm_poller_is_open(&m.poller):
                net_poll(m, NULL, 0)
        elif dice == 6:
            net_renew(pipe_ends[0], NET_READY)
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
    gm_store_u32_relaxed(&n_written, 0)
    gm_store_u32_relaxed(&readers_left, READERS)
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
    if pipe(pipe_ends) != 0:
        raise OSError("pipe")
    for i in range(2):
        fcntl(pipe_ends[i], F_SETFL, O_NONBLOCK)
    net_renew(pipe_ends[0], NET_READY)
    gm_store_ptr_release(&allm, &net_ms[0])
    with nogil:
        run(seed, threads, count, net_body, NULL, READERS)
    print(f"  {gm_load_u32_relaxed(&net_waits)} waits")
    if not pd_idle(pd_of(pipe_ends[0])):
        return "a sudog is left over"
    net_renew(pipe_ends[0], NET_READY)
    for i in range(2):
        c_close(pipe_ends[i])
    for i in range(READERS):
        if gm_load_u32_relaxed(&net_ms[i].net_waiters) != 0:
            return "net_waiters is not 0"
        gm_poller_close(&net_ms[i].poller)
    gm_store_ptr_release(&allm, NULL)
    return verdict()
