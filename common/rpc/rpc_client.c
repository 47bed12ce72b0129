#include "common/rpc/rpc_client.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_client_parts.h"

#include <string.h>

#define SMALL_CONNECTIONS 1
#define BULK_CONNECTIONS 2
#define CALLS_MAX 8192
#define BYTES_MAX (256u << 20)
#define CONNECT_MS 3000
#define IDLE_MS 60000
#define RETIRED_MAX 16 /* beyond them, nothing new is connected before one has ended */

/* ---- the end of a call ---- */

static void call_free(struct client_call *self)
{
    struct rpc_client *client = self->client;
    for (unsigned i = 0; i < self->payload_count; i++) {
        buffer_unref(self->payloads[i]);
    }
    enc_free(&self->prefix);
    mem_free(self->head);
    mem_free(self);
    client->client_calls--;
    client_settle(client);
}

/* Out of its lane or link. Of a frame that has not begun to be written nothing will be. */
void client_call_detach(struct client_call *self)
{
    struct link *link = self->link;
    list_remove(&self->node);
    self->link = NULL;
    if (link != NULL) {
        link->call_count--;
        link->call_bytes -= self->bytes;
        if (self->writing && tls_stream_take_back(link->stream, &self->write)) {
            self->writing = false;
        }
        link_settle(link);
    }
}

/* Finishes the caller's call; the reply, if any, is in it. */
static void call_finish(struct client_call *self, enum errc status)
{
    struct rpc_client *client = self->client;
    struct rpc_call *call = self->call;
    self->call = NULL;
    timer_stop(client->executor, &self->timer);
    client->slots[self->slot] = NULL;
    client->slots_free[client->slots_free_count++] = self->slot;
    (void)atomic_fetch_sub(&client->calls, 1);
    (void)atomic_fetch_sub(&client->bytes, self->bytes);
    rpc_call_finish(call, status);
    if (!self->writing) {
        call_free(self);
    }
}

static void call_fail(struct client_call *self, enum errc code, const char *what, const struct error *reason)
{
    struct error *e = &self->call->error;
    const char *name = rpc_method_name(self->call->method);
    const char *address = self->client->address;
    if (reason != NULL && reason->code != ERRC_OK) {
        (void)error_set(e, code, "%s of %s: %s: %s", name, address, what, reason->text);
    } else {
        (void)error_set(e, code, "%s of %s: %s", name, address, what);
    }
    call_finish(self, code);
}

static void on_written(struct tls_write *write, enum errc status)
{
    struct client_call *self = container_of(write, struct client_call, write);
    (void)status; /* the link's end tells */
    self->writing = false;
    if (self->call == NULL) {
        call_free(self);
    }
}

void client_call_reply(struct client_call *self, struct rpc_frame *frame)
{
    struct rpc_call *call = self->call;
    client_call_detach(self);
    enum errc status = (enum errc)frame->header.status;
    if (status != ERRC_OK) {
        (void)error_set(&call->error, status, "%s", frame->text);
    }
    call->reply = (struct enc){ frame->head, frame->header.head_bytes, frame->header.head_bytes };
    frame->head = NULL;
    for (unsigned i = 0; i < frame->payload_count; i++) {
        call->reply_payloads[i] = frame->payloads[i];
    }
    call->reply_payload_count = frame->payload_count;
    frame->payload_count = 0;
    call_finish(self, status);
}

static void on_deadline(struct task *task)
{
    struct client_call *self = container_of(container_of(task, struct timer, task), struct client_call, timer);
    struct rpc_client *client = self->client;
    struct link *link = self->link;
    bool silent = link != NULL && link->received_ns < self->sent_ns;
    client_call_detach(self);
    if (link != NULL && (self->writing || self->write.started)) {
        call_fail(self, ERRC_TIMEOUT, "no answer within its time", NULL);
    } else if (self->repeated) {
        call_fail(self, ERRC_TIMEOUT, "the connection was lost, and no other came within its time", NULL);
    } else {
        call_fail(self, ERRC_UNAVAILABLE, "not sent within its time", &client->last_error);
    }
    if (silent) {
        link_retire(link);
    }
}

/* ---- lanes ---- */

static struct link *link_with(struct list *links, const struct lane *lane, uint64_t order)
{
    list_for_each(node, links) {
        struct link *link = container_of(node, struct link, node);
        for (struct list *at = link->calls.next; link->lane == lane && link->state == LINK_READY && at != &link->calls;
             at = at->next) {
            if (container_of(at, struct client_call, node)->call->order == order) {
                return link;
            }
        }
    }
    return NULL;
}

/* The link, old certificate or not, that has an earlier call of the order unanswered: only behind it is the order kept. */
static struct link *lane_follow(struct lane *lane, struct rpc_client *client, uint64_t order)
{
    struct link *link = order != 0 ? link_with(&lane->links, lane, order) : NULL;
    return link == NULL && order != 0 ? link_with(&client->retired, lane, order) : link;
}

/* The ready link with the fewest calls; those with an older certificate than ours are retired. */
static struct link *lane_pick(struct lane *lane, struct rpc_client *client)
{
    struct link *best = NULL;
    uint64_t generation = tls_context_generation(client->config.tls);
    for (struct list *node = lane->links.next; node != &lane->links;) {
        struct link *link = container_of(node, struct link, node);
        node = node->next;
        if (link->generation != generation) {
            if (link->state == LINK_READY) {
                link_retire(link);
            }
        } else if (link->state == LINK_READY &&
                   (best == NULL || link->call_bytes + link->call_count < best->call_bytes + best->call_count)) {
            best = link;
        }
    }
    return best;
}

static bool lane_is_connecting(const struct lane *lane)
{
    list_for_each(node, &lane->links) {
        enum link_state state = container_of(node, struct link, node)->state;
        if (state == LINK_CONNECTING || state == LINK_GREETING) {
            return true;
        }
    }
    return false;
}

static bool can_connect(const struct rpc_client *client)
{
    return !client->destroying && client->link_total < RETIRED_MAX + 2 * RPC_LANE_COUNT &&
           (client->backoff_ms == 0 || env_now_ns(client->config.env) >= client->next_try_ns);
}

static void lane_fail(struct lane *lane, enum errc code, const char *what, const struct error *reason)
{
    while (!list_empty(&lane->waiting)) {
        struct client_call *call = container_of(lane->waiting.next, struct client_call, node);
        client_call_detach(call);
        call_fail(call, call->repeated && code == ERRC_UNAVAILABLE ? ERRC_TIMEOUT : code, what, reason);
    }
}

void lane_pump(struct lane *lane, struct rpc_client *client)
{
    while (!list_empty(&lane->waiting)) {
        struct client_call *call = container_of(lane->waiting.next, struct client_call, node);
        struct link *link = lane_follow(lane, client, call->call->order);
        if (link != NULL) {
            list_remove(&call->node);
            link_send(link, call);
            continue;
        }
        link = lane_pick(lane, client);
        bool wants_more = link == NULL || (link->call_count > 0 && lane->link_count < lane->links_max);
        if (wants_more && !lane_is_connecting(lane)) {
            if (can_connect(client)) {
                link_create(client, lane);
            } else if (link == NULL) {
                lane_fail(lane, ERRC_UNAVAILABLE, "no connection", &client->last_error);
            }
        }
        if (link == NULL) {
            return; /* goes on when the link is ready or has failed */
        }
        list_remove(&call->node);
        link_send(link, call);
    }
}

void client_connected(struct rpc_client *client)
{
    client->backoff_ms = 0;
    error_clear(&client->last_error);
    (void)atomic_fetch_add(&client->connects, 1);
}

void client_connect_failed(struct rpc_client *client, const struct error *reason)
{
    uint64_t doubled = (uint64_t)client->backoff_ms * 2;
    uint8_t random;
    client->backoff_ms = doubled < RPC_BACKOFF_MS_MIN   ? RPC_BACKOFF_MS_MIN
                         : doubled < RPC_BACKOFF_MS_MAX ? (uint32_t)doubled
                                                        : RPC_BACKOFF_MS_MAX;
    env_random(client->config.env, &random, sizeof(random));
    uint64_t wait_ms = client->backoff_ms - (uint64_t)client->backoff_ms * random / 1024; /* up to a quarter less */
    client->next_try_ns = env_now_ns(client->config.env) + wait_ms * 1000000u;
    client->last_error = *reason;
}

/* Calls that certainly were not sent wait again; those that may be repeated do so once; the others end. */
void client_link_lost(struct rpc_client *client, struct link *link, const struct error *reason)
{
    while (!list_empty(&link->calls)) {
        struct client_call *call = container_of(list_pop(&link->calls), struct client_call, node);
        bool sent = call->write.started;
        bool once = call->info == NULL || call->info->retry == RPC_RETRY_ONCE;
        call->link = NULL;
        ASSERT(!call->writing); /* the stream has given all writes back */
        if (client->destroying) {
            call_fail(call, ERRC_CANCELED, "the client was closed", NULL);
        } else if (sent && (once || call->repeated)) {
            call_fail(call, ERRC_TIMEOUT, "the connection was lost before an answer", reason);
        } else {
            call->repeated = call->repeated || sent;
            (void)atomic_fetch_add(&client->repeats, sent ? 1 : 0);
            list_append(&link->lane->waiting, &call->node);
        }
    }
    link->call_count = 0;
    link->call_bytes = 0;
}

/* ---- the beginning of a call ---- */

struct client_call *client_call_find(struct rpc_client *client, uint64_t id)
{
    uint32_t slot = (uint32_t)id;
    struct client_call *call = slot < client->config.calls_max ? client->slots[slot] : NULL;
    return call != NULL && call->id == id ? call : NULL;
}

uint32_t client_left_ms(struct rpc_client *client, uint64_t deadline_ns)
{
    uint64_t now = env_now_ns(client->config.env);
    uint64_t left_ms = deadline_ns > now ? (deadline_ns - now + 999999u) / 1000000u : 0;
    return left_ms < UINT32_MAX ? (uint32_t)left_ms : UINT32_MAX;
}

/* Makes the frame; link_send() completes its header. */
static enum errc call_frame(struct client_call *self, struct error *e)
{
    const struct rpc_call *call = self->call;
    self->header = (struct rpc_frame_header){
        .version = RPC_PROTOCOL_MAX, .kind = RPC_FRAME_REQUEST, .call_id = self->id, .method = call->method,
    };
    struct rpc_frame_parts parts = { SLICE_EMPTY, call->head, call->payloads, call->payload_count };
    enum errc rc = rpc_frame_prefix(&self->header, &parts, &self->prefix, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (call->head.len > 0) {
        self->head = mem_alloc(call->head.len);
        memcpy(self->head, call->head.data, call->head.len);
    }
    self->parts[0] = enc_slice(&self->prefix);
    self->parts[1] = slice_of(self->head, call->head.len);
    for (unsigned i = 0; i < call->payload_count; i++) {
        self->payloads[i] = buffer_ref(call->payloads[i]);
        self->parts[i + 2] = buffer_slice(call->payloads[i]);
    }
    self->payload_count = call->payload_count;
    self->write = (struct tls_write){ .parts = self->parts, .count = call->payload_count + 2, .done = on_written };
    return ERRC_OK;
}

static uint64_t call_bytes(const struct rpc_call *call)
{
    uint64_t bytes = call->head.len;
    for (unsigned i = 0; i < call->payload_count; i++) {
        bytes += call->payloads[i]->len;
    }
    return bytes;
}

/* OK, or why the call ends before it begins. */
static enum errc call_admit(struct rpc_client *client, const struct rpc_call *call, uint64_t bytes, struct error *e)
{
    const struct rpc_client_config *config = &client->config;
    if (client->destroying) {
        return error_set(e, ERRC_CANCELED, "the client is closed");
    }
    if (client->slots_free_count == 0 ||
        (atomic_load(&client->calls) > 0 && atomic_load(&client->bytes) + bytes > config->bytes_max)) {
        return error_set(e, ERRC_LIMIT, "too many calls to %s are waiting", client->address);
    }
    if (call->deadline_ns != 0 && call->deadline_ns <= env_now_ns(config->env)) {
        return error_set(e, ERRC_UNAVAILABLE, "%s of %s: its time had passed", rpc_method_name(call->method),
                         client->address);
    }
    return ERRC_OK;
}

static void call_begin(struct rpc_client *client, struct rpc_call *call)
{
    uint64_t bytes = call_bytes(call);
    enum errc rc = call_admit(client, call, bytes, &call->error);
    if (rc != ERRC_OK) {
        rpc_call_finish(call, rc);
        return;
    }
    struct client_call *self = mem_zalloc(sizeof(*self));
    self->client = client;
    self->call = call;
    self->bytes = bytes;
    self->info = rpc_method_find(call->method);
    self->timer.task.run = on_deadline;
    list_init(&self->node);
    self->slot = client->slots_free[--client->slots_free_count];
    self->id = ++client->id_count << 32 | self->slot;
    client->slots[self->slot] = self;
    client->client_calls++;
    (void)atomic_fetch_add(&client->calls, 1);
    (void)atomic_fetch_add(&client->bytes, bytes);
    rc = call_frame(self, &call->error);
    if (rc != ERRC_OK) {
        call_finish(self, rc);
        return;
    }
    if (call->deadline_ns != 0) {
        timer_start(client->executor, &self->timer, client_left_ms(client, call->deadline_ns));
    }
    struct lane *lane = &client->lanes[self->info != NULL ? self->info->lane : RPC_LANE_SMALL];
    list_append(&lane->waiting, &self->node);
    lane_pump(lane, client);
}

static void on_call(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    call_begin(call->service_data, call);
}

static void client_call(struct rpc_channel *channel, struct rpc_call *call)
{
    struct rpc_client *client = container_of(channel, struct rpc_client, channel);
    call->service_data = client;
    call->task.run = on_call;
    executor_post(client->executor, &call->task);
}

/* ---- life ---- */

static const struct rpc_channel_vt channel_vt = { client_call };

struct rpc_client *rpc_client_create(const struct rpc_client_config *config)
{
    struct rpc_client *self = mem_zalloc(sizeof(*self));
    self->channel.vt = &channel_vt;
    self->config = *config;
#define DEFAULT(field, value) self->config.field = config->field != 0 ? config->field : (value)
    DEFAULT(small_connections, SMALL_CONNECTIONS);
    DEFAULT(bulk_connections, BULK_CONNECTIONS);
    DEFAULT(calls_max, CALLS_MAX);
    DEFAULT(bytes_max, BYTES_MAX);
    DEFAULT(connect_ms, CONNECT_MS);
    DEFAULT(idle_ms, IDLE_MS);
#undef DEFAULT
    self->executor = loop_executor(config->loop);
    self->address = mem_strdup(config->address);
    self->config.address = self->address;
    self->hello = (struct rpc_hello){ RPC_PROTOCOL_MIN, RPC_PROTOCOL_MAX, config->cluster, config->self, CAIRN_VERSION };
    self->lanes[RPC_LANE_SMALL].links_max = self->config.small_connections;
    self->lanes[RPC_LANE_BULK].links_max = self->config.bulk_connections;
    list_init(&self->retired);
    for (unsigned i = 0; i < RPC_LANE_COUNT; i++) {
        list_init(&self->lanes[i].waiting);
        list_init(&self->lanes[i].links);
    }
    uint32_t slots = self->config.calls_max;
    self->slots = mem_zalloc(slots * sizeof(struct client_call *));
    self->slots_free = mem_alloc(slots * sizeof(uint32_t));
    for (uint32_t i = 0; i < slots; i++) {
        self->slots_free[i] = slots - 1 - i;
    }
    self->slots_free_count = slots;
    return self;
}

struct rpc_channel *rpc_client_channel(struct rpc_client *self)
{
    return &self->channel;
}

void rpc_client_status(struct rpc_client *self, struct rpc_client_status *ret)
{
    *ret = (struct rpc_client_status){
        .calls = atomic_load(&self->calls),
        .bytes = atomic_load(&self->bytes),
        .connections = atomic_load(&self->connections),
        .connects = atomic_load(&self->connects),
        .repeats = atomic_load(&self->repeats),
    };
}

void client_settle(struct rpc_client *self)
{
    if (!self->destroying || self->link_total > 0 || self->client_calls > 0) {
        return;
    }
    void (*destroyed)(void *data) = self->destroyed;
    void *data = self->destroyed_data;
    mem_free(self->slots);
    mem_free(self->slots_free);
    mem_free(self->address);
    mem_free(self);
    if (destroyed != NULL) {
        destroyed(data);
    }
}

static void links_close(struct list *links)
{
    list_for_each(node, links) {
        tls_stream_close(container_of(node, struct link, node)->stream);
    }
}

static void on_destroy(struct task *task)
{
    struct rpc_client *self = container_of(task, struct rpc_client, destroy_task);
    self->client_calls++; /* keeps us until the last line */
    self->destroying = true;
    for (unsigned i = 0; i < RPC_LANE_COUNT; i++) {
        lane_fail(&self->lanes[i], ERRC_CANCELED, "the client was closed", NULL);
        links_close(&self->lanes[i].links);
    }
    links_close(&self->retired);
    self->client_calls--;
    client_settle(self);
}

void rpc_client_destroy(struct rpc_client *self, void (*destroyed)(void *data), void *data)
{
    self->destroyed = destroyed;
    self->destroyed_data = data;
    self->destroy_task.run = on_destroy;
    executor_post(self->executor, &self->destroy_task);
}
