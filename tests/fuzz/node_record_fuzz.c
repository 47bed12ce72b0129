/*
 * Fuzz target: the decoders of what a storage node reads from its disk and from its callers. Whatever is
 * accepted must be encoded again to something that decodes to the same.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "storage-node/node_index.h"
#include "storage-node/node_record.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned accepted; /* by decoders that have no way back */

static void fuzz_headers(struct slice input)
{
    uint8_t again[RECORD_HEADER_BYTES];
    struct frame_header frame;
    struct record_header record;
    if (input.len >= FRAME_HEADER_BYTES && frame_header_decode(input.data, &frame) == ERRC_OK) {
        struct frame_header twice;
        frame_header_encode(&frame, again);
        ASSERT(frame_header_decode(again, &twice) == ERRC_OK);
        ASSERT(twice.seq == frame.seq);
    }
    if (input.len >= RECORD_HEADER_BYTES && record_header_decode(input.data, &record) == ERRC_OK) {
        struct record_header twice;
        record_header_encode(&record, again);
        ASSERT(record_header_decode(again, &twice) == ERRC_OK);
        ASSERT(twice.meta_bytes == record.meta_bytes);
    }
    if (input.len >= SEGMENT_HEADER_BYTES) {
        struct segment_header segment;
        accepted += segment_header_decode(input.data, &segment) == ERRC_OK ? 1 : 0;
    }
}

/* As replay walks damaged bytes: from every aligned offset. */
static void fuzz_walk(struct slice input)
{
    for (size_t at = 0; at + RECORD_HEADER_BYTES <= input.len;) {
        struct record record;
        struct shard_meta meta;
        size_t next = at;
        if (record_read(input, 4096, 0, &next, &record) != ERRC_OK) {
            at += RECORD_ALIGN;
            continue;
        }
        if (record.header.type != RECORD_FREE) {
            accepted += record_check(&record, &meta) == ERRC_OK ? 1 : 0;
        }
        ASSERT(next > at);
        at = next;
    }
}

static void fuzz_index(struct slice input)
{
    struct index_entry entry;
    struct index_segment segment;
    struct index_position position;
    struct index_scrub scrub;
    struct shard_meta meta;
    if (index_entry_decode(input, &entry) == ERRC_OK) {
        struct enc enc = ENC_INIT;
        struct index_entry twice;
        index_entry_encode(&enc, &entry);
        ASSERT(index_entry_decode(enc_slice(&enc), &twice) == ERRC_OK);
        ASSERT(index_entry_same_place(&entry, &twice));
        enc_free(&enc);
    }
    accepted += index_segment_decode(input, &segment) == ERRC_OK ? 1 : 0;
    accepted += index_position_decode(input, &position) == ERRC_OK ? 1 : 0;
    accepted += index_scrub_decode(input, &scrub) == ERRC_OK ? 1 : 0;
    if (shard_meta_decode(input, &meta) == ERRC_OK) {
        struct enc enc = ENC_INIT;
        struct shard_meta twice;
        shard_meta_encode(&enc, &meta);
        ASSERT(shard_meta_decode(enc_slice(&enc), &twice) == ERRC_OK);
        ASSERT(slice_equal(meta.cell_crcs, twice.cell_crcs));
        enc_free(&enc);
    }
}

/* First byte: which message. */
static void fuzz_messages(struct slice input)
{
    if (input.len == 0) {
        return;
    }
    unsigned which = input.data[0];
    struct slice bytes = slice_skip(input, 1);
    unsigned n = 0;
#define X(message)                                                             \
    if (which == n++) {                                                        \
        struct message *decoded = mem_zalloc(sizeof(*decoded));                \
        if (message##_decode(bytes, decoded) == ERRC_OK) {                     \
            struct enc enc = ENC_INIT;                                         \
            message##_encode(&enc, decoded);                                   \
            ASSERT(message##_decode(enc_slice(&enc), decoded) == ERRC_OK);     \
            enc_free(&enc);                                                    \
        }                                                                      \
        mem_free(decoded);                                                     \
    }
    NODE_MESSAGES(X)
#undef X
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice input = slice_of(data, len);
    fuzz_headers(input);
    fuzz_walk(input);
    fuzz_index(input);
    fuzz_messages(input);
    return 0;
}
