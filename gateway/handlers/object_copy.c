/*
 * CopyObject.
 *
 *   (class named) ASKED
 *     -> ASKED (source) -> (ETag or checksum must be computed: READING) -> COMMITTING -> answered
 *          ^               (another code: READING and WRITING)                |
 *          +---------- the source changed in between (at most 3 times) -------+
 *
 * Extents are shared where they are in the copy's code. The ETag of a single-part source is its MD5 and carries over; any other
 * source is read once, to know it.
 */
#include "gateway/handlers/copy_source.h"
#include "gateway/handlers/object_record.h"
#include "gateway/handlers/operations.h"
#include "gateway/handlers/write_class.h"

#include "common/base/assert.h"
#include "common/base/hex.h"
#include "gateway/s3/s3_multipart.h"

#define COPY_TRIES_MAX 3

struct copy_state {
    struct copy_source source; /* first: copy_source finds itself as r->state */
    struct object_record record;
    struct meta_conditions conditions;
    enum checksum_kind wanted_kind;
    bool replaces;             /* x-amz-metadata-directive: REPLACE */
    struct object_upload upload; /* where the copy is in another code than the source */
    struct meta_command command;
    unsigned tries;
    char etag[S3_ETAG_BYTES];
    struct checksum_value checksum;
};

static void copy_asked(struct request *r);

static void copy_committed(struct request *r)
{
    struct copy_state *state = r->state;
    const struct request_call *call = r->calls;
    if (state->upload.writer != NULL) {
        object_upload_settle(&state->upload, call);
    }
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_result *result = &call->op.result;
    if (result->outcome == META_STALE && ++state->tries < COPY_TRIES_MAX) {
        copy_source_done(r, &state->source);
        copy_source_ask(r, &state->source, copy_asked);
        return;
    }
    if (result->outcome != META_OK) {
        object_write_refused(r, &state->conditions, (enum meta_outcome)result->outcome);
        return;
    }
    copy_source_header(r, &state->source);
    object_version_header(r, result);
    s3_result_copy(&r->out, slice_str(state->etag), result->mtime_ms, &state->checksum);
    request_reply_xml(r, 200);
}

/* Made once: what the footer holds of it is what is committed. */
static void command_make(struct request *r)
{
    struct copy_state *state = r->state;
    const struct copy_source *source = &state->source;
    struct object_record record = state->record;
    if (!state->replaces) {
        record.headers = object_record_inherit(r, &state->record, &source->reply.body);
        record.user_metadata = source->reply.body.user_metadata;
    }
    state->command = (struct meta_command){ .type = META_CMD_OBJECT_PUT };
    state->command.object_put = (struct meta_object_put){
        .bucket_id = r->bucket.id,
        .key = r->s3.key,
        .conditions = state->conditions,
        .row = object_row(r, &record, slice_str(state->etag), source->range.len, &state->checksum),
        .body = { .headers = record.headers,
                  .user_metadata = record.user_metadata,
                  .checksum = checksum_to_meta(&state->checksum),
                  .data_kind = META_DATA_NONE },
    };
}

static void copy_commit(struct request *r)
{
    struct copy_state *state = r->state;
    const struct copy_source *source = &state->source;
    struct meta_body *body = &state->command.object_put.body;
    if (source->inline_bytes.len > 0) {
        body->data_kind = META_DATA_INLINE;
        body->inline_bytes = source->inline_bytes;
    } else if (source->extent_count > 0) {
        body->data_kind = META_DATA_EXTENTS;
        body->ref_count = source->extent_count;
        body->refs = source->refs;
    }
    (void)request_propose(r, &state->command, copy_committed); /* found again as r->calls */
}

static void copy_written(struct request *r)
{
    struct copy_state *state = r->state;
    if (!object_upload_failed(r, &state->upload)) {
        object_upload_into(&state->upload, &state->command.object_put);
        (void)request_propose(r, &state->command, copy_committed); /* found again as r->calls */
    }
}

static void copy_hashed(struct request *r)
{
    struct copy_state *state = r->state;
    s3_etag_single(state->source.md5, state->etag);
    state->checksum = state->source.checksum;
    command_make(r);
    if (state->upload.writer != NULL) {
        object_upload_finish(r, &state->upload, &state->command, copy_written);
    } else {
        copy_commit(r);
    }
}

static bool etag_is_md5(struct slice etag)
{
    uint8_t md5[MD5_BYTES];
    return etag.len == 2 * MD5_BYTES && hex_decode((const char *)etag.data, etag.len, md5);
}

static void copy_asked(struct request *r)
{
    struct copy_state *state = r->state;
    const struct meta_object_reply *reply = &state->source.reply;
    struct checksum_value stored;
    checksum_from_meta(&reply->body.checksum, &stored);
    enum checksum_kind kind = state->wanted_kind != CHECKSUM_NONE ? state->wanted_kind : stored.kind;
    kind = kind != CHECKSUM_NONE ? kind : CHECKSUM_CRC64NVME;
    bool has_data = state->source.range.len > 0;
    if (has_data && !copy_source_shareable(r, &state->source)) {
        copy_source_rewrite(r, &state->source, kind, &state->upload, NULL, 0, copy_hashed);
        return;
    }
    bool carries = stored.kind == kind && stored.type == CHECKSUM_FULL_OBJECT && etag_is_md5(reply->row.etag);
    if (!carries) {
        copy_source_hash(r, &state->source, kind, copy_hashed);
        return;
    }
    memcpy(state->etag, reply->row.etag.data, reply->row.etag.len);
    state->etag[reply->row.etag.len] = '\0';
    state->checksum = stored;
    command_make(r);
    copy_commit(r);
}

/* COPY (default) or REPLACE; anything else is an InvalidArgument. */
static enum s3_error directive_read(struct request *r, const char *name, bool *ret_replaces)
{
    struct slice text;
    *ret_replaces = false;
    if (!s3_value_get(&r->s3, name, &text) || slice_equal_str(text, "COPY")) {
        return S3_ERROR_NONE;
    }
    if (!slice_equal_str(text, "REPLACE")) {
        return s3_fail_argument(&r->err, "Unknown directive.", name, text);
    }
    *ret_replaces = true;
    return S3_ERROR_NONE;
}

/* Onto itself something has to change. */
static enum s3_error self_copy_check(struct request *r, const struct copy_state *state)
{
    struct slice ignored;
    const struct s3_copy_source *from = &state->source.from;
    bool itself = slice_equal(from->bucket, r->s3.bucket) && slice_equal(from->key, r->s3.key) &&
                  !state->source.has_version;
    if (!itself || state->replaces || state->wanted_kind != CHECKSUM_NONE ||
        s3_value_get(&r->s3, "x-amz-storage-class", &ignored) ||
        s3_value_get(&r->s3, "x-amz-website-redirect-location", &ignored)) {
        return S3_ERROR_NONE;
    }
    return s3_fail(&r->err, S3_ERROR_INVALID_REQUEST,
                   "This copy request is illegal because it is trying to copy an object to itself without changing "
                   "the object's metadata, storage class, website redirect location or encryption attributes.");
}

static enum s3_error copy_read(struct request *r, struct copy_state *state)
{
    struct s3_checksum_request wanted;
    bool replaces_tags;
    if (object_record_read(r, &state->record) != S3_ERROR_NONE ||
        directive_read(r, "x-amz-metadata-directive", &state->replaces) != S3_ERROR_NONE ||
        directive_read(r, "x-amz-tagging-directive", &replaces_tags) != S3_ERROR_NONE ||
        object_conditions_read(r, false, &state->conditions) != S3_ERROR_NONE ||
        s3_checksum_request_read(&r->s3, &wanted, &r->err) != S3_ERROR_NONE ||
        copy_source_read(r, &state->source, false) != S3_ERROR_NONE) {
        return r->err.code;
    }
    state->wanted_kind = wanted.wanted_kind;
    return self_copy_check(r, state);
}

static void copy_cleanup(struct request *r)
{
    struct copy_state *state = r->state;
    object_upload_drop(&state->upload);
    copy_source_done(r, &state->source);
}

static void copy_classed(struct request *r)
{
    struct copy_state *state = r->state;
    copy_source_ask(r, &state->source, copy_asked);
}

void object_copy(struct request *r)
{
    struct copy_state *state = request_zalloc(r, sizeof(*state));
    r->state = state;
    r->cleanup = copy_cleanup;
    if (copy_read(r, state) != S3_ERROR_NONE) {
        request_fail(r);
        return;
    }
    write_class_ask(r, state->record.storage_class, true, copy_classed);
}
