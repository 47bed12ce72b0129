#include "erasure/geometry.h"

#include "common/base/assert.h"

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* Shortest cell so that k of them hold `bytes`. */
static uint64_t cell_for(uint64_t bytes, unsigned k)
{
    return round_up((bytes + k - 1) / k, CELL_BYTES_UNIT);
}

uint32_t geometry_cell_bytes(uint64_t stored_bytes, unsigned k)
{
    ASSERT(k >= 1 && k <= CODE_K_MAX);
    ASSERT(stored_bytes >= 1);
    uint64_t cell = cell_for(stored_bytes, k);
    return cell < CELL_BYTES_MAX ? (uint32_t)cell : CELL_BYTES_MAX;
}

struct extent_code geometry_code(uint64_t stored_bytes, unsigned k, unsigned m)
{
    ASSERT(m <= CODE_M_MAX);
    return (struct extent_code){
        .matrix = k == 1 ? MATRIX_COPIES : MATRIX_CAUCHY,
        .k = (uint8_t)k,
        .m = (uint8_t)m,
        .cell_bytes = geometry_cell_bytes(stored_bytes, k),
    };
}

enum errc geometry_init(struct geometry *ret, uint64_t stored_bytes, const struct extent_code *code)
{
    if (!extent_code_valid(code) || stored_bytes == 0 || stored_bytes > EXTENT_BYTES_MAX) {
        return ERRC_INVALID;
    }
    uint64_t stripe_bytes = (uint64_t)code->k * code->cell_bytes;
    uint64_t stripes = (stored_bytes + stripe_bytes - 1) / stripe_bytes;
    uint64_t last = cell_for(stored_bytes - (stripes - 1) * stripe_bytes, code->k);
    ASSERT(last <= code->cell_bytes);
    *ret = (struct geometry){
        .code = *code,
        .stored_bytes = stored_bytes,
        .stripe_count = (uint32_t)stripes,
        .last_cell_bytes = (uint32_t)last,
        .shard_bytes = (stripes - 1) * code->cell_bytes + last,
    };
    return ERRC_OK;
}

uint32_t geometry_stripe_cell_bytes(const struct geometry *geometry, uint32_t stripe)
{
    ASSERT(stripe < geometry->stripe_count);
    return stripe + 1 == geometry->stripe_count ? geometry->last_cell_bytes : geometry->code.cell_bytes;
}

uint64_t geometry_stripe_data_bytes(const struct geometry *geometry, uint32_t stripe)
{
    ASSERT(stripe < geometry->stripe_count);
    uint64_t stripe_bytes = (uint64_t)geometry->code.k * geometry->code.cell_bytes;
    return stripe + 1 == geometry->stripe_count ? geometry->stored_bytes - stripe * stripe_bytes : stripe_bytes;
}

uint64_t geometry_cell_offset(const struct geometry *geometry, uint32_t stripe)
{
    ASSERT(stripe < geometry->stripe_count);
    return (uint64_t)stripe * geometry->code.cell_bytes;
}

struct geometry_piece geometry_piece_at(const struct geometry *geometry, uint64_t offset, uint64_t length)
{
    ASSERT(length > 0);
    ASSERT(offset < geometry->stored_bytes);
    uint64_t stripe_bytes = (uint64_t)geometry->code.k * geometry->code.cell_bytes;
    uint32_t stripe = (uint32_t)(offset / stripe_bytes);
    uint64_t in_stripe = offset % stripe_bytes;
    uint32_t cell_bytes = geometry_stripe_cell_bytes(geometry, stripe);
    struct geometry_piece piece = {
        .stripe = stripe,
        .cell = (uint32_t)(in_stripe / cell_bytes),
        .offset = (uint32_t)(in_stripe % cell_bytes),
    };
    uint64_t here = cell_bytes - piece.offset;
    uint64_t left = geometry->stored_bytes - offset;
    here = here < left ? here : left;
    piece.length = (uint32_t)(here < length ? here : length);
    ASSERT(piece.cell < geometry->code.k);
    return piece;
}
