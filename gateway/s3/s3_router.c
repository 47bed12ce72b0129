#include "gateway/s3/s3_router.h"

#include "common/base/assert.h"

static const struct s3_operation_row router_rows[S3_OPERATION_COUNT] = {
    [S3_OPERATION_NONE] = { "Unknown", "", S3_RESOURCE_SERVICE, "", "", "", 0, false, "" },
#define X(name, text, method, resource, query, query_two, header, wave, offered, action) \
    [S3_OPERATION_##name] = { text, method, S3_RESOURCE_##resource, query, query_two, header, wave, offered, action },
    S3_OPERATION_MAP(X)
#undef X
};

const struct s3_operation_row *s3_operation_row(enum s3_operation op)
{
    ASSERT(op > S3_OPERATION_NONE);
    ASSERT(op < S3_OPERATION_COUNT);
    return &router_rows[op];
}

const char *s3_operation_name(enum s3_operation op)
{
    ASSERT(op < S3_OPERATION_COUNT);
    return router_rows[op].name;
}

bool s3_operation_implemented(enum s3_operation op)
{
    ASSERT(op < S3_OPERATION_COUNT);
    return router_rows[op].implemented;
}

/* A query name that selects some operation, on whatever resource and method. */
static const char *router_subresource(const struct s3_request *request, struct slice name)
{
    for (int op = 1; op < S3_OPERATION_COUNT && name.len > 0; op++) {
        if (slice_equal_str(name, router_rows[op].query)) {
            /* Only buckets are listed; on a key the name means nothing. */
            bool is_foreign = op == S3_OPERATION_LIST_OBJECTS_V2 && request->key.len > 0;
            return is_foreign ? NULL : router_rows[op].query;
        }
    }
    return NULL;
}

/* *ret_name "" when there is none. */
static enum s3_error router_find_subresource(const struct s3_request *request, const char **ret_name,
                                             struct s3_error_info *err)
{
    *ret_name = "";
    for (size_t i = 0; i < request->param_count; i++) {
        const char *name = router_subresource(request, request->params[i].name);
        if (name != NULL && (*ret_name)[0] != '\0') {
            return s3_fail_argument(err, "Conflicting query string parameters", "ResourceType",
                                    request->params[i].name);
        }
        *ret_name = name != NULL ? name : *ret_name;
    }
    static const char *const once[] = { "partNumber", "versionId", "id", "annotationName" };
    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
        if (s3_param_count(request, once[i]) > 1) {
            return s3_fail_argument(err, "A query parameter may be given only once", once[i], SLICE_EMPTY);
        }
    }
    return S3_ERROR_NONE;
}

static bool router_header_present(const struct s3_request *request, const struct s3_operation_row *row)
{
    struct slice value;
    if (row == &router_rows[S3_OPERATION_POST_OBJECT]) {
        return s3_header_get(request, "content-type", &value) &&
               s3_name_starts(s3_trim(value), "multipart/form-data");
    }
    return s3_value_get(request, row->header, &value);
}

static enum s3_resource router_resource(const struct s3_request *request)
{
    if (!request->is_virtual_hosted && slice_equal_str(request->bucket, "WriteGetObjectResponse")) {
        return S3_RESOURCE_RESPONSE;
    }
    return request->key.len > 0      ? S3_RESOURCE_OBJECT
           : request->bucket.len > 0 ? S3_RESOURCE_BUCKET
                                     : S3_RESOURCE_SERVICE;
}

/* The row with the most selectors of those whose selectors are all there. */
static enum s3_operation router_match(const struct s3_request *request, enum s3_resource resource,
                                      const char *subresource, bool *ret_lacks_second)
{
    enum s3_operation best = S3_OPERATION_NONE;
    int best_score = -1;
    *ret_lacks_second = false;
    for (int op = 1; op < S3_OPERATION_COUNT; op++) {
        const struct s3_operation_row *row = &router_rows[op];
        if (row->resource != resource || !slice_equal_str(request->method, row->method) ||
            strcmp(row->query, subresource) != 0) {
            continue;
        }
        if (row->query_two[0] != '\0' && s3_param_get(request, row->query_two) == NULL) {
            *ret_lacks_second = true;
            continue;
        }
        if (row->header[0] != '\0' && !router_header_present(request, row)) {
            continue;
        }
        int score = (row->query_two[0] != '\0') * 2 + (row->header[0] != '\0');
        if (score > best_score) {
            best = (enum s3_operation)op;
            best_score = score;
        }
    }
    return best;
}

static enum s3_error router_refuse(const struct s3_request *request, enum s3_resource resource,
                                   const char *subresource, bool lacks_second, struct s3_error_info *err)
{
    static const char *const types[] = { "SERVICE", "BUCKET", "OBJECT", "ANY", "RESPONSE" };
    if (strcmp(subresource, "torrent") == 0 && resource == S3_RESOURCE_BUCKET) {
        return s3_fail(err, S3_ERROR_REQUEST_TORRENT_OF_BUCKET, NULL);
    }
    if (strcmp(subresource, "logging") == 0 && resource == S3_RESOURCE_OBJECT) {
        return s3_fail(err, S3_ERROR_NO_LOGGING_STATUS_FOR_KEY, NULL);
    }
    if (lacks_second) {
        return s3_fail_argument(err, "A query parameter that this operation needs is missing", "ResourceType",
                                slice_str(subresource));
    }
    enum s3_error code = s3_fail(err, S3_ERROR_METHOD_NOT_ALLOWED, NULL);
    s3_error_add(err, "Method", request->method);
    s3_error_add(err, "ResourceType", slice_str(subresource[0] != '\0' ? subresource : types[resource]));
    return code;
}

static enum s3_error router_check_values(const struct s3_request *request, struct s3_error_info *err)
{
    if (request->operation == S3_OPERATION_LIST_OBJECTS_V2) {
        struct slice value = s3_param_get(request, "list-type")->value;
        if (!slice_equal_str(value, "2")) {
            return s3_fail_argument(err, "Invalid List Type specified in Request", "list-type", value);
        }
    }
    /* A part number without its upload must not write or delete the whole object. */
    bool is_plain_write = request->operation == S3_OPERATION_PUT_OBJECT ||
                          request->operation == S3_OPERATION_COPY_OBJECT ||
                          request->operation == S3_OPERATION_APPEND_OBJECT ||
                          request->operation == S3_OPERATION_DELETE_OBJECT;
    if (is_plain_write && s3_param_get(request, "partNumber") != NULL) {
        return s3_fail_argument(err, "This operation does not accept a part number without an upload id",
                                "partNumber", s3_param_get(request, "partNumber")->value);
    }
    return S3_ERROR_NONE;
}

enum s3_error s3_route(struct s3_request *request, struct s3_error_info *err)
{
    const char *subresource = "";
    enum s3_resource resource = router_resource(request);
    if (slice_equal_str(request->method, "OPTIONS")) {
        request->operation = S3_OPERATION_PREFLIGHT;
    } else {
        enum s3_error code = router_find_subresource(request, &subresource, err);
        if (code != S3_ERROR_NONE) {
            return code;
        }
        bool lacks_second = false;
        request->operation = router_match(request, resource, subresource, &lacks_second);
        if (request->operation == S3_OPERATION_NONE) {
            return router_refuse(request, resource, subresource, lacks_second, err);
        }
    }
    enum s3_error code = router_check_values(request, err);
    if (code != S3_ERROR_NONE) {
        return code;
    }
    if (!s3_operation_implemented(request->operation)) {
        return s3_fail(err, S3_ERROR_NOT_IMPLEMENTED, NULL);
    }
    return S3_ERROR_NONE;
}
