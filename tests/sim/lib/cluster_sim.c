#include "tests/sim/lib/cluster_sim.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/machine_audit.h"
#include "metadata/voter_member.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DISK_BYTES (64u << 20)
#define ARENA_BYTES (1u << 20)
#define BEAT_MS 500
#define SILENT_NS UINT64_C(3500000000)
#define LEAD_MS 20000

/* ---- waiting ---- */

static void must(const struct cluster_sim *c, bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "CLUSTER_SEED=%" PRIu64 ": %s\n", c->seed, what);
    }
    ASSERT(holds);
}

struct ask {
    struct meta_op op;
    atomic_bool done;
};

static void on_op(struct meta_op *op)
{
    atomic_store(&container_of(op, struct ask, op)->done, true);
}

void cluster_sim_command(struct cluster_sim *c, const struct meta_command *command, struct meta_result *ret_result)
{
    struct ask ask = { .done = false };
    meta_op_init(&ask.op, c->worker->process.home, NULL, on_op, NULL);
    meta_propose(&c->worker->meta, &ask.op, command);
    env_sim_run_until(c->sim, &ask.done);
    must(c, ask.op.status == ERRC_OK && ask.op.result.outcome == META_OK, "a command of the setup failed");
    *ret_result = ask.op.result;
    meta_op_release(&ask.op);
}

enum errc cluster_sim_status(struct cluster_sim *c, struct meta_status *ret_status)
{
    const struct meta_query query = { .type = META_QRY_STATUS };
    struct ask ask = { .done = false };
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    meta_op_init(&ask.op, c->worker->process.home, &arena, on_op, NULL);
    meta_query(&c->worker->meta, &ask.op, &query);
    env_sim_run_until(c->sim, &ask.done);
    enum errc rc = ask.op.status;
    *ret_status = ask.op.service_status;
    meta_op_release(&ask.op);
    arena_done(&arena);
    return rc;
}

unsigned cluster_sim_node_host(const struct cluster_sim *c, unsigned node)
{
    (void)c;
    return CLUSTER_VOTERS + node;
}

unsigned cluster_sim_leader(const struct cluster_sim *c)
{
    for (unsigned i = 0; i < CLUSTER_VOTERS; i++) {
        if (c->voters[i] != NULL && voter_leads(c->voters[i]->voter)) {
            return i;
        }
    }
    return CLUSTER_VOTERS;
}

static unsigned leader_await(struct cluster_sim *c)
{
    for (unsigned ms = 0; ms < LEAD_MS; ms += 20) {
        unsigned leader = cluster_sim_leader(c);
        if (leader < CLUSTER_VOTERS) {
            return leader;
        }
        env_sim_run_ms(c->sim, 20);
    }
    must(c, false, "nobody leads");
    return 0;
}

/* ---- heartbeats ---- */

static void node_told(struct cluster_sim *c, struct data_sim *d, unsigned node)
{
    bool up = c->nodes[node] != NULL && c->nodes[node]->online;
    bool silent = c->silent_since_ns[node] != 0 && env_now_ns(d->process.env) - c->silent_since_ns[node] > SILENT_NS;
    if (up || silent) {
        cluster_map_disk_state(d->map, process_sim_disk(cluster_sim_node_host(c, node)), up ? DISK_ONLINE : DISK_ABSENT, 0, 0);
    }
}

static void on_beat(struct task *task)
{
    struct cluster_sim *c = container_of(container_of(task, struct timer, task), struct cluster_sim, beat);
    for (unsigned i = 0; i < c->node_count; i++) {
        bool up = c->nodes[i] != NULL && c->nodes[i]->online;
        uint64_t now = env_now_ns(env_sim_env(c->sim));
        c->silent_since_ns[i] = up ? 0 : c->silent_since_ns[i] != 0 ? c->silent_since_ns[i] : now;
        for (unsigned g = 0; g < c->gateway_count; g++) {
            node_told(c, c->gateways[g], i);
        }
        node_told(c, c->worker, i);
    }
    timer_start(c->home, &c->beat, BEAT_MS);
}

/* ---- crashes ---- */

static void on_corrupt(void *data, struct disk_id disk, struct extent_id extent, uint8_t index)
{
    struct cluster_sim *c = data;
    suspect_queue_report(c->worker->suspects, extent, index, disk);
}

static struct node_sim *node_begin(struct cluster_sim *c, unsigned node, struct env *env)
{
    struct node_sim *n = node_sim_open(c->net, cluster_sim_node_host(c, node), env);
    n->on_corrupt = on_corrupt;
    n->data = c;
    return n;
}

static void ghosts_reap(struct cluster_sim *c)
{
    struct list *next;
    for (struct list *node = c->ghosts.next; node != &c->ghosts; node = next) {
        struct process_sim *p = container_of(node, struct process_sim, ghosts);
        next = node->next;
        if (p->closed) {
            list_remove(node);
            process_sim_free(p);
        }
    }
}

static struct env *process_crash(struct cluster_sim *c, struct process_sim *p)
{
    ghosts_reap(c);
    struct env *left = env_sim_machine_crash(p->env);
    net_sim_kill(c->net, p->host);
    list_append(&c->ghosts, &p->ghosts);
    c->crashes++;
    return left;
}

void cluster_sim_node_crash(struct cluster_sim *c, unsigned node)
{
    struct node_sim *n = c->nodes[node];
    c->node_disks[node] = process_crash(c, &n->process);
    c->nodes[node] = NULL;
    node_sim_close(n);
}

void cluster_sim_node_start(struct cluster_sim *c, unsigned node)
{
    c->nodes[node] = node_begin(c, node, c->node_disks[node]);
    c->node_disks[node] = NULL;
}

void cluster_sim_voter_crash(struct cluster_sim *c, unsigned voter)
{
    struct voter_sim *v = c->voters[voter];
    c->voter_disks[voter] = process_crash(c, &v->process);
    c->voters[voter] = NULL;
    voter_sim_close(v);
}

void cluster_sim_voter_start(struct cluster_sim *c, unsigned voter)
{
    c->voters[voter] = voter_sim_open(c->net, voter, c->voter_disks[voter], false);
    c->voter_disks[voter] = NULL;
}

/* ---- setup ---- */

struct change {
    struct rpc_call call;
    struct enc head;
    atomic_bool done;
};

static void on_changed(struct rpc_call *call)
{
    atomic_store(&container_of(call, struct change, call)->done, true);
}

static enum errc member_change(struct cluster_sim *c, enum member_change what, unsigned voter)
{
    struct change change = { .done = false };
    struct member_request request = { .change = (uint8_t)what, .id = voter + 1 };
    id_hex(process_sim_node(voter).bytes, request.node);
    member_request_encode(&change.head, &request);
    change.call = (struct rpc_call){ .method = RPC_RAFT_MEMBER, .head = enc_slice(&change.head), .reply_to = c->home,
                                     .done = on_changed };
    rpc_call_start(voter_channel(c->voters[leader_await(c)]->voter), &change.call);
    env_sim_run_until(c->sim, &change.done);
    enum errc rc = change.call.status;
    rpc_call_release(&change.call);
    enc_free(&change.head);
    return rc;
}

static struct env *machine_with_dir(struct cluster_sim *c)
{
    struct env *env = env_sim_machine_add(c->sim, DISK_BYTES);
    must(c, env->vt->mkdir(env, "/d", NULL) == ERRC_OK && env->vt->fsync_dir(env, "/", NULL) == ERRC_OK, "no folder");
    return env;
}

static void voter_join(struct cluster_sim *c, unsigned voter)
{
    struct env *env = machine_with_dir(c);
    enum errc rc = ERRC_UNAVAILABLE;
    for (unsigned i = 0; i < 50 && rc == ERRC_UNAVAILABLE; i++) {
        rc = voter_sim_seed(c->net, c->sim, voter, env, leader_await(c));
        env_sim_run_ms(c->sim, 20);
    }
    must(c, rc == ERRC_OK, "a voter could not take the state");
    c->voters[voter] = voter_sim_open(c->net, voter, env, false);
    must(c, member_change(c, MEMBER_ADD, voter) == ERRC_OK, "a voter could not join");
    rc = ERRC_UNAVAILABLE;
    for (unsigned i = 0; i < 100 && rc == ERRC_UNAVAILABLE; i++) {
        rc = member_change(c, MEMBER_PROMOTE, voter);
        env_sim_run_ms(c->sim, 50);
    }
    must(c, rc == ERRC_OK, "a voter could not be promoted");
}

static void map_fill(struct cluster_sim *c)
{
    struct meta_command group = { .type = META_CMD_GROUP_PUT };
    struct meta_command bucket = { .type = META_CMD_BUCKET_CREATE };
    struct meta_result result;
    group.group_put.group = (struct meta_group){ .id = 1, .disk_count = (uint8_t)c->node_count, .writable = true, .class_k = 4,
                                                 .class_m = 2, .primary = 0x3f };
    for (unsigned i = 0; i < c->node_count; i++) {
        unsigned host = cluster_sim_node_host(c, i);
        struct meta_command disk = { .type = META_CMD_DISK_PUT };
        disk.disk_put.disk = (struct meta_disk){ .id = process_sim_disk(host), .node = process_sim_node(host),
                                                 .state = META_DISK_IN, .bytes = 1ull << 40, .path = slice_str("/d") };
        cluster_sim_command(c, &disk, &result);
        group.group_put.group.disks[i] = process_sim_disk(host);
    }
    cluster_sim_command(c, &group, &result);
    bucket.bucket_create.bucket = (struct meta_bucket){ .name = slice_str("bucket"), .owner = slice_str("owner"),
                                                        .class_k = 4, .class_m = 2 };
    cluster_sim_command(c, &bucket, &result);
    c->bucket = result.value;
}

static void data_await(struct cluster_sim *c, struct data_sim *d)
{
    while (!d->ready) {
        must(c, env_sim_step(c->sim), "nothing moves any more");
    }
}

static struct data_sim *data_begin(struct cluster_sim *c, unsigned host, bool with_workers)
{
    struct env *env = env_sim_machine_add(c->sim, 1u << 20);
    struct data_sim *d = data_sim_open(c->net, host, env, CLUSTER_VOTERS, c->node_count, with_workers);
    data_await(c, d);
    return d;
}

void cluster_sim_open(struct cluster_sim *c, uint64_t seed, unsigned nodes, unsigned gateways)
{
    memset(c, 0, sizeof(*c));
    c->seed = seed;
    c->node_count = nodes;
    c->gateway_count = gateways;
    c->sim = env_sim_create(seed, 1u << 20);
    c->net = net_sim_create(c->sim);
    c->home = env_sim_env(c->sim)->vt->executor_create(env_sim_env(c->sim), "test", 1);
    list_init(&c->ghosts);
    c->voters[0] = voter_sim_open(c->net, 0, machine_with_dir(c), true);
    voter_join(c, 1);
    voter_join(c, 2);
    for (unsigned i = 0; i < nodes; i++) {
        struct env *env = env_sim_machine_add(c->sim, DISK_BYTES);
        node_sim_format(env, cluster_sim_node_host(c, i));
        c->nodes[i] = node_begin(c, i, env);
    }
    c->worker = data_begin(c, CLUSTER_VOTERS + nodes, true);
    map_fill(c);
    for (unsigned i = 0; i < gateways; i++) {
        c->gateways[i] = data_begin(c, CLUSTER_VOTERS + nodes + 1 + i, false);
    }
    cluster_map_refresh(c->worker->map, NULL, NULL);
    c->beat.task.run = on_beat;
    timer_start(c->home, &c->beat, 1);
    env_sim_run_ms(c->sim, 100);
}

/* ---- end ---- */

static void found(void *data, const char *kind, const char *text)
{
    unsigned *count = data;
    (*count)++;
    (void)fprintf(stderr, "audit: %s: %s\n", kind, text);
}

unsigned cluster_sim_audit(struct cluster_sim *c)
{
    unsigned complaints = 0;
    const struct machine_audit audit = { .found = found, .data = &complaints };
    for (unsigned i = 0; i < CLUSTER_VOTERS; i++) {
        struct audit_counts counts;
        struct error e = ERROR_INIT;
        enum errc rc = voter_audit(c->voters[i]->voter, &audit, &counts, &e);
        if (rc != ERRC_OK) {
            found(&complaints, errc_name(rc), e.text);
        }
    }
    return complaints;
}

static void closed_await(struct cluster_sim *c, struct process_sim *p)
{
    while (!p->closed) {
        must(c, env_sim_step(c->sim), "a process does not end");
    }
    net_sim_serve(c->net, p->host, NULL);
}

void cluster_sim_close(struct cluster_sim *c)
{
    timer_stop(c->home, &c->beat);
    for (unsigned i = 0; i < c->gateway_count; i++) {
        data_sim_close(c->gateways[i]);
    }
    data_sim_close(c->worker);
    for (unsigned i = 0; i < c->gateway_count; i++) {
        closed_await(c, &c->gateways[i]->process);
    }
    closed_await(c, &c->worker->process);
    for (unsigned i = 0; i < CLUSTER_VOTERS; i++) {
        net_sim_kill(c->net, i);
        voter_sim_close(c->voters[i]);
        closed_await(c, &c->voters[i]->process);
    }
    for (unsigned i = 0; i < c->node_count; i++) {
        net_sim_serve(c->net, cluster_sim_node_host(c, i), NULL);
        node_sim_close(c->nodes[i]);
        closed_await(c, &c->nodes[i]->process);
    }
    while (!list_empty(&c->ghosts)) {
        ghosts_reap(c);
        must(c, list_empty(&c->ghosts) || env_sim_step(c->sim), "a dead process does not end");
    }
    net_sim_destroy(c->net);
    for (unsigned i = 0; i < c->gateway_count; i++) {
        process_sim_free(&c->gateways[i]->process);
    }
    process_sim_free(&c->worker->process);
    for (unsigned i = 0; i < CLUSTER_VOTERS; i++) {
        process_sim_free(&c->voters[i]->process);
    }
    for (unsigned i = 0; i < c->node_count; i++) {
        process_sim_free(&c->nodes[i]->process);
    }
    executor_destroy(c->home);
    env_sim_destroy(c->sim);
}
