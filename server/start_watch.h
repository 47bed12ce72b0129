/*
 * start_watch - SIGTERM and SIGINT while a process starts.
 *
 * A start may wait for a voter, a disk or a folder that does not answer, in calls that nothing interrupts. Each of its steps may be
 * the last (server/README.md), so the process simply ends, with status 0 as when it is told to end later.
 */
#ifndef SERVER_START_WATCH_H
#define SERVER_START_WATCH_H

#include <pthread.h>
#include <stdbool.h>

struct start_watch {
    pthread_t thread;
    bool runs;
    const char *name; /* of the command, for the message */
};

/* The signals are blocked already, in every thread. Where there is no thread for it the start goes on unwatched. */
void start_watch_begin(struct start_watch *watch, const char *name);
/* From here on the signals wait for whoever asks for them. */
void start_watch_end(struct start_watch *watch);

#endif
