#include "gateway/s3/s3_uri.h"

#include "common/base/hex.h"

bool s3_uri_decode(struct slice raw, bool plus_is_space, uint8_t *out, size_t *ret_len)
{
    size_t written = 0;
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t c = raw.data[i];
        if (c == '%') {
            int high = raw.len - i > 2 ? hex_digit((char)raw.data[i + 1]) : -1;
            int low = raw.len - i > 2 ? hex_digit((char)raw.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[written++] = c;
    }
    *ret_len = written;
    return true;
}

enum errc s3_uri_decode_arena(struct arena *arena, struct slice raw, bool plus_is_space,
                              struct slice *ret_text)
{
    bool is_plain = raw.len == 0 || (memchr(raw.data, '%', raw.len) == NULL &&
                                     !(plus_is_space && memchr(raw.data, '+', raw.len) != NULL));
    if (is_plain) {
        *ret_text = raw;
        return ERRC_OK;
    }
    uint8_t *room = arena_alloc(arena, raw.len);
    size_t len = 0;
    if (room == NULL) {
        return ERRC_LIMIT;
    }
    if (!s3_uri_decode(raw, plus_is_space, room, &len)) {
        return ERRC_INVALID;
    }
    *ret_text = slice_of(room, len);
    return ERRC_OK;
}

static bool uri_unreserved(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void s3_uri_encode(struct enc *out, struct slice text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (uri_unreserved(c) || (c == '/' && keep_slash)) {
            enc_u8(out, c);
        } else {
            uint8_t *at = enc_reserve(out, 3);
            at[0] = '%';
            at[1] = (uint8_t)digits[c >> 4];
            at[2] = (uint8_t)digits[c & 15];
        }
    }
}

/* Length of the sequence at `at` (RFC 3629 section 4), 0 when there is none. */
static size_t utf8_sequence(const uint8_t *at, size_t left)
{
    uint8_t c = at[0];
    if (c < 0x80) {
        return 1;
    }
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || len > left) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool is_bad = (c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] > 0x9f) ||
                  (c == 0xf0 && at[1] < 0x90) || (c == 0xf4 && at[1] > 0x8f);
    return is_bad ? 0 : len;
}

bool s3_utf8_valid(struct slice text)
{
    size_t i = 0;
    while (i < text.len) {
        size_t len = utf8_sequence(text.data + i, text.len - i);
        if (len == 0) {
            return false;
        }
        i += len;
    }
    return true;
}

static enum errc query_parse_one(struct arena *arena, struct slice piece, struct s3_param *param)
{
    const uint8_t *equals = memchr(piece.data, '=', piece.len);
    size_t name_len = equals == NULL ? piece.len : (size_t)(equals - piece.data);
    param->has_value = equals != NULL;
    param->raw_name = slice_of(piece.data, name_len);
    param->raw_value = equals == NULL ? SLICE_EMPTY : slice_of(equals + 1, piece.len - name_len - 1);
    enum errc rc = s3_uri_decode_arena(arena, param->raw_name, true, &param->name);
    return rc == ERRC_OK ? s3_uri_decode_arena(arena, param->raw_value, true, &param->value) : rc;
}

enum errc s3_query_parse(struct arena *arena, struct slice raw, struct s3_param **ret_params,
                         size_t *ret_count)
{
    size_t count = raw.len > 0 ? 1 : 0;
    for (size_t i = 0; i < raw.len; i++) {
        count += raw.data[i] == '&';
    }
    if (count > S3_PARAMS_MAX) {
        return ERRC_LIMIT;
    }
    struct s3_param *params = arena_zalloc(arena, (count + 1) * sizeof(*params));
    if (params == NULL) {
        return ERRC_LIMIT;
    }
    size_t filled = 0;
    size_t start = 0;
    for (size_t i = 0; i <= raw.len && raw.len > 0; i++) {
        if (i < raw.len && raw.data[i] != '&') {
            continue;
        }
        if (i > start) { /* "a&&b": the empty piece is no parameter */
            enum errc rc = query_parse_one(arena, slice_of(raw.data + start, i - start), &params[filled]);
            if (rc != ERRC_OK) {
                return rc;
            }
            filled++;
        }
        start = i + 1;
    }
    *ret_params = params;
    *ret_count = filled;
    return ERRC_OK;
}

struct slice s3_host_name(struct arena *arena, struct slice host)
{
    size_t len = host.len;
    if (len > 0 && host.data[0] == '[') { /* IPv6 literal: up to the bracket */
        const uint8_t *end = memchr(host.data, ']', len);
        len = end == NULL ? 0 : (size_t)(end - host.data) + 1;
    } else if (len > 0) {
        const uint8_t *colon = memchr(host.data, ':', len);
        len = colon == NULL ? len : (size_t)(colon - host.data);
    }
    uint8_t *copy = arena_alloc(arena, len + 1);
    if (copy == NULL) {
        return SLICE_EMPTY;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t c = host.data[i];
        copy[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
    }
    return slice_of(copy, len);
}
