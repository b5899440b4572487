"""trio: programs of single operations, part of on_trio.py."""

from time import perf_counter_ns, process_time_ns

import trio
import trio.testing

import work
from harness import check, each


async def noop():
    pass


async def select_plain(n):
    to, source = trio.open_memory_channel(n)
    for _ in range(n):
        to.send_nowait(1)
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        total += await source.receive()
    taken = each(start, n)
    check(total, n)
    return taken


async def semaphore_alone(n):
    semaphore = trio.Semaphore(4)
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        async with semaphore:
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


class Turns:
    """Two tasks, 0 and 1, that wait for their turn at one condition."""

    def __init__(self):
        self.cond = trio.Condition()
        self.turn = 0

    async def run(self, n, me):
        for _ in range(n):
            async with self.cond:
                while self.turn != me:
                    await self.cond.wait()
                self.turn = 1 - me
                self.cond.notify()


async def cond_pingpong(n):
    turns = Turns()
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.run, n, 0)
        nursery.start_soon(turns.run, n, 1)
    return each(start, n)


async def wait_and_set(n, events, me):
    for _ in range(n):
        await events[me].wait()
        events[me] = trio.Event()  # has no clear()
        events[1 - me].set()


async def event_pingpong(n):
    events = [trio.Event(), trio.Event()]
    events[0].set()
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_and_set, n, events, 0)
        nursery.start_soon(wait_and_set, n, events, 1)
    return each(start, n)


async def nap(seconds):
    for _ in range(work.NAPS):
        await trio.sleep(seconds)


async def naps(n, seconds):
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(nap, seconds)


async def timers_zero(n):
    start = perf_counter_ns()
    await naps(n, 0)
    return each(start, n * work.NAPS)


async def timers_short(n):
    start = process_time_ns()
    await naps(n, work.NAP_S)
    return (process_time_ns() - start) / (n * work.NAPS)


async def timeout_unused(n):
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        with trio.fail_after(1000):
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


async def wait_to_receive(source, scope):
    with scope:
        await source.receive()


async def cancel_parked(n):
    to, source = trio.open_memory_channel(0)
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(n)]
        for scope in scopes:
            nursery.start_soon(wait_to_receive, source, scope)
        await trio.testing.wait_all_tasks_blocked()
        for scope in scopes:
            scope.cancel()
    taken = each(start, n)
    check(sum(scope.cancelled_caught for scope in scopes), n)
    return taken


async def group_children(n):
    start = perf_counter_ns()
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(noop)
    return each(start, n)


PROGRAMS = {
    "select-plain": select_plain,
    "semaphore-alone": semaphore_alone,
    "cond-pingpong": cond_pingpong,
    "event-pingpong": event_pingpong,
    "timers-zero": timers_zero,
    "timers-short": timers_short,
    "timeout-unused": timeout_unused,
    "cancel-parked": cancel_parked,
    "group-children": group_children,
}
