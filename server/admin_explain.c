/* Where an object's bytes lie: one metadata query for each page of extents, one verifying read for each shard. */
#include "common/base/base64.h"
#include "common/base/checksum.h"
#include "gateway/handlers/version_id.h"
#include "gateway/s3/s3_time.h"
#include "server/admin_api.h"
#include "server/server.h"
#include "common/rpc/rpc_schema.h"

#define EXPLAIN_ARENA_BYTES (4u << 20)

static json_t *json_slice(struct slice text)
{
    json_t *json = json_stringn((const char *)text.data, text.len);
    return json != NULL ? json : json_string("(not UTF-8)");
}

static json_t *json_id(const uint8_t bytes[ID_BYTES])
{
    char text[ID_HEX_BYTES];
    id_hex(bytes, text);
    return json_string(text);
}

static const char *shard_state(enum errc status)
{
    switch (status) {
    case ERRC_OK:
        return "ok";
    case ERRC_NOT_FOUND:
        return "missing";
    case ERRC_CORRUPT:
        return "corrupt";
    default:
        return "away";
    }
}

/* Reads and checks the shard where it should be. */
static enum errc shard_verify(struct server *server, const struct cluster_map_shard *where, struct extent_id id,
                              unsigned index, json_t *shard)
{
    if (where->channel == NULL) {
        return ERRC_UNAVAILABLE;
    }
    const struct node_shard_name name = { where->disk, id, (uint8_t)index };
    struct enc head = ENC_INIT;
    node_shard_name_encode(&head, &name);
    struct rpc_call call = { .method = RPC_NODE_SHARD_VERIFY, .head = enc_slice(&head) };
    enum errc status = wait_call(where->channel, server->completions, &call);
    struct node_shard_stat_reply reply;
    if (status == ERRC_OK && node_shard_stat_reply_decode(enc_slice(&call.reply), &reply) == ERRC_OK) {
        (void)json_object_set_new(shard, "bytes", json_integer((json_int_t)reply.header.shard_bytes));
        (void)json_object_set_new(shard, "cells", json_integer((json_int_t)reply.header.cell_count));
        (void)json_object_set_new(shard, "segment", json_integer((json_int_t)reply.segment));
        (void)json_object_set_new(shard, "offset", json_integer((json_int_t)reply.offset));
    }
    rpc_call_release(&call);
    enc_free(&head);
    return status;
}

static json_t *explain_extent(struct server *server, const struct meta_data_extent *data)
{
    const struct extent *extent = &data->extent;
    char code[16];
    (void)snprintf(code, sizeof(code), "%u+%u", extent->code.k, extent->code.m);
    json_t *json = json_object();
    json_t *shards = json_array();
    (void)json_object_set_new(json, "id", json_id(extent->id.bytes));
    (void)json_object_set_new(json, "erasure", json_string(code));
    (void)json_object_set_new(json, "kind", json_string(extent->code.matrix == MATRIX_COPIES ? "copies" : "cauchy"));
    (void)json_object_set_new(json, "cell_bytes", json_integer(extent->code.cell_bytes));
    (void)json_object_set_new(json, "object_offset", json_integer((json_int_t)data->object_offset));
    (void)json_object_set_new(json, "offset", json_integer((json_int_t)data->offset));
    (void)json_object_set_new(json, "length", json_integer((json_int_t)data->length));
    (void)json_object_set_new(json, "group", json_integer(extent->group));
    (void)json_object_set_new(json, "shards", shards);
    struct cluster_map_shard where[CODE_SHARDS_MAX];
    if (cluster_map_locate(server->map, extent, where) != ERRC_OK) {
        return json;
    }
    for (unsigned i = 0; i < (unsigned)extent->code.k + extent->code.m; i++) {
        json_t *shard = json_object();
        (void)json_object_set_new(shard, "index", json_integer((json_int_t)i));
        (void)json_object_set_new(shard, "kind", json_string(i < extent->code.k ? "data" : "parity"));
        (void)json_object_set_new(shard, "disk", json_id(where[i].disk.bytes));
        char path[SERVER_PATH_BYTES];
        server_disk_path(server, where[i].disk, path);
        (void)json_object_set_new(shard, "path", json_string(path));
        enum errc status = (extent->missing >> i & 1) != 0 ? ERRC_NOT_FOUND
                                                           : shard_verify(server, &where[i], extent->id, i, shard);
        (void)json_object_set_new(shard, "state", json_string(shard_state(status)));
        (void)json_array_append_new(shards, shard);
    }
    return json;
}

/* Further pages of a large object's extents. */
static enum errc explain_extents(struct server *server, const struct meta_object_reply *first, struct slice key,
                                 json_t *extents, struct error *e)
{
    uint64_t until = first->extents_until;
    for (uint32_t i = 0; i < first->extent_count; i++) {
        (void)json_array_append_new(extents, explain_extent(server, &first->extents[i]));
    }
    while (until < first->row.size && first->extent_count > 0) {
        struct arena arena;
        struct meta_op op;
        const struct meta_query query = {
            .type = META_QRY_EXTENTS, .bucket_id = first->bucket.id, .key = key, .has_version = true,
            .version = { first->row.seq, first->row.nonce, false }, .want_data = true, .range_first = until,
            .range_length = first->row.size - until,
        };
        arena_init(&arena, EXPLAIN_ARENA_BYTES);
        enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
        bool more = rc == ERRC_OK && op.object.outcome == META_OK && op.object.extents_until > until;
        for (uint32_t i = 0; more && i < op.object.extent_count; i++) {
            (void)json_array_append_new(extents, explain_extent(server, &op.object.extents[i]));
        }
        until = more ? op.object.extents_until : UINT64_MAX;
        meta_op_release(&op);
        arena_done(&arena);
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    return ERRC_OK;
}

static void explain_row(struct server *server, const struct meta_object_reply *object, json_t *json)
{
    char version[VERSION_ID_TEXT_BYTES];
    char modified[S3_TIME_ISO_BYTES];
    char checksum[2 * CHECKSUM_BYTES_MAX];
    static const char *const kinds[] = { "none (0 bytes)", "inline in the metadata record", "extents",
                                         "parts of a multipart upload" };
    version_id_encode(server->version_cipher, object->row.seq, object->row.nonce, object->row.null_version, version);
    s3_time_iso(object->row.mtime_ms, modified);
    (void)json_object_set_new(json, "version_id", json_string(version));
    (void)json_object_set_new(json, "size", json_integer((json_int_t)object->row.size));
    (void)json_object_set_new(json, "etag", json_slice(object->row.etag));
    (void)json_object_set_new(json, "last_modified", json_string(modified));
    (void)json_object_set_new(json, "storage_class", object->row.storage_class.len > 0 ? json_slice(object->row.storage_class)
                                                                                       : json_string("STANDARD"));
    if (object->body.checksum.algorithm != 0 && object->body.checksum.value.len <= CHECKSUM_BYTES_MAX) {
        base64_encode(object->body.checksum.value.data, object->body.checksum.value.len, checksum);
        (void)json_object_set_new(json, "checksum_algorithm",
                                  json_string(checksum_name((enum checksum_kind)object->body.checksum.algorithm)));
        (void)json_object_set_new(json, "checksum", json_string(checksum));
    }
    (void)json_object_set_new(json, "data", json_string(object->body.data_kind < 4 ? kinds[object->body.data_kind] : "-"));
}

unsigned admin_explain(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    if (query->bucket == NULL || query->key == NULL) {
        return server_fail(e, 400, "name a bucket and a key");
    }
    struct meta_query ask = { .type = META_QRY_OBJECT, .bucket = slice_str(query->bucket),
                              .key = slice_str(query->key), .want_body = true, .want_data = true,
                              .range_length = UINT64_MAX };
    if (query->version_id != NULL) {
        ask.has_version = true;
        if (version_id_decode(server->version_cipher, slice_str(query->version_id), &ask.version) != ERRC_OK) {
            return server_fail(e, 400, "that is no version id");
        }
    }
    struct arena arena;
    struct meta_op op;
    arena_init(&arena, EXPLAIN_ARENA_BYTES);
    unsigned status = 200;
    if (wait_query(&server->meta, server->completions, &arena, &op, &ask, e) != ERRC_OK) {
        status = 503;
    } else if (op.object.outcome != META_OK) {
        status = server_fail(e, 404, op.object.outcome == META_NO_BUCKET ? "no such bucket" : "no such object");
    } else {
        json_t *json = json_object();
        json_t *extents = json_array();
        (void)json_object_set_new(json, "bucket", json_string(query->bucket));
        (void)json_object_set_new(json, "key", json_string(query->key));
        explain_row(server, &op.object, json);
        if (explain_extents(server, &op.object, slice_str(query->key), extents, e) != ERRC_OK) {
            status = 503;
        }
        (void)json_object_set_new(json, "extents", extents);
        (void)json_object_set_new(json, "mirrors", server_mirrors_json(server));
        *ret_json = json;
    }
    meta_op_release(&op);
    arena_done(&arena);
    return status;
}
