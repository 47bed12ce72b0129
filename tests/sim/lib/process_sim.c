#include "tests/sim/lib/process_sim.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "storage-node/superblock.h"

#include <stdio.h>
#include <string.h>

#define DIR "/d"

struct cluster_id process_sim_cluster(void)
{
    struct cluster_id cluster = { { 0xc1, 7 } };
    return cluster;
}

struct node_id process_sim_node(unsigned host)
{
    struct node_id id = { { 0xa0, (uint8_t)(host + 1) } };
    return id;
}

struct disk_id process_sim_disk(unsigned host)
{
    struct disk_id id = { { 0xd1, (uint8_t)(host + 1) } };
    return id;
}

static void process_begin(struct process_sim *p, struct net_sim *net, unsigned host, struct env *env, const char *name)
{
    unsigned char chosen;
    p->net = net;
    p->host = host;
    p->life = net_sim_life(net, host);
    p->env = env;
    env_random(env, &chosen, 1);
    kv_sim_factory_init(&p->kv, env, 5u + chosen % 30);
    p->home = env->vt->executor_create(env, name, 1);
}

void process_sim_free(struct process_sim *p)
{
    ASSERT(p->closed);
    executor_destroy(p->home);
    if (p->pool != NULL) {
        executor_destroy(p->pool);
    }
    if (p->env != NULL) {
        env_sim_machine_free(p->env);
    }
    mem_free(p);
}

static void on_closed(void *data)
{
    ((struct process_sim *)data)->closed = true;
}

static void must_open(unsigned host, enum errc rc, const struct error *e)
{
    if (rc != ERRC_OK) {
        (void)fprintf(stderr, "process %u does not start: %s: %s\n", host, errc_name(rc), e->text);
    }
    ASSERT(rc == ERRC_OK);
}

/* ---- voters ---- */

static struct rpc_channel *peer_channel(void *data, const char *node)
{
    struct process_sim *p = data;
    for (unsigned i = 0; i < PROCESS_SIM_VOTERS; i++) {
        char name[ID_HEX_BYTES];
        id_hex(process_sim_node(i).bytes, name);
        if (strcmp(name, node) == 0) {
            return net_sim_channel(p->net, p->host, p->life, i);
        }
    }
    return NULL;
}

static const struct voter_peers peers = { peer_channel };

static struct voter_dir voter_dir_of(unsigned host)
{
    return (struct voter_dir){ process_sim_disk(host), DIR };
}

struct voter_sim *voter_sim_open(struct net_sim *net, unsigned host, struct env *env, bool bootstrap)
{
    struct voter_sim *v = mem_zalloc(sizeof(*v));
    struct error e = ERROR_INIT;
    const struct voter_dir dir = voter_dir_of(host);
    process_begin(&v->process, net, host, env, "voter");
    v->process.pool = env->vt->executor_create(env, "query", 2);
    id_hex(process_sim_node(host).bytes, v->node);
    const struct voter_config config = {
        .env = env, .kv_factory = &v->process.kv.factory, .executor = v->process.home, .query_pool = v->process.pool,
        .cluster = process_sim_cluster(), .dir_count = 1, .dirs = &dir, .mirrors_wanted = 1, .bootstrap = bootstrap,
        .checkpoint_log_bytes = 60000, .log_segment_bytes = 15000,
        .peers = &peers, .peers_data = &v->process, .node = v->node,
    };
    must_open(host, voter_open(&config, &v->voter, &e), &e);
    net_sim_serve(net, host, voter_channel(v->voter));
    return v;
}

void voter_sim_close(struct voter_sim *v)
{
    voter_close(v->voter, on_closed, &v->process);
}

struct seeding {
    atomic_bool done;
    enum errc rc;
};

static void on_seeded(void *data, enum errc rc, const struct error *e)
{
    struct seeding *seeding = data;
    (void)e;
    seeding->rc = rc;
    atomic_store(&seeding->done, true);
}

enum errc voter_sim_seed(struct net_sim *net, struct env_sim *sim, unsigned host, struct env *env, unsigned leader)
{
    struct seeding seeding = { .done = false };
    struct executor *executor = env->vt->executor_create(env, "seed", 1);
    const struct voter_seed_config config = {
        .env = env, .executor = executor, .channel = net_sim_channel(net, host, net_sim_life(net, host), leader),
        .cluster = process_sim_cluster(), .dir = voter_dir_of(host), .raft_id = host + 1, .done = on_seeded, .data = &seeding,
    };
    voter_seed_start(&config);
    env_sim_run_until(sim, &seeding.done);
    executor_destroy(executor);
    return seeding.rc;
}

/* ---- storage nodes ---- */

static void on_disk_state(void *data, struct disk_id disk, enum disk_state state, const char *reason)
{
    struct node_sim *n = data;
    (void)disk;
    n->online = state == DISK_ONLINE;
    if (state == DISK_FENCED) {
        (void)fprintf(stderr, "node at host %u: fenced: %s\n", n->process.host, reason);
    }
}

static void on_corrupt(void *data, struct disk_id disk, struct extent_id extent, uint8_t index)
{
    struct node_sim *n = data;
    if (n->on_corrupt != NULL) {
        n->on_corrupt(n->data, disk, extent, index);
    }
}

void node_sim_format(struct env *env, unsigned host)
{
    struct error e = ERROR_INIT;
    const struct superblock superblock = { .cluster = process_sim_cluster(), .disk = process_sim_disk(host) };
    must_open(host, env->vt->mkdir(env, DIR, &e), &e);
    must_open(host, env->vt->fsync_dir(env, "/", &e), &e);
    must_open(host, superblock_write(env, DIR, &superblock, &e), &e);
}

struct node_sim *node_sim_open(struct net_sim *net, unsigned host, struct env *env)
{
    struct node_sim *n = mem_zalloc(sizeof(*n));
    struct error e = ERROR_INIT;
    process_begin(&n->process, net, host, env, "node");
    const struct node_disk_config disk = { process_sim_disk(host), DIR, { .segment_bytes = 256u << 10 } };
    const struct node_config config = {
        .env = env, .kv_factory = &n->process.kv.factory, .home = n->process.home, .cluster = process_sim_cluster(),
        .callbacks = { on_disk_state, on_corrupt, n }, .disk_count = 1, .disks = &disk,
    };
    must_open(host, node_open(&config, &n->node, &e), &e);
    net_sim_serve(net, host, node_channel(n->node));
    return n;
}

void node_sim_close(struct node_sim *n)
{
    n->on_corrupt = NULL;
    node_close(n->node, on_closed, &n->process);
}
