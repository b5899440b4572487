/* Reading and writing descriptors of any kind without waiting: what the kernel offers for which of them. */
#ifndef GMPX_STREAMS_H
#define GMPX_STREAMS_H

enum {
    GM_KIND_UNKNOWN = 0,
    GM_KIND_FILE = 1,           /* never waits for others: regular files, directories, /dev/null */
    GM_KIND_NOWAIT = 2,         /* pipes, eventfds: RWF_NOWAIT */
    GM_KIND_SOCKET = 3,         /* MSG_DONTWAIT */
    GM_KIND_REOPEN = 4,         /* FIFOs, ttys, pipes of kernels before 6.5: another open file, O_NONBLOCK */
    GM_KIND_POLL = 5            /* the rest: a poll(2), then the call */
};

#if defined(_WIN32)

#  define GM_STREAMS 0
struct iovec { void *iov_base; size_t iov_len; };
#  define gm_fd_kind(fd) 0
#  define gm_fd_kind_else(fd) 0
#  define gm_fd_nonblock(fd) 0
#  define gm_tty_patience(fd) (-1)
#  define gm_write_most(fd) ((Py_ssize_t)0)
#  define gm_fd_open(fd) 0
#  define gm_fd_there(fd) ((Py_ssize_t)-1)
#  define gm_read_now(fd, v, n, kind) (-1)
#  define gm_write_now(fd, v, n, kind) (-1)
#  define gm_read_plain(fd, v, n) (-1)
#  define gm_write_plain(fd, v, n) (-1)
#  define gm_nowait (*(int *)NULL)

#else

#  define GM_STREAMS 1
#  include <errno.h>
#  include <fcntl.h>
#  include <limits.h>
#  include <stdio.h>
#  include <string.h>
#  include <sys/ioctl.h>
#  include <sys/socket.h>
#  include <sys/stat.h>
#  include <sys/uio.h>
#  include <termios.h>
#  include <unistd.h>
#  if defined(__linux__)
#    include <sys/syscall.h>
#    include <sys/sysmacros.h>
#  endif

static int gm_nowait = 1;       /* 0: this kernel's pipes don't know RWF_NOWAIT (tests set it, too) */

/* Out of line, all of these: a struct stat in the frame of each parked goroutine is too much. */
__attribute__((noinline)) static int gm_fd_kind_else(int fd) {
    /* What does not know RWF_NOWAIT. */
    struct stat s;
    if (fstat(fd, &s) != 0) return GM_KIND_UNKNOWN;
#  if defined(__linux__)
    if (S_ISFIFO(s.st_mode)) return GM_KIND_REOPEN;
    if (S_ISCHR(s.st_mode) && major(s.st_rdev) >= 136 && major(s.st_rdev) <= 143) {
        return GM_KIND_REOPEN;  /* a pty's slave, as its master's open file would be another pty's */
    }
#  endif
    if (S_ISREG(s.st_mode) || S_ISDIR(s.st_mode) || S_ISBLK(s.st_mode)) return GM_KIND_FILE;
    return S_ISSOCK(s.st_mode) ? GM_KIND_SOCKET : GM_KIND_POLL;
}

/* GM_KIND_UNKNOWN: there is no such descriptor. */
__attribute__((noinline)) static int gm_fd_kind(int fd) {
    struct stat s;
    if (fstat(fd, &s) != 0) return GM_KIND_UNKNOWN;
#  if defined(__linux__)
    if (S_ISCHR(s.st_mode) && major(s.st_rdev) == 1) return GM_KIND_FILE;   /* /dev/null, zero, urandom */
    if (gm_nowait && (S_ISFIFO(s.st_mode) || (s.st_mode & S_IFMT) == 0)) return GM_KIND_NOWAIT;
#  endif
    return gm_fd_kind_else(fd);
}

static int gm_fd_nonblock(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_NONBLOCK);
}

/* How many milliseconds a read of a terminal waits before it returns nothing; -1: for ever. */
__attribute__((noinline)) static int gm_tty_patience(int fd) {
    struct termios t;
    if (tcgetattr(fd, &t) != 0 || (t.c_lflag & ICANON) || t.c_cc[VMIN] != 0) return -1;
    return t.c_cc[VTIME] * 100;
}

/* How many bytes a file of GM_KIND_POLL that polls writable is given at once. A terminal has room for some, a
 * pipe for PIPE_BUF, which must stay together; a device (a tunnel's) may take each write for a message. */
__attribute__((noinline)) static ssize_t gm_write_most(int fd) {
    struct stat s;
    if (isatty(fd)) return 256;
    return fstat(fd, &s) == 0 && S_ISFIFO(s.st_mode) ? PIPE_BUF : SSIZE_MAX;
}

static int gm_fd_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

/* How many bytes there are to read; -1: the kernel does not say. */
static ssize_t gm_fd_there(int fd) {
    int n = 0;
    return ioctl(fd, FIONREAD, &n) == 0 ? n : -1;
}

static ssize_t gm_read_plain(int fd, struct iovec *v, int n) {
    return n == 1 ? read(fd, v->iov_base, v->iov_len) : readv(fd, v, n);
}
static ssize_t gm_write_plain(int fd, struct iovec *v, int n) {
    return n == 1 ? write(fd, v->iov_base, v->iov_len) : writev(fd, v, n);
}

/* Another open file of what fd is, which does not block; -1: not to be had. Of a regular file, whose number was a
 * FIFO's before, it would be one at offset 0. */
__attribute__((noinline)) static int gm_reopen(int fd, int flags) {
    char path[40];
    struct stat s;
    if (fstat(fd, &s) != 0 || !(S_ISFIFO(s.st_mode) || S_ISCHR(s.st_mode))) {
        errno = EOPNOTSUPP;
        return -1;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* Tries, and does not wait, but for GM_KIND_FILE; GM_KIND_POLL: fd is ready, as far as known. errno EOPNOTSUPP,
 * ENOTSOCK: fd is not of that kind; take gm_fd_kind_else. */
static ssize_t gm_move_now(int fd, struct iovec *v, int n, int kind, int writes) {
    ssize_t r;
    int other, e;
    struct msghdr h;
    switch (kind) {
#  if defined(SYS_preadv2) && defined(SYS_pwritev2)
    case GM_KIND_NOWAIT:
        return syscall(writes ? SYS_pwritev2 : SYS_preadv2, fd, v, (long)n, -1L, -1L, 8 /* RWF_NOWAIT */);
#  endif
    case GM_KIND_SOCKET:
        memset(&h, 0, sizeof h);
        h.msg_iov = v;
        h.msg_iovlen = n;
        return writes ? sendmsg(fd, &h, MSG_DONTWAIT) : recvmsg(fd, &h, MSG_DONTWAIT);
    case GM_KIND_REOPEN:
        if (gm_fd_nonblock(fd)) break;
        other = gm_reopen(fd, writes ? O_WRONLY : O_RDONLY);
        if (other < 0) {
            if (errno == ENXIO && writes) break;    /* nobody reads: EPIPE */
            errno = EOPNOTSUPP;
            return -1;
        }
        r = writes ? gm_write_plain(other, v, n) : gm_read_plain(other, v, n);
        e = errno;
        close(other);
        errno = e;
        return r;
    }
    return writes ? gm_write_plain(fd, v, n) : gm_read_plain(fd, v, n);
}

#  define gm_read_now(fd, v, n, kind) gm_move_now(fd, v, n, kind, 0)
#  define gm_write_now(fd, v, n, kind) gm_move_now(fd, v, n, kind, 1)

#endif
#endif
