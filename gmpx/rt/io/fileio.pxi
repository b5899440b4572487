# FileIO's methods over streams.pxi, what waits before a BufferedReader's lock, and what is done before a
# descriptor is closed.

cdef extern from *:
    """
    /* CPython's fileio begins so. */
    typedef struct {
        PyObject_HEAD
        int fd;
        unsigned int created : 1;
        unsigned int readable : 1;
        unsigned int writable : 1;
        unsigned int appending : 1;
        signed int seekable : 2;
        unsigned int closefd : 1;
    } gm_fileio;
    /* CPython's buffered begins so. */
    typedef struct { PyObject_HEAD PyObject *raw; } gm_buffered;
    #define gm_buffered_raw(o) (((gm_buffered *)(o))->raw)
    typedef PyObject *(*gm_unary)(PyObject *);
    #define gm_iternext_of(t) ((t)->tp_iternext)
    #define gm_set_iternext(t, f) ((t)->tp_iternext = (f))
    #define gm_base_of_view(o) (PyMemoryView_Check(o) ? (PyObject *)PyMemoryView_GET_BASE(o) : (o))
    """
    ctypedef struct gm_fileio:
        int fd
        unsigned int readable
        unsigned int writable
        int seekable
        unsigned int closefd
    PyObject* gm_buffered_raw(PyObject*) noexcept
    ctypedef PyObject* (*gm_unary)(PyObject*) except? NULL
    gm_unary gm_iternext_of(PyTypeObject*) noexcept
    void gm_set_iternext(PyTypeObject*, gm_unary) noexcept
    PyObject* gm_base_of_view(PyObject*) noexcept

cdef dict parked_files = {}             # address of a FileIO: [how many park in it, Event]
cdef uint32_t parked_count = 0
cdef PyObject* parked_only = NULL       # the one FileIO, if it is but one; borrowed, to be compared
cdef gm_unary plain_next = NULL
cdef PyCFunction plain_file_read = NULL
cdef PyCFunction plain_file_readinto = NULL
cdef PyCFunction plain_file_readall = NULL
cdef PyCFunction plain_file_write = NULL


# ---- gates ---------------------------------------------------------------------------------

cdef int file_parks(PyObject* file) except -1:
    global parked_count, parked_only
    cdef list entry = parked_files.get(<uintptr_t>file)
    if entry is None:
        entry = parked_files[<uintptr_t>file] = [0, Event()]
        parked_only = file if len(parked_files) == 1 else NULL
    entry[0] += 1
    parked_count += 1
    return 0


cdef int file_goes_on(PyObject* file) except -1:
    global parked_count, parked_only
    cdef list entry = parked_files.get(<uintptr_t>file)
    if entry is None:
        return 0                        # a fork's child
    parked_count -= 1
    entry[0] -= 1
    if entry[0] == 0:
        del parked_files[<uintptr_t>file]
        parked_only = NULL
        if len(parked_files) == 1:
            for other in parked_files:
                parked_only = <PyObject*><uintptr_t>other
        entry[1].set()
    return 0


cdef void files_forked() noexcept:
    # Who parks has stayed with the parent, with the lock of what is over the file. So a standard stream is another
    # object here, over the same descriptor (multiprocessing's child begins by closing sys.stdin).
    global parked_count, parked_only
    if parked_count == 0:
        return
    import sys
    for name in ("stdin", "stdout", "stderr"):
        try:
            stream = getattr(sys, name)
            raw = stream.buffer.raw
            if <uintptr_t><PyObject*>raw in parked_files:
                new = open(raw.fileno(), "r" if name == "stdin" else "w", encoding=stream.encoding,
                           errors=stream.errors, closefd=False)
                new.reconfigure(line_buffering=stream.line_buffering)
                setattr(sys, name, new)
        except Exception:
            pass                        # the program's own, or closed
    parked_count = 0
    parked_only = NULL
    parked_files.clear()


cdef int buffer_gate(PyObject* self) except -1:
    # ST5
    cdef list entry
    while gm_unlikely(parked_count > 0):
        if parked_only != NULL and parked_only != gm_buffered_raw(self):
            return 0                    # somebody waits in sys.stdin: no reason to look closer at each call
        if gm_buffered_raw(self) == NULL or polling_m() == NULL:
            return 0
        entry = parked_files.get(<uintptr_t>gm_buffered_raw(self))
        if entry is None:
            return 0
        entry[1].wait()
    return 0


cdef void closes(int64_t fd) noexcept:
    # Before a close(2): who waits for it hears, and what is known of it is forgotten (ST3).
    cdef gm_pd* pd = pd_find(<int>fd) if 0 <= fd < <int64_t>PD_CHUNK * PD_CHUNKS else NULL
    if pd != NULL and (gm_load_u32_relaxed(&pd.flags) != 0 or not pd_idle(pd)
                           or gm_load_u32_relaxed(&pd.attempts) != 0):
        net_renew(<int>fd, NET_CLOSED)


cdef int gate_pass(gm_standin* s, PyObject* self, PyObject** args, Py_ssize_t n) except -1:
    cdef int64_t fd
    if s.gate == GATE_BUFFER:
        return buffer_gate(self)
    if s.gate == GATE_FILE_CLOSE:
        if (<gm_fileio*>self).closefd:
            closes((<gm_fileio*>self).fd)
    elif s.gate == GATE_CLOSE:
        if n > 0:
            closes(small_int(args[0]))
    elif n > 1:
        fd = small_int(args[1])
        if s.gate == GATE_DUP2:
            if pd_find(<int>fd) != NULL and fd != small_int(args[0]) and gm_fd_open(<int>small_int(args[0])):
                closes(fd)              # else it leaves fd open
        else:                           # closerange
            for fd in range(max(small_int(args[0]), 0), min(fd, <int64_t>gm_load_u32_acquire(&pd_top) * PD_CHUNK)):
                closes(fd)
    return 0


cdef PyObject* patched_next(PyObject* self) except? NULL:
    buffer_gate(self)
    return plain_next(self)


# ---- FileIO --------------------------------------------------------------------------------

cdef inline gm_pd* file_pd(gm_m* m, PyObject* self, bint writes) noexcept:
    # NULL: the original does it, or says why not. What is known to be seekable never waits for others, and is
    # not asked by a system call what it is. (But the standard streams, to which os.dup2 gives other files.)
    cdef gm_fileio* f = <gm_fileio*>self
    if m == NULL or (f.seekable > 0 and f.fd > 2) or not (f.writable if writes else f.readable):
        return NULL
    return stream_pd(m, f.fd)


cdef PyObject* file_result(PyObject* r) except NULL:
    # NULL without an exception: None, where nothing is there.
    if gm_likely(r != NULL):
        return r
    if errno == EAGAIN or errno == EWOULDBLOCK:
        return own(None)
    raise_errno(errno)
    return NULL


cdef PyObject* file_readall(gm_m* m, gm_pd* pd, PyObject* self) except NULL:
    cdef Py_ssize_t size = SCRATCH_BYTES
    cdef Py_ssize_t got = 0
    cdef Py_ssize_t n
    cdef gm_iov v
    cdef PyObject* b = bytes_new(NULL, size)
    try:
        while True:
            if got == size:
                if size > PY_SSIZE_T_MAX // 2:
                    raise OverflowError("unbounded read returned more bytes than a Python bytes object can hold")
                size += size >> 1
                _PyBytes_Resize(&b, size)
            stream_turn(m, size, False)
            v.iov_base = bytes_data(b) + got
            v.iov_len = size - got
            n = stream_read(m, pd, &v, 1, size - got, self)
            if n == 0:
                break
            if n < 0:
                if errno != EAGAIN:
                    raise_errno(errno)
                if got > 0:
                    break
                decref(b)
                return own(None)
            got += n
    except:
        xdecref(b)
        raise
    _PyBytes_Resize(&b, got)
    return b


cdef PyObject* file_read(gm_m* m, gm_pd* pd, PyObject* self, int64_t size) except NULL:
    if size < 0:
        return file_readall(m, pd, self)
    return file_result(stream_bytes(m, pd, min(size, READ_MOST), self))


cdef PyObject* file_move(gm_m* m, gm_pd* pd, PyObject* self, PyObject* buffer, bint writes) except? NULL:
    # readinto, write. NULL without an exception: the original has the words for it.
    cdef Py_buffer b
    cdef gm_iov v
    cdef Py_ssize_t n
    if not PyObject_CheckBuffer(buffer):
        return NULL
    try:
        PyObject_GetBuffer(buffer, &b, PyBUF_SIMPLE if writes else PyBUF_WRITABLE)
    except (BufferError, TypeError):
        return NULL
    try:
        stream_turn(m, b.len, writes)
        v.iov_base = b.buf
        v.iov_len = min(b.len, READ_MOST)
        if writes:                      # a view of nobody's is a BufferedWriter's
            n = stream_write(m, pd, &v, 1, v.iov_len, gm_base_of_view(buffer) == NULL, self)
        else:
            n = stream_read(m, pd, &v, 1, v.iov_len, self)
        return PyLong_FromSsize_t(n) if n >= 0 else file_result(NULL)
    finally:
        PyBuffer_Release(&b)


cdef bint size_arg(PyObject** args, Py_ssize_t nargs, int64_t* size) noexcept:
    size[0] = -1
    if nargs == 0 or args[0] == <PyObject*>None:
        return True
    if nargs > 1 or not PyLong_Check(args[0]):
        return False
    size[0] = small_int(args[0])
    return True


cdef PyObject* patched_file_read(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = polling_m()
    cdef gm_pd* pd = file_pd(m, self, False)
    cdef int64_t size
    if pd == NULL or not size_arg(args, nargs, &size):
        return gm_call_fast(plain_file_read, self, args, nargs)
    return file_read(m, pd, self, size)


cdef PyObject* patched_file_readall(PyObject* self, PyObject* unused) except NULL:
    cdef gm_m* m = polling_m()
    cdef gm_pd* pd = stream_pd(m, (<gm_fileio*>self).fd)    # CPython does not ask whether it is readable
    if pd == NULL:
        return keep(plain_file_readall(self, unused))
    return file_readall(m, pd, self)


cdef PyObject* patched_file_readinto(PyObject* self, PyObject* buffer) except NULL:
    cdef gm_m* m = polling_m()
    cdef gm_pd* pd = file_pd(m, self, False)
    cdef PyObject* r = file_move(m, pd, self, buffer, False) if pd != NULL else NULL
    return r if r != NULL else keep(plain_file_readinto(self, buffer))


cdef PyObject* patched_file_write(PyObject* self, PyObject* buffer) except NULL:
    cdef gm_m* m = polling_m()
    cdef gm_pd* pd = file_pd(m, self, True)
    cdef PyObject* r = file_move(m, pd, self, buffer, True) if pd != NULL else NULL
    return r if r != NULL else keep(plain_file_write(self, buffer))


# Since 3.12 the methods get their class, too.

cdef extern from *:
    """
    typedef PyObject *(*gm_with_class)(PyObject *, PyTypeObject *, PyObject *const *, Py_ssize_t, PyObject *);
    static PyObject *gm_call_with_class(PyCFunction f, PyObject *self, PyTypeObject *cls, PyObject **args,
                                        Py_ssize_t n, PyObject *kw) {
        return ((gm_with_class)(void (*)(void))f)(self, cls, args, n, kw);
    }
    """
    PyObject* gm_call_with_class(PyCFunction, PyObject*, PyTypeObject*, PyObject**, Py_ssize_t,
                                 PyObject*) except NULL


cdef PyObject* method_file_read(PyObject* self, PyTypeObject* cls, PyObject** args, Py_ssize_t nargs,
                                PyObject* kwnames) except NULL:
    cdef gm_m* m = polling_m()
    cdef gm_pd* pd = file_pd(m, self, False) if kwnames == NULL else NULL
    cdef int64_t size
    if pd == NULL or not size_arg(args, nargs, &size):
        return gm_call_with_class(plain_file_read, self, cls, args, nargs, kwnames)
    return file_read(m, pd, self, size)


cdef PyObject* method_file_readinto(PyObject* self, PyTypeObject* cls, PyObject** args, Py_ssize_t nargs,
                                    PyObject* kwnames) except NULL:
    cdef gm_m* m = polling_m()
    cdef gm_pd* pd = file_pd(m, self, False) if kwnames == NULL and nargs == 1 else NULL
    cdef PyObject* r = file_move(m, pd, self, args[0], False) if pd != NULL else NULL
    return r if r != NULL else gm_call_with_class(plain_file_readinto, self, cls, args, nargs, kwnames)


cdef PyObject* method_file_write(PyObject* self, PyTypeObject* cls, PyObject** args, Py_ssize_t nargs,
                                 PyObject* kwnames) except NULL:
    cdef gm_m* m = polling_m()
    cdef gm_pd* pd = file_pd(m, self, True) if kwnames == NULL and nargs == 1 else NULL
    cdef PyObject* r = file_move(m, pd, self, args[0], True) if pd != NULL else NULL
    return r if r != NULL else gm_call_with_class(plain_file_write, self, cls, args, nargs, kwnames)


# ---- setting them --------------------------------------------------------------------------

cdef int check_layout(object FileIO) except -1:
    import os
    r, w = os.pipe()
    with FileIO(r, "r") as reader, FileIO(w, "w", closefd=False) as writer, __import__("io").BufferedReader(
            reader) as buffered:
        a = <gm_fileio*><PyObject*>reader
        b = <gm_fileio*><PyObject*>writer
        good = (a.fd == r and b.fd == w and a.readable == 1 and a.writable == 0 and a.closefd == 1
                and b.readable == 0 and b.writable == 1 and b.closefd == 0 and not writer.seekable()
                and b.seekable == 0
                and gm_buffered_raw(<PyObject*>buffered) == <PyObject*>reader)
    os.close(w)
    if not good:
        raise RuntimeError("gmpx does not know this interpreter's file objects")
    return 0


def _swap_file(name, on):
    """_swap_file(name, on)
--

    The function behind a method of FileIO: ours, or the original."""
    import io
    f = getattr(io.FileIO, name)
    if on:
        check_layout(io.FileIO)
    if name == "read":
        swap_function(f, on, <void*>patched_file_read, METH_FASTCALL, &plain_file_read, <void*>method_file_read)
    elif name == "readinto":
        swap_function(f, on, <void*>patched_file_readinto, METH_O, &plain_file_readinto,
                      <void*>method_file_readinto)
    elif name == "readall":
        swap_function(f, on, <void*>patched_file_readall, METH_NOARGS, &plain_file_readall)
    else:
        swap_function(f, on, <void*>patched_file_write, METH_O, &plain_file_write, <void*>method_file_write)


def _swap_next(on):
    """_swap_next(on)
--

    What a BufferedReader's iteration calls: ours, or the original."""
    global plain_next
    import io
    cdef PyTypeObject* reader = <PyTypeObject*><PyObject*>io.BufferedReader
    if plain_next == NULL:
        plain_next = gm_iternext_of(reader)
    gm_set_iternext(reader, patched_next if on else plain_next)


def _gate(f, kind):
    """_gate(f, kind)
--

    What comes before a built-in function or method: "close", "closerange", "dup2", "FileIO.close", "buffer";
    None: nothing."""
    standin_set(f, None, {None: GATE_NONE, "close": GATE_CLOSE, "closerange": GATE_CLOSERANGE, "dup2": GATE_DUP2,
                          "FileIO.close": GATE_FILE_CLOSE, "buffer": GATE_BUFFER}[kind])
