# GroupCore: the WaitGroup under gmpx.Group, which keeps failures and cancels siblings.
#
# Its children are not listed anywhere: each has the group as the WaitGroup to count down, which
# is how a cancel finds them among all live goroutines. So a child costs what WaitGroup.go costs.
#
# Invariants
#   O1  A child that fails is kept in `failed` with its exception, handle or no handle; one that
#       ended by Cancelled is not a failure.
#   O2  After `cancelled` is set every child has been asked to stop, and those that come later are
#       as soon as they are made.


cdef inline WaitGroup wg_of(gm_g* g):
    # The WaitGroup that g counts down, or None.
    cdef gm_gext* ext = ext_get(g)
    if g.extra & 1:
        return <WaitGroup><object><PyObject*>(g.extra & ~<uintptr_t>1)
    if ext != NULL and ext.wg != NULL:
        return <WaitGroup><object>ext.wg
    return None


cdef bint group_keeps(gm_g* g) noexcept:
    # Whether g, which has failed, is a group's child.
    cdef WaitGroup wg = wg_of(g)
    return wg is not None and wg.is_group


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
        grp.n -= 1                          # this one is on the list of all no more
        group_cancel(m, grp)
        grp.n += 1


cdef void group_cancel(gm_m* m, GroupCore grp) noexcept:
    # O2. Then the body, which may stand in a wait.
    cdef gm_g* g
    cdef gm_g* next
    cdef gm_g* body = NULL
    cdef Py_ssize_t left = grp.n            # the newest come first: so do its children, mostly
    grp.cancelled = True
    gm_mu_lock(&all_mu)
    g = all_gs.head
    while g != NULL and left > 0:
        next = g.all_next
        if g.extra != 0 and wg_of(g) is grp:
            g_cancel(g)
            left -= 1
        g = next
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
    h = goroutine_create(args, nargs, kwnames, <PyObject*>grp)
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
