/*
 * cluster_map - this process's copy of disks and placement groups, and what it knows of their health.
 *
 * The map (META_QRY_CLUSTER) is refreshed on start, when a call names something unknown, and on
 * demand. Health is local knowledge: states told by the node (cluster_map_disk_state) and failed calls.
 * A disk never told of counts as up when the map has it IN.
 * Thread: lookups, placement and state changes from any thread; refresh runs on the map's executor.
 */
#ifndef GATEWAY_DATA_CLUSTER_MAP_H
#define GATEWAY_DATA_CLUSTER_MAP_H

#include "common/base/extent.h"
#include "common/rpc/node_messages.h"
#include "gateway/data/metadata_client.h"

struct cluster_map;

struct cluster_map_config {
    struct env *env;
    struct executor *executor;
    struct metadata_client *meta;
    struct cluster_id cluster;
    struct rpc_channel *local;     /* the node that serves every disk without a node of its own; may be NULL */
    /* Sees every map before it is taken: the place to make channels to its nodes. Any thread. May be NULL. */
    void (*on_nodes)(void *data, const struct meta_cluster_reply *reply);
    void *on_nodes_data;
};

/* Where the shards of an extent are, by shard index. */
struct cluster_map_shard {
    struct disk_id disk;
    struct rpc_channel *channel;   /* NULL: no node known */
    uint8_t position;              /* in the group */
    bool readable;                 /* ONLINE or FULL, as far as known */
    bool writable;                 /* ONLINE, the disk is IN */
    bool removed;                  /* the map says that it never comes back */
    bool primary;                  /* of the group; all positions of a group without a class are */
};

/* Where the shards of a stored extent should not be: bits by shard index. */
struct cluster_map_stand {
    uint32_t lost;                 /* on disks that were removed, or are OUT and do not serve: given up */
    uint32_t leaving;              /* on other disks that are not IN, or whose node is drained */
    uint32_t misplaced;            /* on positions that are no primaries of their group */
};

struct cluster_map_group_stand { bool lost, leaving, misplaced; };

struct cluster_map_placement {
    uint32_t group;
    uint8_t k, m;                  /* k + m shards, wholly writable */
    bool smaller;                  /* than asked for: counts as degraded */
    bool crowded;                  /* more than m shards in one failure domain of several: likewise */
    uint64_t revision;             /* of the map that it was placed by */
    struct cluster_map_shard shards[CODE_SHARDS_MAX];
};

struct cluster_map_disk {          /* for status pages */
    struct disk_id id;
    struct node_id node;
    bool in_map;                   /* false: a node told of it only; map_state is META_DISK_REMOVED then */
    uint8_t map_state;             /* enum meta_disk_state */
    uint8_t state;                 /* enum disk_state, as known here; ONLINE where nothing was told yet */
    uint64_t total_bytes, free_bytes;
    char path[256];
};

struct cluster_map *cluster_map_create(const struct cluster_map_config *config);
/* done runs (at once, or on the map's executor) when no refresh is under way: before destroy, and after the last one was begun. */
void cluster_map_quiesce(struct cluster_map *map, void (*done)(void *data, enum errc status), void *data);
void cluster_map_destroy(struct cluster_map *map); /* no refresh under way */
struct cluster_id cluster_map_cluster(const struct cluster_map *map);
/* How the node is reached from now on; channels given earlier may still be in use. */
void cluster_map_set_node(struct cluster_map *map, struct node_id node, struct rpc_channel *channel);

/* Asks for the map; many calls at once share one query. done(data, status) on the map's executor; may be NULL. */
void cluster_map_refresh(struct cluster_map *map, void (*done)(void *data, enum errc status), void *data);
/* For composition and tests: takes the answer as it is, without a query. */
void cluster_map_install(struct cluster_map *map, const struct meta_cluster_reply *reply);
uint64_t cluster_map_revision(struct cluster_map *map);
/* Has the map, as this process knows it, a group that takes extents of class k+m? */
bool cluster_map_has_class(struct cluster_map *map, uint8_t k, uint8_t m);
unsigned cluster_map_group_count(struct cluster_map *map);

/* The node's word (DISK_ONLINE ... DISK_ABSENT); total_bytes 0: sizes are not told. Only a change to ONLINE lets a
 * disk that failed calls back in early: the same word again is no news. */
void cluster_map_disk_state(struct cluster_map *map, struct disk_id disk, uint8_t state, uint64_t total_bytes,
                            uint64_t free_bytes);
/* What was told of the disk last (enum disk_state); DISK_ABSENT where nothing was told yet. */
uint8_t cluster_map_disk_told(struct cluster_map *map, struct disk_id disk);
/* The disk was told to be neither ONLINE nor FULL, or the map has it removed: a call that waits for it waits in vain. What
 * calls made of it (cluster_map_disk_failed) does not count, nor a disk never told of. */
bool cluster_map_disk_gone(struct cluster_map *map, struct disk_id disk);
/* A call to the disk ended with `status`: IO and UNAVAILABLE take it out of new writes until the node tells
 * otherwise or a while has passed; NO_SPACE marks it full likewise. */
void cluster_map_disk_failed(struct cluster_map *map, struct disk_id disk, enum errc status);

/* Chooses group, code and disks for a new extent of class k+m. Groups of a class take that class alone: where it has none,
 * and no group without a class is there, the answer is UNAVAILABLE. narrow: k+m is already a small object's own code of a
 * wider class (width: the class's k+m, whose groups are used). UNAVAILABLE: fewer than two disks can be written (one for
 * k+m = 1+0); NO_SPACE: enough could, if they were not full. `avoid`: disks not to be used, may be NULL. */
MUST_CHECK enum errc cluster_map_place(struct cluster_map *map, struct extent_id id, uint8_t k, uint8_t m, uint8_t width,
                                       const struct disk_id *avoid, unsigned avoid_count,
                                       struct cluster_map_placement *ret);
/*
 * Where shards of a stored extent should be written anew: those of `shards` (bits), each at its own position if that can
 * be written and is a primary one or the shard is `missing`, else at a position that spreads it from the others. Groups
 * of a class only: UNSUPPORTED for others. Bits of *ret_moved: shards that got a position; *ret_positions is set for them.
 */
MUST_CHECK enum errc cluster_map_mend(struct cluster_map *map, const struct extent *extent, uint32_t shards,
                                      uint32_t *ret_moved, uint8_t ret_positions[CODE_SHARDS_MAX]);
/* None for an extent of an unknown group. */
struct cluster_map_stand cluster_map_stand(struct cluster_map *map, const struct extent *extent);
/* Has the group positions where an extent's shards could stand so? */
struct cluster_map_group_stand cluster_map_group_stand(struct cluster_map *map, uint32_t group);
/* Ids of the groups; returns how many, at most `limit`. */
unsigned cluster_map_groups(struct cluster_map *map, uint32_t *ret_ids, unsigned limit);
/* A number that changes with the map and with what is told of disks. */
uint64_t cluster_map_health(struct cluster_map *map);
/* Positions for a whole new set of `shards` shards in the extent's group, by the rules of new extents. UNAVAILABLE: too few
 * disks can be written. */
MUST_CHECK enum errc cluster_map_spread(struct cluster_map *map, const struct extent *extent, unsigned shards,
                                        uint8_t ret_positions[CODE_SHARDS_MAX]);
/* Where the shards of a stored extent are: k + m entries. NOT_FOUND: the group is unknown (refresh). */
MUST_CHECK enum errc cluster_map_locate(struct cluster_map *map, const struct extent *extent,
                                        struct cluster_map_shard ret_shards[CODE_SHARDS_MAX]);
MUST_CHECK enum errc cluster_map_channel(struct cluster_map *map, struct disk_id disk, struct rpc_channel **ret_channel);
/* Every position of a group, at most GROUP_DISKS_MAX; returns how many, 0: unknown group. */
unsigned cluster_map_group(struct cluster_map *map, uint32_t group, struct cluster_map_shard *ret_positions);
/* Copies at most `limit` disks; returns how many there are. */
unsigned cluster_map_disks(struct cluster_map *map, struct cluster_map_disk *ret_disks, unsigned limit);
/* One of them; false: never heard of. */
bool cluster_map_disk_find(struct cluster_map *map, struct disk_id disk, struct cluster_map_disk *ret);

#endif
