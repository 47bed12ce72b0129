/* What /metrics and `cairn status` say of the composition: disks, metadata, repair; S3 counters are the gateway's. */
#include "common/base/buffer.h"
#include "common/base/mem.h"
#include "server/cluster.h"
#include "server/server.h"
#include "server/server_background.h"
#include "server/server_steps.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 512

static void line(struct enc *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void line(struct enc *text, const char *format, ...)
{
    char buffer[LINE_BYTES];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(buffer, sizeof(buffer), format, args);
    va_end(args);
    if (len > 0 && (size_t)len < sizeof(buffer)) {
        enc_raw(text, buffer, (size_t)len);
        enc_u8(text, '\n');
    }
}

static void family(struct enc *text, const char *name, const char *type, const char *help)
{
    line(text, "# HELP %s %s", name, help);
    line(text, "# TYPE %s %s", name, type);
}

static void single(struct enc *text, const char *name, const char *type, const char *help, uint64_t value)
{
    family(text, name, type, help);
    line(text, "%s %llu", name, (unsigned long long)value);
}

struct disk_gauge {
    const char *name, *type, *help;
    size_t offset; /* of the uint64_t in struct node_disk_status_entry */
};

static const struct disk_gauge disk_gauges[] = {
#define GAUGE(name, type, field, help) { "cairn_disk_" name, type, help, offsetof(struct node_disk_status_entry, field) }
    GAUGE("total_bytes", "gauge", total_bytes, "Size of the file system."),
    GAUGE("free_bytes", "gauge", free_bytes, "Free in the file system."),
    GAUGE("used_bytes", "gauge", used_bytes, "Live bytes in segments."),
    GAUGE("dead_bytes", "gauge", dead_bytes, "Freed bytes that compaction has not given back yet."),
    GAUGE("shards", "gauge", shard_count, "Shards on the disk."),
    GAUGE("write_queue_bytes", "gauge", write_queue_bytes, "Bytes that wait for their sync."),
    GAUGE("fsyncs_total", "counter", fsync_count, "Syncs since the start."),
#undef GAUGE
};

static void disk_gauges_write(const struct server_poll_view *view, struct enc *text)
{
    char id[ID_HEX_BYTES];
    for (size_t g = 0; g < sizeof(disk_gauges) / sizeof(disk_gauges[0]); g++) {
        const struct disk_gauge *gauge = &disk_gauges[g];
        family(text, gauge->name, gauge->type, gauge->help);
        for (uint32_t i = 0; i < view->disk_count; i++) {
            uint64_t value;
            memcpy(&value, (const char *)&view->disks[i] + gauge->offset, sizeof(value));
            id_hex(view->disks[i].disk.bytes, id);
            line(text, "%s{disk=\"%s\"} %llu", gauge->name, id, (unsigned long long)value);
        }
    }
    family(text, "cairn_disk_scrub_age_seconds", "gauge",
           "Since the last complete scrub pass; absent before the first.");
    for (uint32_t i = 0; i < view->disk_count; i++) {
        id_hex(view->disks[i].disk.bytes, id);
        if (view->disks[i].scrub_age_ms != UINT64_MAX) {
            line(text, "cairn_disk_scrub_age_seconds{disk=\"%s\"} %llu", id,
                 (unsigned long long)(view->disks[i].scrub_age_ms / 1000));
        }
    }
}

/* The states are of this moment; a disk of the map that is not here counts too. */
static void disks_write(struct server *server, const struct server_poll_view *view, struct enc *text)
{
    struct cluster_map_disk *disks = mem_zalloc(NODE_DISKS_MAX * sizeof(*disks));
    unsigned count = cluster_map_disks(server->map, disks, NODE_DISKS_MAX);
    count = count < NODE_DISKS_MAX ? count : NODE_DISKS_MAX;
    char id[ID_HEX_BYTES];
    for (int writable = 0; writable < 2; writable++) {
        const char *name = writable ? "cairn_disk_writable" : "cairn_disk_up";
        family(text, name, "gauge", writable ? "1 while the disk takes writes." : "1 while the disk takes reads.");
        for (unsigned i = 0; i < count; i++) {
            enum disk_state state = server_disk_state(server, disks[i].id);
            if (disks[i].map_state != META_DISK_REMOVED) {
                id_hex(disks[i].id.bytes, id);
                line(text, "%s{disk=\"%s\"} %d", name, id, state == DISK_ONLINE || (!writable && state == DISK_FULL));
            }
        }
    }
    mem_free(disks);
    disk_gauges_write(view, text);
}

static void metadata_write(struct server *server, struct enc *text)
{
    struct voter_status status;
    voter_status(server->voter, &status);
    single(text, "cairn_raft_term", "gauge", "Current raft term.", status.term);
    single(text, "cairn_raft_commit_index", "gauge", "Highest committed log index.", status.commit_index);
    single(text, "cairn_raft_applied_index", "gauge", "Highest applied log index.", status.applied_index);
    single(text, "cairn_raft_log_bytes", "gauge", "Bytes of log behind the last checkpoint.", status.log_bytes);
    single(text, "cairn_metadata_replicas", "gauge", "Metadata mirrors wanted.", status.replicas_wanted);
    single(text, "cairn_metadata_replicas_behind", "gauge", "Metadata mirrors and, at the leader, other voters that are not current.",
           status.replicas_behind);
}

/* As the metadata state counts them: stripes on disks that are away but may come back count as whole here;
 * `cairn status` looks at every extent. */
static void stored_write(const struct server_poll_view *view, struct enc *text)
{
    const struct meta_status *meta = &view->meta;
    if (!view->has_meta) {
        return;
    }
    single(text, "cairn_buckets", "gauge", "Buckets.", meta->buckets);
    single(text, "cairn_objects", "gauge", "Current objects.", meta->objects);
    single(text, "cairn_object_bytes", "gauge", "Bytes of all versions.", meta->bytes);
    single(text, "cairn_uploads", "gauge", "Multipart uploads under way.", meta->uploads);
    single(text, "cairn_extents", "gauge", "Extents.", meta->extents);
    single(text, "cairn_stripes", "gauge", "Stripes.", meta->stripes);
    single(text, "cairn_stripes_to_repair", "gauge",
           "Stripes with a shard marked missing or in a smaller code than their class.", meta->stripes_degraded);
    single(text, "cairn_repair_queue_extents", "gauge", "Extents that wait for repair.",
           meta->extents - meta->extents_full);
    single(text, "cairn_gc_queue_items", "gauge", "Deleted extents and objects that wait to be freed.", meta->gc_items);
    single(text, "cairn_sessions_open", "gauge", "Writing sessions.", meta->sessions_open);
}

static void data_write(struct server *server, struct enc *text)
{
    struct background_progress progress = { 0 };
    struct server_background *background = atomic_load(&server->background);
    if (background != NULL) {
        background_progress(background, &progress);
    }
    single(text, "cairn_buffers_bytes", "gauge", "Payload buffers in use.", buffer_live_bytes());
    single(text, "cairn_upload_budget_used_bytes", "gauge", "Of the memory budget of all uploads.",
           data_budget_used(&server->store.write_budget));
    single(text, "cairn_download_budget_used_bytes", "gauge", "Of the memory budget of all downloads.",
           data_budget_used(&server->store.read_budget));
    single(text, "cairn_reads_decoded_total", "counter", "Stripes that were read with the help of parity.",
           atomic_load(&server->store.reads_decoded));
    single(text, "cairn_reads_hedged_total", "counter", "Reads that asked parity because a shard was slow.",
           atomic_load(&server->store.reads_hedged));
    single(text, "cairn_extents_degraded_written_total", "counter",
           "Extents written with a shard missing or in a smaller code.", atomic_load(&server->store.extents_degraded));
    single(text, "cairn_repair_extents_rebuilt_total", "counter", "Extents repaired.", progress.rebuilt_extents);
    single(text, "cairn_repair_rebuilt_bytes_total", "counter", "Bytes of shards written by repair.",
           progress.rebuilt_bytes);
    single(text, "cairn_repair_extents_failed_total", "counter", "Repairs that failed and are tried again.",
           progress.failed_extents);
    single(text, "cairn_gc_extents_freed_total", "counter", "Deleted extents whose shards were freed.",
           progress.freed_extents);
    single(text, "cairn_sweep_shards_freed_total", "counter", "Orphaned shards of ended sessions that were freed.",
           progress.swept_shards);
}

static void front_write(struct server *server, struct enc *text)
{
    struct http_front_stats stats;
    if (server->front == NULL) {
        return;
    }
    http_front_stats(server->front, &stats);
    single(text, "cairn_http_connections", "gauge", "Open connections on the S3 port.", stats.connections_open);
    single(text, "cairn_http_connections_accepted_total", "counter", "Connections accepted.",
           stats.connections_accepted);
    single(text, "cairn_http_connections_refused_total", "counter", "Connections over the limit.",
           stats.connections_refused);
    single(text, "cairn_http_bad_requests_total", "counter", "Requests refused by the HTTP parser.",
           stats.bad_requests);
    single(text, "cairn_http_timeouts_total", "counter", "Head, body and write deadlines that passed.", stats.timeouts);
}

bool server_ready(struct server *server)
{
    bool alone = server->cluster == NULL && server->voter != NULL;
    return atomic_load(&server->ready) && (!alone || voter_answers(server->voter));
}

void server_metrics_write(struct server *server, struct enc *text)
{
    struct server_poll_view *view = mem_zalloc(sizeof(*view));
    background_view(atomic_load(&server->background), view);
    family(text, "cairn_build_info", "gauge", "Version of the program.");
    line(text, "cairn_build_info{version=\"%s\"} 1", CAIRN_VERSION);
    single(text, "cairn_ready", "gauge", "1 while requests are served.", server_ready(server) ? 1 : 0);
    if (server->gateway != NULL) {
        gateway_metrics_write(server->gateway, text);
    }
    front_write(server, text);
    if (server->voter != NULL) {
        disks_write(server, view, text);
        metadata_write(server, text);
        stored_write(view, text);
    }
    if (server->cluster != NULL) {
        single(text, "cairn_certificate_expiry_seconds", "gauge", "When this process's certificate ends, seconds since 1970.",
               (uint64_t)atomic_load(&server->cluster->certificate_end_s));
    }
    data_write(server, text);
    mem_free(view);
}

unsigned server_fail(struct error *e, unsigned status, const char *text)
{
    (void)error_set(e, status == 404 ? ERRC_NOT_FOUND : ERRC_INVALID, "%s", text);
    return status;
}

json_t *server_mirrors_json(struct server *server)
{
    struct voter_status status;
    json_t *json = json_array();
    voter_status(server->voter, &status);
    for (unsigned i = 0; i < status.mirror_count; i++) {
        const struct voter_mirror_status *mirror = &status.mirrors[i];
        json_t *item = json_object();
        (void)json_object_set_new(item, "path", json_string(mirror->path));
        (void)json_object_set_new(item, "state", json_string(mirror->state));
        (void)json_object_set_new(item, "active", json_boolean(mirror->active));
        (void)json_array_append_new(json, item);
    }
    return json;
}
