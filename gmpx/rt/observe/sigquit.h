/* SIGQUIT: an async-signal-safe handler that wakes whoever waits in gm_quit_wait.
 *
 * A semaphore and not a pipe: a program that becomes a daemon closes all descriptors, and a byte
 * written to a number that is somebody else's by then would corrupt it. Where there are no
 * unnamed semaphores (macOS, Windows) there is no handler.
 */
#ifndef GMPX_SIGQUIT_H
#define GMPX_SIGQUIT_H

#if defined(__linux__) || defined(__FreeBSD__)
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>

static sem_t gm_quit_sem;

static void gm_quit_handler(int signum) {
    int saved = errno;
    (void)signum;
    sem_post(&gm_quit_sem);
    errno = saved;
}

/* 1: installed; 0: SIGQUIT is somebody else's; -1: not here. */
static int gm_quit_install(void) {
    struct sigaction now, ours;
    if (sigaction(SIGQUIT, NULL, &now) != 0 || (now.sa_flags & SA_SIGINFO)
        || now.sa_handler != SIG_DFL)
        return 0;
    if (sem_init(&gm_quit_sem, 0, 0) != 0)
        return -1;
    memset(&ours, 0, sizeof(ours));
    ours.sa_handler = gm_quit_handler;
    ours.sa_flags = SA_RESTART;
    sigemptyset(&ours.sa_mask);
    return sigaction(SIGQUIT, &ours, NULL) == 0 ? 1 : -1;
}

static int gm_quit_is_ours(void) {
    struct sigaction now;
    return sigaction(SIGQUIT, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO)
        && now.sa_handler == gm_quit_handler;
}

static void gm_quit_wait(void) {
    while (sem_wait(&gm_quit_sem) != 0 && errno == EINTR)
        ;
}

static void gm_quit_fork_child(void) {
    sem_init(&gm_quit_sem, 0, 0);
}
#else
static int gm_quit_install(void) { return -1; }
static int gm_quit_is_ours(void) { return 0; }
static void gm_quit_wait(void) {}
static void gm_quit_fork_child(void) {}
#endif
#endif
