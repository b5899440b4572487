"""What web-* asks for, for WSGI (gunicorn) and for ASGI (uvicorn), by the same names.

UPSTREAM_PORT is the server that upstream asks (slow.py): a connection for each request.
"""

import asyncio
import json
import os
import socket

from messages import REQUEST, RESPONSE

HELLO = b"Hello, world!"
#: As JSON, 20 KB.
ROWS = [{"id": n, "name": f"row {n}", "price": n * 1.25, "tags": ["a", "b"], "left": None} for n in range(246)]


def wsgi(work):
    def app(environ, start_response):
        kind, body = work()
        start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    return app


def asgi(work):
    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise ValueError(scope["type"])  # uvicorn goes on without a lifespan
        kind, body = await work()
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def hello():
    return "text/plain", HELLO


def jsonify():
    return "application/json", json.dumps(ROWS).encode()


def upstream():
    with socket.create_connection(("127.0.0.1", int(os.environ["UPSTREAM_PORT"]))) as s:
        s.sendall(REQUEST)
        answer = b""
        while len(answer) < len(RESPONSE):
            some = s.recv(4096)
            if not some:
                raise ConnectionError("the other server has gone")
            answer += some
    return "text/plain", answer[-len(HELLO):]


async def hello_async():
    return hello()


async def jsonify_async():
    return jsonify()


async def upstream_async():
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["UPSTREAM_PORT"]))
    writer.write(REQUEST)
    answer = await reader.readexactly(len(RESPONSE))
    writer.close()
    await writer.wait_closed()
    return "text/plain", answer[-len(HELLO):]


wsgi_hello, wsgi_json, wsgi_upstream = map(wsgi, (hello, jsonify, upstream))
asgi_hello, asgi_json, asgi_upstream = map(asgi, (hello_async, jsonify_async, upstream_async))
