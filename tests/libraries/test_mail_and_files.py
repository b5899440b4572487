"""aiosmtpd with smtplib, and pyftpdlib with ftplib: servers and clients are goroutines."""

import asyncio
import ftplib
import io
import smtplib
import socket
from email.message import EmailMessage

import pytest

import gmpx

LIMIT = 20


def message_of(i):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", f"b{i}@example.org", f"{i}"
    message.set_content("hello\n" * 500)
    return message


class Mails:
    def __init__(self):
        self.subjects = []

    async def handle_DATA(self, server, session, envelope):
        await asyncio.sleep(0.002)
        headers = envelope.content.partition(b"\r\n\r\n")[0]
        self.subjects.append(int(headers.partition(b"Subject: ")[2].partition(b"\r\n")[0]))
        return "250 OK"


def send(port, i):
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as smtp:
        smtp.send_message(message_of(i))


def test_mail_to_a_loop_in_a_goroutine(crowd, until, patience):
    smtp = pytest.importorskip("aiosmtpd.smtp")
    mails, free, ports, ended = Mails(), gmpx.Semaphore(LIMIT), [], []

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: smtp.SMTP(mails, hostname="localhost"), "127.0.0.1", 0, backlog=200)
        ports.append(server.sockets[0].getsockname()[1])
        while not ended:
            await asyncio.sleep(0.005)
        server.close()

    serving = gmpx.go(asyncio.run, serve())
    until(lambda: ports or serving.done())

    def one(i):
        with free, crowd.waiting():
            send(ports[0], i)

    crowd(one)
    ended.append(True)
    serving.result(patience)
    assert sorted(mails.subjects) == list(range(200))
    assert crowd.most > 1


def test_mail_to_a_loop_in_a_thread(crowd):
    """aiosmtpd's own way."""
    controller = pytest.importorskip("aiosmtpd.controller")
    mails, free = Mails(), gmpx.Semaphore(LIMIT)
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    server = controller.Controller(mails, hostname="127.0.0.1", port=port, server_hostname="localhost", ready_timeout=60)
    server.start()
    try:

        def one(i):
            with free, crowd.waiting():
                send(port, i)

        crowd(one)
    finally:
        server.stop()
    assert sorted(mails.subjects) == list(range(200))
    assert crowd.most > 1


@pytest.fixture
def ftp(tmp_path, patience):
    handlers, servers = (pytest.importorskip(f"pyftpdlib.{name}") for name in ("handlers", "servers"))
    authorizers, ioloop = (pytest.importorskip(f"pyftpdlib.{name}") for name in ("authorizers", "ioloop"))

    class Handler(handlers.FTPHandler):
        authorizer = authorizers.DummyAuthorizer()

    Handler.authorizer.add_user("user", "password", str(tmp_path), perm="elradfmwMT")
    server = servers.FTPServer(("127.0.0.1", 0), Handler, ioloop=ioloop.IOLoop(), backlog=200)
    ended = []

    def serve():
        while not ended:
            server.serve_forever(timeout=0.01, blocking=False)
        server.close_all()

    serving = gmpx.go(serve)
    yield server.address
    ended.append(True)
    serving.result(patience)


def test_files(ftp, crowd, tmp_path):
    free = gmpx.Semaphore(LIMIT)

    def one(i):
        data = b"%d\n" % i * 5000
        with free, crowd.waiting(), ftplib.FTP(timeout=60) as client:
            client.connect(*ftp)
            client.login("user", "password")
            client.storbinary(f"STOR {i}", io.BytesIO(data))
            found = io.BytesIO()
            client.retrbinary(f"RETR {i}", found.write)
            return found.getvalue() == data

    assert all(crowd(one, 100))
    assert crowd.most > 1
    assert len(list(tmp_path.iterdir())) == 100


def test_cancelled_and_timed_out(ftp, silent, parked):
    with pytest.raises(TimeoutError):
        ftplib.FTP().connect(*silent, timeout=0.05)
    g = gmpx.go(ftplib.FTP().connect, *silent, timeout=60)
    parked(g, reason="IO wait")
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result(20)
    with ftplib.FTP() as client:
        client.connect(*ftp)
        assert client.login("user", "password").startswith("230")
