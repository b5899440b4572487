# wait_readable, wait_writable, notify_closing: any descriptor (Go: RawConn, internal/poll).

cdef extern from *:
    """
    #if defined(_WIN32)
    #  include <winsock2.h>
    #  define gm_poll_one(fd, ev, ms) gm_poll_socket(fd, ev, ms)
    static int gm_poll_socket(int fd, int write, int ms) {
        WSAPOLLFD p;
        p.fd = (SOCKET)fd; p.events = write ? POLLOUT : POLLIN; p.revents = 0;
        return WSAPoll(&p, 1, ms);
    }
    #else
    #  include <poll.h>
    /* Whether fd is ready within ms (< 0: for ever): 1, 0, or -1 with errno. */
    static int gm_poll_one(int fd, int write, int ms) {
        struct pollfd p = {fd, write ? POLLOUT : POLLIN, 0};
        int r = poll(&p, 1, ms);
        if (r > 0 && (p.revents & POLLNVAL)) { errno = EBADF; return -1; }
        return r;
    }
    #endif
    """
    int gm_poll_one(int fd, int write, int ms) nogil


cdef int fd_of(object fd) except -1:
    # An int, or what has a fileno().
    cdef long n
    if isinstance(fd, bool) or not isinstance(fd, int):
        try:
            fd = fd.fileno()
        except AttributeError:
            raise TypeError("a descriptor must be an int or have a fileno() method, not "
                            f"{type(fd).__name__}") from None
    n = fd
    if n < 0:
        raise ValueError(f"a descriptor must not be negative: {n}")
    if n >= <long>PD_CHUNK * PD_CHUNKS:
        raise OSError(EBADF, f"no such descriptor: {n}")
    return <int>n


cdef int native_wait(int fd, uint32_t mode, int64_t deadline) except -1:
    # Blocks the thread. 1: ready; 0: the time is up.
    cdef int64_t left
    cdef int r, e
    while True:
        left = -1
        if deadline == TRY_ONCE:
            left = 0
        elif deadline >= 0:
            left = min((max(deadline - gm_nanotime(), 0) + 999999) // 1000000, 3600000)
        with nogil:
            r = gm_poll_one(fd, mode == PD_WRITE, <int>left)
            e = errno
        if r > 0:
            return 1
        if r < 0:
            if e != EINTR:
                raise_errno(e)
            if PyErr_CheckSignals() < 0:
                return -1
        elif deadline == TRY_ONCE or (deadline >= 0 and gm_nanotime() >= deadline):
            return 0


cdef int fd_wait(int fd, uint32_t mode, int64_t deadline) except -1:
    # 1: ready; 0: the time is up.
    cdef gm_m* m = gm_tls_m
    cdef gm_pd* pd
    cdef int r
    if m == NULL and PyThread_get_thread_ident() == main_ident:
        m = getm()
    if deadline == TRY_ONCE or net_native(m):
        return native_wait(fd, mode, deadline)
    pd = pd_of(fd)
    if pd == NULL:
        raise MemoryError()
    r = net_wait(m, m.curg, pd, mode, True, deadline)
    if gm_likely(r == WAKE_READY) or r == NET_ERRNO + EPERM:    # a regular file: always ready
        return 1
    if r == WAKE_TIMEOUT:
        return gm_poll_one(fd, mode == PD_WRITE, 0) > 0     # timers are looked at before the poller
    return net_raise(m, r, fd)


def wait_readable(fd, timeout=None):
    """wait_readable(fd, timeout=None)
    Waits until a descriptor can be read from without blocking, is at its end or in error.

    Args:
        fd: an int, or an object with ``fileno()``: a socket, a pipe, a terminal, an epoll object …
            A regular file is always ready.
        timeout: seconds; None waits for ever, 0 only looks.

    Raises:
        TimeoutError: it was not ready in time.
        OSError: there is no such descriptor; EBADF also when it is closed meanwhile, by one of the
            sockets that gmpx serves or after ``notify_closing``.
        ValueError: negative. TypeError: no descriptor.

    Several may wait for one descriptor; all go on when it is ready, so try without blocking and wait
    again. Parks the goroutine; on a foreign thread, blocks the thread. Go: RawConn.Read.

    >>> import socket
    >>> a, b = socket.socketpair()
    >>> _ = b.send(b"x")
    >>> wait_readable(a)
    """
    cdef int n = fd_of(fd)
    if not fd_wait(n, PD_READ, deadline_of(timeout)):
        raise TimeoutError(f"wait_readable: descriptor {n} timed out")


def wait_writable(fd, timeout=None):
    """wait_writable(fd, timeout=None)
    Waits until a descriptor takes data without blocking, or is in error: as wait_readable.
    """
    cdef int n = fd_of(fd)
    if not fd_wait(n, PD_WRITE, deadline_of(timeout)):
        raise TimeoutError(f"wait_writable: descriptor {n} timed out")


@cython.final
cdef class Readiness:
    """A descriptor as a case of ``select``: made by ``gmpx.io.readable`` and ``gmpx.io.writable``."""

    def __init__(self):
        raise TypeError("gmpx.io.readable(fd) or writable(fd) makes a Readiness")

    def __repr__(self):
        mode = "readable" if self.mode == PD_READ else "writable"
        return f"<gmpx.io.{mode} {self.file!r}>"

    cdef int looks(self) noexcept:
        # 1, 0, or -1: an error.
        return gm_poll_one(self.pd.fd, self.mode == PD_WRITE, 0)

    cdef bint look(self) except -1:
        cdef int r = self.looks()
        if r < 0:
            raise_errno(errno)
        return r > 0

    cdef int prepare(self, gm_m* m) except -1:
        cdef int r = 0 if gm_poller_is_open(&m.poller) else net_open(m)
        if r != 0:
            raise_errno(r)
        return 0

    cdef gm_m* arm(self, gm_m* m, gm_sudog* s) noexcept nogil:
        # s has its park and word. The owner of the poller, or NULL: it cannot be watched.
        cdef gm_m* owner
        if net_arm(m, self.pd, self.mode, True) != 0:
            return NULL
        waitq_put(&self.pd.rq if self.mode == PD_READ else &self.pd.wq, s)
        owner = self.pd.m
        pd_unlock(self.pd)
        net_count(m, owner)
        return owner

    cdef void disarm(self, gm_m* owner, gm_sudog* s) noexcept nogil:
        gm_fetch_add_u32_relaxed(&owner.net_waiters, <uint32_t>-1)
        pd_lock(self.pd)                    # always: see net_wait
        waitq_remove(&self.pd.rq if self.mode == PD_READ else &self.pd.wq, s)
        pd_unlock(self.pd)


cdef Readiness readiness(object file, uint32_t mode):
    cdef Readiness r = Readiness.__new__(Readiness)
    r.pd = pd_of(fd_of(file))
    if r.pd == NULL:
        raise MemoryError()
    r.file = file
    r.mode = mode
    return r


def readable(fd):
    """readable(fd)
    A case for ``select``: ready when fd can be read from without blocking, is at its end or in error.

    Args:
        fd: an int, or an object with ``fileno()``; it is the value that select returns for the case.

    May be used again, and by several goroutines. For the descriptor that fd has now.

    Raises:
        ValueError: negative. TypeError: no descriptor.
    """
    return readiness(fd, PD_READ)


def writable(fd):
    """writable(fd)
    A case for ``select``: ready when fd takes data without blocking, or is in error; as readable."""
    return readiness(fd, PD_WRITE)


def notify_closing(fd):
    """notify_closing(fd)
    Says that a descriptor is about to be closed: goroutines that wait for it get an OSError (EBADF).

    For descriptors that are closed behind gmpx's back, as by a C library, or by ``os.close`` without the
    patch; sockets that gmpx serves do it themselves. A foreign thread learns of it in ``select`` alone. Call
    it right before the close. Never blocks; any thread.

    Raises:
        ValueError: negative. TypeError: no descriptor.
    """
    net_renew(fd_of(fd), NET_CLOSED)
