#include "gateway/s3/s3_error.h"

#include "common/base/assert.h"
#include "gateway/s3/s3_xml_write.h"

static const struct {
    const char *code;
    int status;
    const char *text;
} s3_errors[S3_ERROR_COUNT] = {
    [S3_ERROR_NONE] = { "None", 200, "" },
#define X(name, code, status, text) [S3_ERROR_##name] = { code, status, text },
    S3_ERROR_MAP(X)
#undef X
};

const char *s3_error_code(enum s3_error code)
{
    ASSERT(code < S3_ERROR_COUNT);
    return s3_errors[code].code;
}

const char *s3_error_text(enum s3_error code)
{
    ASSERT(code < S3_ERROR_COUNT);
    return s3_errors[code].text;
}

int s3_error_status(enum s3_error code)
{
    ASSERT(code < S3_ERROR_COUNT);
    return s3_errors[code].status;
}

enum s3_error s3_fail(struct s3_error_info *err, enum s3_error code, const char *message)
{
    ASSERT(code != S3_ERROR_NONE);
    if (err != NULL) {
        *err = (struct s3_error_info){ .code = code, .message = message };
    }
    return code;
}

enum s3_error s3_fail_argument(struct s3_error_info *err, const char *message, const char *name,
                               struct slice value)
{
    enum s3_error code = s3_fail(err, S3_ERROR_INVALID_ARGUMENT, message);
    s3_error_add(err, "ArgumentName", slice_str(name));
    s3_error_add(err, "ArgumentValue", value);
    return code;
}

void s3_error_add(struct s3_error_info *err, const char *name, struct slice value)
{
    if (err != NULL && err->extra_count < S3_ERROR_EXTRAS_MAX) {
        err->extras[err->extra_count++] = (struct s3_error_extra){ name, value };
    }
}

enum s3_error s3_error_from_errc(enum errc code)
{
    switch (code) {
    case ERRC_OK:
        return S3_ERROR_NONE;
    case ERRC_INVALID:
        return S3_ERROR_INVALID_REQUEST;
    case ERRC_NOT_FOUND:
        return S3_ERROR_NO_SUCH_KEY;
    case ERRC_EXISTS:
    case ERRC_CONFLICT:
        return S3_ERROR_PRECONDITION_FAILED;
    case ERRC_LIMIT:
        return S3_ERROR_SLOW_DOWN;
    case ERRC_NO_SPACE:
    case ERRC_UNAVAILABLE:
    case ERRC_TIMEOUT:
    case ERRC_WOULD_BLOCK:
        return S3_ERROR_SERVICE_UNAVAILABLE;
    case ERRC_CANCELED:
        return S3_ERROR_REQUEST_TIMEOUT;
    case ERRC_DENIED:
        return S3_ERROR_ACCESS_DENIED;
    case ERRC_UNSUPPORTED:
        return S3_ERROR_NOT_IMPLEMENTED;
    case ERRC_IO:
    case ERRC_CORRUPT:
    case ERRC_FORMAT:
    case ERRC_INTERNAL:
    case ERRC_COUNT:
        break;
    }
    return S3_ERROR_INTERNAL_ERROR;
}

void s3_error_write(struct enc *out, const struct s3_error_info *err, struct slice resource,
                    struct slice request_id, struct slice host_id)
{
    s3_xml_raw(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    s3_xml_element_str(out, "Code", s3_error_code(err->code));
    s3_xml_element_str(out, "Message", err->message != NULL ? err->message : s3_error_text(err->code));
    for (size_t i = 0; i < err->extra_count; i++) {
        s3_xml_element(out, err->extras[i].name, err->extras[i].value);
    }
    if (resource.len > 0) {
        s3_xml_element(out, "Resource", resource);
    }
    s3_xml_element(out, "RequestId", request_id);
    s3_xml_element(out, "HostId", host_id);
    s3_xml_raw(out, "</Error>");
}
