/*
 * Multipart uploads: create, part, abort. Complete: apply_complete.c.
 *
 * The record in UPLOAD is what complete and abort compare and set: whoever removes it has decided. Parts
 * left behind then are worked off by a gc item.
 */
#include "common/base/bytes.h"
#include "metadata/machine_state.h"

enum errc apply_upload_create(struct apply *a, const struct meta_upload_create *cmd)
{
    struct key key;
    enum errc rc = apply_bucket_load(a, cmd->bucket_id);
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    if (cmd->key.len == 0) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    uint64_t seq = a->bucket->counts.next_seq++;
    struct meta_upload upload = {
        .key = cmd->key,
        .initiated_ms = cmd->initiated_ms,
        .row = cmd->row,
        .headers = cmd->headers,
        .user_metadata = cmd->user_metadata,
    };
    store_be64(upload.upload_id, seq);
    memcpy(upload.upload_id + 8, cmd->nonce, sizeof(cmd->nonce));
    key_upload(&key, cmd->bucket_id, cmd->key, upload.upload_id);
    struct enc *record = machine_record(a->m);
    record_upload_encode(record, &upload);
    apply_put(a, &key, record);
    a->bucket->counts.uploads++;
    a->m->counters.status.uploads++;
    a->result.seq = seq;
    memcpy(a->result.upload_id, upload.upload_id, sizeof(upload.upload_id));
    return ERRC_OK;
}

/* Sets NO_UPLOAD unless the record is there. */
static enum errc upload_check(struct apply *a, uint64_t bucket, struct slice object_key, const uint8_t upload_id[16])
{
    struct key key;
    key_upload(&key, bucket, object_key, upload_id);
    enum errc rc = apply_get(a, &key, machine_scratch(a->m));
    if (rc == ERRC_NOT_FOUND) {
        apply_outcome(a, META_NO_UPLOAD);
        return ERRC_OK;
    }
    return rc;
}

/* Drops the part that has the number now, if one does. */
static enum errc part_replace(struct apply *a, const struct key *key)
{
    struct part_record old;
    struct enc *value = machine_scratch(a->m);
    enum errc rc = apply_get(a, key, value);
    if (rc == ERRC_NOT_FOUND) {
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_part_decode(enc_slice(value), &old);
    return rc == ERRC_OK ? gc_drop_part(a, &old) : record_error(a->e, rc, "a part");
}

static enum errc part_data_use(struct apply *a, const struct meta_upload_part *cmd)
{
    struct extent_use use = {
        .session = cmd->session,
        .map_revision = cmd->map_revision,
        .extent_count = cmd->extent_count,
        .extents = cmd->extents,
        .ref_count = cmd->ref_count,
        .refs = cmd->refs,
        .size = cmd->size,
    };
    if (cmd->ref_count > 0) {
        return extent_use(a, &use);
    }
    if (cmd->inline_bytes.len != cmd->size || cmd->extent_count > 0) {
        apply_outcome(a, META_INVALID);
    }
    return ERRC_OK;
}

/* STALE when the part id has a manifest: the same command sent twice must not share one. */
static enum errc part_id_check(struct apply *a, const struct key *manifest_key)
{
    enum errc rc = apply_get(a, manifest_key, machine_scratch(a->m));
    if (rc == ERRC_OK) {
        apply_outcome(a, META_STALE);
    }
    return rc == ERRC_NOT_FOUND ? ERRC_OK : rc;
}

static void part_put(struct apply *a, const struct meta_upload_part *cmd, const struct key *key,
                     const struct key *manifest_key)
{
    struct enc *refs = machine_scratch(a->m);
    record_refs_encode(refs, cmd->ref_count, cmd->refs);
    struct manifest_record manifest = {
        .size = cmd->size,
        .inline_bytes = cmd->inline_bytes,
        .ref_count = cmd->ref_count,
        .refs = enc_slice(refs),
    };
    struct part_record part = {
        .part = { cmd->number, cmd->size, cmd->mtime_ms, cmd->etag_md5, cmd->checksum },
        .ref_count = cmd->ref_count,
    };
    memcpy(part.part_id, cmd->part_id, sizeof(part.part_id));
    struct enc *record = machine_record(a->m);
    record_manifest_encode(record, &manifest);
    apply_put(a, manifest_key, record);
    record_part_encode(record, &part);
    apply_put(a, key, record);
}

enum errc apply_upload_part(struct apply *a, const struct meta_upload_part *cmd)
{
    struct key key, manifest_key;
    if (cmd->number < 1 || cmd->number > PARTS_MAX || (cmd->ref_count > 0 && cmd->inline_bytes.len > 0)) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    enum errc rc = apply_bucket_load(a, cmd->bucket_id);
    if (rc == ERRC_OK && apply_ok(a)) {
        rc = upload_check(a, cmd->bucket_id, cmd->key, cmd->upload_id);
    }
    key_table_raw(&manifest_key, TABLE_MANIFEST, cmd->part_id, sizeof(cmd->part_id));
    if (rc == ERRC_OK && apply_ok(a)) {
        rc = part_id_check(a, &manifest_key);
    }
    if (rc == ERRC_OK && apply_ok(a)) {
        rc = part_data_use(a, cmd);
    }
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    key_of_upload(&key, TABLE_PART, cmd->bucket_id, cmd->upload_id);
    key_u16(&key, cmd->number);
    rc = part_replace(a, &key);
    if (rc == ERRC_OK) {
        part_put(a, cmd, &key, &manifest_key);
        a->result.mtime_ms = cmd->mtime_ms;
        a->result.checksum = cmd->checksum;
    }
    return rc;
}

enum errc apply_upload_abort(struct apply *a, const struct meta_upload_abort *cmd)
{
    struct key key;
    enum errc rc = apply_bucket_load(a, cmd->bucket_id);
    if (rc == ERRC_OK && apply_ok(a)) {
        rc = upload_check(a, cmd->bucket_id, cmd->key, cmd->upload_id);
    }
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    struct gc_record item = { .kind = GC_UPLOAD, .bucket = cmd->bucket_id };
    memcpy(item.id, cmd->upload_id, sizeof(item.id));
    gc_add(a, &item);
    key_upload(&key, cmd->bucket_id, cmd->key, cmd->upload_id);
    apply_delete(a, &key);
    a->bucket->counts.uploads--;
    a->m->counters.status.uploads--;
    return ERRC_OK;
}
