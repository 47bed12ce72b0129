#include "server/held.h"

#include "server/admin_strength.h"
#include "server/cluster_layout.h"
#include "server/server.h"

static bool is_of(const struct held *held, struct disk_id id)
{
    for (unsigned i = 0; i < held->disk_count; i++) {
        if (disk_id_equal(held->disks[i], id)) {
            return true;
        }
    }
    return false;
}

static void on_extent(void *data, const struct meta_group *group, uint64_t up, const struct extent *extent)
{
    struct held *held = data;
    unsigned here = 0;
    unsigned others = 0;
    for (unsigned i = 0; i < (unsigned)extent->code.k + extent->code.m; i++) {
        unsigned at = extent->position[i];
        bool missing = (extent->missing >> i & 1) != 0 || at >= group->disk_count;
        bool own = !missing && is_of(held, group->disks[at]);
        here += own ? 1 : 0;
        others += !own && !missing && (up >> at & 1) != 0 ? 1 : 0;
    }
    unsigned wide = (unsigned)(extent->class_k > extent->code.k ? extent->class_k : extent->code.k) + extent->class_m;
    held->widest = here > 0 && wide > held->widest ? wide : held->widest;
    held->extents += here > 0;
    held->shards += here;
    held->bytes += here * ((extent->stored_bytes + extent->code.k - 1) / extent->code.k);
    held->unsafe += here > 0 && others < extent->code.k;
}

enum errc held_count(struct server *server, struct held *held, struct error *e)
{
    enum errc rc = ERRC_OK;
    for (uint32_t i = 0; rc == ERRC_OK && i < held->map->group_count; i++) {
        const struct meta_group *group = &held->map->groups[i];
        bool concerned = false;
        for (unsigned p = 0; p < group->disk_count; p++) {
            concerned = concerned || is_of(held, group->disks[p]);
        }
        rc = concerned ? strength_walk(server, group, on_extent, held, e) : ERRC_OK;
    }
    return rc;
}

unsigned places_suffice(struct server *server, const struct held *held, struct error *e)
{
    unsigned width = (unsigned)server->class_k + server->class_m;
    unsigned places = 0;
    width = held->widest > width ? held->widest : width;
    for (uint32_t i = 0; i < held->map->disk_count; i++) {
        const struct meta_disk *disk = &held->map->disks[i];
        bool takes = cluster_layout_standing(server, held->map, disk) == LAYOUT_TAKES;
        places += takes && !is_of(held, disk->id) ? 1 : 0;
    }
    if (places < width) {
        (void)error_set(e, ERRC_CONFLICT, "%u disks would be left, and the code of what stands there, or of new buckets, has %u shards: add disks first",
                        places, width);
        return 409;
    }
    return 200;
}
