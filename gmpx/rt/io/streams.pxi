# os.read, os.write, os.readv, os.writev, and FileIO's read, readinto, readall and write, as they are after
# gmpx.patch: pipes, FIFOs, terminals, eventfds and sockets park the goroutine.
#
# Invariants
#   ST1  The open file is left as it is: others block on it (children, threads). Each try is non-blocking by
#        itself (streams.h says how), so that a readiness which somebody else has taken blocks nobody.
#        Where the kernel has nothing of the kind (GM_KIND_POLL) poll(2) is asked before.
#   ST2  A descriptor that is O_NONBLOCK never parks, unless that is of our making (PD_NONBLOCK).
#   ST3  pd.flags keeps the kind of file. Who closes by os.close, os.dup2 or FileIO.close clears it (gate_pass), and
#        so does the patch, before which nobody saw to that. If somebody else has closed: a wrong GM_KIND_FILE is a
#        call without us, any other is found out by an errno.
#   ST4  What writes waits until all is written, as write(2) on a file that blocks does. Not for a
#        BufferedWriter, which goes on by itself: what it has passed on counts, even if a wait is cancelled.
#   ST5  A goroutine parks inside FileIO with the lock of the BufferedReader or BufferedWriter held, which would
#        block the threads of all others. So it is noted in parked_files, and those of another goroutine
#        wait at a gate before the lock.

cdef extern from "rt/io/streams.h" nogil:
    ctypedef struct gm_iov "struct iovec":
        void* iov_base
        size_t iov_len
    enum: GM_STREAMS
    enum:
        GM_KIND_UNKNOWN
        GM_KIND_FILE
        GM_KIND_NOWAIT
        GM_KIND_SOCKET
        GM_KIND_REOPEN
        GM_KIND_POLL
    int gm_nowait
    int gm_fd_kind(int)
    int gm_fd_kind_else(int)
    bint gm_fd_nonblock(int)
    int gm_tty_patience(int)
    Py_ssize_t gm_write_most(int)
    bint gm_fd_open(int)
    Py_ssize_t gm_fd_there(int)
    Py_ssize_t gm_read_now(int, gm_iov*, int, int)
    Py_ssize_t gm_write_now(int, gm_iov*, int, int)
    Py_ssize_t gm_read_plain(int, gm_iov*, int)
    Py_ssize_t gm_write_plain(int, gm_iov*, int)

cdef extern from *:
    """
    #ifndef EOPNOTSUPP
    #  define EOPNOTSUPP ENOTSUP
    #endif
    """
    int64_t PyLong_AsLongLong(PyObject*) except? -1
    bint PySequence_Check(PyObject*) noexcept
    int EOPNOTSUPP
    int ENOTSOCK
    int ENOTSUP

cdef enum:
    FAILED = -1                         # with an errno; an exception is -2
    READ_MOST = 2147479552              # what Linux moves at once
    POLLED_BYTES = 256                  # gm_write_most is never less
    SHORT_BYTES = 4096                  # to be copied
    TURN_BYTES = 4096                   # stream_turn

cdef PyCFunction plain_read = NULL
cdef PyCFunction plain_write = NULL
cdef PyCFunction plain_readv = NULL
cdef PyCFunction plain_writev = NULL


# ---- any descriptor ------------------------------------------------------------------------

cdef inline int pd_kind(gm_pd* pd) noexcept nogil:
    cdef int kind = (gm_load_u32_relaxed(&pd.flags) & PD_KIND) >> PD_KIND_SHIFT
    return kind if gm_likely(kind != GM_KIND_UNKNOWN) else pd_set_kind(pd, gm_fd_kind(pd.fd))


cdef int pd_set_kind(gm_pd* pd, int kind) noexcept nogil:
    gm_fetch_and_u32_seqcst(&pd.flags, ~<uint32_t>PD_KIND)
    gm_fetch_or_u32_seqcst(&pd.flags, kind << PD_KIND_SHIFT)
    return kind


cdef void kinds_forget() noexcept nogil:
    # ST3
    cdef gm_pd* chunk
    cdef uint32_t i
    cdef int k
    for i in range(gm_load_u32_acquire(&pd_top)):
        chunk = <gm_pd*>gm_load_ptr_acquire(&pd_chunks[i])
        if chunk == NULL:
            continue
        for k in range(PD_CHUNK):
            if gm_load_u32_relaxed(&chunk[k].flags) & PD_KIND:
                gm_fetch_and_u32_seqcst(&chunk[k].flags, ~<uint32_t>PD_KIND)


cdef inline gm_pd* stream_pd(gm_m* m, int64_t fd) noexcept nogil:
    # NULL: the original does it.
    cdef gm_pd* pd
    cdef int kind
    if m == NULL or not GM_STREAMS or fd < 0 or fd >= <int64_t>PD_CHUNK * PD_CHUNKS:
        return NULL
    pd = pd_of(<int>fd)
    if gm_unlikely(pd == NULL):
        return NULL
    kind = pd_kind(pd)
    return NULL if kind == GM_KIND_FILE or kind == GM_KIND_UNKNOWN else pd


cdef Py_ssize_t stream_attempt(gm_pd* pd, gm_iov* v, int n, Py_ssize_t size, bint writes) except -2:
    # Without waiting: how many bytes; FAILED, with errno. EAGAIN: there is nothing, or no room.
    cdef int fd = pd.fd
    cdef int kind = pd_kind(pd)
    cdef int found
    cdef int e
    cdef Py_ssize_t r
    cdef PyThreadState* ts
    if gm_unlikely(size == 0) and not writes:
        r = gm_read_plain(fd, v, n)     # waits for nothing, where recvmsg(2) would say EAGAIN
        return r if r >= 0 else failed(errno)
    while True:
        if gm_unlikely(kind == GM_KIND_POLL) and not gm_fd_nonblock(fd):
            r = gm_poll_one(fd, writes, 0)
            if r <= 0:
                return failed(EAGAIN if r == 0 else errno)
        if kind == GM_KIND_POLL or kind == GM_KIND_FILE or gives_gil(size if kind == GM_KIND_SOCKET else 0):
            ts = PyEval_SaveThread()
            r = stream_try(fd, v, n, size, kind, writes)
            e = errno
            PyEval_RestoreThread(ts)
        else:
            r = stream_try(fd, v, n, size, kind, writes)
            e = errno
        if gm_likely(r >= 0):
            return r
        if e == EAGAIN or e == EWOULDBLOCK:
            return failed(EAGAIN)
        if e == EINTR:
            if PyErr_CheckSignals() < 0:
                return -2
        elif (e == EOPNOTSUPP or e == ENOTSUP or e == ENOTSOCK) and kind != GM_KIND_POLL:
            found = gm_fd_kind_else(fd)
            kind = GM_KIND_POLL if found == kind else found     # there is no reopening it
            pd_set_kind(pd, kind)
            if kind == GM_KIND_UNKNOWN:
                return failed(EBADF)
        else:
            return failed(e)


cdef inline Py_ssize_t failed(int e) noexcept nogil:
    global errno
    errno = e
    return FAILED


cdef Py_ssize_t stream_read(gm_m* m, gm_pd* pd, gm_iov* v, int n, Py_ssize_t size, PyObject* file) except -2:
    # How many bytes; FAILED, with errno. file: a FileIO (ST5), or NULL.
    cdef int64_t deadline = NO_DEADLINE
    cdef Py_ssize_t r
    while True:
        r = stream_attempt(pd, v, n, size, False)
        if r != FAILED or errno != EAGAIN:
            return r
        r = stream_wait(m, pd, &deadline, file)
        if r <= 0:
            return r


cdef Py_ssize_t stream_write(gm_m* m, gm_pd* pd, gm_iov* v, int n, Py_ssize_t size, bint some,
                             PyObject* file) except -2:
    # As stream_read. some: what has been written counts, should a wait be interrupted (ST4).
    cdef Py_ssize_t done = 0
    cdef Py_ssize_t r
    while True:
        r = stream_attempt(pd, v, n, size - done, True)
        if r >= 0:
            done += r
            if gm_likely(done == size):
                return done
            iov_skip(&v, &n, r)
            if pd_kind(pd) == GM_KIND_POLL:
                continue
            # else the next attempt would be in vain
        elif r != FAILED or errno != EAGAIN:
            return r if r < FAILED or done == 0 else done       # the next call will fail
        if gm_fd_nonblock(pd.fd):       # ST2
            return done if done > 0 else failed(EAGAIN)
        r = stream_park(m, pd, PD_WRITE, NO_DEADLINE, file)
        if r != WAKE_READY and r != NET_ERRNO + EPERM:
            if some and done > 0 and give_back(m, <int>r):
                return done
            net_raise(m, <int>r, pd.fd)
            return -2


cdef bint give_back(gm_m* m, int r) noexcept:
    # What has ended a wait comes again, at the next one: there is something to tell before.
    if r == WAKE_CANCEL:
        m.curg.flags |= GF_CANCEL
    elif r == WAKE_SCOPE:
        scopes_undeliver(m.curg.park)
    elif r == WAKE_INTERRUPT:
        m.interrupt_later = True
        interrupt_soon(m)
    else:
        return False
    return True


cdef inline Py_ssize_t stream_try(int fd, gm_iov* v, int n, Py_ssize_t size, int kind,
                                  bint writes) noexcept nogil:
    cdef gm_iov first
    cdef Py_ssize_t most
    if not writes:
        return gm_read_now(fd, v, n, kind)
    if kind == GM_KIND_POLL and size > POLLED_BYTES and not gm_fd_nonblock(fd):
        most = gm_write_most(fd)
        if size > most:
            first.iov_base = v.iov_base
            first.iov_len = min(v.iov_len, <size_t>most)
            return gm_write_now(fd, &first, 1, kind)
    return gm_write_now(fd, v, n, kind)


cdef void iov_skip(gm_iov** v, int* n, Py_ssize_t size) noexcept nogil:
    cdef size_t step
    while True:
        step = min(v[0].iov_len, <size_t>size)
        v[0].iov_base = <char*>v[0].iov_base + step
        v[0].iov_len -= step
        size -= step
        if v[0].iov_len > 0 or n[0] == 1:
            return
        v[0] += 1
        n[0] -= 1


cdef bint tty_waits(int fd, int64_t* deadline) noexcept:
    # Whether what may be a terminal is to be waited for, and for how long.
    cdef int ms
    if deadline[0] != NO_DEADLINE:
        return True
    ms = gm_tty_patience(fd)
    if ms > 0:
        deadline[0] = clock_now() + <int64_t>ms * 1000000
    return ms != 0


cdef int stream_wait(gm_m* m, gm_pd* pd, int64_t* deadline, PyObject* file) except -2:
    # Parks until it may be readable: 1. 0: a terminal that gives nothing after a time. FAILED: ST2.
    cdef int r
    if gm_fd_nonblock(pd.fd) and not gm_load_u32_relaxed(&pd.flags) & PD_NONBLOCK:
        return <int>failed(EAGAIN)
    if gm_unlikely(pd_kind(pd) >= GM_KIND_REOPEN) and not tty_waits(pd.fd, deadline):
        return 0
    r = stream_park(m, pd, PD_READ, deadline[0], file)
    if gm_likely(r == WAKE_READY) or r == NET_ERRNO + EPERM:
        return 1
    if r == WAKE_TIMEOUT:
        return 0
    net_raise(m, r, pd.fd)
    return -2


cdef int stream_park(gm_m* m, gm_pd* pd, uint32_t mode, int64_t deadline, PyObject* file) except? -2:
    # What net_wait returns.
    cdef int r
    if gm_unlikely(file != NULL):
        file_parks(file)
    try:
        r = net_wait(m, m.curg, pd, mode, True, deadline)
    finally:
        if gm_unlikely(file != NULL):
            file_goes_on(file)
    if gm_unlikely(r == NET_ERRNO + EPERM):
        pd_set_kind(pd, GM_KIND_FILE)
    return r


cdef inline int stream_turn(gm_m* m, Py_ssize_t size, bint writes) except -1:
    # As SK5. Short writes never yield: a print may be done with a lock held.
    if writes and size < TURN_BYTES:
        return 0
    m.io_ops += 1
    if gm_unlikely(m.io_ops % IO_TURN == 0):
        return io_yield(m)
    return 0


cdef PyObject* stream_bytes(gm_m* m, gm_pd* pd, Py_ssize_t size, PyObject* file) except? NULL:
    # A new bytes object; NULL without an exception: failed, with errno. What is short comes by the M's buffer;
    # a long one is as large as what is there, so that nothing is copied, or held while parked. A message (of a
    # device, of netlink, a datagram that comes just now) would lose what has no room.
    cdef int64_t deadline = NO_DEADLINE
    cdef gm_iov v
    cdef Py_ssize_t n, room
    cdef int e
    cdef PyObject* b = NULL
    stream_turn(m, size, False)
    while True:
        room = size
        if room > SHORT_BYTES:
            n = gm_fd_there(pd.fd)
            if n > 0 or (n == 0 and pd_kind(pd) != GM_KIND_SOCKET):
                room = min(room, max(n, SHORT_BYTES))
        if room <= SHORT_BYTES:
            v.iov_base = scratch_of(m)
        else:
            b = bytes_new(NULL, room)
            v.iov_base = bytes_data(b)
        v.iov_len = room
        try:
            n = stream_attempt(pd, &v, 1, room, False)
        except:
            xdecref(b)
            raise
        if gm_likely(n >= 0):
            if b == NULL:
                return bytes_new(m.scratch, n)
            if n != room:
                _PyBytes_Resize(&b, n)
            return b
        if b != NULL:
            e = errno
            decref(b)
            b = NULL
            failed(e)
        if errno != EAGAIN:
            return NULL
        n = stream_wait(m, pd, &deadline, file)
        if n <= 0:
            return NULL if n < 0 else bytes_new(NULL, 0)


# ---- os.read, os.write ---------------------------------------------------------------------

cdef int64_t small_int(PyObject* o) noexcept:
    # What clinic's converters take; -1: the original has the words for it.
    cdef int64_t n
    if not PyLong_Check(o):
        return -1
    try:
        n = PyLong_AsLongLong(o)
    except OverflowError:
        return -1
    return n if n >= 0 else -1


cdef PyObject* patched_read(PyObject* module, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = polling_m()
    cdef gm_pd* pd
    cdef int64_t size
    cdef PyObject* b
    if m == NULL or nargs != 2:
        return gm_call_fast(plain_read, module, args, nargs)
    pd = stream_pd(m, small_int(args[0]))
    size = small_int(args[1])
    if pd == NULL or size < 0:
        return gm_call_fast(plain_read, module, args, nargs)
    b = stream_bytes(m, pd, min(size, READ_MOST), NULL)
    if b == NULL:
        raise_errno(errno)
    return b


cdef PyObject* patched_write(PyObject* module, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = polling_m()
    cdef gm_pd* pd
    cdef Py_buffer b
    cdef gm_iov v
    cdef Py_ssize_t n
    if m == NULL or nargs != 2 or not PyObject_CheckBuffer(args[1]):
        return gm_call_fast(plain_write, module, args, nargs)
    pd = stream_pd(m, small_int(args[0]))
    if pd == NULL:
        return gm_call_fast(plain_write, module, args, nargs)
    PyObject_GetBuffer(args[1], &b, PyBUF_SIMPLE)
    try:
        stream_turn(m, b.len, True)
        v.iov_base = b.buf
        v.iov_len = min(b.len, READ_MOST)
        n = stream_write(m, pd, &v, 1, v.iov_len, False, NULL)
        if n < 0:
            raise_errno(errno)
    finally:
        PyBuffer_Release(&b)
    return PyLong_FromSsize_t(n)


cdef PyObject* stream_vector(gm_m* m, PyCFunction original, PyObject* module, PyObject** args,
                             Py_ssize_t nargs, bint writes) except NULL:
    # readv, writev: (fd, buffers)
    cdef gm_pd* pd = NULL
    cdef Py_buffer* b = NULL
    cdef gm_iov* v = NULL
    cdef Py_ssize_t i, n
    cdef Py_ssize_t held = 0
    cdef Py_ssize_t size = 0
    if m != NULL and nargs == 2:
        pd = stream_pd(m, small_int(args[0]))
    if pd == NULL:
        return gm_call_fast(original, module, args, nargs)
    if not PySequence_Check(args[1]):
        return gm_call_fast(original, module, args, nargs)
    items = list(<object>args[1])
    n = len(items)
    if n == 0 or n > 1024:
        return gm_call_fast(original, module, args, nargs)
    b = <Py_buffer*>calloc(n, sizeof(Py_buffer))
    v = <gm_iov*>calloc(n, sizeof(gm_iov))
    try:
        if b == NULL or v == NULL:
            raise MemoryError()
        for i in range(n):
            item = items[i]
            PyObject_GetBuffer(<PyObject*>item, &b[i], PyBUF_SIMPLE if writes else PyBUF_WRITABLE)
            held += 1
            v[i].iov_base = b[i].buf
            v[i].iov_len = b[i].len
            size += b[i].len
        stream_turn(m, size, writes)
        n = (stream_write(m, pd, v, <int>n, size, False, NULL) if writes else
             stream_read(m, pd, v, <int>n, size, NULL))
        if n < 0:
            raise_errno(errno)
        return PyLong_FromSsize_t(n)
    finally:
        for i in range(held):
            PyBuffer_Release(&b[i])
        free(b)
        free(v)


cdef PyObject* patched_readv(PyObject* module, PyObject** args, Py_ssize_t nargs) except NULL:
    return stream_vector(polling_m(), plain_readv, module, args, nargs, False)


cdef PyObject* patched_writev(PyObject* module, PyObject** args, Py_ssize_t nargs) except NULL:
    return stream_vector(polling_m(), plain_writev, module, args, nargs, True)


def _swap_stream(name, on):
    """_swap_stream(name, on)
--

    The function behind os.read, os.write, os.readv or os.writev: ours, or the original."""
    import posix
    f = getattr(posix, name)
    if on:
        kinds_forget()
    if name == "read":
        swap_function(f, on, <void*>patched_read, METH_FASTCALL, &plain_read)
    elif name == "write":
        swap_function(f, on, <void*>patched_write, METH_FASTCALL, &plain_write)
    elif name == "readv":
        swap_function(f, on, <void*>patched_readv, METH_FASTCALL, &plain_readv)
    else:
        swap_function(f, on, <void*>patched_writev, METH_FASTCALL, &plain_writev)


def _nowait(on=None):
    """_nowait(on=None)
--

    For tests: whether pipes are asked by RWF_NOWAIT, as kernels since 6.5 know it."""
    global gm_nowait
    was = gm_nowait
    if on is not None:
        gm_nowait = on
    return bool(was)
