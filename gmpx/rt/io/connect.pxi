# accept, connect and bind: how a connection begins (SK1 in rt/io/socket.pxi).
#
# The original looks a host's name up itself, and the thread stands meanwhile. So an address with a name
# becomes one with a number first, on the threads of gmpx.io.names.

# ---- accept --------------------------------------------------------------------------------

cdef int listener_nonblock(gm_sock* s, gm_pd* pd) except -1:
    # SK1. Before each try: another's settimeout, on this object or one that shares the open file, may have
    # undone it, and accept(2) would hold the GIL until somebody comes.
    cdef int r = gm_set_nonblock(s.fd)
    if r < 0:
        raise_errno(errno)
    if r > 0:
        gm_fetch_or_u32_seqcst(&pd.flags, PD_NONBLOCK)
    return 0


cdef int accept_blocked(gm_m* m, gm_sock* s, int fd, gm_pd* pd, int64_t* deadline) except -1:
    # Nobody is there. m NULL: the thread waits, on a listener that accept has made non-blocking.
    if s.timeout == 0:
        raise_errno(EAGAIN)
    if m != NULL:
        return sock_blocked(m, s, fd, pd, PD_READ, deadline)
    if deadline[0] == 0:
        deadline[0] = gm_nanotime() + s.timeout if s.timeout > 0 else NO_DEADLINE
    if not native_wait(fd, PD_READ, deadline[0]):
        raise TimeoutError("timed out")
    return 0


cdef int sock_take(gm_m* m, gm_sock* s, gm_sockaddr* addr, socklen_t* n) except -1:
    cdef int64_t deadline = 0
    cdef gm_pd* pd
    cdef int fd, c, e
    if m != NULL:
        io_turn(m, s)
    fd = s.fd
    pd = sock_pd(s)
    while True:
        listener_nonblock(s, pd)
        if gm_nobody_there(fd):         # SK1: others may undo it right now, and accept(2) would keep the GIL
            accept_blocked(m, s, fd, pd, &deadline)
            continue
        if GM_FREE_THREADED:
            attempt(s, pd)
        c = gm_accept(fd, addr, n)
        e = errno
        if GM_FREE_THREADED:
            attempt_over(pd)
        if c >= 0:
            net_fresh(c)
            return c
        if e == EAGAIN or e == EWOULDBLOCK:
            accept_blocked(m, s, fd, pd, &deadline)
        elif e == EINTR:
            if PyErr_CheckSignals() < 0:
                return -1
        elif e != ECONNABORTED:         # that client has gone: the next
            raise_errno(e)


cdef object address_of(gm_sock* s, int c, gm_sockaddr* addr, socklen_t n):
    # Of the peer of c, which s has accepted.
    cdef PyObject* r = gm_address(addr, n)
    if r != NULL:
        return take_ref(r)
    if PyErr_Occurred() != NULL:
        raise MemoryError()
    twin = twin_of(s)                   # another family: CPython knows how to show it
    (<gm_sock*><PyObject*>twin).fd = c
    try:
        return raw_socket.getpeername(twin)
    finally:
        twin_done(twin)


cdef PyObject* sock_accept_fd(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    # _accept: (descriptor, address)
    cdef gm_sockaddr addr
    cdef socklen_t n
    cdef gm_m* m = io_m()
    cdef gm_sock* s = <gm_sock*>self
    cdef gm_pd* pd = pd_find(s.fd) if s.fd >= 0 else NULL
    cdef int c
    if nargs > 0 or s.fd < 0 or (m == NULL and (
            pd == NULL or not gm_load_u32_relaxed(&pd.flags) & PD_NONBLOCK)):
        return call_plain("_accept", self, args, nargs, NULL)
    c = sock_take(m, s, &addr, &n)
    try:
        return own((c, address_of(s, c, &addr, n)))
    except:
        c_close(c)
        raise


cdef PyObject* sock_accept(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_sock* s = <gm_sock*>self
    cdef PyObject* pair = sock_accept_fd(self, args, nargs)
    cdef int c = <object>tuple_get(pair, 0)
    cdef object new
    try:
        cls = io_socket if io_socket is not None and isinstance(<object>self, io_socket) else py_socket
        new = cls.__new__(cls)
        raw_socket.__init__(new, s.family, s.type, s.proto, c)
    except:
        c_close(c)
        decref(pair)
        raise
    new._io_refs = 0
    new._closed = False
    net_fresh(c)
    if default_timeout() is None and s.timeout > 0:
        new.setblocking(True)           # where an accepted socket inherits O_NONBLOCK
    result = (new, <object>tuple_get(pair, 1))
    decref(pair)
    return own(result)


# ---- connect -------------------------------------------------------------------------------

cdef int sock_connected(gm_m* m, PyObject* self, PyObject* address) except -1:
    # 0, or an errno.
    cdef gm_sock* s = <gm_sock*>self
    cdef gm_pd* pd = sock_pd(s)
    cdef int fd = s.fd
    cdef int64_t deadline = 0
    cdef int e
    cdef bint ours = s.timeout < 0 and gm_set_nonblock(fd) > 0      # SK1
    try:
        while True:
            e = on_twin(s, pd, plain["connect_ex"], [<object>address], {})
            if e != EAGAIN:
                break
            # a Unix listener's queue is full, and no event will tell
            if s.timeout > 0 and deadline == 0:
                deadline = clock_now() + s.timeout
            if deadline > 0 and clock_now() >= deadline:
                raise TimeoutError("timed out")
            nap_until(m, clock_now() + UNIX_RETRY_NS)
            if s.fd != fd:
                return EBADF
        if e != EINPROGRESS:
            return e
        net_unready(pd)
        while not gm_writable_now(fd):
            net_again(pd, PD_WRITE)
            sock_wait(m, s, fd, pd, PD_WRITE, &deadline)
        return gm_so_error(fd)
    finally:
        if ours and s.fd == fd:
            gm_set_block(fd)


cdef void net_unready(gm_pd* pd) noexcept nogil:
    # The socket is being connected: what was seen of it before that is over.
    pd_lock(pd)
    gm_fetch_and_u32_seqcst(&pd.flags, PD_NONBLOCK)
    pd_unlock(pd)


cdef int nap_until(gm_m* m, int64_t deadline) except -1:
    cdef int r
    park_arm(m.curg.park, WHY_IO)
    r = gopark(m, m.curg, deadline)
    if r != WAKE_TIMEOUT:
        return park_raise(m, r, "connect")
    return 0


cdef PyObject* sock_connect(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = io_m()
    cdef int e
    if m == NULL or nargs != 1 or (<gm_sock*>self).timeout == 0:
        return call_plain("connect", self, args, nargs, NULL)
    address = numeric(self, args[0])
    e = sock_connected(m, self, <PyObject*>address)
    if e != 0:
        raise_errno(e)
    return own(None)


cdef PyObject* sock_connect_ex(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = io_m()
    cdef int e
    if m == NULL or nargs != 1 or (<gm_sock*>self).timeout == 0:
        return call_plain("connect_ex", self, args, nargs, NULL)
    address = numeric(self, args[0])
    try:
        e = sock_connected(m, self, <PyObject*>address)
    except TimeoutError:
        e = EWOULDBLOCK
    return PyLong_FromSsize_t(e)


# ---- names ---------------------------------------------------------------------------------

cdef object numeric(PyObject* self, PyObject* address):
    # The address, with a number for its host's name. Parks, if there is one.
    if gm_likely(not gm_by_name((<gm_sock*>self).family, address)):
        return <object>address
    return io_names((<gm_sock*>self).family, <object>address)


cdef PyObject* sock_bind(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef PyObject* one
    if nargs != 1 or io_m() == NULL:
        return call_plain("bind", self, args, nargs, NULL)
    address = numeric(self, args[0])
    one = <PyObject*>address
    return call_plain("bind", self, &one, 1, NULL)
