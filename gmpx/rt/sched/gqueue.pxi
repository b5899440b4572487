# Queues of Gs beside the rings: intrusive FIFOs, the global queue and an M's inbox.
#
# Invariants
#   Q1  A G is on one queue at a time and schedlink belongs to that queue's holder.
#   Q2  The global queue and a P's spill are read and written under sched.lock; their length may be
#       read without, as a hint (size is written under the lock).
#   Q3  inbox is a stack: any thread pushes by CAS, the owner takes all by one exchange, so
#       there is no ABA; what it takes it turns into arrival order.
#   Q4  Who pushes to an inbox wakes the owner's note afterwards (N3).


cdef inline void gq_put(gm_gq* q, gm_g* g) noexcept nogil:
    g.schedlink = NULL
    if q.tail != NULL:
        q.tail.schedlink = g
    else:
        q.head = g
    q.tail = g
    q.n += 1


cdef inline gm_g* gq_get(gm_gq* q) noexcept nogil:
    cdef gm_g* g = q.head
    if g != NULL:
        q.head = g.schedlink
        if q.head == NULL:
            q.tail = NULL
        q.n -= 1
    return g


cdef void gq_remove(gm_gq* q, gm_g* g) noexcept nogil:
    # No-op when g is not in q. O(n): for what hardly ever happens.
    cdef gm_g* before = NULL
    cdef gm_g* x = q.head
    while x != NULL and x != g:
        before = x
        x = x.schedlink
    if x == NULL:
        return
    if before == NULL:
        q.head = g.schedlink
    else:
        before.schedlink = g.schedlink
    if q.tail == g:
        q.tail = before
    q.n -= 1


# ---- the global queue and the spills: fresh Gs, under sched.lock --------------------------
#
# A full ring gives half away: to the global queue on a free-threaded build, as in Go; on a GIL
# build to its P's own spill, which is its P's as the ring is: who else takes from it steals, and
# the policy (rt/sched/policy.pxi) decides on that. The global queue has what belongs to no P.
#
# Go links the Gs of its global queue through themselves. A burst of a million spawns does not
# fit into the cache, and taking a batch from a linked list is then one cache miss after
# another (measured: 55 ns a G). Batches are arrays of pointers: what takes one touches no G,
# and the Gs are fetched ahead of their turn (runq_get).

cdef inline gm_batches* overflow_of(gm_p* p) noexcept nogil:
    return &sched.runq if GM_FREE_THREADED else &p.spill


cdef gm_batch* batches_last(gm_batches* q) noexcept nogil:
    # The last batch, with room; NULL when there is no memory for another.
    cdef gm_batch* b = q.tail
    if b != NULL and b.end < GM_RUNQ_HALF + 1:
        return b
    b = sched.batch_spare
    if b != NULL:
        sched.batch_spare = NULL
    else:
        b = <gm_batch*>malloc(sizeof(gm_batch))
        if b == NULL:
            return NULL
    b.next = NULL
    b.first = b.end = 0
    if q.tail != NULL:
        q.tail.next = b
    else:
        q.head = b
    q.tail = b
    return b


cdef inline void batches_came(gm_batches* q, Py_ssize_t n) noexcept nogil:
    q.n += n
    gm_store_u64_relaxed(&q.puts, gm_load_u64_relaxed(&q.puts) + n)
    gm_store_i64_relaxed(&q.size, q.n)                      # hints (Q2)
    gm_store_i64_relaxed(&sched.overflow, gm_load_i64_relaxed(&sched.overflow) + n)


cdef inline void batches_took(gm_batches* q, Py_ssize_t n) noexcept nogil:
    q.n -= n
    gm_store_u64_relaxed(&q.takes, gm_load_u64_relaxed(&q.takes) + n)
    gm_store_i64_relaxed(&q.size, q.n)                      # hints (Q2)
    gm_store_i64_relaxed(&sched.overflow, gm_load_i64_relaxed(&sched.overflow) - n)


cdef void batches_put(gm_batches* q, gm_g** gs, uint32_t n) noexcept nogil:
    cdef gm_batch* b
    cdef uint32_t k
    cdef uint32_t done = 0
    while done < n:
        b = batches_last(q)
        if gm_likely(b != NULL):
            k = min(n - done, GM_RUNQ_HALF + 1 - b.end)
            memcpy(&b.g[b.end], &gs[done], k * sizeof(gm_g*))
            b.end += k
            done += k
        else:
            gq_put(&q.linked, gs[done])
            done += 1
    batches_came(q, n)


cdef inline gm_g* batches_pop(gm_batches* q) noexcept nogil:
    # The oldest; batches_get and batches_move count it.
    cdef gm_batch* b = q.head
    cdef gm_g* g
    if b == NULL:
        g = gq_get(&q.linked)
        if g == NULL:
            return NULL
    else:
        g = b.g[b.first]
        b.first += 1
        if b.first == b.end:
            q.head = b.next
            if b.next == NULL:
                q.tail = NULL
            if sched.batch_spare == NULL:
                sched.batch_spare = b
            else:
                free(b)
    return g


cdef void batches_move(gm_batches* q, gm_batches* into) noexcept nogil:
    # All of q, to the end of into (NULL: nowhere).
    cdef gm_g* g
    if into != NULL and into.n == 0:            # at once: there may be a million, and the lock is held
        into.head, into.tail, into.linked = q.head, q.tail, q.linked
        q.head = q.tail = NULL
        memset(&q.linked, 0, sizeof(q.linked))
        batches_came(into, q.n)
        batches_took(q, q.n)
        return
    while q.n > 0:
        g = batches_pop(q)
        batches_took(q, 1)
        if into != NULL:
            batches_put(into, &g, 1)


cdef gm_g* batches_get(gm_batches* q, gm_p* p, Py_ssize_t n) noexcept nogil:
    # Takes n: the oldest to run, the others into p's ring. Called by p's owner with sched.lock
    # held; the ring has room for half its size unless n is 1.
    cdef gm_g* g
    cdef uint32_t t = gm_load_u32_relaxed(&p.runq_tail)     # our own (R1)
    n = min(n, min(q.n, GM_RUNQ_HALF))
    if n <= 0:
        return NULL
    if t - gm_load_u32_acquire(&p.runq_head) + n - 1 > GM_RUNQ_SLOTS:
        fatal("batches_get: the ring is full")      # it may not overflow: the lock is held
    batches_took(q, n)
    g = batches_pop(q)
    while n > 1:
        n -= 1
        gm_store_ptr_relaxed(&p.runq[t & (GM_RUNQ_SLOTS - 1)].g, batches_pop(q))
        t += 1
    gm_store_u32_release(&p.runq_tail, t)                   # as in runq_put (R1)
    return g


cdef inline void glob_runq_put(gm_g* g) noexcept nogil:
    batches_put(&sched.runq, &g, 1)


cdef gm_g* glob_runq_get(gm_p* p, Py_ssize_t most) noexcept nogil:
    # Takes p's fair share of the global queue (Go's globrunqget). most: upper bound, 0 for none but
    # the ring's. As batches_get.
    cdef Py_ssize_t n = sched.runq.n // max(gm_load_u32_relaxed(&sched.nprocs), 1) + 1
    return batches_get(&sched.runq, p, min(n, most) if most > 0 else n)


# ---- the inbox: started Gs, woken by another thread ---------------------------------------

cdef inline void inbox_push(gm_ptr* inbox, gm_g* g) noexcept nogil:
    cdef void* head
    while True:
        head = gm_load_ptr_relaxed(inbox)
        g.schedlink = <gm_g*>head
        if gm_cas_ptr_seqcst(inbox, head, g):   # releases g; pairs with the exchange below
            return


cdef inline void inbox_push_all(gm_ptr* inbox, gm_gq* q) noexcept nogil:
    # All of q at once, which comes out in its order.
    cdef gm_g* g
    cdef gm_g* top = NULL
    cdef gm_g* bottom = q.head
    cdef void* head
    while True:
        g = gq_get(q)
        if g == NULL:
            break
        g.schedlink = top
        top = g
    while True:
        head = gm_load_ptr_relaxed(inbox)
        bottom.schedlink = <gm_g*>head
        if gm_cas_ptr_seqcst(inbox, head, top):
            return


cdef inline bint inbox_empty(gm_ptr* inbox) noexcept nogil:
    return gm_load_ptr_seqcst(inbox) == NULL


cdef void inbox_drain(gm_ptr* inbox, gm_gq* into) noexcept nogil:
    cdef gm_g* g = <gm_g*>gm_exchange_ptr_acqrel(inbox, NULL)   # acquires all pushes (Q3)
    cdef gm_g* prev = NULL
    cdef gm_g* next
    while g != NULL:                            # newest first: reverse
        next = g.schedlink
        g.schedlink = prev
        prev = g
        g = next
    while prev != NULL:
        next = prev.schedlink
        gq_put(into, prev)
        prev = next
