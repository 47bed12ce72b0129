/*
 * Calls between two loops over TLS on loopback: answers, payloads, many at once, stories, deadlines, limits.
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "tests/lib/wire_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rpc_client *client_of(struct wire_world *world, struct tls_context *tls)
{
    struct rpc_client_config config = wire_client_config(world, tls, 7);
    config.role = ROLE_STORAGE_NODE;
    config.node = wire_node(1);
    return rpc_client_create(&config);
}

static void one_call(void **state)
{
    (void)state;
    struct wire_world world;
    wire_world_open(&world, ROLE_STORAGE_NODE, NULL);
    struct tls_context *tls = wire_context(&world.ca, ROLE_GATEWAY, 7, -10, 3600);
    struct rpc_client *client = client_of(&world, tls);
    struct wire_call call = { 0 };
    wire_call_start(&call, &world, client, RPC_NODE_SHARD_STAT, "echo this", 5000);
    assert_int_equal(wire_call_wait(&call), ERRC_OK);
    assert_true(slice_equal_str(enc_slice(&call.call.reply), "echo this"));
    rpc_call_release(&call.call);
    assert_int_equal(atomic_load(&world.last_role), ROLE_GATEWAY);
    assert_in_range(atomic_load(&world.last_deadline_ms), 3000, 5000);
    struct error e = ERROR_INIT;
    assert_int_equal(wire_call_once(&world, client, RPC_NODE_SHARD_STAT, "fail", &e), ERRC_NOT_FOUND);
    assert_string_equal(e.text, "no such thing");
    wire_client_destroy(client);
    tls_context_destroy(tls);
    wire_world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
