/* A poller over kqueue, for macOS and the BSDs, whose user event breaks the wait (Go's
 * netpoll_kqueue.go). Written after the manual pages; not run by the tests, which need Linux. */
#include <errno.h>
#include <fcntl.h>
#include <sys/event.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

#define GM_POLL_EDGES 1

typedef struct kevent gm_pevent;

GM_INLINE uint64_t gm_pevent_tag(gm_pevent *e) { return (uint64_t)(uintptr_t)e->udata; }
GM_INLINE uint32_t gm_pevent_bits(gm_pevent *e) {
    uint32_t bits = e->filter == EVFILT_WRITE ? GM_POLL_WRITE : GM_POLL_READ;
    if (e->flags & EV_EOF) {
        bits |= GM_POLL_READ | GM_POLL_HUP;
        if (e->filter == EVFILT_WRITE) bits |= GM_POLL_WRITE;
    }
    return bits;
}

static int gm_poller_open(gm_poller *p) {
    struct kevent e;
    int r;
    int fd = kqueue();
    if (fd < 0) return errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    EV_SET(&e, 0, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, (void *)(uintptr_t)GM_POLL_BROKEN);
    if (kevent(fd, &e, 1, NULL, 0, NULL) < 0) {
        r = errno;
        close(fd);
        return r;
    }
    gm_store_u32_release(&p->fd, (uint32_t)fd + 1);
    return 0;
}

static void gm_poller_close(gm_poller *p) {
    if (gm_poller_is_open(p)) {
        close(gm_poller_fd(p));             /* a fork's child has none: the close fails */
        gm_store_u32_relaxed(&p->fd, 0);
    }
}

/* The two filters are events of their own. EV_ADD for one that is there changes it, and reports what is
 * ready anew. */
static int gm_poller_set(gm_poller *p, int fd, uint32_t want, uint64_t tag, int known) {
    struct kevent e[2];
    int n = 0;
    (void)known;
    unsigned short flags = EV_ADD | EV_ENABLE | ((want & GM_POLL_ONCE) ? EV_ONESHOT : EV_CLEAR);
    if (want & GM_POLL_READ) EV_SET(&e[n++], fd, EVFILT_READ, flags, 0, 0, (void *)(uintptr_t)tag);
    if (want & GM_POLL_WRITE) EV_SET(&e[n++], fd, EVFILT_WRITE, flags, 0, 0, (void *)(uintptr_t)tag);
    return kevent(gm_poller_fd(p), e, n, NULL, 0, NULL) < 0 ? errno : 0;
}

static void gm_poller_unset(gm_poller *p, int fd) {
    struct kevent e;
    EV_SET(&e, fd, EVFILT_READ, EV_DELETE, 0, 0, NULL);
    kevent(gm_poller_fd(p), &e, 1, NULL, 0, NULL);
    EV_SET(&e, fd, EVFILT_WRITE, EV_DELETE, 0, 0, NULL);
    kevent(gm_poller_fd(p), &e, 1, NULL, 0, NULL);
}

static int gm_poller_lives(gm_poller *p) {
    struct kevent e;
    EV_SET(&e, 0, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, (void *)(uintptr_t)GM_POLL_BROKEN);
    return kevent(gm_poller_fd(p), &e, 1, NULL, 0, NULL) >= 0;
}

static int gm_poller_wait(gm_poller *p, gm_pevent *e, int n, int64_t ns) {
    struct timespec t;
    int r;
    t.tv_sec = (time_t)(ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    r = kevent(gm_poller_fd(p), NULL, 0, e, n, ns < 0 ? NULL : &t);
    return r >= 0 ? r : -errno;
}

static void gm_poller_break(gm_poller *p) {
    struct kevent e;
    EV_SET(&e, 0, EVFILT_USER, 0, NOTE_TRIGGER, 0, (void *)(uintptr_t)GM_POLL_BROKEN);
    kevent(gm_poller_fd(p), &e, 1, NULL, 0, NULL);
}
