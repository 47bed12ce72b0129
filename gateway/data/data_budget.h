/*
 * data_budget - one limit of buffer bytes over all streams of the process, with a queue of waiters.
 *
 * Thread: any; a waiter is woken on its own executor.
 */
#ifndef GATEWAY_DATA_DATA_BUDGET_H
#define GATEWAY_DATA_DATA_BUDGET_H

#include "common/base/env.h"
#include "common/base/list.h"
#include "gateway/data/data_lock.h"

#include <stdbool.h>

struct data_budget {
    struct data_lock lock;
    uint64_t limit_bytes;
    uint64_t used_bytes;
    struct list waiters;          /* oldest first */
};

struct data_budget_wait {
    struct list node;
    struct task task;             /* run set by the stream; posted once room may be there */
    struct executor *executor;
    uint64_t bytes;               /* wanted */
    bool queued;
};

void data_budget_init(struct data_budget *budget, uint64_t limit_bytes);
/* True: `bytes` are the caller's. False: `wait` is queued and its task will be posted WITH the bytes already taken. A
 * request larger than the limit is granted when nothing else is held, so that it cannot wait for ever. */
bool data_budget_take(struct data_budget *budget, uint64_t bytes, struct data_budget_wait *wait);
/* True: `bytes` are the caller's. False: they are not there, or others wait; nothing is queued. */
bool data_budget_try(struct data_budget *budget, uint64_t bytes);
/* Takes without waiting, over the limit if need be: for a stream that must finish what it holds. */
void data_budget_force(struct data_budget *budget, uint64_t bytes);
void data_budget_give(struct data_budget *budget, uint64_t bytes);
/* True: off the queue, nothing was taken. False: the task is posted (or has run) and the bytes are held. */
bool data_budget_cancel(struct data_budget *budget, struct data_budget_wait *wait);
/* Somebody waits for bytes. */
bool data_budget_pressed(struct data_budget *budget);
uint64_t data_budget_used(struct data_budget *budget);

#endif
