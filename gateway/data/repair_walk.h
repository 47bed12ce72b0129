/*
 * repair_walk - looks at every extent of the groups where shards may stand on disks that they should not be on.
 *
 * A shard on a disk that is given up (removed, or out and silent) is marked missing: the repair queue has it from then on. One
 * on a good disk that leaves, or on a position that is no primary any more, is copied to where it belongs, verified by
 * read-back and switched by compare-and-set (extent_rebuild.h); the old copy is freed when no read can know it.
 * First all groups are looked through for what is to be marked, then again for what is to be moved, so that nothing waits in
 * the queue behind moves. A walk begins when the map or the health of its disks has changed, once more half a minute after
 * that one (a gateway that had not heard of the change yet wrote by what it knew), and after an hour; it goes on in runs of
 * bounded work, between which the queue is worked off. A crash loses nothing: the next walk sees what is left.
 * Thread: the repair worker's executor.
 */
#ifndef GATEWAY_DATA_REPAIR_WALK_H
#define GATEWAY_DATA_REPAIR_WALK_H

#include "gateway/data/extent_rebuild.h"

struct repair_walk;

struct repair_walk_counts {        /* since the start */
    uint64_t marked;               /* shards */
    uint64_t moved_shards, moved_bytes;
    uint64_t failed;               /* extents whose move did not succeed; looked at again by the next walk */
    uint64_t walks;                /* to the end */
    bool walking;                  /* not at the end yet, or something is left to be tried again */
};

struct repair_walk_config {
    struct data_store *store;
    struct executor *executor;
    uint64_t bytes_per_second;
    void (*moved)(void *data, const struct extent *extent, const struct extent_rebuild_result *result);
    /* The run is over. `more`: go on at once; `useful`: something was done. */
    void (*over)(void *data, bool more, bool useful);
    void *data;
};

struct repair_walk *repair_walk_new(const struct repair_walk_config *config);
void repair_walk_free(struct repair_walk *walk);        /* not during a run */
/* Misplaced shards on good disks that stay are moved (rebalancing), or left where they are. The next run begins anew. */
void repair_walk_balance(struct repair_walk *walk, bool balance);
void repair_walk_run(struct repair_walk *walk);         /* over() once, later or at once */
void repair_walk_cancel(struct repair_walk *walk);      /* over() soon */
struct repair_walk_counts repair_walk_counts(const struct repair_walk *walk);

#endif
