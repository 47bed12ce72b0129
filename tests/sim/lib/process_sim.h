/*
 * process_sim - one life of a process of the simulated cluster: a voter, a storage node, or what gateways and background
 * workers are made of. Each has a machine (disk, clock) and executors of its own and reaches others by net_sim only.
 *
 * A crash takes what a power cut leaves of the disk to the next life; the dead one is closed off the network, and freed
 * when that is done (process_sim_reap). Thread: the one that steps env_sim.
 */
#ifndef TESTS_SIM_LIB_PROCESS_SIM_H
#define TESTS_SIM_LIB_PROCESS_SIM_H

#include "gateway/data/gc_worker.h"
#include "gateway/data/orphan_sweep.h"
#include "gateway/data/repair_worker.h"
#include "gateway/data/suspect_queue.h"
#include "metadata/voter.h"
#include "storage-node/node.h"
#include "tests/sim/lib/kv_sim.h"
#include "tests/sim/lib/net_sim.h"

#define PROCESS_SIM_VOTERS 3

struct process_sim {
    struct net_sim *net;
    unsigned host, life;
    struct env *env;              /* its machine */
    struct kv_sim_factory kv;
    struct executor *home, *pool; /* pool: voters only */
    struct list ghosts;           /* in the cluster's list once it is dead */
    bool closed;
};

struct voter_sim {
    struct process_sim process;   /* first */
    struct voter *voter;
    char node[ID_HEX_BYTES];
};

struct node_sim {
    struct process_sim process;
    struct node *node;
    bool online;
    void (*on_corrupt)(void *data, struct disk_id disk, struct extent_id extent, uint8_t index);
    void *data;
};

struct data_sim {
    struct process_sim process;
    struct metadata_client meta;
    struct session *session;
    struct cluster_map *map;
    struct data_store store;
    struct suspect_queue *suspects;
    struct gc_worker *gc;         /* workers: NULL in gateways */
    struct repair_worker *repair;
    struct orphan_sweep *sweep;
    bool with_workers, ready;
    unsigned stopping;
    struct timer linger;
};

struct cluster_id process_sim_cluster(void);
struct node_id process_sim_node(unsigned host);
struct disk_id process_sim_disk(unsigned host); /* of the storage node there */

/* env: the machine; taken over. */
struct voter_sim *voter_sim_open(struct net_sim *net, unsigned host, struct env *env, bool bootstrap);
/* A voter without a state: brings it from the one at `leader`. OK: voter_sim_open() may follow. */
MUST_CHECK enum errc voter_sim_seed(struct net_sim *net, struct env_sim *sim, unsigned host, struct env *env, unsigned leader);
void voter_sim_close(struct voter_sim *v);

void node_sim_format(struct env *env, unsigned host);
struct node_sim *node_sim_open(struct net_sim *net, unsigned host, struct env *env);
void node_sim_close(struct node_sim *n);

/* Voters are the hosts from 0 on, nodes the next ones. */
struct data_sim *data_sim_open(struct net_sim *net, unsigned host, struct env *env, unsigned voters, unsigned nodes,
                               bool with_workers);
void data_sim_close(struct data_sim *d);

/* Frees what is closed: process->closed is set. The machine goes too, unless it was taken (env NULL). */
void process_sim_free(struct process_sim *process);

#endif
