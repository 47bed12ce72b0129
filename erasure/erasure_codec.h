/*
 * erasure_codec - parity cells from data cells, and any lost cells from any k others (isa-l behind it).
 *
 * Codes are named by struct extent_code; its matrix decides: copies, or the Cauchy matrix of isa-l. Changing a
 * generator would make stored data undecodable: a new one gets a new matrix number.
 * Thread: all functions from any thread; encoding tables are made once per (k, m) and shared.
 * Memory: cells are the caller's, any alignment (64 bytes is fastest); nothing is kept.
 */
#ifndef ERASURE_ERASURE_CODEC_H
#define ERASURE_ERASURE_CODEC_H

#include "common/base/error.h"
#include "common/base/extent.h"

/*
 * Fills the m parity cells from the k data cells.
 *
 * data    k pointers x cell_bytes, read only    parity  m pointers x cell_bytes
 * Cost    one core, 4+2: above 10 GB/s of data
 */
void codec_encode(const struct extent_code *code, size_t cell_bytes, const uint8_t *const data[],
                  uint8_t *const parity[]);

/* Decoding is prepared for one pattern of losses and then run over many stripes. */
struct codec_decoder {
    struct extent_code code;
    uint8_t source_count;                       /* k */
    uint8_t target_count;
    uint8_t sources[CODE_K_MAX];                /* shard indices read, ascending */
    uint8_t targets[CODE_SHARDS_MAX];           /* shard indices made, ascending */
    uint8_t tables[32 * CODE_K_MAX * CODE_SHARDS_MAX];
};

/*
 * have  bit i: cell i is there (the first k of them are used)   want  bit i: cell i is to be made; none of `have`
 * Errors  UNAVAILABLE fewer than k are there. INTERNAL the matrix is singular: cannot happen with Cauchy.
 */
MUST_CHECK enum errc codec_decoder_prepare(struct codec_decoder *decoder, const struct extent_code *code,
                                           uint32_t have, uint32_t want);
/* cells: k + m pointers by shard index; those of sources are read, those of targets are written. */
void codec_decoder_run(const struct codec_decoder *decoder, size_t cell_bytes, uint8_t *const cells[]);

/* prepare and run for one stripe. */
MUST_CHECK enum errc codec_decode(const struct extent_code *code, size_t cell_bytes, uint8_t *const cells[],
                                  uint32_t have, uint32_t want);

/*
 * Are the other cells what the k cells of `subset` say? Decodes in small pieces and compares: shows a
 * processor that miscomputed. OK or CORRUPT.
 */
MUST_CHECK enum errc codec_verify(const struct extent_code *code, size_t cell_bytes, const uint8_t *const cells[],
                                  uint32_t subset);
/* A k-subset of k + m chosen by `seed`, every one possible: for codec_verify after an encode. */
uint32_t codec_subset(const struct extent_code *code, uint64_t seed);

#endif
