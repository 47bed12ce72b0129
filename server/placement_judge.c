#include "server/placement_judge.h"

#include "common/base/mem.h"
#include "common/cluster/layout.h"

/* What is being emptied is no place for data, even while it is up. */
static bool takes_data(const struct meta_cluster_reply *map, const struct meta_disk *disk)
{
    const struct meta_node *node = meta_cluster_node(map, disk->node);
    return disk->state == META_DISK_IN && (node == NULL || node->state == META_NODE_IN);
}

void placement_judge_init(struct placement_judge *judge, const struct meta_cluster_reply *map,
                          bool (*is_up)(void *data, struct disk_id disk), void *data)
{
    struct layout_disk *disks = mem_zalloc((map->disk_count + 1) * sizeof(*disks));
    *judge = (struct placement_judge){ .map = map };
    judge->places = mem_zalloc((map->disk_count + 1) * sizeof(*judge->places));
    judge->up = mem_zalloc((map->disk_count + 1) * sizeof(*judge->up));
    for (uint32_t i = 0; i < map->disk_count; i++) {
        const struct meta_disk *disk = &map->disks[i];
        disks[i] = (struct layout_disk){ .id = disk->id, .node = disk->node, .zone = disk->zone, .rack = disk->rack };
    }
    bool told_apart = layout_places(disks, map->disk_count, judge->places);
    for (uint32_t i = 0; told_apart && i < map->disk_count; i++) {
        if (takes_data(map, &map->disks[i]) && is_up(data, map->disks[i].id)) {
            judge->up[judge->up_count++] = judge->places[i];
        }
    }
    mem_free(disks);
}

void placement_judge_done(struct placement_judge *judge)
{
    mem_free(judge->places);
    mem_free(judge->up);
}

static const struct spread_place *place_find(const struct placement_judge *judge, struct disk_id id)
{
    for (uint32_t i = 0; i < judge->map->disk_count; i++) {
        if (disk_id_equal(judge->map->disks[i].id, id)) {
            return &judge->places[i];
        }
    }
    return NULL;
}

enum placement_verdict placement_judge_extent(struct placement_judge *judge, const struct meta_group *group,
                                              const struct extent *extent)
{
    unsigned shards = (unsigned)extent->code.k + extent->code.m;
    unsigned m = extent->code.m;
    struct spread_taken taken;
    if (judge->up_count < shards || shards > CODE_SHARDS_MAX || m > CODE_M_MAX) {
        return PLACEMENT_GOOD; /* there is no better one now */
    }
    struct spread_caps *caps = &judge->caps[shards][m];
    if (!judge->known[shards][m]) {
        *caps = spread_caps_all(judge->up, judge->up_count, shards, m);
        judge->known[shards][m] = true;
    }
    spread_begin(&taken);
    for (unsigned i = 0; i < shards; i++) {
        const struct spread_place *place = extent->position[i] < group->disk_count
                                               ? place_find(judge, group->disks[extent->position[i]]) : NULL;
        if (place != NULL) {
            spread_take(&taken, place);
        }
    }
    enum placement_verdict verdict = PLACEMENT_GOOD;
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        unsigned most = spread_most(&taken, (enum spread_level)level);
        if (most > caps->cap[level]) {
            verdict = most > m && caps->cap[level] <= m ? PLACEMENT_CROWDED
                      : verdict == PLACEMENT_GOOD       ? PLACEMENT_DEGRADED
                                                        : verdict;
        }
    }
    return verdict;
}
