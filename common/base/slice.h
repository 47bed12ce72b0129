/*
 * slice - a borrowed view of bytes: pointer and length, no ownership, not terminated.
 */
#ifndef COMMON_BASE_SLICE_H
#define COMMON_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

#define SLICE_EMPTY ((struct slice){ NULL, 0 })

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){ (const uint8_t *)data, len };
}

static inline struct slice slice_str(const char *text)
{
    return slice_of(text, strlen(text));
}

/* Not for secrets: the time depends on the bytes (gateway/auth compares with CRYPTO_memcmp). */
static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_equal_str(struct slice a, const char *b)
{
    return slice_equal(a, slice_str(b));
}

/* Byte order, shorter first where one is a prefix: the order of keys everywhere in Cairn. */
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static inline bool slice_starts(struct slice a, struct slice prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.data, prefix.data, prefix.len) == 0);
}

static inline struct slice slice_skip(struct slice a, size_t n)
{
    return n >= a.len ? SLICE_EMPTY : slice_of(a.data + n, a.len - n);
}

#endif
