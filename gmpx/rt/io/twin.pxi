# A twin, and the methods that are the original's called on one (SK3 in rt/io/socket.pxi).

cdef object twin_of(gm_sock* s):
    global twin_spare
    cdef object twin = twin_spare
    cdef gm_sock* t
    twin_spare = None
    if twin is None:
        twin = raw_socket.__new__(raw_socket)
    t = <gm_sock*><PyObject*>twin
    memcpy(<char*>t + sizeof(PyObject), <char*>s + sizeof(PyObject), raw_size - sizeof(PyObject))
    t.timeout = 0
    return twin


cdef void twin_done(object twin) noexcept:
    global twin_spare
    (<gm_sock*><PyObject*>twin).fd = -1         # it closes nothing
    if refcnt(<PyObject*>twin) == 1:            # else an audit hook has kept it
        twin_spare = twin


cdef object on_twin(gm_sock* s, gm_pd* pd, object method, list given, dict named):
    # One attempt, which gives up the GIL (NP8).
    cdef object twin
    attempt(s, pd)
    try:
        twin = twin_of(s)
        try:
            return method(twin, *given, **named)
        finally:
            twin_done(twin)
    finally:
        attempt_over(pd)


cdef PyObject* call_plain(str name, PyObject* self, PyObject** args, Py_ssize_t nargs,
                          PyObject* kwnames) except NULL:
    return call_method(<PyObject*>plain[name], self, args, nargs, kwnames)


cdef object again_and_again(object buffers):
    # An iterator's items would be gone at the second try.
    if isinstance(buffers, (list, tuple)):
        return buffers
    try:
        items = iter(buffers)
    except TypeError:
        return buffers                  # the original says it in its words
    return list(items)


cdef PyObject* sock_other(gm_m* m, str name, uint32_t mode, int flags_at, PyObject* self,
                          PyObject** args, Py_ssize_t nargs, PyObject* kwnames) except NULL:
    # The original method, again and again until it need not wait. flags_at: where its flags stand among
    # its arguments.
    cdef gm_sock* s = <gm_sock*>self
    cdef gm_pd* pd
    cdef int fd
    cdef int64_t deadline = 0
    cdef list given = [<object>args[i] for i in range(nargs)]
    cdef dict named = {<object>tuple_get(kwnames, i): <object>args[nargs + i]
                       for i in range(tuple_size(kwnames) if kwnames != NULL else 0)}
    cdef object method = plain[name]
    cdef int flags = 0
    # With a time-out of 0, too: another thread may make the open file blocking meanwhile.
    io_turn(m, s)
    for i in range(min(nargs, flags_at) if name == "sendmsg" else 1 if name == "recvmsg_into" else 0):
        given[i] = again_and_again(given[i])
    if "flags" in named:
        flags = flags_arg(<PyObject*>(<object>named["flags"]))
        named["flags"] = flags | MSG_DONTWAIT
    elif len(given) > flags_at:
        flags = flags_arg(<PyObject*>(<object>given[flags_at]))
        given[flags_at] = flags | MSG_DONTWAIT
    elif named:
        named["flags"] = MSG_DONTWAIT
    else:
        if len(given) < flags_at:           # the one between: a size, or ancillary data
            given.append(() if name == "sendmsg" else 0)
        given.append(MSG_DONTWAIT)
    fd = s.fd
    pd = sock_pd(s)
    while True:
        try:
            return own(on_twin(s, pd, method, given, named))
        except BlockingIOError:
            if gives_up(s, flags):
                raise
        net_again(pd, mode)
        sock_wait(m, s, fd, pd, mode, &deadline)


cdef PyObject* sock_recvfrom(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = io_m()
    if m == NULL or nargs == 0:
        return call_plain("recvfrom", self, args, nargs, NULL)
    return sock_other(m, "recvfrom", PD_READ, 1, self, args, nargs, NULL)


cdef PyObject* sock_recvfrom_into(PyObject* self, PyObject** args, Py_ssize_t nargs,
                                  PyObject* kwnames) except NULL:
    cdef gm_m* m = io_m()
    if m == NULL or (nargs == 0 and kwnames == NULL):
        return call_plain("recvfrom_into", self, args, nargs, kwnames)
    return sock_other(m, "recvfrom_into", PD_READ, 2, self, args, nargs, kwnames)


cdef PyObject* sock_recvmsg(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = io_m()
    if m == NULL or nargs == 0:
        return call_plain("recvmsg", self, args, nargs, NULL)
    return sock_other(m, "recvmsg", PD_READ, 2, self, args, nargs, NULL)


cdef PyObject* sock_recvmsg_into(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = io_m()
    if m == NULL or nargs == 0:
        return call_plain("recvmsg_into", self, args, nargs, NULL)
    return sock_other(m, "recvmsg_into", PD_READ, 2, self, args, nargs, NULL)


cdef PyObject* sock_sendmsg(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    cdef gm_m* m = io_m()
    cdef PyObject* four[4]
    if m == NULL or nargs == 0:
        return call_plain("sendmsg", self, args, nargs, NULL)
    if nargs != 4:
        return sock_other(m, "sendmsg", PD_WRITE, 2, self, args, nargs, NULL)
    address = numeric(self, args[3])
    four[0], four[1], four[2], four[3] = args[0], args[1], args[2], <PyObject*>address
    return sock_other(m, "sendmsg", PD_WRITE, 2, self, four, 4, NULL)


cdef PyObject* sock_sendto(PyObject* self, PyObject** args, Py_ssize_t nargs) except NULL:
    # (data, address) or (data, flags, address)
    cdef gm_m* m = io_m()
    cdef PyObject* three[3]
    cdef object none = 0
    if m == NULL or nargs < 2 or nargs > 3:
        return call_plain("sendto", self, args, nargs, NULL)
    three[0] = args[0]
    three[1] = args[1] if nargs == 3 else <PyObject*>none
    address = numeric(self, args[nargs - 1])
    three[2] = <PyObject*>address
    return sock_other(m, "sendto", PD_WRITE, 1, self, three, 3, NULL)
