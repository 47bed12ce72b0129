/*
 * cluster_faults - what goes wrong in a simulated cluster, chosen by the seed, within what it must bear: at most two storage
 * nodes and one voter are away at once, so any loss is a bug.
 *
 * Each seed enables some of the kinds (swarm testing). Kinds: power cut of a node or a voter with a restart later;
 * partitions (one process cut off, halves, the leader, a ring, one direction); connections cut; slow links;
 * bits flipped on one disk (whose node then counts as one of the two, and does not crash); a power cut
 * of all processes with disks at once, after which what was acknowledged must still be there; calls on a node's disk that
 * fail, until the node is started again, or on those of all nodes (writes and syncs: what failed was not acknowledged); a wall
 * clock that is hours off.
 */
#ifndef TESTS_SIM_LIB_CLUSTER_FAULTS_H
#define TESTS_SIM_LIB_CLUSTER_FAULTS_H

#include "tests/sim/lib/cluster_sim.h"

enum cluster_fault {
    FAULT_NODE_CRASH,
    FAULT_VOTER_CRASH,
    FAULT_PARTITION,
    FAULT_DISCONNECT,
    FAULT_SLOW,
    FAULT_FLIP,
    FAULT_BLACKOUT,
    FAULT_DISK_ERROR,
    FAULT_CLOCK,
    FAULT_KINDS,
};

struct cluster_faults {
    struct cluster_sim *cluster;
    unsigned enabled;             /* bits of enum cluster_fault */
    unsigned counts[FAULT_KINDS]; /* that were done */
    bool failing[CLUSTER_NODES_MAX]; /* calls on this node's disk fail: it counts as away until it is started again */
};

void cluster_faults_open(struct cluster_faults *f, struct cluster_sim *cluster, unsigned enabled);
void cluster_faults_step(struct cluster_faults *f); /* perhaps one fault, or the end of one */
void cluster_faults_heal(struct cluster_faults *f); /* everything is up and connected again */

#endif
