# A socket's birth and end, and the table of its methods, which gmpx.io and gmpx.patch set on classes.

# ---- birth and end -------------------------------------------------------------------------

cdef PyObject* sock_init(PyObject* self, PyObject** args, Py_ssize_t nargs,
                         PyObject* kwnames) except NULL:
    # __init__
    cdef PyObject* r = call_plain("__init__", self, args, nargs, kwnames)
    if (<gm_sock*>self).fd >= 0:
        net_fresh((<gm_sock*>self).fd)
    return r


cdef PyObject* sock_real_close(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    # _real_close
    cdef gm_sock* s = <gm_sock*>self
    cdef int fd = s.fd
    cdef int e
    if fd < 0:
        return own(None)
    net_renew(fd, NET_CLOSED)
    s.fd = -1
    if gm_unlikely(attempt_leave(fd)):
        return own(None)
    if nargs > 0:                           # another class's close
        s.fd = fd
        return call_plain("_real_close", self, args, nargs, NULL)
    e = close_now(fd)
    if e != 0:
        raise_errno(e)
    return own(None)


cdef PyObject* sock_settimeout(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    return sock_blocks("settimeout", self, args, nargs)


cdef PyObject* sock_setblocking(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    return sock_blocks("setblocking", self, args, nargs)


cdef PyObject* sock_blocks(str name, PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    # O_NONBLOCK is the socket's own again (SK1). A twin without a descriptor says what the time-out is to be;
    # the flag is set with the GIL kept, which the original gives up: it could come between another's look at
    # the flag and its accept(2).
    cdef gm_sock* s = <gm_sock*>self
    cdef gm_pd* pd
    cdef int64_t timeout
    if s.fd < 0:
        return call_plain(name, self, args, nargs, NULL)
    twin = twin_of(s)
    (<gm_sock*><PyObject*>twin).fd = -1
    try:
        decref(call_plain(name, <PyObject*>twin, args, nargs, NULL))
    except OSError:                     # EBADF
        pass
    finally:
        timeout = (<gm_sock*><PyObject*>twin).timeout
        twin_done(twin)
    s.timeout = timeout
    pd = pd_find(s.fd)
    if timeout < 0 and pd != NULL and gm_load_u32_relaxed(&pd.flags) & PD_SSL:
        gm_fetch_or_u32_seqcst(&pd.flags, PD_NONBLOCK)      # TL2: it stays so
        return own(None)
    if (gm_set_block(s.fd) if timeout < 0 else gm_set_nonblock(s.fd)) < 0:
        raise_errno(errno)
    if pd != NULL:
        gm_fetch_and_u32_seqcst(&pd.flags, ~<uint32_t>PD_NONBLOCK)
    return own(None)


# ---- the table -----------------------------------------------------------------------------

cdef enum:
    SOCK_DEFS = 18

cdef PyMethodDef sock_defs[SOCK_DEFS]


cdef list sock_docs = []


cdef int sock_add(dict found, int i, str name, void* f, int flags) except -1:
    cdef PyMethodDef* d = &sock_defs[i]
    cdef PyObject* method
    d.ml_name = PyUnicode_AsUTF8(<PyObject*>name)       # the literal lives as long as the module
    d.ml_meth = <PyCFunction>f
    d.ml_flags = METH_FASTCALL | flags
    plain[name] = getattr(py_socket, name)
    if plain[name].__doc__:
        doc = plain[name].__doc__.encode()
        sock_docs.append(doc)           # kept
        d.ml_doc = <const char*>doc
    method = PyDescr_NewMethod(<PyTypeObject*><PyObject*>py_socket, d)
    found[name] = take_ref(method)
    return 0


cdef dict socket_table = None


def _socket_methods():
    """_socket_methods()
--

    {name: method descriptor} of the methods that park, for socket.socket and its subclasses.

    Raises:
        RuntimeError: this interpreter's socket objects are not laid out as expected."""
    global raw_socket, py_socket, default_timeout, raw_size, socket_table
    cdef dict found = {}
    if socket_table is not None:
        return dict(socket_table)
    if not GM_SOCKETS:
        raise RuntimeError("gmpx has no sockets of its own on this platform yet")
    import _socket
    import socket
    raw_socket = _socket.socket
    py_socket = socket.socket
    default_timeout = _socket.getdefaulttimeout
    raw_size = raw_socket.__basicsize__
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0) as probe:
        probe.settimeout(2.5)
        s = <gm_sock*><PyObject*>probe
        if (s.fd, s.family, s.type, s.proto, s.timeout) != (
                probe.fileno(), probe.family, probe.type, probe.proto, 2500000000):
            raise RuntimeError("gmpx does not know this interpreter's socket objects")
    sock_add(found, 0, "recv", <void*>sock_recv, 0)
    sock_add(found, 1, "recv_into", <void*>sock_recv_into, METH_KEYWORDS)
    sock_add(found, 2, "send", <void*>sock_send, 0)
    sock_add(found, 3, "sendall", <void*>sock_sendall, 0)
    sock_add(found, 4, "_accept", <void*>sock_accept_fd, 0)
    sock_add(found, 5, "accept", <void*>sock_accept, 0)
    sock_add(found, 6, "connect", <void*>sock_connect, 0)
    sock_add(found, 7, "connect_ex", <void*>sock_connect_ex, 0)
    sock_add(found, 8, "recvfrom", <void*>sock_recvfrom, 0)
    sock_add(found, 9, "recvfrom_into", <void*>sock_recvfrom_into, METH_KEYWORDS)
    sock_add(found, 10, "sendto", <void*>sock_sendto, 0)
    if hasattr(raw_socket, "recvmsg"):
        sock_add(found, 11, "recvmsg", <void*>sock_recvmsg, 0)
        sock_add(found, 12, "recvmsg_into", <void*>sock_recvmsg_into, 0)
        sock_add(found, 13, "sendmsg", <void*>sock_sendmsg, 0)
    sock_add(found, 14, "settimeout", <void*>sock_settimeout, 0)
    sock_add(found, 15, "setblocking", <void*>sock_setblocking, 0)
    sock_add(found, 16, "_real_close", <void*>sock_real_close, 0)
    sock_add(found, 17, "bind", <void*>sock_bind, 0)
    plain["__init__"] = py_socket.__init__
    socket_table = found
    return dict(found)


cdef PyMethodDef init_def


def _socket_init():
    """_socket_init()
--

    The __init__ that goes with _socket_methods()."""
    init_def.ml_name = b"__init__"
    init_def.ml_meth = <PyCFunction><void*>sock_init
    init_def.ml_flags = METH_FASTCALL | METH_KEYWORDS
    init_def.ml_doc = b"__init__($self, family=-1, type=-1, proto=-1, fileno=None)\n--\n\n"
    return take_ref(PyDescr_NewMethod(<PyTypeObject*><PyObject*>py_socket, &init_def))


def _socket_class(cls):
    """_socket_class(cls)
--

    cls is what accept makes of listeners of its kind: gmpx.io.Socket."""
    global io_socket
    io_socket = cls


def _names(numeric):
    """_names(numeric)
--

    numeric(family, address) makes an address with a name into one with a number."""
    global io_names
    io_names = numeric
