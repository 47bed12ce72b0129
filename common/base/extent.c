#include "common/base/extent.h"

#include "common/base/assert.h"

bool extent_code_valid(const struct extent_code *code)
{
    if (code->matrix == MATRIX_COPIES && code->k != 1) {
        return false;
    }
    return (code->matrix == MATRIX_COPIES || code->matrix == MATRIX_CAUCHY) && code->k >= 1 &&
           code->k <= CODE_K_MAX && code->m <= CODE_M_MAX && code->cell_bytes >= CELL_BYTES_UNIT &&
           code->cell_bytes <= CELL_BYTES_MAX && code->cell_bytes % CELL_BYTES_UNIT == 0;
}

void extent_transform_encode(struct enc *enc, const struct extent_transform *transform)
{
    enc_u8(enc, transform->kind);
    if (transform->kind != 0) {
        enc_raw(enc, transform->key_ref, sizeof(transform->key_ref));
        enc_raw(enc, transform->nonce_base, sizeof(transform->nonce_base));
    }
}

void extent_transform_decode(struct dec *dec, struct extent_transform *ret_transform)
{
    struct extent_transform *transform = ret_transform;
    *transform = (struct extent_transform){ .kind = dec_u8(dec) };
    if (transform->kind != 0) {
        dec_copy(dec, transform->key_ref, sizeof(transform->key_ref));
        dec_copy(dec, transform->nonce_base, sizeof(transform->nonce_base));
    }
}

void extent_encode(struct enc *enc, const struct extent *extent)
{
    ASSERT(extent_code_valid(&extent->code));
    ASSERT(extent->stored_bytes <= EXTENT_BYTES_MAX || extent->transform.kind != 0);
    enc_raw(enc, extent->id.bytes, ID_BYTES);
    enc_u8(enc, extent->code.matrix);
    enc_u8(enc, extent->code.k);
    enc_u8(enc, extent->code.m);
    enc_uint(enc, extent->code.cell_bytes);
    extent_transform_encode(enc, &extent->transform);
    enc_uint(enc, extent->logical_bytes);
    enc_uint(enc, extent->stored_bytes);
    enc_uint(enc, extent->group);
    enc_uint(enc, extent->epoch);
    enc_raw(enc, extent->position, (size_t)extent->code.k + extent->code.m);
    enc_uint(enc, extent->missing);
    enc_u8(enc, extent->class_k);
    enc_u8(enc, extent->class_m);
    enc_uint(enc, extent->references);
}

static bool extent_sizes_valid(const struct extent *extent)
{
    return extent->logical_bytes <= EXTENT_BYTES_MAX && extent->class_k <= CODE_K_MAX && extent->class_m <= CODE_M_MAX &&
           (extent->stored_bytes <= EXTENT_BYTES_MAX || extent->transform.kind != 0);
}

void extent_decode(struct dec *dec, struct extent *ret_extent)
{
    struct extent extent = { 0 };
    dec_copy(dec, extent.id.bytes, ID_BYTES);
    extent.code.matrix = dec_u8(dec);
    extent.code.k = dec_u8(dec);
    extent.code.m = dec_u8(dec);
    uint64_t cell_bytes = dec_uint(dec);
    extent.code.cell_bytes = cell_bytes <= CELL_BYTES_MAX ? (uint32_t)cell_bytes : 0;
    if (dec->failed || !extent_code_valid(&extent.code)) {
        dec->failed = true;
        *ret_extent = (struct extent){ 0 };
        return;
    }
    extent_transform_decode(dec, &extent.transform);
    extent.logical_bytes = dec_uint(dec);
    extent.stored_bytes = dec_uint(dec);
    extent.group = dec_uint32(dec);
    extent.epoch = dec_uint32(dec);
    dec_copy(dec, extent.position, (size_t)extent.code.k + extent.code.m);
    extent.missing = dec_uint32(dec);
    extent.class_k = dec_u8(dec);
    extent.class_m = dec_u8(dec);
    extent.references = dec_uint32(dec);
    dec->failed = dec->failed || !extent_sizes_valid(&extent);
    *ret_extent = extent;
}

void extent_ref_encode(struct enc *enc, const struct extent_ref *ref)
{
    enc_raw(enc, ref->extent.bytes, ID_BYTES);
    enc_uint(enc, ref->offset);
    enc_uint(enc, ref->length);
}

void extent_ref_decode(struct dec *dec, struct extent_ref *ret_ref)
{
    dec_copy(dec, ret_ref->extent.bytes, ID_BYTES);
    ret_ref->offset = dec_uint(dec);
    ret_ref->length = dec_uint(dec);
    if (ret_ref->offset > EXTENT_BYTES_MAX || ret_ref->length > EXTENT_BYTES_MAX - ret_ref->offset) {
        dec->failed = true;
    }
}

void extent_owner_encode(struct enc *enc, const struct extent_owner *owner)
{
    enc_u64(enc, owner->bucket_id);
    enc_bytes(enc, owner->key);
    enc_u64(enc, owner->session);
    enc_raw(enc, owner->upload_id, sizeof(owner->upload_id));
    enc_u16(enc, owner->part_number);
    enc_uint(enc, owner->object_offset);
    enc_u64(enc, owner->proposer_wall_ms);
}

void extent_owner_decode(struct dec *dec, struct extent_owner *ret_owner)
{
    ret_owner->bucket_id = dec_u64(dec);
    ret_owner->key = dec_bytes(dec);
    ret_owner->session = dec_u64(dec);
    dec_copy(dec, ret_owner->upload_id, sizeof(ret_owner->upload_id));
    ret_owner->part_number = dec_u16(dec);
    ret_owner->object_offset = dec_uint(dec);
    ret_owner->proposer_wall_ms = dec_u64(dec);
}
