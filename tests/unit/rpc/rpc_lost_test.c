/*
 * Deadlines, lost connections, peers that fall silent: what a caller is told, and what is done twice.
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "tests/lib/wire_raw.h"
#include "tests/lib/wire_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct wire_world world;
static struct raw_proxy proxy;
static struct tls_context *tls;
static struct rpc_client *client;

static int open_world(void **state)
{
    (void)state;
    wire_world_open(&world, ROLE_STORAGE_NODE, NULL);
    raw_proxy_open(&proxy, world.address);
    tls = wire_context(&world.ca, ROLE_GATEWAY, 7, -10, 3600);
    struct rpc_client_config config = wire_client_config(&world, tls, 7);
    config.address = proxy.address;
    config.connect_ms = 1000;
    client = rpc_client_create(&config);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    wire_client_destroy(client);
    wire_world_release(&world);
    wire_world_close(&world);
    raw_proxy_stop(&proxy);
    raw_proxy_close(&proxy);
    tls_context_destroy(tls);
    return 0;
}

static void await_calls(unsigned count)
{
    for (unsigned i = 0; i < 2000 && atomic_load(&world.calls) < count; i++) {
        (void)usleep(10000);
    }
    assert_int_equal(atomic_load(&world.calls), count);
}

/* A call is held, its connection is cut: the status, or it is held again. */
static void cut(uint16_t method, bool repeats)
{
    struct wire_call call = { 0 };
    unsigned before = atomic_load(&world.calls);
    wire_call_start(&call, &world, client, method, "hold", 30000);
    await_calls(before + 1);
    raw_proxy_cut(&proxy);
    if (repeats) {
        await_calls(before + 2);
        wire_world_release(&world);
        assert_int_equal(wire_call_wait(&call), ERRC_OK);
        assert_true(slice_equal_str(enc_slice(&call.call.reply), "hold"));
    } else {
        assert_int_equal(wire_call_wait(&call), ERRC_TIMEOUT);
        assert_non_null(strstr(call.call.error.text, "lost before an answer"));
        assert_int_equal(atomic_load(&world.calls), before + 1);
        wire_world_release(&world);
    }
    rpc_call_release(&call.call);
}

static void retry_classes(void **state)
{
    (void)state;
    cut(RPC_NODE_SHARD_READ, true);    /* SAFE, bulk */
    cut(RPC_NODE_SHARD_STAT, true);    /* SAFE, small */
    cut(RPC_NODE_SHARD_FREE, true);    /* SAME */
    cut(RPC_NODE_SHARD_COMMIT, false); /* ONCE */
    cut(RPC_NODE_SHARD_PUT, false);
    cut(RPC_META_PROPOSE, false);
    struct rpc_client_status status;
    rpc_client_status(client, &status);
    assert_int_equal(status.repeats, 3);
}

/* Repeated once, not twice. */
static void one_repeat(void **state)
{
    (void)state;
    struct wire_call call = { 0 };
    wire_call_start(&call, &world, client, RPC_NODE_SHARD_STAT, "hold", 30000);
    await_calls(1);
    raw_proxy_cut(&proxy);
    await_calls(2);
    raw_proxy_cut(&proxy);
    assert_int_equal(wire_call_wait(&call), ERRC_TIMEOUT);
    assert_int_equal(atomic_load(&world.calls), 2);
    rpc_call_release(&call.call);
}

static void server_killed(void **state)
{
    (void)state;
    struct wire_call calls[2] = { 0 };
    struct error e = ERROR_INIT;
    sem_t stopped;
    wire_call_start(&calls[0], &world, client, RPC_NODE_SHARD_COMMIT, "hold", 30000);
    wire_call_start(&calls[1], &world, client, RPC_NODE_SHARD_STAT, "hold", 30000);
    await_calls(2);
    (void)sem_init(&stopped, 0, 0);
    rpc_server_stop(world.server, 0, wire_wake, &stopped); /* closes at once */
    raw_proxy_stop(&proxy);
    assert_int_equal(wire_call_wait(&calls[0]), ERRC_TIMEOUT);
    assert_int_equal(wire_call_wait(&calls[1]), ERRC_TIMEOUT); /* it was sent, and could not be sent again */
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", &e), ERRC_UNAVAILABLE);
    assert_non_null(strstr(e.text, proxy.address));
    wire_world_release(&world);
    assert_int_equal(sem_wait(&stopped), 0);
    (void)sem_destroy(&stopped);
    rpc_server_destroy(world.server);
    world.server = NULL;
    raw_proxy_close(&proxy);
    raw_proxy_open(&proxy, world.address); /* for close_world() */
}

static void deadlines(void **state)
{
    (void)state;
    struct wire_call call = { 0 };
    wire_call_start(&call, &world, client, RPC_NODE_SHARD_STAT, "hold", 300);
    assert_int_equal(wire_call_wait(&call), ERRC_TIMEOUT); /* sent, outcome unknown */
    assert_non_null(strstr(call.call.error.text, "no answer"));
    assert_in_range(atomic_load(&world.last_deadline_ms), 1, 300);
    wire_world_release(&world); /* an answer for nobody */
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);

    struct wire_call late = { 0 };
    late.call.deadline_ns = 1; /* long ago */
    wire_call_start(&late, &world, client, RPC_NODE_SHARD_STAT, "e", 0);
    assert_int_equal(wire_call_wait(&late), ERRC_UNAVAILABLE);
    assert_int_equal(atomic_load(&world.calls), 2);
}

/* Nothing comes back any more: the call times out, and what follows takes another connection. */
static void silent_connection(void **state)
{
    (void)state;
    struct wire_call call = { 0 };
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    assert_int_equal(atomic_load(&proxy.accepted), 1);
    atomic_store(&proxy.frozen, true);
    wire_call_start(&call, &world, client, RPC_NODE_SHARD_STAT, "e", 200);
    assert_int_equal(wire_call_wait(&call), ERRC_TIMEOUT);
    struct wire_call blocked = { 0 };
    wire_call_start(&blocked, &world, client, RPC_NODE_SHARD_STAT, "e", 200);
    assert_int_equal(wire_call_wait(&blocked), ERRC_UNAVAILABLE); /* the new connection gets no further: not sent */
    assert_int_equal(atomic_load(&proxy.accepted), 2);
    atomic_store(&proxy.frozen, false);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
    assert_int_equal(atomic_load(&proxy.accepted), 2);
}

/* The connection has broken and still says so to its peer: a call begun now was never sent, and is once there is another. */
static void broken_connection(void **state)
{
    (void)state;
    struct wire_call call = { 0 };
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_COMMIT, "e", NULL), ERRC_OK);
    atomic_store(&proxy.frozen, true); /* the peer does not answer the end, which so takes TLS_LINGER_MS */
    raw_proxy_spoil(&proxy);
    (void)usleep(100000);
    wire_call_start(&call, &world, client, RPC_NODE_SHARD_COMMIT, "e", 10000); /* ONCE */
    (void)usleep(100000);
    atomic_store(&proxy.frozen, false);
    assert_int_equal(wire_call_wait(&call), ERRC_OK);
    assert_int_equal(atomic_load(&world.calls), 2);
    assert_int_equal(atomic_load(&proxy.accepted), 2);
    rpc_call_release(&call.call);
}

/* Somebody listens and says nothing: the attempt ends after connect_ms, and calls fail at once until the next. */
static void no_handshake(void **state)
{
    (void)state;
    struct error e = ERROR_INIT;
    atomic_store(&proxy.frozen, true);
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", &e), ERRC_UNAVAILABLE);
    assert_non_null(strstr(e.text, "no connection within 1000 ms"));
    error_clear(&e);
    uint64_t start = env_now_ns(env_real());
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", &e), ERRC_UNAVAILABLE);
    assert_true(env_now_ns(env_real()) - start < UINT64_C(900000000));
    atomic_store(&proxy.frozen, false);
    (void)usleep(100000); /* beyond the first pause */
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "e", NULL), ERRC_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(retry_classes), TEST(one_repeat),        TEST(server_killed),
        TEST(deadlines),     TEST(silent_connection), TEST(no_handshake),
        TEST(broken_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
