# The netpoller: goroutines that wait for descriptors (netpoll.go, netpoll_epoll.go).
#
# Go has one poller for all; here a goroutine is bound to its M, so each M has a poller of its own, made at
# its first wait, and events arrive on the thread that wants them (measured with 100 connections:
# 167,000 echoes a second against 106,000 with a shared one, where each event goes through an inbox and a
# futex). From then on the M sleeps in it, and other threads break that sleep (wake_m).
#
# A gm_pd (Go's pollDesc) holds what is known of a descriptor. They lie in chunks that are never freed.
#
# Two ways to watch:
#   - a socket of ours, whose end we see (rt/io/socket.pxi): edge-triggered, registered at the first wait
#     and left so. PD_READ and PD_WRITE remember an edge that nobody waited for.
#   - any other descriptor: for one event at a time, armed anew at each wait (EPOLLONESHOT).
#
# Invariants
#   NP1  pd.lock guards the wait queues, seq, m and registration. Under it no other lock is taken, no Python
#       code runs and nobody sleeps; epoll_ctl(2) is called.
#   NP2  No event is lost. Waiter: under pd.lock finds the flag clear, registers if need be (which reports
#       what is ready), puts its sudog on the queue. Dispatch: under pd.lock sets the flag, then takes all
#       waiters. Whichever comes second sees the other. A reader clears PD_READ before its system call,
#       so an edge that comes after that call stays (tests/model/netpoll.pml).
#   NP3  An event carries pd.seq; what carries another is of a file that had the number before, and is
#       dropped. net_fresh and net_close count seq up.
#   NP4  pd.m's poller is where the descriptor is registered, pd.m.net_waiters counts who waits for it. A
#       waiter of another M takes the registration over if nobody else waits; else the event goes to
#       its M by inbox.
#   NP5  Somebody looks into each poller that is waited for: its M asleep in it (m.polling), or in
#       find_runnable and at every 61st tick; else sysmon, NET_LATE_NS after the last look. StoreLoad:
#       a waiter counts itself in net_waiters, an M that wakes clears polling; then both pass the light
#       barrier and read sysmon.until. sysmon stores until, passes the heavy one and reads those (W7).
#   NP6  A program may close our descriptors ("close all"): the poller's next call fails, and all who waited
#       try again with a new one (net_lost).
#   NP7  What breaks the sleep of a poller's own M is not lost to who looks into it meanwhile (sysmon may
#       have seen it awake just before): he breaks it again.
#   NP8  A socket's number is not given back to the system under an attempt, which would go on with the next file
#       that has it: where the GIL is given up, or there is none, an attempt is counted in pd.attempts, and a close
#       meanwhile leaves the close(2) to its end (Go's fdMutex), which tells once more who waits. Attempts do not wait.
#       Without a GIL: the attempt counts itself, then reads the socket's descriptor; the close takes that away, then
#       reads the count. Not counted: bind, calls with a time-out of 0 on their way to the original, os.read and its kind,
#       to which a number is a number.

cdef extern from "errno.h" nogil:
    int errno
    int EAGAIN
    int EBADF
    int EINTR
    int EINVAL
    int EPERM

cdef extern from *:
    """
    #if defined(_WIN32)
    #  include <io.h>
    #else
    #  include <unistd.h>
    #endif
    """
    int c_close "close"(int) nogil

cdef enum:                              # gm_pd.flags
    PD_READ = 1                         # GM_POLL_READ: may be readable
    PD_WRITE = 2                        # GM_POLL_WRITE
    PD_HUP = 4                          # GM_POLL_HUP: no read clears PD_READ any more
    PD_SET_READ = 8                     # registered for it, edge-triggered
    PD_SET_WRITE = 16
    PD_NONBLOCK = 32                    # its O_NONBLOCK is of our making
    PD_EAGER = 64                       # counts to PD_EAGER_MOST: see SK7 in rt/io/socket.pxi
    PD_EAGER_MOST = 192
    PD_SSL = 256                        # a TLS connection that goroutines use: TL3 in rt/io/ssl.pxi
    PD_KIND = 3584                      # GM_KIND_*: ST3 in rt/io/streams.pxi
    PD_KIND_SHIFT = 9
    PD_SET_SHIFT = 3                    # PD_SET_READ == PD_READ << PD_SET_SHIFT
    PD_MODES = 3
    PD_SETS = 24

cdef enum:
    PD_CLOSES = 1 << 30                 # gm_pd.attempts: the last attempt is to close the number

cdef enum:                              # sudog.ok of a waiter that has been woken
    NET_READY = 0
    NET_CLOSED = 16
    NET_LOST = 17                       # its poller is gone: to wait again

cdef enum:                              # what net_wait returns beside WAKE_* and NET_CLOSED
    NET_ERRNO = 1000                    # plus an errno

cdef enum:
    NET_TRY = 8
    NET_SPINS = 50
    NET_EVENTS = 128                    # taken at once (16 to 1024: no difference)
    NET_LATE_NS = 10000000              # Go's: sysmon looks into a poller after that
    PD_CHUNK = 256
    PD_CHUNKS = 65536                   # descriptors below 16,777,216

cdef extern from *:
    """
    #include <stddef.h>
    #define gm_pd_of_rq(q) ((struct __pyx_t_4gmpx_5_core_gm_pd *)((char *)(q) - \\
        offsetof(struct __pyx_t_4gmpx_5_core_gm_pd, rq)))
    #define gm_pd_of_wq(q) ((struct __pyx_t_4gmpx_5_core_gm_pd *)((char *)(q) - \\
        offsetof(struct __pyx_t_4gmpx_5_core_gm_pd, wq)))
    """
    gm_pd* gm_pd_of_rq(gm_waitq*) nogil
    gm_pd* gm_pd_of_wq(gm_waitq*) nogil

cdef gm_ptr pd_chunks[PD_CHUNKS]        # gm_pd[PD_CHUNK] each
cdef gm_u32 pd_top                      # no chunk is at this index or beyond; grows


# ---- pollDescs -----------------------------------------------------------------------------

cdef inline gm_pd* pd_find(int fd) noexcept nogil:
    # NULL: nobody has ever waited for such a number.
    cdef gm_pd* chunk
    if gm_unlikely(<unsigned int>fd >= <unsigned int>PD_CHUNK * PD_CHUNKS):
        return NULL
    chunk = <gm_pd*>gm_load_ptr_acquire(&pd_chunks[fd // PD_CHUNK])
    return &chunk[fd % PD_CHUNK] if gm_likely(chunk != NULL) else NULL


cdef gm_pd* pd_of(int fd) noexcept nogil:
    # NULL: no memory, or the number is out of all bounds.
    cdef gm_pd* pd = pd_find(fd)
    cdef gm_pd* chunk
    cdef uint32_t top
    cdef int i
    if gm_likely(pd != NULL) or <unsigned int>fd >= <unsigned int>PD_CHUNK * PD_CHUNKS:
        return pd
    chunk = <gm_pd*>calloc(PD_CHUNK, sizeof(gm_pd))
    if chunk == NULL:
        return NULL
    for i in range(PD_CHUNK):
        chunk[i].fd = fd - fd % PD_CHUNK + i
    top = gm_load_u32_relaxed(&pd_top)
    while top <= <uint32_t>(fd // PD_CHUNK) and not gm_cas_u32_acqrel(&pd_top, top, fd // PD_CHUNK + 1):
        top = gm_load_u32_relaxed(&pd_top)
    if not gm_cas_ptr_seqcst(&pd_chunks[fd // PD_CHUNK], NULL, chunk):
        free(chunk)                     # another thread was faster
    return pd_find(fd)


cdef inline void pd_lock(gm_pd* pd) noexcept nogil:
    cdef int n = 0
    while gm_exchange_u32_seqcst(&pd.lock, 1) != 0:
        n += 1
        if n < 100:
            gm_pause()
        else:
            gm_osyield()


cdef inline void pd_unlock(gm_pd* pd) noexcept nogil:
    gm_store_u32_release(&pd.lock, 0)


cdef inline uint64_t pd_tag(gm_pd* pd) noexcept nogil:
    return <uint64_t>pd.seq << 32 | <uint32_t>pd.fd


cdef inline bint pd_idle(gm_pd* pd) noexcept nogil:
    return pd.rq.first == NULL and pd.wq.first == NULL


cdef inline uint32_t pd_awaited(gm_pd* pd) noexcept nogil:
    # What its waiters wait for.
    return (PD_READ if pd.rq.first != NULL else 0) | (PD_WRITE if pd.wq.first != NULL else 0)


cdef void pd_take(gm_pd* pd, uint32_t bits, int outcome, gm_gq* due) noexcept nogil:
    # pd.lock held: all who wait for one of bits are won and go to due.
    cdef gm_sudog* s
    cdef gm_waitq* q
    cdef uint32_t mode
    for mode in range(PD_READ, PD_WRITE + 1):
        if not bits & mode:
            continue
        q = &pd.rq if mode == PD_READ else &pd.wq
        while True:
            s = waitq_get(q)
            if s == NULL:
                break
            s.ok = outcome
            s.park.reason = WAKE_READY
            gq_put(due, s.park.g)


cdef void net_ready(gm_m* m, gm_gq* due) noexcept nogil:
    # m: the calling M, or NULL. No pd.lock held.
    cdef gm_g* g
    while due.head != NULL:
        g = gq_get(due)
        if m != NULL and g.park.m == m and not schedules(m):
            gm_store_u32_relaxed(&g.status, G_RUNNABLE)
            inbox_push(&m.inbox, g)             # where park_foreign looks
        else:
            goready(m, g, False)


cdef void net_renew(int fd, int outcome) noexcept nogil:
    # The number is, or will be, another file's (NP3).
    cdef gm_pd* pd = pd_find(fd)
    cdef gm_gq due
    if pd == NULL:
        return
    due.head = due.tail = NULL
    due.n = 0
    pd_lock(pd)
    pd.seq += 1
    gm_store_u32_seqcst(&pd.flags, 0)
    if gm_unlikely(gm_load_u32_relaxed(&pd.attempts) != 0):
        gm_fetch_and_u32_seqcst(&pd.attempts, ~<uint32_t>PD_CLOSES)     # what was to be closed is gone
    pd.m = NULL
    pd_take(pd, PD_MODES, outcome, &due)
    pd_unlock(pd)
    net_ready(current_m(), &due)


cdef inline void net_fresh(int fd) noexcept nogil:
    # A new socket has the number; who waits, be it for another socket object of the same file, tries.
    net_renew(fd, NET_READY)


cdef inline void attempt_begin(gm_pd* pd) noexcept nogil:
    # NP8. The caller has seen that the number is its socket's, or looks once more now.
    gm_fetch_add_u32_seqcst(&pd.attempts, 1)
    if GM_FREE_THREADED:
        gm_fence_seqcst()


cdef bint attempt_end(gm_pd* pd) noexcept nogil:
    # True: the caller is to close the number.
    cdef uint32_t was = gm_load_u32_relaxed(&pd.attempts)
    while was & (PD_CLOSES - 1):                    # else a fork's child has forgotten it
        if gm_cas_u32_seqcst(&pd.attempts, was, 0 if was == PD_CLOSES + 1 else was - 1):
            return was == PD_CLOSES + 1
        was = gm_load_u32_relaxed(&pd.attempts)
    return False


cdef bint attempt_leave(int fd) noexcept nogil:
    # Who closes fd, which is no socket's any more. True: an attempt is at it, which closes it in the end.
    cdef gm_pd* pd = pd_find(fd)
    cdef uint32_t was
    if pd == NULL:
        return False
    if GM_FREE_THREADED:
        gm_fence_seqcst()
    was = gm_load_u32_seqcst(&pd.attempts)
    while was != 0:
        if gm_cas_u32_seqcst(&pd.attempts, was, was | PD_CLOSES):
            return True
        was = gm_load_u32_seqcst(&pd.attempts)
    return False


cdef void net_again(gm_pd* pd, uint32_t mode) noexcept nogil:
    # The next wait watches pd anew, which reports what is ready.
    gm_fetch_and_u32_seqcst(&pd.flags, ~(mode | mode << PD_SET_SHIFT))


cdef void net_more(gm_m* m, gm_pd* pd) noexcept nogil:
    # There may be more to read: also for who has found PD_READ clear meanwhile, and waits.
    cdef gm_gq due
    due.head = due.tail = NULL
    due.n = 0
    pd_lock(pd)
    gm_fetch_or_u32_seqcst(&pd.flags, PD_READ)
    pd_take(pd, PD_READ, NET_READY, &due)
    pd_unlock(pd)
    net_ready(m, &due)


# ---- pollers -------------------------------------------------------------------------------

cdef inline bint net_awaited(gm_m* m) noexcept nogil:
    # A hint: whether somebody waits for an event of m's poller.
    return gm_load_u32_relaxed(&m.net_waiters) != 0


cdef inline void sysmon_net(gm_m* m) noexcept nogil:
    # m is awake and its poller is waited for (NP5).
    gm_barrier_light()
    if gm_unlikely(gm_load_i64_relaxed(&m.polled_at) + NET_LATE_NS
                   < gm_load_i64_relaxed(&sysmon.until)):
        sysmon_wake()


cdef int net_open(gm_m* m) noexcept nogil:
    # m itself. 0, or an errno.
    cdef int r = gm_poller_open(&m.poller)
    gm_store_i64_relaxed(&m.polled_at, gm_nanotime())
    return r


cdef void pds_forget(gm_m* owner, gm_m* me) noexcept nogil:
    # Nothing is known any more of what owner's poller watches, NULL: of any descriptor; who waits registers
    # anew. me: the calling M, or NULL.
    cdef gm_pd* chunk
    cdef gm_pd* pd
    cdef gm_gq due
    cdef uint32_t i
    cdef int k
    due.head = due.tail = NULL
    due.n = 0
    for i in range(gm_load_u32_acquire(&pd_top)):
        chunk = <gm_pd*>gm_load_ptr_acquire(&pd_chunks[i])
        if chunk == NULL:
            continue
        for k in range(PD_CHUNK):
            pd = &chunk[k]
            pd_lock(pd)
            if owner == NULL or pd.m == owner:
                pd.seq += 1
                gm_fetch_and_u32_seqcst(&pd.flags, (PD_NONBLOCK | PD_SSL) if owner != NULL else PD_NONBLOCK)
                pd.m = NULL
                pd_take(pd, PD_MODES, NET_LOST, &due)
            pd_unlock(pd)
    net_ready(me, &due)


cdef void net_lost(gm_m* m, gm_m* me) noexcept nogil:
    # NP6. m's poller is gone; me: the calling M.
    if m == me:
        gm_poller_close(&m.poller)
    pds_forget(m, me)
    if m == me:
        net_open(m)                     # if there is none to be had the next wait says so


def _net_forget():
    """_net_forget()
--

    Sockets are about to be patched, whose numbers may have been others' while nobody saw to it."""
    pds_forget(NULL, current_m())


cdef void net_forked() noexcept nogil:
    # In a fork's child: the pollers are the parent's (they are shared open files, so nothing is taken
    # out of them), as are all who wait. allm is still the parent's.
    cdef gm_m* m = allm_first()
    cdef gm_pd* chunk
    cdef uint32_t i
    cdef int k
    while m != NULL:
        gm_poller_close(&m.poller)
        gm_store_u32_relaxed(&m.net_waiters, 0)
        gm_store_u32_relaxed(&m.polling, 0)
        m = m.all_next
    for i in range(gm_load_u32_acquire(&pd_top)):
        chunk = <gm_pd*>gm_load_ptr_acquire(&pd_chunks[i])
        if chunk == NULL:
            continue
        for k in range(PD_CHUNK):
            gm_store_u32_relaxed(&chunk[k].lock, 0)     # a thread of the parent may have held it
            gm_fetch_and_u32_seqcst(&chunk[k].flags, PD_NONBLOCK | PD_SSL)
            chunk[k].seq += 1
            chunk[k].m = NULL
            if gm_load_u32_relaxed(&chunk[k].attempts) & PD_CLOSES:
                c_close(chunk[k].fd)                    # here nobody else does
            gm_store_u32_relaxed(&chunk[k].attempts, 0)
            memset(&chunk[k].rq, 0, sizeof(gm_waitq))
            memset(&chunk[k].wq, 0, sizeof(gm_waitq))


cdef extern from *:
    """
    struct __pyx_t_4gmpx_5_core_gm_m;
    /* Out of line: its events would lie in the frame that each parked goroutine keeps. */
    static GM_NOINLINE int gm_net_poll(
        struct __pyx_t_4gmpx_5_core_gm_m *, struct __pyx_t_4gmpx_5_core_gm_m *, int64_t);
    """


cdef int net_poll "gm_net_poll"(gm_m* owner, gm_m* m, int64_t ns) noexcept nogil:
    # Looks into owner's poller and readies who waits for what has happened. m: the calling M, NULL for
    # sysmon. Waits, if m is owner, up to ns (< 0: for ever). How many events came; -1: a signal.
    cdef gm_pevent e[NET_EVENTS]
    cdef gm_gq due
    cdef int i
    cdef int n = gm_poller_wait(&owner.poller, e, NET_EVENTS, ns)
    gm_store_i64_relaxed(&owner.polled_at, gm_nanotime_coarse())
    if gm_unlikely(n < 0):
        if n == -EINTR:
            return -1
        if owner == m:
            net_lost(m, m)
        return 1
    due.head = due.tail = NULL
    due.n = 0
    for i in range(n):
        if gm_likely(gm_pevent_tag(&e[i]) < GM_POLL_SIGNAL):
            net_event(gm_pevent_tag(&e[i]), gm_pevent_bits(&e[i]), &due)
        elif owner != m:
            gm_poller_break(&owner.poller)      # NP7
    net_ready(m, &due)
    return n


cdef int net_look(gm_m* m) noexcept nogil:
    # find_runnable, the GIL held and nothing to run. What is there, or comes soon where the GIL would be
    # long in coming back (one connection beside a thread that computes: 150 against 28,000 replies a
    # second), costs no hand-over of it. Not if it is another M of ours that keeps the GIL busy: it may have
    # a thousand connections, and this one a single one. Where a look has been in vain again and again it
    # is a system call for nothing, and is left out but for every NET_TRY-th time.
    cdef int i
    cdef int n = 0
    cdef bint spins = m.gil_slow and (
        gm_load_u32_relaxed(&sched.nm) <= gm_load_u32_relaxed(&sched.nmidle))
    if m.net_misses >= NET_TRY and m.net_misses % NET_TRY != 0 and not spins:
        m.net_misses += 1
        return 0
    for i in range(NET_SPINS if spins else 1):
        n = net_poll(m, m, 0)
        if n != 0:
            break
    m.net_misses = 0 if n > 0 else m.net_misses + 1
    return n


cdef void net_event(uint64_t tag, uint32_t bits, gm_gq* due) noexcept nogil:
    cdef gm_pd* pd = pd_find(<int><uint32_t>tag)
    pd_lock(pd)
    if gm_likely(pd.seq == <uint32_t>(tag >> 32)):      # NP3
        if gm_load_u32_relaxed(&pd.flags) & PD_SETS:
            gm_fetch_or_u32_seqcst(&pd.flags, bits)
            pd_take(pd, bits, NET_READY, due)
        else:
            pd_take(pd, bits, NET_READY, due)
            # One-shot: the other direction is to be armed again; if that fails they are told to try.
            if not pd_idle(pd) and gm_poller_set(&pd.m.poller, pd.fd, GM_POLL_ONCE | pd_awaited(pd),
                                                 pd_tag(pd), True) != 0:
                pd_take(pd, PD_MODES, NET_READY, due)
    pd_unlock(pd)


cdef int net_sleep(gm_m* m, int64_t ns) noexcept nogil:
    # m_sleep's in the poller, after note_clear(NOTE_NETPOLL); returns what m_sleep does.
    cdef int n
    hook_point(HOOK_NET_SLEEP)
    gm_store_u32_relaxed(&m.polling, 1)
    n = net_poll(m, m, ns if ns < 0 else min(ns, LONGEST_SLEEP_NS))
    gm_store_u32_relaxed(&m.polling, 0)
    note_cancel(&m.note, NOTE_NETPOLL)
    if net_awaited(m):
        sysmon_net(m)
    return 1 if n > 0 else n


# ---- waiting -------------------------------------------------------------------------------

cdef int pd_watch(gm_m* m, gm_pd* pd, uint32_t mode, bint once) noexcept nogil:
    # pd.lock held: sees to it that an event of mode will be reported, to pd.m. 0, or an errno. mode: PD_READ,
    # with GM_POLL_URGENT perhaps, or PD_WRITE.
    cdef uint32_t sets = gm_load_u32_relaxed(&pd.flags) & PD_SETS
    cdef bint known = pd.m == m
    cdef uint32_t urgent = mode & GM_POLL_URGENT
    cdef uint32_t want
    cdef int r
    once = once or not GM_POLL_EDGES
    mode &= PD_MODES
    if pd.m != m and (pd.m == NULL or pd_idle(pd) or pd.m.kind == M_DEAD):      # NP4
        if pd.m != NULL:
            gm_poller_unset(&pd.m.poller, pd.fd)
        pd.m = m
    elif not once and sets & (mode << PD_SET_SHIFT):
        return 0
    want = mode | pd_awaited(pd) | (sets >> PD_SET_SHIFT)
    if once and sets == 0:
        r = gm_poller_set(&pd.m.poller, pd.fd, want | urgent | GM_POLL_ONCE, pd_tag(pd), known)
    else:
        r = gm_poller_set(&pd.m.poller, pd.fd, want, pd_tag(pd), known)
        if r == 0:
            gm_fetch_or_u32_seqcst(&pd.flags, want << PD_SET_SHIFT)
    if r != 0 and pd_idle(pd):
        gm_fetch_and_u32_seqcst(&pd.flags, ~<uint32_t>PD_SETS)
        pd.m = NULL
    return r


cdef int net_arm(gm_m* m, gm_pd* pd, uint32_t mode, bint once) noexcept nogil:
    # Locks pd and watches it. 0: locked, the caller puts its sudog on the queue. -1: not locked, it is
    # ready (never if once). Else not locked, an errno.
    cdef gm_m* owner
    cdef int r
    cdef int tries
    for tries in range(3):
        if gm_unlikely(not gm_poller_is_open(&m.poller)):
            r = net_open(m)
            if r != 0:
                return r
        pd_lock(pd)
        if not once and gm_load_u32_relaxed(&pd.flags) & mode:
            pd_unlock(pd)
            return -1
        owner = pd.m if pd.m != NULL else m
        r = pd_watch(m, pd, mode, once)
        if gm_likely(r == 0):
            return 0
        pd_unlock(pd)
        if (r != EBADF and r != EINVAL) or (gm_poller_lives(&owner.poller) and
                                            gm_poller_lives(&m.poller)):
            return r
        net_lost(owner if not gm_poller_lives(&owner.poller) else m, m)     # NP6
    return r


cdef inline void net_count(gm_m* m, gm_m* owner) noexcept nogil:
    # m's goroutine is about to wait for owner's poller (NP5).
    if gm_fetch_add_u32_seqcst(&owner.net_waiters, 1) == 0 or owner != m:
        sysmon_net(owner)


cdef int net_wait(gm_m* m, gm_g* g, gm_pd* pd, uint32_t mode, bint once,
                  int64_t deadline) noexcept:
    # Parks g until pd may be readable (PD_READ) or writable (PD_WRITE). once: not one of our sockets.
    # Returns WAKE_*, NET_CLOSED, NET_ERRNO + errno, or -1 with an exception set (gopark).
    cdef gm_waitq* q = &pd.rq if mode == PD_READ else &pd.wq
    cdef gm_m* owner
    cdef gm_sudog* s
    cdef int r
    while True:
        r = net_arm(m, pd, mode, once)
        if r != 0:
            return WAKE_READY if r < 0 else NET_ERRNO + r
        s = sudog_arm(g, q, WHY_IO)
        owner = pd.m
        pd_unlock(pd)
        net_count(m, owner)
        r = gopark(m, g, deadline)
        gm_fetch_add_u32_relaxed(&owner.net_waiters, <uint32_t>-1)
        if gm_unlikely(r != WAKE_READY):
            break
        if gm_likely(s.ok != NET_LOST):
            return s.ok                 # NET_READY is WAKE_READY
    # Under the lock: who has just dropped s from the queue may still be reading it.
    pd_lock(pd)
    waitq_remove(q, s)
    pd_unlock(pd)
    return r


cdef int net_raise(gm_m* m, int r, int fd) except -1:
    # Raises what a wait for fd has ended with.
    if r == WAKE_TIMEOUT:
        raise TimeoutError("timed out")
    if r == NET_CLOSED:
        raise OSError(EBADF, f"descriptor {fd} was closed while a goroutine waited for it")
    if r >= NET_ERRNO:
        raise_errno(r - NET_ERRNO)
    return park_raise(m, r, "IO wait")


cdef int raise_errno(int e) except -1:
    global errno
    errno = e
    PyErr_SetFromErrno(PyExc_OSError)
    return -1


cdef gm_pd* pd_awaited_by(gm_park* pk, uint32_t* mode) noexcept nogil:
    # What a goroutine in an IO wait waits for, for dumps; NULL: several, or it has just been woken.
    cdef gm_waitq* q = pk.sudog.queue
    cdef gm_pd* pd
    if pk.why != WHY_IO or q == NULL:
        return NULL
    for mode[0] in range(PD_READ, PD_WRITE + 1):
        pd = gm_pd_of_rq(q) if mode[0] == PD_READ else gm_pd_of_wq(q)
        if pd_find(pd.fd) == pd:
            return pd
    return NULL


cdef inline bint net_native(gm_m* m) noexcept:
    # Whether a wait of the calling thread blocks the thread: it runs no goroutine of ours that could park.
    return m == NULL or m.kind == M_FOREIGN or m.curg == NULL or bubble_on
