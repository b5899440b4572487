#!/usr/bin/env python3
"""Asks an API for many records, no faster than it allows, and tries again what fails.

The API is a server of this program's own: it answers so many requests a second and no more (429, with
a Retry-After), and every tenth record fails at first (503). The client is the standard library's urllib,
unchanged: `gmpx.patch` makes its sockets park the goroutine instead of the thread. All the rest is what
`gmpx.map` is told: a rate, a Retry, a time-out for each record, a progress line.
"""

import argparse
import contextlib
import functools
import http.server
import json
import math
import sys
import time
import urllib.error
import urllib.request

import gmpx
import gmpx.io
import gmpx.patch

RETRY_STATUSES = {429, 500, 502, 503, 504}  # the same request may well succeed later
EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


# ---- the client ------------------------------------------------------------------------------


def worth_another_attempt(error):
    """Whether the same request may succeed later; for Retry's `on`."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in RETRY_STATUSES
    return isinstance(error, OSError)


def asked_to_wait(error):
    """The seconds of a Retry-After, or None; for Retry's `after`."""
    if not isinstance(error, urllib.error.HTTPError):
        return None
    text = error.headers.get("Retry-After", "")
    return int(text) if text.isdecimal() else None  # it may also be a date


class Client:
    """Asks the API for records."""

    def __init__(self, url):
        self.url = url
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def record(self, number):
        try:
            with self.opener.open(f"{self.url}/records/{number}") as reply:
                return json.load(reply)
        except urllib.error.HTTPError as e:
            e.close()
            raise


def fetch_all(client, numbers, arguments):
    """Returns a record, or a gmpx.Failure, for each number."""
    return gmpx.map(
        client.record,
        numbers,
        limit=arguments.limit,
        rate=gmpx.Limiter(arguments.rate, burst=arguments.burst),
        retry=gmpx.Retry(arguments.attempts, on=worth_another_attempt, after=asked_to_wait),
        item_timeout=arguments.timeout,
        on_error="return",
        progress=not arguments.quiet,
    )


# ---- the server ------------------------------------------------------------------------------


class Api:
    """What the handlers share."""

    def __init__(self, rate, missing):
        self.limiter = gmpx.Limiter(rate, burst=max(1, math.ceil(rate / 10)))
        self.missing = missing
        self.seen = set()
        self.answers = {}  # status: how often


class Handler(http.server.BaseHTTPRequestHandler):
    """/records/N: 429 when it is asked too often, 404 from `missing` on, 503 now and then."""

    def __init__(self, *args, api):
        self.api = api
        super().__init__(*args, server=None)

    def do_GET(self):
        api, number = self.api, int(self.path.rpartition("/")[2])
        if not api.limiter.try_acquire():
            return self.answer(429, {"error": "too many requests"}, ("Retry-After", "1"))
        time.sleep(0.02)  # parks the goroutine: it is patched
        if api.missing is not None and number >= api.missing:
            return self.answer(404, {"error": "no such record"})
        if number % 10 == 3 and number not in api.seen:
            api.seen.add(number)
            return self.answer(503, {"error": "try again"})
        self.answer(200, {"number": number, "square": number * number})

    def answer(self, status, record, *headers):
        self.api.answers[status] = self.api.answers.get(status, 0) + 1
        body = json.dumps(record).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def running(api):
    """Serves the API in goroutines of this process; yields its URL."""
    with gmpx.io.listen("127.0.0.1") as listener:
        server = gmpx.go(gmpx.io.serve, functools.partial(Handler, api=api), listener)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.cancel()
            server.join()


# ---- the program -----------------------------------------------------------------------------


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        description="Ask an API for records, no faster than it allows.",
        epilog="Exit status: 0 all are there; 1 some failed (they are named); 130 interrupted.",
    )
    add = functools.partial(parser.add_argument, metavar="N")
    add("-n", "--records", type=int, default=150, help="how many to ask for (%(default)s)")
    add("-r", "--rate", type=float, default=50, help="requests a second (%(default)s)")
    add("-b", "--burst", type=int, default=5, help="how many of them at once (%(default)s)")
    add("-l", "--limit", type=int, default=20, help="connections at most (%(default)s)")
    add("-a", "--attempts", type=int, default=6, help="attempts for each record (%(default)s)")
    add("-t", "--timeout", type=float, default=30, help="seconds for each record (%(default)s)")
    add("--server-rate", type=float, default=60, help="what the server allows (%(default)s)")
    add("--missing", type=int, help="the server has no records from this number on")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    return parser.parse_args(argv)


def report(records, seconds, api):
    failures = [r for r in records if isinstance(r, gmpx.Failure)]
    for failure in failures:
        attempts = f"{failure.attempts} attempt" + ("s" if failure.attempts > 1 else "")
        print(f"record {failure.item}: {failure.exception} ({attempts})", file=sys.stderr)
    answers = ", ".join(f"{n} times {status}" for status, n in sorted(api.answers.items()))
    print(f"{len(records) - len(failures)} of {len(records)} records in {seconds:.2f} s; answers: {answers}")
    return EXIT_FAILED if failures else EXIT_OK


def main(argv=None):
    arguments = parse_arguments(argv)
    gmpx.patch.all()
    api = Api(arguments.server_rate, arguments.missing)
    try:
        with running(api) as url:
            begun = time.monotonic()
            records = fetch_all(Client(url), range(arguments.records), arguments)
            return report(records, time.monotonic() - begun, api)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
