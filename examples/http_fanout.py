#!/usr/bin/env python3
"""Fetches hundreds of URLs at once with urllib, one goroutine per URL, and tries again what fails.

Without URLs it starts a server of its own that is slow and sometimes fails, and fetches that one's
pages. Client and server are the standard library's, unchanged: `gmpx.patch` makes their sockets, and
`time.sleep`, park the goroutine instead of the thread.
"""

import argparse
import contextlib
import functools
import http.client
import http.server
import random
import shutil
import signal
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from typing import NamedTuple

import gmpx
import gmpx.io
import gmpx.patch

CHUNK_BYTES = 1 << 16
RETRY_STATUSES = {408, 429, 500, 502, 503, 504}  # the same request may well succeed later
FIRST_PAUSE_S = 0.1  # before the second try; twice as long before each further one
LONGEST_PAUSE_S = 30.0

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
EXIT_INTERRUPTED = 128 + signal.SIGINT


class Outcome(NamedTuple):
    """What became of one URL."""

    url: str
    status: int | None
    size: int
    seconds: float  # from the first try to the end of the last
    tries: int
    error: str  # "" if all went well


class Fetcher:
    """Fetches URLs one by one; `fetch` is to be called from many goroutines.

    Args:
        retries: how many further tries a URL gets.
        timeout: seconds that one try may take, from the connection to the last byte.
        opener: what opens URLs, from `urllib.request.build_opener`.
    """

    def __init__(self, retries, timeout, opener):
        self.retries, self.timeout, self.opener = retries, timeout, opener

    def fetch(self, url):
        """Returns the Outcome of a URL; what goes wrong is in there, never raised."""
        begun = time.monotonic()
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(pause_before(attempt, error))
            try:
                status, size = self.fetch_once(url)
                return Outcome(url, status, size, time.monotonic() - begun, attempt + 1, "")
            except (OSError, http.client.HTTPException, ValueError) as caught:
                error = caught
                if not may_pass(error):
                    break
        status = getattr(error, "code", None)
        return Outcome(url, status, 0, time.monotonic() - begun, attempt + 1, describe(error))

    def fetch_once(self, url):
        """Returns (status, number of bytes)."""
        # TLS is not patched yet: it would hold the thread, and all goroutines that started there.
        through_tls = url.startswith("https:")
        call = functools.partial(gmpx.blocking, self.load) if through_tls else self.load
        # The socket's own time-out starts afresh with each wait: a server that sends a byte now and
        # then would never meet it. This one is for all waits together.
        with gmpx.timeout(self.timeout):
            return call(url)

    def load(self, url):
        with self.opener.open(url, timeout=self.timeout) as reply:
            size = 0
            while chunk := reply.read(CHUNK_BYTES):
                size += len(chunk)
            if reply.length:  # a connection that ends too early is no error to read(n)
                raise http.client.IncompleteRead(b"", reply.length)
            return reply.status, size


def may_pass(error):
    """Tells whether the same request may succeed later."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return error.code in RETRY_STATUSES
    if isinstance(error, urllib.error.URLError):
        error = error.reason  # an exception, or a text about the URL
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    if isinstance(error, (ssl.SSLCertVerificationError, http.client.InvalidURL)):
        return False
    return isinstance(error, (OSError, http.client.HTTPException))


def pause_before(attempt, error):
    """Returns how many seconds to wait before that attempt: what the server asks for, or a guess.

    Half of the guess is chance, so that those who failed together do not come back together.
    """
    asked = getattr(error, "headers", None) and error.headers.get("Retry-After", "")
    if asked and asked.isdecimal():
        return min(int(asked), LONGEST_PAUSE_S)
    return min(FIRST_PAUSE_S * 2 ** (attempt - 1), LONGEST_PAUSE_S) * random.uniform(0.5, 1)


def describe(error):
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    return str(error) or type(error).__name__


class DemoPage(http.server.BaseHTTPRequestHandler):
    """Pages that take their time; of ten, one is refused and one cut off at the first try."""

    seen = set()

    def do_GET(self):
        number = int(self.path.rpartition("/")[2])
        first = number not in self.seen
        self.seen.add(number)
        time.sleep(0.05 + number % 7 * 0.01)
        body = b"%d\n" % number * 2000
        if first and number % 10 == 3:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:100] if first and number % 10 == 7 else body)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def demo_server():
    """Serves DemoPages in goroutines of this process; yields the URL that they stand below."""
    with gmpx.io.listen("127.0.0.1") as listener:
        handler = functools.partial(DemoPage, server=None)  # a handler of socketserver's is one of ours
        server = gmpx.go(gmpx.io.serve, handler, listener)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.cancel()
            server.join()


class Progress:
    """One line on stderr while it is a terminal, nothing otherwise."""

    INTERVAL_S = 0.1

    def __init__(self, total):
        self.total, self.done, self.failed, self.due = total, 0, 0, 0.0
        self.shown = sys.stderr.isatty()

    def __enter__(self):
        self.draw()
        return self

    def __exit__(self, *exc_info):
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def step(self, failed):
        self.done += 1
        self.failed += failed
        self.draw()

    def draw(self):
        if not self.shown or time.monotonic() < self.due:
            return
        self.due = time.monotonic() + self.INTERVAL_S
        text = f" {self.done:,}/{self.total:,} URLs, {self.failed:,} failed"
        width = max(0, min(40, shutil.get_terminal_size().columns - len(text) - 3))
        filled = round(self.done / self.total * width) if self.total else width
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (width - filled)}]{text}\x1b[K")
        sys.stderr.flush()


def fetch_all(urls, fetcher, limit):
    """Returns the URLs' Outcomes, in their order; at most `limit` are under way at once."""
    outcomes = {}
    with Progress(len(urls)) as progress:
        # Closing it early, as Ctrl-C does, cancels what is under way.
        with contextlib.closing(gmpx.imap(fetcher.fetch, urls, limit=limit, ordered=False)) as ready:
            for outcome in ready:
                outcomes[outcome.url] = outcome
                progress.step(bool(outcome.error))
    return [outcomes[url] for url in urls]


def size_text(n):
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return f"{n:.1f} {unit}" if unit != "B" else f"{n} B"
        n /= 1000


def report(outcomes, seconds, output):
    """Prints what failed and a summary; writes a line per URL to output, unless that is None."""
    for outcome in outcomes:
        if outcome.error:
            tries = f"{outcome.tries} {'try' if outcome.tries == 1 else 'tries'}"
            print(f"failed after {tries}: {outcome.url}: {outcome.error}", file=sys.stderr)
    if output is not None:
        for outcome in outcomes:
            fields = (outcome.status or "-", outcome.size, f"{outcome.seconds:.3f}", outcome.tries)
            print(*fields, outcome.url, outcome.error, sep="\t", file=output)
        output.flush()
    good = [outcome for outcome in outcomes if not outcome.error]
    print(
        f"{len(good):,} of {len(outcomes):,} URLs, {size_text(sum(o.size for o in good))} in "
        f"{seconds:.2f} s, {sum(o.tries - 1 for o in outcomes):,} further tries; "
        f"the times of all of them add up to {sum(o.seconds for o in outcomes):.2f} s",
        file=sys.stderr if output is sys.stdout else sys.stdout,
    )


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        description="Fetch many URLs at once, one goroutine per URL; without URLs, the pages of a "
        "slow server that is started for the purpose.",
        epilog="Exit status: 0 all fetched; 1 some failed (they are reported); 2 bad usage; "
        "130 interrupted.",
    )
    parser.add_argument("urls", nargs="*", metavar="URL", help="http: or https:")
    parser.add_argument(
        "-f", "--file", type=argparse.FileType("r"), help='read more URLs from FILE, "-" is stdin'
    )
    parser.add_argument(
        "-p", "--pages", type=int, default=300,
        help="how many pages of the server to fetch where no URL is given (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "-l", "--limit", type=int, default=100,
        help="how many to fetch at once (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "-t", "--timeout", type=float, default=10.0, metavar="SECONDS",
        help="how long one try may take (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "-r", "--retries", type=int, default=3, metavar="N",
        help="how many further tries a URL gets (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=argparse.FileType("w"),
        help='write a line per URL to FILE, "-" is stdout: status, bytes, seconds, tries, URL, error',
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if arguments.file is not None:
        with arguments.file as file:
            arguments.urls += [line.strip() for line in file if line.strip()]
    arguments.urls = list(dict.fromkeys(arguments.urls))
    for url in arguments.urls:
        if not url.startswith(("http://", "https://")):
            parser.error(f"neither http: nor https: {url}")
    if arguments.limit < 1 or arguments.retries < 0 or arguments.pages < 0:
        parser.error("--limit must be 1 or more, --retries and --pages 0 or more")
    if not arguments.timeout > 0:
        parser.error("--timeout must be more than 0")
    return arguments


def run(arguments):
    gmpx.patch.all()
    with contextlib.ExitStack() as stack:
        urls, opener = arguments.urls, urllib.request.build_opener()
        if not urls and arguments.file is None:
            base = stack.enter_context(demo_server())
            urls = [f"{base}/page/{number}" for number in range(arguments.pages)]
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        begun = time.monotonic()
        fetcher = Fetcher(arguments.retries, arguments.timeout, opener)
        outcomes = fetch_all(urls, fetcher, arguments.limit)
        report(outcomes, time.monotonic() - begun, arguments.output)
    return EXIT_FAILED if any(outcome.error for outcome in outcomes) else EXIT_OK


def main(argv=None):
    arguments = parse_arguments(argv)
    try:
        return run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
