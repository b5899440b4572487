"""gevent: programs of single operations, part of on_gevent.py."""

import gevent
import gevent.event
import gevent.local
import gevent.lock
import gevent.pool
import gevent.queue
from time import perf_counter_ns, process_time_ns

import work
from harness import check, each, left, resident


def noop():
    pass


def identity(i):
    return i


def select_plain(n):
    q = gevent.queue.SimpleQueue(n)
    for _ in range(n):
        q.put(1)
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        total += q.get()
    taken = each(start, n)
    check(total, n)
    return taken


def semaphore_alone(n):
    semaphore = gevent.lock.Semaphore(4)
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        with semaphore:
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


def wait_and_set(n, mine, other):
    for _ in range(n):
        mine.wait()
        mine.clear()
        other.set()


def event_pingpong(n):
    first, second = gevent.event.Event(), gevent.event.Event()
    first.set()
    start = perf_counter_ns()
    gevent.joinall([
        gevent.spawn(wait_and_set, n, first, second),
        gevent.spawn(wait_and_set, n, second, first),
    ])
    return each(start, n)


def pending(n):
    return [gevent.spawn_later(work.far_s(i), noop) for i in range(n)]


def timers_started_and_stopped(n):
    """Returns the nanoseconds to start one timer and to stop one, beside n others."""
    others = pending(n)
    dues = [work.far_s(n + k) for k in range(work.TIMER_ROUNDS)]
    start = perf_counter_ns()
    timers = [gevent.spawn_later(due, noop) for due in dues]
    starting = each(start, len(dues))
    start = perf_counter_ns()
    for timer in timers:
        timer.kill(block=False)
    stopping = each(start, len(dues))
    gevent.killall(timers + others)
    return starting, stopping


def timers_start(n):
    return timers_started_and_stopped(n)[0]


def timers_stop(n):
    return timers_started_and_stopped(n)[1]


def memory_timers(n):
    gevent.killall(pending(10))  # the hub itself does not count
    before = resident()
    timers = pending(n)
    taken = (resident() - before) / n
    gevent.killall(timers)
    return taken


def memory_stopped(n):
    gevent.killall(pending(10))  # the hub itself does not count
    before = left()
    timers = pending(n)
    gevent.killall(timers)
    del timers
    return (left() - before) / n


def nap(seconds):
    for _ in range(work.NAPS):
        gevent.sleep(seconds)


def naps(n, seconds):
    gevent.joinall([gevent.spawn(nap, seconds) for _ in range(n)])


def timers_zero(n):
    start = perf_counter_ns()
    naps(n, 0)
    return each(start, n * work.NAPS)


def timers_short(n):
    start = process_time_ns()
    naps(n, work.NAP_S)
    return (process_time_ns() - start) / (n * work.NAPS)


def timers_firing(n):
    start = process_time_ns()
    gevent.joinall([gevent.spawn_later(work.NAP_S, noop) for _ in range(n)])
    return (process_time_ns() - start) / n


def timeout_unused(n):
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        with gevent.Timeout(1000):
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


def wait_to_receive(q):
    q.get()


def cancel_parked(n):
    q = gevent.queue.Channel()
    start = perf_counter_ns()
    greenlets = [gevent.spawn(wait_to_receive, q) for _ in range(n)]
    gevent.sleep(0)  # runs each up to its get()
    for greenlet in greenlets:
        greenlet.kill(block=False)
    gevent.joinall(greenlets)
    taken = each(start, n)
    check(sum(isinstance(g.value, gevent.GreenletExit) for g in greenlets), n)
    return taken


def group_children(n):
    group = gevent.pool.Group()
    start = perf_counter_ns()
    for _ in range(n):
        group.spawn(noop)
    group.join()
    return each(start, n)


def futures_gather(n):
    start = perf_counter_ns()
    results = [g.get() for g in [gevent.spawn(identity, i) for i in range(n)]]
    taken = each(start, n)
    check(sum(results), n * (n - 1) // 2)
    return taken


def futures_wait(n):
    start = perf_counter_ns()
    done = gevent.wait([gevent.spawn(identity, i) for i in range(n)])
    taken = each(start, n)
    check(sum(g.value for g in done), n * (n - 1) // 2)
    return taken


def futures_completed(n):
    total = 0
    start = perf_counter_ns()
    for g in gevent.iwait([gevent.spawn(identity, i) for i in range(n)]):
        total += g.value
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def futures_result(n):
    greenlets = [gevent.spawn(identity, i) for i in range(n)]
    gevent.joinall(greenlets)
    total = 0
    start = perf_counter_ns()
    for g in greenlets:
        total += g.get()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


def local_get(n):
    local = gevent.local.local()
    local.value = 1
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        total += local.value
    taken = each(start, n)
    check(total, n)
    return taken


PROGRAMS = {
    "select-plain": select_plain,
    "semaphore-alone": semaphore_alone,
    "event-pingpong": event_pingpong,
    "timers-start": timers_start,
    "timers-stop": timers_stop,
    "timers-zero": timers_zero,
    "timers-short": timers_short,
    "timers-firing": timers_firing,
    "timeout-unused": timeout_unused,
    "cancel-parked": cancel_parked,
    "group-children": group_children,
    "futures-gather": futures_gather,
    "futures-wait": futures_wait,
    "futures-completed": futures_completed,
    "futures-result": futures_result,
    "local-get": local_get,
    "memory-timers": memory_timers,
    "memory-stopped": memory_stopped,
}
