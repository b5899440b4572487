"""Two descriptors, of the kinds that wait, and what the tests of streams ask of them."""

import os
import pty
import socket
import tty

from gmpx._core import _net_left

PATIENCE = 20


def descriptors():
    """Without the two of each poller, which stay."""
    return len(os.listdir("/proc/self/fd")) - 2 * _net_left()[0]


class Ends:
    """Two descriptors, closed at the end unless the test has."""

    def __init__(self, r, w):
        self.r, self.w = r, w

    def close(self, *names):
        for name in names or ("r", "w"):
            fd = getattr(self, name)
            setattr(self, name, None)
            if fd is not None:
                os.close(fd)


def make_pipe(tmp_path):
    return Ends(*os.pipe())


def make_fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)
    ends = Ends(os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY))
    os.close(both)
    return ends


def make_sockets(tmp_path):
    a, b = socket.socketpair()
    return Ends(a.detach(), b.detach())


def make_raw_tty(tmp_path):
    """Reads from the slave, writes to the master."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    return Ends(slave, master)


def error_of(g):
    g.join(PATIENCE)
    return g.exception()


def fill(fd):
    """Writes until nothing more is taken."""
    n = 0
    blocking = os.get_blocking(fd)
    os.set_blocking(fd, False)
    try:
        for piece in (65536, 1):
            while True:
                n += os.write(fd, bytes(piece))
    except BlockingIOError:
        if n and piece == 65536:
            n += fill(fd)
    os.set_blocking(fd, blocking)
    return n
