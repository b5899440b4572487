"""CPython's own tests of what is patched, and of what is built on it: none fails that passes without (suite.py).

Then the same classes run in goroutines side by side, clients and servers at once.
"""

import sys
from pathlib import Path

import pytest

pytest.importorskip("test.support", reason="this Python has no test package")
pytest.importorskip("test.test_socket", reason="this Python's test package has no tests")

sys.path.insert(0, str(Path(__file__).parent))
from suite import ALL, LIMIT, PROCESS, WHENS, Suite, name  # noqa: E402

sys.path.remove(str(Path(__file__).parent))

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
SCRIPT = "runs a script it has written, which another's child may still have open for writing (ETXTBSY)"
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
        "*.test_headers_debuglevel": PROCESS + "sys.stdout",
        "*.test_tunnel_debuglog": PROCESS + "sys.stdout",
        "*.test_local_bad_hostname": PROCESS + "what warnings do",
        "*.test_tls13_pha": PROCESS + "what warnings do",
    },
    "test_urllib2_localnet": {
        "*.ProxyAuthTests.*": PROCESS + "os.environ",
        "*.test_https_with_ca*": PROCESS + "what warnings do",
    },
    "test_epoll": {},
    "test_select": {},
    "test_poll": {"*.test_poll_unit_tests": "uses a descriptor that is closed, which another has opened meanwhile"},
    "test_urllib": {
        "*.urlopen_*": PROCESS + "what warnings do; mocks of http.client",
        "*.URLopener_Tests.*": PROCESS + "what warnings do; mocks of http.client",
        "*.urlretrieve_HttpTests.*": PROCESS + "mocks of http.client",
        "*.ProxyTests*": PROCESS + "os.environ",
    },
    "test_selectors": {
        "*interrupt*": PROCESS + "alarms",
        "*.test_above_fd_setsize": PROCESS + "the limit on descriptors, and uses all of them up",
        "*.test_modify_unregister": PROCESS + "mocks of selectors",
        "*_close_and_reuse": "uses a descriptor that is closed, which another has opened meanwhile",
    },
    "test_smtplib": {
        "*.DebuggingServerTests.*": PROCESS + "sys.stdout",
        "*.test_debuglevel*": PROCESS + "sys.stderr",
        "*.testTimeoutNone": PROCESS + "the default time-out",
    },
    "test_ftplib": {
        "*.TestTimeouts.*": PROCESS + "the default time-out; one port for all",
        "*.test_storlines": PROCESS + "what warnings do",
    },
    "test_poplib": {"*.TestTimeouts.*": PROCESS + "the default time-out; one port for all"},
    **({"test_imaplib": {"*linetoolong*": PROCESS + "a constant of imaplib"}} if ALL else {}),
    "test_xmlrpc": {
        "*.FailingServerTestCase.*": PROCESS + "a class of http.server",
        "*.CGIHandlerTestCase.*": PROCESS + "os.environ and sys.stdout",
        "*.DateTimeTestCase.test_default": PROCESS + "mocks of time",
    },
    "test_ssl": {
        "*.TestSSLDebug.*": "one file for all",
        "*.test_dealloc_warn": PROCESS + "what warnings do",
        "*deprecat*": PROCESS + "what warnings do",
        "*.test_refcycle": PROCESS + "what warnings do",
        "*.test_get_default_verify_paths": PROCESS + "os.environ",
        "*.test_load_default_certs_env*": PROCESS + "os.environ",
        "*.test_sni_callback*": PROCESS + "the hook of what cannot be raised",
        "*.test_makefile_close": "uses a descriptor that is closed, which another has opened meanwhile",
        "*.test_get_server_certificate_timeout": "0.1 s, which may pass while others compute",
        "*.test_https_client_non_tls_response_ignored": "its server gives up after 2 s, which may pass while others compute",
    },
    "test_httpservers": {
        "*.RequestHandlerLoggingTestCase.*": PROCESS + "sys.stderr",
        "*.test_unprintable_not_logged": PROCESS + "sys.stderr",
        "*.test_windows_colon": PROCESS + "os.path",
        "*.ScriptTestCase.*": PROCESS + "mocks of http.server",
        "*.CommandLine*": PROCESS + "mocks of http.server",
        "*.CGIHTTPServer*": PROCESS + "os.environ and the directory",
        "*.SimpleHTTPServerTestCase.*": PROCESS + "the directory",
    },
    "test_subprocess": {
        "*interrupt*": PROCESS + "mocks of Popen",
        "*vfork*": PROCESS + "mocks of subprocess",
        "*errpipe*": PROCESS + "mocks of subprocess",
        "*.test_invalid_args": PROCESS + "sys.stderr",
        "*.test_repr": PROCESS + "mocks of Popen",
        "*.test_stopped": PROCESS + "mocks of os.waitpid",
        "*_eintr": PROCESS + "signals",
        "*.POSIXProcessTestCase.test_kill*": PROCESS + "signals",
        "*.POSIXProcessTestCase.test_send_signal*": PROCESS + "signals",
        "*.POSIXProcessTestCase.test_terminate*": PROCESS + "signals",
        "*_gc_module_failure": PROCESS + "the collector",
        "*.test_fork_exec*": PROCESS + "the collector",
        "*.test_pass_fds": PROCESS + "what warnings do",
        "*_fork_failure": PROCESS + "limits",
        "*leak*": PROCESS + "uses up all descriptors",
        "*zombie*": PROCESS + "the list of children that were left",
        "*close_fd*": PROCESS + "the standard descriptors",
        "*swap*fds*": PROCESS + "the standard descriptors",
        "*remapping*": PROCESS + "the standard descriptors",
        "*bufsize_equal_one*": "closes a descriptor that is another's by then",
        "*double_close*": "closes a descriptor that is another's by then",
        "*_cwd*": PROCESS + "the directory",
        "*.POSIXProcessTestCase.test_args_string": SCRIPT,
        "*.POSIXProcessTestCase.test_call_string": SCRIPT,
    },
    "test_popen": {},
    "test_wait4": {},
}

# Which modules each goroutine needs a copy of, because their globals say which server is meant, or whether one is.
ASYNCORE = [
    f"{package}{name}"
    for package in ("", "test.", "test.support.")
    for name in ("asyncore", "asynchat", "smtpd")
]
COPIES = {
    "test_xmlrpc": ["test.test_xmlrpc"],
    "test_smtplib": [*ASYNCORE, "smtplib", "test.mock_socket"],
    "test_ftplib": ASYNCORE,
    "test_poplib": [*ASYNCORE, "test.test_ftplib"],
    "test_imaplib": ["test.test_imaplib"],
}


# Where much is done by Pythons that the tests start.
CHILDREN = {"test_signal"}

TOGETHER = [
    ("test_socket", 2, "--clients"),
    ("test_socket", 2),
    *((module, 3) for module in ALONE if module != "test_socket"),
]
SUITE = Suite(MODULES, TOGETHER, fails=FAILS, slow=SLOW, alone=ALONE, copies=COPIES, children=CHILDREN)


in_background = SUITE.in_background


@pytest.mark.timeout(LIMIT * 3 + 60)
@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("module", MODULES)
def test_none_fails_that_passes_unpatched(module, when):
    SUITE.check_alone(module, when)


@pytest.mark.timeout(LIMIT * 3 + 60)
@pytest.mark.parametrize("args", TOGETHER, ids=name)
def test_side_by_side_in_goroutines(args):
    SUITE.check_together(*args)
