#include "gateway/s3/s3_meta.h"

#include "common/base/base64.h"
#include "common/base/hex.h"
#include "gateway/s3/s3_uri.h"

#define META_PREFIX "x-amz-meta-"
#define META_COUNT_MAX 1024
#define META_WORD_BYTES 42 /* of text in one encoded word: 75 characters is RFC 2047's limit */

static bool meta_decode_q(struct slice text, uint8_t *out, size_t *len)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '=') {
            int high = text.len - i > 2 ? hex_digit((char)text.data[i + 1]) : -1;
            int low = text.len - i > 2 ? hex_digit((char)text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '_') {
            c = ' ';
        }
        out[(*len)++] = c;
    }
    return true;
}

/* One "=?UTF-8?B?...?=" at the start of *text; advances it and appends to out. */
static bool meta_decode_word(struct slice *text, uint8_t *out, size_t *len)
{
    if (!s3_name_starts(*text, "=?UTF-8?") || text->len < 12 || text->data[9] != '?') {
        return false;
    }
    uint8_t encoding = (uint8_t)(text->data[8] | 32);
    struct slice rest = slice_skip(*text, 10);
    const uint8_t *end = memmem(rest.data, rest.len, "?=", 2);
    if (end == NULL) {
        return false;
    }
    struct slice body = slice_of(rest.data, (size_t)(end - rest.data));
    *text = slice_skip(rest, body.len + 2);
    if (encoding == 'q') {
        return meta_decode_q(body, out, len);
    }
    uint8_t bytes[256]; /* an encoded word is at most 75 characters; be lenient up to here */
    size_t decoded = 0;
    if (encoding != 'b' || base64_decoded_max(body.len) > sizeof(bytes) ||
        !base64_decode((const char *)body.data, body.len, bytes, &decoded)) {
        return false;
    }
    memcpy(out + *len, bytes, decoded);
    *len += decoded;
    return true;
}

/* A value that is a sequence of encoded words becomes their text; any other stays as it is. */
static bool meta_decode(struct arena *arena, struct slice value, struct slice *ret_value)
{
    *ret_value = value;
    if (!s3_name_starts(value, "=?UTF-8?")) {
        return true;
    }
    uint8_t *out = arena_alloc(arena, value.len + 1); /* decoding never grows */
    size_t len = 0;
    if (out == NULL) {
        return false;
    }
    for (struct slice rest = value; rest.len > 0; rest = s3_trim(rest)) {
        if (!meta_decode_word(&rest, out, &len)) {
            return true;
        }
    }
    if (s3_utf8_valid(slice_of(out, len))) {
        *ret_value = slice_of(out, len);
    }
    return true;
}

static enum s3_error meta_too_large(struct s3_error_info *err)
{
    return s3_fail(err, S3_ERROR_METADATA_TOO_LARGE, NULL);
}

static enum s3_error meta_join(struct arena *arena, struct s3_meta *meta, struct slice more,
                               struct s3_error_info *err)
{
    uint8_t *joined = arena_alloc(arena, meta->value.len + more.len + 1);
    if (joined == NULL) {
        return meta_too_large(err);
    }
    if (meta->value.len > 0) {
        memcpy(joined, meta->value.data, meta->value.len);
    }
    joined[meta->value.len] = ',';
    if (more.len > 0) {
        memcpy(joined + meta->value.len + 1, more.data, more.len);
    }
    meta->value = slice_of(joined, meta->value.len + 1 + more.len);
    return S3_ERROR_NONE;
}

/* Inserts in name order, or joins with the entry of the same name. */
static enum s3_error meta_insert(struct arena *arena, struct s3_object_headers *headers, struct slice name,
                                 struct slice value, struct s3_error_info *err)
{
    size_t at = headers->meta_count;
    while (at > 0 && slice_compare(name, headers->meta[at - 1].name) < 0) {
        at--;
    }
    if (at > 0 && slice_equal(name, headers->meta[at - 1].name)) {
        return meta_join(arena, &headers->meta[at - 1], value, err);
    }
    if (headers->meta_count == META_COUNT_MAX) {
        return meta_too_large(err);
    }
    memmove(headers->meta + at + 1, headers->meta + at, (headers->meta_count - at) * sizeof(headers->meta[0]));
    headers->meta[at] = (struct s3_meta){ name, value };
    headers->meta_count++;
    return S3_ERROR_NONE;
}

/* A parameter of a presigned request can hold any byte; what comes as a header must be able to leave as one. */
static bool meta_name_valid(struct slice name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool is_word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!is_word && (c == 0 || strchr(others, c) == NULL)) {
            return false;
        }
    }
    return name.len > 0;
}

static enum s3_error meta_add(const struct s3_request *request, struct s3_object_headers *headers,
                              struct slice name, struct slice value, struct s3_error_info *err)
{
    if (!meta_name_valid(name)) {
        return s3_fail_argument(err, "The name of a metadata header is not valid", "x-amz-meta", name);
    }
    char *lower = arena_strndup(request->arena, name.data, name.len);
    if (lower == NULL || !meta_decode(request->arena, value, &value)) {
        return meta_too_large(err);
    }
    for (size_t i = 0; i < name.len; i++) {
        lower[i] = lower[i] >= 'A' && lower[i] <= 'Z' ? (char)(lower[i] + 32) : lower[i];
    }
    if (!s3_utf8_valid(value)) {
        return s3_fail_argument(err, "A metadata header is not valid UTF-8", "x-amz-meta", value);
    }
    return meta_insert(request->arena, headers, slice_of(lower, name.len), value, err);
}

static size_t meta_count_most(const struct s3_request *request)
{
    size_t count = 0;
    struct slice name;
    struct slice value;
    for (size_t cursor = 0; s3_value_next(request, &cursor, &name, &value);) {
        count += s3_name_starts(name, META_PREFIX);
    }
    return count;
}

enum s3_error s3_meta_read(const struct s3_request *request, struct s3_object_headers *headers,
                           struct s3_error_info *err)
{
    size_t most = meta_count_most(request);
    headers->meta_count = 0;
    headers->meta = most > META_COUNT_MAX ? NULL : arena_zalloc(request->arena, (most + 1) * sizeof(headers->meta[0]));
    if (headers->meta == NULL) {
        return meta_too_large(err);
    }
    struct slice name;
    struct slice value;
    for (size_t cursor = 0; s3_value_next(request, &cursor, &name, &value);) {
        if (!s3_name_starts(name, META_PREFIX)) {
            continue;
        }
        enum s3_error code = meta_add(request, headers, slice_skip(name, strlen(META_PREFIX)), value, err);
        if (code != S3_ERROR_NONE) {
            return code;
        }
    }
    size_t bytes = 0;
    for (size_t i = 0; i < headers->meta_count; i++) {
        bytes += headers->meta[i].name.len + headers->meta[i].value.len;
    }
    return bytes > S3_METADATA_BYTES_MAX ? meta_too_large(err) : S3_ERROR_NONE;
}

/* Length of a piece of at most META_WORD_BYTES that ends between characters. */
static size_t meta_word_cut(struct slice text)
{
    size_t len = text.len < META_WORD_BYTES ? text.len : META_WORD_BYTES;
    while (len < text.len && len + 3 > META_WORD_BYTES && (text.data[len] & 0xc0) == 0x80) {
        len--;
    }
    return len;
}

bool s3_meta_header_value(struct arena *arena, struct slice value, struct slice *ret_text)
{
    bool is_ascii = !s3_name_starts(value, "=?"); /* what looks encoded is encoded again */
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
        is_ascii = is_ascii && c < 0x80;
    }
    *ret_text = value;
    if (is_ascii) {
        return true;
    }
    char *out = arena_alloc(arena, (value.len / 38 + 1) * 75 + 1);
    size_t len = 0;
    if (out == NULL) {
        return false;
    }
    for (struct slice rest = value; rest.len > 0;) {
        size_t cut = meta_word_cut(rest);
        if (len > 0) {
            out[len++] = ' ';
        }
        memcpy(out + len, "=?UTF-8?B?", 10);
        len += 10;
        len += base64_encode(rest.data, cut, out + len);
        memcpy(out + len, "?=", 2);
        len += 2;
        rest = slice_skip(rest, cut);
    }
    *ret_text = slice_of(out, len);
    return true;
}
