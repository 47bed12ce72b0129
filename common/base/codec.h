/*
 * codec - append-only encoder and bounds-checked decoder for records and messages.
 *
 * Integers: fixed little-endian (u8 u16 u32 u64) or LEB128 (`uint`); bytes: `uint` length, then
 * the bytes. A decoder never reads past its input: after the first violation `failed` is set, every
 * further read yields zeros, and the caller checks dec_done() once at the end.
 * Thread: none shared. Memory: an encoder owns its growing block until enc_free().
 */
#ifndef COMMON_BASE_CODEC_H
#define COMMON_BASE_CODEC_H

#include "common/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct enc {
    uint8_t *data;
    size_t len;
    size_t capacity;
};

#define ENC_INIT { NULL, 0, 0 }

void enc_u8(struct enc *enc, uint8_t v);
void enc_u16(struct enc *enc, uint16_t v);
void enc_u32(struct enc *enc, uint32_t v);
void enc_u64(struct enc *enc, uint64_t v);
void enc_uint(struct enc *enc, uint64_t v);
void enc_raw(struct enc *enc, const void *data, size_t len); /* no length prefix */
void enc_bytes(struct enc *enc, struct slice bytes);         /* length prefix */
uint8_t *enc_reserve(struct enc *enc, size_t len); /* appends len uninitialised bytes, returns them */
static inline struct slice enc_slice(const struct enc *enc)
{
    return slice_of(enc->data, enc->len);
}
void enc_reset(struct enc *enc);                             /* keeps the memory */
void enc_free(struct enc *enc);

struct dec {
    const uint8_t *data;
    size_t len;
    size_t at;
    bool failed;
};

struct dec dec_of(struct slice input);
uint8_t dec_u8(struct dec *dec);
uint16_t dec_u16(struct dec *dec);
uint32_t dec_u32(struct dec *dec);
uint64_t dec_u64(struct dec *dec);
uint64_t dec_uint(struct dec *dec);
uint32_t dec_uint32(struct dec *dec);                        /* a `uint` that must fit 32 bits */
struct slice dec_raw(struct dec *dec, size_t len);           /* borrows the input */
struct slice dec_bytes(struct dec *dec);                     /* borrows the input */
void dec_copy(struct dec *dec, void *target, size_t len);    /* zeros on failure */
static inline size_t dec_left(const struct dec *dec)
{
    return dec->failed ? 0 : dec->len - dec->at;
}
/* True when nothing failed and no input is left. */
static inline bool dec_done(const struct dec *dec)
{
    return !dec->failed && dec->at == dec->len;
}

#endif
