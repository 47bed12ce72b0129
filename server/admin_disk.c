/*
 * Admin verbs that change which disks there are: add, replace, drain, in, remove.
 *
 * In a cluster the voter that leads judges them, asks the node where it has to open a directory (node_verb.c), and then changes the
 * map, in one job of admin_jobs: what nodes tell meanwhile is looked at afterwards (cluster_topology.c). A crash between leaves a
 * formatted disk at the node that the map does not have; it joins as a new one with the next heartbeats, and takes over what
 * stood at its path.
 */
#include "common/base/mem.h"
#include "common/io/log.h"
#include "server/admin_api.h"
#include "server/cluster.h"
#include "server/cluster_watch.h"
#include "server/dir_change.h"
#include "server/forecast.h"
#include "server/held.h"
#include "server/json_set.h"
#include "server/node_find.h"
#include "server/server_steps.h"

#include <stdlib.h>
#include <string.h>

#define ADD_NS UINT64_C(60000000000) /* a disk that joins is waited for by its node for up to 30 s */
#define ID_TEXT_MIN 8 /* so much of an id names a disk */

/* ---- cairn server ---- */

static unsigned replace_here(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    const char *path = json_string_value(json_object_get(query->body, "path"));
    const char *for_disk = json_string_value(json_object_get(query->body, "for"));
    struct disk_id added;
    struct disk_id replaced;
    if (json_is_true(json_object_get(query->body, "dry_run"))) {
        return server_fail(e, 400, "--dry-run is for clusters");
    }
    if (path == NULL || path[0] != '/') {
        return server_fail(e, 400, "name an absolute path");
    }
    char *real = realpath(path, NULL);
    enum errc rc = server_disk_replace(query->server, real != NULL ? real : path, for_disk, &added, &replaced, e);
    free(real);
    if (rc != ERRC_OK) {
        return rc == ERRC_UNAVAILABLE || rc == ERRC_TIMEOUT ? 503 : 409;
    }
    *ret_json = json_object();
    json_id_set(*ret_json, "id", added.bytes);
    (void)json_object_set_new(*ret_json, "path", json_string(path));
    json_id_set(*ret_json, "replaced", replaced.bytes);
    return 200;
}

/* ---- of a cluster ---- */

static bool serves(struct server *server, struct disk_id id)
{
    enum disk_state state = server_disk_state(server, id);
    return state == DISK_ONLINE || state == DISK_FULL;
}

/* The one disk whose id begins so, or that is at "NODE:PATH". */
static unsigned disk_named(const struct meta_cluster_reply *map, const char *text, const struct meta_disk **ret_disk, struct error *e)
{
    const char *colon = text != NULL ? strchr(text, ':') : NULL;
    unsigned count = 0;
    if (text == NULL || (colon == NULL && strlen(text) < ID_TEXT_MIN)) {
        return server_fail(e, 400, "name the disk: its id, or 8 digits of it at least, or NODE:PATH");
    }
    for (uint32_t i = 0; i < map->disk_count; i++) {
        const struct meta_disk *disk = &map->disks[i];
        const struct meta_node *node = meta_cluster_node(map, disk->node);
        char id[ID_HEX_BYTES];
        id_hex(disk->id.bytes, id);
        bool at = colon != NULL && node != NULL && slice_equal(node->name, slice_of(text, (size_t)(colon - text))) &&
                  slice_equal_str(disk->path, colon + 1);
        if (disk->state != META_DISK_REMOVED && (at || strncmp(id, text, strlen(text)) == 0)) {
            *ret_disk = disk;
            count++;
        }
    }
    if (count != 1) {
        (void)error_set(e, ERRC_NOT_FOUND, count == 0 ? "there is no disk '%s': see 'cairn disk list'" : "several disks are called '%s'", text);
        return count == 0 ? 404 : 409;
    }
    return 200;
}

/* Has the node open the directory; fills the disk as the map is to have it. */
static unsigned disk_open(struct server *server, const struct meta_cluster_reply *map, const struct meta_node *node,
                          struct slice path, struct meta_disk *ret_disk, struct error *e)
{
    json_t *answer = NULL;
    json_t *known = json_array();
    for (uint32_t i = 0; i < map->disk_count; i++) {
        char id[ID_HEX_BYTES];
        id_hex(map->disks[i].id.bytes, id);
        (void)json_array_append_new(known, json_string(id));
    }
    json_t *body = json_pack("{s:s%,s:o}", "path", (const char *)path.data, path.len, "known", known);
    unsigned status = node_verb_ask(server, node->id, "/node/v1/disks", body, ADD_NS, &answer, e);
    const char *id = json_string_value(json_object_get(answer, "id"));
    *ret_disk = (struct meta_disk){ .node = node->id, .state = META_DISK_IN, .path = path, .zone = node->zone, .rack = node->rack,
                                     .bytes = (uint64_t)json_integer_value(json_object_get(answer, "bytes")) };
    if (status == 200 && (id == NULL || !id_from_hex(id, strlen(id), ret_disk->id.bytes))) {
        status = server_fail(e, 503, "the node's answer makes no sense");
    }
    json_decref(answer);
    json_decref(body);
    return status;
}

static unsigned disk_put(struct server *server, const struct meta_disk *disk, struct error *e)
{
    const struct meta_command command = { .type = META_CMD_DISK_PUT, .disk_put.disk = *disk };
    struct meta_op op;
    enum errc rc = wait_propose(&server->meta, server->completions, &op, &command, e);
    if (rc == ERRC_OK && op.result.outcome != META_OK) {
        rc = error_set(e, ERRC_CONFLICT, "the disk was not taken into the map: outcome %u", op.result.outcome);
    }
    meta_op_release(&op);
    cluster_topology_changed(server);
    return rc == ERRC_OK ? 200 : rc == ERRC_CONFLICT ? 409 : 503;
}

static unsigned node_ready(struct server *server, const struct meta_node *node, struct error *e)
{
    if (node == NULL || node->state == META_NODE_REMOVED_FOR_EVER) {
        return server_fail(e, 409, "the disk's node is not in the cluster");
    }
    return cluster_node_silent(server, node->id) ? server_fail(e, 409, "the node is silent: start it first") : 200;
}

static json_t *change_json(const struct meta_disk *disk, const struct meta_node *node)
{
    json_t *json = json_object();
    json_id_set(json, "id", disk->id.bytes);
    (void)json_object_set_new(json, "node", node != NULL ? json_stringn((const char *)node->name.data, node->name.len) : json_null());
    (void)json_object_set_new(json, "path", json_stringn((const char *)disk->path.data, disk->path.len));
    return json;
}

static unsigned add(const struct admin_query *query, const struct meta_cluster_reply *map, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    const char *path = json_string_value(json_object_get(query->body, "path"));
    const struct meta_node *node = NULL;
    struct meta_disk disk;
    if (path == NULL || path[0] != '/') {
        return server_fail(e, 400, "name an absolute path, as the node has it");
    }
    unsigned status = node_find(map, json_string_value(json_object_get(query->body, "node")), &node, e);
    status = status == 200 ? node_ready(server, node, e) : status;
    status = status == 200 ? disk_open(server, map, node, slice_str(path), &disk, e) : status;
    status = status == 200 ? disk_put(server, &disk, e) : status;
    if (status == 200) {
        LOG_INFO(log_event("disk_joins"), log_slice("node", node->name), log_slice("path", disk.path));
        *ret_json = change_json(&disk, node);
    }
    return status;
}

static unsigned replace_do(struct server *server, const struct meta_cluster_reply *map, const struct meta_disk *old, struct slice path,
                           json_t *json, struct error *e)
{
    const struct meta_node *node = meta_cluster_node(map, old->node);
    struct meta_disk disk;
    char id[ID_HEX_BYTES];
    unsigned status = disk_open(server, map, node, path, &disk, e);
    disk.replaces = old->id;
    status = status == 200 ? disk_put(server, &disk, e) : status;
    if (status == 200) {
        LOG_INFO(log_event("disk_taken_over"), log_slice("node", node->name), log_slice("path", disk.path));
        id_hex(disk.id.bytes, id);
        (void)json_object_set_new(json, "id", json_string(id));
    }
    return status;
}

static unsigned replace(const struct admin_query *query, const struct meta_cluster_reply *map, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    const char *path = json_string_value(json_object_get(query->body, "path"));
    bool dry_run = json_is_true(json_object_get(query->body, "dry_run"));
    const struct meta_disk *old = NULL;
    unsigned status = disk_named(map, json_string_value(json_object_get(query->body, "for")), &old, e);
    status = status == 200 ? node_ready(server, meta_cluster_node(map, old->node), e) : status;
    if (status != 200) {
        return status;
    }
    if (path != NULL && path[0] != '/') {
        return server_fail(e, 400, "name an absolute path, as the node has it");
    }
    if (serves(server, old->id)) {
        return server_fail(e, 409, "the disk is in service: 'cairn disk drain' empties it");
    }
    if (cluster_watch_replaceable(server, map, old->id, e) != ERRC_OK) {
        return e->code == ERRC_CONFLICT ? 409 : 503;
    }
    struct held held = { .map = map, .disks = &old->id, .disk_count = 1 };
    if (held_count(server, &held, e) != ERRC_OK) {
        return 503;
    }
    json_t *json = change_json(old, meta_cluster_node(map, old->node));
    (void)json_object_del(json, "id");
    if (path != NULL) {
        (void)json_object_set_new(json, "path", json_string(path));
    }
    json_id_set(json, "replaced", old->id.bytes);
    (void)json_object_set_new(json, "dry_run", json_boolean(dry_run));
    json_number_set(json, "shards_to_rebuild", held.shards);
    json_number_set(json, "bytes_to_rebuild", held.bytes);
    if (dry_run) {
        forecast_add(server, map, NULL, 0, held.bytes, json);
    }
    status = dry_run ? 200 : replace_do(server, map, old, path != NULL ? slice_str(path) : old->path, json, e);
    if (status == 200) {
        *ret_json = json;
    } else {
        json_decref(json);
    }
    return status;
}

static const char *const states[] = { [META_DISK_IN] = "in", [META_DISK_OUT] = NULL, [META_DISK_REMOVED] = "removed",
                                      [META_DISK_DRAINING] = "draining" };

static uint8_t state_of(const char *text)
{
    for (uint8_t i = META_DISK_IN; text != NULL && i <= META_DISK_DRAINING; i++) {
        if (states[i] != NULL && strcmp(states[i], text) == 0) {
            return i;
        }
    }
    return 0;
}

static unsigned state_check(struct server *server, const struct held *held, const struct meta_disk *disk, uint8_t state, struct error *e)
{
    if (state == META_DISK_REMOVED && held->shards > 0) {
        (void)error_set(e, ERRC_CONFLICT, "%llu shards of %llu extents stand on it: 'cairn disk drain' first, or wait until they are "
                        "rebuilt elsewhere", (unsigned long long)held->shards, (unsigned long long)held->extents);
        return 409;
    }
    if (state == META_DISK_IN && disk->state == META_DISK_OUT) {
        return server_fail(e, 409, "it was given up, and is in again by itself when it is back");
    }
    bool takes_less = state == META_DISK_DRAINING || (state == META_DISK_REMOVED && disk->state == META_DISK_IN);
    return takes_less ? places_suffice(server, held, e) : 200;
}

static unsigned state_change(const struct admin_query *query, const struct meta_cluster_reply *map, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    uint8_t state = state_of(json_string_value(json_object_get(query->body, "state")));
    bool dry_run = json_is_true(json_object_get(query->body, "dry_run"));
    const struct meta_disk *disk = NULL;
    if (state == 0) {
        return server_fail(e, 400, "name the disk, and its state: in, draining or removed");
    }
    unsigned status = disk_named(map, json_string_value(json_object_get(query->body, "disk")), &disk, e);
    if (status != 200) {
        return status;
    }
    struct held held = { .map = map, .disks = &disk->id, .disk_count = 1 };
    if (held_count(server, &held, e) != ERRC_OK) {
        return 503;
    }
    status = state_check(server, &held, disk, state, e);
    if (status == 200 && !dry_run && disk->state != state) {
        status = cluster_disk_state_put(server, disk, state, e) == ERRC_OK ? 200 : 503;
        cluster_topology_changed(server);
    }
    if (status == 200) {
        bool moves = state == META_DISK_DRAINING;
        *ret_json = change_json(disk, meta_cluster_node(map, disk->node));
        (void)json_object_set_new(*ret_json, "state", json_string(states[state]));
        (void)json_object_set_new(*ret_json, "dry_run", json_boolean(dry_run));
        json_number_set(*ret_json, "shards_on_it", held.shards);
        json_number_set(*ret_json, "shards_to_move", moves ? held.shards : 0);
        json_number_set(*ret_json, "bytes_to_move", moves ? held.bytes : 0);
        if (dry_run) {
            bool leaves = moves || state == META_DISK_REMOVED;
            forecast_add(server, map, &disk->id, leaves ? 1 : 0, moves ? held.bytes : 0, *ret_json);
        }
    }
    return status;
}

/* ---- the verbs ---- */

static unsigned cluster_run(const struct admin_query *query, admin_with_map *run, json_t **ret_json, struct error *e)
{
    if (query->server->cluster == NULL) {
        return server_fail(e, 409, "this server is no cluster: its directories are named when it starts");
    }
    return admin_map_run(query, run, ret_json, e);
}

unsigned admin_disk_replace(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    return query->server->cluster == NULL ? replace_here(query, ret_json, e) : admin_map_run(query, replace, ret_json, e);
}

unsigned admin_disk_add(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    return cluster_run(query, add, ret_json, e);
}

unsigned admin_disk_state(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    return cluster_run(query, state_change, ret_json, e);
}
