/*
 * Queries of the metadata service and their replies.
 */
#include "common/base/assert.h"
#include "common/rpc/metadata_codec.h"

#define REPLY_ROWS_MAX 100000 /* rows of one reply of any kind: bounds what a decoder allocates */

void meta_query_encode(struct enc *enc, const struct meta_query *in)
{
    unsigned flags = (in->has_version ? 1u : 0) | (in->version.null_version ? 2u : 0) | (in->want_body ? 4u : 0) |
                     (in->want_data ? 8u : 0) | (in->marker_inclusive ? 16u : 0);
    enc_u8(enc, in->type);
    enc_u8(enc, (uint8_t)flags);
    enc_bytes(enc, in->bucket);
    enc_uint(enc, in->bucket_id);
    enc_bytes(enc, in->key);
    enc_uint(enc, in->version.seq);
    enc_u64(enc, in->version.nonce);
    enc_uint(enc, in->range_first);
    enc_uint(enc, in->range_length);
    enc_raw(enc, in->upload_id, sizeof(in->upload_id));
    enc_uint(enc, in->part_number);
    enc_bytes(enc, in->prefix);
    enc_bytes(enc, in->delimiter);
    enc_bytes(enc, in->marker);
    enc_uint(enc, in->marker_seq);
    enc_uint(enc, in->limit);
    enc_raw(enc, in->extent.bytes, ID_BYTES);
    enc_bytes(enc, in->ids);
    enc_uint(enc, in->from);
    enc_bytes(enc, in->name);
}

enum errc meta_query_decode(struct slice bytes, struct arena *arena, struct meta_query *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    struct dec *dec = &in.dec;
    *ret = (struct meta_query){ .type = dec_u8(dec) };
    unsigned flags = meta_u8(dec, 31);
    ret->has_version = (flags & 1) != 0;
    ret->version.null_version = (flags & 2) != 0;
    ret->want_body = (flags & 4) != 0;
    ret->want_data = (flags & 8) != 0;
    ret->marker_inclusive = (flags & 16) != 0;
    ret->bucket = meta_bytes(dec, BUCKET_NAME_BYTES_MAX);
    ret->bucket_id = dec_uint(dec);
    ret->key = meta_bytes(dec, KEY_BYTES_MAX);
    ret->version.seq = dec_uint(dec);
    ret->version.nonce = dec_u64(dec);
    ret->range_first = dec_uint(dec);
    ret->range_length = dec_uint(dec);
    dec_copy(dec, ret->upload_id, sizeof(ret->upload_id));
    ret->part_number = meta_uint16(dec);
    ret->prefix = meta_bytes(dec, KEY_BYTES_MAX);
    ret->delimiter = meta_bytes(dec, KEY_BYTES_MAX);
    ret->marker = meta_bytes(dec, KEY_BYTES_MAX);
    ret->marker_seq = dec_uint(dec);
    ret->limit = dec_uint32(dec);
    dec_copy(dec, ret->extent.bytes, ID_BYTES);
    ret->ids = dec_bytes(dec);
    ret->from = dec_uint(dec);
    ret->name = meta_bytes(dec, 256);
    return meta_input_end(&in);
}

void meta_object_reply_encode(struct enc *enc, const struct meta_object_reply *in)
{
    enc_u8(enc, in->outcome);
    enc_uint(enc, in->index);
    meta_bucket_encode(enc, &in->bucket);
    meta_row_encode(enc, &in->row);
    meta_body_encode(enc, &in->body);
    enc_uint(enc, in->parts_count);
    enc_uint(enc, in->part_offset);
    enc_uint(enc, in->part_size);
    meta_checksum_encode(enc, &in->part_checksum);
    enc_bytes(enc, in->inline_bytes);
    enc_uint(enc, in->extent_count);
    for (uint32_t i = 0; i < in->extent_count; i++) {
        extent_encode(enc, &in->extents[i].extent);
        enc_uint(enc, in->extents[i].offset);
        enc_uint(enc, in->extents[i].length);
        enc_uint(enc, in->extents[i].object_offset);
    }
    enc_uint(enc, in->extents_until);
}

enum errc meta_object_reply_decode(struct slice bytes, struct arena *arena, struct meta_object_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    struct dec *dec = &in.dec;
    *ret = (struct meta_object_reply){ .outcome = meta_u8(dec, META_INVALID) };
    ret->index = dec_uint(dec);
    meta_bucket_decode(dec, &ret->bucket);
    meta_row_decode(dec, &ret->row);
    meta_body_decode(&in, &ret->body);
    ret->parts_count = meta_uint16(dec);
    ret->part_offset = dec_uint(dec);
    ret->part_size = dec_uint(dec);
    meta_checksum_decode(dec, &ret->part_checksum);
    ret->inline_bytes = meta_bytes(dec, INLINE_BYTES_MAX);
    ret->extents = meta_array(&in, EXTENT_REFS_MAX, sizeof(*ret->extents), 31, &ret->extent_count);
    for (uint32_t i = 0; i < ret->extent_count; i++) {
        extent_decode(dec, &ret->extents[i].extent);
        ret->extents[i].offset = dec_uint(dec);
        ret->extents[i].length = dec_uint(dec);
        ret->extents[i].object_offset = dec_uint(dec);
    }
    ret->extents_until = dec_uint(dec);
    return meta_input_end(&in);
}

void meta_list_entry_encode(struct enc *enc, const struct meta_list_entry *in)
{
    enc_u8(enc, (uint8_t)((in->is_prefix ? 1u : 0) | (in->latest ? 2u : 0)));
    enc_bytes(enc, in->key);
    if (!in->is_prefix) {
        meta_row_encode(enc, &in->row);
    }
}

void meta_list_reply_frame(struct enc *enc, const struct meta_list_reply *in, struct slice entries)
{
    enc_u8(enc, in->outcome);
    meta_bucket_encode(enc, &in->bucket);
    enc_u8(enc, in->truncated ? 1 : 0);
    enc_uint(enc, in->count);
    enc_raw(enc, entries.data, entries.len);
}

void meta_list_reply_encode(struct enc *enc, const struct meta_list_reply *in)
{
    meta_list_reply_frame(enc, in, SLICE_EMPTY);
    for (uint32_t i = 0; i < in->count; i++) {
        meta_list_entry_encode(enc, &in->entries[i]);
    }
}

enum errc meta_list_reply_decode(struct slice bytes, struct arena *arena, struct meta_list_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_list_reply){ .outcome = meta_u8(&in.dec, META_INVALID) };
    meta_bucket_decode(&in.dec, &ret->bucket);
    ret->truncated = meta_bool(&in.dec);
    ret->entries = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->entries), 2, &ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        unsigned flags = meta_u8(&in.dec, 3);
        ret->entries[i].is_prefix = (flags & 1) != 0;
        ret->entries[i].latest = (flags & 2) != 0;
        ret->entries[i].key = meta_bytes(&in.dec, KEY_BYTES_MAX);
        if (!ret->entries[i].is_prefix) {
            meta_row_decode(&in.dec, &ret->entries[i].row);
        }
    }
    return meta_input_end(&in);
}

void meta_uploads_reply_encode(struct enc *enc, const struct meta_uploads_reply *in)
{
    enc_u8(enc, in->outcome);
    meta_bucket_encode(enc, &in->bucket);
    enc_uint(enc, in->count);
    for (uint32_t i = 0; i < in->count; i++) {
        meta_upload_encode(enc, &in->uploads[i]);
    }
    enc_uint(enc, in->prefix_count);
    for (uint32_t i = 0; i < in->prefix_count; i++) {
        enc_bytes(enc, in->prefixes[i]);
    }
    enc_u8(enc, in->truncated ? 1 : 0);
}

enum errc meta_uploads_reply_decode(struct slice bytes, struct arena *arena, struct meta_uploads_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_uploads_reply){ .outcome = meta_u8(&in.dec, META_INVALID) };
    meta_bucket_decode(&in.dec, &ret->bucket);
    ret->uploads = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->uploads), 33, &ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        meta_upload_decode(&in.dec, &ret->uploads[i]);
    }
    ret->prefixes = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->prefixes), 1, &ret->prefix_count);
    for (uint32_t i = 0; i < ret->prefix_count; i++) {
        ret->prefixes[i] = meta_bytes(&in.dec, KEY_BYTES_MAX);
    }
    ret->truncated = meta_bool(&in.dec);
    return meta_input_end(&in);
}

void meta_parts_reply_encode(struct enc *enc, const struct meta_parts_reply *in)
{
    enc_u8(enc, in->outcome);
    meta_upload_encode(enc, &in->upload);
    enc_uint(enc, in->count);
    for (uint32_t i = 0; i < in->count; i++) {
        meta_part_encode(enc, &in->parts[i]);
    }
    enc_u8(enc, in->truncated ? 1 : 0);
}

enum errc meta_parts_reply_decode(struct slice bytes, struct arena *arena, struct meta_parts_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_parts_reply){ .outcome = meta_u8(&in.dec, META_INVALID) };
    meta_upload_decode(&in.dec, &ret->upload);
    ret->parts = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->parts), 5, &ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        meta_part_decode(&in.dec, &ret->parts[i]);
    }
    ret->truncated = meta_bool(&in.dec);
    return meta_input_end(&in);
}

void meta_buckets_reply_encode(struct enc *enc, const struct meta_buckets_reply *in)
{
    enc_uint(enc, in->count);
    for (uint32_t i = 0; i < in->count; i++) {
        meta_bucket_encode(enc, &in->buckets[i]);
    }
    enc_u8(enc, in->truncated ? 1 : 0);
}

enum errc meta_buckets_reply_decode(struct slice bytes, struct arena *arena, struct meta_buckets_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_buckets_reply){ 0 };
    ret->buckets = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->buckets), 11, &ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        meta_bucket_decode(&in.dec, &ret->buckets[i]);
    }
    ret->truncated = meta_bool(&in.dec);
    return meta_input_end(&in);
}

void meta_extent_reply_encode(struct enc *enc, const struct meta_extent_reply *in)
{
    enc_u8(enc, in->outcome);
    if (in->outcome == META_OK) {
        extent_encode(enc, &in->extent);
    }
}

enum errc meta_extent_reply_decode(struct slice bytes, struct arena *arena, struct meta_extent_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_extent_reply){ .outcome = meta_u8(&in.dec, META_INVALID) };
    if (ret->outcome == META_OK) {
        extent_decode(&in.dec, &ret->extent);
    }
    return meta_input_end(&in);
}

void meta_exist_reply_encode(struct enc *enc, const struct meta_exist_reply *in)
{
    enc_bytes(enc, in->bitmap);
}

enum errc meta_exist_reply_decode(struct slice bytes, struct arena *arena, struct meta_exist_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_exist_reply){ dec_bytes(&in.dec) };
    return meta_input_end(&in);
}

void meta_gc_reply_encode(struct enc *enc, const struct meta_gc_reply *in)
{
    enc_uint(enc, in->count);
    for (uint32_t i = 0; i < in->count; i++) {
        const struct meta_gc_item *item = &in->items[i];
        enc_uint(enc, item->seq);
        enc_uint(enc, item->index);
        enc_u8(enc, item->kind);
        if (item->kind == 1) {
            extent_encode(enc, &item->extent);
        } else {
            enc_raw(enc, item->part_id, sizeof(item->part_id));
        }
    }
}

enum errc meta_gc_reply_decode(struct slice bytes, struct arena *arena, struct meta_gc_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_gc_reply){ 0 };
    ret->items = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->items), 19, &ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        struct meta_gc_item *item = &ret->items[i];
        item->seq = dec_uint(&in.dec);
        item->index = dec_uint(&in.dec);
        item->kind = meta_u8(&in.dec, 2);
        if (item->kind == 1) {
            extent_decode(&in.dec, &item->extent);
        } else {
            dec_copy(&in.dec, item->part_id, sizeof(item->part_id));
        }
        in.dec.failed = in.dec.failed || item->kind == 0;
    }
    return meta_input_end(&in);
}

void meta_repair_reply_encode(struct enc *enc, const struct meta_repair_reply *in)
{
    meta_extents_encode(enc, in->count, in->extents);
}

enum errc meta_repair_reply_decode(struct slice bytes, struct arena *arena, struct meta_repair_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_repair_reply){ 0 };
    ret->extents = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->extents), 28, &ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        extent_decode(&in.dec, &ret->extents[i]);
    }
    return meta_input_end(&in);
}

void meta_sessions_reply_encode(struct enc *enc, const struct meta_sessions_reply *in)
{
    enc_uint(enc, in->count);
    for (uint32_t i = 0; i < in->count; i++) {
        enc_uint(enc, in->sessions[i].id);
        enc_raw(enc, in->sessions[i].node.bytes, ID_BYTES);
        enc_u8(enc, in->sessions[i].open ? 1 : 0);
        enc_uint(enc, in->sessions[i].next_counter);
    }
}

enum errc meta_sessions_reply_decode(struct slice bytes, struct arena *arena, struct meta_sessions_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_sessions_reply){ 0 };
    ret->sessions = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->sessions), 19, &ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        ret->sessions[i].id = dec_uint(&in.dec);
        dec_copy(&in.dec, ret->sessions[i].node.bytes, ID_BYTES);
        ret->sessions[i].open = meta_bool(&in.dec);
        ret->sessions[i].next_counter = dec_uint(&in.dec);
    }
    return meta_input_end(&in);
}

void meta_cluster_reply_encode(struct enc *enc, const struct meta_cluster_reply *in)
{
    enc_uint(enc, in->revision);
    enc_uint(enc, in->disk_count);
    for (uint32_t i = 0; i < in->disk_count; i++) {
        meta_disk_encode(enc, &in->disks[i]);
    }
    enc_uint(enc, in->group_count);
    for (uint32_t i = 0; i < in->group_count; i++) {
        meta_group_encode(enc, &in->groups[i]);
    }
    enc_uint(enc, in->sweep_count);
    for (uint32_t i = 0; i < in->sweep_count; i++) {
        enc_uint(enc, in->sweeps[i].group);
        enc_u8(enc, in->sweeps[i].position);
        enc_raw(enc, in->sweeps[i].from.bytes, ID_BYTES);
    }
    enc_uint(enc, in->node_count);
    for (uint32_t i = 0; i < in->node_count; i++) {
        meta_node_encode(enc, &in->nodes[i]);
    }
}

enum errc meta_cluster_reply_decode(struct slice bytes, struct arena *arena, struct meta_cluster_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    struct dec *dec = &in.dec;
    *ret = (struct meta_cluster_reply){ .revision = dec_uint(dec) };
    ret->disks = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->disks), 53, &ret->disk_count);
    for (uint32_t i = 0; i < ret->disk_count; i++) {
        meta_disk_decode(dec, &ret->disks[i]);
    }
    ret->groups = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->groups), 4, &ret->group_count);
    for (uint32_t i = 0; i < ret->group_count; i++) {
        meta_group_decode(dec, &ret->groups[i]);
    }
    ret->sweeps = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->sweeps), 18, &ret->sweep_count);
    for (uint32_t i = 0; i < ret->sweep_count; i++) {
        ret->sweeps[i].group = dec_uint32(dec);
        ret->sweeps[i].position = dec_u8(dec);
        dec_copy(dec, ret->sweeps[i].from.bytes, ID_BYTES);
    }
    ret->nodes = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->nodes), ID_BYTES + 2 + META_HASH_BYTES + 4, &ret->node_count);
    for (uint32_t i = 0; i < ret->node_count; i++) {
        meta_node_decode(dec, &ret->nodes[i]);
    }
    return meta_input_end(&in);
}

void meta_identities_reply_encode(struct enc *enc, const struct meta_identities_reply *in)
{
    enc_uint(enc, in->count);
    for (uint32_t i = 0; i < in->count; i++) {
        enc_bytes(enc, in->identities[i].access_key);
        enc_bytes(enc, in->identities[i].record);
    }
}

enum errc meta_identities_reply_decode(struct slice bytes, struct arena *arena, struct meta_identities_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_identities_reply){ 0 };
    ret->identities = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->identities), 2, &ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        ret->identities[i].access_key = dec_bytes(&in.dec);
        ret->identities[i].record = dec_bytes(&in.dec);
    }
    return meta_input_end(&in);
}

void meta_leader_encode(struct enc *enc, const struct meta_leader *in)
{
    enc_raw(enc, in->node.bytes, ID_BYTES);
    enc_u64(enc, in->term);
    enc_bytes(enc, in->address);
}

enum errc meta_leader_decode(struct slice bytes, struct arena *arena, struct meta_leader *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_leader){ .term = 0 };
    dec_copy(&in.dec, ret->node.bytes, ID_BYTES);
    ret->term = dec_u64(&in.dec);
    ret->address = meta_bytes(&in.dec, META_ADDRESS_BYTES_MAX);
    return meta_input_end(&in);
}

void meta_tokens_reply_encode(struct enc *enc, const struct meta_tokens_reply *in)
{
    enc_uint(enc, in->count);
    for (uint32_t i = 0; i < in->count; i++) {
        meta_token_encode(enc, &in->tokens[i].token);
        enc_u8(enc, in->tokens[i].used ? 1 : 0);
        enc_raw(enc, in->tokens[i].used_by, META_HASH_BYTES);
    }
}

enum errc meta_tokens_reply_decode(struct slice bytes, struct arena *arena, struct meta_tokens_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_tokens_reply){ .count = 0 };
    ret->tokens = meta_array(&in, REPLY_ROWS_MAX, sizeof(*ret->tokens), 18 + 2 * META_HASH_BYTES, &ret->count);
    for (uint32_t i = 0; i < ret->count; i++) {
        meta_token_decode(&in.dec, &ret->tokens[i].token);
        ret->tokens[i].used = meta_bool(&in.dec);
        dec_copy(&in.dec, ret->tokens[i].used_by, META_HASH_BYTES);
    }
    return meta_input_end(&in);
}

void meta_setting_reply_encode(struct enc *enc, const struct meta_setting_reply *in)
{
    enc_u8(enc, in->outcome);
    enc_bytes(enc, in->value);
}

enum errc meta_setting_reply_decode(struct slice bytes, struct arena *arena, struct meta_setting_reply *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
    *ret = (struct meta_setting_reply){ .outcome = meta_u8(&in.dec, META_INVALID) };
    ret->value = dec_bytes(&in.dec);
    return meta_input_end(&in);
}

#define STATUS_FIELDS(X)                                                                         \
    X(index) X(buckets) X(objects) X(versions) X(bytes) X(uploads) X(extents) X(extents_full)    \
    X(extents_smaller) X(extents_unreadable) X(stripes) X(stripes_degraded) X(gc_items)          \
    X(sessions_open)

void meta_status_encode(struct enc *enc, const struct meta_status *in)
{
#define X(field) enc_uint(enc, in->field);
    STATUS_FIELDS(X)
#undef X
    for (unsigned i = 0; i <= CODE_M_MAX; i++) {
        enc_uint(enc, in->extents_missing[i]);
    }
}

enum errc meta_status_decode(struct slice bytes, struct arena *arena, struct meta_status *ret)
{
    struct meta_input in = meta_input_of(bytes, arena);
#define X(field) ret->field = dec_uint(&in.dec);
    STATUS_FIELDS(X)
#undef X
    for (unsigned i = 0; i <= CODE_M_MAX; i++) {
        ret->extents_missing[i] = dec_uint(&in.dec);
    }
    return meta_input_end(&in);
}
