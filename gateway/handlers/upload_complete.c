/*
 * CompleteMultipartUpload.
 *
 *   READING (document) -> ASKED (parts, page by page) -> COMMITTING -> answered
 *                             |                              ^
 *                             +-- no such upload: perhaps completed before, the record of that decides
 *
 * What the object will be is computed here from the stored parts; the commit compares the listed parts with
 * those that are stored then, so that a part replaced in between is noticed.
 */
#include "gateway/handlers/object_record.h"
#include "gateway/handlers/operations.h"
#include "gateway/handlers/upload_target.h"

#include "common/base/assert.h"
#include "common/base/hex.h"

#include <stdio.h>

#define PARTS_PAGE 1000

struct complete_state {
    uint8_t upload_id[UPLOAD_ID_BYTES];
    struct meta_conditions conditions;
    struct s3_checksum_request expected; /* of the whole object */
    bool has_size;
    uint64_t size;                       /* x-amz-mp-object-size */
    struct s3_complete_request wanted;
    struct s3_multipart_rules rules;
    struct s3_stored_part *stored;
    size_t stored_count, stored_capacity;
    uint32_t marker;
    struct s3_completed completed;
};

/* ---- the answer ---- */

static struct slice location_make(struct request *r)
{
    struct enc out = ENC_INIT;
    struct slice host;
    if (!s3_header_get(&r->s3, "host", &host)) {
        host = SLICE_EMPTY;
    }
    const char *scheme = r->http->is_tls ? "https://" : "http://";
    enc_raw(&out, scheme, strlen(scheme));
    enc_raw(&out, host.data, host.len);
    enc_raw(&out, r->s3.raw_path.data, r->s3.raw_path.len);
    struct slice location = arena_copy(&r->scratch, enc_slice(&out)); /* bounded by the head */
    enc_free(&out);
    return location;
}

static void complete_committed(struct request *r)
{
    struct complete_state *state = r->state;
    const struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_result *result = &call->op.result;
    if (result->outcome == META_NO_PART) {
        char *number = arena_format(&r->scratch, "%u", result->detail);
        ASSERT(number != NULL);
        (void)s3_fail(&r->err, S3_ERROR_INVALID_PART, NULL); /* returns the code that was given */
        s3_error_add(&r->err, "UploadId", state->rules.upload_id);
        s3_error_add(&r->err, "PartNumber", slice_str(number));
        request_fail(r);
        return;
    }
    if (result->outcome != META_OK) {
        object_write_refused(r, &state->conditions, (enum meta_outcome)result->outcome);
        return;
    }
    struct checksum_value checksum;
    checksum_from_meta(&result->checksum, &checksum);
    object_version_header(r, result);
    s3_result_complete(&r->out, location_make(r), r->s3.bucket, r->s3.key, result->etag, &checksum);
    request_reply_xml(r, 200);
}

/* ---- the commit ---- */

static struct meta_complete_part *parts_for_commit(struct request *r, const struct s3_stored_part *const *parts,
                                                   size_t count)
{
    struct meta_complete_part *out = request_zalloc(r, (count + 1) * sizeof(*out));
    for (size_t i = 0; i < count; i++) {
        const struct s3_stored_part *part = parts[i];
        out[i] = (struct meta_complete_part){
            .number = (uint16_t)part->number,
            .etag_md5 = slice_of(part->md5, MD5_BYTES),
            .checksum = slice_of(part->checksum.bytes, checksum_bytes(part->checksum.kind)),
        };
    }
    return out;
}

static void complete_propose(struct request *r, const struct meta_complete_part *parts, size_t count)
{
    struct complete_state *state = r->state;
    struct env *env = request_config(r)->env;
    struct meta_command command = { .type = META_CMD_UPLOAD_COMPLETE };
    command.upload_complete = (struct meta_upload_complete){
        .bucket_id = r->bucket.id,
        .key = r->s3.key,
        .mtime_ms = env_wall_ms(env),
        .conditions = state->conditions,
        .etag = slice_str(state->completed.etag),
        .checksum = checksum_to_meta(&state->completed.checksum),
        .size = state->completed.bytes,
        .part_count = (uint32_t)count,
        .parts = parts,
    };
    memcpy(command.upload_complete.upload_id, state->upload_id, UPLOAD_ID_BYTES);
    env_random(env, &command.upload_complete.nonce, sizeof(command.upload_complete.nonce));
    (void)request_propose(r, &command, complete_committed); /* found again as r->calls */
}

/* The headers' expectations of the whole object. */
static enum s3_error expectations_check(struct request *r, const struct complete_state *state)
{
    const struct s3_checksum_request *expected = &state->expected;
    const struct s3_completed *completed = &state->completed;
    if (state->has_size && state->size != completed->bytes) {
        return s3_fail(&r->err, S3_ERROR_INVALID_REQUEST, "The object size differs from x-amz-mp-object-size.");
    }
    if (expected->type != CHECKSUM_TYPE_NONE && completed->checksum.kind != CHECKSUM_NONE &&
        expected->type != completed->checksum.type) {
        return s3_fail(&r->err, S3_ERROR_BAD_DIGEST, "The checksum type differs from that of the upload.");
    }
    if (expected->value.kind != CHECKSUM_NONE && !checksum_equal(&expected->value, &completed->checksum)) {
        return s3_fail(&r->err, S3_ERROR_BAD_DIGEST, NULL);
    }
    return S3_ERROR_NONE;
}

static void complete_check(struct request *r)
{
    struct complete_state *state = r->state;
    size_t count = state->wanted.part_count;
    uint32_t *indexes = request_zalloc(r, (count + 1) * sizeof(*indexes));
    if (s3_complete_check(&state->wanted, state->stored, state->stored_count, &state->rules, &r->scratch, indexes,
                          &state->completed, &r->err) != S3_ERROR_NONE ||
        expectations_check(r, state) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    const struct s3_stored_part **parts = request_zalloc(r, (count + 1) * sizeof(*parts));
    for (size_t i = 0; i < count; i++) {
        ASSERT(indexes[i] < state->stored_count);
        parts[i] = &state->stored[indexes[i]];
    }
    complete_propose(r, parts_for_commit(r, parts, count), count);
}

/*
 * The upload is not there. If it was completed before with this list, the metadata service remembers and
 * answers as then: the list's ETag says which list it was. Nothing else about the parts is known any more.
 */
static void complete_again(struct request *r)
{
    struct complete_state *state = r->state;
    size_t count = state->wanted.part_count;
    struct s3_stored_part *listed = request_zalloc(r, (count + 1) * sizeof(*listed));
    const struct s3_stored_part **parts = request_zalloc(r, (count + 1) * sizeof(*parts));
    struct digest digest;
    uint8_t md5[MD5_BYTES];
    char hex[2 * MD5_BYTES + 1];
    bool good = true;
    digest_init(&digest, DIGEST_MD5);
    for (size_t i = 0; i < count && good; i++) {
        const struct s3_complete_part *part = &state->wanted.parts[i];
        good = part->etag.len == 2 * MD5_BYTES &&
               hex_decode((const char *)part->etag.data, part->etag.len, listed[i].md5);
        digest_update(&digest, listed[i].md5, MD5_BYTES);
        listed[i].number = part->number;
        listed[i].checksum = part->checksum;
        parts[i] = &listed[i];
    }
    digest_final(&digest, md5);
    digest_done(&digest);
    if (!good) {
        request_fail_outcome(r, META_NO_UPLOAD);
        return;
    }
    hex_encode(md5, sizeof(md5), hex);
    (void)snprintf(state->completed.etag, sizeof(state->completed.etag), "%s-%u", hex, (unsigned)count); /* it fits */
    complete_propose(r, parts_for_commit(r, parts, count), count);
}

/* ---- the stored parts ---- */

static void stored_append(struct request *r, struct complete_state *state, const struct meta_parts_reply *reply)
{
    size_t wanted = state->stored_count + reply->count;
    if (wanted > state->stored_capacity) {
        size_t capacity = 2 * wanted;
        struct s3_stored_part *stored = request_zalloc(r, capacity * sizeof(*stored));
        if (state->stored_count > 0) {
            memcpy(stored, state->stored, state->stored_count * sizeof(*stored));
        }
        state->stored = stored;
        state->stored_capacity = capacity;
    }
    for (uint32_t i = 0; i < reply->count; i++) {
        const struct meta_part *part = &reply->parts[i];
        struct s3_stored_part *out = &state->stored[state->stored_count++];
        ASSERT(part->etag_md5.len == MD5_BYTES);
        out->number = part->number;
        out->bytes = part->size;
        memcpy(out->md5, part->etag_md5.data, MD5_BYTES);
        checksum_from_meta(&part->checksum, &out->checksum);
    }
}

static void parts_ask(struct request *r);

static void parts_answered(struct request *r)
{
    struct complete_state *state = r->state;
    struct request_call *call = r->calls;
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_parts_reply *reply = &call->op.parts;
    if (reply->outcome == META_NO_UPLOAD) {
        complete_again(r);
        return;
    }
    if (reply->outcome != META_OK) {
        request_fail_outcome(r, (enum meta_outcome)reply->outcome);
        return;
    }
    state->rules = upload_target_rules(r, &reply->upload.row);
    stored_append(r, state, reply);
    bool more = reply->truncated && reply->count > 0;
    request_call_release(r, call); /* everything that is needed has been copied */
    if (more && state->stored_count < PARTS_MAX) {
        state->marker = state->stored[state->stored_count - 1].number;
        parts_ask(r);
        return;
    }
    complete_check(r);
}

static void parts_ask(struct request *r)
{
    struct complete_state *state = r->state;
    struct meta_query query = {
        .type = META_QRY_LIST_PARTS,
        .bucket_id = r->bucket.id,
        .key = r->s3.key,
        .part_number = (uint16_t)state->marker,
        .limit = PARTS_PAGE,
    };
    memcpy(query.upload_id, state->upload_id, UPLOAD_ID_BYTES);
    (void)request_query(r, &query, parts_answered); /* found again as r->calls */
}

/* ---- the request ---- */

static void complete_read(struct request *r)
{
    struct complete_state *state = r->state;
    if (r->err.code != S3_ERROR_NONE ||
        s3_xml_read_complete(&r->scratch, r->body.document, &state->wanted, &r->err) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    parts_ask(r);
}

static enum s3_error size_read(struct request *r, struct complete_state *state)
{
    struct slice text;
    if (!s3_value_get(&r->s3, "x-amz-mp-object-size", &text)) {
        return S3_ERROR_NONE;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= 18) {
            return s3_fail_argument(&r->err, "The size is not a number.", "x-amz-mp-object-size", text);
        }
        state->size = state->size * 10 + (uint64_t)(text.data[i] - '0');
    }
    state->has_size = text.len > 0;
    return S3_ERROR_NONE;
}

void upload_complete(struct request *r)
{
    struct complete_state *state = request_zalloc(r, sizeof(*state));
    r->state = state;
    if (s3_headers_unsupported(&r->s3, &r->err) != S3_ERROR_NONE ||
        upload_target_read(r, state->upload_id) != S3_ERROR_NONE ||
        object_conditions_read(r, false, &state->conditions) != S3_ERROR_NONE || size_read(r, state) != S3_ERROR_NONE ||
        upload_body_prepare_document(r, S3_XML_COMPLETE_BYTES_MAX, false) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    /* The checksum headers of Complete speak of the object, not of the document; a trailer speaks of the document. */
    state->expected = r->body.wanted;
    r->body.wanted.value.kind = CHECKSUM_NONE;
    r->body.kind = r->body.wanted.trailer_kind;
    upload_body_run(r, NULL, complete_read);
}
