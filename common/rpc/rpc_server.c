#include "common/rpc/rpc_server.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/io/log.h"
#include "common/rpc/rpc_server_parts.h"

#include <stdio.h>
#include <string.h>

static const struct rpc_server_limits defaults = {
    .connections = 2048,
    .strangers = 256,
    .requests = 8192,
    .bytes = 512u << 20,
    .connection_requests = 512,
    .connection_bytes = 64u << 20,
    .hello_ms = 10000,
    .idle_ms = 300000,
    .stranger_ms = 60000,
};

static void limits_set(struct rpc_server_limits *target, const struct rpc_server_limits *wanted)
{
    *target = *wanted;
#define DEFAULT(field) target->field = wanted->field != 0 ? wanted->field : defaults.field
    DEFAULT(connections);
    DEFAULT(strangers);
    DEFAULT(requests);
    DEFAULT(bytes);
    DEFAULT(connection_requests);
    DEFAULT(connection_bytes);
    DEFAULT(hello_ms);
    DEFAULT(idle_ms);
    DEFAULT(stranger_ms);
#undef DEFAULT
}

void server_refused(struct rpc_server *self, const char *address, const struct error *reason)
{
    (void)atomic_fetch_add(&self->refused, 1);
    if (self->config.on_refused != NULL) {
        self->config.on_refused(self->config.data, address, reason);
    } else {
        LOG_WARN(log_event("rpc_refused"), log_text("peer", address), log_text("code", errc_name(reason->code)),
                 log_error_of(reason));
    }
}

struct rpc_channel *server_route_find(const struct rpc_server *self, uint16_t method)
{
    for (unsigned i = self->route_count; i > 0; i--) {
        const struct route *route = &self->routes[i - 1];
        if (method >= route->first && method <= route->last) {
            return route->channel;
        }
    }
    return NULL;
}

void rpc_server_route(struct rpc_server *self, uint16_t method_first, uint16_t method_last, struct rpc_channel *channel)
{
    ASSERT(self->route_count < RPC_SERVER_ROUTES_MAX);
    self->routes[self->route_count++] = (struct route){ method_first, method_last, channel };
}

/* ---- nodes that were removed ---- */

struct bar {
    struct task task;
    struct rpc_server *server;
    unsigned count;
    struct node_id nodes[];
};

enum errc server_bar_error(struct error *e)
{
    return error_set(e, ERRC_DENIED, "this node was removed from the cluster: join with an empty --data");
}

enum errc server_bar_check(const struct rpc_server *self, struct node_id node, struct error *e)
{
    for (unsigned i = 0; i < self->barred_count; i++) {
        if (node_id_equal(self->barred[i], node)) {
            return server_bar_error(e);
        }
    }
    return ERRC_OK;
}

static void on_bar(struct task *task)
{
    struct bar *bar = container_of(task, struct bar, task);
    struct rpc_server *self = bar->server;
    self->barred = mem_realloc(self->barred, (self->barred_count + bar->count) * sizeof(struct node_id));
    for (unsigned i = 0; i < bar->count; i++) {
        if (server_bar_check(self, bar->nodes[i], NULL) == ERRC_OK) {
            self->barred[self->barred_count++] = bar->nodes[i];
        }
    }
    list_for_each(node, &self->connections) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, link);
        if (connection->stream != NULL && connection->peer.role != ROLE_NONE &&
            server_bar_check(self, connection->peer.node, NULL) != ERRC_OK) {
            connection->barred = true;
            connection_settle(connection);
        }
    }
    mem_free(bar);
}

void rpc_server_bar(struct rpc_server *self, const struct node_id *nodes, unsigned count)
{
    if (count == 0) {
        return;
    }
    struct bar *bar = mem_alloc(sizeof(*bar) + count * sizeof(*nodes));
    *bar = (struct bar){ .task = { .run = on_bar }, .server = self, .count = count };
    memcpy(bar->nodes, nodes, count * sizeof(*nodes));
    executor_post(self->executor, &bar->task);
}

/* ---- stopping ---- */

void server_settle(struct rpc_server *self)
{
    if (!self->stopping || self->stopped_called || !list_empty(&self->connections)) {
        return;
    }
    self->stopped_called = true;
    timer_stop(self->executor, &self->grace);
    self->stopped(self->stopped_data);
}

static void on_grace(struct task *task)
{
    struct rpc_server *self = container_of(container_of(task, struct timer, task), struct rpc_server, grace);
    list_for_each(node, &self->connections) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, link);
        if (connection->stream != NULL) {
            connection->finishing = true;
            tls_stream_close(connection->stream);
        }
    }
}

static void on_stop(struct task *task)
{
    struct rpc_server *self = container_of(task, struct rpc_server, stop_task);
    self->stopping = true;
    tls_listener_close(self->listener);
    self->listener = NULL;
    timer_start(self->executor, &self->grace, self->grace_ms);
    list_for_each(node, &self->connections) {
        struct rpc_connection *connection = container_of(node, struct rpc_connection, link);
        if (connection->requests == 0) {
            connection_finish(connection);
        }
    }
    server_settle(self);
}

void rpc_server_stop(struct rpc_server *self, uint32_t grace_ms, void (*stopped)(void *data), void *data)
{
    ASSERT(self->stopped == NULL);
    self->stopped = stopped;
    self->stopped_data = data;
    self->grace_ms = grace_ms;
    self->stop_task.run = on_stop;
    executor_post(self->executor, &self->stop_task);
}

void rpc_server_destroy(struct rpc_server *self)
{
    if (self == NULL) {
        return;
    }
    ASSERT(self->stopped_called);
    mem_free(self->barred);
    mem_free(self);
}

/* ---- opening ---- */

enum errc rpc_server_open(const struct rpc_server_config *config, const char *address, struct rpc_server **ret_server,
                          struct error *e)
{
    struct rpc_server *self = mem_zalloc(sizeof(*self));
    self->config = *config;
    limits_set(&self->limits, &config->limits);
    self->executor = loop_executor(config->loop);
    self->grace.task.run = on_grace;
    list_init(&self->connections);
    list_init(&self->strangers);
    self->hello = (struct rpc_hello){ RPC_PROTOCOL_MIN, RPC_PROTOCOL_MAX, config->cluster, config->node, CAIRN_VERSION };
    enum errc rc = tls_listener_open(config->loop, config->tls, address, connection_accept, self, &self->listener, e);
    if (rc != ERRC_OK) {
        mem_free(self);
        return rc;
    }
    self->port = tls_listener_port(self->listener);
    *ret_server = self;
    return ERRC_OK;
}

unsigned rpc_server_port(const struct rpc_server *self)
{
    return self->port;
}

void rpc_server_status(struct rpc_server *self, struct rpc_server_status *ret)
{
    *ret = (struct rpc_server_status){
        .connections = atomic_load(&self->connection_count),
        .requests = atomic_load(&self->requests),
        .bytes = atomic_load(&self->bytes),
        .calls = atomic_load(&self->calls),
        .refused = atomic_load(&self->refused),
        .slow_downs = atomic_load(&self->slow_downs),
    };
}
