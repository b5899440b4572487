"""gmpx: programs of single operations, part of on_gmpx.py."""

from contextvars import copy_context
from time import perf_counter_ns, process_time_ns

import gmpx
import work
from gmpx import context
from harness import check, each, left, resident


def noop():
    pass


def identity(i):
    return i


def full(n):
    """Returns a channel that holds n values."""
    c = gmpx.Chan(n)
    for i in range(n):
        c.send(1)
    return c


def select_plain(n):
    c = full(n)
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        total += c.recv()
    taken = each(start, n)
    check(total, n)
    return taken


def select_ready(n):
    a, b = full(n), full(n)
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        total += gmpx.select(a, b)[1]
    taken = each(start, n)
    check(total, n)
    return taken


def select_cases(n):
    channels = [gmpx.Chan(1) for _ in range(n)]
    places = work.scattered(n, work.SELECT_ROUNDS)
    total = 0
    start = perf_counter_ns()
    for i in places:
        channels[i].send(i)
        total += gmpx.select(*channels)[0]
    taken = each(start, work.SELECT_ROUNDS)
    check(total, sum(places))
    return taken


def select_ping(n, there, back, idle):
    for i in range(n):
        there.send(i)
        gmpx.select(back, idle)


def select_pong(n, there, back, idle):
    for _ in range(n):
        back.send(gmpx.select(there, idle)[1])


def select_parking(n):
    there, back, idle = gmpx.Chan(), gmpx.Chan(), gmpx.Chan()
    wg = gmpx.WaitGroup()
    start = perf_counter_ns()
    wg.go(select_ping, n, there, back, idle)
    wg.go(select_pong, n, there, back, idle)
    wg.wait()
    return each(start, n)


def rwmutex_read(n):
    rw = gmpx.RWMutex()
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        with rw.reader():
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


def semaphore_alone(n):
    semaphore = gmpx.Semaphore(4)
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        with semaphore:
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


def once_done(n):
    once = gmpx.Once()
    start = perf_counter_ns()
    for _ in range(n):
        once.do(noop)
    return each(start, n)


class Turns:
    """Two tasks, 0 and 1, that wait for their turn at one condition."""

    def __init__(self):
        self.cond = gmpx.Cond()
        self.turn = 0

    def run(self, n, me):
        for _ in range(n):
            with self.cond:
                while self.turn != me:
                    self.cond.wait()
                self.turn = 1 - me
                self.cond.signal()


def cond_pingpong(n):
    turns = Turns()
    wg = gmpx.WaitGroup()
    start = perf_counter_ns()
    wg.go(turns.run, n, 0)
    wg.go(turns.run, n, 1)
    wg.wait()
    return each(start, n)


def wait_and_set(n, mine, other):
    for _ in range(n):
        mine.wait()
        mine.clear()
        other.set()


def event_pingpong(n):
    first, second = gmpx.Event(), gmpx.Event()
    wg = gmpx.WaitGroup()
    start = perf_counter_ns()
    wg.go(wait_and_set, n, first, second)
    wg.go(wait_and_set, n, second, first)
    first.set()
    wg.wait()
    return each(start, n)


def meet(barrier):
    for _ in range(work.BARRIER_ROUNDS):
        barrier.wait()


def barrier_cycle(n):
    barrier = gmpx.Barrier(n)
    wg = gmpx.WaitGroup()
    start = perf_counter_ns()
    for _ in range(n):
        wg.go(meet, barrier)
    wg.wait()
    return each(start, n * work.BARRIER_ROUNDS)


def pending(n):
    return [gmpx.Timer(work.far_s(i)) for i in range(n)]


def timers_started_and_stopped(n):
    """Returns the nanoseconds to start one timer and to stop one, beside n others."""
    check(gmpx.Timer(1000).stop(), True)  # starts the runtime, which does not count
    others = pending(n)
    dues = [work.far_s(n + k) for k in range(work.TIMER_ROUNDS)]
    start = perf_counter_ns()
    timers = [gmpx.Timer(due) for due in dues]
    starting = each(start, len(dues))
    stopped = 0
    start = perf_counter_ns()
    for timer in timers:
        stopped += timer.stop()
    stopping = each(start, len(dues))
    check(stopped + sum(timer.stop() for timer in others), len(dues) + n)
    return starting, stopping


def timers_start(n):
    return timers_started_and_stopped(n)[0]


def timers_stop(n):
    return timers_started_and_stopped(n)[1]


def memory_timers(n):
    check(sum(timer.stop() for timer in pending(10)), 10)  # the runtime itself does not count
    before = resident()
    timers = pending(n)
    taken = (resident() - before) / n
    check(sum(timer.stop() for timer in timers), n)
    return taken


def memory_stopped(n):
    check(sum(timer.stop() for timer in pending(10)), 10)  # the runtime itself does not count
    before = left()
    timers = pending(n)
    check(sum(timer.stop() for timer in timers), n)
    del timers
    return (left() - before) / n


def nap(seconds):
    for _ in range(work.NAPS):
        gmpx.sleep(seconds)


def naps(n, seconds):
    wg = gmpx.WaitGroup()
    for _ in range(n):
        wg.go(nap, seconds)
    wg.wait()


def timers_zero(n):
    start = perf_counter_ns()
    naps(n, 0)
    return each(start, n * work.NAPS)


def timers_short(n):
    start = process_time_ns()
    naps(n, work.NAP_S)
    return (process_time_ns() - start) / (n * work.NAPS)


def receive_ticks():
    ticker = gmpx.Ticker(work.TICKER_S)
    for _ in range(work.TICKS):
        ticker.c.recv()
    ticker.stop()


def timers_ticking(n):
    wg = gmpx.WaitGroup()
    start = process_time_ns()
    for _ in range(n):
        wg.go(receive_ticks)
    wg.wait()
    return (process_time_ns() - start) / (n * work.TICKS)


def timers_firing(n):
    wg = gmpx.WaitGroup()
    wg.add(n)
    start = process_time_ns()
    for _ in range(n):
        gmpx.after_func(work.NAP_S, wg.done)
    wg.wait()
    return (process_time_ns() - start) / n


def timeout_unused(n):
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        with gmpx.timeout(1000):
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


def wait_to_receive(ready, c):
    ready.done()
    c.recv()


def cancel_parked(n):
    c = gmpx.Chan()
    ready = gmpx.WaitGroup()
    ready.add(n)
    start = perf_counter_ns()
    gs = [gmpx.go(wait_to_receive, ready, c) for _ in range(n)]
    ready.wait()
    asked = 0
    for g in gs:
        asked += g.cancel()
    for g in gs:
        g.join()
    taken = each(start, n)
    check(asked, n)
    return taken


def group_children(n):
    start = perf_counter_ns()
    with gmpx.Group() as group:
        for _ in range(n):
            group.go(noop)
    return each(start, n)


def context_made_and_cancelled(n):
    """Returns the nanoseconds to make one of n children, and to cancel it by its parent."""
    parent, cancel = context.with_cancel(context.background())
    start = perf_counter_ns()
    children = [context.with_cancel(parent) for _ in range(n)]
    making = each(start, n)
    start = perf_counter_ns()
    cancel()
    cancelling = each(start, n)
    check(sum(isinstance(ctx.err(), context.Canceled) for ctx, _ in children), n)
    return making, cancelling


def context_making(n):
    return context_made_and_cancelled(n)[0]


def context_cancelling(n):
    return context_made_and_cancelled(n)[1]


def futures_gather(n):
    start = perf_counter_ns()
    results = gmpx.gather(*[gmpx.go(identity, i) for i in range(n)])
    taken = each(start, n)
    check(sum(results), n * (n - 1) // 2)
    return taken


def futures_wait(n):
    start = perf_counter_ns()
    done, _ = gmpx.wait([gmpx.go(identity, i) for i in range(n)])
    taken = each(start, n)
    check(sum(g.result() for g in done), n * (n - 1) // 2)
    return taken


def futures_completed(n):
    total = 0
    start = perf_counter_ns()
    for g in gmpx.as_completed([gmpx.go(identity, i) for i in range(n)]):
        total += g.result()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def futures_result(n):
    gs = [gmpx.go(identity, i) for i in range(n)]
    for g in gs:
        g.join()
    total = 0
    start = perf_counter_ns()
    for g in gs:
        total += g.result()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def one(i):
    return 1


def fan_options():
    """Each option of map alone, as good as unbounded, and all of them."""
    options = {
        "rate": {"rate": gmpx.Limiter(1e12)},
        "retry": {"retry": gmpx.Retry(3)},
        "timeout": {"item_timeout": 60},
        "failures": {"on_error": "return"},
        "budget": {"budget": (one, 300)},
        "progress": {"progress": id},
        "inputs": {"with_input": True},
    }
    everything = {}
    for option in options.values():
        everything |= option
    return options | {"bare": {}, "all": everything}


def fan(name, lazy=False):
    """Returns the program of map with that option, or of imap."""

    def run(n):
        options = fan_options()[name]
        start = perf_counter_ns()
        if lazy:
            values = list(gmpx.imap(identity, range(n), limit=64, **options))
        else:
            values = gmpx.map(identity, range(n), limit=64, **options)
        taken = each(start, n)
        check(len(values), n)
        return taken

    return run


FANS = ("bare", "rate", "retry", "timeout", "failures", "budget", "progress", "inputs", "all")


def local_get(n):
    local = gmpx.Local()
    local.value = 1
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        total += local.value
    taken = each(start, n)
    check(total, n)
    return taken


def spawn_options(n):
    start = perf_counter_ns()
    gs = [gmpx.spawn(noop, name="some", context=copy_context()) for _ in range(n)]
    for g in gs:
        g.join()
    return each(start, n)


PROGRAMS = {
    "select-plain": select_plain,
    "select-ready": select_ready,
    "select-cases": select_cases,
    "select-parking": select_parking,
    "rwmutex-read": rwmutex_read,
    "semaphore-alone": semaphore_alone,
    "once-done": once_done,
    "cond-pingpong": cond_pingpong,
    "event-pingpong": event_pingpong,
    "barrier-cycle": barrier_cycle,
    "timers-start": timers_start,
    "timers-stop": timers_stop,
    "timers-zero": timers_zero,
    "timers-short": timers_short,
    "timers-ticking": timers_ticking,
    "timers-firing": timers_firing,
    "timeout-unused": timeout_unused,
    "cancel-parked": cancel_parked,
    "group-children": group_children,
    "context-making": context_making,
    "context-cancelling": context_cancelling,
    "futures-gather": futures_gather,
    "futures-wait": futures_wait,
    "futures-completed": futures_completed,
    "futures-result": futures_result,
    "local-get": local_get,
    "spawn-options": spawn_options,
    "memory-timers": memory_timers,
    "memory-stopped": memory_stopped,
}

for name in FANS:
    PROGRAMS[f"fan-{name}"] = fan(name)
    PROGRAMS[f"fan-lazy-{name}"] = fan(name, lazy=True)
