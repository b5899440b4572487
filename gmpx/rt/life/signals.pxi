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
# A handler of the user's own is left alone. What it raises while no G runs is brought to the
# main goroutine's park in the same way.

from libc.signal cimport SIGINT


def _sigint_handler(signum, frame):
    """_sigint_handler(signum, frame)
    The runtime's SIGINT handler; see rt/life/signals.pxi."""
    cdef gm_m* m = gm_tls_m
    if m == NULL or m.kind != M_MAIN or m.curg == m.g_main:
        raise KeyboardInterrupt
    if m.interrupt == NULL:                 # an earlier one comes first, and stands for both
        set_interrupt(m, KeyboardInterrupt())
    interrupt_main(m)
    if m.curg != NULL:
        yield_now(m, m.curg)


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
    if m.interrupt == NULL and PyErr_CheckSignals() < 0:    # one at a time: the others stay set
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


cdef bint sigint_wanted = False             # GIL: shutdown has taken the handler away


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
    if gm_tls_m != NULL and gm_tls_m.kind == M_MAIN:
        try:
            sigint_install()
        except BaseException as e:
            unraisable(e)


cdef int sigint_restore() except -1:
    global sigint_wanted
    import signal
    sigint_wanted = True
    try:
        if signal.getsignal(SIGINT) is _sigint_handler:
            signal.signal(SIGINT, signal.default_int_handler)
    except ValueError:
        pass
    return 0
