/* `cairn durability`: how many stripes stand at which strength, where, and when they were last verified; each class by itself. */
#include "common/base/mem.h"
#include "server/admin_api.h"
#include "server/admin_strength.h"
#include "server/json_set.h"
#include "server/placement_judge.h"
#include "server/server.h"

#include <stdio.h>

#define MAP_ARENA_BYTES (4u << 20)
#define CLASSES_MAX (CODE_K_MAX * (CODE_M_MAX + 1))

struct class_count {
    uint8_t k, m;
    struct strength strength;
    uint64_t stripes_degraded_placement, stripes_crowded;
};

struct durability {
    const struct meta_cluster_reply *map;
    struct placement_judge judge;
    struct class_count all;
    struct class_count classes[CLASSES_MAX];
    unsigned class_count;
};

static struct class_count *class_find(struct durability *d, const struct extent *extent)
{
    for (unsigned i = 0; i < d->class_count; i++) {
        if (d->classes[i].k == extent->class_k && d->classes[i].m == extent->class_m) {
            return &d->classes[i];
        }
    }
    if (d->class_count == CLASSES_MAX) {
        return NULL; /* more than there are codes: cannot be */
    }
    struct class_count *added = &d->classes[d->class_count++];
    *added = (struct class_count){ .k = extent->class_k, .m = extent->class_m };
    return added;
}

static void class_add(struct class_count *count, const struct durability *d, uint64_t up, enum placement_verdict verdict,
                      const struct extent *extent)
{
    uint64_t stripes = meta_extent_stripes(extent);
    strength_add(&count->strength, d->map, up, extent);
    count->stripes_degraded_placement += verdict != PLACEMENT_GOOD ? stripes : 0;
    count->stripes_crowded += verdict == PLACEMENT_CROWDED ? stripes : 0;
}

static void on_extent(void *data, const struct meta_group *group, uint64_t up, const struct extent *extent)
{
    struct durability *d = data;
    enum placement_verdict verdict = placement_judge_extent(&d->judge, group, extent);
    struct class_count *class = class_find(d, extent);
    class_add(&d->all, d, up, verdict, extent);
    if (class != NULL) {
        class_add(class, d, up, verdict, extent);
    }
}

static bool is_up(void *server, struct disk_id disk)
{
    return strength_disk_up(server, disk);
}

static enum errc count_all(struct server *server, struct durability *d, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    arena_init(&arena, MAP_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    if (rc == ERRC_OK) {
        d->map = &op.cluster;
        placement_judge_init(&d->judge, &op.cluster, is_up, server);
        for (uint32_t i = 0; rc == ERRC_OK && i < op.cluster.group_count; i++) {
            rc = strength_walk(server, &op.cluster.groups[i], on_extent, d, e);
        }
        placement_judge_done(&d->judge);
        d->map = NULL;
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

static void class_json(const struct class_count *count, json_t *json)
{
    json_number_set(json, "extents", count->strength.extents);
    json_number_set(json, "stripes", count->strength.stripes);
    json_number_set(json, "degraded_stripes", count->strength.stripes - count->strength.stripes_full);
    (void)json_object_set_new(json, "stripes_by_strength", strength_json(&count->strength));
    json_number_set(json, "degraded_placement_stripes", count->stripes_degraded_placement);
    json_number_set(json, "crowded_stripes", count->stripes_crowded);
}

/* The oldest of the disks' last complete scrub passes; null while one has none, since then nothing is known of it. */
static void verification_json(const json_t *disks, json_t *json)
{
    json_int_t oldest = -1;
    uint64_t away = 0;
    uint64_t never = 0;
    size_t index;
    json_t *disk;
    json_array_foreach(disks, index, disk) {
        const char *state = json_string_value(json_object_get(disk, "state"));
        json_t *age = json_object_get(disk, "scrub_age_seconds");
        if (state == NULL || (strcmp(state, "online") != 0 && strcmp(state, "full") != 0)) {
            away++;
        } else if (!json_is_integer(age)) {
            never++;
        } else if (json_integer_value(age) > oldest) {
            oldest = json_integer_value(age);
        }
    }
    json_number_set(json, "disks", json_array_size(disks));
    json_number_set(json, "disks_away", away);
    json_number_set(json, "disks_never_verified", never);
    (void)json_object_set_new(json, "oldest_verification_seconds",
                              never > 0 || away > 0 || oldest < 0 ? json_null() : json_integer(oldest));
}

static json_t *durability_json(const struct durability *d)
{
    json_t *json = json_object();
    json_t *classes = json_array();
    const struct strength *all = &d->all.strength;
    bool whole = all->stripes == all->stripes_full && d->all.stripes_degraded_placement == 0;
    (void)json_object_set_new(json, "state", json_string(all->stripes_unreadable > 0 ? "unreadable data"
                                                         : whole                     ? "ok"
                                                                                     : "degraded"));
    class_json(&d->all, json);
    for (unsigned i = 0; i < d->class_count; i++) {
        char name[16];
        json_t *class = json_object();
        (void)snprintf(name, sizeof(name), "%u+%u", d->classes[i].k, d->classes[i].m);
        (void)json_object_set_new(class, "class", json_string(name));
        class_json(&d->classes[i], class);
        (void)json_array_append_new(classes, class);
    }
    (void)json_object_set_new(json, "classes", classes);
    return json;
}

unsigned admin_durability(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct durability *d = mem_zalloc(sizeof(*d));
    json_t *disks = NULL;
    enum errc rc = count_all(query->server, d, e);
    unsigned status = rc == ERRC_OK ? admin_disks(query, &disks, e) : 503;
    if (status == 200) {
        *ret_json = durability_json(d);
        verification_json(json_object_get(disks, "disks"), *ret_json);
    }
    json_decref(disks);
    mem_free(d);
    return status;
}
