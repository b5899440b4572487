/* A pipe that ends a sleep of the main thread: CPython's C signal handler writes to it, and whoever
 * wakes the thread. So it can sleep for good and miss no signal, whichever thread the system
 * has given that to. One process has one.
 */
#ifndef GMPX_BREAKER_H
#define GMPX_BREAKER_H

#include <stdint.h>

#include "atomics.h"

#if defined(_WIN32)
static int gm_break_open(void) { return -1; }
static void gm_break_forget(void) {}
static void gm_break_wake(void) {}
static int gm_break_wait(int64_t ns) { (void)ns; return 0; }
static void gm_break_drain(void) {}
static int gm_break_fd[2] = {-1, -1};
static int gm_break_user = -1;
static void gm_block_signals(void) {}
static void gm_block_all_signals(void) {}
static void gm_unblock_signals(void) {}
static void gm_signals_note(void) {}
#else

#  include <errno.h>
#  include <fcntl.h>
#  include <poll.h>
#  include <signal.h>
#  include <sys/stat.h>
#  include <time.h>
#  include <unistd.h>

static int gm_break_fd[2] = {-1, -1};
static dev_t gm_break_dev;
static ino_t gm_break_ino;
static int gm_break_user = -1;              /* the wake-up descriptor of the program's own */

static int gm_break_ours(int fd) {
    struct stat s;
    return fd >= 0 && fstat(fd, &s) == 0 && s.st_dev == gm_break_dev && s.st_ino == gm_break_ino;
}

/* Makes the pipe if there is none. A program may have closed "all" descriptors, and others may have the
 * numbers by now: nothing is read or written before it is known to be the pipe. 0, or -1. */
static int gm_break_open(void) {
    struct stat s;
    int i;
    if (gm_break_ours(gm_break_fd[0]) && gm_break_ours(gm_break_fd[1])) {
        return 0;
    }
#  if defined(__linux__)
    if (pipe2(gm_break_fd, O_CLOEXEC | O_NONBLOCK) != 0) {
        gm_break_fd[0] = gm_break_fd[1] = -1;
        return -1;
    }
#  else
    if (pipe(gm_break_fd) != 0) {
        gm_break_fd[0] = gm_break_fd[1] = -1;
        return -1;
    }
    for (i = 0; i < 2; i++) {
        fcntl(gm_break_fd[i], F_SETFD, FD_CLOEXEC);
        fcntl(gm_break_fd[i], F_SETFL, O_NONBLOCK);
    }
#  endif
    (void)i;
    if (fstat(gm_break_fd[0], &s) != 0) {
        return -1;
    }
    gm_break_dev = s.st_dev;
    gm_break_ino = s.st_ino;
    return 0;
}

/* In a fork's child: the pipe is the parent's. */
static void gm_break_forget(void) {
    int i;
    for (i = 0; i < 2; i++) {
        if (gm_break_ours(gm_break_fd[i])) {
            close(gm_break_fd[i]);
        }
        gm_break_fd[i] = -1;
    }
}

/* Out of line: a struct stat in the frame of each parked goroutine is too much. */
__attribute__((noinline)) static void gm_break_wake(void) {
    if (gm_break_ours(gm_break_fd[1])) {        /* else its end has woken the sleeper */
        ssize_t r = write(gm_break_fd[1], "", 1);       /* full: it wakes anyway */
        (void)r;
    }
}

/* Takes all that is in the pipe; the numbers of signals go on to the program's descriptor. */
static void gm_break_drain(void) {
    char got[64];
    ssize_t n, i, r;
    if (!gm_break_ours(gm_break_fd[0])) {
        return;                                 /* somebody has closed all descriptors */
    }
    while ((n = read(gm_break_fd[0], got, sizeof got)) > 0) {
        for (i = 0; i < n; i++) {
            if (got[i] != 0 && gm_break_user >= 0) {
                r = write(gm_break_user, got + i, 1);
                (void)r;
            }
        }
    }
}

/* Sleeps until somebody writes, at most ns nanoseconds (< 0: for ever). 1: written; 0: time is up;
 * -1: a signal handler has run. */
static int gm_break_wait(int64_t ns) {
    struct pollfd p = {gm_break_fd[0], POLLIN, 0};
    int r;
#  if defined(__linux__)
    struct timespec t;
    if (ns >= 0) {
        t.tv_sec = (time_t)(ns / 1000000000);
        t.tv_nsec = (long)(ns % 1000000000);
    }
    r = ppoll(&p, 1, ns >= 0 ? &t : NULL, NULL);
#  else
    r = poll(&p, 1, ns >= 0 ? (int)((ns + 999999) / 1000000) : -1);
#  endif
    return r < 0 ? -1 : r;
}

/* A thread that runs no Python code takes no signal from those that do. A thread that it starts
 * inherits its mask, and children that one starts: around that it has the program's, which is the mask that
 * it came with until a goroutine of the main thread sets another. */
static void gm_block_all_signals(void) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}
/* Two, for sysmon may read one while the program's mask changes (gm_signals_note). */
static sigset_t gm_signals_program[2];
static gm_u32 gm_signals_at;
static void gm_block_signals(void) {
    if (gm_load_u32_acquire(&gm_signals_at) == 0)
        pthread_sigmask(SIG_BLOCK, NULL, &gm_signals_program[0]);
    gm_block_all_signals();
}
static void gm_unblock_signals(void) {
    pthread_sigmask(SIG_SETMASK, &gm_signals_program[gm_load_u32_acquire(&gm_signals_at) & 1], NULL);
}
/* The calling thread's mask is what threads are to have that start from now on. GIL held. */
static void gm_signals_note(void) {
    uint32_t at = gm_load_u32_relaxed(&gm_signals_at) + 1;
    pthread_sigmask(SIG_BLOCK, NULL, &gm_signals_program[at & 1]);
    gm_store_u32_release(&gm_signals_at, at);
}

#endif
#endif
