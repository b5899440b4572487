# An Executor's futures, as their callers see them. The invariants, FU1 to FU5, stand in executor.pxi.

cdef _FutureMore future_more(FutureCore f):
    if f.more is None:
        f.more = _FutureMore.__new__(_FutureMore)
    return f.more


@cython.final
cdef class _FutureMore:
    # What only some futures have.
    def __dealloc__(self):
        xdecref(self.args)
        xdecref(self.ctx)


@cython.final
cdef class _FutureHook:
    # A goroutine's done callback that calls fn(future).

    def __call__(self, handle):
        self.fn(self.future)

    def __eq__(self, other):
        return (type(other) is _FutureHook and self.future is (<_FutureHook>other).future
                and self.fn == (<_FutureHook>other).fn)


cdef _FutureHook hook_for(FutureCore f, fn):
    cdef _FutureHook hook = _FutureHook.__new__(_FutureHook)
    hook.future, hook.fn = f, fn
    return hook


cdef class FutureCore:
    """See gmpx/executor.py."""

    # ---- what it is -------------------------------------------------------------------------

    def done(self):
        """done()
        True if it has ended or been cancelled."""
        cdef Goroutine g = self.g
        if self.state != FU_STARTED:
            return self.state != FU_WAITS
        return gm_load_u32_acquire(&g.g.status) == G_DEAD or (
            g.g.flags & GF_CANCELLED != 0 and not begun(&g.g))

    def cancelled(self):
        """cancelled()
        True if it was cancelled."""
        cdef Goroutine g = self.g
        if self.state != FU_STARTED:
            return self.state == FU_CANCELLED
        if gm_load_u32_acquire(&g.g.status) != G_DEAD:
            return g.g.flags & GF_CANCELLED != 0 and not begun(&g.g)
        return g.g.flags & GF_FAILED != 0 and isinstance((<_Failure>g._result).exc, Cancelled)

    def running(self):
        """running()
        True between the beginning of the call and its end."""
        return self.state == FU_STARTED and not self.done() and begun(&self.g.g)

    # ---- its outcome ------------------------------------------------------------------------

    def result(self, timeout=None):
        """result(timeout=None)
        Waits until the call has ended; returns its value or raises its exception.

        Args:
            timeout: seconds; None waits for ever, 0 or less looks once.

        Raises:
            concurrent.futures.CancelledError: it was cancelled.
            TimeoutError: it has not ended in time.

        Blocks the goroutine; on a foreign thread, the thread.
        """
        cdef Goroutine g = self.g
        if gm_likely(self.state == FU_STARTED and gm_load_u32_acquire(&g.g.status) == G_DEAD
                     and not g.g.flags & (GF_FAILED | GF_FORKED)):
            return g._result
        exc = future_exception(self, timeout)
        if exc is None:
            return self.g._result
        try:
            raise exc
        finally:
            del exc                             # which has this frame in its traceback

    def exception(self, timeout=None):
        """exception(timeout=None)
        Waits until the call has ended; returns the exception that it raised, or None.

        Args, Raises: as ``result``.
        """
        exc = future_exception(self, timeout)
        if exc is not None and self.cancelled():
            raise exc
        return exc

    # ---- being told -------------------------------------------------------------------------

    def add_done_callback(self, fn):
        """add_done_callback(fn)
        Calls ``fn(future)`` when it has ended; at once if it has already.

        Callbacks run in the order of adding, in a goroutine of their own, or in the caller of the
        ``cancel`` of a call that waits for room; shutdown waits for them. An Exception that they
        raise is logged, as ``concurrent.futures`` does.
        """
        found = [fn]                            # may collect garbage: before the look
        if self.done():
            future_call_back(self, found)
        elif self.callbacks is not None:
            self.callbacks.append(fn)
        else:
            self.callbacks = found
            self.tasks.n += 1                   # FU2
            self._on_end(FutureCore._call_back_later)

    def _call_back_later(self):
        """_call_back_later()
        It has ended."""
        cdef gm_m* m = getm()
        found, self.callbacks = self.callbacks, None
        try:
            if self.g is None:                  # cancelled: in its caller
                future_call_back(self, found)
            else:
                self.tasks.callbacks.go(_future_call_back, self, found)
        finally:
            wg_done(m, self.tasks)

    def _on_end(self, fn):
        """_on_end(fn)
        Calls fn(self) when it has ended, on the M that ends it; fn may not park."""
        cdef _FutureMore more
        hook = hook_for(self, fn)
        more = future_more(self) if self.state == FU_WAITS else None
        if self.state == FU_STARTED:
            self.g.add_done_callback(hook)
        elif self.state != FU_WAITS:
            fn(self)
        elif more.hooks is None:
            more.hooks = [hook]
        else:
            more.hooks.append(hook)

    def _remove_done_callback(self, fn):
        """_remove_done_callback(fn)
        Takes one of _on_end that has not been called off again."""
        hook = hook_for(self, fn)
        if self.state == FU_STARTED:
            self.g._remove_done_callback(hook)
        elif self.more is not None and self.more.hooks is not None and hook in self.more.hooks:
            self.more.hooks.remove(hook)

    def _failed(self):
        """_failed()
        Whether it has ended with an exception. Does not count as reading."""
        cdef Goroutine g = self.g
        if self.state != FU_STARTED:
            return self.state == FU_FAILED
        return g.g.flags & GF_FORKED != 0 or g._failed()

    # ---- stopping it ------------------------------------------------------------------------

    def cancel(self):
        """cancel()
        Cancels it if the call has not begun.

        Returns:
            Whether it is cancelled.
        """
        if self.state == FU_WAITS:
            self.state = FU_CANCELLED
            try:
                future_dropped(self)
            finally:
                wg_done(getm(), self.tasks)
            return True
        if self.state == FU_STARTED and not begun(&self.g.g):
            g_cancel(&self.g.g)
        return self.cancelled()

    # ---- what concurrent.futures.wait and as_completed use ---------------------------------

    @property
    def _condition(self):
        cdef _FutureMore more = future_more(self)
        if more.condition is None:
            condition, waiters = future_condition()
            if more.condition is None:          # FU4
                more.waiters = waiters
                more.condition = condition
                self._on_end(FutureCore._tell_waiters)
        return more.condition

    @property
    def _waiters(self):
        self._condition
        return self.more.waiters

    @property
    def _state(self):
        if self.more is not None and self.more.condition is not None:
            return self.more.told or "PENDING"
        return self._state_now()

    def _state_now(self):
        if self.done():
            return "CANCELLED_AND_NOTIFIED" if self.cancelled() else "FINISHED"
        return "RUNNING" if self.running() else "PENDING"

    @property
    def _result(self):
        return self.g._result if self.done() and not self.cancelled() and not self._failed() else None

    @property
    def _exception(self):
        return future_exception(self, 0) if self.done() and not self.cancelled() else None

    def _tell_waiters(self):
        """_tell_waiters()
        It has ended."""
        cdef _FutureMore more = self.more
        with more.condition:
            more.told = self._state_now()
            for waiter in more.waiters:
                if more.told != "FINISHED":
                    waiter.add_cancelled(self)
                elif self._failed():
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            more.condition.notify_all()


cdef int future_tells(f, fn) except -1:
    # Calls fn(f) when f has ended: a Goroutine, or any Future. fn may not park.
    if isinstance(f, FutureCore):
        (<FutureCore>f)._on_end(fn)
    else:
        f.add_done_callback(fn)
    return 0


cdef int future_untells(f, fn) except -1:
    # It need not know any more.
    if isinstance(f, (FutureCore, Goroutine)):
        f._remove_done_callback(fn)
    elif not f.done():
        with f._condition:
            if fn in f._done_callbacks:
                f._done_callbacks.remove(fn)
    return 0


def _tells(f, fn):
    """_tells(f, fn)
    Calls fn(f) when f has ended, a Goroutine or a Future, on the thread that ends it. fn may not park."""
    future_tells(f, fn)


def _untells(f, fn):
    """_untells(f, fn)
    Takes it off again if it has not been called."""
    future_untells(f, fn)


def _future_call_back(FutureCore f, list found):
    future_call_back(f, found)


cdef int future_call_back(FutureCore f, list found) except -1:
    cdef Tasks tasks = f.tasks
    callbacks_called(tasks, 1)
    try:
        for fn in found:
            try:
                fn(f)
            except Exception:
                future_errors[2].exception("exception calling callback for %r", f)
    finally:
        callbacks_called(tasks, -1)
    return 0


cdef void callbacks_called(Tasks tasks, int n) noexcept:
    gm_mu_lock(&tasks.mu)
    tasks.calling += n
    gm_mu_unlock(&tasks.mu)


cdef object future_exception(FutureCore f, timeout):
    # Waits for its end: its exception, with the traceback, or None.
    cdef Goroutine g
    cdef _Failure failure
    cdef Event started
    cdef int64_t deadline
    cdef gm_m* m
    cancelled, timed_out, _ = future_errors
    deadline = deadline_of(timeout if timeout is None or timeout > 0 else 0)
    try:
        if f.state == FU_WAITS:
            started = Event()
            if f.state == FU_WAITS:
                if f.more.started is None:
                    f.more.started = started
                started = f.more.started
                if deadline == TRY_ONCE:
                    raise timed_out()
                m = getm()                          # Y1
                if not started.on:
                    wait_on(m, getg(m), &started.waiters, WHY_JOIN, deadline, "result")
        if f.state == FU_STARTED and not f.done():
            join_slow(f.g, deadline)
    except TimeoutError:
        raise timed_out() from None
    if f.cancelled():
        if f.g is not None and f.g.g.flags & GF_FAILED:
            (<_Failure>f.g._result).read = True
        return cancelled()
    if f.state == FU_FAILED:
        return f.more.failure
    g = f.g
    try:
        check_fork(g)
    except RuntimeError as e:
        return e
    if not g.g.flags & GF_FAILED:
        return None
    failure = <_Failure>g._result
    failure.read = True
    return failure.exc.with_traceback(failure.tb)
