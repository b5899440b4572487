"""Operations of the stress run over TLS: reads, writes, handshakes, ends, at any moment and cut short.

A tunnel is a connected pair of TLS sockets with a byte value of its own, so that what belongs to another
shows. `steady` ones live as long as the episode, foreign threads use them, too, and nobody's write is cut
short: in the end what was sent has been received. `brittle` ones are closed under their users; a write that
is cut short ends its tunnel, because a record may be half sent.
"""

import gc
import socket
import ssl
from collections import deque
from pathlib import Path

import gmpx
from gmpx import patch
from gmpx.io import Socket
from gmpx.io.tls import wrap

from operations import check

CERTS = Path(__file__).parents[1] / "io" / "tls" / "certs"
SERVER = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
SERVER.load_cert_chain(CERTS / "localhost.pem")
CLIENT = ssl.create_default_context(cafile=CERTS / "ca.pem")
TIMEOUTS = [None, 0, 0.0005, 0.003, 0.01]
SETTLE_S = 20
MOST_AHEAD = 30


def secured(patched, sock, server):
    context = SERVER if server else CLIENT
    options = {"server_side": True} if server else {"server_hostname": "localhost"}
    if patched:
        return context.wrap_socket(sock, **options)
    own = Socket(sock.family, sock.type, sock.proto, sock.detach())
    return wrap(own, context, **options)


class Tunnel:
    def __init__(self, rng, tag, patched, brittle):
        self.tag = bytes([tag])
        self.sent, self.perhaps, self.got = ([[], []] for _ in range(3))
        a, b = socket.socketpair()
        self.ahead = [0, 0]  # by end: how many records have gone since the other was seen empty
        if brittle and rng.random() < 0.5:
            a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        other = gmpx.go(secured, patched, b, True)
        self.ends = (secured(patched, a, False), other.result())
        for s in self.ends:
            s.settimeout(rng.choice(TIMEOUTS))

    def __repr__(self):
        sums = [[sum(x) for x in c] for c in (self.sent, self.perhaps, self.got)]
        return f"tunnel {self.tag!r} sent, perhaps, got {sums} {self.ends}"

    def received(self, end, data):
        check(not data.strip(self.tag), f"bytes of another tunnel: {data[:20]!r}")
        self.got[end].append(len(data))

    def close(self):
        for s in self.ends:
            s.close()

    def settle(self, whole):
        if whole:
            for s in self.ends:
                s.settimeout(SETTLE_S)
            for end in (0, 1):
                while sum(self.got[end]) < sum(self.sent[1 - end]):
                    self.received(end, self.ends[end].recv(1 << 16))
            other = gmpx.go(self.ends[1].unwrap)
            self.ends[0].unwrap()
            other.result()
        self.close()
        for end in (0, 1):
            most = sum(self.sent[1 - end]) + sum(self.perhaps[1 - end])
            check(sum(self.got[end]) <= most, f"more than was sent: {self!r}")


class Tunnels:
    """What the parties of an episode share."""

    def __init__(self, rng, patched):
        self.patched = patched
        if patched:
            patch.ssl()
        self.tags = iter(range(10**9))
        self.steady = [self.tunnel(rng)]
        self.brittle = deque([self.tunnel(rng, brittle=True)])
        self.dead = []

    def __repr__(self):
        return "\n".join(map(repr, [*self.steady, *self.brittle]))

    def tunnel(self, rng, brittle=False):
        patched = self.patched and rng.random() < 0.7
        return Tunnel(rng, 1 + next(self.tags) % 255, patched, brittle)

    def poke(self, rng):
        """The other side of whoever waits for ever. Called by the main goroutine."""
        for tunnel in self.steady:
            for end in (0, 1):
                s = tunnel.ends[end]
                with expected(tunnel, True), gmpx.timeout(0.001):
                    if tunnel.ahead[end] < MOST_AHEAD:
                        tunnel.ahead[end] += 1
                        tunnel.sent[end].append(s.send(tunnel.tag))
                    else:
                        tunnel.received(1 - end, receive_some(tunnel, 1 - end, 65536, False))
        if rng.random() < 0.02:
            for tunnel in list(self.brittle):
                tunnel.close()

    def settle(self):
        for tunnel in self.steady:
            tunnel.settle(whole=True)
        for tunnel in [*self.brittle, *self.dead]:
            tunnel.settle(whole=False)
        if self.patched:
            patch.undo("ssl")
        gc.collect()  # the tracebacks of handshakes that were cut short have sockets


class expected:
    """What may happen to a tunnel's user: time-outs, and the end of a brittle one."""

    def __init__(self, tunnel, steady):
        self.tunnel, self.steady = tunnel, steady

    def __enter__(self):
        return self

    def __exit__(self, kind, error, tb):
        if isinstance(error, (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError)):
            return True
        return not self.steady and isinstance(error, (OSError, ValueError))


def pick(self, rng, steady):
    t = self.shared.tunnels
    steady = steady or rng.random() < 0.5
    tunnel = rng.choice(t.steady if steady else list(t.brittle) or t.steady)
    end = rng.randrange(2)
    return tunnel, end, tunnel.ends[end], tunnel in t.steady


def limited(rng):
    return gmpx.timeout(rng.choice([None, None, 0.0004, 0.002]))


def receive_some(tunnel, end, n, into):
    s = tunnel.ends[end]
    try:
        if not into:
            return s.recv(n)
        buffer = bytearray(n)
        return bytes(buffer[: s.recv_into(buffer)])
    except BaseException:  # it has waited, or would have to
        tunnel.ahead[1 - end] = 0
        raise


def receive(self, rng, chan, steady=False):
    tunnel, end, _, steady = pick(self, rng, steady)
    n = rng.choice([1, 100, 5000, 65536])
    with expected(tunnel, steady), limited(rng):
        tunnel.received(end, receive_some(tunnel, end, n, rng.random() < 0.3))


def send(self, rng, chan, steady=False):
    tunnel, end, s, steady = pick(self, rng, steady)
    data = tunnel.tag * rng.choice([1, 10, 1000] + [20000, 200000] * (not steady))
    if steady:
        tunnel.ahead[end] += 1
        if tunnel.ahead[end] > MOST_AHEAD:
            return  # it might have to wait, and be cut short
    tunnel.perhaps[end].append(len(data))
    with expected(tunnel, steady), limited(rng):
        if steady or rng.random() < 0.5:
            n = s.send(data)
        else:
            s.sendall(data)
            n = len(data)
        tunnel.sent[end].append(n)
        tunnel.perhaps[end].append(-len(data))


def set_timeout(self, rng, chan):
    tunnel, _, s, steady = pick(self, rng, False)
    with expected(tunnel, steady):
        s.settimeout(rng.choice(TIMEOUTS))


def break_tunnel(self, rng, chan):
    """Ends a brittle tunnel under whoever uses it. The next one has its numbers."""
    t = self.shared.tunnels
    if rng.random() > 0.3:
        return
    try:
        tunnel = t.brittle.popleft()
    except IndexError:
        return
    t.dead.append(tunnel)
    a, b = tunnel.ends if rng.random() < 0.5 else tunnel.ends[::-1]
    how = rng.randrange(4)
    try:
        with expected(tunnel, False), limited(rng):
            if how == 0:
                a.shutdown(socket.SHUT_RDWR)
            elif how == 1:
                a.settimeout(0.003)
                a.unwrap()
            a.close()
            if rng.random() < 0.3:
                gmpx.gosched()
    finally:
        tunnel.close()
        with gmpx.shield():
            t.brittle.append(t.tunnel(rng, brittle=True))


def handshake(self, rng, chan):
    """One that may be cut short, or that is answered by what is no TLS."""
    t = self.shared.tunnels
    a, b = socket.socketpair()
    patched = t.patched and rng.random() < 0.7
    a.settimeout(rng.choice([None, 0.0005, 0.02]))
    mine = bytes([rng.randrange(256)]) * rng.choice([1, 30000])
    other = None

    def serve():
        with secured(patched, b, True) as s:
            s.sendall(s.recv(1) * len(mine))

    try:
        with limited(rng):
            if rng.random() < 0.1:
                b.sendall(mine)
                b.close()
            else:
                other = gmpx.go(serve)
            with secured(patched, a, False) as s:
                s.sendall(mine[:1])
                got = b""
                while len(got) < len(mine) and (data := s.recv(65536)):
                    got += data
                check(got == mine, "an echo through TLS")
    except (TimeoutError, OSError):
        pass
    finally:
        a.close()
        if other is not None:
            other.cancel()
            with gmpx.shield():
                error = other.exception()
            check(error is None or isinstance(error, (OSError, gmpx.Cancelled)), repr(error))
        b.close()


def of_foreign(operation):
    def steady(self, rng, chan):
        operation(self, rng, chan, steady=True)

    return steady


FOREIGN = [of_foreign(send), of_foreign(receive), of_foreign(receive)]
OPERATIONS = [send] * 2 + [receive] * 3 + [set_timeout, break_tunnel, handshake]
