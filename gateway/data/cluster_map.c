/*
 * The map is small (hundreds of disks, tens of groups), so one lock and plain loops serve it. A refresh builds
 * nothing in place: cluster_map_install() replaces disks and groups under the lock, keeping what is known of health.
 */
#include "gateway/data/cluster_map.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/cluster/placement.h"
#include "gateway/data/data_lock.h"

#include <stdio.h>

#define GROUPS_MAX 256
#define NODES_MAX 64
#define FAILED_MS 1000          /* how long a failed call keeps a disk out, unless the node tells otherwise */
#define CLUSTER_ARENA_BYTES (4u << 20)

struct map_disk {
    struct disk_id id;
    struct node_id node;
    uint8_t map_state;          /* enum meta_disk_state */
    uint8_t state;              /* enum disk_state */
    bool in_map;                /* of the last answer; others were told of by a node only */
    bool told;                  /* `state` is somebody's word */
    uint64_t total_bytes, free_bytes;
    uint64_t failed_until_ns;   /* of reads and writes */
    uint64_t full_until_ns;
    struct spread_place place;  /* its failure domains, by numbers that hold until the next answer */
    bool node_takes;            /* its node is neither drained nor in maintenance */
    bool node_leaves;           /* drained or removed */
    char path[256];
};

struct map_group {
    uint32_t id;
    uint8_t disk_count;
    bool writable;
    uint8_t class_k, class_m;   /* 0+0: of every class */
    uint64_t primary;
    uint16_t disks[GROUP_DISKS_MAX]; /* indices of `disks` */
    struct spread_place places[GROUP_DISKS_MAX];
};

struct map_node {
    struct node_id id;
    struct rpc_channel *channel;
};

struct refresh_wait {
    struct list node;
    void (*done)(void *data, enum errc status);
    void *data;
};

struct cluster_map {
    struct cluster_map_config config;
    struct data_lock lock;      /* guards everything to the blank line */
    uint64_t revision;
    unsigned disk_count, group_count, node_count;
    struct map_disk disks[NODE_DISKS_MAX];
    struct map_group groups[GROUPS_MAX];
    struct map_node nodes[NODES_MAX];
    struct list refresh_waits;
    bool refreshing;

    struct task refresh_task;   /* on the executor */
    struct meta_op op;
    struct arena arena;
};

struct cluster_map *cluster_map_create(const struct cluster_map_config *config)
{
    struct cluster_map *map = mem_zalloc(sizeof(*map));
    map->config = *config;
    data_lock_init(&map->lock);
    list_init(&map->refresh_waits);
    arena_init(&map->arena, CLUSTER_ARENA_BYTES);
    return map;
}

void cluster_map_destroy(struct cluster_map *map)
{
    if (map == NULL) {
        return;
    }
    ASSERT(!map->refreshing);
    meta_op_release(&map->op);
    arena_done(&map->arena);
    mem_free(map);
}

struct cluster_id cluster_map_cluster(const struct cluster_map *map)
{
    return map->config.cluster;
}

void cluster_map_set_node(struct cluster_map *map, struct node_id node, struct rpc_channel *channel)
{
    data_lock_take(&map->lock);
    unsigned at = 0;
    while (at < map->node_count && !node_id_equal(map->nodes[at].id, node)) {
        at++;
    }
    ASSERT(at < NODES_MAX);
    map->node_count += at == map->node_count ? 1 : 0;
    map->nodes[at] = (struct map_node){ node, channel };
    data_lock_give(&map->lock);
}

/* ---- lookups, all under the lock ---- */

static struct map_disk *disk_find(struct cluster_map *map, struct disk_id id)
{
    for (unsigned i = 0; i < map->disk_count; i++) {
        if (disk_id_equal(map->disks[i].id, id)) {
            return &map->disks[i];
        }
    }
    return NULL;
}

/* NULL when the table is full: more disks than a map can name. */
static struct map_disk *disk_get(struct cluster_map *map, struct disk_id id)
{
    struct map_disk *disk = disk_find(map, id);
    if (disk == NULL && map->disk_count < NODE_DISKS_MAX) {
        disk = &map->disks[map->disk_count++];
        *disk = (struct map_disk){ .id = id, .state = DISK_ONLINE, .map_state = META_DISK_IN, .node_takes = true };
    }
    return disk;
}

static struct rpc_channel *disk_channel(const struct cluster_map *map, const struct map_disk *disk)
{
    for (unsigned i = 0; i < map->node_count; i++) {
        if (node_id_equal(map->nodes[i].id, disk->node)) {
            return map->nodes[i].channel;
        }
    }
    return map->config.local;
}

static bool disk_readable(const struct map_disk *disk, uint64_t now_ns)
{
    return (disk->state == DISK_ONLINE || disk->state == DISK_FULL) && disk->map_state != META_DISK_REMOVED &&
           now_ns >= disk->failed_until_ns;
}

static bool disk_writable(const struct map_disk *disk, uint64_t now_ns)
{
    return disk->in_map && disk->node_takes && disk->map_state == META_DISK_IN && disk->state == DISK_ONLINE &&
           now_ns >= disk->failed_until_ns && now_ns >= disk->full_until_ns;
}

/* It would take a shard if it had space. */
static bool disk_lacks_space(const struct map_disk *disk, uint64_t now_ns)
{
    struct map_disk empty = *disk;
    empty.full_until_ns = 0;
    empty.state = disk->state == DISK_FULL ? DISK_ONLINE : disk->state;
    return !disk_writable(disk, now_ns) && disk_writable(&empty, now_ns);
}

static const struct map_group *group_find(const struct cluster_map *map, uint32_t id)
{
    for (unsigned i = 0; i < map->group_count; i++) {
        if (map->groups[i].id == id) {
            return &map->groups[i];
        }
    }
    return NULL;
}

static void shard_fill(const struct cluster_map *map, const struct map_group *group, uint8_t position,
                       uint64_t now_ns, struct cluster_map_shard *ret)
{
    const struct map_disk *disk = &map->disks[group->disks[position]];
    *ret = (struct cluster_map_shard){
        .disk = disk->id,
        .channel = disk_channel(map, disk),
        .position = position,
        .readable = disk_readable(disk, now_ns),
        .writable = disk_writable(disk, now_ns),
        .removed = disk->map_state == META_DISK_REMOVED,
        .primary = group->class_k == 0 || (group->primary >> position & 1) != 0,
    };
}

/* ---- refresh ---- */

static bool in_one_domain(const struct meta_disk *a, const struct meta_disk *b, unsigned level)
{
    return slice_equal(a->zone, b->zone) && (level < SPREAD_RACK || slice_equal(a->rack, b->rack)) &&
           (level < SPREAD_NODE || node_id_equal(a->node, b->node));
}

/* Failure domains get the number of the first disk that is in them. */
static struct spread_place place_of(const struct meta_cluster_reply *reply, uint32_t index)
{
    struct spread_place place;
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        uint32_t first = 0;
        while (first < index && !in_one_domain(&reply->disks[first], &reply->disks[index], level)) {
            first++;
        }
        place.domain[level] = (uint16_t)(first < SPREAD_DOMAINS_MAX ? first : SPREAD_DOMAINS_MAX - 1);
    }
    return place;
}

/* A node that the map does not list is one of before nodes were listed: it takes data. */
static bool node_takes(const struct meta_cluster_reply *reply, struct node_id id)
{
    const struct meta_node *node = meta_cluster_node(reply, id);
    return node == NULL || node->state == META_NODE_IN;
}

static bool node_leaves(const struct meta_cluster_reply *reply, struct node_id id)
{
    const struct meta_node *node = meta_cluster_node(reply, id);
    return node != NULL && (node->state == META_NODE_DRAINING || node->state == META_NODE_REMOVED_FOR_EVER);
}

/* Of all disks. It compares each with each: before the lock is taken, which every read and write needs. Give back by mem_free. */
static struct spread_place *places_of(const struct meta_cluster_reply *reply)
{
    struct spread_place *places = mem_alloc((reply->disk_count + 1) * sizeof(*places));
    for (uint32_t i = 0; i < reply->disk_count; i++) {
        places[i] = place_of(reply, i);
    }
    return places;
}

static void disk_install(struct cluster_map *map, const struct meta_cluster_reply *reply, uint32_t index,
                         struct spread_place place)
{
    const struct meta_disk *from = &reply->disks[index];
    struct map_disk *disk = disk_get(map, from->id);
    if (disk == NULL) {
        return;
    }
    disk->node = from->node;
    disk->map_state = from->state;
    disk->in_map = true;
    disk->place = place;
    disk->node_takes = node_takes(reply, from->node);
    disk->node_leaves = node_leaves(reply, from->node);
    if (disk->total_bytes == 0) {
        disk->total_bytes = from->bytes;
    }
    size_t len = from->path.len < sizeof(disk->path) - 1 ? from->path.len : sizeof(disk->path) - 1;
    if (len > 0) {
        memcpy(disk->path, from->path.data, len);
    }
    disk->path[len] = '\0';
}

static void group_install(struct cluster_map *map, const struct meta_group *from)
{
    if (map->group_count == GROUPS_MAX || from->disk_count > GROUP_DISKS_MAX || from->disk_count == 0) {
        return;
    }
    struct map_group group = { .id = from->id, .disk_count = from->disk_count, .writable = from->writable,
                               .class_k = from->class_k, .class_m = from->class_m, .primary = from->primary };
    for (unsigned i = 0; i < from->disk_count; i++) {
        struct map_disk *disk = disk_get(map, from->disks[i]);
        if (disk == NULL) {
            return;
        }
        group.disks[i] = (uint16_t)(disk - map->disks);
        group.places[i] = disk->place;
    }
    map->groups[map->group_count++] = group;
}

void cluster_map_install(struct cluster_map *map, const struct meta_cluster_reply *reply)
{
    if (map->config.on_nodes != NULL) {
        map->config.on_nodes(map->config.on_nodes_data, reply);
    }
    struct spread_place *places = places_of(reply);
    data_lock_take(&map->lock);
    if (reply->revision >= map->revision) {
        map->revision = reply->revision;
        for (unsigned i = 0; i < map->disk_count; i++) {
            map->disks[i].in_map = false;
        }
        for (unsigned i = 0; i < reply->disk_count; i++) {
            disk_install(map, reply, i, places[i]);
        }
        map->group_count = 0;
        for (unsigned i = 0; i < reply->group_count; i++) {
            group_install(map, &reply->groups[i]);
        }
    }
    data_lock_give(&map->lock);
    mem_free(places);
}

static void refresh_done(struct meta_op *op)
{
    struct cluster_map *map = op->data;
    enum errc status = op->status;
    if (status == ERRC_OK) {
        cluster_map_install(map, &op->cluster);
    }
    meta_op_release(op);
    arena_done(&map->arena);
    arena_init(&map->arena, CLUSTER_ARENA_BYTES);

    struct list waits;
    list_init(&waits);
    data_lock_take(&map->lock);
    map->refreshing = false;
    list_move_all(&waits, &map->refresh_waits);
    data_lock_give(&map->lock);
    for (struct list *node = list_pop(&waits); node != NULL; node = list_pop(&waits)) {
        struct refresh_wait *wait = container_of(node, struct refresh_wait, node);
        wait->done(wait->data, status);
        mem_free(wait);
    }
}

static void refresh_run(struct task *task)
{
    struct cluster_map *map = container_of(task, struct cluster_map, refresh_task);
    struct meta_query query = { .type = META_QRY_CLUSTER };
    meta_op_init(&map->op, map->config.executor, &map->arena, refresh_done, map);
    meta_query(map->config.meta, &map->op, &query);
}

static struct refresh_wait *wait_new(void (*done)(void *data, enum errc status), void *data)
{
    struct refresh_wait *wait = mem_zalloc(sizeof(*wait));
    wait->done = done;
    wait->data = data;
    return wait;
}

void cluster_map_quiesce(struct cluster_map *map, void (*done)(void *data, enum errc status), void *data)
{
    struct refresh_wait *wait = wait_new(done, data);
    data_lock_take(&map->lock);
    bool waits = map->refreshing;
    if (waits) {
        list_append(&map->refresh_waits, &wait->node);
    }
    data_lock_give(&map->lock);
    if (!waits) {
        mem_free(wait);
        done(data, ERRC_OK);
    }
}

void cluster_map_refresh(struct cluster_map *map, void (*done)(void *data, enum errc status), void *data)
{
    struct refresh_wait *wait = done != NULL ? wait_new(done, data) : NULL;
    data_lock_take(&map->lock);
    bool start = !map->refreshing;
    map->refreshing = true;
    if (wait != NULL) {
        list_append(&map->refresh_waits, &wait->node);
    }
    data_lock_give(&map->lock);
    if (start) {
        map->refresh_task.run = refresh_run;
        executor_post(map->config.executor, &map->refresh_task);
    }
}

unsigned cluster_map_group_count(struct cluster_map *map)
{
    data_lock_take(&map->lock);
    unsigned count = map->group_count;
    data_lock_give(&map->lock);
    return count;
}

uint64_t cluster_map_revision(struct cluster_map *map)
{
    data_lock_take(&map->lock);
    uint64_t revision = map->revision;
    data_lock_give(&map->lock);
    return revision;
}

/* ---- health ---- */

void cluster_map_disk_state(struct cluster_map *map, struct disk_id id, uint8_t state, uint64_t total_bytes,
                            uint64_t free_bytes)
{
    data_lock_take(&map->lock);
    struct map_disk *disk = disk_get(map, id);
    if (disk != NULL) {
        bool news = disk->state != state;
        disk->state = state;
        disk->told = true;
        if (state == DISK_ONLINE && news) {
            disk->failed_until_ns = 0;
            disk->full_until_ns = 0;
        }
        if (total_bytes > 0) {
            disk->total_bytes = total_bytes;
            disk->free_bytes = free_bytes;
        }
    }
    data_lock_give(&map->lock);
}

uint8_t cluster_map_disk_told(struct cluster_map *map, struct disk_id id)
{
    data_lock_take(&map->lock);
    const struct map_disk *disk = disk_find(map, id);
    uint8_t state = disk != NULL && disk->told ? disk->state : DISK_ABSENT;
    data_lock_give(&map->lock);
    return state;
}

bool cluster_map_disk_gone(struct cluster_map *map, struct disk_id id)
{
    data_lock_take(&map->lock);
    const struct map_disk *disk = disk_find(map, id);
    bool gone = disk != NULL && ((disk->told && disk->state != DISK_ONLINE && disk->state != DISK_FULL) ||
                                 disk->map_state == META_DISK_REMOVED);
    data_lock_give(&map->lock);
    return gone;
}

void cluster_map_disk_failed(struct cluster_map *map, struct disk_id id, enum errc status)
{
    uint64_t until_ns = env_now_ns(map->config.env) + FAILED_MS * UINT64_C(1000000);
    data_lock_take(&map->lock);
    struct map_disk *disk = disk_find(map, id);
    if (disk != NULL && status == ERRC_NO_SPACE) {
        disk->full_until_ns = until_ns;
    } else if (disk != NULL && (status == ERRC_IO || status == ERRC_UNAVAILABLE || status == ERRC_TIMEOUT)) {
        disk->failed_until_ns = until_ns;
    }
    data_lock_give(&map->lock);
}

/* ---- placement ---- */

static bool disk_avoided(const struct disk_id *avoid, unsigned avoid_count, struct disk_id id)
{
    for (unsigned i = 0; i < avoid_count; i++) {
        if (disk_id_equal(avoid[i], id)) {
            return true;
        }
    }
    return false;
}

/* avoid NULL: none. */
struct placing {
    const struct disk_id *avoid;
    unsigned avoid_count;
    bool full_too; /* as if the full ones had space */
};

static bool disk_taken(const struct map_disk *disk, uint64_t now_ns, const struct placing *placing)
{
    if (placing->full_too && disk_lacks_space(disk, now_ns)) {
        return true;
    }
    return disk_writable(disk, now_ns) && !disk_avoided(placing->avoid, placing->avoid_count, disk->id);
}

static struct placement_candidate candidate_of(const struct cluster_map *map, const struct map_group *group,
                                               uint64_t now_ns, const struct placing *placing)
{
    struct placement_candidate candidate = {
        .disk_count = group->disk_count, .writable = group->writable, .free_bytes_min = UINT64_MAX
    };
    for (unsigned i = 0; i < group->disk_count; i++) {
        const struct map_disk *disk = &map->disks[group->disks[i]];
        if (disk_taken(disk, now_ns, placing)) {
            candidate.usable |= UINT64_C(1) << i;
            bool counts = group->class_k == 0 || (group->primary >> i & 1) != 0;
            if (counts && disk->free_bytes < candidate.free_bytes_min) {
                candidate.free_bytes_min = disk->free_bytes;
            }
        }
    }
    if ((candidate.usable & group->primary) == 0 && group->class_k > 0) {
        candidate.free_bytes_min = 0; /* unknown: the last to be taken */
    }
    return candidate;
}

/* Does the group take extents of a class that is `width` wide and bears the loss of m? Groups without a class that have
 * another width come second (`wide`): only where no other gives a code. */
static bool group_takes(const struct map_group *group, uint8_t m, uint8_t width, unsigned wide)
{
    if (group->class_k > 0) {
        return group->class_k + group->class_m == width && group->class_m == m;
    }
    return wide > 0 || group->disk_count == width;
}

bool cluster_map_has_class(struct cluster_map *map, uint8_t k, uint8_t m)
{
    uint8_t width = (uint8_t)(k + m);
    bool has = false;
    data_lock_take(&map->lock);
    for (unsigned i = 0; i < map->group_count; i++) {
        has = has || group_takes(&map->groups[i], m, width, 1);
    }
    data_lock_give(&map->lock);
    return has;
}

static enum errc group_choose(struct cluster_map *map, struct extent_id id, uint8_t k, uint8_t m, uint8_t width,
                              const struct placing *placing, unsigned *ret_group, uint64_t *ret_usable)
{
    struct placement_candidate candidates[GROUPS_MAX];
    uint64_t now_ns = env_now_ns(map->config.env);
    enum errc rc = ERRC_UNAVAILABLE;
    for (unsigned wide = 0; wide < 2 && rc != ERRC_OK; wide++) {
        for (unsigned i = 0; i < map->group_count; i++) {
            candidates[i] = candidate_of(map, &map->groups[i], now_ns, placing);
            candidates[i].writable = candidates[i].writable && group_takes(&map->groups[i], m, width, wide);
        }
        rc = placement_choose(id, k, m, candidates, map->group_count, ret_group);
    }
    if (rc == ERRC_OK) {
        *ret_usable = candidates[*ret_group].usable;
    }
    return rc;
}

static struct placement_view view_of(const struct map_group *group)
{
    return (struct placement_view){ group->disk_count, group->class_m, group->primary, group->places };
}

static void positions_choose(const struct map_group *group, struct extent_id id, uint64_t usable,
                             struct cluster_map_placement *placed, uint8_t positions[CODE_SHARDS_MAX])
{
    unsigned shards = (unsigned)placed->k + placed->m;
    if (group->class_k == 0) {
        placement_positions(id, group->disk_count, usable, shards, positions);
        return;
    }
    struct placement_view view = view_of(group);
    placement_spread(id, &view, usable, shards, positions);
    view.m = placed->m;
    placed->crowded = (usable & group->primary) != group->primary && placement_crowded(&view, positions, shards) != 0;
}

/* Group and code: placed->k and ->m are what is asked for, and what fits. */
static enum errc code_choose(struct cluster_map *map, struct extent_id id, struct cluster_map_placement *placed, uint8_t width,
                             const struct placing *placing, unsigned *ret_group, uint64_t *ret_usable)
{
    enum errc rc = group_choose(map, id, placed->k, placed->m, width, placing, ret_group, ret_usable);
    if (rc == ERRC_OK) {
        rc = placement_code(placed->k, placed->m, (unsigned)__builtin_popcountll(*ret_usable), &placed->k, &placed->m);
    }
    return rc;
}

enum errc cluster_map_place(struct cluster_map *map, struct extent_id id, uint8_t k, uint8_t m, uint8_t width,
                            const struct disk_id *avoid, unsigned avoid_count, struct cluster_map_placement *ret)
{
    unsigned index = 0;
    uint64_t usable = 0;
    struct cluster_map_placement placed = { .k = k, .m = m };
    data_lock_take(&map->lock);
    enum errc rc = code_choose(map, id, &placed, width, &(struct placing){ avoid, avoid_count, false }, &index, &usable);
    if (rc != ERRC_OK) {
        struct placing full_too = { avoid, avoid_count, true };
        rc = code_choose(map, id, &placed, width, &full_too, &index, &usable) == ERRC_OK ? ERRC_NO_SPACE : rc;
    } else {
        const struct map_group *group = &map->groups[index];
        uint8_t positions[CODE_SHARDS_MAX];
        unsigned shards = (unsigned)placed.k + placed.m;
        positions_choose(group, id, usable, &placed, positions);
        placed.group = group->id;
        placed.revision = map->revision;
        placed.smaller = placed.k != k || placed.m != m;
        for (unsigned i = 0; i < shards; i++) {
            shard_fill(map, group, positions[i], env_now_ns(map->config.env), &placed.shards[i]);
        }
        *ret = placed;
    }
    data_lock_give(&map->lock);
    return rc;
}

/* Is what stands on the disk given up: it was removed, or is out and does not answer? */
static bool disk_lost(const struct map_disk *disk)
{
    bool serves = disk->state == DISK_ONLINE || disk->state == DISK_FULL;
    return disk->map_state == META_DISK_REMOVED || (disk->map_state == META_DISK_OUT && !serves);
}

static bool disk_leaves(const struct map_disk *disk)
{
    return disk->map_state != META_DISK_IN || disk->node_leaves;
}

struct cluster_map_stand cluster_map_stand(struct cluster_map *map, const struct extent *extent)
{
    struct cluster_map_stand stand = { 0 };
    data_lock_take(&map->lock);
    const struct map_group *group = group_find(map, extent->group);
    for (unsigned i = 0; group != NULL && i < (unsigned)extent->code.k + extent->code.m; i++) {
        unsigned at = extent->position[i];
        if (at >= group->disk_count) {
            continue;
        }
        const struct map_disk *disk = &map->disks[group->disks[at]];
        stand.lost |= (uint32_t)disk_lost(disk) << i;
        stand.leaving |= (uint32_t)(disk_leaves(disk) && !disk_lost(disk)) << i;
        stand.misplaced |= (uint32_t)(group->class_k > 0 && (group->primary >> at & 1) == 0) << i;
    }
    data_lock_give(&map->lock);
    return stand;
}

struct cluster_map_group_stand cluster_map_group_stand(struct cluster_map *map, uint32_t id)
{
    struct cluster_map_group_stand stand = { false, false, false };
    data_lock_take(&map->lock);
    const struct map_group *group = group_find(map, id);
    for (unsigned i = 0; group != NULL && i < group->disk_count; i++) {
        const struct map_disk *disk = &map->disks[group->disks[i]];
        stand.lost = stand.lost || disk_lost(disk);
        stand.leaving = stand.leaving || (disk_leaves(disk) && !disk_lost(disk));
        stand.misplaced = stand.misplaced || (group->class_k > 0 && (group->primary >> i & 1) == 0);
    }
    data_lock_give(&map->lock);
    return stand;
}

unsigned cluster_map_groups(struct cluster_map *map, uint32_t *ret_ids, unsigned limit)
{
    data_lock_take(&map->lock);
    unsigned count = map->group_count < limit ? map->group_count : limit;
    for (unsigned i = 0; i < count; i++) {
        ret_ids[i] = map->groups[i].id;
    }
    data_lock_give(&map->lock);
    return count;
}

uint64_t cluster_map_health(struct cluster_map *map)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    data_lock_take(&map->lock);
    for (unsigned i = 0; i < map->disk_count; i++) {
        const struct map_disk *disk = &map->disks[i];
        hash = (hash ^ (uint64_t)(disk->state << 8 | disk->map_state << 4 | disk->node_takes << 1 | disk->in_map)) *
               UINT64_C(0x100000001b3);
    }
    hash = (hash ^ map->revision) * UINT64_C(0x100000001b3);
    data_lock_give(&map->lock);
    return hash;
}

enum errc cluster_map_spread(struct cluster_map *map, const struct extent *extent, unsigned shards,
                             uint8_t ret_positions[CODE_SHARDS_MAX])
{
    data_lock_take(&map->lock);
    const struct map_group *group = group_find(map, extent->group);
    enum errc rc = group == NULL ? ERRC_NOT_FOUND : ERRC_OK;
    if (rc == ERRC_OK) {
        const struct placement_candidate candidate = candidate_of(map, group, env_now_ns(map->config.env), &(struct placing){ 0 });
        struct placement_view view = view_of(group);
        if ((unsigned)__builtin_popcountll(candidate.usable) < shards) {
            rc = ERRC_UNAVAILABLE;
        } else if (group->class_k > 0) {
            placement_spread(extent->id, &view, candidate.usable, shards, ret_positions);
        } else {
            placement_positions(extent->id, group->disk_count, candidate.usable, shards, ret_positions);
        }
    }
    data_lock_give(&map->lock);
    return rc;
}

/* Under the lock. Shards that stay hold their positions; the others get their own back or new ones. */
static void mend(struct cluster_map *map, const struct map_group *group, const struct extent *extent, uint32_t shards,
                 uint32_t *ret_moved, uint8_t ret_positions[CODE_SHARDS_MAX])
{
    const struct placement_candidate candidate = candidate_of(map, group, env_now_ns(map->config.env), &(struct placing){ 0 });
    struct placement_view view = view_of(group);
    uint8_t found[CODE_SHARDS_MAX];
    uint32_t moving = 0;
    uint64_t held = 0;
    *ret_moved = 0;
    for (unsigned i = 0; i < (unsigned)extent->code.k + extent->code.m; i++) {
        uint64_t own = UINT64_C(1) << extent->position[i];
        bool back = (candidate.usable & own) != 0 && ((group->primary & own) != 0 || (extent->missing >> i & 1) != 0);
        if ((shards >> i & 1) != 0 && !back) {
            moving |= 1u << i;
            continue;
        }
        held |= own;
        if ((shards >> i & 1) != 0) {
            ret_positions[i] = extent->position[i];
            *ret_moved |= 1u << i;
        }
    }
    view.m = extent->code.m;
    unsigned count = placement_mend(extent->id, &view, candidate.usable, held, (unsigned)__builtin_popcount(moving), found);
    for (unsigned i = 0; i < CODE_SHARDS_MAX && count > 0; i++) {
        if ((moving >> i & 1) != 0) {
            ret_positions[i] = found[--count];
            *ret_moved |= 1u << i;
        }
    }
}

enum errc cluster_map_mend(struct cluster_map *map, const struct extent *extent, uint32_t shards, uint32_t *ret_moved,
                           uint8_t ret_positions[CODE_SHARDS_MAX])
{
    data_lock_take(&map->lock);
    const struct map_group *group = group_find(map, extent->group);
    enum errc rc = group == NULL ? ERRC_NOT_FOUND : group->class_k == 0 ? ERRC_UNSUPPORTED : ERRC_OK;
    for (unsigned i = 0; rc == ERRC_OK && i < (unsigned)extent->code.k + extent->code.m; i++) {
        rc = extent->position[i] < group->disk_count ? ERRC_OK : ERRC_NOT_FOUND;
    }
    if (rc == ERRC_OK) {
        mend(map, group, extent, shards, ret_moved, ret_positions);
    }
    data_lock_give(&map->lock);
    return rc;
}

enum errc cluster_map_locate(struct cluster_map *map, const struct extent *extent,
                             struct cluster_map_shard ret_shards[CODE_SHARDS_MAX])
{
    uint64_t now_ns = env_now_ns(map->config.env);
    enum errc rc = ERRC_OK;
    data_lock_take(&map->lock);
    const struct map_group *group = group_find(map, extent->group);
    if (group == NULL) {
        rc = ERRC_NOT_FOUND;
    }
    for (unsigned i = 0; rc == ERRC_OK && i < (unsigned)extent->code.k + extent->code.m; i++) {
        if (extent->position[i] >= group->disk_count) {
            rc = ERRC_NOT_FOUND;
        } else {
            shard_fill(map, group, extent->position[i], now_ns, &ret_shards[i]);
        }
    }
    data_lock_give(&map->lock);
    return rc;
}

unsigned cluster_map_group(struct cluster_map *map, uint32_t group_id, struct cluster_map_shard *ret_positions)
{
    uint64_t now_ns = env_now_ns(map->config.env);
    data_lock_take(&map->lock);
    const struct map_group *group = group_find(map, group_id);
    unsigned count = group == NULL ? 0 : group->disk_count;
    for (unsigned i = 0; i < count; i++) {
        shard_fill(map, group, (uint8_t)i, now_ns, &ret_positions[i]);
    }
    data_lock_give(&map->lock);
    return count;
}

enum errc cluster_map_channel(struct cluster_map *map, struct disk_id id, struct rpc_channel **ret_channel)
{
    data_lock_take(&map->lock);
    const struct map_disk *disk = disk_find(map, id);
    struct rpc_channel *channel = disk == NULL ? NULL : disk_channel(map, disk);
    data_lock_give(&map->lock);
    if (channel == NULL) {
        return ERRC_NOT_FOUND;
    }
    *ret_channel = channel;
    return ERRC_OK;
}

/* Under the lock. */
static void disk_show(const struct map_disk *disk, struct cluster_map_disk *ret)
{
    *ret = (struct cluster_map_disk){
        .id = disk->id,
        .node = disk->node,
        .in_map = disk->in_map,
        .map_state = disk->in_map ? disk->map_state : META_DISK_REMOVED,
        .state = disk->state,
        .total_bytes = disk->total_bytes,
        .free_bytes = disk->free_bytes,
    };
    (void)snprintf(ret->path, sizeof(ret->path), "%s", disk->path); /* same size */
}

bool cluster_map_disk_find(struct cluster_map *map, struct disk_id id, struct cluster_map_disk *ret)
{
    data_lock_take(&map->lock);
    const struct map_disk *disk = disk_find(map, id);
    if (disk != NULL) {
        disk_show(disk, ret);
    }
    data_lock_give(&map->lock);
    return disk != NULL;
}

unsigned cluster_map_disks(struct cluster_map *map, struct cluster_map_disk *ret_disks, unsigned limit)
{
    data_lock_take(&map->lock);
    unsigned count = map->disk_count;
    for (unsigned i = 0; i < count && i < limit; i++) {
        disk_show(&map->disks[i], &ret_disks[i]);
    }
    data_lock_give(&map->lock);
    return count;
}
