/*
 * The parts that messages and records of the metadata service are made of.
 */
#include "common/rpc/metadata_messages.h"

#include "common/base/assert.h"
#include "common/rpc/metadata_codec.h"

#define EXTENT_ENCODED_MIN 28 /* id, matrix, k, m and eight more fields of at least a byte */
#define REF_ENCODED_MIN 18

enum errc meta_input_end(const struct meta_input *in)
{
    if (in->full) {
        return ERRC_LIMIT;
    }
    return dec_done(&in->dec) ? ERRC_OK : ERRC_CORRUPT;
}

void *meta_array(struct meta_input *in, uint32_t max, size_t item_bytes, size_t encoded_bytes, uint32_t *ret_count)
{
    *ret_count = 0;
    uint64_t count = dec_uint(&in->dec);
    if (count > max || count * encoded_bytes > dec_left(&in->dec)) {
        in->dec.failed = true;
        return NULL;
    }
    if (count == 0 || in->dec.failed) {
        return NULL;
    }
    void *items = arena_zalloc(in->arena, count * item_bytes);
    if (items == NULL) {
        in->full = true;
        in->dec.failed = true;
        return NULL;
    }
    *ret_count = (uint32_t)count;
    return items;
}

uint8_t meta_u8(struct dec *dec, uint8_t max)
{
    uint8_t v = dec_u8(dec);
    if (v > max) {
        dec->failed = true;
        return 0;
    }
    return v;
}

bool meta_bool(struct dec *dec)
{
    return meta_u8(dec, 1) == 1;
}

uint16_t meta_uint16(struct dec *dec)
{
    uint64_t v = dec_uint(dec);
    dec->failed = dec->failed || v > UINT16_MAX;
    return dec->failed ? 0 : (uint16_t)v;
}

struct slice meta_bytes(struct dec *dec, size_t max)
{
    struct slice bytes = dec_bytes(dec);
    if (bytes.len > max) {
        dec->failed = true;
        return SLICE_EMPTY;
    }
    return bytes;
}

void meta_checksum_encode(struct enc *enc, const struct meta_checksum *in)
{
    enc_u8(enc, in->algorithm);
    if (in->algorithm != 0) {
        enc_u8(enc, in->type);
        enc_uint(enc, in->parts);
        enc_bytes(enc, in->value);
    }
}

void meta_checksum_decode(struct dec *dec, struct meta_checksum *ret)
{
    *ret = (struct meta_checksum){ .algorithm = dec_u8(dec) };
    if (ret->algorithm != 0) {
        ret->type = meta_u8(dec, 2);
        ret->parts = meta_uint16(dec);
        ret->value = meta_bytes(dec, CHECKSUM_BYTES_MAX);
    }
}

enum row_flag { ROW_MARKER = 1, ROW_NULL = 2, ROW_CHECKSUM = 4, ROW_CLASS = 8, ROW_OWNER = 16, ROW_FLAGS = 31 };

void meta_row_encode(struct enc *enc, const struct meta_row *in)
{
    bool checksum = in->checksum_algorithm != 0 || in->checksum_type != 0;
    unsigned flags = (in->delete_marker ? ROW_MARKER : 0u) | (in->null_version ? ROW_NULL : 0u) |
                     (checksum ? ROW_CHECKSUM : 0u) | (in->storage_class.len > 0 ? ROW_CLASS : 0u) |
                     (in->owner.len > 0 ? ROW_OWNER : 0u);
    enc_u8(enc, (uint8_t)flags);
    enc_uint(enc, in->seq);
    enc_u64(enc, in->nonce);
    enc_uint(enc, in->mtime_ms);
    enc_uint(enc, in->size);
    enc_bytes(enc, in->etag);
    if (checksum) {
        enc_u8(enc, in->checksum_algorithm);
        enc_u8(enc, in->checksum_type);
    }
    if (in->storage_class.len > 0) {
        enc_bytes(enc, in->storage_class);
    }
    if (in->owner.len > 0) {
        enc_bytes(enc, in->owner);
    }
}

void meta_row_decode(struct dec *dec, struct meta_row *ret)
{
    unsigned flags = meta_u8(dec, ROW_FLAGS);
    *ret = (struct meta_row){ .delete_marker = (flags & ROW_MARKER) != 0, .null_version = (flags & ROW_NULL) != 0 };
    ret->seq = dec_uint(dec);
    ret->nonce = dec_u64(dec);
    ret->mtime_ms = dec_uint(dec);
    ret->size = dec_uint(dec);
    ret->etag = meta_bytes(dec, ETAG_BYTES_MAX);
    if ((flags & ROW_CHECKSUM) != 0) {
        ret->checksum_algorithm = dec_u8(dec);
        ret->checksum_type = meta_u8(dec, 2);
    }
    if ((flags & ROW_CLASS) != 0) {
        ret->storage_class = meta_bytes(dec, 64);
    }
    if ((flags & ROW_OWNER) != 0) {
        ret->owner = meta_bytes(dec, 128);
    }
}

void meta_bucket_encode(struct enc *enc, const struct meta_bucket *in)
{
    enc_uint(enc, in->id);
    enc_bytes(enc, in->name);
    enc_bytes(enc, in->owner);
    enc_bytes(enc, in->region);
    enc_uint(enc, in->created_ms);
    enc_u8(enc, in->versioning);
    enc_u8(enc, in->class_k);
    enc_u8(enc, in->class_m);
    enc_uint(enc, in->objects);
    enc_uint(enc, in->bytes);
    enc_uint(enc, in->revision);
}

void meta_bucket_decode(struct dec *dec, struct meta_bucket *ret)
{
    *ret = (struct meta_bucket){ .id = dec_uint(dec) };
    ret->name = meta_bytes(dec, BUCKET_NAME_BYTES_MAX);
    ret->owner = meta_bytes(dec, 128);
    ret->region = meta_bytes(dec, 64);
    ret->created_ms = dec_uint(dec);
    ret->versioning = meta_u8(dec, META_VERSIONING_SUSPENDED);
    ret->class_k = meta_u8(dec, CODE_K_MAX);
    ret->class_m = meta_u8(dec, CODE_M_MAX);
    ret->objects = dec_uint(dec);
    ret->bytes = dec_uint(dec);
    ret->revision = dec_uint(dec);
}

void meta_extents_encode(struct enc *enc, uint32_t count, const struct extent *extents)
{
    enc_uint(enc, count);
    for (uint32_t i = 0; i < count; i++) {
        extent_encode(enc, &extents[i]);
    }
}

const struct extent *meta_extents_decode(struct meta_input *in, uint32_t max, uint32_t *ret_count)
{
    struct extent *extents = meta_array(in, max, sizeof(*extents), EXTENT_ENCODED_MIN, ret_count);
    for (uint32_t i = 0; i < *ret_count; i++) {
        extent_decode(&in->dec, &extents[i]);
    }
    return extents;
}

void meta_refs_encode(struct enc *enc, uint32_t count, const struct extent_ref *refs)
{
    enc_uint(enc, count);
    for (uint32_t i = 0; i < count; i++) {
        extent_ref_encode(enc, &refs[i]);
    }
}

const struct extent_ref *meta_refs_decode(struct meta_input *in, uint32_t *ret_count)
{
    struct extent_ref *refs = meta_array(in, EXTENT_REFS_MAX, sizeof(*refs), REF_ENCODED_MIN, ret_count);
    for (uint32_t i = 0; i < *ret_count; i++) {
        extent_ref_decode(&in->dec, &refs[i]);
    }
    return refs;
}

void meta_part_ref_encode(struct enc *enc, const struct meta_part_ref *in)
{
    enc_uint(enc, in->number);
    enc_raw(enc, in->part_id, sizeof(in->part_id));
    enc_uint(enc, in->size);
    enc_bytes(enc, in->etag_md5);
    enc_bytes(enc, in->checksum);
}

void meta_part_ref_decode(struct dec *dec, struct meta_part_ref *ret)
{
    ret->number = meta_uint16(dec);
    dec_copy(dec, ret->part_id, sizeof(ret->part_id));
    ret->size = dec_uint(dec);
    ret->etag_md5 = meta_bytes(dec, 16);
    ret->checksum = meta_bytes(dec, CHECKSUM_BYTES_MAX);
}

void meta_body_encode(struct enc *enc, const struct meta_body *in)
{
    enc_bytes(enc, in->headers);
    enc_bytes(enc, in->user_metadata);
    meta_checksum_encode(enc, &in->checksum);
    enc_u8(enc, in->data_kind);
    if (in->data_kind == META_DATA_INLINE) {
        enc_bytes(enc, in->inline_bytes);
    } else if (in->data_kind == META_DATA_EXTENTS) {
        meta_refs_encode(enc, in->ref_count, in->refs);
    } else if (in->data_kind == META_DATA_PARTS) {
        enc_uint(enc, in->parts == NULL ? 0 : in->part_count);
        for (uint32_t i = 0; in->parts != NULL && i < in->part_count; i++) {
            meta_part_ref_encode(enc, &in->parts[i]);
        }
    }
}

void meta_body_decode(struct meta_input *in, struct meta_body *ret)
{
    struct dec *dec = &in->dec;
    *ret = (struct meta_body){ .headers = dec_bytes(dec) };
    ret->user_metadata = dec_bytes(dec);
    meta_checksum_decode(dec, &ret->checksum);
    ret->data_kind = meta_u8(dec, META_DATA_PARTS);
    if (ret->data_kind == META_DATA_INLINE) {
        ret->inline_bytes = meta_bytes(dec, INLINE_BYTES_MAX);
    } else if (ret->data_kind == META_DATA_EXTENTS) {
        ret->refs = meta_refs_decode(in, &ret->ref_count);
    } else if (ret->data_kind == META_DATA_PARTS) {
        struct meta_part_ref *parts = meta_array(in, PARTS_MAX, sizeof(*parts), 20, &ret->part_count);
        for (uint32_t i = 0; i < ret->part_count; i++) {
            meta_part_ref_decode(dec, &parts[i]);
        }
        ret->parts = parts;
    }
}

void meta_disk_encode(struct enc *enc, const struct meta_disk *in)
{
    enc_raw(enc, in->id.bytes, ID_BYTES);
    enc_raw(enc, in->node.bytes, ID_BYTES);
    enc_u8(enc, in->state);
    enc_uint(enc, in->bytes);
    enc_bytes(enc, in->path);
    enc_bytes(enc, in->zone);
    enc_bytes(enc, in->rack);
    enc_raw(enc, in->replaces.bytes, ID_BYTES);
}

void meta_disk_decode(struct dec *dec, struct meta_disk *ret)
{
    *ret = (struct meta_disk){ 0 };
    dec_copy(dec, ret->id.bytes, ID_BYTES);
    dec_copy(dec, ret->node.bytes, ID_BYTES);
    ret->state = meta_u8(dec, META_DISK_DRAINING);
    ret->bytes = dec_uint(dec);
    ret->path = meta_bytes(dec, 4096);
    ret->zone = meta_bytes(dec, 256);
    ret->rack = meta_bytes(dec, 256);
    dec_copy(dec, ret->replaces.bytes, ID_BYTES);
    dec->failed = dec->failed || ret->state < META_DISK_IN;
}

void meta_node_encode(struct enc *enc, const struct meta_node *in)
{
    enc_raw(enc, in->id.bytes, ID_BYTES);
    enc_u8(enc, in->role);
    enc_u8(enc, in->state);
    enc_raw(enc, in->key_hash, META_HASH_BYTES);
    enc_bytes(enc, in->address);
    enc_bytes(enc, in->name);
    enc_bytes(enc, in->zone);
    enc_bytes(enc, in->rack);
}

void meta_node_decode(struct dec *dec, struct meta_node *ret)
{
    *ret = (struct meta_node){ 0 };
    dec_copy(dec, ret->id.bytes, ID_BYTES);
    ret->role = dec_u8(dec);
    ret->state = meta_u8(dec, META_NODE_REMOVED_FOR_EVER);
    dec_copy(dec, ret->key_hash, META_HASH_BYTES);
    ret->address = meta_bytes(dec, META_ADDRESS_BYTES_MAX);
    ret->name = meta_bytes(dec, META_LABEL_BYTES_MAX);
    ret->zone = meta_bytes(dec, META_LABEL_BYTES_MAX);
    ret->rack = meta_bytes(dec, META_LABEL_BYTES_MAX);
    dec->failed = dec->failed || ret->state < META_NODE_IN;
}

void meta_token_encode(struct enc *enc, const struct meta_token *in)
{
    enc_raw(enc, in->id, sizeof(in->id));
    enc_u8(enc, in->role);
    enc_raw(enc, in->secret_hash, META_HASH_BYTES);
    enc_u64(enc, in->expires_ms);
}

void meta_token_decode(struct dec *dec, struct meta_token *ret)
{
    *ret = (struct meta_token){ 0 };
    dec_copy(dec, ret->id, sizeof(ret->id));
    ret->role = dec_u8(dec);
    dec_copy(dec, ret->secret_hash, META_HASH_BYTES);
    ret->expires_ms = dec_u64(dec);
}

/* The last byte of a group; what has no class is encoded as before there were classes. */
#define GROUP_WRITABLE 1u
#define GROUP_HAS_CLASS 2u

void meta_group_encode(struct enc *enc, const struct meta_group *in)
{
    ASSERT(in->disk_count <= GROUP_DISKS_MAX);
    enc_uint(enc, in->id);
    enc_uint(enc, in->epoch);
    enc_u8(enc, in->disk_count);
    for (unsigned i = 0; i < in->disk_count; i++) {
        enc_raw(enc, in->disks[i].bytes, ID_BYTES);
    }
    enc_u8(enc, (uint8_t)((in->writable ? GROUP_WRITABLE : 0) | (in->class_k > 0 ? GROUP_HAS_CLASS : 0)));
    if (in->class_k > 0) {
        enc_u8(enc, in->class_k);
        enc_u8(enc, in->class_m);
        enc_u64(enc, in->primary);
    }
}

void meta_group_decode(struct dec *dec, struct meta_group *ret)
{
    *ret = (struct meta_group){ .id = dec_uint32(dec) };
    ret->epoch = dec_uint32(dec);
    ret->disk_count = meta_u8(dec, GROUP_DISKS_MAX);
    for (unsigned i = 0; i < ret->disk_count; i++) {
        dec_copy(dec, ret->disks[i].bytes, ID_BYTES);
    }
    unsigned flags = meta_u8(dec, GROUP_WRITABLE | GROUP_HAS_CLASS);
    ret->writable = (flags & GROUP_WRITABLE) != 0;
    if ((flags & GROUP_HAS_CLASS) != 0) {
        ret->class_k = meta_u8(dec, CODE_K_MAX);
        ret->class_m = meta_u8(dec, CODE_M_MAX);
        ret->primary = dec_u64(dec);
        dec->failed = dec->failed || ret->class_k == 0;
    }
}

void meta_upload_encode(struct enc *enc, const struct meta_upload *in)
{
    enc_bytes(enc, in->key);
    enc_raw(enc, in->upload_id, sizeof(in->upload_id));
    enc_uint(enc, in->initiated_ms);
    meta_row_encode(enc, &in->row);
    enc_bytes(enc, in->headers);
    enc_bytes(enc, in->user_metadata);
}

void meta_upload_decode(struct dec *dec, struct meta_upload *ret)
{
    *ret = (struct meta_upload){ .key = meta_bytes(dec, KEY_BYTES_MAX) };
    dec_copy(dec, ret->upload_id, sizeof(ret->upload_id));
    ret->initiated_ms = dec_uint(dec);
    meta_row_decode(dec, &ret->row);
    ret->headers = dec_bytes(dec);
    ret->user_metadata = dec_bytes(dec);
}

void meta_part_encode(struct enc *enc, const struct meta_part *in)
{
    enc_uint(enc, in->number);
    enc_uint(enc, in->size);
    enc_uint(enc, in->mtime_ms);
    enc_bytes(enc, in->etag_md5);
    meta_checksum_encode(enc, &in->checksum);
}

void meta_part_decode(struct dec *dec, struct meta_part *ret)
{
    *ret = (struct meta_part){ .number = meta_uint16(dec) };
    ret->size = dec_uint(dec);
    ret->mtime_ms = dec_uint(dec);
    ret->etag_md5 = meta_bytes(dec, 16);
    meta_checksum_decode(dec, &ret->checksum);
}

uint8_t meta_repair_rank(const struct extent *extent)
{
    unsigned gone = (unsigned)__builtin_popcount(extent->missing);
    return gone > extent->code.m ? 255 : (uint8_t)(extent->code.m - gone);
}

const struct meta_node *meta_cluster_node(const struct meta_cluster_reply *map, struct node_id id)
{
    for (uint32_t i = 0; i < map->node_count; i++) {
        if (node_id_equal(map->nodes[i].id, id)) {
            return &map->nodes[i];
        }
    }
    return NULL;
}

const struct meta_disk *meta_cluster_disk(const struct meta_cluster_reply *map, struct disk_id id)
{
    for (uint32_t i = 0; i < map->disk_count; i++) {
        if (disk_id_equal(map->disks[i].id, id)) {
            return &map->disks[i];
        }
    }
    return NULL;
}

bool meta_extent_smaller(const struct extent *extent)
{
    const struct extent_code *code = &extent->code;
    return code->m < extent->class_m ||
           (code->matrix != MATRIX_COPIES && code->k + code->m < extent->class_k + extent->class_m);
}

uint64_t meta_extent_stripes(const struct extent *extent)
{
    uint64_t stripe_bytes = (uint64_t)extent->code.k * extent->code.cell_bytes;
    return (extent->stored_bytes + stripe_bytes - 1) / stripe_bytes;
}

void meta_pairs_append(struct enc *enc, struct slice name, struct slice value)
{
    enc_bytes(enc, name);
    enc_bytes(enc, value);
}

bool meta_pairs_next(struct slice pairs, size_t *at, struct meta_pair *ret)
{
    if (*at >= pairs.len) {
        return false;
    }
    struct dec dec = dec_of(slice_skip(pairs, *at));
    struct meta_pair pair = { dec_bytes(&dec), SLICE_EMPTY };
    pair.value = dec_bytes(&dec);
    if (dec.failed) {
        return false;
    }
    *at += dec.at;
    *ret = pair;
    return true;
}
