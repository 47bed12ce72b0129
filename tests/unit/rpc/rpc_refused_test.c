/*
 * Who and what is turned away at the port: each with a reason, told with the peer's address, and no service is called.
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
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct wire_world world;

static int open_world(void **state)
{
    (void)state;
    const struct rpc_server_limits limits = { .hello_ms = 500 };
    wire_world_open(&world, ROLE_STORAGE_NODE, &limits);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    wire_world_close(&world);
    return 0;
}

/* So many were refused, the last for a reason with this word; nothing was called. */
static void must_be_refused(unsigned count, enum errc code, const char *word)
{
    struct error e;
    wire_world_await_refused(&world, count, &e);
    if (e.code != code || strstr(e.text, word) == NULL) {
        fail_msg("refused with %s: %s", errc_name(e.code), e.text);
    }
    assert_int_equal(atomic_load(&world.calls), 0);
}

static void plain_text(void **state)
{
    (void)state;
    int fd = raw_connect(world.address);
    const char *request = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    (void)raw_drain(fd);
    (void)close(fd);
    must_be_refused(1, ERRC_DENIED, "TLS handshake failed: http request");
}

static void silence(void **state)
{
    (void)state;
    int fd = raw_connect(world.address);
    assert_int_equal(raw_drain(fd), 0); /* returns when the server has had enough */
    (void)close(fd);
    must_be_refused(1, ERRC_TIMEOUT, "no HELLO");
    SSL *ssl = raw_tls(world.address, &world.ca, ROLE_GATEWAY, 7, -10, 100);
    struct rpc_frame frame;
    assert_false(raw_tls_read_frame(ssl, &frame));
    raw_tls_close(ssl);
    must_be_refused(2, ERRC_TIMEOUT, "no HELLO");
}

/* The client's own check of the server is off: it is the server that has to refuse. */
static void refused_in_handshake(const struct wire_ca *ca, int64_t from_s, int64_t to_s, const char *word)
{
    struct rpc_frame frame;
    SSL *ssl = raw_tls(world.address, ca, ROLE_GATEWAY, 7, from_s, to_s);
    if (ssl != NULL) { /* in TLS 1.3 a client learns it with its first read */
        assert_false(raw_tls_read_frame(ssl, &frame));
    }
    raw_tls_close(ssl);
    must_be_refused(1, ERRC_DENIED, word);
}

static void foreign_ca(void **state)
{
    (void)state;
    struct wire_ca foreign;
    wire_ca_init(&foreign, 0xc1); /* says that it is the same cluster */
    refused_in_handshake(&foreign, -10, 100, "certificate");
    wire_ca_done(&foreign);
}

static void expired(void **state)
{
    (void)state;
    refused_in_handshake(&world.ca, -100, -1, "expired");
}

static void not_yet_valid(void **state)
{
    (void)state;
    refused_in_handshake(&world.ca, 1000, 2000, "not yet valid");
}

/* The CA of the cluster, but its certificate names another cluster. */
static void other_cluster(void **state)
{
    (void)state;
    struct wire_ca other = world.ca;
    struct rpc_frame frame;
    memset(other.cluster.bytes, 0x77, sizeof(other.cluster.bytes));
    SSL *ssl = raw_tls(world.address, &other, ROLE_GATEWAY, 7, -10, 100);
    assert_non_null(ssl);
    assert_true(raw_tls_read_frame(ssl, &frame));
    assert_int_equal(frame.header.status, ERRC_DENIED);
    rpc_frame_drop(&frame);
    raw_tls_close(ssl);
    must_be_refused(1, ERRC_DENIED, "another cluster");
}

/* A client that checks: the server is of another CA, another role, another node. */
static void client_checks_the_server(void **state)
{
    (void)state;
    struct wire_ca foreign;
    struct error e = ERROR_INIT;
    wire_ca_init(&foreign, 0xc1);
    struct tls_context *stranger = wire_context(&foreign, ROLE_GATEWAY, 7, -10, 100);
    struct tls_context *tls = wire_context(&world.ca, ROLE_GATEWAY, 7, -10, 100);
    for (unsigned i = 0; i < 4; i++) {
        struct rpc_client_config config = wire_client_config(&world, i == 0 ? stranger : tls, 7);
        config.role = i == 1 ? ROLE_METADATA : ROLE_NONE;
        config.node = i == 2 ? wire_node(2) : (struct node_id){ { 0 } };
        config.cluster.bytes[0] = i == 3 ? 0x99 : 0xc1;
        const char *words[] = { "certificate", "it is a storage-node, not a metadata", "it is node 0101", "another cluster" };
        struct rpc_client *client = rpc_client_create(&config);
        error_clear(&e);
        assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", &e), ERRC_UNAVAILABLE);
        if (strstr(e.text, words[i]) == NULL) {
            fail_msg("%u: %s", i, e.text);
        }
        wire_client_destroy(client);
    }
    assert_int_equal(atomic_load(&world.calls), 0);
    tls_context_destroy(stranger);
    tls_context_destroy(tls);
    wire_ca_done(&foreign);
}

/* Every method by every role, against the schema. */
static void roles(void **state)
{
    (void)state;
    unsigned refused = 0;
    unsigned called = 0;
    uint8_t hash[SHA256_BYTES];
    assert_int_equal(certificate_hash(world.ca.pem, hash, NULL), ERRC_OK);
    for (unsigned role = ROLE_NONE; role <= ROLE_ADMIN; role++) {
        struct tls_context *tls = NULL;
        if (role == ROLE_NONE) {
            assert_int_equal(tls_context_create_pinned(hash, &tls, NULL), ERRC_OK);
        } else {
            tls = wire_context(&world.ca, role, 7, -10, 100);
        }
        struct rpc_client_config config = wire_client_config(&world, tls, role == ROLE_NONE ? 0 : 7);
        if (role == ROLE_NONE) {
            memset(&config.cluster, 0, sizeof(config.cluster));
        }
        struct rpc_client *client = rpc_client_create(&config);
#define X(name, number, allowed, retry, lane)                                                                      \
    {                                                                                                              \
        struct error e = ERROR_INIT;                                                                               \
        enum errc status = wire_call_once(&world, client, number, "e", &e);                                        \
        assert_int_equal(status, ((allowed) & ROLE_BIT(role)) != 0 ? ERRC_OK : ERRC_DENIED);                       \
        assert_true(status == ERRC_OK || strstr(e.text, #name) != NULL);                                           \
        refused += status == ERRC_OK ? 0 : 1;                                                                      \
        called += status == ERRC_OK ? 1 : 0;                                                                       \
        assert_int_equal(wire_world_refused(&world, NULL), refused);                                               \
        assert_int_equal(atomic_load(&world.calls), called);                                                       \
        assert_true(status != ERRC_OK || atomic_load(&world.last_role) == role);                                   \
    }
        RPC_METHODS(X)
#undef X
        assert_int_equal(wire_call_once(&world, client, 0x0777, "e", NULL), ERRC_UNSUPPORTED);
        refused++;
        wire_client_destroy(client);
        tls_context_destroy(tls);
    }
    assert_true(refused > 30);
}

/* Without a certificate: CLUSTER_JOIN and nothing else, small, and of this CA only. */
static void stranger(void **state)
{
    (void)state;
    uint8_t hash[SHA256_BYTES];
    struct tls_context *tls = NULL;
    struct error e = ERROR_INIT;
    assert_int_equal(certificate_hash(world.ca.pem, hash, NULL), ERRC_OK);
    hash[0] ^= 1;
    assert_int_equal(tls_context_create_pinned(hash, &tls, NULL), ERRC_OK);
    struct rpc_client_config config = wire_client_config(&world, tls, 0);
    memset(&config.cluster, 0, sizeof(config.cluster));
    struct rpc_client *client = rpc_client_create(&config);
    assert_int_equal(wire_call_once(&world, client, RPC_CLUSTER_JOIN, "e", &e), ERRC_UNAVAILABLE);
    assert_non_null(strstr(e.text, "certificate"));
    wire_client_destroy(client);
    tls_context_destroy(tls);
    hash[0] ^= 1;
    assert_int_equal(tls_context_create_pinned(hash, &tls, NULL), ERRC_OK);
    config.tls = tls;
    client = rpc_client_create(&config);
    char *large = mem_alloc(100001);
    memset(large, 'e', 100000);
    large[100000] = '\0';
    assert_int_equal(wire_call_once(&world, client, RPC_CLUSTER_JOIN, large, NULL), ERRC_DENIED);
    assert_int_equal(atomic_load(&world.calls), 0);
    assert_int_equal(wire_call_once(&world, client, RPC_CLUSTER_JOIN, "e", NULL), ERRC_OK);
    assert_int_equal(atomic_load(&world.last_role), ROLE_NONE);
    mem_free(large);
    wire_client_destroy(client);
    tls_context_destroy(tls);
}

/* A node that was removed while it had connections: what is under way is answered, nothing else is, and it comes in no more. */
static void a_node_that_was_removed(void **state)
{
    (void)state;
    struct wire_call held = { .call = { .method = 0 } };
    struct error e = ERROR_INIT;
    struct tls_context *tls = wire_context(&world.ca, ROLE_GATEWAY, 7, -10, 100);
    struct tls_context *other_tls = wire_context(&world.ca, ROLE_GATEWAY, 8, -10, 100);
    struct rpc_client_config config = wire_client_config(&world, tls, 7);
    struct rpc_client_config other_config = wire_client_config(&world, other_tls, 8);
    struct rpc_client *client = rpc_client_create(&config);
    struct rpc_client *other = rpc_client_create(&other_config);
    const struct node_id removed[] = { wire_node(9), wire_node(7) };
    wire_call_start(&held, &world, client, RPC_NODE_SHARD_STAT, "h", 30000);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    assert_int_equal(wire_call_once(&world, other, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);

    rpc_server_bar(world.server, removed, 2);
    wire_world_sync(&world);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", &e), ERRC_DENIED);
    assert_non_null(strstr(e.text, "removed from the cluster"));
    assert_int_equal(atomic_load(&world.calls), 3);
    wire_world_release(&world);
    assert_int_equal(wire_call_wait(&held), ERRC_OK);
    rpc_call_release(&held.call);
    wire_world_await_refused(&world, 2, &e); /* the call, then the connection */
    assert_non_null(strstr(e.text, "removed from the cluster"));

    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", &e), ERRC_UNAVAILABLE);
    assert_non_null(strstr(e.text, "refused by the peer: this node was removed from the cluster"));
    assert_int_equal(wire_call_once(&world, other, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    assert_int_equal(atomic_load(&world.calls), 4);
    wire_client_destroy(client);
    wire_client_destroy(other);
    tls_context_destroy(tls);
    tls_context_destroy(other_tls);
}

/* Its connection is idle: it is cut, not only refused what comes next. */
static void an_idle_node_that_was_removed(void **state)
{
    (void)state;
    struct tls_context *tls = wire_context(&world.ca, ROLE_GATEWAY, 7, -10, 100);
    struct rpc_client_config config = wire_client_config(&world, tls, 7);
    struct rpc_client *client = rpc_client_create(&config);
    struct rpc_client_status status = { .connections = 1 };
    const struct node_id removed = wire_node(7);
    struct error e = ERROR_INIT;
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    rpc_server_bar(world.server, &removed, 1);
    wire_world_await_refused(&world, 1, &e);
    assert_int_equal(e.code, ERRC_DENIED);
    for (unsigned i = 0; i < 1000 && status.connections > 0; i++) {
        (void)usleep(10000);
        rpc_client_status(client, &status);
    }
    assert_int_equal(status.connections, 0);
    wire_client_destroy(client);
    tls_context_destroy(tls);
}

/* What a client sent, sent again. */
static void replay(void **state)
{
    (void)state;
    struct raw_proxy proxy;
    raw_proxy_open(&proxy, world.address);
    struct tls_context *tls = wire_context(&world.ca, ROLE_GATEWAY, 7, -10, 100);
    struct rpc_client_config config = wire_client_config(&world, tls, 7);
    config.address = proxy.address;
    struct rpc_client *client = rpc_client_create(&config);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_ABORT, "e", NULL), ERRC_OK);
    wire_client_destroy(client);
    raw_proxy_stop(&proxy);
    assert_int_equal(atomic_load(&world.calls), 1);
    assert_true(proxy.recorded_len > 500);
    int fd = raw_connect(world.address);
    assert_int_equal(send(fd, proxy.recorded, proxy.recorded_len, MSG_NOSIGNAL), (ssize_t)proxy.recorded_len);
    (void)raw_drain(fd);
    (void)close(fd);
    atomic_store(&world.calls, atomic_load(&world.calls) - 1);
    must_be_refused(1, ERRC_DENIED, "TLS handshake failed");
    raw_proxy_close(&proxy);
    tls_context_destroy(tls);
}

/* ---- bytes behind a good handshake ---- */

static struct enc hello_frame(uint16_t version_min, uint16_t version_max, uint8_t cluster, uint8_t node)
{
    struct rpc_hello hello = { version_min, version_max, { { 0 } }, wire_node(node), "7.7.7" };
    struct rpc_frame_header header = { .version = version_max, .kind = RPC_FRAME_HELLO };
    struct enc head = ENC_INIT;
    memset(hello.cluster.bytes, cluster, sizeof(hello.cluster.bytes));
    rpc_hello_encode(&head, &hello);
    struct enc frame = raw_frame(&header, enc_slice(&head));
    enc_free(&head);
    return frame;
}

/* Sends bytes, after a good HELLO or instead of it; the answer must be a HELLO with this status and word. */
static void refused_bytes(bool greet, struct slice bytes, enum errc code, const char *word)
{
    static unsigned count;
    struct rpc_frame frame;
    struct enc hello = hello_frame(1, 1, 0xc1, 7);
    count = wire_world_refused(&world, NULL) + 1;
    SSL *ssl = raw_tls(world.address, &world.ca, ROLE_GATEWAY, 7, -10, 100);
    assert_non_null(ssl);
    if (greet) {
        raw_tls_send(ssl, enc_slice(&hello));
        assert_true(raw_tls_read_frame(ssl, &frame));
        assert_int_equal(frame.header.status, ERRC_OK);
        rpc_frame_drop(&frame);
    }
    raw_tls_send(ssl, bytes);
    assert_true(raw_tls_read_frame(ssl, &frame));
    assert_int_equal(frame.header.kind, RPC_FRAME_HELLO);
    assert_int_equal(frame.header.status, code);
    assert_non_null(strstr(frame.text, word));
    rpc_frame_drop(&frame);
    assert_false(raw_tls_read_frame(ssl, &frame)); /* and that was all */
    raw_tls_close(ssl);
    must_be_refused(count, code, word);
    enc_free(&hello);
}

static void wrong_hellos(void **state)
{
    (void)state;
    struct enc version = hello_frame(7, 9, 0xc1, 7);
    refused_bytes(false, enc_slice(&version), ERRC_FORMAT, "(cairn 7.7.7) speaks protocol versions 7 to 9, this one");
    enc_free(&version);
    struct enc cluster = hello_frame(1, 1, 0x55, 7);
    refused_bytes(false, enc_slice(&cluster), ERRC_DENIED, "another cluster");
    enc_free(&cluster);
    struct enc node = hello_frame(1, 1, 0xc1, 8);
    refused_bytes(false, enc_slice(&node), ERRC_DENIED, "different nodes");
    enc_free(&node);
}

static void wrong_frames(void **state)
{
    (void)state;
    struct rpc_frame_header header = { .version = 1, .kind = RPC_FRAME_REQUEST, .method = RPC_NODE_SHARD_STAT };
    struct enc good = raw_frame(&header, slice_str("e"));
    refused_bytes(false, enc_slice(&good), ERRC_INVALID, "out of place"); /* before HELLO */
    uint8_t *last = &good.data[good.len - 1];
    *last ^= 1;
    refused_bytes(true, enc_slice(&good), ERRC_CORRUPT, "body");
    *last ^= 1;
    good.data[20] ^= 1; /* length of the head */
    refused_bytes(true, enc_slice(&good), ERRC_CORRUPT, "header");
    good.data[20] ^= 1;
    good.data[4] = 3;
    refused_bytes(true, enc_slice(&good), ERRC_FORMAT, "version 3");
    good.data[4] = 1;
    good.data[0] ^= 1;
    refused_bytes(true, enc_slice(&good), ERRC_CORRUPT, "not a frame");
    enc_free(&good);
    uint8_t bytes[RPC_HEADER_BYTES];
    header.head_bytes = RPC_HEAD_BYTES_MAX + 1;
    rpc_frame_header_encode(&header, bytes);
    refused_bytes(true, slice_of(bytes, sizeof(bytes)), ERRC_INVALID, "head of 4194305");
    header.head_bytes = 0;
    header.kind = RPC_FRAME_REPLY;
    rpc_frame_header_encode(&header, bytes);
    refused_bytes(true, slice_of(bytes, sizeof(bytes)), ERRC_INVALID, "out of place");
}

/* A request cut in the middle: not called, and nothing is left of it. */
static void cut_frame(void **state)
{
    (void)state;
    struct rpc_frame_header header = { .version = 1, .kind = RPC_FRAME_REQUEST, .method = RPC_NODE_SHARD_STAT };
    struct enc good = raw_frame(&header, slice_str("echo"));
    struct enc hello = hello_frame(1, 1, 0xc1, 7);
    for (size_t len = RPC_HEADER_BYTES - 1; len < good.len; len++) {
        struct rpc_frame frame;
        SSL *ssl = raw_tls(world.address, &world.ca, ROLE_GATEWAY, 7, -10, 100);
        raw_tls_send(ssl, enc_slice(&hello));
        assert_true(raw_tls_read_frame(ssl, &frame));
        rpc_frame_drop(&frame);
        raw_tls_send(ssl, slice_of(good.data, len));
        raw_tls_close(ssl);
    }
    struct rpc_server_status status;
    for (unsigned i = 0; i < 1000; i++) {
        rpc_server_status(world.server, &status);
        if (status.connections == 0) {
            break;
        }
        (void)usleep(10000);
    }
    assert_int_equal(status.connections, 0);
    assert_int_equal(status.bytes, 0);
    assert_int_equal(status.requests, 0);
    assert_int_equal(atomic_load(&world.calls), 0);
    enc_free(&good);
    enc_free(&hello);
}

static int open_small_world(void **state)
{
    (void)state;
    const struct rpc_server_limits limits = { .connections = 1, .strangers = 2, .hello_ms = 60000 };
    wire_world_open(&world, ROLE_STORAGE_NODE, &limits);
    return 0;
}

/* Who shows no certificate takes no place of those that do: the oldest of them goes. */
static void strangers_give_way(void **state)
{
    (void)state;
    int fds[3];
    struct error e;
    struct tls_context *tls = wire_context(&world.ca, ROLE_GATEWAY, 7, -10, 100);
    struct rpc_client_config config = wire_client_config(&world, tls, 7);
    fds[0] = raw_connect(world.address);
    fds[1] = raw_connect(world.address);
    struct rpc_client *client = rpc_client_create(&config);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK); /* fds[0] went */
    assert_int_equal(raw_drain(fds[0]), 0);
    wire_world_await_refused(&world, 1, &e);
    assert_int_equal(e.code, ERRC_LIMIT);
    assert_non_null(strstr(e.text, "without a certificate"));
    (void)close(fds[0]);
    fds[0] = raw_connect(world.address); /* the client's place among them is free again */
    fds[2] = raw_connect(world.address);
    assert_int_equal(raw_drain(fds[1]), 0);
    wire_world_await_refused(&world, 2, &e);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);

    struct rpc_client *second = rpc_client_create(&config); /* one peer more than there may be */
    assert_int_equal(wire_call_once(&world, second, RPC_NODE_SHARD_STAT, "e", &e), ERRC_UNAVAILABLE);
    assert_non_null(strstr(e.text, "more than 1 connections"));
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    wire_client_destroy(second);
    wire_client_destroy(client);
    tls_context_destroy(tls);
    for (unsigned i = 0; i < 3; i++) {
        (void)close(fds[i]);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(plain_text),    TEST(silence),  TEST(foreign_ca), TEST(expired), TEST(not_yet_valid),
        TEST(other_cluster), TEST(client_checks_the_server),  TEST(roles),   TEST(stranger),
        TEST(replay),        TEST(wrong_hellos), TEST(wrong_frames), TEST(cut_frame),
        TEST(a_node_that_was_removed), TEST(an_idle_node_that_was_removed),
        cmocka_unit_test_setup_teardown(strangers_give_way, open_small_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
