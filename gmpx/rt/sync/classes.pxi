# What the classes of this room hold, and the rules of each field. A part of _core.pxd.

cdef class WaitGroup:
    cdef gm_mu mu
    cdef Py_ssize_t n
    cdef gm_waitq waiters
    cdef bint fail_fast         # constant: a goroutine's failure ends the wait
    cdef bint is_group          # constant: this is a GroupCore
    cdef bint chains            # constant: one that ends may start another: a Feed, or Tasks
    cdef bint is_tasks          # constant: this is a Tasks
    cdef object first_failed    # GIL: handle of the first that failed, if fail_fast
    cdef object __weakref__


cdef class FailFast(WaitGroup):
    pass


cdef class Feed(FailFast):
    cdef object fn              # constant
    cdef tuple sequences        # constant
    cdef Py_ssize_t next_index  # GIL
    cdef list found             # GIL: handles, in the order of the items; None: not yet
    cdef PyObject* ctx          # owned, constant: the snapshot that each goroutine gets a copy of
    cdef uint64_t parent        # constant
    cdef bint stopped           # GIL
    cdef object failure         # GIL: why no more could be started, or None


cdef class FutureCore
cdef class Event


cdef class Tasks(WaitGroup):    # see rt/sync/executor.pxi
    cdef Py_ssize_t limit       # constant; 0: none
    cdef str name               # constant
    cdef Py_ssize_t running     # mu
    cdef object waiting         # mu: a deque of futures
    cdef WaitGroup callbacks    # constant
    cdef Py_ssize_t calling     # mu: in how many goroutines callbacks run


cdef class ExecutorCore:
    cdef Tasks tasks            # constant once it is set up
    cdef bint looks             # GIL: submit is to ask _look() first


cdef class _FutureMore:
    # while it waits for room
    cdef object fn
    cdef PyObject* args         # owned; with flags, as newproc1 takes them
    cdef PyObject* ctx          # owned
    cdef uint32_t flags
    cdef list hooks             # of _on_end, or None
    cdef Event started          # for who wants the result, or None
    # for who uses concurrent.futures' functions (FU4)
    cdef object condition
    cdef object waiters
    cdef str told               # condition: the state that its waiters know
    cdef object failure         # FU_FAILED: why


cdef class _FutureHook:
    cdef FutureCore future
    cdef object fn


cdef class FutureCore:
    cdef Goroutine g            # FU_STARTED
    cdef Tasks tasks            # constant
    cdef _FutureMore more
    cdef list callbacks         # GIL: None: none yet, or called
    cdef uint32_t state         # GIL: FU_*


cdef class Mutex:
    cdef gm_mu mu
    cdef bint held
    cdef gm_waitq waiters
    cdef object __weakref__


cdef class RWMutex:
    cdef gm_mu mu
    cdef Py_ssize_t readers     # how many hold it for reading
    cdef bint writing
    cdef gm_waitq rq            # waiting readers
    cdef gm_waitq wq            # waiting writers
    cdef object __weakref__


cdef class RWReader:
    cdef RWMutex rw


cdef class Semaphore:
    cdef gm_mu mu
    cdef Py_ssize_t value
    cdef gm_waitq waiters
    cdef object __weakref__


cdef class Limiter:
    cdef gm_mu mu
    cdef double interval        # ns for each token
    cdef double most            # ns: burst of them
    cdef double spent           # ns from `base` until the bucket is full
    cdef int64_t base
    cdef Py_ssize_t size        # burst
    cdef object given_rate, given_per     # as given
    cdef uint64_t held          # somebody has the turn: 1 + spares_epoch; 0: nobody
    cdef gm_waitq waiters       # those behind
    cdef object __weakref__


cdef class Cond:
    cdef gm_mu mu
    cdef object lock            # Mutex or RWMutex
    cdef gm_waitq waiters
    cdef object __weakref__


cdef class Event:
    cdef gm_mu mu
    cdef bint on
    cdef gm_waitq waiters
    cdef object __weakref__


cdef class Once:
    cdef gm_mu mu
    cdef int state
    cdef uint64_t goid          # who runs the function
    cdef gm_waitq waiters
    cdef object __weakref__


cdef class Chan


cdef class Scope:
    cdef gm_scope s
    cdef int open(self, int64_t deadline) except -1
    cdef int arm(self, gm_m* m, int64_t deadline) except -1
    cdef int fire(self) except -1
    cdef bint close(self, object exc) except -1


cdef class GroupCore(WaitGroup):
    cdef Scope scope            # the body's; None outside of the block
    cdef list failed            # GIL: handles, in the order of their ends
    cdef bint cancelled
    cdef bint entered
    cdef gm_g* first            # GIL: the living children stand together in the list of all (O3)
    cdef gm_g* last


cdef class TimerNode:
    cdef gm_tnode node
    cdef PyObject* chan         # borrowed: the channel that keeps this, or NULL
    cdef tuple call             # (function, arguments, context), or None
    cdef bint held              # the runtime has a reference
    cdef bint pending(self) noexcept
    cdef bint cancel(self) noexcept
    cdef int start(self, int64_t delay) except -1
    cdef bint stop(self) except -1
    cdef void hold(self) noexcept
    cdef void let_go(self) noexcept
    cdef int deliver(self, gm_m* m, int64_t fired_at) except -1


cdef class Readiness:
    cdef gm_pd* pd              # constant
    cdef object file            # constant: what was given as the descriptor
    cdef uint32_t mode          # constant: PD_READ or PD_WRITE
    cdef int looks(self) noexcept
    cdef bint look(self) except -1
    cdef int prepare(self, gm_m* m) except -1
    cdef gm_m* arm(self, gm_m* m, gm_sudog* s) noexcept nogil
    cdef void disarm(self, gm_m* owner, gm_sudog* s) noexcept nogil


cdef class Timer:
    cdef TimerNode node
    cdef Chan chan
    cdef object __weakref__


cdef class Ticker:
    cdef TimerNode node
    cdef Chan chan
    cdef object __weakref__


cdef class Chan:
    cdef gm_mu mu
    cdef bint is_closed
    cdef Py_ssize_t room        # the capacity
    cdef Py_ssize_t n           # items buffered
    cdef Py_ssize_t head        # index of the oldest
    cdef Py_ssize_t size        # slots of buf now; grows up to room
    cdef list buf
    cdef object keeps           # a timer's node, or None
    cdef gm_waitq recvq
    cdef gm_waitq sendq
    cdef uint64_t id
    cdef object __weakref__
