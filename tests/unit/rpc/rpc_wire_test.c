/*
 * Calls between two loops over TLS on loopback: answers, payloads, many at once, backpressure, limits, stops.
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "tests/lib/wire_raw.h"
#include "tests/lib/wire_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 1000

static struct wire_world world;
static struct tls_context *tls;
static struct rpc_client *client;

static void open_with(const struct rpc_server_limits *limits, const struct rpc_client_config *wanted)
{
    wire_world_open(&world, ROLE_STORAGE_NODE, limits);
    tls = wire_context(&world.ca, ROLE_GATEWAY, 7, -10, 3600);
    struct rpc_client_config config = wire_client_config(&world, tls, 7);
    config.role = ROLE_STORAGE_NODE;
    config.node = wire_node(1);
    if (wanted != NULL) {
        config.calls_max = wanted->calls_max;
        config.bytes_max = wanted->bytes_max;
        config.idle_ms = wanted->idle_ms;
    }
    client = rpc_client_create(&config);
}

static void close_all(void)
{
    if (client != NULL) {
        wire_client_destroy(client);
    }
    wire_world_close(&world);
    tls_context_destroy(tls);
    client = NULL;
}

/* Until the service has had so many calls, at most 20 s. */
static void await_calls(unsigned count)
{
    for (unsigned i = 0; i < 2000 && atomic_load(&world.calls) < count; i++) {
        (void)usleep(10000);
    }
    assert_int_equal(atomic_load(&world.calls), count);
}

static void one_call(void **state)
{
    (void)state;
    open_with(NULL, NULL);
    struct wire_call call = { 0 };
    wire_call_start(&call, &world, client, RPC_NODE_SHARD_STAT, "echo this", 5000);
    assert_int_equal(wire_call_wait(&call), ERRC_OK);
    assert_true(slice_equal_str(enc_slice(&call.call.reply), "echo this"));
    rpc_call_release(&call.call);
    assert_int_equal(atomic_load(&world.last_role), ROLE_GATEWAY);
    assert_in_range(atomic_load(&world.last_deadline_ms), 3000, 5000);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, NULL, NULL), ERRC_OK);
    struct wire_call failed = { 0 };
    wire_call_start(&failed, &world, client, RPC_NODE_SHARD_STAT, "fail", 0);
    assert_int_equal(wire_call_wait(&failed), ERRC_NOT_FOUND);
    assert_string_equal(failed.call.error.text, "no such thing");
    assert_true(slice_equal_str(enc_slice(&failed.call.reply), "where")); /* a story and a reply */
    assert_int_equal(atomic_load(&world.last_deadline_ms), 0);
    rpc_call_release(&failed.call);
    close_all();
}

static uint8_t byte_at(unsigned seed, size_t at)
{
    return (uint8_t)(((at * 2654435761u) >> 7) + seed * 31u);
}

static struct buffer *payload_of(size_t len, unsigned seed)
{
    struct buffer *buffer = buffer_new(len > 0 ? len : 1);
    buffer->len = len;
    for (size_t i = 0; i < len; i++) {
        buffer->data[i] = byte_at(seed, i);
    }
    return buffer;
}

/* Lengths of the payloads of call number i: 0 to 64 of them, 0 to 4 MiB in all. */
static unsigned payload_lens(unsigned i, size_t lens[RPC_PAYLOADS_MAX])
{
    unsigned count = i % 7 == 0 ? 0 : i % 11 == 0 ? RPC_PAYLOADS_MAX : i % 5;
    size_t most = i % 100 == 99 ? RPC_PAYLOAD_BYTES_MAX : 20000;
    for (unsigned p = 0; p < count; p++) {
        lens[p] = (i * 7919u + p * 104729u) % (most / count + 1);
    }
    if (i == 4) {
        count = 1;
        lens[0] = RPC_PAYLOAD_BYTES_MAX;
    }
    return count;
}

static void many_calls(void **state)
{
    (void)state;
    open_with(NULL, NULL);
    struct wire_call *calls = mem_zalloc(MANY * sizeof(*calls));
    char heads[MANY][16];
    for (unsigned i = 0; i < MANY; i++) {
        size_t lens[RPC_PAYLOADS_MAX];
        unsigned count = payload_lens(i, lens);
        for (unsigned p = 0; p < count; p++) {
            calls[i].call.payloads[p] = payload_of(lens[p], i + p);
        }
        calls[i].call.payload_count = count;
        (void)snprintf(heads[i], sizeof(heads[i]), "e%u", i);
        wire_call_start(&calls[i], &world, client, i % 2 == 0 ? RPC_NODE_SHARD_PUT : RPC_NODE_SHARD_STAT, heads[i], 60000);
    }
    for (unsigned i = 0; i < MANY; i++) {
        struct rpc_call *call = &calls[i].call;
        assert_int_equal(wire_call_wait(&calls[i]), ERRC_OK);
        assert_true(slice_equal_str(enc_slice(&call->reply), heads[i]));
        assert_int_equal(call->reply_payload_count, call->payload_count);
        for (unsigned p = 0; p < call->payload_count; p++) {
            assert_true(slice_equal(buffer_slice(call->payloads[p]), buffer_slice(call->reply_payloads[p])));
            assert_ptr_not_equal(call->payloads[p], call->reply_payloads[p]);
            buffer_unref(call->payloads[p]);
        }
        rpc_call_release(call);
    }
    assert_int_equal(atomic_load(&world.calls), MANY);
    struct rpc_client_status status;
    rpc_client_status(client, &status);
    assert_int_equal(status.calls, 0);
    assert_int_equal(status.bytes, 0);
    assert_int_equal(status.connections, 3); /* one for small calls, two for bulk */
    mem_free(calls);
    close_all();
}

static unsigned connections(void)
{
    struct rpc_client_status status;
    rpc_client_status(client, &status);
    return (unsigned)status.connections;
}

#define ORDERED 400
#define ORDERS 3 /* odd: two connections taken in turn would part an order */

/* Bulk calls have two connections; those of one order arrive as they were started all the same. */
static void order_is_kept(void **state)
{
    (void)state;
    open_with(NULL, NULL);
    struct wire_call *calls = mem_zalloc(ORDERED * sizeof(*calls));
    char heads[ORDERED][16];
    struct buffer *small = payload_of(100, 1);
    struct buffer *large = payload_of(300000, 2);
    for (unsigned i = 0; i < ORDERED; i++) {
        (void)snprintf(heads[i], sizeof(heads[i]), "o%u%04u", i % ORDERS, i / ORDERS);
        calls[i].call.order = i % ORDERS + 1;
        calls[i].call.payloads[0] = i * 7 % 5 < 2 ? large : small;
        calls[i].call.payload_count = 1;
        wire_call_start(&calls[i], &world, client, RPC_NODE_SHARD_WRITE, heads[i], 60000);
        for (unsigned turn = 0; i == ORDERS && turn < 1000 && connections() < 2; turn++) {
            (void)usleep(10000); /* the second one takes a while */
        }
    }
    for (unsigned i = 0; i < ORDERED; i++) {
        assert_int_equal(wire_call_wait(&calls[i]), ERRC_OK);
    }
    for (unsigned i = 0; i < ORDERED; i++) {
        rpc_call_release(&calls[i].call);
    }
    assert_int_equal(connections(), 2);
    assert_int_equal(atomic_load(&world.disordered), 0);
    buffer_unref(small);
    buffer_unref(large);
    mem_free(calls);
    close_all();
}

static void too_large(void **state)
{
    (void)state;
    open_with(NULL, NULL);
    struct wire_call call = { 0 };
    call.call.payloads[0] = payload_of(RPC_PAYLOAD_BYTES_MAX, 1);
    call.call.payloads[1] = payload_of(1, 1);
    call.call.payload_count = 2;
    wire_call_start(&call, &world, client, RPC_NODE_SHARD_PUT, "e", 1000);
    assert_int_equal(wire_call_wait(&call), ERRC_INVALID);
    buffer_unref(call.call.payloads[0]);
    buffer_unref(call.call.payloads[1]);
    world.reply_bytes = RPC_PAYLOAD_BYTES_MAX + 1;
    struct error e = ERROR_INIT;
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_READ, "grow", &e), ERRC_LIMIT);
    assert_non_null(strstr(e.text, "too large"));
    world.reply_bytes = RPC_PAYLOAD_BYTES_MAX;
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_READ, "grow", NULL), ERRC_OK);
    close_all();
}

/* Calls beyond what a connection may have in flight stay in TCP; they come when others have been answered. */
static void backpressure(void **state)
{
    (void)state;
    const struct rpc_server_limits limits = { .connection_requests = 4 };
    open_with(&limits, NULL);
    struct wire_call *calls = mem_zalloc(40 * sizeof(*calls));
    for (unsigned i = 0; i < 40; i++) {
        wire_call_start(&calls[i], &world, client, RPC_NODE_SHARD_STAT, "hold", 60000);
    }
    for (unsigned answered = 0; answered < 40; answered += 4) {
        await_calls(answered + 4);
        (void)usleep(20000);
        assert_int_equal(atomic_load(&world.calls), answered + 4);
        wire_world_release(&world);
    }
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(wire_call_wait(&calls[i]), ERRC_OK);
        rpc_call_release(&calls[i].call);
    }
    mem_free(calls);
    close_all();
}

/* A peer that asks for 400 MiB and reads nothing costs what the limits say; when it reads, it gets everything. */
static void slow_reader(void **state)
{
    (void)state;
    const struct rpc_server_limits limits = { .connection_requests = 16, .connection_bytes = 16u << 20 };
    const uint64_t most = (16u << 20) + 16 * (1u << 20) + (4u << 20); /* the first calls counted for less */
    const unsigned count = 400;
    open_with(&limits, NULL);
    world.reply_bytes = 1u << 20;
    SSL *ssl = raw_tls(world.address, &world.ca, ROLE_GATEWAY, 7, -10, 100);
    struct rpc_hello hello = { 1, 1, world.ca.cluster, wire_node(7), "1" };
    struct rpc_frame_header header = { .version = 1, .kind = RPC_FRAME_HELLO };
    struct rpc_frame frame;
    struct enc head = ENC_INIT;
    rpc_hello_encode(&head, &hello);
    struct enc bytes = raw_frame(&header, enc_slice(&head));
    raw_tls_send(ssl, enc_slice(&bytes));
    assert_true(raw_tls_read_frame(ssl, &frame));
    rpc_frame_drop(&frame);
    enc_free(&head);
    for (unsigned i = 0; i < count; i++) {
        header = (struct rpc_frame_header){ .version = 1, .kind = RPC_FRAME_REQUEST, .method = RPC_NODE_SHARD_READ, .call_id = i };
        enc_free(&bytes);
        bytes = raw_frame(&header, slice_str("grow"));
        raw_tls_send(ssl, enc_slice(&bytes));
    }
    enc_free(&bytes);
    (void)usleep(500000);
    struct rpc_server_status status;
    rpc_server_status(world.server, &status);
    assert_true(atomic_load(&world.calls) < count);
    assert_true(status.bytes <= most);
    assert_true(buffer_live_bytes() <= most);
    for (unsigned i = 0; i < count; i++) {
        assert_true(raw_tls_read_frame(ssl, &frame));
        assert_int_equal(frame.header.call_id, i);
        assert_int_equal(frame.payloads[0]->len, 1u << 20);
        rpc_frame_drop(&frame);
        assert_true(buffer_live_bytes() <= most);
    }
    raw_tls_close(ssl);
    close_all();
}

static void server_total(void **state)
{
    (void)state;
    const struct rpc_server_limits limits = { .requests = 4 };
    open_with(&limits, NULL);
    struct wire_call *calls = mem_zalloc(4 * sizeof(*calls));
    for (unsigned i = 0; i < 4; i++) {
        wire_call_start(&calls[i], &world, client, RPC_NODE_SHARD_STAT, "hold", 60000);
    }
    await_calls(4);
    struct error e = ERROR_INIT;
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", &e), ERRC_LIMIT);
    assert_non_null(strstr(e.text, "slow down"));
    wire_world_release(&world);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(wire_call_wait(&calls[i]), ERRC_OK);
        rpc_call_release(&calls[i].call);
    }
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    mem_free(calls);
    close_all();
}

static void client_queue(void **state)
{
    (void)state;
    const struct rpc_client_config config = { .calls_max = 3 };
    open_with(NULL, &config);
    struct wire_call *calls = mem_zalloc(4 * sizeof(*calls));
    for (unsigned i = 0; i < 4; i++) {
        wire_call_start(&calls[i], &world, client, RPC_NODE_SHARD_STAT, "hold", 60000);
    }
    assert_int_equal(wire_call_wait(&calls[3]), ERRC_LIMIT);
    await_calls(3);
    wire_world_release(&world);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(wire_call_wait(&calls[i]), ERRC_OK);
        rpc_call_release(&calls[i].call);
    }
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    mem_free(calls);
    close_all();
}

/* A small call does not wait for the bulk calls before it. */
static void small_before_bulk(void **state)
{
    (void)state;
    open_with(NULL, NULL);
    struct buffer *large = payload_of(RPC_PAYLOAD_BYTES_MAX, 3);
    struct wire_call *calls = mem_zalloc(32 * sizeof(*calls));
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    for (unsigned i = 0; i < 32; i++) {
        calls[i].call.payloads[0] = large;
        calls[i].call.payload_count = 1;
        wire_call_start(&calls[i], &world, client, RPC_NODE_SHARD_WRITE, "e", 60000);
    }
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    int ready = 0;
    assert_int_equal(sem_getvalue(&calls[31].done, &ready), 0);
    assert_int_equal(ready, 0);
    for (unsigned i = 0; i < 32; i++) {
        assert_int_equal(wire_call_wait(&calls[i]), ERRC_OK);
        rpc_call_release(&calls[i].call);
    }
    buffer_unref(large);
    mem_free(calls);
    close_all();
}

static void graceful_stop(void **state)
{
    (void)state;
    open_with(NULL, NULL);
    struct wire_call held = { 0 };
    struct error e = ERROR_INIT;
    sem_t stopped;
    wire_call_start(&held, &world, client, RPC_NODE_SHARD_COMMIT, "hold", 60000);
    await_calls(1);
    (void)sem_init(&stopped, 0, 0);
    rpc_server_stop(world.server, 20000, wire_wake, &stopped);
    wire_world_sync(&world);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", &e), ERRC_UNAVAILABLE);
    assert_string_equal(e.text, "shutting down");
    wire_world_release(&world);
    assert_int_equal(wire_call_wait(&held), ERRC_OK); /* finished and answered */
    rpc_call_release(&held.call);
    assert_int_equal(sem_wait(&stopped), 0);
    (void)sem_destroy(&stopped);
    error_clear(&e);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", &e), ERRC_UNAVAILABLE);
    assert_non_null(strstr(e.text, "connection refused"));
    rpc_server_destroy(world.server);
    world.server = NULL;
    close_all();
}

static void destroy_cancels(void **state)
{
    (void)state;
    open_with(NULL, NULL);
    struct wire_call calls[2] = { 0 };
    wire_call_start(&calls[0], &world, client, RPC_NODE_SHARD_COMMIT, "hold", 60000);
    wire_call_start(&calls[1], &world, client, RPC_NODE_SHARD_READ, "hold", 60000);
    await_calls(2);
    wire_client_destroy(client);
    client = NULL;
    assert_int_equal(wire_call_wait(&calls[0]), ERRC_CANCELED);
    assert_int_equal(wire_call_wait(&calls[1]), ERRC_CANCELED);
    wire_world_release(&world); /* answers for nobody */
    close_all();
}

/* A renewed certificate is used by what comes next, without a restart. */
static void renewal(void **state)
{
    (void)state;
    open_with(NULL, NULL);
    struct rpc_client_status status;
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    rpc_client_status(client, &status);
    assert_int_equal(status.connects, 1);
    struct certificate_identity identity = { world.ca.cluster, wire_node(7), ROLE_ADMIN, 0, 0 };
    identity.not_after_s = (int64_t)(env_wall_ms(env_real()) / 1000) + 100;
    char *key;
    char *request;
    char *pem;
    assert_int_equal(certificate_key_create(&key, NULL), ERRC_OK);
    assert_int_equal(certificate_request_create(key, identity.node, &request, NULL), ERRC_OK);
    assert_int_equal(certificate_issue(world.ca.pem, world.ca.key, request, &identity, &pem, NULL), ERRC_OK);
    struct tls_material material = { world.ca.pem, pem, key };
    assert_int_equal(tls_context_reload(tls, &material, NULL), ERRC_OK);
    assert_int_equal(wire_call_once(&world, client, RPC_META_LEADER, "e", NULL), ERRC_OK);
    assert_int_equal(atomic_load(&world.last_role), ROLE_ADMIN); /* it was the new one */
    rpc_client_status(client, &status);
    assert_int_equal(status.connects, 2);
    certificate_key_free(key);
    mem_free(request);
    mem_free(pem);
    close_all();
}

#define SWAP_CALLS 2000
#define SWAP_FLIGHT 32 /* calls under way at once */
#define SWAP_EVERY 250

static void swap(struct tls_context *context, enum cluster_role role, uint8_t node)
{
    struct certificate_identity identity = { world.ca.cluster, wire_node(node), (uint8_t)role, 0, 0 };
    char *key = NULL;
    char *request = NULL;
    char *pem = NULL;
    identity.not_after_s = (int64_t)(env_wall_ms(env_real()) / 1000) + 100;
    assert_int_equal(certificate_key_create(&key, NULL), ERRC_OK);
    assert_int_equal(certificate_request_create(key, identity.node, &request, NULL), ERRC_OK);
    assert_int_equal(certificate_issue(world.ca.pem, world.ca.key, request, &identity, &pem, NULL), ERRC_OK);
    const struct tls_material material = { world.ca.pem, pem, key };
    assert_int_equal(tls_context_reload(context, &material, NULL), ERRC_OK);
    certificate_key_free(key);
    mem_free(request);
    mem_free(pem);
}

/* Client and server get new certificates in turns while calls are under way: none fails. */
static void certificates_are_swapped_under_traffic(void **state)
{
    (void)state;
    open_with(NULL, NULL);
    struct wire_call *calls = mem_zalloc(SWAP_CALLS * sizeof(*calls));
    struct buffer *payload = payload_of(100000, 3);
    for (unsigned i = 0; i < SWAP_CALLS + SWAP_FLIGHT; i++) {
        if (i >= SWAP_FLIGHT) {
            struct wire_call *done = &calls[i - SWAP_FLIGHT];
            assert_int_equal(wire_call_wait(done), ERRC_OK);
            rpc_call_release(&done->call);
        }
        if (i < SWAP_CALLS && i % SWAP_EVERY == SWAP_EVERY - 1) {
            swap(i / SWAP_EVERY % 2 == 0 ? tls : world.server_tls, i / SWAP_EVERY % 2 == 0 ? ROLE_GATEWAY : ROLE_STORAGE_NODE,
                 i / SWAP_EVERY % 2 == 0 ? 7 : 1);
        }
        if (i < SWAP_CALLS) {
            calls[i].call.payloads[0] = i % 4 == 0 ? payload : NULL;
            calls[i].call.payload_count = i % 4 == 0 ? 1 : 0;
            wire_call_start(&calls[i], &world, client, i % 4 == 0 ? RPC_NODE_SHARD_PUT : RPC_NODE_SHARD_STAT, "e", 60000);
        }
    }
    struct rpc_client_status status;
    rpc_client_status(client, &status);
    assert_int_equal(status.repeats, 0); /* no connection was lost either */
    assert_true(status.connects >= 2 * (SWAP_CALLS / SWAP_EVERY / 2)); /* both lanes, at each swap of the client's */
    buffer_unref(payload);
    mem_free(calls);
    close_all();
}

static void idle_connections_end(void **state)
{
    (void)state;
    const struct rpc_client_config config = { .idle_ms = 100 };
    open_with(NULL, &config);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    struct rpc_server_status status = { .connections = 1 };
    for (unsigned i = 0; i < 1000 && status.connections > 0; i++) {
        (void)usleep(10000);
        rpc_server_status(world.server, &status);
    }
    assert_int_equal(status.connections, 0);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    assert_int_equal(wire_world_refused(&world, NULL), 0); /* nobody was turned away */
    close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_call),       cmocka_unit_test(many_calls),           cmocka_unit_test(too_large),
        cmocka_unit_test(backpressure),   cmocka_unit_test(slow_reader),          cmocka_unit_test(server_total),
        cmocka_unit_test(client_queue),   cmocka_unit_test(small_before_bulk),    cmocka_unit_test(graceful_stop),
        cmocka_unit_test(destroy_cancels), cmocka_unit_test(renewal),             cmocka_unit_test(certificates_are_swapped_under_traffic),
        cmocka_unit_test(idle_connections_end),
        cmocka_unit_test(order_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
