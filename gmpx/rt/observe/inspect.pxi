# What the runtime shows of itself: Machine and Processor, goroutines, stats.

cdef list live_goroutines():
    import operator
    cdef list found = []
    cdef gm_g* g
    cdef Py_ssize_t n
    while True:
        n = all_gs.n
        found = [None] * n                  # allocates, so may run finalizers: then look again
        if n == all_gs.n:
            break
    g = all_gs.head
    n = 0
    while g != NULL:
        found[n] = <object>OBJ(g)
        n += 1
        g = g.all_next
    found.sort(key=operator.attrgetter("id"))
    return found


def goroutines():
    """goroutines()
--

    All live goroutines, by id: main, those of foreign threads, spawned ones."""
    getm()
    return live_goroutines()


def num_goroutine():
    """num_goroutine()
--

    How many goroutines live, main among them. Go: runtime.NumGoroutine."""
    getm()
    return all_gs.n


def current():
    """current()
--

    The running goroutine: main's on the main thread, a foreign thread's own elsewhere."""
    cdef gm_m* m = getm()
    cdef gm_g* g = getg(m)
    return <object>OBJ(g)


def goexit():
    """goexit()
--

    Ends the current goroutine, running its finally blocks. Its result is None.

    Raises:
        RuntimeError: on the main goroutine and on foreign threads.

    Go: runtime.Goexit.
    """
    cdef gm_m* m = getm()
    if getg(m).flags & GF_SYSTEM:
        raise RuntimeError("goexit() ends a spawned goroutine; this is "
                           f"{<object>OBJ(m.curg)!r}")
    raise GoExit()


@cython.final
cdef class Machine:
    """An M: an OS thread of the runtime. Read-only; made by the runtime."""

    def __init__(self):
        raise TypeError("machines are made by the runtime")

    def __dealloc__(self):
        # A foreign thread's: its thread state has been cleared. Workers free theirs themselves.
        cdef gm_m* m = self.m
        self.m = NULL
        if m == NULL or m_end(m):
            free(self.park)

    @property
    def id(self):
        """0 for the main thread."""
        return self.m.id if self.m != NULL else -1

    @property
    def p(self):
        """Id of the P that it holds, or None."""
        if self.m == NULL or self.m.p == NULL:
            return None
        return self.m.p.id

    @property
    def curg(self):
        """The goroutine whose code runs on it, or None."""
        if self.m == NULL or self.m.curg == NULL:
            return None
        return <object>OBJ(self.m.curg)

    @property
    def spinning(self):
        """True while it looks for work of other Ps."""
        return self.m != NULL and self.m.spinning

    @property
    def parked(self):
        """True while it sleeps for want of work."""
        return self.m != NULL and self.m.blocked

    @property
    def idle_workers(self):
        """How many worker greenlets it keeps for reuse."""
        return self.m.nidle if self.m != NULL else 0

    def __repr__(self):
        return f"<Machine {self.id} p={self.p}>"


@cython.final
cdef class Processor:
    """A P: the right to run goroutines, with a ring of runnable ones."""

    def __cinit__(self):
        self.p = <gm_p*>calloc(1, sizeof(gm_p))     # detached: see processor_of
        if self.p == NULL:
            raise MemoryError()
        gm_store_u32_relaxed(&self.p.status, P_SPARE)
        self.owned = True

    def __dealloc__(self):
        if self.owned:
            batches_move(&self.p.spill, NULL)
            free(self.p)

    @property
    def id(self):
        """Its index."""
        return self.p.id

    @property
    def status(self):
        """One of "idle", "running", "dead" (beyond gomaxprocs)."""
        return ("idle", "running", "dead")[gm_load_u32_relaxed(&self.p.status)]

    @property
    def m(self):
        """Id of the M that holds it, or None."""
        cdef gm_m* m
        cdef int64_t mid = 0
        gm_lock_acquire(&sched.lock)        # the M is not another thread's meanwhile
        m = <gm_m*>gm_load_ptr_acquire(&self.p.m)
        if m != NULL:
            mid = m.id
        gm_lock_release(&sched.lock)
        return None if m == NULL else mid

    @property
    def sched_tick(self):
        """How many goroutines it has started or resumed."""
        return gm_load_u64_relaxed(&self.p.sched_tick)

    def __len__(self):
        return fresh_len(self.p)

    def __bool__(self):
        return True

    def __repr__(self):
        return f"<Processor {self.id} {self.status} queued={len(self)}>"


cdef list processors = []                   # owned: those that somebody has asked for


cdef Processor processor_of(gm_p* p):
    cdef Processor found
    if p.obj != NULL:
        return <Processor><object>p.obj
    found = Processor.__new__(Processor)
    free(found.p)
    found.p = p
    found.owned = False
    processors.append(found)
    p.obj = <PyObject*>found
    return found


cdef dict count_dict(gm_counters* c):
    return {"spawned": c.spawned, "finished": c.finished, "parked": c.parked,
            "readied": c.readied, "steals": c.steals, "stolen": c.stolen,
            "handoffs": c.handoffs, "preemptions": 0, "spins": c.spins,
            "m_parks": c.m_parks, "m_wakes": c.m_wakes}


cdef void counters_add(gm_counters* into, gm_counters* c) noexcept nogil:
    cdef uint64_t* a = <uint64_t*>into
    cdef uint64_t* b = <uint64_t*>c
    cdef size_t i
    for i in range(sizeof(gm_counters) // sizeof(uint64_t)):
        a[i] += b[i]


cdef void counters_fold(gm_counters* c) noexcept nogil:
    # sched.lock: an M ends; its counts stay in the sum.
    counters_add(&lost_counts, c)


def stats():
    """stats()
--

    Counters since the start: a dict, summed, with ``"p"``: a list of one dict per P.

    spawned, finished: goroutines; parked, readied: waits and wake-ups; steals, stolen: visits
    to other Ps that found something, goroutines taken in them; handoffs: Ps given to an M that
    waited for one; spins: rounds over all Ps; m_parks, m_wakes: threads put to sleep and woken;
    global_queue, queued: lengths now; goroutines, machines: alive now; blocking_threads: those of
    ``blocking`` that live, blocking_queued: calls that wait for one; block_reports: calls of
    ``block_hook``; hot: whether spawns wake other threads, because work is done without the GIL;
    outside: a list of dicts, for each function that goroutines were found in without the GIL its name,
    for how long, and whether its goroutines are placed (on threads where fewer others wait).
    """
    cdef gm_counters sum
    cdef gm_m* m
    cdef uint32_t i
    cdef Py_ssize_t queued = 0
    cdef Py_ssize_t ms = 0
    getm()
    memset(&sum, 0, sizeof(sum))
    per_p = []
    for i in range(gm_load_u32_relaxed(&sched.nallp)):
        counters_add(&sum, &allp[i].count)
        one = count_dict(&allp[i].count)
        one["id"] = allp[i].id
        one["queued"] = fresh_len(allp[i])
        one["sched_tick"] = gm_load_u64_relaxed(&allp[i].sched_tick)
        queued += fresh_len(allp[i])
        per_p.append(one)
    gm_lock_acquire(&sched.lock)
    counters_add(&sum, &lost_counts)
    m = allm_first()
    while m != NULL:
        counters_add(&sum, &m.count)
        if schedules(m):
            ms += 1
        m = m.all_next
    gm_lock_release(&sched.lock)
    found = count_dict(&sum)
    found["global_queue"] = gm_load_i64_relaxed(&sched.runq.size)
    found["queued"] = queued + found["global_queue"]
    found["goroutines"] = all_gs.n
    found["machines"] = ms
    found["blocking_threads"] = spares_alive
    found["blocking_queued"] = spares_queued
    found["block_reports"] = blockwatch.told
    found["gomaxprocs"] = gm_load_u32_relaxed(&sched.nprocs)
    found["outside"] = codes_outside()
    found["hot"] = hot()
    found["p"] = per_p
    return found
