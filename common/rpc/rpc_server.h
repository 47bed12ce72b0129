/*
 * rpc_server - the port of a process: gives calls of other processes to this one's services.
 *
 * A connection is TLS with a certificate of the cluster's CA (or none: ROLE_NONE), then a HELLO each way, then
 * frames. Each method has its roles in common/rpc/rpc_schema.h; a call by another role is answered DENIED, told to
 * on_refused (or logged), and reaches no service. So are calls of methods that no route serves (UNSUPPORTED).
 * Replies leave in the order in which services finish. Limits: a connection with too many requests or bytes in
 * flight is not read from until some are answered; beyond the server's total a request is answered LIMIT.
 * Thread: rpc_server_open, rpc_server_route before the loop runs or on its thread; rpc_server_stop and
 * rpc_server_status from anywhere. Services are called on the loop's thread and finish calls from any.
 * Memory: gives; rpc_server_destroy after stop has called back. Config's pointers are borrowed until then.
 */
#ifndef COMMON_RPC_RPC_SERVER_H
#define COMMON_RPC_RPC_SERVER_H

#include "common/base/env.h"
#include "common/base/error.h"
#include "common/base/id.h"
#include "common/io/loop.h"
#include "common/io/tls_context.h"
#include "common/rpc/rpc.h"

#include <stdint.h>

#define RPC_SERVER_ROUTES_MAX 16

struct rpc_server;

struct rpc_server_limits { /* 0: the default in rpc_server.c */
    unsigned connections;         /* with a certificate */
    unsigned strangers;           /* connections without one, or without one yet: the oldest gives way to a new one */
    unsigned requests;            /* in flight, all connections */
    uint64_t bytes;
    unsigned connection_requests; /* in flight, of one connection */
    uint64_t connection_bytes;
    uint32_t hello_ms;            /* for handshake and HELLO */
    uint32_t idle_ms;             /* without a byte and without a request in flight */
    uint32_t stranger_ms;         /* life of a connection without a certificate */
};

struct rpc_server_config {
    struct env *env;
    struct loop *loop;
    struct tls_context *tls;
    struct cluster_id cluster;
    struct node_id node;
    struct rpc_server_limits limits;
    /* A peer or a call was refused; on the loop's thread. NULL: a line in the log. */
    void (*on_refused)(void *data, const char *peer_address, const struct error *reason);
    void *data;
};

struct rpc_server_status {
    uint64_t connections; /* now */
    uint64_t requests;    /* in flight */
    uint64_t bytes;       /* of them and of replies that are not sent yet */
    uint64_t calls;       /* ever given to services */
    uint64_t refused;     /* ever: connections, frames and calls */
    uint64_t slow_downs;  /* ever answered LIMIT by the port itself */
};

/* Listens on "ADDR:PORT" (port 0: a free one). */
MUST_CHECK enum errc rpc_server_open(const struct rpc_server_config *config, const char *address,
                                     struct rpc_server **ret_server, struct error *e);
unsigned rpc_server_port(const struct rpc_server *server);
/* Methods first..last go to the channel; a later route of the same methods replaces an earlier one. */
void rpc_server_route(struct rpc_server *server, uint16_t method_first, uint16_t method_last,
                      struct rpc_channel *channel);

/* Nodes that were removed from the cluster, beside those named before, for ever: their connections are refused DENIED. One that
 * stands takes no more calls and ends when those under way are answered. Any thread, not after rpc_server_stop. */
void rpc_server_bar(struct rpc_server *server, const struct node_id *nodes, unsigned count);

/* Takes no new connections and answers new requests UNAVAILABLE; those in flight finish and are answered, at most
 * `grace_ms` long, then connections are closed. `stopped` runs once, on the loop's thread, when the services have
 * finished every call. */
void rpc_server_stop(struct rpc_server *server, uint32_t grace_ms, void (*stopped)(void *data), void *data);
void rpc_server_status(struct rpc_server *server, struct rpc_server_status *ret);
void rpc_server_destroy(struct rpc_server *server); /* after `stopped`; NULL is fine */

#endif
