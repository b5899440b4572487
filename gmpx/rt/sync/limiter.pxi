# Limiter: a token bucket, first come first served (golang.org/x/time/rate).
#
# The bucket is kept as what has been taken out of it, in time: `spent` is how many nanoseconds after
# `base` it will be full again (GCRA, the generic cell rate algorithm). Each taking makes `base` its own
# time, so the numbers stay small, and nothing adds up to a drift.
#
# Invariants (under the guard)
#   GL1  spent < most + 1, most = burst * interval, as seen from base: parts of nanoseconds are carried on.
#        So a wait is bounded, also when the clock has gone back (a bubble has been left): base is now, then.
#   GL2  Whoever waits has the turn (`held`) or stands in the queue for it. Nobody takes tokens past
#        those. The turn is handed over as a Mutex is (Y2). In a fork's child nobody has it: who had is no more.
#   GL3  Only the one with the turn waits for time, and takes its tokens when that is over: who gives up
#        has taken none.
#   GL4  Who has waited for time takes its tokens as of the time when they were there, or all that wait
#        would add up their late wake-ups.
#
# Rejected: to give each comer its time at once and let it sleep alone (Go's Reserve). Who gives up in the
# middle would leave a gap there, and a token for somebody later, beside the one that is due.

cdef enum:
    LIMITER_LATE_NS = 5000000   # how late a wake-up GL4 makes up for: the GIL's switch interval


cdef inline bint limiter_held(Limiter l) noexcept:
    return l.held != 0 and l.held == spares_epoch + 1


cdef inline bint limiter_try(Limiter l, Py_ssize_t n, int64_t at, int64_t* due) noexcept:
    # Takes n tokens as of that time, or says in `due` when they will be there, later than that.
    cdef double spent
    if at < l.base:
        l.base = at                         # GL1
    spent = max(l.spent - <double>(at - l.base), 0.0) + n * l.interval
    if spent - l.most >= 1:
        due[0] = at + <int64_t>(spent - l.most)
        return False
    l.base = at
    l.spent = spent
    return True


cdef int limiter_wait(gm_m* m, gm_g* g, Limiter l, Py_ssize_t n, int64_t deadline) noexcept:
    # With the turn: 0, or a WAKE_* that is no wake-up.
    cdef int64_t at = clock_now()
    cdef int64_t due = 0
    cdef bint late
    cdef int r
    while not limiter_try(l, n, at, &due):
        late = 0 <= deadline < due
        park_arm(g.park, WHY_LIMITER)
        r = gopark(m, g, deadline if late else due)
        if late or r != WAKE_TIMEOUT:
            return r
        at = max(due, clock_now() - LIMITER_LATE_NS)    # GL4
    return 0


cdef int limiter_acquire(Limiter l, Py_ssize_t n, int64_t deadline) except -1:
    cdef gm_m* m
    cdef gm_g* g
    cdef int64_t due
    cdef int r
    if not limiter_held(l) and limiter_try(l, n, clock_now(), &due):
        return 0
    if deadline == TRY_ONCE:
        raise TimeoutError("Limiter.acquire timed out")
    m = getm()                              # Y1
    g = getg(m)
    if limiter_held(l):
        wait_on(m, g, &l.waiters, WHY_LIMITER, deadline, "Limiter.acquire")
    l.held = spares_epoch + 1               # GL2
    r = limiter_wait(m, g, l, n, deadline)
    if not waitq_ready(m, &l.waiters):
        l.held = 0
    if r != 0:
        return park_raise(m, r, "Limiter.acquire")
    return 0


cdef Py_ssize_t tokens_of(Limiter l, object n) except -1:
    cdef Py_ssize_t k = count_of(n, 1, "n")
    if k > l.size:
        raise ValueError(f"n must be at most burst, {l.size}: {n}")
    return k


cdef double rate_number(object x, str what) except -1.0:
    # A finite number above 0.
    cdef double d
    if isinstance(x, (str, bytes, bool)):
        raise TypeError(f"{what} must be a number, not {type(x).__name__}")
    try:
        d = x
    except TypeError:
        raise TypeError(f"{what} must be a number, not {type(x).__name__}") from None
    except OverflowError:
        d = INFINITY
    if not 0 < d < INFINITY:                # nor NaN
        raise ValueError(f"{what} must be a finite number above 0: {x!r}")
    return d


@cython.final
cdef class Limiter:
    """Limiter(rate, per=1.0, burst=1)
    Lets so many pass in a time: a token bucket (golang.org/x/time/rate). Parks goroutines, not threads.

    The bucket begins full, with ``burst`` tokens; ``rate`` tokens in ``per`` seconds come in, evenly, as
    long as it is not full. First come, first served: one that wants many is not overtaken by those that
    want few. One that gives up (a time-out, a cancel) has taken none. May be shared by any number of
    goroutines and threads, and by calls of ``map`` and ``imap``, Groups and Executors, as ``rate=``.
    ``with limiter:`` takes a token; leaving gives none back.

    Args:
        rate: tokens that come in in ``per`` seconds; a finite number above 0.
        per: seconds, finite, above 0.
        burst: how many tokens the bucket holds, >= 1. With 1 they pass one by one, ``per / rate``
            seconds apart. (Who is woken late, by 5 ms at most, does not make the next one late.)

    Raises:
        ValueError: a number out of range. TypeError: not a number; burst is no int.

    >>> limiter = Limiter(100, burst=2)
    >>> limiter.try_acquire(), limiter.try_acquire(), limiter.try_acquire()
    (True, True, False)
    >>> limiter.acquire()       # waits for a hundredth of a second, or what is left of it
    True
    """

    def __init__(self, rate=None, per=1.0, burst=1):
        if rate is None:
            raise TypeError("Limiter(): rate must be a number, not None")
        cdef double interval = rate_number(per, "per") * 1e9 / rate_number(rate, "rate")
        cdef Py_ssize_t k = count_of(burst, 1, "burst")
        if not interval * k < 3e18:         # 95 years, as for any wait
            raise ValueError(f"rate is too low: {rate!r} in {per!r} s, burst {burst}")
        self.size = k
        self.interval = interval
        self.most = interval * k
        self.spent = 0
        self.base = clock_now()
        self.given_rate = rate
        self.given_per = per

    def acquire(self, n=1, timeout=None):
        """acquire(n=1, timeout=None)
        Takes n tokens, waiting until they have come in and it is the caller's turn. Returns True.

        Args:
            n: how many, 1 to burst.
            timeout: seconds; None waits for ever, 0 tries once.

        Raises:
            TimeoutError: not in time.
            ValueError: n is below 1, or above burst.

        Blocks the goroutine; on a foreign thread, the thread.
        """
        limiter_acquire(self, tokens_of(self, n), deadline_of(timeout))
        return True

    def try_acquire(self, n=1):
        """try_acquire(n=1)
        Takes n tokens if they are there and nobody waits. Never blocks. Returns whether it did.

        Raises:
            ValueError: n is below 1, or above burst.
        """
        cdef int64_t due
        cdef Py_ssize_t k = tokens_of(self, n)
        return not limiter_held(self) and limiter_try(self, k, clock_now(), &due)

    @property
    def free(self):
        """How many tokens are there to be taken."""
        cdef double spent = max(self.spent - <double>max(clock_now() - self.base, 0), 0.0)
        cdef double left = (self.most - spent + 1) / self.interval if self.interval > 0 else self.size
        return min(<Py_ssize_t>min(left, <double>self.size), self.size)

    @property
    def rate(self):
        """How many tokens come in in ``per`` seconds."""
        return self.given_rate

    @property
    def per(self):
        """The seconds in which ``rate`` tokens come in."""
        return self.given_per

    @property
    def burst(self):
        """How many tokens the bucket holds."""
        return self.size

    def __enter__(self):
        limiter_acquire(self, 1, NO_DEADLINE)
        return True

    def __exit__(self, *exc):
        pass

    def __repr__(self):
        return f"<Limiter {self.given_rate} in {self.given_per} s, burst={self.size}, free={self.free}>"
