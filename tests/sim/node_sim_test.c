/*
 * Goal: on a disk that forgets what was not synced, at any point where power may fail, every acknowledged
 * shard is there with its bytes and no shard whose free was acknowledged comes back.
 *
 * Method: by seed, random puts (also of freed names), streams, frees and reads against one node on a simulated machine; at a random
 * change of the disk a crash clone is taken; the run ends there for the model. The clone is started, checked
 * against the model, and the run goes on in it. A failure prints its seed; NODE_SIM_SEED=n runs that one,
 * NODE_SIM_RUNS=n so many.
 */
#include "common/base/mem.h"
#include "storage-node/superblock.h"
#include "tests/lib/node_client.h"
#include "tests/sim/lib/env_sim.h"
#include "tests/sim/lib/kv_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#define DIR_PATH "/disk0"
#define DISK_BYTES (64u << 20)
#define SHARDS_MAX 4000
#define LIVES 4             /* power cuts of one run */
#define OPS_PER_LIFE_MAX 120
#define RUNS_DEFAULT 60

enum fate {
    FATE_NONE,              /* never put, or refused */
    FATE_UNKNOWN,           /* put or free under way at the crash */
    FATE_STORED,            /* acknowledged */
    FATE_FREED,             /* free acknowledged */
};

struct world {
    uint64_t seed;
    struct env_sim *sim;
    struct kv_sim_factory factory;
    struct executor *home;
    struct node_client client;
    enum fate fates[SHARDS_MAX];
    struct test_shard shards[SHARDS_MAX];
    uint32_t count;
    /* the crash */
    uint64_t changes_left;
    struct env_sim *clone;
    enum fate fates_at_crash[SHARDS_MAX];
    uint32_t count_at_crash;
};

static void world_wait(struct node_client *client, atomic_bool *flag)
{
    struct world *world = client->wait_data;
    env_sim_run_until(world->sim, flag);
}

static void on_change(void *data)
{
    struct world *world = data;
    if (world->clone == NULL && world->changes_left-- == 0) {
        world->clone = env_sim_crash_clone(world->sim, env_sim_random(world->sim));
        memcpy(world->fates_at_crash, world->fates, sizeof(world->fates));
        world->count_at_crash = world->count;
    }
}

static void world_start(struct world *world)
{
    struct env *env = env_sim_env(world->sim);
    kv_sim_factory_init(&world->factory, env, 1 + (unsigned)(env_sim_random(world->sim) % 30));
    world->home = env->vt->executor_create(env, "home", 1);
    world->client.home = world->home;
    world->client.wait = world_wait;
    world->client.wait_data = world;
    struct node_disk_config disk = {
        .id = world->client.disk,
        .path = DIR_PATH,
        .options = { .segment_bytes = 256u << 10 },
    };
    struct node_config config = {
        .env = env,
        .kv_factory = &world->factory.factory,
        .home = world->home,
        .cluster = world->client.cluster,
        .callbacks = node_client_callbacks(&world->client),
        .disk_count = 1,
        .disks = &disk,
    };
    atomic_store(&world->client.state, 0);
    atomic_store(&world->client.corrupt_count, 0);
    assert_int_equal(node_open(&config, &world->client.node, NULL), ERRC_OK);
    enum disk_state state = node_client_wait_state(&world->client);
    if (state != DISK_ONLINE) {
        fail_msg("seed %llu: %s", (unsigned long long)world->seed, world->client.reason);
    }
}

/* Ends the node in its own machine; what it still does there does not touch the clone. */
static void world_stop(struct world *world)
{
    env_sim_on_change(world->sim, NULL, NULL);
    node_client_close(&world->client);
    executor_destroy(world->home);
}

static void op_put(struct world *world)
{
    if (world->count == SHARDS_MAX) {
        return;
    }
    uint32_t i = world->count++;
    bool large = env_sim_random(world->sim) % 8 == 0;
    world->shards[i] = (struct test_shard){
        .id = i + 1,
        .bytes = 1 + (uint32_t)(env_sim_random(world->sim) % (large ? 150000 : 9000)),
        .cell_bytes = large ? 32768 : 4096,
    };
    world->fates[i] = FATE_UNKNOWN;
    enum errc rc = large ? node_client_stream(&world->client, &world->shards[i], 2)
                         : node_client_put(&world->client, &world->shards[i]);
    assert_true(rc == ERRC_OK || rc == ERRC_NO_SPACE);
    world->fates[i] = rc == ERRC_OK ? FATE_STORED : FATE_UNKNOWN;
}

static void op_free(struct world *world)
{
    uint64_t ids[40];
    uint32_t chosen[40];
    uint32_t count = 0;
    uint32_t wanted = 1 + (uint32_t)(env_sim_random(world->sim) % 40);
    for (uint32_t n = 0; n < wanted && world->count > 0; n++) {
        uint32_t i = (uint32_t)(env_sim_random(world->sim) % world->count);
        if (world->fates[i] == FATE_STORED) {
            world->fates[i] = FATE_UNKNOWN;
            ids[count] = world->shards[i].id;
            chosen[count++] = i;
        }
    }
    assert_int_equal(node_client_free(&world->client, ids, count), ERRC_OK);
    for (uint32_t n = 0; n < count; n++) {
        world->fates[chosen[n]] = FATE_FREED;
    }
}

/* Repair writes a freed name again. */
static void op_again(struct world *world)
{
    uint32_t i = world->count > 0 ? (uint32_t)(env_sim_random(world->sim) % world->count) : 0;
    if (world->count == 0 || world->fates[i] != FATE_FREED) {
        return;
    }
    world->fates[i] = FATE_UNKNOWN;
    enum errc rc = world->shards[i].cell_bytes == 32768 ? node_client_stream(&world->client, &world->shards[i], 2)
                                                        : node_client_put(&world->client, &world->shards[i]);
    assert_true(rc == ERRC_OK || rc == ERRC_NO_SPACE);
    world->fates[i] = rc == ERRC_OK ? FATE_STORED : FATE_UNKNOWN;
}

static void check_shard(struct world *world, uint32_t i)
{
    enum errc rc = node_client_read(&world->client, &world->shards[i]);
    bool fine = rc == ERRC_OK || rc == ERRC_NOT_FOUND;
    fine = fine && !(world->fates[i] == FATE_STORED && rc != ERRC_OK);
    fine = fine && !(world->fates[i] == FATE_FREED && rc != ERRC_NOT_FOUND);
    if (!fine) {
        fail_msg("seed %llu: shard %u of %u bytes, fate %d, read says %s", (unsigned long long)world->seed, i + 1,
                 world->shards[i].bytes, world->fates[i], errc_name(rc));
    }
}

static void op_any(struct world *world)
{
    uint64_t choice = env_sim_random(world->sim) % 20;
    if (choice < 10) {
        op_put(world);
    } else if (choice < 12) {
        op_again(world);
    } else if (choice < 15) {
        op_free(world);
    } else if (choice < 19 && world->count > 0) {
        check_shard(world, (uint32_t)(env_sim_random(world->sim) % world->count));
    } else {
        env_sim_run_ms(world->sim, 1500); /* compaction */
    }
}

static void world_check(struct world *world)
{
    for (uint32_t i = 0; i < world->count; i++) {
        check_shard(world, i);
    }
    if (atomic_load(&world->client.corrupt_count) != 0) {
        fail_msg("seed %llu: damage was reported", (unsigned long long)world->seed);
    }
}

/* After a crash the operation under way may have happened or not; the disk decides, once. */
static void world_adopt(struct world *world)
{
    for (uint32_t i = 0; i < world->count; i++) {
        if (world->fates[i] == FATE_UNKNOWN) {
            enum errc rc = node_client_read(&world->client, &world->shards[i]);
            assert_true(rc == ERRC_OK || rc == ERRC_NOT_FOUND);
            world->fates[i] = rc == ERRC_OK ? FATE_STORED : FATE_NONE;
        }
    }
}

static void world_life(struct world *world)
{
    world->clone = NULL;
    world->changes_left = 20 + env_sim_random(world->sim) % 1500;
    env_sim_on_change(world->sim, on_change, world);
    for (unsigned n = 0; world->clone == NULL && n < OPS_PER_LIFE_MAX; n++) {
        op_any(world);
    }
    if (world->clone == NULL) {
        world->changes_left = 0;
        on_change(world);
    }
    world_stop(world);
    env_sim_destroy(world->sim);
    world->sim = world->clone;
    memcpy(world->fates, world->fates_at_crash, sizeof(world->fates));
    world->count = world->count_at_crash;
}

/* The index is lost with the power: all of it must follow from the log. */
static void world_lose_index(struct world *world)
{
    struct env *env = env_sim_env(world->sim);
    if (env->vt->unlink(env, DIR_PATH "/index/map", NULL) == ERRC_OK) {
        assert_int_equal(env->vt->fsync_dir(env, DIR_PATH "/index", NULL), ERRC_OK);
    }
}

static void run_seed(uint64_t seed)
{
    struct world *world = mem_zalloc(sizeof(*world));
    world->seed = seed;
    world->sim = env_sim_create(seed, DISK_BYTES);
    struct env *env = env_sim_env(world->sim);
    memset(world->client.cluster.bytes, 0xc1, ID_BYTES);
    memset(world->client.disk.bytes, 0xd1, ID_BYTES);
    assert_int_equal(env->vt->mkdir(env, DIR_PATH, NULL), ERRC_OK);
    assert_int_equal(env->vt->fsync_dir(env, "/", NULL), ERRC_OK);
    struct superblock superblock = { .cluster = world->client.cluster, .disk = world->client.disk };
    assert_int_equal(superblock_write(env, DIR_PATH, &superblock, NULL), ERRC_OK);
    world_start(world);
    for (unsigned life = 0; life < LIVES; life++) {
        world_life(world);
        if (env_sim_random(world->sim) % 4 == 0) {
            world_lose_index(world);
        }
        world_start(world);
        world_check(world);
        world_adopt(world);
    }
    env_sim_run_ms(world->sim, 20000);
    world_check(world);
    world_stop(world);
    env_sim_destroy(world->sim);
    mem_free(world);
}

static uint64_t number_of(const char *name, uint64_t standard)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : standard;
}

static void nothing_acknowledged_is_lost_and_nothing_freed_returns(void **state)
{
    (void)state;
    uint64_t only = number_of("NODE_SIM_SEED", 0);
    uint64_t runs = number_of("NODE_SIM_RUNS", RUNS_DEFAULT);
    for (uint64_t seed = 1; seed <= runs; seed++) {
        run_seed(only != 0 ? only : seed);
        if (only != 0) {
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_and_nothing_freed_returns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
