# The methods of sockets: recv, send, accept, connect and so on, which park the goroutine.
#
# gmpx.io.Socket has them, and gmpx.patch.socket() sets them on socket.socket itself, in place: sockets
# that live, subclasses and whoever has imported the class get them too. Where the calling thread runs no
# goroutine that could park (net_native) each calls the method that it stands for.
#
# recv, recv_into, send, sendall and accept are direct system calls with the GIL kept: CPython gives it up
# at each, and gets it back after 5 ms where another thread computes (a send and a recv beside one: 6.7 us
# against 28 to 2,309). Beyond BIG bytes it is given up, for the others' sake.
#
# Invariants
#   SK1  The open file is left as it is: MSG_DONTWAIT makes a call non-blocking, so that other threads,
#       children and C libraries still block on it. connect sets O_NONBLOCK for as long as it lasts, accept
#       for good (PD_NONBLOCK says that it was us); settimeout undoes that.
#   SK2  One attempt comes before any wait, unless PD_READ says that it would be in vain: a read that
#       returned less than it asked for has emptied a TCP socket's buffer, so it leaves PD_READ clear. Not if
#       the peer has closed (PD_HUP: no edge follows) or urgent data has come (reported as PD_HUP, too).
#   SK3  What the others do (recvfrom, sendmsg ...) is the original method called on a twin: a raw socket
#       object with the same descriptor and a time-out of 0. The socket's own time-out is left alone, for
#       other goroutines and threads use it meanwhile.
#   SK4  Nothing is held while parked: recv reads into a buffer of the M's, then makes the bytes. (What is to
#       be read in parts, MSG_WAITALL, goes into bytes of its own.)
#   SK5  A goroutine that never has to wait yields after IO_TURN calls in a row, and has the poller looked at:
#       before the call, so that no data is lost if that raises. The descriptor is read after that: the number
#       may be another file's by then.
#   SK6  What lies between a call and the wait that follows it is one step for other goroutines, because of
#       the GIL: none of them clears meanwhile an edge that came after the call (NP2). Where the GIL was given
#       up, or there is none, the descriptor is watched anew (net_again), and the attempt counted (NP8).
#   SK7  A peer that answers faster than we come back to recv must not have the thread for itself: on loopback
#       its answer is often there before our send returns. A socket that is registered parks after each
#       short read (SK2); one that is not is, by the fourth that found something.

cdef extern from "rt/io/sockaddr.h" nogil:
    ctypedef struct gm_sock:
        int fd
        int family
        int type
        int proto
        int64_t timeout
    ctypedef struct gm_sockaddr "struct sockaddr_storage":
        pass
    ctypedef unsigned int socklen_t
    int gm_accept(int, gm_sockaddr*, socklen_t*)
    int gm_set_nonblock(int)
    int gm_set_block(int)
    int gm_so_error(int)
    bint gm_lingers(int)
    bint gm_nobody_there(int)
    bint gm_writable_now(int)
    Py_ssize_t gm_recv(int, void*, size_t, int)         # with MSG_DONTWAIT
    Py_ssize_t gm_send(int, const void*, size_t, int)
    enum: GM_SOCKETS
    int MSG_DONTWAIT
    int MSG_WAITALL
    int MSG_PEEK
    int MSG_ERRQUEUE
    int AF_INET
    int AF_INET6
    int SOCK_STREAM
    int IPPROTO_TCP
    int EINPROGRESS
    int ECONNABORTED
    int ECONNRESET
    int EWOULDBLOCK

cdef extern from "rt/io/sockaddr.h":
    PyObject* gm_address(gm_sockaddr*, socklen_t) noexcept
    bint gm_by_name(int, PyObject*) noexcept

cdef extern from "Python.h":
    ctypedef struct Py_buffer:
        void* buf
        Py_ssize_t len
    int PyObject_GetBuffer(PyObject*, Py_buffer*, int) except -1
    bint PyObject_CheckBuffer(PyObject*) noexcept
    void PyBuffer_Release(Py_buffer*)
    int PyBUF_SIMPLE
    int PyBUF_WRITABLE
    PyObject* bytes_new "PyBytes_FromStringAndSize"(const char*, Py_ssize_t) except NULL
    char* bytes_data "PyBytes_AS_STRING"(PyObject*) noexcept
    bint PyBytes_CheckExact(PyObject*) noexcept
    Py_ssize_t bytes_len "PyBytes_GET_SIZE"(PyObject*) noexcept
    int _PyBytes_Resize(PyObject**, Py_ssize_t) except -1
    Py_ssize_t PyNumber_AsSsize_t(PyObject*, PyObject*) except? -1
    object PyNumber_Index(object)
    Py_ssize_t PyLong_AsSsize_t(object) except? -1
    long PyLong_AsLong(PyObject*) except? -1
    PyObject* PyExc_OverflowError

cdef enum:
    SCRATCH_BYTES = 65536               # SK4; a larger recv reads into its own bytes object
    BIG_BYTES = 262144                  # more is moved without the GIL (64 KiB: 19 us with it)
    IO_TURN = 16                        # SK5
    UNIX_RETRY_NS = 1000000             # a Unix listener's full queue sends no event

cdef object raw_socket = None           # _socket.socket
cdef object py_socket = None            # socket.socket
cdef object io_socket = None            # gmpx.io.Socket
cdef object default_timeout = None      # _socket.getdefaulttimeout
cdef dict plain = {}                    # name -> what socket.socket had; borrowed below
cdef object twin_spare = None
cdef object io_names = None             # gmpx.io.names.numeric
cdef Py_ssize_t raw_size = 0


cdef inline gm_m* io_m() noexcept:
    # The M whose goroutine is to park, or NULL: the thread is to block.
    cdef gm_m* m = gm_tls_m
    if gm_unlikely(m == NULL):
        m = io_m_new()
    return NULL if net_native(m) else m


cdef gm_m* io_m_new() noexcept:
    # A thread that gmpx does not know: the main thread runs the main goroutine from here on.
    if PyThread_get_thread_ident() != main_ident or sys_finalizing() or (
            PyInterpreterState_Get() != PyInterpreterState_Main()):
        return NULL
    try:
        return getm()
    except BaseException as e:
        unraisable(e)
        return NULL


cdef inline int io_turn(gm_m* m, gm_sock* s) except -1:
    if gm_unlikely(s.timeout == 0):
        return 0                        # it cannot wait, so it does not park: somebody may hold a lock
    m.io_ops += 1
    if gm_unlikely(m.io_ops % IO_TURN == 0):
        return io_yield(m)
    return 0


cdef int io_yield(gm_m* m) except -1:
    cdef uint64_t tick
    if m.keeps_off:
        return 0
    tick = gm_load_u64_relaxed(&m.p.sched_tick)
    if tick != m.io_tick:               # others have run since
        m.io_tick = tick
        return 0
    if net_awaited(m):
        net_poll(m, m, 0)
    yield_now(m, m.curg)
    m.io_tick = gm_load_u64_relaxed(&m.p.sched_tick)
    return 0


cdef int sock_wait(gm_m* m, gm_sock* s, int fd, gm_pd* pd, uint32_t mode, int64_t* deadline) except -1:
    # Parks until fd may be ready. deadline: 0 before the first wait.
    cdef int r = NET_CLOSED
    if deadline[0] == 0:
        deadline[0] = clock_now() + s.timeout if s.timeout > 0 else NO_DEADLINE
    if gm_likely(s.fd == fd):           # else closed while the GIL was given up
        r = net_wait(m, m.curg, pd, mode, False, deadline[0])
    if r == WAKE_TIMEOUT and s.fd == fd and gm_poll_one(fd, mode == PD_WRITE, 0) > 0:
        net_again(pd, mode)             # it has come in time, or just now: timers are looked at first
        return 0
    if gm_unlikely(r == WAKE_READY and s.fd != fd):
        r = NET_CLOSED
    if gm_unlikely(r != WAKE_READY):
        return net_raise(m, r, fd)
    return 0


cdef inline bint gives_gil(Py_ssize_t size) noexcept nogil:
    # SK6
    return GM_FREE_THREADED or gm_unlikely(size > BIG_BYTES)


cdef int attempt(gm_sock* s, gm_pd* pd) except -1:
    # NP8; the GIL held, if there is one.
    attempt_begin(pd)
    if gm_unlikely(s.fd != pd.fd):
        attempt_over(pd)
        raise_errno(EBADF)
    return 0


cdef void attempt_over(gm_pd* pd) noexcept:
    if gm_unlikely(attempt_end(pd)):
        net_renew(pd.fd, NET_CLOSED)    # who has looked since the first time has found it open, and waits again
        close_now(pd.fd)


cdef int close_now(int fd) noexcept:
    # 0, or an errno. With the GIL kept, unless it may take its time.
    cdef PyThreadState* ts
    cdef int r, e
    if gm_lingers(fd):
        ts = PyEval_SaveThread()
        r = c_close(fd)
        e = errno
        PyEval_RestoreThread(ts)
    else:
        r = c_close(fd)
        e = errno
    return e if r < 0 and e != ECONNRESET else 0


cdef inline gm_pd* sock_pd(gm_sock* s) except NULL:
    cdef gm_pd* pd
    if gm_unlikely(s.fd < 0):
        raise_errno(EBADF)
        return NULL
    pd = pd_of(s.fd)
    if gm_unlikely(pd == NULL):
        raise MemoryError()
    return pd


cdef inline bint gives_up(gm_sock* s, int flags) noexcept nogil:
    # Whether a call that would block says so. (One with a time-out waits whatever its flags are.)
    return s.timeout == 0 or (s.timeout < 0 and flags & (MSG_DONTWAIT | MSG_ERRQUEUE))


# ---- recv ----------------------------------------------------------------------------------

cdef inline bint empties(gm_sock* s) noexcept nogil:
    # SK2: whether a short read says that nothing is left. (A Unix socket's may end at ancillary data.)
    return s.type == SOCK_STREAM and (s.family == AF_INET or s.family == AF_INET6) and (
        s.proto == 0 or s.proto == IPPROTO_TCP)


cdef Py_ssize_t sock_read(gm_m* m, gm_sock* s, char* buf, Py_ssize_t size, int flags) except -1:
    cdef int64_t deadline = 0
    cdef Py_ssize_t n
    cdef Py_ssize_t got = 0
    cdef gm_pd* pd
    cdef uint32_t f
    cdef int fd, e
    cdef PyThreadState* ts
    io_turn(m, s)
    fd = s.fd
    pd = sock_pd(s)
    while True:
        f = gm_load_u32_relaxed(&pd.flags)
        if ((f & (PD_SET_READ | PD_READ)) == PD_SET_READ or gm_unlikely(
                (f & (PD_EAGER_MOST | PD_SET_READ | PD_READ)) == PD_EAGER_MOST)) and (
                flags == 0 and s.timeout != 0 and size > 0):
            sock_wait(m, s, fd, pd, PD_READ, &deadline)         # SK2, SK7
            continue
        if f & PD_SET_READ:
            gm_fetch_and_u32_seqcst(&pd.flags, ~<uint32_t>PD_READ)      # NP2
        if gives_gil(size):
            attempt(s, pd)
        if gm_likely(size <= BIG_BYTES):
            n = gm_recv(fd, buf, size, flags)
            e = errno
        else:
            ts = PyEval_SaveThread()
            n = gm_recv(fd, buf, size, flags)
            e = errno
            hook_point(HOOK_BIG_READ)
            PyEval_RestoreThread(ts)
        if gives_gil(size):
            attempt_over(pd)
        if n >= 0:
            if f & PD_SET_READ and (n == size or n == 0 or flags or not empties(s)
                                    or gm_load_u32_relaxed(&pd.flags) & PD_HUP):
                if gives_gil(size):
                    net_more(m, pd)
                else:
                    gm_fetch_or_u32_seqcst(&pd.flags, PD_READ)
            elif gm_unlikely(not f & PD_SET_READ) and n > 0 and n < size:
                sock_eager(pd, f)
            got += n
            if gm_likely(not flags & MSG_WAITALL) or n == 0 or n == size or s.timeout >= 0 or (
                    flags & MSG_PEEK or s.type != SOCK_STREAM):
                return got
            buf += n
            size -= n
        elif e == EAGAIN or e == EWOULDBLOCK:
            if gives_up(s, flags):
                return got if got > 0 else raise_errno(e)
            if gives_gil(size):
                net_again(pd, PD_READ)
            elif not f & PD_SET_READ:
                gm_fetch_and_u32_seqcst(&pd.flags, ~<uint32_t>PD_READ)  # an error's, from PD_SET_WRITE
            sock_wait(m, s, fd, pd, PD_READ, &deadline)
        elif e == EINTR:
            if PyErr_CheckSignals() < 0:
                return -1
        else:
            if f & PD_SET_READ:
                if gives_gil(size):
                    net_more(m, pd)
                else:
                    gm_fetch_or_u32_seqcst(&pd.flags, PD_READ)
            return got if got > 0 else raise_errno(e)


cdef void sock_eager(gm_pd* pd, uint32_t f) noexcept nogil:
    # SK7. A count that gets lost to another reader is none the worse.
    if f & PD_EAGER_MOST != PD_EAGER_MOST:
        gm_fetch_and_u32_seqcst(&pd.flags, ~<uint32_t>PD_EAGER_MOST)
        gm_fetch_or_u32_seqcst(&pd.flags, (f & PD_EAGER_MOST) + PD_EAGER)


cdef char* scratch_of(gm_m* m) except NULL:
    if m.scratch == NULL:
        m.scratch = <char*>malloc(SCRATCH_BYTES)
        if m.scratch == NULL:
            raise MemoryError()
    return m.scratch


cdef int flags_arg(PyObject* arg) except? -1:
    cdef long n = PyLong_AsLong(arg)
    if n != <int>n:
        raise OverflowError("signed integer is greater than maximum" if n > 0 else
                            "signed integer is less than minimum")
    return <int>n


cdef PyObject* sock_recv(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = io_m()
    cdef Py_ssize_t size, n
    cdef int flags = 0
    cdef PyObject* b
    if gm_unlikely(m == NULL):
        return call_plain("recv", self, args, nargs, NULL)
    if gm_unlikely(nargs < 1 or nargs > 2):
        raise TypeError(f"recv() takes 1 or 2 arguments ({nargs} given)")
    size = PyNumber_AsSsize_t(args[0], PyExc_OverflowError)
    if nargs == 2:
        flags = flags_arg(args[1])
    if gm_unlikely(size < 0):
        raise ValueError("negative buffersize in recv")
    if gm_likely(size <= SCRATCH_BYTES and not flags & MSG_WAITALL):
        n = sock_read(m, <gm_sock*>self, scratch_of(m), size, flags)
        return bytes_new(m.scratch, n)
    b = bytes_new(NULL, size)
    try:
        n = sock_read(m, <gm_sock*>self, bytes_data(b), size, flags)
    except:
        decref(b)
        raise
    if n != size:
        _PyBytes_Resize(&b, n)
    return b


cdef bint buffer_args(PyObject** args, Py_ssize_t nargs, PyObject* kwnames, PyObject** out) except -1:
    # (buffer, nbytes=0, flags=0), each by position or by name: out[0..2], NULL if not given. False: they
    # are wrong.
    cdef Py_ssize_t i
    cdef Py_ssize_t at
    out[0] = out[1] = out[2] = NULL
    if nargs > 3:
        return False
    for i in range(nargs):
        out[i] = args[i]
    for i in range(tuple_size(kwnames) if kwnames != NULL else 0):
        name = <object>tuple_get(kwnames, i)
        if name not in ("buffer", "nbytes", "flags"):
            return False
        at = 0 if name == "buffer" else 1 if name == "nbytes" else 2
        if out[at] != NULL:
            return False
        out[at] = args[nargs + i]
    return out[0] != NULL and PyObject_CheckBuffer(out[0])


cdef PyObject* sock_recv_into(PyObject* self, PyObject** args, Py_ssize_t nargs,
                              PyObject* kwnames) except NULL:
    cdef gm_m* m = io_m()
    cdef PyObject* given[3]
    cdef Py_buffer b
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t n
    cdef int flags = 0
    if gm_unlikely(m == NULL or not buffer_args(args, nargs, kwnames, given)):
        return call_plain("recv_into", self, args, nargs, kwnames)
    if given[1] != NULL:
        size = PyLong_AsSsize_t(PyNumber_Index(<object>given[1]))
    if given[2] != NULL:
        flags = flags_arg(given[2])
    try:
        PyObject_GetBuffer(given[0], &b, PyBUF_WRITABLE)
    except BufferError:                 # the original says it in its words
        return call_plain("recv_into", self, args, nargs, kwnames)
    try:
        if size < 0:
            raise ValueError("negative buffersize in recv_into")
        if size == 0:
            size = b.len
        elif size > b.len:
            raise ValueError("buffer too small for requested bytes")
        n = sock_read(m, <gm_sock*>self, <char*>b.buf, size, flags) if size > 0 else 0
    finally:
        PyBuffer_Release(&b)
    return PyLong_FromSsize_t(n)


# ---- send ----------------------------------------------------------------------------------

cdef Py_ssize_t sock_write(gm_m* m, gm_sock* s, const char* buf, Py_ssize_t size, int flags,
                           int64_t* deadline) except -1:
    cdef int fd = s.fd
    cdef gm_pd* pd = sock_pd(s)
    cdef Py_ssize_t n
    cdef int e
    cdef PyThreadState* ts
    while True:
        if gives_gil(size):
            attempt(s, pd)
        if gm_likely(size <= BIG_BYTES):
            n = gm_send(fd, buf, size, flags)
            e = errno
        else:
            ts = PyEval_SaveThread()
            n = gm_send(fd, buf, size, flags)
            e = errno
            PyEval_RestoreThread(ts)
        if gives_gil(size):
            attempt_over(pd)
        if gm_likely(n >= 0):
            return n
        if e == EAGAIN or e == EWOULDBLOCK:
            if gives_up(s, flags):
                return raise_errno(e)
            if gives_gil(size):
                net_again(pd, PD_WRITE)
                sock_wait(m, s, fd, pd, PD_WRITE, deadline)
            else:
                sock_blocked(m, s, fd, pd, PD_WRITE, deadline)
        elif e == EINTR:
            if PyErr_CheckSignals() < 0:
                return -1
        else:
            return raise_errno(e)


cdef int sock_blocked(gm_m* m, gm_sock* s, int fd, gm_pd* pd, uint32_t mode,
                      int64_t* deadline) except -1:
    # A call has said EAGAIN. If an edge is remembered it may be older than that: the caller tries again,
    # and what comes after this clearing stays (NP2).
    if gm_fetch_and_u32_seqcst(&pd.flags, ~mode) & mode:
        return 0
    return sock_wait(m, s, fd, pd, mode, deadline)


cdef PyObject* sock_send(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = io_m()
    cdef int64_t deadline = 0
    cdef Py_buffer b
    cdef Py_ssize_t n
    cdef int flags = 0
    if gm_unlikely(m == NULL or nargs < 1 or nargs > 2):
        return call_plain("send", self, args, nargs, NULL)
    if nargs == 2:
        flags = flags_arg(args[1])
    io_turn(m, <gm_sock*>self)
    if gm_likely(PyBytes_CheckExact(args[0])):
        return PyLong_FromSsize_t(sock_write(m, <gm_sock*>self, bytes_data(args[0]),
                                             bytes_len(args[0]), flags, &deadline))
    PyObject_GetBuffer(args[0], &b, PyBUF_SIMPLE)
    try:
        n = sock_write(m, <gm_sock*>self, <char*>b.buf, b.len, flags, &deadline)
    finally:
        PyBuffer_Release(&b)
    return PyLong_FromSsize_t(n)


cdef int write_all(gm_m* m, gm_sock* s, const char* buf, Py_ssize_t size, int flags) except -1:
    cdef int64_t deadline = 0           # for all of it, as CPython's
    cdef Py_ssize_t n
    io_turn(m, s)
    while True:
        n = sock_write(m, s, buf, size, flags, &deadline)
        buf += n
        size -= n
        if gm_likely(size <= 0):
            return 0


cdef PyObject* sock_sendall(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = io_m()
    cdef Py_buffer b
    cdef int flags = 0
    if gm_unlikely(m == NULL or nargs < 1 or nargs > 2):
        return call_plain("sendall", self, args, nargs, NULL)
    if nargs == 2:
        flags = flags_arg(args[1])
    if gm_likely(PyBytes_CheckExact(args[0])):
        write_all(m, <gm_sock*>self, bytes_data(args[0]), bytes_len(args[0]), flags)
    else:
        PyObject_GetBuffer(args[0], &b, PyBUF_SIMPLE)
        try:
            write_all(m, <gm_sock*>self, <char*>b.buf, b.len, flags)
        finally:
            PyBuffer_Release(&b)
    return own(None)
