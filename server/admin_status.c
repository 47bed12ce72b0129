/* The numbers of `cairn status`, `cairn disk list` and `cairn bucket list`. */
#include "gateway/s3/s3_time.h"
#include "server/admin_api.h"
#include "server/admin_strength.h"
#include "server/cluster.h"
#include "server/json_set.h"
#include "server/server.h"
#include "server/server_steps.h"
#include "common/rpc/rpc_schema.h"
#include "server/server_background.h"
#include "common/base/mem.h"

#include <stdio.h>

#define LIST_ARENA_BYTES (4u << 20)
#define STATUS_ARENA_BYTES (4u << 20) /* a limit: a group of the map alone is 1 KiB */

static const char *disk_state_text(uint8_t state)
{
    static const char *const texts[] = { "unknown", "online", "full", "fenced", "absent" };
    return texts[state <= DISK_ABSENT ? state : 0];
}

static const struct node_disk_status_entry *entry_find(const struct node_disk_status_reply *reply, struct disk_id id)
{
    for (uint32_t i = 0; i < reply->count; i++) {
        if (disk_id_equal(reply->entries[i].disk, id)) {
            return &reply->entries[i];
        }
    }
    return NULL;
}

/* What the disk's node said of it. In a cluster its node is the map's: another that has it too is not asked for it. */
static const struct node_disk_status_entry *entry_of(struct server *server, const struct node_disk_status_reply *reply,
                                                     struct disk_id id)
{
    bool away = server->node == NULL && server_disk_state(server, id) == DISK_ABSENT;
    return away ? NULL : entry_find(reply, id);
}

static json_t *disk_json(const struct meta_cluster_reply *map, const struct meta_disk *disk, const struct node_disk_status_entry *entry)
{
    static const char *const placements[] = { [META_DISK_IN] = "in", [META_DISK_OUT] = "out", [META_DISK_REMOVED] = "removed",
                                              [META_DISK_DRAINING] = "draining" };
    const struct meta_node *node = meta_cluster_node(map, disk->node);
    json_t *json = json_object();
    json_id_set(json, "id", disk->id.bytes);
    (void)json_object_set_new(json, "node", node != NULL ? json_stringn((const char *)node->name.data, node->name.len) : json_null());
    (void)json_object_set_new(json, "path", json_stringn((const char *)disk->path.data, disk->path.len));
    (void)json_object_set_new(json, "state",
                              json_string(disk->state == META_DISK_REMOVED ? "removed"
                                          : entry != NULL                  ? disk_state_text(entry->state)
                                                                           : "absent"));
    (void)json_object_set_new(json, "placement", json_string(placements[disk->state]));
    const struct node_disk_status_entry none = { .scrub_age_ms = UINT64_MAX };
    entry = entry != NULL ? entry : &none;
    struct slice reason = entry->reason.len != 0 ? entry->reason : slice_str("");
    (void)json_object_set_new(json, "reason", json_stringn((const char *)reason.data, reason.len));
    json_number_set(json, "total_bytes", entry->total_bytes);
    json_number_set(json, "free_bytes", entry->free_bytes);
    json_number_set(json, "used_bytes", entry->used_bytes);
    json_number_set(json, "dead_bytes", entry->dead_bytes);
    json_number_set(json, "shards", entry->shard_count);
    json_number_set(json, "write_queue_bytes", entry->write_queue_bytes);
    json_number_set(json, "fsyncs", entry->fsync_count);
    (void)json_object_set_new(json, "scrub_age_seconds",
                              entry->scrub_age_ms == UINT64_MAX ? json_null()
                                                                : json_integer((json_int_t)(entry->scrub_age_ms / 1000)));
    return json;
}

/* Asks the node and the map, and joins them. */
static enum errc disks_json(struct server *server, json_t *disks, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    const struct node_disk_status all = { 0 };
    struct enc head = ENC_INIT;
    struct enc heard = ENC_INIT;
    struct node_disk_status_reply *reply = mem_zalloc(sizeof(*reply));
    arena_init(&arena, STATUS_ARENA_BYTES);
    node_disk_status_encode(&head, &all);
    struct rpc_call call = { .method = RPC_NODE_DISK_STATUS, .head = enc_slice(&head) };
    enum errc rc = ERRC_OK;
    if (server->node == NULL) {
        cluster_disks(server, reply, &heard); /* as the nodes said last */
    } else {
        rc = wait_call(node_channel(server->node), server->completions, &call);
        rc = rc == ERRC_OK ? node_disk_status_reply_decode(enc_slice(&call.reply), reply) : rc;
    }
    if (rc != ERRC_OK) {
        (void)error_set(e, rc, "the storage node does not answer: %s", errc_text(rc));
    } else {
        rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
        for (uint32_t i = 0; rc == ERRC_OK && i < op.cluster.disk_count; i++) {
            const struct meta_disk *disk = &op.cluster.disks[i];
            if (disk->state != META_DISK_REMOVED) {
                (void)json_array_append_new(disks, disk_json(&op.cluster, disk, entry_of(server, reply, disk->id)));
            }
        }
        meta_op_release(&op);
    }
    rpc_call_release(&call);
    enc_free(&head);
    enc_free(&heard);
    mem_free(reply);
    arena_done(&arena);
    return rc;
}

unsigned admin_disks(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    json_t *json = json_object();
    json_t *disks = json_array();
    (void)json_object_set_new(json, "disks", disks);
    *ret_json = json;
    return disks_json(query->server, disks, e) == ERRC_OK ? 200 : 503;
}

json_t *strength_json(const struct strength *strength)
{
    json_t *json = json_object();
    json_number_set(json, "full", strength->stripes_full);
    json_number_set(json, "smaller_code", strength->stripes_smaller);
    for (unsigned i = 0; i < CODE_M_MAX; i++) {
        char name[24];
        (void)snprintf(name, sizeof(name), "missing_%u", i + 1);
        if (i < 2 || strength->stripes_missing[i] > 0) {
            json_number_set(json, name, strength->stripes_missing[i]);
        }
    }
    json_number_set(json, "unreadable", strength->stripes_unreadable);
    return json;
}

static json_t *repair_json(struct server *server, const struct strength *strength)
{
    struct background_progress progress;
    background_progress(atomic_load(&server->background), &progress);
    uint64_t waiting = strength->extents - strength->extents_full;
    json_t *json = json_object();
    json_number_set(json, "queued_extents", waiting);
    json_number_set(json, "rebuilt_extents", progress.rebuilt_extents);
    json_number_set(json, "rebuilt_bytes", progress.rebuilt_bytes);
    json_number_set(json, "failed_extents", progress.failed_extents);
    double rate = progress.extents_per_second;
    (void)json_object_set_new(json, "eta_seconds",
                              waiting == 0 ? json_integer(0)
                              : rate > 0   ? json_integer((json_int_t)((double)waiting / rate) + 1)
                                           : json_null());
    return json;
}

static const char *state_text(const struct strength *strength, uint64_t degraded)
{
    return strength->stripes_unreadable > 0 ? "unreadable data" : degraded > 0 ? "degraded" : "ok";
}

static void status_fill(struct server *server, const struct meta_status *status, const struct strength *strength,
                        json_t *json)
{
    struct voter_status voter;
    char code[16];
    voter_status(server->voter, &voter);
    /* The contract of issue and README: 0 only when every extent is whole and every mirror is current. */
    uint64_t degraded = strength->stripes - strength->stripes_full + voter.replicas_behind;
    (void)snprintf(code, sizeof(code), "%u+%u", server->class_k, server->class_m);
    (void)json_object_set_new(json, "state", json_string(state_text(strength, degraded)));
    (void)json_object_set_new(json, "version", json_string(CAIRN_VERSION));
    json_id_set(json, "cluster_id", server->dirs.cluster.bytes);
    (void)json_object_set_new(json, "erasure", json_string(code));
    json_number_set(json, "buckets", status->buckets);
    json_number_set(json, "objects", status->objects);
    json_number_set(json, "versions", status->versions);
    json_number_set(json, "bytes", status->bytes);
    json_number_set(json, "uploads", status->uploads);
    json_number_set(json, "extents", strength->extents);
    json_number_set(json, "stripes", strength->stripes);
    json_number_set(json, "degraded_stripes", degraded);
    (void)json_object_set_new(json, "stripes_by_strength", strength_json(strength));
    json_number_set(json, "metadata_replicas", voter.replicas_wanted);
    json_number_set(json, "metadata_replicas_behind", voter.replicas_behind);
    json_number_set(json, "metadata_index", voter.applied_index);
    json_number_set(json, "gc_items", status->gc_items);
    json_number_set(json, "placement_groups", cluster_map_group_count(server->map));
    (void)json_object_set_new(json, "repair", repair_json(server, strength));
    (void)json_object_set_new(json, "mirrors", server_mirrors_json(server));
}

unsigned admin_status(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    struct arena arena;
    struct meta_op op;
    const struct meta_query ask = { .type = META_QRY_STATUS };
    json_t *json = json_object();
    json_t *disks = json_array();
    *ret_json = json;
    arena_init(&arena, STATUS_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &ask, e);
    struct strength strength;
    rc = rc == ERRC_OK ? strength_count(server, &strength, e) : rc;
    if (rc == ERRC_OK) {
        status_fill(server, &op.service_status, &strength, json);
    }
    meta_op_release(&op);
    arena_done(&arena);
    (void)json_object_set_new(json, "disks", disks);
    if (rc == ERRC_OK) {
        rc = disks_json(server, disks, e);
    }
    return rc == ERRC_OK ? 200 : 503;
}

static json_t *bucket_json(const struct meta_bucket *bucket)
{
    static const char *const versioning[] = { "unset", "enabled", "suspended" };
    char created[S3_TIME_ISO_BYTES];
    char code[16];
    json_t *json = json_object();
    s3_time_iso(bucket->created_ms, created);
    (void)snprintf(code, sizeof(code), "%u+%u", bucket->class_k, bucket->class_m);
    (void)json_object_set_new(json, "name", json_stringn((const char *)bucket->name.data, bucket->name.len));
    (void)json_object_set_new(json, "created", json_string(created));
    (void)json_object_set_new(json, "erasure", json_string(code));
    (void)json_object_set_new(json, "versioning", json_string(versioning[bucket->versioning % 3]));
    json_number_set(json, "objects", bucket->objects);
    json_number_set(json, "bytes", bucket->bytes);
    return json;
}

unsigned admin_buckets(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    json_t *json = json_object();
    json_t *buckets = json_array();
    char marker[BUCKET_NAME_BYTES_MAX + 1] = "";
    (void)json_object_set_new(json, "buckets", buckets);
    *ret_json = json;
    for (bool more = true; more;) {
        struct arena arena;
        struct meta_op op;
        const struct meta_query ask = { .type = META_QRY_BUCKETS, .marker = slice_str(marker), .limit = 1000 };
        arena_init(&arena, LIST_ARENA_BYTES);
        enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &ask, e);
        more = rc == ERRC_OK && op.buckets.truncated && op.buckets.count > 0;
        for (uint32_t i = 0; rc == ERRC_OK && i < op.buckets.count; i++) {
            const struct meta_bucket *bucket = &op.buckets.buckets[i];
            (void)json_array_append_new(buckets, bucket_json(bucket));
            (void)snprintf(marker, sizeof(marker), "%.*s", (int)bucket->name.len, (const char *)bucket->name.data);
        }
        meta_op_release(&op);
        arena_done(&arena);
        if (rc != ERRC_OK) {
            return 503;
        }
    }
    return 200;
}
