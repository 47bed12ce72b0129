#include "tests/sim/lib/cluster_faults.h"

#include "common/base/assert.h"

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

static unsigned nodes_away(const struct cluster_sim *c)
{
    unsigned away = 0;
    for (unsigned i = 0; i < c->node_count; i++) {
        away += c->nodes[i] == NULL || !c->nodes[i]->online ? 1 : 0;
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

static bool node_crash(struct cluster_faults *f)
{
    struct cluster_sim *c = f->cluster;
    unsigned node = below(f, c->node_count);
    unsigned most = flips(f) ? NODES_AWAY_MAX - 1 : NODES_AWAY_MAX;
    bool may = nodes_away(c) < most && (node != FLIPPED_NODE || !flips(f)) && c->nodes[node] != NULL && c->nodes[node]->online;
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
        if (c->nodes[i] == NULL && (all || below(f, 4) == 0)) {
            cluster_sim_node_start(c, i);
        }
    }
    for (unsigned i = 0; i < CLUSTER_VOTERS; i++) {
        if (c->voters[i] == NULL && (all || below(f, 4) == 0)) {
            cluster_sim_voter_start(c, i);
        }
    }
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
                                                                              flip, blackout };
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
