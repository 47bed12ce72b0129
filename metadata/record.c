#include "metadata/record.h"

#include "common/base/assert.h"

static void begin(struct enc *enc)
{
    enc_reset(enc);
    enc_u8(enc, RECORD_VERSION);
}

enum errc record_walk(struct slice value, struct dec *ret_dec)
{
    *ret_dec = dec_of(value);
    uint8_t version = dec_u8(ret_dec);
    if (ret_dec->failed || version == 0) {
        return ERRC_CORRUPT;
    }
    return version == RECORD_VERSION ? ERRC_OK : ERRC_FORMAT;
}

static enum errc end(const struct dec *dec)
{
    return dec_done(dec) ? ERRC_OK : ERRC_CORRUPT;
}

static uint32_t uint32(struct dec *dec)
{
    uint64_t v = dec_uint(dec);
    dec->failed = dec->failed || v > UINT32_MAX;
    return (uint32_t)v;
}

#define COUNTER_FIELDS(X)                                                                        \
    X(status.buckets) X(status.objects) X(status.versions) X(status.bytes) X(status.uploads)     \
    X(status.extents) X(status.extents_full) X(status.extents_smaller)                           \
    X(status.extents_unreadable) X(status.stripes) X(status.stripes_degraded) X(status.gc_items) \
    X(status.sessions_open) X(next_bucket) X(next_session) X(next_gc) X(next_completed) X(revision)

void record_counters_append(struct enc *enc, const struct machine_counters *in)
{
#define X(field) enc_uint(enc, in->field);
    COUNTER_FIELDS(X)
#undef X
    for (unsigned i = 0; i <= CODE_M_MAX; i++) {
        enc_uint(enc, in->status.extents_missing[i]);
    }
}

static void counters_decode(struct dec *dec, struct machine_counters *ret)
{
    *ret = (struct machine_counters){ 0 };
#define X(field) ret->field = dec_uint(dec);
    COUNTER_FIELDS(X)
#undef X
    for (unsigned i = 0; i <= CODE_M_MAX; i++) {
        ret->status.extents_missing[i] = dec_uint(dec);
    }
}

void record_state_encode(struct enc *enc, const struct position_record *position,
                         const struct machine_counters *counters)
{
    begin(enc);
    enc_u64(enc, position->index);
    enc_u32(enc, position->sub);
    enc_raw(enc, position->chain, sizeof(position->chain));
    record_counters_append(enc, counters);
}

enum errc record_state_decode(struct slice value, struct position_record *ret_position,
                              struct machine_counters *ret_counters)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    ret_position->index = dec_u64(&dec);
    ret_position->sub = dec_u32(&dec);
    dec_copy(&dec, ret_position->chain, sizeof(ret_position->chain));
    counters_decode(&dec, ret_counters);
    return end(&dec);
}

void record_bucket_encode(struct enc *enc, const struct meta_bucket *in)
{
    struct meta_bucket bucket = *in;
    bucket.objects = 0;
    bucket.bytes = 0;
    begin(enc);
    meta_bucket_encode(enc, &bucket);
}

enum errc record_bucket_decode(struct slice value, struct meta_bucket *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    meta_bucket_decode(&dec, ret);
    return end(&dec);
}

void record_counts_encode(struct enc *enc, const struct bucket_counts *in)
{
    begin(enc);
    enc_uint(enc, in->next_seq);
    enc_uint(enc, in->objects);
    enc_uint(enc, in->bytes);
    enc_uint(enc, in->versions);
    enc_uint(enc, in->uploads);
}

enum errc record_counts_decode(struct slice value, struct bucket_counts *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    ret->next_seq = dec_uint(&dec);
    ret->objects = dec_uint(&dec);
    ret->bytes = dec_uint(&dec);
    ret->versions = dec_uint(&dec);
    ret->uploads = dec_uint(&dec);
    return end(&dec);
}

void record_current_encode(struct enc *enc, const struct current_record *in)
{
    begin(enc);
    meta_row_encode(enc, &in->row);
    enc_uint(enc, in->null_seq);
}

enum errc record_current_decode(struct slice value, struct current_record *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    meta_row_decode(&dec, &ret->row);
    ret->null_seq = dec_uint(&dec);
    return end(&dec);
}

void record_row_encode(struct enc *enc, const struct meta_row *in)
{
    begin(enc);
    meta_row_encode(enc, in);
}

enum errc record_row_decode(struct slice value, struct meta_row *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    meta_row_decode(&dec, ret);
    return end(&dec);
}

void record_refs_encode(struct enc *enc, uint32_t count, const struct extent_ref *refs)
{
    for (uint32_t i = 0; i < count; i++) {
        extent_ref_encode(enc, &refs[i]);
    }
}

void record_body_encode(struct enc *enc, const struct body_record *in)
{
    begin(enc);
    enc_bytes(enc, in->headers);
    enc_bytes(enc, in->user_metadata);
    meta_checksum_encode(enc, &in->checksum);
    enc_u8(enc, in->data_kind);
    if (in->data_kind == META_DATA_EXTENTS) {
        enc_uint(enc, in->ref_count);
        enc_bytes(enc, in->refs);
    } else if (in->data_kind == META_DATA_PARTS) {
        enc_raw(enc, in->upload_id, sizeof(in->upload_id));
        enc_uint(enc, in->part_count);
        enc_bytes(enc, in->chunks);
    }
}

enum errc record_body_decode(struct slice value, struct body_record *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    *ret = (struct body_record){ .headers = dec_bytes(&dec) };
    ret->user_metadata = dec_bytes(&dec);
    meta_checksum_decode(&dec, &ret->checksum);
    ret->data_kind = dec_u8(&dec);
    if (ret->data_kind == META_DATA_EXTENTS) {
        ret->ref_count = uint32(&dec);
        ret->refs = dec_bytes(&dec);
    } else if (ret->data_kind == META_DATA_PARTS) {
        dec_copy(&dec, ret->upload_id, sizeof(ret->upload_id));
        ret->part_count = uint32(&dec);
        ret->chunks = dec_bytes(&dec);
    } else if (ret->data_kind > META_DATA_PARTS) {
        return ERRC_CORRUPT;
    }
    return end(&dec);
}

void record_bytes_encode(struct enc *enc, struct slice bytes)
{
    begin(enc);
    enc_raw(enc, bytes.data, bytes.len);
}

enum errc record_bytes_decode(struct slice value, struct slice *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    *ret = slice_skip(value, 1);
    return rc;
}

void record_manifest_encode(struct enc *enc, const struct manifest_record *in)
{
    begin(enc);
    enc_uint(enc, in->size);
    enc_bytes(enc, in->inline_bytes);
    enc_uint(enc, in->ref_count);
    enc_bytes(enc, in->refs);
}

enum errc record_manifest_decode(struct slice value, struct manifest_record *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    ret->size = dec_uint(&dec);
    ret->inline_bytes = dec_bytes(&dec);
    ret->ref_count = uint32(&dec);
    ret->refs = dec_bytes(&dec);
    return end(&dec);
}

void record_part_encode(struct enc *enc, const struct part_record *in)
{
    begin(enc);
    meta_part_encode(enc, &in->part);
    enc_raw(enc, in->part_id, sizeof(in->part_id));
    enc_uint(enc, in->ref_count);
}

enum errc record_part_decode(struct slice value, struct part_record *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    meta_part_decode(&dec, &ret->part);
    dec_copy(&dec, ret->part_id, sizeof(ret->part_id));
    ret->ref_count = uint32(&dec);
    return end(&dec);
}

void record_upload_encode(struct enc *enc, const struct meta_upload *in)
{
    begin(enc);
    meta_upload_encode(enc, in);
}

enum errc record_upload_decode(struct slice value, struct meta_upload *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    meta_upload_decode(&dec, ret);
    return end(&dec);
}

void record_completed_encode(struct enc *enc, const struct completed_record *in)
{
    begin(enc);
    enc_bytes(enc, in->key);
    enc_raw(enc, in->list_hash, sizeof(in->list_hash));
    enc_uint(enc, in->result.seq);
    enc_u64(enc, in->result.nonce);
    enc_uint(enc, in->result.mtime_ms);
    enc_u8(enc, (uint8_t)((in->result.null_version ? 1u : 0) | (in->result.versioned ? 2u : 0)));
    enc_bytes(enc, in->result.etag);
    meta_checksum_encode(enc, &in->result.checksum);
}

enum errc record_completed_decode(struct slice value, struct completed_record *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    *ret = (struct completed_record){ .key = dec_bytes(&dec) };
    dec_copy(&dec, ret->list_hash, sizeof(ret->list_hash));
    ret->result.seq = dec_uint(&dec);
    ret->result.nonce = dec_u64(&dec);
    ret->result.mtime_ms = dec_uint(&dec);
    uint8_t flags = dec_u8(&dec);
    ret->result.null_version = (flags & 1) != 0;
    ret->result.versioned = (flags & 2) != 0;
    ret->result.etag = dec_bytes(&dec);
    meta_checksum_decode(&dec, &ret->result.checksum);
    return end(&dec);
}

void record_extent_encode(struct enc *enc, const struct extent *in)
{
    begin(enc);
    extent_encode(enc, in);
}

enum errc record_extent_decode(struct slice value, struct extent *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    extent_decode(&dec, ret);
    return end(&dec);
}

void record_gc_encode(struct enc *enc, const struct gc_record *in)
{
    enc_reset(enc);
    bool with_key = in->kind == GC_BODY || (in->kind == GC_BUCKET && in->key.len > 0);
    enc_u8(enc, with_key ? RECORD_GC_KEY : RECORD_VERSION);
    enc_u8(enc, in->kind);
    enc_uint(enc, in->index);
    switch (in->kind) {
    case GC_EXTENT:
        extent_encode(enc, &in->extent);
        break;
    case GC_REFS:
        enc_uint(enc, in->ref_count);
        enc_bytes(enc, in->refs);
        break;
    case GC_BODY:
        enc_uint(enc, in->bucket);
        enc_bytes(enc, in->key);
        enc_uint(enc, in->seq);
        break;
    default:
        enc_raw(enc, in->id, sizeof(in->id));
        enc_uint(enc, in->bucket);
        enc_uint(enc, in->done);
        enc_uint(enc, in->part_count);
        if (with_key) {
            enc_bytes(enc, in->key);
        }
        break;
    }
}

enum errc record_gc_decode(struct slice value, struct gc_record *ret)
{
    struct dec dec = dec_of(value);
    bool with_key = value.len > 0 && value.data[0] == RECORD_GC_KEY;
    enum errc rc = ERRC_OK;
    if (with_key) {
        (void)dec_u8(&dec);
    } else {
        rc = record_walk(value, &dec);
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    *ret = (struct gc_record){ .kind = dec_u8(&dec) };
    if (ret->kind == GC_BODY ? !with_key : with_key && ret->kind != GC_BUCKET) {
        return ERRC_CORRUPT;
    }
    ret->index = dec_uint(&dec);
    switch (ret->kind) {
    case GC_EXTENT:
        extent_decode(&dec, &ret->extent);
        break;
    case GC_REFS:
        ret->ref_count = uint32(&dec);
        ret->refs = dec_bytes(&dec);
        break;
    case GC_BODY:
        ret->bucket = dec_uint(&dec);
        ret->key = dec_bytes(&dec);
        ret->seq = dec_uint(&dec);
        break;
    case GC_MANIFEST:
    case GC_LIST:
    case GC_UPLOAD:
    case GC_BUCKET:
        dec_copy(&dec, ret->id, sizeof(ret->id));
        ret->bucket = dec_uint(&dec);
        ret->done = uint32(&dec);
        ret->part_count = uint32(&dec);
        if (with_key) {
            ret->key = dec_bytes(&dec);
        }
        break;
    default:
        return ERRC_CORRUPT;
    }
    return end(&dec);
}

void record_u64_encode(struct enc *enc, uint64_t in)
{
    begin(enc);
    enc_u64(enc, in);
}

void record_session_encode(struct enc *enc, const struct session_record *in)
{
    begin(enc);
    enc_raw(enc, in->node.bytes, ID_BYTES);
    enc_u8(enc, in->open ? 1 : 0);
    enc_uint(enc, in->next_counter);
    enc_uint(enc, in->opened_ms);
}

enum errc record_session_decode(struct slice value, struct session_record *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    dec_copy(&dec, ret->node.bytes, ID_BYTES);
    ret->open = dec_u8(&dec) == 1;
    ret->next_counter = dec_uint(&dec);
    ret->opened_ms = dec_uint(&dec);
    return end(&dec);
}

void record_disk_encode(struct enc *enc, const struct meta_disk *in)
{
    begin(enc);
    meta_disk_encode(enc, in);
}

enum errc record_disk_decode(struct slice value, struct meta_disk *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    meta_disk_decode(&dec, ret);
    return end(&dec);
}

void record_node_encode(struct enc *enc, const struct meta_node *in)
{
    begin(enc);
    meta_node_encode(enc, in);
}

enum errc record_node_decode(struct slice value, struct meta_node *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    meta_node_decode(&dec, ret);
    return end(&dec);
}

void record_token_encode(struct enc *enc, const struct token_record *in)
{
    begin(enc);
    meta_token_encode(enc, &in->token);
    enc_u8(enc, in->used ? 1 : 0);
    enc_raw(enc, in->used_by, META_HASH_BYTES);
}

enum errc record_token_decode(struct slice value, struct token_record *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    meta_token_decode(&dec, &ret->token);
    uint8_t used = dec_u8(&dec);
    dec_copy(&dec, ret->used_by, META_HASH_BYTES);
    ret->used = used == 1;
    dec.failed = dec.failed || used > 1;
    return end(&dec);
}

void record_client_encode(struct enc *enc, const struct client_record *in)
{
    begin(enc);
    enc_uint(enc, in->number);
    enc_uint(enc, in->noted_index);
}

enum errc record_client_decode(struct slice value, struct client_record *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    ret->number = uint32(&dec);
    ret->noted_index = dec_uint(&dec);
    return end(&dec);
}

void record_request_encode(struct enc *enc, const struct request_record *in)
{
    begin(enc);
    enc_uint(enc, in->number);
    enc_bytes(enc, in->result);
}

enum errc record_request_decode(struct slice value, struct request_record *ret)
{
    struct dec dec;
    enum errc rc = record_walk(value, &dec);
    if (rc != ERRC_OK) {
        return rc;
    }
    ret->number = dec_uint(&dec);
    ret->result = dec_bytes(&dec);
    return end(&dec);
}

static bool group_changed_at_once(const struct group_record *group)
{
    for (unsigned i = 1; i < group->group.disk_count; i++) {
        if (group->changed[i] != group->changed[0]) {
            return false;
        }
    }
    return true;
}

/* The lowest version that says it all: older programs read versions 1 and 2, in which all positions changed at once. */
void record_group_encode(struct enc *enc, const struct group_record *in)
{
    bool at_once = group_changed_at_once(in);
    enc_reset(enc);
    enc_u8(enc, !at_once ? RECORD_GROUP_CHANGES : in->group.class_k > 0 ? RECORD_GROUP_CLASS : RECORD_VERSION);
    meta_group_encode(enc, &in->group);
    for (unsigned i = 0; i < (at_once ? 1u : in->group.disk_count); i++) {
        enc_uint(enc, in->changed[i]);
    }
}

enum errc record_group_decode(struct slice value, struct group_record *ret)
{
    struct dec dec;
    uint8_t version = value.len > 0 ? value.data[0] : 0;
    enum errc rc = ERRC_OK;
    if (version == RECORD_GROUP_CLASS || version == RECORD_GROUP_CHANGES) {
        dec = dec_of(value);
        (void)dec_u8(&dec);
    } else {
        rc = record_walk(value, &dec);
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    memset(ret->changed, 0, sizeof(ret->changed));
    meta_group_decode(&dec, &ret->group);
    dec.failed = dec.failed || ret->group.disk_count > GROUP_DISKS_MAX ||
                 (version != RECORD_GROUP_CHANGES && (version == RECORD_GROUP_CLASS) != (ret->group.class_k > 0));
    ret->changed[0] = dec_uint(&dec);
    for (unsigned i = 1; !dec.failed && i < ret->group.disk_count; i++) {
        ret->changed[i] = version == RECORD_GROUP_CHANGES ? dec_uint(&dec) : ret->changed[0];
    }
    dec.failed = dec.failed || (version == RECORD_GROUP_CHANGES && group_changed_at_once(ret)); /* one form for each value */
    return end(&dec);
}

void record_chunk_begin(struct enc *enc)
{
    begin(enc);
}
