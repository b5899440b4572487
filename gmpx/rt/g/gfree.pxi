# Free lists of dead Gs: one per P, one for all (proc.go: gfput, gfget).
#
# Invariants
#   F1  A G here is IDLE, held by nobody else (the list owns its one reference), and holds
#       nothing: no function, arguments, context, result, waiters.
#       What spawned without a P, or stands for a handle that is gone, came from no list and is
#       freed at its end (GF_LOOSE): else such Gs would pile up in the lists of those that end them.
#   F2  A P's list is its owner's alone; sched.gfree is guarded by sched.lock.
#   F3  What a burst leaves in sched.gfree goes back to the allocator when the runtime idles
#       (gfree_trim): of the Gs that nobody has needed since the last look, half, down to
#       GFREE_KEEP. So repeated bursts pay neither the allocator nor fresh pages (measured: 35
#       of 150 ns a spawn at a million), and memory does not stay with the largest of them.
#
# Arrays of pointers and not linked Gs, for the reason given at the global queue.

cdef enum:
    GFREE_KEEP = 4096
    GFREE_AHEAD = 4


cdef inline bint gfput(gm_p* p, gm_g* g) noexcept nogil:
    # False: no memory to list it; the caller drops it.
    if gm_unlikely(p.ngfree == GFREE_LOCAL) and not gfput_slow(p):
        return False
    p.gfree[p.ngfree] = g
    p.ngfree += 1
    return True


cdef bint gfput_slow(gm_p* p) noexcept nogil:
    # Moves the older half of p's list to sched.gfree.
    cdef gm_gfree* b
    gm_lock_acquire(&sched.lock)
    b = sched.gfree_spare
    sched.gfree_spare = NULL
    if b == NULL:
        b = <gm_gfree*>malloc(sizeof(gm_gfree))
        if b == NULL:
            gm_lock_release(&sched.lock)
            return False
    memcpy(b.g, p.gfree, GFREE_BATCH * sizeof(gm_g*))
    b.next = sched.gfree
    sched.gfree = b
    gm_fetch_add_i64_relaxed(&sched.gfree_size, GFREE_BATCH)
    gm_lock_release(&sched.lock)
    p.ngfree -= GFREE_BATCH
    memcpy(p.gfree, p.gfree + GFREE_BATCH, p.ngfree * sizeof(gm_g*))
    return True


cdef inline gm_g* gfget(gm_p* p) noexcept nogil:
    if gm_unlikely(p.ngfree == 0) and not gfget_slow(p):
        return NULL
    p.ngfree -= 1
    if p.ngfree >= GFREE_AHEAD:
        gm_prefetch_g(p.gfree[p.ngfree - GFREE_AHEAD])
    return p.gfree[p.ngfree]


cdef bint gfget_slow(gm_p* p) noexcept nogil:
    cdef gm_gfree* b
    if gm_load_i64_relaxed(&sched.gfree_size) == 0:         # hint
        return False
    gm_lock_acquire(&sched.lock)
    b = gfree_pop()
    if b != NULL:
        memcpy(p.gfree, b.g, GFREE_BATCH * sizeof(gm_g*))
        p.ngfree = GFREE_BATCH
        if sched.gfree_spare == NULL:
            sched.gfree_spare = b
            b = NULL
    gm_lock_release(&sched.lock)
    free(b)
    return p.ngfree > 0


cdef inline gm_gfree* gfree_pop() noexcept nogil:
    # sched.lock held.
    cdef gm_gfree* b = sched.gfree
    if b != NULL:
        sched.gfree = b.next
        gm_fetch_add_i64_relaxed(&sched.gfree_size, -GFREE_BATCH)
        if gm_load_i64_relaxed(&sched.gfree_size) < sched.gfree_low:
            sched.gfree_low = gm_load_i64_relaxed(&sched.gfree_size)
    return b
