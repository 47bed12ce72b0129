/* The prefixes of s3_listing.h: where a group of keys ends, and what it is called. */
#include "gateway/s3/s3_listing.h"

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
