/*
 * Admin verbs that give a checkpoint of the metadata away, for `cairn metadata backup`: which files it has, and their bytes.
 *
 * They come from where another voter would take them (metadata/voter_snapshot.h): the leader keeps a checkpoint for 10 s after
 * each piece. Whoever asks without an index is told one; with it, until a checkpoint covers that much.
 */
#include "common/base/base64.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/checkpoint_files.h"
#include "metadata/snapshot_message.h"
#include "server/admin_api.h"
#include "server/cluster.h"
#include "server/wait.h"

#include <stdlib.h>
#include <string.h>

#define CALL_NS UINT64_C(10000000000)

static unsigned status_of(enum errc rc)
{
    return rc == ERRC_NOT_FOUND ? 404 : rc == ERRC_CORRUPT ? 400 : 503;
}

static enum errc ask(struct server *server, const struct snapshot_request *request, struct enc *ret_reply, struct error *e)
{
    struct enc head = ENC_INIT;
    snapshot_request_encode(&head, request);
    struct rpc_call call = { .method = RPC_RAFT_SNAPSHOT_READ, .head = enc_slice(&head),
                             .deadline_ns = env_now_ns(server->env) + CALL_NS };
    enum errc rc = wait_call(voter_channel(server->voter), server->completions, &call);
    if (rc == ERRC_OK) {
        enc_raw(ret_reply, call.reply.data, call.reply.len);
    } else {
        (void)error_set(e, rc, "%s", call.error.code != ERRC_OK ? call.error.text : errc_text(rc));
    }
    rpc_call_release(&call);
    enc_free(&head);
    return rc;
}

static enum errc manifest_ask(struct server *server, uint64_t index, struct manifest *ret, struct error *e)
{
    struct enc bytes = ENC_INIT;
    size_t before;
    enum errc rc;
    do {
        const struct snapshot_request request = { SNAPSHOT_PIECE, index, slice_str(MANIFEST_NAME), bytes.len, SNAPSHOT_PIECE_BYTES };
        before = bytes.len;
        rc = ask(server, &request, &bytes, e);
    } while (rc == ERRC_OK && bytes.len - before == SNAPSHOT_PIECE_BYTES && bytes.len <= MANIFEST_BYTES_MAX);
    *ret = (struct manifest){ .count = 0 };
    if (rc == ERRC_OK && (!manifest_parse(enc_slice(&bytes), ret) || ret->info.index != index)) {
        rc = error_set(e, ERRC_UNAVAILABLE, "the checkpoint's manifest is damaged");
    }
    enc_free(&bytes);
    return rc;
}

static json_t *files_json(const struct manifest *manifest)
{
    json_t *files = json_array();
    for (size_t i = 0; i < manifest->count; i++) {
        const struct manifest_file *file = &manifest->files[i];
        (void)json_array_append_new(files, json_pack("{s:s,s:I,s:I}", "name", file->name, "size", (json_int_t)file->size, "crc32c",
                                                     (json_int_t)file->crc));
    }
    return files;
}

static unsigned refuse(const struct admin_query *query, struct error *e)
{
    return query->server->cluster == NULL
               ? server_fail(e, 409, "this server is no cluster: its metadata is mirrored on its directories, and has no backup yet")
               : 0;
}

/* {"ready": false, "wanted": I}: ask again with index=I. */
static unsigned not_ready(uint64_t wanted, json_t **ret_json)
{
    *ret_json = json_pack("{s:b,s:I}", "ready", 0, "wanted", (json_int_t)wanted);
    return 200;
}

static unsigned describe(struct server *server, uint64_t wanted, json_t **ret_json, struct error *e)
{
    const struct snapshot_request request = { .kind = SNAPSHOT_DESCRIBE, .index = wanted };
    struct snapshot_description description;
    struct enc reply = ENC_INIT;
    struct manifest manifest = { .count = 0 };
    char cluster[ID_HEX_BYTES];
    enum errc rc = ask(server, &request, &reply, e);
    if (rc == ERRC_UNAVAILABLE && voter_leads(server->voter)) {
        error_clear(e);
        enc_free(&reply);
        return not_ready(wanted, ret_json);
    }
    rc = rc == ERRC_OK ? snapshot_description_decode(enc_slice(&reply), &description) : rc;
    rc = rc == ERRC_OK ? manifest_ask(server, description.index, &manifest, e) : rc;
    if (rc == ERRC_OK) {
        id_hex(description.cluster.bytes, cluster);
        *ret_json = json_pack("{s:b,s:I,s:s,s:I,s:I,s:o}", "ready", 1, "wanted", (json_int_t)wanted, "cluster", cluster, "index",
                              (json_int_t)description.index, "term", (json_int_t)manifest.info.term, "files",
                              files_json(&manifest));
    }
    manifest_free(&manifest);
    enc_free(&reply);
    return rc == ERRC_OK ? 200 : status_of(rc);
}

unsigned admin_checkpoint(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    unsigned refused = refuse(query, e);
    if (refused != 0) {
        return refused;
    }
    if (query->index != NULL) {
        return describe(server, strtoull(query->index, NULL, 10), ret_json, e);
    }
    struct voter_status *status = mem_zalloc(sizeof(*status));
    voter_status(server->voter, status);
    uint64_t wanted = status->applied_index;
    mem_free(status);
    return not_ready(wanted, ret_json);
}

unsigned admin_checkpoint_piece(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct enc reply = ENC_INIT;
    unsigned refused = refuse(query, e);
    if (refused != 0) {
        return refused;
    }
    if (query->index == NULL || query->name == NULL || query->offset == NULL) {
        return server_fail(e, 400, "name the checkpoint's index, the file and the offset");
    }
    const struct snapshot_request request = { SNAPSHOT_PIECE, strtoull(query->index, NULL, 10), slice_str(query->name),
                                              strtoull(query->offset, NULL, 10), SNAPSHOT_PIECE_BYTES };
    enum errc rc = ask(query->server, &request, &reply, e);
    if (rc == ERRC_OK) {
        char *text = mem_alloc(base64_len(reply.len) + 1);
        (void)base64_encode(reply.data, reply.len, text);
        *ret_json = json_pack("{s:s}", "bytes", text);
        mem_free(text);
    }
    enc_free(&reply);
    return rc == ERRC_OK ? 200 : status_of(rc);
}
