/*
 * The checksum headers of a request (S3-SURFACE 1.8, 4.12), declared in s3_headers.h.
 *
 * What describes the body counts as a header only: an SDK that presigns a PUT without its body puts the checksum of no
 * bytes into the query, and AWS signs it and looks no further. Algorithm and type of an upload may stand in the query.
 */
#include "gateway/s3/s3_headers.h"

static bool checksum_is_setting(struct slice name)
{
    return s3_name_equal(name, "x-amz-checksum-algorithm") || s3_name_equal(name, "x-amz-checksum-type") ||
           s3_name_equal(name, "x-amz-checksum-mode");
}

/* "value" or, where the whole object of a composite upload is meant, "value-N". */
static bool checksum_read_value(const struct s3_request *request, enum checksum_kind kind, struct slice text,
                                struct checksum_value *ret_value)
{
    if (checksum_parse(kind, text, ret_value)) {
        return true;
    }
    const uint8_t *dash = text.len > 0 ? memchr(text.data, '-', text.len) : NULL;
    if (request->operation != S3_OPERATION_COMPLETE_MULTIPART_UPLOAD || dash == NULL) {
        return false;
    }
    size_t len = (size_t)(dash - text.data);
    uint32_t count = 0;
    for (size_t i = len + 1; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || count > 10000) {
            return false;
        }
        count = count * 10 + (uint32_t)(text.data[i] - '0');
    }
    if (count == 0 || !checksum_parse(kind, slice_of(text.data, len), ret_value)) {
        return false;
    }
    ret_value->type = CHECKSUM_COMPOSITE;
    ret_value->part_count = count;
    return true;
}

static enum s3_error checksum_read_values(const struct s3_request *request, struct s3_checksum_request *wanted,
                                          struct s3_error_info *err)
{
    for (size_t i = 0; i < request->header_count; i++) {
        struct slice name = request->headers[i].name;
        if (!s3_name_starts(name, "x-amz-checksum-") || checksum_is_setting(name)) {
            continue;
        }
        enum checksum_kind kind = checksum_by_header(name);
        if (kind == CHECKSUM_NONE) {
            return s3_fail(err, S3_ERROR_INVALID_REQUEST, "The checksum algorithm is not supported");
        }
        if (wanted->value.kind != CHECKSUM_NONE) {
            return s3_fail(err, S3_ERROR_INVALID_REQUEST,
                           "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.");
        }
        if (!checksum_read_value(request, kind, s3_trim(request->headers[i].value), &wanted->value)) {
            return s3_fail(err, S3_ERROR_INVALID_REQUEST, "Value for a x-amz-checksum- header is invalid.");
        }
    }
    return S3_ERROR_NONE;
}

/* x-amz-trailer: a comma list with exactly one name, of a checksum. */
static enum s3_error checksum_read_trailer(const struct s3_request *request, struct s3_checksum_request *wanted,
                                           struct s3_error_info *err)
{
    struct slice value;
    if (!s3_header_get(request, "x-amz-trailer", &value)) {
        return S3_ERROR_NONE;
    }
    value = s3_trim(value);
    wanted->trailer_kind = checksum_by_header(value);
    if (wanted->trailer_kind == CHECKSUM_NONE) {
        return s3_fail(err, S3_ERROR_INVALID_REQUEST, "The value specified in the x-amz-trailer header is not supported");
    }
    if (wanted->value.kind != CHECKSUM_NONE) {
        return s3_fail(err, S3_ERROR_INVALID_REQUEST,
                       "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.");
    }
    return S3_ERROR_NONE;
}

static enum s3_error checksum_read_algorithm(const struct s3_request *request, struct s3_checksum_request *wanted,
                                             struct s3_error_info *err)
{
    struct slice value;
    bool is_sdk = s3_header_get(request, "x-amz-sdk-checksum-algorithm", &value);
    if (!is_sdk && !s3_value_get(request, "x-amz-checksum-algorithm", &value)) {
        return S3_ERROR_NONE;
    }
    wanted->wanted_kind = checksum_by_name(s3_trim(value));
    if (wanted->wanted_kind == CHECKSUM_NONE) {
        return s3_fail(err, S3_ERROR_INVALID_REQUEST,
                       "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
                       "[CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5]");
    }
    enum checksum_kind sent = wanted->value.kind != CHECKSUM_NONE ? wanted->value.kind : wanted->trailer_kind;
    bool is_create = request->operation == S3_OPERATION_CREATE_MULTIPART_UPLOAD ||
                     request->operation == S3_OPERATION_COPY_OBJECT;
    if (is_sdk && sent == CHECKSUM_NONE && !is_create) {
        return s3_fail(err, S3_ERROR_INVALID_REQUEST,
                       "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or "
                       "x-amz-trailer headers were found.");
    }
    if (is_sdk && sent != CHECKSUM_NONE && sent != wanted->wanted_kind) {
        return s3_fail(err, S3_ERROR_BAD_DIGEST, NULL);
    }
    return S3_ERROR_NONE;
}

static enum s3_error checksum_read_type(const struct s3_request *request, struct s3_checksum_request *wanted,
                                        struct s3_error_info *err)
{
    struct slice value;
    if (!s3_value_get(request, "x-amz-checksum-type", &value)) {
        return S3_ERROR_NONE;
    }
    if (slice_equal_str(value, "FULL_OBJECT")) {
        wanted->type = CHECKSUM_FULL_OBJECT;
    } else if (slice_equal_str(value, "COMPOSITE")) {
        wanted->type = CHECKSUM_COMPOSITE;
    } else {
        return s3_fail(err, S3_ERROR_INVALID_REQUEST, "Value for x-amz-checksum-type header is invalid.");
    }
    return S3_ERROR_NONE;
}

enum s3_error s3_checksum_request_read(const struct s3_request *request, struct s3_checksum_request *ret,
                                       struct s3_error_info *err)
{
    struct s3_checksum_request wanted = { .type = CHECKSUM_TYPE_NONE };
    enum s3_error code = checksum_read_values(request, &wanted, err);
    if (code == S3_ERROR_NONE) {
        code = checksum_read_trailer(request, &wanted, err);
    }
    if (code == S3_ERROR_NONE) {
        code = checksum_read_algorithm(request, &wanted, err);
    }
    if (code == S3_ERROR_NONE) {
        code = checksum_read_type(request, &wanted, err);
    }
    if (code == S3_ERROR_NONE) {
        *ret = wanted;
    }
    return code;
}

bool s3_has_integrity(const struct s3_request *request)
{
    for (size_t i = 0; i < request->header_count; i++) {
        struct slice name = request->headers[i].name;
        struct slice value = s3_trim(request->headers[i].value);
        if (s3_name_equal(name, "content-md5") || checksum_by_header(name) != CHECKSUM_NONE ||
            (s3_name_equal(name, "x-amz-trailer") && checksum_by_header(value) != CHECKSUM_NONE)) {
            return true;
        }
    }
    return false;
}
