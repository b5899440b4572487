# Time-outs as users give them, and sleep.

from libc.math cimport INFINITY, isinf, isnan

cdef enum:
    NO_DEADLINE = -1
    TRY_ONCE = -2


cdef inline int64_t clock_now() noexcept nogil:
    # The clock of deadlines and timers.
    return gm_nanotime() if gm_likely(bubble_now == 0) else bubble_now


cdef double seconds_of(object seconds, str what) except? -1.0:
    # A number of seconds >= 0; infinite for an int beyond all floats.
    cdef double s
    if isinstance(seconds, (str, bytes, bool)):
        # acquire(False) is threading's way to try once: 0 here
        raise TypeError(f"{what} must be a number of seconds, not {type(seconds).__name__}")
    try:
        s = seconds
    except OverflowError:
        s = INFINITY if seconds > 0 else -INFINITY
    except TypeError:
        raise TypeError(
            f"{what} must be a number of seconds, not {type(seconds).__name__}") from None
    if isnan(s):
        raise ValueError(f"{what} must not be NaN")
    if s < 0:
        raise ValueError(f"{what} must not be negative: {seconds!r}")
    return s


cdef inline int64_t ns_of(double s) noexcept nogil:
    # Rounded; what is finite stays so, 95 years at the most (rt/sched/bubble.pxi has use for the rest).
    return <int64_t>(s * 1e9 + 0.5) if s < 3.0e9 else <int64_t>3000000000000000000


cdef int64_t deadline_of(object timeout) except -3:
    # seconds -> CLOCK_MONOTONIC nanoseconds; NO_DEADLINE for None and infinity; TRY_ONCE for 0.
    if timeout is None:
        return NO_DEADLINE
    return deadline_in(seconds_of(timeout, "timeout"))


cdef int64_t deadline_in(double s) noexcept nogil:
    if s == 0:
        return TRY_ONCE
    if isinf(s):
        return NO_DEADLINE
    return clock_now() + ns_of(s)


def sleep(seconds):
    """sleep(seconds)
    Parks the goroutine for at least ``seconds``; others run meanwhile.

    Args:
        seconds: a number >= 0; 0 yields, like gosched.

    Raises:
        ValueError: negative or NaN.
        TypeError: not a number.

    Blocks the goroutine; on a foreign thread, the thread. Monotonic clock.
    """
    cdef int64_t deadline
    cdef gm_m* m
    cdef gm_g* g
    cdef int r
    deadline = deadline_in(seconds_of(seconds, "sleep's argument"))
    if deadline == TRY_ONCE:
        return gosched()
    m = getm()
    g = getg(m)
    park_arm(g.park, WHY_SLEEP)
    r = gopark(m, g, deadline)
    if r != WAKE_TIMEOUT:
        park_raise(m, r, "sleep")
