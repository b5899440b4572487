"""The public surface as a type checker sees it: checked, never run."""

import socket
from concurrent import futures
from typing import Literal

import gmpx
import gmpx.aio
import gmpx.io
from gmpx import Chan, Goroutine, cluster, context
c: Chan[int] = Chan(1)
c.send(1)
x: int = c.recv()
v, ok = c.recv_ok()
def f(a: int, b: str = "") -> float: return 1.0
g: Goroutine[float] = gmpx.go(f, 1, b="x")
r: float = g.result()
with gmpx.Group(limit=3) as grp:
    h = grp.go(f, 2)
    y: float = h.result()
with gmpx.timeout(1) as t: t.reset(2)
with gmpx.shield(): pass
i, val, ok2 = gmpx.select(c, (c, 1), g, None, block=False)
m: list[float] = gmpx.map(f, [1,2])
for z in gmpx.imap(f, [1]): q: float = z
it = gmpx.imap(f, [1])
q = next(it); it.close()
both: bool = len("x") > 0
pairs: list[object] = gmpx.map(f, [1], with_input=both)
for pair in gmpx.imap(f, [1], with_input=both, on_error="return"): print(pair)
limiter = gmpx.Limiter(10, per=60, burst=3)
retry = gmpx.Retry(5, on=(OSError, ValueError), backoff=1, jitter="equal", after=lambda e: None, deadline=60)
m = gmpx.map(f, [1], limit=3, rate=limiter, retry=retry, budget=(abs, 100), progress=True, timeout=5)
mf: list[float | gmpx.Failure] = gmpx.map(f, [1], item_timeout=1, on_error="return", blocking=True)
mi: list[tuple[object, float]] = gmpx.map(f, [1], with_input=True)
for item, w in gmpx.imap(f, [1], with_input=True, on_error="return", ordered=False, rate=limiter):
    if isinstance(w, gmpx.Failure): print(w.item, w.exception, w.attempts)
    else: q = w
def shown(p: gmpx.Progress) -> None: print(p.done, p.failed, p.in_flight, p.total, p.elapsed, p.rate, p.eta)
gmpx.map(f, [1], progress=shown, on_error="ignore")  # type: ignore[call-overload]
taken: bool = limiter.acquire(2, timeout=1) and limiter.try_acquire()
with limiter: pass
q = retry.call(f, 1, b="x")
@retry
def tried(a: int) -> str: return str(a)
text: str = tried(1)
for attempt in retry:
    with attempt: print(attempt.number)
with gmpx.Group(rate=limiter): pass
ctx, cancel = context.with_cancel(context.background()); cancel()
with gmpx.Mutex(): pass
rw = gmpx.RWMutex()
with rw.reader(): pass
s = gmpx.Semaphore(2)
with s: pass
tm: Chan[float] = gmpx.after(1)
t2 = gmpx.after_func(1, print, "x")
cond = gmpx.Cond()
b = gmpx.Barrier(2)
loc = gmpx.Local()
done, nd = gmpx.wait([g]); lst = gmpx.gather(g)
for gg in gmpx.as_completed([g]): rr: float = gg.result()
gmpx.dump()
def told(r: gmpx.BlockReport) -> None: print(r.goroutine.id, r.stack[-1][1], r)
gmpx.block_hook = told
n: int = gmpx.blocking(len, "abc")
n = gmpx.run_on_main(f, 1).__int__()
with gmpx.lock_os_thread(): pass


def waits_for_descriptors(s: socket.socket) -> None:
    gmpx.io.wait_readable(s, timeout=1.5)
    gmpx.io.wait_writable(s.fileno())
    gmpx.io.notify_closing(s)
    gmpx.io.wait_readable("0")  # type: ignore[arg-type]


async def awaits(g: Goroutine[int], c: Chan[str]) -> int:
    n: int = await g
    n = await gmpx.aio.wait(g)
    with gmpx.Executor() as executor: n = await gmpx.aio.wait(executor.submit(abs, -1))
    text: str = await gmpx.aio.recv(c)
    await gmpx.aio.send(c, text)
    await gmpx.aio.send(c, 1)  # type: ignore[misc]
    async for text in gmpx.aio.iterate(c):
        pass
    return n


def runs(g: Goroutine[int], c: Chan[str]) -> int:
    n: int = gmpx.aio.run(awaits(g, c), timeout=1.5)
    gmpx.aio.run(g)  # type: ignore[arg-type]
    return n


def over_a_cluster(pool: futures.Executor) -> None:
    m: list[float] = cluster.map(pool, f, [1, 2], chunk=1, limit=3, timeout=1)
    mf: list[float | gmpx.Failure] = cluster.map(pool, f, [1], on_error="return", item_timeout=1)
    mi: list[tuple[object, float]] = cluster.map(pool, f, [1], with_input=True)
    fails: Literal["raise", "return"] = "return" if both else "raise"
    some: list[object] = cluster.map(pool, f, [1], with_input=both, on_error=fails)
    for one in cluster.imap(pool, f, [1], with_input=both, on_error=fails):
        some.append(one)
    values = cluster.imap(pool, f, [1], ordered=False, submit={"priority": 5})
    for x in values:
        m.append(x)
    values.close()
    for item, w in cluster.imap(pool, f, [1], with_input=True, on_error="return"):
        if isinstance(w, gmpx.Failure):
            print(w.attempts)
        else:
            m.append(w)
    with cluster.ClusterExecutor(pool, 3) as executor:
        future: futures.Future[float] = executor.submit(f, 1, b="x")
        for x in executor.map(f, [1], buffersize=2):
            m.append(x)
    cluster.map(pool, f, [1], on_error="ignore")  # type: ignore[call-overload]
