"""The public surface as a type checker sees it: checked, never run."""

import socket

import gmpx
import gmpx.io
from gmpx import Chan, Goroutine, context
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
