"""Ends a test run's processes before they harm the machine: too much memory, or past their time.

    python watch.py PID MIB         what it is about to run comes on stdin, one line per test

A process of its own, started by conftest.py, so that no GIL, lock or signal mask of the tests can
hold it up. It looks five times a second at PID and all that descends from it: those that it has seen
once it knows again when their parents have gone, and PID is the reaper of the others.

    - A process with more than MIB MiB resident is ended with its descendants. (Resident, because
      sanitizers map terabytes.)
    - When a test takes longer than the seconds that its line states, PID gets SIGABRT, for
      faulthandler's report, and all are ended. pytest-timeout comes first where it can.
    - When PID has ended, what is left of it is ended.

Linux only, which has /proc: elsewhere conftest.py does not start it.
"""

import os
import select
import signal
import sys
import time

LOOK_EVERY_S = 0.2
REPORT_S = 3.0  # for faulthandler
PAGE = os.sysconf("SC_PAGE_SIZE")


def processes():
    """pid: (parent, start time) of all processes."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as f:
                    text = f.read()
            except OSError:
                continue  # it has ended
            fields = text[text.rindex(b")") + 2 :].split()
            if fields[0] not in b"ZX":
                found[int(name)] = int(fields[1]), int(fields[19])
    return found


def resident_mib(pid):
    try:
        with open(f"/proc/{pid}/statm", "rb") as f:
            return int(f.read().split()[1]) * PAGE >> 20
    except (OSError, IndexError):
        return 0


def command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            text = f.read().replace(b"\0", b" ").decode(errors="replace").split()
    except OSError:
        return "?"
    return " ".join(text)[:200]


class Watch:
    def __init__(self, root, most_mib):
        self.root, self.most_mib = root, most_mib
        self.born = processes()[root][1]
        self.known = {}  # pid: start time, of descendants
        self.what, self.until = "no test", None

    def look(self):
        """Takes note of descendants; False when the root has ended."""
        now = processes()
        self.known = {p: t for p, t in self.known.items() if now.get(p, (0, None))[1] == t}
        alive = now.get(self.root, (0, None))[1] == self.born
        tree = {self.root, *self.known} if alive else set(self.known)
        for pid in self.below(tree, now):
            self.known[pid] = now[pid][1]
        return alive

    @staticmethod
    def below(pids, now):
        found, more = set(), set(pids)
        while more:
            more = {p for p, (up, _) in now.items() if up in more and p not in found}
            more.discard(os.getpid())
            found |= more
        return found

    def say(self, text):
        os.write(2, f"\ntests/watch.py: in {self.what}: {text}\n".encode())

    def end(self, pid):
        """pid and all below, also what they start meanwhile."""
        for _ in range(50):
            now = processes()
            all_of_it = [p for p in {pid, *self.below({pid}, now)} if p in now]
            if not all_of_it:
                return
            for p in all_of_it:
                kill(p, signal.SIGSTOP)
            for p in all_of_it:
                kill(p, signal.SIGKILL)
            time.sleep(0.01)

    def end_all(self):
        if self.look():
            self.end(self.root)
        while self.known:
            for pid in list(self.known):
                self.end(pid)
            self.look()

    def check_memory(self):
        for pid in [self.root, *self.known]:
            mib = resident_mib(pid)
            if mib > self.most_mib:
                self.say(
                    f"process {pid} has {mib} MiB resident, more than {self.most_mib}:"
                    f" ended, with all that it has started ({command(pid)})"
                )
                self.end(pid)

    def check_time(self):
        if self.until is None or time.monotonic() < self.until:
            return True
        self.say("past its time: the test run is ended")
        kill(self.root, signal.SIGABRT)
        time.sleep(REPORT_S)
        self.end_all()
        return False

    def run(self):
        text = b""
        listen = [0]
        self.look()
        os.write(1, b"watching\n")
        while True:
            if select.select(listen, [], [], LOOK_EVERY_S)[0]:
                got = os.read(0, 65536)
                if not got:
                    listen = []  # nobody tells any more
                text += got
                *lines, text = text.split(b"\n")
                if lines:
                    self.begins(lines[-1].decode(errors="replace"))
            if not self.look():
                self.end_all()
                return
            self.check_memory()
            if not self.check_time():
                return

    def begins(self, line):
        seconds, _, self.what = line.partition(" ")
        self.until = time.monotonic() + float(seconds) if float(seconds) else None


def kill(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        pass  # it has ended


if __name__ == "__main__":
    Watch(int(sys.argv[1]), int(sys.argv[2])).run()
