#include "gateway/handlers/request_end.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/handlers/gateway_state.h"

/* Small bodies go into HTTP's arena, larger ones into a buffer of their own. */
#define REPLY_ARENA_BYTES_MAX (16u << 10)

enum s3_error outcome_to_s3(enum meta_outcome outcome)
{
    switch (outcome) {
    case META_OK: return S3_ERROR_NONE;
    case META_NO_BUCKET: return S3_ERROR_NO_SUCH_BUCKET;
    case META_NO_KEY: return S3_ERROR_NO_SUCH_KEY;
    case META_NO_VERSION: return S3_ERROR_NO_SUCH_VERSION;
    case META_NO_UPLOAD: return S3_ERROR_NO_SUCH_UPLOAD;
    case META_NO_PART: return S3_ERROR_INVALID_PART;
    case META_BUCKET_EXISTS: return S3_ERROR_BUCKET_ALREADY_OWNED_BY_YOU;
    case META_BUCKET_NOT_EMPTY: return S3_ERROR_BUCKET_NOT_EMPTY;
    case META_PRECONDITION: return S3_ERROR_PRECONDITION_FAILED;
    case META_STALE: return S3_ERROR_SERVICE_UNAVAILABLE; /* the client's retry starts over */
    case META_EXISTS: return S3_ERROR_CONDITIONAL_REQUEST_CONFLICT;
    case META_INVALID: /* our command contradicted itself */
    case META_TOKEN_UNKNOWN: /* answers to processes that join, not to requests of S3 */
    case META_TOKEN_EXPIRED:
    case META_TOKEN_USED:
    case META_TOKEN_ROLE:
    case META_NODE_TAKEN:
    case META_NODE_REMOVED: return S3_ERROR_INTERNAL_ERROR;
    }
    return S3_ERROR_INTERNAL_ERROR;
}

/* Why our own command was refused: for the log. */
static const char *outcome_story(enum meta_outcome outcome)
{
    switch (outcome) {
    case META_STALE: return "metadata: a session, extent, epoch or record that the command names has changed";
    case META_INVALID: return "metadata: the command contradicts itself";
    default: return "metadata: an outcome that is none of this command";
    }
}

/* What the inside says is not there must never reach the client as "no such key": absence is decided by
 * metadata outcomes alone. */
enum s3_error inner_errc_to_s3(enum errc code)
{
    switch (code) {
    case ERRC_LIMIT: return S3_ERROR_SLOW_DOWN;
    case ERRC_NO_SPACE: return S3_ERROR_INSUFFICIENT_STORAGE;
    case ERRC_UNAVAILABLE:
    case ERRC_TIMEOUT:
    case ERRC_DENIED: /* by another process of ours: a certificate that has ended, say */
    case ERRC_CANCELED: return S3_ERROR_SERVICE_UNAVAILABLE;
    default: return S3_ERROR_INTERNAL_ERROR;
    }
}

/* ---- the end ---- */

static void request_log(struct request *r, uint64_t sent_bytes)
{
    uint64_t now_ns = env_now_ns(r->gateway->config.env);
    bool has_code = r->err.code != S3_ERROR_NONE;
    struct gateway_access access = {
        .request_id = slice_str(r->id),
        .method = r->s3.method,
        .target = r->s3.target,
        .operation = r->s3.operation,
        .bucket = r->s3.bucket,
        .key = r->s3.key,
        .status = r->status,
        .cut = r->cut,
        .cause = slice_str(r->cause != NULL ? r->cause : ""),
        .error_code = has_code ? slice_str(s3_error_code(r->err.code)) : SLICE_EMPTY,
        .received_bytes = r->body.seen_bytes,
        .sent_bytes = sent_bytes,
        .duration_us = (now_ns - r->http->started_ns) / 1000,
        .principal = r->auth.access_key,
        .peer = r->http->peer,
    };
    gateway_account(r->gateway, &access);
    if (r->gateway->config.access_log != NULL) {
        r->gateway->config.access_log(r->gateway->config.access_log_data, &access);
    }
}

/* Everything of ours is given back; what is left of the request is HTTP's. */
static void request_dispose(struct request *r, uint64_t sent_bytes)
{
    ASSERT(r->pending == 0);
    if (r->cleanup != NULL) {
        r->cleanup(r);
    }
    while (r->calls != NULL) {
        struct request_call *call = r->calls;
        r->calls = call->older;
        meta_op_release(&call->op);
    }
    upload_body_done(&r->body);
    request_log(r, sent_bytes);
    auth_result_wipe(&r->auth);
    enc_free(&r->out);
}

void request_finish(struct request *r)
{
    struct http_request *http = r->http;
    struct arena scratch = r->scratch;
    request_dispose(r, http_sent_bytes(http));
    http_body_end(http);
    http_request_release(http);
    arena_done(&scratch);
}

void request_cut(struct request *r)
{
    struct http_request *http = r->http;
    struct arena scratch = r->scratch;
    r->cut = true;
    request_dispose(r, http_sent_bytes(http));
    http_abort(http);
    http_request_release(http);
    arena_done(&scratch);
}

static void common_headers(struct request *r)
{
    request_header_str(r, "x-amz-request-id", r->id);
    request_header_str(r, "x-amz-id-2", r->host_id);
}

/* The whole answer; r ends here. part: static, in HTTP's arena, or a buffer whose reference stays ours. */
static void reply_whole(struct request *r, unsigned status, struct http_part part)
{
    ASSERT(!r->replied);
    common_headers(r);
    r->replied = true;
    r->status = r->gone ? 0 : status;
    struct http_request *http = r->http;
    struct arena scratch = r->scratch;
    struct http_response response = {
        .status = status,
        .headers = r->headers,
        .header_count = r->header_count,
        .content_length = 0,
    };
    request_dispose(r, http->is_head ? 0 : part.bytes.len);
    http_respond_whole(http, &response, part); /* copies the headers, which lie in scratch */
    arena_done(&scratch);
}

void request_reply_empty(struct request *r, unsigned status)
{
    reply_whole(r, status, (struct http_part){ SLICE_EMPTY, NULL });
}

/* Hands the bytes of r->out over: copied to where they outlive the request. */
static void reply_document(struct request *r, unsigned status)
{
    struct slice bytes = enc_slice(&r->out);
    struct slice copy = bytes.len <= REPLY_ARENA_BYTES_MAX ? arena_copy(r->arena, bytes) : SLICE_EMPTY;
    if (copy.len == bytes.len) {
        reply_whole(r, status, (struct http_part){ copy, NULL });
        return;
    }
    struct buffer *buffer = buffer_new(bytes.len);
    memcpy(buffer->data, bytes.data, bytes.len);
    buffer->len = bytes.len;
    reply_whole(r, status, (struct http_part){ buffer_slice(buffer), buffer });
    buffer_unref(buffer);
}

void request_reply_xml(struct request *r, unsigned status)
{
    request_header_str(r, "Content-Type", "application/xml");
    reply_document(r, status);
}

void request_reply_start(struct request *r, unsigned status, uint64_t content_length)
{
    ASSERT(!r->replied);
    common_headers(r);
    r->replied = true;
    r->status = status;
    struct http_response response = {
        .status = status,
        .headers = r->headers,
        .header_count = r->header_count,
        .content_length = (int64_t)content_length,
    };
    http_respond(r->http, &response);
}

/* ---- refusals ---- */

void error_document(struct enc *out, const struct s3_error_info *err, struct slice resource, const char *id,
                    const char *host_id)
{
    s3_error_write(out, err, resource, slice_str(id), slice_str(host_id));
}

static bool status_has_body(unsigned status)
{
    return status != 304 && status != 204;
}

void request_cause(struct request *r, const char *cause)
{
    if (r->cause == NULL) {
        r->cause = arena_strndup(&r->scratch, cause, strlen(cause));
    }
}

void request_cause_errc(struct request *r, enum errc code, const struct error *story)
{
    request_cause(r, story != NULL && story->code != ERRC_OK ? story->text : errc_text(code));
}

void request_cause_outcome(struct request *r, enum meta_outcome outcome)
{
    if (s3_error_status(outcome_to_s3(outcome)) >= 500) {
        request_cause(r, outcome_story(outcome));
    }
}

void request_fail(struct request *r)
{
    ASSERT(r->err.code != S3_ERROR_NONE);
    unsigned status = (unsigned)s3_error_status(r->err.code);
    if (status == 500 && r->cause == NULL) { /* whoever refused it left only what the client is told */
        request_cause(r, r->err.message != NULL ? r->err.message : s3_error_text(r->err.code));
    }
    if (r->http->is_head || !status_has_body(status)) {
        request_reply_empty(r, status);
        return;
    }
    enc_reset(&r->out);
    error_document(&r->out, &r->err, r->s3.path, r->id, r->host_id);
    request_reply_xml(r, status);
}

void request_fail_with(struct request *r, enum s3_error code, const char *message)
{
    r->err = (struct s3_error_info)S3_ERROR_INFO_INIT;
    (void)s3_fail(&r->err, code, message); /* returns the code that was given */
    request_fail(r);
}

void request_fail_errc(struct request *r, enum errc code, const struct error *story)
{
    ASSERT(code != ERRC_OK);
    const char *message = NULL;
    if (story != NULL && story->code != ERRC_OK && (code == ERRC_UNAVAILABLE || code == ERRC_NO_SPACE)) {
        message = arena_strndup(&r->scratch, story->text, strlen(story->text)); /* says what is missing */
    }
    request_cause_errc(r, code, story);
    request_fail_with(r, inner_errc_to_s3(code), message);
}

void request_fail_outcome(struct request *r, enum meta_outcome outcome)
{
    enum s3_error code = outcome_to_s3(outcome);
    ASSERT(code != S3_ERROR_NONE);
    request_cause_outcome(r, outcome);
    r->err = (struct s3_error_info)S3_ERROR_INFO_INIT;
    (void)s3_fail(&r->err, code, NULL); /* returns the code that was given */
    if (code == S3_ERROR_NO_SUCH_BUCKET || code == S3_ERROR_BUCKET_NOT_EMPTY) {
        s3_error_add(&r->err, "BucketName", r->s3.bucket);
    } else if (code == S3_ERROR_NO_SUCH_KEY) {
        s3_error_add(&r->err, "Key", r->s3.key);
    }
    request_fail(r);
}
