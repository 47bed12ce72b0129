#include "gateway/s3/s3_headers.h"

#include "common/base/base64.h"
#include "gateway/s3/s3_meta.h"
#include "gateway/s3/s3_name.h"
#include "gateway/s3/s3_uri.h"

static bool headers_text_ok(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (c == 0x7f || (c < 0x20 && c != '\t')) {
            return false;
        }
    }
    return true;
}

/* A system header, checked and counted against the 2 KB. */
static enum s3_error headers_system(const struct s3_request *request, const char *name, struct slice *ret_value,
                                    size_t *bytes, struct s3_error_info *err)
{
    *ret_value = SLICE_EMPTY;
    if (!s3_value_get(request, name, ret_value)) {
        return S3_ERROR_NONE;
    }
    if (!headers_text_ok(*ret_value)) {
        return s3_fail_argument(err, "A header value holds a control character", name, *ret_value);
    }
    *bytes += ret_value->len;
    return *bytes > S3_SYSTEM_METADATA_BYTES_MAX ? s3_fail(err, S3_ERROR_METADATA_TOO_LARGE, NULL)
                                                 : S3_ERROR_NONE;
}

/* Drops the aws-chunked token: it describes the transfer, not the object. */
static bool headers_strip_chunked(struct arena *arena, struct slice *encoding)
{
    uint8_t *out = arena_alloc(arena, encoding->len + 1);
    size_t len = 0;
    if (out == NULL) {
        return false;
    }
    for (struct slice rest = *encoding; rest.len > 0;) {
        const uint8_t *comma = memchr(rest.data, ',', rest.len);
        size_t token_len = comma == NULL ? rest.len : (size_t)(comma - rest.data);
        struct slice token = s3_trim(slice_of(rest.data, token_len));
        rest = slice_skip(rest, token_len + 1);
        if (token.len == 0 || s3_name_equal(token, "aws-chunked")) {
            continue;
        }
        if (len > 0) {
            out[len++] = ',';
        }
        memcpy(out + len, token.data, token.len);
        len += token.len;
    }
    *encoding = slice_of(out, len);
    return true;
}

bool s3_storage_class_archive(struct slice name)
{
    return slice_equal_str(name, "GLACIER") || slice_equal_str(name, "DEEP_ARCHIVE");
}

bool s3_storage_class_valid(struct slice name)
{
    static const char *const names[] = { "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA",
                                         "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR",
                                         "OUTPOSTS", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (slice_equal_str(name, names[i])) {
            return true;
        }
    }
    return false;
}

static enum s3_error headers_storage_class(const struct s3_request *request, struct slice *ret_class,
                                           struct s3_error_info *err)
{
    if (!s3_value_get(request, "x-amz-storage-class", ret_class)) {
        *ret_class = slice_str("STANDARD");
        return S3_ERROR_NONE;
    }
    if (ret_class->len == 0 || s3_storage_class_archive(*ret_class)) { /* no restore yet: nothing may be archived */
        enum s3_error code = s3_fail(err, S3_ERROR_INVALID_STORAGE_CLASS, NULL);
        s3_error_add(err, "StorageClassRequested", *ret_class);
        return code;
    }
    return S3_ERROR_NONE;
}

static enum s3_error headers_redirect(const struct s3_request *request, struct slice *ret, size_t *bytes,
                                      struct s3_error_info *err)
{
    enum s3_error code = headers_system(request, "x-amz-website-redirect-location", ret, bytes, err);
    if (code != S3_ERROR_NONE || ret->len == 0) {
        return code;
    }
    if (ret->data[0] != '/' && !slice_starts(*ret, slice_str("http://")) &&
        !slice_starts(*ret, slice_str("https://"))) {
        return s3_fail_argument(err, "The website redirect location must have a prefix of 'http://' or 'https://' or '/'",
                                "x-amz-website-redirect-location", *ret);
    }
    return S3_ERROR_NONE;
}

enum s3_error s3_object_headers_read(const struct s3_request *request, struct s3_object_headers *ret_headers,
                                     struct s3_error_info *err)
{
    struct s3_object_headers h = { .meta = NULL };
    struct {
        const char *name;
        struct slice *value;
    } const rows[] = {
        { "content-type", &h.content_type },
        { "cache-control", &h.cache_control },
        { "content-disposition", &h.content_disposition },
        { "content-encoding", &h.content_encoding },
        { "content-language", &h.content_language },
        { "expires", &h.expires },
    };
    size_t bytes = 0;
    enum s3_error code = S3_ERROR_NONE;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && code == S3_ERROR_NONE; i++) {
        code = headers_system(request, rows[i].name, rows[i].value, &bytes, err);
    }
    if (code == S3_ERROR_NONE) {
        code = headers_redirect(request, &h.redirect, &bytes, err);
    }
    if (code == S3_ERROR_NONE) {
        code = headers_storage_class(request, &h.storage_class, err);
    }
    if (code == S3_ERROR_NONE && !headers_strip_chunked(request->arena, &h.content_encoding)) {
        code = s3_fail(err, S3_ERROR_REQUEST_HEADER_SECTION_TOO_LARGE, NULL);
    }
    if (code == S3_ERROR_NONE) {
        code = s3_meta_read(request, &h, err);
    }
    if (code == S3_ERROR_NONE) {
        *ret_headers = h;
    }
    return code;
}

enum s3_error s3_content_md5_read(const struct s3_request *request, bool *ret_present, uint8_t ret_md5[MD5_BYTES],
                                  struct s3_error_info *err)
{
    struct slice value;
    uint8_t bytes[MD5_BYTES + 8];
    size_t len = 0;
    *ret_present = s3_value_get(request, "content-md5", &value);
    if (!*ret_present) {
        return S3_ERROR_NONE;
    }
    if (value.len != base64_len(MD5_BYTES) ||
        !base64_decode((const char *)value.data, value.len, bytes, &len) || len != MD5_BYTES) {
        enum s3_error code = s3_fail(err, S3_ERROR_INVALID_DIGEST, "The Content-MD5 you specified was invalid.");
        s3_error_add(err, "Content-MD5", value);
        return code;
    }
    memcpy(ret_md5, bytes, MD5_BYTES);
    return S3_ERROR_NONE;
}

static enum s3_error copy_source_bad(struct s3_error_info *err, struct slice value)
{
    return s3_fail_argument(err, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
                            "x-amz-copy-source", value);
}

/* Splits "?versionId=..." off. The '?' of a key is encoded, so the first one ends the path. */
static bool copy_source_version(const struct s3_request *request, struct slice *path, struct slice *ret_version)
{
    const uint8_t *question = memchr(path->data, '?', path->len);
    *ret_version = SLICE_EMPTY;
    if (question == NULL) {
        return true;
    }
    size_t path_len = (size_t)(question - path->data);
    struct slice query = slice_skip(*path, path_len + 1);
    *path = slice_of(path->data, path_len);
    if (!slice_starts(query, slice_str("versionId=")) || memchr(query.data, '&', query.len) != NULL) {
        return false;
    }
    return s3_uri_decode_arena(request->arena, slice_skip(query, 10), true, ret_version) == ERRC_OK &&
           ret_version->len > 0;
}

enum s3_error s3_copy_source_read(const struct s3_request *request, struct s3_copy_source *ret,
                                  struct s3_error_info *err)
{
    struct slice value = SLICE_EMPTY;
    if (!s3_value_get(request, "x-amz-copy-source", &value) || value.len == 0) {
        return copy_source_bad(err, value);
    }
    if (s3_name_starts(value, "arn:") || s3_name_starts(value, "/arn:")) {
        return s3_fail(err, S3_ERROR_INVALID_REQUEST, "Access points are not offered as a copy source");
    }
    struct slice path = value;
    struct s3_copy_source source = { .bucket = SLICE_EMPTY };
    if (!copy_source_version(request, &path, &source.version_id)) {
        return copy_source_bad(err, value);
    }
    enum errc rc = s3_uri_decode_arena(request->arena, path, false, &path);
    if (rc == ERRC_LIMIT) {
        return s3_fail(err, S3_ERROR_REQUEST_HEADER_SECTION_TOO_LARGE, NULL);
    }
    if (rc != ERRC_OK) {
        return copy_source_bad(err, value);
    }
    if (path.len > 0 && path.data[0] == '/') {
        path = slice_skip(path, 1);
    }
    const uint8_t *slash = path.len > 0 ? memchr(path.data, '/', path.len) : NULL;
    if (slash == NULL) {
        return copy_source_bad(err, value);
    }
    source.bucket = slice_of(path.data, (size_t)(slash - path.data));
    source.key = slice_skip(path, source.bucket.len + 1);
    if (source.key.len > S3_KEY_BYTES_MAX) {
        return s3_fail(err, S3_ERROR_KEY_TOO_LONG, NULL);
    }
    if (!s3_bucket_name_valid(source.bucket)) {
        return s3_fail(err, S3_ERROR_INVALID_BUCKET_NAME, NULL);
    }
    if (!s3_key_valid(source.key)) {
        return copy_source_bad(err, value);
    }
    *ret = source;
    return S3_ERROR_NONE;
}

enum s3_error s3_overrides_read(const struct s3_request *request, struct s3_overrides *ret,
                                struct s3_error_info *err)
{
    struct s3_overrides o = { .content_type = SLICE_EMPTY };
    struct {
        const char *name;
        struct slice *value;
    } const rows[] = {
        { "response-content-type", &o.content_type },
        { "response-content-language", &o.content_language },
        { "response-expires", &o.expires },
        { "response-cache-control", &o.cache_control },
        { "response-content-disposition", &o.content_disposition },
        { "response-content-encoding", &o.content_encoding },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct s3_param *param = s3_param_get(request, rows[i].name);
        if (param == NULL) {
            continue;
        }
        if (!headers_text_ok(param->value)) {
            return s3_fail_argument(err, "A header value holds a control character", rows[i].name, param->value);
        }
        *rows[i].value = param->value;
    }
    *ret = o;
    return S3_ERROR_NONE;
}

enum s3_error s3_headers_unsupported(const struct s3_request *request, struct s3_error_info *err)
{
    static const char *const prefixes[] = {
        "x-amz-server-side-encryption", "x-amz-copy-source-server-side-encryption", "x-amz-object-lock-",
        "x-amz-grant-", "x-amz-tagging", "x-amz-mfa", "x-amz-bypass-governance-retention",
        "x-amz-write-offset-bytes", "x-amz-bucket-object-lock-enabled", "x-amz-bucket-namespace",
        "x-amz-object-annotation-directive", "x-amz-rename-source",
    };
    struct slice name;
    struct slice value;
    for (size_t cursor = 0; s3_value_next(request, &cursor, &name, &value);) {
        bool is_unsupported = s3_name_equal(name, "x-amz-acl") && !slice_equal_str(value, "private");
        for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]) && !is_unsupported; i++) {
            is_unsupported = s3_name_starts(name, prefixes[i]);
        }
        /* What asks for the behaviour that is there anyway is no reason to refuse. */
        bool is_default = (s3_name_equal(name, "x-amz-acl") && value.len == 0) || /* AWS takes it for absent */
                          (s3_name_equal(name, "x-amz-tagging-directive") && slice_equal_str(value, "COPY")) ||
                          (s3_name_equal(name, "x-amz-bucket-object-lock-enabled") && s3_name_equal(value, "false")) ||
                          (s3_name_equal(name, "x-amz-tagging") && value.len == 0);
        if (is_unsupported && !is_default) {
            enum s3_error code = s3_fail(err, S3_ERROR_NOT_IMPLEMENTED, NULL);
            s3_error_add(err, "Header", name);
            return code;
        }
    }
    return S3_ERROR_NONE;
}

enum s3_error s3_expected_owner_check(const struct s3_request *request, const char *header, struct slice account,
                                      struct s3_error_info *err)
{
    struct slice value;
    if (!s3_value_get(request, header, &value)) {
        return S3_ERROR_NONE;
    }
    bool is_account = value.len == 12;
    for (size_t i = 0; i < value.len; i++) {
        is_account = is_account && value.data[i] >= '0' && value.data[i] <= '9';
    }
    if (!is_account) {
        return s3_fail(err, S3_ERROR_INVALID_BUCKET_OWNER_AWS_ACCOUNT_ID, NULL);
    }
    return slice_equal(value, account) ? S3_ERROR_NONE : s3_fail(err, S3_ERROR_ACCESS_DENIED, NULL);
}
