"""What the tests of TLS share: contexts, and pairs of connected sockets."""

import os
import socket
import ssl
import threading
from pathlib import Path

CERTS = Path(__file__).with_name("certs")


def server_context(name="localhost"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTS / f"{name}.pem")
    return context


def client_context():
    return ssl.create_default_context(cafile=CERTS / "ca.pem")


SERVER, CLIENT = server_context(), client_context()


def tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        a = socket.create_connection(listener.getsockname())
        b, _ = listener.accept()
    return a, b


def on_threads(a, b, server=SERVER, client=CLIENT):
    """A client's and a server's connection over a and b, made by two threads."""
    found = []
    thread = threading.Thread(target=lambda: found.append(server.wrap_socket(b, server_side=True)))
    thread.start()
    c = client.wrap_socket(a, server_hostname="localhost")
    thread.join()
    return c, found[0]


def sockets():
    """The descriptors that are sockets."""
    return [fd for fd in os.listdir("/proc/self/fd") if _is_socket(f"/proc/self/fd/{fd}")]


def _is_socket(path):
    try:
        return os.readlink(path).startswith("socket:")
    except FileNotFoundError:  # the listing's own
        return False
