"""Where the processes of a network case run, and what the system says of them. For Linux."""

import os
import resource
import time

FILES = 16_384  # descriptors: 10,000 connections and what else there is


def cpus():
    """Returns the CPU of what is measured and that of its other side; the same if there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def more_files():
    """Raises the limit on descriptors, for this process and its children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def resident(pid):
    """Returns the bytes of a process that are in memory."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_ns(pid):
    """Returns the CPU time of a process, also of threads that have ended."""
    return time.clock_gettime_ns((~pid << 3) | 2)  # as clock_getcpuclockid makes it


def threads():
    """Returns how many threads this process has."""
    return len(os.listdir("/proc/self/task"))
