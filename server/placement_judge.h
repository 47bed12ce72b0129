/*
 * placement_judge - does an extent stand in as many failure domains as it could?
 *
 * Where it could is decided by the disks that are up now (common/cluster/spread.h): with three zones up of which each has
 * room for a shard, two shards in one zone are a degraded placement; with one zone up they are not.
 * Memory: borrows the map. Thread: its owner's.
 */
#ifndef SERVER_PLACEMENT_JUDGE_H
#define SERVER_PLACEMENT_JUDGE_H

#include "common/cluster/spread.h"
#include "common/rpc/metadata_messages.h"

enum placement_verdict {
    PLACEMENT_GOOD,
    PLACEMENT_DEGRADED, /* more shards in one domain than need be */
    PLACEMENT_CROWDED,  /* and more than the parity bears to lose */
};

struct placement_judge {
    const struct meta_cluster_reply *map;
    struct spread_place *places;     /* of map->disks */
    struct spread_place *up;         /* of those that are up */
    unsigned up_count;
    struct spread_caps caps[CODE_SHARDS_MAX + 1][CODE_M_MAX + 1];
    bool known[CODE_SHARDS_MAX + 1][CODE_M_MAX + 1];
};

/* is_up(data, disk): asked of disks that take data. */
void placement_judge_init(struct placement_judge *judge, const struct meta_cluster_reply *map,
                          bool (*is_up)(void *data, struct disk_id disk), void *data);
void placement_judge_done(struct placement_judge *judge);
enum placement_verdict placement_judge_extent(struct placement_judge *judge, const struct meta_group *group,
                                              const struct extent *extent);

#endif
