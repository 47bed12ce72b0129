#include "tests/sim/lib/cluster_faults.h"

#include "common/base/assert.h"

#include <errno.h>
#include <string.h>

#define NODES_AWAY_MAX 2

static unsigned below(struct cluster_faults *f, unsigned limit)
{
    return (unsigned)(env_sim_random(f->cluster->sim) % limit);
}

static unsigned host_count(const struct cluster_sim *c)
{
    return CLUSTER_VOTERS + c->node_count + 1 + c->gateway_count;
}

/* ---- disks ---- */

#define FLIPPED_NODE 0

static bool flips(const struct cluster_faults *f)
{
    return (f->enabled >> FAULT_FLIP & 1) != 0;
}

static bool flip(struct cluster_faults *f)
{
    return env_sim_machine_flip(f->cluster->nodes[FLIPPED_NODE]->process.env, "/d/segments");
}

/* ---- power cuts ---- */

static bool node_whole(const struct cluster_faults *f, unsigned node)
{
    const struct node_sim *n = f->cluster->nodes[node];
    return n != NULL && n->online && !f->failing[node];
}

static unsigned nodes_away(const struct cluster_faults *f)
{
    unsigned away = 0;
    for (unsigned i = 0; i < f->cluster->node_count; i++) {
        away += !node_whole(f, i) ? 1 : 0;
    }
    return away;
}

static unsigned voters_away(const struct cluster_sim *c)
{
    unsigned away = 0;
    for (unsigned i = 0; i < CLUSTER_VOTERS; i++) {
        away += c->voters[i] == NULL ? 1 : 0;
    }
    return away;
}

static bool node_may_fail(const struct cluster_faults *f, unsigned node)
{
    unsigned most = flips(f) ? NODES_AWAY_MAX - 1 : NODES_AWAY_MAX;
    return nodes_away(f) < most && (node != FLIPPED_NODE || !flips(f)) && node_whole(f, node);
}

static void calls_fail(struct cluster_faults *f, unsigned node, unsigned calls, int error)
{
    env_sim_machine_fail(f->cluster->nodes[node]->process.env, calls, error);
    f->failing[node] = true;
}

/* Writes and syncs of all nodes. No budget here: what failed was not acknowledged. */
static bool disk_error_everywhere(struct cluster_faults *f)
{
    int error = below(f, 2) == 0 ? ENOSPC : EIO;
    unsigned calls = error == ENOSPC ? ENV_SIM_WRITES : ENV_SIM_WRITES | ENV_SIM_SYNCS;
    for (unsigned i = 0; i < f->cluster->node_count; i++) {
        if (node_whole(f, i) && (i != FLIPPED_NODE || !flips(f))) {
            calls_fail(f, i, calls, error);
        }
    }
    return true;
}

static bool disk_error(struct cluster_faults *f)
{
    unsigned node = below(f, f->cluster->node_count);
    if (below(f, 4) == 0) {
        return disk_error_everywhere(f);
    }
    bool may = node_may_fail(f, node);
    if (may) {
        bool full = below(f, 4) == 0;
        calls_fail(f, node, full ? ENV_SIM_WRITES : 1 + below(f, 7), full ? ENOSPC : EIO);
    }
    return may;
}

static bool node_crash(struct cluster_faults *f)
{
    struct cluster_sim *c = f->cluster;
    unsigned node = below(f, c->node_count);
    bool may = node_may_fail(f, node);
    if (may) {
        cluster_sim_node_crash(c, node);
    }
    return may;
}

static bool voter_crash(struct cluster_faults *f)
{
    struct cluster_sim *c = f->cluster;
    unsigned voter = below(f, 2) == 0 ? cluster_sim_leader(c) : below(f, CLUSTER_VOTERS);
    bool may = voters_away(c) == 0 && voter < CLUSTER_VOTERS;
    if (may) {
        cluster_sim_voter_crash(c, voter);
    }
    return may;
}

/* No budget here: whatever was acknowledged is on stable storage. */
static bool blackout(struct cluster_faults *f)
{
    struct cluster_sim *c = f->cluster;
    for (unsigned i = 0; i < c->node_count; i++) {
        if (c->nodes[i] != NULL && c->nodes[i]->online && (i != FLIPPED_NODE || !flips(f))) {
            cluster_sim_node_crash(c, i);
        }
    }
    for (unsigned i = 0; i < CLUSTER_VOTERS; i++) {
        if (c->voters[i] != NULL) {
            cluster_sim_voter_crash(c, i);
        }
    }
    return true;
}

static void restart_some(struct cluster_faults *f, bool all)
{
    struct cluster_sim *c = f->cluster;
    for (unsigned i = 0; i < c->node_count; i++) {
        bool chosen = all || below(f, 4) == 0;
        if (chosen && f->failing[i] && c->nodes[i] != NULL) { /* a disk that failed is in service again after the next start */
            cluster_sim_node_crash(c, i);
        }
        if (chosen && c->nodes[i] == NULL) {
            f->failing[i] = false;
            cluster_sim_node_start(c, i);
        }
    }
    for (unsigned i = 0; i < CLUSTER_VOTERS; i++) {
        if (c->voters[i] == NULL && (all || below(f, 4) == 0)) {
            cluster_sim_voter_start(c, i);
        }
    }
}

/* ---- clocks ---- */

/* Up to half a day: certificates, which are not here, allow a day. */
static bool clock_wrong(struct cluster_faults *f)
{
    struct cluster_sim *c = f->cluster;
    unsigned which = below(f, 3);
    struct env *env = NULL;
    if (which == 0 && c->gateway_count > 0) {
        env = c->gateways[below(f, c->gateway_count)]->process.env;
    } else if (which == 1) {
        const struct node_sim *n = c->nodes[below(f, c->node_count)];
        env = n != NULL ? n->process.env : NULL;
    } else {
        const struct voter_sim *v = c->voters[below(f, CLUSTER_VOTERS)];
        env = v != NULL ? v->process.env : NULL;
    }
    if (env != NULL) {
        env_sim_machine_wall(env, (int64_t)below(f, 86400000) - 43200000);
    }
    return env != NULL;
}

/* ---- the network ---- */

static void cut_pair(struct cluster_faults *f, unsigned a, unsigned b, bool both)
{
    net_sim_cut(f->cluster->net, a, b, true);
    net_sim_cut(f->cluster->net, b, a, both || net_sim_is_cut(f->cluster->net, b, a));
}

static void cut_off(struct cluster_faults *f, unsigned host, bool both)
{
    for (unsigned i = 0; i < host_count(f->cluster); i++) {
        if (i != host) {
            cut_pair(f, host, i, both);
        }
    }
}

static void cut_halves(struct cluster_faults *f)
{
    unsigned side = below(f, 1u << 16);
    for (unsigned a = 0; a < host_count(f->cluster); a++) {
        for (unsigned b = 0; b < a; b++) {
            if ((side >> a & 1) != (side >> b & 1)) {
                cut_pair(f, a, b, true);
            }
        }
    }
}

/* Each sees only its neighbours. */
static void cut_ring(struct cluster_faults *f)
{
    unsigned count = host_count(f->cluster);
    for (unsigned a = 0; a < count; a++) {
        for (unsigned b = 0; b < a; b++) {
            if (a - b > 1 && a - b < count - 1) {
                cut_pair(f, a, b, true);
            }
        }
    }
}

static bool partition(struct cluster_faults *f)
{
    struct cluster_sim *c = f->cluster;
    unsigned leader = cluster_sim_leader(c);
    switch (below(f, 5)) {
    case 0:
        cut_off(f, below(f, host_count(c)), true);
        break;
    case 1:
        cut_halves(f);
        break;
    case 2:
        cut_off(f, leader < CLUSTER_VOTERS ? leader : 0, true);
        break;
    case 3:
        cut_ring(f);
        break;
    default:
        cut_off(f, below(f, host_count(c)), false);
        break;
    }
    return true;
}

static bool disconnect(struct cluster_faults *f)
{
    unsigned host = below(f, host_count(f->cluster));
    for (unsigned i = 0; i < host_count(f->cluster); i++) {
        if (i != host && below(f, 2) == 0) {
            net_sim_disconnect(f->cluster->net, host, i);
        }
    }
    return true;
}

static bool slow(struct cluster_faults *f)
{
    net_sim_delay(f->cluster->net, 1000 + below(f, 200000));
    return true;
}

/* ---- steps ---- */

void cluster_faults_open(struct cluster_faults *f, struct cluster_sim *cluster, unsigned enabled)
{
    memset(f, 0, sizeof(*f));
    f->cluster = cluster;
    f->enabled = enabled;
}

static void fault_begin(struct cluster_faults *f)
{
    static bool (*const begin[FAULT_KINDS])(struct cluster_faults *f) = { node_crash, voter_crash, partition, disconnect, slow,
                                                                              flip, blackout, disk_error, clock_wrong };
    unsigned kind = below(f, FAULT_KINDS);
    if ((f->enabled >> kind & 1) != 0 && begin[kind](f)) {
        f->counts[kind]++;
    }
}

void cluster_faults_step(struct cluster_faults *f)
{
    unsigned choice = below(f, 10);
    if (choice < 3) {
        fault_begin(f);
    } else if (choice < 5) {
        net_sim_heal(f->cluster->net);
        net_sim_delay(f->cluster->net, 500);
    } else if (choice < 6) {
        restart_some(f, false);
    }
}

void cluster_faults_heal(struct cluster_faults *f)
{
    net_sim_heal(f->cluster->net);
    net_sim_delay(f->cluster->net, 500);
    restart_some(f, true);
}
