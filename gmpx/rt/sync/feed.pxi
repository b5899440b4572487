# Feed: what map starts its limited calls from, each that ends starting the next.
#
# A coordinator that waits for room is a goroutine on one M: it is woken for each call, and where it stands
# behind a call on its own M the others run dry (measured, two Ps, SHA-256 of 32 us, limit=2: 1.08 of
# one P's speed with it, 1.8 so). With a Feed the M on which a call ends takes the next item, under the GIL,
# and has its goroutine at hand.
#
# That M is any. So the items have to come from what runs no code of anybody: exact lists, tuples and
# ranges, read by index. Free-threaded builds have no GIL to do it under, and do without.
#
#   FD1  next_index and the place in `found` are taken in one step under the GIL. (What follows allocates, so
#        a finalizer may run in it, and others come first.)
#   FD2  The next goroutine is counted before the one that has ended is counted down, so the count is
#        zero at the end alone.

@cython.final
cdef class Feed(FailFast):
    def __init__(self, fn, sequences):
        cdef gm_m* m = getm()
        self.fn = fn
        self.sequences = sequences
        self.found = []
        self.parent = m.curg.goid if m.curg != NULL else 0
        self.ctx = context_snapshot(m)
        if self.ctx == NULL:
            raise MemoryError()
        self.chains = True

    def __dealloc__(self):
        xdecref(self.ctx)

    @staticmethod
    def takes(sequence):
        return not GM_FREE_THREADED and type(sequence) in (list, tuple, range)

    @property
    def handles(self):
        return [handle for handle in self.found if handle is not None]

    def start(self, Py_ssize_t n):
        """start(n)
        Starts n calls, or as many as there are items."""
        while n > 0 and feed_next(getm(), self):
            n -= 1

    def check(self):
        """check()
        Raises why no more calls could be started."""
        if self.failure is not None:
            raise self.failure

    def stop(self):
        """stop()
        No further call is started."""
        self.stopped = True


cdef bint feed_next(gm_m* m, Feed feed) except -1:
    # Starts the next call. False: there is none.
    cdef Py_ssize_t i = feed.next_index
    cdef tuple sequences = feed.sequences
    cdef gm_g* g
    if feed.stopped or feed.first_failed is not None:
        return False
    for sequence in sequences:
        if i >= len(sequence):
            return False
    feed.next_index = i + 1                     # FD1
    feed.found.append(None)
    args = tuple([sequence[i] for sequence in sequences])
    Py_INCREF(args)
    PyObject_GC_UnTrack(<PyObject*>args)        # L1
    incref(feed.ctx)
    g = newproc1(m, <PyObject*>feed.fn, <PyObject*>args, 0, feed.ctx, <PyObject*>feed)
    if g == NULL:
        raise MemoryError()
    g.parent_goid = feed.parent
    feed.n += 1
    feed.found[i] = <object>OBJ(g)
    newproc_publish(m, g)
    return True


cdef void feed_ended(gm_m* m, Feed feed) noexcept:
    # A goroutine of it has ended, and is not yet counted down (FD2).
    try:
        feed_next(m, feed)
    except BaseException as e:
        feed.stopped = True
        feed.failure = e
        wg_release(m, feed)
