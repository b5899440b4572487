"""`python -m gmpx` with other people's servers: they answer, many clients at once, and end as they do without it."""

import importlib.util
import signal
import socket
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")

APP = """
    import sys
    import time

    def app(environ, start_response):
        time.sleep(0.02)
        body = ("gmpx" if "gmpx.patch" in sys.modules else "plain").encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]
"""

WSGIREF = """
    import socketserver
    import sys
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
    from web_app import app

    class Server(socketserver.ThreadingMixIn, WSGIServer):
        daemon_threads = True

    WSGIServer.request_queue_size = 64  # what finds no room is tried again by the system, seconds later

    with make_server("127.0.0.1", int(sys.argv[1]), app, Server if sys.argv[2:] else WSGIServer) as server:
        print("ready", flush=True)
        server.serve_forever()
"""

FLASK = """
    import time
    from flask import Flask
    from web_app import sys

    app = Flask(__name__)

    @app.route("/")
    def hello():
        time.sleep(0.02)
        return "gmpx" if "gmpx.patch" in sys.modules else "plain"
"""

DJANGO = """
    import os
    import sys
    import time
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.http import HttpResponse
    from django.urls import path

    def hello(request):
        time.sleep(0.02)
        return HttpResponse("gmpx" if "gmpx.patch" in sys.modules else "plain")

    urlpatterns = [path("", hello)]
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", DEBUG=True)
    execute_from_command_line(sys.argv)
"""

#: What is to be importable, the arguments, and what its log says when it listens.
SERVERS = {
    "wsgiref": (None, "wsgi.py {port}", "ready"),
    "wsgiref-threads": (None, "wsgi.py {port} threads", "ready"),
    "http.server": (None, "-m http.server {port} --bind 127.0.0.1", "Serving HTTP"),
    "waitress": ("waitress", "-m waitress --listen 127.0.0.1:{port} --threads 8 web_app:app", "Serving on"),
    "flask": ("flask", "-m flask --app flask_app run --port {port}", "Running on"),
    "django": ("django", "django_app.py runserver {port} --noreload", "development server at"),
}


@pytest.fixture(params=SERVERS)
def serve(request, start, free_port):
    needs, arguments, ready = SERVERS[request.param]
    if needs and importlib.util.find_spec(needs) is None:
        pytest.skip(f"needs {needs}: pip install -e '.[web]'")

    def serve(*under):
        words = arguments.format(port=free_port).split()
        files = {"web_app": APP, "wsgi": WSGIREF, "flask_app": FLASK, "django_app": DJANGO}
        server = start(*under, *words, **files)
        server.address = "127.0.0.1", free_port
        server.said(ready)
        return server

    return serve


def closed_by(server):
    """Asks once more, and returns when the server has closed the connection: it is done with all requests."""
    with socket.create_connection(server.address) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while s.recv(65536):
            pass


def test_it_answers_many_and_ends_as_ever(serve, request, together):
    server = serve("-m", "gmpx")
    answers = together(50, lambda _: server.get())
    assert {status for status, _ in answers} == {200}
    if "http.server" not in request.node.name:
        assert {body for _, body in answers} == {b"gmpx"}
    closed_by(server)  # wsgiref swallows a KeyboardInterrupt in the midst of a request
    codes = [server.end(signal.SIGINT)]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        other = serve(*(("-m", "gmpx") if len(codes) < 2 else ()))
        codes.append(other.end(number))
    assert codes[:2] == codes[2:]
