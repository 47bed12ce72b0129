#include "tools/bench/bench_body.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/mem.h"

#define SEED 0x9e3779b97f4a7c15ull
#define SHIFT_STEP 40503u /* odd: the first BENCH_BLOCK_BYTES objects all differ */

static uint64_t xorshift(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

void bench_body_init(struct bench_body *body)
{
    uint64_t state = SEED;
    body->block = mem_alloc(2 * (size_t)BENCH_BLOCK_BYTES);
    for (size_t i = 0; i < BENCH_BLOCK_BYTES; i += 8) {
        store_le64(body->block + i, xorshift(&state));
    }
    memcpy(body->block + BENCH_BLOCK_BYTES, body->block, BENCH_BLOCK_BYTES);
}

void bench_body_done(struct bench_body *body)
{
    mem_free(body->block);
    body->block = NULL;
}

struct slice bench_body_window(const struct bench_body *body, uint64_t object, uint64_t offset, uint64_t left)
{
    ASSERT(left > 0);
    size_t start = (size_t)((offset + object * SHIFT_STEP) % BENCH_BLOCK_BYTES);
    return slice_of(body->block + start, left < BENCH_BLOCK_BYTES ? (size_t)left : BENCH_BLOCK_BYTES);
}
