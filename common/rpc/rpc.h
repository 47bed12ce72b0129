/*
 * rpc - how roles ask one another, with or without a network between.
 *
 * A caller fills a `struct rpc_call` (its own memory), and channel->vt->call() takes it until `done`
 * runs on `reply_to`. In `cairn server` the channel is local: the service gets the very same struct,
 * no bytes are copied. Over the network the same struct is framed, sent and answered: rpc_client is a
 * channel to another process, rpc_server gives the calls of other processes to this one's channels.
 * Methods and messages: common/rpc/rpc_schema.h, metadata_messages.h, node_messages.h.
 * Thread: call() from any thread; the service moves to its own executor; done runs on reply_to.
 */
#ifndef COMMON_RPC_RPC_H
#define COMMON_RPC_RPC_H

#include "common/base/buffer.h"
#include "common/base/codec.h"
#include "common/base/env.h"
#include "common/base/error.h"
#include "common/base/id.h"

#define RPC_PAYLOADS_MAX 64

#define RPC_ADDRESS_BYTES 64

/* Who calls over the network, from its certificate. */
struct rpc_peer {
    uint8_t role;                    /* enum cluster_role; ROLE_NONE: no certificate */
    struct node_id node;             /* zero: no certificate */
    char address[RPC_ADDRESS_BYTES]; /* "ADDR:PORT", for logs */
};

struct rpc_call {
    /* request, set by the caller, borrowed until done */
    uint16_t method;                            /* enum rpc_method */
    struct slice head;                          /* the encoded request message */
    struct buffer *payloads[RPC_PAYLOADS_MAX];  /* borrowed references */
    unsigned payload_count;
    uint64_t deadline_ns;                       /* env_now_ns base; 0 = none */
    uint64_t order;                             /* not 0: reaches the service after earlier calls of this number in the same lane */
    struct executor *reply_to;
    void (*done)(struct rpc_call *call);
    void *data;                                 /* the caller's */
    const struct rpc_peer *peer;                /* NULL: of this process. Valid until done */

    /* reply, set by the service before rpc_call_finish() */
    enum errc status;
    struct error error;                         /* story of a status other than OK */
    struct enc reply;                           /* encoded reply message; freed by rpc_call_release() */
    struct buffer *reply_payloads[RPC_PAYLOADS_MAX]; /* references given to the caller */
    unsigned reply_payload_count;

    /* the transport's and service's */
    struct task task;      /* also free for the service to move the call to its executor */
    void *service_data;
    struct rpc_call *next; /* for a service's own queue */
};

struct rpc_channel;

struct rpc_channel_vt {
    void (*call)(struct rpc_channel *channel, struct rpc_call *call);
};

struct rpc_channel {
    const struct rpc_channel_vt *vt;
};

static inline void rpc_call_start(struct rpc_channel *channel, struct rpc_call *call)
{
    channel->vt->call(channel, call);
}

/* The service's last act on a call: posts done to reply_to. error.code must equal status if set. */
void rpc_call_finish(struct rpc_call *call, enum errc status);
/* The caller's last act: frees the reply message and drops the reply payload references. */
void rpc_call_release(struct rpc_call *call);

#endif
