/*
 * arena - memory of one request: bounded, bump-allocated, freed whole.
 *
 * arena_alloc() returns NULL when the limit is reached; the caller answers ERRC_LIMIT.
 * Thread: one owner at a time.
 */
#ifndef COMMON_BASE_ARENA_H
#define COMMON_BASE_ARENA_H

#include "common/base/slice.h"

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used_bytes;          /* of all blocks */
    size_t limit_bytes;
};

void arena_init(struct arena *arena, size_t limit_bytes);
void *arena_alloc(struct arena *arena, size_t bytes);              /* 16-byte aligned, uninitialised */
void *arena_zalloc(struct arena *arena, size_t bytes);
char *arena_strndup(struct arena *arena, const void *text, size_t len); /* adds a terminator */
/* Copies a slice; a NULL data pointer with a length above 0 says that the limit was reached. */
struct slice arena_copy(struct arena *arena, struct slice bytes);
char *arena_format(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
void arena_done(struct arena *arena);                              /* frees all; usable after init */

#endif
