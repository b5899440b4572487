# The policy: when an M is woken for work, and what it may take from other Ps.
#
# It decides on nothing else. An M that is awake with a P and has nothing of its own takes from the
# global queue, always (glob_take); who wakes for a goroutine of its own needs no leave.
#
# Free-threaded builds do as Go does: each `go` sees to it that an M spins if there is an idle P
# (wake_p), one that spins steals half a ring, the last one that finds work wakes another, at most
# half of the busy Ps' number spin.
#
# On GIL builds threads that run Python code take turns, so a further one gains nothing while the
# code keeps the GIL and costs much when the tasks are tiny (measured: chains of spawns on two Ms 2.1
# times slower on 3.14; 100,000 goroutines on one unbuffered channel 3,500 ns each across two
# threads, 700 on one, for what starts on a thread stays there). So there
#   - `go` on an M wakes nobody: its own M comes to it. That it does is sysmon's to watch.
#   - In a hot time (rt/sched/watch.pxi), when sysmon finds that the work is done without the GIL, `go` wakes
#     an M, an M that is dry spins for a moment, and thieves take what they find, but only while the GIL is
#     free or the victim is known not to have it: else they would wait for it with what they took. Ready Gs
#     go before fresh ones then: a coordinator that waits behind long tasks keeps the others from work.
#     Not more Ms than there are CPUs, those in system calls not counted: each further one only makes
#     the others wait for the GIL (measured: 50 us hashes with 8 Ps on 2 CPUs 30 % slower than with 2).
#     Nobody is woken beyond that, and one too many leaves the others' fresh Gs to them. So does one whose latest
#     catch has parked at once (policy_dry): what starts on a thread stays there.
#   - Gs of code that is known to stay outside for long are placed (rt/sched/learn.pxi).
#   - `go` on a thread without a P fills the global queue: it wakes an M while fewer than two Ps
#     are at work, Ps whose M stands in a system call not counted.
#   - A P that holds fresh Gs and does not move has them stolen. sysmon gives the verdict:
#       STANDS_BLOCKED  its M stands in a system call: the GIL was found free, or never its. Thieves
#                       take as Go's do.
#       STANDS_BUSY     it has not ticked for STALL_NS while nobody else did, or for SLOW_STALL_NS
#                       whatever the others did (an M that waits for the GIL stands still for as long
#                       as the others keep it), and has used CPU time meanwhile: a thread that
#                       computes, or does nothing but spawn.
#                       Thieves take one G at sysmon's first look, twice as many at each further one.
#     A verdict holds for the tick that it was given at: the first G that the P runs ends it.
#   - Gs that overflow from a ring stay its P's (overflow_of): they are stolen as its ring is.
#   - A global queue whose head is older than STALL_NS and that hardly moves has an M woken for it.
#   - Nobody spins: there is nothing to find that sysmon has not seen.
#
# How many Ms: those that run, or could, are nprocs + 1 at most. The one more runs Gs while the main
# thread is busy with Python of its own and keeps its P. Ms that stand in a system call, by
# sysmon's verdict, and those kept to one goroutine do not count. A wrong verdict costs a thread. One
# that there is too many of afterwards ends when it has slept for SURPLUS_NS.

cdef enum:
    WATCH_NOT = 0               # sysmon rests
    WATCH_ON = 1
    WATCH_PLACE = 2             # some code is placed (rt/sched/learn.pxi)
    WATCH_HOT = 3
    STANDS_NOT = 0
    STANDS_BUSY = 1
    STANDS_BLOCKED = 2
    MOST_MS = 10000             # Go's limit on threads
    AT_ONCE_NS = 20000          # what a G that parks at once takes, at most; and
    AT_ONCE_MOST = 16           # so many of them that are taken together
    REST_NS = 300000            # see policy_dry
    BUSY_ENOUGH = 2             # Ps at work that a foreign thread's spawns are left to


cdef inline bint on_spare_p(gm_m* m) noexcept nogil:
    return m.p.id >= <int32_t>gm_load_u32_relaxed(&sched.nprocs)


cdef inline bint hot() noexcept nogil:
    # A hint: work is done without the GIL (rt/sched/watch.pxi).
    return gm_load_u32_relaxed(&sysmon.watch) == WATCH_HOT


cdef inline bint policy_hot_more(uint32_t n=1) noexcept nogil:
    # In a hot time: whether n more Ms would find a CPU. 0: whether those that are awake have one.
    return gm_load_u32_relaxed(&sched.nprocs) - gm_load_u32_relaxed(&sched.npidle) + n <= (
        gm_load_u32_relaxed(&sched.ncpu) + gm_load_u32_relaxed(&sched.nblocked_own))


cdef inline bint policy_plain() noexcept nogil:
    # A hint: a spawn is put on its M's own ring, and that is all.
    return gm_load_u32_relaxed(&sysmon.watch) == WATCH_ON


cdef inline bint policy_spawned() noexcept nogil:
    # An M has put a fresh G on its own ring. True: nobody watches, sysmon is to be woken.
    if GM_FREE_THREADED:
        wake_p()
    return sysmon_rests()


cdef inline void policy_queued() noexcept nogil:
    # The global queue has got work that belongs to no P.
    sysmon_watch()
    if not GM_FREE_THREADED:
        if (gm_load_u32_relaxed(&sched.nprocs) - gm_load_u32_seqcst(&sched.npidle)
                >= BUSY_ENOUGH + gm_load_u32_relaxed(&sched.nblocked_own)):
            return
    wake_p()


cdef bint policy_leaves(gm_m* m) noexcept nogil:
    # Whether m leaves what is in the global queue to others: in a hot time no more Ms run goroutines than
    # there are Ps, those in system calls not counted. But for one that was sent there (start_any).
    cdef uint32_t i
    cdef uint32_t busy = 0
    if not hot() or m.p == NULL or not on_spare_p(m) or m.spinning:
        return False
    for i in range(gm_load_u32_acquire(&sched.nallp)):
        busy += gm_load_u32_relaxed(&allp[i].status) == P_RUNNING
    return busy > gm_load_u32_relaxed(&sched.nprocs) + gm_load_u32_relaxed(&sched.nblocked)


cdef inline bint policy_spins(gm_m* m) noexcept nogil:
    # Whether m, with nothing to do, looks several times before it sleeps (Go's bound).
    return GM_FREE_THREADED and (m.spinning or 2 * gm_load_u32_relaxed(&sched.nmspinning)
        < gm_load_u32_relaxed(&sched.nprocs) - gm_load_u32_relaxed(&sched.npidle))


cdef inline bint policy_free(gm_p* victim) noexcept nogil:
    # Whether who takes from victim in a hot time does not wait for the GIL with what it took.
    return gm_gil_is_free() or gm_load_u32_relaxed(&victim.outside) & 3 == 3


cdef inline void policy_took(gm_m* m, uint32_t n) noexcept nogil:
    # m, which had run dry, has got so many fresh Gs of others, or of nobody.
    if not GM_FREE_THREADED:
        m.took, m.took_hosts, m.took_at = n, gm_load_u32_relaxed(&m.hosts), gm_nanotime()


cdef inline void policy_dry(gm_m* m, uint32_t hosts) noexcept nogil:
    # m, which hosts so many now, has run dry. If all that it has just taken has parked at once, as workers on
    # a channel do before the first item, more of the kind would only be bound to it, too, while it idles: it rests,
    # leaves what lies about to those that are at work, for a moment or until it has run something. A moment, for
    # what lies there may be of another kind. (1 ms gained no more than 0.3.)
    cdef int64_t now
    m.rests_until = 0
    if gm_unlikely(m.took > 0):
        if <int32_t>(hosts - m.took_hosts) >= <int32_t>m.took:
            now = gm_nanotime()
            if now - m.took_at < min(m.took, AT_ONCE_MOST) * AT_ONCE_NS:
                m.rests_until = now + REST_NS
        m.took = 0


cdef inline bint policy_rests(gm_m* m) noexcept nogil:
    return gm_unlikely(m.rests_until != 0) and gm_nanotime() < m.rests_until


cdef inline uint32_t policy_steals(gm_p* victim, bint eager) noexcept nogil:
    # How many Gs may be taken from victim now. eager: by an M that takes in a hot time what it finds.
    cdef uint32_t verdict, grant
    if GM_FREE_THREADED:
        return GM_RUNQ_HALF
    verdict = gm_load_u32_acquire(&victim.verdict)          # pairs with the release in sample
    if eager and hot() and policy_free(victim) and policy_hot_more(0):
        return GM_RUNQ_HALF
    if gm_likely(verdict == STANDS_NOT):
        return 0
    if gm_load_u64_relaxed(&victim.sched_tick) != gm_load_u64_relaxed(&victim.seen):
        return 0                                            # it moves again
    if verdict == STANDS_BLOCKED:
        return GM_RUNQ_HALF
    grant = gm_load_u32_relaxed(&victim.grant)
    if grant > 0 and gm_cas_u32_acqrel(&victim.grant, grant, 0):
        return grant
    return 0


cdef inline bint policy_more_ms(uint32_t n) noexcept nogil:
    # Whether a worker M may be added to the n that there are.
    cdef uint32_t blocked = min(n, gm_load_u32_relaxed(&sched.nblocked))
    return n < MOST_MS and (n - blocked
        <= gm_load_u32_relaxed(&sched.nprocs) + gm_load_u32_relaxed(&sched.nlocked))


cdef inline bint policy_surplus(gm_m* m) noexcept nogil:
    # Whether m, which sleeps, is one of those that were started while others stood in system calls.
    # Not if a goroutine has started on it.
    return m.kind == M_WORKER and m.nworkers == m.nidle + (m.curg == NULL and m.searches) and (
        gm_load_u32_relaxed(&sched.nm)
        > gm_load_u32_relaxed(&sched.nprocs) + 1 + gm_load_u32_relaxed(&sched.nlocked))


cdef inline void policy_found(bint last_spinner) noexcept nogil:
    # An M that was spinning has found work (Go's resetspinning): work published while wake_p saw
    # a spinner, and left it to that, is covered by another.
    if last_spinner and (GM_FREE_THREADED or (hot() and policy_hot_more())):
        wake_p()
