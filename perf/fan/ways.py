"""The ways to fan tasks out: gmpx's, and the one way of each rival.

A way is called with a function and n, calls it on each of range(n), and returns the sum of what it
returned. A rival's class is made with how many at once, and whether the work lets go of the GIL.
"""

WORKERS = 8


def kept(f, results):
    append = results.append

    def task(i):
        append(f(i))

    return task


class Gmpx:
    """With as many Ps as GMPX_MAXPROCS says."""

    def __init__(self, at_once, frees):
        import gmpx

        self.gmpx = gmpx

    def task(self, work, form):
        if form != "parks":
            return work
        there, back = self.gmpx.Chan(), self.gmpx.Chan()

        def task(i):
            # Tasks of even and odd numbers meet: who comes first parks at the first operation, the
            # other at the second. So it works with two at once, and on one P.
            work(i)
            if i % 2:
                there.recv()
                back.send(i)
            else:
                there.send(i)
                back.recv()
            return work(i)

        return task

    def way(self, name):
        return getattr(self, name)

    def go(self, f, n):
        group, done = self.gmpx.WaitGroup(), []
        task = kept(f, done)
        for i in range(n):
            group.go(task, i)
        group.wait()
        return sum(done)

    def map(self, f, n):
        return sum(self.gmpx.map(f, range(n)))

    def map2(self, f, n):
        return sum(self.gmpx.map(f, range(n), limit=2))

    def map8(self, f, n):
        return sum(self.gmpx.map(f, range(n), limit=8))

    def imap2(self, f, n):
        return sum(self.gmpx.imap(f, range(n), limit=2))

    def imap8(self, f, n):
        return sum(self.gmpx.imap(f, range(n), limit=8))

    def group8(self, f, n):
        done = []
        task = kept(f, done)
        with self.gmpx.Group(limit=8) as group:
            for i in range(n):
                group.go(task, i)
        return sum(done)

    def workers8(self, f, n):
        return self._workers(f, n, parked=False)

    def parked8(self, f, n):
        return self._workers(f, n, parked=True)

    def _workers(self, f, n, parked):
        items, all_ended, all_begun = self.gmpx.Chan(), self.gmpx.WaitGroup(), self.gmpx.WaitGroup()
        sums = []

        def worker():
            all_begun.done()
            total = 0
            for i in items:
                total += f(i)
            sums.append(total)

        all_begun.add(WORKERS)
        for _ in range(WORKERS):
            all_ended.go(worker)
        if parked:
            all_begun.wait()
            for _ in range(WORKERS):
                self.gmpx.gosched()
        for i in range(n):
            items.send(i)
        items.close()
        all_ended.wait()
        return sum(sums)


#: What each of gmpx's ways is; the names are those of the cases.
WAYS = {
    "go": "spawned by WaitGroup.go in a burst",
    "map": "by map",
    "map2": "by map(limit=2)",
    "map8": "by map(limit=8)",
    "imap2": "by imap(limit=2)",
    "imap8": "by imap(limit=8)",
    "group8": "in a Group(limit=8)",
    "workers8": "by 8 workers on a channel",
    "parked8": "by 8 workers that had all parked on a channel",
}


class Other:
    """A rival: its tasks have the same pieces, but do not park, which would cost it a thread."""

    def __init__(self, at_once, frees):
        self.at_once, self.frees = at_once, frees

    def task(self, work, form):
        if form != "parks":
            return work

        def task(i):
            work(i)
            return work(i)

        return task

    def way(self, name):
        return self.run


class Threads(Other):
    """Threads that take numbers from a queue: what the machine can give."""

    def run(self, f, n):
        from queue import SimpleQueue
        from threading import Thread

        items, sums = SimpleQueue(), []
        for i in range(n):
            items.put(i)

        def work():
            total = 0
            while (i := items.get()) is not None:
                total += f(i)
            sums.append(total)

        threads = [Thread(target=work) for _ in range(self.at_once)]
        for thread in threads:
            items.put(None)
            thread.start()
        for thread in threads:
            thread.join()
        return sum(sums)


class Executor(Other):
    def __init__(self, at_once, frees):
        super().__init__(at_once, frees)
        from concurrent.futures import ThreadPoolExecutor

        self.pool = ThreadPoolExecutor(at_once)

    def run(self, f, n):
        return sum(self.pool.map(f, range(n)))


class Gevent(Other):
    """The threads of its pool for what lets go of the GIL, greenlets for the rest."""

    def __init__(self, at_once, frees):
        super().__init__(at_once, frees)
        from gevent.pool import Pool
        from gevent.threadpool import ThreadPool

        self.pool = ThreadPool(at_once) if frees else Pool(at_once)

    def run(self, f, n):
        return sum(self.pool.map(f, range(n)))


class Joblib(Other):
    def __init__(self, at_once, frees):
        super().__init__(at_once, frees)
        from joblib import Parallel, delayed

        self.parallel, self.delayed = Parallel(n_jobs=at_once, backend="threading"), delayed

    def run(self, f, n):
        return sum(self.parallel(self.delayed(f)(i) for i in range(n)))


RIVALS = {
    "gmpx": Gmpx, "gmpx-1p": Gmpx, "gmpx-8p": Gmpx, "gevent": Gevent, "threads": Threads,
    "executor": Executor, "joblib": Joblib,
}
#: How many Ps each has that hasn't as many as the others have threads.
PS = {"gmpx-1p": 1, "gmpx-8p": 8}
