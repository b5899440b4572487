"""asyncio: programs of single operations, part of on_asyncio.py."""

import asyncio
import sys
from contextvars import ContextVar, copy_context
from time import perf_counter_ns, process_time_ns

import work
from harness import check, each, left, resident

value_here = ContextVar("value_here")


async def noop():
    pass


async def identity(i):
    return i


async def run_all(coroutines):
    """Runs all of them as tasks and waits for them."""
    if sys.version_info >= (3, 11):
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)
    else:
        await asyncio.gather(*coroutines)


def full(n):
    """Returns a queue that holds n values."""
    queue = asyncio.Queue()
    for _ in range(n):
        queue.put_nowait(1)
    return queue


async def select_plain(n):
    queue = full(n)
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        total += await queue.get()
    taken = each(start, n)
    check(total, n)
    return taken


class Gets:
    """A get() that is always under way on each queue, and asyncio.wait for the first of them."""

    def __init__(self, *queues):
        self.gets = {asyncio.create_task(queue.get()): queue for queue in queues}

    async def select(self):
        """Returns what the queues gave that had something."""
        done, _ = await asyncio.wait(self.gets, return_when=asyncio.FIRST_COMPLETED)
        for get in done:
            queue = self.gets.pop(get)
            self.gets[asyncio.create_task(queue.get())] = queue
        return [get.result() for get in done]

    async def close(self):
        for get in self.gets:
            get.cancel()
        await asyncio.gather(*self.gets, return_exceptions=True)


async def select_ready(n):
    gets = Gets(full(n), full(n))
    received = 0
    start = perf_counter_ns()
    while received < n:
        received += len(await gets.select())
    taken = each(start, received)
    await gets.close()
    return taken


async def select_cases(n):
    queues = [asyncio.Queue(1) for _ in range(n)]
    gets = Gets(*queues)
    await asyncio.sleep(0)  # starts each get()
    places = work.scattered(n, work.SELECT_ROUNDS)
    total = 0
    start = perf_counter_ns()
    for i in places:
        await queues[i].put(i)
        total += sum(await gets.select())
    taken = each(start, work.SELECT_ROUNDS)
    check(total, sum(places))
    await gets.close()
    return taken


async def select_ping(n, there, gets):
    for i in range(n):
        await there.put(i)
        await gets.select()
    await gets.close()


async def select_pong(n, back, gets):
    for _ in range(n):
        (value,) = await gets.select()
        await back.put(value)
    await gets.close()


async def select_parking(n):
    there, back, idle = asyncio.Queue(1), asyncio.Queue(1), asyncio.Queue(1)
    start = perf_counter_ns()
    await asyncio.gather(
        select_ping(n, there, Gets(back, idle)), select_pong(n, back, Gets(there, idle))
    )
    return each(start, n)


async def semaphore_alone(n):
    semaphore = asyncio.Semaphore(4)
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
        self.cond = asyncio.Condition()
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
    await asyncio.gather(turns.run(n, 0), turns.run(n, 1))
    return each(start, n)


async def wait_and_set(n, mine, other):
    for _ in range(n):
        await mine.wait()
        mine.clear()
        other.set()


async def event_pingpong(n):
    first, second = asyncio.Event(), asyncio.Event()
    first.set()
    start = perf_counter_ns()
    await asyncio.gather(wait_and_set(n, first, second), wait_and_set(n, second, first))
    return each(start, n)


async def meet(barrier):
    for _ in range(work.BARRIER_ROUNDS):
        await barrier.wait()


async def barrier_cycle(n):
    barrier = asyncio.Barrier(n)
    start = perf_counter_ns()
    await run_all(meet(barrier) for _ in range(n))
    return each(start, n * work.BARRIER_ROUNDS)


def pending(n):
    loop = asyncio.get_running_loop()
    return [loop.call_later(work.far_s(i), int) for i in range(n)]


async def timers_started_and_stopped(n):
    """Returns the nanoseconds to start one timer and to stop one, beside n others."""
    loop = asyncio.get_running_loop()
    others = pending(n)
    dues = [work.far_s(n + k) for k in range(work.TIMER_ROUNDS)]
    start = perf_counter_ns()
    timers = [loop.call_later(due, int) for due in dues]
    starting = each(start, len(dues))
    start = perf_counter_ns()
    for timer in timers:
        timer.cancel()
    stopping = each(start, len(dues))
    for timer in others:
        timer.cancel()
    await asyncio.sleep(0)  # the loop throws them away
    return starting, stopping


async def timers_start(n):
    return (await timers_started_and_stopped(n))[0]


async def timers_stop(n):
    return (await timers_started_and_stopped(n))[1]


async def memory_timers(n):
    before = resident()
    timers = pending(n)
    taken = (resident() - before) / n
    for timer in timers:
        timer.cancel()
    return taken


async def memory_stopped(n):
    before = left()
    timers = pending(n)
    for timer in timers:
        timer.cancel()
    await asyncio.sleep(0)  # the loop throws them away
    del timers, timer
    return (left() - before) / n


async def nap(seconds):
    for _ in range(work.NAPS):
        await asyncio.sleep(seconds)


async def timers_zero(n):
    start = perf_counter_ns()
    await run_all(nap(0) for _ in range(n))
    return each(start, n * work.NAPS)


async def timers_short(n):
    start = process_time_ns()
    await run_all(nap(work.NAP_S) for _ in range(n))
    return (process_time_ns() - start) / (n * work.NAPS)


async def timers_firing(n):
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    left = n

    def fire():
        nonlocal left
        left -= 1
        if not left:
            ended.set()

    start = process_time_ns()
    for _ in range(n):
        loop.call_later(work.NAP_S, fire)
    await ended.wait()
    return (process_time_ns() - start) / n


async def timeout_unused(n):
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        async with asyncio.timeout(1000):
            total += 1
    taken = each(start, n)
    check(total, n)
    return taken


async def wait_to_receive(queue):
    await queue.get()


async def cancel_parked(n):
    queue = asyncio.Queue()
    start = perf_counter_ns()
    tasks = [asyncio.create_task(wait_to_receive(queue)) for _ in range(n)]
    await asyncio.sleep(0)  # runs each up to its get()
    asked = 0
    for task in tasks:
        asked += task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    taken = each(start, n)
    check(asked, n)
    return taken


async def group_children(n):
    start = perf_counter_ns()
    await run_all(noop() for _ in range(n))
    return each(start, n)


async def futures_gather(n):
    start = perf_counter_ns()
    results = await asyncio.gather(*[identity(i) for i in range(n)])
    taken = each(start, n)
    check(sum(results), n * (n - 1) // 2)
    return taken


async def futures_wait(n):
    start = perf_counter_ns()
    done, _ = await asyncio.wait([asyncio.create_task(identity(i)) for i in range(n)])
    taken = each(start, n)
    check(sum(task.result() for task in done), n * (n - 1) // 2)
    return taken


async def futures_completed(n):
    total = 0
    start = perf_counter_ns()
    for task in asyncio.as_completed([identity(i) for i in range(n)]):
        total += await task
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


async def futures_result(n):
    tasks = [asyncio.create_task(identity(i)) for i in range(n)]
    await asyncio.wait(tasks)
    total = 0
    start = perf_counter_ns()
    for task in tasks:
        total += task.result()
    taken = each(start, n)
    check(total, n * (n - 1) // 2)
    return taken


async def local_get(n):
    value_here.set(1)
    total = 0
    start = perf_counter_ns()
    for _ in range(n):
        total += value_here.get()
    taken = each(start, n)
    check(total, n)
    return taken


async def spawn_options(n):
    start = perf_counter_ns()
    tasks = [
        asyncio.create_task(noop(), name="some", context=copy_context()) for _ in range(n)
    ]
    for task in tasks:
        await task
    return each(start, n)


PROGRAMS = {
    "select-plain": select_plain,
    "select-ready": select_ready,
    "select-cases": select_cases,
    "select-parking": select_parking,
    "semaphore-alone": semaphore_alone,
    "cond-pingpong": cond_pingpong,
    "event-pingpong": event_pingpong,
    "barrier-cycle": barrier_cycle,
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
    "spawn-options": spawn_options,
    "memory-timers": memory_timers,
    "memory-stopped": memory_stopped,
}
