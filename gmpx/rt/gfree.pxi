# Free lists of dead Gs: one per P, one for all (proc.go: gfput, gfget).
#
# Invariants
#   F1  A G here is IDLE, held by nobody else (the list owns its one reference), and holds
#       nothing: no function, arguments, context, result, waiters.
#   F2  A P's list is its owner's alone; sched.gfree is guarded by sched.lock.
#   F3  At most GFREE_LOCAL on a P and GFREE_GLOBAL beside: a burst's memory goes back to the
#       allocator. gfput says so by returning False, and its caller drops the reference.

cdef enum:
    GFREE_LOCAL = 64
    GFREE_GLOBAL = 4096


cdef inline bint gfput(gm_p* p, gm_g* g) noexcept nogil:
    cdef int i
    cdef bint kept = True
    if gm_unlikely(p.gfree.n >= GFREE_LOCAL):
        if gm_load_i64_relaxed(&sched.gfree_size) >= GFREE_GLOBAL:     # hint
            return False
        gm_lock_acquire(&sched.lock)
        if sched.gfree.n < GFREE_GLOBAL:
            for i in range(GFREE_LOCAL // 2):
                gq_put(&sched.gfree, gq_get(&p.gfree))
            gm_store_i64_relaxed(&sched.gfree_size, sched.gfree.n)
        else:
            kept = False
        gm_lock_release(&sched.lock)
        if not kept:
            return False
    # A stack, not a FIFO: the latest is the one still in the cache.
    g.schedlink = p.gfree.head
    p.gfree.head = g
    if p.gfree.tail == NULL:
        p.gfree.tail = g
    p.gfree.n += 1
    return True


cdef inline gm_g* gfget(gm_p* p) noexcept nogil:
    cdef int i
    if gm_unlikely(p.gfree.head == NULL):
        if gm_load_i64_relaxed(&sched.gfree_size) == 0:                 # hint
            return NULL
        gm_lock_acquire(&sched.lock)
        for i in range(GFREE_LOCAL // 2):
            if sched.gfree.head == NULL:
                break
            gq_put(&p.gfree, gq_get(&sched.gfree))
        gm_store_i64_relaxed(&sched.gfree_size, sched.gfree.n)
        gm_lock_release(&sched.lock)
    return gq_get(&p.gfree)
