#include "common/base/codec.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/mem.h"

#define UINT_BYTES_MAX 10 /* LEB128 of 64 bits */

uint8_t *enc_reserve(struct enc *enc, size_t len)
{
    ASSERT(len <= SIZE_MAX / 4 - enc->len);
    if (enc->len + len > enc->capacity) {
        size_t capacity = enc->capacity > 0 ? enc->capacity : 64;
        while (capacity < enc->len + len) {
            capacity *= 2;
        }
        enc->data = mem_realloc(enc->data, capacity);
        enc->capacity = capacity;
    }
    uint8_t *at = len > 0 ? enc->data + enc->len : enc->data; /* no arithmetic on the NULL of an empty encoder */
    enc->len += len;
    return at;
}

void enc_u8(struct enc *enc, uint8_t v)
{
    *enc_reserve(enc, 1) = v;
}

void enc_u16(struct enc *enc, uint16_t v)
{
    store_le16(enc_reserve(enc, 2), v);
}

void enc_u32(struct enc *enc, uint32_t v)
{
    store_le32(enc_reserve(enc, 4), v);
}

void enc_u64(struct enc *enc, uint64_t v)
{
    store_le64(enc_reserve(enc, 8), v);
}

void enc_uint(struct enc *enc, uint64_t v)
{
    uint8_t bytes[UINT_BYTES_MAX];
    size_t len = 0;
    while (v >= 0x80) {
        bytes[len++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    bytes[len++] = (uint8_t)v;
    enc_raw(enc, bytes, len);
}

void enc_raw(struct enc *enc, const void *data, size_t len)
{
    if (len > 0) { /* an empty encoder has no block, and NULL + 0 is undefined */
        memcpy(enc_reserve(enc, len), data, len);
    }
}

void enc_bytes(struct enc *enc, struct slice bytes)
{
    enc_uint(enc, bytes.len);
    enc_raw(enc, bytes.data, bytes.len);
}

void enc_reset(struct enc *enc)
{
    enc->len = 0;
}

void enc_free(struct enc *enc)
{
    mem_free(enc->data);
    *enc = (struct enc)ENC_INIT;
}

struct dec dec_of(struct slice input)
{
    return (struct dec){ input.data, input.len, 0, false };
}

uint32_t dec_uint32(struct dec *dec)
{
    uint64_t v = dec_uint(dec);
    dec->failed = dec->failed || v > UINT32_MAX;
    return dec->failed ? 0 : (uint32_t)v;
}

struct slice dec_raw(struct dec *dec, size_t len)
{
    if (dec->failed || len > dec->len - dec->at) {
        dec->failed = true;
        return SLICE_EMPTY;
    }
    struct slice view = slice_of(dec->data + dec->at, len);
    dec->at += len;
    return view;
}

void dec_copy(struct dec *dec, void *target, size_t len)
{
    struct slice view = dec_raw(dec, len);
    if (view.len == len && len > 0) {
        memcpy(target, view.data, len);
    } else {
        memset(target, 0, len);
    }
}

uint8_t dec_u8(struct dec *dec)
{
    uint8_t v;
    dec_copy(dec, &v, 1);
    return v;
}

uint16_t dec_u16(struct dec *dec)
{
    uint8_t bytes[2];
    dec_copy(dec, bytes, sizeof(bytes));
    return load_le16(bytes);
}

uint32_t dec_u32(struct dec *dec)
{
    uint8_t bytes[4];
    dec_copy(dec, bytes, sizeof(bytes));
    return load_le32(bytes);
}

uint64_t dec_u64(struct dec *dec)
{
    uint8_t bytes[8];
    dec_copy(dec, bytes, sizeof(bytes));
    return load_le64(bytes);
}

uint64_t dec_uint(struct dec *dec)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = dec_u8(dec);
        if (dec->failed) {
            return 0;
        }
        if (shift == 63 && byte > 1) {
            break; /* more than 64 bits */
        }
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift > 0) {
                break; /* one value, one form */
            }
            return v;
        }
    }
    dec->failed = true;
    return 0;
}

struct slice dec_bytes(struct dec *dec)
{
    uint64_t len = dec_uint(dec);
    if (dec->failed || len > dec->len - dec->at) {
        dec->failed = true;
        return SLICE_EMPTY;
    }
    return dec_raw(dec, (size_t)len);
}
