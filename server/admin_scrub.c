/*
 * Admin verbs of the scrub, which reads every shard of every disk and checks it, pass after pass: how far it is, and begin anew.
 *
 * Its findings need no verb: they go to repair (server_node.c, damage_report.h). In a cluster the voter that leads asks every storage
 * node that is not silent.
 */
#include "common/base/mem.h"
#include "server/admin_api.h"
#include "server/cluster.h"
#include "server/json_set.h"
#include "server/server_steps.h"

#include <string.h>

#define SCRUB_NS UINT64_C(5000000000) /* a node that hangs, and is not silent yet, may not hold the admin port for long */

/* ---- of this process's disks ---- */

static json_t *disk_json(struct server *server, const struct node_scrub_view *view, const struct data_dir *dir)
{
    uint64_t now_ms = env_wall_ms(server->env);
    json_t *json = json_object();
    json_id_set(json, "id", dir->disk.bytes);
    (void)json_object_set_new(json, "path", json_string(dir->path));
    (void)json_object_set_new(json, "age_seconds",
                              view->pass_wall_ms == 0 ? json_null()
                                                      : json_integer(now_ms > view->pass_wall_ms
                                                                         ? (json_int_t)((now_ms - view->pass_wall_ms) / 1000) : 0));
    json_number_set(json, "shards_checked", view->shards);
    json_number_set(json, "bytes_checked", view->bytes);
    json_number_set(json, "shards", view->shards_there);
    json_number_set(json, "damaged_shards", view->damaged);
    return json;
}

/* Every disk in service, or the one whose id begins with `only`; begun anew where that is asked. */
static void disks_add(struct server *server, const char *only, bool start, const char *node, json_t *disks)
{
    (void)pthread_mutex_lock(&server->dirs_lock);
    for (unsigned i = 0; i < server->dirs.count; i++) {
        const struct data_dir *dir = &server->dirs.dirs[i];
        struct node_scrub_view view;
        enum disk_state state = node_disk_state(server->node, dir->disk);
        char id[ID_HEX_BYTES];
        id_hex(dir->disk.bytes, id);
        bool wanted = (state == DISK_ONLINE || state == DISK_FULL) && (only == NULL || strncmp(id, only, strlen(only)) == 0);
        if (wanted && (!start || node_scrub_again(server->node, dir->disk) == ERRC_OK) &&
            node_scrub_view(server->node, dir->disk, &view) == ERRC_OK) {
            json_t *disk = disk_json(server, &view, dir);
            (void)json_object_set_new(disk, "node", node != NULL ? json_string(node) : json_null());
            (void)json_array_append_new(disks, disk);
        }
    }
    (void)pthread_mutex_unlock(&server->dirs_lock);
}

unsigned node_verb_scrub(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    json_t *disks = json_array();
    (void)e;
    disks_add(server, json_string_value(json_object_get(query->body, "disk")), json_is_true(json_object_get(query->body, "start")),
              server->cluster->identity.name, disks);
    *ret_json = json_pack("{s:o}", "disks", disks);
    return 200;
}

/* ---- of all ---- */

static bool wants(struct server *server, const struct meta_node *node)
{
    return node->role == ROLE_STORAGE_NODE && node->state != META_NODE_REMOVED_FOR_EVER && !cluster_node_silent(server, node->id);
}

static unsigned nodes_ask(const struct admin_query *query, const struct meta_cluster_reply *map, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    json_t *disks = json_array();
    unsigned status = 200;
    for (uint32_t i = 0; i < map->node_count && status == 200; i++) {
        json_t *answer = NULL;
        if (wants(server, &map->nodes[i])) {
            status = node_verb_ask(server, map->nodes[i].id, "/node/v1/scrub", query->body, SCRUB_NS, &answer, e);
            (void)json_array_extend(disks, json_object_get(answer, "disks"));
            json_decref(answer);
        }
    }
    if (status != 200) {
        json_decref(disks);
        return status;
    }
    *ret_json = json_pack("{s:o}", "disks", disks);
    return 200;
}

static unsigned run(const struct admin_query *query, json_t *body, json_t **ret_json, struct error *e)
{
    struct admin_query own = *query;
    unsigned status = 200;
    own.body = body;
    if (query->server->cluster != NULL) {
        status = admin_map_run(&own, nodes_ask, ret_json, e);
    } else {
        json_t *disks = json_array();
        disks_add(query->server, json_string_value(json_object_get(body, "disk")), json_is_true(json_object_get(body, "start")), NULL,
                  disks);
        *ret_json = json_pack("{s:o}", "disks", disks);
    }
    json_decref(body);
    return status;
}

unsigned admin_scrub_show(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    return run(query, json_pack("{s:b}", "start", 0), ret_json, e);
}

unsigned admin_scrub_start(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    const char *disk = json_string_value(json_object_get(query->body, "disk"));
    json_t *body = disk != NULL ? json_pack("{s:b,s:s}", "start", 1, "disk", disk) : json_pack("{s:b}", "start", 1);
    unsigned status = run(query, body, ret_json, e);
    if (status == 200 && json_array_size(json_object_get(*ret_json, "disks")) == 0) {
        json_decref(*ret_json);
        *ret_json = NULL;
        return server_fail(e, 404, "no disk in service is called so: see 'cairn disk list'");
    }
    return status;
}
