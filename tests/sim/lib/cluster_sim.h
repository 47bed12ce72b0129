/*
 * cluster_sim - a whole cluster in one process on virtual time: three voters, storage nodes with a disk each, gateways,
 * and a process with the background workers (repair, garbage collection, orphan sweep, suspects), over net_sim.
 *
 * The class is 4+2 over all nodes, each a failure domain; one bucket. What nodes say of their disks reaches gateways as by
 * heartbeats: within half a second of virtual time, and a dead node counts as away after 3.5 s.
 */
#ifndef TESTS_SIM_LIB_CLUSTER_SIM_H
#define TESTS_SIM_LIB_CLUSTER_SIM_H

#include "tests/sim/lib/process_sim.h"

#define CLUSTER_VOTERS PROCESS_SIM_VOTERS
#define CLUSTER_NODES_MAX 9
#define CLUSTER_GATEWAYS_MAX 3

struct cluster_sim {
    uint64_t seed;
    struct env_sim *sim;
    struct net_sim *net;
    unsigned node_count, gateway_count;
    struct voter_sim *voters[CLUSTER_VOTERS];       /* hosts 0, 1, 2; NULL: down */
    struct env *voter_disks[CLUSTER_VOTERS];        /* of a voter that is down */
    struct node_sim *nodes[CLUSTER_NODES_MAX];
    struct env *node_disks[CLUSTER_NODES_MAX];
    uint64_t silent_since_ns[CLUSTER_NODES_MAX];    /* 0: heard of */
    struct data_sim *gateways[CLUSTER_GATEWAYS_MAX];
    struct data_sim *worker;
    struct executor *home;                          /* of the test itself */
    struct timer beat;
    struct list ghosts;                             /* dead processes that are being closed */
    uint64_t bucket;
    unsigned crashes;
};

void cluster_sim_open(struct cluster_sim *c, uint64_t seed, unsigned nodes, unsigned gateways);
void cluster_sim_close(struct cluster_sim *c);
unsigned cluster_sim_node_host(const struct cluster_sim *c, unsigned node);
/* The voter that answers queries; CLUSTER_VOTERS: none now. */
unsigned cluster_sim_leader(const struct cluster_sim *c);

/* A power cut of one process; it stays down until the restart. */
void cluster_sim_node_crash(struct cluster_sim *c, unsigned node);
void cluster_sim_node_start(struct cluster_sim *c, unsigned node);
void cluster_sim_voter_crash(struct cluster_sim *c, unsigned voter);
void cluster_sim_voter_start(struct cluster_sim *c, unsigned voter);

/* OK and META_OK, or an assertion. */
void cluster_sim_command(struct cluster_sim *c, const struct meta_command *command, struct meta_result *ret_result);
MUST_CHECK enum errc cluster_sim_status(struct cluster_sim *c, struct meta_status *ret_status);
/* machine_audit of every voter; returns how many complaints were printed. */
unsigned cluster_sim_audit(struct cluster_sim *c);

#endif
