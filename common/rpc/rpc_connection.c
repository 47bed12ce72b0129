/*
 * One connection of a server: handshake, HELLO, requests, backpressure, deadlines, end.
 *
 * It is freed when its stream has closed and its last request has been finished by the service.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_server_parts.h"

#include <stdio.h>
#include <string.h>

/* A HELLO of ours, or a refusal: a write of its own. */
struct greeting {
    struct enc bytes;
    struct slice part;
    struct tls_write write;
};

static void on_greeting_sent(struct tls_write *write, enum errc status)
{
    struct greeting *greeting = container_of(write, struct greeting, write);
    (void)status;
    enc_free(&greeting->bytes);
    mem_free(greeting);
}

/* Answers the HELLO: ours with OK, or with the reason why this ends here. */
static void greeting_send(struct rpc_connection *self, const struct error *refusal)
{
    struct greeting *greeting = mem_zalloc(sizeof(*greeting));
    struct enc hello = ENC_INIT;
    rpc_hello_encode(&hello, &self->server->hello);
    struct rpc_frame_header header = {
        .version = RPC_PROTOCOL_MAX,
        .kind = RPC_FRAME_HELLO,
        .status = (uint16_t)(refusal != NULL ? refusal->code : ERRC_OK),
    };
    struct rpc_frame_parts parts = {
        .text = refusal != NULL ? slice_str(refusal->text) : SLICE_EMPTY,
        .head = enc_slice(&hello),
    };
    enum errc rc = rpc_frame_prefix(&header, &parts, &greeting->bytes, NULL);
    ASSERT(rc == ERRC_OK);
    enc_raw(&greeting->bytes, hello.data, hello.len);
    enc_free(&hello);
    greeting->part = enc_slice(&greeting->bytes);
    greeting->write = (struct tls_write){ .parts = &greeting->part, .count = 1, .done = on_greeting_sent };
    tls_stream_write(self->stream, &greeting->write);
}

/* ---- ends ---- */

/* Has shown its certificate, is being closed, or has closed. */
static void stranger_leave(struct rpc_connection *self)
{
    if (self->is_stranger) {
        self->is_stranger = false;
        list_remove(&self->stranger_link);
        self->server->stranger_count--;
    }
}

static void connection_free(struct rpc_connection *self)
{
    struct rpc_server *server = self->server;
    timer_stop(server->executor, &self->clock);
    list_remove(&self->link);
    rpc_reader_done(&self->reader);
    (void)atomic_fetch_sub(&server->connection_count, 1);
    mem_free(self);
    server_settle(server);
}

void connection_finish(struct rpc_connection *self)
{
    if (!self->finishing && self->stream != NULL) {
        self->finishing = true;
        tls_stream_finish(self->stream);
    }
}

/* The peer is told why, in a HELLO, whatever it was that it sent. */
void connection_refuse(struct rpc_connection *self, const struct error *reason)
{
    server_refused(self->server, self->peer.address, reason);
    if (!self->finishing && self->stream != NULL) {
        greeting_send(self, reason);
    }
    connection_finish(self);
}

static void pressure_check(struct rpc_connection *self)
{
    const struct rpc_server_limits *limits = &self->server->limits;
    bool full = self->requests >= limits->connection_requests || self->bytes >= limits->connection_bytes;
    if (full == self->paused || self->stream == NULL) {
        return;
    }
    self->paused = full;
    if (full) {
        tls_stream_pause(self->stream);
    } else {
        tls_stream_resume(self->stream);
    }
}

void connection_settle(struct rpc_connection *self)
{
    if (self->stream == NULL) {
        if (self->requests == 0) {
            connection_free(self);
        }
        return;
    }
    pressure_check(self);
    unsigned busy = self->requests - (self->arriving != NULL ? 1 : 0); /* a body that never comes keeps nothing open */
    if (self->barred && busy == 0 && !self->finishing) {
        struct error e = ERROR_INIT;
        (void)server_bar_error(&e);
        connection_refuse(self, &e);
    } else if (self->server->stopping && self->requests == 0) {
        connection_finish(self);
    }
}

void connection_send(struct rpc_connection *self, struct tls_write *write)
{
    tls_stream_write(self->stream, write);
}

/* ---- HELLO ---- */

static enum errc hello_check(struct rpc_connection *self, const struct rpc_frame *frame, uint16_t *ret_version,
                             struct error *e)
{
    const struct rpc_hello *ours = &self->server->hello;
    struct rpc_hello theirs;
    enum errc rc = rpc_hello_decode(slice_of(frame->head, frame->header.head_bytes), &theirs, e);
    if (rc == ERRC_OK) {
        rc = rpc_hello_agree(ours, &theirs, ret_version, e);
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    bool stranger = self->peer.role == ROLE_NONE;
    if (!(stranger && cluster_id_is_zero(theirs.cluster)) && !cluster_id_equal(theirs.cluster, ours->cluster)) {
        return error_set(e, ERRC_DENIED, "the peer belongs to another cluster");
    }
    if (!stranger && !node_id_equal(theirs.node, self->peer.node)) {
        return error_set(e, ERRC_DENIED, "the peer's HELLO and certificate name different nodes");
    }
    return ERRC_OK;
}

static void hello_received(struct rpc_connection *self)
{
    struct error e = ERROR_INIT;
    struct rpc_frame frame;
    uint16_t version = 0;
    rpc_reader_take(&self->reader, &frame);
    if (hello_check(self, &frame, &version, &e) != ERRC_OK) {
        connection_refuse(self, &e);
    } else {
        self->greeted = true;
        self->reader.version = version;
        greeting_send(self, NULL);
    }
    rpc_frame_drop(&frame);
}

/* ---- reading ---- */

static uint8_t *on_target(void *data, size_t *ret_len)
{
    struct rpc_connection *self = data;
    return rpc_reader_target(&self->reader, ret_len);
}

/* The kind that has its turn; a HELLO is small. */
static bool kind_ok(const struct rpc_connection *self, const struct rpc_frame_header *header)
{
    if (self->greeted) {
        return header->kind == RPC_FRAME_REQUEST;
    }
    return header->kind == RPC_FRAME_HELLO && header->head_bytes <= 1024 && header->payload_count == 0;
}

static void frame_received(struct rpc_connection *self)
{
    if (!self->greeted) {
        hello_received(self);
        return;
    }
    struct rpc_request *request = self->arriving;
    self->arriving = NULL;
    rpc_reader_take(&self->reader, &request->frame);
    pressure_check(self);
    request_run(request);
}

static void on_received(void *data, size_t len)
{
    struct rpc_connection *self = data;
    struct error e = ERROR_INIT;
    self->last_ns = env_now_ns(self->server->config.env);
    enum rpc_read_event event = rpc_reader_received(&self->reader, len, &e);
    if (event == RPC_READ_HEADER) {
        if (!kind_ok(self, &self->reader.frame.header)) {
            (void)error_set(&e, ERRC_INVALID, "a frame out of place");
            event = RPC_READ_FAILED;
        } else {
            if (self->greeted) {
                self->arriving = request_begin(self, &self->reader.frame.header);
            }
            event = rpc_reader_received(&self->reader, 0, &e); /* there may be no body */
        }
    }
    if (event == RPC_READ_FAILED) {
        connection_refuse(self, &e);
    } else if (event == RPC_READ_FRAME) {
        frame_received(self);
    }
}

/* ---- begin and end of the stream ---- */

static void on_opened(void *data)
{
    struct rpc_connection *self = data;
    struct certificate_identity identity;
    struct error e = ERROR_INIT;
    enum errc rc = tls_stream_peer(self->stream, &identity, &e);
    if (rc == ERRC_NOT_FOUND) {
        self->peer.role = ROLE_NONE;
        return;
    }
    if (rc == ERRC_OK && !cluster_id_equal(identity.cluster, self->server->config.cluster)) {
        rc = error_set(&e, ERRC_DENIED, "the peer's certificate is of another cluster");
    }
    struct rpc_server *server = self->server;
    rc = rc == ERRC_OK ? server_bar_check(server, identity.node, &e) : rc;
    if (rc == ERRC_OK && atomic_load(&server->connection_count) - server->stranger_count >= server->limits.connections) {
        rc = error_set(&e, ERRC_LIMIT, "more than %u connections", server->limits.connections);
    }
    if (rc != ERRC_OK) {
        connection_refuse(self, &e);
        return;
    }
    stranger_leave(self);
    self->peer.role = identity.role;
    self->peer.node = identity.node;
    self->not_after_s = identity.not_after_s;
}

static void on_closed(void *data, const struct error *reason)
{
    struct rpc_connection *self = data;
    self->stream = NULL;
    stranger_leave(self);
    if (!self->greeted && !self->finishing) {
        server_refused(self->server, self->peer.address, reason); /* it never became a peer */
    }
    self->requests++; /* keeps us until the last line */
    if (self->arriving != NULL) {
        request_abandon(self->arriving);
        self->arriving = NULL;
    }
    self->requests--;
    connection_settle(self);
}

static const struct tls_stream_events stream_events = { on_opened, on_target, on_received, on_closed };

/* ---- deadlines ---- */

static void clock_start(struct rpc_connection *self)
{
    const struct rpc_server_limits *limits = &self->server->limits;
    uint32_t idle_ms = self->peer.role == ROLE_NONE ? limits->stranger_ms : limits->idle_ms;
    timer_start(self->server->executor, &self->clock, self->greeted ? idle_ms : limits->hello_ms);
}

static void on_clock(struct task *task)
{
    struct rpc_connection *self = container_of(container_of(task, struct timer, task), struct rpc_connection, clock);
    const struct rpc_server_limits *limits = &self->server->limits;
    struct error e = ERROR_INIT;
    uint64_t now = env_now_ns(self->server->config.env);
    if (self->stream == NULL) {
        return;
    }
    bool stranger = self->peer.role == ROLE_NONE;
    bool greets_late = !self->greeted && now - self->opened_ns >= (uint64_t)limits->hello_ms * 1000000u;
    bool stays_long = self->greeted && stranger && now - self->opened_ns >= (uint64_t)limits->stranger_ms * 1000000u;
    unsigned busy = self->requests - (self->arriving != NULL ? 1 : 0); /* a body that never comes keeps nothing open */
    bool idle = self->greeted && busy == 0 && now - self->last_ns >= (uint64_t)limits->idle_ms * 1000000u;
    if (greets_late) {
        (void)error_set(&e, ERRC_TIMEOUT, "no HELLO within %u ms", limits->hello_ms);
        self->finishing = true;
        server_refused(self->server, self->peer.address, &e);
        tls_stream_close(self->stream);
    } else if (stays_long) {
        tls_stream_close(self->stream);
    } else if (idle) {
        connection_finish(self);
    } else {
        clock_start(self);
    }
}

/* Peers show their certificate within a round trip or two, so a flood of strangers has to be fast to keep one out;
 * those that have shown it are not touched. */
static void strangers_make_room(struct rpc_server *server)
{
    while (server->stranger_count >= server->limits.strangers) {
        struct rpc_connection *oldest = container_of(server->strangers.next, struct rpc_connection, stranger_link);
        struct error e = ERROR_INIT;
        (void)error_set(&e, ERRC_LIMIT, "more than %u connections without a certificate: the oldest is closed",
                        server->limits.strangers);
        server_refused(server, oldest->peer.address, &e);
        oldest->finishing = true;
        stranger_leave(oldest);
        tls_stream_close(oldest->stream);
    }
}

void connection_accept(void *data, struct tls_stream *stream)
{
    struct rpc_server *server = data;
    strangers_make_room(server);
    struct rpc_connection *self = mem_zalloc(sizeof(*self));
    self->server = server;
    self->stream = stream;
    self->clock.task.run = on_clock;
    self->opened_ns = self->last_ns = env_now_ns(server->config.env);
    (void)snprintf(self->peer.address, sizeof(self->peer.address), "%s", tls_stream_address(stream));
    rpc_reader_init(&self->reader, RPC_PROTOCOL_MAX);
    list_append(&server->connections, &self->link);
    list_append(&server->strangers, &self->stranger_link);
    self->is_stranger = true;
    server->stranger_count++;
    (void)atomic_fetch_add(&server->connection_count, 1);
    clock_start(self);
    tls_stream_start(stream, &stream_events, self);
}
