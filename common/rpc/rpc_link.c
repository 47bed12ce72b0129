/*
 * One connection of a client: connect, handshake, who is there, HELLO, then calls.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/io/log.h"
#include "common/rpc/rpc_client_parts.h"

#include <stdio.h>
#include <string.h>

#define REFUSAL_LOG_NS UINT64_C(60000000000)

static void link_fail(struct link *self, const struct error *reason)
{
    if (self->reason.code == ERRC_OK) {
        self->reason = *reason;
    }
    if (self->stream != NULL) {
        tls_stream_close(self->stream);
    }
}

void link_retire(struct link *self)
{
    if (!self->retired) {
        self->retired = true;
        self->lane->link_count--;
        list_remove(&self->node);
        list_append(&self->client->retired, &self->node);
    }
    link_settle(self);
}

void link_settle(struct link *self)
{
    if (self->retired && self->call_count == 0 && self->stream != NULL) {
        tls_stream_finish(self->stream);
    }
}

/* ---- HELLO ---- */

static void on_hello_written(struct tls_write *write, enum errc status)
{
    struct link *self = container_of(write, struct link, hello_write);
    (void)status;
    enc_free(&self->hello);
}

static void hello_send(struct link *self)
{
    struct enc hello = ENC_INIT;
    rpc_hello_encode(&hello, &self->client->hello);
    struct rpc_frame_header header = { .version = RPC_PROTOCOL_MAX, .kind = RPC_FRAME_HELLO };
    struct rpc_frame_parts parts = { .head = enc_slice(&hello) };
    enum errc rc = rpc_frame_prefix(&header, &parts, &self->hello, NULL);
    ASSERT(rc == ERRC_OK);
    enc_raw(&self->hello, hello.data, hello.len);
    enc_free(&hello);
    self->hello_part = enc_slice(&self->hello);
    self->hello_write = (struct tls_write){ .parts = &self->hello_part, .count = 1, .done = on_hello_written };
    tls_stream_write(self->stream, &self->hello_write);
}

static enum errc peer_check(struct link *self, struct error *e)
{
    const struct rpc_client_config *config = &self->client->config;
    struct certificate_identity identity;
    enum errc rc = tls_stream_peer(self->stream, &identity, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (!cluster_id_is_zero(config->cluster) && !cluster_id_equal(identity.cluster, config->cluster)) {
        return error_set(e, ERRC_DENIED, "it belongs to another cluster");
    }
    if (config->role != ROLE_NONE && identity.role != config->role) {
        return error_set(e, ERRC_DENIED, "it is a %s, not a %s", cluster_role_name(identity.role),
                         cluster_role_name(config->role));
    }
    if (!node_id_is_zero(config->node) && !node_id_equal(identity.node, config->node)) {
        char found[ID_HEX_BYTES];
        char wanted[ID_HEX_BYTES];
        id_hex(identity.node.bytes, found);
        id_hex(config->node.bytes, wanted);
        return error_set(e, ERRC_DENIED, "it is node %s, not %s", found, wanted);
    }
    return ERRC_OK;
}

static void on_opened(void *data)
{
    struct link *self = data;
    struct error e = ERROR_INIT;
    if (peer_check(self, &e) != ERRC_OK) {
        link_fail(self, &e);
        return;
    }
    self->state = LINK_GREETING;
    hello_send(self);
}

/* Once a minute for each client: it is tried again and again. */
static void refusal_log(struct rpc_client *client, const struct error *reason)
{
    uint64_t now_ns = env_now_ns(client->config.env);
    if (client->refusal_logged_ns == 0 || now_ns - client->refusal_logged_ns >= REFUSAL_LOG_NS) {
        client->refusal_logged_ns = now_ns;
        LOG_WARN(log_event("refused_by_peer"), log_text("peer", client->address), log_error_of(reason));
    }
}

/* The answer to ours, or the reason why the peer closes. */
static void hello_received(struct link *self, const struct rpc_frame *frame)
{
    struct error e = ERROR_INIT;
    struct rpc_hello theirs;
    uint16_t version;
    if (frame->header.status != ERRC_OK) {
        (void)error_set(&e, (enum errc)frame->header.status, "refused by the peer: %s", frame->text);
        refusal_log(self->client, &e);
    } else if (self->state != LINK_GREETING) {
        (void)error_set(&e, ERRC_INVALID, "a HELLO out of place");
    } else if (rpc_hello_decode(slice_of(frame->head, frame->header.head_bytes), &theirs, &e) == ERRC_OK &&
               rpc_hello_agree(&self->client->hello, &theirs, &version, &e) == ERRC_OK) {
        self->reader.version = version;
        self->state = LINK_READY;
        (void)atomic_fetch_add(&self->client->connections, 1);
        timer_start(self->client->executor, &self->clock, self->client->config.idle_ms);
        client_connected(self->client);
        lane_pump(self->lane, self->client);
        return;
    }
    link_fail(self, &e);
}

/* ---- reading ---- */

static uint8_t *on_target(void *data, size_t *ret_len)
{
    struct link *self = data;
    return rpc_reader_target(&self->reader, ret_len);
}

static void frame_received(struct link *self)
{
    struct rpc_frame frame;
    bool unwanted = self->reader.discard; /* nobody waited when its header came; a call begun since has not its body */
    rpc_reader_take(&self->reader, &frame);
    if (frame.header.kind == RPC_FRAME_HELLO) {
        hello_received(self, &frame);
    } else if (!unwanted) {
        struct client_call *call = client_call_find(self->client, frame.header.call_id);
        if (call != NULL && call->link == self) {
            client_call_reply(call, &frame);
        } /* otherwise its caller has given up */
    }
    rpc_frame_drop(&frame);
}

static void on_received(void *data, size_t len)
{
    struct link *self = data;
    struct error e = ERROR_INIT;
    self->received_ns = env_now_ns(self->client->config.env);
    enum rpc_read_event event = rpc_reader_received(&self->reader, len, &e);
    if (event == RPC_READ_HEADER) {
        const struct rpc_frame_header *header = &self->reader.frame.header;
        if (header->kind == RPC_FRAME_REQUEST || (header->kind == RPC_FRAME_REPLY && self->state != LINK_READY)) {
            (void)error_set(&e, ERRC_INVALID, "a frame out of place");
            event = RPC_READ_FAILED;
        } else {
            if (header->kind == RPC_FRAME_REPLY && client_call_find(self->client, header->call_id) == NULL) {
                rpc_reader_discard(&self->reader);
            }
            event = rpc_reader_received(&self->reader, 0, &e);
        }
    }
    if (event == RPC_READ_FAILED) {
        link_fail(self, &e);
    } else if (event == RPC_READ_FRAME) {
        frame_received(self);
    }
}

/* ---- end ---- */

static void on_closed(void *data, const struct error *reason)
{
    struct link *self = data;
    struct rpc_client *client = self->client;
    struct lane *lane = self->lane;
    bool was_ready = self->state == LINK_READY;
    const struct error *why = self->reason.code != ERRC_OK ? &self->reason : reason;
    self->stream = NULL;
    self->state = LINK_CLOSED;
    timer_stop(client->executor, &self->clock);
    list_remove(&self->node);
    lane->link_count -= self->retired ? 0 : 1;
    if (was_ready) {
        (void)atomic_fetch_sub(&client->connections, 1);
        client_link_lost(client, self, why);
    } else if (!client->destroying) {
        client_connect_failed(client, why);
    }
    rpc_reader_done(&self->reader);
    enc_free(&self->hello);
    client->link_total--;
    mem_free(self);
    lane_pump(lane, client);
    client_settle(client);
}

static const struct tls_stream_events stream_events = { on_opened, on_target, on_received, on_closed };

static void on_clock(struct task *task)
{
    struct link *self = container_of(container_of(task, struct timer, task), struct link, clock);
    struct error e = ERROR_INIT;
    if (self->state != LINK_READY) {
        (void)error_set(&e, ERRC_UNAVAILABLE, "%s within %u ms",
                        self->state == LINK_CONNECTING ? "no connection" : "no HELLO", self->client->config.connect_ms);
        link_fail(self, &e);
        return;
    }
    uint64_t idle_ns = (uint64_t)self->client->config.idle_ms * 1000000u;
    if (self->call_count == 0 && env_now_ns(self->client->config.env) - self->received_ns >= idle_ns) {
        link_retire(self);
    } else {
        timer_start(self->client->executor, &self->clock, self->client->config.idle_ms);
    }
}

void link_create(struct rpc_client *client, struct lane *lane)
{
    struct link *self = mem_zalloc(sizeof(*self));
    self->client = client;
    self->lane = lane;
    self->clock.task.run = on_clock;
    list_init(&self->calls);
    rpc_reader_init(&self->reader, RPC_PROTOCOL_MAX);
    list_append(&lane->links, &self->node);
    lane->link_count++;
    client->link_total++;
    self->generation = tls_context_generation(client->config.tls);
    timer_start(client->executor, &self->clock, client->config.connect_ms);
    self->stream = tls_stream_connect(client->config.loop, client->config.tls, client->address, &stream_events, self);
}

void link_send(struct link *self, struct client_call *call)
{
    call->link = self;
    list_append(&self->calls, &call->node);
    self->call_count++;
    self->call_bytes += call->bytes;
    call->sent_ns = env_now_ns(self->client->config.env);
    call->writing = true;
    call->header.version = self->reader.version;
    if (call->call->deadline_ns != 0) {
        uint32_t left_ms = client_left_ms(self->client, call->call->deadline_ns);
        call->header.deadline_ms = left_ms > 0 ? left_ms : 1; /* 0 is for none; its timer is about to run */
    }
    rpc_frame_header_encode(&call->header, call->prefix.data);
    tls_stream_write(self->stream, &call->write);
}
