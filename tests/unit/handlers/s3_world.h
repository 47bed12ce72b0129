/*
 * s3_world - a whole gateway in one thread: real handlers, auth, writers, readers and metadata machine, on
 * virtual time, with an in-memory node and this file's own HTTP in place of sockets.
 *
 * To be included by one .c file of a test program: it defines the functions of gateway/http/http_request.h.
 * Every call is signed, run to its end, and its exchange checked: one response, released once, no pin, budget or
 * timer left behind.
 */
#ifndef TESTS_UNIT_HANDLERS_S3_WORLD_H
#define TESTS_UNIT_HANDLERS_S3_WORLD_H

#include "common/base/assert.h"
#include "common/base/base64.h"
#include "common/base/digest.h"
#include "common/base/hex.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "gateway/auth/auth_signer.h"
#include "gateway/data/gc_worker.h"
#include "gateway/data/object_reader.h"
#include "gateway/handlers/handlers.h"
#include "metadata/machine.h"
#include "tests/lib/fake_node.h"
#include "tests/lib/kv_memory.h"
#include "tests/lib/turn_env.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define WORLD_ACCESS_KEY "AKIDEXAMPLE"
#define WORLD_SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define WORLD_HOST "localhost:9000"

struct exchange {
    struct http_request http;  /* first */
    struct http_header headers[64];
    struct slice body;
    size_t body_at, piece_bytes;
    bool vanishes;             /* the client leaves when half of the body is read */
    bool leaves_reading;       /* the client leaves after the first write of the response */
    bool stops_reading;        /* the client takes nothing of the response but what http_acked_bytes says */
    uint64_t acked_step, acked;/* more with each look */
    const char *payload;       /* signed in place of the body's hash; NULL: the hash */
    unsigned pieces_read;
    http_on_piece *on_piece;
    void *piece_data;
    struct task piece_task;
    http_on_written *on_written;
    void *written_data;
    struct task written_task;

    bool responded, ended, aborted, released;
    unsigned status;
    int64_t announced;
    struct enc head;           /* "Name: value\n" */
    struct enc out;            /* body */
};

struct world {
    struct turn_env env;
    struct fake_node node;
    struct rpc_channel channel; /* to the machine */
    struct kv *kv;
    struct machine *machine;
    uint64_t index;
    enum errc meta_fail;        /* every proposal of an object is answered so, when not OK */
    enum meta_outcome meta_outcome; /* likewise, as what was decided */
    struct metadata_client meta;
    struct session *session;
    struct cluster_map *map;
    struct data_store store;
    struct gateway *gateway;
    struct http_handler handler;
    unsigned logged;
    unsigned last_status;
    bool last_has_cause;
};

static struct world world;

/* ---- HTTP without sockets ---- */

static struct exchange *exchange_of(struct http_request *req)
{
    return container_of(req, struct exchange, http);
}

struct slice http_header_find(const struct http_request *req, const char *lower_name)
{
    (void)req;
    (void)lower_name;
    return SLICE_EMPTY;
}

size_t http_header_count(const struct http_request *req, const char *lower_name)
{
    (void)req;
    (void)lower_name;
    return 0;
}

static void piece_run(struct task *task)
{
    struct exchange *x = container_of(task, struct exchange, piece_task);
    struct http_piece piece = { .code = ERRC_OK };
    size_t left = x->body.len - x->body_at;
    size_t len = left < x->piece_bytes ? left : x->piece_bytes;
    if (x->vanishes && x->body_at * 2 > x->body.len) {
        piece.code = ERRC_CANCELED;
        x->http.on_closed(&x->http);
    } else {
        piece.data = slice_of(x->body.data + x->body_at, len);
        x->body_at += len;
        piece.is_end = x->body_at == x->body.len;
    }
    x->pieces_read++;
    x->on_piece(x->piece_data, &x->http, &piece);
}

void http_body_read(struct http_request *req, http_on_piece *on_piece, void *data)
{
    struct exchange *x = exchange_of(req);
    assert_false(x->released);
    x->on_piece = on_piece;
    x->piece_data = data;
    x->piece_task.run = piece_run;
    executor_post(req->executor, &x->piece_task);
}

void http_respond(struct http_request *req, const struct http_response *response)
{
    struct exchange *x = exchange_of(req);
    assert_false(x->responded);
    x->responded = true;
    x->status = response->status;
    x->announced = response->content_length;
    for (size_t i = 0; i < response->header_count; i++) {
        enc_raw(&x->head, response->headers[i].name.data, response->headers[i].name.len);
        enc_raw(&x->head, ": ", 2);
        enc_raw(&x->head, response->headers[i].value.data, response->headers[i].value.len);
        enc_raw(&x->head, "\n", 1);
    }
}

static void written_run(struct task *task)
{
    struct exchange *x = container_of(task, struct exchange, written_task);
    if (x->leaves_reading) {
        x->http.on_closed(&x->http);
    }
    x->on_written(x->written_data, &x->http, x->leaves_reading ? ERRC_CANCELED : ERRC_OK);
}

void http_body_write(struct http_request *req, const struct http_part *parts, size_t count, http_on_written *on_written,
                     void *data)
{
    struct exchange *x = exchange_of(req);
    assert_true(x->responded);
    for (size_t i = 0; i < count && !req->is_head; i++) {
        enc_raw(&x->out, parts[i].bytes.data, parts[i].bytes.len);
    }
    x->on_written = on_written;
    x->written_data = data;
    x->written_task.run = written_run;
    if (on_written != NULL && !x->stops_reading) {
        executor_post(req->executor, &x->written_task);
    }
}

void http_body_end(struct http_request *req)
{
    struct exchange *x = exchange_of(req);
    assert_true(x->responded);
    assert_false(x->ended);
    x->ended = true;
}

void http_respond_whole(struct http_request *req, const struct http_response *response, struct http_part body)
{
    struct http_response whole = *response;
    whole.content_length = (int64_t)body.bytes.len;
    http_respond(req, &whole);
    if (body.bytes.len > 0) {
        http_body_write(req, &body, 1, NULL, NULL);
    }
    http_body_end(req);
    http_request_release(req);
}

uint64_t http_sent_bytes(const struct http_request *req)
{
    return container_of(req, const struct exchange, http)->out.len;
}

uint64_t http_acked_bytes(const struct http_request *req)
{
    struct exchange *x = exchange_of((struct http_request *)(uintptr_t)req);
    x->acked += x->acked_step;
    return x->acked;
}

void http_abort(struct http_request *req)
{
    exchange_of(req)->aborted = true;
}

void http_request_release(struct http_request *req)
{
    struct exchange *x = exchange_of(req);
    assert_false(x->released);
    x->released = true;
}

/* ---- metadata: the real machine behind a channel ---- */

static void renew(struct rpc_call *call)
{
    struct dec dec = dec_of(call->head);
    (void)dec_u64(&dec); /* the session */
    enc_u64(&call->reply, dec_u64(&dec));
    enc_u64(&call->reply, 1); /* applied */
}

static bool is_object_command(struct slice head)
{
    struct arena arena;
    struct meta_command command;
    arena_init(&arena, MACHINE_ARENA_BYTES);
    bool is = meta_command_decode(head, &arena, &command) == ERRC_OK &&
              (command.type == META_CMD_OBJECT_PUT || command.type == META_CMD_UPLOAD_PART ||
               command.type == META_CMD_OBJECT_DELETE);
    arena_done(&arena);
    return is;
}

static void channel_call(struct rpc_channel *channel, struct rpc_call *call)
{
    (void)channel;
    enum errc rc = ERRC_OK;
    if (call->method == RPC_META_PROPOSE) {
        if (world.meta_fail != ERRC_OK && is_object_command(call->head)) {
            rpc_call_finish(call, world.meta_fail);
            return;
        }
        if (world.meta_outcome != META_OK && is_object_command(call->head)) {
            const struct meta_result result = { .outcome = (uint8_t)world.meta_outcome, .index = world.index };
            meta_result_encode(&call->reply, &result);
            rpc_call_finish(call, ERRC_OK);
            return;
        }
        rc = machine_apply(world.machine, ++world.index, 0, call->head, &call->reply, &call->error);
    } else if (call->method == RPC_META_QUERY) {
        rc = machine_query(world.machine, call->head, false, &call->reply, &call->error);
    } else {
        ASSERT(call->method == RPC_META_SESSION_RENEW);
        renew(call);
    }
    ASSERT(rc == ERRC_OK);
    rpc_call_finish(call, rc);
}

static const struct rpc_channel_vt channel_vt = { channel_call };

/* ---- the world ---- */

static bool identity_find(void *data, struct slice access_key, struct auth_identity *ret_identity)
{
    (void)data;
    if (!slice_equal_str(access_key, WORLD_ACCESS_KEY)) {
        return false;
    }
    *ret_identity = (struct auth_identity){ .is_root = true, .secret_len = strlen(WORLD_SECRET) };
    memcpy(ret_identity->secret, WORLD_SECRET, ret_identity->secret_len);
    return true;
}

static void on_access(void *data, const struct gateway_access *access)
{
    (void)data;
    world.logged++;
    world.last_status = access->status;
    world.last_has_cause = access->cause.len > 0;
    assert_true(access->status != 500 || access->cause.len > 0); /* nobody is left to guess */
}

static void on_status(void *data, enum errc status)
{
    *(enum errc *)data = status;
}

static bool status_is_set(void *data)
{
    return *(enum errc *)data != ERRC_COUNT;
}

static void world_wait(enum errc *status)
{
    ASSERT(turn_env_run(&world.env, status_is_set, status, 60000));
    ASSERT(*status == ERRC_OK);
}

static void world_command(const struct meta_command *command)
{
    struct enc enc = ENC_INIT;
    struct enc reply = ENC_INIT;
    struct error e = ERROR_INIT;
    meta_command_encode(&enc, command);
    ASSERT(machine_apply(world.machine, ++world.index, 0, enc_slice(&enc), &reply, &e) == ERRC_OK);
    enc_free(&enc);
    enc_free(&reply);
}

static void world_disks(unsigned count)
{
    struct meta_command group = { .type = META_CMD_GROUP_PUT };
    group.group_put.group = (struct meta_group){ .id = 1, .disk_count = (uint8_t)count, .writable = true };
    for (unsigned i = 0; i < count; i++) {
        struct meta_command disk = { .type = META_CMD_DISK_PUT };
        disk.disk_put.disk = (struct meta_disk){ .id = fake_disk_id(i), .state = META_DISK_IN, .bytes = 1ull << 40 };
        world_command(&disk);
        group.group_put.group.disks[i] = fake_disk_id(i);
    }
    world_command(&group);
}

static void world_data(void)
{
    struct executor *executor = &world.env.executor.executor;
    world.channel.vt = &channel_vt;
    metadata_client_init(&world.meta, &world.channel, &world.env.env, 5000);
    struct session_config session = { &world.env.env, executor, &world.meta, { { 1 } }, 1000 };
    world.session = session_create(&session);
    struct cluster_map_config map = { .env = &world.env.env, .executor = executor, .meta = &world.meta,
                                      .cluster = { { 9 } }, .local = &world.node.channel };
    world.map = cluster_map_create(&map);
    struct data_config config = data_config_default();
    data_store_init(&world.store, &world.env.env, &config, &world.meta, world.session, world.map);
    enum errc status = ERRC_COUNT;
    session_open(world.session, on_status, &status);
    world_wait(&status);
    status = ERRC_COUNT;
    cluster_map_refresh(world.map, on_status, &status);
    world_wait(&status);
}

static int world_open(void **state)
{
    (void)state;
    struct error e = ERROR_INIT;
    memset(&world, 0, sizeof(world));
    turn_env_init(&world.env);
    fake_node_init(&world.node, &world.env.executor.executor);
    world.kv = kv_memory_create();
    ASSERT(machine_open(world.kv, &world.machine, &e) == ERRC_OK);
    world_disks(6);
    world_data();
    struct gateway_config config = {
        .env = &world.env.env, .store = &world.store, .s3 = { .region = slice_str("us-east-1") },
        .identities = { identity_find, NULL }, .class_k = 4, .class_m = 2, .loop_count = 1, .access_log = on_access,
    };
    world.gateway = gateway_create(&config);
    world.handler = gateway_handler(world.gateway);
    return 0;
}

static int world_close(void **state)
{
    (void)state;
    enum errc status = ERRC_COUNT;
    ASSERT(turn_env_run(&world.env, NULL, NULL, 100));
    ASSERT(session_oldest_read(world.session) == UINT64_MAX);
    ASSERT(data_budget_used(&world.store.write_budget) == 0);
    ASSERT(data_budget_used(&world.store.read_budget) == 0);
    gateway_destroy(world.gateway);
    session_close(world.session, on_status, &status);
    world_wait(&status);
    session_destroy(world.session);
    cluster_map_destroy(world.map);
    turn_env_done(&world.env);
    machine_close(world.machine);
    world.kv->vt->close(world.kv);
    fake_node_done(&world.node);
    buffer_trim();
    ASSERT(buffer_live_bytes() == 0);
    return 0;
}

/* ---- calls ---- */

static void exchange_header(struct exchange *x, const char *name, struct slice value)
{
    ASSERT(x->http.header_count < 64);
    x->headers[x->http.header_count++] = (struct http_header){ slice_str(name), value };
}

/* "Name: value\n..." */
static void exchange_headers(struct exchange *x, const char *lines)
{
    while (lines != NULL && *lines != '\0') {
        const char *colon = strchr(lines, ':');
        const char *end = strchr(lines, '\n');
        ASSERT(colon != NULL && end != NULL);
        char *name = arena_strndup(&x->http.arena, lines, (size_t)(colon - lines));
        exchange_header(x, name, arena_copy(&x->http.arena, slice_of(colon + 2, (size_t)(end - colon - 2))));
        lines = end + 1;
    }
}

static void exchange_sign(struct exchange *x)
{
    struct s3_header headers[64];
    size_t count = 0;
    char hash[2 * SHA256_BYTES + 1];
    uint8_t sha[SHA256_BYTES];
    sha256_once(x->body.data, x->body.len, sha);
    hex_encode(sha, sizeof(sha), hash);
    const char *payload = x->payload != NULL ? x->payload : hash;
    for (size_t i = 0; i < x->http.header_count; i++) {
        if (strncmp((const char *)x->headers[i].name.data, "x-amz-", 6) == 0) {
            headers[count++] = (struct s3_header){ x->headers[i].name, x->headers[i].value };
        }
    }
    const struct auth_signer signer = { slice_str(WORLD_ACCESS_KEY), slice_str(WORLD_SECRET), slice_str("us-east-1") };
    struct auth_signed done;
    char method[16];
    (void)snprintf(method, sizeof(method), "%.*s", (int)x->http.method.len, (const char *)x->http.method.data);
    assert_int_equal(auth_sign(&signer, &x->http.arena, method, x->http.target, slice_str(WORLD_HOST), headers, count,
                               arena_copy(&x->http.arena, slice_str(payload)), env_wall_ms(&world.env.env), &done),
                     ERRC_OK);
    exchange_header(x, "Host", slice_str(WORLD_HOST));
    exchange_header(x, "Authorization", done.authorization);
    exchange_header(x, "x-amz-date", done.date);
    exchange_header(x, "x-amz-content-sha256", done.payload);
}

static bool exchange_over(void *data)
{
    return ((struct exchange *)data)->released;
}

static void exchange_init(struct exchange *x, const char *method, const char *target, const char *headers,
                          struct slice body)
{
    memset(x, 0, sizeof(*x));
    arena_init(&x->http.arena, HTTP_REQUEST_ARENA_BYTES);
    x->http.method = slice_str(method);
    x->http.target = slice_str(target);
    x->http.headers = x->headers;
    x->http.content_length = (int64_t)body.len;
    x->http.minor_version = 1;
    x->http.is_head = strcmp(method, "HEAD") == 0;
    x->http.started_ns = env_now_ns(&world.env.env);
    x->http.peer = "192.0.2.1:4711";
    x->http.executor = &world.env.executor.executor;
    x->body = body;
    x->piece_bytes = 70000;
    exchange_headers(x, headers);
    char *length = arena_format(&x->http.arena, "%zu", body.len);
    exchange_header(x, "Content-Length", slice_str(length));
}

static void exchange_run(struct exchange *x)
{
    unsigned logged = world.logged;
    world.handler.on_request(world.handler.data, &x->http);
    assert_true(turn_env_run(&world.env, exchange_over, x, 60000));
    assert_true(x->released);
    assert_int_equal(world.logged, logged + 1);
    if (!x->aborted && x->responded) {
        assert_true(x->ended);
        if (!x->http.is_head) {
            assert_int_equal(x->announced, x->out.len);
        }
    }
}

static void exchange_free(struct exchange *x)
{
    (void)turn_env_drain(&world.env); /* tasks that still point into it */
    enc_free(&x->head);
    enc_free(&x->out);
    arena_done(&x->http.arena);
}

static void call_bytes(struct exchange *x, const char *method, const char *target, const char *headers,
                       struct slice body)
{
    exchange_init(x, method, target, headers, body);
    exchange_sign(x);
    exchange_run(x);
}

static void call(struct exchange *x, const char *method, const char *target, const char *headers, const char *body)
{
    call_bytes(x, method, target, headers, body == NULL ? SLICE_EMPTY : slice_str(body));
}

static bool enc_has(const struct enc *enc, const char *text)
{
    return enc->len > 0 && memmem(enc->data, enc->len, text, strlen(text)) != NULL;
}

/* Value of a response header in `room`; empty when absent. */
static const char *header_of(const struct exchange *x, const char *name, char *room, size_t room_bytes)
{
    char prefix[96];
    (void)snprintf(prefix, sizeof(prefix), "%s: ", name);
    room[0] = '\0';
    const uint8_t *at = x->head.len > 0 ? memmem(x->head.data, x->head.len, prefix, strlen(prefix)) : NULL;
    if (at != NULL) {
        at += strlen(prefix);
        const uint8_t *end = memchr(at, '\n', x->head.len - (size_t)(at - x->head.data));
        (void)snprintf(room, room_bytes, "%.*s", (int)(end - at), (const char *)at);
    }
    return room;
}

/* Runs a call and expects a status and, unless NULL, a text in the body. */
static void expect(const char *method, const char *target, const char *headers, const char *body, unsigned status,
                   const char *text)
{
    struct exchange x;
    call(&x, method, target, headers, body);
    if (x.status != status || (text != NULL && !enc_has(&x.out, text))) {
        print_error("%s %s: %u %.*s\n", method, target, x.status, (int)x.out.len, (const char *)x.out.data);
    }
    assert_int_equal(x.status, status);
    assert_true(text == NULL || enc_has(&x.out, text));
    exchange_free(&x);
}

#endif
