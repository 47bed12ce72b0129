/*
 * cluster_duty - something that a process of a cluster does again and again, and that can be told to stop:
 *
 *   SLEEPING -> AT WORK (calls that are answered later) -> SLEEPING ...          on one serial executor
 *
 * The work runs when the time has come, and says with cluster_duty_sleep that it is done; until then a stop waits.
 */
#ifndef SERVER_CLUSTER_DUTY_H
#define SERVER_CLUSTER_DUTY_H

#include "server/wait.h"

struct cluster_duty {
    struct executor *executor;
    void (*work)(struct cluster_duty *duty);
    struct timer timer;
    bool busy, stopping;
    struct task stop_task;
    struct waiter stopped;
};

void cluster_duty_init(struct cluster_duty *duty, struct executor *executor, void (*work)(struct cluster_duty *duty));
/* Works for the first time and returns when the work has returned. Not on the executor. */
void cluster_duty_begin(struct cluster_duty *duty);
/* The end of the work, on the executor; once for each. It runs again in wait_ms, unless it was told to stop. */
void cluster_duty_sleep(struct cluster_duty *duty, uint64_t wait_ms);
/* Waits for the work under way; it does not run again. Not on the executor. */
void cluster_duty_stop(struct cluster_duty *duty);

#endif
