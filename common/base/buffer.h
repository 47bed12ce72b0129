/*
 * buffer - a reference-counted block of payload, aligned for O_DIRECT, recycled by size class.
 *
 * A buffer is written by its one creator until it is shared; from then on its bytes are read only.
 * Thread: references are atomic, so a buffer may travel between executors; the free lists behind
 * buffer_new() are shared and locked.
 */
#ifndef COMMON_BASE_BUFFER_H
#define COMMON_BASE_BUFFER_H

#include "common/base/slice.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define BUFFER_ALIGNMENT 4096
#define BUFFER_CAPACITY_MAX (4u << 20) /* largest recycled class, 4 MiB; above: plain memory */

struct buffer {
    uint8_t *data;      /* BUFFER_ALIGNMENT-aligned */
    size_t len;         /* bytes in use, at most capacity */
    size_t capacity;
    atomic_uint references;
    uint32_t size_class;
    struct buffer *next_free;
};

/* At least `capacity` bytes (rounded up to a power of two of at least 4 KiB), len 0, one reference. Gives. */
struct buffer *buffer_new(size_t capacity);
struct buffer *buffer_ref(struct buffer *buffer);
void buffer_unref(struct buffer *buffer); /* NULL is fine */
static inline struct slice buffer_slice(const struct buffer *buffer)
{
    return slice_of(buffer->data, buffer->len);
}
/* Bytes of all live buffers, for metrics and memory budgets; recycled ones are not counted. */
uint64_t buffer_live_bytes(void);
/* Frees the recycled blocks (shutdown, tests). */
void buffer_trim(void);

#endif
