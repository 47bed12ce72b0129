/* The fold of s3_listing.h: keys in order become contents and common prefixes. */
#include "gateway/s3/s3_listing.h"

#include "common/base/assert.h"

bool s3_prefix_successor(struct slice prefix, uint8_t *room, struct slice *ret)
{
    size_t len = prefix.len;
    while (len > 0 && prefix.data[len - 1] == 0xff) {
        len--;
    }
    if (len == 0) {
        return false;
    }
    memmove(room, prefix.data, len);
    room[len - 1]++;
    *ret = slice_of(room, len);
    return true;
}

bool s3_common_prefix(struct slice key, struct slice prefix, struct slice delimiter, struct slice *ret_prefix)
{
    if (delimiter.len == 0 || key.len <= prefix.len) {
        return false;
    }
    const uint8_t *found = memmem(key.data + prefix.len, key.len - prefix.len, delimiter.data, delimiter.len);
    if (found == NULL) {
        return false;
    }
    *ret_prefix = slice_of(key.data, (size_t)(found - key.data) + delimiter.len);
    return true;
}

static void fold_remember(struct s3_listing *listing, struct slice key, bool is_prefix)
{
    ASSERT(key.len < sizeof(listing->last_bytes));
    if (key.len > 0) {
        memmove(listing->last_bytes, key.data, key.len);
    }
    listing->last = (struct s3_position){ .key = slice_of(listing->last_bytes, key.len), .is_prefix = is_prefix };
    listing->has_last = true;
}

void s3_listing_init(struct s3_listing *listing, struct slice prefix, struct slice delimiter, uint32_t max,
                     const struct s3_position *after)
{
    listing->prefix = prefix;
    listing->delimiter = delimiter;
    listing->max = max;
    listing->count = 0;
    listing->truncated = false;
    listing->has_last = false;
    listing->last = (struct s3_position){ .is_prefix = false };
    if (after == NULL || after->key.len == 0) {
        return;
    }
    /* A marker longer than any key stands behind all keys that share its first 1024 bytes. */
    size_t len = after->key.len < sizeof(listing->last_bytes) ? after->key.len : sizeof(listing->last_bytes) - 1;
    struct slice key = slice_of(after->key.data, len);
    struct slice common;
    bool is_prefix = after->is_prefix;
    if (slice_starts(key, prefix) && s3_common_prefix(key, prefix, delimiter, &common)) {
        is_prefix = is_prefix || slice_equal(common, key);
    }
    fold_remember(listing, key, is_prefix);
    listing->last.id = after->id;
}

bool s3_listing_seek(const struct s3_listing *listing, uint8_t room[1026], struct slice *ret_key)
{
    struct slice start = SLICE_EMPTY;
    if (listing->has_last && listing->last.is_prefix) {
        if (!s3_prefix_successor(listing->last.key, room, &start)) {
            return false;
        }
    } else if (listing->has_last) {
        /* after the key: the key and a zero byte; with an id its remaining rows are still wanted */
        memcpy(room, listing->last.key.data, listing->last.key.len);
        room[listing->last.key.len] = 0;
        start = slice_of(room, listing->last.key.len + (listing->last.id.len > 0 ? 0 : 1));
    }
    if (slice_compare(start, listing->prefix) < 0) {
        start = listing->prefix;
    }
    *ret_key = start;
    return true;
}

static bool fold_before_start(const struct s3_listing *listing, struct slice key)
{
    if (!listing->has_last || listing->count > 0) {
        return false;
    }
    int order = slice_compare(key, listing->last.key);
    return order < 0 || (order == 0 && listing->last.id.len == 0);
}

enum s3_fold s3_listing_fold(struct s3_listing *listing, struct slice key)
{
    if (!slice_starts(key, listing->prefix)) {
        return slice_compare(key, listing->prefix) < 0 ? S3_FOLD_SKIP : S3_FOLD_END;
    }
    if (listing->has_last && listing->last.is_prefix && slice_starts(key, listing->last.key)) {
        return S3_FOLD_SKIP;
    }
    if (fold_before_start(listing, key)) {
        return S3_FOLD_SKIP;
    }
    struct slice common = key;
    bool is_prefix = s3_common_prefix(key, listing->prefix, listing->delimiter, &common);
    /* S3-SURFACE 4.6: a common prefix that is not greater than the marker is left out. */
    if (is_prefix && listing->count == 0 && listing->has_last && slice_compare(common, listing->last.key) <= 0) {
        return S3_FOLD_SKIP;
    }
    if (listing->count >= listing->max) {
        listing->truncated = listing->max > 0;
        return S3_FOLD_FULL;
    }
    listing->count++;
    fold_remember(listing, is_prefix ? common : key, is_prefix);
    return is_prefix ? S3_FOLD_PREFIX : S3_FOLD_CONTENT;
}
