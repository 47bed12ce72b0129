/*
 * Commands of the metadata service and their results: version, type, fields.
 */
#include "common/base/assert.h"
#include "common/rpc/metadata_codec.h"

static void conditions_encode(struct enc *enc, const struct meta_conditions *in)
{
    unsigned flags = (in->if_match.len > 0 ? 1u : 0) | (in->if_none_match.len > 0 ? 2u : 0) |
                     (in->has_size ? 4u : 0) | (in->has_mtime ? 8u : 0);
    enc_u8(enc, (uint8_t)flags);
    if (flags != 0) {
        enc_bytes(enc, in->if_match);
        enc_bytes(enc, in->if_none_match);
        enc_uint(enc, in->has_size ? in->size : 0);
        enc_uint(enc, in->has_mtime ? in->mtime_s : 0);
    }
}

static void conditions_decode(struct dec *dec, struct meta_conditions *ret)
{
    unsigned flags = meta_u8(dec, 15);
    *ret = (struct meta_conditions){ .has_size = (flags & 4) != 0, .has_mtime = (flags & 8) != 0 };
    if (flags != 0) {
        ret->if_match = dec_bytes(dec);
        ret->if_none_match = dec_bytes(dec);
        ret->size = dec_uint(dec);
        ret->mtime_s = dec_uint(dec);
    }
}

static void object_put_encode(struct enc *enc, const struct meta_object_put *in)
{
    enc_uint(enc, in->bucket_id);
    enc_bytes(enc, in->key);
    enc_uint(enc, in->session);
    conditions_encode(enc, &in->conditions);
    meta_row_encode(enc, &in->row);
    meta_body_encode(enc, &in->body);
    meta_extents_encode(enc, in->extent_count, in->extents);
    enc_uint(enc, in->map_revision);
}

static void object_put_decode(struct meta_input *in, struct meta_object_put *ret)
{
    ret->bucket_id = dec_uint(&in->dec);
    ret->key = meta_bytes(&in->dec, KEY_BYTES_MAX);
    ret->session = dec_uint(&in->dec);
    conditions_decode(&in->dec, &ret->conditions);
    meta_row_decode(&in->dec, &ret->row);
    meta_body_decode(in, &ret->body);
    ret->extents = meta_extents_decode(in, EXTENT_REFS_MAX, &ret->extent_count);
    ret->map_revision = dec_uint(&in->dec);
}

static void object_delete_encode(struct enc *enc, const struct meta_object_delete *in)
{
    enc_uint(enc, in->bucket_id);
    enc_bytes(enc, in->key);
    enc_u8(enc, in->has_version ? 1 : 0);
    enc_uint(enc, in->version.seq);
    enc_u64(enc, in->version.nonce);
    enc_u8(enc, in->version.null_version ? 1 : 0);
    conditions_encode(enc, &in->conditions);
    enc_u64(enc, in->nonce);
    enc_uint(enc, in->mtime_ms);
}

static void object_delete_decode(struct dec *dec, struct meta_object_delete *ret)
{
    ret->bucket_id = dec_uint(dec);
    ret->key = meta_bytes(dec, KEY_BYTES_MAX);
    ret->has_version = meta_bool(dec);
    ret->version.seq = dec_uint(dec);
    ret->version.nonce = dec_u64(dec);
    ret->version.null_version = meta_bool(dec);
    conditions_decode(dec, &ret->conditions);
    ret->nonce = dec_u64(dec);
    ret->mtime_ms = dec_uint(dec);
}

static void upload_create_encode(struct enc *enc, const struct meta_upload_create *in)
{
    enc_uint(enc, in->bucket_id);
    enc_bytes(enc, in->key);
    enc_raw(enc, in->nonce, sizeof(in->nonce));
    enc_uint(enc, in->initiated_ms);
    meta_row_encode(enc, &in->row);
    enc_bytes(enc, in->headers);
    enc_bytes(enc, in->user_metadata);
}

static void upload_create_decode(struct dec *dec, struct meta_upload_create *ret)
{
    ret->bucket_id = dec_uint(dec);
    ret->key = meta_bytes(dec, KEY_BYTES_MAX);
    dec_copy(dec, ret->nonce, sizeof(ret->nonce));
    ret->initiated_ms = dec_uint(dec);
    meta_row_decode(dec, &ret->row);
    ret->headers = dec_bytes(dec);
    ret->user_metadata = dec_bytes(dec);
}

static void upload_part_encode(struct enc *enc, const struct meta_upload_part *in)
{
    enc_uint(enc, in->bucket_id);
    enc_bytes(enc, in->key);
    enc_raw(enc, in->upload_id, sizeof(in->upload_id));
    enc_uint(enc, in->session);
    enc_raw(enc, in->part_id, sizeof(in->part_id));
    enc_uint(enc, in->number);
    enc_uint(enc, in->size);
    enc_uint(enc, in->mtime_ms);
    enc_bytes(enc, in->etag_md5);
    meta_checksum_encode(enc, &in->checksum);
    enc_bytes(enc, in->inline_bytes);
    meta_refs_encode(enc, in->ref_count, in->refs);
    meta_extents_encode(enc, in->extent_count, in->extents);
    enc_uint(enc, in->map_revision);
}

static void upload_part_decode(struct meta_input *in, struct meta_upload_part *ret)
{
    struct dec *dec = &in->dec;
    ret->bucket_id = dec_uint(dec);
    ret->key = meta_bytes(dec, KEY_BYTES_MAX);
    dec_copy(dec, ret->upload_id, sizeof(ret->upload_id));
    ret->session = dec_uint(dec);
    dec_copy(dec, ret->part_id, sizeof(ret->part_id));
    ret->number = meta_uint16(dec);
    ret->size = dec_uint(dec);
    ret->mtime_ms = dec_uint(dec);
    ret->etag_md5 = meta_bytes(dec, 16);
    meta_checksum_decode(dec, &ret->checksum);
    ret->inline_bytes = meta_bytes(dec, INLINE_BYTES_MAX);
    ret->refs = meta_refs_decode(in, &ret->ref_count);
    ret->extents = meta_extents_decode(in, EXTENT_REFS_MAX, &ret->extent_count);
    ret->map_revision = dec_uint(dec);
}

static void upload_complete_encode(struct enc *enc, const struct meta_upload_complete *in)
{
    enc_uint(enc, in->bucket_id);
    enc_bytes(enc, in->key);
    enc_raw(enc, in->upload_id, sizeof(in->upload_id));
    enc_u64(enc, in->nonce);
    enc_uint(enc, in->mtime_ms);
    conditions_encode(enc, &in->conditions);
    enc_bytes(enc, in->etag);
    meta_checksum_encode(enc, &in->checksum);
    enc_uint(enc, in->size);
    enc_uint(enc, in->part_count);
    for (uint32_t i = 0; i < in->part_count; i++) {
        enc_uint(enc, in->parts[i].number);
        enc_bytes(enc, in->parts[i].etag_md5);
        enc_bytes(enc, in->parts[i].checksum);
    }
}

static void upload_complete_decode(struct meta_input *in, struct meta_upload_complete *ret)
{
    struct dec *dec = &in->dec;
    ret->bucket_id = dec_uint(dec);
    ret->key = meta_bytes(dec, KEY_BYTES_MAX);
    dec_copy(dec, ret->upload_id, sizeof(ret->upload_id));
    ret->nonce = dec_u64(dec);
    ret->mtime_ms = dec_uint(dec);
    conditions_decode(dec, &ret->conditions);
    ret->etag = meta_bytes(dec, ETAG_BYTES_MAX);
    meta_checksum_decode(dec, &ret->checksum);
    ret->size = dec_uint(dec);
    struct meta_complete_part *parts = meta_array(in, PARTS_MAX, sizeof(*parts), 3, &ret->part_count);
    for (uint32_t i = 0; i < ret->part_count; i++) {
        parts[i].number = meta_uint16(dec);
        parts[i].etag_md5 = meta_bytes(dec, 16);
        parts[i].checksum = meta_bytes(dec, CHECKSUM_BYTES_MAX);
    }
    ret->parts = parts;
}

static void gc_done_encode(struct enc *enc, const struct meta_gc_done *in)
{
    enc_uint(enc, in->count);
    for (uint32_t i = 0; i < in->count; i++) {
        enc_uint(enc, in->seqs[i]);
    }
}

static void gc_done_decode(struct meta_input *in, struct meta_gc_done *ret)
{
    uint64_t *seqs = meta_array(in, GC_DONE_MAX, sizeof(*seqs), 1, &ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        seqs[i] = dec_uint(&in->dec);
    }
    ret->seqs = seqs;
}

static void object_command_encode(struct enc *enc, const struct meta_command *in)
{
    switch (in->type) {
    case META_CMD_OBJECT_PUT:
    case META_CMD_OBJECT_ADOPT:
        object_put_encode(enc, &in->object_put);
        break;
    case META_CMD_OBJECT_DELETE:
        object_delete_encode(enc, &in->object_delete);
        break;
    case META_CMD_UPLOAD_CREATE:
        upload_create_encode(enc, &in->upload_create);
        break;
    case META_CMD_UPLOAD_PART:
        upload_part_encode(enc, &in->upload_part);
        break;
    case META_CMD_UPLOAD_COMPLETE:
        upload_complete_encode(enc, &in->upload_complete);
        break;
    case META_CMD_UPLOAD_ABORT:
        enc_uint(enc, in->upload_abort.bucket_id);
        enc_bytes(enc, in->upload_abort.key);
        enc_raw(enc, in->upload_abort.upload_id, sizeof(in->upload_abort.upload_id));
        break;
    default:
        UNREACHABLE();
    }
}

static void object_command_decode(struct meta_input *in, struct meta_command *ret)
{
    switch (ret->type) {
    case META_CMD_OBJECT_PUT:
    case META_CMD_OBJECT_ADOPT:
        object_put_decode(in, &ret->object_put);
        break;
    case META_CMD_OBJECT_DELETE:
        object_delete_decode(&in->dec, &ret->object_delete);
        break;
    case META_CMD_UPLOAD_CREATE:
        upload_create_decode(&in->dec, &ret->upload_create);
        break;
    case META_CMD_UPLOAD_PART:
        upload_part_decode(in, &ret->upload_part);
        break;
    case META_CMD_UPLOAD_COMPLETE:
        upload_complete_decode(in, &ret->upload_complete);
        break;
    case META_CMD_UPLOAD_ABORT:
        ret->upload_abort.bucket_id = dec_uint(&in->dec);
        ret->upload_abort.key = meta_bytes(&in->dec, KEY_BYTES_MAX);
        dec_copy(&in->dec, ret->upload_abort.upload_id, sizeof(ret->upload_abort.upload_id));
        break;
    default:
        UNREACHABLE();
    }
}

static void extent_command_encode(struct enc *enc, const struct meta_command *in)
{
    switch (in->type) {
    case META_CMD_EXTENT_REPAIRED:
        enc_raw(enc, in->extent_repaired.id.bytes, ID_BYTES);
        enc_uint(enc, in->extent_repaired.epoch);
        extent_encode(enc, &in->extent_repaired.after);
        enc_uint(enc, in->extent_repaired.map_revision);
        break;
    case META_CMD_EXTENT_MISSING:
        enc_raw(enc, in->extent_missing.id.bytes, ID_BYTES);
        enc_uint(enc, in->extent_missing.shards);
        break;
    case META_CMD_GC_DONE:
        gc_done_encode(enc, &in->gc_done);
        break;
    case META_CMD_GC_EXPAND:
        enc_uint(enc, in->gc_expand.seq);
        break;
    case META_CMD_GROUP_SWEEP:
        enc_uint(enc, in->group_sweep.group);
        enc_u8(enc, in->group_sweep.position);
        enc_raw(enc, in->group_sweep.from.bytes, ID_BYTES);
        enc_uint(enc, in->group_sweep.limit);
        break;
    default:
        UNREACHABLE();
    }
}

static void extent_command_decode(struct meta_input *in, struct meta_command *ret)
{
    struct dec *dec = &in->dec;
    switch (ret->type) {
    case META_CMD_EXTENT_REPAIRED:
        dec_copy(dec, ret->extent_repaired.id.bytes, ID_BYTES);
        ret->extent_repaired.epoch = dec_uint32(dec);
        extent_decode(dec, &ret->extent_repaired.after);
        ret->extent_repaired.map_revision = dec_uint(dec);
        break;
    case META_CMD_EXTENT_MISSING:
        dec_copy(dec, ret->extent_missing.id.bytes, ID_BYTES);
        ret->extent_missing.shards = dec_uint32(dec);
        break;
    case META_CMD_GC_DONE:
        gc_done_decode(in, &ret->gc_done);
        break;
    case META_CMD_GC_EXPAND:
        ret->gc_expand.seq = dec_uint(dec);
        break;
    case META_CMD_GROUP_SWEEP:
        ret->group_sweep.group = dec_uint32(dec);
        ret->group_sweep.position = meta_u8(dec, GROUP_DISKS_MAX - 1);
        dec_copy(dec, ret->group_sweep.from.bytes, ID_BYTES);
        ret->group_sweep.limit = dec_uint32(dec);
        break;
    default:
        UNREACHABLE();
    }
}

static void small_command_encode(struct enc *enc, const struct meta_command *in)
{
    switch (in->type) {
    case META_CMD_BUCKET_CREATE:
        meta_bucket_encode(enc, &in->bucket_create.bucket);
        break;
    case META_CMD_BUCKET_DELETE:
        enc_bytes(enc, in->bucket_delete.name);
        break;
    case META_CMD_BUCKET_VERSIONING:
        enc_bytes(enc, in->bucket_versioning.name);
        enc_u8(enc, in->bucket_versioning.versioning);
        break;
    case META_CMD_BUCKET_CLASS:
        enc_bytes(enc, in->bucket_class.name);
        enc_u8(enc, in->bucket_class.class_k);
        enc_u8(enc, in->bucket_class.class_m);
        break;
    case META_CMD_SESSION_OPEN:
        enc_raw(enc, in->session_open.node.bytes, ID_BYTES);
        enc_uint(enc, in->session_open.opened_ms);
        break;
    case META_CMD_SESSION_RESERVE:
        enc_uint(enc, in->session_reserve.session);
        break;
    case META_CMD_SESSION_CLOSE:
    case META_CMD_SESSION_SETTLE:
        enc_uint(enc, in->session_close.session);
        break;
    case META_CMD_DISK_PUT:
        meta_disk_encode(enc, &in->disk_put.disk);
        break;
    case META_CMD_GROUP_PUT:
        meta_group_encode(enc, &in->group_put.group);
        break;
    case META_CMD_IDENTITY_PUT:
        enc_bytes(enc, in->identity_put.access_key);
        enc_bytes(enc, in->identity_put.record);
        enc_u8(enc, in->identity_put.remove ? 1 : 0);
        break;
    case META_CMD_SETTING_PUT:
        enc_bytes(enc, in->setting_put.name);
        enc_bytes(enc, in->setting_put.value);
        break;
    case META_CMD_NODE_PUT:
        meta_node_encode(enc, &in->node_put.node);
        break;
    case META_CMD_TOKEN_PUT:
        meta_token_encode(enc, &in->token_put.token);
        break;
    case META_CMD_TOKEN_USE:
        enc_raw(enc, in->token_use.id, sizeof(in->token_use.id));
        enc_raw(enc, in->token_use.secret_hash, META_HASH_BYTES);
        enc_u64(enc, in->token_use.now_ms);
        meta_node_encode(enc, &in->token_use.node);
        break;
    default:
        UNREACHABLE();
    }
}

static void small_command_decode(struct dec *dec, struct meta_command *ret)
{
    switch (ret->type) {
    case META_CMD_BUCKET_CREATE:
        meta_bucket_decode(dec, &ret->bucket_create.bucket);
        break;
    case META_CMD_BUCKET_DELETE:
        ret->bucket_delete.name = meta_bytes(dec, BUCKET_NAME_BYTES_MAX);
        break;
    case META_CMD_BUCKET_VERSIONING:
        ret->bucket_versioning.name = meta_bytes(dec, BUCKET_NAME_BYTES_MAX);
        ret->bucket_versioning.versioning = meta_u8(dec, META_VERSIONING_SUSPENDED);
        break;
    case META_CMD_BUCKET_CLASS:
        ret->bucket_class.name = meta_bytes(dec, BUCKET_NAME_BYTES_MAX);
        ret->bucket_class.class_k = meta_u8(dec, CODE_K_MAX);
        ret->bucket_class.class_m = meta_u8(dec, CODE_M_MAX);
        break;
    case META_CMD_SESSION_OPEN:
        dec_copy(dec, ret->session_open.node.bytes, ID_BYTES);
        ret->session_open.opened_ms = dec_uint(dec);
        break;
    case META_CMD_SESSION_RESERVE:
        ret->session_reserve.session = dec_uint(dec);
        break;
    case META_CMD_SESSION_CLOSE:
    case META_CMD_SESSION_SETTLE:
        ret->session_close.session = dec_uint(dec);
        break;
    case META_CMD_DISK_PUT:
        meta_disk_decode(dec, &ret->disk_put.disk);
        break;
    case META_CMD_GROUP_PUT:
        meta_group_decode(dec, &ret->group_put.group);
        break;
    case META_CMD_IDENTITY_PUT:
        ret->identity_put.access_key = meta_bytes(dec, 256);
        ret->identity_put.record = dec_bytes(dec);
        ret->identity_put.remove = meta_bool(dec);
        break;
    case META_CMD_SETTING_PUT:
        ret->setting_put.name = meta_bytes(dec, 256);
        ret->setting_put.value = dec_bytes(dec);
        break;
    case META_CMD_NODE_PUT:
        meta_node_decode(dec, &ret->node_put.node);
        break;
    case META_CMD_TOKEN_PUT:
        meta_token_decode(dec, &ret->token_put.token);
        break;
    case META_CMD_TOKEN_USE:
        dec_copy(dec, ret->token_use.id, sizeof(ret->token_use.id));
        dec_copy(dec, ret->token_use.secret_hash, META_HASH_BYTES);
        ret->token_use.now_ms = dec_u64(dec);
        meta_node_decode(dec, &ret->token_use.node);
        break;
    default:
        UNREACHABLE();
    }
}

enum command_family { FAMILY_NONE, FAMILY_OBJECT, FAMILY_EXTENT, FAMILY_SMALL };

static enum command_family family_of(uint16_t type)
{
    switch (type) {
    case META_CMD_OBJECT_PUT:
    case META_CMD_OBJECT_ADOPT:
    case META_CMD_OBJECT_DELETE:
    case META_CMD_UPLOAD_CREATE:
    case META_CMD_UPLOAD_PART:
    case META_CMD_UPLOAD_COMPLETE:
    case META_CMD_UPLOAD_ABORT:
        return FAMILY_OBJECT;
    case META_CMD_EXTENT_REPAIRED:
    case META_CMD_EXTENT_MISSING:
    case META_CMD_GC_DONE:
    case META_CMD_GC_EXPAND:
    case META_CMD_GROUP_SWEEP:
        return FAMILY_EXTENT;
    case META_CMD_NODE_PUT:
    case META_CMD_TOKEN_PUT:
    case META_CMD_TOKEN_USE:
    case META_CMD_SESSION_SETTLE:
    case META_CMD_BUCKET_CLASS:
        return FAMILY_SMALL;
    default:
        return type >= META_CMD_BUCKET_CREATE && type <= META_CMD_SETTING_PUT ? FAMILY_SMALL : FAMILY_NONE;
    }
}

void meta_command_encode(struct enc *enc, const struct meta_command *in)
{
    enc_u8(enc, in->request.number > 0 ? META_COMMAND_NAMED : META_COMMAND_VERSION);
    if (in->request.number > 0) {
        enc_raw(enc, in->request.client, META_CLIENT_BYTES);
        enc_uint(enc, in->request.number);
    }
    enc_u16(enc, in->type);
    enum command_family family = family_of(in->type);
    ASSERT(family != FAMILY_NONE);
    if (family == FAMILY_OBJECT) {
        object_command_encode(enc, in);
    } else if (family == FAMILY_EXTENT) {
        extent_command_encode(enc, in);
    } else {
        small_command_encode(enc, in);
    }
}

enum errc meta_command_decode(struct slice bytes, struct arena *arena, struct meta_command *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    memset(ret, 0, sizeof(*ret));
    uint8_t version = dec_u8(&in.dec);
    if (version == META_COMMAND_NAMED) {
        dec_copy(&in.dec, ret->request.client, META_CLIENT_BYTES);
        ret->request.number = dec_uint(&in.dec);
        in.dec.failed = in.dec.failed || ret->request.number == 0;
    }
    ret->type = dec_u16(&in.dec);
    if (in.dec.failed) {
        return ERRC_CORRUPT;
    }
    enum command_family family = family_of(ret->type);
    if ((version != META_COMMAND_VERSION && version != META_COMMAND_NAMED) || family == FAMILY_NONE) {
        return ERRC_FORMAT;
    }
    if (family == FAMILY_OBJECT) {
        object_command_decode(&in, ret);
    } else if (family == FAMILY_EXTENT) {
        extent_command_decode(&in, ret);
    } else {
        small_command_decode(&in.dec, ret);
    }
    return meta_input_end(&in);
}

void meta_result_encode(struct enc *enc, const struct meta_result *in)
{
    bool bucket = in->bucket.id != 0;
    unsigned flags = (in->null_version ? 1u : 0) | (in->versioned ? 2u : 0) | (in->delete_marker ? 4u : 0) |
                     (in->made_marker ? 8u : 0) | (bucket ? 16u : 0);
    enc_u8(enc, in->outcome);
    enc_u8(enc, (uint8_t)flags);
    enc_uint(enc, in->index);
    enc_uint(enc, in->seq);
    enc_u64(enc, in->nonce);
    enc_uint(enc, in->mtime_ms);
    enc_uint(enc, in->value);
    enc_uint(enc, in->detail);
    enc_raw(enc, in->upload_id, sizeof(in->upload_id));
    enc_bytes(enc, in->etag);
    meta_checksum_encode(enc, &in->checksum);
    if (bucket) {
        meta_bucket_encode(enc, &in->bucket);
    }
}

enum errc meta_result_decode(struct slice bytes, struct arena *arena, struct meta_result *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_result){ .outcome = meta_u8(&in.dec, META_NODE_REMOVED) };
    unsigned flags = meta_u8(&in.dec, 31);
    ret->null_version = (flags & 1) != 0;
    ret->versioned = (flags & 2) != 0;
    ret->delete_marker = (flags & 4) != 0;
    ret->made_marker = (flags & 8) != 0;
    ret->index = dec_uint(&in.dec);
    ret->seq = dec_uint(&in.dec);
    ret->nonce = dec_u64(&in.dec);
    ret->mtime_ms = dec_uint(&in.dec);
    ret->value = dec_uint(&in.dec);
    ret->detail = dec_uint32(&in.dec);
    dec_copy(&in.dec, ret->upload_id, sizeof(ret->upload_id));
    ret->etag = meta_bytes(&in.dec, ETAG_BYTES_MAX);
    meta_checksum_decode(&in.dec, &ret->checksum);
    if ((flags & 16) != 0) {
        meta_bucket_decode(&in.dec, &ret->bucket);
    }
    return meta_input_end(&in);
}
