#include "server/cluster_watch.h"

#include "common/base/hex.h"
#include "common/io/log.h"
#include "server/admin_strength.h"
#include "server/cluster.h"

#include <string.h>

#define HELD_LOG_NS UINT64_C(60000000000)

static bool serves(struct server *server, struct disk_id id)
{
    uint8_t told = cluster_map_disk_told(server->map, id);
    return told == DISK_ONLINE || told == DISK_FULL;
}

enum errc cluster_disk_state_put(struct server *server, const struct meta_disk *disk, uint8_t state, struct error *e)
{
    struct meta_op op;
    struct meta_command command = { .type = META_CMD_DISK_PUT, .disk_put.disk = *disk };
    command.disk_put.disk.state = state;
    command.disk_put.disk.replaces = (struct disk_id){ { 0 } }; /* done when it was put first */
    enum errc rc = wait_propose(&server->meta, server->completions, &op, &command, e);
    if (rc == ERRC_OK && op.result.outcome != META_OK) {
        rc = error_set(e, ERRC_CONFLICT, "the state of a disk was not taken: outcome %u", op.result.outcome);
    }
    meta_op_release(&op);
    return rc;
}

/* ---- disks that are away ---- */

/* Since when the disk is out of service; now, if it was not before. */
static uint64_t away_since(struct cluster *cluster, struct disk_id id, uint64_t now_ns)
{
    for (unsigned i = 0; i < cluster->away_count; i++) {
        if (disk_id_equal(cluster->away[i].disk, id)) {
            return cluster->away[i].since_ns;
        }
    }
    if (cluster->away_count < NODE_DISKS_MAX) {
        cluster->away[cluster->away_count++] = (struct cluster_away){ id, now_ns };
    }
    return now_ns;
}

static void away_forget(struct cluster *cluster, struct disk_id id)
{
    for (unsigned i = 0; i < cluster->away_count; i++) {
        if (disk_id_equal(cluster->away[i].disk, id)) {
            cluster->away[i] = cluster->away[--cluster->away_count];
            return;
        }
    }
}

bool cluster_watch_many_silent(struct server *server, const struct meta_cluster_reply *map)
{
    unsigned nodes = 0;
    unsigned silent = 0;
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct meta_node *node = &map->nodes[i];
        if (node->role == ROLE_STORAGE_NODE && node->state != META_NODE_REMOVED_FOR_EVER) {
            nodes++;
            silent += cluster_node_silent(server, node->id) ? 1 : 0;
        }
    }
    return silent * 2 >= nodes;
}

static void held_log(struct server *server)
{
    struct cluster *cluster = server->cluster;
    uint64_t now_ns = env_now_ns(server->env);
    if (cluster->held_logged_ns == 0 || now_ns - cluster->held_logged_ns >= HELD_LOG_NS) {
        cluster->held_logged_ns = now_ns;
        LOG_WARN(log_event("repair_held"), log_text("reason", "half of the storage nodes or more are silent"),
                 log_text("note", "'cairn repair run' gives their disks up all the same"));
    }
}

static unsigned state_change(struct server *server, const struct meta_disk *disk, uint8_t state, const char *event)
{
    struct error e = ERROR_INIT;
    char id[ID_HEX_BYTES];
    id_hex(disk->id.bytes, id);
    if (cluster_disk_state_put(server, disk, state, &e) != ERRC_OK) {
        LOG_WARN(log_event("topology_not_changed"), log_text("what", event), log_error_of(&e));
        return 0;
    }
    LOG_WARN(log_event(event), log_text("disk", id), log_slice("path", disk->path));
    return 1;
}

/* A disk that was never told of since this voter's start is away since the first look. */
struct cluster_watch_view cluster_watch_see(struct server *server, const struct meta_cluster_reply *map,
                                            const struct meta_disk *disk)
{
    const struct meta_node *node = meta_cluster_node(map, disk->node);
    uint64_t now_ns = env_now_ns(server->env);
    uint64_t wait_s = server->options.repair_wait_s;
    if (disk->state == META_DISK_REMOVED || serves(server, disk->id)) {
        return (struct cluster_watch_view){ .away = false };
    }
    struct cluster_watch_view view = {
        .away = true,
        .given_up = disk->state == META_DISK_OUT,
        .maintenance = node != NULL && node->state == META_NODE_MAINTENANCE,
        .away_s = (now_ns - away_since(server->cluster, disk->id, now_ns)) / UINT64_C(1000000000),
    };
    view.left_s = !view.given_up && !view.maintenance && wait_s > view.away_s ? wait_s - view.away_s : 0;
    return view;
}

/* A voter that begins to lead counts nobody as silent for a while: that is no news of a node. */
static bool heard_now(struct server *server, struct node_id node)
{
    char version[IDENTITY_TEXT_BYTES];
    return cluster_heard_age(server, node, version) < CLUSTER_SILENT_NS;
}

static unsigned disk_watch(struct server *server, const struct meta_cluster_reply *map, const struct meta_disk *disk, bool at_once)
{
    struct cluster_watch_view view = cluster_watch_see(server, map, disk);
    if (!view.away) {
        away_forget(server->cluster, disk->id);
        return disk->state == META_DISK_OUT && heard_now(server, disk->node) ? state_change(server, disk, META_DISK_IN, "disk_back") : 0;
    }
    if ((disk->state != META_DISK_IN && disk->state != META_DISK_DRAINING) || view.maintenance || (!at_once && view.left_s > 0)) {
        return 0;
    }
    if (!at_once && cluster_watch_many_silent(server, map)) {
        held_log(server);
        return 0;
    }
    return state_change(server, disk, META_DISK_OUT, "disk_given_up");
}

unsigned cluster_watch_disks(struct server *server, const struct meta_cluster_reply *map, bool at_once)
{
    unsigned changed = 0;
    for (uint32_t i = 0; i < map->disk_count; i++) {
        if (map->disks[i].state != META_DISK_REMOVED) {
            changed += disk_watch(server, map, &map->disks[i], at_once);
        } else {
            away_forget(server->cluster, map->disks[i].id);
        }
    }
    return changed;
}

/* ---- an empty disk in place of one that was known ---- */

struct replaceable {
    const struct meta_cluster_reply *map;
    struct disk_id old;
    uint64_t needed; /* extents whose shard there may be needed */
};

static void on_extent(void *data, const struct meta_group *group, uint64_t up, const struct extent *extent)
{
    struct replaceable *look = data;
    unsigned away = 0;
    bool concerned = false;
    for (unsigned i = 0; i < (unsigned)extent->code.k + extent->code.m; i++) {
        unsigned at = extent->position[i];
        bool old = at < group->disk_count && disk_id_equal(group->disks[at], look->old);
        bool there = !old && (extent->missing >> i & 1) == 0 && at < GROUP_DISKS_MAX && (up >> at & 1) != 0 &&
                     !strength_awaits_sweep(look->map, extent, i);
        away += there ? 0 : 1;
        concerned = concerned || old;
    }
    look->needed += concerned && away > extent->code.m;
}

enum errc cluster_watch_replaceable(struct server *server, const struct meta_cluster_reply *map, struct disk_id old,
                                    struct error *e)
{
    struct replaceable look = { .map = map, .old = old };
    enum errc rc = ERRC_OK;
    for (uint32_t i = 0; i < map->group_count && rc == ERRC_OK && look.needed == 0; i++) {
        const struct meta_group *group = &map->groups[i];
        bool concerned = false;
        for (unsigned p = 0; p < group->disk_count; p++) {
            concerned = concerned || disk_id_equal(group->disks[p], old);
        }
        rc = concerned ? strength_walk(server, group, on_extent, &look, e) : ERRC_OK;
    }
    if (rc == ERRC_OK && look.needed > 0) {
        rc = error_set(e, ERRC_CONFLICT, "too few other shards of %llu extents are in service: the lost disk may be needed",
                       (unsigned long long)look.needed);
    }
    return rc;
}
