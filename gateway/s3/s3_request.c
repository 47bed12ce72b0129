#include "gateway/s3/s3_request.h"

#include "gateway/s3/s3_name.h"
#include "gateway/s3/s3_router.h"
#include "gateway/s3/s3_uri.h"

#include <strings.h>

bool s3_name_equal(struct slice a, const char *b)
{
    return a.len == strlen(b) && (a.len == 0 || strncasecmp((const char *)a.data, b, a.len) == 0);
}

bool s3_name_starts(struct slice a, const char *prefix)
{
    size_t len = strlen(prefix);
    return a.len >= len && strncasecmp((const char *)a.data, prefix, len) == 0;
}

struct slice s3_trim(struct slice text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = slice_of(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

bool s3_header_get(const struct s3_request *request, const char *name, struct slice *ret_value)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (s3_name_equal(request->headers[i].name, name)) {
            *ret_value = request->headers[i].value;
            return true;
        }
    }
    return false;
}

size_t s3_header_count(const struct s3_request *request, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        count += s3_name_equal(request->headers[i].name, name);
    }
    return count;
}

const struct s3_param *s3_param_get(const struct s3_request *request, const char *name)
{
    for (size_t i = 0; i < request->param_count; i++) {
        if (slice_equal_str(request->params[i].name, name)) {
            return &request->params[i];
        }
    }
    return NULL;
}

size_t s3_param_count(const struct s3_request *request, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->param_count; i++) {
        count += slice_equal_str(request->params[i].name, name);
    }
    return count;
}

bool s3_value_get(const struct s3_request *request, const char *name, struct slice *ret_value)
{
    struct slice value;
    if (s3_header_get(request, name, &value)) {
        *ret_value = s3_trim(value);
        return true;
    }
    if (!request->is_presigned || !s3_name_starts(slice_str(name), "x-amz-")) {
        return false;
    }
    for (size_t i = 0; i < request->param_count; i++) {
        if (s3_name_equal(request->params[i].name, name)) {
            *ret_value = s3_trim(request->params[i].value);
            return true;
        }
    }
    return false;
}

static bool request_has_header(const struct s3_request *request, struct slice name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        struct slice have = request->headers[i].name;
        if (have.len == name.len && strncasecmp((const char *)have.data, (const char *)name.data, name.len) == 0) {
            return true;
        }
    }
    return false;
}

bool s3_value_next(const struct s3_request *request, size_t *cursor, struct slice *ret_name,
                   struct slice *ret_value)
{
    if (*cursor < request->header_count) {
        const struct s3_header *header = &request->headers[(*cursor)++];
        *ret_name = header->name;
        *ret_value = s3_trim(header->value);
        return true;
    }
    while (request->is_presigned && *cursor - request->header_count < request->param_count) {
        const struct s3_param *param = &request->params[(*cursor)++ - request->header_count];
        if (s3_name_starts(param->name, "x-amz-") && !request_has_header(request, param->name)) {
            *ret_name = param->name;
            *ret_value = s3_trim(param->value);
            return true;
        }
    }
    return false;
}

/* "bucket" of "bucket.base" for the longest base domain that fits; empty: path style. */
static struct slice request_host_bucket(const struct s3_config *config, struct slice host)
{
    struct slice bucket = SLICE_EMPTY;
    size_t best = 0;
    for (size_t i = 0; i < config->base_domain_count; i++) {
        struct slice base = config->base_domains[i];
        if (slice_equal(host, base)) {
            return SLICE_EMPTY;
        }
        if (base.len > best && host.len > base.len + 1 && host.data[host.len - base.len - 1] == '.' &&
            memcmp(host.data + host.len - base.len, base.data, base.len) == 0) {
            best = base.len;
            bucket = slice_of(host.data, host.len - base.len - 1);
        }
    }
    return bucket;
}

/* Splits the decoded path. A bucket cannot hold '/', so the first decoded slash is the boundary. */
static void request_split_path(struct s3_request *request)
{
    struct slice rest = slice_of(request->path.data + 1, request->path.len - 1);
    if (request->is_virtual_hosted) {
        request->key = rest;
        return;
    }
    const uint8_t *slash = rest.len > 0 ? memchr(rest.data, '/', rest.len) : NULL;
    size_t bucket_len = slash == NULL ? rest.len : (size_t)(slash - rest.data);
    request->bucket = slice_of(rest.data, bucket_len);
    request->key = slash == NULL ? SLICE_EMPTY : slice_of(slash + 1, rest.len - bucket_len - 1);
}

static enum s3_error request_decode(struct s3_request *request, struct s3_error_info *err)
{
    struct slice target = request->target;
    const uint8_t *question = target.len > 0 ? memchr(target.data, '?', target.len) : NULL;
    size_t path_len = question == NULL ? target.len : (size_t)(question - target.data);
    request->raw_path = slice_of(target.data, path_len);
    request->raw_query = question == NULL ? SLICE_EMPTY : slice_of(question + 1, target.len - path_len - 1);
    if (path_len == 0 || target.data[0] != '/') {
        return s3_fail(err, S3_ERROR_INVALID_URI, NULL);
    }
    enum errc rc = s3_uri_decode_arena(request->arena, request->raw_path, false, &request->path);
    if (rc == ERRC_OK) {
        rc = s3_query_parse(request->arena, request->raw_query, &request->params, &request->param_count);
    }
    if (rc != ERRC_OK) {
        return s3_fail(err, rc == ERRC_LIMIT ? S3_ERROR_REQUEST_HEADER_SECTION_TOO_LARGE : S3_ERROR_INVALID_URI,
                       NULL);
    }
    if (!s3_utf8_valid(request->path) || memchr(request->path.data, 0, request->path.len) != NULL) {
        return s3_fail(err, S3_ERROR_INVALID_URI, NULL);
    }
    return S3_ERROR_NONE;
}

static enum s3_error request_check_names(const struct s3_request *request, struct s3_error_info *err)
{
    if (request->bucket.len == 0 && request->key.len > 0) {
        return s3_fail(err, S3_ERROR_INVALID_BUCKET_NAME, NULL); /* "//key" */
    }
    bool is_response = slice_equal_str(request->bucket, "WriteGetObjectResponse");
    if (request->bucket.len > 0 && !is_response && !s3_bucket_name_valid(request->bucket)) {
        (void)s3_fail(err, S3_ERROR_INVALID_BUCKET_NAME, NULL); /* returned below, with an element */
        s3_error_add(err, "BucketName", request->bucket);
        return S3_ERROR_INVALID_BUCKET_NAME;
    }
    if (request->key.len > S3_KEY_BYTES_MAX) {
        return s3_fail(err, S3_ERROR_KEY_TOO_LONG, NULL);
    }
    return S3_ERROR_NONE;
}

enum s3_error s3_request_parse(struct s3_request *request, const struct s3_config *config,
                               struct arena *arena, struct s3_error_info *err)
{
    request->arena = arena;
    request->operation = S3_OPERATION_NONE;
    request->bucket = SLICE_EMPTY;
    request->key = SLICE_EMPTY;
    request->is_virtual_hosted = false;
    request->is_presigned = false;
    request->params = NULL;
    request->param_count = 0;
    if (request->host.len == 0 && s3_header_get(request, "host", &request->host)) {
        request->host = s3_trim(request->host);
    }
    enum s3_error code = request_decode(request, err);
    if (code != S3_ERROR_NONE) {
        return code;
    }
    request->is_presigned = s3_param_get(request, "X-Amz-Algorithm") != NULL;
    request->bucket = request_host_bucket(config, s3_host_name(arena, request->host));
    request->is_virtual_hosted = request->bucket.len > 0;
    request_split_path(request);
    code = request_check_names(request, err);
    return code == S3_ERROR_NONE ? s3_route(request, err) : code;
}
