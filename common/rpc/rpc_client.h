/*
 * rpc_client - a channel to another process: one address, a few connections, many calls at once.
 *
 * Connects when there is something to send. Small calls and bulk calls (common/rpc/rpc_schema.h) have connections
 * of their own, so that a small one does not wait behind megabytes. The server's certificate must be of the
 * cluster's CA and name the expected role and node, if any are expected.
 * How a call ends, besides with its service's answer:
 *   UNAVAILABLE  certainly not sent: no connection (a story says why), or its deadline passed before
 *   TIMEOUT      sent, and the deadline passed or the connection was lost: outcome unknown. After a lost connection
 *                a call of class SAFE or SAME is first sent once more; one of class ONCE is not
 *   LIMIT        too many calls or bytes wait or are in flight
 *   INVALID      larger than a frame
 *   CANCELED     the client was destroyed
 * After a failed attempt to connect, calls fail at once until the next attempt is due (RPC_BACKOFF_MS_*). A connection
 * on which a deadline passed in silence gets no new calls, and neither does one with an older certificate than ours.
 * Thread: calls from any thread; they are done on their own reply_to. rpc_client_destroy from any thread.
 * Memory: gives; rpc_client_destroy frees it and then calls back on the loop's thread. No call may begin after it.
 */
#ifndef COMMON_RPC_RPC_CLIENT_H
#define COMMON_RPC_RPC_CLIENT_H

#include "common/base/env.h"
#include "common/base/error.h"
#include "common/base/id.h"
#include "common/io/loop.h"
#include "common/io/tls_context.h"
#include "common/rpc/rpc.h"

#include <stdint.h>

#define RPC_BACKOFF_MS_MIN 50
#define RPC_BACKOFF_MS_MAX 2000

struct rpc_client;

struct rpc_client_config { /* numbers: 0 is the default in rpc_client.c */
    struct env *env;
    struct loop *loop;
    struct tls_context *tls;
    const char *address;       /* "HOST:PORT"; copied */
    struct cluster_id cluster; /* zero: not known yet (with a pinned context) */
    struct node_id self;       /* as in our certificate; zero without one */
    uint8_t role;              /* expected; ROLE_NONE: any */
    struct node_id node;       /* expected; zero: any */
    unsigned small_connections;
    unsigned bulk_connections;
    unsigned calls_max;        /* waiting or in flight */
    uint64_t bytes_max;        /* of their heads and payloads */
    uint32_t connect_ms;       /* for connection, handshake and HELLO */
    uint32_t idle_ms;          /* a connection without calls is closed after it */
};

struct rpc_client_status {
    uint64_t calls;       /* waiting or in flight */
    uint64_t bytes;
    uint64_t connections; /* ready */
    uint64_t connects;    /* ever ready */
    uint64_t repeats;     /* calls sent once more, ever */
};

struct rpc_client *rpc_client_create(const struct rpc_client_config *config);
struct rpc_channel *rpc_client_channel(struct rpc_client *client);
void rpc_client_status(struct rpc_client *client, struct rpc_client_status *ret);
/* `destroyed` may be NULL. */
void rpc_client_destroy(struct rpc_client *client, void (*destroyed)(void *data), void *data);

#endif
