"""Go's scheduler for Python: goroutines over threads, channels, work stealing.

>>> import gmpx
>>> c = gmpx.Chan()
>>> _ = gmpx.go(c.send, "hello")
>>> c.recv()
'hello'

Importing starts no thread; the first ``go`` does what is needed.
"""

from gmpx._core import (
    Cancelled,
    Chan,
    ChannelClosed,
    Cond,
    DeadlockError,
    Event,
    Goroutine,
    Limiter,
    Machine,
    Mutex,
    Once,
    Processor,
    RWMutex,
    Semaphore,
    Ticker,
    Timer,
    WaitGroup,
    WouldBlock,
    after,
    after_func,
    blocking,
    current,
    default_excepthook as excepthook,
    go,
    goexit,
    gomaxprocs,
    goroutines,
    gosched,
    lock_os_thread,
    num_goroutine,
    run_on_main,
    select,
    shield,
    shutdown,
    sleep,
    spawn,
    stats,
    thread_locals,
    timeout,
)
from gmpx import context
from gmpx.barrier import Barrier
from gmpx.blocks import BlockReport, default_block_hook as block_hook
from gmpx.dump import dump
from gmpx.executor import Executor, Future
from gmpx.fanout import imap, map
from gmpx.fanout_call import Failure
from gmpx.group import Group
from gmpx.local import Local
from gmpx.progress import Progress
from gmpx.retry import Retry
from gmpx.waiting import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    as_completed,
    gather,
    wait,
)

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # Modules that most programs do without are imported when they are asked for.
    if name in ("aio", "cluster", "io", "patch", "testing"):
        from importlib import import_module

        return import_module(f"gmpx.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ALL_COMPLETED",
    "Barrier",
    "BlockReport",
    "Cancelled",
    "Chan",
    "ChannelClosed",
    "Cond",
    "DeadlockError",
    "Event",
    "Executor",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "Failure",
    "Future",
    "Goroutine",
    "Group",
    "Limiter",
    "Local",
    "Machine",
    "Mutex",
    "Once",
    "Processor",
    "Progress",
    "RWMutex",
    "Retry",
    "Semaphore",
    "Ticker",
    "Timer",
    "WaitGroup",
    "WouldBlock",
    "after",
    "after_func",
    "as_completed",
    "block_hook",
    "blocking",
    "context",
    "current",
    "dump",
    "excepthook",
    "gather",
    "go",
    "goexit",
    "gomaxprocs",
    "goroutines",
    "gosched",
    "imap",
    "lock_os_thread",
    "map",
    "num_goroutine",
    "run_on_main",
    "select",
    "shield",
    "shutdown",
    "sleep",
    "spawn",
    "stats",
    "thread_locals",
    "timeout",
    "wait",
]
