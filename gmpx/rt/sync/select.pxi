# Select: one of several channel operations, whichever can go on first (select.go).
#
# A call scans its cases. If some are ready it does one of them, drawn at random; else it parks
# with a sudog of the one park word on each case's queue. Whoever wins the word has one case
# completed; the rest are taken off their queues before the call returns.
#
# Invariants
#   E1  No Python code runs between the scan that finds nothing ready and the last sudog's place
#       on its queue (C5): all that allocates comes before.
#   E2  What the result needs is allocated before an item moves: no item is lost for want of
#       memory.
#   E3  sudog.ok is -1 in the cases that did not happen. The winner of the word sets it in its own.
#   E4  The sudogs lie on the C heap (a suspended greenlet's stack is copied away), and none is on
#       a queue when they are freed. The cases live as long: the caller holds them.
#
# A goroutine is a case, too: ready when it is dead, its queue the joiners'. And so is a Readiness, of a
# descriptor; its queue is guarded by its gm_pd's lock, and lies beside it whose poller is waited for.

cdef enum:
    CASE_NONE = 0               # never ready: Go's nil channel
    CASE_RECV = 1
    CASE_SEND = 2
    CASE_JOIN = 3
    CASE_BAD = 4
    CASE_IO = 5

cdef enum:                      # select_pick
    PICK_NOTHING = -1
    PICK_ERROR = -2
    PICK_FUTURE = -3            # a case is a Future

cdef enum:
    SMALL_INTS = 257            # CPython has the ints below this in store, for ever

cdef tuple NOTHING_READY = (-1, None, False)


cdef class _Receiver:
    """_Receiver(capacity)
    Something that is received from: a case of select, as its channel ``c`` is."""
    cdef readonly Chan c

    def __cinit__(self, *args, **kwargs):
        self.c = None

    def _begin(self, capacity):
        """_begin($self, capacity, /)
--

        Makes the channel, once."""
        if self.c is None:
            self.c = Chan(capacity)


cdef inline int case_kind(PyObject* case, PyObject** obj) noexcept:
    # obj: the channel or goroutine, borrowed.
    cdef PyTypeObject* t = Py_TYPE(case)
    obj[0] = case
    if gm_likely(t == <PyTypeObject*>Chan):
        return CASE_RECV
    if gm_likely(PyTuple_Check(case) and tuple_size(case) == 2):
        obj[0] = tuple_get(case, 0)
        if gm_likely(Py_TYPE(obj[0]) == <PyTypeObject*>Chan):
            return CASE_SEND
        return CASE_NONE if obj[0] == <PyObject*>None else CASE_BAD
    if case == <PyObject*>None:
        return CASE_NONE
    if t == <PyTypeObject*>Goroutine:
        return CASE_JOIN
    if t == <PyTypeObject*>Readiness:
        return CASE_IO
    if isinstance(<object>case, _Receiver) and (<_Receiver>case).c is not None:
        obj[0] = <PyObject*>(<_Receiver>case).c     # which it keeps
        return CASE_RECV
    return CASE_BAD


cdef inline bint waitq_live(gm_waitq* q) noexcept nogil:
    # Whether somebody waits whose park can still be won; drops from the head those who lost.
    cdef gm_sudog* s
    while True:
        s = q.first
        if gm_likely(s == NULL):
            return False
        if gm_likely(gm_load_u64_acquire(&s.park.word) == s.word):
            return True
        waitq_remove(q, s)


cdef inline bint case_ready(int kind, PyObject* obj) noexcept:
    cdef Chan c
    if kind == CASE_JOIN:
        return gm_load_u32_acquire(&G(obj).status) == G_DEAD        # L3
    if kind == CASE_IO:
        return (<Readiness>obj).looks() != 0                        # in error: select_do says so
    c = <Chan>obj
    if kind == CASE_RECV:
        return c.n > 0 or c.is_closed or waitq_live(&c.sendq)
    return c.n < c.room or c.is_closed or waitq_live(&c.recvq)


cdef inline Py_ssize_t select_pick(gm_m* m, gm_g* g, PyObject** cases, Py_ssize_t n) noexcept:
    # The index of a ready case, each as probable as any other; PICK_*.
    cdef Py_ssize_t found = PICK_NOTHING
    cdef Py_ssize_t i
    cdef uint32_t ready = 0
    cdef PyObject* obj
    cdef int kind
    for i in range(n):
        kind = case_kind(cases[i], &obj)
        if kind == CASE_NONE:
            continue
        if gm_unlikely(kind == CASE_BAD or (kind == CASE_JOIN and G(obj) == g)):
            return select_bad_case(cases[i], i)
        if case_ready(kind, obj):
            ready += 1
            if ready == 1 or cheap_rand(m) % ready == 0:
                found = i
    return found


cdef Py_ssize_t select_bad_case(PyObject* case, Py_ssize_t i) noexcept:
    # PICK_ERROR, with the exception set, or PICK_FUTURE.
    try:
        if isinstance(<object>case, future_base):
            return PICK_FUTURE
        found = <object>case
        if isinstance(found, Goroutine):
            e = RuntimeError(f"select case {i}: {found!r} cannot join itself")
        else:
            e = TypeError(f"select case {i} must be a Chan, a tuple (Chan, value), a Goroutine, a "
                          f"Future, a Readiness or None, not {found!r:.200}")
    except Exception as inner:
        e = inner
    PyErr_SetNone_of(e)
    return PICK_ERROR


cdef PyObject* result_new(PyObject* index) except NULL:
    # (index, ...), to be finished by result_set. Steals index; NULL: there is no memory.
    cdef PyObject* t
    if index == NULL:
        raise MemoryError()
    t = tuple_new(3)
    if t == NULL:
        decref(index)
        raise MemoryError()
    tuple_set(t, 0, index)
    return t


cdef PyObject* index_for(Py_ssize_t n) noexcept:
    # What stands for the index until it is known. A small int needs no memory later; beyond
    # that a list of all of them. NULL: there is no memory for it.
    if gm_likely(n <= SMALL_INTS):
        return none_ref()
    try:
        return own(list(range(n)))
    except MemoryError:
        return NULL


cdef inline void result_set(PyObject* t, PyObject* v, bint ok) noexcept:
    # v: stolen; NULL for None.
    cdef PyObject* flag = Py_True if ok else Py_False
    incref(flag)
    tuple_set(t, 1, v if v != NULL else none_ref())
    tuple_set(t, 2, flag)


cdef PyObject* select_do(gm_m* m, PyObject* case, Py_ssize_t i) except? NULL:
    # Does case i, which was ready a moment ago. NULL without an exception: it no longer is.
    cdef PyObject* obj
    cdef PyObject* v = NULL
    cdef PyObject* t = result_new(PyLong_FromSsize_t(i))    # E2; the collector may run
    cdef int kind = case_kind(case, &obj)
    cdef bint ok = True
    cdef bint done
    if kind == CASE_RECV:
        v = chan_try_recv(m, <Chan>obj)
        ok = v != NULL
        done = ok or (<Chan>obj).is_closed
    elif kind == CASE_SEND:
        try:
            done = chan_try_send(m, <Chan>obj, tuple_get(case, 1))
        except:
            decref(t)
            raise
    elif kind == CASE_IO:
        try:
            done = (<Readiness>obj).look()
        except:
            decref(t)
            raise
        v = own((<Readiness>obj).file)
    else:
        v = obj
        incref(v)
        done = True
    if gm_unlikely(not done):
        xdecref(v)
        decref(t)
        return NULL
    result_set(t, v, ok)
    return t


cdef PyObject* select_run(gm_m* m, PyObject** cases, Py_ssize_t n, bint block,
                          int64_t deadline) except NULL:
    cdef Py_ssize_t i
    cdef PyObject* r
    while True:
        i = select_pick(m, m.curg, cases, n)
        if i == PICK_ERROR:
            return NULL
        if i == PICK_FUTURE:
            return select_futures(m, cases, n, block, deadline)
        if i != PICK_NOTHING:
            r = select_do(m, cases[i], i)
        elif not block:
            r = <PyObject*>NOTHING_READY
            incref(r)
        elif deadline == TRY_ONCE:
            raise TimeoutError("select timed out")
        else:
            r = select_park(m, getg(m), cases, n, deadline)
        if gm_likely(r != NULL):
            return r


cdef PyObject* select_futures(gm_m* m, PyObject** cases, Py_ssize_t n, bint block,
                              int64_t deadline) except NULL:
    # A Future's case is one of a channel that it is sent into at its end.
    found = []
    told = []
    try:
        for i in range(n):
            case = <object>cases[i]
            if isinstance(case, future_base):
                c = Chan(1)
                told.append((case, c.send_nowait))
                future_tells(case, c.send_nowait)
                case = c
            found.append(case)
        items = tuple(found)
        return select_run(m, gm_tuple_items(<PyObject*>items), n, block, deadline)
    finally:
        for case, fn in told:
            future_untells(case, fn)


cdef extern from *:
    """
    #define gm_tuple_items(t) (((PyTupleObject *)(t))->ob_item)
    """
    PyObject** gm_tuple_items(PyObject*) noexcept


cdef extern from *:
    """
    /* Out of line: a select that finds something ready is not to save registers for it. */
    struct __pyx_t_4gmpx_5_core_gm_m;
    struct __pyx_t_4gmpx_5_core_gm_g;
    static GM_NOINLINE PyObject *gm_select_park(
        struct __pyx_t_4gmpx_5_core_gm_m *, struct __pyx_t_4gmpx_5_core_gm_g *, PyObject **,
        Py_ssize_t, int64_t);
    """


cdef PyObject* select_park "gm_select_park"(gm_m* m, gm_g* g, PyObject** cases, Py_ssize_t n,
                                            int64_t deadline) except? NULL:
    # NULL without an exception: a case has become ready before the wait began.
    cdef gm_sudog* s = <gm_sudog*>calloc(max(n, 1), sizeof(gm_sudog) + sizeof(gm_m*))
    cdef Py_ssize_t i
    cdef PyObject* obj
    cdef PyObject* t = NULL
    cdef int kind
    if s == NULL:
        raise MemoryError()
    try:
        t = result_new(index_for(n))        # E2
        PyObject_GC_UnTrack(t)              # nobody is to see it half built for as long as we park
        for i in range(n):
            kind = case_kind(cases[i], &obj)
            if kind == CASE_JOIN:
                ext_of(G(obj))
            elif kind == CASE_IO:
                (<Readiness>obj).prepare(m)
        if select_pick(m, g, cases, n) != PICK_NOTHING:
            return NULL
        return select_wait(m, g, cases, n, deadline, s, t)
    finally:
        xdecref(t)
        free(s)


cdef PyObject* select_wait(gm_m* m, gm_g* g, PyObject** cases, Py_ssize_t n, int64_t deadline,
                           gm_sudog* s, PyObject* t) except? NULL:
    cdef Py_ssize_t i
    cdef Py_ssize_t won
    cdef int r
    select_arm(g.park, cases, n, s)
    r = gopark(m, g, deadline)
    select_disarm_io(cases, s, n)
    won = select_disarm(s, n)
    if gm_unlikely(won < 0):
        for i in range(n):
            xdecref(s[i].elem)
        park_raise(m, r, "select")
        return NULL
    if gm_unlikely(s[won].ok == NET_LOST):      # the poller was closed: all begins anew
        for i in range(n):
            xdecref(s[i].elem)
        return NULL
    return select_won(cases, n, s, t, won)


cdef void select_arm(gm_park* pk, PyObject** cases, Py_ssize_t n, gm_sudog* s) noexcept:
    # E1. In random order: of several cases on one channel each is as likely to be met first.
    cdef uint64_t word
    cdef Py_ssize_t i, k
    cdef PyObject* obj
    cdef int kind
    cdef gm_waitq* q
    cdef bint live = False
    word = park_arm(pk, WHY_SELECT)
    for i in range(n):
        s[i].ok = <int>i
    for i in range(n - 1, 0, -1):
        k = cheap_rand(pk.m) % <uint32_t>(i + 1)
        s[i].ok, s[k].ok = s[k].ok, s[i].ok
    for k in range(n):
        i = s[k].ok
        kind = case_kind(cases[i], &obj)
        if kind == CASE_NONE:
            continue
        live = True
        s[i].park = pk
        s[i].word = word
        if kind == CASE_RECV:
            q = &(<Chan>obj).recvq
        elif kind == CASE_SEND:
            q = &(<Chan>obj).sendq
            s[i].elem = tuple_get(cases[i], 1)
            incref(s[i].elem)
        elif kind == CASE_JOIN:
            q = &ext_get(G(obj)).waiters
        else:
            continue
        waitq_put(q, &s[i])
    for i in range(n):
        s[i].ok = -1                        # E3
    select_arm_io(pk, cases, n, s)
    if not live:
        pk.why = WHY_NO_CASES


cdef void select_arm_io(gm_park* pk, PyObject** cases, Py_ssize_t n, gm_sudog* s) noexcept:
    # Last: from here on an event may win.
    cdef gm_m** owners = <gm_m**>(s + n)
    cdef Py_ssize_t i
    cdef PyObject* obj
    cdef gm_gq won
    for i in range(n):
        if case_kind(cases[i], &obj) != CASE_IO:
            continue
        owners[i] = (<Readiness>obj).arm(pk.m, &s[i])
        if owners[i] == NULL and park_win(pk, s[i].word):
            s[i].ok = NET_READY             # it cannot be watched: whoever tries it will see why
            pk.reason = WAKE_READY
            won.head = won.tail = NULL
            won.n = 0
            gq_put(&won, pk.g)
            net_ready(pk.m, &won)
            return


cdef void select_disarm_io(PyObject** cases, gm_sudog* s, Py_ssize_t n) noexcept:
    cdef gm_m** owners = <gm_m**>(s + n)
    cdef Py_ssize_t i
    cdef PyObject* obj
    for i in range(n):
        if owners[i] != NULL:
            case_kind(cases[i], &obj)
            (<Readiness>obj).disarm(owners[i], &s[i])


cdef Py_ssize_t select_disarm(gm_sudog* s, Py_ssize_t n) noexcept:
    # Takes all off their queues (E4). The index of the case that happened, or -1.
    cdef Py_ssize_t i
    cdef Py_ssize_t won = -1
    for i in range(n):
        if s[i].park == NULL:
            continue
        if s[i].queue != NULL:
            waitq_remove(s[i].queue, &s[i])
        if s[i].ok >= 0:
            won = i
    return won


cdef PyObject* select_won(PyObject** cases, Py_ssize_t n, gm_sudog* s, PyObject* t,
                          Py_ssize_t won) except NULL:
    # The result of a wait that case `won` has ended.
    cdef PyObject* obj
    cdef PyObject* v = NULL
    cdef PyObject* index
    cdef Py_ssize_t i
    cdef int kind = case_kind(cases[won], &obj)
    cdef bint ok = s[won].ok
    if kind == CASE_RECV:
        v = s[won].elem                     # NULL when woken by close
        s[won].elem = NULL
    elif kind == CASE_JOIN:
        v = obj
        incref(v)
    elif kind == CASE_IO:
        v = own((<Readiness>obj).file)
    result_set(t, v, ok or kind != CASE_RECV)
    for i in range(n):
        xdecref(s[i].elem)                  # what was not sent
    if kind == CASE_SEND and not ok:
        raise ChannelClosed(f"send on closed channel {<object>obj!r}")
    if kind == CASE_IO and s[won].ok == NET_CLOSED:
        net_raise(NULL, NET_CLOSED, (<Readiness>obj).pd.fd)
    index = tuple_get(t, 0)
    tuple_set(t, 0, list_get(index, won) if n > SMALL_INTS else PyLong_FromSsize_t(won))
    if n > SMALL_INTS:
        incref(tuple_get(t, 0))
    decref(index)
    if PyObject_IS_GC(tuple_get(t, 1)):
        PyObject_GC_Track(t)
    incref(t)
    return t


# ---- the call: a C function of the fastcall convention, as recv is ---------------------------

cdef PyObject* select_fastcall(PyObject* self, PyObject** args, Py_ssize_t nargs,
                               PyObject* kwnames) except NULL:
    cdef gm_m* m = gm_tls_m
    if gm_unlikely(kwnames != NULL or m == NULL):
        return select_options(args, nargs, kwnames)
    return select_run(m, args, nargs, True, NO_DEADLINE)


cdef PyObject* select_options(PyObject** args, Py_ssize_t nargs, PyObject* kwnames) except NULL:
    cdef bint block = True
    cdef int64_t deadline = NO_DEADLINE
    cdef Py_ssize_t i
    timeout = None
    for i in range(tuple_size(kwnames) if kwnames != NULL else 0):
        name = <str><object>tuple_get(kwnames, i)
        if name == "block":
            block = <object>args[nargs + i]
        elif name == "timeout":
            timeout = <object>args[nargs + i]
        else:
            raise TypeError(f"select() got an unexpected keyword argument {name!r}")
    if timeout is not None:
        deadline = deadline_of(timeout)
        if not block:
            raise ValueError("select() with block=False takes no timeout")
    return select_run(getm(), args, nargs, block, deadline)


cdef PyMethodDef select_def


cdef object make_select():
    select_def.ml_name = b"select"
    select_def.ml_meth = <PyCFunction><void*>select_fastcall
    select_def.ml_flags = METH_FASTCALL | METH_KEYWORDS
    select_def.ml_doc = b"""select(*cases, block=True, timeout=None)
--

Waits until one of several operations can go on, and does that one alone.

Args:
    cases: each a Chan (receive from it), a tuple (Chan, value) (send value to it), a Goroutine or
        Future (wait for its end), a Readiness (``gmpx.io.readable(fd)``, ``writable(fd)``: wait for a
        descriptor) or None (never ready). A channel may stand in several cases. When more than one
        is ready, each has the same chance.
    block: False: returns at once, also when none is ready.
    timeout: seconds; None waits for ever, 0 tries once.

Returns:
    (index of the case, value, ok). value: what was received, the Goroutine or Future that has ended, what
    is ready for I/O, or None for a send. ok is False only for a receive on a closed and drained channel. With
    block=False and none ready: (-1, None, False).

Raises:
    TimeoutError: none became ready in time; nothing was sent or received.
    ChannelClosed: the chosen case sends on a closed channel.
    TypeError: a case is none of these. ValueError: block=False with a timeout.
    RuntimeError: a case is the goroutine itself. OSError: a case's descriptor is not open.

Blocks the goroutine; on a foreign thread, the thread; for ever if no case is live. Go: the
select statement.

>>> a, b = Chan(1), Chan(1)
>>> b.send("x")
>>> select(a, b)
(1, 'x', True)
"""
    return c_function(&select_def)


select = make_select()
