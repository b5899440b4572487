# Channels (chan.go): a ring of items, a queue of parked senders, a queue of parked receivers.
#
# Invariants (under the channel's guard)
#   C1  Waiters that can still be won are on sendq or on recvq, never on both: but for those of
#       one select that both sends and receives here.
#   C2  Items in the buffer: no live receiver waits. Room in the buffer: no live sender waits.
#   C3  An item moves exactly once: into the buffer, or from one party's sudog to the other's.
#       Who wins a waiter's park word completes its operation before readying it (ok = True).
#   C4  A waiter that gave up has won its own park word, so no item was put into its sudog, and
#       its own item (a sender's) is still its own.
#   C5  No Python code runs (allocation, reference drop) between a look at the state and the
#       change that rests on it.
#   C6  After close: closed stays True, both queues are empty.
#
# The buffer is a list, which the cyclic collector sees into, with None in free slots; it
# starts small and grows to cap by doubling, so that Chan(10**9) costs nothing until used.

cdef enum:
    CHAN_SLOTS = 16

cdef uint64_t next_chan_id = 0


class ChannelClosed(Exception):
    """Raised by send on a closed channel, by recv on a closed and drained one, and by a
    second close."""


class WouldBlock(Exception):
    """Raised by send_nowait and recv_nowait where send and recv would park."""


cdef inline void chan_put(Chan c, PyObject* v) noexcept:
    # Room is there. Steals v.
    cdef Py_ssize_t i = c.head + c.n
    if i >= c.size:
        i -= c.size
    decref(list_get(<PyObject*>c.buf, i))           # None
    list_set(<PyObject*>c.buf, i, v)
    c.n += 1


cdef inline PyObject* chan_take(Chan c) noexcept:
    # An item is there. The caller owns it.
    cdef PyObject* v = list_get(<PyObject*>c.buf, c.head)
    incref(<PyObject*>None)
    list_set(<PyObject*>c.buf, c.head, <PyObject*>None)
    c.head += 1
    if c.head == c.size:
        c.head = 0
    c.n -= 1
    return v


cdef int chan_grow(Chan c) except -1:
    # The ring is full and below cap: doubles it.
    cdef Py_ssize_t size = min(max(c.size * 2, CHAN_SLOTS), c.room)
    cdef list buf = [None] * size                   # may collect garbage: before the state is read
    cdef Py_ssize_t i, at
    if c.n < c.size or c.size >= size:
        return 0                                    # a finalizer was here (C5)
    for i in range(c.n):
        at = c.head + i
        if at >= c.size:
            at -= c.size
        buf[i], c.buf[at] = c.buf[at], buf[i]
    c.buf, c.size, c.head = buf, size, 0
    return 0


cdef inline gm_sudog* chan_waiter(gm_waitq* q) noexcept:
    if gm_likely(q.first == NULL):
        return NULL
    return waitq_get(q)


cdef inline void chan_complete(gm_m* m, gm_sudog* s, bint ok) noexcept:
    s.ok = ok
    sudog_ready(m, s, True)


cdef inline bint chan_try_send(gm_m* m, Chan c, PyObject* v) except -1:
    # True: v was sent (a new reference was taken).
    cdef gm_sudog* s
    while True:
        if gm_unlikely(c.is_closed):
            raise ChannelClosed(f"send on closed channel {c!r}")
        s = chan_waiter(&c.recvq)
        if s != NULL:
            incref(v)
            s.elem = v                              # C3
            chan_complete(m, s, True)
            return True
        if c.n == c.room:
            return False
        if gm_likely(c.n < c.size):
            incref(v)
            chan_put(c, v)
            return True
        chan_grow(c)


cdef extern from *:
    """
    /* As gm_getm: the compiler would call it instead, from where select picks its case. */
    struct __pyx_t_4gmpx_5_core_gm_m;
    struct __pyx_obj_4gmpx_5_core_Chan;
    GM_INLINE PyObject *gm_chan_try_recv(
        struct __pyx_t_4gmpx_5_core_gm_m *, struct __pyx_obj_4gmpx_5_core_Chan *);
    """


cdef inline PyObject* chan_try_recv "gm_chan_try_recv"(gm_m* m, Chan c) noexcept:
    # The item, owned by the caller; NULL when there is none now.
    cdef gm_sudog* s
    cdef PyObject* v
    if c.n > 0:
        v = chan_take(c)
        s = chan_waiter(&c.sendq)
        if s != NULL:                               # a sender waited for the room (C2)
            chan_put(c, s.elem)
            s.elem = NULL
            chan_complete(m, s, True)
        return v
    s = chan_waiter(&c.sendq)
    if s != NULL:
        v = s.elem
        s.elem = NULL
        chan_complete(m, s, True)
        return v
    return NULL


cdef int chan_send(Chan c, PyObject* v, object timeout) except -1:
    cdef gm_m* m = getm()
    cdef int64_t deadline
    if timeout is None:
        return 0 if chan_try_send(m, c, v) else send_park(m, c, v, NO_DEADLINE)
    deadline = deadline_of(timeout)
    if chan_try_send(m, c, v):
        return 0
    if deadline == TRY_ONCE:
        raise TimeoutError(f"send on {c!r} timed out")
    return send_park(m, c, v, deadline)


cdef int send_park(gm_m* m, Chan c, PyObject* v, int64_t deadline) except -1:
    cdef gm_g* g = getg(m)
    cdef gm_sudog* s = sudog_arm(g, &c.sendq, WHY_SEND)
    cdef int r
    incref(v)
    s.elem = v
    r = gopark(m, g, deadline)
    if gm_likely(r == WAKE_READY and s.ok):
        return 0
    return send_failed(m, c, s, r)


cdef int send_failed(gm_m* m, Chan c, gm_sudog* s, int r) except -1:
    # A parked sender whose item nobody took: woken by close, by a time-out ... (C4).
    cdef PyObject* left
    waitq_remove(&c.sendq, s)
    left = s.elem
    s.elem = NULL
    xdecref(left)                                   # NULL: taken, and then thrown into from outside
    if r == WAKE_READY:
        raise ChannelClosed(f"send on closed channel {c!r}")
    return park_raise(m, r, "send")


cdef PyObject* chan_recv(Chan c, object timeout) except? NULL:
    # The item, owned by the caller; NULL without an exception: closed and drained.
    cdef gm_m* m = getm()
    cdef int64_t deadline = NO_DEADLINE
    cdef PyObject* v
    if timeout is not None:
        deadline = deadline_of(timeout)
    v = chan_try_recv(m, c)
    if v != NULL or c.is_closed:
        return v
    if deadline == TRY_ONCE:
        raise TimeoutError(f"receive on {c!r} timed out")
    return recv_park(m, c, deadline)


cdef PyObject* recv_park(gm_m* m, Chan c, int64_t deadline) except? NULL:
    cdef gm_g* g = getg(m)
    cdef gm_sudog* s = sudog_arm(g, &c.recvq, WHY_RECV)
    cdef PyObject* v
    cdef int r = gopark(m, g, deadline)
    if gm_likely(r == WAKE_READY):
        v = s.elem                                  # NULL when woken by close
        s.elem = NULL
        return v
    recv_failed(m, c, s, r)
    return NULL


cdef int recv_failed(gm_m* m, Chan c, gm_sudog* s, int r) except -1:
    cdef PyObject* v
    waitq_remove(&c.recvq, s)                       # C4
    v = s.elem
    s.elem = NULL
    xdecref(v)                                      # received, and then thrown into from outside
    return park_raise(m, r, "receive")


cdef inline object take_ref(PyObject* v):
    # The object of an owned reference.
    cdef object o = <object>v
    decref(v)
    return o


cdef Py_ssize_t capacity_of(object capacity) except -1:
    # What is no small int.
    cdef Py_ssize_t n
    import operator
    try:
        n = index_of(capacity, "channel capacity")
    except OverflowError:
        if operator.index(capacity) > 0:
            raise
        n = -1
    if n < 0:
        raise ValueError(f"channel capacity must not be negative: {capacity}")
    return n


@cython.final
cdef class Chan:
    """Chan(capacity=0)
    A FIFO channel between goroutines, the main thread and other threads (Go's chan).

    Args:
        capacity: items that it holds, >= 0; 0 is a rendezvous: send waits for its receiver.

    Raises:
        ValueError: negative capacity. TypeError: not an int. OverflowError: too large.

    >>> c = Chan(2)
    >>> c.send("a"); c.send("b"); c.close()
    >>> list(c)
    ['a', 'b']
    """

    def __cinit__(self, capacity=0):
        global next_chan_id
        cdef Py_ssize_t n
        n = long_as_ssize(<PyObject*>capacity) if type(capacity) is int else -1
        if n < 0:
            PyErr_Clear()
            n = capacity_of(capacity)
        self.room = n
        self.size = min(n, CHAN_SLOTS)
        self.buf = [None] * self.size
        next_chan_id += 1
        self.id = next_chan_id

    @classmethod
    def __class_getitem__(cls, item):
        import types
        return types.GenericAlias(cls, item)

    def recv_ok(self, timeout=None):
        """recv_ok(timeout=None)
        Go's ``v, ok := <-c``: (item, True), or (None, False) when closed and drained.

        Args, Raises, Blocks: as ``recv``, without ChannelClosed.
        """
        cdef PyObject* v = chan_recv(self, timeout)
        if v == NULL:
            return (None, False)
        return (take_ref(v), True)

    def send_nowait(self, v):
        """send_nowait(v)
        Sends v if that needs no waiting. Never blocks.

        Raises:
            WouldBlock: no receiver waits and the buffer has no room.
            ChannelClosed: the channel is closed.
        """
        if not chan_try_send(getm(), self, <PyObject*>v):
            raise WouldBlock(f"send on {self!r} would block")

    def recv_nowait(self):
        """recv_nowait()
        Receives an item if one is there. Never blocks.

        Raises:
            WouldBlock: none is there.
            ChannelClosed: the channel is closed and drained.
        """
        cdef PyObject* v = chan_try_recv(getm(), self)
        if v != NULL:
            return take_ref(v)
        if self.is_closed:
            raise ChannelClosed(f"receive on closed channel {self!r}")
        raise WouldBlock(f"receive on {self!r} would block")

    def close(self):
        """close()
        Closes the channel: no more sends; receivers drain what is buffered. Wakes every waiter.

        Raises:
            ChannelClosed: it is closed already.
        """
        cdef gm_m* m = getm()
        cdef gm_sudog* s
        if self.is_closed:
            raise ChannelClosed(f"close of closed channel {self!r}")
        self.is_closed = True
        while True:
            s = chan_waiter(&self.recvq)
            if s == NULL:
                s = chan_waiter(&self.sendq)
            if s == NULL:
                return None
            s.ok = False
            sudog_ready(m, s, False)

    @property
    def closed(self):
        """True once close has been called."""
        return self.is_closed

    @property
    def cap(self):
        """The capacity, in items."""
        return self.room

    def __len__(self):
        return self.n

    def __bool__(self):
        return True

    def __iter__(self):
        return self

    def __next__(self):
        cdef PyObject* v = chan_recv(self, None)
        if v == NULL:
            raise StopIteration
        return take_ref(v)

    def __reduce__(self):
        raise TypeError("cannot pickle a Chan")

    def __repr__(self):
        cdef str state = " closed" if self.is_closed else ""
        return f"<Chan {self.id} cap={self.room} len={self.n}{state}>"


# ---- send and recv: C functions of the fastcall convention -----------------------------------
#
# Made by hand, as `go` is: the plain call parses nothing, and a goroutine that parks in it has
# less C stack to be copied away. Any other call goes to a function of Cython's making.

cdef PyObject* recv_fastcall(PyObject* self, PyObject** args, Py_ssize_t nargs,
                             PyObject* kwnames) except NULL:
    cdef gm_m* m = gm_tls_m
    cdef gm_sudog* s
    cdef PyObject* v
    cdef int r
    if gm_unlikely(nargs != 0 or kwnames != NULL or m == NULL or m.curg == NULL):
        return call_method(recv_any, self, args, nargs, kwnames)
    v = chan_try_recv(m, <Chan>self)
    if v != NULL:
        return v
    if gm_unlikely((<Chan>self).is_closed):
        return raise_drained(self)
    s = sudog_arm(m.curg, &(<Chan>self).recvq, WHY_RECV)
    r = gopark(m, m.curg, NO_DEADLINE)
    if gm_likely(r == WAKE_READY):
        v = s.elem
        s.elem = NULL
        return v if gm_likely(v != NULL) else raise_drained(self)
    recv_failed(m, <Chan>self, s, r)
    return NULL


cdef PyObject* send_fastcall(PyObject* self, PyObject** args, Py_ssize_t nargs,
                             PyObject* kwnames) except NULL:
    cdef gm_m* m = gm_tls_m
    if gm_unlikely(nargs != 1 or kwnames != NULL or m == NULL or m.curg == NULL):
        return call_method(send_any, self, args, nargs, kwnames)
    if not chan_try_send(m, <Chan>self, args[0]):
        send_park(m, <Chan>self, args[0], NO_DEADLINE)
    return none_ref()


cdef PyObject* raise_drained(PyObject* self) except NULL:
    raise ChannelClosed(f"receive on closed channel {<object>self!r}")


def recv(Chan self not None, timeout=None):
    cdef PyObject* v = chan_recv(self, timeout)
    return take_ref(v if v != NULL else raise_drained(<PyObject*>self))


def send(Chan self not None, v, timeout=None):
    chan_send(self, <PyObject*>v, timeout)


cdef PyObject* recv_any = NULL
cdef PyObject* send_any = NULL
cdef PyMethodDef recv_def
cdef PyMethodDef send_def


cdef int chan_methods() except -1:
    global recv_any, send_any
    recv_any = own(globals().pop("recv"))
    send_any = own(globals().pop("send"))
    add_method(Chan, &recv_def, b"recv", <PyCFunction><void*>recv_fastcall,
               b"""recv($self, /, timeout=None)
--

Receives the oldest item, waiting for one if need be.

Args:
    timeout: seconds; None waits for ever, 0 tries once.

Raises:
    ChannelClosed: the channel is closed and drained.
    TimeoutError: nothing came in time.

Blocks the goroutine; on a foreign thread, the thread.
""")
    add_method(Chan, &send_def, b"send", <PyCFunction><void*>send_fastcall,
               b"""send($self, /, v, timeout=None)
--

Sends v: to a waiting receiver, else into the buffer, else waits for either.

Args:
    timeout: seconds; None waits for ever, 0 tries once.

Raises:
    ChannelClosed: the channel is closed, or is closed while this waits.
    TimeoutError: not sent in time; v was not and will not be sent.

Blocks the goroutine; on a foreign thread, the thread.
""")
    return 0


chan_methods()
