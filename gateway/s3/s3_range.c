#include "gateway/s3/s3_range.h"

#include "gateway/s3/s3_request.h"

#include <inttypes.h>
#include <stdio.h>

/* Decimal digits, saturating: a position beyond 2^64 is beyond every object. False: no digit at all. */
static bool range_number(struct slice text, size_t *at, uint64_t *ret_value)
{
    size_t start = *at;
    uint64_t value = 0;
    for (; *at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9'; (*at)++) {
        uint64_t digit = (uint64_t)(text.data[*at] - '0');
        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *ret_value = value;
    return *at > start;
}

struct range_text {
    bool has_first, has_last;
    uint64_t first, last;
};

/* "bytes=a-b", "bytes=a-", "bytes=-n"; the unit in any letter case. */
static bool range_scan(struct slice text, struct range_text *ret)
{
    if (!s3_name_starts(text, "bytes=")) {
        return false;
    }
    size_t at = 6;
    ret->has_first = range_number(text, &at, &ret->first);
    if (at >= text.len || text.data[at] != '-') {
        return false;
    }
    at++;
    ret->has_last = range_number(text, &at, &ret->last);
    bool is_ordered = !(ret->has_first && ret->has_last) || ret->first <= ret->last;
    return at == text.len && (ret->has_first || ret->has_last) && is_ordered;
}

enum s3_range_outcome s3_range_resolve(struct slice text, uint64_t object_bytes, struct s3_range *ret_range)
{
    struct range_text range;
    if (!range_scan(s3_trim(text), &range)) {
        *ret_range = (struct s3_range){ 0, object_bytes };
        return S3_RANGE_WHOLE;
    }
    if (!range.has_first) { /* the last n bytes */
        if (range.last == 0 || object_bytes == 0) {
            return S3_RANGE_UNSATISFIABLE;
        }
        uint64_t len = range.last < object_bytes ? range.last : object_bytes;
        *ret_range = (struct s3_range){ object_bytes - len, len };
        return S3_RANGE_PART;
    }
    if (range.first >= object_bytes) {
        return S3_RANGE_UNSATISFIABLE;
    }
    uint64_t last = range.has_last && range.last < object_bytes ? range.last : object_bytes - 1;
    *ret_range = (struct s3_range){ range.first, last - range.first + 1 };
    return S3_RANGE_PART;
}

bool s3_range_parse_copy(struct slice text, struct s3_range *ret_range)
{
    struct range_text range;
    if (!range_scan(s3_trim(text), &range) || !range.has_first || !range.has_last ||
        range.last - range.first == UINT64_MAX) {
        return false;
    }
    *ret_range = (struct s3_range){ range.first, range.last - range.first + 1 };
    return true;
}

size_t s3_range_format(const struct s3_range *range, uint64_t object_bytes, char text[S3_CONTENT_RANGE_BYTES])
{
    int len;
    if (range == NULL) {
        len = snprintf(text, S3_CONTENT_RANGE_BYTES, "bytes */%" PRIu64, object_bytes);
    } else {
        len = snprintf(text, S3_CONTENT_RANGE_BYTES, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range->offset,
                       range->offset + range->len - 1, object_bytes);
    }
    return (size_t)len;
}
