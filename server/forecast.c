#include "server/forecast.h"

#include "common/base/mem.h"
#include "server/cluster_layout.h"
#include "server/json_set.h"
#include "server/server.h"
#include "server/server_background.h"

/* Scores of a layout's groups that take data, in its order. */
struct scores {
    struct layout_score of[LAYOUT_GROUPS_MAX];
    bool taken[LAYOUT_GROUPS_MAX];
    unsigned count;
};

static void scores_take(struct scores *scores, const struct cluster_layout *layout)
{
    struct spread_place *places = mem_zalloc((layout->disk_count + 1) * sizeof(*places));
    scores->count = layout_places(layout->disks, layout->disk_count, places) ? layout->group_count : 0;
    for (unsigned i = 0; i < scores->count; i++) {
        scores->taken[i] = layout->groups[i].taken;
        scores->of[i] = layout_score(layout->disks, places, layout->disk_count, &layout->groups[i]);
    }
    mem_free(places);
}

struct level_effect {
    unsigned exposed_before, exposed_after; /* groups that do not bear the loss of one domain */
    unsigned most_before, most_after;       /* shards of one extent in one domain, of any group */
    unsigned worse, better;                 /* groups with more, and fewer, in one domain than before */
};

static struct level_effect level_effect(const struct scores *before, const struct scores *after, unsigned level)
{
    struct level_effect effect = { 0 };
    for (unsigned i = 0; i < after->count; i++) {
        unsigned now = i < before->count && before->taken[i] ? before->of[i].most[level] : 0; /* 0: a new group */
        unsigned then = after->taken[i] ? after->of[i].most[level] : 0;
        effect.exposed_before += now > 0 ? before->of[i].exposed >> level & 1 : 0;
        effect.exposed_after += then > 0 ? after->of[i].exposed >> level & 1 : 0;
        effect.most_before = now > effect.most_before ? now : effect.most_before;
        effect.most_after = then > effect.most_after ? then : effect.most_after;
        effect.worse += now > 0 && then > now ? 1 : 0;
        effect.better += now > 0 && then > 0 && then < now ? 1 : 0;
    }
    return effect;
}

static json_t *effect_json(const struct scores *before, const struct scores *after)
{
    static const char *const names[SPREAD_LEVELS] = { [SPREAD_ZONE] = "zone", [SPREAD_RACK] = "rack", [SPREAD_NODE] = "node" };
    json_t *json = json_object();
    json_t *strengthens = json_array();
    json_t *breaks = json_array();
    json_number_set(json, "groups", after->count);
    for (unsigned level = 0; level < SPREAD_LEVELS; level++) {
        const struct level_effect effect = level_effect(before, after, level);
        (void)json_object_set_new(json, names[level],
                                  json_pack("{s:i,s:i,s:i,s:i,s:i,s:i}", "exposed_before", effect.exposed_before, "exposed_after",
                                            effect.exposed_after, "most_before", effect.most_before, "most_after", effect.most_after,
                                            "groups_worse", effect.worse, "groups_better", effect.better));
        if (effect.exposed_after > effect.exposed_before || effect.worse > 0) {
            (void)json_array_append_new(breaks, json_string(names[level]));
        }
        if (effect.exposed_after < effect.exposed_before || effect.better > 0) {
            (void)json_array_append_new(strengthens, json_string(names[level]));
        }
    }
    (void)json_object_set_new(json, "strengthens", strengthens);
    (void)json_object_set_new(json, "breaks", breaks);
    return json;
}

json_t *forecast_domains(struct server *server, const struct meta_cluster_reply *map, const struct disk_id *leaving, unsigned count)
{
    if (server->cluster == NULL) {
        return json_null();
    }
    struct scores *before = mem_zalloc(sizeof(*before));
    struct scores *after = mem_zalloc(sizeof(*after));
    struct cluster_layout layout;
    struct layout_report report;
    struct error e = ERROR_INIT;
    cluster_layout_init(&layout, server, map);
    scores_take(before, &layout);
    for (unsigned i = 0; i < layout.disk_count; i++) {
        for (unsigned d = 0; d < count; d++) {
            layout.disks[i].standing = disk_id_equal(layout.disks[i].id, leaving[d]) ? LAYOUT_LEAVES : layout.disks[i].standing;
        }
    }
    bool planned = cluster_layout_plan(&layout, &report, &e) == ERRC_OK; /* groups keep their order, new ones come behind */
    if (planned) {
        scores_take(after, &layout);
    }
    json_t *json = planned ? effect_json(before, after) : json_null();
    cluster_layout_done(&layout);
    mem_free(before);
    mem_free(after);
    return json;
}

void forecast_add(struct server *server, const struct meta_cluster_reply *map, const struct disk_id *leaving, unsigned count,
                  uint64_t bytes, json_t *json)
{
    struct background_progress progress;
    background_progress(atomic_load(&server->background), &progress);
    (void)json_object_set_new(json, "eta_seconds", json_eta(bytes, progress.moved_bytes_per_second_seen));
    (void)json_object_set_new(json, "failure_domains", count > 0 ? forecast_domains(server, map, leaving, count) : json_null());
}
