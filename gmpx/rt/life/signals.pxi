# Ctrl-C: KeyboardInterrupt belongs to the main goroutine, wherever the main thread happens to be.
#
# CPython runs Python signal handlers on the main thread, in whatever greenlet that is on. With
# the default SIGINT handler in place the runtime puts its own there (sigint_handler), which
#   - raises KeyboardInterrupt, when the main goroutine is the one that runs;
#   - else wakes the main goroutine's park with the exception, and lets it run next: at once if
#     another G runs (that G becomes runnable, as by gosched), or when the scheduler goes on.
# When the main goroutine's wait has already completed it keeps its value, and the exception comes
# at its next bytecode (m.interrupt_later), or its next wait if that is sooner.
#
# The scheduler looks for signals itself, too: goroutines that are C functions run no bytecode.
#
# The G that was interrupted goes on later; what has been asked of it by then (main has cancelled it
# on its way out) comes there and not at its next park, so that a call which blocks the thread ends.
#
# A handler of the user's own is left alone. What it raises while no G runs is brought to the
# main goroutine's park in the same way. So is what it raises beside another G, if gmpx.patch has
# put a SignalHandler around it.

from libc.signal cimport SIGINT

cdef extern from *:
    """
    #if !defined(_WIN32)
    #  include <signal.h>
    #endif
    #if defined(__linux__)
    #  include <sys/signalfd.h>
    #endif
    /* Whether a system call that the signal interrupts starts anew (siginterrupt): Python's signal.signal
     * forgets that. */
    static int gm_signal_restarts(int n) {
    #if defined(_WIN32)
        return 0;
    #else
        struct sigaction a;
        return sigaction(n, NULL, &a) == 0 && (a.sa_flags & SA_RESTART);
    #endif
    }
    static void gm_signal_restart(int n) {
    #if !defined(_WIN32)
        struct sigaction a;
        if (sigaction(n, NULL, &a) == 0) {
            a.sa_flags |= SA_RESTART;
            sigaction(n, &a, NULL);
        }
    #endif
    }
    /* A descriptor that is readable while one of the signals is pending; -1 with errno. */
    static int gm_signal_fd(const int *numbers, Py_ssize_t n) {
    #if defined(__linux__)
        sigset_t set;
        sigemptyset(&set);
        while (n-- > 0)
            if (sigaddset(&set, numbers[n]) < 0) return -1;
        return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    #else
        (void)numbers; (void)n;
        errno = ENOSYS;
        return -1;
    #endif
    }
    """
    bint gm_signal_restarts(int) noexcept
    void gm_signal_restart(int) noexcept
    int gm_signal_fd(const int*, Py_ssize_t) noexcept


def _sigint_handler(signum, frame):
    """_sigint_handler(signum, frame)
    The runtime's SIGINT handler; see rt/life/signals.pxi."""
    cdef gm_m* m = gm_tls_m
    if m == NULL or m.kind != M_MAIN or m.curg == m.g_main:
        raise KeyboardInterrupt
    if m.interrupt == NULL:                 # an earlier one comes first, and stands for both
        set_interrupt(m, KeyboardInterrupt())
    interrupt_main(m)
    gives_way(m)


cdef int gives_way(gm_m* m) except -1:
    # To the main goroutine, which has an interrupt. A cancel from before waits for the next park.
    cdef gm_g* g = m.curg
    cdef uint32_t cancelled
    if g != NULL:
        cancelled = g.flags & GF_CANCEL
        yield_now(m, g)
        if g.flags & GF_CANCEL & ~cancelled:
            take_cancel(g)
    return 0


@cython.final
cdef class _SignalHandler:
    """_SignalHandler(handler)
    A Python signal handler: what it raises goes to the main goroutine."""
    cdef readonly object handler

    def __init__(self, handler):
        self.handler = handler

    def __call__(self, signum, frame):
        cdef gm_m* m = gm_tls_m
        if m == NULL or m.kind != M_MAIN or m.curg == NULL or m.curg == m.g_main or m.g_main == NULL:
            return self.handler(signum, frame)
        try:
            return self.handler(signum, frame)
        except BaseException as e:
            if m.interrupt != NULL:
                raise                       # one at a time
            set_interrupt(m, e)
        interrupt_main(m)
        gives_way(m)


def _set_signal(plain, number, handler):
    """_set_signal(plain, number, handler)
--

    signal.signal by the original, which leaves siginterrupt as it is. The main thread's."""
    cdef int n = number
    cdef bint restarts = gm_signal_restarts(n)
    plain(number, handler)
    if restarts:
        gm_signal_restart(n)


def _on_main_goroutine():
    """_on_main_goroutine()
--

    Whether the main goroutine calls."""
    cdef gm_m* m = gm_tls_m
    return m != NULL and m.kind == M_MAIN and m.curg != NULL and m.curg == m.g_main


def _note_sigmask():
    """_note_sigmask()
--

    The main thread has another signal mask: so have threads that the runtime starts from now on."""
    if gm_tls_m != NULL and gm_tls_m.kind == M_MAIN:
        gm_signals_note()


def _signal_fd(numbers):
    """_signal_fd(numbers)
--

    A signalfd for these.

    Raises:
        OSError: ENOSYS: the system has none."""
    cdef int found[256]
    cdef Py_ssize_t n = 0
    for number in numbers:
        if n == 256:
            break
        found[n] = number
        n += 1
    cdef int fd = gm_signal_fd(found, n)
    if fd < 0:
        raise_errno(errno)
    return fd


cdef void set_interrupt(gm_m* m, object exc) noexcept:
    cdef PyObject* old = m.interrupt
    Py_INCREF(exc)
    m.interrupt = <PyObject*>exc
    xdecref(old)


cdef void interrupt_main(gm_m* m) noexcept:
    # M0: m.interrupt is to reach the main goroutine.
    cdef gm_park* pk = m.g_main.park if m.g_main != NULL else NULL
    cdef uint64_t word
    if pk == NULL:
        return                              # a fork's child without a main goroutine
    word = gm_load_u64_acquire(&pk.word)
    if (word & 1) and park_win(pk, word):
        pk.reason = WAKE_INTERRUPT
        goready(m, m.g_main, True)
        return
    if gm_load_u32_relaxed(&m.g_main.status) == G_RUNNABLE:
        if pk.reason == WAKE_INTERRUPT:
            return                          # on its way already
        if pk.reason == WAKE_YIELD:         # in gosched, which has no value to lose
            pk.reason = WAKE_INTERRUPT
            gq_remove(&m.yielded, m.g_main)
            gq_remove(&m.ready, m.g_main)
            m.yield_takes += 1
            goready(m, m.g_main, True)
            return
    m.interrupt_later = True


cdef void interrupt_soon(gm_m* m) noexcept:
    # The main goroutine runs again, with m.interrupt_later set and a value that must not be lost.
    if m.interrupt == NULL or Py_AddPendingCall(interrupt_call, NULL) == 0:
        m.interrupt_later = False


cdef int interrupt_call(void* unused) except -1:
    # CPython's pending call: on the main thread, between two bytecodes of whichever G runs there.
    cdef gm_m* m = gm_tls_m
    if m == NULL or m.kind != M_MAIN or m.interrupt == NULL or m.curg == NULL:
        return 0                            # the scheduler looks next (check_signals)
    if m.curg == m.g_main:
        raise_interrupt(m)
    interrupt_main(m)
    yield_now(m, m.curg)
    return 0


cdef void check_signals(gm_m* m) noexcept:
    # M0, in the scheduler with the GIL: runs Python signal handlers.
    cdef PyObject* t = NULL
    cdef PyObject* v = NULL
    cdef PyObject* tb = NULL
    cdef int r = 0
    if m.interrupt == NULL:                 # one at a time: the others stay set
        r = PyErr_CheckSignals()
        if gm_unlikely(m.forked_idle):      # the child of a fork in a handler: nobody is its main
            main_returned(NULL if r < 0 else none_ref())
    if r < 0:
        PyErr_Fetch(&t, &v, &tb)
        PyErr_NormalizeException(&t, &v, &tb)
        if v != NULL:
            if tb != NULL:
                PyException_SetTraceback(v, tb)
            set_interrupt(m, <object>v)
        xdecref(t)
        xdecref(v)
        xdecref(tb)
    if m.interrupt != NULL:
        interrupt_main(m)


# ---- a sleep that a signal ends ------------------------------------------------------------
#
# A signal that lands between M0's last look and its semaphore's system call, or on another thread,
# does not interrupt its wait. So a sleep of M0 ends after LOOK_AFTER_NS for a look at signals. If
# that finds nothing either, the next one is deep: on the breaker, to which CPython's C signal handler
# writes (signal.set_wakeup_fd), whatever thread it runs on. With the descriptor set, and the GIL
# held, M0 looks at the signals once more, then sleeps: one that came before is seen by that look,
# one that comes later finds the descriptor (W6). An M0 with a poller has that watch the descriptor. What the program's own wake-up descriptor should
# have got goes on to it.

cdef bint breaker_armed = False             # GIL: signals go to the breaker
cdef object set_wakeup_fd = None            # signal's, which cannot be imported any more at the interpreter's exit


cdef bint m_deep_begin(gm_m* m) noexcept:
    # M0, GIL held. False: there is no such sleep here.
    global gm_break_user, breaker_armed
    if breaker_armed:
        breaker_forked()                    # an at-fork function before our own, in the child, waits
    if gm_break_open() < 0:
        return False
    try:
        gm_break_user = set_wakeup_fd(gm_break_fd[1], warn_on_full_buffer=False)
        if gm_break_user == gm_break_fd[1]:
            gm_break_user = -1
    except BaseException:
        return False                        # not the interpreter's main thread; or it goes down
    breaker_armed = True
    if gm_poller_is_open(&m.poller) and (
            gm_poller_set(&m.poller, gm_break_fd[0], GM_POLL_READ, GM_POLL_SIGNAL, True) != 0):
        breaker_disarm()
        return False
    m.deep = True
    return True


cdef void m_deep_end(gm_m* m) noexcept:
    m.deep = False
    breaker_disarm()
    gm_break_drain()


cdef void breaker_disarm() noexcept:
    global gm_break_user, breaker_armed
    try:
        try:
            found = set_wakeup_fd(gm_break_user, warn_on_full_buffer=False)
            if found != gm_break_fd[1]:
                set_wakeup_fd(found)     # a signal handler's, set meanwhile
        except (OSError, ValueError):
            gm_break_user = -1                  # the program has closed it meanwhile
            set_wakeup_fd(-1)
    except BaseException as e:
        unraisable(e)
    breaker_armed = False                       # last: a fork before this finds it


cdef void breaker_forked() noexcept:
    # In a fork's child, whose main thread this is: the pipe is the parent's.
    if breaker_armed:
        breaker_disarm()
    gm_break_forget()


cdef void main_looks_again() noexcept nogil:
    # A thread has parked for good, or ended: M0, which may sleep deep, is to look whether anything
    # can still run (rt/observe/dump.pxi).
    cdef gm_m* m = allm_first()
    gm_store_u32_seqcst(&sched.look_asked, 1)
    while m != NULL:
        if hears_signals(m):
            wake_m(m)                       # in vain if it is awake
        m = m.all_next


cdef inline bint look_is_asked(gm_m* m) noexcept nogil:
    # M0, after m_sleep_begin: whether somebody has asked since its last look began.
    return m.deep and gm_load_u32_seqcst(&sched.look_asked)


cdef int sigint_install() except -1:
    global sigint_wanted
    import signal
    sigint_wanted = False
    try:
        if signal.getsignal(SIGINT) is signal.default_int_handler:
            signal.signal(SIGINT, _sigint_handler)
    except ValueError:
        pass                                # not in the main interpreter's main thread
    return 0


cdef void sigint_again() noexcept:
    # The runtime has started anew, on this thread or on another.
    if gm_tls_m != NULL and hears_signals(gm_tls_m):
        try:
            sigint_install()
        except BaseException as e:
            unraisable(e)


cdef int sigint_restore() except -1:
    global sigint_wanted
    import signal
    import sys
    sigint_wanted = True
    handlers = sys.modules.get("gmpx.io.signalling")    # the patch shows CPython's handler for ours, and sets ours for it
    get, set_ = (handlers.plain_getsignal, handlers.plain_signal) if handlers else (signal.getsignal, signal.signal)
    try:
        if get(SIGINT) is _sigint_handler:
            set_(SIGINT, signal.default_int_handler)
    except ValueError:
        pass
    return 0
