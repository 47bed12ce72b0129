/*
 * orphan_sweep - frees what closed sessions wrote and no record refers to.
 *
 * Shards that were begun and never committed (a gateway died between) go the same way, first.
 * Absence is no evidence: a shard goes only when its session is CLOSED (so that no commit can name it any more) and the
 * metadata service, asked after that, says that no record and no gc item names its extent. Sessions that this node
 * left open when it ended are closed first: the node id is this process's own, and its DIRs are locked.
 * Thread: its executor (serial).
 */
#ifndef GATEWAY_DATA_ORPHAN_SWEEP_H
#define GATEWAY_DATA_ORPHAN_SWEEP_H

#include "gateway/data/data_store.h"

struct orphan_sweep;

struct orphan_sweep_config {
    struct data_store *store;
    struct executor *executor;
    struct node_id node;           /* this process's */
    uint32_t interval_ms;          /* between passes; 0: 10 minutes */
};

struct orphan_sweep *orphan_sweep_start(const struct orphan_sweep_config *config); /* the first pass begins at once */
void orphan_sweep_stop(struct orphan_sweep *sweep, void (*done)(void *data), void *data); /* freed before done */
uint64_t orphan_sweep_freed(const struct orphan_sweep *sweep);   /* shards, since the start */
uint64_t orphan_sweep_passes(const struct orphan_sweep *sweep);  /* complete ones */

#endif
