"""socket.sendfile: os.sendfile on a descriptor that does not block, for as long as that lasts."""

import errno
import os
import socket
from typing import Any

from gmpx._core import _parks, wait_writable

_plain = getattr(socket.socket, "_sendfile_use_sendfile", None)
_GiveUp = getattr(socket, "_GiveupOnSendfile", OSError)


def sendfile(self: socket.socket, file: Any, offset: int = 0, count: int | None = None) -> int:
    timeout = self.gettimeout()
    if timeout == 0 or not _parks():
        return _plain(self, file, offset, count)  # type: ignore[misc, no-any-return]
    self._check_sendfile_params(file, offset, count)  # type: ignore[attr-defined]
    try:
        source = file.fileno()
        size = os.fstat(source).st_size
    except (AttributeError, OSError) as error:
        raise _GiveUp(error) from None  # no regular file: send() does it
    if not size:
        return 0
    sink = self.fileno()
    sent = 0
    most = min(count or size, 2**30)
    if timeout is None:
        os.set_blocking(sink, False)
    try:
        while count is None or sent < count:
            if self.fileno() != sink:  # closed meanwhile: the number may be another's
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            if count is not None:
                most = min(count - sent, 2**30)
            try:
                n = os.sendfile(sink, source, offset, most)
            except BlockingIOError:
                try:
                    wait_writable(sink, timeout)
                except TimeoutError:
                    raise TimeoutError("timed out") from None
                continue
            except OSError as error:
                if sent == 0:
                    raise _GiveUp(error) from None
                raise error from None
            if n == 0:
                break
            offset += n
            sent += n
        return sent
    finally:
        if timeout is None and self.fileno() == sink:
            os.set_blocking(sink, True)
        if sent > 0 and hasattr(file, "seek"):
            file.seek(offset)
