/*
 * One request of a server: admitted by its header, given to a service, answered.
 *
 *   begin (header) -> run (body) -> the service -> on_finished -> on_sent -> freed
 *          a request that is not admitted goes from run to on_finished
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_server_parts.h"

#include <stdio.h>

#define PAYLOAD_OVERHEAD_BYTES 4096u     /* a buffer takes at least this */
#define BULK_REPLY_BYTES (256u << 10)    /* what a bulk call counts for before its reply is there, at least */
#define STRANGER_BYTES_MAX (64u << 10)   /* body of a request without a certificate */

static uint64_t request_weight(const struct rpc_connection *connection, const struct rpc_frame_header *header,
                               const struct rpc_method_info *info)
{
    uint64_t reply = connection->reply_bytes > BULK_REPLY_BYTES ? connection->reply_bytes : BULK_REPLY_BYTES;
    uint64_t weight = sizeof(struct rpc_request) + header->head_bytes + header->payload_bytes +
                      (uint64_t)header->payload_count * PAYLOAD_OVERHEAD_BYTES;
    return weight + (info != NULL && info->lane == RPC_LANE_BULK ? reply : 0);
}

static void weight_set(struct rpc_request *request, uint64_t weight)
{
    struct rpc_connection *connection = request->connection;
    connection->bytes += weight - request->weight;
    (void)atomic_fetch_add(&connection->server->bytes, weight - request->weight); /* wraps, as it should */
    request->weight = weight;
}

/* OK, or why the call must not reach a service; `e` tells. */
static enum errc request_admit(const struct rpc_request *request, const struct rpc_frame_header *header,
                               const struct rpc_method_info *info, struct error *e)
{
    const struct rpc_connection *connection = request->connection;
    struct rpc_server *server = connection->server;
    uint8_t role = connection->peer.role;
    if (connection->barred) {
        return server_bar_error(e);
    }
    if (info == NULL) {
        return error_set(e, ERRC_UNSUPPORTED, "method 0x%04x is not known here", header->method);
    }
    if ((info->roles & ROLE_BIT(role)) == 0) {
        return error_set(e, ERRC_DENIED, "%s is not for role %s", info->name, cluster_role_name(role));
    }
    if (role != ROLE_NONE && env_wall_ms(server->config.env) / 1000 > (uint64_t)connection->not_after_s) {
        return error_set(e, ERRC_DENIED, "%s: the certificate of the connection has expired", info->name);
    }
    if (role == ROLE_NONE && rpc_frame_body_bytes(header) > STRANGER_BYTES_MAX) {
        return error_set(e, ERRC_DENIED, "%s: %llu bytes without a certificate", info->name,
                         (unsigned long long)rpc_frame_body_bytes(header));
    }
    if (server->stopping) {
        return error_set(e, ERRC_UNAVAILABLE, "shutting down");
    }
    if (request->channel == NULL) {
        return error_set(e, ERRC_UNSUPPORTED, "%s is not served here", info->name);
    }
    if (atomic_load(&server->requests) > server->limits.requests ||
        atomic_load(&server->bytes) + request_weight(connection, header, info) > server->limits.bytes) {
        (void)atomic_fetch_add(&server->slow_downs, 1);
        return error_set(e, ERRC_LIMIT, "slow down: too many requests in flight");
    }
    return ERRC_OK;
}

struct rpc_request *request_begin(struct rpc_connection *connection, const struct rpc_frame_header *header)
{
    struct rpc_request *request = mem_zalloc(sizeof(*request));
    struct rpc_server *server = connection->server;
    const struct rpc_method_info *info = rpc_method_find(header->method);
    request->connection = connection;
    request->call.peer = &connection->peer;
    connection->requests++;
    (void)atomic_fetch_add(&server->requests, 1);
    request->channel = server_route_find(server, header->method);
    if (request_admit(request, header, info, &request->call.error) != ERRC_OK) {
        request->channel = NULL;
        rpc_reader_discard(&connection->reader);
        weight_set(request, sizeof(*request));
        if (request->call.error.code == ERRC_DENIED || request->call.error.code == ERRC_UNSUPPORTED) {
            server_refused(server, connection->peer.address, &request->call.error);
        }
    } else {
        weight_set(request, request_weight(connection, header, info));
    }
    return request;
}

static void request_free(struct rpc_request *request)
{
    struct rpc_connection *connection = request->connection;
    rpc_call_release(&request->call);
    rpc_frame_drop(&request->frame);
    enc_free(&request->prefix);
    weight_set(request, 0);
    connection->requests--;
    (void)atomic_fetch_sub(&connection->server->requests, 1);
    mem_free(request);
    connection_settle(connection);
}

void request_abandon(struct rpc_request *request)
{
    request_free(request);
}

static void on_sent(struct tls_write *write, enum errc status)
{
    (void)status; /* a lost connection is its own story */
    request_free(container_of(write, struct rpc_request, write));
}

/* The frame of the reply. A reply that fits in no frame becomes an error that says so. */
static void reply_prefix(struct rpc_request *request)
{
    struct rpc_call *call = &request->call;
    struct error too_large = ERROR_INIT;
    struct rpc_frame_header header = {
        .version = request->connection->reader.version,
        .kind = RPC_FRAME_REPLY,
        .call_id = request->frame.header.call_id,
        .status = (uint16_t)call->status,
    };
    struct rpc_frame_parts parts = {
        .text = call->status != ERRC_OK ? slice_str(call->error.text) : SLICE_EMPTY,
        .head = enc_slice(&call->reply),
        .payloads = call->reply_payloads,
        .payload_count = call->reply_payload_count,
    };
    if (rpc_frame_prefix(&header, &parts, &request->prefix, &too_large) != ERRC_OK) {
        rpc_call_release(call);
        header.status = ERRC_LIMIT;
        parts = (struct rpc_frame_parts){ .text = slice_str(too_large.text) };
        enum errc rc = rpc_frame_prefix(&header, &parts, &request->prefix, NULL);
        ASSERT(rc == ERRC_OK);
    }
}

static void request_reply(struct rpc_request *request)
{
    struct rpc_call *call = &request->call;
    uint64_t weight = sizeof(*request) + call->reply.len;
    reply_prefix(request);
    request->parts[0] = enc_slice(&request->prefix);
    request->parts[1] = enc_slice(&call->reply);
    for (unsigned i = 0; i < call->reply_payload_count; i++) {
        request->parts[i + 2] = buffer_slice(call->reply_payloads[i]);
        weight += call->reply_payloads[i]->capacity;
    }
    weight_set(request, weight);
    struct rpc_connection *connection = request->connection;
    connection->reply_bytes -= connection->reply_bytes / 8;
    connection->reply_bytes = connection->reply_bytes > weight ? connection->reply_bytes : weight;
    request->write = (struct tls_write){ .parts = request->parts, .count = call->reply_payload_count + 2, .done = on_sent };
    connection_send(connection, &request->write);
}

static void on_finished(struct rpc_call *call)
{
    struct rpc_request *request = container_of(call, struct rpc_request, call);
    rpc_frame_drop(&request->frame); /* the service is done with it */
    if (request->connection->stream == NULL) {
        request_free(request); /* nobody waits for the answer */
    } else {
        request_reply(request);
    }
}

void request_run(struct rpc_request *request)
{
    struct rpc_call *call = &request->call;
    struct rpc_server *server = request->connection->server;
    if (request->channel != NULL && request->connection->barred) { /* while its body came */
        (void)server_bar_error(&call->error);
        request->channel = NULL;
    }
    if (request->channel == NULL) {
        call->status = call->error.code;
        on_finished(call);
        return;
    }
    const struct rpc_frame *frame = &request->frame;
    call->method = frame->header.method;
    call->head = slice_of(frame->head, frame->header.head_bytes);
    for (unsigned i = 0; i < frame->payload_count; i++) {
        call->payloads[i] = frame->payloads[i];
    }
    call->payload_count = frame->payload_count;
    if (frame->header.deadline_ms > 0) {
        call->deadline_ns = env_now_ns(server->config.env) + (uint64_t)frame->header.deadline_ms * 1000000u;
    }
    call->reply_to = server->executor;
    call->done = on_finished;
    (void)atomic_fetch_add(&server->calls, 1);
    rpc_call_start(request->channel, call);
}
