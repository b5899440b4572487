"""examples/checksum_tree.py, run as a user runs it: a process of its own, on a tree of its own."""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "checksum_tree.py"

posix_only = pytest.mark.skipif(os.name != "posix", reason="POSIX file names and types")


def run(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(os.fspath, arguments)],
        cwd=cwd,
        capture_output=True,
        timeout=100,
        **options,
    )


def read_manifest(raw):
    """Returns {name: digest}, undoing GNU's escapes independently of the example's own code."""
    entries = {}
    for line in raw.split(b"\n")[:-1]:
        escaped = line.startswith(b"\\")
        digest, _, name = line.lstrip(b"\\").partition(b"  ")
        if escaped:
            unescape = {b"n": b"\n", b"r": b"\r", b"\\": b"\\"}
            name = re.sub(rb"\\(.)", lambda match: unescape[match[1]], name)
        assert name not in entries
        entries[name] = digest.decode()
    return entries


def expected(cwd):
    """Returns what the manifest of cwd's tree/ should hold."""
    found = {}
    for directory, _, names in os.walk(os.fsencode(cwd / "tree")):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            found[os.path.relpath(path, os.fsencode(cwd))] = digest
    return found


@pytest.fixture
def tree(tmp_path):
    """A working directory with a tree/ of ordinary files below it."""
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "empty directory").mkdir()
    (root / "empty").touch()
    (root / "a" / "small").write_bytes(b"hello\n")
    (root / "a" / "b" / "large").write_bytes(b"0123456789abcdef" * (5 << 18))
    return tmp_path


def add_odd_names(root):
    """Adds what this file system takes of the names that trip up manifests; returns their number."""
    names = [
        b"two  spaces", b" leading", b"trailing ", b"-dash", b"-", b"*star", b"#hash",
        b"back\\slash", b"\\n", b"new\nline", b"return\r", b"ends in\n", "gr\u00fc\u00df \u4e16".encode(),
        b"not utf-8 \xff\xfe",
    ]  # fmt: skip
    made = 0
    for name in names:
        with contextlib.suppress(OSError, UnicodeError):
            with open(os.path.join(os.fsencode(root), name), "wb") as file:
                file.write(b"content of " + name)
            made += 1
    return made


def test_manifest_has_every_file_with_the_digest_that_hashlib_gives(tree):
    done = run("tree", "--rounds", "0", cwd=tree)
    assert (done.returncode, done.stderr) == (0, b"")
    manifest = read_manifest((tree / "checksums.sha256").read_bytes())
    assert manifest == expected(tree) and len(manifest) == 3
    assert b"3 files, 21.0 MB in " in done.stdout
    assert b"0 unreadable, 0 special files skipped" in done.stdout


@posix_only
def test_odd_names_survive_the_manifest(tree):
    made = add_odd_names(tree / "tree")
    assert made > 5
    done = run("tree", "--rounds", "0", cwd=tree)
    assert (done.returncode, done.stderr) == (0, b"")
    manifest = read_manifest((tree / "checksums.sha256").read_bytes())
    assert manifest == expected(tree) and len(manifest) == 3 + made


@posix_only
@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
@pytest.mark.parametrize("root", ["tree", "./tree/", "absolute", "."])
def test_sha256sum_accepts_the_manifest(tree, root):
    add_odd_names(tree / "tree")
    if root == "absolute":
        root = tree / "tree"
    # Twice: the second run meets the manifest of the first, within the tree for ".".
    for _ in range(2):
        assert run(root, "--rounds", "0", cwd=tree).returncode == 0
    check = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "checksums.sha256"],
        cwd=tree, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


def test_output_can_be_a_named_file_or_standard_output(tree):
    named = run("tree", "-r0", "-o", tree / "sums", cwd=tree)
    streamed = run("tree", "-r0", "-o", "-", cwd=tree)
    assert (named.returncode, streamed.returncode) == (0, 0)
    assert streamed.stdout == (tree / "sums").read_bytes()
    assert b"3 files, " in streamed.stderr
    assert not (tree / "checksums.sha256").exists()


def test_comparison_is_one_line_with_all_three_ways(tree):
    done = run("tree", "--rounds", "2", cwd=tree)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(b"wall time")]
    seconds = rb"\d+\.\d{3} s"
    assert re.fullmatch(
        rb"wall time, median of 2: serial %b \(\d+\.\d\d x gmpx\), "
        rb"ThreadPoolExecutor %b \(\d+\.\d\d x gmpx\), gmpx %b" % (seconds, seconds, seconds),
        line,
    )


def test_default_tree_is_the_standard_library(tmp_path):
    done = run("--rounds", "0", cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    names = read_manifest((tmp_path / "checksums.sha256").read_bytes())
    assert os.fsencode(os.path.join(os.path.dirname(os.__file__), "os.py")) in names
    assert not [name for name in names if b"site-packages" in name]


def test_excluded_directories_are_passed_over_at_any_depth(tree):
    (tree / "tree" / "b").mkdir()
    (tree / "tree" / "b" / "file").touch()
    done = run("tree", "-r0", "-x", "b", "-x", "small", cwd=tree)
    assert (done.returncode, done.stderr) == (0, b"")
    manifest = read_manifest((tree / "checksums.sha256").read_bytes())
    assert set(manifest) == {b"tree/empty", b"tree/a/small"}


@posix_only
def test_unreadable_files_are_reported_counted_and_left_out(tree):
    root = tree / "tree"
    (root / "broken").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    bad = [b"broken", b"loop"]
    if os.geteuid() != 0:
        (root / "secret").write_bytes(b"x")
        (root / "secret").chmod(0)
        (root / "closed").mkdir(mode=0)
        bad += [b"secret", b"closed"]
    if Path("/proc/self/mem").exists():  # opens, but its first page cannot be read
        (root / "bad read").symlink_to("/proc/self/mem")
        bad += [b"bad read"]
    try:
        done = run("tree", "--rounds", "1", cwd=tree)
    finally:
        with contextlib.suppress(OSError):
            (root / "closed").chmod(0o700)
    assert done.returncode == 1
    reports = done.stderr.splitlines()
    assert len(reports) == len(bad)
    for name in bad:
        assert [r for r in reports if r.startswith(b"unreadable: tree/" + name + b": ")], reports
    assert b"3 files, " in done.stdout and b"%d unreadable" % len(bad) in done.stdout
    assert len(read_manifest((tree / "checksums.sha256").read_bytes())) == 3


@posix_only
def test_special_files_are_skipped_and_links_to_directories_not_followed(tree, monkeypatch):
    root = tree / "tree"
    os.mkfifo(root / "fifo")
    monkeypatch.chdir(root)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    (root / "device").symlink_to(os.devnull)
    (root / "up").symlink_to("..")
    (root / "link to a file").symlink_to("a/small")
    done = run("tree", "--rounds", "0", cwd=tree)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"4 files, " in done.stdout and b"3 special files skipped" in done.stdout
    manifest = read_manifest((tree / "checksums.sha256").read_bytes())
    assert manifest[b"tree/link to a file"] == manifest[b"tree/a/small"]


def test_files_that_vanish_are_reported(tree):
    code = (
        "import checksum_tree as c, os, sys\n"
        "scan = c.scan\n"
        "def scan_then_lose(*args):\n"
        "    tree = scan(*args)\n"
        "    os.unlink(tree.files[0])\n"
        "    return tree\n"
        "c.scan = scan_then_lose\n"
        "sys.exit(c.main(['tree', '-r1']))\n"
    )
    done = run_code(code, tree)
    assert done.returncode == 1
    assert done.stderr.startswith(b"unreadable: ") and len(done.stderr.splitlines()) == 1
    assert b"2 files, " in done.stdout and b"1 unreadable" in done.stdout


def run_code(code, cwd, **options):
    """Runs code that may import the example as a module and change its constants."""
    code = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n{code}"
    script = cwd / "code.py"
    script.write_text(code)
    return subprocess.run(
        [sys.executable, str(script)], cwd=cwd, capture_output=True, timeout=100, **options
    )


@posix_only
def test_open_files_are_bounded_although_every_hash_parks(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    for i in range(600):
        (root / str(i)).write_bytes(b"%64d" % i)
    code = (
        "import checksum_tree as c, resource, sys\n"
        "c.BLOCK_BYTES = c.YIELD_BYTES = 16\n"
        "limit = c.IN_FLIGHT + 64\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))\n"
        "sys.exit(c.main(['tree', '-r0']))\n"
    )
    done = run_code(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"600 files, 38.4 kB in " in done.stdout and b"0 unreadable" in done.stdout


def test_empty_tree_makes_an_empty_manifest(tmp_path):
    (tmp_path / "tree").mkdir()
    done = run("tree", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "checksums.sha256").read_bytes() == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ["no such directory"],
        ["tree/empty"],
        ["tree", "--rounds", "-1"],
        ["tree", "--rounds", "many"],
        ["tree", "-o", "no/such/folder/sums"],
        ["tree", "-o", "tree"],
        ["tree", "--no-such-option"],
        ["tree", "tree"],
    ],
)
def test_bad_usage_exits_with_2_before_any_work(tree, arguments):
    done = run(*arguments, cwd=tree)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: ") and done.stdout == b""
    assert not (tree / "checksums.sha256").exists()


def test_help_names_the_exit_statuses(tmp_path):
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0 and b"130" in done.stdout


@contextlib.contextmanager
def on_terminal(*arguments, cwd):
    """Starts the example with a terminal for stderr; yields (process, the terminal's other end)."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
        env={**os.environ, "GMPX_BLOCK_WARN_MS": "0"},  # on a loaded machine 5 ms of work may take 100
    )  # fmt: skip
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.communicate()
        os.close(ours)


def read_terminal(terminal, until=None):
    """Returns what appears up to a match of `until`, or up to the end."""
    text = b""
    with contextlib.suppress(OSError):  # EIO: the other end was closed
        while until is None or not re.search(until, text):
            chunk = os.read(terminal, 4096)
            if not chunk:
                break
            text += chunk
    return text


@posix_only
def test_progress_bar_is_drawn_on_a_terminal_and_wiped(tree):
    with on_terminal("tree", "-r1", cwd=tree) as (process, terminal):
        text = read_terminal(terminal)
        assert process.wait(60) == 0
        report = process.stdout.read()
    assert re.search(rb"\r\[\.+\]   0% 0/3 files", text)
    assert text.endswith(b"\r\x1b[K")
    assert b"\x1b" not in report and b"3 files, " in report


@posix_only
def test_ctrl_c_leaves_cleanly(tree):
    # Sparse: hours of zeros would be the same. The bar shows that the work is under way: the first of them ends long
    # after the bar's interval, and long before the others.
    for i in range(9):
        with open(tree / "tree" / f"z{i}", "wb") as file:
            file.truncate(4 << 30 if i else 256 << 20)
    with on_terminal("tree", cwd=tree) as (process, terminal):
        read_terminal(terminal, until=rb" [1-9]\d*/12 files")
        process.send_signal(signal.SIGINT)
        rest = read_terminal(terminal)
        assert process.wait(60) == 128 + signal.SIGINT
        report = process.stdout.read()
    assert rest.endswith(b"interrupted\r\n")
    assert b"Traceback" not in rest and b"goroutine" not in rest
    assert report == b"" and not (tree / "checksums.sha256").exists()
