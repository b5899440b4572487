"""Operations of the stress run that look names up, and that receive signals.

The C library is a stand-in here, so that every answer is known: gmpx.io.names has nothing of its own but
which thread asks it, for whom.
"""

import os
import signal
import socket
import time

import gmpx
from gmpx.io import names, signals

from operations import check


def library(host):
    time.sleep(int(host) % 7 / 2000)
    if int(host) % 5 == 0:
        raise socket.gaierror(socket.EAI_NONAME, host)
    return [host]


def look_up(self, rng, chan):
    host = str(rng.randrange(40))
    try:
        with gmpx.timeout(rng.choice([None, None, 0.0004, 0.002])):
            answer = names._ask(library, "stress", (host,))
    except TimeoutError:
        return
    except socket.gaierror as error:
        check(error.args == (socket.EAI_NONAME, host), f"{host}: {error!r}")
        check(int(host) % 5 == 0, f"{host}: an error of another")
        check(not hasattr(error, "mine"), "an error is shared")
        error.mine = True
    else:
        check(answer == [host], f"{host}: {answer}")
        answer.append("mine")


def receive_signals(self, rng, chan):
    if rng.random() > 0.1:
        return
    # one that is ignored by default: another's may come after the last receiver has stopped
    with signals(signal.SIGWINCH) as received:
        os.kill(os.getpid(), signal.SIGWINCH)
        check(received.recv(timeout=60) == signal.SIGWINCH, "another signal")


def nothing_is_left():
    pool = names._pool
    check(pool is None or not pool.queue, "a question is left that nobody waits for")
    check(signal.getsignal(signal.SIGWINCH) is signal.SIG_DFL, "a handler is left")


def in_child():
    check(names._pool is None, "a child has its parent's threads")
    check(names._ask(library, "stress", ("1",)) == ["1"], "a look-up in a child")


OPERATIONS = [look_up, look_up, receive_signals]
