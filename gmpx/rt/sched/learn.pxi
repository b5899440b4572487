# What is known of the code that goroutines run: how long it stays outside, without the GIL.
#
# A greenlet never changes threads, so the moment before a G starts is the only one at which it can be
# placed well. sysmon's samples (rt/sched/watch.pxi) add up per P, in p.outside_ns; at the end of a G and
# where it parks its M attributes what has come since to the code object of the G's function.
#
#   e.ns / e.ticks   time outside for each turn on an M
#   e.ns / e.runs    time outside for each goroutine
#
# Code is *placed* if a goroutine of it is outside for PLACED_RUN_NS and more, by PLACED_TURN_NS and more
# at a time: a task that takes long, or a worker that parks between such tasks. Its Gs go to the global
# queue; Ms take them from there one at a time, and an M leaves them to one that hosts fewer started Gs
# (leaves_to). So a coordinator's M, main's above all, is free to answer, and workers that will be parked
# most of the time are spread before they are started. Shorter turns are not worth that: a third thread
# wakes for each item then (measured, two Ps, 8 workers on a channel, 50 us an item: 1.42 times one P's speed
# if placed, 1.97 if they are stolen in a hot time).
#
# For placed code that uses the CPUs while it is outside no more Ms are woken or made than there are CPUs, however
# many Ps; e.cpu_ns says how much it uses. (Where CPU time is not known: as many as there are Ps.)
#
# Samples that find it inside count, too: turns without time outside. An estimate fades: sums are halved as
# turns or goroutines pass a bound, and code that has been spawned FORGET_SPAWNS times without being found
# outside is forgotten. Function objects that share a code object, as the wrappers of one decorator do, share
# an entry.
#
# Learning goes on where a G parks, with its park armed: nothing there may run Python code. So an entry is
# put out by another only at the end of a G, for the code object that goes with it may have weak references.
#
# All of it is the GIL's. Free-threaded builds place nothing.

cdef enum:
    CODES = 64                  # entries; a newcomer takes the place of who is not there much
    PLACED_RUN_NS = 200000
    PLACED_TURN_NS = 200000
    PLACED_TIMES = 3
    MOST_TICKS = 256
    MOST_RUNS = 64
    FORGET_SPAWNS = 300
    WAITING_PART = 8            # who waits uses less than this part of its time outside
    WAITING_NS = 20000000       # and counts for so long since it was last spawned, or found there
    YOUNG_NS = 10000000         # an entry this fresh is not put out by another

cdef gm_u32 codes_placed        # GIL / anyone, as a hint: entries that are; 0: a spawn does not look


# ---- who takes what is placed: without the GIL --------------------------------------------

cdef enum:
    MAIN_COUNTS = 1 << 30       # started Gs that the main goroutine counts for


cdef inline bint placing() noexcept nogil:
    return gm_load_u32_relaxed(&codes_placed) > 0


cdef inline bint places_now() noexcept nogil:
    return placing() and hot()


cdef inline Py_ssize_t glob_share() noexcept nogil:
    # How many an M takes from the global queue at a time: 1, or 0 for its fair share.
    return 1 if places_now() else 0


cdef inline bint placed_more(int64_t now) noexcept nogil:
    # Whether one more M is of use to what is placed: always if some of it waits, rather than computes.
    return policy_hot_more() or now < gm_load_i64_relaxed(&sysmon.waiting_until)


cdef inline bint placed_enough() noexcept nogil:
    # Whether those that are awake have a CPU each, or what is placed waits. (Measured, 2 CPUs, 8 Ps, `imap` of 500 us hashes:
    # main, which took one of them, kept the results waiting: 1.71 times one P's speed, 1.86 so.)
    return policy_hot_more(0) or gm_nanotime() < gm_load_i64_relaxed(&sysmon.waiting_until)


cdef inline uint32_t most_hosts() noexcept nogil:
    # How many worker Ms are to host what is placed.
    cdef uint32_t n = gm_load_u32_relaxed(&sched.nprocs)
    cdef uint32_t cpus = gm_load_u32_relaxed(&sched.ncpu) + gm_load_u32_relaxed(&sched.nblocked_own)
    return n if n <= cpus or gm_nanotime() < gm_load_i64_relaxed(&sysmon.waiting_until) else cpus


cdef bint leaves_to(gm_m* m, gm_m** other) noexcept nogil:
    # Whether m leaves what is queued to an M that hosts fewer Gs. other: one that sleeps, or m itself if
    # it is one that is yet to be made; else it is awake and looks for work, as m does, or works while m rests
    # (policy_dry). Or to nobody: while more are awake than there are CPUs. If m was sent only to one that has a P, or gets
    # it (W1). sched.lock held.
    cdef uint32_t mine = gm_load_u32_relaxed(&m.hosts)
    cdef uint32_t least = mine
    cdef uint32_t hosting = 0
    cdef uint32_t n
    cdef bint awake = False
    cdef bint works = False                     # such a one runs goroutines
    cdef bint more
    cdef gm_m* o = allm_first()
    other[0] = NULL
    if mine == 0 or not places_now():
        return False
    while o != NULL:
        # one that runs its first may be about to
        hosting += o.kind == M_WORKER and (gm_load_u32_relaxed(&o.hosts) > 0 or not (
            o.blocked or gm_load_u32_relaxed(&o.seeks)))
        o = o.all_next
    more = hosting < most_hosts()
    o = allm_first()
    while o != NULL:
        n = gm_load_u32_relaxed(&o.hosts)
        works = works or (o.kind == M_WORKER and n < mine and o.p != NULL and gm_load_u32_relaxed(&o.seeks) == 0
                          and gm_load_u32_relaxed(&o.p.verdict) != STANDS_BLOCKED)
        if o.kind == M_WORKER and n < mine and (n > 0 or more):
            if o.blocked and n < least:
                other[0] = o
                least = n
            elif not o.blocked and gm_load_u32_relaxed(&o.seeks) == M_SEEKS:
                awake = True
        o = o.all_next
    if awake:
        other[0] = NULL
    elif other[0] == NULL and more and not m.made_none and (
            gm_load_u32_relaxed(&sched.nm)
            <= gm_load_u32_relaxed(&sched.nprocs) + gm_load_u32_relaxed(&sched.nlocked)):
        other[0] = m
    m.made_none = False
    return awake or other[0] != NULL or (
        not m.spinning and (not placed_enough() or (works and policy_rests(m))))


cdef inline bint leaves_placed(gm_m* m) noexcept nogil:
    # As hosts_many, in find_runnable. stop_m has the last word.
    return places_now() and gm_load_u32_relaxed(&m.hosts) > 0


cdef inline bint hosts_many(gm_m* m, gm_worker* w) noexcept nogil:
    # m, which looks for a G, leaves placed ones to others if it can. w: as schedule's.
    return places_now() and hosted(m, w) > 0


cdef inline uint32_t hosted(gm_m* m, gm_worker* w) noexcept nogil:
    # How many started Gs are bound to m. The main goroutine, which coordinates, counts for many.
    return <uint32_t>(m.nworkers - m.nidle - (w != NULL)) + (MAIN_COUNTS if m.kind == M_MAIN else 0)


# ---- learning ------------------------------------------------------------------------------

cdef struct gm_code:
    void* key                   # NULL: free
    PyObject* held              # owned: the code object that key is; NULL: key is a builtin's PyMethodDef
    double ns
    double cpu_ns
    double ticks
    double run_ns
    double runs
    bint placed
    bint waiting                # placed, and it does not compute there
    uint32_t times              # found outside: one sample may be chance
    uint32_t since              # spawns since it was last found outside
    int64_t last

cdef gm_code[CODES] codes

cdef extern from *:
    """
    /* What tells functions apart; NULL for other callables. held: it, if it is an object. */
    static void *gm_code_key(PyObject *f, PyObject **held) {
        *held = NULL;
        if (PyMethod_Check(f)) f = PyMethod_GET_FUNCTION(f);
        if (PyFunction_Check(f)) return *held = PyFunction_GET_CODE(f);
        return PyCFunction_Check(f) ? ((PyCFunctionObject *)f)->m_ml : NULL;
    }
    """
    void* gm_code_key(PyObject*, PyObject**) noexcept


cdef inline gm_code* code_slot(void* key) noexcept nogil:
    cdef uintptr_t h = <uintptr_t>key
    return &codes[((h >> 4) ^ (h >> 11)) % CODES]


cdef inline void learn(gm_m* m, gm_g* g, bint ends) noexcept:
    # g, on m, ends or parks.
    if gm_unlikely(m.p != NULL and gm_load_u32_relaxed(&m.p.learns)):
        learn_outside(m, g, ends)


cdef void learn_outside(gm_m* m, gm_g* g, bint ends) noexcept:
    cdef gm_p* p = m.p
    cdef uint64_t ns = gm_load_u64_relaxed(&p.outside_ns) - p.learnt_ns
    cdef uint64_t cpu_ns = gm_load_u64_relaxed(&p.outside_cpu_ns) - p.learnt_cpu_ns
    cdef uint64_t tick = gm_load_u64_relaxed(&p.sched_tick)
    cdef uint64_t looked = gm_load_u64_relaxed(&p.looked_ns) - p.learnt_looked
    cdef double covers                          # the part of the time since that the samples stand for
    cdef double ticks, runs
    cdef void* key
    cdef gm_code* e
    cdef PyObject* held
    cdef int64_t now = gm_nanotime()
    gm_store_u32_relaxed(&p.learns, 0)
    covers = min(looked / max(<double>(now - p.learnt_at), 1.0), 1.0)
    ticks = max((tick - p.learnt_tick) * covers, 1.0)
    runs = (p.count.finished - p.learnt_runs) * covers
    p.learnt_at = now
    p.learnt_looked += looked
    p.learnt_ns += ns
    p.learnt_cpu_ns += cpu_ns
    p.learnt_tick = tick
    p.learnt_runs = p.count.finished
    if g.fn == NULL or g.flags & GF_SYSTEM or gm_load_u64_relaxed(&p.sampled_tick) != tick:
        return                              # it was another, which has yielded since
    key = gm_code_key(g.fn, &held)
    if key == NULL:
        return
    e = code_slot(key)
    if e.key != key:
        if ns == 0 or (e.key != NULL and (not ends or now - e.last < YOUNG_NS)):
            return
        code_drop(e)
        xincref(held)
        e.key, e.held = key, held
    e.ns += ns
    e.cpu_ns += cpu_ns
    e.run_ns += ns
    e.ticks += ticks
    e.runs += runs
    if ns > 0:
        e.since = 0
        e.times += 1
        e.last = now
    if e.ticks > MOST_TICKS:
        e.ns *= MOST_TICKS // 2 / e.ticks
        e.cpu_ns *= MOST_TICKS // 2 / e.ticks
        e.ticks = MOST_TICKS // 2
    if e.runs > MOST_RUNS:
        e.run_ns *= MOST_RUNS // 2 / e.runs
        e.runs = MOST_RUNS // 2
    set_placed(e, e.times >= PLACED_TIMES and e.ns >= PLACED_TURN_NS * e.ticks
               and e.run_ns >= PLACED_RUN_NS * max(e.runs, 1.0))
    if ns > 0:
        still_waits(e, now)


cdef void set_placed(gm_code* e, bint yes) noexcept:
    e.waiting = yes and WAITING_PART * e.cpu_ns < e.ns
    if yes != e.placed:
        e.placed = yes
        gm_store_u32_relaxed(&codes_placed, gm_load_u32_relaxed(&codes_placed) + (1 if yes else -1))


cdef inline void still_waits(gm_code* e, int64_t now) noexcept:
    if e.waiting:
        gm_store_i64_relaxed(&sysmon.waiting_until, now + WAITING_NS)


cdef gm_code* placed_code(PyObject* fn) noexcept:
    # A spawn, while something is known. NULL: it is not placed.
    cdef PyObject* held
    cdef void* key = gm_code_key(fn, &held)
    cdef gm_code* e = code_slot(key)
    if key == NULL or e.key != key:
        return NULL
    e.since += 1
    if e.since > FORGET_SPAWNS:
        code_drop(e)
    return e if e.placed else NULL


cdef void code_drop(gm_code* e) noexcept:
    cdef PyObject* held = e.held
    set_placed(e, False)
    memset(e, 0, sizeof(gm_code))
    xdecref(held)


cdef object code_name(gm_code* e):
    if e.held == NULL:
        return (<PyMethodDef*>e.key).ml_name.decode()
    code = <object>e.held
    return getattr(code, "co_qualname", code.co_name)       # from 3.11 on


cdef list codes_outside():
    # For stats().
    cdef gm_code* e
    cdef int i
    found = []
    for i in range(CODES):
        e = &codes[i]
        if e.key != NULL:
            found.append({
                "name": code_name(e),
                "seconds_a_turn": e.ns / max(e.ticks, 1.0) / 1e9,
                "seconds_a_run": e.run_ns / max(e.runs, 1.0) / 1e9,
                "placed": e.placed,
            })
    return found


cdef bint place(gm_m* m, gm_g* g) noexcept:
    # Puts a fresh G where an M is to take it that it suits; False: nothing is known that would say so.
    cdef gm_code* e = placed_code(g.fn)
    cdef int64_t now
    if e == NULL or gm_load_u32_relaxed(&sched.nprocs) == 1 or bubble_on or gm_load_u32_relaxed(&sysmon.lone):
        return False
    now = gm_nanotime()
    still_waits(e, now)
    heat_up(now)
    gm_lock_acquire(&sched.lock)
    glob_runq_put(g)
    gm_lock_release(&sched.lock)
    sysmon_watch()
    if placed_more(now):
        wake_p()
    return True
