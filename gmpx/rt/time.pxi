# Time-outs as users give them, and sleep.

from libc.math cimport isnan

cdef enum:
    NO_DEADLINE = -1
    TRY_ONCE = -2


cdef int64_t deadline_of(object timeout) except -3:
    # seconds -> CLOCK_MONOTONIC nanoseconds; NO_DEADLINE for None and for ever; TRY_ONCE for 0.
    cdef double s
    if timeout is None:
        return NO_DEADLINE
    if isinstance(timeout, (str, bool)):    # acquire(False) is threading's way to try once: 0 here
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__name__}")
    try:
        s = timeout
    except OverflowError:
        if timeout < 0:
            raise ValueError("timeout must not be negative") from None
        return NO_DEADLINE                  # an int beyond all floats
    except TypeError:
        raise TypeError(f"timeout must be a number of seconds or None, "
                        f"not {type(timeout).__name__}") from None
    return deadline_in(s, "timeout")


cdef int64_t deadline_in(double s, str what) except -3:
    if isnan(s):
        raise ValueError(f"{what} must not be NaN")
    if s < 0:
        raise ValueError(f"{what} must not be negative: {s!r}")
    if s == 0:
        return TRY_ONCE
    if s > 9.0e9:                           # 285 years
        return NO_DEADLINE
    return gm_nanotime() + <int64_t>(s * 1e9 + 0.5)


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
    cdef double s
    if isinstance(seconds, str):
        raise TypeError("seconds must be a number, not str")
    s = seconds
    deadline = deadline_in(s, "sleep length")
    if deadline == TRY_ONCE:
        return gosched()
    m = getm()
    g = getg(m)
    park_arm(g.park, WHY_SLEEP)
    r = gopark(m, g, deadline)
    if r != WAKE_TIMEOUT:
        park_raise(m, r, "sleep")
