/*
 * Goal: what a voter answers to other processes: joins that it refuses before it asks anybody, and whom it tells to be away.
 * The service is called as the port calls it; time is the test's.
 */
#include "common/base/mem.h"
#include "common/io/certificate.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/voter_state.h"
#include "server/cluster.h"
#include "tests/lib/turn_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MARGIN_NS UINT64_C(1000000) /* each task of turn_env takes a moment */

static const struct node_id node_a = { { 0xa } }, node_b = { { 0xb } }, gateway = { { 0xc } };
static const struct disk_id disk_a1 = { { 0xa1 } }, disk_a2 = { { 0xa2 } }, disk_b1 = { { 0xb1 } }, disk_new = { { 0xdd } };

static struct {
    struct turn_env env;
    struct server server;
    struct cluster cluster;
    struct voter *voter;           /* of it only the lease is looked at */
    struct executor jobs;          /* counts looks at the map */
    unsigned looks;
    struct node_heartbeat_reply reply;
    bool done;
} world;

static void on_job(struct executor *executor, struct task *task)
{
    (void)executor;
    (void)task;
    world.looks++;
    world.cluster.topology_posted = false;
}

static void map_install(uint64_t revision, struct node_id of_b1, const char *address_of_a)
{
    struct meta_disk disks[] = {
        { .id = disk_a1, .node = node_a, .state = META_DISK_IN }, { .id = disk_a2, .node = node_a, .state = META_DISK_IN },
        { .id = disk_b1, .node = of_b1, .state = META_DISK_IN },
    };
    struct meta_node nodes[] = {
        { .id = node_a, .role = ROLE_STORAGE_NODE, .state = META_NODE_IN, .address = slice_str(address_of_a) },
        { .id = node_b, .role = ROLE_STORAGE_NODE, .state = META_NODE_IN, .address = slice_str("b:1") },
    };
    const struct meta_cluster_reply map = { .revision = revision, .disk_count = 3, .disks = disks, .node_count = 2,
                                            .nodes = nodes };
    cluster_map_install(world.server.map, &map);
}

static int setup(void **state)
{
    (void)state;
    static const struct executor_vt jobs = { .post = on_job };
    memset(&world, 0, sizeof(world));
    turn_env_init(&world.env);
    world.env.now_ns = 1000000000;
    world.jobs = (struct executor){ &jobs, &world.env.env };
    world.server.env = &world.env.env;
    world.server.cluster = &world.cluster;
    world.server.admin_jobs = &world.jobs;
    world.server.completions = &world.env.executor.executor;
    world.voter = mem_zalloc(sizeof(*world.voter));
    world.voter->env = world.server.env;
    atomic_store(&world.voter->lease_until_ns, UINT64_MAX);
    world.server.voter = world.voter;
    world.cluster.server = &world.server;
    assert_int_equal(pthread_mutex_init(&world.cluster.guard, NULL), 0);
    const struct cluster_map_config map = { .env = world.server.env, .executor = world.server.completions };
    world.server.map = cluster_map_create(&map);
    map_install(1, node_b, "a:1");
    world.cluster.peers[0] = (struct cluster_peer){ .node = node_a, .current = true, .address = "a:1" };
    world.cluster.peers[1] = (struct cluster_peer){ .node = node_b, .current = true, .address = "b:1" };
    world.cluster.peer_count = 2;
    cluster_service_init(&world.server);
    atomic_store(&world.cluster.serves, true);
    world.cluster.disks_changed_ns = 0; /* groups are made */
    cluster_silence_judge(&world.server); /* it leads from here on */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < world.cluster.heard_count; i++) {
        enc_free(&world.cluster.heard[i].disks);
    }
    cluster_map_destroy(world.server.map);
    mem_free(world.voter);
    (void)pthread_mutex_destroy(&world.cluster.guard);
    turn_env_done(&world.env);
    return 0;
}

static void on_done(struct rpc_call *call)
{
    (void)call;
    world.done = true;
}

/* One call of a peer; the caller releases it. */
static void call_run(struct rpc_call *call, uint16_t method, const struct rpc_peer *peer, struct slice head)
{
    *call = (struct rpc_call){ .method = method, .head = head, .peer = peer, .reply_to = world.server.completions,
                               .done = on_done };
    world.done = false;
    rpc_call_start(&world.cluster.service, call);
    turn_env_drain(&world.env);
    assert_true(world.done);
}

/* ---- joins ---- */

static void a_join_that_makes_no_sense(void **state)
{
    (void)state;
    const struct rpc_peer stranger = { .address = "c:1" };
    const struct slice heads[] = { SLICE_EMPTY, slice_str("a"), slice_str("0123456789012345678901234567890123456789") };
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct rpc_call call;
        call_run(&call, RPC_CLUSTER_JOIN, i == 0 ? NULL : &stranger, heads[i]);
        assert_int_equal(call.status, ERRC_CORRUPT);
        assert_string_equal(call.error.text, "the request to join makes no sense");
        rpc_call_release(&call);
    }
}

static enum errc join_as(uint8_t role, struct node_id node, const char *csr, struct error *e)
{
    static const uint8_t zeros[16];
    struct rpc_call call;
    struct enc head = ENC_INIT;
    const struct cluster_join message = { .role = role, .token_id = slice_of(zeros, 8), .token_secret = slice_of(zeros, 16),
                                          .node = node, .csr = slice_str(csr), .name = slice_str("n"),
                                          .version = slice_str("v") };
    cluster_join_encode(&head, &message);
    call_run(&call, RPC_CLUSTER_JOIN, NULL, enc_slice(&head));
    enum errc rc = call.status;
    *e = call.error;
    assert_int_equal(call.reply.len, 0);
    rpc_call_release(&call);
    enc_free(&head);
    return rc;
}

static void who_cannot_join(void **state)
{
    (void)state;
    struct error e = ERROR_INIT;
    char *key = NULL;
    char *csr = NULL;
    uint8_t hash[SHA256_BYTES];
    struct node_id node;
    assert_int_equal(certificate_key_create(&key, &e), ERRC_OK);
    assert_int_equal(certificate_request_create(key, node_a, &csr, &e), ERRC_OK);
    assert_int_equal(certificate_request_key_hash(csr, hash, &e), ERRC_OK);
    memcpy(node.bytes, hash, ID_BYTES);
    assert_int_equal(join_as(ROLE_ADMIN, node, csr, &e), ERRC_DENIED);
    assert_int_equal(join_as(ROLE_STORAGE_NODE, node_a, csr, &e), ERRC_DENIED);
    assert_non_null(strstr(e.text, "not that of the key"));
    assert_int_not_equal(join_as(ROLE_STORAGE_NODE, node, "no request", &e), ERRC_OK);
    certificate_key_free(key);
    mem_free(csr);
}

/* ---- heartbeats ---- */

static void beat(uint8_t role, struct node_id node, const char *address, const struct disk_id *disks, unsigned count)
{
    const struct rpc_peer peer = { .role = role, .node = node };
    struct node_disk_status_reply *word = mem_zalloc(sizeof(*word));
    struct enc text = ENC_INIT;
    struct enc head = ENC_INIT;
    struct rpc_call call;
    for (unsigned i = 0; i < count; i++) {
        word->entries[word->count++] = (struct node_disk_status_entry){ .disk = disks[i], .state = DISK_ONLINE,
                                                                        .total_bytes = 100, .free_bytes = 50 };
    }
    node_disk_status_reply_encode(&text, word);
    const struct node_heartbeat message = { .address = slice_str(address), .started_ms = 1, .version = slice_str("v"),
                                            .disks = count > 0 ? enc_slice(&text) : SLICE_EMPTY };
    node_heartbeat_encode(&head, &message);
    call_run(&call, RPC_NODE_HEARTBEAT, &peer, enc_slice(&head));
    assert_int_equal(call.status, ERRC_OK);
    assert_int_equal(node_heartbeat_reply_decode(enc_slice(&call.reply), &world.reply), ERRC_OK);
    rpc_call_release(&call);
    enc_free(&head);
    enc_free(&text);
    mem_free(word);
}

static const struct disk_id of_a[] = { { { 0xa1 } }, { { 0xa2 } } };

static bool told_away(struct disk_id disk)
{
    bool away = false;
    beat(ROLE_GATEWAY, gateway, "", NULL, 0);
    for (uint32_t i = 0; i < world.reply.away_count; i++) {
        away = away || disk_id_equal(world.reply.away[i], disk);
    }
    return away;
}

static void a_voter_that_has_just_started_calls_nobody_away(void **state)
{
    (void)state;
    assert_false(told_away(disk_a1) || told_away(disk_b1));
    assert_int_equal(cluster_map_disk_told(world.server.map, disk_a1), DISK_ABSENT); /* not heard of: no word of it */
    beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 2);
    assert_int_equal(cluster_map_disk_told(world.server.map, disk_a1), DISK_ONLINE);
    world.env.now_ns += CLUSTER_SILENT_NS - MARGIN_NS;
    cluster_silence_judge(&world.server);
    assert_false(told_away(disk_a1) || told_away(disk_b1));
    beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 2);
    world.env.now_ns += MARGIN_NS;
    assert_true(told_away(disk_b1));
    assert_false(told_away(disk_a1) || told_away(disk_a2));
    beat(ROLE_STORAGE_NODE, node_b, "b:1", &disk_b1, 1);
    assert_false(told_away(disk_b1));
    assert_int_equal(world.looks, 0); /* nothing new: the map was not asked for */
}

static void a_voter_that_does_not_lead_says_so(void **state)
{
    (void)state;
    beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 1);
    assert_true(told_away(disk_a2) && world.reply.leads);
    atomic_store(&world.voter->lease_until_ns, 0);
    assert_false(told_away(disk_a2) || world.reply.leads); /* its view may be old: it tells nobody */
    beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 2);       /* but it hears, for the day when it leads */
    atomic_store(&world.voter->lease_until_ns, UINT64_MAX);
    assert_false(told_away(disk_a2));
}

/* As the real one. */
static uint64_t clock_that_goes_on(struct env *env)
{
    (void)env;
    return world.env.now_ns++;
}

static void the_clock_goes_on_while_a_lead_begins(void **state)
{
    (void)state;
    struct env_vt vt = *world.server.env->vt;
    struct env env = *world.server.env;
    vt.now_ns = clock_that_goes_on;
    env.vt = &vt;
    world.cluster.led = false;
    world.server.env = &env;
    cluster_silence_judge(&world.server);
    world.server.env = &world.env.env;
    assert_false(told_away(disk_a1) || told_away(disk_b1));
}

/* It may have been stopped, or cut off: who has not been heard of has its time from where it leads. */
static void a_voter_that_begins_to_lead_gives_time(void **state)
{
    (void)state;
    beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 2);
    beat(ROLE_STORAGE_NODE, node_b, "b:1", &disk_b1, 1);
    atomic_store(&world.voter->lease_until_ns, 0);
    cluster_silence_judge(&world.server);
    world.env.now_ns += 10 * CLUSTER_SILENT_NS;
    cluster_silence_judge(&world.server);
    atomic_store(&world.voter->lease_until_ns, UINT64_MAX);
    assert_false(told_away(disk_a1) || told_away(disk_b1));
    world.env.now_ns += CLUSTER_SILENT_NS - MARGIN_NS;
    beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 2);
    assert_false(told_away(disk_b1));
    world.env.now_ns += MARGIN_NS;
    assert_true(told_away(disk_b1));
    assert_false(told_away(disk_a1));
}

static void a_silent_node_and_a_lost_disk_are_away(void **state)
{
    (void)state;
    beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 2);
    beat(ROLE_STORAGE_NODE, node_b, "b:1", &disk_b1, 1);
    beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 1); /* it has lost sight of its second disk */
    assert_true(told_away(disk_a2));
    assert_false(told_away(disk_a1));
    world.env.now_ns += CLUSTER_SILENT_NS;
    cluster_silence_judge(&world.server);
    assert_int_equal(cluster_map_disk_told(world.server.map, disk_a1), DISK_ABSENT);
    assert_true(cluster_node_silent(&world.server, node_b));
    beat(ROLE_STORAGE_NODE, node_b, "b:1", &disk_b1, 1);
    assert_true(told_away(disk_a1) && told_away(disk_a2));
    assert_false(told_away(disk_b1));
}

static void a_disk_is_its_nodes_of_the_map(void **state)
{
    (void)state;
    const struct disk_id both[] = { disk_a1, disk_a2, disk_b1 };
    world.env.now_ns += CLUSTER_SILENT_NS;
    beat(ROLE_STORAGE_NODE, node_a, "a:1", both, 3); /* the map has the third at another node, which is silent */
    assert_true(told_away(disk_b1));
    assert_int_equal(world.looks, 1);
    map_install(2, node_a, "a:1");
    beat(ROLE_STORAGE_NODE, node_a, "a:1", both, 3);
    assert_false(told_away(disk_b1));
    assert_int_equal(world.looks, 1);
}

static void what_makes_a_look_at_the_map(void **state)
{
    (void)state;
    const struct disk_id more[] = { disk_a1, disk_a2, disk_new };
    for (unsigned i = 0; i < 5; i++) {
        beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 2);
        beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 1);
        beat(ROLE_GATEWAY, gateway, "", NULL, 0);
    }
    assert_int_equal(world.looks, 0);
    beat(ROLE_STORAGE_NODE, node_a, "a:2", of_a, 2);
    assert_int_equal(world.looks, 1);
    beat(ROLE_STORAGE_NODE, node_a, "a:1", more, 3);
    assert_int_equal(world.looks, 2);
    beat(ROLE_STORAGE_NODE, (struct node_id){ { 0xe } }, "e:1", NULL, 0); /* a node that the map did not have */
    assert_int_equal(world.looks, 3);
    world.cluster.disks_changed_ns = world.env.now_ns;
    beat(ROLE_STORAGE_NODE, node_a, "a:1", of_a, 2);
    assert_int_equal(world.looks, 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_join_that_makes_no_sense), TEST(who_cannot_join), TEST(a_voter_that_has_just_started_calls_nobody_away),
        TEST(a_voter_that_does_not_lead_says_so), TEST(a_voter_that_begins_to_lead_gives_time),
        TEST(the_clock_goes_on_while_a_lead_begins),
        TEST(a_silent_node_and_a_lost_disk_are_away), TEST(a_disk_is_its_nodes_of_the_map), TEST(what_makes_a_look_at_the_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
