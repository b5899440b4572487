"""One turn of a network case, in a process of its own as every turn.

    sample.py RIVAL PROGRAM N WARMUPS LEAST_MS   prints {case: figure} as JSON
    sample.py RIVAL version                      prints what is measured

A program starts what is measured as a process on one CPU and its other side, the load or the slow
server, on another, and makes a figure for each case that it serves. Exit status 3: something that
it takes is not there, and the last line says what. GMPX_PERF_GO is the program of ../go.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import compiled
import machine

HERE = Path(__file__).resolve().parent
NOT_THERE = 3
# The load, and the warm-up before it, in turns of LEAST_MS: 50, or 20 if quick.
LOAD, WARM = 20, 5
LIMIT_S = 60
IDLE_S = 1.0
SETTLE_S = 0.3
ONE_P = {"gmpx-1p": {"GMPX_MAXPROCS": "1"}, "Go-1p": {"GOMAXPROCS": "1"}}


def plain(rival):
    """Returns the rival without its variant: gmpx-1p is gmpx."""
    return rival.partition("-")[0]


def python(script, *words):
    return [sys.executable, str(HERE / f"{script}.py"), *map(str, words)]


def go(*words):
    if "GMPX_PERF_GO" not in os.environ:
        raise compiled.NotThere("no program of Go's")
    return [os.environ["GMPX_PERF_GO"], "net", *map(str, words)]


def server(rival, kind, size):
    """Returns the command of a rival's server."""
    name = plain(rival)
    if name == "Go":
        return go("serve", kind, size)
    if name == "floor":
        return [compiled.program("floor"), "serve", kind]
    if name in ("asyncio", "uvloop"):
        return python("serve_asyncio", rival, kind, size)
    return python(f"serve_{name}", kind, size)


def begin(command, rival="", cpu=None, **options):
    """Starts a process, on one CPU if one is given."""
    pin = None if cpu is None else lambda: os.sched_setaffinity(0, {cpu})
    environment = os.environ | ONE_P.get(rival, {})
    return subprocess.Popen(command, text=True, preexec_fn=pin, env=environment, **options)


def last_words(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"


def finish(command, rival="", cpu=None):
    """Runs a process to its end; returns what it prints."""
    process = begin(command, rival, cpu, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise SystemExit(f"{Path(command[0]).name}: no end after {LIMIT_S} s") from None
    if process.returncode == NOT_THERE:
        raise compiled.NotThere(last_words(err))
    if process.returncode:
        raise SystemExit(last_words(err))
    return out


@contextmanager
def serving(command, rival="", cpu=None):
    """Starts a server; gives (process, port), and says why if it does not outlive its use."""
    with tempfile.TemporaryFile("w+") as errors:
        process = begin(command, rival, cpu, stdout=subprocess.PIPE, stderr=errors)

        def words():
            errors.seek(0)
            return last_words(errors.read())

        try:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"the server has not begun: {words()}")
            try:
                yield process, int(line)
            except SystemExit as failure:
                raise SystemExit(f"{failure} (the server: {words()})") from None
            if process.poll() is not None:
                raise SystemExit(f"the server ended with {process.returncode}: {words()}")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def load_command(kind, port, n, size, least_ms, spin, pid):
    numbers = (port, n, size, WARM * least_ms, LOAD * least_ms, int(spin), pid)
    return [compiled.program("load"), kind, *map(str, numbers)]


def loaded(kind, size, case, *, free=False, **others):
    """Returns a program: a server on one CPU, the load on the other; nobody is bound if `free`.

    Args:
        case: the case of the wall time for each operation.
        others: by "cpu" and "fair", the cases of the server's CPU time for each, and of how far
            from the mean the connections are that have had the most and the least.
    """

    def program(rival, n, least_ms):
        here, there = machine.cpus()
        # "Go" stands for all CPUs; the others have one P, or are one thread.
        place = None if free or rival == "Go" else here
        spin = not free and here != there
        with serving(server(rival, kind, size), rival, place) as (process, port):
            command = load_command(kind, port, n, size, least_ms, spin, process.pid)
            out = finish(command, cpu=None if free else there)
        done, wall, cpu, least, most = map(int, out.split())
        mean = done / n
        known = {"cpu": cpu / done, "fair": max(most / mean, mean / least)}
        return {case: wall / done} | {others[key]: known[key] for key in others}

    return program


def idle(rival, n, least_ms):
    """A server with n connections, each of which has been served once."""
    here, there = machine.cpus()
    place = None if rival == "Go" else here
    with serving(server(rival, "echo", 64), rival, place) as (process, port):
        # The server's first connections bring what it has but once.
        finish(load_command("echo", port, 10, 64, 1, False, process.pid), cpu=there)
        time.sleep(SETTLE_S)
        before = machine.resident(process.pid)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = load_command("idle", port, n, 64, 0, False, process.pid)
        client = begin(command, cpu=there, **pipes)
        try:
            if client.stdout.readline() != "idle\n":
                raise SystemExit(last_words(client.stderr.read()))
            time.sleep(SETTLE_S)
            cpu, start = machine.cpu_ns(process.pid), time.perf_counter()
            time.sleep(IDLE_S)
            cpu, took = machine.cpu_ns(process.pid) - cpu, time.perf_counter() - start
            grown = machine.resident(process.pid) - before
        finally:
            client.communicate()
    return {"idle-memory": grown / n, "idle-cpu": cpu / took}


def fetching(library, case, cpu_case):
    def program(rival, n, least_ms):
        if not find_spec(library):
            raise compiled.NotThere(f"{library} is not installed")
        here, there = machine.cpus()
        with serving(python("slow"), cpu=there) as (_, port):
            out = finish(python("fetch", rival, library, n, port), rival, here)
        got = json.loads(out)
        return {case: got["wall_ns"] / n, cpu_case: got["cpu_ns"] / n}

    return program


def securely(kind, case, cpu_case, per=1):
    """Returns a program: a client over TLS. per: what a figure is of, in operations."""

    def program(rival, n, least_ms):
        if kind == "get" and not find_spec("requests"):
            raise compiled.NotThere("requests is not installed")
        here, there = machine.cpus()
        with serving(python("serve_secure", kind, n), cpu=there) as (_, port):
            if plain(rival) == "Go":
                command = go("secure", kind, HERE / "server.pem", n, port)
            else:
                command = python("secure", rival, kind, n, port)
            got = json.loads(finish(command, rival, None if rival == "Go" else here))
        return {case: got["wall_ns"] / n * per, cpu_case: got["cpu_ns"] / n * per}

    return program


@contextmanager
def upstream(app, cpu):
    """What else the application wants, as environment variables."""
    if app != "upstream":
        yield {}
        return
    with serving(python("slow", 10), cpu=cpu) as (_, port):
        yield {"UPSTREAM_PORT": str(port)}


def web(app):
    def program(rival, n, least_ms):
        wrk = shutil.which("wrk")
        if wrk is None:
            raise compiled.NotThere("wrk is not installed")
        for module in ("uvicorn", "httptools") if rival == "uvloop" else ("gunicorn",):
            if not find_spec(module):
                raise compiled.NotThere(f"{module} is not installed")
        here, there = machine.cpus()
        with upstream(app, there) as variables:
            os.environ.update(variables)
            with serving(python("serve_web", rival, app), cpu=here) as (_, port):
                url = f"http://127.0.0.1:{port}/"
                with build_opener(ProxyHandler({})).open(url, timeout=LIMIT_S) as answer:  # it has begun
                    answer.read()
                options = "-t1", f"-c{n}", "--timeout", "20s", "-s", str(HERE / "wrk.lua")
                command = [wrk, *options, url]
                seconds = max(1, 3 * LOAD * least_ms // 1000)
                if seconds > 1:
                    finish([*command, "-d1s"], cpu=there)
                got = json.loads(finish([*command, f"-d{seconds}s"], cpu=there).splitlines()[-1])
        if got["errors"] or not got["requests"]:
            raise SystemExit(f"requests have failed: {got}")
        return {f"web-{app}": got["us"] * 1000 / got["requests"], f"web-{app}-p99": got["p99_us"] * 1000}

    return program


def database(kind, case, cpu_case):
    def program(rival, n, least_ms):
        got = json.loads(finish(python("databases", rival, kind, n), rival))
        return {case: got["wall_ns"] / n, cpu_case: got["cpu_ns"] / n}

    return program


def locks(rival, n, least_ms):
    return json.loads(finish(python("locks", rival, n), rival, machine.cpus()[0]))


def waits(rival, n, least_ms):
    command = go("waits", n) if plain(rival) == "Go" else python("waits", rival, n)
    got = json.loads(finish(command, rival))
    return {"waits-second": got["wall_ns"] / n, "waits-threads": got["threads"]}


def names(rival, n, least_ms):
    command = python("names", plain(rival), n)
    if plain(rival) == "Go":
        command += go()[:1]
    got = json.loads(finish(command, rival))
    return {"names-lookup": got["wall_ns"] / n, "names-cpu": got["cpu_ns"] / n}


def burner(rival, size, least_ms):
    words = size, LOAD * least_ms
    if rival == "floor":
        command = [compiled.program("floor"), "pair", *map(str, words)]
    else:
        command = go("burner", *words) if plain(rival) == "Go" else python("burner", rival, *words)
    got = json.loads(finish(command, rival))
    return {"burner-message": got["wall_ns"] / got["operations"]}


def children(program, case, cpu_case=None):
    def run(rival, n, least_ms):
        out = finish(go(program, n) if plain(rival) == "Go" else python("children", program, rival, n), rival)
        got = json.loads(out)
        return {case: got["wall_ns"] / n} | ({cpu_case: got["cpu_ns"] / n} if cpu_case else {})

    return run


PROGRAMS = {
    "echo-64": loaded("echo", 64, "echo-64", cpu="echo-cpu", fair="echo-fair"),
    "echo-16k": loaded("echo", 1 << 14, "echo-16k"),
    "echo-cores": loaded("echo", 64, "echo-cores", free=True),
    "accept-close": loaded("accept", 1, "accept-close", cpu="accept-cpu"),
    "http-keepalive": loaded("http", 1, "http-keepalive", cpu="http-cpu"),
    "idle-memory": idle,
    "requests-get": fetching("requests", "requests-get", "requests-cpu"),
    "requests-urllib3": fetching("urllib3", "requests-urllib3", "requests-urllib3-cpu"),
    "secure-get": securely("get", "secure-get", "secure-get-cpu"),
    "secure-handshake": securely("handshakes", "secure-handshake", "secure-handshake-cpu"),
    "secure-bulk": securely("bulk", "secure-bulk", "secure-bulk-cpu", per=1 << 14),
    "web-hello": web("hello"),
    "web-upstream": web("upstream"),
    "web-json": web("json"),
    "database-queries": database("queries", "database-queries", "database-queries-cpu"),
    "database-incrs": database("incrs", "database-incrs", "database-incrs-cpu"),
    "locks-alone": locks,
    "waits-second": waits,
    "names-lookup": names,
    "burner-message": burner,
    "children-run": children("children", "children-run", "children-cpu"),
    "pipe-read": children("pipe-read", "pipe-read"),
    "pipe-write": children("pipe-write", "pipe-write"),
}


def version(rival):
    name = plain(rival)
    if name == "Go":
        text = subprocess.run([*go()[:1], "version"], capture_output=True, text=True, check=True)
        return text.stdout.partition(",")[0] + ", GOMAXPROCS 1"
    module = __import__(name)
    kind = "with protocols" if rival.endswith("-protocol") else "with one P"
    return f"{getattr(module, '__version__', sys.version.split()[0])}, {kind}"


def main():
    try:
        if not hasattr(os, "sched_setaffinity") or not sys.platform.startswith("linux"):
            raise compiled.NotThere("wants Linux: epoll, and a process on a CPU of its own")
        if sys.argv[2] == "version":
            print(version(sys.argv[1]))
            return 0
        rival, name, *numbers = sys.argv[1:]
        n, _, least_ms = map(int, numbers)
        machine.more_files()
        print(json.dumps(PROGRAMS[name](rival, n, least_ms)))
    except (compiled.NotThere, ModuleNotFoundError) as reason:
        print(reason, file=sys.stderr)
        return NOT_THERE
    return 0


if __name__ == "__main__":
    sys.exit(main())
