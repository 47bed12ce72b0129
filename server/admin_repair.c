/*
 * Admin verbs for the work that nobody waits for: repair status, pause, resume, run; rebalance status, plan, start, stop.
 *
 * What is said stands in the metadata (server/upkeep.h); what is to be done is counted from the records, as it is now.
 */
#include "common/base/mem.h"
#include "server/admin_api.h"
#include "server/admin_strength.h"
#include "server/cluster.h"
#include "server/cluster_watch.h"
#include "server/forecast.h"
#include "server/held.h"
#include "server/json_set.h"
#include "server/server_background.h"

#include <string.h>

enum flag { REPAIR_PAUSED, REBALANCE_STOPPED };

/* Sets a flag for good, and tells the workers of this process at once; those of other voters hear of it within seconds. */
static enum errc say(struct server *server, enum flag flag, bool value, struct error *e)
{
    struct upkeep upkeep;
    enum errc rc = upkeep_get(server, &upkeep, e);
    if (rc == ERRC_OK) {
        *(flag == REPAIR_PAUSED ? &upkeep.repair_paused : &upkeep.rebalance_stopped) = value;
        rc = upkeep_put(server, upkeep, e);
    }
    if (rc == ERRC_OK) {
        background_upkeep(atomic_load(&server->background), upkeep);
    }
    return rc;
}

/* ---- repair ---- */

static json_t *away_json(struct server *server, const struct meta_cluster_reply *map)
{
    json_t *disks = json_array();
    for (uint32_t i = 0; server->cluster != NULL && i < map->disk_count; i++) {
        const struct meta_disk *disk = &map->disks[i];
        const struct meta_node *node = meta_cluster_node(map, disk->node);
        struct cluster_watch_view view = cluster_watch_see(server, map, disk);
        char id[ID_HEX_BYTES];
        if (!view.away) {
            continue;
        }
        id_hex(disk->id.bytes, id);
        json_t *json = json_object();
        (void)json_object_set_new(json, "id", json_string(id));
        (void)json_object_set_new(json, "node", node != NULL ? json_stringn((const char *)node->name.data, node->name.len) : json_null());
        (void)json_object_set_new(json, "path", json_stringn((const char *)disk->path.data, disk->path.len));
        (void)json_object_set_new(json, "given_up", json_boolean(view.given_up));
        (void)json_object_set_new(json, "maintenance", json_boolean(view.maintenance));
        json_number_set(json, "away_seconds", view.away_s);
        (void)json_object_set_new(json, "given_up_in_seconds", view.given_up || view.maintenance ? json_null()
                                                                                           : json_integer((json_int_t)view.left_s));
        (void)json_array_append_new(disks, json);
    }
    return disks;
}

static unsigned repair_show(const struct admin_query *query, const struct meta_cluster_reply *map, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    struct upkeep upkeep;
    struct strength strength;
    struct background_progress progress;
    if (upkeep_get(server, &upkeep, e) != ERRC_OK || strength_count(server, &strength, e) != ERRC_OK) {
        return 503;
    }
    background_progress(atomic_load(&server->background), &progress);
    uint64_t waiting = strength.extents - strength.extents_full;
    json_t *json = json_object();
    (void)json_object_set_new(json, "paused", json_boolean(upkeep.repair_paused));
    (void)json_object_set_new(json, "held", json_boolean(server->cluster != NULL && cluster_watch_many_silent(server, map)));
    json_number_set(json, "queued_extents", waiting);
    (void)json_object_set_new(json, "eta_seconds", json_eta(waiting, progress.extents_per_second));
    json_number_set(json, "rebuilt_extents", progress.rebuilt_extents);
    json_number_set(json, "rebuilt_bytes", progress.rebuilt_bytes);
    json_number_set(json, "failed_extents", progress.failed_extents);
    (void)json_object_set_new(json, "stripes_by_strength", strength_json(&strength));
    (void)json_object_set_new(json, "disks_away", away_json(server, map));
    *ret_json = json;
    return 200;
}

unsigned admin_repair_show(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    return admin_map_run(query, repair_show, ret_json, e);
}

/* The disks that `repair run` gives up now; how many. */
static unsigned disks_to_give_up(struct server *server, const struct meta_cluster_reply *map, struct disk_id ret_disks[NODE_DISKS_MAX])
{
    unsigned count = 0;
    for (uint32_t i = 0; server->cluster != NULL && i < map->disk_count && count < NODE_DISKS_MAX; i++) {
        struct cluster_watch_view view = cluster_watch_see(server, map, &map->disks[i]);
        if (view.away && !view.given_up && !view.maintenance) {
            ret_disks[count++] = map->disks[i].id;
        }
    }
    return count;
}

static unsigned repair_run(const struct admin_query *query, const struct meta_cluster_reply *map, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    struct upkeep upkeep;
    struct disk_id disks[NODE_DISKS_MAX];
    struct held held = { .map = map, .disks = disks, .disk_count = disks_to_give_up(server, map, disks) };
    bool dry_run = json_is_true(json_object_get(query->body, "dry_run"));
    if (upkeep_get(server, &upkeep, e) != ERRC_OK || held_count(server, &held, e) != ERRC_OK) {
        return 503;
    }
    if (upkeep.repair_paused) {
        return server_fail(e, 409, "repair is paused: 'cairn repair resume' first");
    }
    if (!dry_run && held.disk_count > 0) {
        unsigned given_up = cluster_watch_disks(server, map, true);
        cluster_topology_changed(server);
        if (given_up < held.disk_count) {
            return server_fail(e, 503, "not every disk that is away could be given up: see the log, and try again");
        }
    }
    if (!dry_run) {
        background_look(atomic_load(&server->background));
    }
    *ret_json = json_pack("{s:s,s:b,s:I,s:I,s:I,s:I}", "action", "run", "dry_run", dry_run ? 1 : 0, "disks_given_up",
                          (json_int_t)held.disk_count, "shards_to_rebuild", (json_int_t)held.shards, "bytes_to_rebuild",
                          (json_int_t)held.bytes, "unreadable_extents", (json_int_t)held.unsafe);
    if (dry_run) {
        forecast_add(server, map, disks, held.disk_count, held.bytes, *ret_json);
    }
    return 200;
}

unsigned admin_repair_change(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    const char *action = json_string_value(json_object_get(query->body, "action"));
    if (action != NULL && strcmp(action, "run") == 0) {
        return admin_map_run(query, repair_run, ret_json, e);
    }
    if (action == NULL || (strcmp(action, "pause") != 0 && strcmp(action, "resume") != 0)) {
        return server_fail(e, 400, "name the action: pause, resume or run");
    }
    bool pause = strcmp(action, "pause") == 0;
    if (say(query->server, REPAIR_PAUSED, pause, e) != ERRC_OK) {
        return 503;
    }
    *ret_json = json_pack("{s:s,s:b}", "action", action, "paused", pause ? 1 : 0);
    return 200;
}

/* ---- rebalancing ---- */

/* Shards that stand well, and where they should not in the long run. */
struct misplaced {
    struct server *server;
    uint64_t extents, shards, bytes;
};

static void on_extent(void *data, const struct meta_group *group, uint64_t up, const struct extent *extent)
{
    struct misplaced *misplaced = data;
    (void)group;
    (void)up;
    struct cluster_map_stand stand = cluster_map_stand(misplaced->server->map, extent);
    uint32_t bits = stand.misplaced & ~stand.lost & ~stand.leaving & ~extent->missing;
    unsigned shards = (unsigned)__builtin_popcount(bits);
    misplaced->extents += shards > 0;
    misplaced->shards += shards;
    misplaced->bytes += shards * ((extent->stored_bytes + extent->code.k - 1) / extent->code.k);
}

static unsigned rebalance_show(const struct admin_query *query, const struct meta_cluster_reply *map, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    struct misplaced misplaced = { .server = server };
    struct upkeep upkeep;
    struct background_progress progress;
    if (upkeep_get(server, &upkeep, e) != ERRC_OK) {
        return 503;
    }
    for (uint32_t i = 0; i < map->group_count; i++) {
        if (cluster_map_group_stand(server->map, map->groups[i].id).misplaced &&
            strength_walk(server, &map->groups[i], on_extent, &misplaced, e) != ERRC_OK) {
            return 503;
        }
    }
    background_progress(atomic_load(&server->background), &progress);
    json_t *json = json_object();
    (void)json_object_set_new(json, "stopped", json_boolean(upkeep.rebalance_stopped));
    (void)json_object_set_new(json, "paused", json_boolean(upkeep.repair_paused));
    json_number_set(json, "extents_to_move", misplaced.extents);
    json_number_set(json, "shards_to_move", misplaced.shards);
    json_number_set(json, "bytes_to_move", misplaced.bytes);
    (void)json_object_set_new(json, "eta_seconds", json_eta(misplaced.bytes, progress.moved_bytes_per_second));
    json_number_set(json, "moved_shards", progress.walk.moved_shards);
    json_number_set(json, "moved_bytes", progress.walk.moved_bytes);
    json_number_set(json, "failed_extents", progress.walk.failed);
    (void)json_object_set_new(json, "failure_domains", forecast_domains(server, map, NULL, 0));
    *ret_json = json;
    return 200;
}

unsigned admin_rebalance_show(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    if (query->server->cluster == NULL) {
        return server_fail(e, 409, "this server is no cluster: its disks are written to evenly, and nothing is moved between them");
    }
    return admin_map_run(query, rebalance_show, ret_json, e);
}

unsigned admin_rebalance_change(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    const char *action = json_string_value(json_object_get(query->body, "action"));
    if (query->server->cluster == NULL) {
        return server_fail(e, 409, "this server is no cluster: its disks are written to evenly, and nothing is moved between them");
    }
    if (action == NULL || (strcmp(action, "start") != 0 && strcmp(action, "stop") != 0)) {
        return server_fail(e, 400, "name the action: start or stop");
    }
    bool stop = strcmp(action, "stop") == 0;
    if (say(query->server, REBALANCE_STOPPED, stop, e) != ERRC_OK) {
        return 503;
    }
    *ret_json = json_pack("{s:s,s:b}", "action", action, "stopped", stop ? 1 : 0);
    return 200;
}
