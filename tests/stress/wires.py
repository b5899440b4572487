"""Operations of the stress run over descriptors: sockets, pipes, poll objects, listeners.

Every byte is accounted for. A line, a connected pair of sockets, has a byte value of its own, so that
what belongs to another file shows. `steady` lines live as long as the episode and are used by all,
foreign threads too: at its end what was sent, what was received and what is left must agree. `brittle`
lines are closed and replaced at any moment; goroutines alone use them, with calls that keep the GIL, for
a thread in a system call may have the number's next file under it, as in any program.
"""

import errno
import os
import select as polling
import socket
import struct
import threading
from collections import deque
from contextlib import suppress

import gmpx
from gmpx import _core, patch
from gmpx.io import Socket, notify_closing, readable, wait_readable, wait_writable, writable

from operations import check

GONE = (errno.EBADF, errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EINVAL)
NO_PORTS = (errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EAGAIN)
MOST_DGRAM = 2000
DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
WAITALL = getattr(socket, "MSG_WAITALL", 0)
TIMEOUTS = [None, None, None, 0, 0.0005, 0.003]
SETTLE_S = 20


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_all(*sockets):
    for s in sockets:
        s.close()


def tcp_pair(cls):
    """Without a wait, so that no cancel comes between."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        a, b = cls(), None
        try:
            a.setblocking(False)
            a.connect_ex(listener.getsockname())
            a.setblocking(True)
            listener.setblocking(False)
            polling.select([listener], [], [], 0)
            b, _ = socket.socket.accept(listener)
            return a, cls(fileno=b.detach())
        except BaseException:
            close_all(a, *([b] if b else []))
            raise


class Line:
    def __init__(self, rng, tag, cls, brittle=False):
        self.kind = rng.choice(["unix", "unix", "tcp"] + ["dgram"] * (not brittle))
        self.tag = bytes([tag])
        self.brittle = brittle
        # by end: how many bytes it has surely sent, perhaps sent besides, received, lost on the way
        self.sent, self.perhaps, self.got, self.lost = ([[], []] for _ in range(4))
        if self.kind == "tcp":
            try:
                self.ends = tcp_pair(cls)
            except OSError:  # no ports are left, or the connection was not there at once
                self.kind = "unix"
        if self.kind != "tcp":
            kind = socket.SOCK_DGRAM if self.kind == "dgram" else socket.SOCK_STREAM
            self.ends = tuple(
                cls(s.family, s.type, s.proto, s.detach()) for s in socket.socketpair(type=kind)
            )
        for s in self.ends:
            if rng.random() < 0.7:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, rng.choice([2048, 16384]))
            s.settimeout(rng.choice(TIMEOUTS))

    def __repr__(self):
        sums = [[sum(x) for x in c] for c in (self.sent, self.perhaps, self.got, self.lost)]
        states = [
            (s.fileno(), s.gettimeout(), type(s).__name__, [bool(x) for x in polling.select([s], [s], [], 0)])
            for s in self.ends
            if s.fileno() >= 0
        ]
        return f"{self.kind} brittle={self.brittle} {states} sent, perhaps, got, lost {sums}"

    def close(self):
        close_all(*self.ends)

    def received(self, end, data):
        check(not data.strip(self.tag), f"{self.kind}: bytes of another socket: {data[:20]!r}")
        self.got[end].append(len(data))

    def settle(self):
        if self.brittle:
            self.close()
        else:
            for end in (0, 1):
                self.ends[end].settimeout(SETTLE_S)
            for end in (0, 1):
                self.drain(end)
            self.close()
        for end in (0, 1):
            low = sum(self.sent[1 - end])
            high = low + sum(self.perhaps[1 - end])
            got = sum(self.got[end])
            text = f"{self.kind}: {low} to {high} bytes sent, {got} received"
            check(got <= high, text)
            check(self.brittle or got + sum(self.lost[end]) >= low, text + ", lost")

    def drain(self, end):
        reader, writer = self.ends[end], self.ends[1 - end]
        if self.kind == "dgram":
            reader.setblocking(False)
        else:
            writer.shutdown(socket.SHUT_WR)
        try:
            while data := reader.recv(1 << 16):
                self.received(end, data)
        except BlockingIOError:
            pass


class Wires:
    """What the parties of an episode share."""

    def __init__(self, rng):
        self.patched = rng.random() < 0.5
        if self.patched:
            patch.socket()
            patch.select()
        self.rng_tags = iter(range(10**9))
        self.steady = [self.line(rng) for _ in range(rng.randint(1, 3))]
        self.brittle = deque(self.line(rng, brittle=True) for _ in range(rng.randint(1, 3)))
        self.dead = []
        self.pipe = os.pipe()
        for fd in self.pipe:
            os.set_blocking(fd, False)
        self.written, self.read = [], []
        self.listeners = [Socket(), Socket(socket.AF_UNIX)]
        self.listeners[0].bind(("127.0.0.1", 0))
        self.listeners[1].bind("")
        for s in self.listeners:
            s.listen(rng.choice([0, 1, 50]))
        self.addresses = [s.getsockname() for s in self.listeners]
        self.frail = deque([self.frail_listener()])
        self.epoll = polling.epoll()
        for line in self.steady:
            for s in line.ends:
                self.epoll.register(s, polling.EPOLLIN)

    def __repr__(self):
        return "\n".join(map(repr, [f"patched {self.patched}", *self.steady, *self.brittle]))

    def line(self, rng, brittle=False):
        cls = socket.socket if self.patched and rng.random() < 0.5 else Socket
        return Line(rng, 1 + next(self.rng_tags) % 255, cls, brittle)

    def frail_listener(self):
        s = Socket(socket.AF_UNIX)
        s.bind("")
        s.listen(5)
        return s

    def poke(self, rng):
        """The other side of whoever waits for ever. Called by the main goroutine; never waits long."""
        for line in self.steady + list(self.brittle):
            for end in (0, 1):
                if rng.random() < 0.3:
                    continue
                s = line.ends[end]
                try:
                    if polling.select([], [s], [], 0)[1]:
                        line.sent[end].append(s.send(line.tag, DONTWAIT))
                except (OSError, ValueError):
                    pass
                try:
                    if polling.select([s], [], [], 0)[0]:
                        line.received(end, s.recv(1 << 16, DONTWAIT))
                except (OSError, ValueError):
                    pass
        try:
            self.written.append(os.write(self.pipe[1], b"p"))
        except BlockingIOError:
            try:
                self.read.append(len(os.read(self.pipe[0], 1 << 16)))
            except BlockingIOError:
                pass
        if rng.random() < 0.2:
            frail = list(self.frail)
            for listener in self.listeners + frail:
                with socket.socket(listener.family) as s:
                    s.setblocking(False)
                    try:
                        s.connect_ex(listener.getsockname())
                        if s.family == socket.AF_INET:
                            reset(s)
                    except OSError:
                        pass

    def settle(self):
        self.epoll.close()
        close_all(*self.listeners, *self.frail)
        for line in [*self.dead, *self.brittle, *self.steady]:
            line.settle()
        try:
            while True:
                self.read.append(len(os.read(self.pipe[0], 1 << 16)))
        except BlockingIOError:
            pass
        check(sum(self.written) == sum(self.read), "bytes lost or doubled in a pipe")
        for fd in self.pipe:
            notify_closing(fd)
            os.close(fd)
        if self.patched:
            patch.undo("socket", "select")


def pick(self, rng, steady=False):
    w = self.shared.wires
    lines = w.steady if steady or rng.random() < 0.6 else list(w.brittle) or w.steady
    line = rng.choice(lines)
    end = rng.randrange(2)
    return line, end, line.ends[end]


def foreign():
    return not _core._parks()


class expected:
    """What may happen to a line's user: time-outs, and the end of a brittle one."""

    def __init__(self, line):
        self.line = line

    def __enter__(self):
        return self

    def __exit__(self, kind, error, tb):
        if isinstance(error, (TimeoutError, BlockingIOError)):
            return True
        if not self.line.brittle:
            return False
        return isinstance(error, ValueError) or (
            isinstance(error, OSError) and error.errno in GONE
        )


def limited(rng):
    return gmpx.timeout(rng.choice([None, None, 0.0004, 0.002]))


def send(self, rng, chan, steady=False):
    line, end, s = pick(self, rng, steady)
    most = MOST_DGRAM if line.kind == "dgram" else 20000 if line.brittle else 300000
    data = line.tag * min(rng.choice([1, 10, 1000, 20000, 300000]), most)
    how = rng.randrange(2 if line.brittle else 3)
    with expected(line), limited(rng):
        if how == 0:
            line.sent[end].append(s.send(data))
        elif how == 1:
            # of an interrupted one a part may have been sent
            line.perhaps[end].append(len(data))
            s.sendall(memoryview(data))
            line.sent[end].append(len(data))
            line.perhaps[end].append(-len(data))
        else:
            line.sent[end].append(s.sendmsg([data[:1], data[1:]]))


def receive(self, rng, chan, steady=False):
    line, end, s = pick(self, rng, steady)
    n = rng.choice([1, 100, 5000, 65536] + [300000] * (not line.brittle))
    if line.kind == "dgram":
        n = max(n, MOST_DGRAM)
    how = rng.randrange(3 if line.brittle else 6)
    with expected(line), limited(rng):
        if how == 0:
            data = s.recv(n)
        elif how == 1:
            buffer = bytearray(n)
            data = bytes(buffer[: s.recv_into(buffer)])
        elif how == 2:
            data = s.recv(n, socket.MSG_PEEK)
            check(not data.strip(line.tag), f"{line.kind}: bytes of another socket: {data[:20]!r}")
            return
        elif how == 3:
            data = s.recvmsg(n)[0]
        elif how == 4:
            data = s.recvfrom(n)[0]
        else:
            n = rng.choice([2, 100]) if line.kind != "dgram" else n
            if not foreign():
                line.lost[end].append(n)  # what an interrupted one had
            data = s.recv(n, WAITALL)
        line.received(end, data)


def wait(self, rng, chan, steady=False):
    line, end, s = pick(self, rng, steady)
    timeout = rng.choice(TIMEOUTS)
    with expected(line), limited(rng):
        rng.choice([wait_readable, wait_writable])(s, timeout)


def select(self, rng, chan, steady=False):
    cases = [rng.choice([None, chan])]
    line = None
    for _ in range(rng.randrange(1, 4)):
        if line is None or not line.brittle:
            line, _, s = pick(self, rng, steady)
        with expected(line):
            cases.append(rng.choice([readable, writable])(s))
    timeout = rng.choice(TIMEOUTS)
    if line.brittle:
        timeout = timeout or 0.001  # as in poll
    with expected(line), limited(rng):
        i, value, ok = gmpx.select(*cases, timeout=timeout)
        if i == 0 and ok:
            self.ledger.received.append(value)


def poll(self, rng, chan, steady=False):
    """Of the module select. Unpatched ones block the thread."""
    w = self.shared.wires
    patched = w.patched and not foreign()
    timeout = rng.choice([0, 0.0005, 0.003] + [None] * (2 * patched))
    line, end, s = pick(self, rng, steady)
    if line.brittle:
        timeout = timeout or 0  # its number may be another's soon
    kind = rng.randrange(3)
    with expected(line), limited(rng):
        if kind == 0:
            other = line.ends[1 - end]
            polling.select([s], [other], rng.choice([[], [s]]), timeout)
        elif kind == 1:
            p = polling.poll()
            p.register(s, rng.choice([polling.POLLIN, polling.POLLOUT, polling.POLLIN | polling.POLLOUT]))
            p.poll(timeout if timeout is None else 1000 * timeout)
        else:
            w.epoll.poll(timeout)


def set_timeout(self, rng, chan, steady=False):
    """At any moment, whoever waits. A listener, too: accept must go on without blocking."""
    line, _, s = pick(self, rng, steady)
    if rng.random() < 0.2:
        rng.choice(self.shared.wires.listeners).settimeout(rng.choice(TIMEOUTS))
    with expected(line):
        s.settimeout(rng.choice(TIMEOUTS))


def break_line(self, rng, chan):
    """Ends a brittle line under whoever uses it. The next one has its numbers."""
    w = self.shared.wires
    if rng.random() > 0.5:
        return
    try:
        line = w.brittle.popleft()
    except IndexError:
        return
    w.dead.append(line)
    a, b = line.ends if rng.random() < 0.5 else line.ends[::-1]
    how = rng.randrange(4)
    try:
        if how == 0:
            a.shutdown(socket.SHUT_RDWR)
        elif how == 1 and line.kind == "tcp":
            reset(a)
        elif how == 2:
            fd = a.detach()
            notify_closing(fd)
            os.close(fd)
        a.close()
        if rng.random() < 0.3:
            gmpx.gosched()
    finally:
        close_all(a, b)
        w.brittle.append(w.line(rng, brittle=True))


def accept(self, rng, chan, steady=False):
    """Serves one client: sends back what comes."""
    w = self.shared.wires
    frail = not steady and list(w.frail)
    listener = rng.choice(w.listeners + (frail or []))
    try:
        with limited(rng):
            conn, _ = listener.accept()
    except (TimeoutError, BlockingIOError):
        return
    except OSError as e:
        check(listener not in w.listeners and e.errno in GONE, repr(e))
        return
    with conn:
        try:
            conn.settimeout(rng.choice([0.002, 0.02]))
            while data := conn.recv(rng.choice([1, 1000])):
                conn.sendall(data)
                if rng.random() < 0.05:
                    break
            if rng.random() < 0.3:
                reset(conn)
        except (TimeoutError, ConnectionError):
            pass


def connect(self, rng, chan):
    w = self.shared.wires
    i = rng.randrange(3)
    address = w.addresses[i] if i < 2 else None
    if i == 2:
        with suppress(IndexError, OSError):
            address = w.frail[0].getsockname()
        if not address:
            return
    mine = os.urandom(2) * rng.choice([1, 50, 3000])
    with Socket(socket.AF_INET if i == 0 else socket.AF_UNIX) as s:
        s.settimeout(rng.choice([0.0005, 0.003, 0.02]))
        if i == 0 and rng.random() < 0.8:
            reset(s)  # no TIME-WAIT: ports are few
        try:
            if rng.random() < 0.2:
                if s.connect_ex(address):
                    return
            else:
                s.connect(address)
            s.sendall(mine)
            back = b""
            while len(back) < len(mine) and (data := s.recv(4096)):
                back += data
            check(mine.startswith(back), f"a client at {address} got what it has not sent: {back[:60]!r} for {mine[:6]!r}")
        except (TimeoutError, ConnectionError, FileNotFoundError):
            pass
        except OSError as e:
            check(e.errno in NO_PORTS, repr(e))


def close_listener(self, rng, chan):
    w = self.shared.wires
    try:
        listener = w.frail.popleft()
    except IndexError:
        return
    listener.close()
    w.frail.append(w.frail_listener())


def through_pipe(self, rng, chan):
    w = self.shared.wires
    r, end = w.pipe
    try:
        with limited(rng):
            if rng.random() < 0.5:
                wait_writable(end, rng.choice(TIMEOUTS))
                w.written.append(os.write(end, bytes(rng.choice([1, 100, 70000]))))
            else:
                wait_readable(r, rng.choice(TIMEOUTS))
                w.read.append(len(os.read(r, rng.choice([1, 5000, 100000]))))
    except (TimeoutError, BlockingIOError):
        pass
    except OSError as e:
        check(e.errno == errno.EBADF, repr(e))  # told so by the next one
    if rng.random() < 0.05:
        notify_closing(rng.choice(w.pipe))


def close_under(self, rng, chan):
    """Closes a socket on which others wait: each of them is told."""
    a, b = socket.socketpair()
    a = Socket(a.family, a.type, a.proto, a.detach())
    with a, b:
        a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        waits = [
            lambda: a.recv(10),
            lambda: a.sendall(bytes(1 << 20)),
            lambda: (wait_readable(a),),
            lambda: gmpx.select(chan_never, readable(a)),
            lambda: a.recvmsg(10),
        ]
        chan_never = gmpx.Chan()
        gs = [gmpx.go(rng.choice(waits)) for _ in range(rng.randrange(1, 5))]
        try:
            for _ in range(rng.randrange(3)):
                gmpx.gosched()
            if rng.random() < 0.05:
                gmpx.sleep(0.006)  # some may be stolen, and wait on other Ms
        finally:
            with gmpx.shield():
                if rng.random() < 0.1:
                    thread = threading.Thread(target=a.close)
                    thread.start()
                    thread.join()
                else:
                    a.close()
                for g in gs:
                    error = g.exception()
                    if error is None and type(g.result()) is tuple:
                        continue  # closed between fileno() and the wait: the number was another's
                    check(isinstance(error, (OSError, ValueError)), f"closed under: {error!r}")


FDS = []  # at the first look, without what pollers have


def nothing_is_left():
    pollers, waiters, awaited = _core._net_left()
    check(waiters == 0, f"{waiters} waiters counted")
    check(awaited == 0, f"{awaited} descriptors are waited for")
    if os.path.isdir("/proc/self/fd"):
        FDS.append(len(os.listdir("/proc/self/fd")) - 2 * pollers)
        check(FDS[-1] <= FDS[0] + 4, f"descriptors: {FDS[0]} at first, {FDS[-1]} now")  # 4: once
        del FDS[1:]


def many_descriptors():
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))


def in_child():
    """A fork's child: none of the parent's goroutines waits, and sockets work."""
    check(_core._net_left()[1:] == (0, 0), f"waiters in a child: {_core._net_left()}")
    a, b = socket.socketpair()
    a = Socket(a.family, a.type, a.proto, a.detach())
    with a, b:
        g = gmpx.go(a.recv, 10)
        while g.wait_reason != "IO wait":
            gmpx.gosched()
        b.send(b"x")
        check(g.result() == b"x", "a child's recv")


def of_foreign(operation):
    def steady(self, rng, chan):
        operation(self, rng, chan, steady=True)

    return steady


FOREIGN = [of_foreign(o) for o in (send, receive, wait, select, poll, accept)]
FOREIGN += [break_line, connect, through_pipe]
OPERATIONS = [send] * 3 + [receive] * 3 + [wait, select, poll, set_timeout, break_line, accept]
OPERATIONS += [connect, close_listener, through_pipe, close_under, accept]
