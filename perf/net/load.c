/* The load of the network's cases: a client of many connections, on a CPU of its own.
 *
 *     load KIND PORT N SIZE WARM_MS LOAD_MS SPIN PID
 *
 * KIND: echo (SIZE bytes there and back), http (REQUEST, RESPONSE), accept (connect, wait for the
 * end, connect again) or idle (echo once, then do nothing until standard input ends). Each of the N
 * connections asks again as soon as it has its answer; every byte of an answer is compared. After
 * WARM_MS it counts for LOAD_MS, or longer until each has had an answer, and prints
 *
 *     operations, nanoseconds, CPU nanoseconds of process PID, least and most of one connection
 *
 * SPIN: poll without waiting, which keeps the generator's own sleeping and waking out of the figures
 * and is only right where it has a CPU to itself. Whatever goes wrong ends it with a line on standard
 * error: a wrong or missing byte, an error, a connection that got nothing for two seconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "messages.h"

enum { PATTERN = 4096, LARGEST = 1 << 20, EVENTS = 1024, PATIENCE_S = 5, STARVED_S = 2, PAUSE_MS = 10 };

struct client {
    int fd;
    size_t got;      /* bytes of the answer that are here */
    uint64_t asked;  /* questions so far: each has its own text */
    long done;       /* answers since the count began */
};

static char text[PATTERN + LARGEST], heard[LARGEST];
static struct sockaddr_in server;
static size_t asking, answering;  /* bytes of a question and of its answer */
static int http, epoll;

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static int64_t read_clock(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t))
        die("clock_gettime: %s", strerror(errno));
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t now(void) { return read_clock(CLOCK_MONOTONIC); }

/* The CPU clock of a process, those of its threads that have ended included. */
static int64_t cpu_of(pid_t pid)
{
    clockid_t clock;
    int error = clock_getcpuclockid(pid, &clock);
    if (error)
        die("the server's CPU clock: %s", strerror(error));
    return read_clock(clock);
}

/* A text that is another for every client and question, so that a mix-up shows. */
static const char *question(const struct client *c, long i)
{
    return http ? REQUEST : text + (i * 7 + c->asked) % PATTERN;
}

static const char *answer(const struct client *c, long i)
{
    return http ? RESPONSE : question(c, i);
}

static void dial(struct client *c, long i)
{
    int on = 1;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket of connection %ld: %s", i, strerror(errno));
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server))
        die("connect of connection %ld: %s", i, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

static void watch(struct client *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event))
        die("epoll_ctl: %s", strerror(errno));
}

static void ask(struct client *c, long i)
{
    const char *from = question(c, i);
    size_t left = asking;
    c->got = 0;
    /* It may wait: the answer to the question before is here, so that the server will read. */
    while (left) {
        ssize_t sent = send(c->fd, from, left, MSG_NOSIGNAL);
        if (sent < 0)
            die("send on connection %ld: %s", i, strerror(errno));
        from += sent;
        left -= sent;
    }
}

/* Takes what is there of an answer; tells whether it is complete. */
static int hear(struct client *c, long i, int flags)
{
    ssize_t length = recv(c->fd, heard, answering - c->got, flags);
    if (length < 0)
        die("recv on connection %ld: %s", i, errno == EAGAIN ? "no answer" : strerror(errno));
    if (!length)
        die("connection %ld was closed after %ld answers", i, (long)c->asked);
    if (memcmp(heard, answer(c, i) + c->got, length))
        die("wrong bytes on connection %ld in answer %ld", i, (long)c->asked);
    c->got += length;
    if (c->got < answering)
        return 0;
    c->asked++;
    c->done++;
    return 1;
}

/* Takes the end of a connection that the server has accepted and closed, and makes the next. */
static void redial(struct client *c, long i)
{
    /* A reset leaves no TIME_WAIT behind, of which there would be more than ports. */
    struct linger reset = {.l_onoff = 1};
    ssize_t length = recv(c->fd, heard, 1, MSG_DONTWAIT);
    if (length)
        die("connection %ld: %s", i, length < 0 ? strerror(errno) : "a byte instead of the end");
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c->fd);
    c->done++;
    dial(c, i);
    watch(c);
}

static int everyone_had_some(const struct client *clients, long n)
{
    for (long i = 0; i < n; i++)
        if (!clients[i].done)
            return 0;
    return 1;
}

int main(int count, char **given)
{
    if (count != 9)
        die("usage: load KIND PORT N SIZE WARM_MS LOAD_MS SPIN PID");
    const char *kind = given[1];
    long n = atol(given[3]);
    int64_t warm = atol(given[5]) * INT64_C(1000000), load = atol(given[6]) * INT64_C(1000000);
    int pause = atoi(given[7]) ? 0 : PAUSE_MS;
    pid_t pid = atoi(given[8]);
    int accepting = !strcmp(kind, "accept");
    http = !strcmp(kind, "http");
    asking = http ? strlen(REQUEST) : (size_t)atol(given[4]);
    answering = http ? strlen(RESPONSE) : asking;
    if (n < 1 || asking < 1 || asking > LARGEST)
        die("bad N or SIZE");
    server = (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(atoi(given[2])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (x = x * 1103515245 + 12345) >> 16;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct client *clients = calloc(n, sizeof *clients);
    for (long i = 0; i < n; i++) {
        struct client *c = &clients[i];
        dial(c, i);
        if (!accepting) {
            /* One after the other: nothing overflows the backlog, and every handler has begun. */
            ask(c, i);
            while (!hear(c, i, 0))
                ;
        }
        watch(c);
    }
    if (!strcmp(kind, "idle")) {
        printf("idle\n");
        fflush(stdout);
        while (getchar() != EOF)
            ;
        return 0;
    }

    struct epoll_event events[EVENTS];
    int64_t start = now(), begin = start + warm, seen = start, cpu = 0;
    int counting = 0;
    if (!accepting)
        for (long i = 0; i < n; i++)
            ask(&clients[i], i);
    for (;;) {
        int64_t t = now();
        if (!counting && t >= begin) {
            for (long i = 0; i < n; i++)
                clients[i].done = 0;
            counting = 1;
            begin = t;
            cpu = cpu_of(pid);
        } else if (counting && t >= begin + load) {
            if (everyone_had_some(clients, n))
                break;
            if (t >= begin + STARVED_S * INT64_C(1000000000))
                die("a connection got nothing in %d s", STARVED_S);
        }
        int ready = epoll_wait(epoll, events, EVENTS, pause);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        if (ready > 0)
            seen = t;
        else if (t - seen > PATIENCE_S * INT64_C(1000000000))
            die("no answer for %d s", PATIENCE_S);
        for (int k = 0; k < ready; k++) {
            struct client *c = events[k].data.ptr;
            if (accepting)
                redial(c, c - clients);
            else if (hear(c, c - clients, MSG_DONTWAIT))
                ask(c, c - clients);
        }
    }
    cpu = cpu_of(pid) - cpu;
    int64_t taken = now() - begin;
    long all = 0, least = clients[0].done, most = 0;
    for (long i = 0; i < n; i++) {
        long done = clients[i].done;
        all += done;
        least = done < least ? done : least;
        most = done > most ? done : most;
    }
    printf("%ld %lld %lld %ld %ld\n", all, (long long)taken, (long long)cpu, least, most);
    return 0;
}
