/*
 * rpc_server_parts - what rpc_server.c (the port), rpc_connection.c (a connection) and rpc_request.c (a request)
 * share; nobody else includes it.
 */
#ifndef COMMON_RPC_RPC_SERVER_PARTS_H
#define COMMON_RPC_RPC_SERVER_PARTS_H

#include "common/base/list.h"
#include "common/io/tls_stream.h"
#include "common/rpc/rpc_frame.h"
#include "common/rpc/rpc_schema.h"
#include "common/rpc/rpc_server.h"

#include <stdatomic.h>

struct route {
    uint16_t first;
    uint16_t last;
    struct rpc_channel *channel;
};

/* Of the loop's thread, but for the counters. */
struct rpc_server {
    struct rpc_server_config config;
    struct rpc_server_limits limits;
    struct executor *executor;
    struct tls_listener *listener; /* NULL once stopping */
    unsigned port;
    struct route routes[RPC_SERVER_ROUTES_MAX];
    unsigned route_count;
    struct list connections; /* struct rpc_connection: all */
    struct list strangers;   /* those of them that have shown no certificate, the oldest first */
    unsigned stranger_count;
    struct rpc_hello hello;
    struct node_id *barred;        /* nodes that were removed from the cluster */
    unsigned barred_count;

    bool stopping;
    bool stopped_called;
    uint32_t grace_ms;
    struct task stop_task;
    struct timer grace;
    void (*stopped)(void *data);
    void *stopped_data;

    atomic_uint_fast64_t connection_count;
    atomic_uint_fast64_t requests;
    atomic_uint_fast64_t bytes;
    atomic_uint_fast64_t calls;
    atomic_uint_fast64_t refused;
    atomic_uint_fast64_t slow_downs;
};

struct rpc_connection {
    struct rpc_server *server;
    struct list link;
    struct list stranger_link; /* in the server's list while is_stranger */
    bool is_stranger;          /* counts as one: no certificate of ours has been seen, and its stream is open */
    struct tls_stream *stream; /* NULL once closed */
    struct rpc_peer peer;
    int64_t not_after_s;       /* of the peer's certificate */
    struct rpc_reader reader;
    bool greeted;              /* HELLO received and answered */
    bool paused;
    bool finishing;            /* reads no more requests */
    bool barred;               /* its node was removed since it was opened */
    unsigned requests;         /* in flight: given to services or being answered */
    uint64_t bytes;
    uint64_t reply_bytes;      /* of late: what a bulk call is likely to be answered with */
    struct timer clock;        /* hello deadline, then idle checks */
    uint64_t opened_ns;
    uint64_t last_ns;          /* bytes came */
    struct rpc_request *arriving; /* its header is there, its body is coming */
};

/* One request, from its header to the last byte of its reply. */
struct rpc_request {
    struct rpc_call call;
    struct rpc_connection *connection;
    struct rpc_frame frame;
    uint64_t weight;             /* bytes that it counts for */
    struct rpc_channel *channel; /* NULL: `call.error` is the answer */
    struct enc prefix;           /* of the reply */
    struct tls_write write;
    struct slice parts[RPC_PAYLOADS_MAX + 2];
};

enum errc server_bar_check(const struct rpc_server *self, struct node_id node, struct error *e); /* DENIED: was removed */
enum errc server_bar_error(struct error *e);

void connection_accept(void *data, struct tls_stream *stream);
void connection_refuse(struct rpc_connection *self, const struct error *reason);
/* After a request has ended: reads on, ends, or frees the connection. */
void connection_settle(struct rpc_connection *self);
void connection_finish(struct rpc_connection *self);
void connection_send(struct rpc_connection *self, struct tls_write *write);
void server_refused(struct rpc_server *self, const char *address, const struct error *reason);
/* When nothing is left of a stopping server. */
void server_settle(struct rpc_server *self);
struct rpc_channel *server_route_find(const struct rpc_server *self, uint16_t method);

/* A request's header is there: decides whether its body is wanted. */
struct rpc_request *request_begin(struct rpc_connection *connection, const struct rpc_frame_header *header);
/* The body is there, in `request->frame`. */
void request_run(struct rpc_request *request);
/* The connection ended before the body was there. */
void request_abandon(struct rpc_request *request);

#endif
