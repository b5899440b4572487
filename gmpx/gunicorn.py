# mypy: disable-error-code="import-untyped, import-not-found, misc"
"""A worker for gunicorn: ``gunicorn -k gmpx.gunicorn.Worker app:app``. Each connection has its goroutine.

What gunicorn's HTTP is stays gunicorn's: the parser, the environment, hooks, logs, TLS contexts, HTTP/2. The process is
patched (``gmpx.patch.all``), so the application's waits park its request alone.

The main goroutine does nothing but tell the arbiter that it still turns. It is bound to the main thread, so an
application that holds that thread is found by gunicorn's ``timeout``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.http.errors import NoMoreData
from gunicorn.sock import ssl_context
from gunicorn.workers.base_async import AsyncWorker

import gmpx
import gmpx.io
import gmpx.patch
from gmpx import context
from gmpx.blocks import default_block_hook

__all__ = ["Worker"]

#: How long a worker that ends keeps connections on which nothing is asked; gunicorn's gthread does the same. A client
#: may be sending its next request already.
LINGER_S = 2.0
#: After the grace, for handlers to end that have been cancelled.
CUT_S = 1.0
#: What is copied, at most, to be sent with the head.
JOIN_BYTES = 64 * 1024
#: The client has gone. (Any other OSError, a TimeoutError say, is the application's.)
GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)

_silence: ContextVar[_Silence] = ContextVar("_silence")


class _Silence:
    """The time that a client has for its next request."""

    __slots__ = ("client", "limit", "worker")

    def __init__(self, worker: Worker, client: socket.socket) -> None:
        self.worker = worker
        self.client = client

    def __enter__(self) -> None:
        self.limit = gmpx.timeout(self.worker.cfg.keepalive)
        self.worker.silent.add(self)
        self.limit.__enter__()

    def __exit__(self, *exc: Any) -> bool:
        self.worker.silent.discard(self)
        try:
            self.limit.__exit__(*exc)
        except TimeoutError:
            return True
        return exc[0] is gmpx.Cancelled


class _Wire:
    """A response's socket. Its head waits for the first piece of its body, and both are sent at once."""

    __slots__ = ("head", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.head: bytes | None = None

    def sendall(self, data: bytes) -> None:
        head = self.head
        if head is None:
            self.head = data
            return
        if head:
            self.head = b""
            if len(data) <= JOIN_BYTES:
                data = head + data
            else:
                self.sock.sendall(head)
        self.sock.sendall(data)

    def flush(self) -> None:
        if self.head:
            self.sendall(b"")

    def sendfile(self, *args: Any, **kwargs: Any) -> int:
        self.flush()
        return self.sock.sendfile(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


def _each_second(http_date: Callable[..., str]) -> Callable[..., str]:
    """``gunicorn.util.http_date``, which each response needs, worked out once a second."""
    known = 0, ""

    def date(timestamp: float | None = None) -> str:
        nonlocal known
        if timestamp is not None:
            return http_date(timestamp)
        now = int(time.time())
        if known[0] != now:
            known = now, http_date(now)
        return known[1]

    return date


class Worker(AsyncWorker):
    """gunicorn's worker over goroutines."""

    alive: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.silent: set[_Silence] = set()
        self.quits = False

    # ---- the process ----

    def patch(self) -> None:
        gmpx.patch.all()
        util.http_date = _each_second(util.http_date)

    def load_wsgi(self) -> None:
        self.patch()  # not before signals are handled: until then a SIGTERM is lost, with every kind of worker
        super().load_wsgi()

    def run(self) -> None:
        if gmpx.block_hook is default_block_hook:
            gmpx.block_hook = partial(self.log.warning, "%s")
        # Settings are looked up by __getattr__, a dozen for each request: here it finds them at once.
        self.cfg.__dict__.update((name, setting.get()) for name, setting in self.cfg.settings.items())
        ending, end = context.with_cancel(context.background())
        servers = [self.serve(listener, ending) for listener in self.sockets]
        while self.alive:
            self.beat(*servers)
            if any(server.done() for server in servers):
                self.alive = False
        end()
        self.finish(servers)

    def serve(self, listener: Any, ending: context.Context) -> gmpx.Goroutine[None]:
        options = {
            "limit": self.worker_connections,
            "grace": self.cfg.graceful_timeout,
            "context": ending,
            "tls": ssl_context(self.cfg) if self.cfg.is_ssl else None,
        }
        handler = partial(self.handle, listener)
        handler.__qualname__ = str(listener)  # type: ignore[attr-defined]  # its goroutines' name
        return gmpx.spawn(gmpx.io.serve, (handler, listener.sock), options)

    def finish(self, servers: list[gmpx.Goroutine[None]]) -> None:
        now = time.monotonic()
        linger = now + min(LINGER_S, self.cfg.graceful_timeout)
        deadline = now + self.cfg.graceful_timeout + CUT_S
        while (left := [s for s in servers if not s.done()]) and now < deadline:
            self.beat(*left)
            now = time.monotonic()
            if now >= linger:
                self.hang_up()
        for server in servers:
            if server.done() and (error := server.exception()):
                self.log.error("A listener has failed: %s", error, exc_info=error)
        if left:
            self.log.warning("Worker graceful timeout (pid:%s)", self.pid)

    def hang_up(self) -> None:
        for silence in list(self.silent):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(silence.client, socket.SHUT_RD)  # what is on its way is still read

    def beat(self, *servers: gmpx.Goroutine[None]) -> None:
        """Tells the arbiter that the main thread turns; then waits for a second, or for news."""
        self.notify()
        r = self.PIPE[0]
        with contextlib.suppress(TimeoutError):
            gmpx.select(gmpx.io.readable(r), *servers, timeout=min(1.0, self.timeout or 1.0))
        with contextlib.suppress(BlockingIOError):
            os.read(r, 4096)
        if self.quits:
            self.cfg.worker_int(self)
            time.sleep(0.1)
            sys.exit(0)

    def notify(self) -> None:
        super().notify()
        if self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            sys.exit(0)

    # ---- signals: they write to PIPE, and the main goroutine goes on ----

    def handle_quit(self, sig: int, frame: Any) -> None:
        if not self.booted:
            super().handle_quit(sig, frame)
        self.alive = False
        self.quits = True

    def handle_usr1(self, sig: int, frame: Any) -> None:
        # takes locks, which whoever has been interrupted may have
        gmpx.go(super().handle_usr1, sig, frame)

    # ---- a connection ----

    def handle(self, listener: Any, client: socket.socket, addr: Any) -> None:
        if client.gettimeout() is not None:  # socket.setdefaulttimeout
            client.settimeout(None)
        _silence.set(_Silence(self, client))
        super().handle(listener, client, addr)

    def timeout_ctx(self) -> _Silence:
        return _silence.get()

    def handle_request(self, listener_name: Any, req: Any, sock: socket.socket, addr: Any) -> bool:
        start = datetime.now()
        environ: dict[str, Any] = {}
        resp = None
        wire = _Wire(sock)
        try:
            self.cfg.pre_request(self, req)
            resp, environ = wsgi.create(req, sock, addr, listener_name, self.cfg)
            environ["wsgi.multithread"] = True
            resp.sock = wire
            self.nr += 1
            if self.nr >= self.max_requests and self.alive:
                self.log.info("Autorestarting worker after current request.")
                self.alive = False
                os.write(self.PIPE[1], b"1")
            if not self.alive or not self.cfg.keepalive:
                resp.force_close()
            pieces = self.wsgi(environ, resp.start_response)
            if self.is_already_handled(pieces):
                return False
            try:
                if isinstance(pieces, environ["wsgi.file_wrapper"]):
                    resp.write_file(pieces)
                else:
                    for piece in pieces:
                        resp.write(piece)
                resp.close()
                wire.flush()
            finally:
                self.log.access(resp, req, environ, datetime.now() - start)
                if hasattr(pieces, "close"):
                    pieces.close()
            if resp.should_close():
                raise StopIteration
        except StopIteration:
            raise
        except BaseException as error:
            if isinstance(error, (ssl.SSLError, NoMoreData)) or getattr(error, "errno", 0) in GONE:
                raise  # handle() says it to nobody
            if resp is not None and resp.headers_sent and not wire.head:
                # A part has been sent: what is not whole must not look so.
                self.log.exception("Error handling request")
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            else:
                self.handle_error(req, sock, addr, error)
            raise StopIteration from None
        finally:
            try:
                self.cfg.post_request(self, req, environ, resp)
            except Exception:
                self.log.exception("Exception in post_request hook")
        return True
