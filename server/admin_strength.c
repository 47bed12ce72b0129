#include "server/admin_strength.h"

#include "server/server.h"
#include "server/server_steps.h"

#include <string.h>

#define WALK_ARENA_BYTES (4u << 20)
#define WALK_ROWS 1000

bool strength_disk_up(struct server *server, struct disk_id id)
{
    enum disk_state state = server_disk_state(server, id);
    return state == DISK_ONLINE || state == DISK_FULL;
}

static bool all_disks_up(struct server *server, const struct meta_cluster_reply *map)
{
    for (uint32_t i = 0; i < map->disk_count; i++) {
        if (map->disks[i].state != META_DISK_REMOVED && !strength_disk_up(server, map->disks[i].id)) {
            return false;
        }
    }
    return true;
}

/* The disk was replaced, and the sweep that marks what the lost one held has not come to this extent yet. */
bool strength_awaits_sweep(const struct meta_cluster_reply *map, const struct extent *extent, unsigned shard)
{
    for (uint32_t i = 0; i < map->sweep_count; i++) {
        const struct meta_sweep *sweep = &map->sweeps[i];
        if (sweep->group == extent->group && sweep->position == extent->position[shard] &&
            memcmp(extent->id.bytes, sweep->from.bytes, ID_BYTES) > 0) {
            return true;
        }
    }
    return false;
}

/* Bits of the positions whose disks are up. */
uint64_t strength_group_up(struct server *server, const struct meta_group *group)
{
    uint64_t up = 0;
    for (unsigned i = 0; i < group->disk_count; i++) {
        up |= (strength_disk_up(server, group->disks[i]) ? UINT64_C(1) : 0) << i;
    }
    return up;
}

void strength_add(struct strength *strength, const struct meta_cluster_reply *map, uint64_t up, const struct extent *extent)
{
    uint64_t stripes = meta_extent_stripes(extent);
    unsigned away = 0;
    for (unsigned i = 0; i < (unsigned)extent->code.k + extent->code.m; i++) {
        bool there = (extent->missing >> i & 1) == 0 && extent->position[i] < GROUP_DISKS_MAX &&
                     (up >> extent->position[i] & 1) != 0 && !strength_awaits_sweep(map, extent, i);
        away += there ? 0 : 1;
    }
    strength->extents++;
    strength->stripes += stripes;
    if (away > extent->code.m) {
        strength->stripes_unreadable += stripes;
    } else if (away > 0) {
        strength->stripes_missing[away - 1] += stripes;
    } else if (meta_extent_smaller(extent)) {
        strength->stripes_smaller += stripes;
    } else {
        strength->extents_full++;
        strength->stripes_full += stripes;
    }
}

enum errc strength_walk(struct server *server, const struct meta_group *group, strength_extent *see, void *data,
                        struct error *e)
{
    struct meta_query query = { .type = META_QRY_GROUP_EXTENTS, .from = group->id, .limit = WALK_ROWS };
    enum errc rc = ERRC_OK;
    for (bool more = true; more && rc == ERRC_OK;) {
        struct arena arena;
        struct meta_op op;
        arena_init(&arena, WALK_ARENA_BYTES);
        rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
        more = rc == ERRC_OK && op.repair.count > 0;
        uint64_t up = more ? strength_group_up(server, group) : 0;
        for (uint32_t i = 0; more && i < op.repair.count; i++) {
            see(data, group, up, &op.repair.extents[i]);
            query.extent = op.repair.extents[i].id;
        }
        meta_op_release(&op);
        arena_done(&arena);
    }
    return rc;
}

struct count_all {
    const struct meta_cluster_reply *map;
    struct strength *strength;
};

static void on_extent(void *data, const struct meta_group *group, uint64_t up, const struct extent *extent)
{
    const struct count_all *all = data;
    (void)group;
    strength_add(all->strength, all->map, up, extent);
}

/* Of nothing but whole extents: no need to look at each of them. */
static enum errc strength_of_whole(struct server *server, struct strength *strength, bool *ret_whole, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_STATUS };
    arena_init(&arena, WALK_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    const struct meta_status *status = &op.service_status;
    *ret_whole = rc == ERRC_OK && status->stripes_degraded == 0;
    if (*ret_whole) {
        *strength = (struct strength){ .extents = status->extents, .extents_full = status->extents,
                                       .stripes = status->stripes, .stripes_full = status->stripes };
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

/* The map is asked first: a sweep that it does not show any more has marked what the counters are asked for next. */
enum errc strength_count(struct server *server, struct strength *ret_strength, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    struct strength strength = { .extents = 0 };
    bool whole = false;
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    struct count_all all = { &op.cluster, &strength };
    arena_init(&arena, WALK_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    if (rc == ERRC_OK && op.cluster.sweep_count == 0 && all_disks_up(server, &op.cluster)) {
        rc = strength_of_whole(server, &strength, &whole, e);
    }
    for (uint32_t i = 0; rc == ERRC_OK && !whole && i < op.cluster.group_count; i++) {
        rc = strength_walk(server, &op.cluster.groups[i], on_extent, &all, e);
    }
    meta_op_release(&op);
    arena_done(&arena);
    if (rc == ERRC_OK) {
        *ret_strength = strength;
    }
    return rc;
}
