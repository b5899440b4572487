"""Names: the C library's look-ups, on threads of their own, so that they park the goroutine alone.

The C library blocks the thread that asks, in the worst case for its whole time-out (glibc: 5 s, twice, for
each name server). So each question is put by a thread of this module: not one of ``gmpx.blocking``'s, which
a name server that does not answer would use up.

- Equal questions at the same time are one; each asker gets a copy of the answer, or of the error.
- Who gives up (cancel, ``gmpx.timeout``, Ctrl-C) leaves at once. The question goes on for the others; if
  nobody is left it is dropped, or its answer is once a thread has begun with it.
- Numbers are answered in place.
- At most QUICK look-ups run at once, not counting those that have taken SLOW_S already: names that nobody
  answers for don't keep the others waiting. There are MOST threads in all (Go's bound for look-ups in C is
  500), or as many as GMPX_NAME_THREADS says; further questions wait in order.
- Threads end after IDLE_S without a question. They are no reason for the process to go on, and a fork's
  child begins without any.
"""

from __future__ import annotations

import _socket
import _thread
import math
import os
import re
import signal
import time
from collections import OrderedDict
from collections.abc import Callable
from sys import is_finalizing
from typing import Any

from gmpx._core import (
    Event,
    Timer,
    _bubble_now,
    _Builtin,
    _names,
    after_func,
    blocking,
)

QUICK = 64
MOST = 512
SLOW_S = 0.5
IDLE_S = 0.1  # a new one costs 0.1 ms, a look-up more; and who counts threads counts these

#: All that is not about what a thread does itself.
_SIGNALS: set[int] = set()
if hasattr(signal, "pthread_sigmask"):
    _SIGNALS |= signal.valid_signals()
    _SIGNALS -= {signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGBUS, signal.SIGILL}

#: What may be a number; the C library has the last word.
_NUMBER = re.compile(r"[0-9a-fA-FxX.:]+(%.*)?", re.DOTALL)


class Question:
    """A call of the C library that somebody waits for."""

    __slots__ = ("args", "askers", "begun", "done", "error", "fn", "key", "value")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], key: Any) -> None:
        self.fn, self.args, self.key = fn, args, key
        self.askers: set[object] = set()
        self.begun = math.inf  # when a thread began with it
        self.done = Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def put(self) -> None:
        try:
            self.value = self.fn(*self.args)
        except BaseException as error:
            self.error = error

    def answer(self) -> Any:
        """For each asker its own."""
        if self.error is None:
            return _copy(self.value)
        error = _copy_of_error(self.error)
        try:
            raise error
        finally:
            del error  # no cycle through the traceback


def _copy(value: Any) -> Any:
    if type(value) is list:
        return list(value)
    if type(value) is tuple:  # of gethostby..._ex: lists in it
        return tuple(map(_copy, value))
    return value


def _copy_of_error(error: BaseException) -> BaseException:
    try:
        copy = type(error)(*error.args)
    except Exception:  # an audit hook's, perhaps
        return error
    copy.__dict__.update(error.__dict__)
    copy.__cause__, copy.__context__ = error.__cause__, error.__context__
    copy.__suppress_context__ = error.__suppress_context__
    return copy


class Worker:
    """A thread that puts one question after the other."""

    __slots__ = ("bell", "question")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.bell = _thread.allocate_lock()  # released when an idle one has got a question
        self.bell.acquire()


class Pool:
    """The threads and their questions.

    No lock is held anywhere: a lock of threads would stop every goroutine there as soon as its holder
    parks, which a signal handler or a finalizer can bring about at any instruction; and what parks would
    make each of our threads known to the runtime. Each step is one atomic operation on a container, and
    who changes one looks at the other afterwards:

    - A question is taken out of the queue by one alone, who then lets it begin, or drops it.
    - An asker joins, then looks whether the question still can be found (or is done). Who drops one takes
      it away first, then looks whether somebody has joined.
    - A thread calls itself idle, then looks into the queue. An asker puts its question there, then looks
      for an idle thread.

    The bounds may be passed by a few where several ask at once.
    """

    def __init__(self) -> None:
        self.asked: dict[Any, Question] = {}  # those that can be joined
        self.queue: OrderedDict[Question, None] = OrderedDict()  # not begun
        self.running: set[Question] = set()
        self.workers: set[Worker] = set()
        self.idle: list[Worker] = []  # the latest last
        self.most = _most()
        self.timer: Timer | None = None  # for grow, while questions wait

    # -- the asker's side --

    def ask(self, fn: Callable[..., Any], args: tuple[Any, ...], key: Any) -> Any:
        me = object()
        question = self.join(me, fn, args, key)
        try:
            question.done._wait_call()
        except BaseException:
            question.askers.discard(me)
            self.drop(question)
            raise
        return question.answer()

    def join(
        self, me: object, fn: Callable[..., Any], args: tuple[Any, ...], key: Any
    ) -> Question:
        while True:
            question = self.asked.get(key)
            if question is None:
                question = Question(fn, args, key)
                question.askers.add(me)
                if self.asked.setdefault(key, question) is question:
                    self.start(question)
                    return question
            else:
                question.askers.add(me)
                if self.asked.get(key) is question or question.done.is_set():
                    return question
                question.askers.discard(me)

    def drop(self, question: Question) -> None:
        """Unless somebody waits for it, or a thread has begun with it."""
        if not question.askers and self.taken(question):
            self.forget(question)
            if question.askers:
                self.start(question)

    def taken(self, question: Question) -> bool:
        try:
            del self.queue[question]
        except KeyError:
            return False
        return True

    def forget(self, question: Question) -> None:
        if self.asked.get(question.key) is question:
            del self.asked[question.key]

    def start(self, question: Question) -> None:
        self.queue[question] = None
        self.serve()
        if self.queue:
            self.grow_later()

    def serve(self) -> None:
        """Threads for those that wait."""
        while self.room():
            try:
                question, _ = self.queue.popitem(last=False)
            except KeyError:
                return
            if not self.thread(question):
                if self.workers:
                    self.queue[question] = None
                    self.queue.move_to_end(question, last=False)
                    return
                question.put()  # so it blocks the caller's thread, as it would without us
                self.end(question)

    def room(self) -> bool:
        if len(self.running) < min(QUICK, self.most):
            return True
        late = time.monotonic() - SLOW_S
        quick = sum(q.begun > late for q in self.running.copy())
        return quick < QUICK and len(self.running) < self.most

    def thread(self, question: Question) -> bool:
        """Gives it to a thread. False: the system has no more."""
        self.begin(question)
        try:
            worker = self.idle.pop()
        except IndexError:
            worker = Worker(question)
            self.workers.add(worker)
            try:
                _thread.start_new_thread(self.work, (worker,))
            except RuntimeError:  # too many; or the interpreter goes down
                self.workers.discard(worker)
                self.running.discard(question)
                return False
        else:
            worker.question = question
            worker.bell.release()
        return True

    def begin(self, question: Question) -> None:
        question.begun = time.monotonic()
        self.running.add(question)

    def end(self, question: Question) -> None:
        self.running.discard(question)
        self.forget(question)
        question.done.set()

    def grow_later(self) -> None:
        if self.timer is None:
            self.timer = after_func(SLOW_S / 2, self.grow)

    def grow(self) -> None:
        """Some of those at work may be slow by now."""
        self.timer = None
        self.serve()
        if self.queue:
            self.grow_later()

    # -- the thread's side --

    def work(self, worker: Worker) -> None:
        if _SIGNALS:  # they are for the program's threads, which may block some and wait for them
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        while True:
            worker.question.put()
            self.end(worker.question)
            del worker.question
            self.idle.append(worker)
            self.serve()
            if not worker.bell.acquire(timeout=IDLE_S):
                try:
                    self.idle.remove(worker)
                except ValueError:
                    worker.bell.acquire()  # a question came just then
                else:
                    self.workers.discard(worker)
                    return


def _most() -> int:
    text = os.environ.get("GMPX_NAME_THREADS", "")
    try:
        most = int(text or MOST)
        if most < 1:
            raise ValueError
    except ValueError:
        raise ValueError(f"GMPX_NAME_THREADS must be an int of at least 1: {text!r}") from None
    return most


_pool: Pool | None = None


def _forked() -> None:
    global _pool
    _pool = None  # its threads are the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _ask(fn: Callable[..., Any], name: str, args: tuple[Any, ...]) -> Any:
    global _pool
    if is_finalizing():
        return fn(*args)  # our threads don't run any more
    if _bubble_now() is not None:
        return blocking(fn, *args)  # which a bubble's clock waits for
    pool = _pool
    if pool is None:
        pool = _pool = Pool()
    try:
        key: Any = (name, args, tuple(map(type, args)))
        hash(key)
    except TypeError:
        key = object()  # asked for itself
    return pool.ask(fn, args, key)


# ---- what is set behind socket's functions; plain: the originals ----


def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
    try:
        host, port, family, kind, proto, flags = _six(*args, **kwargs)
        flags = int(flags)
    except TypeError:
        return plain_getaddrinfo(*args, **kwargs)  # says it in its words
    if host is None or flags & _socket.AI_NUMERICHOST or not isinstance(host, (str, bytes)):
        return plain_getaddrinfo(host, port, family, kind, proto, flags)
    if _looks_numeric(host):
        try:
            return plain_getaddrinfo(
                host, port, family, kind, proto, flags | _socket.AI_NUMERICHOST
            )
        except OSError:
            pass  # a name after all, or another error
    return _ask(plain_getaddrinfo, "getaddrinfo", (host, port, family, kind, proto, flags))


def _six(
    host: Any, port: Any, family: Any = 0, type: Any = 0, proto: Any = 0, flags: Any = 0
) -> tuple[Any, ...]:
    return host, port, family, type, proto, flags


def _looks_numeric(host: str | bytes) -> bool:
    text = host if isinstance(host, str) else host.decode("latin-1")
    return not text or _NUMBER.fullmatch(text) is not None


def _at_once(args: tuple[Any, ...]) -> bool:
    """Whether the C library has nobody to ask: an IPv4 address, "", "<broadcast>", or an error."""
    if len(args) != 1 or not isinstance(args[0], str):
        return len(args) != 1 or not isinstance(args[0], (bytes, bytearray))
    if args[0] in ("", "<broadcast>"):
        return True
    try:
        return bool(_socket.inet_pton(_socket.AF_INET, args[0]))
    except (OSError, ValueError):
        return False


def gethostbyname(*args: Any) -> Any:
    if _at_once(args):
        return plain_gethostbyname(*args)
    return _ask(plain_gethostbyname, "gethostbyname", args)


def gethostbyname_ex(*args: Any) -> Any:
    if _at_once(args):
        return plain_gethostbyname_ex(*args)
    return _ask(plain_gethostbyname_ex, "gethostbyname_ex", args)


def gethostbyaddr(*args: Any) -> Any:
    if len(args) != 1 or not isinstance(args[0], (str, bytes, bytearray)):
        return plain_gethostbyaddr(*args)
    return _ask(plain_gethostbyaddr, "gethostbyaddr", args)


def getnameinfo(*args: Any) -> Any:
    if (
        len(args) != 2
        or not isinstance(args[0], tuple)
        or not isinstance(args[1], int)
        or args[1] & _socket.NI_NUMERICHOST
    ):
        try:
            return plain_getnameinfo(*args)
        finally:
            del args  # an error's traceback keeps this frame
    return _ask(plain_getnameinfo, "getnameinfo", args)


def numeric(family: int, address: tuple[Any, ...]) -> tuple[Any, ...]:
    """The address that connect, bind and sendto make of one with a name: its first."""
    host, port, *more = address
    if isinstance(host, bytearray):
        host = bytes(host)
    zero = "\0" if isinstance(host, str) else b"\0"
    if not isinstance(port, int) or zero in host or len(more) > 2 * (family == _socket.AF_INET6):
        return address  # the original says what is wrong
    found = getaddrinfo(host, None, family)
    return (found[0][4][0], port, *more)


swaps = {
    ours.__name__: _Builtin(getattr(_socket, ours.__name__), ours)
    for ours in (getaddrinfo, gethostbyname, gethostbyname_ex, gethostbyaddr, getnameinfo)
    if hasattr(_socket, ours.__name__)
}
plain_getaddrinfo = swaps["getaddrinfo"].plain
plain_gethostbyname = swaps["gethostbyname"].plain
plain_gethostbyname_ex = swaps["gethostbyname_ex"].plain
plain_gethostbyaddr = swaps["gethostbyaddr"].plain
plain_getnameinfo = swaps["getnameinfo"].plain
_names(numeric)
