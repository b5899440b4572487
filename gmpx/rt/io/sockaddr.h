/* System calls on sockets, and the addresses that the commonest families have, as CPython's socket module
 * shows them.
 */
#ifndef GMPX_SOCKADDR_H
#define GMPX_SOCKADDR_H

#include <Python.h>
#include <errno.h>

/* The head of CPython's PySocketSockObject, unchanged from 3.10 to 3.15 (probed: rt/io/socket.pxi). */
#if defined(_WIN32)
#  include <winsock2.h>
#  include <ws2tcpip.h>
typedef SOCKET gm_socket_t;
#else
typedef int gm_socket_t;
#endif
typedef struct {
    PyObject_HEAD
    gm_socket_t fd;
    int family;
    int type;
    int proto;
    PyObject *(*errorhandler)(void);
    int64_t timeout;                    /* nanoseconds; 0: non-blocking, < 0: for ever */
} gm_sock;

/* Windows has no MSG_DONTWAIT; until there is another way its sockets are left alone, and nothing of this is
 * called there. */
#if defined(_WIN32)
#  define GM_SOCKETS 0
#  define MSG_DONTWAIT 0
#  define MSG_ERRQUEUE 0
#  define gm_recv(fd, b, n, flags) (-1)
#  define gm_send(fd, b, n, flags) (-1)
#  define gm_accept(fd, a, n) (-1)
#  define gm_set_nonblock(fd) (-1)
#  define gm_set_block(fd) (-1)
#  define gm_so_error(fd) 0
#  define gm_lingers(fd) 1
#  define gm_nobody_there(fd) 0
#  define gm_writable_now(fd) 0
#  define gm_by_name(family, address) 0
static PyObject *gm_address(struct sockaddr_storage *a, socklen_t n) { (void)a; (void)n; return NULL; }
#else
#  define GM_SOCKETS 1
#  include <arpa/inet.h>
#  include <fcntl.h>
#  include <netinet/in.h>
#  include <poll.h>
#  include <sys/socket.h>
#  include <unistd.h>

#  ifndef MSG_ERRQUEUE
#    define MSG_ERRQUEUE 0
#  endif

/* recv and send that never wait. libc's are points where a thread may be cancelled, which costs each call
 * two atomic exchanges in a process of several threads (0.1 of the 5 us of an echo). */
#  if defined(__linux__)
#    include <sys/syscall.h>
#  endif
#  if defined(SYS_recvfrom) && defined(SYS_sendto)
#    define gm_recv(fd, b, n, flags) ((Py_ssize_t)syscall(SYS_recvfrom, fd, b, n, (flags) | MSG_DONTWAIT, NULL, NULL))
#    define gm_send(fd, b, n, flags) ((Py_ssize_t)syscall(SYS_sendto, fd, b, n, (flags) | MSG_DONTWAIT, NULL, 0))
#  else
#    define gm_recv(fd, b, n, flags) recv(fd, b, n, (flags) | MSG_DONTWAIT)
#    define gm_send(fd, b, n, flags) send(fd, b, n, (flags) | MSG_DONTWAIT)
#  endif

/* A new descriptor that no child inherits, or -1. */
static int gm_accept(int fd, struct sockaddr_storage *a, socklen_t *n) {
    *n = sizeof *a;
#  if defined(__linux__)
    return accept4(fd, (struct sockaddr *)a, n, SOCK_CLOEXEC);
#  else
    int c = accept(fd, (struct sockaddr *)a, n);
    if (c >= 0) {
        fcntl(c, F_SETFD, FD_CLOEXEC);
        fcntl(c, F_SETFL, fcntl(c, F_GETFL) & ~O_NONBLOCK);     /* there it is inherited */
    }
    return c;
#  endif
}

static int gm_set_nonblock(int fd) {
    /* 1: it was not set; 0: it was; -1: an error */
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return -1;
    if (flags & O_NONBLOCK) return 0;
    return fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -1 : 1;
}

static int gm_set_block(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

static int gm_so_error(int fd) {
    int e = 0;
    socklen_t n = sizeof e;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0 ? errno : e;
}

/* Whether close(2) may wait for the peer. */
static int gm_lingers(int fd) {
    struct linger l = {0, 0};
    socklen_t n = sizeof l;
    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &n) == 0 && l.l_onoff && l.l_linger > 0;
}

/* Whether fd is a listener that nobody waits for. (accept(2) on what is none fails at once.) */
static int gm_nobody_there(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    int listens = 0;
    socklen_t n = sizeof listens;
    return poll(&p, 1, 0) == 0
        && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) == 0 && listens;
}

/* Whether an address names its host, so that the C library would ask somebody for it. */
static int gm_by_name(int family, PyObject *address) {
    struct in6_addr to;
    const char *text;
    PyObject *host;
    if ((family != AF_INET && family != AF_INET6) || !PyTuple_Check(address)
            || PyTuple_GET_SIZE(address) < 2) return 0;
    host = PyTuple_GET_ITEM(address, 0);
    if (!PyUnicode_Check(host)) return PyBytes_Check(host) || PyByteArray_Check(host);
    text = PyUnicode_AsUTF8(host);
    if (text == NULL) {
        PyErr_Clear();
        return 0;
    }
    return *text && strcmp(text, "<broadcast>") != 0
        && inet_pton(AF_INET, text, &to) <= 0 && inet_pton(AF_INET6, text, &to) <= 0;
}

static int gm_writable_now(int fd) {
    struct pollfd p = {fd, POLLOUT, 0};
    return poll(&p, 1, 0) > 0;
}

/* (host, port), or with flow and scope; NULL without an exception for another family. */
static PyObject *gm_address(struct sockaddr_storage *a, socklen_t n) {
    char text[INET6_ADDRSTRLEN];
    (void)n;
    if (a->ss_family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)a;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        return Py_BuildValue("si", text, (int)ntohs(in->sin_port));
    }
    if (a->ss_family == AF_INET6) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)a;
        inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
        return Py_BuildValue("siII", text, (int)ntohs(in->sin6_port),
                             (unsigned)ntohl(in->sin6_flowinfo), (unsigned)in->sin6_scope_id);
    }
    return NULL;
}
#endif
#endif
