#include "gateway/data/write_batch.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "erasure/erasure_codec.h"

static unsigned shards_of(const struct geometry *geometry)
{
    return (unsigned)geometry->code.k + geometry->code.m;
}

uint32_t write_batch_cells(const struct geometry *geometry, uint64_t window_bytes)
{
    uint64_t stripe_bytes = (uint64_t)geometry->code.k * geometry->code.cell_bytes;
    uint64_t cells = window_bytes / 2 / stripe_bytes;
    if (cells > BATCH_CELLS_MAX) {
        cells = BATCH_CELLS_MAX;
    }
    if (cells > geometry->stripe_count) {
        cells = geometry->stripe_count;
    }
    return cells == 0 ? 1 : (uint32_t)cells;
}

/* Shard bytes of `cells` stripes from `first` on, cut at the extent's end. */
static uint64_t run_bytes(const struct geometry *geometry, uint32_t first, uint32_t cells)
{
    uint64_t end = first + cells >= geometry->stripe_count ? geometry->shard_bytes
                                                           : geometry_cell_offset(geometry, first + cells);
    return end - geometry_cell_offset(geometry, first);
}

/* As buffer_new() rounds. */
static uint64_t capacity_of(uint64_t bytes)
{
    uint64_t capacity = BUFFER_ALIGNMENT;
    while (capacity < bytes) {
        capacity *= 2;
    }
    return capacity;
}

uint64_t write_batch_bytes(const struct geometry *geometry, uint32_t first_stripe, uint32_t cells)
{
    unsigned buffers = geometry->code.matrix == MATRIX_COPIES ? 1 : shards_of(geometry);
    return buffers * capacity_of(run_bytes(geometry, first_stripe, cells));
}

struct write_batch *write_batch_new(const struct geometry *geometry, uint32_t first_stripe, uint32_t cells)
{
    ASSERT(cells >= 1 && cells <= BATCH_CELLS_MAX);
    ASSERT(first_stripe < geometry->stripe_count);
    struct write_batch *batch = mem_zalloc(sizeof(*batch));
    uint32_t left = geometry->stripe_count - first_stripe;
    list_init(&batch->node);
    batch->geometry = geometry;
    batch->first_stripe = first_stripe;
    batch->stripe_count = cells < left ? cells : left;
    batch->shard_bytes = run_bytes(geometry, first_stripe, cells);
    bool copies = geometry->code.matrix == MATRIX_COPIES;
    for (unsigned i = 0; i < shards_of(geometry); i++) {
        batch->buffers[i] = copies && i > 0 ? buffer_ref(batch->buffers[0]) : buffer_new(batch->shard_bytes);
        batch->buffers[i]->len = batch->shard_bytes;
    }
    return batch;
}

void write_batch_free(struct write_batch *batch)
{
    list_remove(&batch->node);
    for (unsigned i = 0; i < shards_of(batch->geometry); i++) {
        buffer_unref(batch->buffers[i]);
    }
    mem_free(batch);
}

static uint8_t *cell_at(const struct write_batch *batch, unsigned shard, uint32_t stripe)
{
    return batch->buffers[shard]->data + geometry_cell_offset(batch->geometry, stripe) -
           geometry_cell_offset(batch->geometry, batch->first_stripe);
}

/* Everything behind the data of the extent's last stripe is zeros: padding is never an old buffer's bytes. */
static void stripe_pad(struct write_batch *batch, uint32_t stripe)
{
    const struct geometry *geometry = batch->geometry;
    uint32_t cell_bytes = geometry_stripe_cell_bytes(geometry, stripe);
    uint64_t data = geometry_stripe_data_bytes(geometry, stripe);
    for (unsigned i = 0; i < geometry->code.k; i++) {
        uint64_t first = (uint64_t)i * cell_bytes;
        uint64_t used = data <= first ? 0 : data - first < cell_bytes ? data - first : cell_bytes;
        memset(cell_at(batch, i, stripe) + used, 0, cell_bytes - used);
    }
}

static void stripe_crcs(struct write_batch *batch, uint32_t stripe, uint32_t cell_bytes)
{
    bool copies = batch->geometry->code.matrix == MATRIX_COPIES;
    uint32_t crc = 0;
    for (unsigned i = 0; i < shards_of(batch->geometry); i++) {
        if (i == 0 || !copies) {
            crc = crc32c(cell_at(batch, i, stripe), cell_bytes);
        }
        store_le32(batch->crcs[i] + (size_t)(stripe - batch->first_stripe) * 4, crc);
    }
}

static enum errc stripe_encode(struct write_batch *batch, uint32_t stripe, bool verify)
{
    const struct geometry *geometry = batch->geometry;
    uint32_t cell_bytes = geometry_stripe_cell_bytes(geometry, stripe);
    stripe_pad(batch, stripe);
    if (geometry->code.matrix != MATRIX_COPIES) {
        const uint8_t *cells[CODE_SHARDS_MAX];
        uint8_t *parity[CODE_M_MAX];
        for (unsigned i = 0; i < shards_of(geometry); i++) {
            cells[i] = cell_at(batch, i, stripe);
        }
        for (unsigned i = 0; i < geometry->code.m; i++) {
            parity[i] = cell_at(batch, geometry->code.k + i, stripe);
        }
        codec_encode(&geometry->code, cell_bytes, cells, parity);
        uint64_t seed = (uint64_t)(uintptr_t)batch + stripe;
        if (verify && codec_verify(&geometry->code, cell_bytes, cells, codec_subset(&geometry->code, seed)) != ERRC_OK) {
            return ERRC_INTERNAL;
        }
    }
    stripe_crcs(batch, stripe, cell_bytes);
    batch->stripes_ready++;
    return ERRC_OK;
}

enum errc write_batch_fill(struct write_batch *batch, uint64_t at, struct slice bytes, bool verify,
                           size_t *ret_taken)
{
    const struct geometry *geometry = batch->geometry;
    size_t taken = 0;
    enum errc rc = ERRC_OK;
    while (rc == ERRC_OK && taken < bytes.len && at + taken < geometry->stored_bytes) {
        struct geometry_piece piece = geometry_piece_at(geometry, at + taken, bytes.len - taken);
        ASSERT(piece.stripe >= batch->first_stripe);
        if (piece.stripe >= batch->first_stripe + batch->stripe_count) {
            break;
        }
        memcpy(cell_at(batch, piece.cell, piece.stripe) + piece.offset, bytes.data + taken, piece.length);
        taken += piece.length;
        uint64_t in_stripe = (uint64_t)piece.cell * geometry_stripe_cell_bytes(geometry, piece.stripe) + piece.offset +
                             piece.length;
        if (in_stripe == geometry_stripe_data_bytes(geometry, piece.stripe)) {
            rc = stripe_encode(batch, piece.stripe, verify);
        }
    }
    *ret_taken = taken;
    return rc;
}

struct slice write_batch_peek(const struct write_batch *batch, uint64_t at)
{
    struct geometry_piece piece = geometry_piece_at(batch->geometry, at, UINT64_MAX);
    return slice_of(cell_at(batch, piece.cell, piece.stripe) + piece.offset, piece.length);
}
