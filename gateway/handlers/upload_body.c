/*
 *   READING -> (decode, hash) -> PUSHING -> READING ... end -> compare -> next
 *                                  |  ^ on_ready of the writer
 *                                  v  |
 *                                WAITING
 *
 * One of two things is pending while the body runs: a piece asked of HTTP, or the writer's on_ready.
 */
#include "gateway/handlers/upload_body.h"

#include "common/base/assert.h"
#include "common/base/hex.h"
#include "gateway/handlers/handler_request.h"

/* ---- what the head says ---- */

static enum s3_error length_read(struct request *r, bool document)
{
    struct upload_body *body = &r->body;
    struct slice ignored;
    body->has_body = r->http->content_length != 0;
    if (auth_payload_is_chunked(r->auth.payload)) {
        body->length = r->auth.decoded_bytes;
        body->length_known = true;
        return S3_ERROR_NONE;
    }
    if (r->http->content_length >= 0) {
        bool stated = r->http->content_length > 0 || s3_header_get(&r->s3, "content-length", &ignored);
        if (!stated && !document) {
            return s3_fail(&r->err, S3_ERROR_MISSING_CONTENT_LENGTH, NULL);
        }
        body->length = (uint64_t)r->http->content_length;
        body->length_known = true;
        return S3_ERROR_NONE;
    }
    struct slice decoded;
    if (s3_header_get(&r->s3, "x-amz-decoded-content-length", &decoded)) {
        uint64_t value = 0;
        for (size_t i = 0; i < decoded.len; i++) {
            if (decoded.data[i] < '0' || decoded.data[i] > '9' || value > UINT64_MAX / 16) {
                return s3_fail(&r->err, S3_ERROR_MISSING_CONTENT_LENGTH, NULL);
            }
            value = value * 10 + (uint64_t)(decoded.data[i] - '0');
        }
        body->length = value;
        body->length_known = decoded.len > 0;
    }
    if (!body->length_known && !document) {
        return s3_fail(&r->err, S3_ERROR_MISSING_CONTENT_LENGTH, NULL);
    }
    return S3_ERROR_NONE;
}

static enum s3_error digests_read(struct request *r)
{
    struct upload_body *body = &r->body;
    enum s3_error code = s3_content_md5_read(&r->s3, &body->has_md5, body->wanted_md5, &r->err);
    if (code != S3_ERROR_NONE) {
        return code;
    }
    return s3_checksum_request_read(&r->s3, &body->wanted, &r->err);
}

/* Which algorithm runs: that of the value, else of the trailer, else the one named, else the default. */
static void kind_choose(struct upload_body *body, enum checksum_kind kind_default)
{
    if (body->wanted.value.kind != CHECKSUM_NONE) {
        body->kind = body->wanted.value.kind;
    } else if (body->wanted.trailer_kind != CHECKSUM_NONE) {
        body->kind = body->wanted.trailer_kind;
    } else if (body->wanted.wanted_kind != CHECKSUM_NONE) {
        body->kind = body->wanted.wanted_kind;
    } else {
        body->kind = kind_default;
    }
}

enum s3_error upload_body_prepare(struct request *r, uint64_t bytes_max, enum checksum_kind kind_default)
{
    enum s3_error code = length_read(r, false);
    if (code == S3_ERROR_NONE && r->body.length > bytes_max) {
        char *proposed = arena_format(&r->scratch, "%llu", (unsigned long long)r->body.length);
        char *max = arena_format(&r->scratch, "%llu", (unsigned long long)bytes_max);
        ASSERT(proposed != NULL && max != NULL);
        code = s3_fail(&r->err, S3_ERROR_ENTITY_TOO_LARGE, NULL);
        s3_error_add(&r->err, "ProposedSize", slice_str(proposed));
        s3_error_add(&r->err, "MaxSizeAllowed", slice_str(max));
    }
    if (code == S3_ERROR_NONE) {
        code = digests_read(r);
    }
    if (code == S3_ERROR_NONE) {
        kind_choose(&r->body, kind_default);
    }
    return code;
}

enum s3_error upload_body_prepare_document(struct request *r, uint64_t bytes_max, bool needs_integrity)
{
    struct upload_body *body = &r->body;
    body->is_document = true;
    enum s3_error code = length_read(r, true);
    if (code == S3_ERROR_NONE && body->length_known && body->length > bytes_max) {
        code = s3_fail(&r->err, S3_ERROR_MAX_MESSAGE_LENGTH_EXCEEDED, NULL);
    }
    if (code == S3_ERROR_NONE && needs_integrity && !s3_has_integrity(&r->s3)) {
        code = s3_fail(&r->err, S3_ERROR_INVALID_REQUEST,
                       "Missing required header for this request: Content-MD5 or x-amz-checksum-*");
    }
    if (code == S3_ERROR_NONE) {
        code = digests_read(r);
    }
    if (code == S3_ERROR_NONE) {
        kind_choose(body, CHECKSUM_NONE);
        body->length = body->length_known ? body->length : bytes_max;
    }
    return code;
}

/* ---- the end: everything is compared ---- */

static enum s3_error compare_sha(struct request *r)
{
    struct upload_body *body = &r->body;
    uint8_t sha[SHA256_BYTES];
    if (!body->hashes_sha) {
        return S3_ERROR_NONE;
    }
    digest_final(&body->sha_digest, sha);
    if (memcmp(sha, r->auth.payload_sha256, sizeof(sha)) == 0) { /* a digest of public bytes, no secret */
        return S3_ERROR_NONE;
    }
    char *client = request_zalloc(r, 2 * SHA256_BYTES + 1);
    char *ours = request_zalloc(r, 2 * SHA256_BYTES + 1);
    hex_encode(r->auth.payload_sha256, SHA256_BYTES, client);
    hex_encode(sha, SHA256_BYTES, ours);
    enum s3_error code = s3_fail(&r->err, S3_ERROR_XAMZ_CONTENT_SHA256_MISMATCH, NULL);
    s3_error_add(&r->err, "ClientComputedContentSHA256", slice_str(client));
    s3_error_add(&r->err, "S3ComputedContentSHA256", slice_str(ours));
    return code;
}

/* The trailer's value, once the stream is whole, stands where a header's would. */
static enum s3_error trailer_take(struct request *r)
{
    struct upload_body *body = &r->body;
    if (body->wanted.trailer_kind == CHECKSUM_NONE || !body->is_chunked) {
        return S3_ERROR_NONE;
    }
    struct slice text = s3_trim(auth_chunked_trailer(&body->chunked));
    if (!checksum_parse(body->wanted.trailer_kind, text, &body->wanted.value)) {
        return s3_fail(&r->err, S3_ERROR_INVALID_REQUEST, "The value of the checksum trailer is not valid.");
    }
    return S3_ERROR_NONE;
}

static enum s3_error compare_checksum(struct request *r)
{
    struct upload_body *body = &r->body;
    if (body->also_kind != CHECKSUM_NONE) {
        body->also = (struct checksum_value){ .kind = body->also_kind, .type = CHECKSUM_FULL_OBJECT };
        checksum_final(&body->also_sum, body->also.bytes);
    }
    if (body->kind == CHECKSUM_NONE) {
        return S3_ERROR_NONE;
    }
    body->checksum = (struct checksum_value){ .kind = body->kind, .type = CHECKSUM_FULL_OBJECT };
    checksum_final(&body->sum, body->checksum.bytes);
    if (body->wanted.value.kind != CHECKSUM_NONE && !checksum_equal(&body->wanted.value, &body->checksum)) {
        return s3_fail(&r->err, S3_ERROR_BAD_DIGEST, NULL);
    }
    return S3_ERROR_NONE;
}

static enum s3_error body_compare(struct request *r)
{
    struct upload_body *body = &r->body;
    enum s3_error code = body->is_chunked ? auth_chunked_finish(&body->chunked, &r->err) : S3_ERROR_NONE;
    if (code == S3_ERROR_NONE && body->length_known && body->seen_bytes != body->length) {
        code = s3_fail(&r->err, S3_ERROR_INCOMPLETE_BODY, NULL);
    }
    if (code == S3_ERROR_NONE) {
        code = compare_sha(r);
    }
    if (code != S3_ERROR_NONE) {
        return code;
    }
    digest_final(&body->md5_digest, body->md5);
    if (body->has_md5 && memcmp(body->md5, body->wanted_md5, MD5_BYTES) != 0) { /* public bytes, no secret */
        return s3_fail(&r->err, S3_ERROR_BAD_DIGEST, NULL);
    }
    code = trailer_take(r);
    return code == S3_ERROR_NONE ? compare_checksum(r) : code;
}

/* ---- the stream ---- */

static void body_finish(struct request *r)
{
    struct upload_body *body = &r->body;
    if (body->is_document) {
        body->document = enc_slice(&body->collected);
    }
    request_resume(r);
    body->next(r);
}

static enum s3_error payload_take(struct request *r, struct slice payload)
{
    struct upload_body *body = &r->body;
    if (payload.len > body->length - body->seen_bytes) {
        return s3_fail(&r->err, body->length_known ? S3_ERROR_INCOMPLETE_BODY : S3_ERROR_MAX_MESSAGE_LENGTH_EXCEEDED,
                       NULL);
    }
    body->seen_bytes += payload.len;
    digest_update(&body->md5_digest, payload.data, payload.len);
    if (body->hashes_sha) {
        digest_update(&body->sha_digest, payload.data, payload.len);
    }
    if (body->kind != CHECKSUM_NONE) {
        checksum_update(&body->sum, payload.data, payload.len);
    }
    if (body->also_kind != CHECKSUM_NONE) {
        checksum_update(&body->also_sum, payload.data, payload.len);
    }
    if (body->is_document) {
        enc_raw(&body->collected, payload.data, payload.len);
    } else {
        body->payload = payload;
    }
    return S3_ERROR_NONE;
}

/* Decodes the next stretch of the current piece; the result is hashed and stands in body->payload. */
static enum s3_error input_decode(struct request *r)
{
    struct upload_body *body = &r->body;
    struct slice payload = body->input;
    if (body->is_chunked) {
        enum s3_error code = auth_chunked_push(&body->chunked, &body->input, &payload, &r->err);
        if (code != S3_ERROR_NONE) {
            return code;
        }
    } else {
        body->input = SLICE_EMPTY;
    }
    return payload.len > 0 ? payload_take(r, payload) : S3_ERROR_NONE;
}

/* False: the writer is full and will call. */
static bool payload_push(struct upload_body *body)
{
    if (body->payload.len > 0) {
        size_t taken = object_writer_push(body->writer, body->payload);
        body->payload = slice_skip(body->payload, taken);
    }
    return body->payload.len == 0;
}

static void on_piece(void *data, struct http_request *http, const struct http_piece *piece);

static void body_pump(struct request *r)
{
    struct upload_body *body = &r->body;
    for (;;) {
        if (!payload_push(body)) {
            body->waiting = true;
            return;
        }
        if (body->input.len == 0) {
            break;
        }
        if (input_decode(r) != S3_ERROR_NONE) {
            body_finish(r); /* r->err says why */
            return;
        }
    }
    if (body->writer != NULL && object_writer_status(body->writer) != ERRC_OK) {
        body_finish(r); /* no use in reading on: the handler asks the writer why */
        return;
    }
    if (!body->at_end) {
        http_body_read(r->http, on_piece, r);
        return;
    }
    (void)body_compare(r); /* the verdict stands in r->err */
    body_finish(r);
}

static void on_piece(void *data, struct http_request *http, const struct http_piece *piece)
{
    (void)http;
    struct request *r = data;
    struct upload_body *body = &r->body;
    if (piece->code != ERRC_OK) {
        enum s3_error code = piece->code == ERRC_TIMEOUT ? S3_ERROR_REQUEST_TIMEOUT : S3_ERROR_INCOMPLETE_BODY;
        (void)s3_fail(&r->err, code, NULL); /* returns the code that was given */
        body_finish(r);
        return;
    }
    body->input = piece->data;
    body->at_end = piece->is_end;
    body_pump(r);
}

void upload_body_writer_ready(void *data)
{
    struct request *r = data;
    if (r->body.waiting) { /* on_ready also comes for a stream that failed while nothing waits */
        r->body.waiting = false;
        body_pump(r);
    }
}

void upload_body_run(struct request *r, struct object_writer *writer, void (*next)(struct request *r))
{
    struct upload_body *body = &r->body;
    ASSERT(body->is_document == (writer == NULL));
    body->writer = writer;
    body->next = next;
    body->is_chunked = auth_payload_is_chunked(r->auth.payload);
    body->hashes_sha = r->auth.payload == AUTH_PAYLOAD_SHA256;
    digest_init(&body->md5_digest, DIGEST_MD5);
    if (body->hashes_sha) {
        digest_init(&body->sha_digest, DIGEST_SHA256);
    }
    if (body->kind != CHECKSUM_NONE) {
        checksum_init(&body->sum, body->kind);
    }
    body->also_kind = body->also_kind == body->kind ? CHECKSUM_NONE : body->also_kind;
    if (body->also_kind != CHECKSUM_NONE) {
        checksum_init(&body->also_sum, body->also_kind);
    }
    if (body->is_chunked) {
        auth_chunked_init(&body->chunked, &r->auth);
    }
    request_hold(r);
    http_body_read(r->http, on_piece, r);
}

void upload_body_done(struct upload_body *body)
{
    digest_done(&body->md5_digest);
    digest_done(&body->sha_digest);
    checksum_done(&body->sum);
    checksum_done(&body->also_sum);
    if (body->is_chunked) {
        auth_chunked_done(&body->chunked);
    }
    enc_free(&body->collected);
}
