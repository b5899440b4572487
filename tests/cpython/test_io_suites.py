"""CPython's own tests of what is patched, and of what is built on it: none fails that passes without.

patched.py runs each file in a process of its own. What fails under the patch is run again without it, and
counts if it passes there. (A test that only fails at times is run once under the patch: it counts.) Then the same classes run in goroutines side by side, clients and servers at once.
GMPX_CPYTHON_ALL=1 leaves nothing out for its slowness, and patches once before and once after the import.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("test.support", reason="this Python has no test package")
pytest.importorskip("test.test_socket", reason="this Python's test package has no tests")

PATCHED = Path(__file__).with_name("patched.py")
ALL = os.environ.get("GMPX_CPYTHON_ALL") == "1"
# A process that hangs shows what for, and ends.
LIMIT = 300

MODULES = [
    "test_socket",
    "test_asyncio.test_sock_lowlevel",
    "test_asyncio.test_selector_events",
    "test_asyncio.test_unix_events",
    "test_signal",
    "test_select",
    "test_selectors",
    "test_poll",
    "test_epoll",
    "test_httplib",
    "test_httpservers",
    "test_smtplib",
    "test_poplib",
    "test_ftplib",
    "test_ssl",
    "test_asyncio.test_ssl",
    "test_asyncio.test_sslproto",
    "test_socketserver",
    "test_urllib",
    "test_urllib2_localnet",
    "test_xmlrpc",
    *(["test_imaplib"] if ALL else []),  # a minute
    "test_subprocess",
    "test_asyncio.test_subprocess",
    "test_popen",
    "test_wait3",
    "test_wait4",
    "test_os",
    "test_posix",
    "test_pty",
    "test_file",
    "test_fileio",
]

# Half a minute and more each.
LONG = [
    "test_io",
    "test_multiprocessing_spawn",
    # a package since 3.12
    "test_multiprocessing_spawn.test_processes",
    "test_multiprocessing_spawn.test_misc",
]
if ALL:
    MODULES += LONG

# What fails under the patch and passes without: {pattern of ids: why}.
FAILS = {
    # it must hang: CPython runs no handler while a read that is not to be interrupted waits
    "*.SiginterruptTest.test_siginterrupt_off": "a read that parks lets handlers run",
}

# Tests that only wait, for 3 to 10 s each.
SLOW = ["*.PollTests.test_poll2", "*.MultiPathServerTestCase.*"]

# What cannot run beside others in one process, on threads no more than in goroutines.
PROCESS = "changes what is the whole process's: "
ALONE = {
    "test_socket": {
        "*.Interrupted*": PROCESS + "alarms",
        "*.testInterruptedTimeout": PROCESS + "alarms",
        "*.GeneralModuleTests.*": PROCESS + "the default time-out, alarms",
        "*.testInheritFlags*": PROCESS + "the default time-out",
        "*.NonblockConstantTest.*": PROCESS + "the default time-out",
        "*.testTimeoutDefault": PROCESS + "the default time-out",
        "*.testTimeoutNone": PROCESS + "the default time-out",
        "*.NetworkConnectionNoServer.*": PROCESS + "socket.socket",
        "*.PurePythonSocketPairTest.*": PROCESS + "socket.socketpair",
        "*_invalidfd": "uses a descriptor that is closed, which another has opened meanwhile",
        "*.TestLinuxAbstractNamespace.*": "one name for all",
        "*.TestUnixDomain.testUnencodableAddr": "one name for all",
    },
    "test_socketserver": {
        "*.ErrorHandlerTest.*": "one file for all",
        "*Fork*": "waits for any child",
        "*_fork*": "waits for any child",
        "*.SocketWriterTest.*": PROCESS + "signals",
    },
    "test_httplib": {
        "*.TimeoutTest.*": PROCESS + "the default time-out; one port for all",
        "*.SourceAddressTest.*": "binds to a port that was free, and is another's by then",
    },
    "test_urllib2_localnet": {"*.ProxyAuthTests.*": PROCESS + "os.environ"},
    "test_epoll": {},
    "test_select": {},
    "test_poll": {"*.test_poll_unit_tests": "uses a descriptor that is closed, which another has opened meanwhile", },
    "test_urllib": {
        "*.urlopen_HttpTests.*": PROCESS + "mocks of http.client",
        "*.ProxyTests*": PROCESS + "os.environ",
    },
    "test_selectors": {
        "*interrupt*": PROCESS + "alarms",
        "*.test_above_fd_setsize": PROCESS + "the limit on descriptors, and uses all of them up",
    },
    "test_smtplib": {"*.DebuggingServerTests.*": PROCESS + "sys.stdout"},
    "test_ftplib": {"*.TestTimeouts.*": PROCESS + "the default time-out; one port for all"},
    "test_poplib": {"*.TestTimeouts.*": PROCESS + "the default time-out; one port for all"},
    **({"test_imaplib": {"*linetoolong*": PROCESS + "a constant of imaplib"}} if ALL else {}),
    "test_xmlrpc": {
        "*.FailingServerTestCase.*": PROCESS + "a class of http.server",
        "*.CGIHandlerTestCase.*": PROCESS + "os.environ and sys.stdout",
    },
    "test_ssl": {
        "*.TestSSLDebug.*": "one file for all",
        "*.test_dealloc_warn": PROCESS + "what warnings do",
        "*.test_sni_callback*": PROCESS + "the hook of what cannot be raised",
        "*.test_makefile_close": "uses a descriptor that is closed, which another has opened meanwhile",
        "*.test_get_server_certificate_timeout": "0.1 s, which may pass while others compute",
    },
    "test_httpservers": {
        "*.RequestHandlerLoggingTestCase.*": PROCESS + "sys.stderr",
        "*.ScriptTestCase.*": PROCESS + "mocks of http.server",
        "*.CommandLine*": PROCESS + "mocks of http.server",
        "*.CGIHTTPServer*": PROCESS + "os.environ and the directory",
        "*.SimpleHTTPServerTestCase.*": PROCESS + "the directory",
    },
    "test_subprocess": {
        "*interrupt*": PROCESS + "mocks of Popen",
        "*vfork*": PROCESS + "mocks of subprocess",
        "*errpipe*": PROCESS + "mocks of subprocess",
        "*_eintr": PROCESS + "signals",
        "*.POSIXProcessTestCase.test_kill*": PROCESS + "signals",
        "*.POSIXProcessTestCase.test_send_signal*": PROCESS + "signals",
        "*.POSIXProcessTestCase.test_terminate*": PROCESS + "signals",
        "*_gc_module_failure": PROCESS + "the collector",
        "*_fork_failure": PROCESS + "limits",
        "*leak*": PROCESS + "uses up all descriptors",
        "*zombie*": PROCESS + "the list of children that were left",
        "*close_fd*": PROCESS + "the standard descriptors",
        "*swap*fds*": PROCESS + "the standard descriptors",
        "*remapping*": PROCESS + "the standard descriptors",
        "*bufsize_equal_one*": "closes a descriptor that is another's by then",
        "*double_close*": "closes a descriptor that is another's by then",
        "*_cwd*": PROCESS + "the directory",
    },
    "test_popen": {},
    "test_wait4": {},
    "test_pty": {
        "*.SmallPtyTests.*": PROCESS + "mocks of pty",
        "*.test_spawn_doesnt_hang": PROCESS + "the standard output",
    },
}

# Which modules each goroutine needs a copy of, because their globals say which server is meant.
ASYNCORE = [
    f"{package}{name}"
    for package in ("", "test.", "test.support.")
    for name in ("asyncore", "asynchat", "smtpd")
]
COPIES = {
    "test_xmlrpc": ["test.test_xmlrpc"],
    "test_smtplib": ASYNCORE,
    "test_ftplib": ASYNCORE,
    "test_poplib": [*ASYNCORE, "test.test_ftplib"],
    "test_imaplib": ["test.test_imaplib"],
}


class Runs:
    """The processes, three at a time, for they mostly wait; asked for before the tests want them."""

    def __init__(self):
        self.pool = ThreadPoolExecutor(max_workers=3)
        self.asked = {}

    def ask(self, *args):
        if args not in self.asked:
            self.asked[args] = self.pool.submit(self.run, args)
        return self.asked[args]

    def run(self, args):
        path = os.pathsep.join([str(PATCHED.parents[2]), *sys.path])
        done = subprocess.run(
            [sys.executable, str(PATCHED), "--limit", str(LIMIT), *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            assert done.returncode == 0
            return json.loads(done.stdout)
        except (AssertionError, ValueError):
            end = done.stderr.decode(errors="replace")[-20000:]
            return {"process": f"{args}: ended with {done.returncode}\n{end}"}


def failed(outcomes):
    return {t: o for t, o in outcomes.items() if not o.startswith(("ok", "skipped"))}


def skip(patterns):
    return [arg for pattern in patterns for arg in ("--skip", pattern)]


# Where much is done by Pythons that the tests start.
CHILDREN = {"test_signal"}


def alone(module, when):
    children = ["--children"] if module in CHILDREN else []
    return ["--patch", when, *children, *skip(FAILS), *skip([] if ALL else SLOW), module]


def together(module, n, *options):
    copies = [arg for name in COPIES.get(module, []) for arg in ("--copy", name)]
    skips = [*skip(ALONE[module]), *skip([] if ALL else SLOW)]
    return ["--patch", "after", "--goroutines", str(n), *options, *copies, *skips, module]


WHENS = ["before", "after"] if ALL else ["before"]
TOGETHER = [
    ("test_socket", 2, "--clients"),
    ("test_socket", 2),
    *((module, 3) for module in ALONE if module != "test_socket"),
]


@pytest.fixture(scope="module")
def runs(request):
    runs = Runs()
    wanted = {item.callspec.id for item in request.session.items if hasattr(item, "callspec")}
    for when in WHENS:
        for module in MODULES:
            if f"{module}-{when}" in wanted:
                runs.ask(*alone(module, when))
    for args in TOGETHER:
        if "-".join(map(str, args)) in wanted:
            runs.ask(*together(*args))
    yield runs
    runs.pool.shutdown(cancel_futures=True)


def show(outcomes):
    return "\n".join(f"{test}\n{outcome}" for test, outcome in outcomes.items())


@pytest.mark.timeout(LIMIT * 2 + 60)
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("module", MODULES)
def test_none_fails_that_passes_unpatched(module, when, runs):
    outcomes = runs.ask(*alone(module, when)).result()
    bad = failed(outcomes)
    if bad and "process" not in bad:
        plain = runs.run([arg for test in bad for arg in ("--only", test)] + [module])
        bad = {test: outcome for test, outcome in bad.items() if test not in failed(plain)}
    assert not bad, show(bad)
    if list(outcomes) == [f"test.{module}"]:
        pytest.skip(outcomes[f"test.{module}"])


@pytest.mark.timeout(LIMIT * 2 + 60)
@pytest.mark.parametrize("args", TOGETHER, ids=lambda args: "-".join(map(str, args)))
def test_side_by_side_in_goroutines(args, runs):
    bad = failed(runs.ask(*together(*args)).result())
    assert not bad, show(bad)
