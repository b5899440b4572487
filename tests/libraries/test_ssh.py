"""paramiko against a sshd; its transport is a thread, and what waits for it are goroutines."""

import getpass
import os
import queue
import shutil
import subprocess

import pytest

import gmpx

paramiko = pytest.importorskip("paramiko")
POOL = 5
# HOME: what the user has there for shells to run is not for these.
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
PermitRootLogin yes
MaxStartups 200
MaxSessions 300
Subsystem sftp internal-sftp
SetEnv HOME={directory}
"""


@pytest.fixture(scope="module")
def sshd(new_server):
    path = shutil.which("sshd", path="/usr/sbin:" + os.environ.get("PATH", ""))
    if path is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd is installed")
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)

    def prepare(server):
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(server.directory / name)]
            subprocess.run(command, check=True, capture_output=True)
        text = CONFIG.format(port=server.port, directory=server.directory)
        (server.directory / "sshd_config").write_text(text)

    server = new_server("sshd", lambda _, directory: [path, "-D", "-e", "-f", str(directory / "sshd_config")], prepare)
    yield server
    server.close()


@pytest.fixture
def connect(sshd):
    clients = []

    def connect():
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(sshd.host, sshd.port, getpass.getuser(), key_filename=str(sshd.directory / "user"),
                       allow_agent=False, look_for_keys=False, timeout=60, banner_timeout=60, auth_timeout=60)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        transport = client.get_transport()
        client.close()
        if transport is not None:
            transport.join(20)


def test_a_crowd_shares_a_few_connections(connect, crowd):
    pool = queue.Queue()
    for _ in range(POOL):
        pool.put(connect())

    def one(i):
        client = pool.get()
        try:
            with crowd.waiting():
                _, out, _ = client.exec_command(f"echo {i}")
                found = int(out.read())
            assert out.channel.recv_exit_status() == 0
            return found
        finally:
            pool.put(client)

    assert crowd(one) == list(range(200))
    assert crowd.most > 1
    assert pool.qsize() == POOL


def test_many_commands_over_one_connection(connect, crowd):
    client = connect()

    def one(i):
        into, out, _ = client.exec_command("cat")
        with into:
            into.write(f"{i}" * 50_000)
            into.flush()
            into.channel.shutdown_write()
            with crowd.waiting():
                return out.read() == f"{i}".encode() * 50_000

    assert all(crowd(one, 20))
    assert crowd.most > 1


def test_sftp(connect, crowd, tmp_path):
    client = connect()
    data = os.urandom(300_000)

    def one(i):
        with client.open_sftp() as sftp:
            with sftp.open(str(tmp_path / f"{i}"), "wb") as f:
                f.write(data)
            with sftp.open(str(tmp_path / f"{i}"), "rb") as f:
                return f.read() == data

    assert all(crowd(one, 10))


def test_cancelled_and_timed_out(connect, parked):
    client = connect()
    _, out, _ = client.exec_command("sleep 3")
    g = gmpx.go(out.read)
    parked(g)
    g.cancel()
    with pytest.raises(gmpx.Cancelled):
        g.result(20)
    out.channel.close()
    _, out, _ = client.exec_command("sleep 3", timeout=0.05)
    with pytest.raises(TimeoutError):
        out.read()
    with pytest.raises(TimeoutError), gmpx.timeout(0.05):
        client.exec_command("sleep 3")[1].read()
    assert client.exec_command("echo 7")[1].read() == b"7\n"
