# What tests drive one operation at a time (Go's export_test.go).
#
# A Processor() made from Python is a detached P: on no list, with a ring and a free list of its
# own. The global queue and the global free list are the runtime's, so a test uses them while
# nothing else runs. A Goroutine of _test_goroutine is RUNNABLE and on no queue; whoever takes it
# from a queue here may queue it again, or start it with _publish.


def _test_goroutine(fn):
    """_test_goroutine(fn)
    A runnable goroutine that is on no queue."""
    cdef gm_m* m = getm()
    cdef gm_g* g
    if not callable(fn):
        raise TypeError("fn must be callable")
    g = newproc1(m, <PyObject*>fn, NULL, 0, NULL, NULL)
    if g == NULL:
        raise MemoryError()
    return <object>OBJ(g)


def _publish(Goroutine g not None):
    """_publish(g)
    What ``go`` does with a new goroutine."""
    newproc_publish(getm(), &g.g)


def _runq_put(Processor p not None, Goroutine g not None):
    """_runq_put(p, g)"""
    runq_put(p.p, &g.g)


def _runq_get(Processor p not None):
    """_runq_get(p)
    The oldest of p's ring, or None."""
    return goroutine_or_none(runq_get(p.p))


def _runq_steal(Processor p not None, Processor victim not None, uint32_t most=GM_RUNQ_HALF):
    """_runq_steal(p, victim, most=half a ring)
    The oldest that was stolen, or None; the others are in p's ring, which must be empty."""
    cdef uint32_t taken
    if runq_len(p.p) != 0 or p is victim:
        raise ValueError("a thief's ring is empty and not its own victim")
    return goroutine_or_none(runq_steal(p.p, victim.p, most, &taken))


def _glob_runq_put(Goroutine g not None):
    """_glob_runq_put(g)"""
    gm_lock_acquire(&sched.lock)
    glob_runq_put(&g.g)
    gm_lock_release(&sched.lock)


def _glob_runq_get(Processor p not None, Py_ssize_t most=0):
    """_glob_runq_get(p, most=0)
    p's share of the global queue (most: at most so many): the oldest, or None; the others are in
    p's ring, which must have room for half its size."""
    cdef gm_g* g
    if runq_len(p.p) > GM_RUNQ_HALF:
        raise ValueError("the ring has no room")
    gm_lock_acquire(&sched.lock)
    g = glob_runq_get(p.p, most)
    gm_lock_release(&sched.lock)
    return goroutine_or_none(g)


def _glob_runq_len():
    """_glob_runq_len()"""
    return gm_load_i64_relaxed(&sched.runq.size)


def _overflow_len(Processor p not None):
    """_overflow_len(p)
    How many lie where p's ring overflows to: its spill, or the global queue."""
    return gm_load_i64_relaxed(&overflow_of(p.p).size)


def _overflow_get(Processor p not None):
    """_overflow_get(p)
    The oldest there, or None."""
    cdef gm_g* g
    gm_lock_acquire(&sched.lock)
    g = batches_get(overflow_of(p.p), p.p, 1)
    gm_lock_release(&sched.lock)
    return goroutine_or_none(g)


def _gfree_put(Processor p not None):
    """_gfree_put(p)
    Puts a new dead goroutine on p's free list; that sheds half to the global one when full."""
    cdef gm_g* g = g_alloc()
    if g == NULL:
        raise MemoryError()
    if not gfput(p.p, g):
        gm_store_u32_relaxed(&g.status, G_DEAD)
        decref(OBJ(g))
        raise MemoryError()


def _gfree_get(Processor p not None):
    """_gfree_get(p)
    Takes one from p's free list, which refills from the global one. Whether there was any."""
    cdef gm_g* g = gfget(p.p)
    if g == NULL:
        return False
    Py_TYPE(OBJ(g)).tp_free(OBJ(g))
    return True


def _gfree_len(Processor p not None):
    """_gfree_len(p)
    (on p's free list, on the global one)"""
    return p.p.ngfree, gm_load_i64_relaxed(&sched.gfree_size)


cdef object goroutine_or_none(gm_g* g):
    return None if g == NULL else <object>OBJ(g)


def _processors():
    """_processors()
    Every P there is, spares included, by id."""
    getm()
    return [processor_of(allp[i]) for i in range(gm_load_u32_acquire(&sched.nallp))]


def _machines():
    """_machines()
    M0 and the worker Ms that live."""
    cdef gm_m* m
    cdef Py_ssize_t i
    cdef list found
    getm()
    # no allocation under the lock
    found = [None] * <Py_ssize_t>gm_load_u64_relaxed(&next_mid)
    i = 0
    gm_lock_acquire(&sched.lock)
    m = allm_first()
    while m != NULL and i < len(found):
        if m.obj != NULL and m.kind != M_FOREIGN:
            incref(m.obj)
            decref(list_get(<PyObject*>found, i))
            list_set(<PyObject*>found, i, m.obj)
            i += 1
        m = m.all_next
    gm_lock_release(&sched.lock)
    return [x for x in found if x is not None]


def _m_address():
    """_m_address()
    Where the calling thread's M lies: its memory may have been another thread's."""
    return <uintptr_t>getm()


def _n_timers():
    """_n_timers()
    How many timers are pending."""
    cdef gm_m* m = allm_first()
    cdef gm_tnode* node
    cdef Py_ssize_t n = 0
    while m != NULL:
        gm_lock_acquire(&m.timers.lock)
        n += m.timers.n
        node = m.timers.fired
        while node != NULL:                 # due, and not yet delivered
            n += node.timer.index < 0       # a ticker's next tick is in the heap already
            node = node.next
        gm_lock_release(&m.timers.lock)
        m = m.all_next
    return n


def _net_left():
    """_net_left()
    (open pollers, who waits by the Ms' counts, descriptors that are waited for)"""
    cdef gm_m* m = allm_first()
    cdef gm_pd* chunk
    cdef int i, k
    cdef Py_ssize_t pollers = 0
    cdef Py_ssize_t waiters = 0
    cdef Py_ssize_t awaited = 0
    while m != NULL:
        pollers += gm_poller_is_open(&m.poller) != 0
        waiters += gm_load_u32_relaxed(&m.net_waiters)
        m = m.all_next
    for i in range(PD_CHUNKS):
        chunk = <gm_pd*>gm_load_ptr_acquire(&pd_chunks[i])
        if chunk == NULL:
            continue
        for k in range(PD_CHUNK):
            pd_lock(&chunk[k])
            awaited += not pd_idle(&chunk[k])
            pd_unlock(&chunk[k])
    return pollers, waiters, awaited


_HOOKS = {"stop_m": HOOK_STOP_M, "sysmon_quiet": HOOK_SYSMON_QUIET,
          "sysmon_sleep": HOOK_SYSMON_SLEEP, "ready_pushed": HOOK_READY_PUSHED,
          "timers_locked": HOOK_TIMERS_LOCKED, "firing": HOOK_FIRING,
          "deep_begun": HOOK_DEEP_BEGUN, "deep": HOOK_DEEP, "looked": HOOK_LOOKED,
          "big_read": HOOK_BIG_READ, "net_sleep": HOOK_NET_SLEEP}


def _hook(name, unsigned int state, unsigned int ms=0, frees=None, unsigned int raises=0):
    """_hook(name, state, ms=0, frees=None, raises=0)
    Debug builds: arms (1) the named point, or lets the thread that stands there go (0). Whether this
    is a debug build. ms: the thread goes on by itself after so long. frees: the thread goes on at
    once and lets the one at that other point go. raises: it raises that signal and goes on. See
    rt/platform/hooks.h."""
    return gm_hook_set(_HOOKS[name], state, ms, 0 if frees is None else 1 + <int>_HOOKS[frees], raises)


def _hook_reached(name):
    """_hook_reached(name)
    Whether a thread stands at the point."""
    return gm_hook_get(_HOOKS[name]) == 2


def _gil_wanted():
    """_gil_wanted()
    Whether a thread waits for the GIL; None where that cannot be seen."""
    return gm_gil_is_wanted() if gm_gil_sees() else None


def _lone(bint on):
    """_lone(on)
    Whether fresh goroutines are left to the M that spawned them, however long it computes and whatever is known of
    their code. They are not if it stands in a system call. For tests of an order; GIL builds only."""
    gm_store_u32_relaxed(&sysmon.lone, on)


def _n_callbacks(Goroutine g not None):
    """_n_callbacks(g)
    How many done callbacks it has."""
    cdef gm_gext* ext = ext_get(&g.g)
    return len(<list><object>ext.callbacks) if ext != NULL and ext.callbacks != NULL else 0


def _waited(Goroutine g not None, double seconds):
    """_waited(g, seconds)
    g, which is parked, has waited for so much longer."""
    if gm_load_u32_acquire(&g.g.status) != G_WAITING:
        raise ValueError("it is not parked")
    g.g.park.since -= <uint32_t>(seconds * 1e9 / (1 << SINCE_SHIFT))


cdef extern from *:
    """
    #if defined(__clang__)
    #  define GM_COMPILER __VERSION__
    #elif defined(__GNUC__)
    #  define GM_COMPILER "gcc " __VERSION__
    #else
    #  define GM_COMPILER "another compiler"
    #endif
    /* Where perf/instructions.py has valgrind cut its counts. */
    static GM_NOINLINE void gm_mark(void) {
    #if defined(__GNUC__)
        __asm__ volatile("");
    #endif
    }
    """
    const char* GM_COMPILER
    int CYTHON_HEX_VERSION
    void gm_mark()


def _mark():
    """_mark()
    Does nothing, in a C function that a tool can find."""
    gm_mark()


def _built_with():
    """_built_with()
    What this module was compiled by."""
    compiler = GM_COMPILER.decode()
    cython = f"Cython {CYTHON_HEX_VERSION >> 24}.{CYTHON_HEX_VERSION >> 16 & 255}"
    return f"{compiler}, {cython}" + (", debug" if GMPX_DEBUG else "")
