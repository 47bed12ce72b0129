#include "gateway/s3/s3_name.h"

#include "gateway/s3/s3_uri.h"

static bool name_edge(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool name_ends(struct slice name, const char *suffix)
{
    size_t len = strlen(suffix);
    return name.len >= len && memcmp(name.data + name.len - len, suffix, len) == 0;
}

/* Four groups of one to three digits: shaped like an address, whatever the values. */
static bool name_like_ipv4(struct slice name)
{
    size_t digits = 0;
    size_t dots = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '.') {
            if (digits == 0) {
                return false;
            }
            dots++;
            digits = 0;
        } else if (name.data[i] < '0' || name.data[i] > '9' || ++digits > 3) {
            return false;
        }
    }
    return dots == 3 && digits > 0;
}

bool s3_bucket_name_valid(struct slice name)
{
    static const char *const prefixes[] = { "xn--", "sthree-", "amzn-s3-demo-" };
    static const char *const suffixes[] = { "-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3" };
    if (name.len < S3_BUCKET_BYTES_MIN || name.len > S3_BUCKET_BYTES_MAX) {
        return false;
    }
    if (!name_edge(name.data[0]) || !name_edge(name.data[name.len - 1])) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (!name_edge(c) && c != '.' && c != '-') {
            return false;
        }
        if (c == '.' && name.data[i - 1] == '.') {
            return false; /* i > 0: the first byte is an edge */
        }
    }
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (slice_starts(name, slice_str(prefixes[i]))) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (name_ends(name, suffixes[i])) {
            return false;
        }
    }
    return !name_like_ipv4(name);
}

bool s3_key_valid(struct slice key)
{
    return key.len > 0 && key.len <= S3_KEY_BYTES_MAX && memchr(key.data, 0, key.len) == NULL &&
           s3_utf8_valid(key);
}
