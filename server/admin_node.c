/*
 * Admin verbs that change what a storage node of the cluster is for: drain, maintenance, in, remove.
 *
 * The state stands in the map, so that it outlives this voter. Placement takes no disk of a node that drains, and the walk of
 * repair (gateway/data/repair_walk.h) copies its shards to others; how many are left is counted from the records.
 */
#include "common/base/mem.h"
#include "server/admin_api.h"
#include "server/cluster.h"
#include "server/cluster_watch.h"
#include "server/forecast.h"
#include "server/held.h"
#include "server/node_find.h"

#include <string.h>

/* The disks of a node, those that were removed too; how many. */
static unsigned disks_of(const struct meta_cluster_reply *map, struct node_id node, struct disk_id ret_disks[NODE_DISKS_MAX])
{
    unsigned count = 0;
    for (uint32_t i = 0; i < map->disk_count && count < NODE_DISKS_MAX; i++) {
        if (node_id_equal(map->disks[i].node, node)) {
            ret_disks[count++] = map->disks[i].id;
        }
    }
    return count;
}

static const char *const states[] = { [META_NODE_IN] = "in", [META_NODE_DRAINING] = "draining",
                                      [META_NODE_MAINTENANCE] = "maintenance", [META_NODE_REMOVED_FOR_EVER] = "removed" };

static uint8_t state_of(const char *text)
{
    for (uint8_t i = META_NODE_IN; text != NULL && i <= META_NODE_REMOVED_FOR_EVER; i++) {
        if (states[i] != NULL && strcmp(states[i], text) == 0) {
            return i;
        }
    }
    return 0;
}

/* ---- rules ---- */

/* May the node be in that state? A status of HTTP, 200 if so. */
static unsigned change_check(struct server *server, const struct held *held, const struct meta_node *node, uint8_t state,
                             struct error *e)
{
    bool silent = cluster_node_silent(server, node->id);
    if (state == META_NODE_REMOVED_FOR_EVER && held->shards > 0) {
        (void)error_set(e, ERRC_CONFLICT, "%llu shards of %llu extents stand on its disks: 'cairn node drain' first, or wait until "
                        "they are rebuilt elsewhere", (unsigned long long)held->shards, (unsigned long long)held->extents);
        return 409;
    }
    if (state == META_NODE_REMOVED_FOR_EVER && !silent) {
        return server_fail(e, 409, "it is running: stop it first");
    }
    if (state == META_NODE_MAINTENANCE && held->unsafe > 0) {
        (void)error_set(e, ERRC_CONFLICT, "%llu extents cannot be read without it: wait until 'cairn status' shows nothing "
                        "degraded", (unsigned long long)held->unsafe);
        return 409;
    }
    return state == META_NODE_DRAINING ? places_suffice(server, held, e) : 200;
}

static enum errc disks_retire(struct server *server, const struct meta_cluster_reply *map, struct node_id node, struct error *e)
{
    enum errc rc = ERRC_OK;
    for (uint32_t i = 0; rc == ERRC_OK && i < map->disk_count; i++) {
        if (node_id_equal(map->disks[i].node, node) && map->disks[i].state != META_DISK_REMOVED) {
            rc = cluster_disk_state_put(server, &map->disks[i], META_DISK_REMOVED, e);
        }
    }
    return rc;
}

static enum errc state_put(struct server *server, const struct meta_node *node, uint8_t state, struct error *e)
{
    struct meta_command command = { .type = META_CMD_NODE_PUT, .node_put.node = *node };
    struct meta_op op;
    command.node_put.node.state = state;
    enum errc rc = wait_propose(&server->meta, server->completions, &op, &command, e);
    if (rc == ERRC_OK && op.result.outcome != META_OK) {
        rc = error_set(e, ERRC_CONFLICT, "the node's state was not taken: outcome %u", op.result.outcome);
    }
    meta_op_release(&op);
    return rc;
}

static unsigned change(const struct admin_query *query, const struct meta_cluster_reply *map, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    const json_t *body = query->body;
    const char *name = json_string_value(json_object_get(body, "node"));
    uint8_t state = state_of(json_string_value(json_object_get(body, "state")));
    bool dry_run = json_is_true(json_object_get(body, "dry_run"));
    const struct meta_node *node = NULL;
    if (name == NULL || state == 0) {
        return server_fail(e, 400, "name the node, and its state: in, draining, maintenance or removed");
    }
    unsigned status = node_find(map, name, &node, e);
    if (status != 200) {
        return status;
    }
    struct disk_id disks[NODE_DISKS_MAX];
    struct held held = { .map = map, .disks = disks, .disk_count = disks_of(map, node->id, disks) };
    if (held_count(server, &held, e) != ERRC_OK) {
        return 503;
    }
    status = change_check(server, &held, node, state, e);
    if (status != 200) {
        return status;
    }
    enum errc rc = ERRC_OK;
    if (!dry_run) {
        rc = state == META_NODE_REMOVED_FOR_EVER ? disks_retire(server, map, node->id, e) : ERRC_OK;
        rc = rc == ERRC_OK ? state_put(server, node, state, e) : rc;
        cluster_topology_changed(server);
    }
    if (rc != ERRC_OK) {
        return 503;
    }
    bool moves = state == META_NODE_DRAINING;
    bool leaves = moves || state == META_NODE_REMOVED_FOR_EVER;
    char id[ID_HEX_BYTES];
    id_hex(node->id.bytes, id);
    *ret_json = json_pack("{s:s,s:s,s:b,s:I,s:I,s:I}", "node", id, "state", states[state], "dry_run", dry_run ? 1 : 0,
                          "shards_on_it", (json_int_t)held.shards, "shards_to_move", (json_int_t)(moves ? held.shards : 0),
                          "bytes_to_move", (json_int_t)(moves ? held.bytes : 0));
    if (dry_run) {
        forecast_add(server, map, disks, leaves ? held.disk_count : 0, moves ? held.bytes : 0, *ret_json);
    }
    return 200;
}

unsigned admin_node_state(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    if (query->server->cluster == NULL) {
        return server_fail(e, 409, "this server is no cluster: it is one process");
    }
    return admin_map_run(query, change, ret_json, e);
}
