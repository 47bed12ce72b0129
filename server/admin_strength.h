/*
 * admin_strength - how many stripes stand at which strength, counted exactly.
 *
 * The metadata service counts what its records say is missing. A disk that is away at this moment is in no record (it
 * may come back whole), so while one is away, or anything is degraded, every extent is looked at.
 * Cost: one query when all is well, else a walk over the extent index (about a million extents a second).
 */
#ifndef SERVER_ADMIN_STRENGTH_H
#define SERVER_ADMIN_STRENGTH_H

#include "common/base/error.h"
#include "common/rpc/metadata_messages.h"

#include <jansson.h>

struct server;

struct strength {
    uint64_t extents, extents_full;
    uint64_t stripes, stripes_full;
    uint64_t stripes_smaller;                  /* wholly there, in a smaller code than their class */
    uint64_t stripes_missing[CODE_M_MAX];      /* [0]: one shard missing or away, ... readable all the same */
    uint64_t stripes_unreadable;               /* more are away than parity covers */
};

MUST_CHECK enum errc strength_count(struct server *server, struct strength *ret_strength, struct error *e);

/* {"full": n, "smaller_code": n, "missing_1": n, ...}; admin_status.c */
json_t *strength_json(const struct strength *strength);
/* Its parts, for counts beside these. */
bool strength_disk_up(struct server *server, struct disk_id id);
/* Bits of the group's positions whose disks are up. */
uint64_t strength_group_up(struct server *server, const struct meta_group *group);
/* The disk at the shard's place was replaced, and the sweep that marks what the lost one held has not come to it yet. */
bool strength_awaits_sweep(const struct meta_cluster_reply *map, const struct extent *extent, unsigned shard);
/* up: of the extent's group */
void strength_add(struct strength *strength, const struct meta_cluster_reply *map, uint64_t up, const struct extent *extent);
typedef void strength_extent(void *data, const struct meta_group *group, uint64_t up, const struct extent *extent);
/* Shows every extent of the group. */
MUST_CHECK enum errc strength_walk(struct server *server, const struct meta_group *group, strength_extent *see, void *data,
                                   struct error *e);

#endif
