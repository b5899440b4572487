"""How the rivals that run blocking code run much of it at once. A rival is made before anything
that it patches is imported."""

import _thread


class Gmpx:
    def __init__(self):
        import gmpx
        import gmpx.patch

        gmpx.patch.all()
        self.gmpx = gmpx

    def map(self, f, xs, limit):
        return list(self.gmpx.map(f, xs, limit=limit))

    def start(self, f, xs):
        """Starts f(x) for every x; returns what waits for all and gives the results."""
        handles = [self.gmpx.go(f, x) for x in xs]
        return lambda: [handle.result() for handle in handles]

    def thread(self, f):
        """Starts f() on a thread of the system's own."""
        _thread.start_new_thread(f, ())


class Gevent:
    def __init__(self):
        # before the patch, which hides it
        self._start_thread = _thread.start_new_thread
        from gevent import monkey

        monkey.patch_all()

    def map(self, f, xs, limit):
        from gevent.pool import Pool

        return Pool(limit).map(f, xs)

    def start(self, f, xs):
        import gevent

        greenlets = [gevent.spawn(f, x) for x in xs]

        def wait():
            gevent.joinall(greenlets, raise_error=True)
            return [greenlet.value for greenlet in greenlets]

        return wait

    def thread(self, f):
        self._start_thread(f, ())


class Threads:
    def map(self, f, xs, limit):
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(limit) as pool:
            return list(pool.map(f, xs))

    def start(self, f, xs):
        from concurrent.futures import ThreadPoolExecutor

        results = ThreadPoolExecutor(len(xs)).map(f, xs)
        return lambda: list(results)

    def thread(self, f):
        _thread.start_new_thread(f, ())


RIVALS = {"gmpx": Gmpx, "gevent": Gevent, "threads": Threads}
