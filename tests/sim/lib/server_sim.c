#include "tests/sim/lib/server_sim.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "storage-node/superblock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DISK_BYTES (512u << 20)
#define ARENA_BYTES (1u << 20)

static const char *const paths[SERVER_SIM_DIRS] = { "/d0", "/d1", "/d2", "/d3", "/d4", "/d5" };
static const struct cluster_id cluster = { { 0xc1, 7 } };

static struct disk_id disk_id_of(unsigned i)
{
    struct disk_id id = { { 0xd1, (uint8_t)(i + 1) } };
    return id;
}

static void must(struct server_sim *s, enum errc rc)
{
    if (rc != ERRC_OK) {
        (void)fprintf(stderr, "CAIRN_SIM_SEED=%" PRIu64 ": %s: %s\n", s->seed, errc_name(rc), s->error.text);
    }
    ASSERT(rc == ERRC_OK);
}

static void flag_set(struct server_sim *s, enum errc status)
{
    s->status = status;
    atomic_store(&s->flag, true);
}

static void wait_ok(struct server_sim *s)
{
    env_sim_run_until(s->sim, &s->flag);
    must(s, s->status);
}

void server_sim_on_loop(struct server_sim *s, void (*run)(struct task *task), struct task *task)
{
    atomic_store(&s->flag, false);
    task->run = run;
    executor_post(s->loop, task);
    env_sim_run_until(s->sim, &s->flag);
}

/* ---- the machine ---- */

static void machine_begin(struct server_sim *s, struct env_sim *sim)
{
    s->sim = sim;
    s->env = env_sim_env(sim);
    kv_sim_factory_init(&s->kv, s->env, 1 + (unsigned)(env_sim_random(sim) % 30));
    s->voter_executor = s->env->vt->executor_create(s->env, "voter", 1);
    s->query_pool = s->env->vt->executor_create(s->env, "query", 2);
    s->home = s->env->vt->executor_create(s->env, "home", 1);
    s->loop = s->env->vt->executor_create(s->env, "loop", 1);
}

static void machine_end(struct server_sim *s)
{
    env_sim_on_change(s->sim, NULL, NULL);
    executor_destroy(s->voter_executor);
    executor_destroy(s->query_pool);
    executor_destroy(s->home);
    executor_destroy(s->loop);
    env_sim_destroy(s->sim);
}

void server_sim_adopt(struct server_sim *s, struct env_sim *clone)
{
    server_sim_close(s);
    machine_end(s);
    machine_begin(s, clone);
}

void server_sim_done(struct server_sim *s)
{
    machine_end(s);
}

/* ---- node ---- */

static void on_disk_state(void *data, struct disk_id disk, enum disk_state state, const char *reason)
{
    struct server_sim *s = data;
    if (s->map != NULL) {
        cluster_map_disk_state(s->map, disk, (uint8_t)state, 0, 0);
    }
    if (state == DISK_FENCED) {
        (void)fprintf(stderr, "server_sim: disk %u fenced: %s\n", disk.bytes[1], reason);
    }
    s->online += state == DISK_ONLINE ? 1 : 0;
    if (s->online == s->wanted_online) {
        flag_set(s, ERRC_OK);
    }
}

static void on_corrupt(void *data, struct disk_id disk, struct extent_id extent, uint8_t index)
{
    struct server_sim *s = data;
    (void)disk;
    (void)extent;
    (void)index;
    s->corrupt_count++;
}

static void node_begin(struct server_sim *s)
{
    struct node_disk_config disks[SERVER_SIM_DIRS];
    unsigned count = 0;
    memset(disks, 0, sizeof(disks));
    for (unsigned i = 0; i < SERVER_SIM_DIRS; i++) {
        if (!s->absent[i]) {
            disks[count++] = (struct node_disk_config){ disk_id_of(i), paths[i], { .segment_bytes = 256u << 10 } };
        }
    }
    const struct node_config config = {
        .env = s->env, .kv_factory = &s->kv.factory, .home = s->home, .cluster = cluster,
        .callbacks = { on_disk_state, on_corrupt, s }, .disk_count = count, .disks = disks,
    };
    s->online = 0;
    s->wanted_online = count;
    atomic_store(&s->flag, false);
    must(s, node_open(&config, &s->node, &s->error));
    wait_ok(s);
}

/* ---- voter ---- */

static void voter_begin(struct server_sim *s, bool bootstrap)
{
    struct voter_dir dirs[SERVER_SIM_DIRS];
    unsigned count = 0;
    for (unsigned i = 0; i < SERVER_SIM_DIRS; i++) {
        if (!s->absent[i]) {
            dirs[count++] = (struct voter_dir){ disk_id_of(i), paths[i] };
        }
    }
    const struct voter_config config = {
        .env = s->env, .kv_factory = &s->kv.factory, .executor = s->voter_executor, .query_pool = s->query_pool,
        .cluster = cluster, .dir_count = count, .dirs = dirs, .mirrors_wanted = bootstrap ? SERVER_SIM_MIRRORS : 0,
        .bootstrap = bootstrap, .checkpoint_log_bytes = 30000, .log_segment_bytes = 8000,
    };
    error_clear(&s->error);
    must(s, voter_open(&config, &s->voter, &s->error));
    metadata_client_init(&s->meta, voter_channel(s->voter), s->env, 60000);
}

static void on_closed(void *data)
{
    flag_set(data, ERRC_OK);
}

static void voter_end(struct server_sim *s)
{
    atomic_store(&s->flag, false);
    voter_close(s->voter, on_closed, s);
    wait_ok(s);
    s->voter = NULL;
}

static void on_op(struct meta_op *op)
{
    struct server_sim *s = op->data;
    s->error = op->error;
    flag_set(s, op->status);
}

void server_sim_command(struct server_sim *s, const struct meta_command *command, struct meta_result *ret_result)
{
    struct meta_op op;
    meta_op_init(&op, s->loop, NULL, on_op, s);
    atomic_store(&s->flag, false);
    meta_propose(&s->meta, &op, command);
    wait_ok(s);
    ASSERT(op.result.outcome == META_OK);
    *ret_result = op.result;
    meta_op_release(&op);
}

void server_sim_status(struct server_sim *s, struct meta_status *ret_status)
{
    const struct meta_query query = { .type = META_QRY_STATUS };
    struct meta_op op;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    meta_op_init(&op, s->loop, &arena, on_op, s);
    atomic_store(&s->flag, false);
    meta_query(&s->meta, &op, &query);
    wait_ok(s);
    *ret_status = op.service_status;
    meta_op_release(&op);
    arena_done(&arena);
}

/* ---- gateway ---- */

struct step {
    struct task task;
    struct server_sim *s;
};

static void on_step(void *data, enum errc status)
{
    flag_set(data, status);
}

static void run_gateway_open(struct task *task)
{
    struct server_sim *s = container_of(task, struct step, task)->s;
    session_open(s->session, on_step, s);
}

static void run_refresh(struct task *task)
{
    struct server_sim *s = container_of(task, struct step, task)->s;
    cluster_map_refresh(s->map, on_step, s);
}

static void run_gc_start(struct task *task)
{
    struct server_sim *s = container_of(task, struct step, task)->s;
    const struct gc_worker_config config = { .store = &s->store, .executor = s->loop, .idle_ms = 50 };
    s->gc = gc_worker_start(&config);
    flag_set(s, ERRC_OK);
}

static void run_gc_stop(struct task *task)
{
    struct server_sim *s = container_of(task, struct step, task)->s;
    gc_worker_stop(s->gc, on_closed, s);
}

static void run_session_close(struct task *task)
{
    struct server_sim *s = container_of(task, struct step, task)->s;
    session_close(s->session, on_step, s);
}

static void run_session_destroy(struct task *task)
{
    struct server_sim *s = container_of(task, struct step, task)->s;
    session_destroy(s->session);
    cluster_map_destroy(s->map);
    s->map = NULL;
    flag_set(s, ERRC_OK);
}

static void on_loop_ok(struct server_sim *s, void (*run)(struct task *task))
{
    struct step step = { .s = s };
    server_sim_on_loop(s, run, &step.task);
    must(s, s->status);
}

static void gateway_begin(struct server_sim *s)
{
    const struct session_config session = { s->env, s->loop, &s->meta, { { 1 } }, 1000 };
    const struct cluster_map_config map = { .env = s->env, .executor = s->loop, .meta = &s->meta, .cluster = cluster,
                                              .local = node_channel(s->node) };
    struct data_config data = data_config_default();
    s->session = session_create(&session);
    s->map = cluster_map_create(&map);
    data.copies_bytes_max = 20000;
    data.put_bytes_max = 20000;
    data_store_init(&s->store, s->env, &data, &s->meta, s->session, s->map);
    on_loop_ok(s, run_gateway_open);
    on_loop_ok(s, run_refresh);
    for (unsigned i = 0; i < SERVER_SIM_DIRS; i++) {
        cluster_map_disk_state(s->map, disk_id_of(i), s->absent[i] ? DISK_ABSENT : DISK_ONLINE, 0, 0);
    }
    on_loop_ok(s, run_gc_start);
}

void server_sim_open(struct server_sim *s)
{
    node_begin(s);
    voter_begin(s, false);
    gateway_begin(s);
}

void server_sim_close(struct server_sim *s)
{
    on_loop_ok(s, run_gc_stop);
    on_loop_ok(s, run_session_close);
    env_sim_run_ms(s->sim, 100); /* frees that were sent and not waited for */
    on_loop_ok(s, run_session_destroy);
    voter_end(s);
    atomic_store(&s->flag, false);
    node_close(s->node, on_closed, s);
    wait_ok(s);
    s->node = NULL;
}

/* ---- a new data set ---- */

static void disks_register(struct server_sim *s)
{
    struct meta_command group = { .type = META_CMD_GROUP_PUT };
    struct meta_result result;
    group.group_put.group = (struct meta_group){ .id = 1, .disk_count = SERVER_SIM_DIRS, .writable = true };
    for (unsigned i = 0; i < SERVER_SIM_DIRS; i++) {
        struct meta_command disk = { .type = META_CMD_DISK_PUT };
        disk.disk_put.disk = (struct meta_disk){ .id = disk_id_of(i), .state = META_DISK_IN, .bytes = 1ull << 40,
                                                 .path = slice_str(paths[i]) };
        server_sim_command(s, &disk, &result);
        group.group_put.group.disks[i] = disk_id_of(i);
    }
    server_sim_command(s, &group, &result);
}

void server_sim_format(struct server_sim *s, uint64_t seed)
{
    struct meta_result result;
    memset(s, 0, sizeof(*s));
    s->seed = seed;
    machine_begin(s, env_sim_create(seed, DISK_BYTES));
    for (unsigned i = 0; i < SERVER_SIM_DIRS; i++) {
        const struct superblock superblock = { .cluster = cluster, .disk = disk_id_of(i) };
        must(s, s->env->vt->mkdir(s->env, paths[i], &s->error));
        must(s, s->env->vt->fsync_dir(s->env, "/", &s->error));
        must(s, superblock_write(s->env, paths[i], &superblock, &s->error));
    }
    voter_begin(s, true);
    disks_register(s);
    struct meta_command bucket = { .type = META_CMD_BUCKET_CREATE };
    bucket.bucket_create.bucket = (struct meta_bucket){ .name = slice_str("bucket"), .owner = slice_str("owner"),
                                                        .class_k = 4, .class_m = 2 };
    server_sim_command(s, &bucket, &result);
    s->bucket = result.value;
    voter_end(s);
}
