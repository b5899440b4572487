/* What a thread can wait for descriptors with: epoll, kqueue or, on Windows, WSAPoll; one interface.
 *
 * A poller is its thread's: that one waits; others may look without waiting (sysmon), set and unset
 * descriptors under the descriptor's lock, and break the wait.
 *
 *   gm_poller_open(p)               0, or an errno
 *   gm_poller_close(p)
 *   gm_poller_set(p, fd, want, tag, known)
 *                                   watches fd: GM_POLL_READ, _WRITE; edge-triggered, or for one event
 *                                   with GM_POLL_ONCE. Again for an fd that is watched (known: it
 *                                   probably is): changes it, and what is ready is reported anew.
 *                                   0, or an errno.
 *   gm_poller_unset(p, fd)
 *   gm_poller_wait(p, e, n, ns)     at most n events within ns nanoseconds (< 0: for ever): how many, or
 *                                   minus an errno
 *   gm_poller_break(p)              the present or next wait ends, with an event of GM_POLL_BROKEN
 *   gm_pevent_tag(e), gm_pevent_bits(e)
 *   GM_POLL_EDGES                   0: it knows GM_POLL_ONCE alone
 *
 * A poller that is not open has fd 0 in its struct (it holds the descriptor plus one).
 */
#ifndef GMPX_POLLER_H
#define GMPX_POLLER_H

#include <stdint.h>
#include "atomics.h"

#define GM_POLL_READ 1u
#define GM_POLL_WRITE 2u
#define GM_POLL_HUP 4u                  /* reported with others: the peer is done, or urgent data has come */
#define GM_POLL_ONCE 8u
#define GM_POLL_URGENT 16u              /* with READ: urgent data, too, where the system tells */
#define GM_POLL_BROKEN UINT64_MAX
#define GM_POLL_SIGNAL (UINT64_MAX - 1) /* the breaker's pipe (rt/platform/breaker.h) */

/* Written by the owner; sysmon and wakers read it. */
typedef struct { gm_u32 fd; gm_u32 ev; } gm_poller;

GM_INLINE int gm_poller_is_open(gm_poller *p) { return gm_load_u32_acquire(&p->fd) != 0; }
GM_INLINE int gm_poller_fd(gm_poller *p) { return (int)gm_load_u32_acquire(&p->fd) - 1; }

#if defined(__linux__)
#  include "poller_epoll.h"
#elif defined(_WIN32)
#  include "poller_select.h"
#else
#  include "poller_kqueue.h"
#endif

#endif
