/*
 * stop_watch - a stop does not wait for ever.
 *
 * A disk or a file system may hang in a system call, and whoever waits for its thread hangs too. What was acknowledged is
 * durable before it is acknowledged, so the process may end without what is left of its stop: the next start is one after
 * a crash. At the limit a line says which step the stop was at, and the process ends with status 1.
 */
#ifndef SERVER_STOP_WATCH_H
#define SERVER_STOP_WATCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define STOP_WATCH_MS UINT64_C(100000) /* the units of deploy/systemd kill after 120 s, and say less */

struct stop_watch {
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    bool runs, ended;
    uint64_t limit_ms;
    const char *step;
};

/* Where there is no thread for it the stop goes on unwatched. */
void stop_watch_begin(struct stop_watch *watch, uint64_t limit_ms);
/* What is waited for from now on; static text. watch NULL: nobody watches. */
void stop_watch_step(struct stop_watch *watch, const char *step);
void stop_watch_end(struct stop_watch *watch);

#endif
