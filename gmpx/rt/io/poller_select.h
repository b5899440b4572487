/* A poller for Windows over WSAPoll, which takes the whole list at each wait: what is watched lies in a table
 * under a lock, and a loopback datagram breaks the wait. Level-triggered, so each watch is for one event
 * (GM_POLL_EDGES is 0). Written after the manual pages; not run by the tests, which need Linux. */
#include <errno.h>
#include <stdlib.h>
#include <winsock2.h>
#include <ws2tcpip.h>

#define GM_POLL_EDGES 0

typedef struct { uint64_t tag; uint32_t bits; } gm_pevent;

GM_INLINE uint64_t gm_pevent_tag(gm_pevent *e) { return e->tag; }
GM_INLINE uint32_t gm_pevent_bits(gm_pevent *e) { return e->bits; }

typedef struct {
    SRWLOCK lock;                       /* guards all below */
    SOCKET breaker;                     /* connected to itself */
    WSAPOLLFD *fds;                     /* [0] is the breaker */
    uint64_t *tags;
    int n, room;
} gm_wsa_poller;

enum { GM_WSA_POLLERS = 16384 };
static gm_wsa_poller *gm_wsa_pollers[GM_WSA_POLLERS];   /* by gm_poller.fd; each its M's for good */
static gm_u32 gm_wsa_n;

static gm_wsa_poller *gm_wsa_of(gm_poller *p) { return gm_wsa_pollers[gm_poller_fd(p)]; }

static int gm_wsa_grow(gm_wsa_poller *w) {
    int room = w->room ? 2 * w->room : 64;
    WSAPOLLFD *fds = (WSAPOLLFD *)realloc(w->fds, room * sizeof *fds);
    uint64_t *tags;
    if (fds == NULL) return ENOMEM;
    w->fds = fds;
    tags = (uint64_t *)realloc(w->tags, room * sizeof *tags);
    if (tags == NULL) return ENOMEM;
    w->tags = tags;
    w->room = room;
    return 0;
}

static SOCKET gm_wsa_breaker(void) {
    struct sockaddr_in a;
    int n = sizeof a;
    u_long on = 1;
    SOCKET s = socket(AF_INET, SOCK_DGRAM, 0);
    memset(&a, 0, sizeof a);
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (s != INVALID_SOCKET && bind(s, (struct sockaddr *)&a, n) == 0
            && getsockname(s, (struct sockaddr *)&a, &n) == 0
            && connect(s, (struct sockaddr *)&a, n) == 0 && ioctlsocket(s, FIONBIO, &on) == 0) {
        return s;
    }
    if (s != INVALID_SOCKET) closesocket(s);
    return INVALID_SOCKET;
}

static int gm_poller_open(gm_poller *p) {
    WSADATA data;
    uint32_t at = gm_fetch_add_u32_relaxed(&gm_wsa_n, 1);
    gm_wsa_poller *w;
    if (at >= GM_WSA_POLLERS || WSAStartup(MAKEWORD(2, 2), &data) != 0) return EMFILE;
    w = (gm_wsa_poller *)calloc(1, sizeof *w);
    if (w == NULL || gm_wsa_grow(w) != 0) return ENOMEM;
    InitializeSRWLock(&w->lock);
    w->breaker = gm_wsa_breaker();
    if (w->breaker == INVALID_SOCKET) return EMFILE;
    w->fds[0].fd = w->breaker;
    w->fds[0].events = POLLRDNORM;
    w->tags[0] = GM_POLL_BROKEN;
    w->n = 1;
    gm_wsa_pollers[at] = w;
    gm_store_u32_release(&p->fd, at + 1);
    return 0;
}

static void gm_poller_close(gm_poller *p) { (void)p; }     /* no fork, and nobody closes our sockets */
static int gm_poller_lives(gm_poller *p) { (void)p; return 1; }

static void gm_poller_break(gm_poller *p) {
    send(gm_wsa_of(p)->breaker, "", 1, 0);
}

static int gm_poller_set(gm_poller *p, int fd, uint32_t want, uint64_t tag, int known) {
    gm_wsa_poller *w = gm_wsa_of(p);
    int i, r = 0;
    (void)known;
    AcquireSRWLockExclusive(&w->lock);
    for (i = 1; i < w->n && w->fds[i].fd != (SOCKET)fd; i++) {}
    if (i == w->n && w->n == w->room) r = gm_wsa_grow(w);
    if (r == 0) {
        if (i == w->n) w->n++;
        w->fds[i].fd = (SOCKET)fd;
        w->fds[i].events = (SHORT)(((want & GM_POLL_READ) ? POLLRDNORM : 0)
                                   | ((want & GM_POLL_WRITE) ? POLLWRNORM : 0));
        w->tags[i] = tag;
    }
    ReleaseSRWLockExclusive(&w->lock);
    if (r == 0) gm_poller_break(p);     /* a wait that goes on does not know of it */
    return r;
}

static void gm_wsa_drop(gm_wsa_poller *w, int i) {
    w->n--;
    w->fds[i] = w->fds[w->n];
    w->tags[i] = w->tags[w->n];
}

static void gm_poller_unset(gm_poller *p, int fd) {
    gm_wsa_poller *w = gm_wsa_of(p);
    int i;
    AcquireSRWLockExclusive(&w->lock);
    for (i = 1; i < w->n; i++) {
        if (w->fds[i].fd == (SOCKET)fd) {
            gm_wsa_drop(w, i);
            break;
        }
    }
    ReleaseSRWLockExclusive(&w->lock);
}

static int gm_poller_wait(gm_poller *p, gm_pevent *e, int n, int64_t ns) {
    gm_wsa_poller *w = gm_wsa_of(p);
    WSAPOLLFD *fds;
    uint64_t *tags;
    char byte[64];
    int i, k, many, r, found = 0;
    AcquireSRWLockShared(&w->lock);
    many = w->n;
    fds = (WSAPOLLFD *)malloc(many * sizeof *fds);
    tags = (uint64_t *)malloc(many * sizeof *tags);
    if (fds != NULL && tags != NULL) {
        memcpy(fds, w->fds, many * sizeof *fds);
        memcpy(tags, w->tags, many * sizeof *tags);
    }
    ReleaseSRWLockShared(&w->lock);
    r = fds == NULL || tags == NULL ? 0 : WSAPoll(fds, many, ns < 0 ? -1 : (int)((ns + 999999) / 1000000));
    for (i = 0; r > 0 && i < many && found < n; i++) {
        SHORT got = fds[i].revents;
        if (got == 0) continue;
        if (i == 0) {
            while (recv(w->breaker, byte, sizeof byte, 0) > 0) {}
        }
        e[found].tag = tags[i];
        e[found].bits = ((got & ~POLLWRNORM) ? GM_POLL_READ : 0)
            | ((got & (POLLWRNORM | POLLHUP | POLLERR | POLLNVAL)) ? GM_POLL_WRITE : 0)
            | ((got & (POLLHUP | POLLERR | POLLNVAL)) ? GM_POLL_HUP : 0);
        found++;
        if (i == 0) continue;
        AcquireSRWLockExclusive(&w->lock);          /* it was for one event */
        for (k = 1; k < w->n; k++) {
            if (w->fds[k].fd == fds[i].fd && w->tags[k] == tags[i]) {
                gm_wsa_drop(w, k);
                break;
            }
        }
        ReleaseSRWLockExclusive(&w->lock);
    }
    free(fds);
    free(tags);
    return found;
}
