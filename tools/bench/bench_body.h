/*
 * bench_body - the bytes of generated objects: every object differs, and all come from one block in memory.
 *
 * Byte n of object i is block[(n + shift(i)) mod BENCH_BLOCK_BYTES]. The block is random from a fixed seed, so that
 * a later run can verify what an earlier one wrote. It is kept twice in a row: any window is contiguous.
 * Thread: read-only after bench_body_init().
 */
#ifndef TOOLS_BENCH_BENCH_BODY_H
#define TOOLS_BENCH_BENCH_BODY_H

#include "common/base/slice.h"

#include <stdint.h>

#define BENCH_BLOCK_BYTES (1u << 20)

struct bench_body {
    uint8_t *block; /* 2 x BENCH_BLOCK_BYTES */
};

void bench_body_init(struct bench_body *body);
void bench_body_done(struct bench_body *body);

/* At most BENCH_BLOCK_BYTES and at most `left` bytes of the object from `offset` on. */
struct slice bench_body_window(const struct bench_body *body, uint64_t object, uint64_t offset, uint64_t left);

#endif
