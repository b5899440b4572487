/* A poller over epoll, with an eventfd that breaks its wait (Go's netpoll_epoll.go). */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GM_POLL_EDGES 1

typedef struct epoll_event gm_pevent;

GM_INLINE uint64_t gm_pevent_tag(gm_pevent *e) { return e->data.u64; }
GM_INLINE uint32_t gm_pevent_bits(gm_pevent *e) {
    uint32_t bits = 0;
    if (e->events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) bits |= GM_POLL_READ;
    if (e->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) bits |= GM_POLL_WRITE;
    if (e->events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) bits |= GM_POLL_HUP;
    return bits;
}

static int gm_poller_ctl(gm_poller *p, int op, int fd, uint32_t events, uint64_t tag) {
    struct epoll_event e;
    e.events = events;
    e.data.u64 = tag;
    return epoll_ctl(gm_poller_fd(p), op, fd, &e) == 0 ? 0 : errno;
}

static int gm_poller_open(gm_poller *p) {
    struct epoll_event e;
    int r;
    int fd = epoll_create1(EPOLL_CLOEXEC);
    int ev = fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e.events = EPOLLIN | EPOLLET;       /* and never read: each write is an edge */
    e.data.u64 = GM_POLL_BROKEN;
    if (ev < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, ev, &e) != 0) {
        r = errno;
        if (ev >= 0) close(ev);
        if (fd >= 0) close(fd);
        return r;
    }
    gm_store_u32_relaxed(&p->ev, (uint32_t)ev + 1);
    gm_store_u32_release(&p->fd, (uint32_t)fd + 1);
    return 0;
}

/* Whether the descriptors are still the poller's, both of them: a program may have closed "all", and others
 * may have the numbers. */
static int gm_poller_lives(gm_poller *p) {
    return gm_poller_ctl(p, EPOLL_CTL_MOD, (int)gm_load_u32_relaxed(&p->ev) - 1,
                         EPOLLIN | EPOLLET, GM_POLL_BROKEN) == 0;
}

static void gm_poller_close(gm_poller *p) {
    if (gm_poller_is_open(p)) {
        if (gm_poller_lives(p)) {
            close(gm_poller_fd(p));
            close((int)gm_load_u32_relaxed(&p->ev) - 1);
        }
        gm_store_u32_relaxed(&p->fd, 0);
    }
}

static int gm_poller_set(gm_poller *p, int fd, uint32_t want, uint64_t tag, int known) {
    uint32_t events = (want & GM_POLL_ONCE) ? EPOLLONESHOT : EPOLLET;
    int r;
    if (want & GM_POLL_READ) events |= EPOLLIN | EPOLLRDHUP;
    if ((want & GM_POLL_READ) && !(want & GM_POLL_ONCE)) events |= EPOLLPRI;    /* a reader is to know */
    if (want & GM_POLL_URGENT) events |= EPOLLPRI;
    if (want & GM_POLL_WRITE) events |= EPOLLOUT;
    r = gm_poller_ctl(p, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, events, tag);
    if (r == (known ? ENOENT : EEXIST)) {
        r = gm_poller_ctl(p, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, events, tag);
    }
    return r;
}

static void gm_poller_unset(gm_poller *p, int fd) { gm_poller_ctl(p, EPOLL_CTL_DEL, fd, 0, 0); }

#ifndef SYS_epoll_pwait2
#  define SYS_epoll_pwait2 441
#endif

static int gm_poller_wait(gm_poller *p, gm_pevent *e, int n, int64_t ns) {
    static gm_u32 coarse;                   /* this kernel has milliseconds only */
    struct { int64_t sec, nsec; } t;        /* __kernel_timespec */
    int r;
    if (ns <= 0 || gm_load_u32_relaxed(&coarse)) {
        int64_t ms = ns <= 0 ? ns : (ns + 999999) / 1000000;    /* never early */
        r = epoll_wait(gm_poller_fd(p), e, n, ms < 0 ? -1 : (int)ms);
        return r >= 0 ? r : -errno;
    }
    t.sec = ns / 1000000000;
    t.nsec = ns % 1000000000;
    r = (int)syscall(SYS_epoll_pwait2, gm_poller_fd(p), e, n, &t, NULL, 0);
    if (r < 0 && (errno == ENOSYS || errno == EPERM)) {
        gm_store_u32_relaxed(&coarse, 1);
        return gm_poller_wait(p, e, n, ns);
    }
    return r >= 0 ? r : -errno;
}

/* Out of line: a struct stat in the frame of each parked goroutine is too much. */
__attribute__((noinline)) static void gm_poller_break(gm_poller *p) {
    uint64_t one = 1;
    struct stat s;
    int ev = (int)gm_load_u32_relaxed(&p->ev) - 1;
    /* An eventfd has no file type. Another file may have the number, if a program has closed it: then a
     * thread that sleeps in the poller, which the kernel keeps for as long, sleeps until its next timer. */
    if (fstat(ev, &s) == 0 && (s.st_mode & S_IFMT) == 0) {
        ssize_t r = write(ev, &one, sizeof one);
        (void)r;
    }
}
