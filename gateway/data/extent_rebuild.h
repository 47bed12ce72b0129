/*
 * extent_rebuild - brings one extent to its full strength and publishes that by compare-and-set.
 *
 *   1 STATING     header and footer from a shard that is there
 *     ADOPTING    missing shards that are whole after all (their disk came back) only need to be published. Where more
 *                 than m are marked, this is all that is tried, and nothing is cleared: what is left may be needed
 *   2 CLEARING    whatever stands under the new shards' names on their disks is freed (it is in no record)
 *   3 OPENING     the new shards
 *   4 COPYING     read some stripes (verified, decoded where need be), write the new cells; again to the end
 *   5 COMMITTING  the new shards are durable
 *   6 CHECKING    read back, compared with the checksums of what was written
 *   7 PUBLISHING  EXTENT_REPAIRED on (id, epoch): readers see the new places; a lost race frees the new shards
 *
 * Two kinds. Missing shards are made again in the same code, where they were or, in a group of a class, on another disk where
 * that one is away; shards that are to leave a good disk are copied to another one in the same way. An extent in a smaller
 * code than its class is written anew in the class's code as a second set of shards under the same id, each on another disk
 * than the shard of the same index in the first set, so that (disk, id, index) names one immutable thing at every time; the
 * first set is freed later, when no read can know it any more (META_QRY_RETIRED). Nothing is ever freed that the current record
 * names.
 *
 * There must be one repairer for an extent at a time: in `cairn server` the one repair_worker.
 * Thread: its executor (serial). Memory: a few MiB at a time, outside the streams' budgets.
 */
#ifndef GATEWAY_DATA_EXTENT_REBUILD_H
#define GATEWAY_DATA_EXTENT_REBUILD_H

#include "gateway/data/data_store.h"

struct extent_rebuild;

struct extent_rebuild_result {
    enum errc status;       /* OK; CONFLICT it changed meanwhile (not an error); UNAVAILABLE too few sources, or no disk
                               for the new shards; CORRUPT fewer than k good shards; NO_SPACE; IO */
    struct error error;
    uint64_t bytes_read, bytes_written;
    unsigned moved_shards;  /* that have another place now */
    bool has_retired;       /* shards that the record named before are to be freed: META_QRY_RETIRED knows it */
};

struct extent_rebuild_params {
    struct executor *executor;
    struct extent extent;
    uint32_t leaving, misplaced; /* bits of shards that are to be moved from good disks: at all, or if a primary position of
                                    their group is free for them (struct cluster_map_stand). Groups of a class only */
    uint64_t bytes_per_second;   /* of what is read; 0: as fast as it goes */
    void (*done)(void *data, const struct extent_rebuild_result *result); /* once, later; frees the operation after */
    void *data;
};

/* More marked than the code bears: only shards that are whole after all can help. */
bool extent_rebuild_lost(const struct extent *extent);
/* Does the record itself ask for anything? */
bool extent_rebuild_wanted(const struct extent *extent);
/* Are there disks for it, and for these shards that are to move, as far as known here? Cheap: no call is made. */
bool extent_rebuild_possible(struct data_store *store, const struct extent *extent, uint32_t leaving, uint32_t misplaced);
struct extent_rebuild *extent_rebuild_start(struct data_store *store, const struct extent_rebuild_params *params);
/* done follows with CANCELED. */
void extent_rebuild_cancel(struct extent_rebuild *rebuild);

#endif
