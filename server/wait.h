/*
 * wait - asynchronous calls for a thread that may block: start-up, shutdown, admin requests.
 *
 * The completion runs on another executor and wakes the waiting thread. Never call these on a loop, nor on the
 * executor that completes.
 */
#ifndef SERVER_WAIT_H
#define SERVER_WAIT_H

#include "gateway/data/metadata_client.h"

#include <pthread.h>

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done;
    enum errc status; /* as told by waiter_wake */
};

void waiter_init(struct waiter *waiter);
void waiter_wake(struct waiter *waiter, enum errc status);
/* Returns the status; the waiter is gone afterwards. */
enum errc waiter_wait(struct waiter *waiter);

/* Runs fn(data) on the executor and returns when it has returned: for objects that live there. */
void wait_run(struct executor *executor, void (*fn)(void *data), void *data);

/* META_PROPOSE and META_QUERY, waited for; `completions` runs done. The op must be released. */
MUST_CHECK enum errc wait_propose(struct metadata_client *client, struct executor *completions, struct meta_op *op,
                                  const struct meta_command *command, struct error *e);
MUST_CHECK enum errc wait_query(struct metadata_client *client, struct executor *completions, struct arena *arena,
                                struct meta_op *op, const struct meta_query *query, struct error *e);
/* Any rpc call with method and head set; release it afterwards. Returns its status. */
MUST_CHECK enum errc wait_call(struct rpc_channel *channel, struct executor *completions, struct rpc_call *call);

#endif
