/* What /metrics and `cairn status` say of the composition: disks, metadata, repair; S3 counters are the gateway's. */
#include "common/base/buffer.h"
#include "common/base/mem.h"
#include "server/server.h"
#include "server/server_background.h"

#include <stdarg.h>
#include <stdio.h>

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

static void disks_write(struct server *server, struct enc *text)
{
    struct cluster_map_disk *disks = mem_zalloc(SERVER_DIRS_MAX * sizeof(*disks));
    unsigned count = cluster_map_disks(server->map, disks, SERVER_DIRS_MAX);
    count = count < SERVER_DIRS_MAX ? count : SERVER_DIRS_MAX;
    family(text, "cairn_disk_up", "gauge", "1 while the disk takes reads.");
    for (unsigned i = 0; i < count; i++) {
        char id[ID_HEX_BYTES];
        id_hex(disks[i].id.bytes, id);
        enum disk_state state = node_disk_state(server->node, disks[i].id);
        line(text, "cairn_disk_up{disk=\"%s\"} %d", id, state == DISK_ONLINE || state == DISK_FULL);
    }
    family(text, "cairn_disk_writable", "gauge", "1 while the disk takes writes.");
    for (unsigned i = 0; i < count; i++) {
        char id[ID_HEX_BYTES];
        id_hex(disks[i].id.bytes, id);
        line(text, "cairn_disk_writable{disk=\"%s\"} %d", id,
             node_disk_state(server->node, disks[i].id) == DISK_ONLINE);
    }
    mem_free(disks);
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
    single(text, "cairn_metadata_replicas_behind", "gauge", "Metadata mirrors that are not current.",
           status.replicas_behind);
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

void server_metrics_write(struct server *server, struct enc *text)
{
    family(text, "cairn_build_info", "gauge", "Version of the program.");
    line(text, "cairn_build_info{version=\"%s\"} 1", CAIRN_VERSION);
    single(text, "cairn_ready", "gauge", "1 while requests are served.", atomic_load(&server->ready) ? 1 : 0);
    gateway_metrics_write(server->gateway, text);
    front_write(server, text);
    disks_write(server, text);
    metadata_write(server, text);
    data_write(server, text);
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
