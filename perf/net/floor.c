/* The floor of the network's cases: the least that a server on one thread does, epoll and no runtime.
 *
 *     floor serve echo|accept|http   prints its port and serves until it is ended
 *     floor pair SIZE MS             prints the nanoseconds of a send and the recv of it
 *
 * Edge-triggered, and no second recv to learn that there is nothing more: what comes later makes a
 * new event, and what was there fits the buffer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "messages.h"

enum { BACKLOG = 4096, EVENTS = 128, BUFFER = 1 << 17, HEAD = 4096, FILES = 1 << 16 };

/* What of a request has come so far, by descriptor; made when a connection first needs it. */
static struct head {
    size_t length;
    char text[HEAD];
} *heads[FILES];

static char buffer[BUFFER];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void send_all(int fd, const char *from, size_t left)
{
    while (left) {
        ssize_t sent = send(fd, from, left, MSG_NOSIGNAL);
        if (sent < 0) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            if (errno != EAGAIN)
                return; /* the client is gone; the next recv says so */
            poll(&writable, 1, -1);
            continue;
        }
        from += sent;
        left -= sent;
    }
}

static int echo(int fd)
{
    ssize_t length = recv(fd, buffer, BUFFER, 0);
    if (length <= 0)
        return length < 0 && errno == EAGAIN;
    send_all(fd, buffer, length);
    return 1;
}

static int http(int fd)
{
    static const char line[] = "GET / HTTP/1.1\r\n", end[] = "\r\n\r\n";
    if (fd >= FILES || (!heads[fd] && !(heads[fd] = calloc(1, sizeof **heads))))
        return 0;
    struct head *head = heads[fd];
    ssize_t length = recv(fd, head->text + head->length, HEAD - head->length, 0);
    if (length <= 0)
        return length < 0 && errno == EAGAIN;
    head->length += length;
    char *from = head->text, *limit = from + head->length, *at;
    while ((at = memmem(from, limit - from, end, 4))) {
        if (memcmp(from, line, sizeof line - 1))
            return 0;
        send_all(fd, RESPONSE, strlen(RESPONSE));
        from = at + 4;
    }
    head->length = limit - from;
    memmove(head->text, from, head->length);
    return 1;
}

static int listener(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    if (bind(fd, (struct sockaddr *)&here, size) || listen(fd, BACKLOG))
        fail("bind, listen");
    getsockname(fd, (struct sockaddr *)&here, &size);
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    return fd;
}

static void serve(const char *kind)
{
    int on = 1, fd, listening = listener(), epoll = epoll_create1(0);
    int closing = !strcmp(kind, "accept");
    int (*answer)(int) = strcmp(kind, "http") ? echo : http;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listening}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int k = 0; k < ready; k++) {
            fd = events[k].data.fd;
            if (fd != listening) {
                if (!answer(fd)) {
                    if (fd < FILES && heads[fd])
                        heads[fd]->length = 0;
                    close(fd);
                }
                continue;
            }
            fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0)
                continue;
            if (closing) {
                close(fd);
                continue;
            }
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            event = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.fd = fd};
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        }
    }
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void pair(size_t size, int64_t ms)
{
    int ends[2];
    long done = 0;
    if (size > BUFFER || socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        fail("socketpair");
    int64_t start = now(), taken;
    do {
        if (send(ends[0], buffer, size, 0) != (ssize_t)size)
            fail("send");
        if (recv(ends[1], buffer, size, MSG_WAITALL) != (ssize_t)size)
            fail("recv");
        done++;
        taken = now() - start;
    } while (taken < ms * 1000000);
    printf("{\"operations\": %ld, \"wall_ns\": %lld}\n", done, (long long)taken);
}

int main(int count, char **given)
{
    if (count == 3 && !strcmp(given[1], "serve"))
        serve(given[2]);
    else if (count == 4 && !strcmp(given[1], "pair"))
        pair(atol(given[2]), atol(given[3]));
    else
        fprintf(stderr, "usage: floor serve KIND | floor pair SIZE MS\n");
    return 2 * (count != 4);
}
