"""What CPython's locks, queues and locals cost: plain, patched by gmpx, and gevent's.

    locks.py RIVAL N        prints {operation: nanoseconds} as JSON

`threads` is plain CPython, on the main thread. Of each operation the least of several runs counts.
"""

import json
import queue
import sys
import threading
import time

RUNS = 5


def alone(n):
    lock = threading.Lock()
    for _ in range(n):
        with lock:
            pass


def rlock(n):
    lock = threading.RLock()
    for _ in range(n):
        with lock:
            pass


def simple_queue(n):
    q = queue.SimpleQueue()
    put, get = q.put, q.get
    for i in range(n):
        put(i)
        get()


def queue_(n):
    q = queue.Queue()
    put, get = q.put, q.get
    for i in range(n // 10):
        put(i)
        get()


def local(n):
    values = threading.local()
    values.x = 1
    for _ in range(n):
        values.x


#: What is run, and how many operations of N it does.
OPERATIONS = {
    "locks-alone": (alone, 1),
    "locks-rlock": (rlock, 1),
    "locks-simplequeue": (simple_queue, 1),
    "locks-queue": (queue_, 10),
    "locks-local": (local, 1),
}


def measure(n):
    found = {}
    for name, (fn, part) in OPERATIONS.items():
        took = []
        for _ in range(RUNS):
            start = time.perf_counter_ns()
            fn(n)
            took.append(time.perf_counter_ns() - start)
        found[name] = min(took) / n * part
    return found


def main():
    rival, n = sys.argv[1], int(sys.argv[2])
    if rival == "gmpx":
        import gmpx
        import gmpx.patch

        gmpx.patch.all()
        found = gmpx.go(measure, n).result()
    elif rival == "gevent":
        from gevent import monkey

        monkey.patch_all()
        import gevent

        found = gevent.spawn(measure, n).get()
    else:
        found = measure(n)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
