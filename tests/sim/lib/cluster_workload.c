#include "tests/sim/lib/cluster_workload.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ARENA_BYTES (128u << 10)
#define READ_PAUSE_MS 4000 /* a slow reader: what it is about to fetch must not be freed */

static uint64_t chance(const struct workload *w)
{
    return env_sim_random(w->cluster->sim);
}

/* ---- values ---- */

static uint64_t value_length(uint64_t value)
{
    uint64_t x = value * UINT64_C(0x9e3779b97f4a7c15);
    uint64_t form = (x >> 20) % 10;
    uint64_t any = x >> 24;
    return form == 0 ? 0 : form < 4 ? 1 + any % 4000 : form < 7 ? 10000 + any % 10000 : 30000 + any % 150000;
}

static void value_bytes(uint64_t value, uint64_t offset, uint8_t *target, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t at = offset + i;
        target[i] = (uint8_t)(value * 131 + at * 7 + (at >> 8) * 13 + (at >> 16));
    }
}

/* ---- outcomes ---- */

static void client_broken(struct workload_client *c, const char *text)
{
    (void)fprintf(stderr, "CLUSTER_SEED=%" PRIu64 ": key %u, value %" PRIu64 ": %s\n", c->workload->cluster->seed, c->key,
                  c->value, text);
    c->workload->broken++;
}

static void client_end(struct workload_client *c)
{
    c->busy = false;
    arena_done(&c->arena);
}

static void client_ok(struct workload_client *c)
{
    c->record->ended = ++c->workload->event;
    c->workload->ok++;
    client_end(c);
}

/* Certainly without effect: as if it had seen nothing. */
static void client_refused(struct workload_client *c)
{
    struct register_op *record = c->record;
    record->kind = REGISTER_READ; /* of unknown outcome: constrains nothing */
    record->ended = UINT64_MAX;
    c->workload->refused++;
    client_end(c);
}

static void client_unknown(struct workload_client *c)
{
    c->workload->unknown++;
    client_end(c);
}

/* ---- writing ---- */

static void on_put_committed(struct meta_op *op)
{
    struct workload_client *c = op->data;
    enum errc status = op->status;
    unsigned outcome = status == ERRC_OK ? op->result.outcome : META_OK;
    meta_op_release(op);
    if (status == ERRC_OK && outcome != META_OK) {
        object_writer_discard(c->writer);
        if (outcome == META_PRECONDITION && c->create) {
            c->record->kind = REGISTER_CREATE_NOT;
            client_ok(c);
        } else {
            client_refused(c); /* STALE: the handler would start over */
        }
        return;
    }
    object_writer_keep(c->writer);
    if (status == ERRC_OK) {
        client_ok(c);
    } else {
        client_unknown(c);
    }
}

static void on_put_written(void *data, const struct object_writer_result *result)
{
    struct workload_client *c = data;
    if (result->status != ERRC_OK) {
        object_writer_discard(c->writer);
        client_refused(c);
        return;
    }
    struct meta_command command = { .type = META_CMD_OBJECT_PUT };
    (void)snprintf(c->etag, sizeof(c->etag), "%" PRIu64, c->value);
    command.object_put = (struct meta_object_put){
        .bucket_id = c->workload->cluster->bucket, .key = slice_str(c->name), .session = result->session,
        .map_revision = result->map_revision,
        .conditions.if_none_match = c->create ? slice_str("*") : slice_of(NULL, 0),
        .row = { .nonce = c->value, .mtime_ms = 1000, .size = c->length, .etag = slice_str(c->etag) },
        .body = { .data_kind = result->data_kind, .inline_bytes = result->inline_bytes,
                  .ref_count = result->extent_count, .refs = result->refs },
        .extent_count = result->extent_count, .extents = result->extents,
    };
    meta_op_init(&c->op, c->gateway->process.home, &c->arena, on_put_committed, c);
    meta_propose(&c->gateway->meta, &c->op, &command);
}

static void put_push(void *data)
{
    struct workload_client *c = data;
    uint8_t bytes[16384];
    while (c->at < c->length) {
        size_t len = c->length - c->at < sizeof(bytes) ? (size_t)(c->length - c->at) : sizeof(bytes);
        value_bytes(c->value, c->at, bytes, len);
        size_t taken = object_writer_push(c->writer, slice_of(bytes, len));
        c->at += taken;
        if (taken < len) {
            return;
        }
    }
    object_writer_finish(c->writer, slice_str(c->name), on_put_written);
}

static void put_begin(struct task *task)
{
    struct workload_client *c = container_of(task, struct workload_client, task);
    const struct object_writer_params params = {
        .executor = c->gateway->process.home, .length = c->length, .class_k = 4, .class_m = 2,
        .owner = { .bucket_id = c->workload->cluster->bucket, .key = slice_str(c->name) }, .on_ready = put_push, .data = c,
    };
    c->writer = object_writer_open(&c->gateway->store, &params);
    put_push(c);
}

static void on_deleted(struct meta_op *op)
{
    struct workload_client *c = op->data;
    enum errc status = op->status;
    meta_op_release(op);
    if (status == ERRC_OK) {
        client_ok(c);
    } else {
        client_unknown(c);
    }
}

static void delete_begin(struct task *task)
{
    struct workload_client *c = container_of(task, struct workload_client, task);
    struct meta_command command = { .type = META_CMD_OBJECT_DELETE };
    command.object_delete = (struct meta_object_delete){ .bucket_id = c->workload->cluster->bucket, .key = slice_str(c->name),
                                                         .nonce = ++c->workload->next_value, .mtime_ms = 1000 };
    meta_op_init(&c->op, c->gateway->process.home, &c->arena, on_deleted, c);
    meta_propose(&c->gateway->meta, &c->op, &command);
}

/* ---- reading ---- */

static void bytes_check(struct workload_client *c, struct slice bytes)
{
    uint8_t expected[4096];
    for (size_t at = 0; at < bytes.len; at += sizeof(expected)) {
        size_t len = bytes.len - at < sizeof(expected) ? bytes.len - at : sizeof(expected);
        value_bytes(c->value, c->at + at, expected, len);
        if (memcmp(expected, bytes.data + at, len) != 0) {
            client_broken(c, "wrong bytes");
        }
    }
    c->at += bytes.len;
}

static void read_end(struct workload_client *c, enum errc rc, const char *text)
{
    session_read_end(c->gateway->session, &c->pin);
    if (rc != ERRC_OK && c->workload->strict) {
        client_broken(c, text);
    }
    if (rc == ERRC_OK && c->at != c->length) {
        client_broken(c, "wrong length");
    }
    c->workload->unreadable += rc != ERRC_OK ? 1 : 0;
    client_ok(c); /* the version was seen, even where its bytes could not be had */
}

static void read_pull(void *data)
{
    struct workload_client *c = data;
    for (;;) {
        struct slice bytes;
        struct buffer *buffer = NULL;
        enum errc rc = object_reader_next(c->reader, &bytes, &buffer);
        if (rc == ERRC_WOULD_BLOCK) {
            return;
        }
        if (rc != ERRC_OK || bytes.len == 0) {
            struct error e = *object_reader_error(c->reader);
            object_reader_close(c->reader);
            read_end(c, rc, e.text);
            return;
        }
        bytes_check(c, bytes);
        buffer_unref(buffer);
    }
}

static void read_fetch(struct task *task)
{
    struct workload_client *c = container_of(container_of(task, struct timer, task), struct workload_client, pause);
    struct meta_op *op = &c->op;
    const struct meta_object_reply *reply = &op->object;
    const struct object_reader_params params = {
        .executor = c->gateway->process.home, .length = c->length, .index = reply->index,
        .extent_count = reply->extent_count, .extents = reply->extents, .extents_until = reply->extents_until,
        .on_ready = read_pull, .data = c,
    };
    c->reader = object_reader_open(&c->gateway->store, &params);
    meta_op_release(op);
    read_pull(c);
}

static void on_found(struct meta_op *op)
{
    struct workload_client *c = op->data;
    const struct meta_object_reply *reply = &op->object;
    if (op->status != ERRC_OK) {
        session_read_end(c->gateway->session, &c->pin);
        if (c->workload->strict) {
            client_broken(c, "no answer");
        }
        meta_op_release(op);
        client_refused(c);
        return;
    }
    bool there = reply->outcome == META_OK && !reply->row.delete_marker;
    c->value = there ? reply->row.nonce : 0;
    c->record->value = c->value;
    c->length = there ? reply->row.size : 0;
    c->at = 0;
    session_read_at(c->gateway->session, &c->pin, reply->index);
    if (c->length != (there ? value_length(c->value) : 0)) {
        client_broken(c, "wrong size");
    }
    if (c->length == 0 || reply->inline_bytes.len > 0) {
        bytes_check(c, reply->inline_bytes);
        meta_op_release(op);
        read_end(c, ERRC_OK, "");
        return;
    }
    c->pause.task.run = read_fetch;
    timer_start(c->gateway->process.home, &c->pause, chance(c->workload) % 4 == 0 ? chance(c->workload) % READ_PAUSE_MS : 0);
}

static void read_begin(struct task *task)
{
    struct workload_client *c = container_of(task, struct workload_client, task);
    const struct meta_query query = { .type = META_QRY_OBJECT, .bucket_id = c->workload->cluster->bucket,
                                      .key = slice_str(c->name), .want_body = true, .want_data = true,
                                      .range_length = UINT64_MAX };
    session_read_begin(c->gateway->session, &c->pin);
    meta_op_init(&c->op, c->gateway->process.home, &c->arena, on_found, c);
    meta_query(&c->gateway->meta, &c->op, &query);
}

/* ---- many of them ---- */

static struct workload_client *client_idle(struct workload *w)
{
    unsigned first = (unsigned)(chance(w) % WORKLOAD_CLIENTS);
    for (unsigned i = 0; i < WORKLOAD_CLIENTS; i++) {
        struct workload_client *c = &w->clients[(first + i) % WORKLOAD_CLIENTS];
        if (!c->busy) {
            return c;
        }
    }
    return NULL;
}

static void client_start(struct workload_client *c, unsigned key, enum register_kind kind, uint64_t value,
                         void (*run)(struct task *task))
{
    struct workload *w = c->workload;
    ASSERT(!c->busy && w->counts[key] < REGISTER_OPS_MAX);
    c->busy = true;
    c->key = key;
    c->create = kind == REGISTER_CREATE;
    c->value = value;
    c->length = value != 0 ? value_length(value) : 0;
    c->at = 0;
    c->gateway = w->cluster->gateways[chance(w) % w->cluster->gateway_count];
    c->record = &w->history[key][w->counts[key]++];
    *c->record = (struct register_op){ kind, value, ++w->event, UINT64_MAX };
    (void)snprintf(c->name, sizeof(c->name), "key-%u", key);
    arena_init(&c->arena, ARENA_BYTES);
    c->task.run = run;
    executor_post(c->gateway->process.home, &c->task);
}

bool workload_start(struct workload *w)
{
    struct workload_client *c = client_idle(w);
    unsigned key = (unsigned)(chance(w) % WORKLOAD_KEYS);
    uint64_t choice = chance(w) % 10;
    if (c == NULL || w->counts[key] >= REGISTER_OPS_MAX - 4) {
        return false;
    }
    if (choice < 5) {
        client_start(c, key, choice == 0 ? REGISTER_CREATE : REGISTER_WRITE, ++w->next_value, put_begin);
    } else if (choice < 7) {
        client_start(c, key, REGISTER_WRITE, 0, delete_begin);
    } else {
        client_start(c, key, REGISTER_READ, 0, read_begin);
    }
    return true;
}

void workload_read(struct workload *w, unsigned key)
{
    struct workload_client *c;
    while ((c = client_idle(w)) == NULL) {
        bool more = env_sim_step(w->cluster->sim);
        ASSERT(more);
    }
    client_start(c, key, REGISTER_READ, 0, read_begin);
}

void workload_wait(struct workload *w)
{
    for (unsigned i = 0; i < WORKLOAD_CLIENTS; i++) {
        while (w->clients[i].busy) {
            bool more = env_sim_step(w->cluster->sim);
            ASSERT(more);
        }
    }
}

void workload_open(struct workload *w, struct cluster_sim *cluster)
{
    memset(w, 0, sizeof(*w));
    w->cluster = cluster;
    for (unsigned i = 0; i < WORKLOAD_CLIENTS; i++) {
        w->clients[i].workload = w;
    }
}

/* ---- what they saw ---- */

static void history_print(const struct workload *w, unsigned key)
{
    static const char *const kinds[] = { "write", "read", "create", "create refused" };
    for (unsigned i = 0; i < w->counts[key]; i++) {
        const struct register_op *op = &w->history[key][i];
        (void)fprintf(stderr, "  %" PRIu64 "-%" PRId64 " %s %" PRIu64 "\n", op->began, (int64_t)op->ended, kinds[op->kind],
                      op->value);
    }
}

unsigned workload_check(const struct workload *w)
{
    unsigned bad = w->broken;
    for (unsigned key = 0; key < WORKLOAD_KEYS; key++) {
        if (!register_check(w->history[key], w->counts[key])) {
            (void)fprintf(stderr, "CLUSTER_SEED=%" PRIu64 ": key %u is not linearizable:\n", w->cluster->seed, key);
            history_print(w, key);
            bad++;
        }
    }
    return bad;
}

unsigned workload_objects(const struct workload *w)
{
    unsigned objects = 0;
    for (unsigned key = 0; key < WORKLOAD_KEYS; key++) {
        const struct register_op *last = &w->history[key][w->counts[key] - 1];
        objects += w->counts[key] > 0 && last->value != 0 ? 1 : 0;
    }
    return objects;
}
