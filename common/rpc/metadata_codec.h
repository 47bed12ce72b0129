/*
 * metadata_codec - what the files that encode metadata messages share; nobody else includes it.
 */
#ifndef COMMON_RPC_METADATA_CODEC_H
#define COMMON_RPC_METADATA_CODEC_H

#include "common/rpc/metadata_messages.h"

/* A message being decoded: the input, the memory for its arrays, and why it failed. */
struct meta_input {
    struct dec dec;
    struct arena *arena;
    bool full; /* the arena was */
};

static inline struct meta_input meta_input_of(struct slice bytes, struct arena *arena)
{
    return (struct meta_input){ dec_of(bytes), arena, false };
}

/* The code of a decode function. */
MUST_CHECK enum errc meta_input_end(const struct meta_input *in);
/* Reads a count up to `max` and allocates that many zeroed items, each of at least `encoded_bytes` in the
 * input. NULL with *ret_count 0 on failure and for none. */
void *meta_array(struct meta_input *in, uint32_t max, size_t item_bytes, size_t encoded_bytes, uint32_t *ret_count);

bool meta_bool(struct dec *dec);
uint8_t meta_u8(struct dec *dec, uint8_t max);
uint16_t meta_uint16(struct dec *dec);
struct slice meta_bytes(struct dec *dec, size_t max);

void meta_body_encode(struct enc *enc, const struct meta_body *in);
void meta_body_decode(struct meta_input *in, struct meta_body *ret);
const struct extent *meta_extents_decode(struct meta_input *in, uint32_t max, uint32_t *ret_count);
void meta_extents_encode(struct enc *enc, uint32_t count, const struct extent *extents);
const struct extent_ref *meta_refs_decode(struct meta_input *in, uint32_t *ret_count);
void meta_refs_encode(struct enc *enc, uint32_t count, const struct extent_ref *refs);

#endif
