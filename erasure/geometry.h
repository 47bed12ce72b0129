/*
 * geometry - where the bytes of an extent lie in its stripes, cells and shards.
 *
 * Pure functions of (stored bytes, code). The extent is cut into stripes of k data cells; stripe s holds the
 * stored bytes from s * k * cell_bytes on, cell i of it a run of cell length. All cells of one stripe are equally
 * long: cell_bytes, but in the last stripe, whose cells are as short as what is left allows (a multiple
 * of CELL_BYTES_UNIT; the padding behind the data is zeros). Proof by example: erasure/README.md.
 *
 *   stored bytes   |<------ stripe 0: k * cell_bytes ----->|<-- stripe 1, the last: k * last_cell_bytes -->|
 *                  | cell 0 | cell 1 | ... | cell k-1      | c0 | c1 | ... | data ends, zeros              |
 */
#ifndef ERASURE_GEOMETRY_H
#define ERASURE_GEOMETRY_H

#include "common/base/error.h"
#include "common/base/extent.h"

struct geometry {
    struct extent_code code;
    uint64_t stored_bytes;
    uint32_t stripe_count;     /* = cells of every shard */
    uint32_t last_cell_bytes;  /* of the last stripe */
    uint64_t shard_bytes;      /* sum of a shard's cells */
};

/* A run of stored bytes inside one data cell. */
struct geometry_piece {
    uint32_t stripe;
    uint32_t cell;             /* 0..k-1 */
    uint32_t offset;           /* in the cell */
    uint32_t length;
};

/* The cell size for a new extent: one stripe while k cells of at most CELL_BYTES_MAX hold it, else the maximum. */
uint32_t geometry_cell_bytes(uint64_t stored_bytes, unsigned k);
/* The code of a new extent: copies for k = 1, Cauchy otherwise. */
struct extent_code geometry_code(uint64_t stored_bytes, unsigned k, unsigned m);
/* stored_bytes 1..EXTENT_BYTES_MAX and a valid code, else INVALID (both come from records and headers too). */
MUST_CHECK enum errc geometry_init(struct geometry *ret, uint64_t stored_bytes, const struct extent_code *code);
/* Length of every cell of a stripe. */
uint32_t geometry_stripe_cell_bytes(const struct geometry *geometry, uint32_t stripe);
/* Stored bytes that a stripe really holds, without padding. */
uint64_t geometry_stripe_data_bytes(const struct geometry *geometry, uint32_t stripe);
/* Offset of a cell in its shard. */
uint64_t geometry_cell_offset(const struct geometry *geometry, uint32_t stripe);
/* The piece at stored offset `offset` (< stored_bytes) that is at most `length` (> 0) long. Walk a range by
 * adding the piece's length. */
struct geometry_piece geometry_piece_at(const struct geometry *geometry, uint64_t offset, uint64_t length);

#endif
