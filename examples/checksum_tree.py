#!/usr/bin/env python3
"""SHA-256 of every file below a directory, one goroutine per file.

Writes a manifest for `sha256sum -c`, then hashes the same files again in three ways (a serial
loop, a ThreadPoolExecutor, goroutines) and prints how long each took.

The shape is Go's: a feeder starts a goroutine per file, each sends its digest on a channel,
the main goroutine receives. A second channel of IN_FLIGHT slots bounds the goroutines that are
alive at once, and with them open files and memory: a tree may hold a million files. A goroutine
yields in the middle of a large file, so that one huge file holds up neither the others nor the
progress bar nor Ctrl-C; that is why a bound on goroutines is the bound on open files.
"""

import argparse
import contextlib
import errno
import hashlib
import os
import shutil
import signal
import stat
import statistics
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import gmpx

BLOCK_BYTES = 1 << 18
YIELD_BYTES = 1 << 22  # goroutines let others run after so much of one file: some 5 ms
IN_FLIGHT = 128  # goroutines alive at once, hence open files
SITE_DIRECTORIES = ("site-packages", "dist-packages")  # in lib/pythonX.Y, yet not of its library

EXIT_OK, EXIT_UNREADABLE, EXIT_USAGE = 0, 1, 2
EXIT_INTERRUPTED = 128 + signal.SIGINT


class Digest(NamedTuple):
    """What became of one file: its digest, or why there is none."""

    path: str
    hex: str
    size: int
    error: OSError | None


class Tree(NamedTuple):
    """What a directory tree holds."""

    files: list[str]
    special: list[str]  # fifos, sockets, devices
    errors: list[OSError]  # directories and links that cannot be followed


def scan(root, exclude=(), leave_out=None):
    """Lists the files below root, in a stable order.

    Args:
        root: the directory; paths in the result begin with it as it is written.
        exclude: names of directories to pass over.
        leave_out: (device, inode) of a file to pass over, or None.

    Links to files count as files, links to directories are not followed.
    """
    tree = Tree([], [], [])
    directories = [root]
    while directories:
        directory = directories.pop()
        try:
            with os.scandir(directory) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            tree.errors.append(error)
            continue
        below = []
        for entry in found:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in exclude:
                        below.append(entry.path)
                    continue
                status = entry.stat()
            except OSError as error:  # a broken link, a vanished file
                tree.errors.append(error)
                continue
            if stat.S_ISREG(status.st_mode):
                if leave_out is None or (status.st_dev, status.st_ino) != leave_out:
                    tree.files.append(entry.path)
            elif not stat.S_ISDIR(status.st_mode):
                tree.special.append(entry.path)
        directories.extend(reversed(below))
    return tree


def hash_file(path, breathe=None):
    """Hashes one file; reading and hashing both release the GIL.

    Args:
        path: the file.
        breathe: called after every YIELD_BYTES of the file, or None.

    Returns:
        A Digest; what the operating system refuses is in its `error`, never raised.
    """
    sha = hashlib.sha256()
    size = 0
    due = YIELD_BYTES
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(BLOCK_BYTES):
                sha.update(block)
                size += len(block)
                if breathe is not None and size >= due:
                    due = size + YIELD_BYTES
                    breathe()
    except OSError as error:
        error.filename = path  # read() leaves it out
        return Digest(path, "", size, error)
    return Digest(path, sha.hexdigest(), size, None)


def with_goroutines(files):
    """Yields the files' digests, in the order in which they are ready.

    Closing the generator early, as Ctrl-C does, returns when its goroutines have ended.
    """
    slots = gmpx.Chan(IN_FLIGHT)
    results = gmpx.Chan(IN_FLIGHT)
    hashers = gmpx.WaitGroup()

    stopping = False

    def breathe():
        gmpx.gosched()
        if stopping:
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))

    def hash_one(path):
        try:
            if not stopping:
                results.send(hash_file(path, breathe))
        finally:
            slots.recv()

    def feed():
        try:
            for path in files:
                if stopping:
                    break
                slots.send(None)  # parks while IN_FLIGHT goroutines are alive
                hashers.go(hash_one, path)
            hashers.wait()
        finally:
            results.close()

    gmpx.go(feed)
    try:
        for digest in results:  # `yield from` would hand our close() on to the channel
            yield digest
    finally:
        stopping = True
        for _late in results:  # until the feeder closes it: nobody stays parked
            pass


def with_threads(files):
    """Yields the same from a ThreadPoolExecutor of the default size."""
    with ThreadPoolExecutor() as pool:
        yield from pool.map(hash_file, files)


def serially(files):
    """Yields the same from a plain loop."""
    yield from map(hash_file, files)


WAYS = {"serial": serially, "ThreadPoolExecutor": with_threads, "gmpx": with_goroutines}


class Progress:
    """One line on stderr while it is a terminal, nothing otherwise."""

    INTERVAL_S = 0.1

    def __init__(self, label, total):
        self.label, self.total, self.done = label, total, 0
        self.shown = sys.stderr.isatty()
        self.due = 0.0

    def __enter__(self):
        self.draw()
        return self

    def __exit__(self, *exc_info):
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def step(self, n=1):
        self.done += n
        if self.shown and time.monotonic() >= self.due:
            self.draw()

    def draw(self):
        if not self.shown:
            return
        self.due = time.monotonic() + self.INTERVAL_S
        share = self.done / self.total if self.total else 1.0
        text = f" {share:4.0%} {self.done:,}/{self.total:,} {self.label}"
        width = max(0, min(40, shutil.get_terminal_size().columns - len(text) - 3))
        filled = round(share * width)
        bar = f"[{'#' * filled}{'.' * (width - filled)}]" if width >= 5 else ""
        sys.stderr.write(f"\r{bar}{text}\x1b[K")
        sys.stderr.flush()


def manifest_line(digest):
    """Returns the line as GNU sha256sum writes it, names with line breaks escaped."""
    name = os.fsencode(digest.path)
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"\\" if escaped != name else b""
    return mark + digest.hex.encode() + b"  " + escaped + b"\n"


def write_manifest(digests, output):
    """Writes the manifest; "-" is standard output."""
    lines = map(manifest_line, digests)
    if output == "-":
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
    else:
        with open(output, "wb") as file:
            file.writelines(lines)


def compare(files, rounds):
    """Times the three ways, in an order that moves on by one each round.

    Returns:
        Per way the median of its wall times in seconds.
    """
    times = {way: [] for way in WAYS}
    order = list(WAYS)
    with Progress("passes of the comparison", rounds * len(WAYS)) as progress:
        for _ in range(rounds):
            for way in order:
                start = time.perf_counter()
                with contextlib.closing(WAYS[way](files)) as digests:
                    for _digest in digests:
                        pass
                times[way].append(time.perf_counter() - start)
                progress.step()
            order.append(order.pop(0))
    return {way: statistics.median(taken) for way, taken in times.items()}


def comparison_line(medians, rounds):
    gmpx_s = medians["gmpx"]
    parts = [
        f"{way} {taken:.3f} s" + (f" ({taken / gmpx_s:.2f} x gmpx)" if way != "gmpx" else "")
        for way, taken in medians.items()
    ]
    return f"wall time, median of {rounds}: " + ", ".join(parts)


def describe(error):
    if error.filename is None:
        return str(error)
    name = os.fspath(error.filename)
    return f"{name if name.isprintable() else ascii(name)}: {error.strerror}"


def count(n, noun):
    return f"{n:,} {noun if n == 1 else noun + 's'}"


def size_text(n):
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return f"{n:.1f} {unit}" if unit != "B" else f"{n} B"
        n /= 1000


def can_write(path):
    """Tells before the work whether its result can be stored."""
    if os.path.exists(path):
        return not os.path.isdir(path) and os.access(path, os.W_OK)
    folder = os.path.dirname(path) or "."
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        description="Hash every file below a directory with SHA-256, one goroutine per file, and "
        "write a manifest that `sha256sum -c` checks from the same working directory.",
        epilog="Links to directories are not followed; fifos, sockets and devices are skipped "
        "and counted. Exit status: 0 all files read; 1 some could not be read (they are "
        "reported, the manifest holds the others); 2 bad usage or the manifest cannot be "
        "written; 130 interrupted.",
    )
    parser.add_argument(
        "directory",
        nargs="?",
        help="the tree to hash; paths in the manifest begin with it as written here "
        "(default: this interpreter's standard library)",
    )
    parser.add_argument(
        "-x",
        "--exclude",
        metavar="NAME",
        action="append",
        help="pass over directories of this name, may be repeated (default: "
        f"{' and '.join(SITE_DIRECTORIES)} of the standard library, otherwise none)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="checksums.sha256",
        help='the manifest, "-" for standard output (default: %(default)s)',
    )
    parser.add_argument(
        "-r",
        "--rounds",
        metavar="N",
        type=int,
        default=3,
        help="how often each way is timed afterwards, 0 for no comparison (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    if arguments.rounds < 0:
        parser.error("--rounds must be 0 or more")
    if arguments.exclude is None:
        arguments.exclude = SITE_DIRECTORIES if arguments.directory is None else ()
    if arguments.directory is None:
        arguments.directory = sysconfig.get_paths()["stdlib"]
    if not os.path.isdir(arguments.directory):
        parser.error(f"not a directory: {arguments.directory}")
    if arguments.output != "-" and not can_write(arguments.output):
        parser.error(f"cannot write {arguments.output}")
    return arguments


def run(arguments):
    # A manifest of last time that lies in the tree itself is no part of it.
    leave_out = None
    if arguments.output != "-":
        with contextlib.suppress(OSError):
            status = os.stat(arguments.output)
            leave_out = status.st_dev, status.st_ino
    report = sys.stderr if arguments.output == "-" else sys.stdout

    tree = scan(arguments.directory, arguments.exclude, leave_out)
    errors = list(tree.errors)
    digests = []
    start = time.perf_counter()
    with Progress("files", len(tree.files)) as progress:
        with contextlib.closing(with_goroutines(tree.files)) as ready:
            for digest in ready:
                if digest.error is None:
                    digests.append(digest)
                else:
                    errors.append(digest.error)
                progress.step()
    taken = time.perf_counter() - start

    digests.sort(key=lambda digest: os.fsencode(digest.path))
    try:
        write_manifest(digests, arguments.output)
    except OSError as error:
        print(f"cannot write the manifest: {describe(error)}", file=sys.stderr)
        if arguments.output == "-":  # a reader that left: what is buffered has nowhere to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_USAGE
    for error in errors:
        print(f"unreadable: {describe(error)}", file=sys.stderr)
    print(
        f"{count(len(digests), 'file')}, {size_text(sum(d.size for d in digests))} "
        f"in {taken:.3f} s; {len(errors):,} unreadable, "
        f"{count(len(tree.special), 'special file')} skipped",
        file=report,
    )
    if arguments.output != "-":
        print(f"manifest: {arguments.output}", file=report)

    # The pass above has warmed the page cache, the same for all three.
    if arguments.rounds and digests:
        files = [digest.path for digest in digests]
        print(comparison_line(compare(files, arguments.rounds), arguments.rounds), file=report)
    return EXIT_UNREADABLE if errors else EXIT_OK


def main(argv=None):
    arguments = parse_arguments(argv)
    try:
        return run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
