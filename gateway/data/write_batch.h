/*
 * write_batch - a few stripes of one extent in memory: one buffer for each shard, filled in place, encoded in place.
 *
 * Data are copied once, into the cells where they stay; parity and checksums are made stripe by stripe as each fills.
 * Copies (k = 1) share one buffer between all shards.
 * Thread: its extent writer's executor. Memory: counted by the extent writer (write_batch_bytes).
 */
#ifndef GATEWAY_DATA_WRITE_BATCH_H
#define GATEWAY_DATA_WRITE_BATCH_H

#include "common/base/buffer.h"
#include "common/base/list.h"
#include "erasure/geometry.h"

#define BATCH_CELLS_MAX 8 /* stripes: at most 1 MiB of a shard in one call to its node */

struct write_batch {
    struct list node;
    const struct geometry *geometry;
    uint32_t first_stripe, stripe_count;
    uint32_t stripes_ready;                  /* encoded, from first_stripe on */
    uint64_t shard_bytes;                    /* of this batch */
    uint64_t budget_bytes;                   /* the owner's */
    struct buffer *buffers[CODE_SHARDS_MAX]; /* copies: the same buffer in every place */
    uint8_t crcs[CODE_SHARDS_MAX][BATCH_CELLS_MAX * 4];
    uint32_t sent, answered;                 /* shard masks: the owner's */
};

/* Stripes of a batch so that k * cells is about half the window. */
uint32_t write_batch_cells(const struct geometry *geometry, uint64_t window_bytes);
/* Memory that a batch beginning there will take. */
uint64_t write_batch_bytes(const struct geometry *geometry, uint32_t first_stripe, uint32_t cells);
struct write_batch *write_batch_new(const struct geometry *geometry, uint32_t first_stripe, uint32_t cells);
void write_batch_free(struct write_batch *batch);

/* Copies bytes of the extent from stored offset `at` on, as far as they belong to this batch; returns how many.
 * Stripes that become full, and the last of the extent, are encoded. verify: decode a k-subset and compare.
 * Errors  INTERNAL the encoded cells do not decode to themselves (the processor or memory is at fault). */
MUST_CHECK enum errc write_batch_fill(struct write_batch *batch, uint64_t at, struct slice bytes, bool verify,
                                      size_t *ret_taken);
static inline bool write_batch_full(const struct write_batch *batch)
{
    return batch->stripes_ready == batch->stripe_count;
}
/* Bytes of the extent at `at` as one run inside a cell: reads data back out (for a second attempt in another code). */
struct slice write_batch_peek(const struct write_batch *batch, uint64_t at);

#endif
