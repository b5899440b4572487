# TLS: read, write, do_handshake and shutdown of _ssl._SSLSocket, on which ssl.SSLSocket stands.
#
# What CPython does on top of these (SSLSocket.recv, send, unwrap, subclasses) is left as it is. gmpx.patch
# exchanges the C function behind each of the four (swap_function), so objects made before have it, too.
# The original is called as if its socket had a time-out of 0; where it wants to read or write the goroutine
# parks, and it is called again.
#
# Invariants
#   TL1  The original finds its socket by a weak reference in its object, and the time-out in that, before it
#       gives up the GIL. For an attempt that reference is exchanged for one to a twin; the socket's own
#       time-out is left alone, for other threads read it meanwhile.
#   TL2  OpenSSL calls read(2) and write(2) plainly, so the open file has to be non-blocking. CPython has seen
#       to that where the time-out is not None. Else it is set at the first attempt, PD_NONBLOCK says so, and
#       it is taken back by ssl_release: unwrap, shutdown, detach, the patch's undo. settimeout leaves it.
#   TL3  OpenSSL's object is not for two threads at once, and the original gives up the GIL. So attempts on one
#       connection take turns, and a write has its turn from its first attempt to its last, because a record
#       that is half sent must be sent on by the same call. PD_SSL, from the first attempt on, has foreign
#       threads do the same, and wait in poll(2) between. (Who is in the original already stays outside, as
#       in CPython.) With a time-out of 0 the turn is waited for without letting others run. No thread holds
#       a lock: an attempt may call Python code, which may park.
#   TL4  PD_READ and PD_WRITE are cleared before an attempt, and the GIL is kept from its end to the wait. With
#       TL3 nobody clears meanwhile an edge that came after the attempt (NP2), so no wait registers anew.
#       After any outcome but "want" PD_READ is set again: a plain recv after unwrap has to try.
#   TL5  At a time-out the original is called once more with a time-out of its own, 1 ns: the exception and its
#       words are CPython's.
#   TL6  Each attempt is one in the sense of NP8: a close meanwhile leaves the number to its end.

cdef extern from *:
    """
    /* The head of CPython's PySSLSocket, the same from 3.10 to 3.15 (probed in ssl_known). */
    typedef struct { PyObject_HEAD PyObject *socket; } gm_ssl;      /* a weak reference, or NULL */
    /* A new reference; NULL: there is none, or it is gone. */
    static PyObject *gm_ssl_socket(PyObject *o) {
        PyObject *r = ((gm_ssl *)o)->socket;
        PyObject *found = NULL;
        if (r == NULL || !PyWeakref_Check(r)) return NULL;
    #if PY_VERSION_HEX >= 0x030D0000
        if (PyWeakref_GetRef(r, &found) < 0) { PyErr_Clear(); return NULL; }
    #else
        found = PyWeakref_GetObject(r);
        if (found == Py_None) return NULL;
        Py_INCREF(found);
    #endif
        return found;
    }
    """
    ctypedef struct gm_ssl:
        PyObject* socket
    PyObject* gm_ssl_socket(PyObject*) noexcept

cdef extern from "Python.h":
    bint PyErr_ExceptionMatches(PyObject*) noexcept
    bint PyObject_TypeCheck(PyObject*, PyTypeObject*) noexcept
    bint PyLong_CheckExact(PyObject*) noexcept
    bint PyMemoryView_Check(PyObject*) noexcept
    object PyWeakref_NewRef(object, PyObject*)

cdef enum:
    SSL_READ = 0
    SSL_WRITE = 1
    SSL_HANDSHAKE = 2
    SSL_SHUTDOWN = 3
    SSL_KINDS = 4

cdef PyCFunction[SSL_KINDS] plain_ssl
cdef bint ssl_ready = False             # ssl_known has been here
cdef bint ssl_on = False                # patched
cdef object ssl_twin_ref = None         # a weak reference to ssl_twin
cdef object ssl_twin = None             # for all attempts that need no descriptor
cdef object ssl_type = None             # _ssl._SSLSocket
cdef object ssl_want_read = None        # ssl.SSLWantReadError
cdef object ssl_want_write = None


# ---- taking turns --------------------------------------------------------------------------

cdef struct gm_ssl_op:                  # an attempt that runs, or a write that is not done (TL3)
    PyObject* ssl                       # borrowed, as is
    PyObject* sock                      # its socket
    void* owner                         # the goroutine, or the thread state
    unsigned long thread
    PyObject* done                      # an Event of those who wait for its end; NULL: nobody does
    gm_pd* pd
    bint waits                          # a write between its attempts
    gm_ssl_op* next

cdef gm_ssl_op* ssl_ops = NULL          # ssl_mu, so does each
cdef gm_mu ssl_mu


cdef gm_ssl_op* ssl_op_of(PyObject* ssl, bint write, gm_ssl_op* mine) noexcept nogil:
    # ssl_mu held: what keeps an attempt out.
    cdef gm_ssl_op* op = ssl_ops
    while op != NULL:
        if op.ssl == ssl and op != mine and (write or not op.waits):
            return op
        op = op.next
    return NULL


cdef PyObject* ssl_socket(PyObject* ssl, bint* busy) noexcept:
    # The socket of a connection, a new reference, or NULL. busy: an attempt runs, so it shows a twin (TL1).
    cdef gm_ssl_op* op
    cdef PyObject* found = NULL
    gm_mu_lock(&ssl_mu)
    op = ssl_op_of(ssl, False, NULL)
    busy[0] = op != NULL
    if op != NULL:
        found = op.sock
        incref(found)
    gm_mu_unlock(&ssl_mu)
    return found if found != NULL else gm_ssl_socket(ssl)


cdef bint ssl_busy(int fd) noexcept nogil:
    cdef gm_ssl_op* op
    gm_mu_lock(&ssl_mu)
    op = ssl_ops
    while op != NULL and op.pd.fd != fd:
        op = op.next
    gm_mu_unlock(&ssl_mu)
    return op != NULL


cdef int ssl_begin(gm_m* m, PyObject* ssl, gm_sock* s, gm_pd* pd, bint write, gm_ssl_op** op,
                   int64_t deadline) except -1:
    # An attempt's turn has come: 1, op is its. op: NULL, or a write that goes on. 0: not in time.
    # deadline TRY_ONCE: nobody else may run on this thread; an attempt on another thread does not take long.
    global ssl_ops
    cdef PyThreadState* ts
    cdef unsigned long thread = PyThread_get_thread_ident()
    cdef bint ends
    cdef void* me = <void*>m.curg if m != NULL else <void*>PyThreadState_Get()
    cdef gm_ssl_op* new = op[0]
    cdef gm_ssl_op* other
    cdef object event
    cdef bint nested
    if new == NULL:
        new = <gm_ssl_op*>malloc(sizeof(gm_ssl_op))
        if new == NULL:
            raise MemoryError()
        new.ssl, new.sock, new.owner, new.done, new.pd = ssl, <PyObject*>s, me, NULL, pd
        new.thread = thread
    while True:
        event = None
        gm_mu_lock(&ssl_mu)
        other = ssl_op_of(ssl, write, op[0])
        if gm_likely(other == NULL):
            new.waits = False
            attempt_begin(pd)               # TL6
            if op[0] == NULL:
                new.next = ssl_ops
                ssl_ops = new
            gm_mu_unlock(&ssl_mu)
            op[0] = new
            return 1
        nested = other.owner == me
        ends = not other.waits and other.thread != thread
        gm_mu_unlock(&ssl_mu)
        try:
            if nested:
                raise RuntimeError("TLS: a call inside of another one's callback, on the same connection")
            if deadline == TRY_ONCE:
                if not ends:
                    raise TimeoutError
                ts = PyEval_SaveThread()
                gm_osyield()
                PyEval_RestoreThread(ts)
                continue
            event = ssl_end_of(ssl, write, op[0])
            if event is not None:
                event.wait(None if deadline == NO_DEADLINE else max(deadline - clock_now(), 1) / 1e9)
        except TimeoutError:
            if op[0] == NULL:
                free(new)
            return 0
        except:
            if op[0] == NULL:
                free(new)
            raise


cdef object ssl_end_of(PyObject* ssl, bint write, gm_ssl_op* mine):
    # The event of what keeps an attempt out.
    cdef Event event = Event()
    cdef gm_ssl_op* op
    cdef object found = None
    gm_mu_lock(&ssl_mu)
    op = ssl_op_of(ssl, write, mine)
    if op != NULL:
        if op.done == NULL:
            op.done = own(event)
        found = <object>op.done
    gm_mu_unlock(&ssl_mu)
    return found


cdef void ssl_end(gm_ssl_op* op, bint waits) noexcept:
    # The attempt is over. waits: it was a write that goes on.
    cdef gm_ssl_op** at = &ssl_ops
    cdef object event = None
    if not op.waits:                        # else no attempt of its own runs (TL6)
        attempt_over(op.pd)
    gm_mu_lock(&ssl_mu)
    op.waits = waits
    if op.done != NULL:
        event = take_ref(op.done)
        op.done = NULL
    if not waits:
        while at[0] != NULL and at[0] != op:
            at = &at[0].next
        if at[0] == op:                 # else a fork's child has forgotten it
            at[0] = op.next
    gm_mu_unlock(&ssl_mu)
    if not waits:
        free(op)
    if event is not None:
        (<Event>event).set()


cdef void ssl_forked() noexcept nogil:
    # In a fork's child: others' attempts have stayed with the parent.
    global ssl_ops
    ssl_ops = NULL


# ---- the open file -------------------------------------------------------------------------

cdef int ssl_nonblock(gm_sock* s, gm_pd* pd) except -1:
    # TL2, TL3
    cdef uint32_t want = PD_SSL | PD_NONBLOCK if s.timeout < 0 else PD_SSL
    if gm_unlikely(gm_load_u32_relaxed(&pd.flags) & want != want):
        if s.timeout < 0 and gm_set_nonblock(s.fd) < 0:
            raise_errno(errno)
        gm_fetch_or_u32_seqcst(&pd.flags, want)
    return 0


cdef void ssl_release(gm_pd* pd) noexcept nogil:
    # The open file is to be its owner's again, and what comes from it no TLS any more.
    if gm_load_u32_relaxed(&pd.flags) & PD_SSL and not ssl_busy(pd.fd):
        if gm_fetch_and_u32_seqcst(&pd.flags, ~<uint32_t>(PD_SSL | PD_NONBLOCK)) & PD_NONBLOCK:
            gm_set_block(pd.fd)


def _ssl_release(sock):
    """_ssl_release(sock)
--

    sock is no TLS connection any more: its descriptor blocks again, if that was gmpx's doing."""
    cdef gm_pd* pd = NULL
    if raw_socket is not None and isinstance(sock, raw_socket):
        pd = pd_find((<gm_sock*><PyObject*>sock).fd)
    if pd != NULL:
        ssl_release(pd)


cdef void ssl_release_all() noexcept nogil:
    # Those that goroutines wait for are released by these.
    cdef gm_pd* chunk
    cdef uint32_t i
    cdef int k
    for i in range(gm_load_u32_acquire(&pd_top)):
        chunk = <gm_pd*>gm_load_ptr_acquire(&pd_chunks[i])
        if chunk == NULL:
            continue
        for k in range(PD_CHUNK):
            if gm_load_u32_relaxed(&chunk[k].flags) & PD_SSL and pd_idle(&chunk[k]):
                ssl_release(&chunk[k])


# ---- an attempt ----------------------------------------------------------------------------

cdef PyObject* ssl_call(PyObject* self, int kind, PyObject* arg, PyObject* ref) noexcept:
    # The original, whose socket is what ref refers to (TL1).
    cdef gm_ssl* o = <gm_ssl*>self
    cdef PyObject* was = o.socket
    cdef PyObject* r
    incref(ref)
    o.socket = ref
    r = plain_ssl[kind](self, arg)
    o.socket = was
    decref(ref)
    return r


cdef object ssl_new_twin():
    # A socket that has no descriptor and does not block; a plain _socket.socket has no weak references.
    cdef object twin = py_socket.__new__(py_socket)
    twin._io_refs = 0
    twin._closed = True
    (<gm_sock*><PyObject*>twin).timeout = 0
    return twin


cdef PyObject* ssl_call_twin(PyObject* self, int kind, PyObject* arg, gm_sock* s, int64_t timeout) noexcept:
    # On a twin of its own, which has the descriptor.
    cdef PyObject* r = NULL
    cdef gm_sock* t
    try:
        twin = ssl_new_twin()
        ref = PyWeakref_NewRef(twin, NULL)
    except BaseException as e:
        cls = type(e)
        PyErr_SetObject(<PyObject*>cls, <PyObject*>e)
        return NULL
    t = <gm_sock*><PyObject*>twin
    t.fd = s.fd
    t.timeout = timeout
    r = ssl_call(self, kind, arg, <PyObject*>ref)
    t.fd = -1                           # it closes nothing
    if r == <PyObject*>twin:            # shutdown returns its socket
        decref(r)
        r = <PyObject*>s
        incref(r)
    return r


cdef PyObject* ssl_attempt(PyObject* self, int kind, PyObject* arg, gm_sock* s, bint late) noexcept:
    if gm_unlikely(late):               # TL5
        return ssl_call_twin(self, kind, arg, s, 1)
    if kind == SSL_SHUTDOWN:            # it asks for the descriptor
        return ssl_call_twin(self, kind, arg, s, 0)
    return ssl_call(self, kind, arg, <PyObject*>ssl_twin_ref)


cdef uint32_t ssl_wants() noexcept:
    # What a call that has failed waits for: PD_READ, PD_WRITE, 0: nothing, it has failed.
    if PyErr_ExceptionMatches(<PyObject*>ssl_want_read):
        return PD_READ
    return PD_WRITE if PyErr_ExceptionMatches(<PyObject*>ssl_want_write) else 0


# ---- until it is done ----------------------------------------------------------------------

cdef int ssl_wait(gm_m* m, gm_sock* s, int fd, gm_pd* pd, uint32_t mode, int64_t deadline) except -1:
    # 1: try again; 0: the time is up. m NULL: the thread waits.
    cdef int r
    if gm_unlikely(s.fd != fd):         # closed while the GIL was given up
        net_raise(m, NET_CLOSED, fd)
    if m == NULL:
        return native_wait(fd, mode, deadline)
    r = net_wait(m, m.curg, pd, mode, False, deadline)
    if r == WAKE_TIMEOUT:
        return 0
    if r == WAKE_READY:
        return 1
    return net_raise(m, r, fd)


cdef int ssl_too_late(int kind, int64_t timeout) except -1:
    if timeout == 0:                    # others are at it
        if kind == SSL_WRITE:
            raise ssl_want_write(3, "The operation did not complete (write)")
        raise ssl_want_read(2, "The operation did not complete (read)")
    raise TimeoutError("The write operation timed out" if kind == SSL_WRITE else
                       "The handshake operation timed out" if kind == SSL_HANDSHAKE else
                       "The read operation timed out")


cdef PyObject* ssl_until_done(gm_m* m, PyObject* self, gm_sock* s, int kind, PyObject* arg,
                              bint lasting) except NULL:
    # lasting: not by the patch. The caller has references to all.
    cdef int64_t timeout = s.timeout
    cdef int64_t deadline = NO_DEADLINE
    cdef uint32_t modes = PD_WRITE if kind == SSL_WRITE else PD_READ if kind == SSL_READ else PD_MODES
    cdef uint32_t want = 0
    cdef gm_ssl_op* op = NULL
    cdef gm_pd* pd
    cdef PyObject* r = NULL
    cdef bint late = False
    cdef int fd
    if m != NULL:
        io_turn(m, s)
    if timeout >= 0:
        deadline = clock_now() + timeout if timeout > 0 else TRY_ONCE
    fd = s.fd
    pd = sock_pd(s)
    try:
        while True:
            if ssl_begin(m, self, s, pd, kind == SSL_WRITE, &op, deadline) == 0:
                ssl_too_late(kind, timeout)
            if gm_unlikely(s.fd != fd):
                net_raise(m, NET_CLOSED, fd)
            ssl_nonblock(s, pd)
            if gm_load_u32_relaxed(&pd.flags) & modes:
                gm_fetch_and_u32_seqcst(&pd.flags, ~modes)      # TL4
            r = ssl_attempt(self, kind, arg, s, late)
            want = 0 if r != NULL else ssl_wants()
            if want == 0 and gm_load_u32_relaxed(&pd.flags) & PD_SET_READ and s.fd == fd:
                gm_fetch_or_u32_seqcst(&pd.flags, PD_READ)      # TL4
            if want == 0 or timeout == 0:
                if r == NULL:
                    reraise()
                return r
            PyErr_Clear()
            if kind == SSL_WRITE:
                ssl_end(op, True)
            else:
                ssl_end(op, False)
                op = NULL
            if late:
                ssl_too_late(kind, timeout)
            modes |= want
            late = ssl_wait(m, s, fd, pd, want, deadline) == 0
    finally:
        if op != NULL:
            ssl_end(op, False)
        if gm_unlikely((not ssl_on and not lasting and pd_idle(pd)) or (kind == SSL_SHUTDOWN and r != NULL)):
            if s.fd == fd:
                ssl_release(pd)


cdef int reraise() except -1:
    # The exception that is set.
    return -1


cdef PyObject* ssl_do(PyObject* self, int kind, PyObject* arg, bint lasting) except NULL:
    cdef gm_m* m = polling_m()
    cdef gm_pd* pd
    cdef gm_sock* s
    cdef object sock
    cdef bint busy
    cdef PyObject* found = ssl_socket(self, &busy)
    if found == NULL:                   # an SSLObject, or its socket is gone: it says so
        return keep(plain_ssl[kind](self, arg))
    sock = take_ref(found)
    s = <gm_sock*>found
    if s.fd < 0 or not PyObject_TypeCheck(found, <PyTypeObject*><PyObject*>py_socket):
        return keep(plain_ssl[kind](self, arg))
    if m == NULL and not busy:
        pd = pd_find(s.fd)
        if pd == NULL or not gm_load_u32_relaxed(&pd.flags) & PD_SSL or (
                PyInterpreterState_Get() != PyInterpreterState_Main()):
            return keep(plain_ssl[kind](self, arg))
    return ssl_until_done(m, self, s, kind, arg, lasting)


cdef PyObject* ssl_do_read(PyObject* self, PyObject* args, bint lasting) except NULL:
    # (size), or (size, buffer). Nothing may run between the exchange and the original (TL1), and what is
    # read into keeps its size while parked.
    cdef object given = <object>args
    if 1 <= len(given) <= 2 and not (PyLong_CheckExact(tuple_get(args, 0)) and (
            len(given) == 1 or PyMemoryView_Check(tuple_get(args, 1)))):
        try:
            given = (PyNumber_Index(given[0]), *(memoryview(b) for b in given[1:]))
        except Exception:
            return keep(plain_ssl[SSL_READ](self, args))
    return ssl_do(self, SSL_READ, <PyObject*>given, lasting)


cdef PyObject* ssl_do_write(PyObject* self, PyObject* data, bint lasting) except NULL:
    cdef object held
    if not PyBytes_CheckExact(data) and not PyMemoryView_Check(data):
        if not PyObject_CheckBuffer(data):
            return keep(plain_ssl[SSL_WRITE](self, data))
        try:
            held = memoryview(<object>data)
        except Exception:
            return keep(plain_ssl[SSL_WRITE](self, data))
        return ssl_do(self, SSL_WRITE, <PyObject*>held, lasting)
    return ssl_do(self, SSL_WRITE, data, lasting)


cdef PyObject* patched_ssl_read(PyObject* self, PyObject* args) except NULL:
    return ssl_do_read(self, args, False)


cdef PyObject* patched_ssl_write(PyObject* self, PyObject* data) except NULL:
    return ssl_do_write(self, data, False)


cdef PyObject* patched_ssl_handshake(PyObject* self, PyObject* nothing) except NULL:
    return ssl_do(self, SSL_HANDSHAKE, NULL, False)


cdef PyObject* patched_ssl_shutdown(PyObject* self, PyObject* nothing) except NULL:
    return ssl_do(self, SSL_SHUTDOWN, NULL, False)


# ---- setting them --------------------------------------------------------------------------

cdef dict SSL_METHODS = {
    "read": (SSL_READ, METH_VARARGS),
    "write": (SSL_WRITE, METH_O),
    "do_handshake": (SSL_HANDSHAKE, METH_NOARGS),
    "shutdown": (SSL_SHUTDOWN, METH_NOARGS),
}


cdef object ssl_method(str name):
    import _ssl
    return vars(_ssl._SSLSocket)[name]


cdef int ssl_known() except -1:
    # Looks whether this interpreter's module is as expected, and what its functions are.
    global ssl_ready, ssl_twin, ssl_twin_ref, ssl_type, ssl_want_read, ssl_want_write
    cdef PyObject* found
    if ssl_ready:
        return 0
    import socket
    import ssl
    _socket_methods()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with socket.socket() as probe:
        o = context._wrap_socket(probe, False, "localhost")
        ssl_type = type(o)
        found = gm_ssl_socket(<PyObject*>o)
        if found == NULL or take_ref(found) is not probe:
            raise RuntimeError("gmpx does not know this interpreter's TLS objects")
    for name, (kind, flags) in SSL_METHODS.items():
        swap_function(ssl_method(name), False, NULL, flags, &plain_ssl[<int>kind])
    ssl_want_read, ssl_want_write = ssl.SSLWantReadError, ssl.SSLWantWriteError
    ssl_twin = ssl_new_twin()
    ssl_twin_ref = PyWeakref_NewRef(ssl_twin, NULL)
    ssl_ready = True
    return 0


cdef void* ssl_ours(int kind) noexcept:
    if kind == SSL_READ:
        return <void*>patched_ssl_read
    if kind == SSL_WRITE:
        return <void*>patched_ssl_write
    if kind == SSL_HANDSHAKE:
        return <void*>patched_ssl_handshake
    return <void*>patched_ssl_shutdown


def _swap_ssl(name, on):
    """_swap_ssl(name, on)
--

    The function behind a method of _ssl._SSLSocket that waits: ours, or the original."""
    global ssl_on
    cdef int kind, flags
    ssl_known()
    kind, flags = SSL_METHODS[name]
    swap_function(ssl_method(name), on, ssl_ours(kind), flags, &plain_ssl[kind])
    ssl_on = on
    if not on:
        ssl_release_all()


# ---- without the patch ---------------------------------------------------------------------

def _ssl_read(o, *args):
    """_ssl_read(o, size[, buffer])
--

    read of an _ssl._SSLSocket, which parks whether it is patched or not; so do the following."""
    return take_ref(ssl_do_read(ssl_object(o), <PyObject*>args, True))


def _ssl_write(o, data):
    """_ssl_write(o, data)
--

    """
    return take_ref(ssl_do_write(ssl_object(o), <PyObject*>data, True))


def _ssl_do_handshake(o):
    """_ssl_do_handshake(o)
--

    """
    return take_ref(ssl_do(ssl_object(o), SSL_HANDSHAKE, NULL, True))


def _ssl_shutdown(o):
    """_ssl_shutdown(o)
--

    """
    return take_ref(ssl_do(ssl_object(o), SSL_SHUTDOWN, NULL, True))


cdef PyObject* ssl_object(object o) except NULL:
    ssl_known()
    if type(o) is not ssl_type:
        raise TypeError(f"no TLS connection: {type(o).__name__}")
    return <PyObject*>o
