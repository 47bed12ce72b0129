/*
 *   ids -> parse -> authenticate -> handler known? -> expected owner -> [bucket] -> handler
 *
 * What the parser refuses is still authenticated where a request could be made out at all, so that a
 * stranger learns nothing but AccessDenied from it.
 */
#include "gateway/handlers/dispatch.h"

#include "common/base/assert.h"
#include "gateway/handlers/gateway_state.h"
#include "gateway/handlers/handler_request.h"
#include "gateway/handlers/operations.h"
#include "gateway/handlers/request_end.h"

static const struct handler handlers[] = {
    /* operation                           start                 bucket body */
    { S3_OPERATION_LIST_BUCKETS,           bucket_list,            false, false },
    { S3_OPERATION_CREATE_BUCKET,          bucket_create,          false, true },
    { S3_OPERATION_HEAD_BUCKET,            bucket_head,            true,  false },
    { S3_OPERATION_DELETE_BUCKET,          bucket_delete,          true,  false },
    { S3_OPERATION_GET_BUCKET_LOCATION,    bucket_location,        true,  false },
    { S3_OPERATION_GET_BUCKET_VERSIONING,  bucket_versioning,      true,  false },
    { S3_OPERATION_LIST_OBJECTS,           objects_list,           false, false },
    { S3_OPERATION_LIST_OBJECTS_V2,        objects_list,           false, false },
    { S3_OPERATION_LIST_OBJECT_VERSIONS,   versions_list,          false, false },
    { S3_OPERATION_PUT_OBJECT,             object_put,             true,  true },
    { S3_OPERATION_GET_OBJECT,             object_get,             false, false },
    { S3_OPERATION_HEAD_OBJECT,            object_get,             false, false },
    { S3_OPERATION_DELETE_OBJECT,          object_delete,          true,  false },
    { S3_OPERATION_DELETE_OBJECTS,         objects_delete,         true,  true },
    { S3_OPERATION_COPY_OBJECT,            object_copy,            true,  false },
    { S3_OPERATION_CREATE_MULTIPART_UPLOAD, upload_create,         true,  false },
    { S3_OPERATION_UPLOAD_PART,            upload_part,            true,  true },
    { S3_OPERATION_UPLOAD_PART_COPY,       upload_part_copy,       true,  false },
    { S3_OPERATION_COMPLETE_MULTIPART_UPLOAD, upload_complete,     true,  true },
    { S3_OPERATION_ABORT_MULTIPART_UPLOAD, upload_abort,           true,  false },
    { S3_OPERATION_LIST_PARTS,             upload_parts_list,      true,  false },
    { S3_OPERATION_LIST_MULTIPART_UPLOADS, uploads_list,           false, false },
};

const struct handler *handler_find(enum s3_operation operation)
{
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        if (handlers[i].operation == operation) {
            return &handlers[i];
        }
    }
    return NULL;
}

static void on_closed(struct http_request *http)
{
    struct request *r = http->user;
    r->gone = true; /* what is pending comes back with CANCELED or ends by itself */
}

/* The header array of HTTP as that of the S3 layer, which knows nothing of HTTP. */
static const struct s3_header *headers_view(struct http_request *http)
{
    size_t room = http->header_count > 0 ? http->header_count : 1;
    struct s3_header *headers = arena_alloc(&http->arena, room * sizeof(*headers));
    ASSERT(headers != NULL); /* HTTP_HEADERS_MAX of them in a fresh arena */
    for (size_t i = 0; i < http->header_count; i++) {
        headers[i] = (struct s3_header){ http->headers[i].name, http->headers[i].value };
    }
    return headers;
}

static struct request *request_begin(struct gateway *gateway, struct http_request *http)
{
    struct request *r = arena_zalloc(&http->arena, sizeof(*r));
    ASSERT(r != NULL);
    r->gateway = gateway;
    r->http = http;
    r->arena = &http->arena;
    r->executor = http->executor;
    r->wall_ms = env_wall_ms(gateway->config.env);
    r->err = (struct s3_error_info)S3_ERROR_INFO_INIT;
    r->owner = (struct s3_owner){ slice_of(gateway->canonical_id, CANONICAL_ID_BYTES),
                                  gateway->config.display_name };
    arena_init(&r->scratch, REQUEST_SCRATCH_BYTES);
    gateway_make_ids(gateway, r->id, r->host_id);
    r->s3 = (struct s3_request){
        .method = http->method,
        .target = http->target,
        .headers = headers_view(http),
        .header_count = http->header_count,
        .is_tls = http->is_tls,
    };
    http->user = r;
    http->on_closed = on_closed;
    (void)atomic_fetch_add(&gateway->active, 1);
    return r;
}

/* Refused by the parser, and not in a way that still has to be authenticated. */
static bool parse_is_final(enum s3_error code)
{
    return code != S3_ERROR_NONE && code != S3_ERROR_NOT_IMPLEMENTED && code != S3_ERROR_METHOD_NOT_ALLOWED;
}

static void bucket_looked_up(struct request *r)
{
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    if (call->op.buckets.count == 0) {
        request_fail_outcome(r, META_NO_BUCKET);
        return;
    }
    r->bucket = call->op.buckets.buckets[0]; /* its slices live as long as the request */
    if (s3_expected_owner_check(&r->s3, "x-amz-expected-bucket-owner", r->gateway->config.account, &r->err) !=
        S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    handler_find(r->s3.operation)->start(r);
}

/* A payload hash for a request without a body must be that of nothing. */
static bool empty_hash_fits(const struct request *r)
{
    uint8_t empty[SHA256_BYTES];
    if (r->auth.payload != AUTH_PAYLOAD_SHA256) {
        return true;
    }
    sha256_once("", 0, empty);
    return memcmp(empty, r->auth.payload_sha256, sizeof(empty)) == 0; /* public bytes, no secret */
}

static void handler_start(struct request *r, const struct handler *handler)
{
    struct slice ignored;
    bool names_owner = s3_value_get(&r->s3, "x-amz-expected-bucket-owner", &ignored);
    if (r->s3.bucket.len > 0 && r->s3.operation != S3_OPERATION_CREATE_BUCKET &&
        (handler->wants_bucket || names_owner)) {
        struct meta_query query = { .type = META_QRY_BUCKET, .bucket = r->s3.bucket };
        (void)request_query(r, &query, bucket_looked_up); /* found again as r->calls */
        return;
    }
    handler->start(r);
}

/* Of a body in HTTP chunks that must be none: its end, or what it should not have. */
static void on_no_body(void *data, struct http_request *http, const struct http_piece *piece)
{
    struct request *r = data;
    (void)http;
    request_resume(r);
    if (piece->code != ERRC_OK) {
        request_fail_with(r, piece->code == ERRC_TIMEOUT ? S3_ERROR_REQUEST_TIMEOUT : S3_ERROR_INCOMPLETE_BODY, NULL);
    } else if (piece->data.len > 0) {
        request_fail_with(r, S3_ERROR_UNEXPECTED_CONTENT, NULL);
    } else {
        ASSERT(piece->is_end);
        handler_start(r, handler_find(r->s3.operation));
    }
}

/* The operation has no body: none may be there, or be promised. */
static void bodyless_start(struct request *r, const struct handler *handler)
{
    bool promised = auth_payload_is_chunked(r->auth.payload) && r->auth.decoded_bytes > 0;
    if (r->http->content_length > 0 || promised) {
        request_fail_with(r, S3_ERROR_UNEXPECTED_CONTENT, NULL);
    } else if (!empty_hash_fits(r)) {
        request_fail_with(r, S3_ERROR_XAMZ_CONTENT_SHA256_MISMATCH, NULL);
    } else if (r->http->content_length < 0) {
        request_hold(r);
        http_body_read(r->http, on_no_body, r); /* to its end, so that the connection can go on */
    } else {
        handler_start(r, handler);
    }
}

void dispatch_request(void *data, struct http_request *http)
{
    struct gateway *gateway = data;
    struct request *r = request_begin(gateway, http);
    const char *not_ready = atomic_load(&gateway->not_ready);
    if (not_ready != NULL) {
        request_fail_with(r, S3_ERROR_SERVICE_UNAVAILABLE, not_ready);
        return;
    }
    struct s3_error_info parse_error = S3_ERROR_INFO_INIT;
    enum s3_error parsed = s3_request_parse(&r->s3, &gateway->config.s3, r->arena, &parse_error);
    if (parse_is_final(parsed)) {
        r->err = parse_error;
        request_fail(r);
        return;
    }
    ASSERT(http->loop_index < gateway->config.loop_count);
    if (auth_check(&gateway->auth[http->loop_index], &r->s3, r->wall_ms, &r->auth, &r->err) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    const struct handler *handler = handler_find(r->s3.operation);
    if (handler == NULL || parsed == S3_ERROR_METHOD_NOT_ALLOWED) {
        r->err = parse_error;
        if (parsed == S3_ERROR_NONE) {
            (void)s3_fail(&r->err, S3_ERROR_NOT_IMPLEMENTED, NULL); /* returns the code that was given */
        }
        request_fail(r);
        return;
    }
    if (handler->takes_body) {
        handler_start(r, handler);
    } else {
        bodyless_start(r, handler);
    }
}

static enum s3_error bad_kind_error(enum http_bad_kind kind, const char **ret_message)
{
    switch (kind) {
    case HTTP_BAD_SYNTAX: *ret_message = "The request is malformed or its framing is ambiguous."; return S3_ERROR_BAD_REQUEST;
    case HTTP_BAD_HEAD_TOO_LARGE: return S3_ERROR_REQUEST_HEADER_SECTION_TOO_LARGE;
    case HTTP_BAD_VERSION: *ret_message = "Only HTTP/1.0 and HTTP/1.1 are spoken here."; return S3_ERROR_BAD_REQUEST;
    case HTTP_BAD_HEAD_TIMEOUT: return S3_ERROR_REQUEST_TIMEOUT;
    case HTTP_BAD_OVERLOADED: return S3_ERROR_SLOW_DOWN;
    }
    return S3_ERROR_BAD_REQUEST;
}

/* A head that is no request: it gets its ids and the XML error like any other, and the connection closes. */
void dispatch_bad_request(void *data, enum http_bad_kind kind, const char *peer, struct arena *arena,
                          struct http_bad_reply *reply)
{
    (void)peer; /* the access log names requests only */
    struct gateway *gateway = data;
    struct s3_error_info err = S3_ERROR_INFO_INIT;
    const char *message = NULL;
    enum s3_error code = bad_kind_error(kind, &message);
    (void)s3_fail(&err, code, message); /* returns the code that was given */
    char *id = arena_zalloc(arena, REQUEST_ID_BYTES + 1);
    char *host_id = arena_zalloc(arena, REQUEST_HOST_ID_BYTES + 1);
    struct http_header *headers = arena_zalloc(arena, 3 * sizeof(*headers));
    if (id == NULL || host_id == NULL || headers == NULL) {
        return; /* the preset empty reply */
    }
    gateway_make_ids(gateway, id, host_id);
    struct enc out = ENC_INIT;
    error_document(&out, &err, SLICE_EMPTY, id, host_id);
    headers[0] = (struct http_header){ slice_str("x-amz-request-id"), slice_str(id) };
    headers[1] = (struct http_header){ slice_str("x-amz-id-2"), slice_str(host_id) };
    headers[2] = (struct http_header){ slice_str("Content-Type"), slice_str("application/xml") };
    reply->body = arena_copy(arena, enc_slice(&out));
    reply->headers = headers;
    reply->header_count = reply->body.data != NULL ? 3 : 2;
    reply->body.len = reply->body.data != NULL ? reply->body.len : 0;
    enc_free(&out);
}
