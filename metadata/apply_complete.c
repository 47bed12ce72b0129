/*
 * CompleteMultipartUpload: listed parts become one version; nothing but part references moves.
 *
 * Compare-and-set on the upload and on every listed part. The part references go to PART_LIST records of
 * RECORD_PART_CHUNK each, so that a range of a large object decodes one of them; the version's body says
 * where each begins. Parts that are not listed stay in PART for a gc item. The result is remembered among
 * the newest COMPLETED_MAX of the cluster: the same complete sent again gets the same answer.
 */
#include "common/base/bytes.h"
#include "metadata/machine_state.h"

struct complete {
    const struct meta_upload_complete *cmd;
    struct meta_upload upload;
    uint32_t at;          /* listed parts matched so far */
    uint64_t size;
    bool unlisted;        /* a part that the list leaves out */
    uint8_t checksum_algorithm;
    struct enc *chunk;    /* PART_LIST record being filled */
    struct enc *chunks;   /* body_record.chunks */
};

static void list_hash(struct machine *m, const struct meta_upload_complete *cmd, uint8_t ret_hash[16])
{
    uint8_t hash[SHA256_BYTES];
    for (uint32_t i = 0; i < cmd->part_count; i++) {
        uint8_t head[3];
        store_le16(head, cmd->parts[i].number);
        head[2] = (uint8_t)cmd->parts[i].etag_md5.len;
        digest_update(&m->digest, head, sizeof(head));
        digest_update(&m->digest, cmd->parts[i].etag_md5.data, cmd->parts[i].etag_md5.len);
    }
    digest_final(&m->digest, hash);
    memcpy(ret_hash, hash, 16);
}

/* The upload is gone: the remembered result of the same list, or NO_UPLOAD. */
static enum errc completed_answer(struct apply *a, const struct meta_upload_complete *cmd)
{
    struct key key;
    struct completed_record completed;
    struct enc *value = machine_scratch(a->m);
    uint8_t hash[16];
    key_of_upload(&key, TABLE_COMPLETED, cmd->bucket_id, cmd->upload_id);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        apply_outcome(a, META_NO_UPLOAD);
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_completed_decode(enc_slice(value), &completed);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a completed upload");
    }
    list_hash(a->m, cmd, hash);
    if (!slice_equal(completed.key, cmd->key) || memcmp(hash, completed.list_hash, sizeof(hash)) != 0) {
        apply_outcome(a, META_NO_UPLOAD);
        return ERRC_OK;
    }
    a->result = completed.result;
    return ERRC_OK;
}

static enum errc completed_forget(struct apply *a, uint64_t order)
{
    struct key key;
    struct slice name;
    struct enc *value = machine_scratch(a->m);
    key_table_u64(&key, TABLE_COMPLETED_ORDER, order);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_bytes_decode(enc_slice(value), &name);
    if (rc != ERRC_OK || name.len != 24) {
        return record_error(a->e, ERRC_CORRUPT, "a completed upload's order");
    }
    apply_delete(a, &key);
    key_table_raw(&key, TABLE_COMPLETED, name.data, name.len);
    apply_delete(a, &key);
    return ERRC_OK;
}

static enum errc completed_remember(struct apply *a, const struct meta_upload_complete *cmd)
{
    struct key key;
    struct completed_record completed = { .key = cmd->key, .result = a->result };
    uint64_t order = a->m->counters.next_completed++;
    list_hash(a->m, cmd, completed.list_hash);
    key_of_upload(&key, TABLE_COMPLETED, cmd->bucket_id, cmd->upload_id);
    struct enc *record = machine_record(a->m);
    record_completed_encode(record, &completed);
    apply_put(a, &key, record);
    struct slice name = slice_of(key.bytes + 1, key.len - 1);
    struct key order_key;
    key_table_u64(&order_key, TABLE_COMPLETED_ORDER, order);
    record_bytes_encode(record, name);
    apply_put(a, &order_key, record);
    return order > COMPLETED_MAX ? completed_forget(a, order - COMPLETED_MAX) : ERRC_OK;
}

static void chunk_flush(struct apply *a, struct complete *c)
{
    struct key key;
    key_of_upload(&key, TABLE_PART_LIST, c->cmd->bucket_id, c->cmd->upload_id);
    key_u32(&key, (c->at - 1) / RECORD_PART_CHUNK);
    apply_put(a, &key, c->chunk);
}

static bool part_is(const struct part_record *part, const struct meta_complete_part *listed)
{
    return part->part.number == listed->number && slice_equal(part->part.etag_md5, listed->etag_md5) &&
           (listed->checksum.len == 0 || slice_equal(part->part.checksum.value, listed->checksum));
}

static void part_take(struct apply *a, struct complete *c, const struct part_record *part)
{
    if (c->at % RECORD_PART_CHUNK == 0) {
        record_chunk_begin(c->chunk);
        enc_uint(c->chunks, part->part.number);
        enc_uint(c->chunks, c->size);
    }
    struct meta_part_ref ref = { .number = part->part.number, .size = part->part.size,
                                 .etag_md5 = part->part.etag_md5 };
    memcpy(ref.part_id, part->part_id, sizeof(ref.part_id));
    if (part->part.checksum.algorithm == c->checksum_algorithm) {
        ref.checksum = part->part.checksum.value;
    }
    meta_part_ref_encode(c->chunk, &ref);
    c->size += part->part.size;
    c->at++;
    if (c->at % RECORD_PART_CHUNK == 0 || c->at == c->cmd->part_count) {
        chunk_flush(a, c);
    }
}

static void part_refuse(struct apply *a, uint16_t number)
{
    apply_outcome(a, META_NO_PART);
    a->result.detail = number;
}

/* One stored part, in order of numbers, against the list. */
static void part_match(struct apply *a, struct complete *c, const struct part_record *part, struct slice row_key)
{
    const struct meta_complete_part *listed = c->at < c->cmd->part_count ? &c->cmd->parts[c->at] : NULL;
    if (listed == NULL || part->part.number < listed->number) {
        c->unlisted = true;
    } else if (!part_is(part, listed)) {
        part_refuse(a, listed->number);
    } else {
        part_take(a, c, part);
        a->m->kv->vt->batch_delete(a->m->batch, row_key);
    }
}

static enum errc parts_match(struct apply *a, struct complete *c)
{
    struct kv *kv = a->m->kv;
    struct key first, end;
    key_of_upload(&first, TABLE_PART, c->cmd->bucket_id, c->cmd->upload_id);
    end = first;
    key_successor(&end);
    struct kv_iterator *it = kv->vt->iterate(kv, key_slice(&first), key_slice(&end));
    enum errc rc = ERRC_OK;
    kv->vt->iterator_seek(it, key_slice(&first));
    while (rc == ERRC_OK && apply_ok(a) && kv->vt->iterator_valid(it)) {
        struct part_record part;
        rc = record_part_decode(kv->vt->iterator_value(it), &part);
        if (rc != ERRC_OK) {
            rc = record_error(a->e, rc, "a part");
            break;
        }
        part_match(a, c, &part, kv->vt->iterator_key(it));
        kv->vt->iterator_next(it);
    }
    if (rc == ERRC_OK && !kv->vt->iterator_valid(it)) {
        rc = kv->vt->iterator_error(it, a->e);
    }
    kv->vt->iterator_destroy(it);
    if (rc == ERRC_OK && apply_ok(a) && c->at < c->cmd->part_count) {
        part_refuse(a, c->cmd->parts[c->at].number);
    }
    return rc;
}

static bool list_valid(const struct meta_upload_complete *cmd)
{
    for (uint32_t i = 1; i < cmd->part_count; i++) {
        if (cmd->parts[i].number <= cmd->parts[i - 1].number) {
            return false;
        }
    }
    return cmd->part_count > 0;
}

static enum errc version_make(struct apply *a, struct complete *c, struct stack *stack)
{
    const struct meta_upload_complete *cmd = c->cmd;
    struct meta_row row = c->upload.row;
    row.nonce = cmd->nonce;
    row.mtime_ms = cmd->mtime_ms;
    row.size = c->size;
    row.delete_marker = false;
    row.etag = cmd->etag;
    if (cmd->checksum.algorithm != 0) {
        row.checksum_algorithm = cmd->checksum.algorithm;
        row.checksum_type = cmd->checksum.type;
    }
    enum errc rc = stack_push(a, stack, &row);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct key key;
    struct body_record body = {
        .headers = c->upload.headers,
        .user_metadata = c->upload.user_metadata,
        .checksum = cmd->checksum,
        .data_kind = META_DATA_PARTS,
        .part_count = cmd->part_count,
        .chunks = enc_slice(c->chunks),
    };
    memcpy(body.upload_id, cmd->upload_id, sizeof(body.upload_id));
    key_version(&key, TABLE_BODY, cmd->bucket_id, cmd->key, row.seq);
    struct enc *record = machine_record(a->m);
    record_body_encode(record, &body);
    apply_put(a, &key, record);
    apply_version_result(a, &row);
    a->result.etag = row.etag;
    a->result.checksum = cmd->checksum;
    return ERRC_OK;
}

static void upload_end(struct apply *a, const struct complete *c)
{
    struct key key;
    key_upload(&key, c->cmd->bucket_id, c->cmd->key, c->cmd->upload_id);
    apply_delete(a, &key);
    a->bucket->counts.uploads--;
    a->m->counters.status.uploads--;
    if (c->unlisted) {
        struct gc_record item = { .kind = GC_UPLOAD, .bucket = c->cmd->bucket_id };
        memcpy(item.id, c->cmd->upload_id, sizeof(item.id));
        gc_add(a, &item);
    }
}

static enum errc complete_decide(struct apply *a, struct complete *c)
{
    struct stack stack;
    enum errc rc = stack_load(a, c->cmd->key, &stack);
    if (rc != ERRC_OK) {
        return rc;
    }
    stack_check(a, &stack, &c->cmd->conditions);
    if (apply_ok(a)) {
        rc = parts_match(a, c);
    }
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    if (c->size != c->cmd->size) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    rc = version_make(a, c, &stack);
    if (rc == ERRC_OK) {
        upload_end(a, c);
        rc = completed_remember(a, c->cmd);
    }
    return rc;
}

enum errc apply_upload_complete(struct apply *a, const struct meta_upload_complete *cmd)
{
    struct key key;
    struct complete c = { .cmd = cmd, .chunk = machine_scratch(a->m), .chunks = machine_scratch(a->m) };
    struct enc *value = machine_scratch(a->m);
    if (!list_valid(cmd)) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    enum errc rc = apply_bucket_load(a, cmd->bucket_id);
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    key_upload(&key, cmd->bucket_id, cmd->key, cmd->upload_id);
    rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        return completed_answer(a, cmd);
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_upload_decode(enc_slice(value), &c.upload);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "an upload");
    }
    c.checksum_algorithm = cmd->checksum.algorithm;
    return complete_decide(a, &c);
}
