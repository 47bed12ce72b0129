#include "common/base/arena.h"

#include "common/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define ARENA_BLOCK_BYTES 4096

struct arena_block {
    struct arena_block *next;
    size_t capacity;
    size_t used;
    max_align_t data[];
};

void arena_init(struct arena *arena, size_t limit_bytes)
{
    *arena = (struct arena){ NULL, 0, limit_bytes };
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    size_t rounded = (bytes + 15) & ~(size_t)15;
    if (rounded < bytes || rounded > arena->limit_bytes - arena->used_bytes) {
        return NULL;
    }
    struct arena_block *block = arena->blocks;
    if (block == NULL || rounded > block->capacity - block->used) {
        size_t capacity = rounded > ARENA_BLOCK_BYTES ? rounded : ARENA_BLOCK_BYTES;
        block = mem_alloc(sizeof(*block) + capacity);
        *block = (struct arena_block){ arena->blocks, capacity, 0 };
        arena->blocks = block;
    }
    uint8_t *at = (uint8_t *)block->data + block->used;
    block->used += rounded;
    arena->used_bytes += rounded;
    return at;
}

void *arena_zalloc(struct arena *arena, size_t bytes)
{
    void *at = arena_alloc(arena, bytes);
    if (at != NULL) {
        memset(at, 0, bytes);
    }
    return at;
}

char *arena_strndup(struct arena *arena, const void *text, size_t len)
{
    char *copy = arena_alloc(arena, len + 1);
    if (copy != NULL) {
        if (len > 0) {
            memcpy(copy, text, len);
        }
        copy[len] = '\0';
    }
    return copy;
}

struct slice arena_copy(struct arena *arena, struct slice bytes)
{
    return slice_of(arena_strndup(arena, bytes.data, bytes.len), bytes.len);
}

char *arena_format(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = len < 0 ? NULL : arena_alloc(arena, (size_t)len + 1);
    if (text != NULL) {
        (void)vsnprintf(text, (size_t)len + 1, format, again); /* the length is known to fit */
    }
    va_end(again);
    return text;
}

void arena_done(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct arena_block *next = arena->blocks->next;
        mem_free(arena->blocks);
        arena->blocks = next;
    }
    arena->used_bytes = 0;
}
