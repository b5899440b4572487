# GroupCore: the WaitGroup under gmpx.Group, which keeps failures and cancels siblings.
#
# A child has the group as the WaitGroup to count down, and costs what WaitGroup.go costs: the list
# of its siblings is a stretch of the list of all goroutines, for which it has the links already.
#
# Invariants
#   O1  A child that fails is kept in `failed` with its exception, handle or no handle; one that
#       ended by Cancelled is not a failure.
#   O2  After `cancelled` is set every child has been asked to stop, and those that come later are
#       as soon as they are made.
#   O3  From `first` to `last` in the list of all stand the group's living children and nobody else
#       (all_mu): a child joins before `first`, all others at the list's head, which is in no
#       stretch but at its beginning.


cdef void group_link(GroupCore grp, gm_g* g) noexcept:
    # all_link for a child (O3).
    cdef gm_g* at
    gm_mu_lock(&all_mu)
    at = grp.first if grp.first != NULL else all_gs.head
    g.all_next = at
    g.all_prev = NULL
    if at != NULL:
        g.all_prev = at.all_prev
        at.all_prev = g
    if g.all_prev != NULL:
        g.all_prev.all_next = g
    else:
        all_gs.head = g
    if grp.first == NULL:
        grp.last = g
    grp.first = g
    all_gs.n += 1
    gm_mu_unlock(&all_mu)


cdef void group_unlink(gm_g* g) noexcept:
    # all_unlink, all_mu held: a child leaves its group's stretch.
    cdef GroupCore grp
    if wg_of(g) == NULL:
        return
    grp = <GroupCore>wg_of(g)
    if grp.first == g and grp.last == g:
        grp.first = grp.last = NULL
    elif grp.first == g:
        grp.first = g.all_next
    elif grp.last == g:
        grp.last = g.all_prev


cdef bint group_keeps(gm_g* g) noexcept:
    # Whether g, which has failed, is a group's child.
    return g.flags & GF_GROUP and wg_of(g) != NULL


cdef void group_failed(gm_m* m, GroupCore grp, PyObject* handle) noexcept:
    # O1. In goexit0: no G runs.
    cdef Goroutine g = <Goroutine><object>handle
    if isinstance((<_Failure>g._result).exc, Cancelled):
        return
    try:
        grp.failed.append(g)
    except BaseException as e:
        unraisable(e)
    if not grp.cancelled:
        group_cancel(m, grp)


cdef void group_cancel(gm_m* m, GroupCore grp) noexcept:
    # O2. Then the body, which may stand in a wait.
    cdef gm_g* g
    cdef gm_g* body = NULL
    grp.cancelled = True
    gm_mu_lock(&all_mu)
    g = grp.first
    while g != NULL:
        g_cancel(g)
        g = g.all_next if g != grp.last else NULL
    gm_mu_unlock(&all_mu)
    if grp.scope is not None:
        scopes_lock(grp.scope.s.park)
        body = scope_fire(&grp.scope.s)
        scopes_unlock(grp.scope.s.park)
        if body != NULL:
            goready(m, body, False)


cdef PyObject* group_go(GroupCore grp, PyObject** args, Py_ssize_t nargs,
                        PyObject* kwnames) except NULL:
    cdef PyObject* h
    if grp.scope is None:
        raise RuntimeError("Group.go outside of its with block")
    h = goroutine_create(args, nargs, kwnames, <PyObject*>grp, GF_GROUP)
    if h != NULL and grp.cancelled:
        g_cancel(G(h))                              # O2: it never runs
    return h


@cython.final
cdef class GroupCore(WaitGroup):
    """GroupCore()
    See gmpx/group.py."""

    def __cinit__(self):
        self.is_group = True
        self.failed = []

    def enter(self):
        """enter()
        The body begins."""
        if self.entered:
            raise RuntimeError("a Group can be entered only once")
        cdef gm_m* m = getm()
        if m.curg != NULL and m.curg.flags & (GF_LOOP | GF_SYSTEM) and loop_runs(m, m.curg):
            raise RuntimeError("the end of a Group would stop the asyncio loop that runs in this goroutine: use "
                               "'await gmpx.go(f)', where f has the group, or asyncio.TaskGroup")
        self.entered = True
        self.scope = Scope.__new__(Scope)
        self.scope.open(NO_DEADLINE)

    def leave(self, exc):
        """leave(exc)
        The body has ended, with exc or None: whether exc is this group's interruption of it."""
        if self.scope is None:
            raise RuntimeError("this Group is not entered")
        return self.scope.close(exc)

    @staticmethod
    def ask_again(exc):
        """ask_again(exc)
        exc, a Cancelled of this goroutine, gives way to failures: it is to come at the next wait.
        Not if it is another goroutine's, passed on by ``result``."""
        cdef gm_g* g = getg(getm())
        if g.flags & GF_WAS_CANCELLED:
            (<Goroutine>OBJ(g)).cancel(*exc.args[:1])

    def wait_all(self):
        """wait_all()
        Waits until no child lives; from that moment on there can be no other."""
        cdef gm_m* m = getm()
        cdef gm_g* g = getg(m)
        while self.n > 0:                           # a child's callback may have made another
            wait_on(m, g, &self.waiters, WHY_WAIT_GROUP, NO_DEADLINE, "Group")
        self.scope = None

    def cancel(self):
        """cancel()
        Asks all children to stop, and the body."""
        if not self.cancelled:
            group_cancel(getm(), self)

    def close(self):
        """close()
        No more children. Returns the exceptions of those that failed, in that order."""
        cdef Goroutine g
        self.scope = None
        found = []
        for g in self.failed:
            found.append(g.exception().with_traceback((<_Failure>g._result).tb))
        self.failed = []
        return found
