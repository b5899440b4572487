"""What the servers that are written in Python share: a listener, and what HTTP says.

messages.h and ../go/net.go have the same request and response.
"""

import socket
import sys

BACKLOG = 4096
LEAST_BUFFER = 4096
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: gmpx-perf\r\nAccept: */*\r\n"
    b"Connection: keep-alive\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n"
    b"Hello, world!"
)
END = b"\r\n\r\n"


def arguments():
    """Returns the kind of a server and how many bytes it reads at most."""
    kind, size = sys.argv[1:]
    return kind, max(int(size), LEAST_BUFFER)


def listener():
    """Returns a listening socket on a port that the system has chosen."""
    return socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)


def tell(sock):
    """Prints the port: from now on clients are welcome."""
    print(sock.getsockname()[1], flush=True)


def take(data):
    """Returns the answer to every whole request in the data, and what is left of them."""
    answer = b""
    head, end, rest = data.partition(END)
    while end:
        method, path, _ = head.partition(b"\r\n")[0].split(b" ")
        if (method, path) != (b"GET", b"/"):
            raise ValueError(f"not served: {head!r}")
        answer += RESPONSE
        head, end, rest = rest.partition(END)
    return answer, head
