/*
 *   map -> disks with their standing, groups, classes -> layout_plan() -> GROUP_PUT of each that changed
 */
#include "server/cluster_layout.h"

#include "common/base/mem.h"
#include "common/io/log.h"
#include "server/cluster.h"

#include <string.h>

#define BYTES_UNKNOWN (UINT64_C(1) << 30) /* the weight of a disk whose size was never told */

uint8_t cluster_layout_standing(struct server *server, const struct meta_cluster_reply *map, const struct meta_disk *disk)
{
    const struct meta_node *node = meta_cluster_node(map, disk->node);
    if (disk->state != META_DISK_IN ||
        (node != NULL && (node->state == META_NODE_DRAINING || node->state == META_NODE_REMOVED_FOR_EVER))) {
        return LAYOUT_LEAVES;
    }
    bool heard = !cluster_node_silent(server, disk->node) && !cluster_map_disk_gone(server->map, disk->id);
    return heard && (node == NULL || node->state == META_NODE_IN) ? LAYOUT_TAKES : LAYOUT_KEEPS;
}

static void disks_fill(struct cluster_layout *layout, struct server *server)
{
    const struct meta_cluster_reply *map = layout->map;
    layout->disk_count = map->disk_count;
    layout->disks = mem_zalloc((map->disk_count + 1) * sizeof(*layout->disks));
    for (uint32_t i = 0; i < map->disk_count; i++) {
        const struct meta_disk *disk = &map->disks[i];
        layout->disks[i] = (struct layout_disk){
            .id = disk->id, .node = disk->node, .zone = disk->zone, .rack = disk->rack,
            .bytes = disk->bytes > 0 ? disk->bytes : BYTES_UNKNOWN, .standing = cluster_layout_standing(server, map, disk),
        };
    }
}

/* False: there is no room. */
static bool class_add(struct cluster_layout *layout, struct layout_class class)
{
    for (unsigned i = 0; i < layout->class_count; i++) {
        if (layout->classes[i].k == class.k && layout->classes[i].m == class.m) {
            return true;
        }
    }
    bool room = layout->class_count < sizeof(layout->classes) / sizeof(layout->classes[0]);
    if (room) {
        layout->classes[layout->class_count++] = class;
    }
    return room;
}

/* False: the map has no such disk. */
static bool disk_index(const struct meta_cluster_reply *map, struct disk_id id, uint16_t *ret_index)
{
    for (uint32_t i = 0; i < map->disk_count; i++) {
        if (disk_id_equal(map->disks[i].id, id)) {
            *ret_index = (uint16_t)i;
            return true;
        }
    }
    return false;
}

/* Positions of removed disks may get another disk: what stood there is lost, and marked by the sweep that follows. */
static bool group_take(struct cluster_layout *layout, const struct meta_group *from, uint8_t k, uint8_t m)
{
    struct layout_group group = { .id = from->id, .epoch = from->epoch, .class_k = from->class_k, .class_m = from->class_m,
                                  .count = from->disk_count, .primary = from->primary, .taken = from->writable };
    for (unsigned i = 0; i < from->disk_count; i++) {
        if (!disk_index(layout->map, from->disks[i], &group.disks[i])) {
            return false;
        }
        bool removed = layout->map->disks[group.disks[i]].state == META_DISK_REMOVED;
        group.occupied |= (uint64_t)!removed << i;
    }
    if (from->class_k == 0) {
        if (from->disk_count != k + m) {
            return false;
        }
        group.class_k = k;
        group.class_m = m;
        group.primary = (UINT64_C(1) << from->disk_count) - 1;
        group.changed = true;
    }
    layout->groups[layout->group_count++] = group;
    return true;
}

void cluster_layout_init(struct cluster_layout *layout, struct server *server, const struct meta_cluster_reply *map)
{
    *layout = (struct cluster_layout){ .map = map };
    disks_fill(layout, server);
    layout->groups = mem_zalloc(LAYOUT_GROUPS_MAX * sizeof(*layout->groups));
    (void)class_add(layout, (struct layout_class){ server->class_k, server->class_m }); /* the first: there is room */
    for (uint32_t i = 0; i < map->group_count && layout->group_count < LAYOUT_GROUPS_MAX; i++) {
        struct layout_class class = { map->groups[i].class_k, map->groups[i].class_m };
        if (class.k > 0 && !class_add(layout, class)) {
            LOG_WARN(log_event("class_left_alone"), log_u64("k", class.k), log_u64("m", class.m)); /* cluster_layout_class() refuses more */
        }
        if (!group_take(layout, &map->groups[i], server->class_k, server->class_m)) {
            LOG_DEBUG(log_event("group_left_alone"), log_u64("group", map->groups[i].id));
        }
    }
}

void cluster_layout_done(struct cluster_layout *layout)
{
    mem_free(layout->disks);
    mem_free(layout->groups);
}

enum errc cluster_layout_plan(struct cluster_layout *layout, struct layout_report *ret_report, struct error *e)
{
    return layout_plan(layout->disks, layout->disk_count, layout->classes, layout->class_count, layout->groups,
                       &layout->group_count, LAYOUT_GROUPS_MAX, ret_report, e);
}

/* Is there a disk that takes data in no group, or one that leaves among the primaries, or a class without groups? */
static bool plan_wanted(const struct cluster_layout *layout)
{
    bool classed[sizeof(layout->classes) / sizeof(layout->classes[0])] = { false };
    bool *grouped = mem_zalloc((layout->disk_count + 1) * sizeof(*grouped));
    bool wanted = false;
    for (unsigned i = 0; i < layout->group_count; i++) {
        const struct layout_group *group = &layout->groups[i];
        wanted = wanted || group->changed;
        for (unsigned c = 0; c < layout->class_count; c++) {
            classed[c] = classed[c] || (layout->classes[c].k == group->class_k && layout->classes[c].m == group->class_m);
        }
        for (unsigned p = 0; p < group->count; p++) {
            bool leaves = layout->disks[group->disks[p]].standing == LAYOUT_LEAVES;
            grouped[group->disks[p]] = true;
            wanted = wanted || (leaves && (group->primary >> p & 1) != 0);
        }
    }
    for (unsigned i = 0; i < layout->disk_count; i++) {
        wanted = wanted || (layout->disks[i].standing == LAYOUT_TAKES && !grouped[i]);
    }
    for (unsigned c = 0; c < layout->class_count; c++) {
        wanted = wanted || !classed[c];
    }
    mem_free(grouped);
    return wanted;
}

static enum errc group_put(struct server *server, const struct cluster_layout *layout, const struct layout_group *group,
                           uint32_t id, struct error *e)
{
    struct meta_op op;
    struct meta_command command = { .type = META_CMD_GROUP_PUT };
    struct meta_group *put = &command.group_put.group;
    *put = (struct meta_group){ .id = id, .epoch = group->epoch, .disk_count = group->count, .writable = group->taken,
                                .class_k = group->class_k, .class_m = group->class_m, .primary = group->primary };
    for (unsigned i = 0; i < group->count; i++) {
        put->disks[i] = layout->disks[group->disks[i]].id;
    }
    enum errc rc = wait_propose(&server->meta, server->completions, &op, &command, e);
    if (rc == ERRC_OK && op.result.outcome != META_OK) {
        rc = error_set(e, ERRC_CONFLICT, "a placement group was not taken: outcome %u", op.result.outcome);
    }
    meta_op_release(&op);
    return rc;
}

static enum errc groups_put(struct server *server, const struct cluster_layout *layout, unsigned *ret_changed, struct error *e)
{
    uint32_t next_id = 1;
    enum errc rc = ERRC_OK;
    for (uint32_t i = 0; i < layout->map->group_count; i++) {
        next_id = layout->map->groups[i].id >= next_id ? layout->map->groups[i].id + 1 : next_id;
    }
    for (unsigned i = 0; i < layout->group_count && rc == ERRC_OK; i++) {
        const struct layout_group *group = &layout->groups[i];
        if (group->changed || group->id == 0) {
            rc = group_put(server, layout, group, group->id != 0 ? group->id : next_id++, e);
            *ret_changed += rc == ERRC_OK ? 1 : 0;
        }
    }
    return rc;
}

static void planned_log(const struct layout_report *report, unsigned changed)
{
    if (changed > 0) {
        LOG_INFO(log_event("groups_planned"), log_u64("put", changed), log_u64("new", report->groups_new),
                 log_u64("primaries", report->primaries), log_u64("moved", report->moved),
                 log_u64("moved_min", report->moved_min), log_u64("over", report->over), log_u64("under", report->under));
    }
}

enum errc cluster_layout_settle(struct server *server, const struct meta_cluster_reply *map, bool always, unsigned *ret_changed,
                                struct error *e)
{
    struct cluster_layout layout;
    struct layout_report report = { 0 };
    enum errc rc = ERRC_OK;
    *ret_changed = 0;
    cluster_layout_init(&layout, server, map);
    if (always || plan_wanted(&layout)) {
        rc = cluster_layout_plan(&layout, &report, e);
        rc = rc == ERRC_OK ? groups_put(server, &layout, ret_changed, e) : rc;
    }
    planned_log(&report, *ret_changed);
    cluster_layout_done(&layout);
    return rc;
}

static bool class_has_groups(const struct cluster_layout *layout, struct layout_class class)
{
    for (unsigned i = 0; i < layout->group_count; i++) {
        if (layout->groups[i].class_k == class.k && layout->groups[i].class_m == class.m) {
            return true;
        }
    }
    return false;
}

enum errc cluster_layout_class(struct server *server, const struct meta_cluster_reply *map, struct layout_class class, struct error *e)
{
    struct cluster_layout layout;
    struct layout_report report = { 0 };
    unsigned changed = 0;
    enum errc rc = ERRC_OK;
    cluster_layout_init(&layout, server, map);
    if (!class_has_groups(&layout, class)) {
        if (!class_add(&layout, class)) {
            rc = error_set(e, ERRC_LIMIT, "a cluster can have %zu codes at once, those of earlier classes among them",
                           sizeof(layout.classes) / sizeof(layout.classes[0]));
        }
        rc = rc == ERRC_OK ? cluster_layout_plan(&layout, &report, e) : rc;
        if (rc == ERRC_OK && !class_has_groups(&layout, class)) {
            rc = error_set(e, ERRC_UNAVAILABLE, "%u+%u needs %u disks that take data", class.k, class.m, class.k + class.m);
        }
        rc = rc == ERRC_OK ? groups_put(server, &layout, &changed, e) : rc;
        planned_log(&report, changed);
    }
    cluster_layout_done(&layout);
    return rc;
}
