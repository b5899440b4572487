# The local run queue of a P: Go's ring of fresh Gs (proc.go: runqput, runqget, runqsteal).
#
# Invariants
#   R1  Only the M that owns the P moves runq_tail, by a release store after the slot is written.
#   R2  runq_head moves only forward, by a CAS, by whoever takes: the owner or a thief.
#   R3  tail - head (mod 2^32) is between 0 and GM_RUNQ_SLOTS.
#   R4  A slot in [head, tail) holds a G that is on no other queue. Who wins the CAS from h to
#       h+n owns the Gs that it read from [h, h+n) before the CAS, and no one else does.
#   R5  A full ring gives half away (overflow_of): order within the ring is FIFO throughout.
#
# Callers: owner M only for runq_put, runq_put_slow, runq_get and as the taker in runq_steal;
# any M as the victim's visitor. No Python object is touched; a G's reference moves with it.
#
# Rejected: taking several Gs per CAS into a private buffer (one CAS for many), because a long
# first G would hold the others where no thief can reach them; V's blind fetch-add on head,
# because two takers can then run one G.


cdef enum:
    RUNQ_AHEAD = 4


cdef inline uint32_t runq_len(gm_p* p) noexcept nogil:
    # Racy for all but the owner. Reads head first, as thieves do, so it never goes negative.
    cdef uint32_t h = gm_load_u32_acquire(&p.runq_head)
    cdef uint32_t t = gm_load_u32_acquire(&p.runq_tail)
    return t - h


cdef inline bint runq_empty(gm_p* p) noexcept nogil:
    # seqcst: the recheck before an M sleeps. Pairs with the publish side's fence or lock (W1).
    return gm_load_u32_seqcst(&p.runq_head) == gm_load_u32_seqcst(&p.runq_tail)


cdef inline void runq_put(gm_p* p, gm_g* g) noexcept nogil:
    cdef uint32_t h, t
    while True:
        h = gm_load_u32_acquire(&p.runq_head)   # pairs with the CAS of a taker: its reads are done
        t = gm_load_u32_relaxed(&p.runq_tail)   # our own (R1)
        if gm_likely(t - h < GM_RUNQ_SLOTS):
            gm_store_ptr_relaxed(&p.runq[t & (GM_RUNQ_SLOTS - 1)].g, g)  # published by the tail
            gm_store_u32_release(&p.runq_tail, t + 1)  # pairs with the acquire in runq_grab
            return
        if runq_put_slow(p, g, h, t):
            return


cdef bint runq_put_slow(gm_p* p, gm_g* g, uint32_t h, uint32_t t) noexcept nogil:
    # Moves the older half and g to where p's overflow goes. False when a thief was faster: the ring
    # has room then.
    cdef gm_g* batch[GM_RUNQ_HALF + 1]
    cdef uint32_t n = (t - h) // 2
    cdef uint32_t i
    if n != GM_RUNQ_HALF:
        fatal("runq_put_slow: the ring is not full")
    for i in range(n):
        batch[i] = <gm_g*>gm_load_ptr_relaxed(&p.runq[(h + i) & (GM_RUNQ_SLOTS - 1)].g)
    if not gm_cas_u32_acqrel(&p.runq_head, h, h + n):   # R2, R4
        return False
    batch[n] = g
    gm_lock_acquire(&sched.lock)
    batches_put(overflow_of(p), batch, n + 1)
    gm_lock_release(&sched.lock)
    return True


cdef inline gm_g* runq_get(gm_p* p) noexcept nogil:
    cdef uint32_t h, t
    cdef gm_g* g
    while True:
        h = gm_load_u32_acquire(&p.runq_head)   # pairs with a thief's CAS
        t = gm_load_u32_relaxed(&p.runq_tail)   # our own (R1)
        if t == h:
            return NULL
        g = <gm_g*>gm_load_ptr_relaxed(&p.runq[h & (GM_RUNQ_SLOTS - 1)].g)
        # Of a burst each G is cold by now: fetch the one whose turn comes after a few others.
        # The slot may hold an old pointer; a prefetch of any address is harmless.
        gm_prefetch_g(gm_load_ptr_relaxed(&p.runq[(h + RUNQ_AHEAD) & (GM_RUNQ_SLOTS - 1)].g))
        if gm_likely(gm_cas_u32_acqrel(&p.runq_head, h, h + 1)):
            return g


cdef uint32_t runq_grab(gm_p* p, gm_p* into, uint32_t at, uint32_t most) noexcept nogil:
    # Takes half of p's ring, rounded up, but at most `most`, into `into`'s slots from index `at`
    # on, which its owner (the caller) has not yet published. Returns how many.
    cdef uint32_t h, t, n, i
    cdef gm_g* g
    while True:
        h = gm_load_u32_acquire(&p.runq_head)   # pairs with other takers
        t = gm_load_u32_acquire(&p.runq_tail)    # pairs with the release in runq_put
        n = t - h
        n -= n // 2
        if n == 0:
            return 0
        if n > GM_RUNQ_HALF:              # read h and t inconsistently
            continue
        n = min(n, most)
        for i in range(n):
            g = <gm_g*>gm_load_ptr_relaxed(&p.runq[(h + i) & (GM_RUNQ_SLOTS - 1)].g)
            gm_store_ptr_relaxed(&into.runq[(at + i) & (GM_RUNQ_SLOTS - 1)].g, g)
        if gm_cas_u32_acqrel(&p.runq_head, h, h + n):   # R4: only now are they ours
            return n


cdef gm_g* runq_steal(gm_p* p, gm_p* victim, uint32_t most, uint32_t* taken) noexcept nogil:
    # Steals half of victim's ring, at most `most`, for p, whose ring is empty (its owner, the
    # caller, found it so). Returns the oldest to run; the others are in p's ring. Go runs the
    # newest; the oldest keeps stolen work in the order of its spawns.
    cdef uint32_t t = gm_load_u32_relaxed(&p.runq_tail)     # our own (R1)
    # The oldest goes to slot t - 1, outside [head, tail): it is never published.
    cdef uint32_t n = runq_grab(victim, p, t - 1, most)
    taken[0] = n
    if n == 0:
        return NULL
    if gm_load_u32_acquire(&p.runq_head) != t:
        fatal("runq_steal: the thief's ring is not empty")
    gm_store_u32_release(&p.runq_tail, t + n - 1)   # pairs with the acquire in runq_grab
    return <gm_g*>gm_load_ptr_relaxed(&p.runq[(t - 1) & (GM_RUNQ_SLOTS - 1)].g)
